package host

import (
	"errors"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

func TestEveryMemberAppliesTheSameCommandsInOrderM41(t *testing.T) {
	w := newWorld(t, 3, 1)
	n := w.leader(1)
	var clients []ClientID
	for _, p := range proposals(20) {
		clients = append(clients, n.propose(1, p))
	}
	w.run(50 * id.Millisecond)
	for i, c := range clients {
		if r := n.want(c, Done); string(r.Result) != "did "+proposals(20)[i] {
			t.Errorf("proposal %d got %q", i, r.Result)
		}
	}
	for _, n := range w.nodes {
		if !slices.Equal(n.log[1], proposals(20)) {
			t.Errorf("%s applied %v", n.id, n.log[1])
		}
	}
}

func TestProposalsOfOnePassLeaveAsOnePersist(t *testing.T) {
	w := newWorld(t, 3, 1, 2)
	n := w.leader(1)
	w.leader(2)
	if m, _ := n.host.Group(2); m.Role != raft.Leader {
		n.in = append(n.in, Campaign{Group: 2})
		w.run(200 * id.Millisecond)
	}
	n.passes = nil
	for _, p := range proposals(30) {
		n.propose(1, p)
		n.propose(2, p)
	}
	w.step()
	var persists []Persist
	for _, e := range n.passes[0] {
		if p, ok := e.(Persist); ok {
			persists = append(persists, p)
		}
	}
	if len(persists) != 1 || n.passes[0][0].(Persist).Token != persists[0].Token {
		t.Fatalf("%d Persists in the pass, want one, first", len(persists))
	}
	entries := 0
	for _, g := range persists[0].Writes {
		entries += len(g.Entries)
	}
	if entries != 60 {
		t.Fatalf("the Persist holds %d entries of both groups, want 60", entries)
	}
}

func TestAcknowledgementWaitsForTheDisk(t *testing.T) {
	w := newWorld(t, 3, 1)
	n := w.leader(1)
	for _, f := range w.nodes {
		f.hold = f != n // followers' disks stall
	}
	c := n.propose(1, "x")
	w.run(20 * id.Millisecond)
	n.pending(c)
	f := w.follower(n)
	f.hold = false
	f.flush()
	w.run(20 * id.Millisecond)
	n.want(c, Done)
}

func TestFollowerForwardsAndAnswersFromItsOwnApply(t *testing.T) {
	w := newWorld(t, 3, 1)
	n := w.leader(1)
	f := w.follower(n)
	c := f.propose(1, "from a follower")
	w.run(100 * id.Millisecond)
	if r := f.want(c, Done); string(r.Result) != "did from a follower" {
		t.Errorf("the follower's client got %q", r.Result)
	}
	if f.applied < f.ended[c].Index {
		t.Errorf("answered at index %d, applied %d", f.ended[c].Index, f.applied)
	}
}

func TestProposalWaitsForALeaderAndIsCancelledWithTheTruth(t *testing.T) {
	w := newWorld(t, 3, 1)
	n := w.nodes[0]
	early := n.propose(1, "before any leader")
	given := n.propose(1, "given up")
	w.step()
	n.pending(early)
	n.in = append(n.in, Cancel{Group: 1, Client: given})
	w.step()
	n.want(given, Refused)
	w.leader(1)
	w.run(100 * id.Millisecond)
	n.want(early, Done)
	for _, m := range w.nodes {
		if !slices.Equal(m.log[1], []string{"before any leader"}) {
			t.Errorf("%s applied %v", m.id, m.log[1])
		}
	}
}

func TestOverwrittenProposalIsRefusedAndOnlyThen(t *testing.T) {
	w := newWorld(t, 3, 1)
	old := w.leader(1)
	w.cut = func(from, to id.NodeID) bool { return from == old.id || to == old.id }
	lost := old.next()
	old.in = append(old.in, Propose{Group: 1, Client: lost, Data: []byte("lost")})
	again := old.propose(1, "sent again")
	w.run(id.Millisecond * 10)
	old.pending(lost)
	for _, n := range w.nodes {
		if n != old {
			n.in = append(n.in, Campaign{Group: 1})
		}
	}
	w.run(2 * id.Second) // the old leader steps down; the proposal may still live
	old.pending(lost)
	w.cut = func(id.NodeID, id.NodeID) bool { return false }
	w.run(2 * id.Second)
	n := w.leader(1)
	c := n.propose(1, "kept")
	w.run(200 * id.Millisecond)
	n.want(c, Done)
	old.want(lost, Refused)
	old.want(again, Done)
	slices.Sort(old.log[1])
	if !slices.Equal(old.log[1], []string{"kept", "sent again"}) {
		t.Errorf("the old leader applied %v", old.log[1])
	}
}

// The leader dies with a follower's proposal in every state: not received, in its
// log only, replicated but not applied. It is applied once in each case.
func TestForwardedProposalSurvivesTheLeadersDeathOnce(t *testing.T) {
	for steps := range 12 {
		w := newWorld(t, 3, 1)
		old := w.leader(1)
		f := w.follower(old)
		c := f.propose(1, "once")
		for range steps {
			w.step()
		}
		old.crashed = true
		w.run(2 * id.Second)
		f.want(c, Done)
		for _, n := range w.nodes {
			if n != old && !slices.Equal(n.log[1], []string{"once"}) {
				t.Errorf("the leader died after %d steps: %s applied %v", steps, n.id, n.log[1])
			}
		}
	}
}

// Every Ask and Answer may be lost, doubled and late: still once.
func TestForwardedProposalIsAppliedOnceUnderLossAndDoubling(t *testing.T) {
	for seed := range uint64(200) {
		w := newWorld(t, 3, 1)
		w.leader(1)
		random := seed*2654435761 + 1
		chance := func(percent uint64) bool {
			random ^= random << 13
			random ^= random >> 7
			random ^= random << 17
			return random%100 < percent
		}
		var late []letter
		var clients []ClientID
		f := w.nodes[seed%3]
		for i := range 100 {
			if i < 40 {
				clients = append(clients, f.propose(1, proposals(40)[i]))
			}
			if i == 20 || i == 60 {
				w.nodes[(seed+uint64(i)/20)%3].in = append(w.nodes[(seed+uint64(i)/20)%3].in, Campaign{Group: 1}, Transfer{Group: 1, Client: ClientID(1000 + i)})
			}
			w.holdMsg = true
			w.step()
			var kept []letter
			for _, l := range w.mail {
				switch l.event().(type) {
				case Asked, Answered:
					if chance(30) {
						late = append(late, l)
					}
					if chance(30) {
						continue
					}
				}
				kept = append(kept, l)
			}
			w.mail = kept
			if chance(20) {
				w.mail = append(w.mail, late...)
				late = nil
			}
			w.holdMsg = false
			w.deliver()
			w.now = w.now.Add(3 * id.Millisecond)
		}
		// What was lost is an Ask that ends unknown.
		for _, n := range w.nodes {
			for ask := range uint64(400) {
				n.in = append(n.in, Answered{ID: ask, Unknown: true})
			}
		}
		w.run(2 * id.Second)
		for _, c := range clients {
			if r, ok := f.ended[c]; !ok || r.Outcome != Done {
				t.Fatalf("seed %d: client %d: %+v %v", seed, c, r, ok)
			}
		}
		got := slices.Clone(f.log[1])
		slices.Sort(got)
		want := proposals(40)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: applied %v", seed, got)
		}
	}
}

