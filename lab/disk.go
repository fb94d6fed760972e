package lab

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
	"github.com/quorate/quorate/vfs"
)

// disk is a node's disk: the simulator's, with files of records. What a crash
// leaves is decided by vfs.Disk on bytes; a record is there if its bytes are, and
// a file ends at its first damaged record.
//
//	record   serial 8 │ length 4 │ checksum of both 4 │ body, as long as Bytes says
//
// The bodies themselves are values, kept beside by serial: no protocol needs a
// codec to be judged on its disk.
type disk struct {
	n        *node
	identity uint64 // another one after a wipe
	dice     *sim.Random
	disk     *vfs.Disk
	fs       vfs.FS
	files    []*file // sorted by name
	bodies   []Body  // by serial
	given    id.Token
	durable  id.Token
	queue    []syncRequest // not begun
	busy     bool
	life     int // of the process; completions of an older one are nobody's
	held     []held
}

type file struct {
	name    string
	f       vfs.File
	end     int64
	serials []uint64 // of its records, in order
}

type syncRequest struct {
	file  string
	token id.Token
}

// held waits for a token.
type held struct {
	token id.Token
	run   func()
}

// HostFile holds what stands on a host besides the protocol's own disk (which
// instances a machine runs, say): its syncs are not the protocol's cost.
const HostFile = "host"

const (
	recordHeader = 16
	syncMin      = 500 * id.Microsecond
	syncMax      = 2 * id.Millisecond
)

func newDisk(n *node, identity uint64) *disk {
	d := &disk{n: n, identity: identity, dice: n.r.world.Random("sync", n.number, identity)}
	d.disk = vfs.NewDisk(vfs.DiskOptions{Seed: n.r.world.Random("disk", n.number, identity).Uint64()})
	d.fs = d.disk.FS()
	return d
}

// must: the simulated disk fails only where a fault says so, and the lab has none
// of these.
func must(err error) { assert.That(err == nil, "the lab's disk: %v", err) }

func (d *disk) file(name string) *file {
	at, found := slices.BinarySearchFunc(d.files, name, func(f *file, name string) int {
		switch {
		case f.name < name:
			return -1
		case f.name > name:
			return 1
		}
		return 0
	})
	if !found {
		f, err := d.fs.Create(name)
		must(err)
		must(d.fs.SyncDir("."))
		d.files = slices.Insert(d.files, at, &file{name: name, f: f})
	}
	return d.files[at]
}

// write appends a record, in the cache.
func (d *disk) write(name string, b Body) {
	f := d.file(name)
	bytes := size(b)
	serial := uint64(len(d.bodies))
	d.bodies = append(d.bodies, b)
	buf := make([]byte, recordHeader+bytes)
	header(buf, serial, bytes)
	for i := recordHeader; i < len(buf); i++ {
		buf[i] = filling(serial)
	}
	_, err := f.f.WriteAt(buf, f.end)
	must(err)
	f.end += int64(len(buf))
	f.serials = append(f.serials, serial)
	d.n.emit(trace.Event{Kind: trace.Written, Fields: append([]trace.Field{
		trace.Text("file", name), trace.Text("record", b.Name()), trace.Num("bytes", uint64(bytes))}, b.Fields()...)})
}

// filling is what a body's bytes are: never what a lost sector reads as.
func filling(serial uint64) byte { return byte(serial) | 1 }

func header(buf []byte, serial uint64, bytes int) {
	binary.LittleEndian.PutUint64(buf, serial)
	binary.LittleEndian.PutUint32(buf[8:], uint32(bytes))
	binary.LittleEndian.PutUint32(buf[12:], crc32.ChecksumIEEE(buf[:12])+1)
}

// sync queues a sync of a file.
func (d *disk) sync(name string, token id.Token) {
	d.file(name)
	d.queue = append(d.queue, syncRequest{name, token})
	d.n.emit(trace.Event{Kind: trace.Persisting, Fields: []trace.Field{trace.Num("token", uint64(token)), trace.Text("file", name)}})
	if !d.busy {
		d.flush()
	}
}

