package paxos

import (
	"fmt"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// multi is one life of a node of multi-Paxos: acceptor, learner, and sometimes
// leader. multi.go is what every node does; lead.go is the way to the lead, and
// propose.go what a leader does.
type multi struct {
	c       lab.Config
	a       acceptor
	beat    id.Duration // between heartbeats
	silence id.Duration // without one: ask for the lead
	window  int         // α of M5
	wait    backoff

	role     role
	ballot   ballot // while preparing or leading
	seen     uint64 // highest round it has seen
	leader   lab.Node
	hears    ballot  // of that leader
	heard    id.Time // when
	election id.Time // following: when the silence was long enough
	asked    id.Time // when it asked to catch up
	due      id.Time // preparing: asks again; leading: next heartbeat
	retry    id.Time // preparing: the wait of R5 ends; Never: it does not wait
	own      []vote  // its own answers that wait for the disk

	// preparing
	from     int          // first slot it asks for
	promised nodeSet      // who promised
	told     []acceptance // what they told: by slot the highest ballot

	// leading
	next      int         // slot of the next proposal
	recovered int         // up to here are slots of former leaders
	open      []*proposal // by slot, not chosen
	pongs     [10]id.Time // when each last answered a heartbeat
	rounds    [10]uint64  // and which
	round     uint64
	reads     []pendingRead
	requests  []pendingWrite
}

type role uint8

const (
	following role = iota
	preparing
	leading
)

func (r role) String() string { return [...]string{"follower", "candidate", "leader"}[r] }

// vote is an answer of its own acceptor: a promise (slot 0) or an acceptance.
type vote struct {
	token  id.Token
	ballot ballot
	slot   int
}

// nodeSet is a set of nodes.
type nodeSet uint16

func (s *nodeSet) add(n lab.Node)     { *s |= 1 << n }
func (s nodeSet) has(n lab.Node) bool { return s&(1<<n) != 0 }

func (s nodeSet) len() int {
	count := 0
	for ; s != 0; s &= s - 1 {
		count++
	}
	return count
}

const (
	stagger    = 200 * id.Millisecond // followers do not all ask at once
	again      = 300 * id.Millisecond // an unanswered question is asked again
	learnMax   = 500                  // values in one Learn
	waitingMax = 1000                 // reads that wait for a round
)

func newMulti(c lab.Config) *multi {
	return &multi{
		c: c, a: newAcceptor(c),
		beat:    c.Settings.Duration("heartbeat", 200*id.Millisecond, id.Millisecond, 60*id.Second),
		silence: c.Settings.Duration("silence", id.Second, id.Millisecond, 600*id.Second),
		window:  int(c.Settings.Int("window", 64, 1, 1000)),
		wait:    newBackoff(c),
		retry:   id.Never,
	}
}

// Step takes one event.
func (m *multi) Step(t *lab.Turn, e lab.Event) {
	switch e := e.(type) {
	case lab.Started:
		m.a.restore(t, e.Files[journal])
		m.seen = m.a.promised.round()
		m.listen(t)
		if m.c.Life == 1 && m.c.Self == m.c.Ranks[0] {
			t.Rule("D1", "first start: it asks for the lead")
			m.prepare(t)
		}
	case lab.Received:
		m.receive(t, e.From, e.Message)
	case lab.Durable:
		m.durable(t, e.Token)
	case lab.Due:
		m.tick(t)
	case lab.Asked:
		m.serve(t, e.Request)
	}
}

// Deadline is the next timer.
func (m *multi) Deadline() id.Time {
	switch m.role {
	case following:
		return m.election
	case preparing:
		return min(m.due, m.retry)
	}
	return m.due
}

// View is what it believes.
func (m *multi) View() lab.View {
	v := lab.View{Role: m.role.String(), Leads: m.role == leading, Epoch: uint64(m.a.promised), Leader: m.leader, Log: m.a.log}
	switch {
	case m.role == leading:
		v.Epoch = uint64(m.ballot)
	case m.leader != 0:
		v.Epoch = uint64(max(m.a.promised, m.hears))
	}
	return v
}

// Details are the ballots, and how far things are.
func (m *multi) Details() []trace.Field {
	fields := []trace.Field{trace.Num("promised", uint64(m.a.promised)), trace.Num("highest slot", uint64(m.a.last())), trace.Num("applied", uint64(m.a.decided()))}
	switch m.role {
	case preparing:
		fields = append(fields, trace.Num("ballot", uint64(m.ballot)), trace.Num("promises", uint64(m.promised.len())))
	case leading:
		fields = append(fields, trace.Num("ballot", uint64(m.ballot)), trace.Num("open slots", uint64(len(m.open))))
	}
	return fields
}

func (m *multi) receive(t *lab.Turn, from lab.Node, body lab.Body) {
	switch b := body.(type) {
	case P1a:
		m.onP1a(t, from, b)
	case P1b:
		m.onP1b(t, from, b)
	case P2a:
		m.onP2a(t, from, b)
	case P2b:
		m.onP2b(t, from, b)
	case Nack:
		m.onNack(t, from, b)
	case Learn:
		m.onLearn(t, b)
	case Heartbeat:
		m.onHeartbeat(t, from, b)
	case Pong:
		m.onPong(t, from, b)
	case CatchUp:
		if m.role == leading {
			t.Send(from, Learn{From: b.From, Values: m.a.chosen(b.From, learnMax)})
		}
	}
}

// onP1a is R1.
func (m *multi) onP1a(t *lab.Turn, from lab.Node, p P1a) {
	m.seen = max(m.seen, p.Ballot.round())
	if p.Ballot < m.a.promised {
		m.nack(t, from, p.Ballot)
		return
	}
	if p.Ballot > m.a.promised {
		t.Rule("R1", fmt.Sprintf("promises ballot %d to n%d", p.Ballot, from))
		m.overtaken(t, p.Ballot)
		m.follow(t, 0, 0)
		m.a.promise(t, p.Ballot)
	}
	t.SendAfter(m.a.token, from, P1b{Ballot: p.Ballot, Accepted: m.a.report(p.From)})
}

// onP2a is R3.
func (m *multi) onP2a(t *lab.Turn, from lab.Node, p P2a) {
	m.seen = max(m.seen, p.Ballot.round())
	if p.Ballot < m.a.promised {
		m.nack(t, from, p.Ballot)
		return
	}
	m.overtaken(t, p.Ballot)
	m.follow(t, from, p.Ballot)
	m.a.accept(t, p.Ballot, p.Slot, p.Value)
	t.SendAfter(m.a.token, from, P2b{Ballot: p.Ballot, Slot: p.Slot})
}

// nack refuses a ballot below the promise, and names the leader it hears (D3).
func (m *multi) nack(t *lab.Turn, to lab.Node, b ballot) {
	n := Nack{Ballot: b, Promised: m.a.promised}
	switch {
	case m.role == leading:
		n.Leader = m.c.Self
	case m.leader != 0 && m.hears == m.a.promised && t.Now.Sub(m.heard) < m.silence:
		n.Leader = m.leader
	}
	t.Send(to, n)
}

// onLearn takes what is chosen.
func (m *multi) onLearn(t *lab.Turn, l Learn) {
	for i, v := range l.Values {
		m.learn(t, l.From+i, v)
	}
}

// learn takes one slot as chosen and says so when M4 makes it wait.
func (m *multi) learn(t *lab.Turn, position int, v value) {
	if m.a.at(position).chosen {
		return
	}
	m.a.choose(t, position, v)
	if done := m.a.decided(); done < position {
		t.Rule("M4", fmt.Sprintf("slot %d is chosen, slot %d is not: it waits", position, done+1))
	}
	m.applied(t)
}

// onHeartbeat follows whoever leads with a ballot that no promise forbids.
func (m *multi) onHeartbeat(t *lab.Turn, from lab.Node, h Heartbeat) {
	m.seen = max(m.seen, h.Ballot.round())
	if h.Ballot < m.a.promised {
		m.nack(t, from, h.Ballot)
		return
	}
	m.overtaken(t, h.Ballot)
	m.follow(t, from, h.Ballot)
	t.Send(from, Pong{Ballot: h.Ballot, Round: h.Round})
	if m.a.decided() < h.Chosen && (m.asked == 0 || t.Now.Sub(m.asked) >= m.beat) {
		m.asked = t.Now
		t.Send(from, CatchUp{From: m.a.decided() + 1})
	}
}

// follow ends any lead of its own and waits for signs of the leader (0: nobody
// yet, a candidate got the promise and has some time).
func (m *multi) follow(t *lab.Turn, leader lab.Node, b ballot) {
	if m.role != following {
		m.quit(t)
	}
	m.role, m.leader, m.hears, m.heard = following, leader, b, t.Now
	m.listen(t)
}

// listen begins to wait for the leader.
func (m *multi) listen(t *lab.Turn) {
	m.election = t.Now.Add(m.silence + m.c.Dice.Duration(0, stagger))
}

// durable counts its own answers, which are on disk now.
func (m *multi) durable(t *lab.Turn, token id.Token) {
	n := 0
	for n < len(m.own) && m.own[n].token <= token {
		n++
	}
	ready := m.own[:n:n]
	m.own = append([]vote(nil), m.own[n:]...)
	for _, v := range ready {
		m.count(t, v)
	}
}

// answerOwn counts what its own acceptor did as soon as it is durable.
func (m *multi) answerOwn(t *lab.Turn, b ballot, position int) {
	v := vote{m.a.token, b, position}
	if !m.a.durable {
		m.count(t, v)
		return
	}
	m.own = append(m.own, v)
}

func (m *multi) count(t *lab.Turn, v vote) {
	if v.slot == 0 {
		m.onP1b(t, m.c.Self, P1b{Ballot: v.ballot, Accepted: m.a.report(m.from)})
	} else {
		m.onP2b(t, m.c.Self, P2b{Ballot: v.ballot, Slot: v.slot})
	}
}
