package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

func create(t *testing.T, fsys FS, name string) File {
	t.Helper()
	f, err := fsys.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func write(t *testing.T, f File, off int64, s string) {
	t.Helper()
	if _, err := f.WriteAt([]byte(s), off); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, fsys FS, name string) string {
	t.Helper()
	f, err := fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "<none>"
	}
	must(t, err)
	defer f.Close()
	n, err := f.Size()
	must(t, err)
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return string(b)
}

// TestSyncedSurvivesEveryCrash shows what callers build on: synced bytes under a
// synced name are there after any crash, and only bytes that were in flight
// differ from what was written.
func TestSyncedSurvivesEveryCrash(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(300) {
		d := NewDisk(DiskOptions{Seed: seed})
		f := create(t, d.FS(), "a")
		write(t, f, 0, strings.Repeat("s", 700))
		must(t, f.Sync())
		must(t, d.FS().SyncDir("."))
		write(t, f, 700, strings.Repeat("u", 2000)) // unsynced, from the middle of a sector
		d.Crash()
		got := content(t, d.FS(), "a")
		if !strings.HasPrefix(got, strings.Repeat("s", 700)) {
			t.Fatalf("seed %d: synced bytes are gone: %q", seed, got)
		}
		switch rest := got[700:]; {
		case rest == "":
			seen["lost"]++
		case rest == strings.Repeat("u", 2000):
			seen["kept"]++
		case strings.Trim(rest, "\x00") == "":
			seen["size ahead of data"]++
		case strings.Trim(rest, "\x00u") == "":
			seen["some sectors"]++
		default:
			seen["garbage"]++
		}
	}
	for _, k := range []string{"lost", "kept", "size ahead of data", "some sectors", "garbage"} {
		if seen[k] == 0 {
			t.Errorf("300 seeds never showed %q: %v", k, seen)
		}
	}
}

// TestNamesNeedSyncDir shows D3: a rename or creation without SyncDir may be
// lost, each alone.
func TestNamesNeedSyncDir(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(200) {
		d := NewDisk(DiskOptions{Seed: seed})
		m := d.FS()
		must(t, m.MkdirAll("x/y"))
		must(t, m.SyncDir("."))
		must(t, m.SyncDir("x"))
		f := create(t, m, "x/y/old")
		write(t, f, 0, "old")
		must(t, f.Sync())
		must(t, m.SyncDir("x/y"))
		g := create(t, m, "x/y/tmp")
		write(t, g, 0, "new")
		must(t, g.Sync())
		must(t, m.Rename("x/y/tmp", "x/y/old"))
		create(t, m, "x/y/other")
		d.Crash()
		names, err := d.FS().List("x/y")
		must(t, err)
		seen[content(t, d.FS(), "x/y/old")+" "+strings.Join(names, ",")]++
	}
	want := []string{"old old", "old old,tmp", "new old", "new old,other", "old old,other"}
	for _, k := range want {
		if seen[k] == 0 {
			t.Errorf("200 seeds never showed %q: %v", k, seen)
		}
	}
	for k := range seen {
		if !strings.HasPrefix(k, "old ") && !strings.HasPrefix(k, "new ") {
			t.Errorf("a rename left %q", k)
		}
	}
}

func TestCrashKillsHandlesAndMounts(t *testing.T) {
	d := NewDisk(DiskOptions{})
	m := d.FS()
	f := create(t, m, "a")
	l, err := m.Lock("LOCK")
	must(t, err)
	if _, err := d.FS().Lock("LOCK"); !errors.Is(err, ErrLocked) {
		t.Fatalf("second lock: %v", err)
	}
	d.Crash()
	_, err1 := f.WriteAt([]byte("x"), 0)
	_, err2 := m.Create("b")
	_, err3 := f.ReadAt(make([]byte, 1), 0)
	for _, err := range []error{err1, err2, err3, f.Sync(), m.SyncDir(".")} {
		if !errors.Is(err, ErrCrashed) {
			t.Errorf("want ErrCrashed, got %v", err)
		}
	}
	if _, err := d.FS().Lock("LOCK"); err != nil {
		t.Errorf("a lock outlived the crash: %v", err)
	}
	must(t, l.Close()) // the old holder ends without taking the new lock away
	if _, err := d.FS().Lock("LOCK"); !errors.Is(err, ErrLocked) {
		t.Errorf("the new lock is gone: %v", err)
	}
}

