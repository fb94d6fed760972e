package cluster

import (
	"github.com/quorate/quorate/check"
	"github.com/quorate/quorate/host/exec"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
	"github.com/quorate/quorate/wal"
)

// aftermath: every disk, opened cold, replays to the live state; then everybody
// loses power and all that was not synced, a majority starts again, and everything
// acknowledged is there.
func (c *cluster) aftermath() {
	var live []*node
	for i, n := range c.nodes {
		if c.core[i] && n.serving() {
			live = append(live, n)
			c.oracles.atRest(n)
			n.cold()
		}
	}
	c.oracles.identical(live)
	for _, n := range c.nodes {
		if n.exists && !n.gone {
			n.down++
			n.kill("all")
		}
	}
	c.until(c.world.Now().Add(100*id.Millisecond), nil)
	for i, n := range c.nodes {
		n.down = 0
		if c.core[i] {
			n.boot()
		}
	}
	begin := c.world.Now()
	longest := c.set.electionMax + c.set.electionMax/10
	if !c.until(begin.Add(startBound+electionBound*longest), func() bool { return c.coreLeader() != nil }) {
		c.stuck("no leader after all power was lost")
		return
	}
	var newest id.Index
	for _, o := range c.history {
		if o.Outcome == check.Done && !o.Read {
			newest = max(newest, o.Index)
		}
	}
	back := func() bool { return c.equal() && c.coreLeader().life.before.Applied >= newest }
	if !c.until(c.world.Now().Add(equalBound), back) {
		c.stuck("after all power was lost the acknowledged index %d is not applied again", newest)
	}
}

// cold opens a copy of the node's disk as a crash would leave it at worst, and
// replays its log: the state must be the one the model has there. The copy is
// thrown away.
func (n *node) cold() {
	c, set := n.c, n.c.set
	image := n.disk.DurableImage()
	image.SetCapacity(0) // recovery may need space, which an operator would free
	d, err := exec.Open(image.FS(), exec.Options{Cluster: 1, Self: n.self, WAL: wal.Options{SegmentBytes: int64(set.segmentBytes), Identity: n.number}})
	if err != nil {
		c.fail("%v: its disk does not open cold: %v", n.self, err)
		return
	}
	if set.machine == "kv" {
		return // its engine has no second copy; the power cut that follows shows the same
	}
	m := c.words.open(&storage{flushed: n.storage.flushed, flush: func() bool { return false }})
	g, r, err := d.OpenGroup(theGroup, m)
	if err != nil {
		c.fail("%v: its disk does not open cold: %v", n.self, err)
		return
	}
	commit := min(r.Last, n.life.before.Commit) // a node that was left out of the group may hold more, and other things
	for at := r.Applied + 1; at <= commit; {
		entries, err := d.Log().Read(theGroup, at, commit+1, 1<<20)
		if err != nil || len(entries) == 0 {
			c.fail("%v: its log does not read cold at %d: %v", n.self, at, err)
			return
		}
		for _, e := range entries {
			if chainOf(0, e) != c.oracles.global[e.Index-1].chain {
				c.fail("%v: entry %d on its disk is not the one that was applied", n.self, e.Index)
				return
			}
		}
		if _, err := m.Apply(batchOf(entries), nil); err != nil {
			c.fail("%v: replaying cold: %v", n.self, err)
			return
		}
		at += id.Index(len(entries))
	}
	v, _ := c.words.pairs(m.View())
	c.oracles.state(n, v, "on its disk, opened cold")
	g.Close()
}

func batchOf(entries []raft.Entry) rsm.Batch {
	last := entries[len(entries)-1]
	b := rsm.Batch{Applied: last.Index, Term: last.Term}
	for _, e := range entries {
		if e.Kind == raft.EntryCommand {
			b.Commands = append(b.Commands, rsm.Command{Index: e.Index, Term: e.Term, Data: e.Data})
		}
	}
	return b
}

// judge checks what the clients saw.
func (c *cluster) judge() {
	history := make([]check.Operation, len(c.history))
	for i, o := range c.history {
		history[i] = *o
	}
	log := make([]check.Applied, len(c.oracles.global))
	for i, a := range c.oracles.global {
		log[i] = check.Applied{Index: a.entry.Index}
		if a.entry.Kind == raft.EntryCommand {
			text, err := c.words.text(a.entry.Data)
			if err != nil {
				c.fail("entry %d: %v", a.entry.Index, err)
				return
			}
			cmd, _ := parseCommand(text)
			log[i].Operation, log[i].Command = cmd.operation, text
		}
	}
	if err := check.Witness(log, history, reference{}); err != nil {
		c.fail("witness: %v", err)
		return
	}
	if err := check.Durable(history, log); err != nil {
		c.fail("durability: %v", err)
		return
	}
	if err := check.Linearizable(history, sequential, 0); err != nil {
		c.fail("linearizability: %v", err)
	}
}

// sequential is one key of the map, for porcupine. Every value names the operation
// that wrote it.
var sequential = check.Sequential{
	Wrote: func(o check.Operation) (string, bool) {
		c, _ := parseCommand(o.Input)
		return c.new, c.new != ""
	},
	Key: func(o check.Operation) string {
		if o.Read {
			return string(o.Input)
		}
		c, _ := parseCommand(o.Input)
		return c.key
	},
	Step: func(s check.State, o check.Operation) (check.State, bool) {
		if o.Outcome == check.Done { // every answer is the value before
			if s.Known && s.Value != string(o.Output) {
				return s, false
			}
			s = check.State{Known: true, Value: string(o.Output)}
		}
		if o.Read {
			return s, true
		}
		c, _ := parseCommand(o.Input)
		if !s.Known && c.kind == "cas" {
			return s, true // whether it took effect depends on what nobody knows
		}
		return check.State{Known: true, Value: c.effect(s.Value)}, true
	},
}
