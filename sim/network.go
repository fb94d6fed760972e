package sim

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/trace"
)

// Packet is one message on its way. The network reads the header only.
type Packet struct {
	From, To uint64
	Class    string // one of the classes a drop can be limited to
	Name     string // for the trace: which message
	Cause    uint64 // the event that recorded the sending
	Body     any
}

// Network delivers packets between nodes 1 to maxNodes: in order on each link and
// after a short random latency, unless a fault says otherwise. It may lose
// packets without any fault when a link's bound is reached, as a transport with
// bounded queues may.
type Network struct {
	world   *World
	deliver func(Packet)
	links   [maxNodes + 1][maxNodes + 1]*link
	active  []*netFault
	lo, hi  id.Duration // latency without faults

	Sent, Delivered, Lost uint64
}

type link struct {
	dice     *Random
	last     id.Time // newest arrival in order
	inFlight int
}

type netFault struct {
	Fault
	dice *Random
	held int64 // messages that a hold took so far
}

// linkPackets bounds what is on its way on one link; beyond, packets are lost.
const linkPackets = 8192

// NewNetwork returns a network whose packets take between lo and hi.
func NewNetwork(w *World, lo, hi id.Duration, deliver func(Packet)) *Network {
	return &Network{world: w, deliver: deliver, lo: lo, hi: hi}
}

// Begin puts a fault of the network in force, End takes it away.
func (n *Network) Begin(f Fault) {
	n.active = append(n.active, &netFault{Fault: f, dice: f.Stream(n.world.seed)})
}

func (n *Network) End(f Fault) {
	text := f.String()
	for i, a := range n.active {
		if a.String() == text {
			n.active = append(n.active[:i:i], n.active[i+1:]...)
			return
		}
	}
}

// Linked tells whether packets can pass from one node to another now.
func (n *Network) Linked(from, to uint64) bool {
	for _, f := range n.active {
		if f.blocks(n.world.now, from, to) {
			return false
		}
	}
	return true
}

// blocks tells whether a fault lets nothing pass on a link at a moment. What a node
// sends to itself, or to the client beside it, needs no cable.
func (f *netFault) blocks(now id.Time, from, to uint64) bool {
	if from == to {
		return false
	}
	switch f.Kind {
	case FaultCut, FaultSplit, FaultIsolate:
		return f.Target.Matches(from, to)
	case FaultFlap:
		phase := int64(now-f.At) / int64(f.Span("period"))
		return phase%2 == 0 && f.Target.Matches(from, to)
	}
	return false
}

// Send takes a packet. What becomes of it is decided here, but for a cut that
// comes while it is on its way.
func (n *Network) Send(p Packet) {
	n.Sent++
	l := n.links[p.From][p.To]
	if l == nil {
		l = &link{dice: n.world.Random("link", p.From, p.To)}
		n.links[p.From][p.To] = l
	}
	if l.inFlight >= linkPackets {
		n.lose(p, "full")
		return
	}
	arrival := n.world.now.Add(l.dice.Duration(n.lo, n.hi))
	inOrder := true
	for _, f := range n.active {
		if !f.Target.Matches(p.From, p.To) {
			continue
		}
		switch f.Kind {
		case FaultCut, FaultSplit, FaultFlap, FaultIsolate:
			if f.blocks(n.world.now, p.From, p.To) {
				n.lose(p, string(f.Kind))
				return
			}
		case FaultDrop:
			if only := f.Word("only"); only != "" && only != p.Class {
				continue
			}
			if name := f.Word("message"); name != "" && name != p.Name {
				continue
			}
			if f.dice.Chance(int(f.Number("rate"))) {
				n.lose(p, "drop")
				return
			}
		case FaultHold:
			if f.Word("message") == p.Name && f.held < f.Number("count") {
				f.held++
				arrival, inOrder = arrival.Add(f.Span("by")), false
			}
		case FaultDuplicate:
			if f.dice.Chance(int(f.Number("rate"))) {
				n.arrive(l, p, arrival.Add(f.dice.Duration(0, n.hi)))
			}
		case FaultReplay:
			if f.dice.Chance(int(f.Number("rate"))) {
				n.arrive(l, p, arrival.Add(f.dice.Duration(0, f.Span("within"))))
			}
		case FaultReorder:
			if f.dice.Chance(int(f.Number("rate"))) {
				arrival, inOrder = arrival.Add(f.dice.Duration(0, f.Span("by"))), false
			}
		case FaultDelay:
			arrival = arrival.Add(f.Span("by"))
		case FaultClog:
			arrival = max(arrival, f.End())
		}
	}
	if inOrder {
		arrival = max(arrival, l.last+1)
		l.last = arrival
	}
	n.arrive(l, p, arrival)
}

// arrive schedules one delivery.
func (n *Network) arrive(l *link, p Packet, at id.Time) {
	l.inFlight++
	n.world.At(at, func() {
		l.inFlight--
		n.world.Because(p.Cause)
		if !n.Linked(p.From, p.To) {
			n.lose(p, "cut on the way")
			return
		}
		n.Delivered++
		n.deliver(p)
	})
}

// lose records a loss. Its cause is the sending, where the packet names it.
func (n *Network) lose(p Packet, why string) {
	n.Lost++
	n.world.emitFrom(p.Cause, trace.Event{Node: id.NodeID{Node: p.To}, Kind: trace.Dropped, Fields: []trace.Field{
		trace.Num("from", p.From), trace.Num("to", p.To), trace.Text("message", p.Name), trace.Text("why", why)}})
}

// EndAll takes every fault away.
func (n *Network) EndAll() { n.active = nil }
