package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"sort"
	"syscall"
)

// Disk is a simulated disk: what it shows to its user, what it would still have
// after a power cut, and in between, in order, everything that is not durable.
//
//	WriteAt ──▶ cache image ──▶ reads
//	   └──────▶ pending changes ──Sync──▶ durable image ──Crash──▶ cache image
//	Create, Rename, Remove ──▶ names ──▶ lookups
//	   └──────▶ pending names ──SyncDir──▶ durable names ──Crash──▶ names
//
// Everything is decided by the seed: the same calls give the same disk, whatever
// the machine. A Disk is for one thread; coroutines may take turns in its Hook.
//
// What a crash may leave is what we assume of real disks, and docs/format/wal.md
// says why. Of the changes since the last Sync of a file: none, all, a prefix or
// any subset, cut at sectors; a sector of a lost write may hold garbage, but
// never outside the bytes that were being written (power-safe overwrite). Sizes
// and data are independent: a file may have grown without its data. Of the names
// changed since the last SyncDir: the same choice, each rename whole or not.
type Disk struct {
	o       DiskOptions
	names   map[string]*inode // what is seen; paths cleaned, no leading slash
	durable map[string]*inode // what a crash leaves for certain
	moves   []move            // changes of names that are not durable, in order
	locks   map[string]bool
	epoch   uint64 // grows with every crash; mounts and files of older epochs are dead
	serial  uint64 // of changes
	ops     []Op
	calls   int
}

// DiskOptions is how a disk behaves.
type DiskOptions struct {
	Seed        uint64
	SectorBytes int64          // what is written whole or not at all. 512; 4096 for newer disks
	Capacity    int64          // bytes of all files together; 0: no limit. Beyond: ENOSPC (D8)
	Record      bool           // keep a list of every change and sync, for Ops
	Hook        func(Op) error // called before every operation; see SetHook
}

// ErrCrashed is the answer to whoever still holds a file, a mount or a call from
// before a crash.
var ErrCrashed = fmt.Errorf("the disk lost its power under this call: %w", syscall.EIO)

// inode is a file or directory without its name.
type inode struct {
	name     string // the newest one, for operations on open files
	dir      bool
	cache    image
	disk     image
	pending  []change
	diverged bool  // some change was dropped for good: the cache shows what will never be durable
	later    error // D4: what the next Sync reports of an earlier, silent failure
	bad      []extent
}

// change is one change of a file's content that is not durable yet.
type change struct {
	serial uint64
	done   uint64 // serial at completion; 0 while the call is in flight
	off    int64
	data   []byte // immutable; nil: only the size changes
	size   int64  // without data: the new size
	shrink bool   // without data: cut everything behind size, else grow to it
}

type extent struct{ from, to int64 }

// move is one change of names that is not durable yet. An empty from is a new
// name, an empty to a removal.
type move struct {
	serial   uint64
	done     uint64
	from, to string
	node     *inode
}

// NewDisk returns an empty disk.
func NewDisk(o DiskOptions) *Disk {
	if o.SectorBytes == 0 {
		o.SectorBytes = 512
	}
	root := &inode{dir: true}
	return &Disk{
		o:       o,
		names:   map[string]*inode{".": root},
		durable: map[string]*inode{".": root},
		locks:   map[string]bool{},
	}
}

// FS mounts the disk. A mount lives until the next Crash; afterwards all its
// calls, and those of its files, fail with ErrCrashed.
func (d *Disk) FS() FS { return &mount{d: d, epoch: d.epoch} }

// SetHook replaces the hook. It is called before every operation and may yield a
// coroutine, let virtual time pass, crash the disk, or return an error, which
// then is the operation's (D9, D10). A Fault as error makes the disk lie instead
// of fail. The operation takes effect when the hook returns, not before; if the
// disk crashed meanwhile, the operation counts as one more change that was not
// durable and the caller gets ErrCrashed.
func (d *Disk) SetHook(hook func(Op) error) { d.o.Hook = hook }

