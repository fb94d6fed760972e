package raft

import (
	"slices"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	production "github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/trace"
	"github.com/quorate/quorate/wire"
)

// Message is one of production's messages on the lab's network, with what the
// handshake of its connection would have said: whose data directory sent it, and
// which one it is meant for (zero: the sender knows none).
type Message struct {
	Of       production.Message
	From, To id.DirectoryID
}

// Name is the message's, as production and its documents call it.
func (m Message) Name() string {
	switch m.Of.(type) {
	case production.RequestPreVote:
		return "RequestPreVote"
	case production.PreVote:
		return "PreVote"
	case production.RequestVote:
		return "RequestVote"
	case production.Vote:
		return "Vote"
	case production.Append:
		return "Append"
	case production.AppendAccepted:
		return "AppendAccepted"
	case production.AppendRejected:
		return "AppendRejected"
	case production.Heartbeat:
		return "Heartbeat"
	case production.HeartbeatAck:
		return "HeartbeatAck"
	case production.InstallSnapshot:
		return "InstallSnapshot"
	case production.TimeoutNow:
		return "TimeoutNow"
	case production.RequestRead:
		return "RequestRead"
	case production.ReadAnswer:
		return "ReadAnswer"
	case production.NotMember:
		return "NotMember"
	}
	return "unknown"
}

// Fields are the term and what the kind of message is about.
func (m Message) Fields() []trace.Field {
	f := append(make([]trace.Field, 0, 5), trace.Num("term", uint64(m.Of.SenderTerm())))
	index := func(name string, i id.Index) { f = append(f, trace.Num(name, uint64(i))) }
	term := func(name string, t id.Term) { f = append(f, trace.Num(name, uint64(t))) }
	flag := func(name string, v bool) {
		n := uint64(0)
		if v {
			n = 1
		}
		f = append(f, trace.Num(name, n))
	}
	switch m := m.Of.(type) {
	case production.RequestPreVote:
		index("last-index", m.LastIndex)
		term("last-term", m.LastTerm)
	case production.PreVote:
		term("for", m.For)
		flag("granted", m.Granted)
	case production.RequestVote:
		index("last-index", m.LastIndex)
		term("last-term", m.LastTerm)
	case production.Vote:
		flag("granted", m.Granted)
	case production.Append:
		index("previous", m.Prev)
		term("previous-term", m.PrevTerm)
		index("commit", m.Commit)
		f = append(f, trace.Num("entries", uint64(len(m.Entries))))
	case production.AppendAccepted:
		index("match", m.Match)
	case production.AppendRejected:
		index("previous", m.Prev)
		index("hint", m.HintIndex)
	case production.Heartbeat:
		index("commit", m.Commit)
		f = append(f, trace.Num("round", m.Round))
	case production.HeartbeatAck:
		f = append(f, trace.Num("round", m.Round))
	case production.ReadAnswer:
		index("index", m.Index)
		flag("granted", m.Granted)
	}
	return f
}

// Bytes is the length of production's encoding, and the frame that the lab counts
// for every message.
func (m Message) Bytes() int { return 16 + len(wire.AppendMessage(nil, m.Of)) }

// heard is the message that the running step brought, for the rules that only show
// in what is not answered.
type heard struct {
	from lab.Node
	of   production.Message
}

// receive lets a message in, if its data directories are the right ones.
func (c *Core) receive(t *lab.Turn, from lab.Node, m Message) {
	if !c.admits(t, from, m) {
		return
	}
	if a, ok := m.Of.(production.Append); ok {
		a.Entries = slices.Clone(a.Entries) // it may arrive again
		m.Of = a
	}
	c.heard = heard{from, m.Of}
	before := c.soft
	c.pass(t, host.Frame{From: node(from), Group: theGroup, Message: m.Of})
	c.unanswered(t, before)
	c.heard = heard{}
}
