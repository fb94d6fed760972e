package exec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
	"github.com/quorate/quorate/snapshot"
	"github.com/quorate/quorate/vfs"
	"github.com/quorate/quorate/wire"
)

// receive stores a snapshot as a peer sends it.
func receive(t *testing.T, g *Group, index id.Index, term id.Term, total uint64) raft.SnapshotMeta {
	t.Helper()
	meta := raft.SnapshotMeta{Index: index, Term: term, Config: testConfig()}
	var stream strings.Builder
	_, err := (snapshot.Stream{Meta: meta, Body: strings.NewReader(string(binary.LittleEndian.AppendUint64(nil, total)))}).WriteTo(&stream)
	must(t, err)
	must(t, g.Receive(meta, strings.NewReader(stream.String())))
	return meta
}

func snapshots(t *testing.T, g *Group) (at []id.Index) {
	t.Helper()
	list, err := g.store.List()
	must(t, err)
	for _, i := range list {
		at = append(at, i.Index)
	}
	return at
}

// A snapshot was received and the machine stopped before raft heard of it. The
// log is longer, but its entries there are another leader's, never committed.
func TestReceivedSnapshotThatConflictsWithTheLogIsNotRestored(t *testing.T) {
	disk := vfs.NewDisk(vfs.DiskOptions{Seed: 1})
	_, g := prepare(t, disk, &sum{}) // entries 1 to 3 of term 1
	receive(t, g, 2, 5, 500)
	disk.Crash()
	d, err := Open(disk.FS(), testOptions())
	must(t, err)
	g, r, err := d.OpenGroup(testGroup, &sum{})
	must(t, err)
	if r.Applied != 0 || total(g) != 0 {
		t.Errorf("applied %d with total %d from a snapshot that the log does not hold", r.Applied, total(g))
	}
	if left := snapshots(t, g); len(left) != 0 {
		t.Errorf("snapshots %v are left that nobody will ask for", left)
	}
}

// An installation that a crash cut short is forgotten, the leader sends entries
// after all, and the node starts again: the log's old intent means nothing.
func TestForgottenInstallationStaysForgottenAtLaterStarts(t *testing.T) {
	for _, durable := range []bool{false, true} {
		disk := vfs.NewDisk(vfs.DiskOptions{Seed: 1})
		flushed := &sum{}
		machine := func() rsm.Machine {
			if durable {
				return &durableSum{flushed: flushed}
			}
			return &sum{}
		}
		d, _ := prepare(t, disk, machine())
		meta := raft.SnapshotMeta{Index: 4, Term: 2, Config: testConfig()}
		_, err := d.Persist([]host.Persist{{Token: 2, MustSync: true, Writes: []host.GroupWrite{{Group: testGroup, Kind: host.WriteIntent, Snapshot: meta}}}})
		must(t, err)
		disk.Crash() // the received file rotted, say: the machine never got it
		d, err = Open(disk.FS(), testOptions())
		must(t, err)
		g, r, err := d.OpenGroup(testGroup, machine())
		must(t, err)
		if r.Last != 3 {
			t.Fatalf("durable=%v: the log ends at %d", durable, r.Last)
		}
		_, err = d.Persist([]host.Persist{appendWrite(2, entry(4, 2, 4), entry(5, 2, 5))})
		must(t, err)
		var apply []raft.Entry
		for i := r.Applied + 1; i <= 5; i++ {
			apply = append(apply, entry(i, 1+id.Term(i/4), byte(i)))
		}
		if done := g.Apply(host.Apply{Group: testGroup, Entries: apply}); done.Err != nil {
			t.Fatal(done.Err)
		}
		must(t, g.Flush())
		if !durable {
			if saved := g.Snapshot(); saved.Err != nil {
				t.Fatal(saved.Err)
			}
		}
		disk.Crash()
		d, err = Open(disk.FS(), testOptions())
		must(t, err)
		g, r, err = d.OpenGroup(testGroup, machine())
		must(t, err)
		if r.Start.Index != 0 || r.Last != 5 || r.Applied != 5 || total(g) != 15 {
			t.Errorf("durable=%v: log (%d, %d], applied %d, total %d", durable, r.Start.Index, r.Last, r.Applied, total(g))
		}
	}
}