// TestCrashEndsThePendingCall shows DESIGN 22: durability advances at
// completion, a crash inside a call leaves any of its outcomes.
func TestCrashEndsThePendingCall(t *testing.T) {
	for _, kind := range []OpKind{OpWrite, OpSync, OpRename, OpSyncDir} {
		seen := map[string]bool{}
		for seed := range uint64(60) {
			d := NewDisk(DiskOptions{Seed: seed})
			m := d.FS()
			f := create(t, m, "a")
			must(t, m.SyncDir("."))
			d.SetHook(func(op Op) error {
				if op.Kind == kind {
					d.Crash()
				}
				return nil
			})
			_, err := f.WriteAt([]byte("data"), 0)
			if kind == OpSync {
				err = f.Sync()
			}
			if kind == OpRename || kind == OpSyncDir {
				err = m.Rename("a", "b")
			}
			if kind == OpSyncDir {
				err = m.SyncDir(".")
			}
			if !errors.Is(err, ErrCrashed) {
				t.Fatalf("%s during a crash: %v", kind, err)
			}
			d.SetHook(nil)
			seen[content(t, d.FS(), "a")+"|"+content(t, d.FS(), "b")] = true
		}
		if len(seen) < 2 {
			t.Errorf("%s: 60 seeds left only %v", kind, seen)
		}
	}
}

// TestSyncCoversOnlyWhatCameBefore: bytes written while a sync is under way need
// a sync of their own.
func TestSyncCoversOnlyWhatCameBefore(t *testing.T) {
	d := NewDisk(DiskOptions{})
	f := create(t, d.FS(), "a")
	must(t, d.FS().SyncDir("."))
	write(t, f, 0, "before")
	d.SetHook(func(op Op) error {
		if op.Kind == OpSync {
			d.SetHook(nil)
			write(t, f, 6, " and during")
		}
		return nil
	})
	must(t, f.Sync())
	if got := content(t, d.DurableImage().FS(), "a"); got != "before" {
		t.Errorf("durable: %q", got)
	}
	must(t, f.Sync())
	if got := content(t, d.DurableImage().FS(), "a"); got != "before and during" {
		t.Errorf("durable: %q", got)
	}
}

// TestSyncFailures shows the flavours of D4, D6 and D7.
func TestSyncFailures(t *testing.T) {
	eio := func(err error) bool { return errors.Is(err, syscall.EIO) || errors.As(err, new(Fault)) }
	run := func(on OpKind, fault Fault) (d *Disk, syncs []bool, durable string) {
		d = NewDisk(DiskOptions{Seed: 3})
		f := create(t, d.FS(), "a")
		must(t, d.FS().SyncDir("."))
		d.SetHook(func(op Op) error {
			if op.Kind == on {
				d.SetHook(nil)
				return fault
			}
			return nil
		})
		write(t, f, 0, strings.Repeat("x", 600))
		for range 3 {
			err := f.Sync()
			if err != nil && !eio(err) {
				t.Fatal(err)
			}
			syncs = append(syncs, err == nil)
		}
		if got := content(t, d.FS(), "a"); got != strings.Repeat("x", 600) {
			t.Errorf("%v: the cache shows %q", fault, got)
		}
		return d, syncs, strings.Trim(content(t, d.DurableImage().FS(), "a"), "\x00")
	}
	for _, c := range []struct {
		on    OpKind
		fault Fault
		syncs string
		lost  bool
	}{
		{OpSync, SyncFailsClean, "[false true true]", true},
		{OpSync, SyncFailsDirty, "[false true true]", false},
		{OpWrite, WriteFailsLater, "[false true true]", true},
		{OpWrite, WriteLost, "[true true true]", true},
	} {
		_, syncs, durable := run(c.on, c.fault)
		if fmt.Sprint(syncs) != c.syncs || (durable == "") != c.lost {
			t.Errorf("%v: syncs %v, durable %q", c.fault, syncs, durable)
		}
	}
}

