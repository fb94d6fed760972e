// Package sim is the world in which a cluster runs when nobody but a seed
// decides what happens: one event queue, virtual time without ticks, a network
// and clocks that misbehave on request, coroutines for work on a disk. It knows
// no Raft; sim/cluster and lab put their nodes into it.
//
//	        recipe ──▶ faults, resolved: what, on whom, when, for how long
//	                       │
//	┌──────────────────────▼─────────────────────┐
//	│ World: (time, order) queue ─▶ one handler  │──▶ trace + rolling hash
//	│   Network   Clock   Worker(coroutine)      │
//	└──────────────────────▲─────────────────────┘
//	                       └── nodes: events in, effects out
//
// # Promises
//
//   - One thread. A run is a function of its recipe: the same recipe gives the
//     same sequence of events and the same hash, twice in a row and on every
//     machine. No float, no map order, no wall clock takes part in a decision.
//   - Random streams are keyed (seed, domain, node, link), so that taking one
//     fault out of a recipe leaves the dice of all the others as they were.
//   - Every recorded event names the event that caused it.
//   - Virtual time moves only from event to event and never back.
//
// The package runs on one goroutine (coroutines of iter.Pull included) and needs
// no locks.
package sim
