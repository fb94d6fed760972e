package run

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/host/exec"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/trace"
)

// Transport is what the runner needs of the network. Send, Ask and Answer never
// block and may lose what they are given; an Ask that is not answered in time is
// delivered as host.Answered with Unknown. Close the transport before the Runner:
// that ends a SendSnapshot.
type Transport interface {
	Send(to id.NodeID, group id.GroupID, m raft.Message)
	Ask(to id.NodeID, ask uint64, data []byte)
	Answer(to id.NodeID, ask uint64, data []byte)
	// SendSnapshot returns when the peer has verified the whole body.
	SendSnapshot(to id.NodeID, group id.GroupID, header raft.InstallSnapshot, body io.WriterTo) error
}

// Options of a Runner.
type Options struct {
	Host host.Config
	Disk *exec.Disk
	// Transport may be nil for a node without peers.
	Transport Transport
	// OnStatus hears of every change of role, term, leader or configuration. It is
	// called by the loop: it must not block.
	OnStatus func(g id.GroupID, s raft.Status)
	// OnApplied hears that a new View is published. Called by the group's worker.
	OnApplied func(g id.GroupID, applied id.Index)
	// OnRemoved hears that this node is no longer a member.
	OnRemoved func(g id.GroupID, committed bool)
	// OnHalt hears that a group (0: everything) stopped for good.
	OnHalt func(g id.GroupID, reason error)
	// OnTrace hears every trace event; nil drops them.
	OnTrace func(e trace.Event)
}

// Runner drives one host.
type Runner struct {
	o     Options
	start time.Time
	host  *host.Host    // the loop's
	ended []host.Effect // the loop's scratch

	mu     sync.Mutex
	inbox  []host.Event
	calls  map[host.ClientID]*call
	client host.ClientID
	groups map[id.GroupID]*worker
	closed bool
	free   sync.Pool     // of calls
	wake   chan struct{} // capacity 1: the inbox has something

	writer writer

	wg        sync.WaitGroup
	snapshots chan struct{} // places for snapshots on their way
	saves     chan struct{} // places for snapshots being saved
	loads     chan struct{} // places for reads of the log
}

const (
	snapshotsMax = 2  // snapshots on their way at once; further ones are tried again by raft
	savesMax     = 2  // snapshots saved at once; further groups wait, with the View of their turn
	loadsMax     = 16 // reads of the log at once; further ones wait
)

// ErrClosed: the runner is closed.
var ErrClosed = errors.New("the node is closed")

// New starts the loop and the writer. Groups are added by Start.
func New(o Options) (*Runner, error) {
	h, err := host.New(o.Host)
	if err != nil {
		return nil, err
	}
	r := &Runner{
		o: o, host: h, start: time.Now(),
		calls: map[host.ClientID]*call{}, groups: map[id.GroupID]*worker{},
		wake: make(chan struct{}, 1), snapshots: make(chan struct{}, snapshotsMax), saves: make(chan struct{}, savesMax), loads: make(chan struct{}, loadsMax),
	}
	r.writer.init(r)
	r.wg.Add(2)
	go r.loop()
	go r.writer.loop()
	return r, nil
}

// Start opens a group that exec.OpenGroup brought up.
func (r *Runner) Start(g *exec.Group, c raft.Config, restored raft.Restored) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	if r.groups[c.Group] != nil {
		return fmt.Errorf("group %d is open already", c.Group)
	}
	r.groups[c.Group] = &worker{r: r, id: c.Group, group: g}
	r.post(host.Start{Group: c.Group, Config: c, Restored: restored, InMemory: g.InMemory()})
	return nil
}

// Close stops everything and resolves every waiting call. Hand the leadership
// over before (Transfer); the disk is the caller's to close.
func (r *Runner) Close() {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.closed = true
	for g := range r.groups {
		r.inbox = append(r.inbox, host.Stop{Group: g})
	}
	r.mu.Unlock()
	r.signal()
	r.wg.Wait()
	r.mu.Lock()
	calls := r.calls
	r.calls = nil
	r.mu.Unlock()
	for _, c := range calls {
		c.end(outcome{err: &Error{Outcome: host.Unknown, Detail: "the node stopped"}})
	}
	for _, w := range r.groups {
		w.group.Close()
	}
}

// Deliver hands an event from a door to the loop: frames, asks, answers,
// unreachable peers.
func (r *Runner) Deliver(e host.Event) {
	r.mu.Lock()
	if !r.closed {
		r.post(e)
	}
	r.mu.Unlock()
}

