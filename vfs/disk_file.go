package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
)

// diskFile is an open file of a Disk.
type diskFile struct {
	m      *mount
	n      *inode
	closed bool
}

func (f *diskFile) begin(op Op) error {
	if err := f.usable(op.Kind); err != nil {
		return err
	}
	if err := f.m.begin(op); err != nil {
		return err
	}
	return f.usable(op.Kind) // closing a file under a call of another is nobody's right
}

// usable fails if the file is closed or the disk crashed under it.
func (f *diskFile) usable(kind OpKind) error {
	if f.closed {
		return fail(kind, f.n.name, fs.ErrClosed)
	}
	return f.m.alive(kind, f.n.name)
}

func (f *diskFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.begin(Op{Kind: OpRead, Name: f.n.name, Offset: off, Bytes: int64(len(p))}); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, fail(OpRead, f.n.name, syscall.EINVAL)
	}
	n := max(0, min(int64(len(p)), f.n.cache.size-off))
	for _, b := range f.n.bad {
		if off < b.to && b.from < off+n {
			return 0, fail(OpRead, f.n.name, fmt.Errorf("bad sector at %d: %w", b.from, syscall.EIO))
		}
	}
	f.n.cache.read(p[:n], off)
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

func (f *diskFile) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fail(OpWrite, f.n.name, syscall.EINVAL)
	}
	d, op := f.m.d, Op{Kind: OpWrite, Name: f.n.name, Offset: off, Bytes: int64(len(p))}
	fits := d.fits(f.n, int64(len(p)), off)
	grow, write := d.planWrite(f.n, append([]byte(nil), p[:fits]...), off)
	err := f.changing(op, grow, write)
	var fault Fault
	if errors.As(err, &fault) {
		return d.faultyWrite(f, fault, grow, write)
	}
	if err != nil {
		return f.partialWrite(err, write)
	}
	if fits < int64(len(p)) {
		return int(fits), fail(OpWrite, f.n.name, syscall.ENOSPC)
	}
	d.record(op)
	return len(p), nil
}

// fits returns how many bytes of a write there is space for.
func (d *Disk) fits(n *inode, bytes, off int64) int64 {
	grows := max(0, off+bytes-n.cache.size)
	if d.o.Capacity == 0 || grows == 0 {
		return bytes
	}
	return max(0, bytes-max(0, grows-max(0, d.o.Capacity-d.Used())))
}

// planWrite returns the changes of a write: the growth of the file and the data,
// which a crash may keep or lose independently.
func (d *Disk) planWrite(n *inode, data []byte, off int64) (grow, write change) {
	if end := off + int64(len(data)); end > n.cache.size {
		grow = change{serial: d.next(), size: end}
	}
	return grow, change{serial: d.next(), off: off, data: data}
}

// changing announces changes, which a crash during the call may already leave,
// and makes them visible when the call completes.
func (f *diskFile) changing(op Op, changes ...change) error {
	if err := f.usable(op.Kind); err != nil {
		return err
	}
	for _, c := range changes {
		if c.serial != 0 {
			f.n.pending = append(f.n.pending, c)
		}
	}
	epoch := f.m.d.epoch
	err := f.begin(op)
	if f.m.d.epoch != epoch {
		return err // the crash has drawn what became of the changes
	}
	for _, c := range changes {
		if c.serial == 0 {
			continue
		}
		if err != nil {
			f.n.undo(c)
			continue
		}
		f.n.complete(c.serial, f.m.d.next())
		c.apply(&f.n.cache)
	}
	return err
}

// undo takes a change out of the pending ones.
func (n *inode) undo(c change) {
	for i := range n.pending {
		if n.pending[i].serial == c.serial {
			n.pending = append(n.pending[:i], n.pending[i+1:]...)
			return
		}
	}
}

func (n *inode) complete(serial, done uint64) {
	for i := range n.pending {
		if n.pending[i].serial == serial {
			n.pending[i].done = done
		}
	}
}

// append adds a change that has happened.
func (n *inode) append(d *Disk, c change) {
	c.serial = d.next()
	c.done = d.next()
	n.pending = append(n.pending, c)
	c.apply(&n.cache)
}

func (c change) apply(i *image) {
	switch {
	case c.data != nil:
		i.write(c.data, c.off)
	case c.shrink:
		i.cut(c.size)
	default:
		i.size = max(i.size, c.size)
	}
}

// partialWrite is a write that failed: a part of it may be in the file.
func (f *diskFile) partialWrite(err error, write change) (int, error) {
	d := f.m.d
	if f.closed || f.m.epoch != d.epoch {
		return 0, err
	}
	r := d.stream("failed write", write.serial)
	kept := int64(r.below(uint64(len(write.data)) + 1))
	kept -= (write.off + kept) % d.o.SectorBytes
	if kept <= 0 {
		return 0, err
	}
	grow, part := d.planWrite(f.n, write.data[:kept:kept], write.off)
	if grow.serial != 0 {
		f.n.append(d, grow)
	}
	f.n.append(d, part)
	return int(kept), err
}

