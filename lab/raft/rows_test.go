package raft

import (
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/recipes"
)

// row is what the fault scripts show of a preset.
type row struct {
	gap     id.Duration // longest without an acknowledged write, at most
	least   id.Duration // … and at least
	changes int         // of leader, at most
}

// The rows of the matrix. In none of them is there a second leader in one term, a
// second acknowledging leader, a lost or doubled operation, a divergence or a stale
// read: that is checked for all. Raft's scripts run at a tenth of their waiting
// times, for which its T of 0.3 s leaves room; Consul's with an operation every two seconds.
func TestRowOfRaft(t *testing.T) {
	const s, ms = id.Second, id.Millisecond
	pin(t, Protocols()[0], func(text string) string {
		for _, span := range []string{"60s", "50s", "80s", "20s", "70s"} {
			text = strings.ReplaceAll(text, span, strings.Replace(span, "0s", "s", 1))
		}
		return text
	}, map[string]row{
		"f1": {s, 200 * ms, 1}, "f1s": {s, 200 * ms, 1},
		"f2": {s, 200 * ms, 1}, "f3": {12 * s, 6 * s, 1},
		"f4": {s, 200 * ms, 1}, "f4f": {300 * ms, 0, 0}, "f5": {300 * ms, 0, 0}, "f6": {s, 200 * ms, 1},
		"f7": {3 * s, 0, 0}, "f8": {s, 200 * ms, 1}, "f8n": {s, 200 * ms, 1},
		"f9": {17 * s, 4 * s, 1}, "f10": {300 * ms, 0, 0}, "f10w": {s, 200 * ms, 1},
		"f11": {s, 200 * ms, 2}, "f12a": {300 * ms, 0, 0}, "f12b": {s, 200 * ms, 1},
	})
}

// M123: Consul's timing is a preset of our Raft. The gaps are 5 to 10 s and what
// waiting for the next operation adds.
func TestRowOfConsulsTimingM123(t *testing.T) {
	const s = id.Second
	lost := row{13 * s, 5 * s, 1}
	none := row{3 * s, 0, 0}
	pin(t, Protocols()[1], func(text string) string {
		if !strings.Contains(text, "workload every") {
			text += "workload every 2s\n"
		}
		return text
	}, map[string]row{
		"f1": lost, "f1s": lost, "f2": lost, "f3": {80 * s, 60 * s, 1}, "f4": lost, "f4f": none, "f5": none, "f6": lost,
		"f7": {25 * s, 0, 0}, "f8": lost, "f8n": lost, "f9": {35 * s, 15 * s, 1}, "f10": none, "f10w": lost,
		"f11": {13 * s, 5 * s, 2}, "f12a": none, "f12b": lost,
	})
}

func pin(t *testing.T, p lab.Protocol, shorten func(string) string, rows map[string]row) {
	for _, name := range recipes.Scripts() {
		want, ok := rows[name]
		if !ok {
			t.Errorf("no row says what %s shows", name)
			continue
		}
		text, _ := recipes.Text(name)
		for seed := uint64(1); seed <= 2; seed++ {
			_, result := run(t, shorten(text), p, seed)
			m := result.Measures
			if m.SameEpoch+m.TwoLeaders+m.Lost+m.LostWorst+m.Divergent+m.Stale+m.Twice != 0 {
				t.Errorf("%s, seed %d: %+v", name, seed, m)
			}
			if m.Gap > want.gap || m.Gap < want.least || m.Changes > want.changes {
				t.Errorf("%s, seed %d: gap %d ms and %d changes, want %+v", name, seed, m.Gap/id.Millisecond, m.Changes, want)
			}
			if name == "f10w" && result.Fired("pin") == 0 {
				t.Errorf("f10w, seed %d: the wiped node was let in", seed)
			}
		}
	}
}
