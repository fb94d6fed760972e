package wal

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/vfs"
)

// corruptible is a log over three segments. Everything but the last frame is
// synced, and known to be.
func corruptible(t *testing.T) (d *vfs.Disk, o Options, all []raft.Entry, end position) {
	o = Options{SegmentBytes: 8 << 10, Identity: 77}
	d = vfs.NewDisk(vfs.DiskOptions{})
	l, _ := mustOpen(t, d.FS(), o)
	mustAppend(t, l, startOf(1, 0, 0))
	for k := range 8 {
		batch := run(1, id.Index(k*5+1), 5, 500)
		all = append(all, batch...)
		mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, batch...))
		mustSync(t, l)
	}
	if err := l.Idle(); err != nil {
		t.Fatal(err)
	}
	mustSync(t, l)
	if len(l.segments) != 3 {
		t.Fatalf("%d segments", len(l.segments))
	}
	return d, o, all, l.durable
}

// TestEveryDamagedByteIsFound turns bits of one byte of a synced log at a time,
// over every byte of it: the log either opens with all it held or says that it is
// corrupt, and never cuts anything (RAFT 18; D5).
func TestEveryDamagedByteIsFound(t *testing.T) {
	d, o, all, end := corruptible(t)
	before := d.DurableImage()
	found, harmless := 0, 0
	for number := uint32(1); number <= end.segment(); number++ {
		name := "wal/" + segmentName(number)
		used := o.SegmentBytes
		if number == end.segment() {
			used = end.offset()
		}
		for off := range used {
			d := before.Clone()
			mask := byte(1) << (off % 8)
			if off%3 == 0 {
				mask = 0xff
			}
			if err := d.Corrupt(name, off, mask); err != nil {
				t.Fatal(err)
			}
			l, states, err := Open(d.FS(), "wal", o)
			var corrupt *ErrCorrupt
			switch {
			case errors.As(err, &corrupt):
				found++
				if corrupt.File != segmentName(number) || corrupt.Offset > off || corrupt.Why == "" {
					t.Fatalf("%s+%d: the report is %+v", name, off, corrupt)
				}
			case err != nil:
				t.Fatalf("%s+%d: %v", name, off, err)
			default:
				harmless++
				if states[0].Restored.Last != all[len(all)-1].Index {
					// The bare header that says so is the last thing in the log: when it
					// rots itself, nothing before it may suffer.
					t.Fatalf("%s+%d: the log lost entries behind %d", name, off, states[0].Restored.Last)
				}
				if got := readAll(t, l, 1, 1, all[len(all)-1].Index+1); !sameEntries(got, all) {
					t.Fatalf("%s+%d: the log reads differently", name, off)
				}
			}
		}
	}
	t.Logf("%d damages found, %d without effect", found, harmless)
	if found < 15_000 || harmless < 32 {
		t.Errorf("%d found and %d harmless: the test shows too little", found, harmless)
	}
}

func sameEntries(a, b []raft.Entry) bool {
	return slices.EqualFunc(a, b, func(x, y raft.Entry) bool { return bytes.Equal(x.Encoded, y.Encoded) })
}

// TestCorruptionLeavesTheFilesAlone: a log that is corrupt is not changed by
// opening it.
func TestCorruptionLeavesTheFilesAlone(t *testing.T) {
	d, o, _, _ := corruptible(t)
	if err := d.Corrupt("wal/"+segmentName(2), 300, 1); err != nil {
		t.Fatal(err)
	}
	d.CrashWith(vfs.LossAll)
	before := images(t, d)
	for range 2 {
		if _, _, err := Open(d.FS(), "wal", o); !errors.As(err, new(*ErrCorrupt)) {
			t.Fatalf("opened a corrupt log: %v", err)
		}
	}
	if after := images(t, d); after != before {
		t.Error("opening a corrupt log changed its files")
	}
}

// images returns the content of all segments.
func images(t *testing.T, d *vfs.Disk) string {
	t.Helper()
	names, err := d.FS().List("wal")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, n := range names {
		f, err := d.FS().Open("wal/" + n)
		if err != nil {
			t.Fatal(err)
		}
		size, _ := f.Size()
		b := make([]byte, size)
		if size > 0 {
			if _, err := f.ReadAt(b, 0); err != nil {
				t.Fatal(err)
			}
		}
		out.WriteString(n)
		out.Write(b)
	}
	return out.String()
}

