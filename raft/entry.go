package raft

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
)

// EntryKind says what an entry is for.
type EntryKind uint8

const (
	EntryCommand EntryKind = iota + 1 // the application's
	EntryNoop                         // a new leader's first, of its own term; Data is empty
	EntryConfig                       // Data is a membership.Config in wire's encoding, Config is the same decoded
)

// ProposalID follows a proposal through every log: who asked, and a number that
// issuer never uses twice in one incarnation. The host that issued it finds its
// waiting client by it when it applies the entry, wherever it was proposed. The
// zero ProposalID belongs to entries nobody waits for.
type ProposalID struct {
	Origin   id.NodeID
	Sequence uint64
}

// Entry is one position of the log.
//
// Invariant: Data, Config and Encoded are immutable from the moment the entry
// is given to Step or returned by it. raft, wal and transport share them.
type Entry struct {
	Term     id.Term
	Index    id.Index
	Kind     EntryKind
	Proposal ProposalID
	Data     []byte
	Config   *membership.Config // EntryConfig only
	Encoded  []byte             // the entry in wire's encoding, once: the same bytes go to the log and the sockets; nil until the host encoded it
}

// Bytes is what an entry counts for against limits in bytes: its data and a
// fixed allowance for the rest.
func (e Entry) Bytes() int { return len(e.Data) + entryOverheadBytes }

// entryOverheadBytes covers the header of an encoded entry (wire) rounded up.
const entryOverheadBytes = 48

// HardState is what must survive a restart besides the log. Term and Vote must
// be durable before anything that depends on them leaves the node. Commit is a
// hint that shortens recovery; it is written along and never waited for.
type HardState struct {
	Term   id.Term
	Vote   id.NodeID
	Commit id.Index
}

// LogStart describes the position just before the first entry of a log: the
// last entry that a snapshot covers or that was cut away. The zero LogStart
// with a Config is the start of a bootstrapped group, the one with an empty
// Config that of a joiner which knows nothing yet.
type LogStart struct {
	Index  id.Index
	Term   id.Term
	Config membership.Config // in force at Index
}

// TermRun says that entries from First on have Term, until the next run.
type TermRun struct {
	First id.Index
	Term  id.Term
}

// ConfigAt is a configuration and the index of the entry that holds it.
type ConfigAt struct {
	Index  id.Index
	Config membership.Config
}

// Restored is everything a node remembers when it starts. wal fills all but
// Applied, which the state machine knows.
type Restored struct {
	Hard    HardState
	Start   LogStart
	Last    id.Index   // last entry in the log; Start.Index if it is empty
	Terms   []TermRun  // terms of the entries (Start.Index, Last], by First
	Configs []ConfigAt // configuration entries among them, by Index
	Tail    []Entry    // some of the newest entries up to Last, consecutive; may be empty
	Applied id.Index   // the state machine has applied up to here; Start.Index ≤ Applied ≤ Last
}

// SnapshotMeta names the state a snapshot holds.
type SnapshotMeta struct {
	Index  id.Index // last included
	Term   id.Term  // of the entry at Index
	Config membership.Config
}
