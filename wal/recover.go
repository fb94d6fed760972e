package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"sort"
	"strings"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/vfs"
)

// Open opens the log in dir, or makes one where there is nothing, and returns
// what it holds of each group, by group. The steps are those of the package's
// comment; what it returns is durable.
func Open(fs vfs.FS, dir string, o Options) (*Log, []GroupState, error) {
	o = o.WithDefaults()
	if err := o.Validate(); err != nil {
		return nil, nil, err
	}
	if err := fs.MkdirAll(dir); err != nil {
		return nil, nil, fmt.Errorf("wal: %w", err)
	}
	if err := fs.SyncDir(path.Dir(path.Clean(dir))); err != nil {
		return nil, nil, fmt.Errorf("wal: %w", err)
	}
	// Judge the names before leaving one of our own there.
	if _, err := ownFiles(fs, dir); err != nil {
		return nil, nil, err
	}
	lock, err := fs.Lock(path.Join(dir, lockName))
	if err != nil {
		return nil, nil, fmt.Errorf("wal: %w", err)
	}
	l := &Log{fs: fs, dir: dir, o: o, lock: lock, oldest: 1, groups: map[id.GroupID]*group{}}
	states, err := l.open()
	if err != nil {
		for _, s := range append(l.segments, l.ahead...) {
			_ = s.file.Close() // nothing of it is needed any more
		}
		return nil, nil, errors.Join(err, lock.Close())
	}
	return l, states, nil
}

const lockName = "LOCK"

// open is the steps of recovery.
func (l *Log) open() ([]GroupState, error) {
	numbers, err := ownFiles(l.fs, l.dir)
	if err != nil {
		return nil, err
	}
	files, err := openSegments(l.fs, l.dir, numbers)
	l.segments = files
	if err != nil {
		return nil, err
	}
	if err := l.fs.Remove(l.path(prepareName)); err != nil && !isNotExist(err) {
		return nil, fmt.Errorf("wal: %w", err)
	}
	if len(files) == 0 {
		if err := l.create(); err != nil {
			return nil, err
		}
		return nil, nil
	}
	r := &replay{files: files, groups: l.groups, end: segmentHeaderBytes}
	if err := r.run(); err != nil {
		return nil, err
	}
	l.o.Identity = files[0].identity
	torn, err := l.settle(r)
	if err != nil {
		return nil, err
	}
	if err := r.check(numbers[0]); err != nil {
		return nil, err
	}
	l.oldest = max(l.oldest, r.oldest)
	if len(l.ahead) == 0 {
		if err := l.prepare(); err != nil && !errors.Is(err, ErrNoSpace) {
			return nil, err
		}
	}
	if l.o.Faults.On(faults.TornTailIsGood) && len(torn) > 0 {
		if err := l.takeTorn(torn); err != nil {
			return nil, err
		}
	}
	return l.states()
}

// create makes the first segments of a new log.
func (l *Log) create() error {
	for range 2 {
		if err := l.prepare(); err != nil {
			return fmt.Errorf("wal: making a log in %s: %w", l.dir, err)
		}
	}
	l.segments = []*segment{l.ahead[0]}
	l.ahead = l.ahead[1:]
	l.end = segmentHeaderBytes
	l.durable = at(l.active().number, l.end)
	l.told = l.durable
	return nil
}

// ownFiles returns the numbers of the segments in dir, ascending, and refuses a
// directory that holds anything but a log.
func ownFiles(fs vfs.FS, dir string) ([]uint32, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("wal: %w", err)
	}
	var numbers []uint32
	for _, name := range names {
		n, ok := segmentNumber(name)
		switch {
		case ok:
			numbers = append(numbers, n)
		case name == lockName || name == prepareName:
		case name == "member":
			return nil, &ErrForeign{dir, "it holds member/, as a data directory of etcd does; choose an empty directory"}
		case strings.HasSuffix(name, ".wal") && strings.Count(name, "-") == 1:
			return nil, &ErrForeign{dir, "it holds " + name + ", as a log of etcd does; choose an empty directory"}
		default:
			return nil, &ErrForeign{dir, "it holds " + name + ", which is not part of a log; choose an empty directory"}
		}
	}
	sort.Slice(numbers, func(i, k int) bool { return numbers[i] < numbers[k] })
	for i, n := range numbers {
		if n != numbers[0]+uint32(i) {
			return nil, &ErrCorrupt{segmentName(n - 1), 0, "the file is missing"}
		}
	}
	return numbers, nil
}

