package watch

import (
	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
)

// Watchers that are behind share scans. The one that has waited longest says
// where the next scan begins; every other queued one whose position lies in the
// scanned revisions takes part. Whoever is not synced then goes to the end of
// the queue, so one that is a million revisions behind delays nobody by more than
// one scan at a time (etcd-io/etcd#16839), and ten thousand that fell behind
// together cost one scan.

// beginScan emits the next Scan unless one is in flight or nobody waits.
func (h *Hub) beginScan(out *Output) {
	if h.scanning != nil {
		return
	}
	for e := h.queue.Front(); e != nil; e = h.queue.Front() {
		w := e.Value.(*watcher)
		switch {
		case h.cancelCompacted(w, out):
			continue
		case h.full(w.stream):
			h.fallBehind(w, w.next) // parks it
			continue
		}
		h.scans++
		s := &Scan{
			Number: h.scans, Key: []byte{0}, End: []byte{0},
			From: w.next, To: min(h.revision, w.next+h.options.ScanRevisionsMax-1),
			Prev: h.queueWantsPrev(), LimitBytes: h.options.ScanBytesMax,
		}
		if h.queue.Len() == 1 {
			s.Key, s.End = w.interest.rangeOf()
		}
		h.scanning, out.Scan = s, s
		return
	}
}

// rangeOf returns the range as requests write it.
func (i *interest) rangeOf() (key, end []byte) {
	switch {
	case i.single:
		return i.key, nil
	case i.end == nil:
		return i.key, []byte{0}
	}
	return i.key, i.end
}

func (h *Hub) queueWantsPrev() bool {
	for e := h.queue.Front(); e != nil; e = e.Next() {
		if e.Value.(*watcher).prevKV {
			return true
		}
	}
	return false
}

// cancelCompacted ends a watcher that is behind and whose next revision cannot
// be read any more. The compact revision itself can.
func (h *Hub) cancelCompacted(w *watcher, out *Output) bool {
	if w.waiting == nil || w.next >= h.compact {
		return false
	}
	h.forget(w)
	// etcd leaves the header's revision 0 here.
	h.respond(w.stream, Response{WatchID: w.id, Canceled: true, CompactRevision: h.compact}, out)
	return true
}

// share is what watchers must have in common to get the same slice of events.
type share struct {
	interest *interest
	filters  uint8
	next     int64
}

// scanned hands out what a scan found.
func (h *Hub) scanned(now id.Time, r Scanned, out *Output) {
	assert.That(h.scanning != nil && h.scanning.Number == r.Number, "watch: result of scan %d, which is not in flight", r.Number)
	scan := h.scanning
	h.scanning = nil
	if r.Compacted > 0 {
		h.compact = max(h.compact, r.Compacted)
	} else if r.Err == nil {
		assert.That(r.Next > scan.From && r.Next <= scan.To+1, "watch: scan of %d to %d ends before %d", scan.From, scan.To, r.Next)
	}
	shared := map[share][]*Event{}
	for n, e := h.queue.Len(), h.queue.Front(); n > 0; n-- {
		w := e.Value.(*watcher)
		e = e.Next()
		if h.cancelCompacted(w, out) || !scan.serves(w) {
			continue
		}
		switch {
		case r.Err != nil:
			h.forget(w)
			h.respond(w.stream, Response{WatchID: w.id, Revision: h.revision, Canceled: true, Reason: r.Err.Error()}, out)
		case r.Compacted > 0 || w.next >= r.Next:
			// Nothing was read for it.
		case h.full(w.stream):
			h.fallBehind(w, w.next)
		default:
			h.catchUp(now, w, &r, shared, out)
		}
	}
}

// serves tells whether what the scan reads is enough for w.
func (s *Scan) serves(w *watcher) bool {
	if w.next < s.From || w.next > s.To || w.prevKV && !s.Prev {
		return false
	}
	if len(s.Key) == 1 && s.Key[0] == 0 && len(s.End) == 1 && s.End[0] == 0 {
		return true
	}
	key, end := w.interest.rangeOf()
	return string(key) == string(s.Key) && string(end) == string(s.End)
}

// catchUp brings one watcher to r.Next.
func (h *Hub) catchUp(now id.Time, w *watcher, r *Scanned, shared map[share][]*Event, out *Output) {
	key := share{interest: w.interest, filters: w.filters, next: w.next}
	events, known := shared[key]
	if !known {
		for i := range r.Events {
			e := &r.Events[i]
			if e.KV.ModRevision >= w.next && filterBit(e)&w.filters == 0 && w.interest.holds(e.KV.Key) {
				events = append(events, e)
			}
		}
		shared[key] = events
	}
	if len(events) > 0 {
		// The header says how far this watcher has seen, not how far the store is: a
		// client that resumes after it misses nothing.
		h.deliver(now, w, events, sizeOf(events), r.Next-1, out)
	}
	if r.Next > h.revision {
		w.next = r.Next
		h.sync(w)
	} else {
		h.fallBehind(w, r.Next)
	}
}
