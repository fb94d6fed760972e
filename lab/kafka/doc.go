// Package kafka is Kafka's replication of one partition, with a coordination service
// beside it, as Kafka had it until version 3 (since version 4 KRaft, a Raft of its
// own among the controllers, is in the place of the service; what happens between the
// replicas is the same).
//
//	coordination service: n6 n7 n8, quorate's own Raft with a small tree in it
//	    /controller (ephemeral), epoch     /brokers/ids/N (ephemeral)
//	    the partition: {leader, leaderEpoch, isr} and its version
//	        ▲ sessions, compare-and-set, watches
//	        │
//	controller (one of the brokers) ── LeaderAndIsr ──▶ brokers n1 … n5
//	                                                     leader ◀── Fetch ── followers
//
// # The story
//
// No replica votes. A replica leads because the controller says so, and the controller
// says it of a member of the in-sync set: the replicas of which the leader knows that
// they have everything it ever answered for. The set starts full; a write with acks=all
// is answered once all of it has the write in memory; who falls behind is taken out of
// the set, and the next write needs only the rest. So the set may shrink to the leader
// alone and still answer: five replicas survive four losses one after the other, where a
// majority survives two. The price is paid elsewhere: the slowest member of the set
// stops every write until it is out of the set, and the set's own state must be kept
// by somebody who has a majority: the service.
//
// # The rules, as a run names them
//
// Sources: KafkaController, ReplicaManager, Partition and LogManager of Kafka 2.4 to
// 3.x as generally known, not re-read line by line, and the proposals (KIP) that
// changed them.
//
//	R1  The first broker to create /controller is the controller; its epoch rises by one
//	    each time. Brokers do not obey an older epoch.
//	R2  A broker whose session has ended is out of the set, and what it led gets the
//	    first in assignment order (n5, n4, … n1) that is alive and in the set; the leader
//	    epoch rises. A broker that starts again replaces its old registration and counts
//	    as having been away (KIP-380).
//	R3  Nobody in the set is alive: the partition is offline until one is. With unclean
//	    elections any live replica leads, and the set is that one.
//	R4  The high watermark is the least end of log over the set. Followers learn it with
//	    the answer to their next fetch; consumers read below it.
//	R5  A write with acks=all is answered when the high watermark has passed it. If the
//	    set is smaller than min.insync.replicas it is refused.
//	R6  A follower that has not had everything for replica.lag.time.max.ms leaves the set.
//	R7  A follower comes back into the set once it has all up to the high watermark and to
//	    where the leader epoch began. R6 and R7 are the leader's wish: they hold when the
//	    service has taken them by compare-and-set of the partition's version.
//	R8  A follower of a new leader asks where the epoch of its own last entry ends there,
//	    and cuts its log to that (KIP-101, KIP-279). Before, it cut at its high watermark.
//	R9  Zombies are fenced by epochs: an old leader's change of the set fails at the
//	    service, an old follower's fetch at the leader.
//
// The service's own rules (pre-vote, majority, …) are those of package raft.
//
// # Times
//
// Session 18 s by the clock of the service's leader; a broker gives a sign of life every
// 6 s, so that 12 to 18 s pass before anybody knows that one is dead. T = 18 s. Lag
// 30 s (Kafka looks every 15 s, so with it up to 45; here it looks half a second after
// the first follower has lagged too long). A fetch waits 500 ms for entries. The page
// cache writes 30 s after the oldest unwritten entry; the high watermark is written down
// every 5 s, and synced as the epochs are.
//
// # What it promises, and what it is known to lack
//
// An acknowledged write is in the log of every member of the set, so it is kept as long
// as one of them lives, or comes back with its log, and unclean elections are off.
//
//   - "Has it" means in memory: a power cut that hits the whole set takes what the page
//     cache had not written, up to 30 s of acknowledged writes (F9).
//   - A set that has shrunk to the leader keeps nothing if that one is lost. With
//     min.insync.replicas=2 it refuses writes instead (preset kafka/min-insync-2); with
//     unclean elections it loses them instead (preset kafka/unclean).
//   - One slow member stops all writes: 12 to 18 s if it is dead (F4f), 30 s if only the
//     leader does not hear of it (F5, F12a).
//   - Reads are not linearizable. An isolated leader serves what it has until it hears of
//     its successor: it has no lease and no check of its own (F2). And a new leader
//     may know a high watermark below what its predecessor had answered, until all of
//     the set has fetched from it: for that long consumers see less than before (F12b).
//   - Two leaders may answer at once (C2), of different epochs: one that slept finds the
//     fetches of its set in the queue when it wakes, and answers before it hears of its
//     successor. Nothing is lost by that, for the successor was in the set.
//   - Leader and controller may be different brokers; a partition between those two alone
//     does no harm, for they meet in the service only.
//
// # What is the lab's
//
// One partition, one topic, no transactions, no fetching from followers, no moving of
// leadership back to the preferred replica (auto.leader.rebalance.enable, every 5 min
// in Kafka), and producers without an id: an operation that is sent again is stored
// again. The tree is ZooKeeper's as far as Kafka needs it; a watch brings the new state
// instead of making the broker read it. Requests that the lab's network loses are sent
// again after 2 s, where Kafka has TCP. Brokers are started 10 ms apart, n1 first, so
// that n1 is the first controller.
//
// # What the scripts show, against ELECTIONS.md
//
// As expected: no acknowledgement in F2's minority and none at all in F3; no change of
// leader in F7; F8 kept; F9 loses what the page cache held, some 20 s of acknowledged
// writes; F4f, 12 to 18 s. The gap of F1 is 12 to 18 s rather than 18, for the session
// began with the last sign of life. F5 and F12a take 30 to 31 s. A wiped broker (F10w)
// is taken out of the set when it registers, and loses nothing. min.insync.replicas=2
// and unclean elections change none of this: no script shrinks the set to one.
//
// Not foreseen there: F12b stops writes for session and lag together, some 45 s, because
// the new leader must first find out that n3 does not hear it; meanwhile its reads
// miss the last write. And reads are stale in F2, F8 and F11, at the old leader.
package kafka
