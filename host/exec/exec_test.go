package exec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
	"github.com/quorate/quorate/snapshot"
	"github.com/quorate/quorate/vfs"
	"github.com/quorate/quorate/wal"
	"github.com/quorate/quorate/wire"
)

// sum is a state machine that adds numbers up. Kept between crashes of a durable
// one is what was flushed.
type sum struct {
	applied id.Index
	term    id.Term
	total   uint64
}

func (s *sum) Apply(b rsm.Batch, results []rsm.Result) ([]rsm.Result, error) {
	for _, c := range b.Commands {
		s.total += uint64(c.Data[0])
		results = append(results, binary.AppendUvarint(nil, s.total))
	}
	s.applied, s.term = b.Applied, b.Term
	return results, nil
}
func (s *sum) View() rsm.View { return sumView(*s) }
func (s *sum) Restore(m rsm.Meta, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.applied, s.term, s.total = m.Index, m.Term, binary.LittleEndian.Uint64(b)
	return nil
}

type sumView sum

func (v sumView) Applied() id.Index { return v.applied }
func (v sumView) Close() error      { return nil }
func (v sumView) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(binary.LittleEndian.AppendUint64(nil, v.total))
	return int64(n), err
}

// durableSum is the same with storage: what survives a crash is flushed.
type durableSum struct {
	sum
	flushed *sum // outlives the machine
}

func (s *durableSum) Open() (id.Index, id.Term, error) {
	s.sum = *s.flushed
	return s.applied, s.term, nil
}
func (s *durableSum) Flushed() (id.Index, error) { return s.flushed.applied, nil }
func (s *durableSum) Flush() error               { *s.flushed = s.sum; return nil }

const testGroup = id.GroupID(3)

func testConfig() membership.Config {
	c, err := membership.Bootstrap([]membership.Member{
		{ID: id.NodeID{Node: 1}, Role: membership.Voter}, {ID: id.NodeID{Node: 2}, Role: membership.Voter},
	})
	if err != nil {
		panic(err)
	}
	return c
}

func testOptions() Options {
	return Options{Cluster: 9, Self: id.NodeID{Node: 1}, Directory: id.DirectoryID{1, 2, 3}, WAL: wal.Options{SegmentBytes: 16 << 10}}
}

func entry(i id.Index, t id.Term, n byte) raft.Entry {
	e := raft.Entry{Term: t, Index: i, Kind: raft.EntryCommand, Data: []byte{n}}
	wire.Seal(&e)
	return e
}

