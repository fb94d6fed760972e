package wal

import (
	"fmt"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/wire"
)

// loc is where an entry's encoding lies, and its checksum: what is read there
// must be this entry and no other, wherever the disk got it from.
type loc struct {
	segment uint32
	offset  uint32
	bytes   uint32
	sum     uint32
}

func locOf(segment uint32, off int64, encoded []byte) loc {
	return loc{segment: segment, offset: uint32(off), bytes: uint32(len(encoded)), sum: wire.EntryChecksum(encoded)}
}

// group is what the log knows of one group without reading: the state, and 16
// bytes for each entry.
type group struct {
	id     id.GroupID
	hard   raft.HardState
	start  raft.LogStart
	intent *raft.SnapshotMeta

	// Segments that hold the newest record of each; 0: none.
	hardAt, startAt, intentAt uint32

	// Invariant: outside recovery first == start.Index+1, and locs[i] is the place
	// of entry first+i, in growing order of places.
	first id.Index
	locs  []loc
	bytes int64 // of all entries together

	// During recovery only.
	history *history
	moving  *group // the parts of a rewrite seen so far
}

func newGroup(g id.GroupID) *group { return &group{id: g, first: 1} }

// last returns the index of the newest entry, or the start's.
func (g *group) last() id.Index { return g.first + id.Index(len(g.locs)) - 1 }

// truncate forgets all entries from index on.
func (g *group) truncate(from id.Index) {
	if from > g.last() {
		return
	}
	keep := 0
	if from > g.first {
		keep = int(from - g.first)
	}
	g.count(g.locs[keep:], -1)
	g.locs = g.locs[:keep]
	if keep == 0 {
		g.first = from
	}
	g.history.truncate(from)
}

// begin moves the start of the log: entries up to it are gone.
func (g *group) begin(s raft.LogStart, segment uint32) {
	g.start, g.startAt = s, segment
	g.history.begin(s.Index)
	gone := len(g.locs)
	if s.Index < g.last() {
		if s.Index < g.first {
			return // recovery only: the entries between follow, or are missing
		}
		gone = int(s.Index + 1 - g.first)
	}
	g.count(g.locs[:gone], -1)
	if gone == len(g.locs) {
		g.history.truncate(0)
	}
	// The array behind a slice that lost its front never shrinks by itself: copy
	// when less than a quarter is in use.
	if g.locs = g.locs[gone:]; len(g.locs) < cap(g.locs)/4 || len(g.locs) == 0 {
		g.locs = append([]loc(nil), g.locs...)
	}
	g.first = s.Index + 1
}

// count adds the bytes of some entries to the sum, or takes them off.
func (g *group) count(locs []loc, sign int64) {
	for i := range locs {
		g.bytes += sign * int64(locs[i].bytes)
	}
}

// oldest returns the oldest segment that holds the group's state (hard state,
// start, intent) and the oldest that holds one of its entries; none is the
// answer where there is nothing.
func (g *group) oldest(none uint32) (state, entries uint32) {
	state, entries = none, none
	for _, s := range [...]uint32{g.hardAt, g.startAt, g.intentAt} {
		if s != 0 {
			state = min(state, s)
		}
	}
	if len(g.locs) > 0 {
		entries = g.locs[0].segment
	}
	return state, entries
}

// checkAppend asserts that a record continues the group's log: raft promises it,
// and a log with a hole could not be recovered.
func (g *group) checkAppend(entries []raft.Entry) {
	for i := range entries {
		if entries[i].Encoded == nil {
			assert.Fail("group %d: entry %d reached the log without its encoding", g.id, entries[i].Index)
		}
		if entries[i].Index != entries[0].Index+id.Index(i) {
			assert.Fail("group %d: entry %d follows entry %d in one record", g.id, entries[i].Index, entries[i-1].Index)
		}
	}
	if f := entries[0].Index; f > g.last()+1 || f <= g.start.Index {
		assert.Fail("group %d: entry %d does not continue a log of entries %d to %d", g.id, f, g.first, g.last())
	}
}

