package bully

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/lab"
)

// request is a client's request. Only who leads answers.
func (m *machine) request(t *lab.Turn, r lab.Request) {
	switch {
	case r.Verb != "write" && r.Verb != "read":
		t.Refuse(r, 0, "bully knows write and read, not "+r.Verb)
	case m.dead:
		t.Refuse(r, 0, fmt.Sprintf("R3 fewer than %d of %d are heard", m.c.Quorum(), len(m.c.Voters)))
	case m.role == electing || m.role == waitVictory:
		t.Refuse(r, 0, "R4 an election is running")
	case m.role != leading && m.leader == 0:
		t.Refuse(r, 0, "R8 no leader is known")
	case m.role != leading:
		t.Refuse(r, m.leader, fmt.Sprintf("R8 n%d leads", m.leader))
	case r.Verb == "read":
		t.Serve(r, m.log.Len())
	case len(m.open) >= openMax:
		t.Refuse(r, 0, fmt.Sprintf("R7 %d writes wait for a majority already", openMax))
	default:
		m.write(t, r)
	}
}

// write applies, broadcasts and answers: at once, or at a majority.
func (m *machine) write(t *lab.Turn, r lab.Request) {
	e := lab.Entry{Op: r.Op, Epoch: m.epoch, Client: r.Client}
	u := update{m.epoch, m.log.Append(e), e}
	m.log.Decide(u.position)
	t.Write("state", u)
	m.broadcast(t, u)
	if !m.quorumAcks || m.c.Quorum() == 1 {
		t.Accept(r)
		return
	}
	m.open = append(m.open, openWrite{u.position, r})
}

// replicate handles the messages of the replication.
func (m *machine) replicate(t *lab.Turn, from lab.Node, b lab.Body) {
	switch b := b.(type) {
	case update:
		if from == m.leader && !m.copying {
			m.update(t, from, b)
		}
	case state:
		if from == m.leader && m.copying { // one that comes again or late is of the past
			m.take(t, from, b.entries)
		}
	case copyRequest:
		if m.role == leading {
			t.Send(from, state{m.epoch, m.log.From(0)})
		}
	case stored:
		m.countStored(t, from, b.position)
	}
}

// update applies what the leader applied. A hole, or another operation at the
// position, means that the states differ: the leader's is taken whole.
func (m *machine) update(t *lab.Turn, from lab.Node, u update) {
	switch {
	case u.position == m.log.Len()+1:
		m.log.Append(u.entry)
		m.log.Decide(u.position)
		t.Write("state", u)
	case u.position <= m.log.Len() && m.log.At(u.position) == u.entry:
	default:
		m.copying = true
		t.Send(from, copyRequest{m.epoch})
		return
	}
	m.confirm(t, from)
}

// take replaces the state by the leader's.
func (m *machine) take(t *lab.Turn, from lab.Node, entries []lab.Entry) {
	same, had := 0, m.log.Len()
	for same < had && same < len(entries) && m.log.At(same+1) == entries[same] {
		same++
	}
	m.copying = false
	if same < had {
		t.Rule("R8", fmt.Sprintf("the state of n%d replaces its own: %d operations are gone", from, had-same))
	}
	if same < had || same < len(entries) {
		m.log.Replace(entries)
		m.log.Decide(len(entries))
		t.Write("state", taken{same, entries[same:]})
	}
	m.confirm(t, from)
}

// confirm tells the leader how much it has, where the leader waits for that.
func (m *machine) confirm(t *lab.Turn, leader lab.Node) {
	if m.quorumAcks {
		t.Send(leader, stored{m.epoch, m.log.Len()})
	}
}

// countStored answers what a majority has.
func (m *machine) countStored(t *lab.Turn, from lab.Node, position int) {
	i := slices.Index(m.peers, from)
	if m.role != leading || i < 0 {
		return
	}
	m.stored[i] = max(m.stored[i], position)
	sorted := slices.Sorted(slices.Values(m.stored))
	held := sorted[len(sorted)-(m.c.Quorum()-1)]
	for len(m.open) > 0 && m.open[0].position <= held {
		t.Accept(m.open[0].request)
		m.open = m.open[1:]
	}
}

// restore rebuilds epoch and state from the disk; it ends where a record does not
// continue what was read, as after a loss in the middle.
func (m *machine) restore(files map[string][]lab.Body) {
	for _, b := range files["epoch"] {
		m.epoch = b.(epochRecord).epoch
	}
	for _, b := range files["state"] {
		switch b := b.(type) {
		case update:
			if b.position != m.log.Len()+1 {
				return
			}
			m.log.Append(b.entry)
		case taken:
			if b.behind > m.log.Len() {
				return
			}
			m.log.Truncate(b.behind)
			for _, e := range b.entries {
				m.log.Append(e)
			}
		}
		m.log.Decide(m.log.Len())
	}
}
