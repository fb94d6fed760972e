package watch

import (
	"container/heap"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
)

// Progress says "you have seen everything up to this revision". It may be said
// of a synced watcher only, and it goes the same way as events, behind them.

// canProgress tells whether w has seen everything up to the Hub's revision. One
// that starts in the future is told nothing from before its start: a client
// would resume from there and get events it did not ask for.
func (h *Hub) canProgress(w *watcher) bool { return w.waiting == nil && h.revision >= w.floor }

// requestedProgress answers for the whole stream, or stays silent.
func (h *Hub) requestedProgress(id StreamID, out *Output) {
	s := h.streams[id]
	if s == nil || len(s.watchers) == 0 || s.behind > 0 {
		return
	}
	for _, w := range s.watchers {
		if !h.canProgress(w) {
			return
		}
	}
	h.respond(s, Response{WatchID: -1, Revision: h.revision}, out)
}

// startProgress makes w one of those that are told now and then.
func (h *Hub) startProgress(now id.Time, w *watcher) {
	interval := h.options.ProgressInterval
	spread := scramble(uint64(w.stream.id)<<20^uint64(w.id)) % uint64(interval/10+1)
	w.interval = interval + id.Duration(spread)
	h.progress.set(w, now.Add(w.interval))
}

// periodicProgress tells those that were idle for their interval.
func (h *Hub) periodicProgress(now id.Time, out *Output) {
	for w := h.progress.due(now); w != nil; w = h.progress.due(now) {
		if idle := w.sentAt.Add(w.interval); w.sentAt > 0 && idle > now {
			h.progress.set(w, idle)
			continue
		}
		if h.canProgress(w) && !h.full(w.stream) {
			h.respond(w.stream, Response{WatchID: w.id, Revision: h.revision}, out)
		}
		h.progress.set(w, now.Add(w.interval))
	}
}

// deadlines is a heap of watchers by their next progress, then stream and id, so
// that the order of what falls due together does not depend on history.
type deadlines struct{ entries []*watcher }

func (d *deadlines) next() id.Time {
	if len(d.entries) == 0 {
		return id.Never
	}
	return d.entries[0].due
}

// due returns the first watcher if its time has come; set or stop it then.
func (d *deadlines) due(now id.Time) *watcher {
	if len(d.entries) == 0 || d.entries[0].due > now {
		return nil
	}
	return d.entries[0]
}

func (d *deadlines) set(w *watcher, at id.Time) {
	assert.That(w.inDue < 0 || at > w.due, "watch: progress of a watcher falls due for ever")
	w.due = at
	if w.inDue >= 0 {
		heap.Fix(d, w.inDue)
		return
	}
	heap.Push(d, w)
}

func (d *deadlines) stop(w *watcher) {
	if w.inDue >= 0 {
		heap.Remove(d, w.inDue)
	}
}

// Len, Less, Swap, Push and Pop are container/heap's.
func (d *deadlines) Len() int { return len(d.entries) }

func (d *deadlines) Less(i, j int) bool {
	a, b := d.entries[i], d.entries[j]
	switch {
	case a.due != b.due:
		return a.due < b.due
	case a.stream != b.stream:
		return a.stream.id < b.stream.id
	}
	return a.id < b.id
}

func (d *deadlines) Swap(i, j int) {
	d.entries[i], d.entries[j] = d.entries[j], d.entries[i]
	d.entries[i].inDue, d.entries[j].inDue = i, j
}

func (d *deadlines) Push(x any) {
	w := x.(*watcher)
	w.inDue = len(d.entries)
	d.entries = append(d.entries, w)
}

func (d *deadlines) Pop() any {
	last := len(d.entries) - 1
	w := d.entries[last]
	d.entries[last] = nil
	d.entries = d.entries[:last]
	w.inDue = -1
	return w
}