// SetCapacity changes the space on the disk; 0 is no limit.
func (d *Disk) SetCapacity(bytes int64) { d.o.Capacity = bytes }

// Used is the size of all files together.
func (d *Disk) Used() int64 {
	var sum int64
	for _, name := range sorted(d.names) {
		sum += d.names[name].cache.size
	}
	return sum
}

// Calls counts the operations so far.
func (d *Disk) Calls() int { return d.calls }

func sorted(m map[string]*inode) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// mount is one life of a disk.
type mount struct {
	d     *Disk
	epoch uint64
}

// alive fails if the disk crashed under the mount.
func (m *mount) alive(kind OpKind, name string) error {
	if m.epoch != m.d.epoch {
		return fail(kind, name, ErrCrashed)
	}
	return nil
}

// begin announces an operation. It fails if the mount is or becomes dead, or if
// the hook says so.
func (m *mount) begin(op Op) error {
	if err := m.alive(op.Kind, op.Name); err != nil {
		return err
	}
	m.d.calls++
	var err error
	if m.d.o.Hook != nil {
		err = m.d.o.Hook(op)
	}
	if m.epoch != m.d.epoch {
		err = ErrCrashed
	}
	if err != nil {
		return fail(op.Kind, op.Name, err)
	}
	return nil
}

func (d *Disk) next() uint64 { d.serial++; return d.serial }

func fail(kind OpKind, name string, err error) error {
	return &fs.PathError{Op: kind.String(), Path: name, Err: err}
}

// moving announces a change of names: while the call is in flight a crash may
// already leave it.
func (m *mount) moving(op Op, mv move) error {
	d := m.d
	mv.serial = d.next()
	d.moves = append(d.moves, mv)
	err := m.begin(op)
	if m.epoch != d.epoch {
		return err
	}
	for i := range d.moves {
		if d.moves[i].serial == mv.serial {
			if err != nil {
				d.moves = append(d.moves[:i], d.moves[i+1:]...)
				return err
			}
			d.moves[i].done = d.next()
		}
	}
	mv.apply(d.names)
	if mv.to != "" {
		mv.node.name = mv.to
	}
	d.record(op)
	return nil
}

func (mv move) apply(names map[string]*inode) {
	if mv.from != "" && names[mv.from] == mv.node {
		delete(names, mv.from)
	}
	if mv.to == "" {
		return
	}
	// A crash may keep the second of two renames and lose the first: the file
	// still has one name only.
	for _, n := range sorted(names) {
		if names[n] == mv.node {
			delete(names, n)
		}
	}
	names[mv.to] = mv.node
}

func (m *mount) Create(name string) (File, error) {
	name = path.Clean(name)
	if err := m.vacant(OpCreate, name); err != nil {
		return nil, err
	}
	n := &inode{name: name}
	if err := m.moving(Op{Kind: OpCreate, Name: name}, move{to: name, node: n}); err != nil {
		return nil, err
	}
	return &diskFile{m: m, n: n}, nil
}

// vacant checks that name can be created.
func (m *mount) vacant(kind OpKind, name string) error {
	if err := m.alive(kind, name); err != nil {
		return err
	}
	if m.d.names[name] != nil {
		return fail(kind, name, fs.ErrExist)
	}
	if p := m.d.names[path.Dir(name)]; p == nil || !p.dir {
		return fail(kind, name, fs.ErrNotExist)
	}
	return nil
}

func (m *mount) Open(name string) (File, error) {
	name = path.Clean(name)
	if err := m.begin(Op{Kind: OpOpen, Name: name}); err != nil {
		return nil, err
	}
	n := m.d.names[name]
	if n == nil {
		return nil, fail(OpOpen, name, fs.ErrNotExist)
	}
	if n.dir {
		return nil, fail(OpOpen, name, syscall.EISDIR)
	}
	return &diskFile{m: m, n: n}, nil
}

