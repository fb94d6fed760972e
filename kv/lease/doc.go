// Package lease holds what the store knows about leases, in two halves that
// never touch each other's state.
//
// The Table is replicated: which leases exist, their granted TTL and the
// remaining TTL last checkpointed. It changes only while a command is applied,
// in the same engine batch as everything else the command changes, so it is the
// same on every member and survives what the data survives. Which keys hang on a
// lease is not in here: mvcc keeps those rows beside the keys.
//
// The Expirer is a machine that lives on every member and decides only on the
// leader: when a lease has run out, when its remaining time is worth writing
// down, whether a renewal counts. Nothing it knows is replicated; a new leader's
// Expirer starts from the table.
//
//	             Granted, Revoked, Checkpointed, Replaced   (from apply, every member)
//	             Promoted, Demoted                          (from raft, every member)
//	Renew ──►  ┌──────────┐ ──► ConfirmOffice ──► OfficeConfirmed ─┐
//	           │ Expirer  │ ◄──────────────────────────────────────┘
//	           └──────────┘ ──► Renewed, ProposeRevoke, ProposeCheckpoint
//
// What it promises, as long as clocks run at the same speed (not: show the same
// time):
//
//   - A lease is never revoked by expiry before the TTL that its last answered
//     renewal, or its grant, promised has passed; not across a change of leader
//     either. Renewals are therefore answered, and expired leases revoked, only
//     after a read round begun afterwards has confirmed the office: a deposed
//     leader can neither promise nor take away (etcd-io/etcd#15247).
//   - An expired lease stays expired. Renewing it waits for the revoke and then
//     finds nothing.
//   - After a change of leader every lease has its full remaining TTL again, and
//     no more than a stated number of leases run out in any one second.
//
// Times are id.Time on the driver's monotonic clock; TTLs are whole seconds, as
// clients give them.
package lease

import "github.com/quorate/quorate/internal/id"

// ID names a lease. 0 is "no lease".
type ID = int64

// TTLMax is the largest TTL a grant may ask for, in seconds (etcd's limit).
const TTLMax int64 = 9_000_000_000

// TTLMin is the smallest TTL, in seconds, that a store with this election
// timeout (its upper bound) grants: the greater of 2 s and 1.5 times the timeout
// rounded up, so that a lease outlives an election. A smaller request is raised
// to it before it is proposed and the raised value is echoed to the client.
func TTLMin(electionTimeout id.Duration) int64 {
	stretched := (electionTimeout*3 + 1) / 2
	seconds := int64((stretched + id.Second - 1) / id.Second)
	return max(2, seconds)
}

// EffectiveTTL is the TTL that a request for ttl seconds is proposed with.
func EffectiveTTL(ttl int64, electionTimeout id.Duration) int64 {
	return max(ttl, TTLMin(electionTimeout))
}

// Lease is what the table holds of one lease.
type Lease struct {
	ID        ID
	TTL       int64 // seconds, as granted
	Remaining int64 // seconds, as last checkpointed; 0: never, or renewed since
}

// Left is the TTL in seconds a new leader starts the lease with.
func (l Lease) Left() int64 {
	if l.Remaining > 0 {
		return l.Remaining
	}
	return l.TTL
}
