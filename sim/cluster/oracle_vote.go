package cluster

import (
	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// ballot is one node's vote in one term: there is one, across all its lives.
type ballot struct {
	node id.NodeID
	term id.Term
}

// ballot checks that a node votes once per term. A request for votes is a vote
// for oneself.
func (o *oracles) ballot(n *node, s host.Send) {
	var b ballot
	var vote id.NodeID
	switch m := s.Message.(type) {
	case raft.RequestVote:
		b, vote = ballot{n.self, m.Term}, n.self
	case raft.Vote:
		if !m.Granted {
			return
		}
		b, vote = ballot{n.self, m.Term}, s.To
	default:
		return
	}
	if known, ok := o.votes[b]; ok && known != vote {
		o.c.fail("one vote per term: %v votes in term %d for %v, and before for %v", n.self, b.term, vote, known)
		return
	}
	o.votes[b] = vote
	// Durable before visible: a vote that a crash can take back may be given twice.
	d := n.shadow.durable.hard
	if d.Term < b.term || d.Term == b.term && d.Vote != vote {
		o.c.fail("durable before visible: %v sends its vote for %v in term %d, durable are term %d and vote %v", n.self, vote, b.term, d.Term, d.Vote)
	}
}

// visible checks that a term and an acknowledgement leave only when their bytes
// are durable (DESIGN 2).
func (o *oracles) visible(n *node, s host.Send) {
	d := n.shadow.durable
	if t := s.Message.SenderTerm(); t > d.hard.Term {
		o.c.fail("durable before visible: %v sends %T of term %d, its durable term is %d", n.self, s.Message, t, d.hard.Term)
		return
	}
	// An acknowledgement of an older term may leave although the entries were
	// overwritten meanwhile, in the same fsync even: it tells the leader of that term
	// what this node had accepted before it went on to the next. Whatever that leader
	// commits by it was in the log of every voter of the next term's leader.
	if m, ok := s.Message.(raft.AppendAccepted); ok && m.Term == d.hard.Term && m.Match > d.last() {
		o.c.fail("durable before visible: %v acknowledges up to %d, its durable log ends at %d", n.self, m.Match, d.last())
	}
}
