// Package trace is what every part reports, everywhere: the simulator, the lab
// and the flight recorder of a live node emit the same events, and the same
// page replays all three.
//
// A machine cannot know the sequence number or the cause of what it emits: it
// fills Kind, Rule and Fields; the host adds Node and Group; whoever records
// (the simulated world, the flight recorder) adds Sequence, Time and Cause.
//
// Writer and Reader store a trace (docs/format/trace.md); Hash tells whether two
// runs reported the same.
package trace

import "github.com/quorate/quorate/internal/id"

// Event is one thing that happened.
type Event struct {
	Sequence uint64     // position in the trace, from 1
	Time     id.Time    // when, on the clock of the recorder
	Node     id.NodeID  // where
	Group    id.GroupID // in which group; 0: in the process as a whole
	Kind     Kind       // what
	Cause    uint64     // Sequence of the event that led to this one; 0: none
	Rule     string     // the rule that fired: "raft §5.4.1", "check-quorum"; empty where nothing was decided
	Fields   []Field    // the particulars, in a fixed order per kind
}

// Field is one named particular: a number, or a text where Text is not empty.
type Field struct {
	Name   string
	Number uint64
	Text   string
}

// Num and Text make fields.
func Num(name string, n uint64) Field { return Field{Name: name, Number: n} }
func Text(name, text string) Field    { return Field{Name: name, Text: text} }

// Kind says what happened. Its text is stable: it stands in stored traces.
type Kind string

// Kinds that raft emits. The fields stand behind each.
const (
	RoleChanged   Kind = "role"      // role, term, leader
	TermChanged   Kind = "term"      // term
	Voted         Kind = "vote"      // term, for, granted, reason
	Committed     Kind = "commit"    // index, term
	Truncated     Kind = "truncate"  // from, last
	ConfigChanged Kind = "config"    // version, joint, members
	ProgressState Kind = "progress"  // peer, state, match, next
	ReadRound     Kind = "readround" // round, index
	Transfer      Kind = "transfer"  // to, outcome
	SnapshotState Kind = "snapshot"  // index, term, what (send, install, refuse)
)

// Kinds of the lab, whose nodes report what changed in their view. There RoleChanged,
// Started and some others carry other fields than raft's: docs/format/trace.md.
const (
	Fired     Kind = "rule"     // what: a rule fired, by its name in Rule
	Belief    Kind = "state"    // role, epoch, leader, leads, log, decided, and what the protocol shows besides
	Held      Kind = "append"   // index, operation, epoch, kind: a position of the log is held
	Requested Kind = "request"  // client, operation, verb, try: a client asks the event's node
	Answered  Kind = "answer"   // client, operation, verb, outcome, why, ask, entries: the node answers
	Written   Kind = "write"    // file, record, bytes, what it carries: in the cache of the operating system
	LostData  Kind = "unsynced" // file, records, why: what a crash took
	Broke     Kind = "reset"    // peer: a connection broke
	Noted     Kind = "note"     // what, and particulars
)

// Kinds that hosts, disks and worlds emit.
const (
	Persisting Kind = "persist"  // token, records, bytes; in the lab token, file
	Durable    Kind = "durable"  // token
	Applied    Kind = "applied"  // index
	Resolved   Kind = "resolved" // client, outcome, index; in the lab client, operation, verb, outcome
	Sent       Kind = "send"     // to, message, what it carries
	Received   Kind = "receive"  // from, message
	Dropped    Kind = "drop"     // from, to, message, why
	Crashed    Kind = "crash"    // how
	Started    Kind = "start"    // applied, last, term; in the lab life, records
	Halted     Kind = "halt"     // reason
	Fault      Kind = "fault"    // what; in the lab over or void instead, when it ends or falls on nobody
	Caption    Kind = "caption"  // text, language: what a story tells here
	Verdict    Kind = "verdict"  // checker, and its particulars
	Mark       Kind = "mark"     // name: a rare branch was reached
)
