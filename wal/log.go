package wal

import (
	"errors"
	"fmt"
	"io"
	"path"
	"sync"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/vfs"
)

// Log is an open log. Append, Sync, Idle, Release and Close belong to one writer;
// Read and Bytes may be called by anybody at any time.
type Log struct {
	fs   vfs.FS
	dir  string
	o    Options
	lock io.Closer

	// The writer's own.
	poison   error      // why the log stopped; nil while it goes on
	ahead    []*segment // reserved segments behind the active one, empty
	end      int64      // in the active segment: behind the last frame written
	chain    uint32     // of the last frame written
	linked   position   // where the segment before the active one ended
	durable  position   // everything before it survives any crash
	told     position   // the newest watermark that was written
	content  position   // behind the last frame that says more than a watermark
	unsynced bool       // frames were written since the last sync

	mu       sync.Mutex // never held during a file operation: a coroutine may be switched there
	stopped  error      // poison, for readers
	oldest   uint32     // the oldest segment anybody needs; in every frame header
	segments []*segment // ascending; the last is the active one
	groups   map[id.GroupID]*group
	frame    []byte // the frame being filled, its header left blank; goes to end in the active segment
}

// segment is one file.
type segment struct {
	number   uint32
	bytes    int64
	identity uint64
	salt     uint32
	file     vfs.File

	// Guarded by Log.mu.
	readers int
	removed bool // the last reader closes the file
}

// bufferBytesMax is how much may wait for a Sync in memory; then it is written.
const bufferBytesMax = 4 << 20

func (l *Log) active() *segment { return l.segments[len(l.segments)-1] }

func (l *Log) path(name string) string { return path.Join(l.dir, name) }

// fail poisons the log: after a failed write or sync nobody knows what the disk
// has (fsyncgate), so nothing is retried and nothing goes on.
func (l *Log) fail(err error) error {
	if l.poison == nil {
		l.poison = &ErrPoisoned{Cause: err}
		l.mu.Lock()
		l.stopped = l.poison
		l.mu.Unlock()
	}
	return l.poison
}

// Append takes up a batch: all of it or, with an error, nothing. It is durable
// after the next Sync, and can be read at once. After ErrNoSpace, and after the
// refusal of an entry that fits no segment, the log goes on as before; any other
// error is for good.
func (l *Log) Append(batch []Record) error {
	if l.poison != nil {
		return l.poison
	}
	if err := l.admit(batch); err != nil {
		return err
	}
	for i := range batch {
		if err := l.append(&batch[i]); err != nil {
			return l.fail(err)
		}
	}
	if len(l.frame) > bufferBytesMax {
		return l.flush()
	}
	return nil
}

// admit checks, before anything is written, that there is space for the whole
// batch, and reserves segments where that is needed. It walks the batch as
// append will.
func (l *Log) admit(batch []Record) error {
	room, fresh, rotations, entries := l.room(), l.freshRoom(), 0, false
	for i := range batch {
		r := &batch[i]
		if r.Group == 0 || r.Kind < RecordAppend || r.Kind > RecordDrop {
			assert.Fail("record of kind %d for group %d", r.Kind, r.Group)
		}
		entries = entries || len(r.Entries) > 0
		head := int64(recordBytesMax(r))
		need := head
		for k := range r.Entries {
			need += int64(len(r.Entries[k].Encoded))
		}
		if need <= room {
			room -= need
			continue
		}
		if need <= fresh {
			rotations, room = rotations+1, fresh-need
			continue
		}
		if len(r.Entries) == 0 {
			return fmt.Errorf("wal: a record of %d bytes does not fit a segment of %d", need, l.o.SegmentBytes)
		}
		room = 0 // append begins a new segment and puts in as many entries as fit
		for k := range r.Entries {
			n := int64(len(r.Entries[k].Encoded))
			if head+n > fresh {
				return fmt.Errorf("wal: entry %d of group %d has %d bytes and does not fit a segment of %d", r.Entries[k].Index, r.Group, n, l.o.SegmentBytes)
			}
			if n > room {
				rotations, room = rotations+1, fresh-head
			}
			room -= n
		}
	}
	return l.reserve(rotations, entries && room < l.o.reserveBytes())
}

// reserve makes sure that count segments are ahead, and one more if the batch
// would leave less than the reserve in the last of them.
func (l *Log) reserve(count int, oneMore bool) error {
	if oneMore {
		count++
	}
	for len(l.ahead) < count {
		if err := l.prepare(); err != nil {
			return err
		}
	}
	return nil
}

