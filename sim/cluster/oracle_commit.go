package cluster

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
)

// termCommit is the highest index that the leader of a term committed.
type termCommit struct {
	term  id.Term
	index id.Index
}

// commit checks every step of every commit index against the durable logs of all
// nodes, which nobody but an oracle can see:
//
//   - a leader commits by counting only an entry of its own term (Raft §5.4.2);
//   - what a leader commits is durable on a majority of each half of its
//     configuration;
//   - whoever takes a commit index holds the same log up to there as whoever
//     committed it first.
func (o *oracles) commit(l *life, now raft.Status) {
	at := now.Commit
	if at <= l.before.Commit || at == 0 {
		return
	}
	own, ok := l.n.shadow.written.at(at)
	if !ok {
		if at < l.n.shadow.written.start.index {
			return // within its snapshot
		}
		o.c.fail("%v commits %d, but its log ends at %d", l.n.self, at, l.n.shadow.written.last())
		return
	}
	if now.Role == raft.Leader && l.before.Role == raft.Leader && l.before.Term == now.Term {
		if own.term != now.Term {
			o.c.fail("raft §5.4.2: %v leads term %d and commits entry %d of term %d by counting", l.n.self, now.Term, at, own.term)
			return
		}
		o.held(l, now, at, own)
		o.leaderCommitted(now.Term, at)
	}
	if int(at) <= len(o.committed) {
		if known := o.committed[at-1]; known.chain != own.chain {
			o.c.fail("%v commits entry %d of term %d; committed there was one of term %d, or their logs differ before", l.n.self, at, own.term, known.term)
		}
		return
	}
	for i := id.Index(len(o.committed)) + 1; i <= at; i++ {
		s, ok := l.n.shadow.written.at(i)
		if !ok {
			o.c.fail("%v commits %d to %d, which were never seen committed and are not in its log", l.n.self, i, at)
			return
		}
		o.committed = append(o.committed, s)
	}
}

// held checks that an entry is durable on a majority of each half.
func (o *oracles) held(l *life, now raft.Status, at id.Index, s step) {
	holds := func(n id.NodeID) bool {
		if int(n.Node) > len(o.c.nodes) {
			return false
		}
		node := o.c.nodes[n.Node-1]
		return node.self == n && node.shadow.durable.has(at, s)
	}
	// The configuration in force may be newer than what is being committed.
	if !majorities(now.Config, holds) {
		o.c.fail("%v leads term %d and commits %d, which is not durable on a majority of %v", l.n.self, now.Term, at, now.Config)
	}
}

func (o *oracles) leaderCommitted(term id.Term, at id.Index) {
	for i := range o.commits {
		if o.commits[i].term == term {
			o.commits[i].index = max(o.commits[i].index, at)
			return
		}
	}
	o.commits = append(o.commits, termCommit{term, at})
}

// Leader Completeness (Raft §5.4.3): an entry committed in one term is in the log
// of the leader of every later term.
func (o *oracles) complete(l *life, now raft.Status) {
	var newest id.Index
	for _, c := range o.commits {
		if c.term < now.Term {
			newest = max(newest, c.index)
		}
	}
	if newest == 0 {
		return
	}
	if s := o.committed[newest-1]; !l.n.shadow.written.has(newest, s) {
		o.c.fail("leader completeness: %v leads term %d without entry %d of term %d, which is committed", l.n.self, now.Term, newest, s.term)
	}
}

// majorities tells whether yes holds for a majority of each half of a
// configuration. It is written without package quorum, to check it.
func majorities(c membership.Config, yes func(id.NodeID) bool) bool {
	half := func(role func(membership.Member) membership.Role) bool {
		voters, in := 0, 0
		for _, m := range c.Members {
			if role(m) == membership.Voter {
				voters++
				if yes(m.ID) {
					in++
				}
			}
		}
		return 2*in > voters
	}
	if !half(func(m membership.Member) membership.Role { return m.Role }) {
		return false
	}
	return !c.Joint || half(func(m membership.Member) membership.Role { return m.Was })
}
