package paxos

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/sim"
)

// tick is called at the deadline.
func (m *multi) tick(t *lab.Turn) {
	switch m.role {
	case following:
		if t.Now >= m.election {
			t.Rule("D1", "no leader heard: it asks for the lead")
			m.prepare(t)
		}
	case preparing:
		if t.Now >= m.retry {
			t.Rule("R5", "the wait is over: again with a higher round")
			m.prepare(t)
		} else if t.Now >= m.due {
			m.ask(t)
		}
	case leading:
		if t.Now >= m.due {
			m.heartbeat(t)
		}
	}
}

// prepare draws a ballot above all it has seen, promises it to itself, and asks
// the others: M1, one question for all slots from the first that is not chosen.
func (m *multi) prepare(t *lab.Turn) {
	if m.role == leading {
		m.open = nil
	}
	m.seen++
	m.role, m.leader, m.retry = preparing, 0, id.Never
	m.ballot = newBallot(m.seen, m.c.Self)
	m.from, m.promised, m.told = m.a.decided()+1, 0, nil
	t.Rule("M1", fmt.Sprintf("asks for promises for ballot %d, for all slots from %d on", m.ballot, m.from))
	m.a.promise(t, m.ballot)
	m.ask(t)
	m.answerOwn(t, m.ballot, 0)
}

func (m *multi) ask(t *lab.Turn) {
	m.due = t.Now.Add(again)
	if m.retry != id.Never {
		m.due = id.Never
		return
	}
	for _, n := range m.c.Peers() {
		if !m.promised.has(n) {
			t.SendAfter(m.a.token, n, P1a{Ballot: m.ballot, From: m.from})
		}
	}
}

// onP1b collects promises, and per slot the acceptance of the highest ballot (R2).
func (m *multi) onP1b(t *lab.Turn, from lab.Node, p P1b) {
	if m.role != preparing || p.Ballot != m.ballot || m.retry != id.Never || m.promised.has(from) {
		return
	}
	m.promised.add(from)
	for _, a := range p.Accepted {
		m.hear(a)
	}
	if m.promised.len() >= m.c.Quorum() {
		m.lead(t)
	}
}

// hear keeps the better of two acceptances of a slot; told is ordered by slot.
func (m *multi) hear(a acceptance) {
	at, found := slices.BinarySearchFunc(m.told, a.slot, func(x acceptance, s int) int { return x.slot - s })
	if !found {
		m.told = slices.Insert(m.told, at, a)
		return
	}
	if old := &m.told[at]; !old.chosen && (a.chosen || a.ballot > old.ballot) {
		*old = a
	}
}

// lead begins: what others know to be chosen is learned, what they accepted is
// proposed again under this ballot, gaps become no-ops (M2).
func (m *multi) lead(t *lab.Turn) {
	m.role, m.leader = leading, m.c.Self
	m.open = nil
	told := m.told
	m.told = nil
	if m.c.Broken(ignoreAccepted) {
		told = nil
	}
	last := m.from - 1
	if len(told) > 0 {
		last = max(last, told[len(told)-1].slot)
	}
	m.next, m.recovered = last+1, last
	for _, n := range m.c.Voters {
		m.pongs[n], m.rounds[n] = t.Now, 0
	}
	fetched, again, filled := 0, 0, 0
	for i, position := 0, m.from; position <= last; position++ {
		if i < len(told) && told[i].slot == position {
			a := told[i]
			i++
			if a.chosen {
				m.a.choose(t, position, a.value)
				fetched++
			} else {
				m.propose(t, position, a.value)
				again++
			}
		} else if !m.c.Broken(leaveGaps) {
			m.propose(t, position, value{Entry: lab.Entry{Epoch: uint64(m.ballot), Kind: "no-op"}})
			filled++
		}
	}
	t.Rule("M2", fmt.Sprintf("leads with ballot %d. Slots learned: %d, proposed again: %d, gaps filled: %d", m.ballot, fetched, again, filled))
	m.applied(t)
	m.heartbeat(t)
}

