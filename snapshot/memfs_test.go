package snapshot

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"syscall"

	"github.com/quorate/quorate/vfs"
)

// memFS is a disk in memory that counts operations, fails or stops at a chosen
// one, and forgets at a crash what was not synced: bytes of a file since its
// Sync, names of a directory since its SyncDir. Which of them it forgets is
// drawn from rnd.
type memFS struct {
	mu      sync.Mutex
	names   map[string]*memFile // as programs see it
	durable map[string]*memFile // as a crash leaves it
	log     []string
	dieAt   int // operation at which the machine stops; 0: never
	failAt  int // operation that fails with failErr
	failErr error
}

type memFile struct{ now, synced []byte }

var errDead = fmt.Errorf("the machine has stopped")

func newMemFS() *memFS {
	return &memFS{names: map[string]*memFile{}, durable: map[string]*memFile{}}
}

// op counts an operation. An error means that it did not happen.
func (m *memFS) op(format string, args ...any) error {
	m.log = append(m.log, fmt.Sprintf(format, args...))
	switch n := len(m.log); {
	case m.dieAt > 0 && n >= m.dieAt:
		return errDead
	case m.failAt == n:
		return m.failErr
	}
	return nil
}

// crash returns the disk as the next process finds it.
func (m *memFS) crash(rnd *rand.Rand) *memFS {
	next := newMemFS()
	keep := func() bool { return rnd.IntN(2) == 0 }
	all := map[string]bool{}
	for n := range m.names {
		all[n] = true
	}
	for n := range m.durable {
		all[n] = true
	}
	for _, n := range slices.Sorted(maps.Keys(all)) {
		f := m.durable[n]
		if now := m.names[n]; now != f && keep() {
			f = now
		}
		if f == nil {
			continue
		}
		c := slices.Clone(f.synced)
		if len(f.now) > len(c) && keep() {
			c = append(c, f.now[len(c):len(c)+rnd.IntN(len(f.now)-len(c)+1)]...)
			for i := len(f.synced); i < len(c); i++ { // of the unsynced, any byte may be garbage
				if rnd.IntN(4) == 0 {
					c[i] = byte(rnd.Uint32())
				}
			}
		}
		next.names[n] = &memFile{now: c, synced: slices.Clone(c)}
	}
	next.durable = maps.Clone(next.names)
	return next
}

func (m *memFS) Create(name string) (vfs.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op("create %s", name); err != nil {
		return nil, err
	}
	if m.names[name] != nil {
		return nil, fs.ErrExist
	}
	m.names[name] = &memFile{}
	return &memHandle{m, m.names[name], name}, nil
}

func (m *memFS) Open(name string) (vfs.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op("open %s", name); err != nil {
		return nil, err
	}
	if m.names[name] == nil {
		return nil, fs.ErrNotExist
	}
	return &memHandle{m, m.names[name], name}, nil
}

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op("rename %s %s", from, to); err != nil {
		return err
	}
	m.names[to] = m.names[from]
	delete(m.names, from)
	return nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op("remove %s", name); err != nil {
		return err
	}
	if m.names[name] == nil {
		return fs.ErrNotExist
	}
	delete(m.names, name)
	return nil
}

func (m *memFS) List(dir string) (out []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op("list %s", dir); err != nil {
		return nil, err
	}
	for n := range m.names {
		if path.Dir(n) == dir {
			out = append(out, path.Base(n))
		}
	}
	slices.Sort(out)
	return out, nil
}

func (m *memFS) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.op("mkdir %s", dir)
}

func (m *memFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op("syncdir %s", dir); err != nil {
		return err
	}
	for n := range m.durable {
		if path.Dir(n) == dir {
			delete(m.durable, n)
		}
	}
	for n, f := range m.names {
		if path.Dir(n) == dir {
			m.durable[n] = f
		}
	}
	return nil
}

func (m *memFS) Lock(string) (io.Closer, error) { return nil, syscall.ENOSYS }

type memHandle struct {
	m    *memFS
	f    *memFile
	name string
}

func (h *memHandle) ReadAt(p []byte, off int64) (int, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if off >= int64(len(h.f.now)) {
		return 0, io.EOF
	}
	n := copy(p, h.f.now[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *memHandle) WriteAt(p []byte, off int64) (int, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.m.op("write %s %d+%d", h.name, off, len(p)); err != nil {
		return 0, err
	}
	if end := int(off) + len(p); end > len(h.f.now) {
		h.f.now = append(h.f.now, make([]byte, end-len(h.f.now))...)
	}
	return copy(h.f.now[off:], p), nil
}

func (h *memHandle) Sync() error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.m.op("sync %s", h.name); err != nil {
		return err
	}
	h.f.synced = slices.Clone(h.f.now)
	return nil
}

func (h *memHandle) Close() error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	return h.m.op("close %s", h.name)
}

func (h *memHandle) Size() (int64, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	return int64(len(h.f.now)), nil
}

func (h *memHandle) Preallocate(int64) error { return syscall.ENOSYS }
func (h *memHandle) Truncate(int64) error    { return syscall.ENOSYS }
