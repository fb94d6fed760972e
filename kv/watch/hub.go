package watch

import (
	"bytes"
	"container/list"
	"maps"
	"slices"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
)

// Hub is the fan-out of one store on one member. See the package comment. It is
// a machine: not safe for concurrent use.
type Hub struct {
	options  Options
	revision int64 // of the last Published or Restored
	compact  int64 // revisions before it cannot be read any more
	streams  map[StreamID]*stream

	exact    map[string]*interest // single keys
	ranges   ranges
	wantPrev int         // synced watchers that want previous versions
	matched  []*interest // scratch of publish

	queue    list.List // of *watcher: behind, and their stream has room
	scans    uint64
	scanning *Scan // in flight
	progress deadlines
	watchers int
	behind   int // queued or parked
}

// stream is one client's connection.
type stream struct {
	id          StreamID
	watchers    []*watcher // in no particular order, but the same in every run
	byID        map[int64]*watcher
	nextID      int64
	unsentBytes int
	parked      list.List // of *watcher: behind, waiting for room
	behind      int       // queued or parked
}

// interest is what watchers can have in common: a range of keys.
type interest struct {
	key, end []byte // end nil: no end
	single   bool   // key only; end is meaningless
	groups   [4]group
	watchers int // synced or not
	wantPrev int // synced ones that want previous versions
}

// group is the synced watchers of an interest with the same filters (bit 0:
// no puts, bit 1: no deletions).
type group struct {
	watchers []*watcher
	pending  []*Event // of the Published being handed out
}

type watcher struct {
	id       int64
	stream   *stream
	interest *interest
	filters  uint8
	prevKV   bool
	fragment bool
	// next is the first revision it has not seen while it is behind, or the future
	// revision it starts at. A synced one has seen everything up to Hub.revision.
	next  int64
	floor int64 // StartRevision: no progress before it

	inStream int           // position in stream.watchers
	inGroup  int           // position in its group; -1: behind
	waiting  *list.Element // in Hub.queue or stream.parked; nil: synced
	parked   bool          // which of the two

	interval id.Duration // of progress; 0: none
	sentAt   id.Time     // last response with events
	due      id.Time     // next progress
	inDue    int         // position in Hub.progress; -1: none
}

// NewHub returns a Hub of a store at the given revision. compact is -1 if it was
// never compacted.
func NewHub(o Options, revision, compact int64) *Hub {
	return &Hub{
		options: o.WithDefaults(), revision: revision, compact: compact,
		streams: map[StreamID]*stream{}, exact: map[string]*interest{},
	}
}

// Step takes the inputs in order, then sends the progress that fell due, then
// begins a scan if somebody waits for one. now never goes back.
func (h *Hub) Step(now id.Time, inputs []Input, out *Output) {
	for _, i := range inputs {
		h.take(now, i, out)
	}
	h.periodicProgress(now, out)
	h.beginScan(out)
}

// Deadline is the next moment Step has something to do without an input.
func (h *Hub) Deadline() id.Time { return h.progress.next() }

// Stats counts watchers for metrics.
type Stats struct{ Streams, Watchers, Behind int }

// Stats returns how many there are now.
func (h *Hub) Stats() Stats {
	return Stats{Streams: len(h.streams), Watchers: h.watchers, Behind: h.behind}
}

func (h *Hub) take(now id.Time, i Input, out *Output) {
	switch i := i.(type) {
	case OpenStream:
		assert.That(h.streams[i.Stream] == nil, "watch: stream %d opened twice", i.Stream)
		h.streams[i.Stream] = &stream{id: i.Stream, byID: map[int64]*watcher{}}
	case CloseStream:
		h.closeStream(i.Stream)
	case Create:
		h.create(now, &i, out)
	case Cancel:
		h.cancel(i, out)
	case RequestProgress:
		h.requestedProgress(i.Stream, out)
	case Published:
		h.publish(now, i, out)
	case Restored:
		h.restored(i)
	case Scanned:
		h.scanned(now, i, out)
	case Sent:
		h.sent(i)
	default:
		assert.Fail("watch: unknown input %T", i)
	}
}

