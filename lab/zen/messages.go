package zen

import (
	"fmt"
	"strings"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// The messages, in the order of their first use. A number is eight bytes, an
// operation three numbers (what, since which version, whose).

// Ping asks a node what it knows; PingAnswer tells. Version 0 is a state that
// was not recovered since the process started.
type (
	Ping       struct{ Round uint64 }
	PingAnswer struct {
		Round   uint64
		Master  lab.Node
		Version uint64
	}
)

// Join is the request to be taken into a master's cluster, and with it the vote
// for a node that wants to become master: nobody keeps it, and the next Join may
// go to somebody else. The master tries the way back before it counts.
type (
	Join               struct{ Life uint64 }
	ValidateJoin       struct{}
	ValidateJoinAnswer struct{ Life uint64 }
	JoinAnswer         struct{ Refused string } // empty: joined
)

// MasterPing and NodePing are the fault detection of the two sides.
type (
	MasterPing   struct{ Number, Life uint64 }
	MasterAnswer struct {
		Number  uint64
		Refused string
	}
	NodePing   struct{ Number, Life, Version uint64 } // Life: of the member that is meant
	NodeAnswer struct {
		Number  uint64
		Refused string
	}
)

// Rejoin tells another master that its state is the older one.
type Rejoin struct{}

// Send is phase 1 of an update: the state itself, or what is new in it since the
// state with the uuid Base. Nothing of it is applied before its Commit.
type Send struct {
	Version, UUID uint64
	Master        lab.Node
	Nodes         []member
	Recovered     bool
	Base          uint64 // uuid; 0: the whole state
	Keep          int    // so many operations of the base
	Ops           []lab.Entry
}

type (
	SendAck     struct{ UUID uint64 }
	SendRefused struct {
		UUID  uint64
		Why   string
		Whole bool // the base is not known here: send the whole state
	}
	Commit    struct{ UUID, Version uint64 }
	CommitAck struct{ UUID uint64 }
)

// AskMetadata reads what the members have on disk, after a full restart.
type (
	AskMetadata struct{}
	Metadata    struct {
		Version uint64
		Ops     []lab.Entry
	}
)

// Saved is a record of the file "state": the operations of a version, as the
// first Keep of the record before it and those that follow them.
type Saved struct {
	Version uint64
	Keep    int
	Ops     []lab.Entry
}

func (Ping) Name() string               { return "Ping" }
func (PingAnswer) Name() string         { return "PingAnswer" }
func (Join) Name() string               { return "Join" }
func (ValidateJoin) Name() string       { return "ValidateJoin" }
func (ValidateJoinAnswer) Name() string { return "ValidateJoinAnswer" }
func (JoinAnswer) Name() string         { return "JoinAnswer" }
func (MasterPing) Name() string         { return "MasterPing" }
func (MasterAnswer) Name() string       { return "MasterAnswer" }
func (NodePing) Name() string           { return "NodePing" }
func (NodeAnswer) Name() string         { return "NodeAnswer" }
func (Rejoin) Name() string             { return "Rejoin" }
func (Send) Name() string               { return "Send" }
func (SendAck) Name() string            { return "SendAck" }
func (SendRefused) Name() string        { return "SendRefused" }
func (Commit) Name() string             { return "Commit" }
func (CommitAck) Name() string          { return "CommitAck" }
func (AskMetadata) Name() string        { return "AskMetadata" }
func (Metadata) Name() string           { return "Metadata" }
func (Saved) Name() string              { return "Saved" }

func (m Ping) Fields() []trace.Field { return []trace.Field{trace.Num("round", m.Round)} }
func (m PingAnswer) Fields() []trace.Field {
	return []trace.Field{trace.Num("round", m.Round), trace.Num("master", m.Master), trace.Num("version", m.Version)}
}
func (m Join) Fields() []trace.Field             { return []trace.Field{trace.Num("life", m.Life)} }
func (ValidateJoin) Fields() []trace.Field       { return nil }
func (ValidateJoinAnswer) Fields() []trace.Field { return nil }
func (m JoinAnswer) Fields() []trace.Field       { return verdict(m.Refused) }
func (m MasterPing) Fields() []trace.Field       { return []trace.Field{trace.Num("number", m.Number)} }
func (m MasterAnswer) Fields() []trace.Field {
	return append([]trace.Field{trace.Num("number", m.Number)}, verdict(m.Refused)...)
}
func (m NodePing) Fields() []trace.Field {
	return []trace.Field{trace.Num("number", m.Number), trace.Num("version", m.Version)}
}
func (m NodeAnswer) Fields() []trace.Field {
	return append([]trace.Field{trace.Num("number", m.Number)}, verdict(m.Refused)...)
}
func (Rejoin) Fields() []trace.Field { return nil }
func (m Send) Fields() []trace.Field {
	return []trace.Field{
		trace.Num("version", m.Version), trace.Num("uuid", m.UUID), trace.Num("master", m.Master),
		trace.Text("nodes", names(m.Nodes)), trace.Text("operations", fmt.Sprintf("%d+%d", m.Keep, len(m.Ops))),
	}
}
func (m SendAck) Fields() []trace.Field { return []trace.Field{trace.Num("uuid", m.UUID)} }
func (m SendRefused) Fields() []trace.Field {
	return []trace.Field{trace.Num("uuid", m.UUID), trace.Text("why", m.Why)}
}
func (m Commit) Fields() []trace.Field {
	return []trace.Field{trace.Num("version", m.Version), trace.Num("uuid", m.UUID)}
}
func (m CommitAck) Fields() []trace.Field { return []trace.Field{trace.Num("uuid", m.UUID)} }
func (AskMetadata) Fields() []trace.Field { return nil }
func (m Metadata) Fields() []trace.Field {
	return []trace.Field{trace.Num("version", m.Version), trace.Num("operations", uint64(len(m.Ops)))}
}
func (m Saved) Fields() []trace.Field {
	return []trace.Field{trace.Num("version", m.Version), trace.Text("operations", fmt.Sprintf("%d+%d", m.Keep, len(m.Ops)))}
}

// A life is a number like any other, though the story does not tell it.
func (NodePing) Bytes() int   { return 16 + 3*8 }
func (MasterPing) Bytes() int { return 16 + 2*8 }
func (m Send) Bytes() int     { return 16 + 6*8 + 16*len(m.Nodes) + 24*len(m.Ops) }
func (m Metadata) Bytes() int { return 16 + 8 + 24*len(m.Ops) }
func (m Saved) Bytes() int    { return 16 + 16 + 24*len(m.Ops) }

func verdict(refused string) []trace.Field {
	if refused == "" {
		return nil
	}
	return []trace.Field{trace.Text("refused", refused)}
}

func names(members []member) string {
	var words []string
	for _, m := range members {
		words = append(words, fmt.Sprintf("n%d", m.Node))
	}
	return strings.Join(words, ",")
}
