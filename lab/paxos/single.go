package paxos

import (
	"fmt"
	"strings"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// single is one life of a node of the single decree: acceptor, learner, and
// proposer while a client waits. It knows one slot, number 1.
type single struct {
	c    lab.Config
	a    acceptor
	wait backoff
	seen uint64 // highest round it has seen
	own  []vote // its own answers that wait for the disk

	phase    phase
	ballot   ballot
	request  lab.Request
	mine     value // what its client wants; no operation and no kind: a read
	value    value // what it proposes under this ballot
	best     acceptance
	promised nodeSet
	accepted nodeSet
	due      id.Time // asks again; backing off: tries again
}

type phase uint8

const (
	idle phase = iota
	first
	second
	backing
)

func (p phase) String() string {
	return [...]string{"acceptor", "proposer, phase 1", "proposer, phase 2", "proposer, waiting"}[p]
}

const decree = 1 // the only slot

func newSingle(c lab.Config) *single {
	return &single{c: c, a: newAcceptor(c), wait: newBackoff(c), due: id.Never}
}

// Step takes one event.
func (s *single) Step(t *lab.Turn, e lab.Event) {
	switch e := e.(type) {
	case lab.Started:
		s.a.restore(t, e.Files[journal])
		s.seen = s.a.promised.round()
	case lab.Received:
		s.receive(t, e.From, e.Message)
	case lab.Durable:
		s.durable(t, e.Token)
	case lab.Due:
		s.tick(t)
	case lab.Asked:
		s.serve(t, e.Request)
	}
}

// Deadline is the next timer.
func (s *single) Deadline() id.Time { return s.due }

// View is what it believes. Nobody leads.
func (s *single) View() lab.View {
	return lab.View{Role: s.phase.String(), Epoch: uint64(s.a.promised), Log: s.a.log}
}

// Details are the acceptor's memory and the proposal under way.
func (s *single) Details() []trace.Field {
	x := s.a.at(decree)
	fields := []trace.Field{trace.Num("promised", uint64(s.a.promised)), trace.Num("accepted in", uint64(x.ballot)), trace.Num("operation", x.value.Op)}
	if s.phase != idle {
		fields = append(fields, trace.Num("ballot", uint64(s.ballot)), trace.Num("promises", uint64(s.promised.len())), trace.Num("acceptances", uint64(s.accepted.len())))
	}
	return fields
}

// serve makes the node a proposer, or answers what it knows.
func (s *single) serve(t *lab.Turn, r lab.Request) {
	v := value{Entry: lab.Entry{Op: r.Op, Client: r.Client}}
	switch r.Verb {
	case "write":
		v.text = fmt.Sprintf("operation %d", r.Op)
	case "propose":
		v.text = strings.Join(r.Args, " ")
	case "read":
		v = value{}
	default:
		t.Refuse(r, 0, "R1 this protocol knows write, read and propose")
		return
	}
	if x := s.a.at(decree); x.chosen {
		s.answer(t, r, x.value)
		return
	}
	if s.phase != idle {
		t.Refuse(r, 0, "R1 this node proposes another value now")
		return
	}
	s.request, s.mine = r, v
	s.begin(t)
}

// answer tells a client the outcome.
func (s *single) answer(t *lab.Turn, r lab.Request, chosen value) {
	switch {
	case r.Verb == "read":
		t.Serve(r, s.a.decided())
	case r.Verb == "propose":
		t.Tell(r, "chosen: "+chosen.text)
	case chosen.Op == r.Op:
		t.Accept(r)
	default:
		t.Refuse(r, 0, "R4 another value was chosen: "+chosen.text)
	}
}

// begin draws a higher ballot, promises it to itself and asks for promises.
func (s *single) begin(t *lab.Turn) {
	s.seen++
	s.phase, s.ballot = first, newBallot(s.seen, s.c.Self)
	s.promised, s.accepted, s.best = 0, 0, acceptance{}
	t.Rule("R1", fmt.Sprintf("asks for promises for ballot %d", s.ballot))
	s.a.promise(t, s.ballot)
	s.ask(t)
	s.answerOwn(t, 0)
}

// ask sends this phase's question to who has not answered it.
func (s *single) ask(t *lab.Turn) {
	s.due = t.Now.Add(again)
	for _, n := range s.c.Peers() {
		switch {
		case s.phase == first && !s.promised.has(n):
			t.SendAfter(s.a.token, n, P1a{Ballot: s.ballot, From: decree})
		case s.phase == second && !s.accepted.has(n):
			t.Send(n, P2a{Ballot: s.ballot, Slot: decree, Value: s.value})
		}
	}
}

func (s *single) tick(t *lab.Turn) {
	if t.Now < s.due {
		return
	}
	switch s.phase {
	case idle:
		s.due = id.Never
	case backing:
		s.begin(t)
	default:
		s.ask(t)
	}
}

func (s *single) receive(t *lab.Turn, from lab.Node, body lab.Body) {
	switch b := body.(type) {
	case P1a:
		s.onP1a(t, from, b)
	case P1b:
		s.onP1b(t, from, b)
	case P2a:
		s.onP2a(t, from, b)
	case P2b:
		s.onP2b(t, from, b)
	case Nack:
		s.seen = max(s.seen, b.Promised.round())
		if b.Ballot == s.ballot && (s.phase == first || s.phase == second) {
			s.backOff(t, fmt.Sprintf("n%d has promised ballot %d", from, b.Promised))
		}
	case Learn:
		for _, v := range b.Values {
			s.chosen(t, v)
		}
	}
}

// onP1a is R1.
func (s *single) onP1a(t *lab.Turn, from lab.Node, p P1a) {
	s.seen = max(s.seen, p.Ballot.round())
	if p.Ballot < s.a.promised {
		t.Send(from, Nack{Ballot: p.Ballot, Promised: s.a.promised})
		return
	}
	if p.Ballot > s.a.promised {
		s.a.promise(t, p.Ballot)
		s.overtaken(t, p.Ballot)
	}
	t.SendAfter(s.a.token, from, P1b{Ballot: p.Ballot, Accepted: s.a.report(decree)})
}

// onP2a is R3.
func (s *single) onP2a(t *lab.Turn, from lab.Node, p P2a) {
	s.seen = max(s.seen, p.Ballot.round())
	if p.Ballot < s.a.promised {
		t.Send(from, Nack{Ballot: p.Ballot, Promised: s.a.promised})
		return
	}
	s.a.accept(t, p.Ballot, decree, p.Value)
	s.overtaken(t, p.Ballot)
	t.SendAfter(s.a.token, from, P2b{Ballot: p.Ballot, Slot: decree})
}

// overtaken: the node's own acceptor promised somebody else a higher ballot, so
// its own can no longer win here; it need not wait for a Nack to know.
func (s *single) overtaken(t *lab.Turn, b ballot) {
	if (s.phase == first || s.phase == second) && b > s.ballot {
		s.backOff(t, fmt.Sprintf("my own acceptor has promised ballot %d", b))
	}
}

// backOff is R5.
func (s *single) backOff(t *lab.Turn, why string) {
	t.Rule("R5", why+": wait, then a higher round")
	s.phase = backing
	s.due = t.Now.Add(s.wait.next(s.c.Dice))
}

// onP1b is R2. A read that hears of no acceptance from Q has its answer: nothing
// was chosen when it began.
func (s *single) onP1b(t *lab.Turn, from lab.Node, p P1b) {
	if s.phase != first || p.Ballot != s.ballot || s.promised.has(from) {
		return
	}
	s.promised.add(from)
	for _, a := range p.Accepted {
		if a.chosen {
			s.chosen(t, a.value)
			return
		}
		if a.ballot > s.best.ballot {
			s.best = a
		}
	}
	if s.promised.len() < s.c.Quorum() {
		return
	}
	s.value = s.mine
	switch {
	case s.best.ballot > 0 && !s.c.Broken(ignoreAccepted):
		s.value = s.best.value
		t.Rule("R2", fmt.Sprintf("ballot %d accepted %q: it must be proposed", s.best.ballot, s.value.text))
	case s.mine.Op == 0:
		t.Serve(s.request, 0)
		s.phase, s.due = idle, id.Never
		return
	default:
		s.value.Epoch = uint64(s.ballot)
		t.Rule("R2", fmt.Sprintf("none of %d accepted anything: %q is free to go", s.promised.len(), s.value.text))
	}
	s.phase = second
	s.a.accept(t, s.ballot, decree, s.value)
	s.ask(t)
	s.answerOwn(t, decree)
}

// onP2b is R4.
func (s *single) onP2b(t *lab.Turn, from lab.Node, p P2b) {
	if s.phase != second || p.Ballot != s.ballot {
		return
	}
	s.accepted.add(from)
	if s.accepted.len() < s.c.Quorum() && !s.c.Broken(chosenByOne) {
		return
	}
	t.Rule("R4", fmt.Sprintf("%d of %d accepted %q: it is chosen", s.accepted.len(), len(s.c.Voters), s.value.text))
	for _, n := range s.c.Peers() {
		t.Send(n, Learn{From: decree, Values: []value{s.value}})
	}
	s.chosen(t, s.value)
}

// chosen ends the search: the outcome is known and the client gets it.
func (s *single) chosen(t *lab.Turn, v value) {
	s.a.choose(t, decree, v)
	if s.phase != idle {
		s.phase, s.due = idle, id.Never
		s.answer(t, s.request, s.a.at(decree).value)
	}
}

func (s *single) durable(t *lab.Turn, token id.Token) {
	n := 0
	for n < len(s.own) && s.own[n].token <= token {
		n++
	}
	ready := s.own[:n:n]
	s.own = append([]vote(nil), s.own[n:]...)
	for _, v := range ready {
		s.count(t, v)
	}
}

func (s *single) answerOwn(t *lab.Turn, position int) {
	v := vote{s.a.token, s.ballot, position}
	if !s.a.durable {
		s.count(t, v)
		return
	}
	s.own = append(s.own, v)
}

func (s *single) count(t *lab.Turn, v vote) {
	if v.slot == 0 {
		s.onP1b(t, s.c.Self, P1b{Ballot: v.ballot, Accepted: s.a.report(decree)})
	} else {
		s.onP2b(t, s.c.Self, P2b{Ballot: v.ballot, Slot: decree})
	}
}