// respond gives a response to a stream and counts it.
func (h *Hub) respond(s *stream, r Response, out *Output) {
	r.Stream = s.id
	r.Bytes += responseBytes
	s.unsentBytes += r.Bytes
	out.Responses = append(out.Responses, r)
}

// full tells whether s has to send before it gets more events.
func (h *Hub) full(s *stream) bool { return s.unsentBytes >= h.options.StreamBytesMax }

func (h *Hub) create(now id.Time, c *Create, out *Output) {
	s := h.streams[c.Stream]
	if s == nil {
		return // closed meanwhile
	}
	key, end, single := normalize(c.Key, c.End)
	reason := ""
	switch {
	case c.StartRevision < 0:
		reason = ReasonBadStart
	case c.Denied != "":
		reason = c.Denied
	case !single && end != nil && bytes.Compare(key, end) >= 0:
		reason = ReasonEmptyRange
	case c.WatchID != 0 && s.byID[c.WatchID] != nil:
		reason = ReasonDuplicateID
	case len(s.watchers) >= h.options.WatchersPerStreamMax:
		reason = ReasonTooMany
	}
	if reason != "" {
		h.respond(s, Response{WatchID: -1, Revision: h.revision, Created: true, Canceled: true, Reason: reason}, out)
		return
	}
	w := &watcher{
		id: c.WatchID, stream: s, interest: h.interest(key, end, single),
		prevKV: c.PrevKV, fragment: c.Fragment,
		next: c.StartRevision, floor: c.StartRevision,
		inGroup: -1, inDue: -1,
	}
	w.interest.watchers++
	if c.NoPut {
		w.filters |= 1
	}
	if c.NoDelete {
		w.filters |= 2
	}
	if w.id == 0 {
		for s.byID[s.nextID] != nil {
			s.nextID++
		}
		w.id = s.nextID
		s.nextID++
	}
	w.inStream = len(s.watchers)
	s.watchers = append(s.watchers, w)
	s.byID[w.id] = w
	h.watchers++
	h.respond(s, Response{WatchID: w.id, Revision: h.revision, Created: true}, out)
	if w.next == 0 || w.next > h.revision {
		h.sync(w)
	} else {
		h.fallBehind(w, w.next)
		if h.cancelCompacted(w, out) {
			return
		}
	}
	if c.ProgressNotify {
		h.startProgress(now, w)
	}
}

// normalize applies etcd's conventions for ranges. The results are copies.
func normalize(key, end []byte) (k, e []byte, single bool) {
	k = bytes.Clone(key)
	if len(k) == 0 {
		k = []byte{0}
	}
	switch {
	case len(end) == 0:
		return k, nil, true
	case len(end) == 1 && end[0] == 0:
		return k, nil, false
	}
	return k, bytes.Clone(end), false
}

// interest returns the interest with this range, new if there is none.
func (h *Hub) interest(key, end []byte, single bool) *interest {
	if single {
		if i := h.exact[string(key)]; i != nil {
			return i
		}
		i := &interest{key: key, single: true}
		h.exact[string(key)] = i
		return i
	}
	if i := h.ranges.find(key, end); i != nil {
		return i
	}
	i := &interest{key: key, end: end}
	h.ranges.insert(i)
	return i
}

// holds tells whether the interest's range holds key.
func (i *interest) holds(key []byte) bool {
	if i.single {
		return bytes.Equal(i.key, key)
	}
	return bytes.Compare(i.key, key) <= 0 && (i.end == nil || bytes.Compare(key, i.end) < 0)
}

// sync makes w one of those that Published serves.
func (h *Hub) sync(w *watcher) {
	h.stopWaiting(w)
	g := &w.interest.groups[w.filters]
	w.inGroup = len(g.watchers)
	g.watchers = append(g.watchers, w)
	if w.prevKV {
		h.wantPrev++
		w.interest.wantPrev++
	}
}

