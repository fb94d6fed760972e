package paxos

import (
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// ballot orders proposals: a round, and the node that drew it. 0 is below all.
type ballot uint64

func newBallot(round uint64, node lab.Node) ballot { return ballot(round*10 + node) }

func (b ballot) round() uint64  { return uint64(b) / 10 }
func (b ballot) node() lab.Node { return uint64(b) % 10 }

// value is what a slot can hold: an operation, or a no-op. In the single decree
// the text is what was proposed.
type value struct {
	lab.Entry
	text string
}

// acceptance is what an acceptor tells about one slot.
type acceptance struct {
	slot   int
	ballot ballot
	value  value
	chosen bool // it knows the slot to be chosen: no ballot can matter any more
}

// acceptanceBytes: slot, ballot, and a value of three numbers.
const acceptanceBytes = 5 * 8

// The messages, named as in the lectures on Paxos.
type (
	// P1a asks for a promise, for all slots from one on.
	P1a struct {
		Ballot ballot
		From   int
	}
	// P1b promises, and tells what was accepted.
	P1b struct {
		Ballot   ballot
		Accepted []acceptance
	}
	// P2a asks to accept a value.
	P2a struct {
		Ballot ballot
		Slot   int
		Value  value
	}
	// P2b says that it is accepted.
	P2b struct {
		Ballot ballot
		Slot   int
	}
	// Nack says that a higher ballot was promised; Leader is whom its sender hears.
	Nack struct {
		Ballot   ballot
		Promised ballot
		Leader   lab.Node
	}
	// Learn tells chosen values, for the slots from one on.
	Learn struct {
		From   int
		Values []value
	}
	// Heartbeat is the leader's sign of life; everything up to Chosen is chosen.
	Heartbeat struct {
		Ballot ballot
		Chosen int
		Round  uint64
	}
	// Pong answers a heartbeat: nothing above its ballot is promised here.
	Pong struct {
		Ballot ballot
		Round  uint64
	}
	// CatchUp asks the leader for what was chosen from a slot on.
	CatchUp struct{ From int }
)

func (P1a) Name() string       { return "P1a" }
func (P1b) Name() string       { return "P1b" }
func (P2a) Name() string       { return "P2a" }
func (P2b) Name() string       { return "P2b" }
func (Nack) Name() string      { return "Nack" }
func (Learn) Name() string     { return "Learn" }
func (Heartbeat) Name() string { return "Heartbeat" }
func (Pong) Name() string      { return "Pong" }
func (CatchUp) Name() string   { return "CatchUp" }

func (m P1a) Fields() []trace.Field {
	return []trace.Field{trace.Num("ballot", uint64(m.Ballot)), trace.Num("from", uint64(m.From))}
}

func (m P1b) Fields() []trace.Field {
	return []trace.Field{trace.Num("ballot", uint64(m.Ballot)), trace.Num("accepted", uint64(len(m.Accepted)))}
}

func (m P1b) Bytes() int { return 16 + 8 + len(m.Accepted)*acceptanceBytes }

func (m P2a) Fields() []trace.Field {
	return []trace.Field{trace.Num("ballot", uint64(m.Ballot)), trace.Num("slot", uint64(m.Slot)), trace.Num("operation", m.Value.Op), trace.Num("proposed", m.Value.Epoch)}
}

func (m P2b) Fields() []trace.Field {
	return []trace.Field{trace.Num("ballot", uint64(m.Ballot)), trace.Num("slot", uint64(m.Slot))}
}

func (m Nack) Fields() []trace.Field {
	return []trace.Field{trace.Num("ballot", uint64(m.Ballot)), trace.Num("promised", uint64(m.Promised)), trace.Num("leader", m.Leader)}
}

func (m Learn) Fields() []trace.Field {
	fields := []trace.Field{trace.Num("from", uint64(m.From)), trace.Num("count", uint64(len(m.Values)))}
	if len(m.Values) == 1 {
		fields = append(fields, trace.Num("operation", m.Values[0].Op))
	}
	return fields
}

func (m Learn) Bytes() int { return 16 + 8 + len(m.Values)*3*8 }

func (m Heartbeat) Fields() []trace.Field {
	return []trace.Field{trace.Num("ballot", uint64(m.Ballot)), trace.Num("chosen", uint64(m.Chosen)), trace.Num("round", m.Round)}
}

func (m Pong) Fields() []trace.Field {
	return []trace.Field{trace.Num("ballot", uint64(m.Ballot)), trace.Num("round", m.Round)}
}

func (m CatchUp) Fields() []trace.Field { return []trace.Field{trace.Num("from", uint64(m.From))} }

// The records of an acceptor's journal.
type (
	promiseRecord struct{ ballot ballot }
	acceptRecord  struct {
		ballot ballot
		slot   int
		value  value
	}
	chosenRecord struct {
		slot  int
		value value
	}
)

func (promiseRecord) Name() string { return "promise" }
func (acceptRecord) Name() string  { return "accept" }
func (chosenRecord) Name() string  { return "chosen" }

func (r promiseRecord) Fields() []trace.Field {
	return []trace.Field{trace.Num("ballot", uint64(r.ballot))}
}

func (r acceptRecord) Fields() []trace.Field {
	return []trace.Field{trace.Num("ballot", uint64(r.ballot)), trace.Num("slot", uint64(r.slot)), trace.Num("operation", r.value.Op), trace.Num("proposed", r.value.Epoch)}
}

func (r chosenRecord) Fields() []trace.Field {
	return []trace.Field{trace.Num("slot", uint64(r.slot)), trace.Num("operation", r.value.Op), trace.Num("proposed", r.value.Epoch)}
}
