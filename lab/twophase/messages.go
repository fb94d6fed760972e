package twophase

import (
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

type (
	// Prepare asks whether a participant can commit an operation at a position.
	Prepare struct {
		Position int
		Entry    lab.Entry
	}
	// Vote is the answer.
	Vote struct {
		Position int
		Op       uint64
		Yes      bool
	}
	// Decision is what the positions from one on came to: an operation is committed,
	// an entry of the kind "aborted" is not. Without entries it is a question whether
	// somebody is there.
	Decision struct {
		From    int
		Entries []lab.Entry
	}
	// Ack says up to where the decisions are known, on disk.
	Ack struct{ Position int }
	// Inquire asks for the decisions from a position on.
	Inquire struct{ Position int }
)

func (Prepare) Name() string  { return "Prepare" }
func (Vote) Name() string     { return "Vote" }
func (Decision) Name() string { return "Decision" }
func (Ack) Name() string      { return "Ack" }
func (Inquire) Name() string  { return "Inquire" }

func (m Prepare) Fields() []trace.Field {
	return []trace.Field{trace.Num("position", uint64(m.Position)), trace.Num("operation", m.Entry.Op)}
}

func (m Vote) Fields() []trace.Field {
	yes := "no"
	if m.Yes {
		yes = "yes"
	}
	return []trace.Field{trace.Num("position", uint64(m.Position)), trace.Num("operation", m.Op), trace.Text("vote", yes)}
}

func (m Decision) Fields() []trace.Field {
	fields := []trace.Field{trace.Num("from", uint64(m.From)), trace.Num("count", uint64(len(m.Entries)))}
	if len(m.Entries) == 1 {
		fields = append(fields, trace.Text("outcome", outcome(m.Entries[0])))
	}
	return fields
}

func (m Decision) Bytes() int { return 16 + 8 + len(m.Entries)*3*8 }

func (m Ack) Fields() []trace.Field {
	return []trace.Field{trace.Num("position", uint64(m.Position))}
}

func (m Inquire) Fields() []trace.Field {
	return []trace.Field{trace.Num("position", uint64(m.Position))}
}

// The records on disk.
type (
	preparedRecord struct {
		position int
		entry    lab.Entry
	}
	decidedRecord struct {
		position int
		entry    lab.Entry
	}
)

func (preparedRecord) Name() string { return "prepared" }
func (decidedRecord) Name() string  { return "decided" }

func (r preparedRecord) Fields() []trace.Field {
	return []trace.Field{trace.Num("position", uint64(r.position)), trace.Num("operation", r.entry.Op)}
}

func (r decidedRecord) Fields() []trace.Field {
	return []trace.Field{trace.Num("position", uint64(r.position)), trace.Text("outcome", outcome(r.entry))}
}

const aborted = "aborted"

func outcome(e lab.Entry) string {
	if e.Kind == aborted {
		return aborted
	}
	return "committed"
}
