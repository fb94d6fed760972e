package enumerate

import (
	"errors"
	"fmt"
	"slices"

	"github.com/quorate/quorate/raft"
)

// What becomes of a state when faults end: everything in flight is lost, disks
// finish what they were given, who is down starts, and from then on every
// message arrives in order. Where nobody leads, one member stands first: all
// three are tried. That messages in flight are lost loses nothing: every order
// of delivering some of them first is a state of its own.

// fate is what the client's attempts come to, in the order they are applied.
type fate uint8

const (
	nothing fate = iota
	first
	second
	firstSecond
	secondFirst
	fates
)

func (f fate) String() string {
	return [fates]string{"not applied", "applied", "the retry applied", "applied twice", "applied twice, the retry first"}[f]
}

// twice: without sessions the command takes effect twice.
func (f fate) twice() bool { return f == firstSecond || f == secondFirst }

// kept: the command takes effect.
func (f fate) kept() bool { return f != nothing }

func fateOf(log []raft.Entry) fate {
	var order []byte
	for i := range log {
		if log[i].Kind == raft.EntryCommand {
			order = append(order, byte(log[i].Proposal.Sequence))
		}
	}
	switch {
	case len(order) == 0:
		return nothing
	case len(order) == 1:
		return fate(order[0])
	case order[0] == 1:
		return firstSecond
	}
	return secondFirst
}

// ending is how a state ends: for each member that may stand first the log that
// all agree on. It does not depend on the history.
type ending struct {
	logs [members][]raft.Entry
	fate [members]fate
	err  error // of the group that does not recover
}

// may tells whether one of the endings has what f asks.
func (e *ending) may(f func(fate) bool) bool {
	return slices.ContainsFunc(e.fate[:], f)
}

// all tells whether every ending has it.
func (e *ending) all(f func(fate) bool) bool {
	return !e.may(func(x fate) bool { return !f(x) })
}

// end finds the ending of s, and checks it against what s's history committed.
func (g *search) end(s *state) (*ending, error) {
	quiet, err := g.quiet(s)
	if err != nil {
		return nil, err
	}
	key := quiet.print(&g.buffer, false, false)
	e, known := g.endings[key]
	if !known {
		e = g.recover(quiet)
		g.endings[key] = e
	}
	if e.err != nil {
		return e, g.failed(e.err)
	}
	for i := range members {
		for k := range s.past.committed {
			if !s.past.holds(e.logs[i], k) {
				return e, g.fail(Recovery, "entry %d of term %d was committed, and is gone when all members are up again and %v stands first", k+1, s.past.committed[k].term, nodeID(i))
			}
		}
	}
	return e, nil
}

// failed passes on a broken rule unless it is ignored.
func (g *search) failed(err error) error {
	var f *failure
	if errors.As(err, &f) {
		return g.fail(f.rule, "%s", f.what)
	}
	return err
}

// quiet is s after the last fault, before anybody moves.
func (g *search) quiet(s *state) (*state, error) {
	q := *s
	q.net = nil
	for i := range q.members {
		m := q.members[i]
		if m.node != nil && len(m.writes) == 0 && m.owed == 0 && len(m.waiting) == 0 && len(m.held) == 0 {
			continue
		}
		m = q.change(i)
		if m.node == nil {
			if err := g.restart(&q, i); err != nil {
				return nil, err
			}
			m = q.members[i]
		}
		for len(m.writes) > 0 {
			if err := g.sync(&q, i); err != nil {
				return nil, err
			}
		}
		m.owed, m.waiting = 0, nil
		q.net = nil
		m.encode()
	}
	return &q, nil
}

func (g *search) recover(quiet *state) *ending {
	e := &ending{}
	for i := range members {
		s := *quiet
		if e.err = g.settle(&s, i); e.err != nil {
			e.err = fmt.Errorf("when %v stands first: %w", nodeID(i), e.err)
			return e
		}
		e.logs[i] = s.members[0].log()
		e.fate[i] = fateOf(e.logs[i])
	}
	return e
}

// settle lets the group come to rest, with member i the first to stand.
func (g *search) settle(s *state, stands int) error {
	const roundsMax = 20
	for round := range roundsMax {
		if err := g.flow(s); err != nil {
			return err
		}
		if g.agreed(s) {
			return nil
		}
		leads := false
		for i := range members {
			if s.members[i].role == raft.Leader {
				leads = true
				if err := g.beat(s, i); err != nil {
					return err
				}
			}
		}
		if !leads {
			if err := g.timeout(s, (stands+round)%members); err != nil {
				return err
			}
		}
	}
	return broken(Recovery, "the group does not come to rest within %d rounds", roundsMax)
}

// flow finishes every write and delivers every message, oldest first, until
// nothing is left.
func (g *search) flow(s *state) error {
	const stepsMax = 500
	var queue []*packet
	for range stepsMax {
		busy := false
		for i, m := range s.members {
			if len(m.writes) > 0 {
				s.change(i)
				if err := g.sync(s, i); err != nil {
					return err
				}
				busy = true
			}
		}
		queue, s.net = append(queue, s.net...), nil
		if len(queue) > 0 {
			p := queue[0]
			queue, busy = queue[1:], true
			if err := g.deliver(s, p); err != nil {
				return err
			}
		}
		if !busy && len(s.net) == 0 {
			return nil
		}
	}
	return broken(Recovery, "messages do not end within %d steps", stepsMax)
}

// agreed: one leader, one log, all of it committed everywhere.
func (g *search) agreed(s *state) bool {
	log := s.members[0].log()
	leaders := 0
	for _, m := range s.members {
		if m.role == raft.Leader {
			leaders++
		}
		if !slices.EqualFunc(log, m.log(), func(a, b raft.Entry) bool { return same(&a, &b) }) || int(m.commit) != len(log) || m.term != s.members[0].term {
			return false
		}
	}
	return leaders == 1
}

// withSessions is how often a machine that remembers the client's last request
// lets the command take effect: the second is answered with the first's result.
func (f fate) withSessions() int {
	if f == nothing {
		return 0
	}
	return 1
}
