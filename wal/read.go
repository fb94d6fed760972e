package wal

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/wire"
)

// wasteBytesMin is how many bytes of other records a Read may pass over rather
// than becoming two reads; beyond, no more than it returns.
const wasteBytesMin = 4 << 10

// extent is one read: bytes of a segment that hold some of the entries.
type extent struct {
	segment  *segment
	from, to int64 // in the segment
	base     int   // where from lies in the buffer
	inMemory bool  // not written yet: taken from the frame
}

// Read returns the entries [from, to) of a group, or as many of them as their
// encodings fit into limitBytes, but at least one; none if the log ends before
// from. Every entry is verified. It fails with ErrGone if from is not behind the
// start of the log. Anybody may call it at any time.
func (l *Log) Read(g id.GroupID, from, to id.Index, limitBytes int) ([]raft.Entry, error) {
	locs, extents, buf, err := l.locate(g, from, to, limitBytes)
	if err != nil || len(locs) == 0 {
		return nil, err
	}
	defer l.release(extents)
	for _, x := range extents {
		if x.inMemory {
			continue
		}
		if _, err := x.segment.file.ReadAt(buf[x.base:x.base+int(x.to-x.from)], x.from); err != nil {
			return nil, fmt.Errorf("wal: reading group %d at %s: %w", g, at(x.segment.number, x.from), err)
		}
	}
	entries := make([]raft.Entry, len(locs))
	for i, k := 0, 0; i < len(locs); i++ {
		lc := locs[i]
		for lc.segment != extents[k].segment.number || int64(lc.offset) >= extents[k].to {
			k++
		}
		b := buf[extents[k].base+int(int64(lc.offset)-extents[k].from):][:lc.bytes:lc.bytes]
		if entries[i], err = decodeAt(b, lc, from+id.Index(i)); err != nil {
			return nil, &ErrCorrupt{segmentName(lc.segment), int64(lc.offset), fmt.Sprintf("entry %d of group %d: %v", from+id.Index(i), g, err)}
		}
	}
	return entries, nil
}

// decodeAt decodes b, which was read at lc, and verifies that it is that entry.
func decodeAt(b []byte, lc loc, want id.Index) (raft.Entry, error) {
	e, rest, err := wire.Entry(b)
	switch {
	case err != nil:
		return e, err
	case len(rest) > 0 || e.Index != want || wire.EntryChecksum(b) != lc.sum:
		return e, fmt.Errorf("entry %d of term %d is in its place", e.Index, e.Term)
	}
	return e, nil
}

// locate plans a Read: the places of the entries, and the reads that get them.
// The segments stay until release.
func (l *Log) locate(gid id.GroupID, from, to id.Index, limitBytes int) (locs []loc, extents []extent, buf []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped != nil {
		return nil, nil, nil, l.stopped
	}
	g := l.groups[gid]
	if g == nil || from <= g.start.Index {
		return nil, nil, nil, fmt.Errorf("%w: entry %d of group %d", ErrGone, from, gid)
	}
	to = min(to, g.last()+1)
	if from >= to {
		return nil, nil, nil, nil
	}
	// A copy: the writer may replace entries while the files are read.
	locs = append(locs, withinLimit(g.locs[from-g.first:to-g.first], limitBytes)...)
	size, waste, useful := 0, int64(0), int64(0)
	for _, lc := range locs {
		start, end := int64(lc.offset), int64(lc.offset)+int64(lc.bytes)
		s := l.segments[lc.segment-l.segments[0].number]
		memory := s == l.active() && start >= l.end
		useful += int64(lc.bytes)
		if n := len(extents); n > 0 {
			if x := &extents[n-1]; x.segment == s && x.inMemory == memory && waste+start-x.to <= max(wasteBytesMin, useful) {
				waste += start - x.to
				size += int(end - x.to)
				x.to = end
				continue
			}
		}
		s.readers++
		extents = append(extents, extent{segment: s, from: start, to: end, base: size, inMemory: memory})
		size += int(end - start)
	}
	buf = make([]byte, size)
	for _, x := range extents {
		if x.inMemory {
			copy(buf[x.base:], l.frame[x.from-l.end:x.to-l.end])
		}
	}
	return locs, extents, buf, nil
}

// withinLimit returns the first locs that have at most limitBytes together, but at
// least one.
func withinLimit(locs []loc, limitBytes int) []loc {
	bytes := 0
	for i, lc := range locs {
		if bytes += int(lc.bytes); bytes > limitBytes && i > 0 {
			return locs[:i]
		}
	}
	return locs
}

// release lets the segments of a Read go.
func (l *Log) release(extents []extent) {
	for _, x := range extents {
		l.mu.Lock()
		x.segment.readers--
		last := x.segment.removed && x.segment.readers == 0
		l.mu.Unlock()
		if last {
			// The file has no name any more: nobody is left to hear of an error.
			_ = x.segment.file.Close()
		}
	}
}

// remove forgets a segment whose file has no name any more, and closes it as
// soon as nobody reads it.
func (l *Log) remove(s *segment) error {
	l.mu.Lock()
	s.removed = true
	closing := s.readers == 0
	l.mu.Unlock()
	if closing {
		return s.file.Close()
	}
	return nil
}

var errClosed = errors.New("the log is closed")
