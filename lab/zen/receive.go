package zen

import (
	"fmt"

	"github.com/quorate/quorate/lab"
)

// sent is phase 1 at a node that receives: it keeps the state for the commit.
// Nothing is applied, and nothing goes to the disk.
func (m *machine) sent(t *lab.Turn, from lab.Node, b Send) {
	s := state{version: b.Version, uuid: b.UUID, master: b.Master, nodes: b.Nodes, recovered: b.Recovered}
	refuse := func(why string) { t.Send(from, SendRefused{UUID: b.UUID, Why: why}) }
	switch {
	case m.master == m.c.Self || m.going != nil:
		refuse("is master itself")
		m.otherMaster(t, from, b.Version, "its state")
		return
	case m.master != 0 && m.master != b.Master:
		t.Rule("R8", fmt.Sprintf("refuses version %d of n%d: its master is n%d", b.Version, b.Master, m.master))
		refuse("has another master")
		return
	case m.master == b.Master && b.Version <= m.applied.version:
		refuse("older than what is applied")
		return
	case !s.hasLife(m.me):
		refuse("is not among the nodes")
		return
	case b.Base == 0:
		s.ops = m.applied.ops.graft(b.Ops)
	case b.Base != m.lastSeen.uuid:
		t.Send(from, SendRefused{UUID: b.UUID, Why: "has not seen what this builds on", Whole: true})
		return
	default:
		s.ops = m.lastSeen.ops.first(b.Keep).push(b.Ops...)
	}
	m.lastSeen = s
	if len(m.pending) == pendingMax {
		m.pending = m.pending[1:]
	}
	m.pending = append(m.pending, s)
	if common(m.applied.ops, s.ops) == m.applied.ops {
		m.show(s.ops)
	}
	t.Send(from, SendAck{UUID: b.UUID})
	if m.c.Broken(ApplyBeforeCommit) {
		m.follow(t, s, func(*lab.Turn) {})
	}
}

// committed is phase 2: the state that was kept is applied, and when it is on
// disk the master hears of it.
func (m *machine) committed(t *lab.Turn, from lab.Node, c Commit) {
	done := func(t *lab.Turn) { t.Send(from, CommitAck{UUID: c.UUID}) }
	if m.applied.uuid == c.UUID {
		m.whenWritten(t, done)
		return
	}
	for i, s := range m.pending {
		if s.uuid != c.UUID {
			continue
		}
		if m.going != nil || m.master != 0 && m.master != s.master {
			return
		}
		m.pending = m.pending[i+1:]
		m.follow(t, s, done)
		return
	}
}

// follow applies another node's state. A node without a master takes whatever
// version it is, even an older one: what it had applied behind it is gone.
func (m *machine) follow(t *lab.Turn, s state, then func(t *lab.Turn)) {
	fresh := m.master != s.master
	if fresh && common(m.applied.ops, s.ops) != m.applied.ops {
		t.Rule("R8", fmt.Sprintf("had version %d, takes version %d of n%d all the same: it has no master", m.applied.version, s.version, s.master))
	} else if fresh {
		t.Rule("R5", fmt.Sprintf("a committed state says n%d is master", s.master))
	}
	m.master, m.role = s.master, follower
	m.adopt(t, s, then)
	if fresh {
		m.refuseJoins(t, "not the master")
		m.watchMaster(t)
	}
}

// otherMaster is R10: of two masters that hear of each other, the one with the
// lower version is to rejoin.
func (m *machine) otherMaster(t *lab.Turn, other lab.Node, version uint64, by string) {
	if m.master != m.c.Self {
		return
	}
	if version > m.applied.version {
		m.giveUp(t, "R10", fmt.Sprintf("n%d is master too (%s), with version %d against %d: rejoins", other, by, version, m.applied.version))
		return
	}
	t.Rule("R10", fmt.Sprintf("n%d is master too (%s), with version %d against %d: tells it to rejoin", other, by, version, m.applied.version))
	t.Send(other, Rejoin{})
}

func (m *machine) toldToRejoin(t *lab.Turn, from lab.Node) {
	if m.master == m.c.Self {
		m.giveUp(t, "R10", fmt.Sprintf("n%d says that this master's state is the older one: rejoins", from))
	}
}
