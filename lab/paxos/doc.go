// Package paxos is Paxos in two forms: paxos/single decides one value for ever,
// paxos decides a numbered sequence of them and so keeps a log (multi-Paxos).
//
//	proposer                 acceptors (a majority)
//	   │ P1a{ballot}  ─────────▶ │ promise nothing smaller     (fsync)
//	   │ ◀───────── P1b{accepted}│ and tell what was accepted
//	   │ P2a{ballot, value} ───▶ │ accept                      (fsync)
//	   │ ◀────────────────── P2b │
//	   │ Learn{value} ─────────▶ everybody
//
// # Rules
//
// From Lamport, "Paxos Made Simple" (2001), §2.2 and §2.3, in ELECTIONS.md's
// numbers. A ballot is a round and the number of the node that drew it, so no two
// proposers have the same one; it is shown as round × 10 + node: 23 is the second
// round of n3.
//
//	R1  P1a above the promise: promise it, on disk before P1b leaves
//	R2  Q promises: the value is that of the highest ballot that any of them
//	    accepted, one's own only if there is none
//	R3  P2a not below the promise: accept it, on disk before P2b leaves
//	R4  Q P2b of one ballot: the value is chosen
//	R5  Nack, or one's own acceptor promised a higher ballot: again with a higher
//	    round, after a random 10 to 100 ms
//
//	M1  a new leader asks once for all slots from its first that is not chosen
//	M2  and proposes again, per slot, what R2 says; what nobody accepted becomes a
//	    no-op
//	M3  then a slot costs one round (P2a, P2b)
//	M4  what is chosen is applied in order, without gaps
//	M5  at most α = 64 slots are open behind the applied ones. That is the window
//	    by which Paxos changes its members: a configuration chosen in slot i counts
//	    from i+α on. The lab changes no members, so only the bound remains
//
// Paxos says nothing about who should lead, how a leader is missed, or how to
// read. These are ours, and no rule above relies on them:
//
//	D1  200 ms heartbeats; a follower that hears none for 1 to 1.2 s asks for the
//	    lead; a node of rank 1 does at its first start
//	D2  a leader that hears fewer than Q for 1 s leaves the lead
//	D3  a Nack names the leader that its sender hears, if there is one: follow it
//	    rather than fight
//	Q1  a read waits for one round of heartbeats that Q answer: nobody can have
//	    chosen anything under a higher ballot before it began
//
// In paxos/single a node that is asked proposes; a write proposes its operation
// and is refused once another value is chosen (that value stays for ever); a read
// that knows no outcome asks a majority and completes what it finds.
//
// # What it promises
//
// At most one value per slot, whatever is delayed, lost or restarted, and however
// many nodes take themselves for leader: safety needs no unique leader. An
// acknowledged write is kept; reads are linearizable. Two leaders may acknowledge at
// once (C2), and it does no harm: an old one, paused perhaps, says late what a majority
// had accepted before the new one asked for its promises. If that is the first thing
// it says in its lead, C3's worst counts what the new one acknowledged meanwhile,
// although nothing is lost.
//
// # What it is known to lack
//
//   - Progress. Two proposers can overtake each other for ever (switch
//     equal-backoff); the random wait of R5 makes that improbable, not impossible.
//     That the waits are equal is not enough, as was expected: they must be shorter
//     than about one message takes. A longer wait lets the other one finish.
//   - A stable leader. Whoever cannot hear the leader asks for the lead and gets
//     it: one cut link (F5) makes the two ends of it take turns, and a node that
//     comes back from a partition takes the lead with its higher ballot. Raft has
//     its pre-vote for that.
//   - Order in flight. Slot 7 may be chosen while 6 is not, and become of use only
//     when a no-op fills 6. In Raft a log never has such a hole.
//   - A log check. The node that lags most may lead; it fetches what it lacks with
//     its promises. In Raft it would not be elected.
//   - Once-only. A client that repeats a write may find it in two slots.
//   - Protection of a node that comes back with a wiped disk: it has forgotten its
//     promises, which is what the switch no-fsync shows on purpose.
package paxos
