// Package zab is ZooKeeper's atomic broadcast with its FastLeaderElection, as
// ZooKeeper 3.9 runs it (FastLeaderElection.java, Leader.java, LearnerHandler.java,
// Learner.java; the protocol: Junqueira, Reed and Serafini, DSN 2011).
//
//	            election            discovery           synchronization        broadcast
//	LOOKING ──▶ votes go round ──▶ FOLLOWERINFO  ──▶   DIFF, TRUNC or SNAP ──▶ PROPOSAL
//	   ▲        until a quorum     LEADERINFO e         NEWLEADER e            ACK
//	   │        has one vote       ACKEPOCH             ACK, UPTODATE          COMMIT, INFORM
//	   └──────────────── a quorum, or the leader, is silent for a syncLimit ──────┘
//
// Every write is a transaction with a zxid: the epoch of its leader and a counter.
// An election finds the server with the newest history; nothing depends on that it
// really does. What must not go wrong is promised in discovery, on disk: a server
// that accepted an epoch follows no smaller one. Before a leader serves anybody, a
// majority has its whole history on disk, so whatever a majority had is in it.
//
// # Rules
//
// Election (FastLeaderElection.java):
//
//	R1  LOOKING: the next round, a vote for oneself, to all. No client is served.
//	R2  A later round: adopt it, forget the votes so far, vote for the better of
//	    theirs and mine. An earlier one: ignore it, but tell a LOOKING sender. The
//	    same round and a better vote: take it over, tell all.
//	R3  Better is the larger epoch, then the larger zxid, then the larger myid.
//	R4  A quorum has my vote: wait 200 ms for a better one; then LEADING, FOLLOWING.
//	R5  A leader in office, by its own word and a quorum's: join it. Nobody bullies.
//	R6  Who is not LOOKING answers a LOOKING one with its vote.
//
// Discovery (Leader.getEpochToPropose, Learner.registerWithLeader):
//
//	R7  The new epoch is 1 + the largest accepted by a quorum; on disk, then sent.
//	R8  A learner accepts a larger epoch: on disk, then ACKEPOCH; an equal one does
//	    not count again; a smaller one is not followed.
//	R9  The leader closes a follower that has more than itself. No quorum in an
//	    initLimit: LOOKING.
//
// Synchronization (LearnerHandler.syncFollower, Learner.syncWithLeader):
//
//	R10 Equal: an empty DIFF. Behind within the last 500 committed: DIFF. Ahead:
//	    TRUNC. Beside within an epoch: TRUNC, then what follows. Otherwise, and
//	    wherever TRUNC would cross an epoch: SNAP.
//	R11 At NEWLEADER first what was synchronized is brought to the disk, then
//	    currentEpoch, then ACK goes out.
//	R12 A quorum of these: the leader is in office. All in its log is committed.
//
// Broadcast (Leader.propose, Leader.processAck, Follower.java, Observer.java):
//
//	R13 The next zxid goes to each follower in order; on disk, then ACK. A full
//	    counter forces an election (ZOOKEEPER-1277).
//	R14 In order, what a quorum acknowledged: COMMIT to followers, INFORM to observers.
//	R15 A leader without a quorum for a syncLimit, and a follower that hears nothing
//	    for one: LOOKING.
//	R16 Observers (the recipe's learners) never vote and never count.
//
// # What it promises
//
//   - One leader in office per epoch (C1).
//   - A write that was answered is in every later leader's history (C3), and all
//     servers have decided the same at every position (C4).
//   - Any server takes clients. Writes are ordered by the leader; the answer comes
//     from the server the client asked, when the commit arrives there.
//
// # What it is known to lack
//
//   - Reads are local and may be stale, on followers and on a leader that does not
//     know yet that it is none (C5). "read sync" puts a SYNC before the read, which
//     brings the server to where its leader is. It asks no quorum, so even this is
//     not linearizable if a second leader is already in office.
//   - A silent leader is missed only after syncLimit × tick (10 s).
//   - A leader that is back before anybody missed it (its host restarts within a
//     syncLimit and says nothing) is LOOKING in round 1, as when it was elected, and
//     the others still answer that they follow it: it leads again by their old votes,
//     perhaps with less than they have. R9 then saves what a majority has, and costs
//     an initLimit (20 s) without service.
//   - Votes are sent again after 200 ms doubling to 60 s, so after a long partition
//     without any majority the servers may sit side by side for most of a minute
//     until one speaks again (F3).
//   - A wiped server votes as if it had never promised anything.
//   - A write that only a dead leader logged is gone once an epoch without it is
//     established, and committed if that leader is elected again before: both are
//     legal, and its client never heard an answer.
//
// # What differs from the sources
//
// A SNAP is the list of transactions. Between NEWLEADER and UPTODATE a learner
// logs proposals at once, and acknowledges them behind NEWLEADER, where the sources
// keep them until UPTODATE. In the
// case that a learner is ahead by an epoch of its own LearnerHandler sends TRUNC,
// although it says elsewhere that a TRUNC must not cross an epoch; here a SNAP goes
// out. The end of a TCP connection is a message of its own, CLOSE (connection.go).
package zab
