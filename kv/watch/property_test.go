package watch

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/mvcc"
)

var seedFlag = flag.Uint64("seed", 0, "run TestEveryEventOnceInOrder with this seed only")

// TestEveryEventOnceInOrder runs a Hub against a naive twin: a list of all
// events, of which a watcher is to get those of its range and filters from its
// start on. Changes, compactions, snapshots, slow streams, scans that take their
// time and stop early, cancels and progress come in any order.
func TestEveryEventOnceInOrder(t *testing.T) {
	first, last := uint64(1), uint64(250)
	if *seedFlag != 0 {
		first, last = *seedFlag, *seedFlag
	}
	total := tally{}
	for seed := first; seed <= last; seed++ {
		p := newPlay(t, seed)
		if err := p.run(); err != nil {
			t.Fatalf("seed %d: %v\nreplay: go test ./kv/watch -run TestEveryEventOnceInOrder -seed %d", seed, err, seed)
		}
		total.add(p.tally)
	}
	t.Logf("%+v", total)
	if *seedFlag == 0 && (total.Events < 5000 || total.CaughtUp < 500 || total.Compacted < 50 || total.Progress < 200 ||
		total.Fragments < 50 || total.Restored < 50 || total.Lagged < 100) {
		t.Fatalf("the runs do not reach what they are about: %+v", total)
	}
}

type tally struct {
	Events, CaughtUp, Compacted, Progress, Fragments, Restored, Lagged int
}

func (a *tally) add(b tally) {
	a.Events += b.Events
	a.CaughtUp += b.CaughtUp
	a.Compacted += b.Compacted
	a.Progress += b.Progress
	a.Fragments += b.Fragments
	a.Restored += b.Restored
	a.Lagged += b.Lagged
}

// play is a desk with a client that believes nothing.
type play struct {
	*desk
	tally
	random  *rand.Rand
	streams map[StreamID]*client
	pending *Scan
	deaf    int64 // the Hub knows of revisions up to here
}

type client struct {
	id       StreamID
	watchers map[int64]*twin
	unsent   []int
}

// twin is what a watcher should see.
type twin struct {
	create Create
	span   interest
	next   int64 // the next event it expects has this revision or a later one
	parts  int   // events of revision next-… already seen in fragments
}

func newPlay(t *testing.T, seed uint64) *play {
	random := rand.New(rand.NewPCG(seed, 2))
	o := Options{
		StreamBytesMax: 300 + random.IntN(2000), FragmentBytes: 80 + random.IntN(200),
		ScanRevisionsMax: 1 + random.Int64N(20), ScanBytesMax: 1 + random.IntN(800),
		ProgressInterval: id.Duration(1+random.IntN(50)) * id.Second,
	}
	return &play{
		desk: newDesk(t, o), random: random, deaf: 1,
		streams: map[StreamID]*client{1: {id: 1, watchers: map[int64]*twin{}}},
	}
}

var keys = []string{"a", "aa", "ab", "b", "ba", "c", "ca", "d"}

func (p *play) key() string { return keys[p.random.IntN(len(keys))] }

func (p *play) run() error {
	for range 300 {
		if err := p.disturb(); err != nil {
			return err
		}
	}
	// Let everything arrive.
	for n := 0; p.hub.Stats().Behind > 0 || p.pending != nil || n == 0; n++ {
		if n > 2000 {
			return fmt.Errorf("after %d steps %+v", n, p.hub.Stats())
		}
		for s := StreamID(1); s <= 3; s++ {
			if err := p.send(s, true); err != nil {
				return err
			}
		}
		if err := p.finishScan(); err != nil {
			return err
		}
	}
	for _, s := range p.streams {
		for w, twin := range s.watchers {
			if e := p.expected(twin); e != nil {
				return fmt.Errorf("stream %d watcher %d never got %s", s.id, w, showEvent(e, true))
			}
		}
	}
	return nil
}

