package enumerate

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// The steps. Each takes a state and returns the next one; what is not possible
// returns nil. Every step ends in the checks.

// kind of a step.
type kind uint8

const (
	request kind = iota + 1 // the client's command reaches a leader
	answer                  // a member's answer leaves for the client
	deliver                 // a message arrives
	double                  // a message arrives, and a copy of it is still under way
	sync                    // the oldest write of a member is durable
	crash                   // a member stops; its oldest `keep` writes had reached the disk
	restart                 // it starts from its disk
	silence                 // a member heard no leader for an election timeout
	beat                    // a leader's heartbeat is due
)

// step is one transition: what happens, to whom, and which or how much.
type step struct {
	kind kind
	who  int8
	arg  int16 // deliver, double: packet; crash: keep; request: attempt
}

// steps appends what may happen next in s within the bounds, always in the same
// order.
func (g *search) steps(s *state, out []step) []step {
	h, o := &s.past, &g.Options
	for i, m := range s.members {
		who := int8(i)
		if m.node == nil {
			out = append(out, step{restart, who, 0})
			continue
		}
		if m.role == raft.Leader && g.mayAsk(s, i) {
			out = append(out, step{request, who, int16(h.attempts) + 1})
		}
		if m.owed != 0 {
			out = append(out, step{answer, who, 0})
		}
		if m.batch() > 0 {
			out = append(out, step{sync, who, 0})
		}
		if m.role != raft.Leader && int(h.elections) < o.Elections && g.mayStand(h, i) {
			out = append(out, step{silence, who, 0})
		}
		if m.role == raft.Leader && int(h.heartbeats) < o.Heartbeats {
			out = append(out, step{beat, who, 0})
		}
		if int(h.crashes) < o.Crashes {
			for keep := 0; keep <= len(m.writes); keep++ {
				out = append(out, step{crash, who, int16(keep)})
			}
		}
	}
	for k, p := range s.net {
		if s.members[p.to].node == nil || k > 0 && p.encoded[0] == s.net[k-1].encoded[0] {
			continue // it waits for the member; or is the twin of the one before
		}
		out = append(out, step{deliver, int8(p.to), int16(k)})
		if int(h.duplicates) < o.Duplicates {
			out = append(out, step{double, int8(p.to), int16(k)})
		}
	}
	return out
}

// mayAsk: the client asks the first leader, in its first office. When that has
// failed and no answer came, it asks again whoever leads, or says so.
func (g *search) mayAsk(s *state, i int) bool {
	h := &s.past
	if h.attempts == 0 && i == 0 && s.members[i].term == firstTerm {
		return true
	}
	return h.situation != Unfailed && h.answered == 0 && int(h.attempts) <= g.Options.Retries && h.attempts > 0
}

// mayStand: whose silence is next, if that is prescribed.
func (g *search) mayStand(h *history, i int) bool {
	c := g.Options.Candidates
	return len(c) == 0 || int(h.elections) < len(c) && c[h.elections] == i+1
}

// take makes one step. The error is a broken rule; a nil state means that the
// step turned out not to be one.
func (g *search) take(s *state, a step) (*state, error) {
	next := *s
	i := int(a.who)
	var err error
	switch a.kind {
	case request:
		next.change(i)
		next.past.attempts++
		err = g.pass(&next, i, raft.Propose{Proposals: []raft.Proposal{{ID: raft.ProposalID{Origin: client, Sequence: uint64(a.arg)}}}})
	case answer:
		m := next.change(i)
		next.past.answered |= m.owed
		m.owed = 0
		err = g.answered(&next)
	case deliver, double:
		p := next.net[a.arg]
		if a.kind == double {
			next.past.duplicates++
		} else {
			next.without(int(a.arg))
		}
		err = g.deliver(&next, p)
	case sync:
		next.change(i)
		err = g.sync(&next, i)
	case crash:
		next.past.crashes++
		err = g.crash(&next, i, int(a.arg))
	case restart:
		err = g.restart(&next, i)
	case silence:
		var stood bool
		if stood, err = g.silence(&next, i); err == nil && !stood {
			return nil, nil
		}
	case beat:
		next.past.heartbeats++
		err = g.beat(&next, i)
	}
	if err != nil {
		return &next, err
	}
	next.members[i].encode()
	next.bury()
	if err := g.check(&next, i); err != nil {
		return &next, err
	}
	classify(s, a, &next)
	return &next, nil
}

func (g *search) deliver(s *state, p *packet) error {
	m := s.change(p.to)
	switch p.message.(type) {
	case raft.RequestPreVote, raft.RequestVote:
		// It may come when the receiver has just heard its leader: then it is
		// ignored, as if lost. So only the other case is a step of its own: it
		// comes when the receiver heard nobody for an election timeout.
		if m.role != raft.Leader {
			m.clock = m.clock.Add(g.lapse)
			if m.node.Deadline() <= m.clock {
				return fmt.Errorf("enumerate: %v's own election would come between", nodeID(p.to))
			}
		}
	}
	return g.pass(s, p.to, raft.Received{From: nodeID(p.from), Message: p.message})
}

