// Package exec is the synchronous bodies of the host's effects: open, recover,
// persist, apply, snapshot, install, load. host/run calls them on goroutines,
// sim/cluster on coroutines of a simulated world; nothing here knows which.
//
// A data directory:
//
//	LOCK                 held while a process uses the directory
//	IDENTITY             whose directory this is, and how often it was started
//	wal/                 the log of all groups
//	snapshot/GROUP/      snapshots of in-memory machines, and received ones
//
// # Recovery, in order
//
//  1. Lock the directory; read IDENTITY.
//  2. Open the log: every group's hard state, entries and log start. Then count
//     this start in IDENTITY, durably: before anything is proposed under it.
//  3. Per group, OpenGroup: the machine brings its applied index (a durable one
//     from its storage, one in memory from the newest snapshot that verifies).
//  4. An installation that was cut short is finished if the machine has the
//     snapshot's state, and forgotten if it has not: the old log and the old
//     state are then both whole.
//  5. Invariant: log start ≤ applied ≤ last log entry, an installation excepted.
//
// Who calls what: Persist and Idle by one writer; a group's Apply and Install by
// one worker at a time, Snapshot by one more; Load, Acquire and Receive by anyone.
package exec