// TestTornTailIsCut: damage in what was never synced costs nothing that was
// (RAFT 18).
func TestTornTailIsCut(t *testing.T) {
	d, o, all, end := corruptible(t)
	l, _ := mustOpenAgain(t, d, o)
	mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, run(1, all[len(all)-1].Index+1, 3, 100)...))
	if err := l.flush(); err != nil {
		t.Fatal(err)
	}
	last := l.end
	for off := end.offset(); off < last; off++ {
		d := d.Clone()
		d.CrashWith(vfs.LossNone)
		if err := d.Corrupt("wal/"+segmentName(end.segment()), off, 0x10); err != nil {
			t.Fatal(err)
		}
		l, states := mustOpen(t, d.FS(), o)
		if states[0].Restored.Last != all[len(all)-1].Index {
			t.Fatalf("damage at %d: the log ends at %d", off, states[0].Restored.Last)
		}
		// What was cut is gone for good, and the log goes on.
		next := run(2, states[0].Restored.Last+1, 2, 10)
		mustAppend(t, l, appendOf(1, raft.HardState{Term: 2}, next...))
		mustSync(t, l)
		d.CrashWith(vfs.LossAll)
		_, states = mustOpen(t, d.FS(), o)
		if got := states[0].Restored; got.Last != next[1].Index || got.Hard.Term != 2 {
			t.Fatalf("damage at %d: after going on the log ends at %d in term %d", off, got.Last, got.Hard.Term)
		}
	}
}

func mustOpenAgain(t *testing.T, d *vfs.Disk, o Options) (*Log, []GroupState) {
	t.Helper()
	d.CrashWith(vfs.LossAll)
	return mustOpen(t, d.FS(), o)
}

// TestLostFrameDoesNotComeBack: two frames are written, the first is lost and the
// second survives. Then the first is written again, byte for byte: the second
// must not become valid behind it.
func TestLostFrameDoesNotComeBack(t *testing.T) {
	d := vfs.NewDisk(vfs.DiskOptions{})
	o := Options{SegmentBytes: small}
	l, _ := mustOpen(t, d.FS(), o)
	mustAppend(t, l, startOf(1, 0, 0))
	mustSync(t, l)
	at := l.end
	one, two := run(1, 1, 1, 100), run(1, 2, 1, 100)
	for _, batch := range [][]raft.Entry{one, two} {
		mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, batch...))
		if err := l.flush(); err != nil {
			t.Fatal(err)
		}
	}
	d.CrashWith(vfs.LossNone)
	if err := d.Corrupt("wal/"+segmentName(1), at+40, 1); err != nil {
		t.Fatal(err)
	}
	l, states := mustOpen(t, d.FS(), o)
	if states[0].Restored.Last != 0 {
		t.Fatalf("the log ends at %d", states[0].Restored.Last)
	}
	mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, one...))
	mustSync(t, l)
	d.CrashWith(vfs.LossAll)
	if _, states = mustOpen(t, d.FS(), o); states[0].Restored.Last != 1 {
		t.Fatalf("an entry that was cut came back: the log ends at %d", states[0].Restored.Last)
	}
}

// TestWhatWasReadIsDurable: the process is killed with a frame in the page cache
// only. The next process reads it, and answers for it; a power cut then must not
// take it away.
func TestWhatWasReadIsDurable(t *testing.T) {
	d := vfs.NewDisk(vfs.DiskOptions{})
	o := Options{SegmentBytes: small}
	l, _ := mustOpen(t, d.FS(), o)
	mustAppend(t, l, startOf(1, 0, 0), appendOf(1, raft.HardState{Term: 1}, run(1, 1, 3, 10)...))
	if err := l.flush(); err != nil {
		t.Fatal(err)
	}
	if err := l.lock.Close(); err != nil { // all that a kill does to the disk
		t.Fatal(err)
	}
	if _, states := mustOpen(t, d.FS(), o); states[0].Restored.Last != 3 {
		t.Fatalf("the log ends at %d", states[0].Restored.Last)
	}
	if _, states := mustOpenAgain(t, d, o); len(states) == 0 || states[0].Restored.Last != 3 {
		t.Fatalf("what recovery returned was lost: %+v", states)
	}
}

// TestRotOfTheLastBatch shows both sides of the stated limit (DESIGN 5): with a
// header behind it the rot is found, without one it looks like a torn tail.
func TestRotOfTheLastBatch(t *testing.T) {
	for _, idle := range []bool{true, false} {
		d := vfs.NewDisk(vfs.DiskOptions{})
		o := Options{SegmentBytes: small}
		l, _ := mustOpen(t, d.FS(), o)
		mustAppend(t, l, startOf(1, 0, 0))
		mustSync(t, l)
		last := l.end
		mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, run(1, 1, 1, 50)...))
		mustSync(t, l)
		if idle {
			if err := l.Idle(); err != nil {
				t.Fatal(err)
			}
		}
		d.CrashWith(vfs.LossNone)
		if err := d.Corrupt("wal/"+segmentName(1), last+60, 4); err != nil {
			t.Fatal(err)
		}
		_, states, err := Open(d.FS(), "wal", o)
		var corrupt *ErrCorrupt
		if idle && (!errors.As(err, &corrupt) || corrupt.Offset != last) {
			t.Errorf("with a watermark behind it: %v, want corruption at %d", err, last)
		}
		if !idle && (err != nil || states[0].Restored.Last != 0) {
			t.Errorf("without one: %v, %+v", err, states)
		}
	}
}

