package host

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
	"github.com/quorate/quorate/trace"
)

// Effect is what a pass asks of the world.
type Effect interface{ effect() }

// Persist is everything a pass writes, for all groups, in this order. At most one
// per pass, and it comes first. Tokens grow by one; completion comes back as
// Durable. With MustSync false the writes may wait for the next batch that syncs.
type Persist struct {
	Token    id.Token
	MustSync bool
	Writes   []GroupWrite
}

// GroupWrite is one change to one group's log.
type GroupWrite struct {
	Group    id.GroupID
	Kind     WriteKind
	Hard     raft.HardState    // WriteAppend, WriteReset
	Entries  []raft.Entry      // WriteAppend: they replace everything from Entries[0].Index on
	Start    raft.LogStart     // WriteStart, WriteReset
	Snapshot raft.SnapshotMeta // WriteIntent
}

// WriteKind says what a GroupWrite does.
type WriteKind uint8

const (
	WriteAppend WriteKind = iota + 1
	WriteStart            // the log up to Start.Index may go
	WriteIntent           // the installation of Snapshot begins
	WriteReset            // it is done: the log is empty and begins behind Start.Index
)

// Send gives a message to the network now: what it depends on is durable.
type Send struct {
	To      id.NodeID
	Group   id.GroupID
	Message raft.Message
}

// Load reads entries back from the log.
type Load struct {
	Group      id.GroupID
	For        raft.LoadReason
	Peer       id.NodeID
	From, To   id.Index
	LimitBytes int
}

// Apply hands entries to the group's machine. At most one per group in flight.
type Apply struct {
	Group   id.GroupID
	Entries []raft.Entry
}

// Batch is what the machine sees of an Apply.
func (a Apply) Batch(commands []rsm.Command) rsm.Batch {
	for _, e := range a.Entries {
		if e.Kind == raft.EntryCommand {
			commands = append(commands, rsm.Command{Index: e.Index, Term: e.Term, Data: e.Data})
		}
	}
	last := a.Entries[len(a.Entries)-1]
	return rsm.Batch{Commands: commands, Applied: last.Index, Term: last.Term}
}

// Snapshot asks for a durable snapshot of an in-memory machine's current View.
type Snapshot struct{ Group id.GroupID }

// SendSnapshot streams the current View to a peer. Term goes into the frame. The
// executor knows the configuration in force at the View's index: it saw every
// entry it applied.
type SendSnapshot struct {
	Group    id.GroupID
	To       id.NodeID
	Term     id.Term
	MinIndex id.Index
}

// Install replaces a machine's state by the received snapshot and makes that
// durable. The intent is durable when this is emitted, and the log's new start is
// written when it is done: the order of DESIGN 9 is this machine's.
type Install struct {
	Group    id.GroupID
	From     id.NodeID
	Snapshot raft.SnapshotMeta
}

// Outcome is one of the three ends of a request (DESIGN 15).
type Outcome uint8

const (
	Done    Outcome = iota + 1 // applied; Result is the machine's
	Refused                    // certainly without effect; Why says why
	Unknown                    // may or may not take effect
)

func (o Outcome) String() string {
	switch o {
	case Done:
		return "applied"
	case Refused:
		return "refused"
	case Unknown:
		return "unknown"
	}
	return "invalid outcome"
}

// Resolve ends a client's request.
type Resolve struct {
	Client  ClientID
	Outcome Outcome
	Result  rsm.Result   // Done
	Index   id.Index     // Done: where it was applied
	Why     raft.Refusal // Refused
	Detail  string       // Refused: for people
	Leader  id.NodeID    // Refused as NotLeader: whom to ask, if known
}

// ReadAt lets a client read: a View that has applied at least Index is published.
type ReadAt struct {
	Client ClientID
	Group  id.GroupID
	Index  id.Index
}

// Ask sends a request to a peer's host; it ends in Answered.
type Ask struct {
	To   id.NodeID
	ID   uint64
	Data []byte
}

// Answer answers an Asked.
type Answer struct {
	To   id.NodeID
	ID   uint64
	Data []byte
}

// Status reports a group's state: with Client 0 when role, term, leader or
// configuration changed, else as the answer to an Inspect.
type Status struct {
	Group  id.GroupID
	Client ClientID
	Status raft.Status
}

// Removed says that this node is no longer a member of the group.
type Removed struct {
	Group     id.GroupID
	Committed bool
}

// Emit reports what happened, for the trace.
type Emit struct{ Event trace.Event }

// Halt says that a group stopped for good on this node, and why. Group 0: all.
type Halt struct {
	Group  id.GroupID
	Reason error
}

func (Persist) effect()      {}
func (Send) effect()         {}
func (Load) effect()         {}
func (Apply) effect()        {}
func (Snapshot) effect()     {}
func (SendSnapshot) effect() {}
func (Install) effect()      {}
func (Resolve) effect()      {}
func (ReadAt) effect()       {}
func (Ask) effect()          {}
func (Answer) effect()       {}
func (Status) effect()       {}
func (Removed) effect()      {}
func (Emit) effect()         {}
func (Halt) effect()         {}
