package zab

import (
	"slices"
	"strconv"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
)

// The states of a server, in ZooKeeper's words.
const (
	looking   = "LOOKING"
	following = "FOLLOWING"
	leading   = "LEADING"
	observing = "OBSERVING"
)

// settings are zoo.cfg, and what the sources fix.
type settings struct {
	tick      id.Duration
	initLimit id.Duration // of connecting and synchronizing
	syncLimit id.Duration // of silence afterwards
	finalWait id.Duration // for a better vote, once a quorum is for mine (R4)
	resendMin id.Duration // of votes while nothing comes
	resendMax id.Duration
	retry     id.Duration // between two attempts to connect
	tries     int
	kept      int    // committed transactions a DIFF may use (R10)
	counter   uint64 // the last one of an epoch
}

// outstandingMax bounds the writes one server has not answered
// (globalOutstandingLimit in zoo.cfg). What comes beyond is refused.
const outstandingMax = 1000

func read(s *sim.Settings) settings {
	tick := s.Duration("tick", 2*id.Second, 10*id.Millisecond, 60*id.Second)
	return settings{
		tick:      tick,
		initLimit: id.Duration(s.Int("init-limit", 10, 1, 1000)) * tick,
		syncLimit: id.Duration(s.Int("sync-limit", 5, 1, 1000)) * tick,
		finalWait: s.Duration("final-wait", 200*id.Millisecond, id.Millisecond, 10*id.Second),
		resendMin: s.Duration("resend-min", 200*id.Millisecond, 10*id.Millisecond, 60*id.Second),
		resendMax: s.Duration("resend-max", 60*id.Second, 10*id.Millisecond, 600*id.Second),
		retry:     100 * id.Millisecond,
		tries:     5,
		kept:      int(s.Int("committed-log", 500, 1, 1_000_000)),
		counter:   uint64(s.Int("counter-max", 1<<32-1, 1, 1<<32-1)),
	}
}

// machine is one life of one server.
type machine struct {
	c        lab.Config
	set      settings
	history  history
	accepted uint64 // the largest epoch promised: no smaller one is followed
	current  uint64 // the epoch whose history this server has
	state    string

	election election
	met      map[lab.Node]int // voters, and the life in which each was heard last
	learning *learning        // FOLLOWING and OBSERVING
	lead     *lead            // LEADING
	links    uint64           // connections in this life

	clients []waiter // requests that came to this server and are not answered
	waits   []wait   // for the disk, oldest first
}

// wait is what happens once a token is durable.
type wait struct {
	token id.Token
	then  func(t *lab.Turn)
}

// waiter is a client's request on its way to the leader and back.
type waiter struct {
	request lab.Request
	isSync  bool
}

func newMachine(c lab.Config) lab.Machine {
	return &machine{c: c, set: read(c.Settings), history: newHistory(), state: looking, met: map[lab.Node]int{}}
}

func (m *machine) observes() bool { return !slices.Contains(m.c.Voters, m.c.Self) }

// View is what the server believes. Its epoch is the currentEpoch: a leader has
// put its own there before it serves anybody.
func (m *machine) View() lab.View {
	v := lab.View{Role: m.state, Epoch: m.current, Log: m.history.log}
	switch {
	case m.lead != nil:
		v.Leader, v.Leads = m.c.Self, m.lead.phase == broadcasting
	case m.learning != nil:
		v.Leader = m.learning.link.peer
	}
	return v
}

// Details are the vote, the epochs, and how far recovery is.
func (m *machine) Details() []trace.Field {
	f := []trace.Field{
		trace.Text("vote", "n"+strconv.FormatUint(m.election.vote.leader, 10)), trace.Num("round", m.election.round),
		trace.Num("acceptedEpoch", m.accepted), m.history.last().field("lastZxid"),
	}
	switch {
	case m.lead != nil:
		f = append(f, trace.Text("phase", m.lead.phase.String()), trace.Text("synchronized", m.lead.synchronized()))
	case m.learning != nil:
		f = append(f, trace.Text("phase", m.learning.phase.String()))
	}
	return f
}

