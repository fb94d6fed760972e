// Package redis is Redis Cluster and Redis Sentinel: two ways to find a new master
// for the same data, which is replicated asynchronously. Neither is Bully (as
// surveys have it): both vote in epochs, much like Raft's terms, but what is voted
// on is only who leads, and never what is in its log.
//
// # The data (both; store.go)
//
//	client ─write─▶ master ─answer─▶ client
//	                  └──STREAM──▶ replicas, whenever it arrives
//
//	R8   A master applies a write, answers, and streams it to its replicas; the
//	     answer waits for none. On disk is nothing (append-only file off), or
//	     everything but the last second (preset everysec).
//	R9   A replica that connects names its history and offset (PSYNC). It gets
//	     what is missing if the master has the same history, or continued it when
//	     it was promoted, and the replica has not more of it; else everything, and
//	     what the replica had is gone.
//	R10  min-replicas-to-write (a setting, off; preset sentinel-min-replicas): a
//	     master refuses writes while fewer replicas than that acknowledged
//	     anything within ten seconds. They need not have the write.
//
// # Redis Cluster (rules as in the family's list; cluster.go, gossip.go, failover.go)
//
// Three masters, each with a third of the slots. Clients write to the watched one,
// which has two replicas; the others vote. On disk (nodes.conf): currentEpoch,
// lastVoteEpoch, who has which slots with which configEpoch.
//
//	R1  No PONG for the node timeout (15 s): PFAIL. PFAIL here and reported by a
//	    majority of the masters: FAIL, told to everybody.
//	R2  A replica of a FAIL master stands after 500 to 1000 ms, and a second later
//	    for each replica that has more operations.
//	R3  It takes epoch + 1 and asks everybody for votes.
//	R4  A master with slots votes if the epoch is not old, it has not voted in it,
//	    the candidate's master is FAIL to it, it gave no vote for that master
//	    within two timeouts, and the slots are claimed with no newer configEpoch.
//	    The vote is on disk before it is sent. Nobody compares offsets.
//	R5  Votes of a majority of the masters: the replica has the slots, and the
//	    epoch as its configEpoch.
//	R6  The higher configEpoch wins a slot. A master that lost its last one becomes
//	    a replica of the winner.
//	R7  A master that does not reach a majority of the masters stops answering. It
//	    resumes five seconds after it reaches them again, two after a start.
//
// # Redis Sentinel (sentinel.go, promote.go)
//
// Three nodes, each with a redis process and a sentinel that watches all three. On
// disk (sentinel.conf): current epoch, vote, configuration epoch, the master; and
// in redis.conf whose replica a process is.
//
//	S1  No answer for 30 s: subjectively down. (And a replica refuses writes.)
//	S2  Two sentinels (the quorum) say so: objectively down.
//	S3  A sentinel that sees this begins a failover in epoch + 1, though not again
//	    within twice the failover timeout of 180 s.
//	S4  A sentinel votes once per epoch, for whoever asks first, on disk before it
//	    answers.
//	S5  Votes of a majority of all sentinels, and at least the quorum: it leads the
//	    failover. Not within ten seconds: it gives up.
//	S6  It picks, of the replicas it hears, the one with the most operations, then
//	    the lowest id (run id in the source; priorities are equal here).
//	S7  REPLICAOF NO ONE; when that process says it is master, the configuration
//	    gets the failover's epoch.
//	S8  The sentinels spread it by HELLO, the higher epoch wins; a process that
//	    says it is something else for eight seconds is told what it is.
//
// # What they promise
//
// One master per configuration epoch (C1), and a new master 16 to 20 s (Cluster)
// or 31 to 33 s (Sentinel) after the old one is gone.
//
// # What they lack
//
//   - An answer is no promise: the isolated master answers for 15 s and some
//     (Cluster), until the network heals (Sentinel), or for 10 s (min-replicas),
//     and all of that is thrown away by R9 when it becomes a replica.
//   - A process that restarts without its file before anybody noticed is a master
//     with an empty history, and R9 empties the replicas too. A power failure of
//     all loses everything; with everysec, the last second.
//   - In the cluster two masters can answer at once for a moment: R7 and R1 to R5
//     count their 15 s from different pings. In F2 that happens in one seed of
//     three.
//   - Sentinel: an old master that comes back is master in its own eyes until S8
//     tells it otherwise, some ten seconds. Nothing fences it. So F7 counts a change of
//     leader where the table says none.
//   - When a split heals, old opinions meet before the first answer does. F3: two
//     sentinels agree that the master is down and promote a replica of the state
//     before the split, in two seeds of three, and all that the master answered
//     alone is lost; masters of the cluster agree on each other's FAIL, and as
//     that stays for two timeouts, nobody is served for half a minute more.
//   - Two replicas of equal offset that stand within a few milliseconds split the
//     votes of the two masters that are left, and try again a minute later. In F1
//     (one seed in a hundred or so) the crashed master is back before that,
//     empty: everything is lost.
//
// # Where this differs from the source
//
// Offsets count operations, not bytes; the backlog is unbounded; a lost message is
// sent again after a second or two as a connection would; a ping without an answer
// is repeated every half timeout, for which the source reconnects. Left out: the age
// limit of replicas (cluster-replica-validity-factor), manual failover, TILT,
// chained replicas, WAIT. cluster-require-full-coverage is off (config
// full-coverage 1 is the source's default): the two voting masters have no
// replicas here, and the loss of one would stop everything.
//
// Sources: the cluster specification and the sentinel documentation of redis.io;
// cluster.c, sentinel.c, replication.c of Redis 6.
package redis

