package kv

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/lease"
	"github.com/quorate/quorate/kv/mvcc"
)

// Command is one request on its way through the log: the envelope and the
// operation in it (DESIGN 15). The envelope has room from day one for what later
// parts need; what a Store cannot honour yet it refuses.
type Command struct {
	RequestID    uint64  // for logs and traces; not interpreted
	Session      Session // the zero Session: none
	User         string  // who asks, "" without authentication
	AuthRevision uint64  // the auth store's revision when User was checked
	Keyspace     uint64  // 0: the default one
	Time         int64   // cluster time in ns since 1970 at the proposer, 0: none. Applying never reads a clock
	Op           Op
}

// Session names a client session and a request in it, so that a retry is applied
// at most once.
type Session struct{ ID, Sequence uint64 }

// Op is what to do: exactly one field is set.
type Op struct {
	Put             *mvcc.PutRequest
	DeleteRange     *mvcc.DeleteRangeRequest
	Txn             *mvcc.TxnRequest
	Compact         *Compact
	LeaseGrant      *LeaseGrant
	LeaseRevoke     *LeaseRevoke
	LeaseCheckpoint *LeaseCheckpoint
	Alarm           *AlarmChange
	ClusterVersion  *ClusterVersion
	Advance         *Advance
}

// Compact makes revisions before Revision unreadable. Deleting the rows is each
// member's own affair and happens bit by bit afterwards.
type Compact struct{ Revision int64 }

// LeaseGrant creates a lease. The proposer chooses ID if the client gave none
// (never 0) and raises TTL with lease.EffectiveTTL; the Store refuses what is
// outside (0, lease.TTLMax].
type LeaseGrant struct {
	ID  lease.ID
	TTL int64 // seconds
}

// LeaseRevoke removes a lease and the keys attached to it, in one revision.
type LeaseRevoke struct {
	ID lease.ID
	// Expired marks a revoke that the leader of Term decided on because the TTL
	// ran out. It is ignored (Result.Ignored) unless it was appended in that term:
	// a later leader may have renewed the lease. Clients' revokes leave both zero.
	Expired bool
	Term    id.Term
}

// LeaseCheckpoint writes down remaining TTLs. Like an expiry it counts only if
// it was appended in Term, the term of the leader that measured them.
type LeaseCheckpoint struct {
	Term        id.Term
	Checkpoints []lease.Checkpoint // leases that are gone meanwhile are skipped
}

// AlarmType has etcd's numbers.
type AlarmType uint8

const (
	AlarmNone    AlarmType = iota // in a deactivation: every type
	AlarmNoSpace                  // puts, grants and transactions with puts are refused
	AlarmCorrupt                  // everything is refused
)

// Alarm is one raised alarm. Alarms are sorted by type, then member.
type Alarm struct {
	Type   AlarmType
	Member uint64 // node that raised it
}

// AlarmChange raises or clears an alarm. Clearing with Member 0 clears the type
// on every member. Listing alarms is a read: View.Alarms.
type AlarmChange struct {
	Raise bool
	Alarm Alarm
}

// ClusterVersion commits to a version of the commands: from here on proposals
// may use what that version brings (DESIGN 15). It never goes down.
type ClusterVersion struct{ Major, Minor uint32 }

// Advance changes no state. Applying it, like applying anything, lets a member
// go on with deleting compacted rows: a leader proposes it while a physical
// compaction is waited for and nobody writes.
type Advance struct{}

// Limits of the encoding. An edge has a smaller limit of its own for what a
// client may send; these keep a damaged or hostile command from costing memory.
const (
	CommandBytesMax  = 64 << 20
	TxnDepthMax      = 64 // nested transactions
	commandFormatOne = 1
)

// ErrFormat says that bytes are not a command or result this version knows.
var ErrFormat = errors.New("kv: not a command or result of this version")

// ErrTooLarge says that a command is larger than CommandBytesMax.
var ErrTooLarge = errors.New("kv: command too large")

// kind is an operation's number in the encoding. Never reuse one.
type kind uint8

const (
	kindPut             kind = 1
	kindDeleteRange     kind = 2
	kindTxn             kind = 3
	kindCompact         kind = 4
	kindLeaseGrant      kind = 5
	kindLeaseRevoke     kind = 6
	kindLeaseCheckpoint kind = 7
	kindAlarm           kind = 8
	kindClusterVersion  kind = 9
	kindAdvance         kind = 10
	kindRange           kind = 11 // inside transactions only
)

// kind returns which field is set.
func (o *Op) kind() (kind, error) {
	found := kind(0)
	for _, f := range [...]struct {
		set bool
		is  kind
	}{
		{o.Put != nil, kindPut}, {o.DeleteRange != nil, kindDeleteRange}, {o.Txn != nil, kindTxn},
		{o.Compact != nil, kindCompact}, {o.LeaseGrant != nil, kindLeaseGrant},
		{o.LeaseRevoke != nil, kindLeaseRevoke}, {o.LeaseCheckpoint != nil, kindLeaseCheckpoint},
		{o.Alarm != nil, kindAlarm}, {o.ClusterVersion != nil, kindClusterVersion}, {o.Advance != nil, kindAdvance},
	} {
		if !f.set {
			continue
		}
		if found != 0 {
			return 0, fmt.Errorf("kv: a command with two operations (%d and %d)", found, f.is)
		}
		found = f.is
	}
	if found == 0 {
		return 0, errors.New("kv: a command without an operation")
	}
	return found, nil
}
