package raft

import (
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
)

// The paper from §5.3 on, and what the mission adds to it: replication, losses, the
// remaining pairs of messages, options and restoring.

// ---- §5.3 replication

func TestOnlyTheLeaderTakesProposalsM29(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.from(2, Heartbeat{Term: 1})
	for _, e := range b.m.give(b.world, command(1)) {
		if r, ok := e.(Refused); ok {
			if r.Why != NotLeader || r.Leader != nid(2) {
				t.Fatalf("%+v", r)
			}
			return
		}
	}
	t.Fatal("a follower did not refuse a proposal")
}

func TestAnEntryIsCommittedOnAMajorityThenAppliedThenToldM30M40(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.lead(t)
	b.from(2, AppendAccepted{Term: 1, Match: 1})
	sent := b.give(command(7))
	if count[Append](sent) != 1 || b.m.node.commit != 1 { // n3 is still probed
		t.Fatalf("commit %d, sent %v", b.m.node.commit, sent)
	}
	sent = b.from(2, AppendAccepted{Term: 1, Match: 2})
	if b.m.node.commit != 2 || b.m.applied != 2 {
		t.Fatalf("commit %d, applied %d", b.m.node.commit, b.m.applied)
	}
	if h := one[Heartbeat](t, sent); h.Commit != 2 {
		t.Fatalf("n2 is told at once, got %v", sent)
	}
}

func TestCommitIsTheGreatestOnAMajorityM40(t *testing.T) {
	for _, x := range []struct {
		acks []id.Index
		want id.Index
	}{{[]id.Index{5, 5, 0, 0}, 5}, {[]id.Index{5, 3, 0, 0}, 3}, {[]id.Index{2, 3, 4, 5}, 4}, {[]id.Index{5, 0, 0, 0}, 0}, {[]id.Index{1, 1, 1, 1}, 1}} {
		b := newBench(t, 5, HardState{})
		b.lead(t)
		for i := 0; i < 4; i++ {
			b.give(command(i))
		}
		for i, a := range x.acks {
			b.from(i+2, AppendAccepted{Term: 1, Match: a})
		}
		if b.m.node.commit != x.want {
			t.Errorf("acknowledged %v: commit %d, want %d", x.acks, b.m.node.commit, x.want)
		}
	}
}

func TestPrecedingEntriesAreCommittedTooM40(t *testing.T) {
	for _, terms := range [][]id.Term{nil, {2}, {1, 2}, {1}} {
		b := newBench(t, 3, HardState{Term: 2}, terms...)
		b.lead(t)
		b.from(2, AppendAccepted{Term: 3, Match: b.m.node.log.last})
		if b.m.applied != id.Index(len(terms)+1) {
			t.Errorf("%v: applied %d", terms, b.m.applied)
		}
	}
}

func TestProgressStartsBehindTheLogAndMatchOnlyGrowsM32M77(t *testing.T) {
	b := newBench(t, 3, HardState{}, 1, 1, 1)
	b.lead(t)
	if p := b.m.node.Status().Progress[0]; p.Match != 0 || p.Next != 4 || p.State != Probe {
		t.Fatalf("%+v", p)
	}
	b.from(2, AppendAccepted{Term: 2, Match: 4})
	b.from(2, AppendAccepted{Term: 2, Match: 2})
	b.from(2, AppendRejected{Term: 2, Prev: 3, HintIndex: 1, HintTerm: 1})
	if p := b.m.node.Status().Progress[0]; p.Match != 4 || p.State != Replicate {
		t.Fatalf("after late answers: %+v", p)
	}
}

func TestFollowerChecksThePreviousEntryM35M62(t *testing.T) {
	for _, x := range []struct {
		prev id.Index
		term id.Term
		ok   bool
	}{{0, 0, true}, {1, 1, true}, {2, 2, true}, {1, 2, false}, {2, 1, false}, {3, 3, false}} {
		b := newBench(t, 3, HardState{Term: 2}, 1, 2)
		sent := b.from(2, Append{Term: 3, Prev: x.prev, PrevTerm: x.term})
		if got := count[AppendAccepted](sent) == 1; got != x.ok || count[AppendRejected](sent) == 1 == x.ok {
			t.Errorf("behind (%d, term %d): %v", x.prev, x.term, sent)
		}
	}
}

