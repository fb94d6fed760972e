package sim

import (
	"strings"
	"testing"
)

const sample = `quorate recipe 2
protocol raft
title A drop, a split and a crash
title.zh 丢包、分区与宕机
seed 42
length 20s
voters n1,n2,n3
learners n4
spares n5
config heartbeat 30ms
config snapshot-bytes 4096
workload clients 4
workload operations 400
fault 1500ms 700ms drop n1>n2 rate=300 only=append
fault 2s 500ms replay n1<>n2 rate=10 within=5s
fault 2s 1s split n1,n2/n2,n3
fault 3s 1s cut *>n2
fault 4s 1s crash n3 lose=torn calls=17
fault 5s 1s power * lose=random
fault 6s 20s drift n1 rate=1100000
fault 7s 0s change n4 op=promote
fault 8s 0s change n5 op=replace of=2
fault 9s 0s change n1 op=voters set=135
fault 9s 1s isolate n2
fault 9s@held2 1s crash leader lose=none reset=no
fault 9s@ack 1s hold n1>n2 message=Vote by=5s count=1
fault 9s 1s wipe n3
fault 9s 1s jump n3 by=90s
do 4s n2 write x
caption 4s n3 goes  down
caption.zh 4s n3 宕机
expect no violation
broken double-vote
break no-log-check
then lost > 0
fork 120
fault 1s 1s pause n1
`

func TestRecipeRoundTrip(t *testing.T) {
	r, err := Parse(sample)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.String(); got != sample {
		t.Errorf("printed:\n%s\nwant:\n%s", got, sample)
	}
	if len(r.Faults) != 15 || len(r.Fork.Faults) != 1 || r.Captions[0].Text != "n3 goes  down" {
		t.Errorf("%+v", r)
	}
	if !r.Faults[2].Target.Matches(1, 3) || r.Faults[2].Target.Matches(1, 2) {
		t.Error("n2 is the bridge between n1 and n3")
	}
}

