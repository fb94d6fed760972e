package mongo

import (
	"fmt"
	"strings"
	"testing"

	"github.com/quorate/quorate/sim"
)

// Whatever crashes, loses its power, sleeps, is cut off or hears things twice and late:
// what a majority journaled is kept, one member leads a term, and when the faults are
// over all follow one primary and have what it has.
func TestRandomFaultsLoseNothingThatAMajorityJournaled(t *testing.T) {
	for seed := uint64(1); seed <= schedules; seed++ {
		r := shows(t, "mongo/pv1", randomFaults(seed), "expect lost = 0", "expect lost-worst = 0", "expect two-leaders = 0",
			"expect same-epoch = 0", "expect divergent = 0")
		if r.Leader == 0 {
			t.Errorf("seed %d: nobody leads at the end", seed)
			continue
		}
		for _, s := range r.Final {
			if lead := r.Final[r.Leader-1]; s.Leader != r.Leader || s.Length < lead.Length-2 {
				t.Errorf("seed %d: at the end n%d follows n%d with %d of %d entries", seed, s.Node, s.Leader, s.Length, lead.Length)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, randomFaults(seed))
		}
	}
}

// The same schedules see it when voters do not compare logs, and, with a power cut
// behind an answer, when a majority counts what is not on disk.
func TestRandomFaultsFindBrokenRules(t *testing.T) {
	for _, lines := range [][]string{{"broken no-log-check"}, {"broken no-rollback"}, {"broken no-fsync", "fault 70s@ack 1s power * lose=all"}} {
		seen := false
		for seed := uint64(1); seed <= schedules && !seen; seed++ {
			m := run(t, "mongo/pv1", randomFaults(seed), lines...).Measures
			seen = m.Lost+m.LostWorst+m.Divergent > 0
		}
		if !seen {
			t.Errorf("%s, and nothing is seen", lines[0])
		}
	}
}

const schedules = 100

// randomFaults is a recipe with eight faults, over when two thirds of it are.
func randomFaults(seed uint64) string {
	dice := sim.Stream(seed, "random faults")
	voters := []int{3, 5, 7}[seed%3]
	nodes := make([]uint64, voters)
	for i := range nodes {
		nodes[i] = uint64(i + 1)
	}
	list := func(nodes []uint64) string {
		return "n" + strings.ReplaceAll(strings.Trim(fmt.Sprint(nodes), "[]"), " ", ",n")
	}
	var text strings.Builder
	fmt.Fprintf(&text, "quorate recipe 2\nseed %d\nlength 100s\nvoters %s\nworkload every 2s\nworkload reads 0\n", seed, list(nodes))
	if seed%2 == 0 {
		text.WriteString("config catch-up 1s\n") // so that R4 and R8 alone must keep what is committed
	}
	for i := range 8 {
		dice.Shuffle(nodes)
		half := dice.Between(1, voters-1)
		halves := list(nodes[:half]) + "/" + list(nodes[half:])
		one, other := list(nodes[:1]), list(nodes[1:2])
		rate := dice.Between(50, 350)
		kinds := []string{
			"crash " + one + " lose=none",
			"crash " + one + " lose=all",
			"crash " + one + " lose=torn reset=no",
			"power * lose=all",
			"isolate " + one,
			"pause " + one,
			"freeze " + one,
			fmt.Sprintf("jump %s by=%ds", one, dice.Between(1, 90)),
			fmt.Sprintf("drift %s rate=%d", one, dice.Between(900000, 1100000)),
			"cut " + one + ">" + other,
			"cut " + one + "<>" + other,
			"split " + halves,
			"flap " + halves + " period=5s",
			fmt.Sprintf("drop *>* rate=%d", rate),
			fmt.Sprintf("duplicate *>* rate=%d", rate),
			fmt.Sprintf("replay *>* rate=%d within=20s", rate),
			fmt.Sprintf("reorder *>* rate=%d by=3s", rate),
		}
		at := dice.Between(2_000, 50_000) + i // not two alike
		fmt.Fprintf(&text, "fault %dms %dms %s\n", at, dice.Between(50, 13_000), kinds[dice.Below(len(kinds))])
	}
	return text.String()
}
