// Package quorum is the arithmetic of majorities: which index a majority has,
// how a vote ended, for one voter set and for the two of a joint configuration
// (Raft paper §5.3, §6; thesis §4.3).
//
//	Incoming  n1 n2 n3       match 7 5 2  →  5 is on n1 and n2
//	Outgoing     n2 n3 n4    match 5 2 2  →  2 is on n2, n3 and n4
//	joint: both must agree                →  2
//
// The caller passes functions, so that a leader's own acknowledgement, a missing
// peer or a learner is the caller's affair and no map is built per question.
// Nothing here allocates for nine voters or fewer.
//
// An empty majority agrees with everything: it stands for the absent outgoing
// half. A whole configuration without voters must therefore never be asked;
// membership.Config.Validate refuses it wherever a configuration is made.
package quorum

import (
	"math"

	"github.com/quorate/quorate/internal/id"
)

// Majority is a set of voters, sorted by id, each once. More than half of them
// decide.
type Majority []id.NodeID

// Outcome is how a vote stands.
type Outcome uint8

const (
	Pending Outcome = iota // those who have not answered can still turn it either way
	Won                    // a majority granted
	Lost                   // no majority can grant any more
)

func (o Outcome) String() string {
	switch o {
	case Pending:
		return "pending"
	case Won:
		return "won"
	case Lost:
		return "lost"
	}
	return "invalid outcome"
}

// Size is how many voters decide: more than half. 0 for the empty majority.
func (m Majority) Size() int {
	if len(m) == 0 {
		return 0
	}
	return len(m)/2 + 1
}

// inline is how many voters are handled without an allocation: more than any
// sensible group has in one half.
const inline = 9

// Committed returns the highest index that a majority has, when match says up to
// where each voter's log is known equal and durable. It is the largest Index if
// m is empty. Whether an entry there may be committed is for raft to say: only
// one of its own term counts (Raft paper §5.4.2).
func (m Majority) Committed(match func(id.NodeID) id.Index) id.Index {
	if len(m) == 0 {
		return math.MaxUint64
	}
	var array [inline]id.Index
	sorted := array[:0]
	if len(m) > inline {
		sorted = make([]id.Index, 0, len(m))
	}
	// Insertion sort, greatest first: a handful of numbers, nearly in order
	// most of the time.
	for _, voter := range m {
		index := match(voter)
		at := len(sorted)
		sorted = append(sorted, index)
		for at > 0 && sorted[at-1] < index {
			sorted[at] = sorted[at-1]
			at--
		}
		sorted[at] = index
	}
	return sorted[m.Size()-1]
}

// Vote returns how a vote stands, when vote says what each voter answered.
// granted is looked at only if voted is true. The empty majority is Won.
func (m Majority) Vote(vote func(id.NodeID) (granted, voted bool)) Outcome {
	yes, open := 0, 0
	for _, voter := range m {
		granted, voted := vote(voter)
		switch {
		case !voted:
			open++
		case granted:
			yes++
		}
	}
	switch {
	case yes >= m.Size():
		return Won
	case yes+open >= m.Size():
		return Pending
	}
	return Lost
}

// Joint is the two halves that must both decide while a configuration is joint.
// Outgoing is empty otherwise.
type Joint struct{ Incoming, Outgoing Majority }

// Committed returns the highest index that both majorities have.
func (j Joint) Committed(match func(id.NodeID) id.Index) id.Index {
	return min(j.Incoming.Committed(match), j.Outgoing.Committed(match))
}

// Vote is Won if both halves won, Lost as soon as one has, Pending otherwise.
func (j Joint) Vote(vote func(id.NodeID) (granted, voted bool)) Outcome {
	in, out := j.Incoming.Vote(vote), j.Outgoing.Vote(vote)
	switch {
	case in == Lost || out == Lost:
		return Lost
	case in == Won && out == Won:
		return Won
	}
	return Pending
}
