package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv"
	"github.com/quorate/quorate/kv/mvcc"
	"github.com/quorate/quorate/kv/watch"
)

const (
	hubRequestsMax  = 1024 // requests of streams waiting for the hub; further ones wait at their stream
	hubChangesMax   = 4096 // Applies waiting for the hub; beyond, watchers read the store instead
	streamAnswers   = 1024 // answers a stream may have unread before its next request waits
	hubStepRequests = 256  // requests taken in one Step
)

// hub feeds the watch.Hub of this member: one goroutine owns it. Applies never
// wait for it: where it cannot keep up, what waits is dropped and every watcher
// catches up from the store, as after a restored snapshot.
type hub struct {
	s        *Server
	machine  *watch.Hub
	requests chan watch.Input
	scanned  chan watch.Scanned // at most one scan is in flight
	wake     chan struct{}      // holds at most one

	mu      sync.Mutex
	changes []watch.Input // Published and Restored, in order
	bytes   int           // of the events in changes
	view    *sharedView   // newest
	streams map[watch.StreamID]*WatchStream
	nextID  watch.StreamID
	stats   watch.Stats
	closed  bool
}

// sharedView is a View and how many use it; it is closed when nobody does. The
// hub itself is one user of the newest. refs is guarded by hub.mu.
type sharedView struct {
	View
	refs int
}

func newHub(s *Server) *hub {
	return &hub{
		s: s, requests: make(chan watch.Input, hubRequestsMax), scanned: make(chan watch.Scanned, 1),
		wake: make(chan struct{}, 1), streams: map[watch.StreamID]*WatchStream{},
	}
}

// applied takes over c.View. It does not block.
func (h *hub) applied(c kv.Changes) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		c.View.Close()
		return
	}
	h.replaceView(View{View: c.View, Release: func() { c.View.Close() }})
	p := watch.Published{Revision: c.Revision, CompactRevision: c.CompactRevision, Events: make([]watch.Event, len(c.Events))}
	size := 0
	for i := range c.Events {
		p.Events[i].Event = c.Events[i]
		size += watch.EventBytes(&p.Events[i])
	}
	if c.Restored || len(h.changes) >= hubChangesMax || h.bytes+size > h.s.o.WatchQueueBytesMax {
		h.changes, h.bytes = append(h.changes[:0], watch.Restored{Revision: c.Revision, CompactRevision: c.CompactRevision}), 0
	} else {
		h.changes, h.bytes = append(h.changes, p), h.bytes+size
	}
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// replaceView keeps only the newest View: an older one tells nothing that it
// does not tell. Callers hold mu.
func (h *hub) replaceView(v View) {
	if h.view != nil {
		h.drop(h.view)
	}
	h.view = &sharedView{View: v, refs: 1}
}

// drop ends one use. Callers hold mu.
func (h *hub) drop(v *sharedView) {
	if v.refs--; v.refs == 0 {
		v.Close()
	}
}

// borrow returns the newest View: it holds everything that was given to the
// machine. giveBack ends the use.
func (h *hub) borrow() *sharedView {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.view.refs++
	return h.view
}

func (h *hub) giveBack(v *sharedView) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(v)
}

// run steps the machine until the Server is closed.
func (h *hub) run() {
	defer h.s.running.Done()
	defer h.close()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var out watch.Output
	var inputs []watch.Input
	for {
		// Requests are taken before the changes and stepped after them: a watcher
		// created after a put was acknowledged here starts behind that put.
		inputs = inputs[:0]
		for len(inputs) < hubStepRequests && len(h.requests) > 0 {
			inputs = append(inputs, <-h.requests)
		}
		now := h.s.now()
		for _, c := range h.takeChanges() {
			h.step(now, []watch.Input{c}, &out)
		}
		select {
		case r := <-h.scanned:
			h.step(now, []watch.Input{r}, &out)
		default:
		}
		h.step(now, inputs, &out)
		if len(h.requests) > 0 {
			continue
		}
		timer.Reset(h.pause())
		select {
		case <-h.wake:
		case r := <-h.scanned:
			h.scanned <- r // taken above, with what came meanwhile
		case i := <-h.requests:
			// The channel has one owner, so what is taken out of turn is stepped
			// behind the changes that are there now.
			for _, c := range h.takeChanges() {
				h.step(h.s.now(), []watch.Input{c}, &out)
			}
			h.step(h.s.now(), []watch.Input{i}, &out)
		case <-timer.C:
		case <-h.s.quit:
			return
		}
	}
}

func (h *hub) pause() time.Duration {
	d := h.machine.Deadline()
	if d == id.Never {
		return time.Hour
	}
	return min(time.Hour, max(0, time.Duration(d.Sub(h.s.now()))))
}

func (h *hub) takeChanges() []watch.Input {
	h.mu.Lock()
	defer h.mu.Unlock()
	changes := h.changes
	h.changes, h.bytes = nil, 0
	return changes
}

// step steps the machine, hands responses to their streams and begins the scan.
func (h *hub) step(now id.Time, inputs []watch.Input, out *watch.Output) {
	for _, i := range inputs {
		if p, ok := i.(watch.Published); ok {
			h.fillPrevious(p)
		}
	}
	out.Reset()
	h.machine.Step(now, inputs, out)
	h.mu.Lock()
	h.stats = h.machine.Stats()
	for _, r := range out.Responses {
		if s := h.streams[r.Stream]; s != nil {
			s.give(r)
		}
	}
	h.mu.Unlock()
	if out.Scan != nil {
		h.scan(*out.Scan)
	}
}

