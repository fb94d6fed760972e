package mongo

import (
	"testing"

	"github.com/quorate/quorate/lab"
)

func at(term, stamp uint64) opTime { return opTime{Term: term, Stamp: stamp} }

func filled(t *lab.Turn, times ...opTime) *oplog {
	o := &oplog{log: lab.NewLog()}
	for i, x := range times {
		o.append(t, lab.Entry{Op: uint64(i + 1), Epoch: x.Term}, x)
	}
	return o
}

// The term comes before the stamp; find gives the newest entry that is not newer.
func TestFind(t *testing.T) {
	o := filled(&lab.Turn{}, at(1, 10), at(1, 20), at(3, 5))
	for _, c := range []struct {
		x        opTime
		position int
		exact    bool
	}{
		{opTime{}, 0, true}, {at(1, 5), 0, false}, {at(1, 10), 1, true}, {at(1, 15), 1, false},
		{at(2, 99), 2, false}, {at(3, 5), 3, true}, {at(3, 6), 3, false},
	} {
		if p, exact := o.find(c.x); p != c.position || exact != c.exact {
			t.Errorf("find(%v) = %d, %v, want %d, %v", c.x, p, exact, c.position, c.exact)
		}
	}
}

// An fsync that was asked for before a rollback says nothing of what was appended
// behind it.
func TestTruncationForgetsWhatWasBeingSynced(t *testing.T) {
	turn := &lab.Turn{}
	o := filled(turn, at(1, 1), at(1, 2), at(1, 3))
	o.sync(turn)
	early := o.pending[0].token
	o.truncate(turn, 1)
	o.append(turn, lab.Entry{Op: 9}, at(2, 1))
	o.append(turn, lab.Entry{Op: 10}, at(2, 2))
	o.synced(early)
	if o.durable != 1 {
		t.Errorf("%d positions count as durable, want 1", o.durable)
	}
	o.sync(turn)
	o.synced(o.pending[len(o.pending)-1].token)
	if o.durable != 3 || len(o.pending) != 0 {
		t.Errorf("%d durable, %d pending", o.durable, len(o.pending))
	}
}

// What the journal holds makes the same log again, rollbacks included.
func TestReplay(t *testing.T) {
	o := &oplog{log: lab.NewLog()}
	o.replay([]lab.Body{
		insert{at(1, 1), lab.Entry{Op: 1}}, insert{at(1, 2), lab.Entry{Op: 2}}, truncation{Keep: 1},
		insert{at(2, 1), lab.Entry{Op: 3}},
	})
	if o.log.Len() != 2 || o.log.At(2).Op != 3 || o.last() != at(2, 1) || o.durable != 2 {
		t.Errorf("%d entries, last %v, %d durable", o.log.Len(), o.last(), o.durable)
	}
}

// Five members, quorum three: the third newest is what a majority has.
func TestMajority(t *testing.T) {
	m := &member{c: lab.Config{Self: 1, Voters: []lab.Node{1, 2, 3, 4, 5}}, oplog: filled(&lab.Turn{}, at(1, 9))}
	for i, x := range []uint64{3, 7, 5, 1} {
		m.peers = append(m.peers, &peer{node: lab.Node(i + 2), acked: at(1, x)})
	}
	if x := m.majority(); x != at(1, 5) {
		t.Errorf("a majority has %v, want stamp 5", x)
	}
}