// batch is how many writes the disk finishes together: up to the oldest that
// must be durable. Nobody waits for the others, which only save a commit index;
// they go with it, or with a crash as far as that says.
func (m *member) batch() int {
	for k := range m.writes {
		if m.writes[k].MustSync {
			return k + 1
		}
	}
	return 0
}

// sync makes the oldest writes of member i durable and lets go what waited for
// them.
func (g *search) sync(s *state, i int) error {
	m := s.members[i]
	n := m.batch()
	if n == 0 {
		n = len(m.writes) // at rest everything is
	}
	for _, p := range m.writes[:n] {
		if err := g.landing(i, m.hard, p.Hard); err != nil {
			return err
		}
		m.land(p)
		m.durable = p.Token
	}
	m.writes = m.writes[n:]
	var held []raft.Send
	for _, x := range m.held {
		if x.After > m.durable {
			held = append(held, x)
		} else {
			s.send(newPacket(i, int(x.To.Node)-1, x.Message))
		}
	}
	m.held = held
	return g.pass(s, i, raft.Persisted{Token: m.durable})
}

func (g *search) crash(s *state, i, keep int) error {
	was := s.members[i]
	m := &member{hard: was.hard, disk: was.disk, clock: was.clock}
	for _, p := range was.writes[:keep] {
		if err := g.landing(i, m.hard, p.Hard); err != nil {
			return err
		}
		m.land(p)
	}
	s.members[i] = m
	return nil
}

func (g *search) restart(s *state, i int) error {
	m := s.change(i)
	n, err := raft.New(g.configs[i], m.restored(g.group))
	if err != nil {
		return err
	}
	m.node = n
	return g.pass(s, i)
}

// silence: member i's election timeout is over. The pre-vote is part of the step
// unless Options say otherwise: it changes nothing at whoever is asked, so one
// peer's answer is taken at once, of the first that makes i stand. If nobody
// does, the step counts only if i learned a newer term by asking.
func (g *search) silence(s *state, i int) (bool, error) {
	if g.Options.PreVoteSteps {
		s.past.elections++
		return true, g.timeout(s, i)
	}
	before := *s
	for peer := range members {
		if peer == i || before.members[peer].node == nil {
			continue
		}
		*s = before
		if err := g.timeout(s, i); err != nil {
			return false, err
		}
		if err := g.askFirst(s, i, peer); err != nil {
			return false, err
		}
		if m := s.members[i]; m.role == raft.Candidate {
			s.past.elections++
			return true, nil
		} else if m.term > before.members[i].term {
			return true, nil
		}
	}
	return false, nil
}

func (g *search) timeout(s *state, i int) error {
	m := s.change(i)
	m.clock = max(m.clock, m.node.Deadline())
	return g.pass(s, i)
}

// askFirst carries i's pre-vote to peer and the answer back. The request to the
// other peer is lost: its answer would come too late to matter.
func (g *search) askFirst(s *state, i, peer int) error {
	var ask *packet
	s.net = slices.DeleteFunc(slices.Clone(s.net), func(p *packet) bool {
		_, is := p.message.(raft.RequestPreVote)
		if is && p.from == i && p.to == peer {
			ask = p
		}
		return is && p.from == i
	})
	if ask == nil {
		return nil // it waits for the disk: the term is not durable yet
	}
	if err := g.deliver(s, ask); err != nil {
		return err
	}
	s.members[peer].encode()
	for k, p := range s.net {
		if _, is := p.message.(raft.PreVote); is && p.from == peer && p.to == i {
			s.without(k)
			return g.pass(s, i, raft.Received{From: nodeID(peer), Message: p.message})
		}
	}
	return nil
}

// beat: everything the leader does by the clock alone is its heartbeat.
func (g *search) beat(s *state, i int) error {
	m := s.change(i)
	m.clock = m.clock.Add(id.Duration(g.configs[i].Heartbeat))
	return g.pass(s, i)
}

// answered: who is answered may rely on it.
func (g *search) answered(s *state) error {
	for attempt := byte(1); attempt <= s.past.attempts; attempt++ {
		if s.past.answered&(1<<attempt) != 0 && !slices.ContainsFunc(s.past.committed, func(c committed) bool { return c.sequence == attempt }) {
			return g.fail(AnswerCommitted, "the client is answered, but its command is not committed")
		}
	}
	return nil
}

// bury takes messages away that can change nothing any more.
//
//   - An answer of a term that its receiver's disk has left behind. (A request
//     stays: it is answered with the newer term.)
//   - An acknowledgement that tells the leader of the term nothing new: of a
//     heartbeat, or of entries it knows to be there. It could only make a leader
//     repeat something, and whatever is repeated may as well arrive late.
func (s *state) bury() {
	dead := func(p *packet) bool {
		m := s.members[p.to]
		switch x := p.message.(type) {
		case raft.HeartbeatAck:
			return x.Term < m.hard.Term || x.Term == m.hard.Term && m.node != nil && m.role == raft.Leader
		case raft.AppendAccepted, raft.AppendRejected, raft.Vote:
			return x.SenderTerm() < m.hard.Term
		case raft.PreVote:
			return x.Term < m.hard.Term && x.For <= m.hard.Term
		}
		return false
	}
	if slices.ContainsFunc(s.net, dead) {
		s.net = slices.DeleteFunc(slices.Clone(s.net), dead)
	}
}
