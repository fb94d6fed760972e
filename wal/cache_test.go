package wal

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/vfs"
)

// What the next process reads after a kill is in the page cache, and nobody knows
// whether the disk has it, or ever will (D4; fsyncgate across a restart).

// TestFailedSyncIsNotBelievedAfterARestart: a sync fails and the pages are marked
// as written. The process starts again without a power cut, reads the frame,
// answers for it and goes on; a power cut must not take it.
func TestFailedSyncIsNotBelievedAfterARestart(t *testing.T) {
	for _, c := range []struct {
		kind  vfs.OpKind
		fault vfs.Fault
	}{{vfs.OpSync, vfs.SyncFailsClean}, {vfs.OpWrite, vfs.WriteFailsLater}} {
		for seed := range uint64(8) {
			d := vfs.NewDisk(vfs.DiskOptions{Seed: seed})
			o := Options{SegmentBytes: small}
			l, _ := mustOpen(t, d.FS(), o)
			mustAppend(t, l, startOf(1, 0, 0), appendOf(1, raft.HardState{Term: 1}, run(1, 1, 2, 10)...))
			mustSync(t, l)
			d.SetHook(func(op vfs.Op) error {
				if op.Kind == c.kind {
					d.SetHook(nil)
					return c.fault
				}
				return nil
			})
			mustAppend(t, l, appendOf(1, raft.HardState{Term: 2}, run(2, 3, 2, 1000)...))
			if err := l.Sync(); !errors.As(err, new(*ErrPoisoned)) {
				t.Fatalf("%v: the sync says %v", c.fault, err)
			}
			d.Kill()
			l, states := mustOpen(t, d.FS(), o)
			if got := states[0].Restored; got.Last != 4 || got.Hard.Term != 2 {
				t.Fatalf("%v: the next process reads %+v", c.fault, got)
			}
			mustAppend(t, l, appendOf(1, raft.HardState{Term: 3}, run(3, 5, 1, 10)...))
			mustSync(t, l)
			d.CrashWith(vfs.LossAll)
			l, states, err := Open(d.FS(), "wal", o)
			if err != nil || states[0].Restored.Last != 5 {
				t.Fatalf("%v, seed %d: after the power cut: %+v, %v", c.fault, seed, states, err)
			}
			if got := readAll(t, l, 1, 1, 6); got[3].Term != 2 || got[4].Term != 3 {
				t.Errorf("%v, seed %d: the log reads %v", c.fault, seed, got)
			}
		}
	}
}

// failAt makes the disk's operation n from now on fail in the way that hurts
// most, once.
func failAt(d *vfs.Disk, n int) {
	calls := 0
	d.SetHook(func(op vfs.Op) error {
		if calls++; calls != n+1 {
			return nil
		}
		switch op.Kind {
		case vfs.OpSync:
			return vfs.SyncFailsClean
		case vfs.OpWrite:
			return vfs.WriteFailsLater
		}
		return syscall.EIO
	})
}

// cutAt cuts the power in the disk's operation n from now on.
func cutAt(d *vfs.Disk, n int) {
	calls := 0
	d.SetHook(func(vfs.Op) error {
		if calls++; calls == n+1 {
			d.Crash()
		}
		return nil
	})
}

// lives opens the log, works with it and ends the process, in each of the ways
// given, and opens it once more.
func (p *player) lives(ends ...func()) error {
	for _, end := range ends {
		if err := p.play(8); err != nil {
			return err
		}
		p.note("the process ends")
		end()
	}
	return p.open()
}

