package cluster

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// Election Safety (Raft §5.2): at most one leader per term. A node is a leader if
// it says so of itself, or if it speaks as one.

func (l *life) leads() bool { return l.before.Role == raft.Leader }

func (o *oracles) leader(term id.Term, n *node) {
	known, ok := o.leaders[term]
	if ok && known != n.self {
		o.c.fail("election safety: %v and %v both lead term %d", known, n.self, term)
		return
	}
	if o.leaders[term] = n.self; !ok && !o.c.healed {
		o.c.terms++
	}
}

// office looks at who holds the office, and at whoever just won it.
func (o *oracles) office(l *life, now raft.Status) {
	if now.Role != raft.Leader {
		if l.leads() && now.Term == l.before.Term {
			o.c.mark("leader steps down") // without having heard of another
		}
		return
	}
	o.leader(now.Term, l.n)
	if l.before.Role != raft.Leader || l.before.Term != now.Term {
		o.c.mark("leader elected")
		if now.Term > 1 && len(o.leaders) > 1 {
			o.c.mark("leader changed")
		}
		o.elected(l, now)
		o.complete(l, now)
		o.c.world.At(o.c.world.Now(), o.c.operators)
	}
}

// elected checks that a new leader was voted for by a majority of each half of its
// configuration: its own vote counts when it asks for others' (oracle_vote.go),
// and when there is nobody to ask.
func (o *oracles) elected(l *life, now raft.Status) {
	yes := func(n id.NodeID) bool { return n == l.n.self || o.votes[ballot{n, now.Term}] == l.n.self }
	if !majorities(now.Config, yes) {
		o.c.fail("%v leads term %d without the votes of a majority of %v", l.n.self, now.Term, now.Config)
	}
}

// speaks: only the leader of a term sends these in it.
func (o *oracles) speaks(n *node, m raft.Message) {
	switch m.(type) {
	case raft.Append, raft.Heartbeat, raft.InstallSnapshot, raft.TimeoutNow:
		o.leader(m.SenderTerm(), n)
	}
}
