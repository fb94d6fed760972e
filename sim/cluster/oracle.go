package cluster

import (
	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// oracles watch the whole cluster from outside, as nobody in it can. They keep
// records of their own: what each node was seen to write (shadow.go) is compared
// with what it says and does. Each invariant is a file.
type oracles struct {
	c *cluster

	leaders   map[id.Term]id.NodeID   // oracle_leader.go
	chains    map[position]uint64     // oracle_log.go: of every prefix that was ever written
	commits   []termCommit            // oracle_commit.go: by term
	committed []step                  // oracle_commit.go: by index - 1
	global    []applied               // oracle_apply.go: by index - 1
	votes     map[ballot]id.NodeID    // oracle_vote.go
	promised  map[inquiry][]id.NodeID // oracle_prevote.go
	model     reference               // oracle_state.go
	states    []stateAt               // oracle_state.go: hash by applied index
	configs   []raft.ConfigAt         // oracle_config.go: that were applied
	appended  []appended              // likewise: that were ever in a log
}

func newOracles(c *cluster) *oracles {
	o := &oracles{
		c: c, leaders: map[id.Term]id.NodeID{}, chains: map[position]uint64{{}: 0},
		votes: map[ballot]id.NodeID{}, promised: map[inquiry][]id.NodeID{}, model: reference{},
	}
	o.states = []stateAt{{o.hashModel(), 1}}
	return o
}

// pass looks at one pass of one host, before its effects are carried out.
func (o *oracles) pass(l *life, effects []host.Effect) {
	now, open := l.host.Group(theGroup)
	for _, e := range effects {
		switch e := e.(type) {
		case host.Persist:
			o.persist(l, e, now)
		case host.Apply:
			o.apply(l, e)
		}
	}
	if !open {
		return
	}
	o.monotonic(l, now)
	o.bounded(l)
	o.office(l, now)
	o.commit(l, now)
	l.before = now
}

// persist follows what a node writes.
func (o *oracles) persist(l *life, p host.Persist, now raft.Status) {
	s := l.n.shadow
	for _, w := range p.Writes {
		if w.Kind == host.WriteAppend && len(w.Entries) > 0 {
			o.appendOnly(l, w, now)
			o.changes(l, w, now)
		}
		if err := s.written.write(o, w); err != nil {
			o.c.fail("%v: %v", l.n.self, err)
			return
		}
		for _, e := range w.Entries {
			if e.Kind == raft.EntryConfig && now.Role == raft.Leader {
				at, _ := s.written.at(e.Index)
				o.appended = append(o.appended, appended{raft.ConfigAt{Index: e.Index, Config: *e.Config}, at.chain})
			}
		}
		s.pending = append(s.pending, pendingWrite{p.Token, w})
	}
}

// sent looks at a message as it leaves.
func (o *oracles) sent(n *node, s host.Send) {
	o.speaks(n, s.Message)
	o.ballot(n, s)
	o.prevote(n, s)
	o.visible(n, s)
}

// started looks at a node behind its recovery.
func (o *oracles) started(n *node, r raft.Restored, v mapView) {
	o.recovered(n, r)
	o.onDisk(n) // what was read may have been in the page cache only
	o.state(n, v, "after its start")
}

// applied looks at a machine behind an apply.
func (o *oracles) applied(l *life, a host.Apply, done host.ApplyDone) {
	if done.Err != nil {
		o.c.fail("%v: the machine refuses entry %d: %v", l.n.self, a.Entries[0].Index, done.Err)
		return
	}
	o.state(l.n, l.view(), "after an apply")
}

// installed looks at a machine behind the installation of a snapshot.
func (o *oracles) installed(l *life, i host.Install) {
	o.state(l.n, l.view(), "after a snapshot")
}