// room returns how many bytes of records the active segment still takes. It
// leaves space for one bare header, so that Idle and Release can always say what
// they have to.
func (l *Log) room() int64 {
	used := int64(len(l.frame))
	if used == 0 {
		used = frameHeaderBytes
		if l.end == segmentHeaderBytes {
			used += linkBytes
		}
	}
	return l.active().bytes - l.end - used - frameAlign - frameHeaderBytes
}

// freshRoom is the room of a segment without frames.
func (l *Log) freshRoom() int64 {
	return l.o.SegmentBytes - segmentHeaderBytes - frameHeaderBytes - linkBytes - frameAlign - frameHeaderBytes
}

// append encodes a record into the frame, in parts if it does not fit.
func (l *Log) append(r *Record) error {
	head := recordBytesMax(r)
	need := int64(head)
	for k := range r.Entries {
		need += int64(len(r.Entries[k].Encoded))
	}
	if need <= l.room() {
		l.place(r)
		return nil
	}
	if err := l.rotate(); err != nil {
		return err
	}
	for part, rest := *r, r.Entries; ; {
		room, n := l.room()-int64(head), 0
		for n < len(rest) && int64(len(rest[n].Encoded)) <= room {
			room -= int64(len(rest[n].Encoded))
			n++
		}
		part.Entries, rest = rest[:n], rest[n:]
		l.place(&part)
		if len(rest) == 0 {
			return nil
		}
		if err := l.rotate(); err != nil {
			return err
		}
	}
}

// place puts a record that fits into the frame and into the index.
func (l *Log) place(r *Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.groups[r.Group]
	if g == nil {
		if r.Kind == RecordDrop {
			return
		}
		g = newGroup(r.Group)
		l.groups[r.Group] = g
	}
	if r.Kind == RecordStart && r.Start.Index < g.start.Index {
		return // a cut that an installation overtook
	}
	l.begin()
	l.frame = appendRecord(l.frame, r)
	number := l.active().number
	switch r.Kind {
	case RecordAppend:
		g.hard, g.hardAt = r.Hard, number
		if len(r.Entries) > 0 {
			g.checkAppend(r.Entries)
			g.truncate(r.Entries[0].Index)
			n := len(g.locs)
			g.locs = appendLocs(g.locs, number, l.end+int64(len(l.frame)), r.Entries)
			g.count(g.locs[n:], +1)
		}
	case RecordStart:
		g.begin(r.Start, number)
	case RecordIntent:
		m := r.Snapshot
		g.intent, g.intentAt = &m, number
	case RecordReset:
		g.reset(r.Hard, r.Start, number)
	case RecordDrop:
		delete(l.groups, r.Group)
	}
}

// begin starts a frame if none is being filled. Called with mu held.
func (l *Log) begin() {
	if len(l.frame) > 0 {
		return
	}
	var blank [frameHeaderBytes]byte
	l.frame = append(l.frame, blank[:]...)
	if l.end == segmentHeaderBytes {
		l.frame = appendLink(l.frame, l.linked, l.chain)
	}
}

// flush writes the frame, with one write, and does not wait for the disk.
func (l *Log) flush() error {
	if len(l.frame) == 0 {
		return nil
	}
	s, chain := l.active(), l.chain
	if l.end == segmentHeaderBytes {
		chain = s.salt
	}
	l.mu.Lock()
	for range padding(len(l.frame)) {
		l.frame = append(l.frame, 0)
	}
	// Invariant: a frame lies within its file, whose size is durable.
	if l.end+int64(len(l.frame)) > s.bytes {
		assert.Fail("a frame of %d bytes at %v of %d", len(l.frame), at(s.number, l.end), s.bytes)
	}
	check := putFrameHeader(l.frame, s.salt, chain, l.end, l.durable, l.oldest)
	l.mu.Unlock()
	l.unsynced = true
	if _, err := s.file.WriteAt(l.frame, l.end); err != nil {
		return l.fail(err)
	}
	l.chain, l.told = check, l.durable
	l.mu.Lock()
	l.end += int64(len(l.frame))
	if len(l.frame) > frameHeaderBytes {
		l.content = at(s.number, l.end)
	}
	if l.frame = l.frame[:0]; cap(l.frame) > 2*bufferBytesMax {
		l.frame = nil
	}
	l.mu.Unlock()
	return nil
}

