// Package bully is the Bully algorithm (Garcia-Molina, "Elections in a Distributed
// Computing System", IEEE ToC 1982) and what the source document adds to it, rule
// by rule: whoever has the largest number among the living leads.
//
//	            R1 silence               R6 an Alive in time
//	┌──────────┐         ┌──────────┐            ┌─────────────┐
//	│ Follower ├────────▶│ Electing ├───────────▶│ WaitVictory │
//	└──────────┘  Asking └────┬─────┘            └──────┬──────┘
//	      ▲      [R2]         │ R7 nobody larger        │ R6 expiry: R1
//	      │ R8 Victory of     ▼ answers                 │
//	      │   a larger   ┌────────┐                     │
//	      └──────────────┤ Leader │◀─── R8 a smaller ───┘
//	                     └────────┘     one claims: R4
//
// # Rules
//
// Every node knows all others and sends everybody a Heartbeat each second. In
// brackets stands the preset that adds the rule; every preset has the rules of the
// ones before it: plain, epoch, ask-others, minimum, hardened.
//
//	R0  [epoch] a larger epoch is adopted first, and ends what ran in a smaller one;
//	    a message of a smaller epoch is dropped, and a stale Heartbeat is answered
//	    with the present Victory.
//	R1  start, recovery, or three Heartbeats of the leader missed: suspect it.
//	R2  [ask-others] Ask everybody, and go on only if, with oneself, a majority takes
//	    the leader for dead; else ask again a second later.
//	R3  [minimum] heard from fewer than a majority, oneself included: Dead. No
//	    election, no answer to clients.
//	R4  epoch + 1; Election to all larger numbers, the dead leader's included. None
//	    larger: R7.
//	R5  an Election from a smaller number: answer Alive, and begin R4 oneself unless
//	    an election of one's own is running.
//	R6  an Alive in time (1 s): wait for a Victory (3 s); none comes: R1.
//	R7  no Alive in time: Leader. Victory to all.
//	R8  a Victory, or a Heartbeat of a node that leads: from a smaller number R4 (this
//	    is the bullying); from a larger one: follow it, and take its state.
//	R10 [minimum] a leader that hears fewer than a majority steps down.
//	R11 [epoch] of two leaders in one epoch the smaller number yields.
//
// [hardened] the epoch is on disk before Election and Victory leave. (There is no R9.)
//
// # Replication
//
// The paper has none. Ours is the least that people put beside such an election:
// the leader applies a write, sends an Update to everybody and answers at once
// (config acks 1) or when a majority said Stored (config acks quorum). Whoever
// begins to follow, or sees a hole, sends Copy and takes the leader's State whole;
// nothing is compared and nothing repaired. The state is written to disk and never
// synced: a killed process has it again, a power cut takes it.
//
// # What is promised
//
// Among nodes that all hear each other, the largest one leads, and everybody knows
// it within victory + alive + three heartbeats.
//
// # What is not
//
//   - Under a partition every side has a leader (plain to ask-others, C2); what the
//     smaller side answered, or the larger, is lost when one bullies the other (C3).
//   - The winner is the largest, not the newest: a node that returns with an old
//     state makes it everybody's state (C3, in every preset).
//   - minimum is no quorum: "I hear a majority" is no vote that a node can give only
//     once. With one deaf link two nodes win one epoch (C1, F12b).
//   - An unstable largest node is an election each time it comes back (C7).
//   - Up to minimum the epoch is forgotten with the process: after a power cut the
//     first numbers are given out again (C1).
//
// # What the fault scripts show (F1 to F12, pinned in TestRow)
//
//	F1, F1s  the next leader answers after 3 to 4 s: three Heartbeats and one Alive
//	         that does not come. Then the old one returns, and what was answered
//	         meanwhile is gone.
//	F2       plain: both sides answer, and the majority's writes vanish after healing.
//	         hardened: the smaller side stops within 3 s. What it answered in these 3 s
//	         is absent from the other side; after healing it is the other way round.
//	F3       from ask-others on nobody elects; in minimum nobody serves either.
//	F5       plain: an election every few seconds, of which the clients notice nothing
//	         unless the deaf node is the second in rank (the recipe
//	         looks-dead-ask-others: then two lead). ask-others: none.
//	F6       where the late Alive was the only one its receiver would have got, that
//	         node wins at first, and is bullied: a spurious election, in every preset.
//	         Elsewhere plain's receiver loses sight of the leader until the next
//	         Heartbeat, and with epochs the message is dropped.
//	F7       every return is a change of leader, in every preset.
//	F8       the write is absent while n5 is away, and back with it, in exchange for
//	         everything that was answered since.
//	F9       all is lost: nothing was synced. In epoch the numbers begin again (C1);
//	         ask-others and minimum do not elect the laggard alone, and hide it.
//	F12b     n3 and n4 both lead one epoch, in hardened too.
//
// # What the rules leave open, and what we do
//
//   - A reset (the peer's process died) is no miss: only silence is counted, so F1
//     and F1s take the same time.
//   - An Alive outside the second that its round lasts: with epochs it is of an
//     election that is over, and dropped; plain cannot know, and waits for the
//     Victory that seems to be announced, until the next Heartbeat of the leader. What
//     costs an election in F6 is not that the Alive comes late but that it was not
//     there in time: its receiver wins, in every preset, and is bullied.
//   - A node that leads and gets an Election begins R4 like everybody: with a dead
//     node above it, it does not lead for that second.
//   - Electing in an epoch that R0 replaced: nobody would answer it any more, so the
//     election is over and R1 or R5 begins the next.
//   - Who came back and has no office is no leader, though it is alive (R2): a node
//     whose silence was too short for anybody to miss would else be followed by all
//     and lead none.
//   - R8 while an election of one's own runs waits for its outcome, as in R5.
package bully

