package cluster

import (
	"slices"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
)

// appended is a configuration that some leader appended, committed or not.
type appended struct {
	at    raft.ConfigAt
	chain uint64 // of the log up to it
}

// possible returns the committed configuration and every later one that some
// node's log still holds: any of them may come to be in force.
func (o *oracles) possible() []raft.ConfigAt {
	list := []raft.ConfigAt{{Config: o.c.nodes[0].first}}
	for _, a := range o.appended { // the newest that is committed, whether or not applied
		if i := int(a.at.Index); i <= len(o.committed) && o.committed[i-1].chain == a.chain && a.at.Index > list[0].Index {
			list[0] = a.at
		}
	}
	for _, a := range o.appended {
		held := slices.ContainsFunc(o.c.nodes, func(n *node) bool {
			s, ok := n.shadow.written.at(a.at.Index)
			d, okToo := n.shadow.durable.at(a.at.Index)
			return ok && s.chain == a.chain || okToo && d.chain == a.chain
		})
		if held && a.at.Index > list[0].Index {
			list = append(list, a.at)
		}
	}
	return list
}

// changes checks every configuration that a leader appends: the one before it is
// committed, so is an entry of the leader's own term (Ongaro 2015), and every
// quorum of the one intersects every quorum of the other.
func (o *oracles) changes(l *life, w host.GroupWrite, now raft.Status) {
	for _, e := range w.Entries {
		if e.Kind != raft.EntryConfig || now.Role != raft.Leader || e.Term != now.Term {
			continue
		}
		s := l.n.shadow.written
		if l.before.ConfigAt > now.Commit {
			o.c.fail("one change at a time: %v appends a configuration at %d, the one at %d is not committed (%d is)", l.n.self, e.Index, l.before.ConfigAt, now.Commit)
			return
		}
		if at, ok := s.at(now.Commit); ok && at.term != now.Term {
			o.c.fail("change before own term: %v leads term %d and appends a configuration at %d; its newest committed entry %d has term %d", l.n.self, now.Term, e.Index, now.Commit, at.term)
			return
		}
		if a, b := l.before.Config, *e.Config; a.Version != 0 && !intersect(a, b) {
			o.c.fail("quorums do not intersect: %v goes from %v to %v", l.n.self, a, b)
			return
		}
	}
}

// intersect tells whether no quorum of a can be formed beside one of b, by
// trying every set of nodes. It is written without package quorum, to check it.
func intersect(a, b membership.Config) bool {
	var all []id.NodeID
	for _, c := range []membership.Config{a, b} {
		for _, m := range c.Members {
			if !slices.Contains(all, m.ID) {
				all = append(all, m.ID)
			}
		}
	}
	for set := 0; set < 1<<len(all); set++ {
		in := func(n id.NodeID) bool { return set>>slices.Index(all, n)&1 == 1 }
		if majorities(a, in) && majorities(b, func(n id.NodeID) bool { return !in(n) }) {
			return false
		}
	}
	return true
}
