package lease

import (
	"container/heap"

	"github.com/quorate/quorate/internal/id"
)

// timers is a set of leases ordered by a moment, then by lease id, so that the
// order of what falls due together does not depend on history.
type timers struct{ entries []*timer }

// timer is one lease's place in a timers; position is -1 while it is in none.
type timer struct {
	at       id.Time
	lease    *held
	position int
}

// set places t at the given moment, moving it if it is already in.
func (h *timers) set(t *timer, at id.Time) {
	t.at = at
	if t.position >= 0 {
		heap.Fix(h, t.position)
		return
	}
	heap.Push(h, t)
}

// stop takes t out; a t that is not in stays out.
func (h *timers) stop(t *timer) {
	if t.position >= 0 {
		heap.Remove(h, t.position)
	}
}

// next is the earliest moment, Never when empty.
func (h *timers) next() id.Time {
	if len(h.entries) == 0 {
		return id.Never
	}
	return h.entries[0].at
}

// popDue takes out the earliest timer if its moment has come.
func (h *timers) popDue(now id.Time) *held {
	if h.next() > now || len(h.entries) == 0 {
		return nil
	}
	return heap.Pop(h).(*timer).lease
}

// Len, Less, Swap, Push and Pop are container/heap's.
func (h *timers) Len() int { return len(h.entries) }

func (h *timers) Less(i, j int) bool {
	a, b := h.entries[i], h.entries[j]
	if a.at != b.at {
		return a.at < b.at
	}
	return a.lease.ID < b.lease.ID
}

func (h *timers) Swap(i, j int) {
	h.entries[i], h.entries[j] = h.entries[j], h.entries[i]
	h.entries[i].position, h.entries[j].position = i, j
}

func (h *timers) Push(x any) {
	t := x.(*timer)
	t.position = len(h.entries)
	h.entries = append(h.entries, t)
}

func (h *timers) Pop() any {
	last := len(h.entries) - 1
	t := h.entries[last]
	h.entries[last] = nil
	h.entries = h.entries[:last]
	t.position = -1
	return t
}
