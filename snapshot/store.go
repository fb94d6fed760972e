package snapshot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/vfs"
)

const (
	nameSuffix    = ".snap"    // INDEX-TERM.snap, the index padded so that names sort
	partialSuffix = ".partial" // being written; worthless after a crash
)

// ErrInUse refuses to remove a snapshot that is being read.
var ErrInUse = errors.New("snapshot: it is being read; close it first")

// Info names a snapshot of a Store.
type Info struct {
	Index id.Index
	Term  id.Term
}

// File is the snapshot's name within the directory.
func (i Info) File() string { return fmt.Sprintf("%020d-%d%s", i.Index, i.Term, nameSuffix) }

// parseName is the inverse of File; ok only for names that File makes.
func parseName(name string) (i Info, ok bool) {
	index, term, found := strings.Cut(strings.TrimSuffix(name, nameSuffix), "-")
	x, err1 := strconv.ParseUint(index, 10, 64)
	t, err2 := strconv.ParseUint(term, 10, 64)
	i = Info{Index: id.Index(x), Term: id.Term(t)}
	return i, found && err1 == nil && err2 == nil && i.File() == name
}

// Store is a directory of snapshots of one group.
type Store struct {
	fs  vfs.FS
	dir string

	mu       sync.Mutex // never held during a file call: a coroutine may yield there
	partials uint64     // names given to files being written
	verified map[Info]bool
	readers  map[Info]int
}

// Open opens the store in dir, makes dir if it is missing, and removes what was
// being written when the process ended.
func Open(fs vfs.FS, dir string) (*Store, error) {
	s := &Store{fs: fs, dir: dir, verified: map[Info]bool{}, readers: map[Info]int{}}
	if err := fs.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("snapshot: making %s: %w", dir, err)
	}
	for d := dir; ; d = path.Dir(d) { // the directory's own name must be durable too
		if err := fs.SyncDir(d); err != nil {
			return nil, fmt.Errorf("snapshot: syncing %s: %w", d, err)
		}
		if up := path.Dir(d); up == d || d == "." {
			break
		}
	}
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("snapshot: listing %s: %w", dir, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, partialSuffix) {
			if err := fs.Remove(path.Join(dir, name)); err != nil {
				return nil, fmt.Errorf("snapshot: removing %s, which a crash left half written: %w", name, err)
			}
		}
	}
	return s, nil
}

// List returns the snapshots in the directory, newest first. Files of other
// names are not ours and are ignored. Nothing is verified.
func (s *Store) List() ([]Info, error) {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return nil, fmt.Errorf("snapshot: listing %s: %w", s.dir, err)
	}
	var infos []Info
	for _, name := range names { // sorted, so by index; terms of one index do not differ
		if i, ok := parseName(name); ok {
			infos = append(infos, i)
		}
	}
	for a, z := 0, len(infos)-1; a < z; a, z = a+1, z-1 {
		infos[a], infos[z] = infos[z], infos[a]
	}
	return infos, nil
}

// Save writes a snapshot. It is durable when Save returns nil; after an error
// there is none and the half-written file is gone. An error of the file system
// other than ENOSPC says that the disk cannot be trusted (DESIGN 6).
func (s *Store) Save(m raft.SnapshotMeta, body io.WriterTo) (Info, error) {
	return s.write(m, body)
}

// Receive writes the snapshot that comes as a stream from a peer. It is durable
// and verified, as the disk has it, when Receive returns nil. The stream must
// hold the announced index and term.
func (s *Store) Receive(m raft.SnapshotMeta, r io.Reader) (Info, error) {
	d, err := newDecoder(r, "received stream")
	if err != nil {
		return Info{}, err
	}
	if d.meta.Index != m.Index || d.meta.Term != m.Term {
		return Info{}, fmt.Errorf("snapshot: the stream holds index %d of term %d; index %d of term %d was announced",
			d.meta.Index, d.meta.Term, m.Index, m.Term)
	}
	i, err := s.write(d.meta, bodyOf{d})
	if err != nil {
		return Info{}, err
	}
	return i, s.verify(i)
}

// bodyOf lets a decoder be the body of a Stream. What the sender's encoder cut
// into chunks is cut in the same places again.
type bodyOf struct{ d *decoder }

func (b bodyOf) WriteTo(w io.Writer) (n int64, err error) {
	for {
		for len(b.d.body) > 0 {
			k, err := w.Write(b.d.body)
			n += int64(k)
			b.d.body = b.d.body[k:]
			if err != nil {
				return n, err
			}
		}
		switch err := b.d.next(); {
		case err == io.EOF:
			return n, nil
		case err != nil:
			return n, err
		}
	}
}

// write is the order of durability: bytes, sync, name, sync of the directory.
func (s *Store) write(m raft.SnapshotMeta, body io.WriterTo) (Info, error) {
	i := Info{Index: m.Index, Term: m.Term}
	s.mu.Lock()
	s.partials++
	partial := path.Join(s.dir, fmt.Sprintf("%020d-%d.%d%s", i.Index, i.Term, s.partials, partialSuffix))
	s.mu.Unlock()

	f, err := s.fs.Create(partial)
	if err != nil {
		return Info{}, fmt.Errorf("snapshot: creating %s: %w", partial, err)
	}
	_, err = Stream{Meta: m, Body: body}.WriteTo(io.NewOffsetWriter(f, 0))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = s.fs.Remove(partial) // Open removes it if this fails; err is what matters
		return Info{}, fmt.Errorf("snapshot: writing %s: %w", partial, err)
	}
	s.mu.Lock()
	delete(s.verified, i) // whatever stood under this name is replaced
	s.mu.Unlock()
	if err := s.fs.Rename(partial, path.Join(s.dir, i.File())); err != nil {
		_ = s.fs.Remove(partial)
		return Info{}, fmt.Errorf("snapshot: renaming %s to %s: %w", partial, i.File(), err)
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return Info{}, fmt.Errorf("snapshot: syncing %s: %w", s.dir, err)
	}
	return i, nil
}

