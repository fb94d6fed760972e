package raft

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/trace"
)

// Effect is what a pass asks of the world. Effects of one pass are to be taken
// in order, but none waits for another except as its fields say.
type Effect interface{ effect() }

// Persist writes the hard state and appends entries. Entries[0].Index may be at
// or before the last entry written: everything from there on is replaced. There
// is at most one Persist per pass, and it comes first. Completion comes back as
// Persisted{Token}; tokens are shared with Install and grow by one.
type Persist struct {
	Token    id.Token
	Hard     HardState // as of now, always complete
	MustSync bool      // false: only Hard.Commit changed; may be written with the next batch
	Entries  []Entry
}

// Send gives a message to the network once everything up to After is durable;
// After 0 means at once. Messages may be lost, doubled and reordered. A send
// that waits is dropped by the host when the node stops.
type Send struct {
	To      id.NodeID
	After   id.Token
	Message Message
}

// Load asks for entries that are no longer in memory: consecutive, from From,
// before To, about LimitBytes in all but at least one.
type Load struct {
	For        LoadReason
	Peer       id.NodeID // ForPeer: who needs them
	From, To   id.Index
	LimitBytes int
}

// LoadReason says what entries are loaded for. At most one Load is in flight
// per reason and peer.
type LoadReason uint8

const (
	ForApply LoadReason = iota + 1
	ForPeer
)

// Apply hands committed entries, durable in this node's own log (DESIGN 2), to
// the state machine, in order and without gaps. At most one is in flight.
type Apply struct{ Entries []Entry }

// Placed says where a proposal stands in the leader's log. Its fate is known
// when an entry is applied at Index: this Term means applied, another means
// certainly not.
type Placed struct {
	ID    ProposalID
	Index id.Index
	Term  id.Term
}

// Refused ends a proposal, change or read that certainly has no effect.
type Refused struct {
	ID     ProposalID // of a Propose or Change
	Read   ReadID     // of a Read
	IsRead bool
	Why    Refusal
	Detail string    // for people: which step of a change is illegal
	Leader id.NodeID // whom to ask, if known
}

// Refusal is why something was refused.
type Refusal uint8

const (
	NotLeader       Refusal = iota + 1 // ask Leader, if it is not None
	Transferring                       // the leader is handing over; try again
	Overloaded                         // a limit in bytes or count is reached; try again later
	DiskStalled                        // this leader's disk makes no progress
	ChangeInFlight                     // the last change is not committed yet
	ChangeIllegal                      // Detail says why
	ChangeStale                        // Change.If is not the current version
	OfficeUncertain                    // a read that could not be confirmed; try again
	NoOwnTermCommit                    // a change before the leader's first commit; try again
)

// ReadReady answers Read: the read may be served from a state that has applied
// at least Index.
type ReadReady struct {
	ID    ReadID
	Index id.Index
}

// SendSnapshot asks the host to send To a snapshot of this node's state at
// MinIndex or later, framed by InstallSnapshot{Term, …}. Ends in SnapshotSent.
type SendSnapshot struct {
	To       id.NodeID
	Term     id.Term
	MinIndex id.Index
}

// Install asks the host to replace the machine's state by a received snapshot
// and to start the log behind it, in the order of DESIGN 9. Ends in Installed.
// raft emits no Apply and no Persist while it is in flight.
type Install struct {
	Token    id.Token
	From     id.NodeID
	Hard     HardState
	Snapshot SnapshotMeta
}

// Cut says that the log up to Start.Index is no longer needed.
type Cut struct{ Start LogStart }

// TransferEnded tells how a transfer ended when this node stayed in office.
type TransferEnded struct {
	To  id.NodeID
	Why string
}

// Removed says that this node is not a member any more: it may stop. Committed
// is false if it is only hearsay from a peer.
type Removed struct{ Committed bool }

// Halt stops the group for good on this node: an invariant of the world is
// broken (an append that conflicts with a committed entry, say).
type Halt struct{ Reason error }

// Emit reports what happened, for the trace.
type Emit struct{ Event trace.Event }

func (Persist) effect()       {}
func (Send) effect()          {}
func (Load) effect()          {}
func (Apply) effect()         {}
func (Placed) effect()        {}
func (Refused) effect()       {}
func (ReadReady) effect()     {}
func (SendSnapshot) effect()  {}
func (Install) effect()       {}
func (Cut) effect()           {}
func (TransferEnded) effect() {}
func (Removed) effect()       {}
func (Halt) effect()          {}
func (Emit) effect()          {}