// openSegments opens the files and judges their headers. With an error it
// returns what is open.
func openSegments(fs vfs.FS, dir string, numbers []uint32) ([]*segment, error) {
	var files []*segment
	for _, n := range numbers {
		name := segmentName(n)
		f, err := fs.Open(path.Join(dir, name))
		if err != nil {
			return files, fmt.Errorf("wal: %w", err)
		}
		s := &segment{number: n, file: f}
		files = append(files, s)
		b := make([]byte, segmentHeaderBytes)
		k, err := f.ReadAt(b, 0)
		if err != nil && err != io.EOF {
			return files, fmt.Errorf("wal: reading the header of %s: %w", name, err)
		}
		h, err := decodeSegmentHeader(name, b[:k])
		if err != nil {
			return files, err
		}
		size, err := f.Size()
		if err != nil {
			return files, fmt.Errorf("wal: %w", err)
		}
		switch {
		case size < h.bytes:
			return files, &ErrCorrupt{name, size, fmt.Sprintf("the file ends here, its header says at %d", h.bytes)}
		case len(files) > 1 && files[0].identity != h.identity:
			return files, &ErrCorrupt{name, 16, "the file belongs to another log"}
		}
		s.bytes, s.identity, s.salt = h.bytes, h.identity, saltOf(h.identity, n)
	}
	return files, nil
}

// replay reads segments frame by frame.
type replay struct {
	files  []*segment
	groups map[id.GroupID]*group
	each   func(p position, h frameHeader, records []stored) error

	k      int    // the segment being read
	end    int64  // the first byte behind the last good frame
	chain  uint32 // of the last good frame
	linked position
	told   position // the newest watermark of a good frame
	oldest uint32
	bad    position // the place without a good frame: end, or the beginning of the next segment
	why    string   // what is wrong there
	torn   []byte   // payload of the frame there, if there is a header
	window window
}

// run takes up every good frame in order and stops at the first place where
// there is none.
func (r *replay) run() error {
	for {
		ok, err := r.frame()
		if err != nil {
			return err
		}
		if ok {
			continue
		}
		if more, err := r.nextSegment(); err != nil || !more {
			return err
		}
	}
}

func (r *replay) segment() *segment { return r.files[r.k] }

// frame takes up the frame at end.
func (r *replay) frame() (bool, error) {
	s := r.segment()
	b, err := r.window.read(s, r.end, frameHeaderBytes)
	if err != nil {
		return false, err
	}
	r.torn, r.bad = nil, at(s.number, r.end)
	h, ok := decodeFrameHeader(b, s.salt, r.end)
	switch {
	case !ok && isZero(b):
		r.why = whyNothing
		return false, nil
	case !ok:
		r.why = "there is no valid frame header"
		return false, nil
	case h.payload > s.bytes-r.end-frameHeaderBytes:
		r.why = "the frame does not fit the file"
		return false, nil
	}
	payload, err := r.window.read(s, r.end+frameHeaderBytes, int(h.payload))
	if err != nil {
		return false, err
	}
	chain := r.chain
	if r.end == segmentHeaderBytes {
		chain = s.salt
	}
	if sum(chain, payload) != h.sum {
		r.why, r.torn = "the checksum of the frame is wrong", bytes.Clone(payload)
		return false, nil
	}
	p := at(s.number, r.end)
	records, err := decodeFrame(payload, p)
	if err != nil {
		return false, &ErrCorrupt{segmentName(s.number), r.end, "the checksum is right, but not what it covers: " + err.Error()}
	}
	if ok, err := r.checkLink(records); !ok {
		return false, err
	}
	if err := r.take(p, h, records); err != nil {
		return false, &ErrCorrupt{segmentName(s.number), r.end, err.Error()}
	}
	r.chain, r.told, r.oldest = h.check, max(r.told, h.watermark), max(r.oldest, h.oldest)
	r.end += frameHeaderBytes + h.payload
	return true, nil
}

