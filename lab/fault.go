package lab

import (
	"slices"
	"strconv"
	"strings"

	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
)

// begin puts a fault in force and schedules its end.
func (r *run) begin(f sim.Fault) {
	at := r.world.Now()
	f.At, f.Trigger = at, ""
	r.world.Emit(trace.Event{Kind: trace.Fault, Fields: []trace.Field{trace.Text("what", f.String())}})
	if c := r.checker; !c.faulted {
		c.faulted, c.fault = true, at
	}
	over := func(what string, undo func()) {
		r.world.At(f.End(), func() {
			r.world.Emit(trace.Event{Kind: trace.Fault, Fields: []trace.Field{trace.Text("over", what)}})
			undo()
		})
	}
	switch f.Kind {
	case sim.FaultPower:
		over(f.String(), func() {}) // before the nodes boot, and once
		for _, number := range slices.Sorted(slices.Values(r.recipe.Nodes())) {
			r.crash(r.nodes[number-1], f)
		}
		return
	case sim.FaultDrop, sim.FaultDuplicate, sim.FaultReplay, sim.FaultReorder, sim.FaultDelay, sim.FaultClog,
		sim.FaultCut, sim.FaultSplit, sim.FaultFlap, sim.FaultIsolate, sim.FaultHold:
		r.net.Begin(f)
		over(f.String(), func() { r.net.End(f) })
		return
	}
	n := r.nodes[f.Target.Node-1]
	switch f.Kind {
	case sim.FaultCrash, sim.FaultWipe:
		r.crash(n, f)
	case sim.FaultPause:
		n.pause(f.End())
		over(f.String(), func() {})
	case sim.FaultDrift:
		n.drift(f.Number("rate"), 0)
		over(f.String(), func() { n.drift(0, f.Number("rate")) })
	case sim.FaultFreeze:
		n.clock.Freeze(at, f.End())
		n.reclock()
		over(f.String(), n.reclock)
	case sim.FaultJump:
		by := f.Span("by")
		n.ahead += by
		over(f.String(), func() { n.ahead -= by })
	}
}

// crash takes a node down for the fault's span.
func (r *run) crash(n *node, f sim.Fault) {
	n.down++
	lose := f.Word("lose")
	if f.Kind == sim.FaultWipe {
		lose = "all"
	}
	n.kill(lose, f.Word("reset") != "no" && lose == "none")
	if f.Kind == sim.FaultWipe {
		n.disk.wiped()
		given := n.disk.life
		n.disk = newDisk(n, n.disk.identity+1)
		n.disk.life = given + 1
	}
	r.world.At(f.End(), func() {
		if n.down--; n.down > 0 {
			return // another fault keeps it down
		}
		if f.Kind != sim.FaultPower {
			r.world.Emit(trace.Event{Kind: trace.Fault, Fields: []trace.Field{trace.Text("over", f.String())}})
		}
		if err := n.boot(); err != nil {
			r.fail("%v", err)
		}
	})
}

// drift adds a rate to those the node's clock is made to run at, and takes one
// away. The newest that is left counts; without any the clock runs well.
func (n *node) drift(begins, ends int64) {
	if i := slices.Index(n.rates, ends); i >= 0 {
		n.rates = slices.Delete(n.rates, i, i+1)
	}
	if begins > 0 {
		n.rates = append(n.rates, begins)
	}
	rate := int64(1_000_000)
	if len(n.rates) > 0 {
		rate = n.rates[len(n.rates)-1]
	}
	n.clock.SetRate(n.r.world.Now(), rate)
	n.reclock()
}

// reclock is called when the node's clock changed its pace.
func (n *node) reclock() {
	if n.up() && n.paused <= n.r.world.Now() {
		n.rearm()
	}
}

// trigger begins the faults that wait for something a node just did.
func (r *run) trigger(what string, n *node) {
	for i := 0; i < len(r.waiting); i++ {
		w := r.waiting[i]
		if w.fault.Trigger != what || strings.HasPrefix(what, "send-") && w.fault.Target.Node != 0 && w.fault.Target.Node != n.number {
			continue
		}
		r.waiting = append(r.waiting[:i:i], r.waiting[i+1:]...)
		i--
		r.setOff(w.fault, n)
	}
}

// awaited is a triggered fault that has not begun.
type awaited struct {
	fault sim.Fault
	op    uint64 // for heldN and decidedN: the first write that came after the fault's time
	count int    // N
	held  bool   // heldN; else decidedN
}

func newAwaited(f sim.Fault) *awaited {
	w := &awaited{fault: f}
	for _, word := range []string{"held", "decided"} {
		if digits, ok := strings.CutPrefix(f.Trigger, word); ok {
			w.count, _ = strconv.Atoi(digits)
			w.held = word == "held"
		}
	}
	return w
}

// await lets a triggered fault wait. "now" is at once.
func (r *run) await(f sim.Fault) {
	if f.Trigger != "now" {
		r.waiting = append(r.waiting, newAwaited(f))
		return
	}
	r.setOff(f, nil)
}

// setOff begins a triggered fault.
func (r *run) setOff(f sim.Fault, n *node) {
	if f.Target.Leader {
		leader := r.checker.leader()
		if leader == nil {
			leader = n
		}
		if leader == nil {
			r.world.Emit(trace.Event{Kind: trace.Fault, Fields: []trace.Field{trace.Text("void", f.String())}})
			return // nobody leads: it falls on nobody
		}
		f.Target = sim.On(leader.number)
	}
	r.begin(f)
}

// await counts who holds the operations that faults wait for.
func (c *checker) await(n *node, op uint64) { c.awaitCount(n, op, true) }

// awaitDecided counts in whose eyes they are decided.
func (c *checker) awaitDecided(n *node, op uint64) { c.awaitCount(n, op, false) }

func (c *checker) awaitCount(n *node, op uint64, held bool) {
	r := c.r
	for i := 0; i < len(r.waiting); i++ {
		w := r.waiting[i]
		if w.count == 0 {
			continue
		}
		if o := c.ops[op-1].o; w.op == 0 && o.verb != "read" && o.began >= w.fault.At {
			w.op = op
		}
		if w.op != op || w.held != held {
			continue
		}
		count := c.ops[op-1].holders
		if !held {
			count = 0
			for _, other := range r.nodes {
				if p := c.state(other).at(op); other.up() && p != 0 && c.state(other).decided >= p {
					count++
				}
			}
		}
		if count >= w.count {
			r.waiting = append(r.waiting[:i:i], r.waiting[i+1:]...)
			i--
			r.setOff(w.fault, n)
		}
	}
}
