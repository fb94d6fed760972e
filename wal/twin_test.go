package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/vfs"
)

// twin is the log in memory, as naive as can be: what every group's log is after
// each record.
type twin struct {
	groups map[id.GroupID]*twinGroup
}

type twinGroup struct {
	hard    raft.HardState
	start   raft.LogStart
	intent  *raft.SnapshotMeta
	entries []raft.Entry
}

func (t *twin) clone() *twin {
	c := &twin{groups: map[id.GroupID]*twinGroup{}}
	for g, s := range t.groups {
		copied := *s
		copied.entries = s.entries[:len(s.entries):len(s.entries)] // apply never changes one in place
		c.groups[g] = &copied
	}
	return c
}

func (t *twin) apply(r Record) {
	g := t.groups[r.Group]
	if g == nil {
		if r.Kind == RecordDrop {
			return
		}
		g = &twinGroup{}
		t.groups[r.Group] = g
	}
	switch r.Kind {
	case RecordAppend:
		g.hard = r.Hard
		if len(r.Entries) > 0 {
			keep := 0
			for keep < len(g.entries) && g.entries[keep].Index < r.Entries[0].Index {
				keep++
			}
			g.entries = append(g.entries[:keep:keep], r.Entries...)
		}
	case RecordStart:
		if r.Start.Index < g.start.Index {
			return
		}
		g.start = r.Start
		for len(g.entries) > 0 && g.entries[0].Index <= r.Start.Index {
			g.entries = g.entries[1:]
		}
	case RecordIntent:
		m := r.Snapshot
		g.intent = &m
	case RecordReset:
		*g = twinGroup{hard: r.Hard, start: r.Start}
	case RecordDrop:
		delete(t.groups, r.Group)
	}
}