// TestFailureAtEveryFileOperationThenRestarts fails every single file operation
// of a script, kills the process without a power cut, fails or cuts the power
// inside the recovery, goes on, and at last cuts the power: everything that a Sync
// or an Open ever answered for is there (D4, D10).
func TestFailureAtEveryFileOperationThenRestarts(t *testing.T) {
	o := Options{SegmentBytes: 8 << 10, PinnedBytes: 8 << 10}
	const steps = 60
	stopped, interrupted := 0, 0
	for script := range uint64(6) {
		whole := newPlayer(script, vfs.NewDisk(vfs.DiskOptions{}), o)
		if err := whole.play(steps); err != nil {
			t.Fatal(err)
		}
		for n := range whole.d.Calls() * 3 {
			d := vfs.NewDisk(vfs.DiskOptions{Seed: uint64(n)})
			p := newPlayer(script, d, o)
			failAt(d, n/3)
			if p.play(steps) != nil {
				stopped++
			}
			d.Kill()
			if n%3 < 2 {
				failAt(d, (n+n/3)%30)
			} else {
				cutAt(d, (n+n/3)%30)
			}
			if err := p.open(); err != nil {
				interrupted++
				p.note("recovery: %v", err)
			}
			d.SetHook(nil)
			d.Kill()
			if err := p.lives(d.Crash, d.Kill, d.Crash); err != nil {
				t.Fatalf("script %d, operation %d failed, variant %d: %v\n%s", script, n/3, n%3, err, strings.Join(p.log, "\n"))
			}
		}
	}
	if stopped < 1000 || interrupted < 1000 {
		t.Errorf("the log stopped %d times and recovery failed %d times: the test shows too little", stopped, interrupted)
	}
}

// TestReopeningDoesNotGrowTheLog: a log that was closed, or idle when it was
// killed, is opened without writing; any other writes its last segment again, and
// takes no more space for it.
func TestReopeningDoesNotGrowTheLog(t *testing.T) {
	d := vfs.NewDisk(vfs.DiskOptions{Record: true})
	o := Options{SegmentBytes: small}
	l, _ := mustOpen(t, d.FS(), o)
	mustAppend(t, l, startOf(1, 0, 0))
	mustSync(t, l)
	used, last := d.Used(), id.Index(0)
	for k := range 20 {
		last++
		mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, run(1, last, 1, 10)...))
		mustSync(t, l)
		switch k % 3 {
		case 0:
			if err := l.Idle(); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		case 1:
			if err := l.Idle(); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			d.Kill()
			d.ResetOps()
			var states []GroupState
			l, states = mustOpen(t, d.FS(), o)
			if states[0].Restored.Last != last || d.Used() != used {
				t.Fatalf("round %d: the log ends at %d and takes %d bytes", k, states[0].Restored.Last, d.Used())
			}
			wrote := false
			for _, op := range d.Ops() {
				wrote = wrote || op.Kind == vfs.OpWrite || op.Kind == vfs.OpRename
			}
			if wrote != (k%3 == 2) {
				t.Fatalf("round %d: recovery wrote: %v", k, wrote)
			}
		}
	}
}

// TestHeaderBehindALostOneIsNoEvidence: where two headers stand behind the last
// frame, the second says that the first is durable. A frame that is torn in the
// first one's place must not look like corruption.
func TestHeaderBehindALostOneIsNoEvidence(t *testing.T) {
	for seed := range uint64(20) {
		d := vfs.NewDisk(vfs.DiskOptions{Seed: seed})
		o := Options{SegmentBytes: small}
		l, _ := mustOpen(t, d.FS(), o)
		mustAppend(t, l, startOf(1, 0, 0), appendOf(1, raft.HardState{Term: 1}, run(1, 1, 2, 10)...))
		for range 2 {
			mustSync(t, l)
			l.content = l.durable
			if err := l.Idle(); err != nil {
				t.Fatal(err)
			}
		}
		mustSync(t, l)
		d.Kill()
		l, _ = mustOpen(t, d.FS(), o)
		l.begin() // a bare header, as short as a frame can be
		if err := l.flush(); err != nil {
			t.Fatal(err)
		}
		d.CrashWith(vfs.LossSubset)
		if _, states, err := Open(d.FS(), "wal", o); err != nil || states[0].Restored.Last != 2 {
			t.Fatalf("seed %d: %+v, %v", seed, states, err)
		}
	}
}

