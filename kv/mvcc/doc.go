// Package mvcc keeps the versions of one keyspace: revisions, ranges,
// transactions, compaction and hashes, with etcd's rules (docs/DIVERGENCE.md
// lists where we differ on purpose).
//
// One writer and any number of readers:
//
//	store := Open(engine, Options{...})     // finds revision, applied index, …
//	u := store.Begin()                      // one Update per rsm.Batch
//	u.Put(...); u.Txn(...); u.SetRow(...)   // any number of commands
//	view, events, err := u.Commit(applied, term)
//
// Everything between Begin and Commit is one engine batch: the keys, the
// applied index, and the rows of other tables (leases, auth, alarms, sessions)
// that kv/lease, kv/auth and kv write through the same Update. So a crash finds
// all of it or nothing.
//
// A request is refused before its first effect, with a RequestError that every
// replica comes to; any other error is the storage's and must stop the group.
// An Update that returned such an error must be closed, not committed.
//
//	Invariant: the revision grows by one for each request that changed a key; the
//	changes within a revision are ordered by their sub revision.
//
// Store and Update belong to one goroutine. A View is immutable: any goroutine
// may read it, also while the store moves on. This package is a machine: it
// knows no clock; what time does to leases is kv/lease's affair.
//
// Leases: mvcc keeps which key is attached to which lease (row l|lease|key),
// because a put and a deletion know the attachment they replace. Whether a lease
// exists is asked through Options.LeaseExists; kv/lease keeps the leases
// themselves in TableLease, and revokes through Update.DeleteLeased.
//
// The rows, and why: docs/decisions/0002-store-layout.md, docs/format/store.md.
package mvcc