// String is everything a log has to give back, in a form to compare.
func (t *twin) String() string {
	var b strings.Builder
	for g := id.GroupID(1); g < 10; g++ {
		s := t.groups[g]
		if s == nil {
			continue
		}
		fmt.Fprintf(&b, "g%d %+v start %+v intent %+v:", g, s.hard, s.start, s.intent)
		for _, e := range s.entries {
			fmt.Fprintf(&b, " %d/%d#%x", e.Term, e.Index, e.Encoded[len(e.Encoded)-4:])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// recovered builds a twin from what a log gave back, and checks that its parts
// agree with each other.
func recovered(l *Log, states []GroupState) (*twin, error) {
	t := &twin{groups: map[id.GroupID]*twinGroup{}}
	for _, s := range states {
		r := s.Restored
		g := &twinGroup{hard: r.Hard, start: r.Start, intent: s.Intent}
		t.groups[s.Group] = g
		var terms []raft.TermRun
		var configs []raft.ConfigAt
		for from := r.Start.Index + 1; from <= r.Last; {
			part, err := l.Read(s.Group, from, r.Last+1, 700)
			if err != nil {
				return nil, err
			}
			g.entries = append(g.entries, part...)
			from += id.Index(len(part))
		}
		for _, e := range g.entries {
			if n := len(terms); n == 0 || terms[n-1].Term != e.Term {
				terms = append(terms, raft.TermRun{First: e.Index, Term: e.Term})
			}
			if e.Config != nil {
				configs = append(configs, raft.ConfigAt{Index: e.Index, Config: *e.Config})
			}
		}
		if fmt.Sprint(terms) != fmt.Sprint(r.Terms) || fmt.Sprint(configs) != fmt.Sprint(r.Configs) {
			return nil, fmt.Errorf("group %d: terms %v and configurations %v of entries with %v and %v", s.Group, r.Terms, r.Configs, terms, configs)
		}
		if n := len(r.Tail); n > 0 && !reflect.DeepEqual(r.Tail, g.entries[len(g.entries)-n:]) {
			return nil, fmt.Errorf("group %d: the tail is not the end of the log", s.Group)
		}
	}
	return t, nil
}

// player drives a log and its twin with random but legal calls.
type player struct {
	r    *rand.Rand
	d    *vfs.Disk
	o    Options
	l    *Log
	now  *twin   // with everything appended
	past []*twin // from the newest durable state to now, record by record
	term id.Term
	log  []string // what was done, for the report of a failure
}

func newPlayer(seed uint64, d *vfs.Disk, o Options) *player {
	p := &player{r: rand.New(rand.NewPCG(seed, 1)), d: d, o: o, term: 1, now: &twin{groups: map[id.GroupID]*twinGroup{}}}
	p.past = []*twin{p.now.clone()}
	return p
}

func (p *player) note(format string, args ...any) {
	p.log = append(p.log, fmt.Sprintf(format, args...))
}

// record draws a legal record.
func (p *player) record(shadow *twin) Record {
	g := id.GroupID(1 + p.r.IntN(4))
	if p.r.IntN(3) > 0 {
		g = 1 // most of the work is one group's, so that the others get cold
	}
	s := shadow.groups[g]
	if s == nil {
		return startOf(g, id.Index(p.r.IntN(2)*10), 1)
	}
	last := s.start.Index + id.Index(len(s.entries))
	p.term += id.Term(p.r.IntN(2))
	hard := raft.HardState{Term: p.term, Vote: id.NodeID{Node: uint64(p.r.IntN(3))}, Commit: s.start.Index}
	switch k := p.r.IntN(20); {
	case k < 12:
		first := last + 1
		if len(s.entries) > 0 && p.r.IntN(5) == 0 {
			first = s.start.Index + 1 + id.Index(p.r.IntN(len(s.entries)))
		}
		return appendOf(g, hard, run(p.term, first, 1+p.r.IntN(6), p.r.IntN(300))...)
	case k < 14:
		return appendOf(g, hard)
	case k < 18 && g == 1, k < 15:
		return startOf(g, s.start.Index+id.Index(p.r.IntN(len(s.entries)+1)), p.term)
	case k == 18 && s.intent == nil:
		return Record{Group: g, Kind: RecordIntent, Snapshot: raft.SnapshotMeta{Index: last + 5, Term: p.term, Config: config(3)}}
	case k == 18:
		return Record{Group: g, Kind: RecordReset, Hard: hard, Start: raft.LogStart{Index: last + 5, Term: p.term, Config: config(3)}}
	case p.r.IntN(4) == 0:
		return Record{Group: g, Kind: RecordDrop}
	}
	return appendOf(g, hard, run(p.term, last+1, 1, 3000)...)
}

// step does one random thing to the log and its twin.
func (p *player) step() error {
	switch k := p.r.IntN(20); {
	case k < 11:
		var batch []Record
		shadow := p.now.clone()
		for range 1 + p.r.IntN(3) {
			r := p.record(shadow)
			shadow.apply(r)
			batch = append(batch, r)
		}
		p.note("append %s", describe(batch))
		// Until the call succeeds, any part of the batch may be on disk.
		before := p.now.clone()
		for _, r := range batch {
			p.steps(r)
		}
		err := p.l.Append(batch)
		if errors.Is(err, ErrNoSpace) {
			p.now = before
			return nil
		}
		return err
	case k < 17:
		p.note("sync")
		if err := p.l.Sync(); err != nil {
			return err
		}
		p.past = []*twin{p.now.clone()}
		return nil
	case k < 18:
		p.note("idle")
		return p.l.Idle()
	default:
		n, err := p.l.Release()
		p.note("release: %d", n)
		return err
	}
}

// steps adds the states a record leads through: a record that is split over
// segments may be there in part.
func (p *player) steps(r Record) {
	for n := 1; n < len(r.Entries); n++ {
		part := r
		part.Entries = r.Entries[:n]
		t := p.now.clone()
		t.apply(part)
		p.past = append(p.past, t)
	}
	p.now.apply(r)
	p.past = append(p.past, p.now.clone())
}

func describe(batch []Record) string {
	var out []string
	for _, r := range batch {
		s := fmt.Sprintf("g%d kind %d", r.Group, r.Kind)
		if n := len(r.Entries); n > 0 {
			s += fmt.Sprintf(" entries %d–%d", r.Entries[0].Index, r.Entries[n-1].Index)
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

// open opens the log and compares it with what it may be: the newest durable
// state or any that was reached after it.
func (p *player) open() error {
	l, states, err := Open(p.d.FS(), "wal", p.o)
	if err != nil {
		return err
	}
	p.l = l
	got, err := recovered(l, states)
	if err != nil {
		return err
	}
	for i := len(p.past) - 1; i >= 0; i-- {
		if p.past[i].String() == got.String() {
			p.note("recovered state %d of %d", i, len(p.past)-1)
			p.now, p.past = got.clone(), []*twin{got.clone()}
			return nil
		}
	}
	return fmt.Errorf("recovered\n%s\nwhich the log never was after its last sync:\n%s … %s", got, p.past[0], p.past[len(p.past)-1])
}

// TestRandomCallsAgainstTwin plays random calls and power cuts and compares with
// the twin after each recovery: everything synced is there, and what else is
// there is a prefix of what was appended.
func TestRandomCallsAgainstTwin(t *testing.T) {
	crashes, releases := 0, 0
	for seed := range uint64(60) {
		d := vfs.NewDisk(vfs.DiskOptions{Seed: seed, SectorBytes: []int64{512, 4096}[seed%2]})
		p := newPlayer(seed, d, Options{SegmentBytes: 8 << 10, PinnedBytes: 16 << 10, TailBytes: 500, Identity: seed})
		if err := p.open(); err != nil {
			t.Fatal(err)
		}
		for range 150 {
			err := p.step()
			if err == nil && p.r.IntN(15) == 0 {
				d.Crash()
				crashes++
				p.note("crash")
				err = p.open()
			}
			if err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(p.log, "\n"))
			}
		}
		if got := p.l.segments[0].number; got > 1 {
			releases++
		}
	}
	if crashes < 200 || releases < 20 {
		t.Errorf("only %d crashes and %d logs with released segments: the test shows too little", crashes, releases)
	}
}

// play opens the log and takes steps until something fails.
func (p *player) play(steps int) error {
	err := p.open()
	for k := 0; k < steps && err == nil; k++ {
		err = p.step()
	}
	return err
}

// TestCrashAtEveryFileOperation plays scripts and cuts the power inside every
// single file operation of theirs, and then once more inside the recovery, with
// several kinds of loss (the order of cutting and releasing: RAFT 16, 19, 20).
func TestCrashAtEveryFileOperation(t *testing.T) {
	o := Options{SegmentBytes: 8 << 10, PinnedBytes: 8 << 10}
	const steps = 90
	for script := range uint64(2) {
		whole := newPlayer(script, vfs.NewDisk(vfs.DiskOptions{}), o)
		if err := whole.play(steps); err != nil {
			t.Fatal(err)
		}
		if whole.l.segments[0].number == 1 {
			t.Fatalf("script %d releases nothing: it shows too little", script)
		}
		for n := range whole.d.Calls() {
			for i, loss := range []vfs.Loss{vfs.LossAll, vfs.LossPrefix, vfs.LossSubset, vfs.LossSubset} {
				d := vfs.NewDisk(vfs.DiskOptions{Seed: uint64(n*10 + i)})
				cutAt := func(n int) {
					calls := 0
					d.SetHook(func(vfs.Op) error {
						if calls++; calls == n+1 {
							d.CrashWith(loss)
						}
						return nil
					})
				}
				p := newPlayer(script, d, o)
				cutAt(n)
				if err := p.play(steps); !errors.Is(err, vfs.ErrCrashed) {
					t.Fatalf("script %d, power cut in operation %d: the log went on: %v", script, n, err)
				}
				cutAt(n % 50)
				err := p.open()
				if err == nil || errors.Is(err, vfs.ErrCrashed) {
					d.SetHook(nil)
					d.CrashWith(loss)
					err = p.open()
				}
				if err == nil {
					err = p.l.Close()
				}
				if err != nil {
					t.Fatalf("script %d, power cut in operation %d with loss %d: %v\n%s", script, n, loss, err, strings.Join(p.log, "\n"))
				}
			}
		}
	}
}
