package wal

import (
	"errors"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// Release gives back segments that no group needs and returns how many. It is
// called after cuts. The order is safe at every point of a crash:
//
//  1. What is still needed of groups that hardly write is written again at the
//     head: their state, and their entries too where these pin too much.
//  2. A frame header says from which segment on the log is needed; one sync makes
//     it, 1, and the cuts themselves durable.
//  3. The files go, the oldest first, each removal durable before the next.
//
// A crash before 2 leaves everything twice, one in 3 leaves files that the next
// Release removes.
func (l *Log) Release() (removed int, err error) {
	if l.poison != nil {
		return 0, l.poison
	}
	if len(l.segments) == 1 {
		return 0, nil
	}
	if err := l.unpin(); err != nil && !errors.Is(err, ErrNoSpace) {
		return 0, err
	}
	l.mu.Lock()
	oldest := l.active().number
	for _, g := range l.groups {
		state, entries := g.oldest(oldest)
		oldest = min(oldest, state, entries)
	}
	l.mu.Unlock()
	if oldest > l.oldest {
		if err := l.declare(oldest); err != nil {
			return 0, err
		}
	}
	for l.segments[0].number < l.oldest {
		s := l.segments[0]
		if err := l.fs.Remove(l.path(segmentName(s.number))); err != nil {
			return removed, err // still there; the next Release tries again
		}
		// One by one: a gap in the numbers is corruption.
		if err := l.fs.SyncDir(l.dir); err != nil {
			return removed, l.fail(err)
		}
		l.mu.Lock()
		l.segments = l.segments[1:]
		l.mu.Unlock()
		if err := l.remove(s); err != nil {
			return removed, l.fail(err)
		}
		removed++
	}
	return removed, nil
}

// declare makes durable that the log is needed from a segment on, together with
// everything appended so far: what allows a removal is on disk before it. There
// is space for its header: a record came before it, which left that much (room).
func (l *Log) declare(oldest uint32) error {
	l.mu.Lock()
	l.oldest = oldest
	l.begin()
	l.mu.Unlock()
	if err := l.Sync(); err != nil {
		return err
	}
	l.content = l.durable
	return nil
}

// unpin writes again what cold groups have in old segments.
func (l *Log) unpin() error {
	target, cold := l.planMoves()
	for _, gid := range cold {
		if err := l.move(l.groups[gid]); err != nil {
			return err
		}
	}
	return l.moveStates(target)
}

// planMoves returns the segment that entries need first once the groups in cold
// are moved. Groups are only moved when the log is longer than PinnedBytes for
// the sake of few: if moving all that lies in the segments up to x gives back at
// least twice the bytes it writes.
func (l *Log) planMoves() (target uint32, cold []id.GroupID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sealed := l.segments[:len(l.segments)-1]
	var keep int64
	for _, s := range sealed {
		keep += s.bytes
	}
	want := 0 // sealed[:want] must go to come below the limit
	for ; want < len(sealed) && keep > l.o.PinnedBytes; want++ {
		keep -= sealed[want].bytes
	}
	for ; want > 0 && len(cold) == 0; want-- {
		x, gain, cost := sealed[want-1].number, int64(0), int64(0)
		for _, s := range sealed[:want] {
			gain += s.bytes
		}
		for gid, g := range l.groups { // sums and minima: the order does not matter
			if _, entries := g.oldest(l.active().number); entries <= x {
				cost += g.bytes + int64(rewriteBytesMax(g))
				cold = append(cold, gid)
				if !l.movable(g) {
					cost = gain
				}
			}
		}
		if cost > gain/2 {
			cold = cold[:0]
		}
	}
	slices.Sort(cold)
	target = l.active().number
	for gid, g := range l.groups {
		if _, moved := slices.BinarySearch(cold, gid); !moved {
			_, entries := g.oldest(target)
			target = min(target, entries)
		}
	}
	return target, cold
}

// rewriteBytesMax bounds what a part of a rewrite takes besides its entries.
func rewriteBytesMax(g *group) int {
	n := recordBytesMax(&Record{Kind: RecordStart, Start: g.start}) + 8
	if g.intent != nil {
		n += recordBytesMax(&Record{Kind: RecordIntent, Snapshot: *g.intent})
	}
	return n
}

// movable tells whether every entry fits a segment together with what a rewrite
// adds to it.
func (l *Log) movable(g *group) bool {
	fresh := l.freshRoom() - int64(rewriteBytesMax(g))
	for _, lc := range g.locs {
		if int64(lc.bytes) > fresh {
			return false
		}
	}
	return true
}

// moveBytesMax is how much of a group is read and written at a time.
const moveBytesMax = 256 << 10

// move writes all of a group again at the head of the log.
func (l *Log) move(g *group) error {
	r := Record{Group: g.id, Hard: g.hard, Start: g.start}
	head := int64(rewriteBytesMax(g))
	w := rewrite{flags: rewriteFirst, intent: g.intent}
	var locs []loc
	for next := g.first; ; w.flags = 0 {
		var err error
		r.Entries = nil
		if next <= g.last() {
			if r.Entries, err = l.Read(g.id, next, g.last()+1, int(min(moveBytesMax, l.freshRoom()-head))); err != nil {
				return err // it stays where it is; parts without a last one do not count
			}
		}
		need := head
		for i := range r.Entries {
			need += int64(len(r.Entries[i].Encoded))
		}
		if need > l.room() {
			// Entries may not use the reserve of a full disk, not even these.
			if err := l.reserve(1, false); err != nil {
				return err
			}
			if err := l.rotate(); err != nil {
				return err
			}
		}
		if next += id.Index(len(r.Entries)); next > g.last() {
			w.flags |= rewriteLast
		}
		l.mu.Lock()
		l.begin()
		l.frame = appendRewrite(l.frame, &r, w)
		locs = appendLocs(locs, l.active().number, l.end+int64(len(l.frame)), r.Entries)
		l.mu.Unlock()
		if w.flags&rewriteLast != 0 {
			break
		}
		if len(l.frame) > bufferBytesMax {
			if err := l.flush(); err != nil {
				return err
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	g.locs = locs
	g.hardAt, g.startAt, g.intentAt = l.active().number, l.active().number, 0
	if g.intent != nil {
		g.intentAt = l.active().number
	}
	return nil
}

// moveStates writes the hard state, start and intent of every group again whose
// newest record of it lies before the segment target, the oldest that entries
// need, if that gives back more than it costs.
func (l *Log) moveStates(target uint32) error {
	if target == l.segments[0].number {
		return nil
	}
	var behind []id.GroupID
	var gain, cost int64
	l.mu.Lock()
	for _, s := range l.segments {
		if s.number < target {
			gain += s.bytes
		}
	}
	for gid, g := range l.groups {
		if state, _ := g.oldest(target); state < target {
			behind = append(behind, gid)
			cost += int64(2 * rewriteBytesMax(g))
		}
	}
	l.mu.Unlock()
	if len(behind) == 0 || cost > gain/2 {
		return nil
	}
	slices.Sort(behind)
	var batch []Record
	for _, gid := range behind {
		batch = appendState(batch, l.groups[gid])
	}
	return l.Append(batch)
}

// appendState appends the records that hold a group's state without entries.
func appendState(batch []Record, g *group) []Record {
	if g.startAt != 0 {
		batch = append(batch, Record{Group: g.id, Kind: RecordStart, Start: g.start})
	}
	if g.hardAt != 0 {
		batch = append(batch, Record{Group: g.id, Kind: RecordAppend, Hard: g.hard})
	}
	if g.intent != nil {
		batch = append(batch, Record{Group: g.id, Kind: RecordIntent, Snapshot: *g.intent})
	}
	return batch
}

func appendLocs(locs []loc, segment uint32, end int64, entries []raft.Entry) []loc {
	for i := range entries {
		end -= int64(len(entries[i].Encoded))
	}
	for i := range entries {
		locs = append(locs, locOf(segment, end, entries[i].Encoded))
		end += int64(len(entries[i].Encoded))
	}
	return locs
}
