// Package raft is one node of one Raft group, as a machine: events go in,
// effects come out, nothing else happens. It follows the Raft paper (Ongaro and
// Ousterhout, 2014) and Ongaro's thesis; each file is a chapter and names its
// section. docs/DIVERGENCE says where we differ and why.
//
//	n, err := raft.New(config, restored)
//	out = n.Step(now, events, out[:0]) // one pass: all events, then every deadline due
//	next := n.Deadline()               // wake me no later than this
//
// What a pass appends, however many events brought it, leaves as one Persist and
// at most one Append per follower and window slot.
package raft