func TestCancelledProposalThatIsPlacedIsUnknown(t *testing.T) {
	w := newWorld(t, 3, 1)
	n := w.leader(1)
	w.cut = func(id.NodeID, id.NodeID) bool { return true }
	c := n.propose(1, "x")
	w.step()
	n.in = append(n.in, Cancel{Group: 1, Client: c})
	w.step()
	n.want(c, Unknown)
}

func TestReadIsServedAtEveryMemberBehindWhatWasAcknowledged(t *testing.T) {
	w := newWorld(t, 3, 1)
	n := w.leader(1)
	c := n.propose(1, "x")
	w.run(20 * id.Millisecond)
	written := n.want(c, Done).Index
	for _, m := range w.nodes {
		r := m.next()
		m.in = append(m.in, Read{Group: 1, Client: r})
		w.run(100 * id.Millisecond)
		at, ok := m.reads[r]
		if !ok || at < written {
			t.Errorf("%s: read at %d (%v), want at least %d", m.id, at, ok, written)
		}
		if m.applied < at {
			t.Errorf("%s: read released at %d before it was applied (%d)", m.id, at, m.applied)
		}
	}
}

func TestMachineInMemoryIsSnapshottedAfterSoManyEntries(t *testing.T) {
	w := newWorld(t, 1, 1)
	n := w.leader(1)
	for _, p := range proposals(25) {
		n.propose(1, p)
		w.run(id.Millisecond)
	}
	snapshots := 0
	for _, e := range n.other {
		if _, ok := e.(Snapshot); ok {
			snapshots++
		}
	}
	if snapshots != 1 {
		t.Fatalf("%d snapshots were asked for while the first was not saved, want 1", snapshots)
	}
	n.in = append(n.in, SnapshotSaved{Group: 1, Index: 11})
	for _, p := range proposals(12) {
		n.propose(1, p)
		w.run(id.Millisecond)
	}
	if len(n.other) != 2 {
		t.Fatalf("%v, want a second snapshot after another 10 entries", n.other)
	}
}

