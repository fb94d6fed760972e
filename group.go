package quorate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/host/exec"
	"github.com/quorate/quorate/host/run"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
)

// Error is how a request ended that did not take effect, or of which nobody
// knows; errors.As finds it in what Propose, Barrier, Change and Transfer return.
type Error = run.Error

// Outcomes of an Error.
const (
	Refused = host.Refused // certainly without effect: it may be sent again
	Unknown = host.Unknown // it may take effect, once
)

// Group is one group on this host.
type Group struct {
	id   GroupID
	host *Host
	exec *exec.Group

	mu      sync.Mutex
	status  raft.Status // soft state as last reported
	applied Index
	changed chan struct{} // closed at the next change of status or applied; nil: nobody waits
	office  chan struct{} // closed at the next change of status; nil: nobody waits
	removed chan struct{} // closed once this node is no longer a member
	halted  chan struct{} // closed once the group stopped for good
	reason  error         // why it halted
	answer  func(from NodeID, request []byte) []byte
}

// Start opens a group with its state machine. The machine belongs to the group
// from here on: nothing else may call it, and it is not closed by the Host. On
// return the machine has what this disk had; whether a leader is known tells
// Status. It fails, and changes nothing, if How does not fit what is on the disk;
// errors.Is with exec.ErrHasData and exec.ErrNoData tells which.
func (h *Host) Start(g GroupID, m rsm.Machine, how How) (*Group, error) {
	fail := func(err error) (*Group, error) { return nil, fmt.Errorf("quorate: group %d: %w", g, err) }
	c := h.raftConfig(g)
	if err := c.Validate(); err != nil {
		return fail(err)
	}
	h.starting.Lock()
	defer h.starting.Unlock()
	switch how.kind {
	case bootstrap:
		config, err := membership.Bootstrap(how.members)
		if err != nil {
			return fail(err)
		}
		if _, ok := config.Find(h.self); !ok {
			return fail(fmt.Errorf("this node, %s, is not among the members; add it, or Join", h.self))
		}
		if err := h.disk.Bootstrap(g, config); err != nil {
			return fail(err)
		}
	case join:
		if err := h.disk.Join(g); err != nil {
			return fail(err)
		}
	case resume:
	default:
		return fail(errors.New("say how the group starts: Bootstrap, Join or Resume"))
	}
	eg, restored, err := h.disk.OpenGroup(g, m)
	if err != nil {
		return fail(err)
	}
	gr := &Group{
		id: g, host: h, exec: eg, applied: restored.Applied,
		removed: make(chan struct{}), halted: make(chan struct{}),
	}
	h.mu.Lock()
	h.group[g] = gr
	h.mu.Unlock()
	h.learnPeers(g, configOf(restored))
	if err := h.run.Start(eg, c, restored); err != nil {
		return fail(err)
	}
	h.running.Add(1)
	go func() {
		defer h.running.Done()
		gr.pin(h.life)
	}()
	return gr, nil
}

// configOf is the newest configuration of a restored log.
func configOf(r raft.Restored) membership.Config {
	if n := len(r.Configs); n > 0 {
		return r.Configs[n-1].Config
	}
	return r.Start.Config
}

func (h *Host) raftConfig(g GroupID) raft.Config {
	c := raft.Config{
		Group: g, Self: h.self, Seed: seed(h.disk.Identity(), g), RetainBytes: h.o.RetainBytes,
		Heartbeat: id.Duration(h.o.Heartbeat), ElectionMin: id.Duration(h.o.ElectionTimeout),
	}
	if c.ElectionMin != 0 {
		c.ElectionMax = 2 * c.ElectionMin
		if c.Heartbeat == 0 {
			c.Heartbeat = c.ElectionMin / 5
		}
	} else if c.Heartbeat != 0 {
		c.ElectionMin = 5 * c.Heartbeat
		c.ElectionMax = 10 * c.Heartbeat
	}
	if c.ElectionMax > 2*id.Second {
		c.DiskStall = c.ElectionMax
	}
	return c.WithDefaults()
}

// seed differs between members, groups and starts.
func seed(i exec.Identity, g GroupID) uint64 {
	s := uint64(g)*0x9e3779b97f4a7c15 ^ uint64(i.Boot)<<32
	for n, b := range i.Directory {
		s ^= uint64(b) << (8 * (n % 8))
	}
	return s
}

// Propose replicates a command and returns what the machine's Apply returned for
// it, here. Any member may be asked: it forwards. cmd must not change any more.
// The error is an *Error: Refused means it certainly had no effect, Unknown that
// it may yet.
func (g *Group) Propose(ctx context.Context, cmd []byte) (rsm.Result, error) {
	r, _, err := g.host.run.Propose(ctx, g.id, cmd)
	return r, err
}