// TestWhatAllowedARemovalStays: a header without records that says which segments
// may be missing is needed as long as they are. Nothing is written in its place.
func TestWhatAllowedARemovalStays(t *testing.T) {
	for seed := range uint64(20) {
		d := vfs.NewDisk(vfs.DiskOptions{Seed: seed})
		o := Options{SegmentBytes: 8 << 10}
		l, _ := mustOpen(t, d.FS(), o)
		mustAppend(t, l, startOf(1, 0, 0), appendOf(1, raft.HardState{Term: 1}, run(1, 1, 5, 1000)...))
		mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, run(1, 6, 5, 1000)...), startOf(1, 6, 1))
		mustSync(t, l)
		if n, err := l.Release(); n != 1 || err != nil {
			t.Fatalf("released %d, %v", n, err)
		}
		d.Kill()
		l, _ = mustOpen(t, d.FS(), o)
		mustAppend(t, l, appendOf(1, raft.HardState{Term: 2}))
		if err := l.flush(); err != nil {
			t.Fatal(err)
		}
		d.CrashWith(vfs.LossSubset)
		if _, states, err := Open(d.FS(), "wal", o); err != nil || states[0].Restored.Last != 10 {
			t.Fatalf("seed %d: %+v, %v", seed, states, err)
		}
	}
}

// TestRecoveryOnAFullDisk gives recovery every amount of space: it opens the log,
// which then still takes a vote, or says that space is missing and loses nothing.
func TestRecoveryOnAFullDisk(t *testing.T) {
	o := Options{SegmentBytes: small}
	made := vfs.NewDisk(vfs.DiskOptions{})
	l, _ := mustOpen(t, made.FS(), o)
	mustAppend(t, l, startOf(1, 0, 0), appendOf(1, raft.HardState{Term: 1}, run(1, 1, 4, 1000)...))
	mustSync(t, l)
	made.Kill()
	bare := made.Clone() // nothing is ahead
	if err := bare.FS().Remove("wal/" + segmentName(2)); err != nil {
		t.Fatal(err)
	}
	opened, refused, smaller := 0, 0, 0
	for _, from := range []*vfs.Disk{made, bare} {
		for space := int64(1); space < small+1000; space += 487 {
			d := from.Clone()
			d.SetCapacity(d.Used() + space)
			l, _, err := Open(d.FS(), "wal", o)
			switch {
			case errors.Is(err, ErrNoSpace):
				if refused++; from == made {
					t.Fatalf("refused with %d bytes and a segment ahead", space)
				}
			case err != nil:
				t.Fatal(err)
			default:
				if opened++; l.active().bytes < small {
					smaller++
				}
				mustAppend(t, l, appendOf(1, raft.HardState{Term: 5}))
				mustSync(t, l)
			}
			d.SetCapacity(0)
			l, states := mustOpenAgain(t, d, o)
			if got := states[0].Restored; got.Last != 4 || (err == nil) != (got.Hard.Term == 5) {
				t.Fatalf("with %d bytes of space (%v) the log came back as %+v", space, err, got)
			}
			mustAppend(t, l, appendOf(1, raft.HardState{Term: 6}, run(6, 5, 30, 1000)...))
			mustSync(t, l)
			if _, states := mustOpenAgain(t, d, o); states[0].Restored.Last != 34 {
				t.Fatalf("the log ends at %d", states[0].Restored.Last)
			}
		}
	}
	if opened < 30 || refused < 5 || smaller < 5 {
		t.Errorf("%d opened, %d with a smaller segment, %d refused: the test shows too little", opened, smaller, refused)
	}
}

// TestCacheThatForgetsIsNoticed: between reading a frame and writing it again the
// page is dropped, and the disk has something else.
func TestCacheThatForgetsIsNoticed(t *testing.T) {
	d := vfs.NewDisk(vfs.DiskOptions{})
	o := Options{SegmentBytes: 4 << 20}
	l, _ := mustOpen(t, d.FS(), o)
	mustAppend(t, l, startOf(1, 0, 0), appendOf(1, raft.HardState{Term: 1}, run(1, 1, 20, 100<<10)...))
	mustSync(t, l)
	d.Kill()
	turn := func() {
		if err := d.Corrupt("wal/"+segmentName(1), 5000, 1); err != nil {
			t.Fatal(err)
		}
	}
	d.SetHook(func(op vfs.Op) error {
		if op.Kind == vfs.OpCreate {
			d.SetHook(nil)
			turn()
		}
		return nil
	})
	if _, _, err := Open(d.FS(), "wal", o); err == nil || !strings.Contains(err.Error(), "reads differently the second time") {
		t.Fatalf("opened: %v", err)
	}
	turn()
	if _, states := mustOpen(t, d.FS(), o); states[0].Restored.Last != 20 {
		t.Errorf("the log ends at %d", states[0].Restored.Last)
	}
}
