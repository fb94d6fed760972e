// Package host is many Raft groups in one process, as a machine: events go in,
// effects come out, nothing else happens (DESIGN 3). It never blocks and never
// calls. host/run executes the effects on goroutines, sim/cluster on coroutines
// in a simulated world.
//
//	clients ─┐                               ┌─▶ Persist ─▶ WAL writer ─▶ Durable ─┐
//	frames ──┤   ┌──────┐  events  ┌──────┐  ├─▶ Send ────▶ transport              │
//	Durable ─┼──▶│ host │─────────▶│ raft │──┼─▶ Apply ───▶ apply worker ─▶ ApplyDone
//	ApplyDone┘   └──────┘◀─effects─└──────┘  └─▶ Resolve, ReadAt ─▶ clients        │
//	  ▲───────────────────────────────────────────────────────────────────────────┘
//
// What the host adds to raft: one Persist per pass for all groups; it holds back
// every Send until its token is durable; it finds the waiting client of an
// applied entry, on whichever member the client waits; it releases reads when
// their index is applied; it decides when an in-memory machine is snapshotted.
//
//	out = h.Step(now, events, out[:0])
//	next := h.Deadline()
package host