func (f *diskFile) Sync() error {
	d, op := f.m.d, Op{Kind: OpSync, Name: f.n.name}
	horizon := d.next() // bytes written after the call need a later one
	err := f.begin(op)
	var fault Fault
	if errors.As(err, &fault) {
		return d.faultySync(f, fault, horizon)
	}
	if err != nil {
		return err
	}
	if err := f.n.later; err != nil {
		f.n.later = nil
		return fail(OpSync, f.n.name, err)
	}
	f.n.flush(horizon)
	d.record(op)
	return nil
}

// flush makes everything durable that completed before the serial horizon.
func (n *inode) flush(horizon uint64) {
	whole := !n.diverged // then the cache's pages can be shared instead of written again
	for _, c := range n.pending {
		whole = whole && c.done != 0 && c.done < horizon && !c.shrink
	}
	rest := n.pending[:0]
	for _, c := range n.pending {
		switch {
		case c.done == 0 || c.done >= horizon:
			rest = append(rest, c)
		case whole && c.data != nil:
			n.disk.share(&n.cache, c.off, c.off+int64(len(c.data)))
		default:
			c.apply(&n.disk)
		}
	}
	clear(n.pending[len(rest):])
	n.pending = rest
}

func (f *diskFile) Preallocate(size int64) error {
	d, op := f.m.d, Op{Kind: OpPreallocate, Name: f.n.name, Bytes: size}
	if err := f.usable(OpPreallocate); err != nil {
		return err
	}
	if more := size - f.n.cache.size; more > 0 && d.o.Capacity != 0 && d.Used()+more > d.o.Capacity {
		if err := f.begin(op); err != nil {
			return err
		}
		return fail(OpPreallocate, f.n.name, syscall.ENOSPC)
	}
	if err := f.changing(op, change{serial: d.next(), size: size}); err != nil {
		return err
	}
	d.record(op)
	return nil
}

func (f *diskFile) Truncate(size int64) error {
	d, op := f.m.d, Op{Kind: OpTruncate, Name: f.n.name, Bytes: size}
	shrink := size < f.n.cache.size
	if err := f.changing(op, change{serial: d.next(), size: size, shrink: shrink}); err != nil {
		return err
	}
	d.record(op)
	return nil
}

func (f *diskFile) Size() (int64, error) {
	if err := f.begin(Op{Kind: OpSize, Name: f.n.name}); err != nil {
		return 0, err
	}
	return f.n.cache.size, nil
}

func (f *diskFile) Close() error {
	if f.closed {
		return fail(OpClose, f.n.name, fs.ErrClosed)
	}
	f.closed = true
	return nil
}

// pageBytes is a compromise: small pages make small writes cheap, large ones
// large files.
const pageBytes = 1024

// image is the content of a file. A page is never changed once it is there, so
// images share pages; nil is a page of zeros.
type image struct {
	size  int64
	pages []*[pageBytes]byte
}

// read fills p, which lies within the size.
func (i *image) read(p []byte, off int64) {
	for len(p) > 0 {
		at := int(off % pageBytes)
		n := min(len(p), pageBytes-at)
		if pg := i.page(off / pageBytes); pg != nil {
			copy(p[:n], pg[at:])
		} else {
			clear(p[:n])
		}
		p, off = p[n:], off+int64(n)
	}
}

func (i *image) page(k int64) *[pageBytes]byte {
	if k < int64(len(i.pages)) {
		return i.pages[k]
	}
	return nil
}

func (i *image) write(p []byte, off int64) {
	i.size = max(i.size, off+int64(len(p)))
	for len(p) > 0 {
		k, at := off/pageBytes, int(off%pageBytes)
		n := min(len(p), pageBytes-at)
		pg := new([pageBytes]byte)
		if old := i.page(k); old != nil && n < pageBytes {
			*pg = *old
		}
		copy(pg[at:], p[:n])
		i.set(k, pg)
		p, off = p[n:], off+int64(n)
	}
}

func (i *image) set(k int64, pg *[pageBytes]byte) {
	for int64(len(i.pages)) <= k {
		i.pages = append(i.pages, nil)
	}
	i.pages[k] = pg
}

// share takes the pages that cover [from, to) from another image whose bytes
// outside that range equal this one's, or will be taken too.
func (i *image) share(src *image, from, to int64) {
	i.size = max(i.size, min(to, src.size))
	for k := from / pageBytes; k*pageBytes < to; k++ {
		i.set(k, src.page(k))
	}
}

// cut shortens the file; what grows again later reads as zeros.
func (i *image) cut(size int64) {
	if size >= i.size {
		return
	}
	i.size = size
	keep := (size + pageBytes - 1) / pageBytes
	if keep < int64(len(i.pages)) {
		i.pages = append([]*[pageBytes]byte(nil), i.pages[:keep]...)
	}
	if at := size % pageBytes; at != 0 && i.page(size/pageBytes) != nil {
		pg := *i.page(size / pageBytes)
		clear(pg[at:])
		i.set(size/pageBytes, &pg)
	}
}

func (i *image) clone() image {
	return image{size: i.size, pages: append([]*[pageBytes]byte(nil), i.pages...)}
}
