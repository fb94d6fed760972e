package paxos

import (
	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// acceptor is a node's memory: what it promised, accepted, and knows to be chosen.
//
// Invariant: what it answers is on disk first (R1, R3). Otherwise: n2 accepts v
// and says so, v is chosen, n2 loses power and forgets, promises a higher ballot
// with nothing to tell, and another value is chosen (recipe paxos-no-fsync).
// What is chosen is written and not synced: whoever forgets it asks again.
type acceptor struct {
	durable  bool // false: rule broken
	promised ballot
	slots    []slot // by position - 1
	log      *lab.Log
	token    id.Token // of the newest promise or acceptance
}

// slot is one position.
type slot struct {
	ballot ballot // in which value was accepted; 0: none was
	value  value
	chosen bool
}

const journal = "acceptor"

func newAcceptor(c lab.Config) acceptor {
	return acceptor{durable: !c.Broken(noFsync), log: lab.NewLog()}
}

// restore reads the journal. What a killed process left may be in the cache only:
// nothing is answered from it before it is synced.
//
//	n2 accepts v, is killed before the fsync, and starts again: v is in its journal.
//	The proposer asks once more, n2 says "accepted", v is chosen. The power fails.
func (a *acceptor) restore(t *lab.Turn, records []lab.Body) {
	if len(records) > 0 && a.durable {
		a.token = t.Sync(journal)
	}
	for _, r := range records {
		switch r := r.(type) {
		case promiseRecord:
			a.promised = max(a.promised, r.ballot)
		case acceptRecord:
			a.promised = max(a.promised, r.ballot)
			a.hold(r.slot, r.ballot, r.value)
		case chosenRecord:
			a.settle(r.slot, r.value)
		}
	}
}

// promise takes part in no smaller ballot any more.
func (a *acceptor) promise(t *lab.Turn, b ballot) {
	assert.That(b > a.promised, "promises %d after %d", b, a.promised)
	a.promised = b
	a.persist(t, promiseRecord{b})
}

// accept accepts a value. One that it has from this ballot costs nothing.
func (a *acceptor) accept(t *lab.Turn, b ballot, position int, v value) {
	assert.That(b >= a.promised, "accepts %d after it promised %d", b, a.promised)
	if s := a.at(position); s.ballot == b {
		return
	}
	a.promised = b
	a.persist(t, acceptRecord{b, position, v})
	a.hold(position, b, v)
}

// choose takes a value as chosen.
func (a *acceptor) choose(t *lab.Turn, position int, v value) {
	if a.at(position).chosen {
		return
	}
	t.Write(journal, chosenRecord{position, v})
	a.settle(position, v)
}

func (a *acceptor) persist(t *lab.Turn, r lab.Body) {
	t.Write(journal, r)
	if a.durable {
		a.token = t.Sync(journal)
	}
}

// at is a position, empty if nothing is known of it.
func (a *acceptor) at(position int) slot {
	if position > len(a.slots) {
		return slot{}
	}
	return a.slots[position-1]
}

// last is the highest position of which something is known.
func (a *acceptor) last() int { return len(a.slots) }

// decided is up to where everything is chosen.
func (a *acceptor) decided() int { return a.log.Decided() }

// report is what it tells of the slots from one on.
func (a *acceptor) report(from int) []acceptance {
	var out []acceptance
	for p := max(from, 1); p <= len(a.slots); p++ {
		if s := a.slots[p-1]; s.ballot > 0 || s.chosen {
			out = append(out, acceptance{p, s.ballot, s.value, s.chosen})
		}
	}
	return out
}

// chosen returns at most limit chosen values from a position on, without gaps.
func (a *acceptor) chosen(from, limit int) []value {
	var out []value
	for p := max(from, 1); p <= a.decided() && len(out) < limit; p++ {
		out = append(out, a.slots[p-1].value)
	}
	return out
}

func (a *acceptor) hold(position int, b ballot, v value) {
	a.reach(position)
	s := &a.slots[position-1]
	s.ballot = b
	if s.chosen {
		return // it is the same value, unless a rule is broken; what was applied stays
	}
	s.value = v
	a.log.Set(position, v.Entry)
}

func (a *acceptor) settle(position int, v value) {
	a.reach(position)
	s := &a.slots[position-1]
	if s.chosen {
		return
	}
	s.value, s.chosen = v, true
	a.log.Set(position, v.Entry)
	upTo := a.decided()
	for upTo < len(a.slots) && a.slots[upTo].chosen {
		upTo++
	}
	a.log.Decide(upTo) // M4
}

// reach makes the log long enough; what is unknown is a hole.
func (a *acceptor) reach(position int) {
	for len(a.slots) < position {
		a.slots = append(a.slots, slot{})
		a.log.Append(lab.Entry{Kind: "hole"})
	}
}
