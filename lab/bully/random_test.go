package bully

import (
	"fmt"
	"strings"
	"testing"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/sim"
)

// What is promised, and all that is: when the nodes hear each other again, the largest
// leads and everybody knows it, whatever happened before.
func TestTheLargestLeadsWhenTheFaultsAreOver(t *testing.T) {
	for _, preset := range []string{"plain", "ask-others", "minimum", "hardened"} {
		for seed := uint64(1); seed <= 25; seed++ {
			p := protocol(t, preset)
			text := randomFaults(seed)
			r, err := lab.Template(text, p)
			if err != nil {
				t.Fatal(err)
			}
			x, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Quiet: true})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range x.Final {
				if largest := lab.Node(len(x.Final)); s.Leader != largest {
					t.Fatalf("%s: n%d follows n%d, and not n%d, after\n%s", preset, s.Node, s.Leader, largest, text)
				}
			}
		}
	}
}

// randomFaults is a recipe with ten faults, over 18 s before it ends.
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
	fmt.Fprintf(&text, "quorate recipe 2\nseed %d\nlength 60s\nvoters %s\nworkload every 1s\n", seed, list(nodes))
	for i := range 10 {
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
			"freeze " + one,
			"cut " + one + ">" + other,
			"cut " + one + "<>" + other,
			"split " + halves,
			"flap " + halves + " period=2s",
			fmt.Sprintf("drop *>* rate=%d", rate),
			fmt.Sprintf("duplicate *>* rate=%d", rate),
			fmt.Sprintf("replay *>* rate=%d within=5s", rate),
			fmt.Sprintf("reorder *>* rate=%d by=2s", rate),
		}
		at := dice.Between(2_000, 30_000) + i // not two alike
		fmt.Fprintf(&text, "fault %dms %dms %s\n", at, dice.Between(20, 7_000), kinds[dice.Below(len(kinds))])
	}
	return text.String()
}