// TestMisdirectedWrite shows D6: the bytes are there until the power fails, and
// then somewhere else.
func TestMisdirectedWrite(t *testing.T) {
	d := NewDisk(DiskOptions{Seed: 1})
	f := create(t, d.FS(), "a")
	must(t, f.Preallocate(64<<10))
	must(t, d.FS().SyncDir("."))
	d.SetHook(func(op Op) error {
		if op.Kind == OpWrite {
			return WriteMisdirected
		}
		return nil
	})
	write(t, f, 1000, "data")
	must(t, f.Sync())
	if got := content(t, d.FS(), "a"); got[1000:1004] != "data" {
		t.Errorf("before the crash: %q", got[1000:1004])
	}
	d.SetHook(nil)
	d.CrashWith(LossAll)
	if got := content(t, d.FS(), "a"); got[1000:1004] == "data" || strings.Count(got, "data") != 1 {
		t.Errorf("after it: %q at its place, %d times in all", got[1000:1004], strings.Count(got, "data"))
	}
}

// TestFailedWriteMayLeaveAPart: a hook's plain error fails the write, and any whole
// sectors of it may be in the file.
func TestFailedWriteMayLeaveAPart(t *testing.T) {
	left := map[int]int{}
	for seed := range uint64(50) {
		d := NewDisk(DiskOptions{Seed: seed})
		f := create(t, d.FS(), "a")
		d.SetHook(func(op Op) error { return syscall.EIO })
		n, err := f.WriteAt(bytes.Repeat([]byte("x"), 1500), 0)
		if !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		d.SetHook(nil)
		if got := content(t, d.FS(), "a"); len(got) != n || n%512 != 0 {
			t.Fatalf("%d bytes reported, %d there", n, len(got))
		}
		left[n]++
	}
	if len(left) != 3 {
		t.Errorf("parts left: %v", left)
	}
}

func TestNoSpaceIsWhole(t *testing.T) {
	d := NewDisk(DiskOptions{Capacity: 1000})
	f := create(t, d.FS(), "a")
	must(t, f.Preallocate(800))
	g := create(t, d.FS(), "b")
	if err := g.Preallocate(201); !IsNoSpace(err) {
		t.Fatalf("want no space, got %v", err)
	}
	if n, _ := g.Size(); n != 0 {
		t.Errorf("a refused reservation left %d bytes", n)
	}
	write(t, f, 0, strings.Repeat("x", 800)) // reserved: always fits
	if n, err := g.WriteAt(make([]byte, 300), 0); n != 200 || !IsNoSpace(err) {
		t.Errorf("want a short write of 200 and no space, got %d, %v", n, err)
	}
	must(t, d.FS().Remove("a"))
	must(t, g.Preallocate(900))
}

func TestBitRotAndBadSectors(t *testing.T) {
	d := NewDisk(DiskOptions{})
	f := create(t, d.FS(), "a")
	write(t, f, 0, "abc")
	must(t, f.Sync())
	must(t, d.FS().SyncDir("."))
	must(t, d.Corrupt("a", 1, 0x20))
	if got := content(t, d.FS(), "a"); got != "aBc" {
		t.Errorf("got %q", got)
	}
	if got := content(t, d.DurableImage().FS(), "a"); got != "aBc" {
		t.Errorf("durable: %q", got)
	}
	must(t, d.FailReads("a", 0, 1))
	if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, syscall.EIO) {
		t.Errorf("bad sector reads: %v", err)
	}
	if _, err := f.ReadAt(make([]byte, 1), 2); err != nil {
		t.Errorf("a good sector fails: %v", err)
	}
}