// unsync takes w out of its group; the last one takes its place.
func (h *Hub) unsync(w *watcher) {
	if w.inGroup < 0 {
		return
	}
	g := &w.interest.groups[w.filters]
	last := len(g.watchers) - 1
	g.watchers[w.inGroup] = g.watchers[last]
	g.watchers[w.inGroup].inGroup = w.inGroup
	g.watchers[last] = nil
	g.watchers = g.watchers[:last]
	w.inGroup = -1
	if w.prevKV {
		h.wantPrev--
		w.interest.wantPrev--
	}
}

// fallBehind makes w wait for scans from revision next on.
func (h *Hub) fallBehind(w *watcher, next int64) {
	assert.That(next >= w.next, "watch: watcher %d of stream %d goes back from %d to %d", w.id, w.stream.id, w.next, next)
	h.unsync(w)
	h.stopWaiting(w)
	w.next = next
	w.stream.behind++
	h.behind++
	if w.parked = h.full(w.stream); w.parked {
		w.waiting = w.stream.parked.PushBack(w)
	} else {
		w.waiting = h.queue.PushBack(w)
	}
}

func (h *Hub) stopWaiting(w *watcher) {
	if w.waiting == nil {
		return
	}
	if w.parked {
		w.stream.parked.Remove(w.waiting)
	} else {
		h.queue.Remove(w.waiting)
	}
	w.waiting, w.parked = nil, false
	w.stream.behind--
	h.behind--
}

func (h *Hub) cancel(c Cancel, out *Output) {
	s := h.streams[c.Stream]
	if s == nil || s.byID[c.WatchID] == nil {
		return
	}
	h.forget(s.byID[c.WatchID])
	h.respond(s, Response{WatchID: c.WatchID, Revision: h.revision, Canceled: true}, out)
}

// forget takes w out of everything.
func (h *Hub) forget(w *watcher) {
	h.unsync(w)
	h.stopWaiting(w)
	h.progress.stop(w)
	s := w.stream
	last := len(s.watchers) - 1
	s.watchers[w.inStream] = s.watchers[last]
	s.watchers[w.inStream].inStream = w.inStream
	s.watchers[last] = nil
	s.watchers = s.watchers[:last]
	delete(s.byID, w.id)
	h.watchers--
	i := w.interest
	if i.watchers--; i.watchers > 0 {
		return
	}
	if i.single {
		delete(h.exact, string(i.key))
	} else {
		h.ranges.remove(i)
	}
}

func (h *Hub) closeStream(id StreamID) {
	s := h.streams[id]
	if s == nil {
		return
	}
	for len(s.watchers) > 0 {
		h.forget(s.watchers[len(s.watchers)-1])
	}
	delete(h.streams, id)
}

// sent makes room; at half of the bound those that waited for it queue again.
func (h *Hub) sent(e Sent) {
	s := h.streams[e.Stream]
	if s == nil {
		return
	}
	s.unsentBytes -= e.Bytes
	assert.That(s.unsentBytes >= 0, "watch: stream %d sent %d bytes more than it was given", s.id, -s.unsentBytes)
	if s.unsentBytes > h.options.StreamBytesMax/2 {
		return
	}
	for e := s.parked.Front(); e != nil; e = s.parked.Front() {
		w := e.Value.(*watcher)
		s.parked.Remove(e)
		w.parked, w.waiting = false, h.queue.PushBack(w)
	}
}

// restored lets everybody catch up from where they were. A scan in flight reads
// the old content, which was true of the revisions it covers.
func (h *Hub) restored(r Restored) {
	assert.That(r.Revision >= h.revision, "watch: restored from revision %d back to %d", h.revision, r.Revision)
	seen := h.revision
	h.revision, h.compact = r.Revision, max(h.compact, r.CompactRevision)
	for _, id := range slices.Sorted(maps.Keys(h.streams)) {
		for _, w := range h.streams[id].watchers {
			if next := max(w.next, seen+1); w.waiting == nil && next <= h.revision {
				h.fallBehind(w, next)
			}
		}
	}
}
