package wal

import (
	"errors"
	"flag"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/vfs"
)

var rewriteGolden = flag.Bool("rewrite", false, "rewrite the golden files under testdata; read the difference before you keep it")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name
	if *rewriteGolden {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test ./wal -run %s -rewrite):\n%s", file, t.Name(), got)
	}
}

// TestOrderOfDurability is the golden list of what the log does to files, in
// order, for each thing it is asked to do.
func TestOrderOfDurability(t *testing.T) {
	d := vfs.NewDisk(vfs.DiskOptions{Record: true})
	o := Options{SegmentBytes: 8 << 10, PinnedBytes: 8 << 10}
	var out strings.Builder
	scene := func(title string) {
		out.WriteString("# " + title + "\n")
		for _, op := range d.Ops() {
			out.WriteString(op.String() + "\n")
		}
		out.WriteString("\n")
		d.ResetOps()
	}
	l, _ := mustOpen(t, d.FS(), o)
	scene("open in an empty directory: each segment is whole before it has its name")

	mustAppend(t, l, startOf(1, 0, 0))
	mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, run(1, 1, 2, 100)...), startOf(2, 0, 0))
	scene("append: nothing yet")
	mustSync(t, l)
	scene("sync: one write and one sync for all of it")
	mustSync(t, l)
	scene("sync with nothing new")

	if err := l.Idle(); err != nil {
		t.Fatal(err)
	}
	scene("idle: the watermark, without a sync")
	if err := l.Idle(); err != nil {
		t.Fatal(err)
	}
	scene("idle again")

	mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, run(1, 3, 8, 930)...))
	scene("append what does not fit: a segment is reserved, the old one is durable before the new one is written")
	mustSync(t, l)
	scene("sync in the new segment")

	mustAppend(t, l, startOf(1, 10, 1))
	mustSync(t, l)
	scene("cut: a record like any other")
	if n, err := l.Release(); n != 1 || err != nil {
		t.Fatalf("released %d, %v", n, err)
	}
	scene("release: the state of the idle group 2 is written again and the oldest needed segment declared, durable before the file goes")

	mustAppend(t, l, appendOf(2, raft.HardState{Term: 1}, run(1, 1, 1, 10)...))
	mustSync(t, l)
	for k := range id.Index(4) {
		mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, run(1, 11+k*8, 8, 930)...), startOf(1, 10+k*8, 1))
		mustSync(t, l)
	}
	d.ResetOps()
	if n, err := l.Release(); n == 0 || err != nil {
		t.Fatalf("released %d, %v", n, err)
	}
	scene("release with an entry of group 2 that pins too much: the group is written again, then the files go one by one")

	mustAppend(t, l, appendOf(2, raft.HardState{Term: 2}))
	if err := l.flush(); err != nil {
		t.Fatal(err)
	}
	d.CrashWith(vfs.LossNone)
	if err := d.Corrupt("wal/"+segmentName(l.active().number), l.end-9, 1); err != nil {
		t.Fatal(err)
	}
	d.ResetOps()
	l, _ = mustOpen(t, d.FS(), o)
	scene("open with a torn tail: what is left goes into a new file, which is durable before it takes the place of the old one")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	scene("close")
	mustOpen(t, d.FS(), o)
	scene("open what was closed: only a name could be missing")
	golden(t, "durability.txt", out.String())
}

// failing opens a log on a disk whose operation of a kind fails, once, with err.
func failing(t *testing.T, kind vfs.OpKind, err error) (*vfs.Disk, *Log, func()) {
	d := vfs.NewDisk(vfs.DiskOptions{})
	l, _ := mustOpen(t, d.FS(), Options{SegmentBytes: small})
	mustAppend(t, l, startOf(1, 0, 0), appendOf(1, raft.HardState{Term: 1}, run(1, 1, 2, 10)...))
	mustSync(t, l)
	return d, l, func() {
		d.SetHook(func(op vfs.Op) error {
			if op.Kind == kind {
				d.SetHook(nil)
				return err
			}
			return nil
		})
	}
}