// flush serves everything that is queued: one fsync a file, one after the other.
func (d *disk) flush() {
	batch := d.queue
	d.queue = nil
	if len(batch) == 0 {
		return
	}
	d.busy = true
	var names []string
	for _, q := range batch {
		if !slices.Contains(names, q.file) {
			names = append(names, q.file)
		}
	}
	var span id.Duration
	for range names {
		span += d.dice.Duration(syncMin, syncMax)
	}
	life := d.life
	w := d.n.r.world
	w.After(span, func() {
		if d.life != life {
			return
		}
		for _, name := range names {
			must(d.file(name).f.Sync())
		}
		d.n.r.checker.synced(len(slices.DeleteFunc(slices.Clone(names), func(f string) bool { return f == HostFile })))
		var done func()
		done = func() {
			switch until := d.n.paused; {
			case d.life != life:
			case until > w.Now():
				w.At(until, done) // the kernel is done, the process learns it when it runs again
			default:
				d.completed(batch[len(batch)-1].token)
			}
		}
		done()
	})
}

// completed lets everything go that waited for a token.
func (d *disk) completed(token id.Token) {
	d.busy = false
	d.durable = token
	life := d.life
	d.n.rule = ""
	d.n.emit(trace.Event{Kind: trace.Durable, Fields: []trace.Field{trace.Num("token", uint64(token))}})
	ready := 0
	for ready < len(d.held) && d.held[ready].token <= token {
		ready++
	}
	now := d.held[:ready:ready]
	d.held = append([]held(nil), d.held[ready:]...)
	for _, h := range now {
		if d.life != life {
			return
		}
		h.run()
	}
	if d.life != life {
		return
	}
	d.n.take(Durable{Token: token})
	if d.life == life && !d.busy {
		d.flush()
	}
}

// after runs something when a token is durable: at once if it is.
func (d *disk) after(token id.Token, run func()) {
	if token <= d.durable {
		run()
		return
	}
	at := len(d.held)
	for at > 0 && d.held[at-1].token > token {
		at--
	}
	d.held = slices.Insert(d.held, at, held{token, run})
}

// losses are what becomes of unsynced bytes.
var losses = map[string]vfs.Loss{"all": vfs.LossAll, "prefix": vfs.LossPrefix, "random": vfs.LossSubset, "torn": vfs.LossDrawn}

// crash ends the life of the process ("none": only that) or of the machine, and
// reports what was lost.
func (d *disk) crash(lose string) {
	d.life++
	d.queue, d.held, d.busy = nil, nil, false
	if lose == "none" {
		d.disk.Kill()
	} else {
		d.disk.CrashWith(losses[lose])
	}
	d.fs = d.disk.FS()
	for _, f := range d.files {
		before := len(f.serials)
		d.reopen(f)
		if lost := before - len(f.serials); lost > 0 {
			d.n.emit(trace.Event{Kind: trace.LostData, Fields: []trace.Field{trace.Text("file", f.name), trace.Num("records", uint64(lost))}})
		}
	}
}

// wiped reports what goes with the disk.
func (d *disk) wiped() {
	for _, f := range d.files {
		if n := len(f.serials); n > 0 {
			d.n.emit(trace.Event{Kind: trace.LostData, Fields: []trace.Field{trace.Text("file", f.name), trace.Num("records", uint64(n)), trace.Text("why", "wiped")}})
		}
	}
}

// reopen reads a file up to its first damaged record and goes on behind it.
func (d *disk) reopen(f *file) {
	var err error
	f.f, err = d.fs.Open(f.name)
	must(err)
	total, err := f.f.Size()
	must(err)
	f.end, f.serials = 0, nil
	var buf, want [recordHeader]byte
	for f.end+recordHeader <= total {
		_, err := f.f.ReadAt(buf[:], f.end)
		must(err)
		serial, bytes := binary.LittleEndian.Uint64(buf[:]), int(binary.LittleEndian.Uint32(buf[8:]))
		header(want[:], serial, bytes)
		if want != buf || serial >= uint64(len(d.bodies)) || f.end+recordHeader+int64(bytes) > total {
			break
		}
		body := make([]byte, bytes)
		_, err = f.f.ReadAt(body, f.end+recordHeader)
		must(err)
		if slices.ContainsFunc(body, func(b byte) bool { return b != filling(serial) }) {
			break
		}
		f.end += recordHeader + int64(bytes)
		f.serials = append(f.serials, serial)
	}
	if f.end < total {
		must(f.f.Truncate(f.end))
		must(f.f.Sync())
	}
}

// open returns what the disk has, for the next life.
func (d *disk) open() (map[string][]Body, int) {
	files := map[string][]Body{}
	count := 0
	for _, f := range d.files {
		if slices.Contains(d.n.r.Protocol.SyncedAtStart, f.name) {
			must(f.f.Sync()) // part of starting, which takes no time here and is no fsync of an operation
		}
		for _, s := range f.serials {
			files[f.name] = append(files[f.name], d.bodies[s])
			count++
		}
	}
	d.given, d.durable = 0, 0
	return files, count
}
