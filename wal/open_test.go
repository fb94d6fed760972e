package wal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/vfs"
	"github.com/quorate/quorate/wire"
)

// TestForeignDirectoriesAreRefused: whatever is not a log is left exactly as it
// is, and the message says what it looks like.
func TestForeignDirectoriesAreRefused(t *testing.T) {
	for _, c := range []struct {
		files string
		says  string
	}{
		{"member/snap/db member/wal/0000000000000000-0000000000000000.wal", "etcd"},
		{"0000000000000000-0000000000000000.wal 0.tmp", "0.tmp"},
		{"0000000000000000-0000000000000000.wal", "log of etcd"},
		{"notes.txt", "notes.txt"},
		{"00000001.wal.bak", "00000001.wal.bak"},
		{"0000000A.wal", "0000000A.wal"},
		{"00000000.wal", "00000000.wal"},
	} {
		root := t.TempDir()
		for _, f := range strings.Fields(c.files) {
			p := filepath.Join(root, "wal", f)
			if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before, _ := os.ReadDir(filepath.Join(root, "wal"))
		_, _, err := Open(vfs.OS(root), "wal", Options{SegmentBytes: small})
		var foreign *ErrForeign
		if !errors.As(err, &foreign) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.files, err)
		}
		if after, _ := os.ReadDir(filepath.Join(root, "wal")); len(after) != len(before) {
			t.Errorf("%s: opening left something behind: %v", c.files, after)
		}
	}
}

// TestBrokenSegmentFiles: files with a log's names and other content.
func TestBrokenSegmentFiles(t *testing.T) {
	o := Options{SegmentBytes: 8 << 10, Identity: 9}
	good := segmentHeader{segment: 1, identity: 9, bytes: o.SegmentBytes}.encode()
	padded := func(b []byte) []byte { return append(b, make([]byte, int(o.SegmentBytes)-len(b))...) }
	version := append([]byte(nil), good...)
	version[8] = 2
	seal(version)
	huge := segmentHeader{segment: 1, identity: 9, bytes: 1 << 40}.encode()
	var corrupt *ErrCorrupt
	var unknown *ErrVersion
	for _, c := range []struct {
		name    string
		content []byte
		want    any
		says    string
	}{
		{"empty", nil, &corrupt, "ends within its header"},
		{"short", good[:40], &corrupt, "ends within its header"},
		{"text", padded([]byte(strings.Repeat("hello", 20))), &corrupt, "does not begin as a segment"},
		{"version", padded(version), &unknown, "format version 2, this program knows 1"},
		{"cut short", good, &corrupt, "the file ends here"},
		{"huge", padded(huge), &corrupt, "it has 1099511627776 bytes"},
		{"wrong number", padded(segmentHeader{segment: 2, identity: 9, bytes: o.SegmentBytes}.encode()), &corrupt, "says that it is 00000002.wal"},
	} {
		d := vfs.NewDisk(vfs.DiskOptions{})
		put(t, d.FS(), segmentName(1), c.content)
		_, _, err := Open(d.FS(), "wal", o)
		if !errors.As(err, c.want) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "00000001.wal") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func seal(header []byte) {
	c := sum(0, header[:60])
	header[60], header[61], header[62], header[63] = byte(c), byte(c>>8), byte(c>>16), byte(c>>24)
}

func put(t testing.TB, fs vfs.FS, name string, content []byte) {
	t.Helper()
	if err := fs.MkdirAll("wal"); err != nil {
		t.Fatal(err)
	}
	f, err := fs.Create("wal/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := fs.SyncDir("wal"); err != nil {
		t.Fatal(err)
	}
}

// TestMissingAndMixedSegments: a log without one of its files, or with one of
// another log, is corrupt.
func TestMissingAndMixedSegments(t *testing.T) {
	d, o, _, _ := corruptible(t)
	d.CrashWith(vfs.LossAll)
	for number, says := range map[uint32]string{1: "is missing", 2: "is missing"} {
		d := d.Clone()
		if err := d.FS().Remove("wal/" + segmentName(number)); err != nil {
			t.Fatal(err)
		}
		var corrupt *ErrCorrupt
		if _, _, err := Open(d.FS(), "wal", o); !errors.As(err, &corrupt) || corrupt.File != segmentName(number) || !strings.Contains(err.Error(), says) {
			t.Errorf("without segment %d: %v", number, err)
		}
	}
	if err := d.FS().Remove("wal/" + segmentName(3)); err != nil {
		t.Fatal(err)
	}
	other := segmentHeader{segment: 3, identity: o.Identity + 1, bytes: o.SegmentBytes}.encode()
	put(t, d.FS(), segmentName(3), append(other, make([]byte, int(o.SegmentBytes)-len(other))...))
	if _, _, err := Open(d.FS(), "wal", o); !errors.As(err, new(*ErrCorrupt)) || !strings.Contains(err.Error(), "another log") {
		t.Errorf("with a segment of another log: %v", err)
	}
}

// TestEntriesMustReachBackToTheStart: a log whose oldest file was rightly gone for
// one group, but not for another, is corrupt and not silently shorter.
func TestEntriesMustReachBackToTheStart(t *testing.T) {
	d := vfs.NewDisk(vfs.DiskOptions{})
	o := Options{SegmentBytes: 8 << 10}
	l, _ := mustOpen(t, d.FS(), o)
	mustAppend(t, l, startOf(1, 0, 0), appendOf(1, raft.HardState{Term: 1}, run(1, 1, 5, 1000)...))
	mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, run(1, 6, 5, 1000)...))
	if err := l.declare(2); err != nil { // a lie
		t.Fatal(err)
	}
	if err := d.FS().Remove("wal/" + segmentName(1)); err != nil {
		t.Fatal(err)
	}
	d.CrashWith(vfs.LossNone)
	if _, _, err := Open(d.FS(), "wal", o); !errors.As(err, new(*ErrCorrupt)) || !strings.Contains(err.Error(), "group 1 begins behind entry 0") {
		t.Errorf("opened: %v", err)
	}
}

