package enumerate

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/quorate/quorate/raft"
)

// What becomes of a state when faults end: everything in flight is lost, disks
// finish what they were given, who is down starts, and from then on every
// message arrives in order. Where nobody leads, members stand one after another
// until one wins: in all six orders, for who stands first may decide what is kept.
// That messages in flight are lost leaves nothing out: every order of delivering
// some of them first is a state of its own.

// lineups are the orders in which members stand.
var lineups = [6][members]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}

func lineupText(l [members]int) string {
	return fmt.Sprintf("%v, %v and %v stand in this order", nodeID(l[0]), nodeID(l[1]), nodeID(l[2]))
}

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

// ending is how a state ends: for each lineup the log that all agree on. It does
// not depend on the history.
type ending struct {
	logs [len(lineups)][]raft.Entry
	fate [len(lineups)]fate
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
		return &ending{err: err}, g.fail(Recovery, "left alone from here, with all members up, %v", err)
	}
	key := g.print(quiet, false, false)
	e, known := g.endings[key]
	if !known {
		e = g.recover(quiet)
		g.endings[key] = e
	}
	if e.err != nil {
		return e, g.fail(Recovery, "left alone from here, with all members up, %v", e.err)
	}
	for i, l := range lineups {
		for k := range s.past.committed {
			if !s.past.holds(e.logs[i], k) {
				return e, g.fail(Recovery, "entry %d of term %d was committed, and is gone when all members are up again and %s", k+1, s.past.committed[k].term, lineupText(l))
			}
		}
	}
	return e, nil
}

// quiet is s after the last fault, before anybody moves.
func (g *search) quiet(s *state) (*state, error) {
	q := *s
	q.net = nil
	for i := range members {
		if err := g.happen(&q, i, rest, 0, nil); err != nil {
			return nil, err
		}
	}
	return &q, nil
}

func (g *search) recover(quiet *state) *ending {
	e := &ending{}
	for i, l := range lineups {
		s := *quiet
		if e.err = g.settle(&s, l); e.err != nil {
			e.err = fmt.Errorf("when %s: %w", lineupText(l), e.err)
			return e
		}
		e.logs[i] = s.members[0].log
		e.fate[i] = fateOf(e.logs[i])
	}
	return e
}

// settle lets the group come to rest.
func (g *search) settle(s *state, lineup [members]int) error {
	const roundsMax = 20
	for round := range roundsMax {
		if err := g.flow(s, lineup); err != nil {
			return err
		}
		if g.agreed(s) {
			return nil
		}
		leads := false
		for _, i := range lineup {
			if s.members[i].role == raft.Leader {
				leads = true
				if err := g.happen(s, i, beat, 0, nil); err != nil {
					return err
				}
			}
		}
		if !leads {
			if err := g.happen(s, lineup[round%members], silence, 0, nil); err != nil {
				return err
			}
		}
	}
	return broken(Recovery, "the group does not come to rest within %d rounds", roundsMax)
}

// flow finishes every write and delivers every message, oldest first, until
// nothing is left. Of what is equally old, members come in the lineup's order: so
// the names of members decide nothing but through the lineup, and all are tried.
func (g *search) flow(s *state, lineup [members]int) error {
	const stepsMax = 500
	var queue []*packet
	for range stepsMax {
		busy := false
		for _, i := range lineup {
			if s.members[i].batch() > 0 {
				busy = true
				if err := g.happen(s, i, fsync, 0, nil); err != nil {
					return err
				}
			}
		}
		slices.SortFunc(s.net, func(a, b *packet) int {
			return cmp.Or(slices.Index(lineup[:], a.from)-slices.Index(lineup[:], b.from),
				slices.Index(lineup[:], a.to)-slices.Index(lineup[:], b.to), cmp.Compare(a.body, b.body))
		})
		queue, s.net = append(queue, s.net...), nil
		if len(queue) > 0 {
			p := queue[0]
			queue, busy = queue[1:], true
			if err := g.happen(s, p.to, deliver, 0, p); err != nil {
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
	log := s.members[0].log
	leaders := 0
	for _, m := range s.members {
		if m.role == raft.Leader {
			leaders++
		}
		if !slices.EqualFunc(log, m.log, func(a, b raft.Entry) bool { return same(&a, &b) }) || int(m.commit) != len(log) || m.term != s.members[0].term {
			return false
		}
	}
	return leaders == 1
}