// TestZeroedTailAndGarbage: whatever a preallocated or reused file holds behind
// the log, it is not taken for records and not for corruption (RAFT 18).
func TestZeroedTailAndGarbage(t *testing.T) {
	d, o, all, end := corruptible(t)
	l, _ := mustOpenAgain(t, d, o)
	old := l.segments[0]
	b := make([]byte, 2000)
	if _, err := old.file.ReadAt(b, segmentHeaderBytes); err != nil {
		t.Fatal(err)
	}
	for name, garbage := range map[string][]byte{
		"zeros":                     make([]byte, 500),
		"noise":                     bytes.Repeat([]byte{0xa5, 1, 0, 0x7f}, 200),
		"frames of another segment": b,
		"a header magic":            []byte(strings.Repeat(frameMagic, 100)),
	} {
		d := d.Clone()
		f, err := d.FS().Open("wal/" + segmentName(end.segment()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(garbage, l.end); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if _, states := mustOpenAgain(t, d, o); states[0].Restored.Last != all[len(all)-1].Index {
			t.Errorf("%s behind the log: it ends at %d", name, states[0].Restored.Last)
		}
	}
}

// TestReadFindsRotAndMisdirection: bytes that rotted after Open are not served,
// nor is another entry in their place (D5, D6, D10).
func TestReadFindsRotAndMisdirection(t *testing.T) {
	d, o, _, _ := corruptible(t)
	l, _ := mustOpenAgain(t, d, o)
	lc := l.groups[1].locs[3]
	name := "wal/" + segmentName(lc.segment)
	if err := d.Corrupt(name, int64(lc.offset)+20, 1); err != nil {
		t.Fatal(err)
	}
	var corrupt *ErrCorrupt
	if _, err := l.Read(1, 4, 5, 1<<20); !errors.As(err, &corrupt) || corrupt.Offset != int64(lc.offset) {
		t.Errorf("reading a rotten entry: %v", err)
	}
	if got := readAll(t, l, 1, 5, 7); len(got) != 2 {
		t.Errorf("the entries behind it: %v", got)
	}
	// The same index of a valid entry, but not the one that was appended.
	f, err := d.FS().Open("wal/" + segmentName(lc.segment))
	if err != nil {
		t.Fatal(err)
	}
	other := entry(1, 4, strings.Repeat("y", 500+len("1/4 "))).Encoded
	if len(other) != int(lc.bytes) {
		t.Fatalf("the other entry has %d bytes, not %d", len(other), lc.bytes)
	}
	if _, err := f.WriteAt(other, int64(lc.offset)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(1, 4, 5, 1<<20); !errors.As(err, &corrupt) {
		t.Errorf("reading another entry: %v", err)
	}
	if err := d.FailReads(name, 0, 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(1, 1, 5, 1<<20); !errors.Is(err, syscall.EIO) {
		t.Errorf("reading a bad sector: %v", err)
	}
}

// TestUnreadableLogIsNotTorn: a read error during recovery is not the end of the
// log (D10).
func TestUnreadableLogIsNotTorn(t *testing.T) {
	d, o, _, _ := corruptible(t)
	before := images(t, d.DurableImage())
	d.CrashWith(vfs.LossAll)
	if err := d.FailReads("wal/"+segmentName(2), 4000, 4001); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(d.FS(), "wal", o); !errors.Is(err, syscall.EIO) {
		t.Fatalf("opened: %v", err)
	}
	if err := d.FailReads("wal/"+segmentName(2), 0, 0); err != nil {
		t.Fatal(err)
	}
	if images(t, d.DurableImage()) != before {
		t.Error("the failed opening changed the files")
	}
}

// TestBreakTornTail shows that the switch does what it says: with it a torn entry
// comes back, with other bytes than were appended.
func TestBreakTornTail(t *testing.T) {
	broken, err := faults.New(faults.TornTailIsGood)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*faults.Set{nil, broken} {
		d := vfs.NewDisk(vfs.DiskOptions{})
		o := Options{SegmentBytes: small, Faults: f}
		l, _ := mustOpen(t, d.FS(), o)
		mustAppend(t, l, startOf(1, 0, 0))
		mustSync(t, l)
		torn := run(1, 1, 2, 400)
		mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, torn...))
		if err := l.flush(); err != nil {
			t.Fatal(err)
		}
		lc := l.groups[1].locs[1]
		d.CrashWith(vfs.LossNone)
		for i := range int64(300) { // the last sector was not written
			if err := d.Corrupt("wal/"+segmentName(1), int64(lc.offset)+100+i, 'x'); err != nil {
				t.Fatal(err)
			}
		}
		l, states := mustOpen(t, d.FS(), o)
		if f == nil {
			if states[0].Restored.Last != 0 {
				t.Errorf("the torn tail was taken: %+v", states[0].Restored)
			}
			continue
		}
		if states[0].Restored.Last != 2 {
			t.Fatalf("the break does nothing: %+v", states[0].Restored)
		}
		if got := readAll(t, l, 1, 1, 3); !bytes.Equal(got[0].Data, torn[0].Data) || bytes.Equal(got[1].Data, torn[1].Data) {
			t.Error("the break changes nothing that a checker could see")
		}
	}
}