func (m *mount) Rename(oldName, newName string) error {
	oldName, newName = path.Clean(oldName), path.Clean(newName)
	if err := m.alive(OpRename, oldName); err != nil {
		return err
	}
	n := m.d.names[oldName]
	if n == nil {
		return fail(OpRename, oldName, fs.ErrNotExist)
	}
	if n.dir {
		return fail(OpRename, oldName, syscall.ENOTSUP) // nobody renames directories
	}
	if p := m.d.names[path.Dir(newName)]; p == nil || !p.dir {
		return fail(OpRename, newName, fs.ErrNotExist)
	}
	return m.moving(Op{Kind: OpRename, Name: oldName, NewName: newName}, move{from: oldName, to: newName, node: n})
}

func (m *mount) Remove(name string) error {
	name = path.Clean(name)
	if err := m.alive(OpRemove, name); err != nil {
		return err
	}
	n := m.d.names[name]
	if n == nil || name == "." {
		return fail(OpRemove, name, fs.ErrNotExist)
	}
	if n.dir && len(m.d.children(name)) > 0 {
		return fail(OpRemove, name, syscall.ENOTEMPTY)
	}
	return m.moving(Op{Kind: OpRemove, Name: name}, move{from: name, node: n})
}

func (m *mount) List(dir string) ([]string, error) {
	dir = path.Clean(dir)
	if err := m.begin(Op{Kind: OpList, Name: dir}); err != nil {
		return nil, err
	}
	if n := m.d.names[dir]; n == nil || !n.dir {
		return nil, fail(OpList, dir, fs.ErrNotExist)
	}
	return m.d.children(dir), nil
}

// children returns the names in a directory, sorted.
func (d *Disk) children(dir string) []string {
	var out []string
	for _, n := range sorted(d.names) {
		if n != "." && path.Dir(n) == dir {
			out = append(out, path.Base(n))
		}
	}
	return out
}

func (m *mount) MkdirAll(dir string) error {
	dir = path.Clean(dir)
	if err := m.alive(OpMkdir, dir); err != nil {
		return err
	}
	if n := m.d.names[dir]; n != nil {
		if n.dir {
			return nil
		}
		return fail(OpMkdir, dir, syscall.ENOTDIR)
	}
	if err := m.MkdirAll(path.Dir(dir)); err != nil {
		return err
	}
	return m.moving(Op{Kind: OpMkdir, Name: dir}, move{to: dir, node: &inode{dir: true}})
}

func (m *mount) SyncDir(dir string) error {
	dir = path.Clean(dir)
	d := m.d
	horizon := d.next() // names changed after the call need a later one
	op := Op{Kind: OpSyncDir, Name: dir}
	if err := m.begin(op); err != nil {
		return err
	}
	if n := d.names[dir]; n == nil || !n.dir {
		return fail(OpSyncDir, dir, fs.ErrNotExist)
	}
	var rest []move
	for _, mv := range d.moves {
		here := (mv.from != "" && path.Dir(mv.from) == dir) || (mv.to != "" && path.Dir(mv.to) == dir)
		if here && mv.done != 0 && mv.done < horizon {
			mv.apply(d.durable)
		} else {
			rest = append(rest, mv)
		}
	}
	d.moves = rest
	d.record(op)
	return nil
}

func (m *mount) Lock(name string) (io.Closer, error) {
	name = path.Clean(name)
	if err := m.begin(Op{Kind: OpLock, Name: name}); err != nil {
		return nil, err
	}
	if m.d.locks[name] {
		return nil, fail(OpLock, name, ErrLocked)
	}
	if m.d.names[name] == nil {
		f, err := m.Create(name)
		if err != nil {
			return nil, err
		}
		f.Close()
	}
	m.d.locks[name] = true
	return &diskLock{m: m, name: name}, nil
}

type diskLock struct {
	m    *mount
	name string
}

func (l *diskLock) Close() error {
	if l.m.epoch == l.m.d.epoch {
		delete(l.m.d.locks, l.name)
	}
	return nil
}