func TestConflictingSuffixIsDeletedM36M37(t *testing.T) {
	// The mission's example: leader [a b c d e f], follower [a b k].
	b := newBench(t, 3, HardState{Term: 2}, 1, 1, 2)
	b.from(2, Append{Term: 3, Prev: 2, PrevTerm: 1, Entries: []Entry{data(3, 3, "c")}})
	if l := logText(b.m); l != "1 1 3" || string(b.m.image.entries[2].Data) != "c" {
		t.Fatalf("log %s, k is %q", l, b.m.image.entries[2].Data)
	}
	b.from(2, Append{Term: 3, Prev: 3, PrevTerm: 3, Entries: []Entry{data(4, 3, "d"), data(5, 3, "e"), data(6, 3, "f")}})
	if l := logText(b.m); l != "1 1 3 3 3 3" {
		t.Fatalf("log %s", l)
	}
	for _, x := range []struct {
		prev    id.Index
		term    id.Term
		entries []id.Term
		want    string
	}{
		{2, 2, []id.Term{3}, "1 2 3"}, {1, 1, []id.Term{3, 4}, "1 3 4"}, {0, 0, []id.Term{1}, "1 2"},
		{0, 0, []id.Term{3}, "3"}, {1, 1, nil, "1 2"}, {0, 0, []id.Term{1, 2}, "1 2"},
	} {
		b := newBench(t, 3, HardState{Term: 2}, 1, 2)
		m := Append{Term: 4, Prev: x.prev, PrevTerm: x.term}
		for i, e := range x.entries {
			m.Entries = append(m.Entries, data(x.prev+id.Index(i)+1, e, "x"))
		}
		b.from(2, m)
		if l := logText(b.m); l != x.want {
			t.Errorf("behind %d %v: log %s, want %s", x.prev, x.entries, l, x.want)
		}
	}
}

func TestFollowerCommitsTheLesserOfTheLeadersAndTheLastVerifiedM38(t *testing.T) {
	for _, x := range []struct {
		entries []Entry
		commit  id.Index
		want    id.Index
	}{
		{nil, 9, 1}, {[]Entry{data(2, 2, "b")}, 9, 2}, {[]Entry{data(2, 2, "b")}, 1, 1}, {[]Entry{data(2, 2, "b")}, 2, 2},
	} {
		b := newBench(t, 3, HardState{Term: 2}, 1, 2, 2)
		b.from(2, Append{Term: 2, Prev: 1, PrevTerm: 1, Commit: x.commit, Entries: x.entries})
		if b.m.node.commit != x.want {
			t.Errorf("%d entries, leader's commit %d: %d, want %d", len(x.entries), x.commit, b.m.node.commit, x.want)
		}
	}
}

func TestPipelinedRequestsOverlapM33(t *testing.T) {
	// Log [1..6] at the leader, [1 2] at the follower, requests [3 4] and [5 6].
	b := newBench(t, 3, HardState{}, 1)
	b.lead(t) // entry 2 is the leader's own
	b.from(2, AppendAccepted{Term: 2, Match: 2})
	two := func(n int) Propose {
		return Propose{Proposals: []Proposal{{ID: ProposalID{nid(9), uint64(n)}}, {ID: ProposalID{nid(9), uint64(n + 1)}}}}
	}
	first := one[Append](t, b.give(two(1)))
	second := one[Append](t, b.give(two(3)))
	if first.Prev != 2 || len(first.Entries) != 2 || second.Prev != 4 || len(second.Entries) != 2 {
		t.Fatalf("%s and %s", messageText(first), messageText(second))
	}
	b.from(2, AppendAccepted{Term: 2, Match: 4}) // 1 to 4 replicated, 5 and 6 in flight
	if p := b.m.node.Status().Progress[0]; p.Match != 4 || p.Next != 7 || b.m.node.commit != 4 {
		t.Fatalf("%+v, commit %d", p, b.m.node.commit)
	}
}