// decodeFrame returns the records of a payload that lies behind the frame header
// at p. Padding is zeros.
func decodeFrame(payload []byte, p position) ([]stored, error) {
	var out []stored
	for off := 0; off < len(payload) && !isPadding(payload[off:]); {
		s, err := decodeRecord(payload[off:], p+frameHeaderBytes+position(off))
		if err != nil {
			return nil, fmt.Errorf("%w, %d bytes into the frame", err, frameHeaderBytes+off)
		}
		out = append(out, s)
		off += s.bytes
	}
	return out, nil
}

const whyNothing = "nothing is written here"

func isPadding(b []byte) bool { return len(b) < frameAlign && isZero(b) }

// checkLink checks that a segment's first frame continues the segment before. It
// cannot be a torn write that does not: its own checksum is right, and what it
// continues was durable before it was written. If it continues more than was
// found, its header is the evidence, and the corruption is where that ended.
func (r *replay) checkLink(records []stored) (ok bool, err error) {
	if r.end != segmentHeaderBytes {
		return true, nil
	}
	corrupt := &ErrCorrupt{File: segmentName(r.segment().number), Offset: r.end}
	if len(records) == 0 || records[0].Kind != recordLink {
		corrupt.Why = "the segment does not begin with a link to the one before"
		return false, corrupt
	}
	if r.k == 0 {
		return true, nil // the one before was released
	}
	link := records[0]
	if link.linkEnd > r.linked {
		return false, nil
	}
	if link.linkEnd != r.linked || link.chain != r.chain {
		corrupt.Why = fmt.Sprintf("it continues a log that ended at %v with checksum %08x, this one ends at %v with %08x", link.linkEnd, link.chain, r.linked, r.chain)
		return false, corrupt
	}
	return true, nil
}

// take applies the records of a frame.
func (r *replay) take(p position, h frameHeader, records []stored) error {
	for i := range records {
		s := &records[i]
		switch s.Kind {
		case recordLink:
			continue
		case RecordDrop:
			delete(r.groups, s.Group)
			continue
		}
		g := r.groups[s.Group]
		if g == nil {
			g = newGroup(s.Group)
			g.history = &history{}
			r.groups[s.Group] = g
		}
		if err := g.replay(s, p.segment()); err != nil {
			return err
		}
	}
	if r.each != nil {
		return r.each(p, h, records)
	}
	return nil
}

// nextSegment goes on behind the end of a segment, if the next one says that it
// continues here.
func (r *replay) nextSegment() (bool, error) {
	if r.k+1 == len(r.files) {
		return false, nil
	}
	here := *r
	r.linked = at(r.segment().number, r.end)
	r.k, r.end = r.k+1, segmentHeaderBytes
	ok, err := r.frame()
	if err != nil || ok {
		return ok, err
	}
	next, window := *r, r.window
	*r = here
	r.window = window
	if r.why == whyNothing && next.why != whyNothing {
		// The segment ended as segments do: if this is corruption, then of the next.
		r.bad, r.why = at(next.segment().number, segmentHeaderBytes), next.why
	}
	return false, nil
}

// claim is a frame header that says how far the log was durable.
type claim struct {
	at        position
	watermark position
}

// claims finds, at or behind end, the frame header that claims most.
func (r *replay) claims() (best claim, err error) {
	err = r.headers(func(p position, h frameHeader) {
		if h.watermark >= best.watermark {
			best = claim{p, h.watermark}
		}
	})
	return best, err
}

// corruption is what a claim past end proves.
func (r *replay) corruption(c claim) error {
	return &ErrCorrupt{segmentName(r.bad.segment()), r.bad.offset(), fmt.Sprintf("%s, but the frame at %v says that everything before %v was durable", r.why, c.at, c.watermark)}
}

