package raft

import (
	"fmt"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/sim"
)

// schedules is how many random schedules one test run draws.
const schedules = 100

// Whatever crashes, sleeps, loses its power or is cut off, and whatever the network
// does to messages: nothing that was answered is lost, no two nodes decide different
// things, no read is stale, no term has two leaders, and when the faults are over
// everybody follows one leader and has what it has.
//
// Not among it: that no two leaders acknowledge at once (C2). A leader that slept
// finds the acknowledgements of a majority in its queue when it wakes, and answers
// before it hears of the next leader, which may have answered others by then. Both
// answers hold: that majority has the entry, so the next leader has it too.
func TestRandomFaultsM90(t *testing.T) {
	ours := Protocols()[0]
	acked := 0
	for seed := uint64(1); seed <= schedules; seed++ {
		r, result := run(t, schedule(seed), ours, 0)
		shows(t, r, result, "same-epoch = 0", "lost = 0", "lost-worst = 0",
			"divergent = 0", "stale = 0", "twice = 0", "fired halt = 0", "leader != none")
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, schedule(seed))
		}
		acked += result.Measures.Acked
		for _, v := range r.Voters {
			s := result.Final[v-1]
			if s.Leader != result.Leader || s.Decided != result.Final[result.Leader-1].Decided {
				t.Fatalf("seed %d: at the end n%d follows n%d with %d decided, the leader has %d\n%s",
					seed, s.Node, s.Leader, s.Decided, result.Final[result.Leader-1].Decided, schedule(seed))
			}
		}
	}
	if acked < 10*schedules {
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

// schedule is a recipe with a dozen faults of every kind but lost disks, for 3, 5, 7
// or 9 voters. The last seconds are quiet.
func schedule(seed uint64) string {
	dice := sim.Stream(seed, "random faults")
	n := 3 + 2*dice.Below(4)
	numbers := []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9}[:n]
	text := fmt.Sprintf("quorate recipe 2\nseed %d\nlength 7s\nvoters %s\nworkload every 500ms\nworkload retry 1\nworkload give-up 5s\n", seed, strings.Join(names(numbers), ","))
	for range 12 {
		dice.Shuffle(numbers)
		voters := names(numbers)
		a, b, cut := voters[0], voters[1], 1+dice.Below(n-1)
		rate := dice.Between(50, 600)
		kinds := []string{
			"crash " + a + " lose=none",
			"crash " + a + " lose=none reset=no",
			"crash " + a + " lose=all",
			"crash " + a + " lose=random",
			"crash " + a + " lose=torn",
			"crash leader lose=all",
			"power * lose=all",
			"power * lose=random",
			"isolate " + a,
			"isolate leader",
			"pause " + a,
			"pause leader",
			"cut " + a + ">" + b,
			"clog " + a + "<>" + b,
			"split " + strings.Join(voters[:cut], ",") + "/" + strings.Join(voters[cut:], ","),
			"split " + strings.Join(voters[:cut], ",") + "/" + strings.Join(voters[cut-1:], ","),
			fmt.Sprintf("drop *>* rate=%d", rate),
			fmt.Sprintf("duplicate *>* rate=%d", rate),
			fmt.Sprintf("replay *>* rate=%d within=%dms", rate, dice.Between(10, 3000)),
			fmt.Sprintf("reorder *>* rate=%d by=%dms", rate, dice.Between(1, 300)),
		}
		at := fmt.Sprintf("%dms", dice.Between(100, 4000))
		kind := kinds[dice.Below(len(kinds))]
		switch moments := []string{"ack", "lead", "held1", "held2", "decided1", "send-Append", "send-AppendAccepted", "send-Vote"}; {
		case strings.Contains(kind, "leader"):
			at += "@" + []string{"now", "ack", "lead"}[dice.Below(3)]
		case dice.Below(2) == 0:
			at += "@" + moments[dice.Below(len(moments))]
		}
		line := fmt.Sprintf("fault %s %dms %s\n", at, dice.Between(20, 1000), kind)
		if !strings.Contains(text, line) {
			text += line
		}
	}
	return text
}

func names(numbers []uint64) []string {
	var all []string
	for _, n := range numbers {
		all = append(all, fmt.Sprintf("n%d", n))
	}
	return all
}
