package raft

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/storm"
	"github.com/quorate/quorate/sim"
)

const (
	schedules = 100 // that one test run draws
	inFlight  = 10  // entries that the run's end may find under way
)

// Whatever crashes, sleeps, loses its power or is cut off, and whatever the network
// does to messages: nothing that was answered is lost, no two nodes decide different
// things, no read is stale, no term has two leaders, and when the faults are over
// everybody follows one leader and has what it has, but for what is under way.
//
// Not among it: that no two leaders acknowledge at once (C2). A leader that slept
// finds the acknowledgements of a majority in its queue when it wakes, and answers
// before it hears of the next leader, which may have answered others by then. Both
// answers hold: that majority has the entry, so the next leader has it too. To the
// checker of what a leader lacks while it serves (C3's worst) that sleeper is a leader
// that begins to serve, so the worst counts only where no two leaders acknowledged.
func TestRandomFaultsM90(t *testing.T) {
	ours := Protocols()[0]
	acked := 0
	for seed := uint64(1); seed <= schedules; seed++ {
		r, result := run(t, schedule(seed), ours, 0)
		if slices.ContainsFunc(r.Voters, func(n lab.Node) bool { return !result.Final[n-1].Up }) {
			continue // a fault waited for its moment so long that the run ends within it
		}
		shows(t, r, result, "same-epoch = 0", "lost = 0",
			"divergent = 0", "stale = 0", "twice = 0", "fired halt = 0", "leader != none")
		if result.Measures.TwoLeaders == 0 {
			shows(t, r, result, "lost-worst = 0")
		}
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, schedule(seed))
		}
		acked += result.Measures.Acked
		for _, v := range r.Voters {
			s := result.Final[v-1]
			if s.Leader != result.Leader || s.Decided < result.Final[result.Leader-1].Decided-inFlight {
				t.Fatalf("seed %d: at the end n%d follows n%d with %d decided, the leader has %d\n%s",
					seed, s.Node, s.Leader, s.Decided, result.Final[result.Leader-1].Decided, schedule(seed))
			}
		}
	}
	if acked < 30*schedules {
		t.Errorf("%d writes were acknowledged in all: these schedules test nothing", acked)
	}
}

// The same schedules see it when a rule is broken.
func TestRandomFaultsFindBrokenRules(t *testing.T) {
	ours := Protocols()[0]
	for _, rule := range []faults.Switch{NoFsync, faults.NoLogCheck, faults.CountSelfTwice, noSessions} {
		var m lab.Measures
		for seed := uint64(1); seed <= schedules && seen(m) == 0; seed++ {
			_, result := run(t, schedule(seed), ours, 0, rule)
			m = result.Measures
		}
		if seen(m) == 0 {
			t.Errorf("%d schedules with %s, and nothing is seen", schedules, rule)
		}
	}
}

// seen counts what must never be.
func seen(m lab.Measures) int {
	return m.SameEpoch + m.Lost + m.LostWorst + m.Divergent + m.Stale + m.Twice
}

// schedule is a storm, with an operator who moves the office and the membership about.
// The last node, where there is room for it, is a learner at first.
func schedule(seed uint64) string {
	text := storm.Recipe(seed, storm.Options{Seconds: 6})
	dice := sim.Stream(seed, "operator")
	verbs := []string{"transfer", "campaign"}
	if !strings.Contains(text, "n9") {
		text += "learners n9\n"
		verbs = append(verbs, "promote n9", "demote n9")
	}
	for range 6 {
		text += fmt.Sprintf("do %dms n%d %s\n", dice.Between(100, 4000), dice.Between(1, 3), verbs[dice.Below(len(verbs))])
	}
	return text
}
