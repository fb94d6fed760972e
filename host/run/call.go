package run

import (
	"context"
	"fmt"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/host/exec"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
)

// Error is a request that was not applied, or of which nobody knows.
type Error struct {
	Outcome host.Outcome // Refused or Unknown
	Why     raft.Refusal // Refused: 0 if only Detail says it
	Detail  string
	Leader  id.NodeID // whom to ask, if known
	Cause   error     // the context's error when the caller gave up
}

func (e *Error) Error() string {
	text := "the outcome is unknown"
	if e.Outcome == host.Refused {
		text = "refused, certainly without effect"
	}
	if e.Why != 0 {
		text += ": " + e.Why.String()
	}
	if e.Leader != id.None {
		text += fmt.Sprintf(" (the leader is %s)", e.Leader)
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Cause }

// call is a caller that waits. It is used again when its outcome was taken.
type call struct {
	done chan outcome // capacity 1; exactly one outcome comes
}

type outcome struct {
	result rsm.Result
	index  id.Index
	pub    *exec.Published
	status raft.Status
	err    error
}

func (c *call) end(o outcome) { c.done <- o }

// begin registers a call and queues its event in one step.
func (r *Runner) begin(event func(host.ClientID) host.Event) (*call, host.ClientID, error) {
	c, _ := r.free.Get().(*call)
	if c == nil {
		c = &call{done: make(chan outcome, 1)}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, 0, &Error{Outcome: host.Refused, Detail: ErrClosed.Error()}
	}
	r.client++
	r.calls[r.client] = c
	r.post(event(r.client))
	return c, r.client, nil
}

// wait waits for the outcome. When ctx ends first, the host is asked for the
// truth: it answers at once.
func (r *Runner) wait(ctx context.Context, g id.GroupID, c *call, client host.ClientID) outcome {
	select {
	case o := <-c.done:
		return o
	case <-ctx.Done():
	}
	r.Deliver(host.Cancel{Group: g, Client: client})
	o := <-c.done
	if e, ok := o.err.(*Error); ok {
		e.Cause = ctx.Err()
	}
	return o
}

func (r *Runner) do(ctx context.Context, g id.GroupID, event func(host.ClientID) host.Event) outcome {
	c, client, err := r.begin(event)
	if err != nil {
		return outcome{err: err}
	}
	o := r.wait(ctx, g, c, client)
	r.free.Put(c)
	return o
}

// endCalls wakes the callers of a pass.
func (r *Runner) endCalls(ended []host.Effect) {
	if len(ended) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range ended {
		switch e := e.(type) {
		case host.Resolve:
			o := outcome{result: e.Result, index: e.Index}
			if e.Outcome != host.Done {
				o.err = &Error{Outcome: e.Outcome, Why: e.Why, Detail: e.Detail, Leader: e.Leader}
			}
			r.take(e.Client, o)
		case host.ReadAt:
			if r.calls[e.Client] != nil {
				r.take(e.Client, outcome{pub: r.groups[e.Group].group.Acquire(), index: e.Index})
			}
		case host.Status:
			r.take(e.Client, outcome{status: e.Status})
		}
	}
}

// take ends one call; r.mu is held.
func (r *Runner) take(client host.ClientID, o outcome) {
	if c := r.calls[client]; c != nil {
		delete(r.calls, client)
		c.end(o)
	}
}

// Propose replicates a command and returns the machine's result. The error is an
// *Error; data must not change any more.
func (r *Runner) Propose(ctx context.Context, g id.GroupID, data []byte) (rsm.Result, id.Index, error) {
	o := r.do(ctx, g, func(c host.ClientID) host.Event {
		return host.Propose{Group: g, Client: c, Data: data, Forward: true}
	})
	return o.result, o.index, o.err
}

// Read returns a state at least as new as every write that was acknowledged
// before the call. Release it.
func (r *Runner) Read(ctx context.Context, g id.GroupID) (*exec.Published, error) {
	o := r.do(ctx, g, func(c host.ClientID) host.Event { return host.Read{Group: g, Client: c} })
	return o.pub, o.err
}

// Local returns this node's own state, as old as it is; nil if the group is not
// open. Release it.
func (r *Runner) Local(g id.GroupID) *exec.Published {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.groups[g]; w != nil && !r.closed {
		return w.group.Acquire()
	}
	return nil
}

// Change changes the membership; it returns when the last step is applied here.
func (r *Runner) Change(ctx context.Context, g id.GroupID, change membership.Change) error {
	return r.do(ctx, g, func(c host.ClientID) host.Event {
		return host.Change{Group: g, Client: c, Change: change}
	}).err
}

// Transfer hands the leadership to a member, or to the best one if to is None.
func (r *Runner) Transfer(ctx context.Context, g id.GroupID, to id.NodeID) error {
	return r.do(ctx, g, func(c host.ClientID) host.Event {
		return host.Transfer{Group: g, Client: c, To: to}
	}).err
}

// Status asks the loop for a group's state.
func (r *Runner) Status(ctx context.Context, g id.GroupID) (raft.Status, error) {
	o := r.do(ctx, g, func(c host.ClientID) host.Event { return host.Inspect{Group: g, Client: c} })
	return o.status, o.err
}
