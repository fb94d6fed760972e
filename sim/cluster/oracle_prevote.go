package cluster

import (
	"slices"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// inquiry is one "would you vote for me": who asked, and for which term.
type inquiry struct {
	candidate id.NodeID
	term      id.Term
}

// prevote checks that nobody raises its term for an election unless a majority
// had promised its vote (thesis §9.6): an isolated node comes back with the term
// it left with and deposes nobody. A leadership transfer is the exception, the
// leader itself asks for it.
func (o *oracles) prevote(n *node, s host.Send) {
	switch m := s.Message.(type) {
	case raft.PreVote:
		q := inquiry{s.To, m.For}
		if m.Granted && !slices.Contains(o.promised[q], n.self) {
			o.promised[q] = append(o.promised[q], n.self)
		}
	case raft.RequestVote:
		if m.Transfer {
			return
		}
		q := inquiry{n.self, m.Term}
		yes := func(v id.NodeID) bool { return v == n.self || slices.Contains(o.promised[q], v) }
		if !majorities(n.life.before.Config, yes) {
			o.c.fail("pre-vote: %v stands for election in term %d; only %v had promised their votes", n.self, m.Term, o.promised[q])
		}
	}
}
