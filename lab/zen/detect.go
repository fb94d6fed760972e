package zen

import (
	"fmt"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// watch is fault detection of one node: a ping, its answer, a pause, the next. A
// ping without an answer is tried again; the last try that fails, a refusal or a
// broken connection ends it.
type watch struct {
	of       member
	number   uint64  // of the ping that is out; 0: none
	next     id.Time // its timeout, or the next ping
	failures int
	failed   bool
}

// watchMaster is the followers' side (R11).
func (m *machine) watchMaster(t *lab.Turn) {
	m.watches = []watch{{of: member{Node: m.master}, next: t.Now.Add(m.s.detect)}}
	m.foreign = 0
}

// watchMembers is the master's side; who is watched already goes on so.
func (m *machine) watchMembers(t *lab.Turn) {
	var watches []watch
	for _, n := range m.applied.nodes {
		if n.Node == m.c.Self {
			continue
		}
		w := watch{of: n, next: t.Now.Add(m.s.detect)}
		for _, old := range m.watches {
			if old.of == n {
				w = old
			}
		}
		watches = append(watches, w)
	}
	m.watches = watches
}

func (m *machine) watchesDue(t *lab.Turn) {
	for i := range m.watches {
		w := &m.watches[i]
		if t.Now < w.next {
			continue
		}
		if w.number != 0 {
			w.failures++
		}
		if w.failures >= m.s.retries {
			w.failed, w.next = true, id.Never
			continue
		}
		m.numbers++
		w.number, w.next = m.numbers, t.Now.Add(m.s.detectTimeout)
		if m.role == master {
			t.Send(w.of.Node, NodePing{Number: w.number, Life: w.of.Life, Version: m.applied.version})
		} else {
			t.Send(w.of.Node, MasterPing{Number: w.number, Life: m.me.Life})
		}
	}
	m.failed(t, fmt.Sprintf("%d pings without an answer", m.s.retries))
}

// failed acts on watches that have ended. What it leads to may replace them all.
func (m *machine) failed(t *lab.Turn, why string) {
	var gone []member
	for i := range m.watches {
		if m.watches[i].failed {
			gone = append(gone, m.watches[i].of)
			m.watches[i].failed = false
		}
	}
	if len(gone) == 0 {
		return
	}
	if m.role != master {
		m.rejoin(t, "R11", fmt.Sprintf("master n%d: %s; looks for a master", gone[0].Node, why))
		return
	}
	t.Rule("R9", fmt.Sprintf("%s: %s; to be removed", names(gone), why))
	m.desk.leaves = append(m.desk.leaves, gone...)
	m.progressGathering(t)
	m.nextUpdate(t)
}

func (m *machine) answered(t *lab.Turn, from lab.Node, number uint64, refused string) {
	for i := range m.watches {
		w := &m.watches[i]
		if w.of.Node != from || w.number != number {
			continue
		}
		w.number, w.failures, w.next = 0, 0, t.Now.Add(m.s.detect)
		if refused != "" {
			w.failed, w.next = true, id.Never
			m.failed(t, refused)
		}
		return
	}
}

func (m *machine) masterAnswered(t *lab.Turn, from lab.Node, a MasterAnswer) {
	if m.role == follower {
		m.answered(t, from, a.Number, a.Refused)
	}
}

func (m *machine) nodeAnswered(t *lab.Turn, from lab.Node, a NodeAnswer) {
	if m.role == master {
		m.answered(t, from, a.Number, a.Refused)
	}
}

func (m *machine) watchReset(t *lab.Turn, node lab.Node) {
	for i := range m.watches {
		if w := &m.watches[i]; w.of.Node == node && w.next != id.Never {
			w.failed, w.next = true, id.Never
		}
	}
	m.failed(t, "the connection is gone")
}

// masterPinged: who is in an update that is committed but not yet applied by its
// master has applied it before the master, and is right to ping.
func (m *machine) masterPinged(t *lab.Turn, from lab.Node, p MasterPing) {
	a := MasterAnswer{Number: p.Number}
	who := member{Node: from, Life: p.Life}
	switch {
	case m.going != nil && m.going.committed && m.going.state.hasLife(who):
	case m.master != m.c.Self:
		a.Refused = "it is not master"
	case !m.applied.hasLife(who):
		a.Refused = "it does not have this node among its nodes"
	}
	t.Send(from, a)
}

// nodePinged also tells a master that there is another one (R10).
func (m *machine) nodePinged(t *lab.Turn, from lab.Node, p NodePing) {
	if p.Life != m.me.Life {
		t.Send(from, NodeAnswer{Number: p.Number, Refused: "the process is another one"})
		return
	}
	t.Send(from, NodeAnswer{Number: p.Number})
	if m.master != m.c.Self {
		return
	}
	if m.foreign++; m.foreign >= m.s.foreignPings {
		m.foreign = 0
		m.otherMaster(t, from, p.Version, "its pings")
	}
}
