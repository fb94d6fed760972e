package kv

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	pebblefs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/engine"
	"github.com/quorate/quorate/kv/engine/mem"
	"github.com/quorate/quorate/kv/engine/pebble"
	"github.com/quorate/quorate/rsm"
)

var seedFlag = flag.Uint64("seed", 0, "run TestReplicasAgreeM41M67 with this seed only")

// TestReplicasAgreeM41M67 gives one random log to four replicas: one that applies
// entry by entry in memory; one in memory and one on Pebble that cut batches
// elsewhere, flush when they like, crash, and apply again from what survived; and
// one that starts from a snapshot of another. Every command must come to the same
// on all of them, every time it is applied, and the states must be equal, byte
// for byte.
func TestReplicasAgreeM41M67(t *testing.T) {
	first, last := uint64(1), uint64(15)
	if *seedFlag != 0 {
		first, last = *seedFlag, *seedFlag
	}
	crashes, refused := 0, 0
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("replay: go test ./kv -run TestReplicasAgreeM41M67 -seed %d", seed)
				}
			}()
			c, r := replicas(t, seed)
			crashes, refused = crashes+c, refused+r
		})
	}
	t.Logf("%d crashes, %d refused commands", crashes, refused)
	if *seedFlag == 0 && (crashes < 50 || refused < 500) {
		t.Error("the runs do not reach what they are about")
	}
}

const logLength = 400

func replicas(t *testing.T, seed uint64) (crashes, refused int) {
	log, revisions := makeLog(t, seed)
	reference := newReplica(t, "entry by entry", &memDisk{engine: mem.New()}, seed)
	reference.batchMax = 1
	calm := newReplica(t, "in batches", &memDisk{engine: mem.New()}, seed+1)
	calm.crashing = true
	onDisk := newReplica(t, "on Pebble", newPebbleDisk(t, seed), seed+2)
	onDisk.crashing = true
	joiner := newReplica(t, "from a snapshot", newPebbleDisk(t, seed+1), seed+3)

	middle := id.Index(logLength / 3)
	for _, r := range []*replica{reference, calm, onDisk} {
		r.applyTo(log, middle)
	}
	state := sameState(t, reference, calm, onDisk)
	joiner.applyTo(log, id.Index(joiner.random.IntN(int(middle)))) // something to be replaced
	if err := joiner.store.Restore(rsm.Meta{Index: middle, Term: log[middle-1].Term}, bytes.NewReader(state)); err != nil {
		t.Fatal(err)
	}
	joiner.applied = middle
	joiner.crashing = true
	joiner.crash() // what was restored is durable
	if joiner.applied != middle {
		t.Fatalf("after a restore and a crash applied is %d, want %d", joiner.applied, middle)
	}
	all := []*replica{reference, calm, onDisk, joiner}
	for _, r := range all {
		r.applyTo(log, logLength)
		crashes += r.crashes
	}
	sameState(t, all...)
	for i, want := range reference.results {
		for _, r := range all[1:] {
			if got := r.results[i]; got != nil && !bytes.Equal(got, want) {
				t.Fatalf("command %d came to %x %s, to %x %s", i+1, want, reference.name, got, r.name)
			}
		}
		if result, err := DecodeResult(want); err != nil {
			t.Fatal(err)
		} else if result.Err != nil {
			refused++
		}
	}
	if !slices.Equal(revisions, reference.revisions()) {
		t.Fatal("the generator's store and the reference disagree")
	}
	return crashes, refused
}

// makeLog generates commands against a store, so that revisions asked for exist.
func makeLog(t *testing.T, seed uint64) (log []rsm.Command, revisions []int64) {
	g := newGenerator(seed)
	r := newReplica(t, "generator", &memDisk{engine: mem.New()}, 0)
	for i := id.Index(1); i <= logLength; i++ {
		g.term = id.Term(1 + i/100)
		data, err := g.command().Encode()
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, rsm.Command{Index: i, Term: g.term, Data: data})
		r.apply(log[i-1 : i])
		g.revision = r.revisions()[i-1]
	}
	return log, r.revisions()
}

// disk is an engine that can lose power.
type disk interface {
	open() engine.Engine
	flushSome(r *rand.Rand)
	crash(r *rand.Rand)
}

type memDisk struct{ engine *mem.Engine }

func (d *memDisk) open() engine.Engine    { return d.engine }
func (d *memDisk) flushSome(r *rand.Rand) { d.engine.FlushBut(r.IntN(10)) }
func (d *memDisk) crash(*rand.Rand)       { d.engine = d.engine.Crash() }

type pebbleDisk struct {
	t      *testing.T
	fs     *pebblefs.MemFS
	engine *pebble.Engine
}

func newPebbleDisk(t *testing.T, seed uint64) *pebbleDisk {
	d := &pebbleDisk{t: t, fs: pebblefs.NewCrashableMem()}
	t.Cleanup(func() { d.engine.Close() })
	return d
}

