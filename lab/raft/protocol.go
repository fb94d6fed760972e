package raft

import (
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// Switches of this protocol besides its doors' (core.go) and internal/faults'.
const (
	noSessions   faults.Switch = "no-sessions"
	noOwnTerm    faults.Switch = "no-own-term-rule"
	millisecond                = id.Millisecond
	silenceShort               = 150 * millisecond
)

// Protocols are our Raft with its own timing, and with Consul's.
func Protocols() []lab.Protocol {
	ours := preset("raft", "quorate's Raft", "quorate 的 Raft", timing{30 * millisecond, silenceShort, 2 * silenceShort, 0})
	ours.About = "The voter whose log is as new as a majority's is elected by that majority for a numbered term; what a majority of disks holds of its term is decided, and never lost."
	consul := preset("raft/consul", "quorate's Raft with Consul's timing", "quorate 的 Raft，采用 Consul 的时间参数", timing{500 * millisecond, 5 * id.Second, 10 * id.Second, 2500 * millisecond})
	consul.About = "The same, tuned as Consul is: a leader is missed only after 5 to 10 s, and one without a majority gives up after 2.5."
	return []lab.Protocol{ours, consul}
}

// timing is a preset's. window is how long a leader stays without a majority; 0:
// twice the longest silence.
type timing struct{ heartbeat, shortest, longest, window id.Duration }

func preset(name, title, chinese string, d timing) lab.Protocol {
	return lab.Protocol{
		Name: name, Title: title, Chinese: chinese,
		Slowest: d.longest, Epochs: true, EpochWord: "term", Reply: "Vote", SyncedAtStart: []string{"raft"},
		Switches: switches(),
		New:      func(c lab.Config) lab.Machine { return newMachine(c, d) },
	}
}

func newMachine(c lab.Config, d timing) *machine {
	s := c.Settings
	o := Options{
		Members: c.Voters, Learners: c.Learners, Campaign: c.Ranks[0] == c.Self,
		Heartbeat:    s.Duration("heartbeat", d.heartbeat, millisecond, 2*id.Second),
		ElectionMin:  s.Duration("election-min", d.shortest, 5*millisecond, 10*id.Second),
		ElectionMax:  s.Duration("election-max", d.longest, 8*millisecond, 20*id.Second),
		QuorumWindow: d.window,
		// 1: one entry a message, for stories that stop between two entries.
		MessageBytes: int(s.Int("message-bytes", 1<<20, 1, 1<<24)),
		Broken:       c.BrokenRules(),
	}
	for i, b := range o.Broken {
		if b == noOwnTerm {
			o.Broken = append(o.Broken[:i:i], append([]faults.Switch{faults.CountPriorTerm}, o.Broken[i+1:]...)...)
		}
	}
	m := &machine{state: newState(c.Broken(noSessions)), asked: map[Ticket]lab.Request{}}
	o.Machine = m.state
	m.core = NewCore(c, o)
	return m
}

// switches are the rules that a recipe can break: those of internal/faults whose
// loss a checker of the lab sees (breaks_test.go has a run for each that no recipe
// shows), and the lab's own. The others are planted in the simulator.
func switches() []lab.Switch {
	return []lab.Switch{
		{Name: faults.NoLogCheck, What: "A voter does not compare logs: whoever asks first is elected, however old its log is."},
		{Name: faults.NoPreVote, What: "A node that hears no leader raises the term at once, without asking whether anybody would vote for it."},
		{Name: faults.NoCheckQuorum, What: "A leader that hears no majority stays in office."},
		{Name: noOwnTerm, What: "A leader counts copies of entries of older terms as a decision."},
		{Name: noSessions, What: "A request that is sent again is applied again."},
		{Name: NoFsync, What: "Nothing is synced to disk, and everything is taken for saved."},
		{Name: NoPin, What: "A member that comes back with an empty disk is let in under its old name."},
		{Name: faults.DoubleVote, What: "A voter forgets whom its vote of this term went to, and gives it again."},
		{Name: faults.SkipVoteSync, What: "A vote is sent before it is on disk."},
		{Name: faults.AckBeforeDurable, What: "A follower acknowledges entries before they are on disk."},
		{Name: faults.KeepConflict, What: "A follower keeps entries that contradict its leader's."},
		{Name: faults.CountSelfTwice, What: "The leader's own copy counts as two."},
		{Name: faults.CountLearners, What: "Copies at learners, who do not vote, count as a decision."},
		{Name: faults.ReadWithoutRound, What: "A leader answers reads without asking a majority whether it still leads."},
		{Name: faults.NoOwnTermRead, What: "A new leader answers reads before it knows what is decided."},
		{Name: faults.OneMajorityInJoint, What: "While the membership changes, the new members alone decide."},
	}
}
