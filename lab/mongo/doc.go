// Package mongo is MongoDB's replica sets: the election protocol of before 3.2
// (pv0) and the one that replaced it (pv1), on one kind of replication, pulling.
//
//	        heartbeat, all to all, every 2 s: up? state? how far?
//	n1 ◀───────────────────────▶ n2 ◀───────────────────────▶ n3 primary
//	 │  GetMore: what comes after (term, stamp)?  │                ▲
//	 └──────────▶ any member that has more ───────┴── GetMore ─────┘
//	    ◀─ Batch, at once or within 5 s        UpdatePosition ─────▶
//
// A secondary asks a source for what comes behind its own last entry, and the
// source answers when it has something, so an idle set costs little. If the source
// lacks that last entry and its own log is newer, the logs have parted: the
// secondary looks for the newest entry both hold and takes away its own behind it.
// That is rollback. Only the primary serves clients. A write is answered when the
// primary has it (w 1), or a majority (w majority).
//
// The rules have their numbers in the project's reference of the election family;
// what it leaves open follows MongoDB's own code, named here by its files under
// src/mongo/db/repl: topology_coordinator_impl.cpp, freshness_checker.cpp,
// elect_cmd_runner.cpp and replication_coordinator_impl_elect.cpp of 3.2 for pv0,
// topology_coordinator.cpp and replication_coordinator_impl_elect_v1.cpp for pv1.
//
// # pv0: a bully with vetoes
//
//   - R1 A member stands if it knows no primary, sees a majority, and is electable:
//     not rolling back, at most 10 s (by stamps) behind the newest it knows of, and
//     its vote not bound to another (as from 3.0 on).
//   - R2 It asks all that are not down (Fresh). One that is or knows a fresher one,
//     or one veto, ends it. An answer that does not come is waited for, 30 s.
//   - R3 A veto: I am primary; I know a primary as fresh; somebody electable has a
//     higher priority; I cannot reach you, or you are too far behind.
//   - R4 Another as fresh: a tie. Sleep 50 to 1049 ms, then stand, tie or not.
//   - R5 It votes for itself first.
//   - R6, R7 Elect to all. +1; or 0 if the vote is bound, for 30 s, to another; or
//     −10000 for the first three reasons of R3. The vote is in memory only.
//   - R8 When all have answered, more than half of all votes win. A round of more
//     than 30 s does not count.
//   - R9 A primary steps down for an electable member of higher priority, and does
//     not stand again for 32 s.
//   - R10 Of two primaries that hear each other the one elected earlier yields.
//   - R11 A primary that sees no majority steps down.
//   - R12 Pull only from a member with a later stamp; roll back if it lacks my last.
//
// It promises that a majority is needed to elect. It lacks all the rest:
//
//   - Stamps are wall clock without a term: a cut-off primary with a fast clock has
//     the "newest" log, and the majority rolls back what it acknowledged (F11;
//     recipe pv0-isolated-stamps).
//   - A restarted voter votes again within its 30 s (pv0-votes-twice). Two primaries
//     that do not hear each other then both stay.
//   - A primary that dies at once leaves none for 30 s (pv0-lock-leaves-no-primary).
//   - One veto outweighs all votes (pv0-veto, pv0-sum-of-votes).
//   - What a secondary holds counts as done at once: nothing is known to be settled.
//     So what is rolled back was decided for it (C4).
//   - A majority counts what is in memory. config journal yes counts journals.
//
// # pv1: terms and votes as in Raft, and pulling
//
//   - R1 A member stands since nothing showed a primary for an election timeout
//     (10 s and up to 15 % more), for its priority (R10), to end a slow catch-up
//     (R11), or told to step up, then without R2. It must see a majority.
//   - R2 A dry run at the present term: would you vote for me? It changes nothing.
//   - R3 Term+1; its own vote to disk, then RequestVotes.
//   - R4 A voter refuses an older term, another configuration, a candidate whose log
//     is behind, a second vote in a term. A vote is on disk before the reply leaves.
//   - R5 A higher term is adopted wherever it is seen; a primary steps down by it. Also
//     in the reports of who has what: a member that has voted in a new term goes on
//     pulling from the old primary for a moment, which must not count it.
//   - R6 A primary without a majority for an election timeout steps down.
//   - R7 The winner first catches up: it asks all, waits until everybody has
//     answered or is down, pulls what the newest has, refusing clients meanwhile;
//     then writes a no-op of its term and serves. config catch-up bounds it; so does
//     a newest log that parted from its own.
//   - R8 Committed is what a majority has journaled, if it is of the primary's own
//     term; all before goes with it.
//   - R9 Rollback, as above. Logs are compared by term first, then stamp.
//   - R10 A secondary within 2 s of a primary of lower priority takes over after
//     (rank + 1) election timeouts, rank being how many have a higher priority.
//   - R11 The freshest member takes over from a primary that still catches up, after
//     30 s.
//   - R12 The sync source is any member that has more; the primary by preference.
//   - R13 A heartbeat of the primary, and a pull from a source that knows of one,
//     put the next election off.
//
// Left out: arbiters, who vote and hold no data (one refuses its vote while it sees a
// healthy primary of no lower priority), and changes of the configuration.
//
// It promises one primary a term; that what a majority journaled is never rolled
// back; that no more than one primary acknowledges with w majority. It does not
// promise, and the lab shows: with w 1 an acknowledged write is gone when another is
// elected first (pv1-rolls-back-w1); reads at the primary are local and may be stale
// for 10 s beside a cut (with config read majority they show only what is committed,
// of which a new primary knows less than was acknowledged); a write asked for twice
// takes effect twice (retryable writes came with 3.6); a wiped member that returns
// under its old name is trusted to vote.
//
// # Where a run shows something other than was expected
//
//   - pv0, F1: at most some 4 s and not 10. A heartbeat to a dead process is refused
//     at once; 10 s are for the silent host (F1s).
//   - pv0, F7 and F4: each return of the favourite costs up to half a minute and not
//     a moment: the primary steps down for it, but the votes it was elected with are
//     bound to it until their 30 s are over.
//   - pv0, F12b: 30 s. A candidate waits so long for the answer of a member that is
//     silent but not yet known to be down, and meanwhile vetoes all of lower
//     priority. So it is in freshness_checker.cpp.
//   - pv0, F6: the vote that is 10 s late delays the whole election by as much: R8
//     waits for all. (3.0 and later stop at a majority; then a late veto is nothing.)
//   - pv1, F1: 10 to 14 s and not 11.5. A write of w majority also waits until the
//     secondaries see, by a heartbeat, that the new primary has something to pull.
//   - pv1, F1s, F2, F8: up to 22 s. The winner waits for everybody's heartbeat, and
//     gives a silent member up after 10 s only
//     (latestKnownOpTimeSinceHeartbeatRestart, with catch-up unlimited).
//   - pv1, F4: with w 1 a paused primary that wakes answers what has queued up before
//     it hears of the new term, while the other acknowledges too (C2).
//   - F9 is kept by pv0 too, as a rule: five journals are flushed every 100 ms, each
//     at its own phase, and one of them has it.
package mongo