func TestLogIsLocked(t *testing.T) {
	fs := vfs.OS(t.TempDir())
	l, _ := mustOpen(t, fs, Options{SegmentBytes: small})
	if _, _, err := Open(fs, "wal", Options{SegmentBytes: small}); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, _ = mustOpen(t, fs, Options{SegmentBytes: small})
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := l.Append(nil); !errors.As(err, new(*ErrPoisoned)) {
		t.Errorf("append after close: %v", err)
	}
}

func TestOptionsAreJudged(t *testing.T) {
	for _, o := range []Options{
		{SegmentBytes: 100}, {SegmentBytes: 1 << 40}, {SegmentBytes: -1},
		{SegmentBytes: small, PinnedBytes: 1}, {TailBytes: -1},
	} {
		if _, _, err := Open(vfs.NewDisk(vfs.DiskOptions{}).FS(), "wal", o); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// TestOtherSegmentSizeNextTime: the size is an option of every start, the files
// on disk keep theirs.
func TestOtherSegmentSizeNextTime(t *testing.T) {
	d := vfs.NewDisk(vfs.DiskOptions{})
	l, _ := mustOpen(t, d.FS(), Options{SegmentBytes: small})
	mustAppend(t, l, startOf(1, 0, 0))
	last := id.Index(0)
	for _, bytes := range []int64{small, 8 << 10, 64 << 10, 8 << 10} {
		d.CrashWith(vfs.LossAll)
		l, _ = mustOpen(t, d.FS(), Options{SegmentBytes: bytes})
		if last == 0 {
			mustAppend(t, l, startOf(1, 0, 0))
		}
		mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, run(1, last+1, 30, 1000)...))
		mustSync(t, l)
		last += 30
	}
	_, states := mustOpenAgain(t, d, Options{SegmentBytes: small})
	if states[0].Restored.Last != last {
		t.Errorf("the log ends at %d", states[0].Restored.Last)
	}
}

