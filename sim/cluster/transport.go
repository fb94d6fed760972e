package cluster

import (
	"slices"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
	"github.com/quorate/quorate/wire"
)

// What travels. Every packet says between which lives of which members.
type envelope struct {
	from, to id.NodeID
	body     any // raft.Message, []byte (the same, encoded), or one of the following
}

type askBody struct {
	asker *life // an answer to an earlier life of the asker is nobody's
	id    uint64
	data  []byte
	taken *bool // a connection delivers a request once, whatever the network repeats
}

type answerBody struct {
	asker *life
	id    uint64
	data  []byte
}

type snapshotBody struct {
	meta   raft.SnapshotMeta
	term   id.Term
	stream []byte
	end    func(ok bool) // tells the sender
}

type storedBody struct{ end func(ok bool) }

// send gives a message of raft to the network.
func (c *cluster) send(n *node, s host.Send) {
	c.oracles.sent(n, s)
	class, name := classify(s.Message)
	var body any = s.Message
	if c.set.encode {
		body = wire.AppendMessage(nil, s.Message)
	} else if a, ok := s.Message.(raft.Append); ok {
		a.Entries = slices.Clone(a.Entries) // the sender may reuse its slice, as a transport that encodes at once allows
		body = a
	}
	c.packet(n, s.To, class, name, body)
}

// classify names a message's class for faults, and itself for the trace.
func classify(m raft.Message) (class, name string) {
	switch m.(type) {
	case raft.RequestPreVote:
		return "vote", "RequestPreVote"
	case raft.PreVote:
		return "vote", "PreVote"
	case raft.RequestVote:
		return "vote", "RequestVote"
	case raft.Vote:
		return "vote", "Vote"
	case raft.Append:
		return "append", "Append"
	case raft.AppendAccepted:
		return "ack", "AppendAccepted"
	case raft.AppendRejected:
		return "ack", "AppendRejected"
	case raft.Heartbeat:
		return "heartbeat", "Heartbeat"
	case raft.HeartbeatAck:
		return "ack", "HeartbeatAck"
	case raft.InstallSnapshot:
		return "snapshot", "InstallSnapshot"
	case raft.TimeoutNow:
		return "vote", "TimeoutNow"
	case raft.RequestRead:
		return "ack", "RequestRead"
	case raft.ReadAnswer:
		return "ack", "ReadAnswer"
	case raft.NotMember:
		return "vote", "NotMember"
	}
	return "ack", "unknown"
}

// packet puts anything on the wire.
func (c *cluster) packet(n *node, to id.NodeID, class, name string, body any) {
	if to.Node == 0 || int(to.Node) > len(c.nodes) {
		c.fail("%v sends %s to %v, which does not exist", n.self, name, to)
		return
	}
	sent := c.world.Emit(trace.Event{Node: n.self, Group: theGroup, Kind: trace.Sent, Fields: []trace.Field{
		trace.Num("to", to.Node), trace.Text("message", name), trace.Num("carries", carries(body))}})
	c.net.Send(sim.Packet{From: n.number, To: to.Node, Class: class, Name: name, Cause: sent, Body: envelope{n.self, to, body}})
}

// carries is how much a packet holds, for the trace: entries or bytes.
func carries(body any) uint64 {
	switch b := body.(type) {
	case raft.Append:
		return uint64(len(b.Entries))
	case []byte:
		return uint64(len(b))
	case snapshotBody:
		return uint64(len(b.stream))
	}
	return 0
}

// deliver is called by the network when a packet arrives.
func (c *cluster) deliver(p sim.Packet) {
	n, e := c.nodes[p.To-1], p.Body.(envelope)
	if !n.serving() || n.self != e.to || len(n.life.inbox) >= inboxEvents {
		c.world.Emit(trace.Event{Node: n.self, Kind: trace.Dropped, Fields: []trace.Field{
			trace.Num("from", p.From), trace.Num("to", p.To), trace.Text("message", p.Name), trace.Text("why", "nobody there")}})
		c.refused(e)
		return
	}
	c.world.Emit(trace.Event{Node: n.self, Group: theGroup, Kind: trace.Received, Fields: []trace.Field{
		trace.Num("from", p.From), trace.Text("message", p.Name)}})
	l := n.life
	switch b := e.body.(type) {
	case raft.Message:
		if a, ok := b.(raft.Append); ok {
			a.Entries = slices.Clone(a.Entries) // it may arrive again
			b = a
		}
		l.take(host.Frame{From: e.from, Group: theGroup, Message: b})
	case []byte:
		m, err := wire.Message(slices.Clone(b)) // a receiver owns its buffer
		if err != nil {
			c.fail("%s from %v does not decode: %v", p.Name, e.from, err)
			return
		}
		l.take(host.Frame{From: e.from, Group: theGroup, Message: m})
	case askBody:
		l.asked(e.from, b)
	case answerBody:
		b.asker.answered(b.id, b.data, false)
	case snapshotBody:
		l.receiveSnapshot(e.from, b)
	case storedBody:
		b.end(true)
	}
}

// unreachablePause is the least time between two reports that a peer cannot be
// reached, as a transport that tries to connect again now and then gives them.
const unreachablePause = 100 * id.Millisecond

// refused tells the sender that nobody listens: its connection was refused. Of a
// cut it hears nothing.
func (c *cluster) refused(e envelope) {
	sender := c.nodes[e.from.Node-1]
	l, now := sender.life, c.world.Now()
	if !sender.serving() || sender.self != e.from || l.refusedUntil[e.to.Node] > now || !c.net.Linked(e.to.Node, e.from.Node) {
		return
	}
	l.refusedUntil[e.to.Node] = now.Add(unreachablePause)
	c.world.After(c.set.latency, func() { l.take(host.Unreachable{Node: e.to}) })
}