// history is what Open reports of a group's entries and the index does not keep.
type history struct {
	terms   []raft.TermRun
	configs []raft.ConfigAt
}

func (h *history) truncate(from id.Index) {
	if h == nil {
		return
	}
	for n := len(h.terms); n > 0 && h.terms[n-1].First >= from; n-- {
		h.terms = h.terms[:n-1]
	}
	for n := len(h.configs); n > 0 && h.configs[n-1].Index >= from; n-- {
		h.configs = h.configs[:n-1]
	}
}

func (h *history) begin(start id.Index) {
	if h == nil {
		return
	}
	for len(h.terms) > 1 && h.terms[1].First <= start+1 {
		h.terms = h.terms[1:]
	}
	if len(h.terms) > 0 && h.terms[0].First <= start {
		h.terms[0].First = start + 1
	}
	for len(h.configs) > 0 && h.configs[0].Index <= start {
		h.configs = h.configs[1:]
	}
}

func (h *history) add(e *raft.Entry) {
	if n := len(h.terms); n == 0 || h.terms[n-1].Term != e.Term {
		h.terms = append(h.terms, raft.TermRun{First: e.Index, Term: e.Term})
	}
	if e.Kind == raft.EntryConfig && e.Config != nil {
		h.configs = append(h.configs, raft.ConfigAt{Index: e.Index, Config: *e.Config})
	}
}

// replay takes up a record that recovery read from segment.
func (g *group) replay(s *stored, segment uint32) error {
	if s.Kind == recordRewrite {
		return g.replayRewrite(s, segment)
	}
	switch s.Kind {
	case RecordAppend:
		g.hard, g.hardAt = s.Hard, segment
		return g.replayEntries(s)
	case RecordStart:
		g.begin(s.Start, segment)
	case RecordIntent:
		m := s.Snapshot
		g.intent, g.intentAt = &m, segment
	case RecordReset:
		g.reset(s.Hard, s.Start, segment)
	}
	return nil
}

// reset forgets all entries and starts behind s.
func (g *group) reset(h raft.HardState, s raft.LogStart, segment uint32) {
	g.truncate(g.first)
	g.begin(s, segment)
	g.hard, g.hardAt = h, segment
	g.intent, g.intentAt = nil, 0
}

// replayEntries takes up entries. A log whose oldest segments were released
// begins in the middle: the first entries seen are then taken as they come, and
// recovery checks in the end that they reach back to the start.
func (g *group) replayEntries(s *stored) error {
	if len(s.Entries) == 0 {
		return nil
	}
	first := s.Entries[0].Index
	if len(g.locs) == 0 {
		g.first = first
	}
	if first > g.last()+1 {
		return fmt.Errorf("group %d: entry %d follows entry %d", g.id, first, g.last())
	}
	g.truncate(first)
	g.locs = append(g.locs, s.locs...)
	g.count(s.locs, +1)
	for i := range s.Entries {
		g.history.add(&s.Entries[i])
	}
	return nil
}

// replayRewrite takes up a part of a rewrite. It replaces all that is known of
// the group, but only once the last part is there: until then the records it was
// made from are still in the log. When its first parts were cut and released, it
// begins in the middle, as any log may.
func (g *group) replayRewrite(s *stored, segment uint32) error {
	if s.flags&rewriteFirst != 0 || g.moving == nil {
		g.moving = newGroup(g.id)
		g.moving.history = &history{}
	}
	m := g.moving
	if err := m.replayEntries(s); err != nil {
		return err
	}
	if s.flags&rewriteLast == 0 {
		return nil
	}
	m.hard, m.start, m.intent = s.Hard, s.Start, s.intent
	m.hardAt, m.startAt, m.intentAt = segment, segment, 0
	if m.intent != nil {
		m.intentAt = segment
	}
	if len(m.locs) == 0 {
		m.first = m.start.Index + 1
	}
	*g = *m
	return nil
}