// TestFailedSyncPoisonsForGood: after one failed fsync nothing is retried, even
// though the disk would say yes the second time (fsyncgate; RAFT 17, D4).
func TestFailedSyncPoisonsForGood(t *testing.T) {
	for _, c := range []struct {
		kind vfs.OpKind
		err  error
	}{
		{vfs.OpSync, vfs.SyncFailsClean}, {vfs.OpSync, vfs.SyncFailsDirty}, {vfs.OpWrite, vfs.WriteFailsLater},
		{vfs.OpWrite, syscall.EIO}, {vfs.OpWrite, syscall.ENOSPC}, {vfs.OpSync, syscall.ENOSPC}, {vfs.OpWrite, syscall.EROFS},
	} {
		d, l, arm := failing(t, c.kind, c.err)
		arm()
		mustAppend(t, l, appendOf(1, raft.HardState{Term: 2}, run(2, 3, 2, 1000)...))
		var poison *ErrPoisoned
		err := l.Sync()
		if !errors.As(err, &poison) || poison.Cause == nil {
			t.Errorf("%v in a %v: %v", c.err, c.kind, err)
			continue
		}
		calls := d.Calls()
		_, err1 := l.Read(1, 1, 2, 1)
		_, err2 := l.Release()
		for what, err := range map[string]error{
			"sync": l.Sync(), "append": l.Append([]Record{startOf(1, 1, 1)}), "idle": l.Idle(), "read": err1, "release": err2,
		} {
			if !errors.As(err, &poison) {
				t.Errorf("%v in a %v, then %s: %v", c.err, c.kind, what, err)
			}
		}
		if d.Calls() != calls {
			t.Errorf("%v in a %v: a poisoned log touched its files", c.err, c.kind)
		}
		_ = l.Close()
		d.Crash()
		l, states := mustOpen(t, d.FS(), Options{SegmentBytes: small})
		if states[0].Restored.Last < 2 {
			t.Errorf("%v in a %v: synced entries are gone", c.err, c.kind)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestNoSpaceIsRefusable: a full disk refuses entries before anything is written,
// still takes cuts and votes, and takes entries again when there is space (D8,
// RAFT 16).
func TestNoSpaceIsRefusable(t *testing.T) {
	d := vfs.NewDisk(vfs.DiskOptions{})
	o := Options{SegmentBytes: small}
	l, _ := mustOpen(t, d.FS(), o)
	d.SetCapacity(d.Used() + 100)
	mustAppend(t, l, startOf(1, 0, 0))
	last := id.Index(0)
	var err error
	for err == nil {
		if err = l.Append([]Record{appendOf(1, raft.HardState{Term: 1}, run(1, last+1, 3, 500)...)}); err == nil {
			last += 3
			mustSync(t, l)
			if err := l.Idle(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !errors.Is(err, ErrNoSpace) || len(l.segments) != 2 {
		t.Fatalf("with %d segments: %v", len(l.segments), err)
	}
	calls, end := 0, l.end
	d.SetHook(func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite {
			calls++
		}
		return nil
	})
	if err := l.Append([]Record{appendOf(1, raft.HardState{Term: 1}, run(1, last+1, 3, 500)...)}); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("a second try: %v", err)
	}
	if calls != 0 || l.end != end || len(l.frame) != 0 {
		t.Errorf("the refusal wrote %d times", calls)
	}
	d.SetHook(nil)
	if got := readAll(t, l, 1, 1, last+5); len(got) != int(last) {
		t.Errorf("after the refusal the log has %d entries, not %d", len(got), last)
	}

	for k := range id.Term(10) {
		mustAppend(t, l, appendOf(1, raft.HardState{Term: 2 + k}))
		mustSync(t, l)
	}
	mustAppend(t, l, startOf(1, last, 1))
	mustSync(t, l)
	if n, err := l.Release(); n != 1 || err != nil {
		t.Fatalf("the cut gave back %d segments, %v", n, err)
	}
	mustAppend(t, l, appendOf(1, raft.HardState{Term: 20}, run(20, last+1, 20, 600)...))
	mustSync(t, l)

	// A log that was not closed is not opened without space for a copy of its end.
	d.CrashWith(vfs.LossAll)
	d.SetCapacity(d.Used())
	if _, _, err := Open(d.FS(), "wal", o); !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "nothing is lost: free some space") {
		t.Errorf("recovery on a full disk: %v", err)
	}
	d.SetCapacity(0)
	_, states := mustOpenAgain(t, d, o)
	if r := states[0].Restored; r.Last != last+20 || r.Start.Index != last || r.Hard.Term != 20 {
		t.Errorf("recovered %+v", r)
	}
}

// TestFullDiskAtEveryStep runs out of space at each file operation of a script in
// turn: the log refuses or stops, and what was synced survives (RAFT 16).
func TestFullDiskAtEveryStep(t *testing.T) {
	o := Options{SegmentBytes: 8 << 10, PinnedBytes: 8 << 10}
	whole := newPlayer(5, vfs.NewDisk(vfs.DiskOptions{}), o)
	if err := whole.play(60); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for n := range whole.d.Calls() {
		d := vfs.NewDisk(vfs.DiskOptions{Seed: uint64(n)})
		calls := 0
		d.SetHook(func(vfs.Op) error {
			if calls++; calls == n+1 {
				d.SetCapacity(max(1, d.Used()-1))
			}
			return nil
		})
		p := newPlayer(5, d, o)
		err := p.play(60)
		if err == nil {
			refused++
		}
		d.SetHook(nil)
		d.SetCapacity(0)
		d.Crash()
		if err := p.open(); err != nil {
			t.Fatalf("full at operation %d (%v): %v\n%s", n, err, err, strings.Join(p.log, "\n"))
		}
	}
	if refused == 0 {
		t.Error("no script went on after a refusal: the test shows too little")
	}
}

// TestColdGroupsDoNotPinTheLog: a busy group cuts its log, and groups that do
// nothing are carried along without losing anything (DESIGN 8).
func TestColdGroupsDoNotPinTheLog(t *testing.T) {
	d := vfs.NewDisk(vfs.DiskOptions{})
	o := Options{SegmentBytes: small, PinnedBytes: 2 * small}
	l, _ := mustOpen(t, d.FS(), o)
	cold := run(3, 6, 4, 100)
	mustAppend(t, l, startOf(1, 0, 0), startOf(2, 5, 2), appendOf(2, raft.HardState{Term: 3, Vote: id.NodeID{Node: 1}}, cold...),
		Record{Group: 2, Kind: RecordIntent, Snapshot: raft.SnapshotMeta{Index: 50, Term: 3, Config: config(4)}}, startOf(3, 0, 0))
	mustSync(t, l)
	removed, last := 0, id.Index(0)
	for range 40 {
		mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, run(1, last+1, 5, 1000)...), startOf(1, last, 1))
		last += 5
		mustSync(t, l)
		n, err := l.Release()
		if err != nil {
			t.Fatal(err)
		}
		removed += n
		if got := l.Bytes(); got > o.PinnedBytes+3*o.SegmentBytes {
			t.Fatalf("the log takes %d bytes", got)
		}
	}
	if removed < 8 {
		t.Errorf("only %d segments were given back", removed)
	}
	if got := readAll(t, l, 2, 6, 10); !sameEntries(got, cold) {
		t.Errorf("the cold group reads %v", got)
	}
	l, states := mustOpenAgain(t, d, o)
	if len(states) != 3 || states[1].Restored.Last != 9 || states[1].Restored.Hard.Vote.Node != 1 || states[1].Intent == nil || states[1].Intent.Index != 50 {
		t.Fatalf("recovered %+v", states)
	}
	if got := readAll(t, l, 2, 6, 10); !sameEntries(got, cold) {
		t.Errorf("after recovery the cold group reads %v", got)
	}
}

// TestStateThatIsNotWorthMovingStays: when writing the states of idle groups
// again would cost more than it gives back, they stay, and so does their segment.
func TestStateThatIsNotWorthMovingStays(t *testing.T) {
	d := vfs.NewDisk(vfs.DiskOptions{})
	o := Options{SegmentBytes: small, PinnedBytes: small}
	l, _ := mustOpen(t, d.FS(), o)
	for g := range id.GroupID(80) {
		mustAppend(t, l, startOf(g+1, 0, 0), appendOf(g+1, raft.HardState{Term: 7}))
	}
	mustAppend(t, l, appendOf(1, raft.HardState{Term: 8}, run(8, 1, 30, 1000)...), startOf(1, 30, 8))
	mustSync(t, l)
	if n, err := l.Release(); n != 0 || err != nil {
		t.Fatalf("released %d, %v", n, err)
	}
	if _, states := mustOpenAgain(t, d, o); len(states) != 80 || states[79].Restored.Hard.Term != 7 {
		t.Errorf("%d groups came back", len(states))
	}
}

// TestReleaseInAFullSegment: wherever the newest segment ends, there is space for
// the header that allows a removal.
func TestReleaseInAFullSegment(t *testing.T) {
	for fill := range 120 {
		d := vfs.NewDisk(vfs.DiskOptions{})
		o := Options{SegmentBytes: 8 << 10, PinnedBytes: 8 << 10}
		l, _ := mustOpen(t, d.FS(), o)
		mustAppend(t, l, startOf(1, 0, 0), appendOf(1, raft.HardState{Term: 1}, run(1, 1, 5, 1000)...), appendOf(1, raft.HardState{Term: 1}, run(1, 6, 5, 1000)...))
		mustAppend(t, l, startOf(1, 7, 1)) // segment 1 may go
		mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, entry(1, 11, strings.Repeat("x", 2300+fill*4))))
		mustSync(t, l)
		last := id.Index(11)
		for k := 0; k < 3; k++ {
			if err := l.Idle(); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, l, appendOf(1, raft.HardState{Term: 2 + id.Term(k)}))
			mustSync(t, l)
			if _, err := l.Release(); err != nil {
				t.Fatal(err)
			}
		}
		if l.segments[0].number == 1 {
			t.Fatalf("fill %d: nothing was released", fill)
		}
		if _, states := mustOpenAgain(t, d, o); states[0].Restored.Last != last {
			t.Fatalf("fill %d: recovered %+v", fill, states[0].Restored)
		}
	}
}

