package twophase

import (
	"fmt"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// machine is one life of a node: a participant, and at r1 the coordinator as well
// (coordinator.go).
//
// Invariant: the log is what was decided, and at most one position behind it that
// is in doubt.
type machine struct {
	c     lab.Config
	wait  id.Duration // for votes and answers: R5, R6
	log   *lab.Log
	token id.Token // of the newest record
	ask   id.Time  // participant in doubt: asks again
	opens id.Token // coordinator: its file is synced; until then it does nothing
	long  bool     // it has been in doubt for so long that it asked: the role says so

	now    *transaction // coordinator: the one that runs
	queue  []lab.Request
	acked  [10]int  // coordinator: up to where each knows the decisions
	away   [10]bool // coordinator: did not vote or answer
	remind id.Time  // coordinator: tells who has not acknowledged
}

const (
	file        = "transactions"
	queueMax    = 16
	decisionMax = 500 // entries in one Decision
)

func newMachine(c lab.Config) *machine {
	return &machine{
		c: c, log: lab.NewLog(), ask: id.Never, remind: id.Never,
		wait: c.Settings.Duration("vote-wait", id.Second, id.Millisecond, 600*id.Second),
	}
}

func (m *machine) coordinator() lab.Node { return m.c.Ranks[0] }
func (m *machine) coordinates() bool     { return m.c.Self == m.coordinator() }

// inDoubt tells whether it voted yes and knows no decision.
func (m *machine) inDoubt() bool { return m.log.Len() > m.log.Decided() }

// Step takes one event.
func (m *machine) Step(t *lab.Turn, e lab.Event) {
	switch e := e.(type) {
	case lab.Started:
		m.restore(t, e.Files[file])
		if m.opens == 0 {
			m.start(t)
		}
	case lab.Received:
		m.receive(t, e.From, e.Message)
	case lab.Durable:
		m.durable(t, e.Token)
	case lab.Due:
		m.due(t)
	case lab.Asked:
		m.serve(t, e.Request)
	case lab.Reset:
		if m.coordinates() {
			m.missing(t, e.Node, "the connection to it broke")
		}
	}
}

// Deadline is the next timer.
func (m *machine) Deadline() id.Time {
	next := min(m.ask, m.remind)
	if m.now != nil && !m.now.decided {
		next = min(next, m.now.ends)
	}
	return next
}

// View is what it believes. The coordinator leads as long as it runs.
func (m *machine) View() lab.View {
	v := lab.View{Role: "participant", Leader: m.coordinator(), Log: m.log}
	switch {
	case m.coordinates():
		v.Role, v.Leads = "coordinator", m.opens == 0
	case m.long:
		v.Role = "in doubt"
	}
	return v
}

// Details are the running transaction, and who is missed.
func (m *machine) Details() []trace.Field {
	var fields []trace.Field
	if m.now != nil {
		fields = append(fields, trace.Num("transaction", uint64(m.now.position)), trace.Num("votes", uint64(m.now.yes())))
	}
	for _, n := range m.c.Voters {
		if m.away[n] {
			fields = append(fields, trace.Num("away", n))
		}
	}
	return fields
}

// restore reads the file. What a killed process left may be in the cache only, and
// must be on disk before anybody hears of it:
//
//	n5 writes "committed", is killed before the fsync, starts again and tells it. The
//	power fails: n5 finds the position undecided and aborts it (R7)
func (m *machine) restore(t *lab.Turn, records []lab.Body) {
	if len(records) > 0 && !m.c.Broken(voteUnsynced) {
		m.token = t.Sync(file)
		if m.coordinates() {
			m.opens = m.token
		}
	}
	for _, b := range records {
		switch r := b.(type) {
		case preparedRecord:
			m.log.Set(r.position, r.entry)
		case decidedRecord:
			m.log.Set(r.position, r.entry)
			m.log.Decide(r.position)
		}
	}
}

// start: R7 at the coordinator; a participant asks what it missed.
func (m *machine) start(t *lab.Turn) {
	if !m.coordinates() {
		t.Send(m.coordinator(), Inquire{Position: m.log.Decided() + 1})
		if m.inDoubt() {
			t.Rule("R6", fmt.Sprintf("started in doubt about position %d: it asks", m.log.Len()))
			m.ask, m.long = t.Now.Add(m.wait), true
		}
		return
	}
	m.remind = t.Now
	if m.inDoubt() {
		t.Rule("R7", fmt.Sprintf("position %d was not decided before the crash: aborted", m.log.Len()))
		m.now = &transaction{position: m.log.Len(), entry: m.log.Last()}
		m.decide(t, lab.Entry{Kind: aborted})
	}
}

func (m *machine) receive(t *lab.Turn, from lab.Node, body lab.Body) {
	m.away[from] = false
	switch b := body.(type) {
	case Prepare:
		m.onPrepare(t, from, b)
	case Vote:
		m.onVote(t, from, b)
	case Decision:
		m.onDecision(t, from, b)
	case Ack:
		m.acked[from] = max(m.acked[from], b.Position)
	case Inquire:
		m.acked[from] = b.Position - 1 // it may have forgotten: a wiped disk
		if m.opens == 0 && m.log.Decided() >= b.Position {
			m.tell(t, from)
		}
	}
}

func (m *machine) due(t *lab.Turn) {
	if t.Now >= m.ask {
		m.doubt(t)
	}
	if m.now != nil && !m.now.decided && t.Now >= m.now.ends {
		m.late(t)
	}
	if t.Now >= m.remind {
		m.remind = t.Now.Add(m.wait)
		for _, n := range m.c.Peers() {
			if m.away[n] || m.acked[n] < m.log.Decided() {
				m.tell(t, n)
			}
		}
	}
}

// persist writes a record and remembers when it will be durable.
func (m *machine) persist(t *lab.Turn, r lab.Body) {
	t.Write(file, r)
	if !m.c.Broken(voteUnsynced) {
		m.token = t.Sync(file)
	}
}

// onPrepare is R2 and R3.
func (m *machine) onPrepare(t *lab.Turn, from lab.Node, p Prepare) {
	if next := m.log.Decided() + 1; p.Position != next {
		t.Rule("R3", fmt.Sprintf("votes no: position %d is asked, my next is %d", p.Position, next))
		t.Send(from, Vote{Position: p.Position, Op: p.Entry.Op})
		t.Send(from, Inquire{Position: next})
		return
	}
	m.log.Set(p.Position, p.Entry)
	m.persist(t, preparedRecord{p.Position, p.Entry})
	m.ask = t.Now.Add(m.wait)
	t.SendAfter(m.token, from, Vote{Position: p.Position, Op: p.Entry.Op, Yes: true})
}

// onDecision applies decisions in order.
func (m *machine) onDecision(t *lab.Turn, from lab.Node, d Decision) {
	for i, e := range d.Entries {
		position := d.From + i
		if position != m.log.Decided()+1 {
			continue
		}
		if e.Kind == aborted && m.log.Len() >= position {
			t.Rule("R5", fmt.Sprintf("position %d is aborted: it is forgotten", position))
		}
		m.settle(t, position, e)
	}
	t.SendAfter(m.token, from, Ack{Position: m.log.Decided()})
}

// settle makes a position decided.
func (m *machine) settle(t *lab.Turn, position int, e lab.Entry) {
	m.log.Set(position, e)
	m.log.Decide(position)
	m.ask, m.long = id.Never, false
	m.persist(t, decidedRecord{position, e})
}

// doubt is R6.
func (m *machine) doubt(t *lab.Turn) {
	m.ask = id.Never
	if !m.inDoubt() {
		return
	}
	if m.c.Broken(unilateralAbort) {
		t.Rule("R6", fmt.Sprintf("no decision about position %d: it aborts by itself", m.log.Len()))
		m.settle(t, m.log.Len(), lab.Entry{Kind: aborted})
		return
	}
	t.Rule("R6", fmt.Sprintf("voted yes for position %d and knows no decision: it waits and asks", m.log.Len()))
	m.ask, m.long = t.Now.Add(m.wait), true
	t.Send(m.coordinator(), Inquire{Position: m.log.Decided() + 1})
}
