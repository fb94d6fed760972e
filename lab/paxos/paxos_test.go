package paxos

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/recipes"
	"github.com/quorate/quorate/lab/storm"
	"github.com/quorate/quorate/trace"
)

func protocol(t *testing.T, name string) lab.Protocol {
	t.Helper()
	for _, p := range Protocols() {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no protocol %q", name)
	return lab.Protocol{}
}

// result runs a recipe's text with a protocol.
func result(t *testing.T, name, text string) lab.Result {
	t.Helper()
	p := protocol(t, name)
	r, err := lab.Template(text, p)
	if err != nil {
		t.Fatal(err)
	}
	res, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// shows runs a text and checks expectations, divided by semicolons.
func shows(t *testing.T, name, text, expected string) {
	t.Helper()
	for _, e := range strings.Split(expected, ";") {
		text += "\nexpect " + strings.TrimSpace(e)
	}
	res := result(t, name, text)
	list, err := lab.Expectations(res.Recipe)
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Met(list, res); err != nil {
		t.Error(err)
	}
}

// script is a fault script with another seed, and without what others expect of it.
func script(t *testing.T, name, seed string) string {
	t.Helper()
	text, ok := recipes.Text(name)
	if !ok {
		t.Fatalf("no script %q", name)
	}
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool {
		return strings.HasPrefix(l, "expect ") || strings.HasPrefix(l, "break ") || strings.HasPrefix(l, "then ") || strings.HasPrefix(l, "protocol ")
	})
	return strings.Replace(strings.Join(lines, "\n"), "seed 1\n", "seed "+seed+"\n", 1)
}

// safe is what must hold in every run of multi-Paxos.
const safe = "; lost = 0; lost-worst = 0; divergent = 0; stale = 0; same-epoch = 0; two-leaders = 0; twice = 0"

// TestRow pins what the fault scripts show: the row of multi-Paxos in the matrix.
func TestRow(t *testing.T) {
	for _, c := range []struct{ script, expect string }{
		{"f1", "changes = 1; gap > 900ms; gap < 2s"},
		{"f1s", "changes = 1; gap > 900ms; gap < 2s"}, // a reset tells the detector nothing
		{"f2", "changes >= 1; changes <= 2; gap < 2s"},
		{"f3", "gap > 60s; gap < 63s"},
		{"f4", "changes = 1; gap < 2s"},
		{"f4f", "changes = 0; gap < 500ms"},
		{"f5", "changes >= 1; gap < 2s"}, // the one who cannot hear the leader takes the lead
		{"f6", "changes = 1; gap < 2s"},  // three promises of the four are enough
		{"f7", "changes = 0"},
		{"f8", "changes = 1; gap < 2s"},
		{"f8n", "changes = 1; gap < 2s"},
		{"f9", "gap > 15s; gap < 17s"},
		{"f10", "changes = 0; gap < 500ms"},
		{"f10w", "changes = 1; gap < 2s"},
		{"f11", "changes >= 2; gap < 2s"},
		{"f12a", "changes = 1; gap < 2s"},
		{"f12b", "changes >= 1; gap < 2s"},
	} {
		for _, seed := range []string{"1", "2"} {
			if seed == "2" && !slices.Contains([]string{"f1", "f2", "f5", "f8", "f9", "f11", "f12b"}, c.script) {
				continue
			}
			t.Run(c.script+"/"+seed, func(t *testing.T) {
				shows(t, "paxos", script(t, c.script, seed), c.expect+safe)
			})
		}
	}
}

// Whatever is lost, doubled, delayed and restarted, no two nodes decide differently
// and nothing acknowledged is lost, by 3 to 9 nodes. Two leaders may acknowledge at
// once: what one had chosen before the other came, it may say late.
func TestStorms(t *testing.T) {
	for name, storms := range map[string]uint64{"paxos": 100, "paxos/single": 20} {
		led := uint64(0)
		for seed := range storms {
			res := result(t, name, storm.Recipe(seed, storm.Options{Seconds: 12}))
			up := slices.ContainsFunc(res.Final, func(n lab.NodeState) bool { return n.Up })
			if m := res.Measures; up && m.Lost > 0 || m.Divergent+m.Stale+m.SameEpoch > 0 {
				t.Errorf("%s, seed %d: %+v", name, seed, m)
			}
			if res.Leader != 0 || name == "paxos/single" && res.Measures.Acked == 1 {
				led++
			}
		}
		if led < storms*9/10 {
			t.Errorf("%s: only %d of %d storms end well", name, led, storms)
		}
	}
}

// The single decree keeps its one value through everything; later writes are
// refused, and reads show it.
func TestRowOfTheSingleDecree(t *testing.T) {
	for _, name := range []string{"f2", "f9", "f12a"} {
		shows(t, "paxos/single", script(t, name, "1"), "acked = 1; refused > 100; lost = 0; divergent = 0; stale = 0; twice = 0")
	}
}

// head begins the small recipes below.
const head = `quorate recipe 2
seed 1
length 20s
voters all
`

// Every rule that can be broken is seen by a checker, and none is without it.
// The recipes show the others.
func TestBrokenRulesAreSeen(t *testing.T) {
	for _, c := range []struct{ name, protocol, broken, text, sound, seen string }{
		{
			// n5, n4 and n3 hold what is acknowledged; n4 and n3 lose power while n5 is cut off.
			"promises and acceptances that are not on disk", "paxos", "no-fsync", head +
				"workload every 50ms\nfault 2s 1s isolate n1\nfault 2s 1s isolate n2\nfault 3s 10s isolate n5\nfault 3s 200ms crash n4 lose=all\nfault 3s 200ms crash n3 lose=all",
			"lost = 0; divergent = 0", "lost > 0; divergent > 0",
		},
		{
			"gaps that nobody fills", "paxos", "leave-gaps", head +
				"workload clients 0\nfault 2s 5s hold n5>* message=P2a by=3s count=4\nfault 2300ms 10s crash n5 lose=none\ndo 2100ms n5 write\ndo 2200ms n5 write",
			"log n1 = 2; decided n1 = 2", "log n1 = 2; decided n1 = 0",
		},
		{
			"an acceptance that is ignored", "paxos", "ignore-accepted", head +
				"workload every 50ms\nfault 3s@ack 10s isolate n5",
			"lost = 0; divergent = 0", "divergent > 0",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			shows(t, c.protocol, c.text, c.sound)
			shows(t, c.protocol, c.text+"\nbroken "+c.broken, c.seen)
		})
	}
}

