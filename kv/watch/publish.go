package watch

import (
	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
)

// WantsPrev tells whether a synced watcher wants to see what an event on key
// replaced. The server asks before it fills Published.
func (h *Hub) WantsPrev(key []byte) bool {
	if h.wantPrev == 0 {
		return false
	}
	wanted := false
	h.eachInterest(key, func(i *interest) { wanted = wanted || i.wantPrev > 0 })
	return wanted
}

// eachInterest calls f for every interest that holds key.
func (h *Hub) eachInterest(key []byte, f func(*interest)) {
	if i := h.exact[string(key)]; i != nil {
		f(i)
	}
	h.ranges.each(key, f)
}

// publish hands new events to the synced watchers. The cost is one look-up per
// event and one Response per watcher that gets any.
func (h *Hub) publish(now id.Time, p Published, out *Output) {
	h.checkPublished(p)
	h.matched = h.matched[:0]
	for e := range p.Events {
		event := &p.Events[e]
		h.eachInterest(event.KV.Key, func(i *interest) {
			// An interest is listed with its first event; later ones find it listed
			// because one of its groups has something pending already. One that all
			// its filters passed over is listed again, which is harmless.
			if !i.pending() {
				h.matched = append(h.matched, i)
			}
			for f := range i.groups {
				if len(i.groups[f].watchers) > 0 && uint8(f)&filterBit(event) == 0 {
					i.groups[f].pending = append(i.groups[f].pending, event)
				}
			}
		})
	}
	seen := h.revision
	h.revision, h.compact = p.Revision, max(h.compact, p.CompactRevision)
	for _, i := range h.matched {
		for f := range i.groups {
			if g := &i.groups[f]; len(g.pending) > 0 {
				h.deliverGroup(now, g, seen, out)
			}
		}
	}
	clear(h.matched)
}

func (i *interest) pending() bool {
	for f := range i.groups {
		if len(i.groups[f].pending) > 0 {
			return true
		}
	}
	return false
}

// filterBit is the filter that keeps this event back.
func filterBit(e *Event) uint8 { return 1 << e.Type }

// checkPublished. Invariant: nothing is missing between two Published, as far as
// can be seen here, and nothing comes twice.
func (h *Hub) checkPublished(p Published) {
	assert.That(p.Revision >= h.revision, "watch: published revision %d after %d", p.Revision, h.revision)
	last := h.revision
	for i := range p.Events {
		r := p.Events[i].KV.ModRevision
		if r < last || r <= h.revision || r > p.Revision {
			assert.Fail("watch: published an event of revision %d behind %d, after revision %d, up to %d", r, last, h.revision, p.Revision)
		}
		last = r
	}
}

// deliverGroup gives g's pending events to its watchers. Those whose stream is
// full fall behind to the revision after seen.
func (h *Hub) deliverGroup(now id.Time, g *group, seen int64, out *Output) {
	events := g.pending
	g.pending = nil // the slice belongs to the responses now
	bytes := sizeOf(events)
	for n := 0; n < len(g.watchers); {
		w := g.watchers[n]
		wanted, size := events, bytes
		if w.next > events[0].KV.ModRevision { // it starts in the future
			wanted = from(events, w.next)
			size = sizeOf(wanted)
		}
		if len(wanted) > 0 && h.full(w.stream) {
			h.fallBehind(w, max(w.next, seen+1)) // another one stands at n now
			continue
		}
		n++
		if len(wanted) > 0 {
			h.deliver(now, w, wanted, size, h.revision, out)
		}
	}
}

// from returns the events of revision next and later.
func from(events []*Event, next int64) []*Event {
	for len(events) > 0 && events[0].KV.ModRevision < next {
		events = events[1:]
	}
	return events
}

func sizeOf(events []*Event) (bytes int) {
	for _, e := range events {
		bytes += EventBytes(e)
	}
	return bytes
}

// deliver sends events to one watcher, which has then seen everything up to
// revision. What is larger than FragmentBytes goes in several responses: between
// revisions for everybody, so that no message grows with the batch of an Apply,
// and inside a revision for those that asked for fragments.
func (h *Hub) deliver(now id.Time, w *watcher, events []*Event, bytes int, revision int64, out *Output) {
	w.sentAt = now
	r := Response{WatchID: w.id, PrevKV: w.prevKV}
	for bytes > h.options.FragmentBytes {
		n, size := h.wholeRevisions(events)
		if n == len(events) {
			break
		}
		r.Events, r.Bytes, r.Revision = events[:n], size, events[n-1].KV.ModRevision
		h.respondInFragments(w, r, out)
		events, bytes = events[n:], bytes-size
	}
	r.Events, r.Bytes, r.Revision = events, bytes, revision
	h.respondInFragments(w, r, out)
}

// wholeRevisions returns how many events are in the revisions that fit into
// FragmentBytes, at least the first revision, and their bytes.
func (h *Hub) wholeRevisions(events []*Event) (count, bytes int) {
	size := 0
	for i, e := range events {
		if i > 0 && e.KV.ModRevision != events[i-1].KV.ModRevision {
			count, bytes = i, size
		}
		size += EventBytes(e)
		if size > h.options.FragmentBytes && count > 0 {
			return count, bytes
		}
	}
	return len(events), size
}

// respondInFragments sends one response, in parts if it is large and the watcher
// asked for that.
func (h *Hub) respondInFragments(w *watcher, r Response, out *Output) {
	if !w.fragment || r.Bytes <= h.options.FragmentBytes {
		h.respond(w.stream, r, out)
		return
	}
	for events := r.Events; len(events) > 0; events = events[len(r.Events):] {
		n, size := 1, EventBytes(events[0])
		for n < len(events) && size+EventBytes(events[n]) <= h.options.FragmentBytes {
			size += EventBytes(events[n])
			n++
		}
		r.Events, r.Bytes, r.Fragment = events[:n], size, n < len(events)
		h.respond(w.stream, r, out)
	}
}