// TestRecordThatFitsNoSegment is refused before anything is written, and the log
// goes on.
func TestRecordThatFitsNoSegment(t *testing.T) {
	d := vfs.NewDisk(vfs.DiskOptions{})
	l, _ := mustOpen(t, d.FS(), Options{SegmentBytes: 8 << 10})
	mustAppend(t, l, startOf(1, 0, 0))
	err := l.Append([]Record{appendOf(1, raft.HardState{Term: 1}, entry(1, 1, strings.Repeat("x", 9000)))})
	if err == nil || !strings.Contains(err.Error(), "entry 1 of group 1") {
		t.Errorf("appended: %v", err)
	}
	mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, entry(1, 1, strings.Repeat("x", 7000))))
	mustSync(t, l)
}

// TestImpossibleAppendsStopTheProgram: a log with a hole could not be recovered,
// so it is never written.
func TestImpossibleAppendsStopTheProgram(t *testing.T) {
	for name, r := range map[string]Record{
		"hole":          appendOf(1, raft.HardState{}, run(1, 9, 1, 1)...),
		"before start":  appendOf(1, raft.HardState{}, run(1, 3, 1, 1)...),
		"not encoded":   appendOf(1, raft.HardState{}, raft.Entry{Term: 1, Index: 6, Kind: raft.EntryNoop}),
		"not in order":  appendOf(1, raft.HardState{}, entry(1, 6, ""), entry(1, 8, "")),
		"no group":      appendOf(0, raft.HardState{}),
		"a kind of its": {Group: 1, Kind: recordLink},
	} {
		t.Run(name, func(t *testing.T) {
			d := vfs.NewDisk(vfs.DiskOptions{})
			l, _ := mustOpen(t, d.FS(), Options{SegmentBytes: small})
			mustAppend(t, l, startOf(1, 5, 1))
			defer func() {
				if recover() == nil {
					t.Error("it was taken")
				}
			}()
			_ = l.Append([]Record{r})
		})
	}
}

// TestDumpShowsTheLog compares the print of a small log, sound and damaged, with
// golden text, and that printing changes nothing.
func TestDumpShowsTheLog(t *testing.T) {
	d := vfs.NewDisk(vfs.DiskOptions{})
	o := Options{SegmentBytes: 8 << 10, PinnedBytes: 8 << 10, Identity: 0xabc}
	l, _ := mustOpen(t, d.FS(), o)
	noop := raft.Entry{Term: 2, Index: 8, Kind: raft.EntryNoop}
	mustAppend(t, l, startOf(1, 0, 0), startOf(2, 7, 1))
	mustSync(t, l)
	mustAppend(t, l, appendOf(1, raft.HardState{Term: 1, Vote: id.NodeID{Node: 1}}, run(1, 1, 2, 10)...), appendOf(2, raft.HardState{Term: 2}, sealed(noop)))
	mustSync(t, l)
	mustAppend(t, l, Record{Group: 2, Kind: RecordIntent, Snapshot: raft.SnapshotMeta{Index: 20, Term: 2}},
		Record{Group: 2, Kind: RecordReset, Hard: raft.HardState{Term: 2}, Start: raft.LogStart{Index: 20, Term: 2}},
		startOf(3, 0, 0), Record{Group: 3, Kind: RecordDrop})
	mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, run(1, 3, 8, 900)...))
	mustSync(t, l)
	if err := l.Idle(); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	out.WriteString("# a sound log\n")
	if err := Dump(d.FS(), "wal", &out); err != nil {
		t.Error(err)
	}
	lc := l.groups[1].locs[0]
	if err := d.Corrupt("wal/"+segmentName(1), int64(lc.offset)+7, 8); err != nil {
		t.Fatal(err)
	}
	before := d.Calls()
	d.SetHook(func(op vfs.Op) error {
		if op.Kind != vfs.OpOpen && op.Kind != vfs.OpRead && op.Kind != vfs.OpList && op.Kind != vfs.OpSize {
			t.Errorf("dump calls %v", op)
		}
		return nil
	})
	out.WriteString("\n# one bit of an entry turned\n")
	if err := Dump(d.FS(), "wal", &out); !errors.As(err, new(*ErrCorrupt)) {
		t.Errorf("the damage is reported as %v", err)
	}
	if d.Calls() == before {
		t.Error("dump read nothing")
	}
	golden(t, "dump.txt", out.String())
}

func sealed(e raft.Entry) raft.Entry {
	wire.Seal(&e)
	return e
}
