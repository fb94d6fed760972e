package raft

import "github.com/quorate/quorate/internal/id"

// Message is what nodes of a group send each other: one type per kind, so that
// no field means another thing in another kind. Every message carries the
// sender's term. docs/GLOSSARY maps them to the kinds of etcd's raft.
type Message interface {
	// SenderTerm is the term the sender was in. RequestPreVote is the exception
	// in meaning, not in form: see there.
	SenderTerm() id.Term
}

// RequestPreVote asks "would you vote for me in Term+1?" (thesis §9.6). Term is
// the sender's current term, which it has not raised; a receiver never adopts a
// term from a pre-vote exchange that would only exist if the vote were held.
type RequestPreVote struct {
	Term      id.Term
	LastIndex id.Index
	LastTerm  id.Term
}

// PreVote answers RequestPreVote. Term is the answerer's term, so that a
// candidate that fell behind learns it. For is the Term asked about.
type PreVote struct {
	Term    id.Term
	For     id.Term
	Granted bool
}

// RequestVote asks for the vote in Term (Raft §5.2, §5.4.1). Transfer is set
// when the leader itself asked the candidate to run (thesis §3.10): receivers
// then do not refuse on account of a live leader.
type RequestVote struct {
	Term      id.Term
	LastIndex id.Index
	LastTerm  id.Term
	Transfer  bool
}

// Vote answers RequestVote.
type Vote struct {
	Term    id.Term
	Granted bool
}

// Append is AppendEntries (Raft §5.3): entries to be put behind (Prev,
// PrevTerm). Entries may be empty: a probe, or news of the commit index.
type Append struct {
	Term     id.Term
	Prev     id.Index
	PrevTerm id.Term
	Commit   id.Index // the leader's; the receiver takes min(Commit, last entry verified by this message)
	Entries  []Entry
}

// AppendAccepted says that the sender's durable log equals the leader's up to
// Match.
type AppendAccepted struct {
	Term  id.Term
	Match id.Index
}

// AppendRejected says that Prev did not match. HintIndex and HintTerm are the
// greatest position the rejecting log may share with the leader's: its entry at
// HintIndex has HintTerm, and everything between HintIndex and Prev is known not
// to match. One round per term, not per entry.
type AppendRejected struct {
	Term      id.Term
	Prev      id.Index // echoed: which append was refused
	HintIndex id.Index
	HintTerm  id.Term
}

// Heartbeat keeps the office and confirms it for reads (thesis §6.4).
type Heartbeat struct {
	Term   id.Term
	Commit id.Index // never past what the receiver acknowledged
	Round  uint64   // newest read round that waits for confirmation; 0: none
}

// HeartbeatAck answers Heartbeat and echoes its Round.
type HeartbeatAck struct {
	Term  id.Term
	Round uint64
}

// InstallSnapshot reaches raft when the whole snapshot lies verified on the
// receiver's disk; the bytes travel beside it, in chunks, as the host's affair.
// The answer is an AppendAccepted: with Match = Snapshot.Index once installed,
// or with the receiver's commit index if it already has more.
type InstallSnapshot struct {
	Term     id.Term
	Snapshot SnapshotMeta
}

// TimeoutNow tells the target of a leadership transfer to campaign at once
// (thesis §3.10).
type TimeoutNow struct {
	Term id.Term
}

// RequestRead asks the leader for a read index on behalf of a follower's
// client. ID is the follower's own count and never reused in an incarnation.
type RequestRead struct {
	Term id.Term
	ID   uint64
}

// ReadAnswer answers RequestRead. Without Granted the leader could not confirm;
// the follower refuses the read.
type ReadAnswer struct {
	Term    id.Term
	ID      uint64
	Index   id.Index
	Granted bool
}

// NotMember tells the sender of a vote request that the receiver's committed
// configuration does not list it (it was removed). It proves nothing by itself;
// a node that hears it reports Removed to its host and goes on.
type NotMember struct {
	Term    id.Term
	Version uint64 // of the configuration that does not list it
}

func (m RequestPreVote) SenderTerm() id.Term  { return m.Term }
func (m PreVote) SenderTerm() id.Term         { return m.Term }
func (m RequestVote) SenderTerm() id.Term     { return m.Term }
func (m Vote) SenderTerm() id.Term            { return m.Term }
func (m Append) SenderTerm() id.Term          { return m.Term }
func (m AppendAccepted) SenderTerm() id.Term  { return m.Term }
func (m AppendRejected) SenderTerm() id.Term  { return m.Term }
func (m Heartbeat) SenderTerm() id.Term       { return m.Term }
func (m HeartbeatAck) SenderTerm() id.Term    { return m.Term }
func (m InstallSnapshot) SenderTerm() id.Term { return m.Term }
func (m TimeoutNow) SenderTerm() id.Term      { return m.Term }
func (m RequestRead) SenderTerm() id.Term     { return m.Term }
func (m ReadAnswer) SenderTerm() id.Term      { return m.Term }
func (m NotMember) SenderTerm() id.Term       { return m.Term }
