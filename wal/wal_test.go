package wal

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/vfs"
	"github.com/quorate/quorate/wire"
)

const small = 16 << 10 // bytes of a segment in most tests

func entry(term id.Term, index id.Index, data string) raft.Entry {
	e := raft.Entry{Term: term, Index: index, Kind: raft.EntryCommand, Data: []byte(data)}
	wire.Seal(&e)
	return e
}

// run returns count entries from first on.
func run(term id.Term, first id.Index, count, bytes int) []raft.Entry {
	var out []raft.Entry
	for i := range count {
		out = append(out, entry(term, first+id.Index(i), fmt.Sprintf("%d/%d %s", term, int(first)+i, strings.Repeat("x", bytes))))
	}
	return out
}

func appendOf(g id.GroupID, h raft.HardState, entries ...raft.Entry) Record {
	return Record{Group: g, Kind: RecordAppend, Hard: h, Entries: entries}
}

func startOf(g id.GroupID, index id.Index, term id.Term) Record {
	return Record{Group: g, Kind: RecordStart, Start: raft.LogStart{Index: index, Term: term, Config: config(uint64(index))}}
}

func config(version uint64) membership.Config {
	return membership.Config{Version: version, Members: []membership.Member{
		{ID: id.NodeID{Node: 1}, Role: membership.Voter, Name: "one", PeerURLs: []string{"http://one:1"}},
	}}
}

func mustOpen(t testing.TB, fs vfs.FS, o Options) (*Log, []GroupState) {
	t.Helper()
	l, states, err := Open(fs, "wal", o)
	if err != nil {
		t.Fatalf("opening the log: %v", err)
	}
	return l, states
}

func mustAppend(t testing.TB, l *Log, batch ...Record) {
	t.Helper()
	if err := l.Append(batch); err != nil {
		t.Fatalf("appending: %v", err)
	}
}

func mustSync(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Sync(); err != nil {
		t.Fatalf("syncing: %v", err)
	}
}

func readAll(t testing.TB, l *Log, g id.GroupID, from, to id.Index) []raft.Entry {
	t.Helper()
	entries, err := l.Read(g, from, to, 1<<30)
	if err != nil {
		t.Fatalf("reading [%d, %d) of group %d: %v", from, to, g, err)
	}
	return entries
}

func TestWhatWasSyncedComesBack(t *testing.T) {
	d := vfs.NewDisk(vfs.DiskOptions{})
	l, states := mustOpen(t, d.FS(), Options{SegmentBytes: small})
	if len(states) != 0 {
		t.Fatalf("a new log knows %v", states)
	}
	hard := raft.HardState{Term: 3, Vote: id.NodeID{Node: 2}, Commit: 4}
	change := raft.Entry{Term: 3, Index: 6, Kind: raft.EntryConfig, Config: new(membership.Config)}
	*change.Config = config(9)
	wire.Seal(&change)
	mustAppend(t, l, startOf(1, 0, 0), startOf(7, 100, 2))
	mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, run(1, 1, 3, 10)...), appendOf(7, hard, run(3, 101, 2, 10)...))
	mustSync(t, l)
	mustAppend(t, l, appendOf(1, hard, append(run(3, 3, 3, 10), change)...))
	mustSync(t, l)
	d.CrashWith(vfs.LossAll)

	l, states = mustOpen(t, d.FS(), Options{SegmentBytes: small})
	if len(states) != 2 || states[0].Group != 1 || states[1].Group != 7 {
		t.Fatalf("recovered %+v", states)
	}
	want := raft.Restored{
		Hard: hard, Start: startOf(1, 0, 0).Start, Last: 6,
		Terms:   []raft.TermRun{{First: 1, Term: 1}, {First: 3, Term: 3}},
		Configs: []raft.ConfigAt{{Index: 6, Config: config(9)}},
	}
	tail := states[0].Restored.Tail
	states[0].Restored.Tail = nil
	if !reflect.DeepEqual(states[0].Restored, want) {
		t.Errorf("group 1:\n got %+v\nwant %+v", states[0].Restored, want)
	}
	if len(tail) != 6 || !reflect.DeepEqual(tail, readAll(t, l, 1, 1, 7)) {
		t.Errorf("the tail is %+v", tail)
	}
	if string(tail[1].Data[:3]) != "1/2" || string(tail[2].Data[:3]) != "3/3" || tail[5].Config.Version != 9 {
		t.Errorf("entries are %+v", tail)
	}
	if s := states[1].Restored; s.Start.Index != 100 || s.Last != 102 || !reflect.DeepEqual(s.Start.Config, config(100)) {
		t.Errorf("group 7: %+v", s)
	}
}

