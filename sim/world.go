package sim

import (
	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/trace"
)

// World is virtual time, the queue of what happens next, and the record of what
// happened.
type World struct {
	seed     uint64
	now      id.Time
	queue    []key // a binary heap by (at, order); without pointers, so that sifting is cheap
	slots    []item
	free     []int32 // slots that are empty
	order    uint64  // breaks ties: what was scheduled first happens first
	sequence uint64  // of the last recorded event
	cause    uint64  // of what the running handler records
	first    bool    // the running handler has recorded nothing yet
	hash     trace.Hash
	events   uint64
	record   func(trace.Event)
}

// key is when something will happen, and where the rest of it is.
type key struct {
	at    id.Time
	order uint64
	slot  int32
}

// item is something that will happen.
type item struct {
	cause uint64
	timer *Timer
	run   func()
}

// Timer is a scheduled handler that can be called off.
type Timer struct{ off bool }

// Stop calls the handler off, if it has not run yet. It is safe on nil.
func (t *Timer) Stop() {
	if t != nil {
		t.off = true
	}
}

// NewWorld returns a world at time 0. record, unless nil, gets every recorded
// event; it must not change the world.
func NewWorld(seed uint64, record func(trace.Event)) *World {
	return &World{seed: seed, hash: trace.NewHash(), record: record}
}

// Now is the true time, which no node sees: nodes have a Clock.
func (w *World) Now() id.Time { return w.now }

// Seed is the seed all streams of this world derive from.
func (w *World) Seed() uint64 { return w.seed }

// Hash is the rolling hash of everything recorded so far.
func (w *World) Hash() uint64 { return uint64(w.hash) }

// Events is how many handlers ran.
func (w *World) Events() uint64 { return w.events }

// Sequence is the number of the last recorded event.
func (w *World) Sequence() uint64 { return w.sequence }

// Random returns a stream of this world.
func (w *World) Random(domain string, whose ...uint64) *Random {
	return Stream(w.seed, domain, whose...)
}

// At schedules run at t; a t in the past means now, after everything that is
// already scheduled for now. What run records has the same cause as the handler
// that scheduled it, or what that handler recorded first.
func (w *World) At(t id.Time, run func()) *Timer {
	if t < w.now {
		t = w.now
	}
	w.order++
	timer := new(Timer)
	w.push(t, item{cause: w.cause, timer: timer, run: run})
	return timer
}

// After schedules run d from now.
func (w *World) After(d id.Duration, run func()) *Timer { return w.At(w.now.Add(d), run) }

// Next is when the next handler runs; id.Never if there is none.
func (w *World) Next() id.Time {
	for len(w.queue) > 0 && w.slots[w.queue[0].slot].timer.off {
		w.pop()
	}
	if len(w.queue) == 0 {
		return id.Never
	}
	return w.queue[0].at
}

// Step runs the next handler. It returns false when there is none before or at
// the limit; time then stands at the limit.
func (w *World) Step(limit id.Time) bool {
	if w.Next() > limit {
		if limit > w.now {
			w.now = limit
		}
		return false
	}
	at, it := w.pop()
	// Invariant: time never goes back.
	assert.That(at >= w.now, "virtual time goes back from %d to %d", w.now, at)
	w.now = at
	w.cause, w.first = it.cause, true
	w.events++
	it.run()
	w.cause = 0
	return true
}

// Emit records an event: it adds Sequence, Time and Cause, rolls the hash and
// returns the Sequence. Later events of the same handler, and of handlers it
// schedules, have the handler's first event as their cause.
func (w *World) Emit(e trace.Event) uint64 {
	w.sequence++
	e.Sequence, e.Time, e.Cause = w.sequence, w.now, w.cause
	if w.first {
		w.cause, w.first = w.sequence, false
	}
	w.hash = w.hash.Add(e)
	if w.record != nil {
		w.record(e)
	}
	return w.sequence
}

// emitFrom records an event with a cause of its own, unless that is 0; what the
// handler records else keeps its cause.
func (w *World) emitFrom(cause uint64, e trace.Event) uint64 {
	if cause == 0 {
		return w.Emit(e)
	}
	before, first := w.cause, w.first
	w.Because(cause)
	defer func() { w.cause, w.first = before, first }()
	return w.Emit(e)
}

// Because makes event s the cause of what the running handler records from here
// on.
func (w *World) Because(s uint64) { w.cause, w.first = s, false }

// Cause is the event that led to what is running.
func (w *World) Cause() uint64 { return w.cause }

func (a key) before(b key) bool {
	return a.at < b.at || a.at == b.at && a.order < b.order
}

func (w *World) push(at id.Time, it item) {
	var slot int32
	if n := len(w.free); n > 0 {
		slot = w.free[n-1]
		w.free = w.free[:n-1]
		w.slots[slot] = it
	} else {
		slot = int32(len(w.slots))
		w.slots = append(w.slots, it)
	}
	w.queue = append(w.queue, key{at, w.order, slot})
	i := len(w.queue) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !w.queue[i].before(w.queue[parent]) {
			break
		}
		w.queue[i], w.queue[parent] = w.queue[parent], w.queue[i]
		i = parent
	}
}

func (w *World) pop() (id.Time, item) {
	top := w.queue[0]
	it := w.slots[top.slot]
	w.slots[top.slot] = item{}
	w.free = append(w.free, top.slot)
	last := len(w.queue) - 1
	w.queue[0] = w.queue[last]
	w.queue = w.queue[:last]
	i := 0
	for {
		least := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < last && w.queue[child].before(w.queue[least]) {
				least = child
			}
		}
		if least == i {
			return top.at, it
		}
		w.queue[i], w.queue[least] = w.queue[least], w.queue[i]
		i = least
	}
}
