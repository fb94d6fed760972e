package vfs

import (
	"io/fs"
	"path"
	"slices"
)

// Loss says what a crash takes of the changes that were not durable.
type Loss uint8

const (
	LossDrawn  Loss = iota // one of the others, by seed, for the names and for each file
	LossAll                // all of them: the worst, and what the durable image is
	LossNone               // none of them: as if the process had been killed and not the power
	LossPrefix             // all from some moment on; the write at that moment is torn
	LossSubset             // any of them, sector by sector (D1, D3)
)

// Crash cuts the power: every mount, file and lock dies, and the disk comes back
// in a legal state drawn by the seed. Mount it again with FS.
func (d *Disk) Crash() { d.CrashWith(LossDrawn) }

// Kill ends the process and not the power: every mount, file and lock dies, and
// what was written stays in the cache, as durable or not as it was. A call in
// flight has no effect. What the next process reads is therefore not durable until
// it has synced it itself.
func (d *Disk) Kill() {
	d.epoch++
	d.locks = map[string]bool{}
	d.moves = slices.DeleteFunc(d.moves, func(mv move) bool { return mv.done == 0 })
	for _, names := range []map[string]*inode{d.names, d.durable} {
		for _, name := range sorted(names) {
			n := names[name]
			n.pending = slices.DeleteFunc(n.pending, func(c change) bool { return c.done == 0 })
		}
	}
}

// CrashWith is Crash with the loss given.
func (d *Disk) CrashWith(loss Loss) {
	d.epoch++
	d.locks = map[string]bool{}
	r := d.stream("names", d.epoch)
	for _, mv := range d.moves[:r.prefix(&loss, len(d.moves))] {
		if r.keep(loss) {
			mv.apply(d.durable)
		}
	}
	d.moves = nil
	for _, name := range sorted(d.durable) {
		if p := d.durable[path.Dir(name)]; p == nil || !p.dir {
			delete(d.durable, name) // sorted order: parents go before their children
		}
	}
	d.names = map[string]*inode{}
	for _, name := range sorted(d.durable) {
		n := d.durable[name]
		d.names[name], n.name = n, name
		n.crash(d.stream(name, d.epoch), lossOf(loss), d.o.SectorBytes)
	}
}

// lossOf undoes what prefix made of a drawn loss: each file draws its own.
func lossOf(l Loss) Loss {
	if l&drawn != 0 {
		return LossDrawn
	}
	return l
}

// drawn marks a loss that prefix drew.
const drawn Loss = 0x80

// prefix settles a drawn loss and returns how many of n changes survive at most.
func (r *stream) prefix(l *Loss, n int) int {
	if *l == LossDrawn {
		*l = drawn | (LossAll + Loss(r.below(4)))
	}
	switch *l &^ drawn {
	case LossAll:
		return 0
	case LossPrefix:
		return int(r.below(uint64(n) + 1))
	}
	return n
}

// keep draws whether one of the surviving changes survives.
func (r *stream) keep(l Loss) bool {
	return l&^drawn != LossSubset || r.below(2) == 0
}

// crash settles what became of a file.
func (n *inode) crash(r *stream, loss Loss, sector int64) {
	kept := r.prefix(&loss, len(n.pending))
	for i, c := range n.pending {
		switch {
		case i > kept || loss&^drawn == LossAll:
			// lost
		case i == kept && loss&^drawn != LossPrefix:
			// lost
		case i < kept && loss&^drawn != LossSubset:
			c.apply(&n.disk)
		case c.data == nil:
			if r.keep(LossSubset) {
				c.apply(&n.disk)
			}
		default:
			c.tear(r, &n.disk, sector)
		}
	}
	n.pending, n.diverged, n.later = nil, false, nil
	n.cache = n.disk.clone()
}