// headers calls each for every frame header at or behind end, whether or not its
// payload is good.
func (r *replay) headers(each func(position, frameHeader)) error {
	from := r.end
	for k := r.k; k < len(r.files); k++ {
		s := r.files[k]
		for off := from; off+frameHeaderBytes <= s.bytes; {
			n := min(scanBytes, s.bytes-off)
			b, err := r.window.read(s, off, int(n))
			if err != nil {
				return err
			}
			for i := 0; i+frameHeaderBytes <= len(b); i += frameAlign {
				if b[i] != frameMagic[0] {
					continue // most of a segment is zeros or entries
				}
				if h, ok := decodeFrameHeader(b[i:], s.salt, off+int64(i)); ok {
					each(at(s.number, off+int64(i)), h)
				}
			}
			if n < scanBytes {
				break
			}
			off += n - frameHeaderBytes // a header may lie across two windows
		}
		from = segmentHeaderBytes
	}
	return nil
}

const scanBytes = 1 << 20

// check looks at what the whole log says, after the last frame.
func (r *replay) check(first uint32) error {
	if oldest := max(r.oldest, 1); first > oldest {
		return &ErrCorrupt{segmentName(first - 1), 0, "the file is missing, and the log still needs it"}
	}
	for _, gid := range sortedGroups(r.groups) {
		g := r.groups[gid]
		if len(g.locs) == 0 {
			g.first = g.start.Index + 1
		}
		if g.first != g.start.Index+1 {
			return &ErrCorrupt{segmentName(first), segmentHeaderBytes, fmt.Sprintf("the log of group %d begins behind entry %d, but its first entry is %d", gid, g.start.Index, g.first)}
		}
	}
	return nil
}

// settle decides what the place is at which the good frames end: the end of the
// log, a torn tail, which is cut, or corruption, which is not (DESIGN 5).
func (l *Log) settle(r *replay) (torn []byte, err error) {
	end := at(r.segment().number, r.end)
	c, err := r.claims()
	if err != nil {
		return nil, err
	}
	if c.watermark > end {
		return nil, r.corruption(c)
	}
	// The files behind hold nothing durable: keep what is ready for use.
	for k := len(r.files) - 1; k > r.k; k-- {
		s := r.files[k]
		empty, err := isEmpty(&r.window, s)
		if err != nil {
			return nil, err
		}
		if empty && s.bytes == l.o.SegmentBytes {
			l.ahead = append([]*segment{s}, l.ahead...)
			continue
		}
		if err := l.drop(append([]*segment{s}, l.ahead...)); err != nil {
			return nil, err
		}
		l.ahead = nil
	}
	l.segments = r.files[: r.k+1 : r.k+1]
	if err := r.zero(l.active()); err != nil {
		return nil, err
	}
	// What was read may still be in the page cache only: the process was killed,
	// not the machine. From here on it counts as durable, so it must be.
	if err := l.active().file.Sync(); err != nil {
		return nil, fmt.Errorf("wal: %w", err)
	}
	l.end, l.chain, l.linked = r.end, r.chain, r.linked
	l.durable, l.told = end, r.told
	return r.torn, nil
}

// drop removes files that hold nothing durable, the last first.
func (l *Log) drop(files []*segment) error {
	for i := len(files) - 1; i >= 0; i-- {
		if err := l.fs.Remove(l.path(segmentName(files[i].number))); err != nil {
			return fmt.Errorf("wal: %w", err)
		}
		if err := l.fs.SyncDir(l.dir); err != nil {
			return fmt.Errorf("wal: %w", err)
		}
		if err := files[i].file.Close(); err != nil {
			return fmt.Errorf("wal: %w", err)
		}
	}
	return nil
}

func isEmpty(w *window, s *segment) (bool, error) {
	for off := int64(segmentHeaderBytes); off < s.bytes; off += scanBytes {
		b, err := w.read(s, off, int(min(scanBytes, s.bytes-off)))
		if err != nil {
			return false, err
		}
		if !isZero(b) {
			return false, nil
		}
	}
	return true, nil
}

