// Package kv is the replicated key-value store: what a committed command means.
//
// A client's request is wrapped in a Command, encoded, proposed, and applied on
// every member by a Store in the same order, with the same Result:
//
//	edge:    data, err := (&kv.Command{RequestID: …, Op: kv.Op{Put: req}}).Encode()
//	library: outcome := group.Propose(data)               // rsm.Result comes back
//	edge:    res, err := kv.DecodeResult(outcome.Result)  // res.Err, res.Put
//
// Reads do not come through the log: they use a View that has applied at least
// the index of a read round (DESIGN 11). Lease renewals do not either: they
// matter to the leader alone (kv/lease).
//
//	Command ─► Store.Apply ─► mvcc.Update ──┐ one engine batch: keys, leases, alarms,
//	                │                        │ cluster version, applied index and term
//	                ▼                        ▼
//	             Results                 Changes ─► watch.Hub, lease.Expirer, server
//
// Everything Apply decides follows from the state and the command: no clock, no
// configuration of this member, no chance. What a client did wrong is a Result
// with an Err; an error returned by Apply means this member must stop the group.
//
// The bytes of commands, results and snapshots: docs/format/kv.md.
package kv
