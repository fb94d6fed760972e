// Package lab runs the election family side by side: Bully, Paxos, ZAB,
// Elasticsearch, MongoDB, Kafka, redis, DLedger, Eureka and our production Raft
// on the simulator's network, disks and clocks, under the same faults, judged by
// the same checkers.
//
//	recipe ──▶ template: T, r1…r5 become this protocol's times and nodes
//	               │
//	┌──────────────▼─────────────────────────────────────────────┐
//	│ Run    clients ─▶ Machine(node 1) ⇄ sim.Network ⇄ Machine… │
//	│                     │ Turn: sends, writes, answers, rules   │
//	│                     ▼                                       │
//	│        sim.World (time, dice, trace, hash)   vfs.Disk       │
//	└──────────────┬─────────────────────────────────────────────┘
//	               ├─▶ trace: roles, epochs, logs, disks, messages, causes
//	               └─▶ Result: what the checkers saw, what was measured
//
// # What a protocol is
//
// One folder with a Machine, and one line in lab/family. A Machine decides and
// touches nothing: an event comes in by Step, and what it wants done it tells the
// Turn. It shows what it believes by View; the frame compares the Views before
// and after every Step and reports what changed. So a protocol cannot report
// anything about itself that is not so, and all are measured alike.
//
// # Promises
//
//   - A run is a function of the recipe and the protocol: the same hash, natively
//     and in a browser.
//   - Every event of the trace names its cause, and the rule that fired.
//   - Nothing that leaves behind a token leaves before the bytes are on disk.
//   - A run ends: at its recipe's length, or with an error at eventsMax handlers.
//
// The package runs on one goroutine and needs no locks.
package lab
