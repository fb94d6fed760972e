package kafka

import (
	"strings"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// Between a broker and the coordination service.

// request asks for a command. ZooKeeper's name of it depends on what it does.
type request struct {
	Number  uint64 // of the broker's, in this life: the answer names it
	Command string
}

func (m request) Name() string {
	switch verb, _, _ := strings.Cut(m.Command, " "); verb {
	case "open":
		return "CreateSession"
	case "elect":
		return "CreateController"
	}
	return "SetPartition"
}
func (m request) Fields() []trace.Field { return []trace.Field{trace.Text("command", m.Command)} }

// response is what came of it, and the tree as it then was.
type response struct {
	Number uint64
	OK     bool
	Result uint64 // OK: the session, the controller epoch, the version
	Why    string // not OK
	State  state
}

func (response) Name() string { return "Response" }
func (m response) Fields() []trace.Field {
	return append([]trace.Field{flag("ok", m.OK), trace.Text("why", m.Why)}, m.State.fields()...)
}
func (m response) Bytes() int { return 16 + 24 + len(m.Why) + m.State.bytes() }

// ping keeps a session alive.
type ping struct{ Session, Seen uint64 }

func (ping) Name() string { return "Ping" }
func (m ping) Fields() []trace.Field {
	return []trace.Field{trace.Num("session", m.Session), trace.Num("seen", m.Seen)}
}

// pong says whether it is. The state comes along if it is a newer one.
type pong struct {
	Alive bool
	Fresh bool
	State state
}

func (pong) Name() string { return "Pong" }
func (m pong) Fields() []trace.Field {
	f := []trace.Field{flag("alive", m.Alive)}
	if m.Fresh {
		f = append(f, m.State.fields()...)
	}
	return f
}
func (m pong) Bytes() int {
	if m.Fresh {
		return 16 + 16 + m.State.bytes()
	}
	return 16 + 16
}

// elsewhere: this server does not lead the coordination service.
type elsewhere struct{ Leader lab.Node }

func (elsewhere) Name() string            { return "NotLeader" }
func (m elsewhere) Fields() []trace.Field { return []trace.Field{trace.Num("leader", m.Leader)} }

// watchEvent tells a registered broker what changed.
type watchEvent struct{ State state }

func (watchEvent) Name() string            { return "WatchEvent" }
func (m watchEvent) Fields() []trace.Field { return m.State.fields() }
func (m watchEvent) Bytes() int            { return 16 + m.State.bytes() }

func (s *state) fields() []trace.Field {
	var live []lab.Node
	for _, r := range s.Brokers {
		live = append(live, r.Broker)
	}
	return append([]trace.Field{
		trace.Num("version", s.Version), trace.Num("controller", s.controller()), trace.Num("controller-epoch", s.Epoch),
		trace.Text("brokers", list(live)),
	}, s.Partition.fields()...)
}

func (s *state) bytes() int { return 24 + 32*len(s.Brokers) + s.Partition.bytes() }

func (p partition) fields() []trace.Field {
	return []trace.Field{trace.Num("leader", p.Leader), trace.Num("leader-epoch", p.Epoch), trace.Text("isr", list(p.ISR)), trace.Num("partition-version", p.Version)}
}

func (p partition) bytes() int { return 24 + 8*len(p.ISR) }

// Between the controller and a broker.

// leaderAndISR says who leads, and who must have everything.
type leaderAndISR struct {
	Epoch     uint64 // of the controller
	Session   uint64 // which registration of the broker is meant (KIP-380: broker epoch)
	Partition partition
}

func (leaderAndISR) Name() string { return "LeaderAndIsr" }
func (m leaderAndISR) Fields() []trace.Field {
	return append([]trace.Field{trace.Num("controller-epoch", m.Epoch), trace.Num("broker-epoch", m.Session)}, m.Partition.fields()...)
}
func (m leaderAndISR) Bytes() int { return 16 + 16 + m.Partition.bytes() }

// leaderAndISRAnswer says that it is known now, or that its controller is not the
// newest.
type leaderAndISRAnswer struct {
	Epoch       uint64 // of the controller, as asked
	LeaderEpoch uint64
	Stale       bool
}

func (leaderAndISRAnswer) Name() string { return "LeaderAndIsrResponse" }
func (m leaderAndISRAnswer) Fields() []trace.Field {
	return []trace.Field{trace.Num("controller-epoch", m.Epoch), trace.Num("leader-epoch", m.LeaderEpoch), flag("stale", m.Stale)}
}

// Between replicas.

// fetch asks for what comes behind a position. It is the acknowledgement as well:
// everything up to there is in the asker's log.
type fetch struct {
	Epoch uint64
	From  int
}

func (fetch) Name() string { return "Fetch" }
func (m fetch) Fields() []trace.Field {
	return []trace.Field{trace.Num("leader-epoch", m.Epoch), trace.Num("from", uint64(m.From))}
}

// fetched is the answer.
type fetched struct {
	Epoch   uint64
	From    int
	HW      int
	Error   string // instead of everything else, in Kafka's words
	Entries []lab.Entry
}

func (fetched) Name() string { return "FetchResponse" }
func (m fetched) Fields() []trace.Field {
	f := []trace.Field{trace.Num("leader-epoch", m.Epoch), trace.Num("from", uint64(m.From)), trace.Num("entries", uint64(len(m.Entries))), trace.Num("high-watermark", uint64(m.HW))}
	if m.Error != "" {
		f = append(f, trace.Text("error", m.Error))
	}
	return f
}
func (m fetched) Bytes() int { return 16 + 24 + len(m.Error) + entriesBytes(m.Entries) }

// epochQuery asks where an epoch ends in the leader's log.
type epochQuery struct {
	Current uint64 // the asker's leader epoch
	Epoch   uint64 // the one it asks about
}

func (epochQuery) Name() string { return "OffsetForLeaderEpoch" }
func (m epochQuery) Fields() []trace.Field {
	return []trace.Field{trace.Num("current", m.Current), trace.Num("epoch", m.Epoch)}
}

// epochAnswer is the largest epoch up to the asked one that the leader has entries
// of or began, and the position of the last entry before the next epoch.
type epochAnswer struct {
	Current, Asked uint64
	Epoch          uint64 // 0: none
	End            int
	Error          string
}

func (epochAnswer) Name() string { return "OffsetForLeaderEpochResponse" }
func (m epochAnswer) Fields() []trace.Field {
	f := []trace.Field{trace.Num("current", m.Current), trace.Num("asked", m.Asked), trace.Num("epoch", m.Epoch), trace.Num("end", uint64(m.End))}
	if m.Error != "" {
		f = append(f, trace.Text("error", m.Error))
	}
	return f
}

// Kafka's names of what a replica is refused with.
const (
	fencedEpoch  = "FENCED_LEADER_EPOCH"  // the asker's epoch is an older one
	unknownEpoch = "UNKNOWN_LEADER_EPOCH" // the asker's epoch is a newer one
	notLeader    = "NOT_LEADER_OR_FOLLOWER"
)

// On disk.

// appended is entries behind a position.
type appended struct {
	Behind  int
	Entries []lab.Entry
}

func (appended) Name() string { return "append" }
func (m appended) Fields() []trace.Field {
	return []trace.Field{trace.Num("from", uint64(m.Behind+1)), trace.Num("entries", uint64(len(m.Entries)))}
}
func (m appended) Bytes() int { return 16 + 8 + entriesBytes(m.Entries) }

// cut takes everything behind a position away.
type cut struct{ Behind int }

func (cut) Name() string            { return "truncate" }
func (m cut) Fields() []trace.Field { return []trace.Field{trace.Num("behind", uint64(m.Behind))} }

// checkpoint is the high watermark as of a moment.
type checkpoint struct{ HW int }

func (checkpoint) Name() string { return "checkpoint" }
func (m checkpoint) Fields() []trace.Field {
	return []trace.Field{trace.Num("high-watermark", uint64(m.HW))}
}

// epochsRecord is the whole leader-epoch checkpoint.
type epochsRecord struct{ Starts []epochStart }

func (epochsRecord) Name() string { return "epochs" }
func (m epochsRecord) Fields() []trace.Field {
	last := m.Starts[len(m.Starts)-1]
	return []trace.Field{trace.Num("epoch", last.Epoch), trace.Num("behind", uint64(last.Behind))}
}
func (m epochsRecord) Bytes() int { return 16 + 16*len(m.Starts) }

// entriesBytes: operation, epoch and client of each.
func entriesBytes(entries []lab.Entry) int { return 24 * len(entries) }

func flag(name string, v bool) trace.Field {
	if v {
		return trace.Num(name, 1)
	}
	return trace.Num(name, 0)
}
