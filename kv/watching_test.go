package kv

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/engine/mem"
	"github.com/quorate/quorate/kv/mvcc"
	"github.com/quorate/quorate/kv/watch"
	"github.com/quorate/quorate/rsm"
)

// TestWhatIsReadBackIsWhatWasPublished applies a random log and compares the
// events that Apply published with those that a View reads back later, in scans
// of all sizes: a watcher must not see a difference between live and catch-up.
func TestWhatIsReadBackIsWhatWasPublished(t *testing.T) {
	for seed := uint64(1); seed <= 10; seed++ {
		log, _ := makeLog(t, seed)
		var live []watch.Event
		store := NewStore(mem.New(), Options{Publish: func(c Changes) {
			defer c.View.Close()
			if c.Revision != c.View.Revision() || c.Applied != c.View.Applied() {
				t.Fatalf("changes of revision %d, applied %d come with a view of %d, %d", c.Revision, c.Applied, c.View.Revision(), c.View.Applied())
			}
			in, err := c.ForWatch(func([]byte) bool { return true })
			if err != nil {
				t.Fatal(err)
			}
			live = append(live, in.(watch.Published).Events...)
		}})
		if _, _, err := store.Open(); err != nil {
			t.Fatal(err)
		}
		g := newGenerator(seed)
		for at := 0; at < len(log); {
			n := min(len(log), at+1+g.IntN(9))
			if _, err := store.Apply(rsm.Batch{Commands: log[at:n], Applied: log[n-1].Index, Term: log[n-1].Term}, nil); err != nil {
				t.Fatal(err)
			}
			at = n
		}
		v := store.View().(*View)
		compact := v.CompactRevision()
		for range 40 {
			s := watch.Scan{Number: 7, Key: []byte{0}, End: []byte{0}, Prev: g.flip(), LimitBytes: 1 + g.IntN(3000)}
			s.From = max(1, compact) + g.Int64N(v.Revision()-max(1, compact)+1)
			s.To = s.From + g.Int64N(v.Revision()-s.From+1)
			if g.flip() {
				s.Key, s.End = g.key(), nil
			}
			checkScan(t, v, s, live)
		}
		if compact > 1 {
			r := v.Scan(watch.Scan{Key: []byte{0}, End: []byte{0}, From: compact - 1, To: compact, LimitBytes: 1})
			if r.Compacted != compact {
				t.Errorf("a scan from before the compact revision %d: %+v", compact, r)
			}
		}
		v.Close()
	}
}