func appendWrite(t id.Term, entries ...raft.Entry) host.Persist {
	return host.Persist{Token: 1, MustSync: true, Writes: []host.GroupWrite{{
		Group: testGroup, Kind: host.WriteAppend, Hard: raft.HardState{Term: t}, Entries: entries,
	}}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestDirectoryIsRecognizedAndItsStartsAreCounted(t *testing.T) {
	disk := vfs.NewDisk(vfs.DiskOptions{Seed: 1})
	for boot := uint32(1); boot <= 3; boot++ {
		d, err := Open(disk.FS(), testOptions())
		must(t, err)
		if i := d.Identity(); i.Boot != boot || i.Cluster != 9 || i.Directory != (id.DirectoryID{1, 2, 3}) {
			t.Errorf("start %d: %+v", boot, i)
		}
		if _, err := Open(disk.FS(), testOptions()); !errors.Is(err, vfs.ErrLocked) {
			t.Errorf("a second open of a directory in use: %v", err)
		}
		must(t, d.Close())
	}
	other := testOptions()
	other.Cluster = 10
	if _, err := Open(disk.FS(), other); !errors.Is(err, ErrOtherCluster) {
		t.Errorf("another cluster: %v", err)
	}
	other = testOptions()
	other.Self.Incarnation = 1
	if _, err := Open(disk.FS(), other); !errors.Is(err, ErrOtherNode) {
		t.Errorf("another incarnation: %v", err)
	}
}

func TestDamagedIdentityIsRefusedWithTheReason(t *testing.T) {
	good := Identity{Cluster: 9, Self: id.NodeID{Node: 1, Incarnation: 2}, Directory: id.DirectoryID{7}, Boot: 4}.encode()
	if i, err := decodeIdentity(good); err != nil || i.Boot != 4 || i.Self.Incarnation != 2 {
		t.Fatalf("%+v, %v", i, err)
	}
	for at := range good {
		for _, mask := range []byte{1, 0x20} {
			bad := append([]byte(nil), good...)
			bad[at] ^= mask
			if i, err := decodeIdentity(bad); err == nil && i != (Identity{Cluster: 9, Self: id.NodeID{Node: 1, Incarnation: 2}, Directory: id.DirectoryID{7}, Boot: 4}) {
				t.Errorf("byte %d flipped by %#x reads as %+v", at, mask, i)
			}
		}
		if _, err := decodeIdentity(good[:at]); err == nil {
			t.Errorf("cut to %d bytes it is accepted", at)
		}
	}
	if _, err := decodeIdentity([]byte(strings.Replace(string(good), "identity 1", "identity 2", 1))); err == nil || !strings.Contains(err.Error(), "version is 2") {
		t.Errorf("another version: %v", err)
	}
}

// A power cut in any file operation of the first start leaves a directory that
// opens.
func TestPowerCutWhileADirectoryIsMade(t *testing.T) {
	probe := vfs.NewDisk(vfs.DiskOptions{Seed: 1})
	d, err := Open(probe.FS(), testOptions())
	must(t, err)
	must(t, d.Bootstrap(testGroup, testConfig()))
	calls := probe.Calls()
	for cut := 1; cut <= calls; cut++ {
		disk := vfs.NewDisk(vfs.DiskOptions{Seed: uint64(cut)})
		cutAt(disk, cut)
		if d, err := Open(disk.FS(), testOptions()); err == nil {
			d.Bootstrap(testGroup, testConfig())
		}
		disk.SetHook(nil)
		disk.Crash()
		d, err := Open(disk.FS(), testOptions())
		if err != nil {
			t.Fatalf("cut in call %d of %d: %v", cut, calls, err)
		}
		if len(d.Groups()) == 0 {
			must(t, d.Bootstrap(testGroup, testConfig()))
		}
		if _, _, err := d.OpenGroup(testGroup, &sum{}); err != nil {
			t.Fatalf("cut in call %d of %d: %v", cut, calls, err)
		}
	}
}

var errCut = errors.New("power cut")

// cutAt makes every file call from the n-th on fail, as if the process were gone.
func cutAt(d *vfs.Disk, n int) {
	d.SetHook(func(vfs.Op) error {
		if n--; n < 0 {
			return errCut
		}
		return nil
	})
}

// installer runs a snapshot installation in the host's order; it stops at the
// first error.
func installer(d *Disk, g *Group, body []byte) error {
	meta := raft.SnapshotMeta{Index: 10, Term: 2, Config: testConfig()}
	var stream strings.Builder
	if _, err := (snapshot.Stream{Meta: meta, Body: strings.NewReader(string(body))}).WriteTo(&stream); err != nil {
		return err
	}
	if err := g.Receive(meta, strings.NewReader(stream.String())); err != nil {
		return err
	}
	write := func(w host.GroupWrite) error {
		w.Group = testGroup
		_, err := d.Persist([]host.Persist{{Token: 1, MustSync: true, Writes: []host.GroupWrite{w}}})
		return err
	}
	if err := write(host.GroupWrite{Kind: host.WriteIntent, Snapshot: meta}); err != nil {
		return err
	}
	if done := g.Install(host.Install{Group: testGroup, Snapshot: meta}); done.Err != nil {
		return done.Err
	}
	start := raft.LogStart{Index: 10, Term: 2, Config: testConfig()}
	if err := write(host.GroupWrite{Kind: host.WriteReset, Hard: raft.HardState{Term: 2, Commit: 10}, Start: start}); err != nil {
		return err
	}
	if _, err := d.Persist([]host.Persist{appendWrite(2, entry(11, 2, 1))}); err != nil {
		return err
	}
	return nil
}

// prepare makes a group with three entries of which two are applied (1 + 2 = 3).
func prepare(t *testing.T, disk *vfs.Disk, m rsm.Machine) (*Disk, *Group) {
	t.Helper()
	d, err := Open(disk.FS(), testOptions())
	must(t, err)
	must(t, d.Bootstrap(testGroup, testConfig()))
	g, _, err := d.OpenGroup(testGroup, m)
	must(t, err)
	_, err = d.Persist([]host.Persist{appendWrite(1, entry(1, 1, 1), entry(2, 1, 2), entry(3, 1, 3))})
	must(t, err)
	if done := g.Apply(host.Apply{Group: testGroup, Entries: []raft.Entry{entry(1, 1, 1), entry(2, 1, 2)}}); done.Err != nil {
		t.Fatal(done.Err)
	}
	return d, g
}

// A power cut at every file operation of an installation, with many legal losses:
// the group opens with the old state and log or with the new, never a mixture.
func TestInstallationCutShortIsFinishedOrForgotten(t *testing.T) {
	snapshotTotal := uint64(500)
	body := binary.LittleEndian.AppendUint64(nil, snapshotTotal)
	for _, durable := range []bool{false, true} {
		t.Run(fmt.Sprintf("durable=%v", durable), func(t *testing.T) {
			machine := func(flushed *sum) rsm.Machine {
				if durable {
					return &durableSum{flushed: flushed}
				}
				return &sum{}
			}
			probe := vfs.NewDisk(vfs.DiskOptions{Seed: 1})
			d, g := prepare(t, probe, machine(&sum{}))
			before := probe.Calls()
			must(t, installer(d, g, body))
			calls := probe.Calls() - before
			finished := 0
			for cut := 1; cut <= calls+1; cut++ {
				for seed := range uint64(6) {
					disk := vfs.NewDisk(vfs.DiskOptions{Seed: seed*1000 + uint64(cut)})
					flushed := &sum{}
					d, g := prepare(t, disk, machine(flushed))
					cutAt(disk, cut)
					err := installer(d, g, body)
					disk.SetHook(nil)
					disk.Crash()
					if cut == calls+1 && err != nil {
						t.Fatal(err)
					}
					d, openErr := Open(disk.FS(), testOptions())
					if openErr != nil {
						t.Fatalf("cut in call %d of %d: %v", cut, calls, openErr)
					}
					m := machine(flushed)
					g, r, openErr := d.OpenGroup(testGroup, m)
					if openErr != nil {
						t.Fatalf("cut in call %d of %d: %v", cut, calls, openErr)
					}
					total := total(g)
					switch {
					case r.Start.Index == 0 && r.Last == 3 && r.Applied <= 2 && total <= 3:
						if err == nil {
							t.Fatalf("cut in call %d: the finished installation is lost", cut)
						}
					case r.Start.Index == 10 && r.Applied == 10 && total == snapshotTotal && (r.Last == 10 || r.Last == 11):
						finished++
					default:
						t.Fatalf("cut in call %d of %d: log (%d, %d], applied %d, total %d", cut, calls, r.Start.Index, r.Last, r.Applied, total)
					}
				}
			}
			if finished < 6 || finished == (calls+1)*6 {
				t.Fatalf("%d of %d runs ended with the snapshot: some must, and not all", finished, (calls+1)*6)
			}
		})
	}
}

func total(g *Group) uint64 {
	p := g.Acquire()
	defer p.Release()
	return p.View.(sumView).total
}

// Without the Flush the log forgets what the machine has not kept: recovery says
// so instead of going on.
func TestSkippedInstallFlushIsSeenAtRecovery(t *testing.T) {
	broken, err := faults.New(faults.SkipInstallFlush)
	must(t, err)
	disk := vfs.NewDisk(vfs.DiskOptions{Seed: 1})
	flushed := &sum{}
	d, g := prepare(t, disk, &durableSum{flushed: flushed})
	d.faults = broken
	must(t, installer(d, g, binary.LittleEndian.AppendUint64(nil, 500)))
	disk.Crash()
	d, err = Open(disk.FS(), testOptions())
	must(t, err)
	if _, _, err := d.OpenGroup(testGroup, &durableSum{flushed: flushed}); err == nil || !strings.Contains(err.Error(), "do not belong together") {
		t.Errorf("the lost state is not seen: %v", err)
	}
}

func TestMachineInMemoryComesBackFromItsSnapshotAndTheLog(t *testing.T) {
	disk := vfs.NewDisk(vfs.DiskOptions{Seed: 1})
	d, g := prepare(t, disk, &sum{})
	if saved := g.Snapshot(); saved.Err != nil || saved.Index != 2 {
		t.Fatalf("%+v", saved)
	}
	done := g.Apply(host.Apply{Group: testGroup, Entries: []raft.Entry{entry(3, 1, 3)}})
	if done.Err != nil || done.Flushed != 2 {
		t.Fatalf("%+v: what survives a crash is the snapshot", done)
	}
	_, err := d.Persist([]host.Persist{{Token: 2, MustSync: true, Writes: []host.GroupWrite{
		{Group: testGroup, Kind: host.WriteStart, Start: raft.LogStart{Index: 2, Term: 1, Config: testConfig()}},
	}}})
	must(t, err)
	disk.Crash()
	d, err = Open(disk.FS(), testOptions())
	must(t, err)
	g, r, err := d.OpenGroup(testGroup, &sum{})
	must(t, err)
	if r.Applied != 2 || r.Start.Index != 2 || r.Last != 3 || total(g) != 3 {
		t.Errorf("log (%d, %d], applied %d, total %d", r.Start.Index, r.Last, r.Applied, total(g))
	}
}

func TestGroupIsNotStartedTwiceAndNotFromNothing(t *testing.T) {
	disk := vfs.NewDisk(vfs.DiskOptions{Seed: 1})
	d, _ := prepare(t, disk, &sum{})
	if _, _, err := d.OpenGroup(8, &sum{}); !errors.Is(err, ErrNoData) {
		t.Errorf("resume of nothing: %v", err)
	}
	must(t, d.Close())
	d, err := Open(disk.FS(), testOptions())
	must(t, err)
	if err := d.Bootstrap(testGroup, testConfig()); !errors.Is(err, ErrHasData) {
		t.Errorf("bootstrap over data: %v", err)
	}
	if err := d.Join(testGroup); !errors.Is(err, ErrHasData) {
		t.Errorf("join over data: %v", err)
	}
}

func TestViewIsClosedByItsLastUser(t *testing.T) {
	disk := vfs.NewDisk(vfs.DiskOptions{Seed: 1})
	_, g := prepare(t, disk, &sum{})
	old := g.Acquire()
	if done := g.Apply(host.Apply{Group: testGroup, Entries: []raft.Entry{entry(3, 1, 3)}}); done.Err != nil {
		t.Fatal(done.Err)
	}
	if old.View.Applied() != 2 || total(g) != 6 {
		t.Errorf("the pinned view is of %d, the published total %d", old.View.Applied(), total(g))
	}
	old.Release()
	defer func() {
		if recover() == nil {
			t.Error("a second release goes unnoticed")
		}
	}()
	old.Release()
}
