package raft

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
)

// Event is what enters a node. One type per event.
type Event interface{ event() }

// Propose asks the leader to append commands. Each ends in a Placed or a
// Refused effect of the same pass.
type Propose struct{ Proposals []Proposal }

// Proposal is one command. Data is immutable from here on.
type Proposal struct {
	ID   ProposalID
	Data []byte
}

// Change asks the leader to change the membership: Placed or Refused.
type Change struct {
	ID     ProposalID
	Change membership.Change
}

// Read asks for an index at which a linearizable read may be served:
// ReadReady or Refused, in this or a later pass. ID is only handed back; raft
// numbers its rounds itself.
type Read struct{ ID ReadID }

// ReadID correlates a Read with its effect. The host chooses it.
type ReadID uint64

// Transfer asks the leader to hand over; To None means the best candidate. The
// outcome is seen as a change of role or a TransferEnded effect.
type Transfer struct{ To id.NodeID }

// Campaign asks the node to start an election now (through the pre-vote).
type Campaign struct{}

// ForgetLeader lets a follower grant votes although it heard a leader recently.
// A leader ignores it.
type ForgetLeader struct{}

// Received is a message from a peer.
type Received struct {
	From    id.NodeID
	Message Message
}

// Persisted says that every Persist up to Token, and every Install whose token
// is not greater, is durable.
type Persisted struct{ Token id.Token }

// Loaded answers a Load with consecutive entries from From on; at least one
// unless Gone. Gone: the log no longer has From (it was cut meanwhile).
type Loaded struct {
	For     LoadReason
	Peer    id.NodeID // of the Load
	From    id.Index
	Entries []Entry
	Gone    bool
}

// Applied says that the machine has applied the last Apply; Index is its last
// entry.
type Applied struct{ Index id.Index }

// Flushed says that the machine would still have everything up to Index after a
// crash: the log up to there is needed only by peers. raft answers with Cut when
// its retention rule allows.
type Flushed struct{ Index id.Index }

// SnapshotSent ends a SendSnapshot. OK: the peer has all of it, though it may
// not have installed it yet.
type SnapshotSent struct {
	To    id.NodeID
	Index id.Index
	OK    bool
}

// Installed says that the snapshot of the Install with this Token is durable in
// the machine and the log starts behind it.
type Installed struct{ Token id.Token }

// Unreachable says that sends to a peer were lost: raft falls back to probing.
type Unreachable struct{ Peer id.NodeID }

func (Propose) event()      {}
func (Change) event()       {}
func (Read) event()         {}
func (Transfer) event()     {}
func (Campaign) event()     {}
func (ForgetLeader) event() {}
func (Received) event()     {}
func (Persisted) event()    {}
func (Loaded) event()       {}
func (Applied) event()      {}
func (Flushed) event()      {}
func (SnapshotSent) event() {}
func (Installed) event()    {}
func (Unreachable) event()  {}
