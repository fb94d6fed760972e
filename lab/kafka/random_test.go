package kafka

import (
	"fmt"
	"strings"
	"testing"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/sim"
)

// Whatever crashes, sleeps or is cut off, as long as no power fails: nothing that was
// answered is lost, no two logs disagree, and when the faults are over all replicas
// follow one leader and have what it has.
//
// Not among it: that no two leaders acknowledge at once (C2). A leader that slept finds
// fetches of the whole set in its queue when it wakes, and answers before it hears of
// its successor. Both answers hold: who came after it was in that set.
func TestRandomFaultsLoseNothing(t *testing.T) {
	for seed := uint64(1); seed <= 6; seed++ {
		r := run(t, Protocols()[0], randomFaults(seed))
		shows(t, r, "lost = 0", "lost-worst = 0", "same-epoch = 0", "divergent = 0")
		if r.Leader == 0 {
			t.Fatalf("seed %d: nobody leads at the end", seed)
		}
		for _, s := range r.Final[:5] {
			if s.Leader != r.Leader || s.Length < r.Final[r.Leader-1].Length-2 {
				t.Errorf("seed %d: at the end n%d follows n%d with %d of %d entries", seed, s.Node, s.Leader, s.Length, r.Final[r.Leader-1].Length)
			}
		}
	}
}

// The same runs see it when epochs and versions are not compared.
func TestRandomFaultsFindBrokenFencing(t *testing.T) {
	var m lab.Measures
	for seed := uint64(1); seed <= 6 && m.Lost+m.Divergent+m.TwoLeaders == 0; seed++ {
		m = run(t, Protocols()[0], randomFaults(seed)+"broken no-fencing\n").Measures
	}
	if m.Lost+m.Divergent+m.TwoLeaders == 0 {
		t.Error("six runs without fencing, and nothing is seen")
	}
}

// randomFaults is a recipe with a dozen faults of all kinds but power cuts and lost disks.
func randomFaults(seed uint64) string {
	dice := sim.Stream(seed, "random faults")
	text := fmt.Sprintf("quorate recipe 2\nseed %d\nlength 240s\nvoters all\nspares aux\nconfig lag 10s\nconfig session 6s\nworkload every 500ms\n", seed)
	for range 14 {
		n, m := dice.Between(1, 8), dice.Between(1, 8)
		if m == n {
			m = n%8 + 1
		}
		all := []uint64{1, 2, 3, 4, 5, 6, 7, 8}
		dice.Shuffle(all)
		kinds := []string{
			fmt.Sprintf("crash n%d lose=none", n),
			fmt.Sprintf("crash n%d lose=none reset=no", n),
			fmt.Sprintf("crash n%d lose=none", m),
			fmt.Sprintf("isolate n%d", n),
			fmt.Sprintf("pause n%d", n),
			fmt.Sprintf("cut n%d>n%d", n, m),
			fmt.Sprintf("cut n%d<>n%d", n, m),
			fmt.Sprintf("split n%d,n%d,n%d/n%d,n%d,n%d,n%d,n%d", all[0], all[1], all[2], all[3], all[4], all[5], all[6], all[7]),
			fmt.Sprintf("drop *>* rate=%d", dice.Between(50, 350)),
			fmt.Sprintf("duplicate *>* rate=%d", dice.Between(50, 350)),
			fmt.Sprintf("replay *>* rate=%d within=%ds", dice.Between(50, 350), dice.Between(1, 30)),
			fmt.Sprintf("reorder *>* rate=%d by=%dms", dice.Between(50, 350), dice.Between(1, 3000)),
			"isolate leader",
			"pause leader",
		}
		kind, moment := kinds[dice.Below(len(kinds))], ""
		if strings.Contains(kind, "leader") {
			moment = []string{"@now", "@ack", "@lead"}[dice.Below(3)]
		}
		line := fmt.Sprintf("fault %ds%s %ds %s\n", dice.Between(5, 170), moment, dice.Between(1, 25), kind)
		if !strings.Contains(text, line) {
			text += line
		}
	}
	return text
}
