package cluster

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
)

// Bounds within which life must follow when the core is healed (FAULTS.md,
// liveness), in simulated time.
const (
	startBound    = 2 * id.Second // a process starts and recovers
	electionBound = 10            // longest election timeouts until there is a leader
	answerBound   = 30 * id.Second
	equalBound    = 120 * id.Second
)

// heal ends the faults: a random majority, the core, is whole for good, and all
// others are cut off, dead or half deaf for good. Then a leader, answers and
// equal states must come.
func (c *cluster) heal() {
	c.healed = true
	dice := c.world.Random("heal")
	for _, n := range c.nodes {
		if n.life != nil {
			n.life.hangUp()
		}
	}
	c.chooseCore(dice)
	c.net.EndAll()
	var core []uint64
	for i, n := range c.nodes {
		n.repair()
		if c.core[i] {
			core = append(core, n.number)
		}
	}
	c.world.Emit(trace.Event{Kind: trace.Fault, Fields: []trace.Field{trace.Text("what", "healed"), trace.Text("core", fmt.Sprint(core))}})
	for i, n := range c.nodes {
		if c.core[i] {
			n.boot()
		} else if n.exists && !n.gone {
			c.breakForGood(n, core, dice)
		}
	}
	if c.violated == nil {
		c.live()
	}
}

// hangUp ends what operators asked and the host has not yet seen: no change of
// membership begins any more.
func (l *life) hangUp() {
	l.inbox = slices.DeleteFunc(l.inbox, func(e host.Event) bool {
		change, is := e.(host.Change)
		if q := l.requests[change.Client]; is && q != nil {
			delete(l.requests, change.Client)
			q.lost()
		}
		return is
	})
}

// repair ends every fault of a node but its being down.
func (n *node) repair() {
	now := n.c.world.Now()
	n.down, n.pauses, n.slow, n.stall, n.failing, n.nospace, n.crash = 0, 0, 0, 0, 0, false, nil
	n.disk.SetCapacity(0)
	n.clock.Thaw(now)
	n.clock.SetRate(now, int64(1_000_000+1000*n.dice.Between(-50, 50))) // small differences stay
	if n.serving() {
		n.life.wake(now)
	}
}

// breakForGood leaves one node outside of the core broken.
func (c *cluster) breakForGood(n *node, core []uint64, dice *sim.Random) {
	const ever = 3000 * id.Second
	cut := func(from, to uint64) {
		c.net.Begin(sim.Fault{At: c.world.Now(), For: ever, Kind: sim.FaultCut, Target: sim.Link(from, to)})
	}
	switch dice.Below(3) {
	case 0: // dead
		n.down++
		n.kill("all")
	case 1: // cut off
		cut(n.number, 0)
		cut(0, n.number)
	case 2: // it is heard and hears nothing: it may ask for votes as often as it likes
		cut(0, n.number)
	}
}

// chooseCore draws the nodes that are healed: enough for a majority of each half
// of the committed configuration, and of every later one that some log holds.
func (c *cluster) chooseCore(dice *sim.Random) {
	configs := c.oracles.possible()
	var order []uint64
	for _, n := range c.nodes {
		if n.exists && !n.gone && memberOfAny(configs, n.self) {
			order = append(order, n.number)
		}
	}
	dice.Shuffle(order)
	chosen := func(n id.NodeID) bool {
		i := int(n.Node - 1)
		return i < len(c.nodes) && c.core[i] && c.nodes[i].self == n
	}
	enough := func() bool {
		for _, at := range configs {
			if !majorities(at.Config, chosen) {
				return false
			}
		}
		return true
	}
	for _, n := range order {
		if !enough() || dice.Chance(300) {
			c.core[int(n-1)] = true
		}
	}
	if !enough() {
		c.fail("no majority of %v is left to be healed", configs)
	}
}

func memberOfAny(configs []raft.ConfigAt, n id.NodeID) bool {
	for _, at := range configs {
		if _, ok := at.Config.Find(n); ok { // in either half of a joint one
			return true
		}
	}
	return false
}

// live waits for what must follow.
func (c *cluster) live() {
	begin := c.world.Now()
	longest := c.set.electionMax + c.set.electionMax/10
	bound := begin.Add(startBound + electionBound*longest)
	if !c.until(bound, func() bool { return c.coreLeader() != nil }) {
		c.stuck("no leader within %d longest election timeouts of the healing", electionBound)
		return
	}
	answered := func() bool {
		for _, k := range c.clients {
			if k.done == 0 {
				return false
			}
		}
		return true
	}
	if !c.until(c.world.Now().Add(answerBound), answered) {
		c.stuck("a client got no answer within %s of the election", sim.FormatDuration(answerBound))
		return
	}
	c.calm = true
	if !c.until(c.world.Now().Add(equalBound), c.equal) {
		c.stuck("the core has not converged within %s", sim.FormatDuration(equalBound))
	}
}

// coreLeader is a leader that a majority of its configuration, within the core,
// follows.
func (c *cluster) coreLeader() *node {
	n := c.leader()
	if n == nil || !c.core[int(n.number-1)] {
		return nil
	}
	follows := func(m id.NodeID) bool {
		i := int(m.Node - 1)
		other := c.nodes[i]
		return c.core[i] && other.self == m && other.serving() && other.life.before.Term == n.life.before.Term && other.life.before.Leader == n.self
	}
	if !majorities(n.life.before.Config, follows) {
		return nil
	}
	return n
}

// equal tells whether every member in the core has applied all of the leader's
// log, and nobody waits.
func (c *cluster) equal() bool {
	n := c.coreLeader()
	if n == nil {
		return false
	}
	lead := n.life.before
	if lead.Applied != lead.Last || lead.Commit != lead.Last || lead.Config.Joint {
		return false
	}
	for i, other := range c.nodes {
		if !c.core[i] {
			continue
		}
		if _, member := lead.Config.Find(other.self); !member {
			continue
		}
		if !other.serving() || other.life.before.Applied != lead.Last || len(other.life.requests) > 0 {
			return false
		}
	}
	return true
}

// stuck is a violation of liveness, with what every node believes.
func (c *cluster) stuck(format string, args ...any) {
	if c.violated != nil {
		return
	}
	var b strings.Builder
	for i, n := range c.nodes {
		if !n.exists {
			continue
		}
		fmt.Fprintf(&b, "\n  %v", n.self)
		if c.core[i] {
			b.WriteString(" core")
		}
		switch {
		case n.gone:
			b.WriteString(" removed")
		case !n.serving():
			b.WriteString(" down")
		default:
			s := n.life.before
			fmt.Fprintf(&b, " %v term %d leader %v log %d-%d durable %d commit %d applied %d config %v at %d", s.Role, s.Term, s.Leader, s.First, s.Last, s.Durable, s.Commit, s.Applied, s.Config, s.ConfigAt)
			for _, q := range sortedRequests(n.life.requests) {
				fmt.Fprintf(&b, " waits: client %d %q", q.id, q.op.Input)
			}
			for _, p := range s.Progress {
				fmt.Fprintf(&b, " [%v state %d match %d next %d active %v]", p.ID, p.State, p.Match, p.Next, p.Active)
			}
		}
	}
	c.fail("liveness: "+format+"%s", append(args, b.String())...)
}
