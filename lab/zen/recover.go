package zen

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/lab"
)

// gathering is R12 at a master that was elected after a full restart: its state
// names the nodes and has no metadata. It reads theirs.
type gathering struct {
	asked   []lab.Node
	heard   []lab.Node
	version uint64
	ops     *chain
	done    bool // to be published
}

// recover begins it, at the end of a publication that is not recovered.
func (m *machine) recover(t *lab.Turn) {
	if m.applied.recovered || m.gather != nil {
		return
	}
	m.gather = &gathering{
		asked: m.applied.others(m.c.Self), heard: []lab.Node{m.c.Self},
		version: m.saved.Version, ops: m.onDisk,
	}
	m.gather.asked = slices.DeleteFunc(m.gather.asked, func(n lab.Node) bool { return !m.eligible(n) })
	for _, n := range m.gather.asked {
		t.Send(n, AskMetadata{})
	}
	m.progressGathering(t)
}

func (m *machine) metadata(t *lab.Turn, from lab.Node, b Metadata) {
	g := m.gather
	if g == nil || g.done || !slices.Contains(g.asked, from) {
		return
	}
	g.asked, g.heard = without(g.asked, from), append(g.heard, from)
	if b.Version > g.version {
		g.version, g.ops = b.Version, m.onDisk.graft(b.Ops)
	}
	m.progressGathering(t)
	m.nextUpdate(t)
}

// progressGathering waits for everybody who is not gone; the minimum must have
// answered, else the next join begins anew.
func (m *machine) progressGathering(t *lab.Turn) {
	g := m.gather
	if g == nil || g.done {
		return
	}
	for _, l := range m.desk.leaves {
		g.asked = without(g.asked, l.Node)
	}
	if len(g.asked) > 0 {
		return
	}
	if len(g.heard) < m.s.minimum {
		t.Rule("R12", fmt.Sprintf("the disks of %d of %d nodes are known: not recovered", len(g.heard), m.s.minimum))
		m.gather = nil
		return
	}
	if g.version == 0 {
		t.Rule("R12", fmt.Sprintf("%d disks are empty: the state is new", len(g.heard)))
	} else {
		t.Rule("R12", fmt.Sprintf("version %d is the highest on %d disks: recovers it", g.version, len(g.heard)))
	}
	g.done = true
}

func (m *machine) recoverInto(s *state) {
	g := m.gather
	m.gather = nil
	s.version = max(m.applied.version, g.version) + 1
	s.ops, s.recovered = g.ops, true
}
