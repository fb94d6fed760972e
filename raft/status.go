package raft

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
)

// Role is what a node is in its term: exactly one at a time.
type Role uint8

const (
	Follower Role = iota + 1
	PreCandidate
	Candidate
	Leader
)

func (r Role) String() string {
	switch r {
	case Follower:
		return "follower"
	case PreCandidate:
		return "pre-candidate"
	case Candidate:
		return "candidate"
	case Leader:
		return "leader"
	}
	return "invalid role"
}

// Status is a copy of what a node knows, for whoever shows or checks it.
type Status struct {
	Role      Role
	Term      id.Term
	Vote      id.NodeID
	Leader    id.NodeID // None if unknown
	First     id.Index  // first entry in the log
	Last      id.Index  // last entry in the log
	Durable   id.Index  // last entry durable here
	Commit    id.Index
	Applied   id.Index
	Config    membership.Config // in force: the newest in the log
	ConfigAt  id.Index          // its entry
	Committed bool              // whether that entry is committed
	Transfer  id.NodeID         // leader: to whom it is handing over
	Progress  []Progress        // leader: of every other member, by ID
}

// ProgressState is how a leader sends to a follower (docs/GLOSSARY).
type ProgressState uint8

const (
	Probe     ProgressState = iota + 1 // one append at a time until the logs are known to match
	Replicate                          // pipelined
	Snapshot                           // a snapshot is on its way
)

// Progress is what a leader knows of a follower.
type Progress struct {
	ID      id.NodeID
	State   ProgressState
	Match   id.Index // known equal and durable there; only grows within a term
	Next    id.Index // first entry of the next append
	Active  bool     // heard from within the check-quorum window
	Learner bool
}
