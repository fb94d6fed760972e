package lab

import (
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/sim"
)

// Protocol is one of the family, as the frame needs to know it.
type Protocol struct {
	Name    string // "zab"; a preset behind a slash: "bully/plain"
	Title   string // "ZooKeeper's ZAB"
	Chinese string // the title in Chinese
	About   string // one sentence: how it elects, and what it promises

	// Slowest is T: the longest it takes to notice that a leader is gone. The
	// scripts' times are multiples of it.
	Slowest id.Duration

	// Ranks are the voters from the one that leads at the start (r1 in the
	// scripts) down to r5; a 0 is a rank that nobody has. nil: n5 down to n1.
	Ranks []Node
	// Helpers are nodes besides the voters that every run needs (a coordination
	// service): how many, numbered behind the voters. `aux` in the scripts.
	Helpers int

	// Checks it takes part in; the others show "–".
	Epochs     bool   // C1: its epochs promise one leader each
	EpochWord  string // what it calls an epoch: "term", "ballot"; empty: "epoch"
	Leaderless bool   // nobody leads: C2, C6 and C7 mean nothing
	Once       bool   // it decides a single thing: a workload means nothing, the matrix leaves it out
	// AnyServer: every server takes clients, so a client asks the one beside it as
	// long as that one is not dead; a refusal sends only that operation elsewhere.
	AnyServer bool
	// SyncedAtStart are files that a process syncs before it acts on what it found in
	// them, as careful recovery does: after a kill the cache may hold what no disk has.
	SyncedAtStart []string
	// Reply is the name of the answer that decides its elections, which F6 delays;
	// empty: the script means nothing here.
	Reply string

	// Switches are the rules that can be broken, and what the document of the
	// protocol says it lacks.
	Switches []Switch

	// New returns a machine for one life of a node.
	New func(c Config) Machine
}

// Switch is one rule that can be broken on purpose.
type Switch struct {
	Name faults.Switch
	What string // in a sentence
}

// Config is what a machine is made of.
type Config struct {
	Self      Node
	Voters    []Node        // sorted
	Learners  []Node        // observers, sorted
	Helpers   []Node        // sorted
	Ranks     []Node        // r1 first; without zeros
	Life      int           // 1: the node's first
	Directory uint64        // names its disk: another one after a wipe
	Dice      *sim.Random   // its own; another stream in every life
	Settings  *sim.Settings // the recipe's config lines; New reads what it knows
	broken    []faults.Switch
}

// Broken tells whether a rule is broken in this run.
func (c Config) Broken(s faults.Switch) bool {
	for _, b := range c.broken {
		if b == s {
			return true
		}
	}
	return false
}

// BrokenRules are all switches that are on in this run.
func (c Config) BrokenRules() []faults.Switch { return c.broken }

// Quorum is a majority of the voters.
func (c Config) Quorum() int { return len(c.Voters)/2 + 1 }

// Peers are the voters but for the node itself.
func (c Config) Peers() []Node {
	var peers []Node
	for _, n := range c.Voters {
		if n != c.Self {
			peers = append(peers, n)
		}
	}
	return peers
}