// View is a pinned immutable state; Release it.
type View = exec.Published

// Barrier returns a state that has everything acknowledged before the call. Any
// member may be asked. Refused reads are tried again until ctx ends: a read has
// no effect.
func (g *Group) Barrier(ctx context.Context) (*View, error) {
	for {
		v, err := g.host.run.Read(ctx, g.id)
		if err == nil {
			return v, nil
		}
		var e *Error
		if !errors.As(err, &e) || ctx.Err() != nil || e.Why == raft.Overloaded || e.Why == 0 {
			return nil, err
		}
		select {
		case <-g.Changed():
		case <-time.After(barrierRetry):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// barrierRetry is how long a refused read waits for news before it tries again.
const barrierRetry = 10 * time.Millisecond

// Local returns this host's own state, however old; nil after Close.
func (g *Group) Local() *View { return g.host.run.Local(g.id) }

// Change changes the membership. It returns when the last step, the leaving of a
// joint configuration included, is applied here. Only the leader takes it; others
// refuse and name the leader.
func (g *Group) Change(ctx context.Context, c ChangeSet) error {
	return g.host.run.Change(ctx, g.id, c)
}

// Transfer hands the leadership to a member; the zero NodeID: to the best one.
// Only the leader takes it.
func (g *Group) Transfer(ctx context.Context, to NodeID) error {
	return g.host.run.Transfer(ctx, g.id, to)
}

// Inspect returns the group's exact state, through the loop.
func (g *Group) Inspect(ctx context.Context) (Status, error) {
	return g.host.run.Status(ctx, g.id)
}

// Status returns role, term, leader and configuration as last reported, and the
// applied index; indexes of the log may be old. Cheap.
func (g *Group) Status() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.status
	s.Applied = max(s.Applied, g.applied)
	return s
}

// Changed returns a channel that closes at the next change of role, term, leader,
// configuration or applied index.
func (g *Group) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return waitOn(&g.changed)
}

// officeChanged is Changed without the applied index.
func (g *Group) officeChanged() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return waitOn(&g.office)
}

// waitOn returns the channel that wake closes. It exists only while somebody
// waits: an apply that nobody waits for costs nothing.
func waitOn(c *chan struct{}) <-chan struct{} {
	if *c == nil {
		*c = make(chan struct{})
	}
	return *c
}

func wake(c *chan struct{}) {
	if *c != nil {
		close(*c)
		*c = nil
	}
}

// Removed closes once this node is no longer a member; the program should end.
func (g *Group) Removed() <-chan struct{} { return g.removed }

// Halted closes once the group stopped for good on this host; Err says why.
func (g *Group) Halted() <-chan struct{} { return g.halted }

// Err is why the group halted; nil while it runs.
func (g *Group) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.reason
}

// handOver gives the leadership away before a stop, if there is anybody to take
// it.
func (g *Group) handOver(ctx context.Context) {
	if g.Status().Role != raft.Leader {
		return
	}
	if err := g.Transfer(ctx, NodeID{}); err != nil {
		g.host.o.Logf("group %d: the leadership was not handed over: %v", g.id, err)
	}
}

func (h *Host) find(g id.GroupID) *Group {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.group[g]
}

func (h *Host) onStatus(g id.GroupID, s raft.Status) {
	gr := h.find(g)
	gr.mu.Lock()
	gr.status = s
	wake(&gr.changed)
	wake(&gr.office)
	gr.mu.Unlock()
	h.learnPeers(g, s.Config)
}

func (h *Host) onApplied(g id.GroupID, applied id.Index) {
	gr := h.find(g)
	gr.mu.Lock()
	gr.applied = applied
	wake(&gr.changed)
	gr.mu.Unlock()
}

func (h *Host) onRemoved(g id.GroupID, committed bool) {
	if !committed {
		h.o.Logf("group %d: a peer says that this node is no longer a member", g)
		return
	}
	gr := h.find(g)
	gr.mu.Lock()
	defer gr.mu.Unlock()
	select {
	case <-gr.removed:
	default:
		close(gr.removed)
	}
}

func (h *Host) onHalt(g id.GroupID, reason error) {
	if g == 0 {
		h.o.Logf("everything stopped: %v", reason)
		return
	}
	h.o.Logf("group %d stopped on this node: %v", g, reason)
	gr := h.find(g)
	gr.mu.Lock()
	defer gr.mu.Unlock()
	if gr.reason == nil {
		gr.reason = reason
		close(gr.halted)
	}
}