// Two who wait equally long never decide if their wait is shorter than a message
// takes; if it is longer, one of them is done before the other comes again.
func TestEqualWaitsMustBeShortToDuelForEver(t *testing.T) {
	for _, seed := range []string{"1", "2", "3"} {
		text := "quorate recipe 2\nseed " + seed + "\nlength 9s\nvoters n1,n2,n3\nworkload clients 0\nconfig backoff fixed\nfault 0s 9s delay *>* by=20ms\ndo 1s n1 propose a\ndo 1s n3 propose b\n"
		shows(t, "paxos/single", text+"config backoff-fixed 5ms", "do1 = pending; do2 = pending; fired R5 > 100; fired R4 = 0; divergent = 0")
		shows(t, "paxos/single", text+"config backoff-fixed 50ms", "do1 = answered; do2 = answered; divergent = 0")
		shows(t, "paxos/single", strings.Replace(text, "fixed", "none", 1), "do1 = pending; do2 = pending; divergent = 0")
	}
}

// A recipe may tell a node to ask for the lead; it gets it, and nothing is lost.
func TestANodeIsToldToLead(t *testing.T) {
	shows(t, "paxos", head+"workload clients 1\ndo 5s n2 lead\ndo 12s n3 lead", "do1 = answered; said1 = asks with ballot 22; changes = 2; leader = n3; gap < 1s"+safe)
}

// A node that comes back with a wiped disk has forgotten what it accepted: in a
// group of three that is enough for a second value. Paxos relies on the disk.
func TestAWipedAcceptorForgets(t *testing.T) {
	text := head[:strings.Index(head, "voters")] + `voters n1,n2,n3
workload clients 0
fault 900ms 600ms isolate n3
fault 1500ms 10s isolate n1
do 1s n1 propose red
do 4s n3 propose blue
`
	shows(t, "paxos/single", text+"fault 1500ms 1s crash n2 lose=all", "said2 = chosen: red; divergent = 0")
	shows(t, "paxos/single", text+"fault 1500ms 1s wipe n2", "said2 = chosen: blue; divergent = 1")
}

// A process that is killed between a write and its fsync finds what it wrote when it
// starts again, in the cache. It must not answer from that: the next power cut takes
// it away, after red was chosen with it.
func TestWhatAKillLeftInTheCacheIsSyncedFirst(t *testing.T) {
	for us := 1_005_800; us < 1_007_200; us += 200 {
		shows(t, "paxos/single", fmt.Sprintf(`quorate recipe 2
seed 1
length 20s
voters n1,n2,n3
workload clients 0
fault 900ms 2s isolate n3
fault %dus 1ms crash n2 lose=none
fault 1500ms 10s isolate n1
fault 1500ms 1s crash n2 lose=all
do 1s n1 propose red
do 4s n3 propose blue
`, us), "said1 = chosen: red; said2 = chosen: red; divergent = 0")
	}
}

