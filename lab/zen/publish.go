package zen

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// desk is what waits at a master for the next update: one update is published at
// a time, and takes with it everything that waits.
type desk struct {
	writes []lab.Request
	joins  []member
	leaves []member
	rejoin func(t *lab.Turn) // the office is lost, but the running update comes first
}

// publication is one update on its way through the two phases.
type publication struct {
	state  state
	writes []lab.Request
	joins  []member

	unanswered []lab.Node // phase 1
	acked      []lab.Node
	applied    []lab.Node // phase 2
	gone       []lab.Node // acknowledged, and then their connection broke
	committed  bool
	adopting   bool // the master itself applies, the last step
	commitBy   id.Time
	publishBy  id.Time
}

func (p *publication) deadline() id.Time {
	switch {
	case p.adopting:
		return id.Never
	case p.committed:
		return p.publishBy
	}
	return min(p.commitBy, p.publishBy)
}

// successor is the applied state's next version.
func (m *machine) successor() state {
	s := m.applied
	m.made++
	s.version, s.uuid = s.version+1, m.c.Self<<48|m.me.Life<<32|m.made
	s.nodes = slices.Clone(s.nodes)
	return s
}

// nextUpdate publishes what waits, if this node is master and free to.
func (m *machine) nextUpdate(t *lab.Turn) {
	if m.master != m.c.Self || m.going != nil {
		return
	}
	d := &m.desk
	if d.rejoin != nil {
		d.rejoin(t)
		return
	}
	d.leaves = slices.DeleteFunc(d.leaves, func(l member) bool { return !m.applied.hasLife(l) })
	recovery := m.gather != nil && m.gather.done
	if len(d.writes)+len(d.joins)+len(d.leaves) == 0 && !recovery {
		return
	}
	s := m.successor()
	s.nodes = slices.DeleteFunc(s.nodes, func(n member) bool { return slices.Contains(d.leaves, n) })
	for _, j := range d.joins {
		s.nodes = remember(s.nodes, j)
	}
	if seen := m.eligibles(s.others(0)); seen < m.s.minimum && !m.c.Broken(NoStepDown) {
		m.rejoin(t, "R9", fmt.Sprintf("sees %d of the %d nodes a master needs: steps down", seen, m.s.minimum))
		return
	}
	if recovery {
		m.recoverInto(&s)
	}
	writes := d.writes[:min(len(d.writes), batchMax)]
	for _, w := range writes {
		s.ops = s.ops.push(lab.Entry{Op: w.Op, Epoch: s.version, Client: w.Client})
	}
	joins := d.joins
	d.writes, d.joins, d.leaves = slices.Clone(d.writes[len(writes):]), nil, nil
	m.publish(t, s, slices.Clone(writes), joins)
}

// publish begins phase 1 (R6).
func (m *machine) publish(t *lab.Turn, s state, writes []lab.Request, joins []member) {
	p := &publication{
		state: s, writes: writes, joins: joins,
		unanswered: s.others(m.c.Self),
		commitBy:   t.Now.Add(m.s.commit), publishBy: t.Now.Add(m.s.publish),
	}
	m.going = p
	m.show(s.ops)
	if len(writes) == 0 {
		t.Rule("R6", fmt.Sprintf("publishes version %d: the nodes are %s", s.version, names(s.nodes)))
	} else {
		t.Rule("R6", fmt.Sprintf("publishes version %d", s.version))
	}
	// With a minimum of 1 the master alone commits, before anybody has the state.
	m.progress(t)
	for _, n := range s.nodes {
		if n.Node != m.c.Self {
			whole := !m.applied.hasLife(n) || slices.Contains(joins, n)
			m.send(t, n.Node, s, whole)
		}
	}
}

func (m *machine) send(t *lab.Turn, to lab.Node, s state, whole bool) {
	b := Send{Version: s.version, UUID: s.uuid, Master: s.master, Nodes: slices.Clone(s.nodes), Recovered: s.recovered}
	if !whole {
		b.Base, b.Keep = m.applied.uuid, common(m.applied.ops, s.ops).len()
	}
	b.Ops = s.ops.behind(b.Keep)
	t.Send(to, b)
}

func (m *machine) sendAcked(t *lab.Turn, from lab.Node, a SendAck) {
	if m.past != nil && m.past.state.uuid == a.UUID && m.master == m.c.Self {
		t.Send(from, Commit{UUID: a.UUID, Version: m.past.state.version})
		return
	}
	p := m.going
	if p == nil || p.state.uuid != a.UUID || !slices.Contains(p.unanswered, from) {
		return // of an earlier update: a later one holds all of it
	}
	p.unanswered = without(p.unanswered, from)
	p.acked = append(p.acked, from)
	if p.committed { // a straggler
		t.Send(from, Commit{UUID: p.state.uuid, Version: p.state.version})
	}
	m.progress(t)
}

func (m *machine) sendRefused(t *lab.Turn, from lab.Node, r SendRefused) {
	p := m.going
	if p == nil || p.state.uuid != r.UUID {
		return
	}
	if r.Whole {
		m.send(t, from, p.state, true)
		return
	}
	p.unanswered = without(p.unanswered, from)
	m.progress(t)
}

