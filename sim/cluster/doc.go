// Package cluster is a whole cluster on one thread: the real host, host/exec,
// wal and snapshot run in the world of package sim, under clients that write
// down what they saw and under faults that a seed decides. Every event is
// checked against the invariants of Raft; each has a file of its own, oracle_*.
//
//	seed ──▶ recipe (swarm.go) ──▶ Run ──▶ Result{Hash, Violation, …}
//
//	client ─▶ node: inbox ─▶ host.Step ─▶ effects ┬▶ writer, applier … (coroutines) ─▶ disk
//	             ▲                                ├▶ network ─▶ other nodes
//	             └────────────────────────────────┴▶ oracles
//
// # A run
//
//  1. Faults, for as long as the recipe says; safety is checked on every event.
//  2. A random majority, the core, is healed for good; everybody else stays
//     broken. A leader, answers for every client and equal states must follow
//     within bounds (heal.go).
//  3. All nodes lose their power and everything they may lose; the core starts
//     again: everything acknowledged must be there (aftermath.go). The history of
//     the clients is checked against the applied log and by porcupine.
//
// A run is a function of its recipe: the same recipe gives the same hash.
package cluster
