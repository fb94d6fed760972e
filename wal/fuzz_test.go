package wal

import (
	"errors"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/vfs"
)

// sampleLog returns the first segment of a log with every kind of record.
func sampleLog(t testing.TB) []byte {
	d := vfs.NewDisk(vfs.DiskOptions{})
	o := Options{SegmentBytes: segmentBytesMin, Identity: 1}
	l, _ := mustOpen(t, d.FS(), o)
	mustAppend(t, l, startOf(1, 0, 0), startOf(2, 7, 1), startOf(3, 0, 0))
	mustSync(t, l)
	mustAppend(t, l, appendOf(1, raft.HardState{Term: 3, Vote: id.NodeID{Node: 2, Incarnation: 1}, Commit: 1}, run(1, 1, 3, 5)...),
		Record{Group: 2, Kind: RecordIntent, Snapshot: raft.SnapshotMeta{Index: 20, Term: 2, Config: config(2)}}, Record{Group: 3, Kind: RecordDrop})
	mustSync(t, l)
	mustAppend(t, l, Record{Group: 2, Kind: RecordReset, Hard: raft.HardState{Term: 2}, Start: raft.LogStart{Index: 20, Term: 2, Config: config(2)}}, startOf(1, 1, 1))
	mustSync(t, l)
	if err := l.move(l.groups[1]); err != nil {
		t.Fatal(err)
	}
	mustSync(t, l)
	if err := l.Idle(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, l.end+64)
	if _, err := l.active().file.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFormatIsGolden: the bytes of format version 1 do not change unnoticed, and
// a log written by an earlier program opens.
func TestFormatIsGolden(t *testing.T) {
	b := sampleLog(t)
	golden(t, "segment-v1.bin", string(b))
	d := vfs.NewDisk(vfs.DiskOptions{})
	put(t, d.FS(), segmentName(1), append(b, make([]byte, segmentBytesMin-len(b))...))
	l, states := mustOpen(t, d.FS(), Options{SegmentBytes: segmentBytesMin})
	got, err := recovered(l, states)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "segment-v1.txt", got.String())
	if l.o.Identity != 1 {
		t.Errorf("the log's identity is %d", l.o.Identity)
	}
}

// FuzzOpen gives recovery any bytes as a segment. It may refuse them with one
// clear line or open them; what it opened it can open again, to the same state,
// and append to. With mend set the checksums are made right first, so that the
// fuzzer reaches what they protect.
func FuzzOpen(f *testing.F) {
	sample := sampleLog(f)
	f.Add(sample, false)
	f.Add(sample, true)
	f.Add(sample[:len(sample)/2], true)
	f.Add([]byte(segmentMagic), false)
	o := Options{SegmentBytes: segmentBytesMin, Identity: 1}
	f.Fuzz(func(t *testing.T, b []byte, mend bool) {
		if len(b) > segmentBytesMin {
			return
		}
		b = append(append([]byte(nil), b...), make([]byte, segmentBytesMin-len(b))...)
		if mend {
			mendSegment(b)
		}
		d := vfs.NewDisk(vfs.DiskOptions{})
		put(t, d.FS(), segmentName(1), b)
		if err := d.FS().SyncDir("."); err != nil {
			t.Fatal(err)
		}
		l, states, err := Open(d.FS(), "wal", o)
		if err != nil {
			if strings.Contains(err.Error(), "\n") || errors.As(err, new(*ErrPoisoned)) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		first, err := recovered(l, states)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, startOf(1<<40, 0, 0))
		mustSync(t, l)
		d.CrashWith(vfs.LossAll)
		l, states = mustOpen(t, d.FS(), o)
		again, err := recovered(l, states)
		if err != nil {
			t.Fatal(err)
		}
		delete(again.groups, 1<<40)
		if first.String() != again.String() {
			t.Fatalf("opened as\n%s\nand then as\n%s", first, again)
		}
	})
}

// mendSegment makes the checksums of a segment right where its lengths allow.
func mendSegment(b []byte) {
	copy(b, segmentHeader{segment: 1, identity: 1, bytes: segmentBytesMin}.encode())
	salt := saltOf(1, 1)
	chain := salt
	for off := segmentHeaderBytes; off+frameHeaderBytes <= len(b) && string(b[off:off+4]) == frameMagic; {
		payload := int(uint32(b[off+4])|uint32(b[off+5])<<8) &^ (frameAlign - 1)
		if off+frameHeaderBytes+payload > len(b) {
			return
		}
		for k, at := frameHeaderBytes, off+frameHeaderBytes; k < payload; k += 16 {
			mendChecksums(b[at : at+payload-frameHeaderBytes])
			break
		}
		chain = putFrameHeader(b[off:off+frameHeaderBytes+payload], salt, chain, int64(off), 0, 0)
		off += frameHeaderBytes + payload
	}
}
