package cluster

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// Election Safety (Raft §5.2): at most one leader per term. A node is a leader if
// it says so of itself, or if it speaks as one.

func (l *life) leads() bool { return l.before.Role == raft.Leader }

func (o *oracles) leader(term id.Term, n *node) {
	if known, ok := o.leaders[term]; ok && known != n.self {
		o.c.fail("election safety: %v and %v both lead term %d", known, n.self, term)
		return
	}
	o.leaders[term] = n.self
}

// office looks at who holds the office, and at whoever just won it.
func (o *oracles) office(l *life, now raft.Status) {
	if now.Role != raft.Leader {
		return
	}
	o.leader(now.Term, l.n)
	if l.before.Role != raft.Leader || l.before.Term != now.Term {
		o.c.mark("leader elected")
		if now.Term > 1 && len(o.leaders) > 1 {
			o.c.mark("leader changed")
		}
		o.complete(l, now)
		o.c.world.At(o.c.world.Now(), o.c.operators)
	}
}

// speaks: only the leader of a term sends these in it.
func (o *oracles) speaks(n *node, m raft.Message) {
	switch m.(type) {
	case raft.Append, raft.Heartbeat, raft.InstallSnapshot, raft.TimeoutNow:
		o.leader(m.SenderTerm(), n)
	}
}
