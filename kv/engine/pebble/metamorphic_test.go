package pebble

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand"
	randv2 "math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/quorate/quorate/kv/engine"
	"github.com/quorate/quorate/kv/engine/mem"
)

// The same random steps, by seed, on the memory engine and on Pebble over a file
// system whose power can be cut. They must agree on every read; after a cut
// Pebble must be where some prefix of the commits was, at least as far as it had
// said was durable, and the steps go on from there: that is our replay.

const metamorphicDir = "db"

var appliedKey = []byte("applied")

type pair struct {
	t    *testing.T
	rng  *rand.Rand
	fs   *vfs.MemFS
	disk *Engine
	mem  *mem.Engine
	n    uint64 // commits so far; the value of appliedKey
	told uint64 // the most that was ever said to be durable
	// open snapshots, with the same one of the other engine
	snaps                           [][2]engine.Snapshot
	crashes, lost, replaced, reopen int
}

func TestMemoryAndPebbleAgreeThroughCrashes(t *testing.T) {
	installFileBytes = 2 << 10
	seeds := int64(6)
	if testing.Short() {
		seeds = 2
	}
	var crashes, lost, replaced, reopens int
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			p := &pair{t: t, rng: rand.New(rand.NewSource(seed)), fs: vfs.NewCrashableMem(), mem: mem.New()}
			p.open()
			for range 400 {
				p.step()
			}
			p.closeSnapshots()
			if err := p.disk.Close(); err != nil {
				t.Fatal(err)
			}
			crashes, lost, replaced, reopens = crashes+p.crashes, lost+p.lost, replaced+p.replaced, reopens+p.reopen
		})
	}
	// The test is worth something only if these were reached.
	if crashes == 0 || lost == 0 || replaced == 0 || reopens == 0 {
		t.Fatalf("reached %d crashes, %d with loss, %d replacements, %d reopenings", crashes, lost, replaced, reopens)
	}
}

func (p *pair) open() {
	p.t.Helper()
	disk, err := Open(metamorphicDir, Options{FS: p.fs, CacheBytes: 1 << 20, MemTableBytes: 64 << 10,
		Fatal: func(line string) { panic(line) }})
	if err != nil {
		p.t.Fatal(err)
	}
	p.disk = disk
}

func (p *pair) key() []byte {
	return binary.AppendUvarint([]byte("k"), uint64(p.rng.Intn(60)))
}

func (p *pair) span() engine.Span { return engine.Span{Lower: p.key(), Upper: p.key()} }

func (p *pair) step() {
	switch n := p.rng.Intn(100); {
	case n < 60:
		p.commit()
	case n < 66:
		p.abandon()
	case n < 76:
		p.snapshot()
	case n < 84:
		p.checkDurable()
	case n < 88:
		p.must(p.disk.Flush())
		p.must(p.mem.Flush())
		p.told = p.n
		p.checkDurable()
	case n < 91:
		p.replace()
	case n < 94:
		p.closeSnapshots()
		p.must(p.disk.Close())
		p.comeBack()
		p.reopen++
	case n < 97:
		p.crash()
	default:
		p.checkAll()
	}
}

func (p *pair) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// fill writes the same to both batches and reads through them.
func (p *pair) fill(a, b engine.Batch) {
	for range 1 + p.rng.Intn(6) {
		key := p.key()
		switch p.rng.Intn(12) {
		case 0, 1:
			p.must(a.Delete(key))
			p.must(b.Delete(key))
		case 2:
			span := p.span()
			p.must(a.DeleteRange(span))
			p.must(b.DeleteRange(span))
		default:
			value := make([]byte, p.rng.Intn(1500))
			if p.rng.Intn(60) == 0 {
				value = make([]byte, 50<<10) // a batch larger than half a memtable
			}
			p.rng.Read(value)
			p.must(a.Set(key, value))
			p.must(b.Set(key, value))
		}
		if p.rng.Intn(3) == 0 {
			p.same("in a batch", a, b)
		}
	}
}

func (p *pair) commit() {
	p.n++
	a, b := p.disk.NewBatch(), p.mem.NewBatch()
	p.fill(a, b)
	applied := binary.AppendUvarint(nil, p.n)
	p.must(a.Set(appliedKey, applied))
	p.must(b.Set(appliedKey, applied))
	p.must(p.disk.Commit(a))
	p.must(p.mem.Commit(b))
}

func (p *pair) abandon() {
	a, b := p.disk.NewBatch(), p.mem.NewBatch()
	p.fill(a, b)
	p.must(a.Close())
	p.must(b.Close())
}

func (p *pair) snapshot() {
	if len(p.snaps) < 3 {
		p.snaps = append(p.snaps, [2]engine.Snapshot{p.disk.Snapshot(), p.mem.Snapshot()})
		return
	}
	s := p.snaps[0]
	p.snaps = p.snaps[1:]
	p.same("in an old snapshot", s[0], s[1])
	p.must(s[0].Close())
	p.must(s[1].Close())
}

