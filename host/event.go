package host

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
)

// Event is what enters the host.
type Event interface{ event() }

// ClientID correlates a client's request with its Resolve or ReadAt. The driver
// chooses it; it is used once.
type ClientID uint64

// Start opens a group. InMemory: its machine needs snapshots for durability.
// Config.Self, Faults and Seal are the host's own and are overwritten.
type Start struct {
	Group    id.GroupID
	Config   raft.Config
	Restored raft.Restored
	InMemory bool
}

// Stop closes a group: every waiting client is resolved as Unknown, or Refused
// where certain.
type Stop struct{ Group id.GroupID }

// Frame is a message from a peer. An InstallSnapshot frame comes when its whole
// body lies verified in this node's snapshot store.
type Frame struct {
	From    id.NodeID
	Group   id.GroupID
	Message raft.Message
}

// Propose, Read, Change, Transfer and Campaign are clients' requests. Data is
// immutable from here on. A Propose on a member that is not leader is Refused
// with the leader's id, unless Forward is set: then the host asks the leader and
// resolves from its own apply (DESIGN 13).
type Propose struct {
	Group   id.GroupID
	Client  ClientID
	Data    []byte
	Forward bool
}

type Read struct {
	Group  id.GroupID
	Client ClientID
}

type Change struct {
	Group  id.GroupID
	Client ClientID
	Change membership.Change
}

type Transfer struct {
	Group  id.GroupID
	Client ClientID // resolved Done when the office is handed over
	To     id.NodeID
}

type Campaign struct{ Group id.GroupID }

// Cancel ends a client's request now, with the truth: Refused if it certainly
// has no effect yet and will have none (it waits for a leader, or is a read),
// Unknown otherwise; its proposal may still be applied.
type Cancel struct {
	Group  id.GroupID
	Client ClientID
}

// Inspect asks for a Status effect with the client's id.
type Inspect struct {
	Group  id.GroupID
	Client ClientID
}

// Durable says that every Persist up to Token is durable.
type Durable struct{ Token id.Token }

// DiskFailed poisons everything on the disk: every group halts (DESIGN 6).
type DiskFailed struct{ Err error }

// Loaded answers a Load.
type Loaded struct {
	Load    Load
	Entries []raft.Entry // empty: gone
	Err     error        // halts the group
}

// ApplyDone answers an Apply. Results has one element per command entry of it.
// Flushed is the durable machine's flushed index, or for one in memory the index
// of its last durable snapshot.
type ApplyDone struct {
	Group   id.GroupID
	Applied id.Index
	Results []rsm.Result
	Flushed id.Index
	Err     error // stops the group before the applied index moves
}

// SnapshotSaved answers a Snapshot. Err leaves the log as it is; the host tries
// again later.
type SnapshotSaved struct {
	Group id.GroupID
	Index id.Index
	Err   error
}

// SnapshotSent answers a SendSnapshot.
type SnapshotSent struct {
	Group id.GroupID
	To    id.NodeID
	Index id.Index
	OK    bool
}

// Installed answers an Install: the machine's state is the snapshot's, durably.
type Installed struct {
	Group id.GroupID
	Index id.Index // of the snapshot
	Err   error    // halts the group
}

// Unreachable says that frames to a peer were lost.
type Unreachable struct{ Node id.NodeID }

// Asked is a request from a peer's host; the answer goes out as Answer.
type Asked struct {
	From id.NodeID
	ID   uint64
	Data []byte
}

// Answered ends an Ask. Unknown: no answer came.
type Answered struct {
	From    id.NodeID // whom the Ask went to
	ID      uint64
	Data    []byte
	Unknown bool
}

func (Start) event()         {}
func (Stop) event()          {}
func (Frame) event()         {}
func (Propose) event()       {}
func (Read) event()          {}
func (Change) event()        {}
func (Transfer) event()      {}
func (Campaign) event()      {}
func (Cancel) event()        {}
func (Inspect) event()       {}
func (Durable) event()       {}
func (DiskFailed) event()    {}
func (Loaded) event()        {}
func (ApplyDone) event()     {}
func (SnapshotSaved) event() {}
func (SnapshotSent) event()  {}
func (Installed) event()     {}
func (Unreachable) event()   {}
func (Asked) event()         {}
func (Answered) event()      {}
