package snapshot

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/vfs"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew; read the diff before accepting it")

func metaAt(i id.Index) raft.SnapshotMeta {
	return raft.SnapshotMeta{Index: i, Term: 4, Config: membership.Config{Version: 2, Members: []membership.Member{
		{ID: id.NodeID{Node: 1}, Role: membership.Voter, Name: "one", PeerURLs: []string{"http://127.0.0.1:2380"}},
	}}}
}

func disk() *vfs.Disk { return vfs.NewDisk(vfs.DiskOptions{Seed: 1, Record: true}) }

// raw returns all of a file; edit replaces it.
func raw(t *testing.T, f vfs.FS, name string) []byte {
	t.Helper()
	h, err := f.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	n, _ := h.Size()
	b := make([]byte, n)
	if _, err := h.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return b
}

func edit(t *testing.T, f vfs.FS, name string, b []byte) {
	t.Helper()
	h, err := f.Open(name)
	if err == nil {
		err = h.Truncate(int64(len(b)))
	}
	if err == nil {
		_, err = h.WriteAt(b, 0)
	}
	if err == nil {
		err = h.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func partials(t *testing.T, f vfs.FS) (left []string) {
	t.Helper()
	names, err := f.List("data/snap")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasSuffix(n, partialSuffix) {
			left = append(left, n)
		}
	}
	return left
}

func bodyAt(i id.Index, n int) []byte {
	b := make([]byte, n)
	rnd := rand.NewChaCha8([32]byte{byte(i)})
	_, _ = rnd.Read(b)
	return b
}

func mustOpen(t *testing.T, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open(fs, "data/snap")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func save(t *testing.T, s *Store, i id.Index, body []byte) Info {
	t.Helper()
	info, err := s.Save(metaAt(i), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func load(t *testing.T, s *Store, i Info) (raft.SnapshotMeta, []byte) {
	t.Helper()
	n, err := s.Load(i)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(n)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	return n.Meta, b
}

// A snapshot holds the last included index and term, and comes back as it was
// saved, at every size around a chunk (M68).
func TestSavedSnapshotHoldsIndexTermAndStateM68(t *testing.T) {
	s := mustOpen(t, disk().FS())
	for k, size := range []int{0, 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 3*chunkBytes + 7} {
		i := id.Index(100 + k)
		want := bodyAt(i, size)
		meta, got := load(t, s, save(t, s, i, want))
		if !reflect.DeepEqual(meta, metaAt(i)) || !bytes.Equal(got, want) {
			t.Errorf("%d bytes saved at %d: read back %d bytes, meta %+v", size, i, len(got), meta)
		}
	}
	infos, err := s.List()
	if err != nil || len(infos) != 6 || infos[0] != (Info{105, 4}) || infos[5] != (Info{100, 4}) {
		t.Errorf("list is %v, error %v; newest first was expected", infos, err)
	}
}

// The same state gives the same bytes, however it was written.
func TestSameBodySameBytes(t *testing.T) {
	body := bodyAt(1, 2*chunkBytes+100)
	var whole, dribbled bytes.Buffer
	n, err := Stream{metaAt(1), bytes.NewReader(body)}.WriteTo(&whole)
	if err != nil || n != int64(whole.Len()) {
		t.Fatalf("wrote %d, reported %d, error %v", whole.Len(), n, err)
	}
	if _, err := (Stream{metaAt(1), pieces{body, 999}}).WriteTo(&dribbled); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(whole.Bytes(), dribbled.Bytes()) {
		t.Error("writing the body in pieces made other bytes")
	}
	f := disk().FS()
	s := mustOpen(t, f)
	i, err := s.Receive(metaAt(1), iotest.HalfReader(&dribbled))
	if err != nil {
		t.Fatal(err)
	}
	if got := raw(t, f, "data/snap/"+i.File()); !bytes.Equal(got, whole.Bytes()) {
		t.Error("the file received is not the stream sent")
	}
}

// pieces writes a body in many small writes.
type pieces struct {
	b    []byte
	size int
}

func (p pieces) WriteTo(w io.Writer) (n int64, err error) {
	for part := range slices.Chunk(p.b, p.size) {
		k, err := w.Write(part)
		n += int64(k)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs.\ngot:\n%swant:\n%s", file, got, want)
	}
}

func TestGoldenFormat(t *testing.T) {
	var b bytes.Buffer
	if _, err := (Stream{metaAt(100), strings.NewReader("x=3\n")}).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "v1.hex", hex.Dump(b.Bytes()))
}

// The order of durability, as a list to be read: bytes, sync, close, name, sync
// of the directory; and nothing old goes before something new was read back.
func TestGoldenOrderOfDurability(t *testing.T) {
	d := disk()
	f := d.FS()
	var out strings.Builder
	step := func(name string, do func()) {
		d.SetHook(func(op vfs.Op) error {
			if op.Kind != vfs.OpRead && op.Kind != vfs.OpSize {
				fmt.Fprintln(&out, op)
			}
			return nil
		})
		fmt.Fprintf(&out, "# %s\n", name)
		do()
		fmt.Fprintln(&out)
	}
	var s *Store
	step("open", func() { s = mustOpen(t, f) })
	step("save 100, two chunks", func() { save(t, s, 100, bodyAt(100, chunkBytes+5)) })
	step("receive 200", func() {
		var b bytes.Buffer
		if _, err := (Stream{metaAt(200), strings.NewReader("x=3\n")}).WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Receive(metaAt(200), &b); err != nil {
			t.Fatal(err)
		}
	})
	step("save 300, prune to 1", func() {
		save(t, s, 300, []byte("y"))
		if n, err := s.Prune(1); n != 2 || err != nil {
			t.Fatalf("pruned %d, error %v", n, err)
		}
	})
	step("a body that fails", func() {
		if _, err := s.Save(metaAt(400), failingBody{}); !errors.Is(err, io.ErrNoProgress) {
			t.Fatalf("error is %v", err)
		}
	})
	golden(t, "order.txt", out.String())
}

type failingBody struct{}

func (failingBody) WriteTo(w io.Writer) (int64, error) {
	n, _ := w.Write([]byte("half"))
	return int64(n), io.ErrNoProgress
}

// The power goes at every operation of a life, and the disk loses what was not
// synced in every way it knows. Whatever Save acknowledged is there and whole;
// nothing under a snapshot's name is ever half written; partial files are gone.
func TestCrashAtEveryOperation(t *testing.T) {
	life := func(f vfs.FS) (acked []id.Index) {
		s, err := Open(f, "data/snap")
		if err != nil {
			return nil
		}
		for i := id.Index(1); i <= 3; i++ {
			var b bytes.Buffer
			if _, err := (Stream{metaAt(i), bytes.NewReader(bodyAt(i, 1600))}).WriteTo(&b); err != nil {
				t.Fatal(err)
			}
			if i == 2 {
				_, err = s.Receive(metaAt(i), &b)
			} else {
				_, err = s.Save(metaAt(i), bytes.NewReader(bodyAt(i, 1600)))
			}
			if err != nil {
				return acked
			}
			acked = append(acked, i)
			_, _ = s.Prune(2)
		}
		return acked
	}
	whole := disk()
	if got := life(whole.FS()); len(got) != 3 {
		t.Fatalf("an undisturbed life acknowledged %v", got)
	}
	lost := 0
	for dieAt := 1; dieAt <= whole.Calls(); dieAt++ {
		for seed := range uint64(8) {
			d := vfs.NewDisk(vfs.DiskOptions{Seed: seed})
			var last vfs.Op
			d.SetHook(func(op vfs.Op) error {
				if d.Calls() == dieAt {
					last = op
					d.Crash()
				}
				return nil
			})
			acked := life(d.FS())
			d.SetHook(nil)
			if d.Calls() < dieAt {
				t.Fatalf("the life ended after %d operations, before %d", d.Calls(), dieAt)
			}
			f := d.FS()
			s := mustOpen(t, f)
			infos, err := s.List()
			if err != nil {
				t.Fatal(err)
			}
			where := fmt.Sprintf("power cut at operation %d (%v), seed %d, acknowledged %v, found %v", dieAt, last, seed, acked, infos)
			if len(acked) > 0 && (len(infos) == 0 || infos[0].Index < acked[len(acked)-1]) {
				t.Fatalf("%s: an acknowledged snapshot is lost", where)
			}
			if len(infos) < 3 {
				lost++
			}
			for _, i := range infos {
				if _, got := load(t, s, i); !bytes.Equal(got, bodyAt(i.Index, 1600)) {
					t.Fatalf("%s: %s has another body", where, i.File())
				}
			}
			if left := partials(t, f); len(left) > 0 {
				t.Fatalf("%s: %v were left behind", where, left)
			}
		}
	}
	if lost == 0 {
		t.Error("no power cut ever took anything: this test shows nothing")
	}
}

// An operation that fails (the disk is full, a sync fails) makes Save fail, once,
// without a retry of the sync, and leaves the older snapshot usable.
func TestFailedOperationLeavesTheOlderSnapshot(t *testing.T) {
	probe := disk()
	s := mustOpen(t, probe.FS())
	save(t, s, 1, []byte("old"))
	before := probe.Calls()
	save(t, s, 2, bodyAt(2, 2*chunkBytes))
	for failAt := before + 1; failAt <= probe.Calls(); failAt++ {
		d := disk()
		s := mustOpen(t, d.FS())
		old := save(t, s, 1, []byte("old"))
		var failed vfs.Op
		syncs := 0
		d.SetHook(func(op vfs.Op) error {
			if op.Kind == vfs.OpSync {
				syncs++
			}
			if d.Calls() == failAt {
				failed = op
				return syscall.ENOSPC
			}
			return nil
		})
		if _, err := s.Save(metaAt(2), bytes.NewReader(bodyAt(2, 2*chunkBytes))); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%v failed with ENOSPC, Save returned %v", failed, err)
		}
		d.SetHook(nil)
		if _, got := load(t, s, old); string(got) != "old" {
			t.Fatalf("%v failed: the old snapshot is %q", failed, got)
		}
		if syncs > 1 {
			t.Errorf("%v failed: the file was synced %d times", failed, syncs)
		}
		if left := partials(t, d.FS()); len(left) > 0 {
			t.Errorf("%v failed: %v were left behind", failed, left)
		}
	}
}

// A bad sector is the disk's error, not damage; it names the file.
func TestUnreadableFileIsNotCalledDamaged(t *testing.T) {
	d := disk()
	s := mustOpen(t, d.FS())
	i := save(t, s, 2, bodyAt(2, 700))
	if err := d.FailReads("data/snap/"+i.File(), 512, 513); err != nil {
		t.Fatal(err)
	}
	_, err := s.Load(i)
	if !errors.Is(err, syscall.EIO) || errors.As(err, new(*ErrCorrupt)) || !strings.Contains(err.Error(), i.File()) {
		t.Errorf("error %v", err)
	}
}

// Every byte of a file matters: flip any, cut anywhere, and Load says so with
// file and offset; the older snapshot still loads.
func TestDamageIsFoundBeforeUse(t *testing.T) {
	f := disk().FS()
	s := mustOpen(t, f)
	old := save(t, s, 1, []byte("old"))
	i := save(t, s, 2, bodyAt(2, 700))
	name := "data/snap/" + i.File()
	good := raw(t, f, name)
	check := func(what string) {
		t.Helper()
		s := mustOpen(t, f)
		n, err := s.Load(i)
		var c *ErrCorrupt
		var v *ErrVersion
		switch {
		case err == nil:
			_ = n.Close()
			t.Errorf("%s: loaded", what)
		case errors.As(err, &v):
		case !errors.As(err, &c) || c.File != name || c.Offset < 0 || c.Offset > int64(len(good)):
			t.Errorf("%s: error does not say where: %v", what, err)
		}
		if _, err := s.Prune(1); err == nil || len(raw(t, f, "data/snap/"+old.File())) == 0 {
			t.Errorf("%s: the old snapshot was pruned although the new one is damaged (error %v)", what, err)
		}
	}
	for k := range good {
		bad := slices.Clone(good)
		bad[k] ^= 1 << (k % 8)
		edit(t, f, name, bad)
		check(fmt.Sprintf("bit flipped at %d", k))
	}
	for k := 0; k < len(good); k += 7 {
		edit(t, f, name, good[:k])
		check(fmt.Sprintf("cut to %d of %d", k, len(good)))
	}
	edit(t, f, name, append(slices.Clone(good), 0))
	check("one byte too many")
	if _, got := load(t, mustOpen(t, f), old); string(got) != "old" {
		t.Errorf("the old snapshot is %q", got)
	}
}

func TestErrorsNameFileAndOffset(t *testing.T) {
	f := disk().FS()
	s := mustOpen(t, f)
	i := save(t, s, 2, bodyAt(2, chunkBytes+9))
	data := raw(t, f, "data/snap/"+i.File())
	at := func(off int, b byte) string {
		bad := slices.Clone(data)
		bad[off] = b
		edit(t, f, "data/snap/"+i.File(), bad)
		_, err := mustOpen(t, f).Load(i)
		return fmt.Sprint(err)
	}
	second := len(data) - (frameBytes + trailerBytes + crcBytes) - (frameBytes + 9 + crcBytes)
	for _, c := range []struct {
		off  int
		b    byte
		want string
	}{
		{0, 'Q', "snapshot: data/snap/00000000000000000002-4.snap is damaged at offset 0: it does not begin as a snapshot does"},
		{8, 2, "snapshot: data/snap/00000000000000000002-4.snap has format version 2; this build reads version 1"},
		{second, 9, fmt.Sprintf("snapshot: data/snap/00000000000000000002-4.snap is damaged at offset %d: unknown kind 9 of chunk", second)},
		{second + 3, 9, fmt.Sprintf("snapshot: data/snap/00000000000000000002-4.snap is damaged at offset %d: a chunk of 589833 bytes; it must have 1 to 262144", second)},
	} {
		if got := at(c.off, c.b); got != c.want {
			t.Errorf("byte %d set to %d:\n got %s\nwant %s", c.off, c.b, got, c.want)
		}
	}
	if _, err := s.Load(Info{7, 7}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing snapshot: %v", err)
	}
}

// A stream cut, damaged or holding something else than was announced leaves no
// file; a failing connection is not called damage.
func TestBadStreamIsNotReceived(t *testing.T) {
	f := disk().FS()
	s := mustOpen(t, f)
	var b bytes.Buffer
	if _, err := (Stream{metaAt(5), bytes.NewReader(bodyAt(5, 3000))}).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(b.Bytes())
	flipped[1500] ^= 1
	for name, c := range map[string]struct {
		meta raft.SnapshotMeta
		r    io.Reader
		want string
	}{
		"cut":          {metaAt(5), bytes.NewReader(b.Bytes()[:b.Len()-20]), "ends within a chunk, 20 bytes too early"},
		"flipped":      {metaAt(5), bytes.NewReader(flipped), "checksum"},
		"other index":  {metaAt(6), bytes.NewReader(b.Bytes()), "the stream holds index 5 of term 4; index 6 of term 4 was announced"},
		"broken line":  {metaAt(5), io.MultiReader(bytes.NewReader(b.Bytes()[:900]), iotest.ErrReader(syscall.ECONNRESET)), "connection reset"},
		"empty":        {metaAt(5), strings.NewReader(""), "ends within the header"},
		"http instead": {metaAt(5), strings.NewReader("HTTP/1.1 404 Not Found\r\n"), "does not begin as a snapshot does"},
	} {
		_, err := s.Receive(c.meta, c.r)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
		if name == "broken line" && (!errors.Is(err, syscall.ECONNRESET) || errors.As(err, new(*ErrCorrupt))) {
			t.Errorf("a broken connection was reported as damage: %v", err)
		}
	}
	if names, err := f.List("data/snap"); err != nil || len(names) != 0 {
		t.Errorf("files were left behind: %v, error %v", names, err)
	}
}

// A snapshot that is being read is not pruned, and stays readable.
func TestSnapshotInUseIsKept(t *testing.T) {
	s := mustOpen(t, disk().FS())
	first := save(t, s, 1, []byte("first"))
	n, err := s.Load(first)
	if err != nil {
		t.Fatal(err)
	}
	save(t, s, 2, []byte("second"))
	if removed, err := s.Prune(1); removed != 0 || err != nil {
		t.Errorf("removed %d, error %v", removed, err)
	}
	if err := s.Remove(first); !errors.Is(err, ErrInUse) {
		t.Errorf("Remove returned %v", err)
	}
	var again bytes.Buffer
	if _, err := n.WriteTo(&again); err != nil || again.String() != "first" {
		t.Errorf("read %q, error %v", again.String(), err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if removed, err := s.Prune(1); removed != 1 || err != nil {
		t.Errorf("after Close: removed %d, error %v", removed, err)
	}
}

// On the operating system's own files.
func TestOnRealFiles(t *testing.T) {
	s, err := Open(vfs.OS(t.TempDir()), "snap/1")
	if err != nil {
		t.Fatal(err)
	}
	want := bodyAt(9, chunkBytes+77)
	if meta, got := load(t, s, save(t, s, 9, want)); !bytes.Equal(got, want) || meta.Index != 9 {
		t.Errorf("read back %d bytes of index %d", len(got), meta.Index)
	}
}

// Any bytes: no panic, memory of one chunk, and what is accepted is canonical.
func FuzzStream(f *testing.F) {
	for _, n := range []int{0, 1, 50} {
		var b bytes.Buffer
		if _, err := (Stream{metaAt(5), bytes.NewReader(bodyAt(5, n))}).WriteTo(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		d, err := newDecoder(bytes.NewReader(in), "fuzz")
		if err != nil {
			return
		}
		body, err := io.ReadAll(d)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if _, err := (Stream{d.meta, bytes.NewReader(body)}).WriteTo(&again); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Bytes(), in) {
			t.Fatalf("%x was accepted, but encodes to %x", in, again.Bytes())
		}
	})
}
