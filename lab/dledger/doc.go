// Package dledger is the replicated log of RocketMQ (openmessaging/dledger): a Raft
// with three habits of its own. It asks for votes in the term it has before it
// raises it; a voter whose term is smaller adopts the term first and votes only
// when asked again; and nothing is flushed before it is answered.
//
//	             3 heartbeats of silence
//	FOLLOWER ──────────────────────────────▶ CANDIDATE ◀── every start
//	   ▲   a heartbeat of this term             │  ▲
//	   └────────────────────────────────────────┤  │ no majority for 3 heartbeats,
//	                        a majority of votes ▼  │ or a larger term with as new a ledger
//	                                           LEADER
//
// # Rules
//
// The numbers are ours; the source has none. Votes are checked in this order
// (DLedgerLeaderElector.handleVote):
//
//	V1  who asks is a member
//	V2  a ledger that ends in an older term: refused
//	V3  the same term and a smaller end index: refused
//	V4  an older term: refused, with mine. A larger one: I become a candidate, adopt
//	    it within 10 ms, and answer TERM_NOT_READY without a vote
//	V5  I voted for another and know a leader: refused, "already has a leader"
//	V6  I voted for another: refused, "already voted"
//	V7  a term below that of my ledger's end: refused
//	V8  else the vote is given
//
// A candidate (maintainAsCandidate):
//
//	E1  its first round is in the term it has
//	E2  the next term comes after a majority answered without a result, or when
//	    somebody knows a larger one
//	E3  somebody has a leader: wait 3 heartbeats and a vote interval (300 to 1000 ms)
//	E4  too many ledgers are ahead: wait another vote interval
//	E5  votes and TERM_NOT_READY together are a majority: ask again at once
//	E6  a majority of votes: lead
//
// Leading and following (sendHeartbeats, handleHeartBeat):
//
//	L1  a leader that no majority answered for 3 heartbeats (6 s) becomes candidate
//	L2  a follower that heard none for as long, too; the term stays
//	L3  a heartbeat of the present term makes a candidate follow
//	L4  two leaders in one term: the one without a majority becomes candidate
//	L5  a follower in a larger term makes the leader a candidate
//
// Replication (DLedgerEntryPusher), each follower by itself:
//
//	P1  COMPARE: term at an index, back to where both agree
//	P2  TRUNCATE: what the follower has beyond is removed
//	P3  APPEND: entries, acknowledged when they are written (to the page cache)
//	P4  COMMIT once a second, when nothing else carries the committed index
//	K1  committed is what a majority holds of the leader's own term: the source keeps
//	    its water marks per term of the entry. A switch turns it off (Raft's Figure 8)
//
// On disk (MemberState.persistState, DLedgerMmapFileStore):
//
//	D1  term and vote are written to the file currterm without fsync. The kernel
//	    writes them back after some 30 s
//	D2  the ledger is flushed every 10 ms, and nobody waits for it
//
// # What it promises
//
// While no machine loses power, what Raft promises: at most one leader a term, and
// what a majority acknowledged is kept. A kill loses nothing, since the page cache
// stays. An isolated candidate never raises its term (E2 asks for a majority of
// answers), so a node that returns deposes nobody: what Raft has a pre-vote for.
//
// # What it is known to lack
//
//   - Acknowledged entries survive no power failure of a majority within 10 ms
//     (C3). F9 shows it only if its moment meets such an entry; the recipe
//     dledger-loses-the-tail cuts the power on an acknowledgement.
//   - Votes survive no power failure within 30 s: a term can have a second leader
//     (C1). Afterwards COMPARE cannot tell the two leaders' entries apart, since it
//     compares terms only.
//   - A quick election. After 6 s of silence come a round in the old term, a random
//     wait, and two rounds in the next, for TERM_NOT_READY. If a host is silent, each
//     round without a result waits 2 to 3 s for its answer (F1s), and a voter that is
//     in such a wait adopts a larger term only behind it. Who gives up first while
//     others still believe in the leader meets V5 and waits another 6 s.
//   - An entry of its own when a leader begins: what its ledger holds beyond the
//     committed waits for the next write. The setting fast-advance writes a no-op
//     (the source's enableFastAdvanceCommitIndex, off by default).
//   - Linearizable reads: a leader serves what it knows to be committed and asks
//     nobody, also just after its election, when that is less than was acknowledged
//     (C5), and up to 6 s after others elected another (C5).
//
// Where runs showed something else than was expected: F1's gap is 4 to 7 s and not 6
// to 8, since silence counts from the last heartbeat, up to 2 s before the crash. F9
// loses nothing unless a write was acknowledged in the last 10 ms, and after it the
// old leader is given its votes again and leads the same term: votes repeat, but a
// second leader of the term needs votes that were not yet written back.
//
// Not built: preferred leaders and the hand-over to them, learners, snapshots,
// batching by size. A read and a write of a message in RocketMQ are the reads and
// writes of the lab's clients.
package dledger
