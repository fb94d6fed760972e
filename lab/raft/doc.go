// Package raft runs quorate's own Raft in the lab, beside the other protocols: the
// production machine, not a model of it.
//
//	lab event ─▶ Core ─▶ host.Host.Step ─▶ effects ─▶ Core ─▶ lab.Turn
//	               │        (production)                │
//	     rules for people, pins                 Persist → records and fsyncs
//	                                            Send    → Message
//	                                            Apply   → the replicated machine
//
// # What is production here, and what is the lab's
//
// Production: host.Host with the raft.Node in it (elections, pre-vote, check of the
// majority, replication, commitment, read index, transfer, joint consensus, the
// order "durable before visible"), rsm's client sessions, membership, the encoding
// of messages (package wire), by whose length they are measured.
//
// The lab's, in the place of a door: records on the lab's disk instead of package
// wal, with the same contents and the same tokens; the lab's network instead of
// package transport; the handshake of data directories (pin.go), which production
// does when it connects and the lab with every message; a follower that is asked for a
// write does not forward it but names the leader, since whom clients ask is what the
// lab compares; applying takes no time. The log is never cut, for no recipe is long
// enough for a snapshot (100,000 entries), so a node that was away gets entries and
// never a snapshot. Sessions: the lab's clients share one, as the threads of one program may, with the number of the
// operation as its sequence; the first leader registers it.
//
// # Presets
//
//	raft         30 ms heartbeats, elections after 150 to 300 ms of silence; T = 0.3 s
//	raft/consul  Consul's timing on our Raft: 500 ms, 5 to 10 s; T = 10 s. A leader
//	             without a majority gives its office up after 2.5 s; ours after twice
//	             the longest silence
//
// # The rules, as a run names them
//
// Each is told when it fires, under a name instead of a number; the sources are the
// Raft paper (Ongaro and Ousterhout 2014) and Ongaro's thesis.
//
//	silence       no leader was heard for a random time: an election begins (§5.2)
//	told          an operator, or the lab at the start, asks it to stand
//	pre-vote      first ask who would vote, without a new term (thesis §9.6)
//	candidacy     a majority would: raise the term, vote for itself, ask (§5.2)
//	vote          the first good candidate of a term gets the vote (§5.2)
//	one-leader    only the leader takes commands; others name it (§8)
//	one-vote      the vote of this term is given: refused (§5.2)
//	log-check     a candidate whose log is older than mine gets no vote (§5.4.1)
//	leader-alive  I hear a leader: whoever wants to replace it is refused (thesis §4.2.3)
//	majority      more than half of the voters voted for it: it leads (§5.2)
//	no-majority   more than half refused: the candidate gives up for now (§5.2)
//	follow        recognizes the leader of the term (§5.2)
//	term          a greater term ends whatever I was in an older one (§5.1)
//	old-term      who speaks for an older term is refused, and told (§5.1)
//	step-down     a leader that hears of a greater term leads no more (§5.1)
//	check-quorum  a leader that hears no majority leads no more (thesis §6.2)
//	disk-stall    a leader whose disk makes no progress leads no more
//	conflict      entries that the leader does not have are deleted (§5.3)
//	own-term      a leader commits older entries only by one of its own term (§5.4.2)
//	read-round    a read is answered when a majority has confirmed the office (thesis §6.4)
//	membership    a configuration is in force from when it is in the log (thesis §4.1)
//	transfer      the office is handed over (thesis §3.10)
//	session       a command that was applied before is answered, not applied (thesis §6.3)
//	pin           a member with another data directory is not let in
//	bounds        too much waits already: refused (DESIGN 18)
//	halt          two things contradict each other that never may: the node stops
//
// # What a recipe can ask for
//
//	write, read                    as the workload does; a read is linearizable
//	stale [NODE]                   a read of that node's own state, however old
//	deposit N, withdraw N, balance an account that is never overdrawn
//	transfer [NODE]                the leader hands over
//	campaign [NODE]                the node stands for election, if it may
//	add-learner NODE…, add-voter, promote, demote, remove   one change of the membership
//
// Nodes that a recipe calls learners or spares are learners, or join later. Its config
// lines may set heartbeat, election-min, election-max and message-bytes.
//
// # What it promises, and what it lacks
//
// What a client was told is done stays, whatever crashes, as long as no majority of
// disks is lost for good; at most one leader in a term; reads are linearizable. It
// lacks what no such protocol can have: without a majority it answers nobody. And two
// leaders may answer at once (C2), of different terms: one that slept finds a
// majority's acknowledgements in its queue when it wakes, and answers before it hears
// of the next leader. That majority has the entry, so the next leader has it too.
// random_test.go runs a hundred random schedules of faults against these promises. Every
// switch of Protocols breaks one rule, and a recipe shows what then happens.
package raft