func TestStopEndsEveryClientTruthfully(t *testing.T) {
	w := newWorld(t, 3, 1)
	n := w.leader(1)
	w.cut = func(id.NodeID, id.NodeID) bool { return true }
	placed := n.propose(1, "x")
	read := n.next()
	n.in = append(n.in, Read{Group: 1, Client: read})
	w.step()
	n.in = append(n.in, Stop{Group: 1})
	w.step()
	n.want(placed, Unknown)
	n.want(read, Refused)
	late := n.propose(1, "late")
	w.step()
	n.want(late, Refused)
}

func TestFailedDiskStopsEveryGroup(t *testing.T) {
	w := newWorld(t, 1, 1, 2)
	n := w.leader(1)
	w.leader(2)
	n.hold = true
	c := n.propose(1, "x")
	w.step()
	n.in = append(n.in, DiskFailed{Err: errors.New("fsync: input/output error")})
	w.step()
	n.want(c, Unknown)
	for _, g := range []id.GroupID{0, 1, 2} {
		if n.halted[g] == nil {
			t.Errorf("group %d goes on", g)
		}
	}
	d := n.propose(2, "y")
	w.step()
	n.want(d, Refused)
}

func TestCleanHandOverLosesNoProposalM75(t *testing.T) {
	w := newWorld(t, 3, 1)
	n := w.leader(1)
	var clients []ClientID
	for i, p := range proposals(30) {
		clients = append(clients, n.propose(1, p))
		if i == 10 {
			n.in = append(n.in, Transfer{Group: 1, Client: 999})
		}
		w.run(id.Millisecond)
	}
	w.run(300 * id.Millisecond)
	n.want(999, Done)
	if s, _ := n.host.Group(1); s.Role == raft.Leader {
		t.Error("the leader is still in office")
	}
	for _, c := range clients {
		n.want(c, Done)
	}
	if len(n.log[1]) != 30 {
		t.Errorf("%d applied, want each once", len(n.log[1]))
	}
}

func TestProposalOfAnEarlierLifeIsNotTakenForThisOnes(t *testing.T) {
	h, err := New(Config{Self: id.NodeID{Node: 1}, Boot: 2})
	if err != nil {
		t.Fatal(err)
	}
	earlier := raft.ProposalID{Origin: id.NodeID{Node: 1}, Sequence: 1<<clientBits | 7}
	if c := h.clientOf(earlier); c != 0 {
		t.Errorf("a proposal of boot 1 belongs to client %d of boot 2", c)
	}
	if c := h.clientOf(h.proposalID(7)); c != 7 {
		t.Errorf("own proposal belongs to client %d, want 7", c)
	}
}

func TestMalformedAsksAreAnsweredAsRefusals(t *testing.T) {
	w := newWorld(t, 1, 1)
	n := w.leader(1)
	w.holdMsg = true // the answers go nowhere
	full := appendForward(nil, 1, raft.ProposalID{Origin: id.NodeID{Node: 9}, Sequence: 4}, 0, []byte("x"))
	for cut := range full[:len(full)-1] {
		n.in = append(n.in, Asked{From: id.NodeID{Node: 9}, ID: 1, Data: full[:cut]})
		n.in = append(n.in, Answered{ID: uint64(cut), Data: full[:cut]})
	}
	before := n.applied
	w.step()
	if len(n.halted) > 0 || n.applied != before {
		t.Fatalf("halted: %v; applied %d, want %d", n.halted, n.applied, before)
	}
	for _, l := range w.mail {
		if a, err := parseAnswer(l.event().(Answered).Data); err != nil || a.why == 0 {
			t.Errorf("a malformed request was answered %+v, %v", a, err)
		}
	}
	if len(w.mail) < len(full)-3 {
		t.Errorf("%d answers to %d malformed requests", len(w.mail), len(full)-1)
	}
}

// The write-ahead rule: a committed entry waits for this member's own log before
// it reaches the state machine.
func TestNothingIsAppliedBeforeItIsInTheLogM79(t *testing.T) {
	w := newWorld(t, 3, 1)
	n := w.leader(1)
	slow := w.follower(n)
	slow.hold = true
	before := slow.applied
	c := n.propose(1, "x")
	w.run(20 * id.Millisecond)
	n.want(c, Done) // committed by the other two
	if s, _ := slow.host.Group(1); slow.applied != before || s.Durable >= n.ended[c].Index {
		t.Fatalf("applied %d with a log durable to %d", slow.applied, s.Durable)
	}
	slow.hold = false
	slow.flush()
	w.run(20 * id.Millisecond)
	if slow.applied < n.ended[c].Index {
		t.Errorf("applied %d after its log had everything, want %d", slow.applied, n.ended[c].Index)
	}
}