// Snapshot is one being read. Read returns the body.
type Snapshot struct {
	Meta  raft.SnapshotMeta
	info  Info
	store *Store
	file  vfs.File
	d     *decoder
}

// Read hands out the body; every chunk is checked again.
func (n *Snapshot) Read(p []byte) (int, error) { return n.d.Read(p) }

// WriteTo writes what is left of the body to w, so that a Snapshot is the Body
// of a Stream.
func (n *Snapshot) WriteTo(w io.Writer) (int64, error) { return bodyOf{n.d}.WriteTo(w) }

// Close ends the reading. It may be called once.
func (n *Snapshot) Close() error {
	n.store.mu.Lock()
	n.store.readers[n.info]--
	assert.That(n.store.readers[n.info] >= 0, "snapshot %s closed twice", n.info.File())
	if n.store.readers[n.info] == 0 {
		delete(n.store.readers, n.info)
	}
	n.store.mu.Unlock()
	return n.file.Close()
}

// Load opens a snapshot for reading. The first time in this process it reads all
// of the file to verify it. Close the Snapshot: until then it is not removed.
func (s *Store) Load(i Info) (*Snapshot, error) {
	s.mu.Lock()
	s.readers[i]++ // before it is opened: Prune must not come between
	known := s.verified[i]
	s.mu.Unlock()
	n, err := s.load(i, known)
	if err != nil {
		s.mu.Lock()
		if s.readers[i]--; s.readers[i] == 0 {
			delete(s.readers, i)
		}
		s.mu.Unlock()
		return nil, err
	}
	return n, nil
}

func (s *Store) load(i Info, known bool) (*Snapshot, error) {
	if !known {
		if err := s.verify(i); err != nil {
			return nil, err
		}
	}
	f, d, err := s.decode(i)
	if err != nil {
		return nil, err
	}
	return &Snapshot{Meta: d.meta, info: i, store: s, file: f, d: d}, nil
}

// verify reads all of a snapshot's file.
func (s *Store) verify(i Info) error {
	f, d, err := s.decode(i)
	if err != nil {
		return err
	}
	_, err = bodyOf{d}.WriteTo(io.Discard)
	if cerr := f.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("snapshot: closing %s: %w", i.File(), cerr)
	}
	if err == nil {
		s.mu.Lock()
		s.verified[i] = true
		s.mu.Unlock()
	}
	return err
}

func (s *Store) decode(i Info) (vfs.File, *decoder, error) {
	name := path.Join(s.dir, i.File())
	f, err := s.fs.Open(name)
	if err != nil {
		return nil, nil, fmt.Errorf("snapshot: opening %s: %w", name, err)
	}
	size, err := f.Size()
	if err != nil {
		_ = f.Close()
		return nil, nil, fmt.Errorf("snapshot: size of %s: %w", name, err)
	}
	d, err := newDecoder(io.NewSectionReader(f, 0, size), name)
	if err == nil && (d.meta.Index != i.Index || d.meta.Term != i.Term) {
		err = &ErrCorrupt{File: name, Why: fmt.Sprintf("it holds index %d of term %d, not what its name says", d.meta.Index, d.meta.Term)}
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, d, nil
}

// Prune removes all but the newest keep snapshots (at least one). Before it
// removes any it verifies the newest; if that is damaged, everything stays and
// the damage is the error. Snapshots being read stay until a later Prune.
func (s *Store) Prune(keep int) (removed int, err error) {
	infos, err := s.List()
	if err != nil || len(infos) <= max(keep, 1) {
		return 0, err
	}
	s.mu.Lock()
	known := s.verified[infos[0]]
	s.mu.Unlock()
	if !known {
		if err := s.verify(infos[0]); err != nil {
			return 0, err
		}
	}
	for _, i := range infos[max(keep, 1):] {
		switch err := s.remove(i); {
		case errors.Is(err, ErrInUse):
		case err != nil:
			return removed, err
		default:
			removed++
		}
	}
	if removed == 0 {
		return 0, nil
	}
	return removed, s.syncDir()
}

// Remove removes one snapshot, durably. ErrInUse: it is being read.
func (s *Store) Remove(i Info) error {
	if err := s.remove(i); err != nil {
		return err
	}
	return s.syncDir()
}

func (s *Store) remove(i Info) error {
	s.mu.Lock()
	busy := s.readers[i] > 0
	if !busy {
		delete(s.verified, i)
	}
	s.mu.Unlock()
	if busy {
		return ErrInUse
	}
	if err := s.fs.Remove(path.Join(s.dir, i.File())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("snapshot: removing %s: %w", i.File(), err)
	}
	return nil
}

func (s *Store) syncDir() error {
	if err := s.fs.SyncDir(s.dir); err != nil {
		return fmt.Errorf("snapshot: syncing %s: %w", s.dir, err)
	}
	return nil
}
