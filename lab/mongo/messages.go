package mongo

import (
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// Heartbeat is asked by everybody of everybody, every two seconds. pv0 leaves
// Term and Primary 0.
type Heartbeat struct {
	Round   uint64
	Term    uint64
	Primary lab.Node // whom the sender takes for primary
}

// HeartbeatReply is how a member is. pv0 knows no Term, Durable, Primary, Commit;
// pv1 no ElectionTime, Electable.
type HeartbeatReply struct {
	Round        uint64
	State        string // PRIMARY, SECONDARY or ROLLBACK
	Applied      opTime
	Electable    bool
	ElectionTime uint64
	Term         uint64
	Durable      opTime
	Primary      lab.Node
	Commit       opTime
}

// GetMore asks a sync source for what comes behind an opTime; the source answers
// when it has something, at the latest after awaitData.
type GetMore struct {
	Cursor    uint64 // echoed by the Batch
	After     opTime
	Unchecked bool // a broken rule: do not ask whether the source has After
}

// Batch is what a sync source has. Found false: it does not hold the entry the
// follower ends with, so the two logs have parted.
type Batch struct {
	Cursor  uint64
	Found   bool
	Entries []insert
	Last    opTime // the newest of the source
	Term    uint64
	Primary lab.Node // whom the source takes for primary
	Commit  opTime
}

// OplogScan reads the source's oplog backwards, from below an opTime (zero: from
// the newest), in search of the common point.
type OplogScan struct {
	Cursor uint64
	Below  opTime
}

// OplogTail is opTimes, newest first. More: there are older ones.
type OplogTail struct {
	Cursor uint64
	Times  []opTime
	More   bool
}

// UpdatePosition tells the sync source how far members have come, and the source
// passes on what is news to it. It carries the sender's term: who has voted in a newer
// one may still pull from the old primary, but must not help it to commit.
type UpdatePosition struct {
	Term      uint64
	Positions []position
}

type position struct {
	Node             lab.Node
	Applied, Durable opTime
}

// Fresh asks before an election (pv0): may I?
type Fresh struct {
	Round  uint64
	OpTime opTime
}

// FreshReply says whether somebody is fresher, and whether the candidate must not
// stand.
type FreshReply struct {
	Round   uint64
	OpTime  opTime
	Fresher bool
	Veto    string // why; empty: none
}

// Elect asks for a vote (pv0).
type Elect struct{ Round uint64 }

// ElectReply is +1, 0, or a veto of −10000.
type ElectReply struct {
	Round uint64
	Vote  int
	Why   string
}

// RequestVotes asks for a vote (pv1), or in a dry run whether it would be given.
type RequestVotes struct {
	DryRun  bool
	Term    uint64
	Config  uint64
	Applied opTime
}

// RequestVotesReply grants or says why not.
type RequestVotesReply struct {
	DryRun  bool
	Asked   uint64 // the term of the request
	Term    uint64 // the voter's own
	Granted bool
	Why     string
}

// StepUp tells a member to stand at once, without a dry run (pv1).
type StepUp struct{ Term uint64 }

func (Heartbeat) Name() string         { return "Heartbeat" }
func (HeartbeatReply) Name() string    { return "HeartbeatReply" }
func (GetMore) Name() string           { return "GetMore" }
func (Batch) Name() string             { return "Batch" }
func (OplogScan) Name() string         { return "OplogScan" }
func (OplogTail) Name() string         { return "OplogTail" }
func (UpdatePosition) Name() string    { return "UpdatePosition" }
func (Fresh) Name() string             { return "Fresh" }
func (FreshReply) Name() string        { return "FreshReply" }
func (Elect) Name() string             { return "Elect" }
func (ElectReply) Name() string        { return "ElectReply" }
func (RequestVotes) Name() string      { return "RequestVotes" }
func (RequestVotesReply) Name() string { return "RequestVotesReply" }
func (StepUp) Name() string            { return "StepUp" }

func (m Heartbeat) Fields() []trace.Field {
	return []trace.Field{trace.Num("term", m.Term), trace.Num("primary", m.Primary)}
}

func (m HeartbeatReply) Fields() []trace.Field {
	return []trace.Field{trace.Text("state", m.State), trace.Num("term", m.Term), trace.Num("applied-term", m.Applied.Term),
		trace.Num("applied", m.Applied.Stamp), trace.Num("electable", bit(m.Electable)), trace.Num("primary", m.Primary)}
}

// Bytes counts what the fields sum up: the durable opTime, the commit point, the
// time of the election.
func (m HeartbeatReply) Bytes() int { return lab.Bytes(m) + 5*8 }

func (m GetMore) Fields() []trace.Field {
	return []trace.Field{trace.Num("after-term", m.After.Term), trace.Num("after", m.After.Stamp)}
}

func (m Batch) Fields() []trace.Field {
	return []trace.Field{trace.Num("found", bit(m.Found)), trace.Num("entries", uint64(len(m.Entries))),
		trace.Num("last-term", m.Last.Term), trace.Num("last", m.Last.Stamp), trace.Num("primary", m.Primary)}
}

// Bytes counts each entry: an opTime, the operation, its term, who asked.
func (m Batch) Bytes() int { return lab.Bytes(m) + 3*8 + len(m.Entries)*5*8 }

func (m OplogScan) Fields() []trace.Field {
	return []trace.Field{trace.Num("below-term", m.Below.Term), trace.Num("below", m.Below.Stamp)}
}

func (m OplogTail) Fields() []trace.Field {
	return []trace.Field{trace.Num("entries", uint64(len(m.Times))), trace.Num("more", bit(m.More))}
}

// Bytes counts each opTime.
func (m OplogTail) Bytes() int { return lab.Bytes(m) + len(m.Times)*2*8 }

func (m UpdatePosition) Fields() []trace.Field {
	fields := []trace.Field{trace.Num("term", m.Term)}
	for _, p := range m.Positions {
		fields = append(fields, trace.Num("member", p.Node), trace.Num("applied", p.Applied.Stamp), trace.Num("durable", p.Durable.Stamp))
	}
	return fields
}

// Bytes counts each position: a member and two opTimes.
func (m UpdatePosition) Bytes() int { return 16 + 8 + len(m.Positions)*5*8 }

func (m Fresh) Fields() []trace.Field {
	return []trace.Field{trace.Num("round", m.Round), trace.Num("optime", m.OpTime.Stamp)}
}

func (m FreshReply) Fields() []trace.Field {
	return []trace.Field{trace.Num("round", m.Round), trace.Num("optime", m.OpTime.Stamp), trace.Num("fresher", bit(m.Fresher)), trace.Text("veto", m.Veto)}
}

func (m Elect) Fields() []trace.Field { return []trace.Field{trace.Num("round", m.Round)} }

func (m ElectReply) Fields() []trace.Field {
	return []trace.Field{trace.Num("round", m.Round), trace.Text("vote", signed(m.Vote)), trace.Text("why", m.Why)}
}

func (m RequestVotes) Fields() []trace.Field {
	return []trace.Field{trace.Num("dry-run", bit(m.DryRun)), trace.Num("term", m.Term), trace.Num("config", m.Config),
		trace.Num("applied-term", m.Applied.Term), trace.Num("applied", m.Applied.Stamp)}
}

func (m RequestVotesReply) Fields() []trace.Field {
	return []trace.Field{trace.Num("dry-run", bit(m.DryRun)), trace.Num("term", m.Term), trace.Num("granted", bit(m.Granted)), trace.Text("why", m.Why)}
}

func (m StepUp) Fields() []trace.Field { return []trace.Field{trace.Num("term", m.Term)} }

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func signed(n int) string {
	if n > 0 {
		return "+1"
	}
	if n < 0 {
		return "-10000"
	}
	return "0"
}