// TestLinkBindsSegments: a segment of the same log and number, but of another
// past (a file from a backup), does not continue this log.
func TestLinkBindsSegments(t *testing.T) {
	o := Options{SegmentBytes: 8 << 10, Identity: 5}
	made := func(term id.Term) *vfs.Disk {
		d := vfs.NewDisk(vfs.DiskOptions{})
		l, _ := mustOpen(t, d.FS(), o)
		mustAppend(t, l, startOf(1, 0, 0), appendOf(1, raft.HardState{Term: term}, run(term, 1, 5, 1000)...), appendOf(1, raft.HardState{Term: term}, run(term, 6, 5, 1000)...))
		mustSync(t, l)
		if len(l.segments) != 2 {
			t.Fatalf("%d segments", len(l.segments))
		}
		d.CrashWith(vfs.LossAll)
		return d
	}
	one, other := made(1), made(2)
	src, err := other.FS().Open("wal/" + segmentName(2))
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, o.SegmentBytes)
	if _, err := src.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	dst, err := one.FS().Open("wal/" + segmentName(2))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dst.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	var corrupt *ErrCorrupt
	if _, _, err := Open(one.FS(), "wal", o); !errors.As(err, &corrupt) || !strings.Contains(corrupt.Why, "it continues a log") {
		t.Errorf("opened a log with a segment of another past: %v", err)
	}
}