func TestRecipeErrorsNameTheLine(t *testing.T) {
	head := "quorate recipe 2\nseed 1\nlength 1s\nvoters n1,n2,n3\n"
	for _, c := range []struct{ text, want string }{
		{"", `recipe: empty; the first line is "quorate recipe 2"`},
		{"hello", `recipe: line 1: not a recipe; the first line is "quorate recipe 2"`},
		{"# a comment\n\nquorate recipe 1\n", `recipe: line 3: unknown version "1"; this program reads version 2`},
		{"quorate recipe 2\nlength 1s\nvoters n1\n", `recipe: no seed line`},
		{"quorate recipe 2\nseed 1\nvoters n1\n", `recipe: never ends: no length line`},
		{"quorate recipe 2\nseed 1\nlength 9000s\n", `recipe: line 3: length 9000s: a run lasts longer than 0s and at most 3600s`},
		{"quorate recipe 2\nseed 1\nlength 5\n", `recipe: line 3: length "5" is not a span of time; want a whole number and s, ms, us or ns, as 150ms`},
		{"quorate recipe 2\nseed 1\nlength 1s\n", `recipe: no voters line`},
		{head + "seed 2\n", `recipe: line 5: a second seed line`},
		{head + "learners n3\n", `recipe: line 5: n3 stands in two lists`},
		{head + "fault 0s 1s pause n4\n", `recipe: line 5: unknown node n4; the recipe has n1,n2,n3`},
		{head + "fault 0s 1s split n1,n2/n7\n", `recipe: line 5: unknown node n7; the recipe has n1,n2,n3`},
		{head + "fault 0s 1s pause bob\n", `recipe: line 5: "bob" is not a node; nodes are n1 to n9`},
		{head + "fault 0s 1s explode n1\n", `recipe: line 5: unknown fault "explode"; known: change clog crash cut delay drift drop duplicate flap freeze hold isolate jump nospace pause power reorder replay slow split stall syncfail transfer wipe`},
		{head + "fault 0s 0s pause n1\n", `recipe: line 5: fault pause needs a span longer than 0s`},
		{head + "fault 0s 7200s pause n1\n", `recipe: line 5: the fault never ends: 7200s is longer than 3600s`},
		{head + "fault 2s 1s pause n1\n", `recipe: line 5: the fault begins at 2s, behind the end at 1s`},
		{head + "fault 0s 1s drop n1>n2\n", `recipe: line 5: fault drop needs rate=`},
		{head + "fault 0s 1s drop n1>n1 rate=1\n", `recipe: line 5: "n1>n1" is no link: both ends are one node`},
		{head + "fault 0s 1s drop n1 rate=1\n", `recipe: line 5: "n1" is not a link; want n1>n2, n1<>n2 or n1>*`},
		{head + "fault 0s 1s drop n1>n2 rate=2000\n", `recipe: line 5: fault drop: rate is "2000"; want a number from 1 to 1000`},
		{head + "fault 0s 1s drop n1>n2 rate=1 only=mail\n", `recipe: line 5: fault drop: only is "mail"; want one of vote, append, heartbeat, ack, snapshot`},
		{head + "fault 0s 1s drop n1>n2 rate=1 colour=red\n", `recipe: line 5: fault drop has no colour=`},
		{head + "fault 0s 1s delay n1>n2 by=20000ms\n", `recipe: line 5: fault delay: by is 20000ms; want 1ns to 10s`},
		{head + "fault 0s 1s power n1 lose=all\n", `recipe: line 5: this fault falls on everybody: its target is *`},
		{head + "fault 0s 0s change n1 op=replace\n", `recipe: line 5: fault change: op=replace and of= belong together`},
		{head + "fault 0s 0s change n1 op=voters set=17\n", `recipe: line 5: unknown node n7; the recipe has n1,n2,n3`},
		{head + "break everything\n", `recipe: line 5: unknown break switch "everything"`},
		{head + "title a\ntitle b\n", `recipe: line 6: a second title line`},
		{head + "do 1s n1\n", `recipe: line 5: do takes a time, a node and what the client beside it does, as: do 5s n2 write`},
		{head + "do 1s n7 write\n", `recipe: line 5: unknown node n7; the recipe has n1,n2,n3`},
		{head + "do 2s n1 write\n", `recipe: line 5: the client acts at 2s, behind the end at 1s`},
		{head + "fault 0s@noon 1s pause n1\n", `recipe: line 5: unknown trigger "noon"; want now, ack, lead, held1 to held9, decided1 to decided9 or send-NAME`},
		{head + "fault 0s 1s pause leader\n", `recipe: line 5: "leader" is not a node; nodes are n1 to n9`},
		{head + "config a 1\nconfig a 2\n", `recipe: line 6: config a stands in line 5 already`},
		{head + "config a\n", `recipe: line 5: config takes a name and a value`},
		{head + "sed 1\n", `recipe: line 5: unknown word "sed"; want seed, length, voters, learners, spares, config, workload, do, fault, protocol, caption, expect, broken, break, then, fork or one of the story: title, title.zh, about, about.zh, lesson, lesson.zh, without, without.zh, source, mission, illustration`},
	} {
		_, err := Parse(c.text)
		if err == nil || err.Error() != c.want {
			t.Errorf("%q:\n got %v\nwant %s", c.text, err, c.want)
		}
	}
	if _, err := Parse(strings.Repeat("#", maxRecipeBytes+1)); err == nil {
		t.Error("a recipe without bound")
	}
}

func TestSettingsAreJudgedByTheirReader(t *testing.T) {
	r, err := Parse("quorate recipe 2\nseed 1\nlength 1s\nvoters n1\nconfig a 7\nconfig b 20ms\nconfig c 1\nworkload d x\n")
	if err != nil {
		t.Fatal(err)
	}
	s := r.Configuration()
	if s.Int("a", 1, 0, 9) != 7 || s.Duration("b", 0, 0, 1e9) != 20e6 || s.Int("absent", 5, 0, 9) != 5 {
		t.Error("values")
	}
	if got, want := s.Err().Error(), `recipe: line 7: unknown config "c"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	s = r.Clients()
	if got := s.Word("absent", "y", "z"); got != "y" {
		t.Errorf("default word %q", got)
	}
	s.Word("d", "y", "z")
	if got, want := s.Err().Error(), `recipe: line 8: workload d is "x"; want one of y, z`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	s = r.Clients()
	s.Int("d", 0, 1, 5)
	if got, want := s.Err().Error(), `recipe: line 8: workload d is "x"; want a number from 1 to 5`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Every recipe that parses prints as one that parses to the same.
func FuzzRecipe(f *testing.F) {
	f.Add(sample)
	f.Add("quorate recipe 2\nseed 18446744073709551615\nlength 1ns\nvoters n1\nfault 0s 1ns cut *>*\n")
	f.Add("quorate recipe 2\nseed 0\nlength 1s\nvoters n1\ncaption 0s 0s 0s\nexpect a\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("more than one line: %q", err)
			}
			return
		}
		printed := r.String()
		again, err := Parse(printed)
		if err != nil {
			t.Fatalf("%q printed as %q: %v", text, printed, err)
		}
		if got := again.String(); got != printed {
			t.Fatalf("%q printed as %q, then as %q", text, printed, got)
		}
	})
}
