package kafka

import (
	"strconv"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// session is the broker's side of the coordination service: one session, the newest
// state it has seen, and at most one command under way for each purpose.
//
// A broker whose session is gone goes on as it was, leader of its partition
// included: it learns by its epochs that it is a zombie (R9), not by its clock.
type session struct {
	servers []lab.Node
	at      int     // which of them is asked
	openAt  id.Time // when the first session is opened; Never: it was
	id      uint64  // 0: none
	try     uint64  // sessions asked for in this life
	seen    state
	number  uint64
	under   [purposes]command
	pingAt  id.Time // when the next sign of life is due
	waits   bool    // for the answer to one
	calm    id.Time // until then no redirection is followed at once
}

// purpose is what a command is for.
type purpose int

const (
	opening  purpose = iota
	electing         // to become controller
	deciding         // as controller
	altering         // the in-sync set, as leader
	purposes
)

// command is one under way. Number 0: none.
type command struct {
	number uint64
	text   string
	due    id.Time // when it is sent again
}

// redirectGap bounds how often a broker follows a redirection at once.
const redirectGap = 100 * id.Millisecond

func (s *session) init(servers []lab.Node) {
	s.servers, s.openAt, s.pingAt = servers, id.Never, id.Never
}

// busy tells whether a command for a purpose is under way.
func (s *session) busy(p purpose) bool { return s.under[p].number != 0 }

// ask sends a command to the service, now and until it is answered.
func (b *broker) ask(t *lab.Turn, p purpose, text string) {
	s := &b.session
	s.number++
	s.under[p] = command{number: s.number, text: text}
	b.sendCommand(t, p)
}

func (b *broker) sendCommand(t *lab.Turn, p purpose) {
	s := &b.session
	s.under[p].due = t.Now.Add(again)
	t.Send(s.servers[s.at], request{Number: s.under[p].number, Command: s.under[p].text})
}

// open asks for a session, and with it for the broker's registration.
func (b *broker) open(t *lab.Turn) {
	b.session.openAt = id.Never
	b.session.try++
	b.ask(t, opening, openCommand(b.self, b.life, b.session.try))
}

// responded takes the answer to a command.
func (b *broker) responded(t *lab.Turn, m response) {
	s := &b.session
	done := purposes
	for p := range s.under {
		if s.busy(purpose(p)) && s.under[p].number == m.Number {
			done = purpose(p)
		}
	}
	if done == purposes {
		b.saw(t, m.State)
		return // answered before
	}
	s.under[done] = command{}
	if done == opening && m.OK {
		// Where in its rhythm a broker is when a fault comes is chance.
		s.id, s.waits, s.pingAt = m.Result, false, t.Now.Add(b.dice.Duration(0, b.o.session/3))
	}
	switch {
	case done == opening && !m.OK:
		b.open(t)
	case done == deciding:
		b.decided(t, m)
	case done == altering:
		b.altered(t, m)
	}
	b.saw(t, m.State)
	b.contend(t)
}

// saw takes a newer state of the service.
func (b *broker) saw(t *lab.Turn, s state) {
	if s.Version <= b.session.seen.Version {
		return
	}
	b.session.seen = s
	if b.session.id != 0 && !b.owns() {
		b.expired(t)
	}
	b.contend(t)
}

// owns tells whether its session is the one that is registered.
func (b *broker) owns() bool {
	r, ok := b.session.seen.registered(b.self)
	return ok && r.Session == b.session.id
}

// expired opens another session when the service has ended the present one.
func (b *broker) expired(t *lab.Turn) {
	b.session.id, b.session.pingAt = 0, id.Never
	b.resign(t)
	t.Rule("R2", "my session has expired: I register again")
	b.open(t)
}

// ponged takes the answer to a sign of life.
func (b *broker) ponged(t *lab.Turn, from lab.Node, m pong) {
	s := &b.session
	if from != s.servers[s.at] {
		return
	}
	s.waits, s.pingAt = false, t.Now.Add(b.o.session/3)
	if m.Fresh {
		b.saw(t, m.State)
	}
	if !m.Alive && s.id != 0 && !b.owns() {
		b.expired(t)
	}
}

// redirected goes to the server that leads the service. While none does, the next
// try comes after a while.
func (b *broker) redirected(t *lab.Turn, from lab.Node, m elsewhere) {
	s := &b.session
	if from != s.servers[s.at] || m.Leader == 0 || m.Leader == from {
		return
	}
	for i, n := range s.servers {
		if n == m.Leader {
			s.at = i
		}
	}
	if t.Now >= s.calm { // two servers that name each other would keep it running to and fro
		s.calm = t.Now.Add(redirectGap)
		b.resend(t)
	}
}

// resend sends everything under way to the server that is asked now.
func (b *broker) resend(t *lab.Turn) {
	s := &b.session
	for p := range s.under {
		if s.busy(purpose(p)) {
			b.sendCommand(t, purpose(p))
		}
	}
	if s.id != 0 && s.waits {
		b.ping(t)
	}
}

func (b *broker) ping(t *lab.Turn) {
	s := &b.session
	s.waits, s.pingAt = true, t.Now.Add(again)
	t.Send(s.servers[s.at], ping{Session: s.id, Seen: s.seen.Version})
}

// sessionReset goes to the next server when the connection broke.
func (b *broker) sessionReset(t *lab.Turn, node lab.Node) {
	s := &b.session
	if s.openAt == id.Never && s.servers[s.at] == node {
		b.next(t)
	}
}

// next goes to the next server; the commands under way follow when they are due.
func (b *broker) next(t *lab.Turn) { b.session.at = (b.session.at + 1) % len(b.session.servers) }

// sessionDue opens the first session, gives signs of life and sends again.
func (b *broker) sessionDue(t *lab.Turn) {
	s := &b.session
	if t.Now >= s.openAt {
		b.open(t)
	}
	late := s.waits && t.Now >= s.pingAt
	for p := range s.under {
		late = late || s.busy(purpose(p)) && t.Now >= s.under[p].due
	}
	if late {
		b.next(t)
		b.resend(t)
	}
	if t.Now >= s.pingAt {
		b.ping(t)
	}
}

func (b *broker) sessionDeadline() id.Time {
	s := &b.session
	at := min(s.openAt, s.pingAt)
	for p := range s.under {
		if s.busy(purpose(p)) {
			at = min(at, s.under[p].due)
		}
	}
	return at
}

func nodeName(n lab.Node) string { return "n" + strconv.FormatUint(n, 10) }