import (
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// The switches. Each is read in one place, beside its rule.
const (
	NoFailState   faults.Switch = "no-fail-state"   // R7: a master never considers the cluster down
	VoteTwice     faults.Switch = "vote-twice"      // R4: a master votes for whoever asks
	OneSentinel   faults.Switch = "one-sentinel"    // S2, S5: one sentinel's word and vote are enough
	NoMinReplicas faults.Switch = "no-min-replicas" // R10: min-replicas-to-write is not looked at
)

// Protocols are Redis Cluster and Sentinel.
func Protocols() []lab.Protocol {
	cluster := func(name, title, chinese, about string, aof bool) lab.Protocol {
		return lab.Protocol{
			Name: name, Title: title, Chinese: chinese, About: about,
			Slowest: 15 * id.Second, Epochs: true, Reply: "AUTH_ACK",
			Switches: []lab.Switch{
				{Name: NoFailState, What: "a master that does not reach a majority of the masters goes on answering"},
				{Name: VoteTwice, What: "a master votes twice in one epoch"},
			},
			New: func(c lab.Config) lab.Machine { return newCluster(c, aof) },
		}
	}
	sentinel := func(name, title, chinese, about string, mins int) lab.Protocol {
		return lab.Protocol{
			Name: name, Title: title, Chinese: chinese, About: about,
			Slowest: 30 * id.Second, Ranks: []lab.Node{3, 0, 0, 2, 1}, Epochs: true, Reply: "IS-MASTER-DOWN-REPLY",
			Switches: []lab.Switch{
				{Name: OneSentinel, What: "one sentinel decides alone that the master is down, and elects itself"},
				{Name: NoMinReplicas, What: "a master with too few replicas writes all the same"},
			},
			New: func(c lab.Config) lab.Machine { return newWatched(c, mins) },
		}
	}
	return []lab.Protocol{
		cluster("redis/cluster", "Redis Cluster", "Redis Cluster", "a replica of the failed master asks the other masters for votes in a new epoch; replication is asynchronous and nothing is on disk", false),
		cluster("redis/cluster-everysec", "Redis Cluster, appendfsync everysec", "Redis Cluster,appendfsync everysec", "the same with an append-only file that reaches the disk once a second", true),
		sentinel("redis/sentinel", "Redis Sentinel", "Redis Sentinel", "three sentinels agree that the master is down, elect one of them by epoch, and that one promotes the replica with the most; replication is asynchronous", 0),
		sentinel("redis/sentinel-min-replicas", "Redis Sentinel, min-replicas-to-write 1", "Redis Sentinel,min-replicas-to-write 为 1", "the same, and a master that has heard no replica for ten seconds refuses writes", 1),
	}
}
