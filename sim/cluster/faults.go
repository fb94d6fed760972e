package cluster

import (
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
	"github.com/quorate/quorate/vfs"
)

// syncFaults are the ways in which an fsync fails (D4).
var syncFaults = map[string]vfs.Fault{"clean": vfs.SyncFailsClean, "dirty": vfs.SyncFailsDirty, "late": vfs.WriteFailsLater}

// begin puts a fault in force and schedules its end.
func (c *cluster) begin(f sim.Fault) {
	if c.healed {
		return
	}
	c.began++
	c.world.Emit(trace.Event{Kind: trace.Fault, Fields: []trace.Field{trace.Text("what", f.String())}})
	switch f.Kind {
	case sim.FaultDrop, sim.FaultDuplicate, sim.FaultReplay, sim.FaultReorder, sim.FaultDelay, sim.FaultClog, sim.FaultCut, sim.FaultSplit, sim.FaultFlap, sim.FaultIsolate, sim.FaultHold:
		if f.Kind == sim.FaultSplit || f.Kind == sim.FaultIsolate || f.Kind == sim.FaultCut || f.Kind == sim.FaultFlap {
			c.mark("partition")
		}
		c.net.Begin(f)
		c.world.At(f.End(), func() { c.net.End(f) })
	case sim.FaultPower:
		c.mark("power cut")
		for _, n := range c.nodes {
			if n.exists && !n.gone {
				n.crashNow(f)
			}
		}
	case sim.FaultChange:
		c.change(f)
	case sim.FaultTransfer:
		c.transfer(f)
	default:
		c.nodes[f.Target.Node-1].begin(f)
	}
}

// begin puts a fault of one node in force.
func (n *node) begin(f sim.Fault) {
	now := n.c.world.Now()
	over := func(undo func()) { n.c.world.At(f.End(), undo) }
	switch f.Kind {
	case sim.FaultDrift:
		n.clock.SetRate(now, f.Number("rate"))
		n.reclock()
		over(func() { n.clock.SetRate(n.c.world.Now(), 1_000_000); n.reclock() })
	case sim.FaultFreeze:
		n.clock.Freeze(now, f.End())
		n.reclock()
		over(n.reclock)
	case sim.FaultCrash:
		if n.gone || !n.exists {
			return
		}
		if calls := f.Number("calls"); calls > 0 { // of a node that is down: during its recovery
			n.crash = &pendingCrash{calls: calls, fault: f}
			return
		}
		n.crashNow(f)
	case sim.FaultPause:
		n.pauses = max(n.pauses, f.End())
	case sim.FaultSlow:
		n.slow = f.Span("by")
		over(func() { n.slow = 0 })
	case sim.FaultStall:
		n.stall = f.Span("by")
		over(func() { n.stall = 0 })
	case sim.FaultSync:
		n.sick = true
		n.failing = syncFaults[f.Word("mode")]
		over(func() { n.failing = 0 })
	case sim.FaultNoSpace:
		n.nospace, n.sick = true, true
		n.disk.SetCapacity(n.disk.Used() + 1)
		over(func() { n.nospace = false; n.disk.SetCapacity(0) })
	}
}
