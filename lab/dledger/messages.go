package dledger

import (
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// result is how a vote or a heartbeat is answered, in DLedger's words.
type result string

const (
	accept           result = "ACCEPT"
	unknownMember    result = "REJECT_UNKNOWN_LEADER"
	expiredLedger    result = "REJECT_EXPIRED_LEDGER_TERM"
	smallLedgerEnd   result = "REJECT_SMALL_LEDGER_END_INDEX"
	expiredTerm      result = "REJECT_EXPIRED_VOTE_TERM"
	hasLeader        result = "REJECT_ALREADY_HAS_LEADER"
	alreadyVoted     result = "REJECT_ALREADY_VOTED"
	notReady         result = "REJECT_TERM_NOT_READY"
	smallThanLedger  result = "REJECT_TERM_SMALL_THAN_LEDGER"
	success          result = "SUCCESS"
	heartbeatExpired result = "EXPIRED_TERM"
	inconsistent     result = "INCONSISTENT_LEADER"
	heartbeatUnready result = "TERM_NOT_READY"
	inconsistentData result = "INCONSISTENT_STATE"
	unexpected       result = "UNEXPECTED_ROLE_OR_TERM"
)

// The messages, named as DLedger's.
type (
	// VoteRequest asks for a vote; Round ties its answers to it.
	VoteRequest struct {
		Term           uint64
		LedgerEndTerm  uint64
		LedgerEndIndex int
		Round          uint64
	}
	// VoteResponse answers it with the voter's term.
	VoteResponse struct {
		Term   uint64
		Result result
		Round  uint64
	}
	// HeartBeatRequest is the leader's sign of life.
	HeartBeatRequest struct{ Term, Round uint64 }
	// HeartBeatResponse answers it.
	HeartBeatResponse struct {
		Term   uint64
		Result result
		Round  uint64
	}
	// PushEntryRequest is what a leader's dispatcher sends, of one of four kinds.
	PushEntryRequest struct {
		Kind    pushKind
		Term    uint64
		Index   int    // COMPARE: the entry compared; TRUNCATE, APPEND: the first
		Compare uint64 // COMPARE: its term
		Entries []lab.Entry
		Commit  int
		Round   uint64 // of COMPARE and the TRUNCATE behind it
	}
	// PushEntryResponse answers all but COMMIT.
	PushEntryResponse struct {
		Kind     pushKind
		Term     uint64
		Index    int // of the request; APPEND: of its last entry
		Result   result
		End      int // the follower's last index
		Conflict int // COMPARE: the first index of the term that conflicts; 0: none
		Round    uint64
	}
)

// A Round ties an answer to its question, and a TRUNCATE to its COMPARE, as RocketMQ's
// remoting does by connection and request number. It is not counted as bytes of a
// push.

// pushKind is COMPARE, TRUNCATE, APPEND or COMMIT.
type pushKind string

const (
	compare  pushKind = "COMPARE"
	truncate pushKind = "TRUNCATE"
	appendTo pushKind = "APPEND"
	commit   pushKind = "COMMIT"
)

func (VoteRequest) Name() string       { return "VoteRequest" }
func (VoteResponse) Name() string      { return "VoteResponse" }
func (HeartBeatRequest) Name() string  { return "HeartBeatRequest" }
func (HeartBeatResponse) Name() string { return "HeartBeatResponse" }
func (PushEntryRequest) Name() string  { return "PushEntryRequest" }
func (PushEntryResponse) Name() string { return "PushEntryResponse" }

func (m VoteRequest) Fields() []trace.Field {
	return []trace.Field{trace.Num("term", m.Term), trace.Num("end term", m.LedgerEndTerm), trace.Num("end index", uint64(m.LedgerEndIndex)), trace.Num("round", m.Round)}
}

func (m VoteResponse) Fields() []trace.Field {
	return []trace.Field{trace.Num("term", m.Term), trace.Text("result", string(m.Result)), trace.Num("round", m.Round)}
}

func (m VoteResponse) Bytes() int { return 16 + 3*8 }

func (m HeartBeatRequest) Fields() []trace.Field {
	return []trace.Field{trace.Num("term", m.Term), trace.Num("round", m.Round)}
}

func (m HeartBeatResponse) Fields() []trace.Field {
	return []trace.Field{trace.Num("term", m.Term), trace.Text("result", string(m.Result)), trace.Num("round", m.Round)}
}

func (m HeartBeatResponse) Bytes() int { return 16 + 3*8 }

func (m PushEntryRequest) Fields() []trace.Field {
	return []trace.Field{trace.Text("kind", string(m.Kind)), trace.Num("term", m.Term), trace.Num("index", uint64(m.Index)), trace.Num("entries", uint64(len(m.Entries))), trace.Num("commit", uint64(m.Commit))}
}

func (m PushEntryRequest) Bytes() int { return 16 + 5*8 + len(m.Entries)*3*8 }

func (m PushEntryResponse) Fields() []trace.Field {
	return []trace.Field{trace.Text("kind", string(m.Kind)), trace.Num("term", m.Term), trace.Num("index", uint64(m.Index)), trace.Text("result", string(m.Result)), trace.Num("end", uint64(m.End))}
}

func (m PushEntryResponse) Bytes() int { return 16 + 6*8 }

// The records on disk: the file currterm, and the ledger's.
type (
	termRecord struct {
		term     uint64
		votedFor lab.Node
	}
	entryRecord    struct{ entry lab.Entry }
	truncateRecord struct{ index int } // everything from here on is gone
)

func (termRecord) Name() string     { return "currTerm" }
func (entryRecord) Name() string    { return "entry" }
func (truncateRecord) Name() string { return "truncate" }

func (r termRecord) Fields() []trace.Field {
	return []trace.Field{trace.Num("term", r.term), trace.Num("vote", r.votedFor)}
}

func (r entryRecord) Fields() []trace.Field {
	return []trace.Field{trace.Num("operation", r.entry.Op), trace.Num("term", r.entry.Epoch)}
}

func (r truncateRecord) Fields() []trace.Field {
	return []trace.Field{trace.Num("from", uint64(r.index))}
}