func TestSavedSnapshotIsNotRemovedForReceivedOnes(t *testing.T) {
	disk := vfs.NewDisk(vfs.DiskOptions{Seed: 1})
	_, g := prepare(t, disk, &sum{})
	for _, at := range []id.Index{90, 95, 97} {
		receive(t, g, at, 3, 1)
	}
	if saved := g.Snapshot(); saved.Err != nil || saved.Index != 2 {
		t.Fatalf("%+v", saved)
	}
	if left := snapshots(t, g); fmt.Sprint(left) != "[97 95 2]" {
		t.Errorf("left are %v, want the saved one and the two newest received", left)
	}
}

func TestDurableMachineKeepsNoReceivedSnapshots(t *testing.T) {
	disk := vfs.NewDisk(vfs.DiskOptions{Seed: 1})
	d, g := prepare(t, disk, &durableSum{flushed: &sum{}})
	receive(t, g, 2, 1, 3) // raft will refuse it: applied already
	must(t, installer(d, g, binary.LittleEndian.AppendUint64(nil, 500)))
	if left := snapshots(t, g); fmt.Sprint(left) != "[10 2]" {
		t.Fatalf("left are %v: until an entry is applied the log's reset may not be durable", left)
	}
	receive(t, g, 20, 2, 1)
	if done := g.Apply(host.Apply{Group: testGroup, Entries: []raft.Entry{entry(11, 2, 1)}}); done.Err != nil {
		t.Fatal(done.Err)
	}
	if left := snapshots(t, g); fmt.Sprint(left) != "[20]" {
		t.Errorf("left are %v, want what may yet be installed", left)
	}
	must(t, g.Flush())
	disk.Crash()
	d, err := Open(disk.FS(), testOptions())
	must(t, err)
	m := &durableSum{flushed: &sum{applied: 11, term: 2, total: 501}}
	g, _, err = d.OpenGroup(testGroup, m)
	must(t, err)
	if left := snapshots(t, g); len(left) != 0 {
		t.Errorf("left are %v after a start", left)
	}
}

func TestOpenGroupIsNotCreatedAgain(t *testing.T) {
	disk := vfs.NewDisk(vfs.DiskOptions{Seed: 1})
	d, _ := prepare(t, disk, &sum{})
	if err := d.Bootstrap(testGroup, testConfig()); !errors.Is(err, ErrHasData) {
		t.Errorf("bootstrap of a group that runs: %v; it would empty its log", err)
	}
	if err := d.Join(testGroup); !errors.Is(err, ErrHasData) {
		t.Errorf("join of a group that runs: %v", err)
	}
	if _, _, err := d.OpenGroup(testGroup, &sum{}); err == nil || !strings.Contains(err.Error(), "open already") {
		t.Errorf("a second open: %v", err)
	}
	if entries, err := d.Log().Read(testGroup, 1, 4, 1<<20); err != nil || len(entries) != 3 {
		t.Errorf("the log holds %d entries, %v", len(entries), err)
	}
}

// A segment that cannot be removed costs space, not the disk: what was written is
// durable, and the next sync tries again.
func TestSegmentThatCannotBeRemovedIsTriedAgain(t *testing.T) {
	disk := vfs.NewDisk(vfs.DiskOptions{Seed: 1})
	d, g := prepare(t, disk, &sum{})
	big := func(i id.Index) raft.Entry {
		e := raft.Entry{Term: 1, Index: i, Kind: raft.EntryCommand, Data: make([]byte, 4<<10)}
		wire.Seal(&e)
		return e
	}
	for i := id.Index(4); i < 20; i++ {
		_, err := d.Persist([]host.Persist{appendWrite(1, big(i))})
		must(t, err)
	}
	refuse := true
	disk.SetHook(func(o vfs.Op) error {
		if refuse && o.Kind == vfs.OpRemove {
			return errors.New("operation not permitted")
		}
		return nil
	})
	segments := func() int {
		names, err := disk.FS().List("wal")
		must(t, err)
		return len(names)
	}
	before := segments()
	cut := host.Persist{Token: 30, MustSync: true, Writes: []host.GroupWrite{
		{Group: testGroup, Kind: host.WriteStart, Start: raft.LogStart{Index: 18, Term: 1, Config: testConfig()}}}}
	if durable, err := d.Persist([]host.Persist{cut}); err != nil || durable != 30 {
		t.Fatalf("durable to %d, %v", durable, err)
	}
	if segments() != before {
		t.Fatal("a segment went although it could not be removed")
	}
	refuse = false
	_, err := d.Persist([]host.Persist{appendWrite(1, big(20))})
	must(t, err)
	if after := segments(); after >= before {
		t.Errorf("%d segments, %d before: nothing was given back", after, before)
	}
	g.Close()
}