// tear applies some sectors of a write. Of eight, four are written, three are
// not, one is garbage (D2).
func (c change) tear(r *stream, i *image, sector int64) {
	for from := c.off; from < c.off+int64(len(c.data)); {
		to := min(c.off+int64(len(c.data)), from-from%sector+sector)
		switch part := c.data[from-c.off : to-c.off]; r.below(8) {
		case 0, 1, 2, 3:
			i.write(part, from)
		case 4:
			i.write(r.garbage(part), from)
		}
		from = to
	}
}

// garbage is what a torn sector holds: noise, zeros, ones, or the right bytes
// with one bit wrong, which is the hardest to see.
func (r *stream) garbage(right []byte) []byte {
	b := make([]byte, len(right))
	switch r.below(4) {
	case 0:
		for i := range b {
			b[i] = byte(r.next())
		}
	case 1:
		for i := range b {
			b[i] = 0xff
		}
	case 2:
		copy(b, right)
		b[r.below(uint64(len(b)))] ^= 1 << r.below(8)
	}
	return b
}

// Clone returns an independent copy: same content, same pending changes, same
// future by seed. It has no hook and no open files.
func (d *Disk) Clone() *Disk {
	c := &Disk{
		o: d.o, epoch: d.epoch, serial: d.serial, calls: d.calls,
		names: map[string]*inode{}, durable: map[string]*inode{}, locks: map[string]bool{},
	}
	c.o.Hook = nil
	copies := map[*inode]*inode{} // looked up only
	copied := func(n *inode) *inode {
		if copies[n] == nil {
			copies[n] = &inode{
				name: n.name, dir: n.dir, cache: n.cache.clone(), disk: n.disk.clone(), diverged: n.diverged, later: n.later,
				pending: slices.Clone(n.pending), bad: slices.Clone(n.bad),
			}
		}
		return copies[n]
	}
	for _, name := range sorted(d.names) {
		c.names[name] = copied(d.names[name])
	}
	for _, name := range sorted(d.durable) {
		c.durable[name] = copied(d.durable[name])
	}
	for _, mv := range d.moves {
		mv.node = copied(mv.node)
		c.moves = append(c.moves, mv)
	}
	c.ops = slices.Clone(d.ops)
	return c
}

// DurableImage returns a copy of the disk as it would be if the power failed now
// and took everything it may take. Oracles open it to see what is certain.
func (d *Disk) DurableImage() *Disk {
	c := d.Clone()
	c.CrashWith(LossAll)
	return c
}

// Corrupt turns bits of one byte of a file, durably: bit rot (D5). A bit of mask
// that is set is turned.
func (d *Disk) Corrupt(name string, off int64, mask byte) error {
	n := d.names[path.Clean(name)]
	if n == nil || n.dir || off < 0 || off >= n.cache.size {
		return fail(OpWrite, name, fs.ErrNotExist)
	}
	for _, i := range []*image{&n.cache, &n.disk} {
		if off < i.size {
			var b [1]byte
			i.read(b[:], off)
			b[0] ^= mask
			i.write(b[:], off)
		}
	}
	return nil
}

// FailReads makes every read that touches [from, to) of a file fail: a bad
// sector (D10). With to = 0 the file reads again.
func (d *Disk) FailReads(name string, from, to int64) error {
	n := d.names[path.Clean(name)]
	if n == nil || n.dir {
		return fail(OpRead, name, fs.ErrNotExist)
	}
	if to == 0 {
		n.bad = nil
	} else {
		n.bad = append(n.bad, extent{from, to})
	}
	return nil
}

// stream is a source of random numbers of its own for every occasion, so that
// one more draw in one place does not reshuffle the others (splitmix64).
type stream struct{ state uint64 }

func (d *Disk) stream(occasion string, count uint64) *stream {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(occasion) {
		h = (h ^ uint64(occasion[i])) * 1099511628211
	}
	s := &stream{state: d.o.Seed}
	s.state = s.next() ^ h
	s.state = s.next() ^ count
	return s
}

func (r *stream) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below draws from [0, n). The bias of the remainder does not matter here.
func (r *stream) below(n uint64) uint64 { return r.next() % n }