func TestReplicatedInFlightAndNotStartedM42(t *testing.T) {
	// Indexes 1 to 4 are replicated, 5 is in flight, 6 is not started: the window
	// is one append, or one entry, or fewer bytes than two entries.
	for name, limit := range map[string]func(*Config){
		"messages": func(c *Config) { c.WindowMessages = 1 },
		"entries":  func(c *Config) { c.WindowEntries = 1 },
		"bytes":    func(c *Config) { c.WindowBytes = 1 },
	} {
		b := newBench(t, 3, HardState{}, 1, 1, 1)
		b.lead(t) // entry 4
		b.from(2, AppendAccepted{Term: 2, Match: 4})
		limit(&b.m.node.cfg)
		if a := one[Append](t, b.give(command(5))); a.Prev != 4 || len(a.Entries) != 1 {
			t.Fatalf("%s: %s", name, messageText(a))
		}
		if sent := b.give(command(6)); count[Append](sent) != 0 {
			t.Errorf("%s: the window is full, sent %v", name, sent)
		}
		if p := b.m.node.Status().Progress[0]; p.Match != 4 || p.Next != 6 {
			t.Errorf("%s: %+v", name, p)
		}
		if a := one[Append](t, b.from(2, AppendAccepted{Term: 2, Match: 5})); a.Prev != 5 || len(a.Entries) != 1 {
			t.Errorf("%s: after room was made: %s", name, messageText(a))
		}
	}
}

func TestALongDivergentTailCostsARoundPerTermM39(t *testing.T) {
	// 3000 entries of terms that the leader does not have, in 3 terms; it has 3
	// others. One by one it would be 3000 rounds.
	w := newWorld()
	make := func(n int, terms ...id.Term) {
		d := disk{start: LogStart{Config: voters(3)}, hard: HardState{Term: 9}}
		for i := 0; i < 10; i++ {
			d.entries = append(d.entries, data(id.Index(i+1), 1, "same"))
		}
		for _, term := range terms {
			for i := 0; i < 1000; i++ {
				d.entries = append(d.entries, data(d.last()+1, term, "x"))
			}
		}
		w.add(testConfig(nid(n)), d)
	}
	make(1, 3, 5, 9)
	make(2, 3, 5, 9)
	make(3, 2, 4, 6)
	for _, m := range w.members {
		if err := m.start(w); err != nil {
			t.Fatal(err)
		}
	}
	rejections := 0
	w.member(nid(1)).give(w, Campaign{})
	w.settle(func(p packet) bool {
		if _, ok := p.message.(AppendRejected); ok {
			rejections++
		}
		return false
	})
	if rejections == 0 || rejections > 5 {
		t.Errorf("%d rejections, want one per term or so", rejections)
	}
	if got, want := w.member(nid(3)).image.last(), w.member(nid(1)).image.last(); got != want || w.oracle.violation != "" {
		t.Errorf("n3 ends at %d, the leader at %d; %s", got, want, w.oracle.violation)
	}
}

func TestRepeatedUntilItMatchesM39(t *testing.T) {
	w := cluster(t, 3)
	l := w.elect(t)
	w.settle(nil)
	other := w.members[0]
	if other == l {
		other = w.members[1]
	}
	away := func(p packet) bool { return p.to == other.id || p.from == other.id }
	l.give(w, command(1))
	w.advance(w.now.Add(5*id.Second), away) // lost for ever and ever
	if w.leader() != l {
		t.Fatal("the leader has a majority and stays")
	}
	w.advance(w.now.Add(id.Second), nil)
	if other.applied != w.leader().node.log.last {
		t.Fatalf("%v applied %d of %d", other.id, other.applied, w.leader().node.log.last)
	}
}

func TestSameCommandsInTheSameOrderM41(t *testing.T) {
	w := cluster(t, 3)
	l := w.elect(t)
	order := map[id.NodeID][]string{}
	w.tell = func(m *member, e Effect) {
		if a, ok := e.(Apply); ok {
			for _, e := range a.Entries {
				order[m.id] = append(order[m.id], string(e.Data))
			}
		}
	}
	for i := 0; i < 50; i++ {
		l.give(w, command(i))
	}
	w.settle(nil)
	want := strings.Join(order[l.id], " ")
	for _, m := range w.members {
		if got := strings.Join(order[m.id], " "); got != want || !strings.Contains(got, "c0 c1 c2") {
			t.Errorf("%v applied %s", m.id, got)
		}
	}
}

