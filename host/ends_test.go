package host

import (
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// A second transfer is refused while one is under way; the first goes on, and who
// asked for it must not hear that it had no effect.
func TestRefusedTransferDoesNotEndTheOneUnderWay(t *testing.T) {
	w := newWorld(t, 3, 1)
	n := w.leader(1)
	a, b := w.nodes[int(n.id.Node)%3], w.nodes[int(n.id.Node+1)%3]
	first, second := n.next(), n.next()
	w.holdMsg = true
	n.in = append(n.in, Transfer{Group: 1, Client: first, To: a.id}, Transfer{Group: 1, Client: second, To: b.id})
	w.step()
	n.want(second, Refused)
	n.pending(first)
	w.holdMsg = false
	w.run(200 * id.Millisecond)
	n.want(first, Done)
	if s, _ := a.host.Group(1); s.Role != raft.Leader {
		t.Error("the first transfer did not happen")
	}
}

// A leader loses an entry that only it had, and nobody proposes any more: the new
// leader's first entry says that it is gone, although the log is shorter.
func TestLostProposalIsSettledInAnIdleGroup(t *testing.T) {
	w := newWorld(t, 3, 1)
	old := w.leader(1)
	w.cut = func(from, to id.NodeID) bool { return from == old.id || to == old.id }
	var lost []ClientID
	for range 5 {
		lost = append(lost, old.next())
		old.in = append(old.in, Propose{Group: 1, Client: lost[len(lost)-1], Data: []byte("lost")})
	}
	again := old.propose(1, "sent again")
	w.run(2 * id.Second)
	w.cut = func(id.NodeID, id.NodeID) bool { return false }
	w.run(2 * id.Second)
	for _, c := range lost {
		old.want(c, Refused)
	}
	old.want(again, Done)
}

// When parked proposals reach their limit, one that may stand in a log is not left
// to wait for ever: its end is unknown.
func TestProposalInDoubtAtTheLimitOfParkedBytesIsUnknown(t *testing.T) {
	w := newWorld(t, 3, 1)
	f := w.follower(w.leader(1))
	f.host.cfg.ParkedBytes = 4
	w.cut = func(id.NodeID, id.NodeID) bool { return true }
	c := f.propose(1, "longer than that")
	w.run(id.Millisecond)
	f.in = append(f.in, Answered{ID: f.host.askID, Unknown: true})
	w.run(id.Millisecond)
	f.want(c, Unknown)
}
