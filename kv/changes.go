package kv

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/lease"
	"github.com/quorate/quorate/kv/mvcc"
)

// Changes is what one Apply, or one Restore, did: what watchers, the lease
// expirer and the server on this member want to know. Every Apply that reaches
// the end gives exactly one, in order.
type Changes struct {
	Applied         id.Index
	Term            id.Term
	Revision        int64 // after it
	CompactRevision int64 // after it; -1: never compacted
	// Events are those of the revisions up to Revision, in order, complete: a
	// revision is never split over two Changes.
	Events []mvcc.Event
	Leases []lease.Event // Granted, Revoked, Checkpointed; after a Restore one Replaced
	// Restored says that a snapshot replaced everything: Events does not connect
	// to what came before.
	Restored bool
	// View is the state after it. The receiver closes it.
	View *View
}