// onNack is R5, unless the sender hears a leader (D3).
func (m *multi) onNack(t *lab.Turn, from lab.Node, n Nack) {
	m.seen = max(m.seen, n.Promised.round())
	if m.role == following || n.Ballot != m.ballot || n.Promised <= m.ballot || m.retry != id.Never {
		return
	}
	if n.Leader != 0 && n.Leader != m.c.Self {
		t.Rule("D3", fmt.Sprintf("n%d hears the leader n%d with ballot %d: follow it", from, n.Leader, n.Promised))
		m.follow(t, n.Leader, n.Promised)
		return
	}
	t.Rule("R5", fmt.Sprintf("n%d has promised ballot %d: wait, then a higher round", from, n.Promised))
	m.role, m.leader = preparing, 0
	m.open = nil
	m.dropReads(t)
	m.due = id.Never
	m.retry = t.Now.Add(m.wait.next(m.c.Dice))
}

// quit gives the lead, or the way to it, up. What clients wait for may still be
// chosen under somebody else's ballot: nobody knows.
func (m *multi) quit(t *lab.Turn) {
	for _, w := range m.requests {
		t.Fail(w.request, "R5 the lead is lost before the value was chosen")
	}
	m.dropReads(t)
	m.requests, m.open, m.told = nil, nil, nil
	m.role, m.leader, m.retry = following, 0, id.Never
}

// overtaken tells that another ballot ends the lead.
func (m *multi) overtaken(t *lab.Turn, b ballot) {
	if m.role == leading && b > m.ballot {
		t.Rule("R5", fmt.Sprintf("ballot %d is above mine, %d: I no longer lead", b, m.ballot))
	}
}

// dropReads sends those who read elsewhere: a read has no effect.
func (m *multi) dropReads(t *lab.Turn) {
	for _, r := range m.reads {
		t.Refuse(r.request, 0, "Q1 the lead is lost before a majority answered")
	}
	m.reads = nil
}

// heartbeat goes to all, with what was not acknowledged in time; D2 is judged
// here.
func (m *multi) heartbeat(t *lab.Turn) {
	m.pongs[m.c.Self] = t.Now
	near := 0
	for _, n := range m.c.Voters {
		if t.Now.Sub(m.pongs[n]) < m.silence {
			near++
		}
	}
	if near < m.c.Quorum() {
		t.Rule("D2", fmt.Sprintf("hears %d of %d: it leaves the lead", near, len(m.c.Voters)))
		m.follow(t, 0, 0)
		return
	}
	m.due = t.Now.Add(m.beat)
	m.sendRound(t)
	for _, p := range m.open {
		if t.Now.Sub(p.sent) >= again {
			m.sendProposal(t, p)
		}
	}
}

func (m *multi) sendRound(t *lab.Turn) {
	m.round++
	m.rounds[m.c.Self] = m.round
	for _, n := range m.c.Peers() {
		t.Send(n, Heartbeat{Ballot: m.ballot, Chosen: m.a.decided(), Round: m.round})
	}
}

// backoff is the wait of R5. In multi-Paxos a rival that is told of a leader, or of a
// higher ballot by its owner, gives way, so equal waits do no visible harm there.
type backoff struct{ lo, hi id.Duration }

func newBackoff(c lab.Config) backoff {
	kind := c.Settings.Word("backoff", "random", "fixed", "none")
	fixed := c.Settings.Duration("backoff-fixed", 5*id.Millisecond, 0, 10*id.Second)
	switch {
	case kind == "none":
		return backoff{}
	case kind == "fixed" || c.Broken(equalBackoff):
		return backoff{fixed, fixed}
	}
	return backoff{10 * id.Millisecond, 100 * id.Millisecond}
}

func (b backoff) next(dice *sim.Random) id.Duration { return dice.Duration(b.lo, b.hi) }
