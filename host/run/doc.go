// Package run is the driver: it steps the host and executes its effects on
// goroutines, with real doors. It adds no decision.
//
//	callers ──▶ inbox ──▶ loop (host.Step) ──▶ writer   (one; one fsync in flight)
//	                        ▲                ├─▶ workers  (one job at a time per group)
//	                        │                ├─▶ loads, snapshots (bounded)
//	                        └── completions ─┴─▶ transport (never blocks)
//
// The loop never waits for a file, a lock that somebody holds across one, or a
// state machine. Every goroutine belongs to the Runner and ends with Close.
package run
