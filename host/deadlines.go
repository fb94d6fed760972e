package host

import (
	"container/heap"

	"github.com/quorate/quorate/internal/id"
)

// deadlines is a heap of groups by their next deadline: an idle group costs its
// place here and nothing per tick (DESIGN 17).
type deadlines struct {
	heap  groupHeap
	fired []*group
}

// set moves g's deadline; id.Never takes it out.
func (d *deadlines) set(g *group, at id.Time) {
	switch {
	case g.slot == 0 && at == id.Never:
	case g.slot == 0:
		g.deadline = at
		heap.Push(&d.heap, g)
	case at == id.Never:
		heap.Remove(&d.heap, g.slot-1)
	case at != g.deadline:
		g.deadline = at
		heap.Fix(&d.heap, g.slot-1)
	}
}

func (d *deadlines) earliest() id.Time {
	if len(d.heap) == 0 {
		return id.Never
	}
	return d.heap[0].deadline
}

// due takes out every group whose deadline is not after now. Each gets a new
// deadline when its pass is done.
func (d *deadlines) due(now id.Time) []*group {
	d.fired = d.fired[:0]
	for len(d.heap) > 0 && d.heap[0].deadline <= now {
		d.fired = append(d.fired, heap.Pop(&d.heap).(*group))
	}
	return d.fired
}

// groupHeap orders by deadline, then group, so that every run is the same run.
// A group's slot is its place + 1; 0: not in the heap.
type groupHeap []*group

func (h groupHeap) Len() int { return len(h) }

func (h groupHeap) Less(i, j int) bool {
	if h[i].deadline != h[j].deadline {
		return h[i].deadline < h[j].deadline
	}
	return h[i].id < h[j].id
}

func (h groupHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i+1, j+1
}

func (h *groupHeap) Push(x any) {
	g := x.(*group)
	*h = append(*h, g)
	g.slot = len(*h)
}

func (h *groupHeap) Pop() any {
	old := *h
	g := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	g.slot = 0
	return g
}
