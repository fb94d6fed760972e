package paxos

import (
	"testing"

	"github.com/quorate/quorate/lab"
)

func op(n uint64) value { return value{Entry: lab.Entry{Op: n}} }

// An acceptor that starts again is what its journal says: the highest promise, the
// last acceptance of every slot, and what it knew to be chosen.
func TestTheJournalIsTheAcceptor(t *testing.T) {
	a := newAcceptor(lab.Config{})
	a.restore(&lab.Turn{}, []lab.Body{
		promiseRecord{11}, acceptRecord{11, 1, op(1)}, acceptRecord{11, 3, op(3)}, promiseRecord{25},
		acceptRecord{25, 1, op(2)}, chosenRecord{1, op(2)},
	})
	if a.promised != 25 || a.decided() != 1 || a.last() != 3 {
		t.Errorf("promised %d, decided %d, last %d", a.promised, a.decided(), a.last())
	}
	report := a.report(1)
	want := []acceptance{{1, 25, op(2), true}, {3, 11, op(3), false}}
	if len(report) != 2 || report[0] != want[0] || report[1] != want[1] {
		t.Errorf("tells %+v", report)
	}
	if e := a.log.At(2); e.Kind != "hole" || e.Op != 0 {
		t.Errorf("slot 2 is %+v", e)
	}
	if late := a.report(2); len(late) != 1 || late[0].slot != 3 {
		t.Errorf("from 2 on it tells %+v", late)
	}
}

// What is chosen behind a gap is not applied until the gap is filled.
func TestChosenBehindAGapWaits(t *testing.T) {
	a := newAcceptor(lab.Config{})
	turn := &lab.Turn{}
	a.choose(turn, 2, op(2))
	a.choose(turn, 4, op(4))
	if a.decided() != 0 {
		t.Errorf("applies up to %d", a.decided())
	}
	a.choose(turn, 1, op(1))
	if a.decided() != 2 {
		t.Errorf("applies up to %d, want 2", a.decided())
	}
	a.choose(turn, 3, op(3))
	if a.decided() != 4 || len(a.chosen(2, 2)) != 2 || len(a.chosen(1, 100)) != 4 {
		t.Errorf("applies up to %d", a.decided())
	}
	a.choose(turn, 3, op(9))
	if a.at(3).value != op(3) {
		t.Error("what was applied was replaced")
	}
}

// Of two acceptances of a slot the one of the higher ballot is heard (R2); one that
// is chosen ends the question.
func TestTheHighestBallotIsHeard(t *testing.T) {
	m := &multi{}
	m.hear(acceptance{slot: 5, ballot: 12, value: op(1)})
	m.hear(acceptance{slot: 3, ballot: 31, value: op(2)})
	m.hear(acceptance{slot: 5, ballot: 21, value: op(3)})
	m.hear(acceptance{slot: 5, ballot: 13, value: op(4)})
	m.hear(acceptance{slot: 3, ballot: 0, value: op(5), chosen: true})
	m.hear(acceptance{slot: 3, ballot: 41, value: op(6)})
	if len(m.told) != 2 || m.told[0].value != op(5) || m.told[1].value != op(3) {
		t.Errorf("heard %+v", m.told)
	}
}

// Ballots are ordered by round, then by node, and no two nodes draw the same.
func TestBallots(t *testing.T) {
	if b := newBallot(2, 3); b != 23 || b.round() != 2 || b.node() != 3 {
		t.Errorf("ballot %d of round %d and node %d", b, b.round(), b.node())
	}
	if newBallot(2, 1) <= newBallot(1, 9) || newBallot(2, 3) <= newBallot(2, 2) {
		t.Error("a later round, or a higher node in the same round, must be above")
	}
}