func TestSegmentsFollowEachOther(t *testing.T) {
	d := vfs.NewDisk(vfs.DiskOptions{})
	l, _ := mustOpen(t, d.FS(), Options{SegmentBytes: small})
	mustAppend(t, l, startOf(1, 0, 0))
	var all []raft.Entry
	for k := range 60 {
		batch := run(1, id.Index(len(all)+1), 1+k%7, 100*(k%9))
		all = append(all, batch...)
		mustAppend(t, l, appendOf(1, raft.HardState{Term: 1}, batch...))
		mustSync(t, l)
		if k%20 == 19 {
			if got := readAll(t, l, 1, 1, id.Index(len(all)+1)); !reflect.DeepEqual(got, all) {
				t.Fatalf("after %d batches the log reads differently", k)
			}
			d.CrashWith(vfs.LossAll)
			l, _ = mustOpen(t, d.FS(), Options{SegmentBytes: small})
		}
	}
	if len(l.segments) < 4 {
		t.Fatalf("only %d segments: the test shows nothing", len(l.segments))
	}
	// A batch larger than a segment is spread over several.
	big := run(2, id.Index(len(all)+1), 40, 1000)
	all = append(all, big...)
	mustAppend(t, l, appendOf(1, raft.HardState{Term: 2}, big...))
	if got := readAll(t, l, 1, 1, id.Index(len(all)+1)); !reflect.DeepEqual(got, all) {
		t.Fatal("what is not synced yet reads differently")
	}
	mustSync(t, l)
	d.CrashWith(vfs.LossAll)
	l, states := mustOpen(t, d.FS(), Options{SegmentBytes: small})
	if states[0].Restored.Last != id.Index(len(all)) {
		t.Fatalf("the log ends at %d", states[0].Restored.Last)
	}
	if got := readAll(t, l, 1, 1, id.Index(len(all)+1)); !reflect.DeepEqual(got, all) {
		t.Fatal("the recovered log reads differently")
	}
}

func TestReadHonoursItsLimits(t *testing.T) {
	d := vfs.NewDisk(vfs.DiskOptions{})
	l, _ := mustOpen(t, d.FS(), Options{SegmentBytes: small})
	all := run(1, 11, 10, 100)
	mustAppend(t, l, startOf(1, 10, 1), appendOf(1, raft.HardState{Term: 1}, all...))
	one := len(all[0].Encoded)
	for _, c := range []struct {
		from, to id.Index
		limit    int
		want     int
	}{
		{11, 21, 1 << 20, 10}, {11, 99, 1 << 20, 10}, {15, 17, 1 << 20, 2}, {11, 21, 0, 1},
		{11, 21, 3 * one, 3}, {11, 21, 3*one - 1, 2}, {21, 22, 100, 0}, {15, 15, 100, 0},
	} {
		got, err := l.Read(1, c.from, c.to, c.limit)
		if err != nil || len(got) != c.want || (len(got) > 0 && got[0].Index != c.from) {
			t.Errorf("Read(%d, %d, %d) gave %d entries, %v; want %d", c.from, c.to, c.limit, len(got), err, c.want)
		}
	}
	for _, from := range []id.Index{1, 10} {
		if _, err := l.Read(1, from, 12, 1); !errors.Is(err, ErrGone) {
			t.Errorf("reading %d: %v", from, err)
		}
	}
	if _, err := l.Read(9, 1, 2, 1); !errors.Is(err, ErrGone) {
		t.Errorf("reading a group that is not there: %v", err)
	}
}
