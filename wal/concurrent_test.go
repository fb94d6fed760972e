package wal

import (
	"errors"
	"sync"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/vfs"
)

// TestReadWhileWriting reads from several goroutines while the writer appends,
// overwrites, cuts and releases segments under them. Run it with -race.
func TestReadWhileWriting(t *testing.T) {
	l, _ := mustOpen(t, vfs.OS(t.TempDir()), Options{SegmentBytes: small})
	mustAppend(t, l, startOf(1, 0, 0))
	var (
		mu          sync.Mutex
		start, last id.Index
		done        bool
	)
	bounds := func() (id.Index, id.Index, bool) {
		mu.Lock()
		defer mu.Unlock()
		return start, last, done
	}
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for n := id.Index(0); ; n++ {
				from, to, done := bounds()
				if done {
					return
				}
				if from == to {
					continue
				}
				want := from + 1 + n%(to-from)
				entries, err := l.Read(1, want, want+10, 4000)
				if errors.Is(err, ErrGone) {
					continue // cut meanwhile
				}
				if err != nil || len(entries) == 0 || entries[0].Index != want {
					t.Errorf("reading %d: %v, %v", want, entries, err)
					return
				}
			}
		})
	}
	released := 0
	for k := range id.Index(150) {
		mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, run(1, last+1, 4, 300)...))
		mu.Lock()
		last += 4
		mu.Unlock()
		if k%10 == 9 {
			mustAppend(t, l, startOf(1, last-6, 1))
			mu.Lock()
			start = last - 6
			mu.Unlock()
		}
		mustSync(t, l)
		n, err := l.Release()
		if err != nil {
			t.Fatal(err)
		}
		released += n
	}
	mu.Lock()
	done = true
	mu.Unlock()
	readers.Wait()
	if released < 5 {
		t.Errorf("only %d segments were released under the readers", released)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestReadDuringASlowSync: in the simulator the writer yields inside every file
// call; a read of another coroutine must find its way (DESIGN 22).
func TestReadDuringASlowSync(t *testing.T) {
	d := vfs.NewDisk(vfs.DiskOptions{})
	l, _ := mustOpen(t, d.FS(), Options{SegmentBytes: small})
	mustAppend(t, l, startOf(1, 0, 0), appendOf(1, raft.HardState{Term: 1}, run(1, 1, 3, 10)...))
	reads := 0
	d.SetHook(func(op vfs.Op) error {
		if op.Kind == vfs.OpRead {
			return nil
		}
		if got := readAll(t, l, 1, 1, 4); len(got) != 3 {
			t.Errorf("during %v: %v", op, got)
		}
		reads++
		return nil
	})
	mustSync(t, l)
	mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, run(1, 4, 30, 1000)...))
	mustSync(t, l)
	if err := l.Idle(); err != nil {
		t.Fatal(err)
	}
	if reads < 10 {
		t.Errorf("only %d reads were tried", reads)
	}
}

// TestReadOutlivesItsSegment: a segment is released while a read of it is under
// way; the read ends well, and only then is the file closed.
func TestReadOutlivesItsSegment(t *testing.T) {
	d := vfs.NewDisk(vfs.DiskOptions{})
	l, _ := mustOpen(t, d.FS(), Options{SegmentBytes: 8 << 10})
	mustAppend(t, l, startOf(1, 0, 0), appendOf(1, raft.HardState{Term: 1}, run(1, 1, 5, 1000)...))
	mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, run(1, 6, 5, 1000)...))
	mustSync(t, l)
	first := l.segments[0]
	d.SetHook(func(op vfs.Op) error {
		if op.Kind != vfs.OpRead {
			return nil
		}
		d.SetHook(nil)
		mustAppend(t, l, startOf(1, 8, 1))
		mustSync(t, l)
		if n, err := l.Release(); n != 1 || err != nil {
			t.Errorf("released %d, %v", n, err)
		}
		return nil
	})
	if got := readAll(t, l, 1, 1, 5); len(got) != 4 || got[3].Index != 4 {
		t.Errorf("read %v", got)
	}
	if _, err := first.file.Size(); err == nil {
		t.Error("the file of a released segment was never closed")
	}
	if _, err := l.Read(1, 1, 5, 1); !errors.Is(err, ErrGone) {
		t.Errorf("after the cut: %v", err)
	}
}