func (d *pebbleDisk) open() engine.Engine {
	e, err := pebble.Open("store", pebble.Options{FS: d.fs, MemTableBytes: 64 << 10, CacheBytes: 4 << 20, Fatal: func(line string) { panic(line) }})
	if err != nil {
		d.t.Fatal(err)
	}
	d.engine = e
	return e
}

func (d *pebbleDisk) flushSome(r *rand.Rand) {
	if r.IntN(3) == 0 {
		if err := d.engine.Flush(); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *pebbleDisk) crash(r *rand.Rand) {
	after := d.fs.CrashClone(pebblefs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
	d.engine.Close()
	d.fs = after
}

// replica is one member's state machine and what its commands came to.
type replica struct {
	t        *testing.T
	name     string
	disk     disk
	random   *rand.Rand
	store    *Store
	applied  id.Index
	batchMax int
	crashing bool
	crashes  int
	results  [logLength][]byte
}

func newReplica(t *testing.T, name string, d disk, seed uint64) *replica {
	r := &replica{t: t, name: name, disk: d, random: rand.New(rand.NewPCG(seed, 5)), batchMax: 20}
	r.open()
	return r
}

func (r *replica) open() {
	r.t.Helper()
	r.store = NewStore(r.disk.open(), Options{CompactRowsPerApply: 1 + r.random.IntN(50)})
	applied, _, err := r.store.Open()
	if err != nil {
		r.t.Fatalf("%s: %v", r.name, err)
	}
	r.applied = applied
}

func (r *replica) crash() {
	r.t.Helper()
	told, err := r.store.Flushed()
	if err != nil {
		r.t.Fatal(err)
	}
	before := r.applied
	r.store.Close()
	r.disk.crash(r.random)
	r.open()
	r.crashes++
	if r.applied < told || r.applied > before {
		r.t.Fatalf("%s: after a crash applied is %d; %d was said to be flushed, %d applied", r.name, r.applied, told, before)
	}
}

// applyTo applies the log up to last, with whatever happens on the way.
func (r *replica) applyTo(log []rsm.Command, last id.Index) {
	r.t.Helper()
	for r.applied < last {
		n := min(last, r.applied+1+id.Index(r.random.IntN(r.batchMax)))
		r.apply(log[r.applied:n])
		r.disk.flushSome(r.random)
		if r.crashing && r.random.IntN(25) == 0 {
			r.crash()
		}
	}
}

func (r *replica) apply(commands []rsm.Command) {
	r.t.Helper()
	last := commands[len(commands)-1]
	results, err := r.store.Apply(rsm.Batch{Commands: commands, Applied: last.Index, Term: last.Term}, nil)
	if err != nil {
		r.t.Fatalf("%s: %v", r.name, err)
	}
	for i, c := range commands {
		if old := r.results[c.Index-1]; old != nil && !bytes.Equal(old, results[i]) {
			r.t.Fatalf("%s: command %d came to %x, and to %x when it was applied again", r.name, c.Index, old, results[i])
		}
		r.results[c.Index-1] = results[i]
	}
	r.applied = last.Index
}

// revisions are the store's after each command applied so far.
func (r *replica) revisions() (all []int64) {
	for _, b := range r.results {
		if b == nil {
			break
		}
		result, err := DecodeResult(b)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, result.Revision)
	}
	return all
}

// sameState compares all there is to see and returns the state as a stream.
func sameState(t *testing.T, all ...*replica) []byte {
	t.Helper()
	var state []byte
	var shown string
	for i, r := range all {
		v := r.store.View().(*View)
		var stream bytes.Buffer
		if _, err := v.WriteTo(&stream); err != nil {
			t.Fatal(err)
		}
		hash, err := v.HashKV(0)
		if err != nil {
			t.Fatal(err)
		}
		leases, err := v.Leases()
		if err != nil || !slices.Equal(leases, r.store.Leases()) {
			t.Fatalf("%s: leases in rows %v, in memory %v, %v", r.name, leases, r.store.Leases(), err)
		}
		alarms, err := v.Alarms()
		if err != nil || !slices.Equal(alarms, r.store.alarms) {
			t.Fatalf("%s: alarms in rows %v, in memory %v, %v", r.name, alarms, r.store.alarms, err)
		}
		show := fmt.Sprintf("applied %d revision %d compact %d hash %+v leases %v alarms %v",
			v.Applied(), v.Revision(), v.CompactRevision(), hash, leases, alarms)
		v.Close()
		if i == 0 {
			state, shown = stream.Bytes(), show
			continue
		}
		if show != shown {
			t.Fatalf("%s: %s\n%s: %s", all[0].name, shown, r.name, show)
		}
		if !bytes.Equal(stream.Bytes(), state) {
			t.Fatalf("the snapshots of %s and %s differ", all[0].name, r.name)
		}
	}
	return state
}