// zero clears the rest of the segment behind end. A frame left there could
// become valid again behind equal bytes.
func (r *replay) zero(s *segment) error {
	for off := r.end; off < s.bytes; {
		n := min(zeroBytes-off%zeroBytes, s.bytes-off)
		b, err := r.window.read(s, off, int(n))
		if err != nil {
			return err
		}
		if !isZero(b) {
			if _, err := s.file.WriteAt(zeros[:n], off); err != nil {
				return fmt.Errorf("wal: cutting a torn tail: %w", err)
			}
		}
		off += n
	}
	return nil
}

const zeroBytes = 64 << 10

var zeros [zeroBytes]byte

func isZero(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// states returns what is known of each group, by group.
func (l *Log) states() ([]GroupState, error) {
	var out []GroupState
	for _, gid := range sortedGroups(l.groups) {
		g := l.groups[gid]
		s := GroupState{Group: gid, Intent: g.intent}
		s.Restored.Hard, s.Restored.Start, s.Restored.Last = g.hard, g.start, g.last()
		s.Restored.Terms, s.Restored.Configs = g.history.terms, g.history.configs
		g.history = nil
		from, bytes := g.last()+1, 0
		for ; from > g.first; from-- {
			if bytes += int(g.locs[from-1-g.first].bytes); bytes > l.o.TailBytes {
				break
			}
		}
		if from <= g.last() {
			tail, err := l.Read(gid, from, g.last()+1, l.o.TailBytes)
			if err != nil {
				return nil, err
			}
			s.Restored.Tail = tail
		}
		out = append(out, s)
	}
	return out, nil
}

func sortedGroups(groups map[id.GroupID]*group) []id.GroupID {
	ids := make([]id.GroupID, 0, len(groups))
	for g := range groups {
		ids = append(ids, g)
	}
	sort.Slice(ids, func(i, k int) bool { return ids[i] < ids[k] })
	return ids
}

// takeTorn is what faults.TornTailIsGood breaks: it appends whatever of a torn
// frame still has the form of records, as a log without checksums would.
func (l *Log) takeTorn(payload []byte) error {
	var batch []Record
	for off := 0; off < len(payload); {
		mendChecksums(payload[off:])
		s, err := decodeRecord(payload[off:], 0)
		if err != nil {
			break
		}
		off += s.bytes
		if g := l.groups[s.Group]; s.Kind == RecordAppend && g != nil && s.continues(g) {
			batch = append(batch, s.Record)
			for i := range s.Entries {
				s.Entries[i].Encoded = bytes.Clone(s.Entries[i].Encoded)
			}
		}
	}
	if err := l.Append(batch); err != nil {
		return err
	}
	for _, r := range batch {
		for i := range r.Entries {
			h := l.groups[r.Group].history
			h.truncate(r.Entries[i].Index)
			h.add(&r.Entries[i])
		}
	}
	return l.Sync()
}

func (s *stored) continues(g *group) bool {
	return len(s.Entries) == 0 || s.Entries[0].Index > g.start.Index && s.Entries[0].Index <= g.last()+1
}

// mendChecksums gives the entries of an append record the checksums of what is
// there now.
func mendChecksums(record []byte) {
	if len(record) < recordHeaderBytes+1 || RecordKind(record[0]) != RecordAppend {
		return
	}
	off := recordHeaderBytes + 1 + int(record[recordHeaderBytes])
	if off+4 > len(record) {
		return
	}
	n := binary.LittleEndian.Uint32(record[off:])
	for off += 4; n > 0 && off < len(record); n-- {
		body, k := binary.Uvarint(record[off:])
		if k <= 0 || body < 4 || body > uint64(len(record)-off-k) {
			return
		}
		end := off + k + int(body)
		binary.LittleEndian.PutUint32(record[end-4:], sum(0, record[off:end-4]))
		off = end
	}
}
