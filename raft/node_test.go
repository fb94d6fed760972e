package raft

import (
	"testing"

	"github.com/quorate/quorate/internal/id"
)

func TestThreeNodesElectReplicateAndApplyM4M30(t *testing.T) {
	w := cluster(t, 3)
	l := w.elect(t)
	w.settle(nil)
	for i := 0; i < 10; i++ {
		l.give(w, command(i))
	}
	w.settle(nil)
	for _, m := range w.members {
		if m.applied != 11 {
			t.Errorf("%v applied %d entries, want 11: the leader's own and ten commands", m.id, m.applied)
		}
	}
	if w.oracle.violation != "" {
		t.Fatal(w.oracle.violation)
	}
}

func TestASingleVoterLeadsAtOnce(t *testing.T) {
	w := cluster(t, 1)
	w.settle(nil)
	m := w.members[0]
	m.give(w, command(1))
	w.settle(nil)
	if w.now != 0 || m.applied != 2 {
		t.Fatalf("at %d ns applied %d, want 2 at once", w.now, m.applied)
	}
	_ = id.None
}
