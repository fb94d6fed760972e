package raft

import (
	"slices"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
)

// entryLog is a node's log. Only the newest entries are in memory; of all of
// them it knows the terms (as runs), the configurations and roughly the bytes,
// so that no decision ever waits for the disk.
//
//	start          first()      durable      handed        last
//	  │ on disk only │ ◀──────────── tail ────────────────▶ │
//	  ╵──────────────╵─────────────╵─────────────╵──────────╵
//
// Invariant: start.Index ≤ durable < handed ≤ last+1; the tail ends at last.
//
// A slot of the tail's backing array is written once: effects hold windows of
// it, so truncation and growth go to a new array.
type entryLog struct {
	start   LogStart
	last    id.Index
	runs    []TermRun  // terms of the entries behind start
	configs []ConfigAt // configs[0] is in force at start; the others are entries behind it

	tail  []Entry
	sums  []int64 // sums[i] is the bytes of the log up to tail[i]
	total int64   // bytes of the log up to last
	marks []mark  // bytes of what left the tail, coarsely

	durable id.Index // entries up to here are on this node's disk
	handed  id.Index // first entry not yet in a Persist
}

// mark says how many bytes the log has up to an index; between two marks the
// truth is interpolated.
type mark struct {
	index id.Index
	bytes int64
}

// How far apart marks are: 10 marks per MiB cost nothing and err by less than
// anybody who cuts a log would notice.
const (
	markBytes   = 100 << 10
	markEntries = 4096
)

// configMemberBytes is what a member counts for in a configuration entry. The
// host fills Data of such an entry after raft has counted it, so its length
// cannot be used.
const configMemberBytes = 96

func entryBytes(e *Entry) int64 {
	if e.Kind == EntryConfig && e.Config != nil {
		return entryOverheadBytes + int64(len(e.Config.Members))*configMemberBytes
	}
	return int64(len(e.Data)) + entryOverheadBytes
}

// first is the index of the oldest entry in memory, last+1 if there is none.
func (l *entryLog) first() id.Index { return l.last + 1 - id.Index(len(l.tail)) }

func (l *entryLog) lastTerm() id.Term {
	if len(l.runs) > 0 {
		return l.runs[len(l.runs)-1].Term
	}
	return l.start.Term
}

// term returns the term of the entry at i; false if the log does not reach i or
// no longer knows it.
func (l *entryLog) term(i id.Index) (id.Term, bool) {
	switch {
	case i == l.start.Index:
		return l.start.Term, true
	case i < l.start.Index || i > l.last:
		return 0, false
	}
	return l.runs[l.run(i)].Term, true
}

// run returns which run holds i, an entry behind start.
func (l *entryLog) run(i id.Index) int {
	if k := len(l.runs) - 1; l.runs[k].First <= i {
		return k
	}
	k, found := slices.BinarySearchFunc(l.runs, i, func(r TermRun, i id.Index) int {
		switch {
		case r.First < i:
			return -1
		case r.First > i:
			return 1
		}
		return 0
	})
	if !found {
		k--
	}
	return k
}

// matches tells whether the entry at i has this term.
func (l *entryLog) matches(i id.Index, t id.Term) bool {
	have, ok := l.term(i)
	return ok && have == t
}

// atMost returns the greatest index up to i whose term is at most t. It is how
// both sides skip a whole term per rejection: a greater term cannot be at or
// below i in a log that has t there. If even start's term is greater the answer
// lies before the log: start.Index-1, or 0.
func (l *entryLog) atMost(i id.Index, t id.Term) id.Index {
	if i > l.last {
		i = l.last
	}
	if i < l.start.Index {
		return i
	}
	for i > l.start.Index {
		k := l.run(i)
		if l.runs[k].Term <= t {
			return i
		}
		i = l.runs[k].First - 1
	}
	if l.start.Term > t && i > 0 {
		return i - 1
	}
	return i
}

// append puts e behind the last entry.
func (l *entryLog) append(e Entry) {
	if e.Index != l.last+1 || e.Term < l.lastTerm() {
		assert.Fail("raft: entry (%d, term %d) behind (%d, term %d)", e.Index, e.Term, l.last, l.lastTerm())
	}
	if len(l.tail) == cap(l.tail) {
		grown := make([]Entry, len(l.tail), max(64, 2*len(l.tail)))
		copy(grown, l.tail)
		l.tail = grown
	}
	l.total += entryBytes(&e)
	l.tail = append(l.tail, e)
	l.sums = append(l.sums, l.total)
	if e.Term != l.lastTerm() || len(l.runs) == 0 {
		l.runs = append(l.runs, TermRun{First: e.Index, Term: e.Term})
	}
	l.last = e.Index
	if e.Kind == EntryConfig {
		l.configs = append(l.configs, ConfigAt{Index: e.Index, Config: *e.Config})
	}
}

// truncate removes the entries from i on.
func (l *entryLog) truncate(i id.Index) {
	if i <= l.start.Index || i > l.last {
		assert.Fail("raft: truncate from %d in a log (%d, %d]", i, l.start.Index, l.last)
	}
	l.total = l.bytes(i - 1)
	if f := l.first(); i > f {
		k := int(i - f)
		l.tail, l.sums = l.tail[:k:k], l.sums[:k] // cap: the removed slots are never written again
	} else {
		l.tail, l.sums = nil, l.sums[:0]
	}
	for len(l.marks) > 0 && l.marks[len(l.marks)-1].index >= i {
		l.marks = l.marks[:len(l.marks)-1]
	}
	for len(l.runs) > 0 && l.runs[len(l.runs)-1].First >= i {
		l.runs = l.runs[:len(l.runs)-1]
	}
	for l.configs[len(l.configs)-1].Index >= i {
		l.configs = l.configs[:len(l.configs)-1]
	}
	l.last = i - 1
	l.durable = min(l.durable, l.last)
	l.handed = min(l.handed, i)
}