// checkScan follows a scan to its end, as a Hub would, and compares.
func checkScan(t *testing.T, v *View, s watch.Scan, live []watch.Event) {
	t.Helper()
	first := s.From
	var got []string
	for s.From <= s.To {
		r := v.Scan(s)
		if r.Err != nil || r.Compacted != 0 || r.Number != s.Number || r.Next <= s.From || r.Next > s.To+1 {
			t.Fatalf("scan %+v: next %d, compacted %d, %v", s, r.Next, r.Compacted, r.Err)
		}
		for i := range r.Events {
			e := &r.Events[i]
			if m := e.KV.ModRevision; m < s.From || m >= r.Next {
				t.Fatalf("scan %+v up to %d has an event of revision %d", s, r.Next, m)
			}
			got = append(got, describe(e))
		}
		s.From = r.Next
	}
	var want []string
	for i := range live {
		e := live[i]
		if m := e.KV.ModRevision; m < first || m > s.To || s.End == nil && string(e.KV.Key) != string(s.Key) {
			continue
		}
		if !s.Prev || e.KV.ModRevision-1 < v.CompactRevision() {
			e.Prev = nil
		}
		want = append(want, describe(&e))
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("scan %+v from %d\n got %s\nwant %s", s, first, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func describe(e *watch.Event) string {
	s := fmt.Sprintf("%d %+v", e.Type, e.KV)
	if e.Prev != nil {
		s += fmt.Sprintf(" was %+v", *e.Prev)
	}
	return s
}

func TestPrevIsTheVersionOneRevisionBefore(t *testing.T) {
	b := newBench(t)
	b.apply(putOp("a", "1", 0), putOp("b", "1", 0), putOp("a", "2", 0), Op{DeleteRange: &mvcc.DeleteRangeRequest{Key: []byte("a")}}, putOp("a", "3", 0))
	v := b.view()
	for rev, want := range map[int64]string{2: "-", 4: "1", 5: "2", 6: "-"} {
		r := v.Scan(watch.Scan{Key: []byte("a"), From: rev, To: rev, Prev: true, LimitBytes: 1})
		if len(r.Events) != 1 {
			t.Fatalf("revision %d: %+v", rev, r)
		}
		got := "-"
		if p := r.Events[0].Prev; p != nil {
			got = string(p.Value)
		}
		if got != want {
			t.Errorf("what revision %d replaced is %s, want %s", rev, got, want)
		}
		if e := r.Events[0]; e.Type == mvcc.EventDelete && (len(e.KV.Value) != 0 || e.KV.CreateRevision != 0 || e.KV.Version != 0) {
			t.Errorf("a deletion carries more than key and revision: %+v", e.KV)
		}
	}
	b.one(Op{Compact: &Compact{Revision: 4}})
	r := b.view().Scan(watch.Scan{Key: []byte("a"), From: 4, To: 5, Prev: true, LimitBytes: 1000})
	if len(r.Events) != 2 || r.Events[0].Prev != nil || r.Events[1].Prev == nil {
		t.Errorf("after compacting to 4: %+v", r)
	}
}

func TestAScanOfLargeValuesStopsInTime(t *testing.T) {
	b := newBench(t)
	for i := range 200 {
		b.apply(putOp(fmt.Sprint("k", i), strings.Repeat("x", 10_000), 0))
	}
	r := b.view().Scan(watch.Scan{Key: []byte{0}, End: []byte{0}, From: 2, To: 201, LimitBytes: 100_000})
	if n := len(r.Events); n < 10 || n > 40 || r.Next != int64(n+2) {
		t.Errorf("%d events of 10,000 bytes, next %d", n, r.Next)
	}
}

// TestWatchersOfAStore runs Hub and Store together: one watcher from the start
// of history, one from now on, over an install of a snapshot.
func TestWatchersOfAStore(t *testing.T) {
	b := newBench(t)
	b.apply(putOp("a", "1", 0), putOp("a", "2", 0))
	hub := watch.NewHub(watch.Options{}, b.view().Revision(), b.view().CompactRevision())
	seen := map[int64][]string{}
	var out watch.Output
	step := func(in ...watch.Input) {
		for hub.Step(1, in, &out); ; hub.Step(1, in, &out) {
			for _, r := range out.Responses {
				for _, e := range r.Events {
					seen[r.WatchID] = append(seen[r.WatchID], fmt.Sprintf("%s/%d", e.KV.Value, e.KV.ModRevision))
				}
			}
			scan := out.Scan
			out.Reset()
			if scan == nil {
				return
			}
			in = []watch.Input{b.view().Scan(*scan)}
		}
	}
	step(watch.OpenStream{Stream: 1},
		watch.Create{Stream: 1, WatchID: 1, Key: []byte("a"), StartRevision: 1},
		watch.Create{Stream: 1, WatchID: 2, Key: []byte("a")})
	follow := func() {
		for _, c := range b.changes {
			in, err := c.ForWatch(hub.WantsPrev)
			if err != nil {
				t.Fatal(err)
			}
			step(in)
		}
		b.changes = nil
	}
	b.changes = nil
	b.apply(putOp("a", "3", 0))
	follow()
	ahead := newBench(t)
	ahead.apply(putOp("a", "1", 0), putOp("a", "2", 0), putOp("a", "3", 0), putOp("a", "4", 0), putOp("a", "5", 0))
	var stream strings.Builder
	ahead.view().WriteTo(&stream)
	if err := b.store.Restore(rsm.Meta{Index: 5, Term: 3}, strings.NewReader(stream.String())); err != nil {
		t.Fatal(err)
	}
	b.index = id.Index(5)
	follow()
	b.apply(putOp("a", "6", 0))
	follow()
	if got := fmt.Sprint(seen[1]); got != "[1/2 2/3 3/4 4/5 5/6 6/7]" {
		t.Errorf("the first saw %s", got)
	}
	if got := fmt.Sprint(seen[2]); got != "[3/4 4/5 5/6 6/7]" {
		t.Errorf("the second saw %s", got)
	}
}
