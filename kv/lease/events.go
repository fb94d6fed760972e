package lease

import "github.com/quorate/quorate/internal/id"

// Event is what enters the Expirer.
type Event interface{ event() }

// Granted, Revoked, Checkpointed and Replaced report what was applied, in the
// order it was applied, on every member.
type Granted struct{ Lease Lease }

// Revoked says that the lease and its keys are gone.
type Revoked struct{ ID ID }

// Checkpointed says that the remaining TTL in the table is now Remaining
// seconds; 0 means the whole TTL again.
type Checkpointed struct {
	ID        ID
	Remaining int64
}

// Replaced says that a snapshot replaced the table; Leases is sorted by ID.
type Replaced struct{ Leases []Lease }

// Promoted says that this member leads as of Term. Every lease is extended.
type Promoted struct{ Term id.Term }

// Demoted says that this member does not lead any more.
type Demoted struct{}

// Renew is a client's keep-alive. It ends in exactly one Renewed with the same
// Request.
type Renew struct {
	Request uint64
	ID      ID
}

// OfficeConfirmed ends a ConfirmOffice. OK says that a read round begun after
// it was emitted confirmed the office and that the events of every entry up to
// the round's index were given to Step before this one.
type OfficeConfirmed struct {
	Round uint64
	OK    bool
}

// RevokeFailed says that a proposed revoke was refused or that its outcome is
// unknown. It is tried again. Success comes as Revoked.
type RevokeFailed struct{ ID ID }

// CheckpointDone ends the ProposeCheckpoint with this Number, after the
// Checkpointed events it caused. OK is false when it was refused, ignored, or
// its outcome is unknown.
type CheckpointDone struct {
	Number uint64
	OK     bool
}

func (Granted) event()         {}
func (Revoked) event()         {}
func (Checkpointed) event()    {}
func (Replaced) event()        {}
func (Promoted) event()        {}
func (Demoted) event()         {}
func (Renew) event()           {}
func (OfficeConfirmed) event() {}
func (RevokeFailed) event()    {}
func (CheckpointDone) event()  {}

// Effect is what the Expirer asks of the world.
type Effect interface{ effect() }

// ConfirmOffice asks for a read round. It ends in OfficeConfirmed; at most one
// is in flight.
type ConfirmOffice struct{ Round uint64 }

// RenewOutcome says how a keep-alive ended.
type RenewOutcome uint8

const (
	RenewOK          RenewOutcome = iota + 1 // TTL is what the client may rely on from now
	RenewMissing                             // no such lease (any more): etcd answers TTL 0
	RenewNotLeader                           // ask the leader; nothing was changed
	RenewOverloaded                          // too many renewals wait here; nothing was changed
	RenewUnavailable                         // a write it needed did not happen; ask again
)

// Renewed answers a Renew.
type Renewed struct {
	Request uint64
	ID      ID
	Outcome RenewOutcome
	TTL     int64 // seconds; RenewOK only
}

// ProposeRevoke proposes to revoke a lease that ran out, from this member only
// (never forwarded): the state machine ignores it unless it was appended in
// Term. It ends in Revoked or RevokeFailed.
type ProposeRevoke struct {
	ID   ID
	Term id.Term
}

// ProposeCheckpoint proposes remaining TTLs, sorted by ID, as ProposeRevoke
// proposes. It ends in CheckpointDone; at most one is in flight.
type ProposeCheckpoint struct {
	Number      uint64
	Term        id.Term
	Checkpoints []Checkpoint
}

// Checkpoint is one lease's remaining TTL in seconds; 0 is the whole TTL.
type Checkpoint struct {
	ID        ID
	Remaining int64
}

func (ConfirmOffice) effect()     {}
func (Renewed) effect()           {}
func (ProposeRevoke) effect()     {}
func (ProposeCheckpoint) effect() {}

// Options of an Expirer.
type Options struct {
	// Extend is added to every lease when this member becomes leader: clients
	// need time to find it. The election timeout; default 300 ms.
	Extend id.Duration
	// ExpirePerSecondMax bounds how many leases a new leader lets run out in any
	// one second; the rest is extended. Default 500. Larger: bursts of revokes
	// compete with clients. Smaller: mass expiry after a change of leader drags.
	ExpirePerSecondMax int
	// RevokesInFlightMax bounds the revokes proposed and not yet applied; further
	// expired leases wait. Default 64.
	RevokesInFlightMax int
	// RetryAfter is how long a lease whose revoke failed waits for the next try.
	// Default 500 ms.
	RetryAfter id.Duration
	// CheckpointInterval is how often the remaining TTL of a lease with more than
	// this left is written to the log. Default 5 min; it is what a lease can live
	// too long by, per change of leader.
	CheckpointInterval id.Duration
	// CheckpointsPerProposalMax bounds one proposal. Default 1000.
	CheckpointsPerProposalMax int
	// RenewalsWaitingMax bounds the renewals not yet answered; beyond it they end
	// as RenewOverloaded. Default 100,000.
	RenewalsWaitingMax int
}

// WithDefaults fills what is zero.
func (o Options) WithDefaults() Options {
	if o.Extend == 0 {
		o.Extend = 300 * id.Millisecond
	}
	if o.ExpirePerSecondMax == 0 {
		o.ExpirePerSecondMax = 500
	}
	if o.RevokesInFlightMax == 0 {
		o.RevokesInFlightMax = 64
	}
	if o.RetryAfter == 0 {
		o.RetryAfter = 500 * id.Millisecond
	}
	if o.CheckpointInterval == 0 {
		o.CheckpointInterval = 300 * id.Second
	}
	if o.CheckpointsPerProposalMax == 0 {
		o.CheckpointsPerProposalMax = 1000
	}
	if o.RenewalsWaitingMax == 0 {
		o.RenewalsWaitingMax = 100_000
	}
	return o
}
