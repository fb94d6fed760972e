package host

import (
	"fmt"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/trace"
)

// One PUT, step by step, as docs/ARCHITECTURE.md tells it from "The host" to
// "Answered": asked of a follower, forwarded, appended, on disk before anybody
// hears of it, committed, applied, answered by the member that was asked.
func TestOnePutCanBeFollowedEndToEndM83(t *testing.T) {
	w := newWorld(t, 3, 1)
	leader := w.leader(1)
	asked := w.follower(leader)
	w.run(100 * id.Millisecond) // quiet: nothing but heartbeats from here on
	for _, n := range w.nodes {
		n.passes = nil
	}
	asked.hold = true // so that the follower's disk is a step of its own
	c := asked.propose(1, "greeting hello")
	w.run(5 * id.Millisecond)

	want := func(n *node, steps ...string) {
		t.Helper()
		got := walk(n)
		at := 0
		for _, s := range steps {
			i := slices.Index(got[at:], s)
			if i < 0 {
				t.Fatalf("%s: %q does not follow in %q", n.id, s, got)
			}
			at += i + 1
		}
	}
	want(asked, "ask the leader", "persist 1 entry")
	if slices.Contains(walk(asked), "send AppendAccepted") {
		t.Fatalf("%s acknowledged before its disk did: %q", asked.id, walk(asked))
	}
	// The append leaves in the pass that persists, not behind the leader's fsync.
	want(leader, "persist 1 entry", "answer the asker", "send Append of 1", "commit", "apply 1")
	asked.pending(c)

	asked.hold = false
	asked.flush()
	w.run(5 * id.Millisecond)
	want(asked, "ask the leader", "persist 1 entry", "send AppendAccepted", "apply 1", "resolve")
	if r := asked.want(c, Done); string(r.Result) != "did greeting hello" {
		t.Errorf("the answer is %q", r.Result)
	}
	for _, n := range w.nodes {
		if !slices.Equal(n.log[1], []string{"greeting hello"}) {
			t.Errorf("%s applied %q", n.id, n.log[1])
		}
	}
}

// walk names what a node asked of the world, pass by pass, without heartbeats.
func walk(n *node) (steps []string) {
	for _, pass := range n.passes {
		for _, e := range pass {
			switch e := e.(type) {
			case Persist:
				entries := 0
				for _, w := range e.Writes {
					entries += len(w.Entries)
				}
				if entries > 0 {
					steps = append(steps, fmt.Sprintf("persist %d entry", entries))
				}
			case Send:
				switch m := e.Message.(type) {
				case raft.Append:
					steps = append(steps, fmt.Sprintf("send Append of %d", len(m.Entries)))
				case raft.AppendAccepted:
					steps = append(steps, "send AppendAccepted")
				}
			case Ask:
				steps = append(steps, "ask the leader")
			case Answer:
				steps = append(steps, "answer the asker")
			case Apply:
				steps = append(steps, fmt.Sprintf("apply %d", len(e.Entries)))
			case Resolve:
				steps = append(steps, "resolve")
			case Emit:
				if e.Event.Kind == trace.Committed {
					steps = append(steps, "commit")
				}
			}
		}
	}
	return steps
}
