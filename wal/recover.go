package wal

import (
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
	r := newReplay(files, l.groups)
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
	l.end, l.chain = r.kept.end, r.kept.chain
	l.durable = at(l.active().number, l.end)
	l.content = l.durable
	known, err := r.known()
	switch {
	case err != nil:
		return nil, err
	case !known:
		return r.torn, l.renew(r)
	}
	l.told = l.durable
	// What is ready for use may have been renamed just before the process ended.
	if err := l.fs.SyncDir(l.dir); err != nil {
		return nil, fmt.Errorf("wal: %w", err)
	}
	return r.torn, nil
}

// known tells whether the log needs nothing of what lies behind its newest
// watermark: there are only headers that said so, which the next frame may
// replace, and zeros.
func (r *replay) known() (bool, error) {
	s := r.segment()
	if r.kept.end > segmentHeaderBytes && r.told != at(s.number, r.kept.end) {
		return false, nil
	}
	return isZeroFrom(&r.window, s, r.end)
}

// renew puts the good frames of the last segment into a new file, which then
// takes the place of the old one. That they can be read does not say that they
// are on the disk, and syncing the old file would not bring them there: a sync
// that failed in an earlier life of the process may have left their pages marked
// as written (fsyncgate). Every byte keeps its place, what lay behind the frames
// is gone with the old file, and until the rename nothing has changed.
func (l *Log) renew(r *replay) error {
	old := l.active()
	fresh := &segment{number: old.number, bytes: old.bytes, identity: old.identity, salt: old.salt}
	err := l.make(fresh, r.copyKept)
	if errors.Is(err, ErrNoSpace) && len(l.ahead) > 0 {
		if err := l.drop(l.ahead); err != nil {
			return err
		}
		l.ahead = nil
		err = l.make(fresh, r.copyKept)
	}
	if errors.Is(err, ErrNoSpace) {
		// With what a log needs that must cut entries to get space.
		fresh.bytes = min(old.bytes, max(segmentBytesMin, r.kept.end+l.o.reserveBytes()))
		err = l.make(fresh, r.copyKept)
	}
	if errors.Is(err, ErrNoSpace) {
		return fmt.Errorf("wal: %s must be written again and needs %d bytes; nothing is lost: free some space and start again: %w", segmentName(old.number), fresh.bytes, err)
	}
	if err != nil {
		return err
	}
	l.segments[len(l.segments)-1] = fresh
	if err := old.file.Close(); err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	return nil
}

// copyKept copies the frames that are kept to another file. Pages that the disk
// does not have may be dropped from the cache at any time: what is copied is
// compared with what was taken up.
func (r *replay) copyKept(to vfs.File) error {
	s, image := r.segment(), uint32(0)
	for off := int64(segmentHeaderBytes); off < r.kept.end; {
		b, err := r.window.read(s, off, int(min(scanBytes, r.kept.end-off)))
		if err != nil {
			return err
		}
		if _, err := to.WriteAt(b, off); err != nil {
			return err
		}
		image = sum(image, b)
		off += int64(len(b))
	}
	if image != r.kept.image {
		return fmt.Errorf("wal: %s reads differently the second time: the disk does not keep what it shows", segmentName(s.number))
	}
	return nil
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

func isEmpty(w *window, s *segment) (bool, error) { return isZeroFrom(w, s, segmentHeaderBytes) }

func isZeroFrom(w *window, s *segment, off int64) (bool, error) {
	for ; off < s.bytes; off += scanBytes {
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
