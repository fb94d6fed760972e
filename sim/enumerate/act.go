package enumerate

import (
	"slices"

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
	fsync                   // the oldest write of a member is durable
	crash                   // a member stops; its oldest `keep` writes had reached the disk
	restart                 // it starts from its disk
	silence                 // a member heard no leader for an election timeout
	beat                    // a leader's heartbeat is due
	rest                    // not a step of the search: see recover.go
)

// step is one transition: what happens, to whom, and which or how much.
type step struct {
	kind kind
	who  int8
	arg  int16 // deliver, double: packet; crash: keep; request: attempt; silence: who is asked
}

// steps appends what may happen next in s within the bounds, always in the same
// order.
func (g *search) steps(s *state, out []step) []step {
	for i, m := range s.members {
		if m.node == nil {
			out = append(out, step{restart, int8(i), 0})
		} else {
			out = g.memberSteps(s, i, out)
		}
	}
	for k, p := range s.net {
		if s.members[p.to].node == nil || k > 0 && p == s.net[k-1] {
			continue // it waits for the member; or is the twin of the one before
		}
		out = append(out, step{deliver, int8(p.to), int16(k)})
		if int(s.past.duplicates) < g.Options.Duplicates {
			out = append(out, step{double, int8(p.to), int16(k)})
		}
	}
	if g.backwards {
		slices.Reverse(out)
	}
	return out
}

// memberSteps: what member i, which is up, may do or suffer.
func (g *search) memberSteps(s *state, i int, out []step) []step {
	h, o, m, who := &s.past, &g.Options, s.members[i], int8(i)
	leads := m.role == raft.Leader
	if leads && g.mayAsk(s, i) {
		out = append(out, step{request, who, int16(h.attempts) + 1})
	}
	if m.owed != 0 {
		out = append(out, step{answer, who, 0})
	}
	if m.batch() > 0 {
		out = append(out, step{fsync, who, 0})
	}
	if !leads && int(h.elections) < o.Elections && g.mayStand(h, i) {
		out = g.silences(s, i, out)
	}
	if leads && int(h.heartbeats) < o.Heartbeats {
		out = append(out, step{beat, who, 0})
	}
	if int(h.crashes) < o.Crashes {
		for keep := 0; keep <= len(m.writes); keep++ {
			out = append(out, step{crash, who, int16(keep)})
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
	var p *packet
	var err error
	switch a.kind {
	case deliver:
		p = s.net[a.arg]
		next.without(int(a.arg))
		err = g.happen(&next, i, deliver, 0, p)
	case double:
		next.past.duplicates++
		err = g.happen(&next, i, deliver, 0, s.net[a.arg])
	case silence:
		var did bool
		if did, err = g.silence(&next, i, int(a.arg)); err == nil && !did {
			return nil, nil
		}
	default:
		err = g.happen(&next, i, a.kind, int(a.arg), nil)
	}
	switch a.kind {
	case request:
		next.past.attempts++
	case crash:
		next.past.crashes++
	case beat:
		next.past.heartbeats++
	}
	if err == nil {
		g.bury(&next)
		err = g.check(&next, i)
	}
	if err == nil {
		classify(s, a, &next)
	}
	return &next, err
}

// happen lets an input happen to member i of s.
func (g *search) happen(s *state, i int, k kind, arg int, p *packet) error {
	out := g.local(s.members[i], k, arg, p)
	s.members[i] = out.member
	s.send(out.sent)
	if out.err == nil && out.answer != 0 {
		s.past.answered |= out.answer
		return g.answered(s)
	}
	return out.err
}

// silences: member i may ask one peer before it stands, or all.
func (g *search) silences(s *state, i int, out []step) []step {
	if g.Options.PreVoteSteps {
		return append(out, step{silence, int8(i), -1})
	}
	for peer, m := range s.members {
		if peer != i && m.node != nil {
			out = append(out, step{silence, int8(i), int16(peer)})
		}
	}
	return out
}

// silence: member i's election timeout is over. The pre-vote is part of the step
// unless Options say otherwise: it changes nothing at whoever is asked, so the
// answer of one peer, whichever, is taken at once. If i does not stand then, the
// step counts only if it learned a newer term by asking.
func (g *search) silence(s *state, i, peer int) (bool, error) {
	before := s.members[i].term
	if err := g.happen(s, i, silence, 0, nil); err != nil {
		return false, err
	}
	if peer >= 0 {
		if err := g.askFirst(s, i, peer); err != nil {
			return false, err
		}
		if m := s.members[i]; m.role != raft.Candidate {
			return m.term > before, nil
		}
	}
	s.past.elections++
	return true, nil
}

// askFirst carries i's pre-vote to peer and the answer back. The request to the
// other peer is lost: its answer would come too late to matter.
func (g *search) askFirst(s *state, i, peer int) error {
	var ask, reply *packet
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
	if err := g.happen(s, peer, deliver, 0, ask); err != nil {
		return err
	}
	s.net = slices.DeleteFunc(s.net, func(p *packet) bool {
		_, is := p.message.(raft.PreVote)
		if is = is && p.from == peer && p.to == i; is {
			reply = p
		}
		return is
	})
	if reply == nil {
		return nil // the peer's disk is busy with its term
	}
	return g.happen(s, i, deliver, 0, reply)
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
//   - The acknowledgement of a heartbeat by the leader of the same term. It could
//     only make it send again what may have been lost, and what may be lost may as
//     well arrive late. Where leaders' clocks move (Options.Heartbeats) it stays.
func (g *search) bury(s *state) {
	dead := func(p *packet) bool {
		m := s.members[p.to]
		switch x := p.message.(type) {
		case raft.HeartbeatAck:
			return x.Term < m.hard.Term || g.Options.Heartbeats == 0 && x.Term == m.hard.Term && m.node != nil && m.role == raft.Leader
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