// post queues an event; r.mu is held. The inbox is bounded by its sources: calls
// by host.Config.ClientsMax, frames by the transport's windows, completions by
// what was asked for.
func (r *Runner) post(e host.Event) {
	r.inbox = append(r.inbox, e)
	if len(r.inbox) == 1 {
		r.signal()
	}
}

func (r *Runner) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *Runner) now() id.Time { return id.Time(time.Since(r.start)) }

// loop steps the host: everything that is queued, then what is due.
func (r *Runner) loop() {
	defer r.wg.Done()
	defer r.writer.stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var in []host.Event
	var out []host.Effect
	for {
		r.mu.Lock()
		in, r.inbox = r.inbox, in[:0]
		closed := r.closed
		r.mu.Unlock()

		out = r.host.Step(r.now(), in, out[:0])
		clear(in)
		r.execute(out)
		clear(out)
		if closed {
			return
		}

		r.mu.Lock()
		more := len(r.inbox) > 0
		next := r.nextDeadline()
		r.mu.Unlock()
		if more {
			continue
		}
		wait := time.Duration(next.Sub(r.now()))
		if wait <= 0 {
			continue
		}
		timer.Reset(wait)
		select {
		case <-r.wake:
		case <-timer.C:
		}
	}
}

func (r *Runner) nextDeadline() id.Time {
	return min(r.host.Deadline(), r.now().Add(id.Duration(time.Hour)))
}

// execute gives every effect to its door.
func (r *Runner) execute(out []host.Effect) {
	ended := r.ended[:0]
	for _, e := range out {
		switch e := e.(type) {
		case host.Persist:
			r.writer.add(e)
		case host.Send:
			if r.o.Transport != nil {
				r.o.Transport.Send(e.To, e.Group, e.Message)
			}
		case host.Apply:
			r.worker(e.Group).add(func(w *worker) { w.apply(e) })
		case host.Install:
			r.worker(e.Group).add(func(w *worker) { w.install(e) })
		case host.Snapshot:
			r.goDo(func() {
				r.saves <- struct{}{}
				done := r.worker(e.Group).group.Snapshot()
				<-r.saves
				r.Deliver(done)
			})
		case host.SendSnapshot:
			r.sendSnapshot(e)
		case host.Load:
			r.goDo(func() {
				r.loads <- struct{}{}
				done := r.o.Disk.Load(e)
				<-r.loads
				r.Deliver(done)
			})
		case host.Ask:
			r.ask(e)
		case host.Answer:
			if r.o.Transport != nil {
				r.o.Transport.Answer(e.To, e.ID, e.Data)
			}
		case host.Status:
			if e.Client != 0 {
				ended = append(ended, e)
			} else if r.o.OnStatus != nil {
				r.o.OnStatus(e.Group, e.Status)
			}
		case host.Resolve, host.ReadAt:
			ended = append(ended, e)
		case host.Removed:
			if r.o.OnRemoved != nil {
				r.o.OnRemoved(e.Group, e.Committed)
			}
		case host.Halt:
			if r.o.OnHalt != nil {
				r.o.OnHalt(e.Group, e.Reason)
			}
		case host.Emit:
			if r.o.OnTrace != nil {
				r.o.OnTrace(e.Event)
			}
		default:
			panic(fmt.Sprintf("the runner does not know the effect %T", e))
		}
	}
	r.endCalls(ended)
	clear(ended)
	r.ended = ended
}

// goDo runs f on a goroutine of its own that Close waits for.
func (r *Runner) goDo(f func()) {
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		f()
	}()
}

func (r *Runner) ask(e host.Ask) {
	if r.o.Transport == nil {
		r.Deliver(host.Answered{From: e.To, ID: e.ID, Unknown: true})
		return
	}
	r.o.Transport.Ask(e.To, e.ID, e.Data)
}

func (r *Runner) sendSnapshot(e host.SendSnapshot) {
	p := r.worker(e.Group).group.Acquire()
	fail := func() {
		p.Release()
		r.Deliver(host.SnapshotSent{Group: e.Group, To: e.To, Index: p.Meta.Index})
	}
	if r.o.Transport == nil || p.Meta.Index < e.MinIndex {
		fail()
		return
	}
	select {
	case r.snapshots <- struct{}{}:
	default:
		fail()
		return
	}
	r.goDo(func() {
		header := raft.InstallSnapshot{Term: e.Term, Snapshot: p.Meta}
		err := r.o.Transport.SendSnapshot(e.To, e.Group, header, p.Stream())
		<-r.snapshots
		p.Release()
		r.Deliver(host.SnapshotSent{Group: e.Group, To: e.To, Index: p.Meta.Index, OK: err == nil})
	})
}

func (r *Runner) worker(g id.GroupID) *worker {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.groups[g]
}
