// Package membership holds a group's configuration and the legal steps between
// configurations (Raft thesis §4; joint consensus, Raft paper §6).
//
// A configuration is a value. It says for every member what it is now (Role)
// and, during a joint configuration, what it was before (Was). While Joint is
// set, elections and commitment need a majority of the incoming voters (Role is
// Voter) and a majority of the outgoing voters (Was is Voter).
//
//	          Apply, several voters differ          Leave
//	simple ──────────────────────────────▶ joint ─────────▶ simple
//	   └──────── Apply, at most one voter differs ─────────────▲
//
// A configuration takes effect in raft when its entry is in the log, not when
// the entry is committed (thesis §4.1).
package membership

import "github.com/quorate/quorate/internal/id"

// Role is what a member is in one configuration.
type Role uint8

const (
	Absent  Role = iota // not a member of that configuration
	Learner             // receives the log, counts for nothing
	Voter               // votes and counts for commitment
)

// Member is one member with everything its peers and clients need to find it.
type Member struct {
	ID         id.NodeID
	Role       Role           // in the newest (incoming) configuration
	Was        Role           // in the outgoing configuration; Absent unless Config.Joint
	Name       string         // for people
	PeerURLs   []string       // where peers reach it
	ClientURLs []string       // where clients reach it; empty until it has published itself
	Directory  id.DirectoryID // identity of its data directory; zero until pinned (DESIGN 14)
}

// Config is one configuration.
type Config struct {
	Version uint64   // grows by one with every step, the automatic leave included
	Joint   bool     // between two voter sets
	Members []Member // sorted by ID, each once
}

// OpKind is one kind of step on one member.
type OpKind uint8

const (
	AddVoter   OpKind = iota + 1 // a new member that votes at once
	AddLearner                   // a new member that only receives
	Promote                      // learner to voter
	Demote                       // voter to learner
	Remove                       // out of the configuration
	Update                       // name, URLs or directory of a member; never its role
)

// Op is one step on one member. Promote, Demote and Remove use only Member.ID.
type Op struct {
	Kind   OpKind
	Member Member
}

// Change is what a client asks for: all of it or nothing.
type Change struct {
	If  uint64 // compare-and-set on Config.Version; 0: whatever it is
	Ops []Op   // 1 to 64, at most one per member
}
