// Package twophase is two-phase commit, which the family is measured against: the
// change that needs everybody's consent, where Raft and Paxos need a majority's.
//
//	coordinator (r1)                  every participant, itself included
//	   │ Prepare{position, op} ─────────▶ │ can I? write it down    (fsync)
//	   │ ◀───────────────── Vote{yes, no} │ from now on: in doubt
//	   │ all yes: committed, else aborted │
//	   │ (fsync)                          │
//	   │ Decision ──────────────────────▶ │ apply or forget it      (fsync)
//	   │ ◀─────────────────────────── Ack │
//
// All operations touch the same data, so there is one transaction at a time; it
// holds the lock, and up to 16 others wait. Every transaction takes a position, with its
// operation or as aborted, and all nodes have the same ones.
//
// # Rules
//
// From Gray, "Notes on Data Base Operating Systems" (1978), §5.8.3.3, and
// Bernstein, Hadzilacos, Goodman, "Concurrency Control and Recovery in Database
// Systems" (1987), chapter 7; the numbers are ours.
//
//	R1  the coordinator asks every participant to prepare
//	R2  a participant that can writes the operation down, on disk before it votes
//	    yes. It may no longer decide by itself: it is in doubt
//	R3  one that cannot (it lacks earlier decisions, say) votes no
//	R4  ALL yes: committed, on disk before anybody hears of it; the client is answered
//	R5  a no, a connection that broke, or no vote within 1 s: aborted, on disk
//	    before anybody hears of it. While a participant is away nothing begins
//	R6  whoever is in doubt waits, and asks the coordinator once a second
//	R7  a coordinator that starts with an undecided transaction aborts it, and sends
//	    its decisions to whoever has not acknowledged them
//
// # What it promises
//
// Atomicity: nobody applies what another aborts, whatever crashes and returns with
// its disk. Nothing acknowledged is lost, and reads, at the coordinator, are never
// stale. There is nothing to elect: r1 is the coordinator for ever.
//
// # What it is known to lack
//
//   - Availability. One participant away, or one link cut, stops all writes; the
//     coordinator away stops all of them and the reads, until it returns (M43).
//   - A way out of doubt. A participant that voted yes must wait for a coordinator
//     that may never come back. Whoever decides alone instead (switch
//     unilateral-abort) decides another thing than the coordinator did (C4).
//   - A second coordinator. That takes agreement on who it is and on what was
//     decided: what the rest of the family is about. (Gray and Lamport, "Consensus
//     on Transaction Commit", 2004, put Paxos in the coordinator's place.)
package twophase