func (p *play) disturb() error {
	s := StreamID(1 + p.random.IntN(3))
	switch n := p.random.IntN(100); {
	case n < 40:
		return p.write()
	case n < 55:
		return p.send(s, false)
	case n < 70:
		return p.finishScan()
	case n < 82:
		return p.create(s)
	case n < 85:
		return p.cancel(s)
	case n < 90:
		return p.step(RequestProgress{s})
	case n < 94:
		p.now += id.Time(id.Duration(p.random.IntN(30)) * id.Second)
		return p.step()
	case n < 97 && p.deaf > 2:
		p.compact = max(p.compact, 1+p.random.Int64N(p.deaf))
		if p.random.IntN(2) == 0 {
			return nil // the Hub hears of it with the next change, a scan at once
		}
		return p.step(p.published(nil))
	case n < 98:
		p.Restored++
		for range p.random.IntN(10) {
			p.mutate()
		}
		p.deaf = p.rev
		return p.step(Restored{Revision: p.rev, CompactRevision: p.compact})
	case p.streams[s] != nil && n < 99:
		delete(p.streams, s)
		return p.step(CloseStream{s})
	case p.streams[s] == nil:
		p.streams[s] = &client{id: s, watchers: map[int64]*twin{}}
		return p.step(OpenStream{s})
	}
	return nil
}

// mutate makes a revision.
func (p *play) mutate() []Event {
	var ops []string
	used := map[string]bool{}
	for range 1 + p.random.IntN(4) {
		k := p.key()
		if used[k] {
			continue
		}
		used[k] = true
		if p.random.IntN(4) == 0 {
			ops = append(ops, "-"+k)
		} else {
			ops = append(ops, fmt.Sprintf("%s=%d", k, p.random.IntN(1000)))
		}
	}
	return p.change(ops...)
}

func (p *play) write() error {
	var events []Event
	for range 1 + p.random.IntN(3) {
		events = append(events, p.mutate()...)
	}
	p.deaf = p.rev
	for i := range events {
		if e := &events[i]; e.Prev != nil && !p.hub.WantsPrev(e.KV.Key) {
			e.Prev = nil
		}
	}
	behind := p.hub.Stats().Behind
	err := p.step(p.published(events))
	p.Lagged += max(0, p.hub.Stats().Behind-behind)
	return err
}

func (p *play) send(s StreamID, all bool) error {
	c := p.streams[s]
	if c == nil || len(c.unsent) == 0 {
		return nil
	}
	n := len(c.unsent)
	if !all {
		n = 1 + p.random.IntN(n)
	}
	bytes := 0
	for _, b := range c.unsent[:n] {
		bytes += b
	}
	c.unsent = c.unsent[n:]
	return p.step(Sent{s, bytes})
}

func (p *play) finishScan() error {
	if p.pending == nil {
		return p.step()
	}
	r := p.scan(*p.pending)
	p.pending = nil
	return p.step(r)
}

func (p *play) create(s StreamID) error {
	c := Create{Stream: s, Key: []byte(p.key())}
	switch p.random.IntN(3) {
	case 0:
		c.End = []byte(p.key())
	case 1:
		c.End = []byte{0}
	}
	switch p.random.IntN(3) {
	case 0:
		c.StartRevision = 1 + p.random.Int64N(p.deaf)
	case 1:
		c.StartRevision = max(1, p.deaf-5+p.random.Int64N(10))
	}
	flip := func() bool { return p.random.IntN(4) == 0 }
	c.NoPut, c.NoDelete, c.PrevKV, c.Fragment, c.ProgressNotify = flip(), flip(), flip(), flip(), flip()
	p.out.Reset()
	p.hub.Step(p.now, []Input{c}, &p.out)
	if p.streams[s] != nil && len(p.out.Responses) > 0 {
		r := &p.out.Responses[0]
		if !r.Created {
			return fmt.Errorf("not created first: %s", show(r))
		}
		if !r.Canceled {
			t := &twin{create: c, next: c.StartRevision}
			if t.next == 0 {
				t.next = p.deaf + 1
			}
			key, end, single := normalize(c.Key, c.End)
			t.span = interest{key: key, end: end, single: single}
			p.streams[s].watchers[r.WatchID] = t
		} else if r.WatchID != -1 || c.End == nil || bytes.Compare(c.Key, c.End) < 0 {
			return fmt.Errorf("refused: %s", show(r))
		}
	}
	return p.judge()
}

func (p *play) cancel(s StreamID) error {
	c := p.streams[s]
	if c == nil {
		return nil
	}
	for w := int64(0); w < 50; w++ {
		if c.watchers[w] != nil && p.random.IntN(3) == 0 {
			return p.step(Cancel{s, w})
		}
	}
	return nil
}

func (p *play) step(inputs ...Input) error {
	p.do(inputs...)
	return p.judge()
}

