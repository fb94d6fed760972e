package zen

import (
	"fmt"
	"strings"
	"testing"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/sim"
)

// With the minimum at a majority: whatever happened, never do two masters acknowledge,
// and when the faults are over all follow one master. (Acknowledged updates may be lost:
// see the recipe zen-loses-f8.)
func TestOneMasterWhateverHappens(t *testing.T) {
	for _, protocol := range []string{"zen", "zen/document"} {
		for seed := uint64(1); seed <= 25; seed++ {
			x := run(t, randomFaults(seed), named(t, protocol))
			if n := x.Measures.TwoLeaders; n > 0 {
				t.Errorf("%s: %d times two masters acknowledged", protocol, n)
			}
			for _, s := range x.Final {
				if x.Leader == 0 || s.Leader != x.Leader {
					t.Errorf("%s: at the end n%d follows n%d, and n%d leads", protocol, s.Node, s.Leader, x.Leader)
				}
			}
			if t.Failed() {
				t.Fatalf("seed %d:\n%s", seed, randomFaults(seed))
			}
		}
	}
}

// The same schedules see two masters when one node is enough.
func TestRandomFaultsFindAMinimumOfOneM109(t *testing.T) {
	for seed := uint64(1); seed <= 25; seed++ {
		if run(t, randomFaults(seed)+"broken no-minimum\n", named(t, "zen")).Measures.TwoLeaders > 0 {
			return
		}
	}
	t.Error("nothing is seen")
}

// randomFaults is a recipe with eight faults, over three minutes before it ends: it may
// take half of that until silence is noticed.
func randomFaults(seed uint64) string {
	dice := sim.Stream(seed, "random faults")
	voters := []int{3, 5, 7}[seed%3]
	nodes := make([]lab.Node, voters)
	for i := range nodes {
		nodes[i] = lab.Node(i + 1)
	}
	list := func(nodes []lab.Node) string {
		return "n" + strings.ReplaceAll(strings.Trim(fmt.Sprint(nodes), "[]"), " ", ",n")
	}
	var text strings.Builder
	fmt.Fprintf(&text, "quorate recipe 2\nseed %d\nlength 480s\nvoters %s\nworkload every 10s\n", seed, list(nodes))
	for i := range 8 {
		dice.Shuffle(nodes)
		half := dice.Between(1, voters-1)
		halves, one, other := list(nodes[:half])+"/"+list(nodes[half:]), list(nodes[:1]), list(nodes[1:2])
		rate := dice.Between(50, 350)
		kinds := []string{
			"crash " + one + " lose=none",
			"crash " + one + " lose=torn reset=no",
			"power * lose=all",
			"wipe " + one,
			"isolate " + one,
			"pause " + one,
			"cut " + one + ">" + other,
			"cut " + one + "<>" + other,
			"split " + halves,
			"flap " + halves + " period=20s",
			fmt.Sprintf("drop *>* rate=%d", rate),
			fmt.Sprintf("duplicate *>* rate=%d", rate),
			fmt.Sprintf("replay *>* rate=%d within=20s", rate),
			fmt.Sprintf("reorder *>* rate=%d by=3s", rate),
		}
		at := dice.Between(4_000, 180_000) + i // not two alike
		fmt.Fprintf(&text, "fault %dms %dms %s\n", at, dice.Between(50, 120_000), kinds[dice.Below(len(kinds))])
	}
	return text.String()
}