// Sync makes everything appended so far durable. An error is for good.
func (l *Log) Sync() error {
	if l.poison != nil {
		return l.poison
	}
	if err := l.flush(); err != nil {
		return err
	}
	if !l.unsynced {
		return nil
	}
	if err := l.active().file.Sync(); err != nil {
		return l.fail(err)
	}
	l.unsynced = false
	l.durable = at(l.active().number, l.end)
	return nil
}

// Idle is for a writer with nothing to do. It writes, without a sync, what a
// later recovery needs to tell a rotten last batch from a torn one: a header that
// says how far the log is durable (DESIGN 5). It also reserves the next segment.
func (l *Log) Idle() error {
	if l.poison != nil {
		return l.poison
	}
	if l.told < min(l.durable, l.content) && l.room() > 0 {
		if len(l.frame) == 0 {
			l.mu.Lock()
			l.begin()
			l.mu.Unlock()
		}
		if err := l.flush(); err != nil {
			return err
		}
	}
	if len(l.ahead) == 0 {
		if err := l.prepare(); err != nil && !errors.Is(err, ErrNoSpace) {
			return err
		}
	}
	return nil
}

// rotate begins the next segment. The old one is durable before: no frame in the
// new one, and nothing that depends on it, can outlive what came before it.
func (l *Log) rotate() error {
	if err := l.Sync(); err != nil {
		return err
	}
	assert.That(len(l.ahead) > 0, "the log begins a segment that was not reserved")
	l.linked = at(l.active().number, l.end)
	l.mu.Lock()
	l.segments = append(l.segments, l.ahead[0])
	l.ahead = append(l.ahead[:0], l.ahead[1:]...)
	l.end = segmentHeaderBytes
	l.mu.Unlock()
	return nil
}

const prepareName = "prepare.tmp"

// prepare reserves one more segment: its bytes, its header and its name are
// durable before it counts. Without space it fails with ErrNoSpace and leaves no
// trace.
func (l *Log) prepare() error {
	number := uint32(1)
	if n := len(l.ahead); n > 0 {
		number = l.ahead[n-1].number + 1
	} else if n := len(l.segments); n > 0 {
		number = l.segments[n-1].number + 1
	}
	s := &segment{number: number, bytes: l.o.SegmentBytes, identity: l.o.Identity, salt: saltOf(l.o.Identity, number)}
	if err := l.make(s, nil); err != nil {
		return err
	}
	l.mu.Lock()
	l.ahead = append(l.ahead, s)
	l.mu.Unlock()
	return nil
}

// make makes the file of a segment, with the frames that fill writes. It has its
// name when all of it is durable. Without space it fails with ErrNoSpace and
// leaves no trace.
func (l *Log) make(s *segment, fill func(vfs.File) error) error {
	err := l.makeFile(s, fill)
	if err == nil {
		return nil
	}
	if s.file != nil {
		s.file.Close()
		s.file = nil
		if gone := l.fs.Remove(l.path(prepareName)); gone != nil {
			return l.fail(errors.Join(err, gone))
		}
	}
	if vfs.IsNoSpace(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return l.fail(err)
}

func (l *Log) makeFile(s *segment, fill func(vfs.File) error) (err error) {
	if s.file, err = l.fs.Create(l.path(prepareName)); err != nil {
		return err
	}
	if err := s.file.Preallocate(s.bytes); err != nil {
		return err
	}
	header := segmentHeader{segment: s.number, identity: s.identity, bytes: s.bytes}
	if _, err := s.file.WriteAt(header.encode(), 0); err != nil {
		return err
	}
	if fill != nil {
		if err := fill(s.file); err != nil {
			return err
		}
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	if err := l.fs.Rename(l.path(prepareName), l.path(segmentName(s.number))); err != nil {
		return err
	}
	return l.fs.SyncDir(l.dir)
}

// Bytes returns how much the log takes on disk, reserved space included.
func (l *Log) Bytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var sum int64
	for _, s := range l.segments {
		sum += s.bytes
	}
	for _, s := range l.ahead {
		sum += s.bytes
	}
	return sum
}

// Close syncs what was appended, unless the log is poisoned, and gives the lock
// back. No Read may be under way.
func (l *Log) Close() error {
	var err error
	if l.poison == nil {
		if err = l.Sync(); err == nil {
			err = l.Idle()
		}
	}
	l.fail(errClosed)
	for _, s := range append(l.segments, l.ahead...) {
		err = errors.Join(err, s.file.Close())
	}
	return errors.Join(err, l.lock.Close())
}
