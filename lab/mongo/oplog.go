package mongo

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// opTime orders the entries of an oplog. In pv0 Term is 0 everywhere and Stamp,
// the writing primary's wall clock, decides alone: a clock that is ahead makes a
// log "newer". In pv1 the term comes first.
type opTime struct {
	Term  uint64
	Stamp uint64 // nanoseconds of the wall clock; never 0 for an entry
}

func (a opTime) compare(b opTime) int {
	return cmp.Or(cmp.Compare(a.Term, b.Term), cmp.Compare(a.Stamp, b.Stamp))
}

func (a opTime) before(b opTime) bool { return a.compare(b) < 0 }

// within tells whether a is at most so much older than b by the stamps alone.
func (a opTime) within(span id.Duration, b opTime) bool { return a.Stamp+uint64(span) >= b.Stamp }

func (a opTime) String() string {
	s := strconv.FormatUint(a.Stamp/uint64(id.Millisecond), 10) + "ms"
	if a.Term > 0 {
		s = "term " + strconv.FormatUint(a.Term, 10) + ", " + s
	}
	return s
}

// oplog is a member's log: the operations and when each was written. opTimes
// only grow along it; two members that hold the same opTime hold the same entry.
//
//	Invariant: 0 ≤ durable ≤ log.Len() == len(times)
type oplog struct {
	log     *lab.Log
	times   []opTime
	durable int // on disk up to here
	written int // a Sync covers up to here
	pending []covered
}

// covered says up to which position a token's fsync reaches.
type covered struct {
	token    id.Token
	position int
}

// journal is the file of the oplog. It holds inserts and truncations in the order
// in which they happened.
const journal = "oplog"

// insert is the record of one entry.
type insert struct {
	At    opTime
	Entry lab.Entry
}

func (insert) Name() string { return "insert" }
func (r insert) Fields() []trace.Field {
	return []trace.Field{trace.Num("term", r.At.Term), trace.Num("stamp", r.At.Stamp), trace.Num("operation", r.Entry.Op)}
}

// truncation is the record of a rollback: everything behind Keep is gone.
type truncation struct{ Keep int }

func (truncation) Name() string            { return "truncate" }
func (r truncation) Fields() []trace.Field { return []trace.Field{trace.Num("keep", uint64(r.Keep))} }

// replay builds the log from what survived on disk.
func (o *oplog) replay(records []lab.Body) {
	for _, r := range records {
		switch r := r.(type) {
		case insert:
			o.log.Append(r.Entry)
			o.times = append(o.times, r.At)
		case truncation:
			o.log.Truncate(r.Keep)
			o.times = o.times[:min(r.Keep, len(o.times))]
		}
	}
	o.durable, o.written = len(o.times), len(o.times)
}

// last is the newest opTime; zero for an empty log.
func (o *oplog) last() opTime { return o.at(len(o.times)) }

// at is the opTime at a position; zero for 0.
func (o *oplog) at(position int) opTime {
	if position == 0 {
		return opTime{}
	}
	return o.times[position-1]
}

// find returns the position of the newest entry that is not newer than x, and
// whether it is x itself. The beginning (position 0) is what all have in common.
func (o *oplog) find(x opTime) (position int, exact bool) {
	i, found := slices.BinarySearchFunc(o.times, x, opTime.compare)
	if found {
		return i + 1, true
	}
	return i, x == opTime{}
}

// append adds an entry to log and journal, not yet synced.
func (o *oplog) append(t *lab.Turn, e lab.Entry, at opTime) {
	o.log.Append(e)
	o.times = append(o.times, at)
	t.Write(journal, insert{At: at, Entry: e})
}

// truncate takes everything behind a position away, on disk too.
func (o *oplog) truncate(t *lab.Turn, keep int) {
	o.log.Truncate(keep)
	o.times = slices.Clone(o.times[:keep])
	o.durable, o.written = min(o.durable, keep), min(o.written, keep)
	for i := range o.pending {
		o.pending[i].position = min(o.pending[i].position, keep)
	}
	t.Write(journal, truncation{Keep: keep})
	o.sync(t)
}

// sync asks for an fsync of all that has been written.
func (o *oplog) sync(t *lab.Turn) {
	o.written = len(o.times)
	o.pending = append(o.pending, covered{t.Sync(journal), o.written})
}

// synced takes note of a durable token.
func (o *oplog) synced(token id.Token) {
	for len(o.pending) > 0 && o.pending[0].token <= token {
		o.durable = max(o.durable, o.pending[0].position)
		o.pending = o.pending[1:]
	}
}
