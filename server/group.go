package server

import (
	"context"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
)

// Group is what the service needs of the replicated group it serves. Any
// goroutine may call any method. Errors are *Failure, or the context's.
type Group interface {
	// Propose appends a command, through the leader wherever that is, and
	// returns the Result once it was applied here. An error that is not a
	// refusal leaves the outcome open.
	Propose(ctx context.Context, command []byte) ([]byte, error)
	// Linearizable returns a View that holds everything that was acknowledged to
	// anyone before the call. Close the View.
	Linearizable(ctx context.Context) (View, error)
	// Local returns the newest View of this member, which may lie behind. Close it.
	Local() (View, error)
	// Status is this member's soft state, cheap: role, term, leader, configuration
	// and applied index are current, the rest may be old.
	Status() raft.Status
	// Inspect is the exact state, followers' progress included.
	Inspect(ctx context.Context) (raft.Status, error)
	// Change changes the membership; only the leader takes one.
	Change(ctx context.Context, c membership.Change) error
	// Transfer hands the office over; only the leader can. It returns when the
	// office has changed hands.
	Transfer(ctx context.Context, to id.NodeID) error
	// AskLeader sends a request to the Server of the leader (Answer) and returns
	// its answer. An error leaves open whether it was acted upon.
	AskLeader(ctx context.Context, request []byte) ([]byte, error)
}

// View is a state to read from, until Close.
type View struct {
	*kv.View
	Release func() // instead of kv.View.Close, where others share it
}

// Close ends this use of the View.
func (v View) Close() { v.Release() }