// A value that one of three accepted is neither kept nor gone: if the next proposer
// asks that one it must propose it, else it may propose its own. Both are legal.
func TestAcceptedByOneOfThreeMayGoEitherWay(t *testing.T) {
	for _, c := range []struct{ away, chosen string }{{"n2", "red"}, {"n1", "blue"}} {
		text := head[:strings.Index(head, "voters")] + `voters n1,n2,n3
workload clients 0
fault 900ms 900ms drop n1>* rate=1000 message=P2a
fault 1500ms 10s isolate ` + c.away + `
fault 1700ms 10s crash n1 lose=all
do 1s n1 propose red
do 3s n3 propose blue
`
		if c.away == "n2" {
			text = strings.Replace(text, "1700ms 10s crash", "1700ms 1s crash", 1)
		}
		shows(t, "paxos/single", text, "said2 = chosen: "+c.chosen+"; divergent = 0")
	}
}

// Paxos does not know that a repeated write is the same one: while the leader hears
// no acceptance, its client asks again, and every attempt gets a slot.
func TestARepeatedWriteTakesTwoSlots(t *testing.T) {
	text := head + "workload clients 0\nworkload retry 1\nfault 2s 3s drop *>n5 rate=1000 message=P2b\ndo 2s n4 write"
	shows(t, "paxos", text, "do1 = answered; times1 > 1; twice = 1")
}

// An isolated leader answers no read: no majority confirms that it still leads.
func TestAReadIsConfirmedByAMajority(t *testing.T) {
	text := head + "workload clients 0\ndo 1s n4 write\ndo 3s n5 read\nfault 2900ms 10s isolate n5\ndo 6s n3 write\ndo 15s n5 read"
	shows(t, "paxos", text, "do1 = answered; do2 != answered; do3 = answered; do4 = answered; stale = 0; fired D2 = 1")
}

// One cut link makes its two ends take turns: who hears no leader asks for the
// lead, and Paxos lets it have it.
func TestOneCutLinkMovesTheLead(t *testing.T) {
	shows(t, "paxos", head+"fault 2s 16s cut n5<>n2", "changes > 5; acked > 150"+safe)
}

// A hole that is filled takes nothing back: the trace says so.
func TestFillingAHoleTakesNothingBack(t *testing.T) {
	p := protocol(t, "paxos")
	text, _ := recipes.Text("paxos-holes")
	r, err := lab.Template(text, p)
	if err != nil {
		t.Fatal(err)
	}
	filled := 0
	record := func(e trace.Event) {
		if e.Node.Node == 5 {
			return // it accepted another value for the slot than was chosen
		}
		if e.Kind == trace.Truncated {
			t.Errorf("%+v", e)
		}
		if e.Kind == trace.Held && e.Fields[0].Number == 2 && len(e.Fields) > 3 && e.Fields[3].Text == "no-op" {
			filled++
		}
	}
	if _, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Record: record}); err != nil {
		t.Fatal(err)
	}
	if filled != 4 {
		t.Errorf("%d nodes filled slot 2", filled)
	}
}

// The window of M5 bounds the slots a leader has open.
func TestTheWindowBoundsOpenSlots(t *testing.T) {
	text := head + "workload clients 0\ndo 1s n5 write\ndo 1s n5 write\ndo 1s n5 write\nfault 500ms 1s isolate n5\n"
	shows(t, "paxos", text+"config window 2", "log n5 = 2; refused = 0")
	shows(t, "paxos", text+"config window 3", "log n5 = 3; refused = 0")
}

// What is asked wrongly gets a clear answer.
func TestBadInput(t *testing.T) {
	shows(t, "paxos", head+"workload clients 0\ndo 1s n5 propose red", "do1 = refused; said1 = M3 this protocol knows write, read and lead")
	shows(t, "paxos/single", head+"workload clients 0\ndo 1s n5 lead", "do1 = refused; said1 = R1 this protocol knows write, read and propose")
	p := protocol(t, "paxos")
	r, err := lab.Template(head+"config backoff slow", p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Run(lab.Options{Recipe: r, Protocol: p}); err == nil || err.Error() != `recipe: line 5: config backoff is "slow"; want one of random, fixed, none` {
		t.Error(err)
	}
}
