package raft

import (
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/recipes"
	"github.com/quorate/quorate/sim"
)

// breaks are runs for the switches that no recipe breaks: with the rule all is
// well, without it the checker sees it.
var breaks = []struct {
	rule faults.Switch
	body string
	kept string // what the run shows
	lost string // what it shows with the rule broken
}{
	// The followers say "I have it" before their disks do; the power fails; they
	// elect one of themselves, and what the client was told is gone.
	{faults.AckBeforeDurable, `length 4s
voters n1,n2,n3
workload clients 0
do 1s n3 write
fault 900ms@ack 2s crash n3 lose=all
fault 1s@send-AppendAccepted 100ms crash n1 lose=all
fault 1s@send-AppendAccepted 100ms crash n2 lose=all
do 2s n1 write
`, "lost = 0", "lost = 1"},
	// n2 votes for n1 in term 2, loses its power before the vote is on disk, and
	// votes again in term 2, for n3.
	{faults.SkipVoteSync, `length 4s
voters n1,n2,n3
workload clients 0
fault 1s 500ms crash n3 lose=none
do 1170ms n1 campaign
fault 1170ms@lead 20ms crash n2 lose=all
fault 1170ms@lead 2s isolate n1
`, "same-epoch = 0", "same-epoch = 1"},
	// Copies at learners count: the leader decides alone with those who do not vote,
	// and the voters elect another.
	{faults.CountLearners, `length 5s
voters n1,n2,n3
learners n4,n5
workload clients 0
fault 1s 2s split n3,n4,n5/n1,n2
do 1100ms n3 write
do 2s n1 write
`, "lost = 0", "lost = 1"},
}

func run(t *testing.T, text string, p lab.Protocol, seed uint64, broken ...faults.Switch) (sim.Recipe, lab.Result) {
	t.Helper()
	r, err := lab.Template(text, p)
	if err != nil {
		t.Fatal(err)
	}
	if seed != 0 {
		r.Seed = seed
	}
	r.Broken = slices.Concat(r.Broken, broken)
	result, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	return r, result
}

func shows(t *testing.T, r sim.Recipe, result lab.Result, lines ...string) {
	t.Helper()
	r.Expect = lines
	list, err := lab.Expectations(r)
	if err == nil {
		err = lab.Met(list, result)
	}
	if err != nil {
		t.Errorf("%v (broken: %v)", err, r.Broken)
	}
}

func TestBrokenRulesAreSeen(t *testing.T) {
	ours := Protocols()[0]
	for _, b := range breaks {
		t.Run(string(b.rule), func(t *testing.T) {
			text := "quorate recipe 2\nseed 1\n" + b.body
			r, result := run(t, text, ours, 0)
			shows(t, r, result, b.kept, "fired halt = 0")
			r, result = run(t, text, ours, 0, b.rule)
			shows(t, r, result, b.lost)
		})
	}
}

// Every rule that can be broken is broken somewhere, so that a checker proves that
// it would see it.
func TestEverySwitchHasARun(t *testing.T) {
	shown := map[faults.Switch]bool{}
	for _, b := range breaks {
		shown[b.rule] = true
	}
	for _, name := range recipes.Names() {
		text, _ := recipes.Text(name)
		if !strings.Contains(text, "\nprotocol raft\n") {
			continue
		}
		r, err := lab.Template(text, Protocols()[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range r.Break {
			shown[s] = true
		}
	}
	for _, s := range switches() {
		if !shown[s.Name] {
			t.Errorf("no run shows what happens without %s", s.Name)
		}
	}
}