// slice returns the entries [from, to) that are in memory, as many as fit into
// limit bytes but at least one. from must be in memory.
func (l *entryLog) slice(from, to id.Index, limit int64) []Entry {
	f := l.first()
	lo, hi := int(from-f), int(to-f)
	if lo >= hi {
		return nil
	}
	before := int64(0)
	if lo > 0 {
		before = l.sums[lo-1]
	} else {
		before = l.sums[0] - entryBytes(&l.tail[0])
	}
	if l.sums[hi-1]-before > limit {
		k, _ := slices.BinarySearch(l.sums[lo:hi], before+limit+1)
		hi = lo + max(1, k)
	}
	return l.tail[lo:hi:hi]
}

// bytes returns how many bytes the log has up to i: exact for what is in
// memory, interpolated below.
func (l *entryLog) bytes(i id.Index) int64 {
	f := l.first()
	switch {
	case i >= l.last:
		return l.total
	case i >= f:
		return l.sums[i-f]
	}
	upper := mark{index: f - 1, bytes: l.total}
	if len(l.tail) > 0 {
		upper.bytes = l.sums[0] - entryBytes(&l.tail[0])
	}
	k, found := slices.BinarySearchFunc(l.marks, i, func(m mark, i id.Index) int {
		switch {
		case m.index < i:
			return -1
		case m.index > i:
			return 1
		}
		return 0
	})
	switch {
	case found:
		return l.marks[k].bytes
	case k == 0:
		return l.marks[0].bytes // at or before start
	case k < len(l.marks):
		upper = l.marks[k]
	}
	lower := l.marks[k-1]
	if upper.index <= lower.index {
		return lower.bytes
	}
	return lower.bytes + (upper.bytes-lower.bytes)*int64(i-lower.index)/int64(upper.index-lower.index)
}

// indexAtBytes returns the greatest index whose bytes are at most b, within
// [start.Index, last]: a binary search over bytes, which grows with the index.
func (l *entryLog) indexAtBytes(b int64) id.Index {
	lo, hi := l.start.Index, l.last
	for lo < hi {
		mid := lo + (hi-lo+1)/2
		if l.bytes(mid) <= b {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return lo
}

// tailAtBytes is the same among the entries in memory.
func (l *entryLog) tailAtBytes(b int64) id.Index {
	k, _ := slices.BinarySearch(l.sums, b+1)
	return l.first() + id.Index(k) - 1
}

// forget drops entries up to i from memory; they stay in the log.
func (l *entryLog) forget(i id.Index) {
	f := l.first()
	if i < f {
		return
	}
	k := min(int(i-f)+1, len(l.tail))
	if k == 0 {
		return
	}
	for j := 0; j < k; j++ {
		m := l.marks[len(l.marks)-1]
		if at := f + id.Index(j); l.sums[j]-m.bytes >= markBytes || at-m.index >= markEntries {
			l.marks = append(l.marks, mark{index: at, bytes: l.sums[j]})
		}
	}
	if k == len(l.tail) {
		l.marks = append(l.marks, mark{index: f + id.Index(k) - 1, bytes: l.sums[k-1]})
	}
	l.tail = l.tail[k:]
	l.sums = l.sums[k:]
}

// cut moves the start of the log up to i, an entry of the log.
func (l *entryLog) cut(i id.Index) {
	t, ok := l.term(i)
	if !ok || i > l.durable {
		assert.Fail("raft: cut at %d in a log (%d, %d] durable to %d", i, l.start.Index, l.last, l.durable)
	}
	bytes := l.bytes(i)
	l.forget(i)
	c := l.configAt(i)
	l.start = LogStart{Index: i, Term: t, Config: c.Config}
	if l.last > i {
		k := l.run(i + 1)
		l.runs = slices.Clone(l.runs[k:])
		l.runs[0].First = i + 1
	} else {
		l.runs = nil
	}
	k := 0
	for k+1 < len(l.configs) && l.configs[k+1].Index <= i {
		k++
	}
	l.configs = slices.Clone(l.configs[k:])
	k = 0
	for k < len(l.marks) && l.marks[k].index <= i {
		k++
	}
	l.marks = append([]mark{{index: i, bytes: bytes}}, l.marks[k:]...)
}

// reset starts the log anew behind a snapshot.
func (l *entryLog) reset(s LogStart) {
	*l = entryLog{
		start: s, last: s.Index,
		configs: []ConfigAt{{Index: s.Index, Config: s.Config}},
		marks:   []mark{{index: s.Index}},
		durable: s.Index, handed: s.Index + 1,
	}
}

// config is the configuration in force: the newest in the log (thesis §4.1).
func (l *entryLog) config() *ConfigAt { return &l.configs[len(l.configs)-1] }

// configAt is the configuration in force at i.
func (l *entryLog) configAt(i id.Index) *ConfigAt {
	k := len(l.configs) - 1
	for k > 0 && l.configs[k].Index > i {
		k--
	}
	return &l.configs[k]
}

func (l *entryLog) clone() entryLog {
	c := *l
	c.runs = slices.Clone(l.runs)
	c.configs = slices.Clone(l.configs)
	c.tail = l.tail[:len(l.tail):len(l.tail)] // shared, but grows into an array of its own
	c.sums = slices.Clone(l.sums)
	c.marks = slices.Clone(l.marks)
	return c
}
