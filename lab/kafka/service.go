package kafka

import (
	"strconv"
	"strings"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/raft"
	"github.com/quorate/quorate/trace"
)

// service is one server of the coordination service: the tree, replicated by
// quorate's own Raft, and in front of it what only a leader does: answering
// brokers, watching over sessions, telling what changed.
//
// A session is alive as long as the leader hears of it. Its clock is the only one
// that counts, and what it concludes goes through the log, so that all servers
// agree on who is registered. A new leader gives every session its full time anew.
type service struct {
	o     *options
	core  *raft.Core
	tree  *tree
	log   *lab.Log // empty: no operation of a client is in here
	asked map[raft.Ticket]asked
	alive []heard // by session, in no order; as long as the state's list of brokers
	led   bool
	told  uint64 // version of the state that watchers know
}

// asked is a command under way: whose, and under which number.
type asked struct {
	from   lab.Node
	number uint64
	expire uint64 // the leader's own: the session it ends
}

// heard is when a session gave its last sign of life.
type heard struct {
	session uint64
	at      id.Time
	ending  bool // its end is proposed
}

// Timing of the service's Raft: slow enough to be cheap over minutes, fast enough
// never to matter beside a session of 18 s.
const (
	serviceHeartbeat = 200 * id.Millisecond
	serviceSilence   = id.Second
)

func newService(c lab.Config, o *options) *service {
	s := &service{o: o, tree: &tree{unfenced: c.Broken(NoFencing)}, log: lab.NewLog(), asked: map[raft.Ticket]asked{}}
	s.core = raft.NewCore(c, raft.Options{
		Members: c.Helpers, Machine: s.tree, Campaign: c.Self == c.Helpers[0],
		Heartbeat: serviceHeartbeat, ElectionMin: serviceSilence, ElectionMax: 2 * serviceSilence,
	})
	return s
}

// Step takes one event.
func (s *service) Step(t *lab.Turn, e lab.Event) {
	switch e := e.(type) {
	case lab.Asked:
		t.Refuse(e.Request, 0, "R1 this is a server of the coordination service, not a broker")
	case lab.Received:
		switch m := e.Message.(type) {
		case request:
			s.request(t, e.From, m)
		case ping:
			s.ping(t, e.From, m)
		}
	}
	s.core.Step(t, e)
	s.settle(t)
	s.lead(t)
}

// request puts a broker's command through the log.
func (s *service) request(t *lab.Turn, from lab.Node, m request) {
	if !s.core.Leads() {
		t.Send(from, elsewhere{s.core.Leader()})
		return
	}
	if r, ok := s.tree.state.registered(from); ok {
		s.touch(t.Now, r.Session)
	}
	s.asked[s.core.Propose(t, []byte(m.Command))] = asked{from: from, number: m.Number}
}

// ping keeps a session alive and brings its owner up to date.
func (s *service) ping(t *lab.Turn, from lab.Node, m ping) {
	if !s.core.Leads() {
		t.Send(from, elsewhere{s.core.Leader()})
		return
	}
	r, ok := s.tree.state.registered(from)
	answer := pong{Alive: ok && r.Session == m.Session}
	if answer.Alive {
		s.touch(t.Now, m.Session)
	}
	if s.tree.state.Version > m.Seen {
		answer.Fresh, answer.State = true, s.tree.state
	}
	t.Send(from, answer)
}

func (s *service) touch(now id.Time, session uint64) {
	for i := range s.alive {
		if s.alive[i].session == session {
			s.alive[i].at = now
		}
	}
}

// settle answers what ended. A command that the log did not take, or of which this
// server does not know, is asked again of whoever leads.
func (s *service) settle(t *lab.Turn) {
	for _, e := range s.core.Ended() {
		a, ok := s.asked[e.Ticket]
		delete(s.asked, e.Ticket)
		switch {
		case !ok || a.from == 0:
		case e.Index == 0: // not Done
			t.Send(a.from, elsewhere{s.core.Leader()})
		default:
			word, rest, _ := strings.Cut(string(e.Result), " ")
			answer := response{Number: a.number, OK: word == "ok", State: s.tree.state}
			if answer.OK {
				answer.Result, _ = strconv.ParseUint(rest, 10, 64)
			} else {
				answer.Why = rest
			}
			t.Send(a.from, answer)
		}
		if a.expire != 0 && e.Index == 0 {
			s.revive(a.expire)
		}
	}
}

// revive lets a session be ended again, since the log did not take it.
func (s *service) revive(session uint64) {
	for i := range s.alive {
		if s.alive[i].session == session {
			s.alive[i].ending = false
		}
	}
}

// lead does what a leader does besides answering.
func (s *service) lead(t *lab.Turn) {
	if !s.core.Leads() {
		s.led, s.alive = false, nil
		return
	}
	if !s.led {
		s.led, s.told = true, s.tree.state.Version
	}
	if len(s.alive) == 0 || s.told != s.tree.state.Version {
		s.follow(t.Now)
	}
	for i := range s.alive {
		h := &s.alive[i]
		if !h.ending && t.Now >= h.at.Add(s.o.session) {
			h.ending = true
			t.Rule("R2", "the session of n"+strconv.FormatUint(s.owner(h.session), 10)+" has given no sign of life for "+seconds(s.o.session)+": its registration goes")
			s.asked[s.core.Propose(t, []byte(expireCommand(h.session)))] = asked{expire: h.session}
		}
	}
	if s.told == s.tree.state.Version {
		return
	}
	s.told = s.tree.state.Version
	for _, r := range s.tree.state.Brokers {
		t.Send(r.Broker, watchEvent{s.tree.state})
	}
}

// follow makes the list of signs of life fit the registrations.
func (s *service) follow(now id.Time) {
	var list []heard
	for _, r := range s.tree.state.Brokers {
		at := heard{session: r.Session, at: now}
		for _, h := range s.alive {
			if h.session == r.Session {
				at = h
			}
		}
		list = append(list, at)
	}
	s.alive = list
}

func (s *service) owner(session uint64) lab.Node {
	for _, r := range s.tree.state.Brokers {
		if r.Session == session {
			return r.Broker
		}
	}
	return 0
}

// Deadline is the core's, or the end of the session that was silent longest.
func (s *service) Deadline() id.Time {
	at := s.core.Deadline()
	for _, h := range s.alive {
		if !h.ending {
			at = min(at, h.at.Add(s.o.session))
		}
	}
	return at
}

// View shows who leads the partition as this server has it on record. None of them is
// a leader that clients ask; their own election shows in the role.
func (s *service) View() lab.View {
	p := &s.tree.state.Partition
	return lab.View{Role: "service-" + s.core.View().Role, Epoch: p.Epoch, Leader: p.Leader, Log: s.log}
}

// Details are the service's own term, and the tree.
func (s *service) Details() []trace.Field {
	return append([]trace.Field{trace.Num("term", s.core.View().Epoch)}, s.tree.state.fields()...)
}

// seconds prints a span for people.
func seconds(d id.Duration) string { return strconv.FormatInt(int64(d/id.Second), 10) + " s" }