// Step takes one event.
func (m *machine) Step(t *lab.Turn, e lab.Event) {
	switch e := e.(type) {
	case lab.Started:
		log := m.history.log
		m.history, m.accepted, m.current = restore(e.Files, log)
		m.look(t, "a server starts LOOKING")
	case lab.Received:
		m.receive(t, e.From, e.Message)
	case lab.Durable:
		for len(m.waits) > 0 && m.waits[0].token <= e.Token {
			w := m.waits[0]
			m.waits = m.waits[1:]
			w.then(t)
		}
	case lab.Due:
		m.due(t)
	case lab.Asked:
		m.asked(t, e.Request)
	case lab.Reset:
		m.broken(t, e.Node)
	}
}

func (m *machine) receive(t *lab.Turn, from lab.Node, message lab.Body) {
	switch message := message.(type) {
	case notification:
		m.notified(t, from, message)
	case packet:
		m.packet(t, from, message)
	}
}

// packet finds the connection that a packet belongs to.
func (m *machine) packet(t *lab.Turn, from lab.Node, p packet) {
	if _, ended := p.content.(closed); ended {
		m.hungUp(t, from, p.connection)
		return
	}
	if l := m.learning; l != nil && l.link.peer == from && l.link.number == p.connection {
		if l.phase == waitingToRetry {
			return
		}
		for _, content := range l.link.arrive(p) {
			if m.learning != l {
				return
			}
			l.heard = t.Now
			m.learn(t, content)
		}
		return
	}
	if m.lead != nil {
		if info, opens := p.content.(followerInfo); opens {
			m.connected(t, from, p.connection, info)
			return
		}
		if f := m.lead.learner(from); f != nil && f.link.number == p.connection {
			for _, content := range f.link.arrive(p) {
				if m.lead == nil || m.lead.learner(from) != f {
					return
				}
				f.heard = t.Now
				m.serve(t, f, content)
			}
			return
		}
	}
	hangUp(t, from, p.connection) // nobody listens, or no longer: refused
}

// draw returns the number of one end of a connection. No two are the same, of all
// servers and all their lives, and those of one server grow.
func (m *machine) draw() uint64 {
	m.links++
	return m.c.Self<<56 | uint64(m.c.Life)<<32 | m.links
}

// hungUp: the other side ended a connection.
func (m *machine) hungUp(t *lab.Turn, from lab.Node, number uint64) {
	if l := m.learning; l != nil && l.link.peer == from && l.link.number == number {
		m.lostLeader(t, "the connection to the leader ended")
		return
	}
	if m.lead != nil {
		if f := m.lead.learner(from); f != nil && f.link.number == number {
			m.drop(t, f, false)
		}
	}
}

// broken: the process at a node is gone, and every connection to it.
func (m *machine) broken(t *lab.Turn, node lab.Node) {
	if l := m.learning; l != nil && l.link.peer == node {
		m.lostLeader(t, "the connection to the leader broke")
		return
	}
	if m.lead != nil {
		if f := m.lead.learner(node); f != nil {
			m.drop(t, f, false)
		}
	}
}

// look ends what the server did and begins a round of the election (R1). What
// clients wait for, nobody here will ever know.
func (m *machine) look(t *lab.Turn, why string) {
	if m.lead != nil {
		for _, f := range m.lead.learners {
			hangUp(t, f.link.peer, f.link.number)
		}
	}
	if l := m.learning; l != nil && l.phase != waitingToRetry {
		hangUp(t, l.link.peer, l.link.number)
	}
	for _, w := range m.clients {
		t.Fail(w.request, "R1 the server went LOOKING and closed its clients' connections; the write may be in the log")
	}
	m.clients, m.waits, m.lead, m.learning = nil, nil, nil, nil
	m.state = looking
	m.vote(t, why)
}

// after runs something when a token is durable, unless the server went LOOKING
// meanwhile.
func (m *machine) after(token id.Token, then func(t *lab.Turn)) {
	m.waits = append(m.waits, wait{token, then})
}

// Deadline is the earliest of the timers.
func (m *machine) Deadline() id.Time {
	switch {
	case m.lead != nil:
		return m.lead.deadline(m.set)
	case m.learning != nil:
		return m.learning.deadline(m.set)
	}
	return m.election.deadline()
}

func (m *machine) due(t *lab.Turn) {
	switch {
	case m.lead != nil:
		m.leaderDue(t)
	case m.learning != nil:
		m.learnerDue(t)
	default:
		m.electionDue(t)
	}
}