// TestDiskIsDeterministic runs a fixed mess twice on a disk and once on a clone
// made half way: the same seed gives the same bytes, another seed others.
func TestDiskIsDeterministic(t *testing.T) {
	mess := func(seed uint64, clone bool) string {
		d := NewDisk(DiskOptions{Seed: seed, SectorBytes: 512})
		r := &stream{state: 7}
		var out bytes.Buffer
		for round := range 20 {
			m := d.FS()
			f, err := m.Open("f")
			if err != nil {
				f = create(t, m, "f")
			}
			for range 5 {
				b := make([]byte, r.below(3000))
				for i := range b {
					b[i] = byte(r.next())
				}
				write(t, f, int64(r.below(5000)), string(b))
				if r.below(4) == 0 {
					must(t, f.Sync())
				}
			}
			if r.below(3) == 0 {
				must(t, m.SyncDir("."))
			}
			if clone && round == 10 {
				d = d.Clone()
			}
			d.Crash()
			fmt.Fprintf(&out, "%x\n", content(t, d.FS(), "f"))
		}
		return out.String()
	}
	if mess(1, false) != mess(1, false) {
		t.Error("two runs differ")
	}
	if mess(1, false) != mess(1, true) {
		t.Error("a clone has another future")
	}
	if mess(1, false) == mess(2, false) {
		t.Error("the seed has no effect")
	}
}

// TestImageAgainstNaiveTwin compares paged images with plain bytes.
func TestImageAgainstNaiveTwin(t *testing.T) {
	r := &stream{state: 1}
	d := NewDisk(DiskOptions{})
	f := create(t, d.FS(), "a")
	must(t, d.FS().SyncDir("."))
	var twin, synced []byte
	for step := range 3000 {
		switch r.below(8) {
		case 0:
			must(t, f.Sync())
			synced = append([]byte(nil), twin...)
		case 1:
			n := int(r.below(6000))
			must(t, f.Truncate(int64(n)))
			twin = append(append([]byte(nil), twin[:min(n, len(twin))]...), make([]byte, max(0, n-len(twin)))...)
		default:
			b, off := make([]byte, r.below(2500)), int(r.below(6000))
			for i := range b {
				b[i] = byte(r.next())
			}
			write(t, f, int64(off), string(b))
			if grow := off + len(b) - len(twin); grow > 0 && len(b) > 0 {
				twin = append(twin, make([]byte, grow)...)
			}
			copy(twin[min(off, len(twin)):], b)
		}
		if got := content(t, d.FS(), "a"); got != string(twin) {
			t.Fatalf("step %d: the cache differs from the twin", step)
		}
		if step%10 == 0 {
			if got := content(t, d.DurableImage().FS(), "a"); got != string(synced) {
				t.Fatalf("step %d: the durable image differs from the twin", step)
			}
		}
	}
}

// A killed process leaves its writes in the cache: the next one reads them, and a
// power cut still takes them away.
func TestKillKeepsTheCacheAndMakesNothingDurable(t *testing.T) {
	for _, sync := range []bool{false, true} {
		d := NewDisk(DiskOptions{Seed: 1})
		f := create(t, d.FS(), "a")
		write(t, f, 0, "hello")
		d.Kill()
		if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, ErrCrashed) {
			t.Errorf("a file of the dead process still writes: %v", err)
		}
		next := d.FS()
		if got := content(t, next, "a"); got != "hello" {
			t.Errorf("the next process reads %q", got)
		}
		if sync {
			f, err := next.Open("a")
			must(t, err)
			must(t, f.Sync())
			must(t, next.SyncDir("."))
		}
		d.CrashWith(LossAll)
		if got, want := content(t, d.FS(), "a"), map[bool]string{false: "<none>", true: "hello"}[sync]; got != want {
			t.Errorf("synced %v: after the power cut %q, want %q", sync, got, want)
		}
	}
	// A call in flight has no effect, now or later.
	d := NewDisk(DiskOptions{Seed: 1})
	f := create(t, d.FS(), "a")
	must(t, d.FS().SyncDir("."))
	d.SetHook(func(Op) error { d.SetHook(nil); d.Kill(); return nil })
	if _, err := f.WriteAt([]byte("hello"), 0); !errors.Is(err, ErrCrashed) {
		t.Errorf("the write of a process killed under it: %v", err)
	}
	d.CrashWith(LossNone)
	if got := content(t, d.FS(), "a"); got != "" {
		t.Errorf("it wrote %q", got)
	}
}