// ---- losses

func TestAcknowledgedIsNeverLostUncommittedMayBeM49(t *testing.T) {
	w := cluster(t, 3)
	l := w.elect(t)
	w.settle(nil)
	l.give(w, command(1))
	w.settle(nil) // acknowledged
	l.give(w, command(2))
	l.sync(w) // on the leader's disk only
	l.crash(w, 0)
	w.net = nil
	w.advance(w.now.Add(id.Second), nil)
	next := w.leader()
	next.give(w, command(3))
	w.settle(nil)
	if err := l.start(w); err != nil {
		t.Fatal(err)
	}
	w.advance(w.now.Add(id.Second), nil)
	text := ""
	for _, e := range l.view.entries {
		text += " " + string(e.Data)
	}
	if !strings.Contains(text, "c1") || strings.Contains(text, "c2") || !strings.Contains(text, "c3") || w.oracle.violation != "" {
		t.Fatalf("the old leader's log is%s; %s", text, w.oracle.violation)
	}
}

func TestALeaderDiesBetweenCommitAndApplyM78(t *testing.T) {
	w := cluster(t, 3)
	l := w.elect(t)
	w.settle(nil)
	l.give(w, command(1))
	l.sync(w)
	for l.node.commit < 2 { // it applies nothing: the apply stays in flight
		net := w.net
		w.net = nil
		for _, p := range net {
			to := w.member(p.to)
			to.give(w, Received{From: p.from, Message: p.message})
			to.sync(w)
			w.pass(to)
		}
	}
	if l.applied != 1 {
		t.Fatalf("applied %d", l.applied)
	}
	l.crash(w, 0)
	w.net = nil
	w.advance(w.now.Add(id.Second), nil)
	if next := w.leader(); next == nil || string(next.view.entries[1].Data) != "c1" || next.applied < 3 {
		t.Fatal("its successor has not kept and applied the entry")
	}
	if err := l.start(w); err != nil {
		t.Fatal(err)
	}
	w.advance(w.now.Add(id.Second), nil)
	if l.applied < 3 || l.node.role != Follower {
		t.Fatalf("restarted it is %v and applied %d", l.node.role, l.applied)
	}
}

// ---- the pairs of messages that the other files do not name

func TestSnapshotPairM63M68(t *testing.T) {
	b := newBench(t, 3, HardState{Term: 2}, 1)
	meta := SnapshotMeta{Index: 9, Term: 2, Config: voters(3)}
	a := one[AppendAccepted](t, b.from(2, InstallSnapshot{Term: 3, Snapshot: meta}))
	s := b.m.node.Status()
	if a.Match != 9 || s.First != 10 || s.Last != 9 || s.Commit != 9 || s.Applied != 9 || b.m.node.log.lastTerm() != 2 {
		t.Fatalf("%+v %+v", a, s)
	}
}

func TestMembershipChangePairM64M71(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.lead(t)
	change := Change{ID: ProposalID{nid(9), 1}, Change: membership.Change{Ops: []membership.Op{{Kind: membership.AddLearner, Member: membership.Member{ID: nid(4)}}}}}
	why := func() (r Refusal, placed bool) {
		for _, e := range b.m.give(b.world, change) {
			switch e := e.(type) {
			case Refused:
				return e.Why, false
			case Placed:
				placed = true
			}
		}
		return 0, placed
	}
	if r, _ := why(); r != NoOwnTermCommit {
		t.Fatalf("before an own-term commit: %v", r)
	}
	b.from(2, AppendAccepted{Term: 1, Match: 1})
	if _, placed := why(); !placed || len(b.m.node.Status().Config.Members) != 4 {
		t.Fatal("not placed, or not in force when appended")
	}
	if r, _ := why(); r != ChangeInFlight {
		t.Fatalf("while one is uncommitted: %v", r)
	}
	b.drain()
	b.from(2, AppendAccepted{Term: 1, Match: 2})
	if r, _ := why(); r != ChangeIllegal {
		t.Fatalf("adding a member twice: %v", r)
	}
	change.Change.If = 1
	if r, _ := why(); r != ChangeStale {
		t.Fatalf("with an old version: %v", r)
	}
}

