package kv

import (
	"github.com/quorate/quorate/kv/lease"
	"github.com/quorate/quorate/kv/mvcc"
)

// Result is what a command came to. It is the same on every member.
type Result struct {
	// Err is nil or an mvcc.RequestError: the command changed nothing.
	Err error
	// Revision is the store's revision after the command: the response header's.
	Revision int64
	// Ignored says that the command was meant for an earlier term and changed
	// nothing: LeaseRevoke by expiry and LeaseCheckpoint.
	Ignored bool

	// The field that belongs to the operation is set when Err is nil and Ignored
	// is false. Compact, LeaseRevoke, LeaseCheckpoint, ClusterVersion and Advance
	// have nothing to tell but Revision.
	Put         *mvcc.PutResponse
	DeleteRange *mvcc.DeleteRangeResponse
	Txn         *mvcc.TxnResponse
	LeaseGrant  *lease.Lease
	Alarms      []Alarm // of an AlarmChange: the alarms raised or cleared by it
}

// Errors of this package for clients; kv/mvcc has the others. The texts are
// etcd's.
const (
	ErrLeaseExists      = mvcc.RequestError("etcdserver: lease already exists")
	ErrLeaseTTLTooLarge = mvcc.RequestError("etcdserver: too large lease TTL")
	ErrNoSpace          = mvcc.RequestError("etcdserver: mvcc: database space exceeded")
	ErrCorrupt          = mvcc.RequestError("etcdserver: corrupt cluster")

	// What no etcd client can ask for: a proposer's mistake.
	ErrSessions        = mvcc.RequestError("quorate: client sessions are not served by this version")
	ErrKeyspace        = mvcc.RequestError("quorate: no such keyspace")
	ErrLeaseTTLInvalid = mvcc.RequestError("quorate: lease TTL must be positive")
	ErrVersionDown     = mvcc.RequestError("quorate: the cluster version cannot go down")
)