func (m *machine) commitAcked(t *lab.Turn, from lab.Node, a CommitAck) {
	p := m.going
	if p == nil || p.state.uuid != a.UUID || slices.Contains(p.applied, from) {
		return
	}
	p.applied = append(p.applied, from)
	m.progress(t)
}

func (m *machine) publicationReset(t *lab.Turn, node lab.Node) {
	if p := m.going; p != nil && p.state.has(node) {
		p.unanswered = without(p.unanswered, node)
		p.gone = append(without(p.gone, node), node)
		m.progress(t)
	}
}

// progress takes the update to its next phase if what it waits for is there, and
// gives it up if it cannot come any more.
func (m *machine) progress(t *lab.Turn) {
	p, needed := m.going, m.s.minimum-1
	if p.adopting {
		return
	}
	acks := m.eligibles(p.acked)
	if !p.committed && acks >= needed {
		p.committed = true
		if needed > 0 {
			t.Rule("R6", fmt.Sprintf("%d acknowledgements with its own: version %d is committed", acks+1, p.state.version))
		}
		m.log.Decide(p.state.ops.len())
		for _, n := range p.acked {
			t.Send(n, Commit{UUID: p.state.uuid, Version: p.state.version})
		}
	}
	if !p.committed && acks+m.eligibles(p.unanswered) < needed {
		m.uncommitted(t, "too few nodes are left that could acknowledge")
		return
	}
	if !p.committed || len(p.unanswered) > 0 {
		return
	}
	for _, n := range p.acked {
		if !slices.Contains(p.applied, n) && !slices.Contains(p.gone, n) {
			return
		}
	}
	m.adoptOwn(t)
}

func (m *machine) publicationDue(t *lab.Turn) {
	p := m.going
	if p == nil || t.Now < p.deadline() {
		return
	}
	if !p.committed {
		m.uncommitted(t, "the commit timeout")
		return
	}
	applied := m.eligibles(p.applied) + 1
	if m.c.Broken(NoAnswerAtTimeout) && applied < m.s.minimum && len(p.state.nodes)-len(m.desk.leaves) >= m.s.minimum { // until fault detection ends it
		p.publishBy = t.Now.Add(id.Second)
		return
	}
	t.Rule("R7", fmt.Sprintf("the publish timeout: goes on and answers, though only %d of %d nodes have applied version %d", len(p.applied)+1, len(p.state.nodes), p.state.version))
	m.adoptOwn(t)
}

// uncommitted ends an update that too few acknowledged. Nobody has applied it and
// nobody will: its commit was never sent.
func (m *machine) uncommitted(t *lab.Turn, why string) {
	p := m.going
	m.going = nil
	t.Rule("R6", fmt.Sprintf("%d of %d acknowledgements, and %s: version %d is rejected", m.eligibles(p.acked)+1, m.s.minimum, why, p.state.version))
	for _, w := range p.writes {
		t.Refuse(w, 0, "R6 not committed: "+why)
	}
	for _, j := range p.joins {
		t.Send(j.Node, JoinAnswer{Refused: "not committed"})
	}
	m.show(m.applied.ops)
	if m.role == master && m.c.Broken(NoStepDown) {
		m.nextUpdate(t)
		return
	}
	m.rejoin(t, "R6", "a master whose update is not committed steps down: a ping round")
}

// adoptOwn is the last step of a publication: the master applies.
func (m *machine) adoptOwn(t *lab.Turn) {
	p := m.going
	p.adopting = true
	if m.master != m.c.Self {
		t.Rule("R4", "is master")
	}
	m.master, m.role = m.c.Self, master
	m.adopt(t, p.state, func(t *lab.Turn) { m.published(t, p) })
	m.watchMembers(t)
}

func (m *machine) published(t *lab.Turn, p *publication) {
	m.going, m.past = nil, p
	for _, w := range p.writes {
		if m.c.Broken(NoAnswerAtTimeout) && m.eligibles(p.applied)+1 < m.s.minimum {
			t.Fail(w, "R7 committed, but too few have applied it")
			continue
		}
		t.Accept(w)
	}
	for _, j := range p.joins {
		t.Send(j.Node, JoinAnswer{})
	}
	m.recover(t)
	m.nextUpdate(t)
}

// rejoin gives up whatever office or master this node had.
func (m *machine) rejoin(t *lab.Turn, rule, why string) {
	for _, w := range m.desk.writes {
		t.Refuse(w, 0, rule+" the master steps down")
	}
	m.refuseJoins(t, "not the master any more")
	m.desk, m.gather = desk{}, nil
	m.master, m.pending = 0, nil
	m.show(m.applied.ops)
	m.search(t, rule, why)
}

// giveUp is rejoin, behind the running update.
func (m *machine) giveUp(t *lab.Turn, rule, why string) {
	if m.c.Broken(NoStepDown) {
		return
	}
	if m.going == nil {
		m.rejoin(t, rule, why)
		return
	}
	m.desk.rejoin = func(t *lab.Turn) { m.rejoin(t, rule, why) }
}

func without(nodes []lab.Node, node lab.Node) []lab.Node {
	return slices.DeleteFunc(nodes, func(n lab.Node) bool { return n == node })
}
