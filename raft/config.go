package raft

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
)

// Config is how one node of one group behaves. Safety is not an option: there
// is no switch here for PreVote, step-down without a majority or the own-term
// entry (DESIGN 1).
type Config struct {
	Group id.GroupID
	Self  id.NodeID
	Seed  uint64 // of the node's own random numbers: election timeouts, first read number. Different on every member and at every start

	Heartbeat   id.Duration // between a leader's heartbeats. 30 ms; too long and followers campaign
	ElectionMin id.Duration // shortest silence before an election. 150 ms; at least 5 × Heartbeat
	ElectionMax id.Duration // longest. 300 ms; at least 1.5 × ElectionMin or split votes repeat
	// QuorumWindow is how long a leader stays in office without hearing a majority.
	// 2 × ElectionMax; at least 2 × Heartbeat. Shorter gives an office up that others
	// would not yet have missed, longer keeps clients waiting for a leader that can
	// decide nothing. Safe at any value.
	QuorumWindow id.Duration
	DiskStall    id.Duration // a leader whose oldest write is not durable after this loses the office. 2 s

	MessageBytes     int // entries in one Append. 1 MiB
	WindowEntries    int // unacknowledged entries per follower. 4096
	WindowBytes      int // unacknowledged bytes per follower. 8 MiB
	WindowMessages   int // unacknowledged Appends with entries per follower. 4: deeper kills batching (PERF)
	UncommittedBytes int // of the leader's log; beyond, proposals are refused as Overloaded. 64 MiB
	ApplyBytes       int // entries in one Apply. 4 MiB
	TailBytes        int // newest entries kept in memory. 16 MiB; entries not yet durable, or needed to apply, may exceed it
	RetainBytes      int // applied and flushed log kept for slow followers. 64 MiB; beyond, they get a snapshot
	Reads            int // reads waiting for a round; beyond, Overloaded. 100,000

	// Seal fills Encoded of an entry this node appends as leader, and Data of a
	// configuration entry, before anybody sees the entry. A pure function; nil
	// leaves them empty (stories).
	Seal func(*Entry)

	Faults *faults.Set // nil outside the simulator, lab and stories
}

// WithDefaults returns a copy in which every zero field has its default.
func (c Config) WithDefaults() Config {
	def := func(v *id.Duration, d id.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	num := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.Heartbeat, 30*id.Millisecond)
	def(&c.ElectionMin, 150*id.Millisecond)
	def(&c.ElectionMax, 300*id.Millisecond)
	def(&c.QuorumWindow, 2*c.ElectionMax)
	def(&c.DiskStall, 2*id.Second)
	num(&c.MessageBytes, 1<<20)
	num(&c.WindowEntries, 4096)
	num(&c.WindowBytes, 8<<20)
	num(&c.WindowMessages, 4)
	num(&c.UncommittedBytes, 64<<20)
	num(&c.ApplyBytes, 4<<20)
	num(&c.TailBytes, 16<<20)
	num(&c.RetainBytes, 64<<20)
	num(&c.Reads, 100_000)
	return c
}

// Validate judges a Config that has its defaults.
func (c Config) Validate() error {
	if c.Group == 0 {
		return errors.New("raft: Config.Group is 0; groups are numbered from 1")
	}
	if c.Self == id.None {
		return errors.New("raft: Config.Self is empty; give the node its id")
	}
	if c.Heartbeat <= 0 || c.ElectionMin < 5*c.Heartbeat {
		return fmt.Errorf("raft: election timeout (%d ms) must be at least 5 heartbeats (%d ms each): broadcast time ≪ election timeout", c.ElectionMin/id.Millisecond, c.Heartbeat/id.Millisecond)
	}
	if c.ElectionMax < c.ElectionMin+c.ElectionMin/2 {
		return fmt.Errorf("raft: longest election timeout (%d ms) must be at least 1.5 × the shortest (%d ms), or split votes repeat", c.ElectionMax/id.Millisecond, c.ElectionMin/id.Millisecond)
	}
	if c.QuorumWindow < 2*c.Heartbeat {
		return fmt.Errorf("raft: QuorumWindow (%d ms) must be at least 2 heartbeats (%d ms each), or a leader gives up before anybody could answer", c.QuorumWindow/id.Millisecond, c.Heartbeat/id.Millisecond)
	}
	if c.DiskStall < c.ElectionMax {
		return fmt.Errorf("raft: DiskStall (%d ms) must be at least the longest election timeout (%d ms)", c.DiskStall/id.Millisecond, c.ElectionMax/id.Millisecond)
	}
	for _, l := range []struct {
		name string
		v    int
	}{
		{"MessageBytes", c.MessageBytes}, {"WindowEntries", c.WindowEntries}, {"WindowBytes", c.WindowBytes},
		{"WindowMessages", c.WindowMessages}, {"UncommittedBytes", c.UncommittedBytes}, {"ApplyBytes", c.ApplyBytes},
		{"TailBytes", c.TailBytes}, {"RetainBytes", c.RetainBytes}, {"Reads", c.Reads},
	} {
		if l.v <= 0 {
			return fmt.Errorf("raft: Config.%s is %d; it must be positive", l.name, l.v)
		}
	}
	return nil
}