// judge checks every response of the last step.
func (p *play) judge() error {
	if p.out.Scan != nil {
		if p.pending != nil {
			return fmt.Errorf("two scans in flight")
		}
		s := *p.out.Scan
		p.pending = &s
	}
	for i := range p.out.Responses {
		r := &p.out.Responses[i]
		c := p.streams[r.Stream]
		if c == nil {
			return fmt.Errorf("a response on a closed stream: %s", show(r))
		}
		c.unsent = append(c.unsent, r.Bytes)
		if err := p.response(c, r); err != nil {
			return fmt.Errorf("%s: %w", show(r), err)
		}
	}
	for _, c := range p.streams {
		sum := 0
		for _, b := range c.unsent {
			sum += b
		}
		// One batch may exceed the bound: a catch-up of ScanBytesMax and a revision,
		// or one Published of three revisions; control responses are small.
		if limit := p.hub.options.StreamBytesMax + 8000; sum > limit {
			return fmt.Errorf("stream %d holds %d bytes, bound %d", c.id, sum, limit)
		}
	}
	return nil
}

func (p *play) response(c *client, r *Response) error {
	if r.Created {
		return nil
	}
	if r.WatchID == -1 {
		p.Progress++
		for w, t := range c.watchers {
			if err := p.covers(t, r.Revision); err != nil {
				return fmt.Errorf("watcher %d: %w", w, err)
			}
		}
		return nil
	}
	t := c.watchers[r.WatchID]
	switch {
	case t == nil:
		return fmt.Errorf("no such watcher")
	case r.Canceled:
		delete(c.watchers, r.WatchID)
		if r.CompactRevision > 0 {
			p.Compacted++
			if r.CompactRevision > p.compact || t.next >= r.CompactRevision {
				return fmt.Errorf("canceled although it needs revision %d and %d was compacted", t.next, p.compact)
			}
		}
		return nil
	case len(r.Events) == 0:
		p.Progress++
		if !t.create.ProgressNotify {
			return fmt.Errorf("nobody asked")
		}
		return p.covers(t, r.Revision)
	}
	return p.events(t, r)
}

// events checks that r has exactly what t expects next.
func (p *play) events(t *twin, r *Response) error {
	p.Events += len(r.Events)
	if r.Fragment {
		p.Fragments++
		if !t.create.Fragment {
			return fmt.Errorf("a fragment nobody asked for")
		}
	}
	if r.Events[0].KV.ModRevision < p.deaf {
		p.CaughtUp++
	}
	for _, e := range r.Events {
		want := p.expected(t)
		if want == nil || want.Type != e.Type || want.KV.ModRevision != e.KV.ModRevision ||
			!bytes.Equal(want.KV.Key, e.KV.Key) || !bytes.Equal(want.KV.Value, e.KV.Value) {
			if want == nil {
				return fmt.Errorf("nothing was expected")
			}
			return fmt.Errorf("expected %s", showEvent(want, true))
		}
		if r.PrevKV != t.create.PrevKV {
			return fmt.Errorf("previous versions shown: %v", r.PrevKV)
		}
		if r.PrevKV && (e.Prev == nil) != (want.Prev == nil) && e.KV.ModRevision-1 >= p.compact {
			return fmt.Errorf("previous version of %s: %v", showEvent(want, true), e.Prev)
		}
		if t.next != e.KV.ModRevision {
			t.next, t.parts = e.KV.ModRevision, 0
		}
		t.parts++
	}
	if r.Fragment {
		return nil
	}
	return p.covers(t, r.Revision)
}

// matching lists what t should have seen from t.next on, without the parts of
// t.next it has seen.
func (p *play) matching(t *twin, f func(*Event) bool) {
	skip := t.parts
	for i := range p.history {
		e := &p.history[i]
		if e.KV.ModRevision < t.next || !t.span.holds(e.KV.Key) ||
			e.Type == mvcc.EventPut && t.create.NoPut || e.Type == mvcc.EventDelete && t.create.NoDelete {
			continue
		}
		if e.KV.ModRevision == t.next && skip > 0 {
			skip--
			continue
		}
		if !f(e) {
			return
		}
	}
}

// expected is the next event t should get, nil if there is none.
func (p *play) expected(t *twin) (next *Event) {
	p.matching(t, func(e *Event) bool { next = e; return false })
	return next
}

// covers checks that t has seen everything up to rev.
func (p *play) covers(t *twin, rev int64) error {
	if rev < t.create.StartRevision {
		return fmt.Errorf("progress %d before the start %d", rev, t.create.StartRevision)
	}
	if e := p.expected(t); e != nil && e.KV.ModRevision <= rev {
		return fmt.Errorf("revision %d before %s was delivered", rev, showEvent(e, true))
	}
	return nil
}
