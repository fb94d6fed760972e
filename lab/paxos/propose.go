package paxos

import (
	"fmt"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// proposal is a slot that a leader has open.
type proposal struct {
	slot     int
	value    value
	accepted nodeSet
	sent     id.Time
}

// pendingWrite waits until its slot is applied.
type pendingWrite struct {
	slot    int
	request lab.Request
}

// pendingRead waits for a round that Q answer, and for the slots of former leaders.
type pendingRead struct {
	round    uint64
	position int
	request  lab.Request
}

// serve answers a client: the leader, or a hint to it.
func (m *multi) serve(t *lab.Turn, r lab.Request) {
	if r.Verb == "lead" {
		t.Rule("D1", "told to ask for the lead")
		if m.role == leading {
			m.quit(t)
		}
		m.prepare(t)
		t.Tell(r, fmt.Sprintf("asks with ballot %d", m.ballot))
		return
	}
	if m.role != leading {
		t.Refuse(r, m.leader, "M3 only the leader proposes; I am a "+m.role.String())
		return
	}
	switch r.Verb {
	case "write":
		if m.next > m.a.decided()+m.window {
			t.Refuse(r, 0, fmt.Sprintf("M5 %d slots are open", m.window))
			return
		}
		m.requests = append(m.requests, pendingWrite{m.next, r})
		v := value{Entry: lab.Entry{Op: r.Op, Epoch: uint64(m.ballot), Client: r.Client}}
		m.next++
		m.propose(t, m.next-1, v)
	case "read":
		if len(m.reads) >= waitingMax {
			t.Refuse(r, 0, fmt.Sprintf("Q1 %d reads wait", waitingMax))
			return
		}
		m.sendRound(t)
		m.reads = append(m.reads, pendingRead{m.round, max(m.recovered, m.a.decided()), r})
	default:
		t.Refuse(r, 0, "M3 this protocol knows write, read and lead")
	}
}

// propose opens a slot with a value.
func (m *multi) propose(t *lab.Turn, position int, v value) {
	p := &proposal{slot: position, value: v}
	m.open = append(m.open, p)
	m.a.accept(t, m.ballot, position, v)
	m.sendProposal(t, p)
	m.answerOwn(t, m.ballot, position)
}

func (m *multi) sendProposal(t *lab.Turn, p *proposal) {
	p.sent = t.Now
	for _, n := range m.c.Peers() {
		if !p.accepted.has(n) {
			t.Send(n, P2a{Ballot: m.ballot, Slot: p.slot, Value: p.value})
		}
	}
}

// onP2b is R4.
func (m *multi) onP2b(t *lab.Turn, from lab.Node, b P2b) {
	if m.role != leading || b.Ballot != m.ballot {
		return
	}
	for i, p := range m.open {
		if p.slot != b.Slot {
			continue
		}
		p.accepted.add(from)
		if p.accepted.len() < m.c.Quorum() && !m.c.Broken(chosenByOne) {
			return
		}
		m.open = append(m.open[:i:i], m.open[i+1:]...)
		for _, n := range m.c.Peers() {
			t.Send(n, Learn{From: p.slot, Values: []value{p.value}})
		}
		m.learn(t, p.slot, p.value)
		return
	}
}

// applied answers what the applied slots settle.
func (m *multi) applied(t *lab.Turn) {
	done := m.a.decided()
	n := 0
	for n < len(m.requests) && m.requests[n].slot <= done {
		w := m.requests[n]
		if m.a.at(w.slot).value.Op == w.request.Op {
			t.Accept(w.request)
		} else {
			t.Fail(w.request, "R2 the slot went to another value")
		}
		n++
	}
	m.requests = append([]pendingWrite(nil), m.requests[n:]...)
	m.answerReads(t)
}

// onPong counts who still answers (D2), and lets reads go (Q1).
func (m *multi) onPong(t *lab.Turn, from lab.Node, p Pong) {
	if m.role != leading || p.Ballot != m.ballot {
		return
	}
	m.pongs[from] = t.Now
	m.rounds[from] = max(m.rounds[from], p.Round)
	m.answerReads(t)
}

func (m *multi) answerReads(t *lab.Turn) {
	if m.role != leading {
		return
	}
	kept := m.reads[:0]
	for _, r := range m.reads {
		answered := 0
		for _, n := range m.c.Voters {
			if m.rounds[n] >= r.round {
				answered++
			}
		}
		if answered >= m.c.Quorum() && m.a.decided() >= r.position {
			t.Serve(r.request, m.a.decided())
		} else {
			kept = append(kept, r)
		}
	}
	m.reads = kept
}