func (p *pair) closeSnapshots() {
	for len(p.snaps) > 0 {
		s := p.snaps[0]
		p.snaps = p.snaps[1:]
		p.same("in an old snapshot", s[0], s[1])
		p.must(s[0].Close())
		p.must(s[1].Close())
	}
}

func (p *pair) checkAll() {
	a, b := p.disk.Snapshot(), p.mem.Snapshot()
	p.same("now", a, b)
	p.must(a.Close())
	p.must(b.Close())
}

// same compares everything, a part, a seek and a get.
func (p *pair) same(where string, a, b engine.Reader) {
	p.t.Helper()
	for _, span := range []engine.Span{{}, p.span(), {Lower: p.key()}} {
		x, y := list(p.t, a, span), list(p.t, b, span)
		if x != y {
			p.t.Fatalf("%s, commit %d, span %x…%x:\n disk %s\n  mem %s", where, p.n, span.Lower, span.Upper, x, y)
		}
	}
	key := p.key()
	va, fa, err := a.Get(key, nil)
	p.must(err)
	vb, fb, err := b.Get(key, nil)
	p.must(err)
	if fa != fb || !bytes.Equal(va, vb) {
		p.t.Fatalf("%s, commit %d: key %x is %x %v on disk, %x %v in memory", where, p.n, key, va, fa, vb, fb)
	}
	span := p.span()
	ia, ib := a.Iterate(span), b.Iterate(span)
	for range 4 {
		key := p.key()
		oka, okb := ia.SeekGE(key), ib.SeekGE(key)
		if oka != okb || oka && !bytes.Equal(ia.Key(), ib.Key()) {
			p.t.Fatalf("%s, commit %d: seek %x in %x…%x: %v, %v", where, p.n, key, span.Lower, span.Upper, oka, okb)
		}
	}
	p.must(ia.Close())
	p.must(ib.Close())
}

func list(t *testing.T, r engine.Reader, span engine.Span) string {
	t.Helper()
	var b bytes.Buffer
	it := r.Iterate(span)
	for ok := it.First(); ok; ok = it.Next() {
		v := it.Value()
		fmt.Fprintf(&b, "%x=%d:%.8x ", it.Key(), len(v), v)
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func (p *pair) durable() uint64 {
	v, found, err := p.disk.GetDurable(appliedKey)
	p.must(err)
	if !found {
		return 0
	}
	n, _ := binary.Uvarint(v)
	return n
}

// checkDurable remembers what was promised: a crash will be held to it.
func (p *pair) checkDurable() {
	n := p.durable()
	if n < p.told || n > p.n {
		p.t.Fatalf("durable %d after %d was said to be, %d committed", n, p.told, p.n)
	}
	p.told = n
}

// replace installs new rows, the applied key among them, into all of both.
func (p *pair) replace() {
	p.n++
	p.replaced++
	var rows [][2][]byte
	rows = append(rows, [2][]byte{appliedKey, binary.AppendUvarint(nil, p.n)})
	for i := range 60 {
		if p.rng.Intn(3) == 0 {
			value := make([]byte, p.rng.Intn(400))
			p.rng.Read(value)
			rows = append(rows, [2][]byte{binary.AppendUvarint([]byte("k"), uint64(i)), value})
		}
	}
	if p.rng.Intn(8) == 0 {
		rows = rows[:1]
	}
	from := func() func() (key, value []byte, err error) {
		left := rows
		return func() (key, value []byte, err error) {
			if len(left) == 0 {
				return nil, nil, io.EOF
			}
			key, value, left = left[0][0], left[0][1], left[1:]
			return key, value, nil
		}
	}
	span := engine.Span{Lower: []byte("a"), Upper: []byte("z")}
	p.must(p.disk.Replace(span, from()))
	p.must(p.mem.Replace(span, from()))
	p.told = p.n
	p.checkDurable()
}

// crash cuts the power: unsynced blocks are there or not, by chance.
func (p *pair) crash() {
	p.crashes++
	p.closeSnapshots()
	p.checkDurable()
	after := p.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: p.rng.Intn(101),
		RNG: randv2.New(randv2.NewPCG(uint64(p.rng.Int63()), 1))})
	p.must(p.disk.Close())
	p.fs = after
	p.comeBack()
}

// comeBack opens Pebble and brings the memory engine to the same commit.
func (p *pair) comeBack() {
	p.open()
	snap := p.disk.Snapshot()
	v, _, err := snap.Get(appliedKey, nil)
	p.must(err)
	p.must(snap.Close())
	n, _ := binary.Uvarint(v)
	if n < p.told || n > p.n {
		p.t.Fatalf("found %d after a crash; %d was durable, %d committed", n, p.told, p.n)
	}
	if n < p.n {
		p.lost++
	}
	p.mem.FlushBut(int(p.n - n))
	p.mem = p.mem.Crash()
	p.n = n
	p.checkAll()
	p.checkDurable()
}