import (
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// Switches. Each takes one rule away.
const (
	believeOldEpochs = faults.Switch("believe-old-epochs") // R0
	noAsking         = faults.Switch("no-asking")          // R2
	noMinimum        = faults.Switch("no-minimum")         // R3 and R10
	silentWhenAlive  = faults.Switch("silent-when-alive")  // R5
	noBullying       = faults.Switch("no-bullying")        // R8
	noYielding       = faults.Switch("no-yielding")        // R11
	volatileEpoch    = faults.Switch("volatile-epoch")     // hardened
)

// Protocols are the presets, each with the rules of those before it.
func Protocols() []lab.Protocol {
	always := []lab.Switch{
		{Name: silentWhenAlive, What: "R5: a larger node does not answer an Election, so the smaller one believes it has won"},
		{Name: noBullying, What: "R8: a node follows a smaller leader instead of taking its office"},
	}
	epochs := append(always[:2:2],
		lab.Switch{Name: believeOldEpochs, What: "R0: a message of a smaller epoch is believed"},
		lab.Switch{Name: noYielding, What: "R11: of two leaders in one epoch none yields"})
	asks := append(epochs[:4:4], lab.Switch{Name: noAsking, What: "R2: one node's suspicion is enough to begin an election"})
	minimum := append(asks[:5:5], lab.Switch{Name: noMinimum, What: "R3, R10: a node goes on however few it hears"})
	hardened := append(minimum[:6:6], lab.Switch{Name: volatileEpoch, What: "the epoch is not on disk before Election and Victory leave"})
	return []lab.Protocol{
		preset("plain", "朴素版", "the largest number that is alive leads; nothing guards against a partition", 0, always),
		preset("epoch", "带纪元", "Bully whose elections are numbered, so that late messages are dropped", 1, epochs),
		preset("ask-others", "先询问", "Bully that begins an election only if a majority takes the leader for dead", 2, asks),
		preset("minimum", "最少存活数", "Bully in which a node that hears fewer than a majority takes itself for dead", 3, minimum),
		preset("hardened", "加固版", "Bully with every improvement of the source document, and its epoch on disk", 4, hardened),
	}
}

func preset(name, chinese, about string, level int, switches []lab.Switch) lab.Protocol {
	return lab.Protocol{
		Name: "bully/" + name, Title: "Bully, " + name, Chinese: "Bully 算法（" + chinese + "）", About: about,
		Slowest: 3 * id.Second, Epochs: level >= 1, Reply: "Alive", Switches: switches,
		New: func(c lab.Config) lab.Machine { return newMachine(c, level) },
	}
}

// rules are those that hold in this run.
type rules struct {
	epochs  bool // R0, R11
	asks    bool // R2
	minimum bool // R3, R10
	durable bool

	believesOld, noAlive, noBullying, noYielding bool // broken
}

// timers are ours: the paper names none.
type timers struct {
	heartbeat, ask, alive, victory id.Duration
	misses                         int64
}

// role is the paper's word for what a node does.
type role string

const (
	follower    role = "Follower"
	asking      role = "Asking"
	electing    role = "Electing"
	waitVictory role = "WaitVictory"
	leading     role = "Leader"
)

// machine is one life of one node.
type machine struct {
	c     lab.Config
	rules rules
	timers
	quorumAcks bool

	role   role
	dead   bool     // R3
	leader lab.Node // whom it follows; itself; 0
	epoch  uint64
	saved  id.Token // the epoch is on disk once this is durable

	peers []lab.Node
	heard []id.Time // by peer: the last message; never: 0 heard[i] is -1
	beat  id.Time   // the next Heartbeat

	watched id.Time    // the leader was heard then, or we began to have none
	again   id.Time    // no suspicion before this (R2, re-armed)
	until   id.Time    // the end of Asking, Electing, WaitVictory
	asked   []lab.Node // who takes the leader for dead (R2)
	pending id.Token   // Electing: the epoch is not on disk yet
	elected id.Time    // when the last Election of our own began

	log     *lab.Log
	copying bool // a State was asked for and has not come
	open    []openWrite
	stored  []int // by peer: how much of the leader's state it has (acks quorum)
}

// openWrite waits for a majority (acks quorum).
type openWrite struct {
	position int
	request  lab.Request
}

// openMax bounds the writes that wait; the next one is refused.
const openMax = 10_000

const unheard id.Time = -1

func newMachine(c lab.Config, level int) *machine {
	const s = id.Second
	m := &machine{c: c, role: follower, peers: c.Peers(), log: lab.NewLog(), elected: unheard}
	m.rules = rules{
		epochs: level >= 1, asks: level >= 2 && !c.Broken(noAsking), minimum: level >= 3 && !c.Broken(noMinimum),
		durable: level >= 4 && !c.Broken(volatileEpoch), believesOld: c.Broken(believeOldEpochs), noAlive: c.Broken(silentWhenAlive),
		noBullying: c.Broken(noBullying), noYielding: c.Broken(noYielding),
	}
	m.timers = timers{
		heartbeat: c.Settings.Duration("heartbeat", s, 10*id.Millisecond, 60*s),
		misses:    c.Settings.Int("misses", 3, 1, 100),
		ask:       c.Settings.Duration("ask", s, 10*id.Millisecond, 60*s),
		alive:     c.Settings.Duration("alive", s, 10*id.Millisecond, 60*s),
		victory:   c.Settings.Duration("victory", 3*s, 10*id.Millisecond, 60*s),
	}
	m.quorumAcks = c.Settings.Word("acks", "1", "quorum") == "quorum"
	m.heard = make([]id.Time, len(m.peers))
	for i := range m.heard {
		m.heard[i] = unheard
	}
	m.stored = make([]int, len(m.peers))
	return m
}