func TestPreVotePairM65M74(t *testing.T) {
	b := newBench(t, 3, HardState{Term: 2})
	if v := one[PreVote](t, b.from(2, RequestPreVote{Term: 2})); !v.Granted || v.For != 3 || b.m.node.term != 2 || b.m.image.hard.Vote != id.None {
		t.Fatalf("%+v", v)
	}
	b.from(3, Heartbeat{Term: 2})
	if v := one[PreVote](t, b.from(2, RequestPreVote{Term: 2})); v.Granted {
		t.Fatal("granted while a leader is alive")
	}
}

func TestThreeIsTheSmallestGroupThatSurvivesALossM4M5(t *testing.T) {
	for _, x := range []struct {
		size int
		ok   bool
	}{{1, false}, {2, false}, {3, true}} {
		w := cluster(t, x.size)
		l := w.elect(t)
		w.settle(nil)
		l.crash(w, 9)
		w.advance(w.now.Add(2*id.Second), nil)
		if got := w.leader() != nil; got != x.ok {
			t.Errorf("%d members, one lost: a leader %v, want %v", x.size, got, x.ok)
		}
	}
	// The three openings: one runs, two run at once, all three vote for themselves.
	for runners := 1; runners <= 3; runners++ {
		w := cluster(t, 3)
		for _, m := range w.members[:runners] {
			m.give(w, Campaign{})
		}
		w.settle(nil)
		w.advance(w.now.Add(id.Second), nil)
		if w.leader() == nil || w.oracle.violation != "" {
			t.Errorf("%d run at once: no leader; %s", runners, w.oracle.violation)
		}
	}
}

// ---- configuration and restoring

func TestTimingIsValidatedM9M10(t *testing.T) {
	good := testConfig(nid(1))
	for name, change := range map[string]func(*Config){
		"5 heartbeats":       func(c *Config) { c.ElectionMin = 4 * c.Heartbeat },
		"1.5 × the shortest": func(c *Config) { c.ElectionMax = c.ElectionMin },
		"QuorumWindow":       func(c *Config) { c.QuorumWindow = c.Heartbeat },
		"DiskStall":          func(c *Config) { c.DiskStall = c.ElectionMin },
		"Group is 0":         func(c *Config) { c.Group = 0 },
		"Self is empty":      func(c *Config) { c.Self = id.None },
		"WindowBytes":        func(c *Config) { c.WindowBytes = -1 },
	} {
		c := good
		change(&c)
		if _, err := New(c, Restored{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatCannotBeRestoredIsAnErrorNotAPanic(t *testing.T) {
	for name, r := range map[string]Restored{
		"ends at":           {Start: LogStart{Index: 5}, Last: 4, Applied: 4},
		"has applied":       {Last: 2, Applied: 3, Terms: []TermRun{{1, 1}}, Hard: HardState{Term: 1}},
		"are missing":       {Last: 2},
		"does not follow":   {Last: 2, Terms: []TermRun{{1, 2}, {2, 1}}, Hard: HardState{Term: 2}},
		"older than":        {Last: 1, Terms: []TermRun{{1, 2}}, Hard: HardState{Term: 1}},
		"out of order":      {Last: 1, Terms: []TermRun{{1, 1}}, Hard: HardState{Term: 1}, Configs: []ConfigAt{{Index: 2}}},
		"in the tail where": {Last: 1, Terms: []TermRun{{1, 1}}, Hard: HardState{Term: 1}, Tail: []Entry{{Index: 2}}},
	} {
		if _, err := New(testConfig(nid(1)), r); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(Config{}, Restored{}); err == nil {
		t.Error("an empty Config was taken")
	}
}

func TestASingleVoterServesReadsInTheSamePassM76(t *testing.T) {
	w := cluster(t, 1)
	w.settle(nil)
	w.oracle.asked(w.members[0], 1)
	for _, e := range w.members[0].give(w, Read{ID: 1}) {
		if r, ok := e.(ReadReady); ok && r.Index == 1 {
			return
		}
	}
	t.Fatal("the read waits for a round of nobody")
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
}
