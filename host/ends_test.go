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

// The bytes of docs/format/ask.md, version 1.
func TestForwardedProposalAndItsAnswerReadAsTheirPageSays(t *testing.T) {
	name := raft.ProposalID{Origin: id.NodeID{Node: 2, Incarnation: 3}, Sequence: 1<<clientBits | 5}
	request := appendForward(nil, 300, name, 7, []byte("data"))
	if want := "\x01\xac\x02\x02\x03\x85\x80\x80\x80\x80\x20\x07data"; string(request) != want {
		t.Errorf("a forwarded proposal is %q, want %q", request, want)
	}
	if f, err := parseForward(request); err != nil || f.group != 300 || f.id != name || f.after != 7 || string(f.data) != "data" {
		t.Errorf("it reads as %+v, %v", f, err)
	}
	for want, a := range map[string]answer{
		"\x01\x00\x00\x00\xac\x02\x09": {index: 300, term: 9},
		"\x01\x01\x02\x01\x00\x00":     {why: raft.NotLeader, leader: id.NodeID{Node: 2, Incarnation: 1}},
		"\x01\x08\x00\x00\x04\x02":     {why: raft.OfficeUncertain, index: 4, term: 2},
	} {
		if got := appendAnswer(nil, a); string(got) != want {
			t.Errorf("%+v is %q, want %q", a, got, want)
		}
		if got, err := parseAnswer([]byte(want)); err != nil || got != a {
			t.Errorf("%q reads as %+v, %v", want, got, err)
		}
		if _, err := parseAnswer([]byte(want + "\x00")); err == nil {
			t.Errorf("%q with a byte behind it is accepted", want)
		}
	}
}