// fillPrevious looks up what events replaced, where a watcher wants to see it.
func (h *hub) fillPrevious(p watch.Published) {
	view := h.borrow()
	defer h.giveBack(view)
	for i := range p.Events {
		if e := &p.Events[i]; h.machine.WantsPrev(e.KV.Key) {
			e.Prev, _ = view.Prev(&e.Event) // compacted is nil; a failed read stops the group elsewhere
		}
	}
}

// scan reads back events on a goroutine of its own; it ends in h.scanned.
func (h *hub) scan(s watch.Scan) {
	view := h.borrow()
	h.s.running.Add(1) // run has not returned, so Close still waits
	go func() {
		defer h.s.running.Done()
		r := read(view.View.View, s)
		h.giveBack(view)
		h.scanned <- r
	}()
}

// read answers a Scan from a View.
func read(v *kv.View, s watch.Scan) watch.Scanned {
	r := watch.Scanned{Number: s.Number, Next: s.From}
	bytes := 0
	for r.Next <= s.To && (bytes < s.LimitBytes || r.Next == s.From) {
		events, next, err := v.Events(s.Key, s.End, r.Next, s.To, scanStep)
		if errors.Is(err, mvcc.ErrCompacted) {
			if r.Next > s.From {
				return r // what was read is true; the next scan finds out
			}
			r.Compacted = v.CompactRevision()
			return r
		}
		if err != nil {
			r.Err = err
			return r
		}
		for _, e := range events {
			w := watch.Event{Event: e}
			if s.Prev {
				if w.Prev, err = v.Prev(&e); err != nil {
					r.Err = err
					return r
				}
			}
			bytes += watch.EventBytes(&w)
			r.Events = append(r.Events, w)
		}
		r.Next = next
	}
	return r
}

// scanStep is how many changes are looked at between two looks at the bytes.
const scanStep = 256

// close ends every stream.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.drop(h.view)
	h.view = nil
	for _, s := range h.streams {
		s.end()
	}
}

// WatchStats counts streams and watchers for metrics.
func (s *Server) WatchStats() watch.Stats {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.hub.stats
}

// WatchStream is one client's stream of watchers. One goroutine makes requests,
// one takes answers with Next and reports them with Sent; Close it.
type WatchStream struct {
	id   watch.StreamID
	hub  *hub
	more chan struct{} // holds at most one: answers are there, or the stream ended
	room chan struct{} // holds at most one: answers were taken

	mu      sync.Mutex
	answers []watch.Response
	ended   bool
}

// OpenWatch begins a stream.
func (s *Server) OpenWatch(ctx context.Context) (*WatchStream, error) {
	h := s.hub
	w := &WatchStream{hub: h, more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, ErrStopped
	}
	h.nextID++
	w.id = h.nextID
	h.streams[w.id] = w
	h.mu.Unlock()
	if err := w.send(ctx, watch.OpenStream{Stream: w.id}); err != nil {
		w.forget()
		return nil, err
	}
	return w, nil
}

// Create, Cancel and RequestProgress wait while the client leaves its answers
// unread: that is how a stream that only asks is stopped.
func (w *WatchStream) Create(ctx context.Context, c watch.Create) error {
	c.Stream = w.id
	return w.request(ctx, c)
}

func (w *WatchStream) Cancel(ctx context.Context, watchID int64) error {
	return w.request(ctx, watch.Cancel{Stream: w.id, WatchID: watchID})
}

func (w *WatchStream) RequestProgress(ctx context.Context) error {
	return w.request(ctx, watch.RequestProgress{Stream: w.id})
}

func (w *WatchStream) request(ctx context.Context, i watch.Input) error {
	for {
		w.mu.Lock()
		unread, ended := len(w.answers), w.ended
		w.mu.Unlock()
		if ended {
			return ErrStopped
		}
		if unread < streamAnswers {
			return w.send(ctx, i)
		}
		select {
		case <-w.room:
		case <-ctx.Done():
			return ctx.Err()
		case <-w.hub.s.quit:
			return ErrStopped
		}
	}
}

func (w *WatchStream) send(ctx context.Context, i watch.Input) error {
	select {
	case w.hub.requests <- i:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-w.hub.s.quit:
		return ErrStopped
	}
}

// give adds an answer. The hub bounds events by bytes, request bounds the rest.
func (w *WatchStream) give(r watch.Response) {
	w.mu.Lock()
	w.answers = append(w.answers, r)
	w.mu.Unlock()
	signal(w.more)
}

func (w *WatchStream) end() {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	signal(w.more)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Next waits for answers and returns all there are, in order.
func (w *WatchStream) Next(ctx context.Context) ([]watch.Response, error) {
	for {
		w.mu.Lock()
		answers, ended := w.answers, w.ended
		w.answers = nil
		w.mu.Unlock()
		if len(answers) > 0 {
			signal(w.room)
			return answers, nil
		}
		if ended {
			return nil, ErrStopped
		}
		select {
		case <-w.more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Sent reports bytes of answers (sums of Response.Bytes) that left the process.
func (w *WatchStream) Sent(bytes int) {
	w.send(context.Background(), watch.Sent{Stream: w.id, Bytes: bytes})
}

// Close ends the stream and its watchers.
func (w *WatchStream) Close() {
	w.forget()
	w.send(context.Background(), watch.CloseStream{Stream: w.id})
}

func (w *WatchStream) forget() {
	w.hub.mu.Lock()
	delete(w.hub.streams, w.id)
	w.hub.mu.Unlock()
}
