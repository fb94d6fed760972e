package zab

import (
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// The messages, named as in ZooKeeper's sources. Notifications go from server to
// server by themselves; everything else is content of a packet.

// notification is a vote: for whom, what that one's history is, and in which
// state and round the sender says so. The life of the sender stands for the
// connection: it is not counted.
type notification struct {
	vote  vote
	round uint64
	state string
	sid   lab.Node
	life  int
}

func (n notification) Name() string { return "Notification" }
func (n notification) Fields() []trace.Field {
	return []trace.Field{
		trace.Num("leader", n.vote.leader), n.vote.zxid.field("zxid"), trace.Num("round", n.round),
		trace.Text("state", n.state), trace.Num("sid", n.sid), trace.Num("peerEpoch", n.vote.epoch),
	}
}
func (n notification) Bytes() int { return 16 + 6*8 }

// Discovery (R7–R9).
type (
	// followerInfo opens a connection; an observer's is called OBSERVERINFO.
	followerInfo struct {
		accepted uint64
		observer bool
	}
	// leaderInfo is the epoch that the leader proposes.
	leaderInfo struct{ epoch uint64 }
	// ackEpoch promises to follow no smaller epoch. counts is false (the sources
	// say epoch −1) where the learner had promised the same before.
	ackEpoch struct {
		last    zxid
		current uint64
		counts  bool
	}
)

func (m followerInfo) Name() string {
	if m.observer {
		return "OBSERVERINFO"
	}
	return "FOLLOWERINFO"
}
func (m followerInfo) Fields() []trace.Field {
	return []trace.Field{trace.Num("acceptedEpoch", m.accepted)}
}
func (m leaderInfo) Name() string          { return "LEADERINFO" }
func (m leaderInfo) Fields() []trace.Field { return []trace.Field{trace.Num("newEpoch", m.epoch)} }
func (m ackEpoch) Name() string            { return "ACKEPOCH" }
func (m ackEpoch) Fields() []trace.Field {
	current := trace.Num("currentEpoch", m.current)
	if !m.counts {
		current = trace.Text("currentEpoch", "-1")
	}
	return []trace.Field{m.last.field("lastZxid"), current}
}
func (m ackEpoch) Bytes() int { return 16 + 2*8 }

// Synchronization (R10–R12).
type (
	// diff says that proposals follow that the learner lacks, or none.
	diff struct{ last zxid }
	// trunc tells the learner to forget what comes behind.
	trunc struct{ last zxid }
	// snap is the whole committed state. The lab's is a list of transactions.
	snap struct{ txns []txn }
	// newLeader ends what is to be made durable before the epoch is.
	newLeader struct{ epoch uint64 }
	// upToDate lets the learner serve.
	upToDate struct{ epoch uint64 }
)

func (m diff) Name() string           { return "DIFF" }
func (m diff) Fields() []trace.Field  { return []trace.Field{m.last.field("last")} }
func (m diff) Bytes() int             { return 16 + 8 }
func (m trunc) Name() string          { return "TRUNC" }
func (m trunc) Fields() []trace.Field { return []trace.Field{m.last.field("last")} }
func (m trunc) Bytes() int            { return 16 + 8 }
func (m snap) Name() string           { return "SNAP" }
func (m snap) Fields() []trace.Field {
	return []trace.Field{trace.Num("transactions", uint64(len(m.txns)))}
}
func (m snap) Bytes() int                 { return 16 + txnBytes*len(m.txns) }
func (m newLeader) Name() string          { return "NEWLEADER" }
func (m newLeader) Fields() []trace.Field { return []trace.Field{trace.Num("epoch", m.epoch)} }
func (m upToDate) Name() string           { return "UPTODATE" }
func (m upToDate) Fields() []trace.Field  { return []trace.Field{trace.Num("epoch", m.epoch)} }

// Broadcast (R13–R16), and what clients ask of a server that does not lead.
type (
	proposal struct{ txn txn }
	ack      struct{ zxid zxid }
	commit   struct{ zxid zxid }
	// inform is proposal and commit in one, for an observer.
	inform struct{ txn txn }
	// request forwards a client's write to the leader.
	request struct {
		id     uint64
		op     uint64
		client lab.Node
	}
	// syncUp asks the leader for a sign that comes back behind everything it has
	// proposed so far, and is that sign.
	syncUp struct{ id uint64 }
	ping   struct{}
	// closed is what the end of a TCP connection looks like to the other side. The
	// sources have no such message: the operating system does it.
	closed struct{}
)

func (m proposal) Name() string          { return "PROPOSAL" }
func (m proposal) Fields() []trace.Field { return m.txn.fields() }
func (m proposal) Bytes() int            { return 16 + txnBytes }
func (m ack) Name() string               { return "ACK" }
func (m ack) Fields() []trace.Field      { return []trace.Field{m.zxid.field("zxid")} }
func (m ack) Bytes() int                 { return 16 + 8 }
func (m commit) Name() string            { return "COMMIT" }
func (m commit) Fields() []trace.Field   { return []trace.Field{m.zxid.field("zxid")} }
func (m commit) Bytes() int              { return 16 + 8 }
func (m inform) Name() string            { return "INFORM" }
func (m inform) Fields() []trace.Field   { return m.txn.fields() }
func (m inform) Bytes() int              { return 16 + txnBytes }
func (m request) Name() string           { return "REQUEST" }
func (m request) Fields() []trace.Field {
	return []trace.Field{trace.Num("id", m.id), trace.Num("operation", m.op), trace.Num("client", m.client)}
}
func (m syncUp) Name() string          { return "SYNC" }
func (m syncUp) Fields() []trace.Field { return []trace.Field{trace.Num("id", m.id)} }
func (m ping) Name() string            { return "PING" }
func (m ping) Fields() []trace.Field   { return nil }
func (m closed) Name() string          { return "CLOSE" }
func (m closed) Fields() []trace.Field { return nil }
