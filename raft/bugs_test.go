package raft

import (
	"fmt"
	"testing"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
)

// Safety bugs of others, by their number in docs/decisions/0000-design.md. Where
// a switch of internal/faults brings the bug back, the test shows both.

func add(kind membership.OpKind, n int) membership.Op {
	return membership.Op{Kind: kind, Member: membership.Member{ID: nid(n), Name: fmt.Sprintf("n%d", n)}}
}

func changeOf(ops ...membership.Op) Change {
	return Change{ID: ProposalID{Origin: nid(9), Sequence: 77}, Change: membership.Change{Ops: ops}}
}

// only lets packets pass between the named members.
func only(ns ...int) func(packet) bool {
	in := func(x id.NodeID) bool {
		for _, n := range ns {
			if x == nid(n) {
				return true
			}
		}
		return false
	}
	return func(p packet) bool { return !in(p.from) || !in(p.to) }
}

// lead makes a member campaign with these connections until it leads.
func (w *world) makeLeader(t testing.TB, n int, drop func(packet) bool) *member {
	t.Helper()
	m := w.member(nid(n))
	for i := 0; i < 5 && m.node.role != Leader; i++ {
		for _, o := range w.members {
			if o.up && o != m {
				o.give(w, ForgetLeader{})
			}
		}
		m.give(w, Campaign{})
		w.settle(drop)
	}
	if m.node.role != Leader {
		t.Fatalf("n%d does not win: %v in term %d", n, m.node.role, m.node.term)
	}
	return m
}

// Ongaro, raft-dev, July 2015. Four members. n1 removes n4 and only n1 has it; n2
// leads meanwhile and adds n5 with n4's help; n1 is back, and commits the old
// change with n2's or n3's. {n1 n2 n3} and {n1..n5} have majorities that do not
// meet: {n1 n2} and {n3 n4 n5}.
func TestBug01ChangeBeforeOwnTermCommit(t *testing.T) {
	run := func(f ...faults.Switch) string {
		w := cluster(t, 4, f...)
		n5 := w.add(testConfig(nid(5), f...), disk{})
		if err := n5.start(w); err != nil {
			t.Fatal(err)
		}
		w.makeLeader(t, 1, nil)
		w.settle(nil)
		n1 := w.member(nid(1))
		n1.give(w, changeOf(add(membership.Remove, 4)))
		w.settle(only(1))
		n2 := w.member(nid(2))
		n2.give(w, ForgetLeader{})
		blocked := only(2, 3, 4, 5)
		own := func(p packet) bool { // n2's own-term entry reaches nobody yet
			_, isAppend := p.message.(Append)
			return blocked(p) || isAppend
		}
		w.makeLeader(t, 2, own)
		for _, e := range n2.give(w, changeOf(add(membership.AddVoter, 5))) {
			if r, ok := e.(Refused); ok {
				return "refused: " + r.Why.String()
			}
		}
		return "placed"
	}
	if got := run(); got != "refused: "+NoOwnTermCommit.String() {
		t.Errorf("a leader without an own-term commit: %s", got)
	}
	if got := run(faults.ChangeBeforeOwnTerm); got != "placed" {
		t.Errorf("with the bug: %s", got)
	}
}

// Bug 2 is the story figure_8; here the same ends in two values with the switch.
func TestBug02Figure8PriorTermByCounting(t *testing.T) {
	run := func(f ...faults.Switch) (id.Index, *world) {
		w := newWorld()
		logs := [][]id.Term{{1, 2}, {1, 2}, {1}, {1}, {1, 3}}
		for i, terms := range logs {
			d := disk{hard: HardState{Term: 3}, start: LogStart{Config: voters(5)}}
			for k, term := range terms {
				d.entries = append(d.entries, data(id.Index(k+1), term, fmt.Sprint(term)))
			}
			w.add(testConfig(nid(i+1), f...), d)
		}
		for _, m := range w.members {
			if err := m.start(w); err != nil {
				t.Fatal(err)
			}
		}
		// n1 leads term 4 and brings entry 2 to n3, but not its own entry.
		n1 := w.makeLeader(t, 1, func(p packet) bool {
			_, isAppend := p.message.(Append)
			return isAppend || only(1, 2, 3, 4)(p)
		})
		n1.inbox = append(n1.inbox,
			Received{From: nid(2), Message: AppendAccepted{Term: n1.node.term, Match: 2}},
			Received{From: nid(3), Message: AppendAccepted{Term: n1.node.term, Match: 2}})
		w.pass(n1)
		return n1.node.commit, w
	}
	if c, _ := run(); c != 0 {
		t.Errorf("committed %d by counting an entry of an older term", c)
	}
	if c, _ := run(faults.CountPriorTerm); c != 2 {
		t.Errorf("with the bug: committed %d, want 2", c)
	}
}

func TestBug03FollowerCommitsOnlyWhatItVerified(t *testing.T) {
	// The leader's commit is high, the append is old; behind it lies another
	// leader's tail.
	b := newBench(t, 3, HardState{Term: 2}, 1, 1, 2, 2, 2)
	b.from(3, Append{Term: 3, Prev: 2, PrevTerm: 1, Commit: 5})
	if b.m.node.commit != 2 {
		t.Errorf("commit %d, want 2", b.m.node.commit)
	}
	// A heartbeat never commits past what was acknowledged: the leader caps it,
	// and one beyond the log is not believed.
	b.from(3, Heartbeat{Term: 3, Commit: 99})
	if b.m.node.commit != 2 {
		t.Errorf("after a heartbeat: commit %d, want 2", b.m.node.commit)
	}
	// An old append after a newer one neither truncates nor commits back.
	b.from(3, Append{Term: 3, Prev: 2, PrevTerm: 1, Commit: 5, Entries: []Entry{data(3, 3, "x"), data(4, 3, "y")}})
	b.from(3, Append{Term: 3, Prev: 2, PrevTerm: 1, Commit: 2, Entries: []Entry{data(3, 3, "x")}})
	if logText(b.m) != "1 1 3 3" || b.m.node.commit != 4 {
		t.Errorf("log %s, commit %d", logText(b.m), b.m.node.commit)
	}
}

func TestBug04NothingLeavesBeforeTermAndVoteAreDurable(t *testing.T) {
	b := newBench(t, 3, HardState{Term: 1})
	b.m.give(b.world, Received{From: nid(2), Message: RequestVote{Term: 5}})
	if len(b.net) != 0 || len(b.m.held) != 1 {
		t.Fatalf("sent %v, held %v", b.net, b.m.held)
	}
	b.m.give(b.world, Received{From: nid(2), Message: Heartbeat{Term: 5}})
	if len(b.net) != 0 {
		t.Fatalf("an answer in term 5 left before term 5 is durable: %v", b.net)
	}
	b.m.crash(b.world, 0) // persisting failed: neither ever leaves
	if err := b.m.start(b.world); err != nil {
		t.Fatal(err)
	}
	if sent := b.drain(); count[Vote](sent) != 0 || b.m.node.term != 1 {
		t.Fatalf("term %d, sent %v", b.m.node.term, sent)
	}
	// A candidate's own vote counts when it is durable, like everybody's.
	one := cluster(t, 1).members[0]
	if one.node.role == Leader {
		t.Fatal("leads before its vote for itself is durable")
	}
}

func TestBug06ReadsNeedOwnTermCommitAndTheirOwnRound(t *testing.T) {
	b := newBench(t, 3, HardState{Term: 1}, 1, 1)
	term, _ := b.lead(t)
	ready := func(out []Effect) (found []ReadReady) {
		for _, e := range out {
			if r, ok := e.(ReadReady); ok {
				found = append(found, r)
			}
		}
		return found
	}
	give := func(e ...Event) []ReadReady {
		for _, x := range e {
			if r, ok := x.(Read); ok {
				b.oracle.asked(b.m, r.ID)
			}
		}
		return ready(b.m.give(b.world, e...))
	}
	ack := func(n int, round uint64) Event {
		return Received{From: nid(n), Message: HeartbeatAck{Term: term, Round: round}}
	}
	if got := append(give(Read{ID: 1}), give(ack(2, 9), ack(3, 9))...); len(got) != 0 {
		t.Fatalf("served before the own-term commit: %v", got)
	}
	b.from(2, AppendAccepted{Term: term, Match: 3})
	// Round 1 goes out now. Its answer, doubled, serves read 1 once; read 2 came
	// after round 1 and needs round 2.
	r1 := b.m.node.round
	give(Read{ID: 2})
	if r2 := b.m.node.round; r2 != r1+1 {
		t.Fatalf("rounds %d and %d", r1, r2)
	}
	// n2 answered with a round of its imagination above: it confirms at most what
	// was asked, so start again with a fresh leader for the exact part.
	b = newBench(t, 3, HardState{Term: 1}, 1, 1)
	term, _ = b.lead(t)
	b.from(2, AppendAccepted{Term: term, Match: 3})
	give(Read{ID: 1})
	give(Read{ID: 2})
	if got := give(ack(2, 1), ack(2, 1)); len(got) != 1 || got[0].ID != 1 {
		t.Fatalf("the answer to round 1 serves %v", got)
	}
	if got := give(ack(2, 1)); len(got) != 0 {
		t.Fatalf("an old answer serves %v", got)
	}
	if got := give(Received{From: nid(3), Message: HeartbeatAck{Term: term - 1, Round: 2}}); len(got) != 0 {
		t.Fatalf("an answer of an older term serves %v", got)
	}
	if got := give(ack(3, 2)); len(got) != 1 || got[0].ID != 2 || got[0].Index != 3 {
		t.Fatalf("the answer to round 2 serves %v", got)
	}
	// Deposed: refused.
	give(Read{ID: 3})
	out := b.m.give(b.world, Received{From: nid(2), Message: Heartbeat{Term: term + 1}})
	refused := false
	for _, e := range out {
		r, ok := e.(Refused)
		refused = refused || ok && r.IsRead && r.Read == 3 && r.Why == OfficeUncertain
	}
	if !refused {
		t.Fatal("a deposed leader's read is not refused")
	}
}

func TestBug06ReadIdsAreNotReusedByARestart(t *testing.T) {
	first := func(seed uint64) uint64 {
		c := testConfig(nid(2))
		c.Seed = seed
		n, err := New(c, Restored{Start: LogStart{Config: voters(3)}})
		if err != nil {
			t.Fatal(err)
		}
		out := n.Step(0, []Event{Received{From: nid(1), Message: Heartbeat{Term: 1}}, Read{ID: 1}}, nil)
		for _, e := range out {
			if s, ok := e.(Send); ok {
				if r, ok := s.Message.(RequestRead); ok {
					return r.ID
				}
			}
		}
		t.Fatal("the leader was not asked")
		return 0
	}
	if a, b := first(1), first(2); a == b || a == 0 || b == 0 {
		t.Fatalf("two lives ask with %d and %d", a, b)
	}
}

func TestBug08LearnerThatDoesNotKnowItsPromotionVotes(t *testing.T) {
	c, err := membership.Bootstrap([]membership.Member{{ID: nid(1), Role: membership.Learner}, {ID: nid(2), Role: membership.Voter}})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld()
	b := &bench{world: w, m: w.add(testConfig(nid(1)), disk{start: LogStart{Config: c}})}
	if err := b.m.start(w); err != nil {
		t.Fatal(err)
	}
	// Asked by a node that its configuration does not even list.
	if v := one[Vote](t, b.from(7, RequestVote{Term: 3})); !v.Granted {
		t.Fatal("a learner refuses its vote")
	}
	b.now = b.now.Add(10 * id.Second)
	b.drain()
	if b.m.node.role != Follower {
		t.Fatal("a learner runs")
	}
}

func TestBug09AStuckNodeWithAGreaterTerm(t *testing.T) {
	// n3 has term 9 and a short log, n1 and n2 have term 5 and long ones; n3's is
	// not new enough to win, and its term must not keep the others from it.
	for _, alive := range [][]int{{1, 2, 3}, {1, 3}, {2, 3}} {
		w := newWorld()
		for i, x := range []struct {
			term id.Term
			log  []id.Term
		}{{5, []id.Term{1, 5, 5}}, {5, []id.Term{1, 5}}, {9, []id.Term{1}}} {
			d := disk{hard: HardState{Term: x.term}, start: LogStart{Config: voters(3)}}
			for k, term := range x.log {
				d.entries = append(d.entries, data(id.Index(k+1), term, fmt.Sprint(k, term)))
			}
			w.add(testConfig(nid(i+1)), d)
		}
		for _, n := range alive {
			if err := w.member(nid(n)).start(w); err != nil {
				t.Fatal(err)
			}
		}
		w.advance(w.now.Add(10*300*id.Millisecond), only(alive...))
		l := w.leader()
		if l == nil || l.id == nid(3) || l.node.term < 10 || l.node.commit != l.node.log.last || w.oracle.violation != "" {
			t.Errorf("%v alive: leader %+v; %s", alive, l, w.oracle.violation)
		}
	}
	// A long log of a low term loses against a short one of a greater term.
	b := newBench(t, 3, HardState{Term: 7}, 7)
	if v := one[PreVote](t, b.from(2, RequestPreVote{Term: 7, LastIndex: 100, LastTerm: 2})); v.Granted {
		t.Error("length won over term")
	}
	// And an isolated leader of an old term steps down by its first answer.
	w := cluster(t, 3)
	old := w.elect(t)
	w.advance(w.now.Add(400*id.Millisecond), func(p packet) bool { return p.from == old.id || p.to == old.id })
	w.advance(w.now.Add(100*id.Millisecond), nil)
	if old.node.role == Leader {
		t.Error("the old leader stays in office after healing")
	}
}

// Cloudflare, November 2020: in each of these networks some leader is possible
// that reaches a majority, and within ten election timeouts there is one that
// commits; and it does not change again and again.
func TestBug10PartialConnectivity(t *testing.T) {
	type link [2]int
	for name, x := range map[string]struct {
		size int
		cut  []link // both ways
		way  []link // one way
	}{
		"chain":                  {3, []link{{1, 3}}, nil},
		"bridge of five":         {5, []link{{1, 4}, {1, 5}, {2, 4}, {2, 5}}, nil},
		"one-way to the leader":  {3, nil, []link{{2, 1}, {3, 1}}},
		"one-way from the first": {3, nil, []link{{1, 2}, {1, 3}}},
		"ring of five":           {5, []link{{1, 3}, {1, 4}, {2, 4}, {2, 5}, {3, 5}}, nil},
	} {
		w := cluster(t, x.size)
		w.makeLeader(t, 1, nil)
		w.settle(nil)
		drop := func(p packet) bool {
			for _, l := range x.cut {
				if p.from == nid(l[0]) && p.to == nid(l[1]) || p.from == nid(l[1]) && p.to == nid(l[0]) {
					return true
				}
			}
			for _, l := range x.way {
				if p.from == nid(l[0]) && p.to == nid(l[1]) {
					return true
				}
			}
			return false
		}
		w.advance(w.now.Add(10*300*id.Millisecond), drop)
		commit := w.oracle.topCommit
		terms := id.Term(0)
		committed := false
		for _, m := range w.members {
			if m.node.role == Leader {
				m.give(w, command(1))
			}
			terms = max(terms, m.node.term)
		}
		w.settle(drop)
		committed = w.oracle.topCommit > commit
		w.advance(w.now.Add(10*id.Second), drop)
		later := id.Term(0)
		for _, m := range w.members {
			later = max(later, m.node.term)
		}
		if !committed || later > terms+1 || w.oracle.violation != "" {
			t.Errorf("%s: committed %v; term %d, 10 s later %d; %s", name, committed, terms, later, w.oracle.violation)
		}
	}
}

func TestBug11ALaggingFollowerMakesNoStorm(t *testing.T) {
	w := cluster(t, 3)
	l := w.makeLeader(t, 1, nil)
	w.settle(nil)
	for i := 0; i < 20; i++ {
		l.give(w, command(i))
		w.settle(only(1, 2))
	}
	asked := 0
	w.advance(w.now.Add(3*id.Second), func(p packet) bool {
		if _, ok := p.message.(RequestPreVote); ok && p.from == nid(3) {
			asked++
		}
		a, isAppend := p.message.(Append) // it catches up slowly: no entries arrive
		return p.to == nid(3) && isAppend && len(a.Entries) > 0
	})
	if asked != 0 || l.node.role != Leader || l.node.term != 1 {
		t.Fatalf("%d pre-votes of a follower that hears its leader; %v in term %d", asked, l.node.role, l.node.term)
	}
}

func TestBug12JointConfiguration(t *testing.T) {
	t.Run("truncating two configuration entries", func(t *testing.T) {
		one, err := voters(3).Apply(membership.Change{Ops: []membership.Op{add(membership.AddLearner, 4)}})
		if err != nil {
			t.Fatal(err)
		}
		two, err := one.Apply(membership.Change{Ops: []membership.Op{add(membership.Promote, 4)}})
		if err != nil {
			t.Fatal(err)
		}
		config := func(i id.Index, c membership.Config) Entry {
			return Entry{Index: i, Term: 1, Kind: EntryConfig, Config: &c}
		}
		b := newBench(t, 3, HardState{Term: 1}, 1)
		b.from(2, Append{Term: 1, Prev: 1, PrevTerm: 1, Entries: []Entry{config(2, one), config(3, two)}})
		if s := b.m.node.Status(); !s.Config.IsVoter(nid(4)) || s.ConfigAt != 3 {
			t.Fatalf("%v at %d", s.Config, s.ConfigAt)
		}
		b.from(3, Append{Term: 2, Prev: 1, PrevTerm: 1, Entries: []Entry{noop(2, 2)}})
		if s := b.m.node.Status(); s.Config.Version != 1 || s.ConfigAt != 0 {
			t.Fatalf("%v at %d", s.Config, s.ConfigAt)
		}
	})
	t.Run("a snapshot replaces the configuration in force", func(t *testing.T) {
		b := newBench(t, 3, HardState{Term: 1}, 1)
		b.from(2, InstallSnapshot{Term: 1, Snapshot: SnapshotMeta{Index: 5, Term: 1, Config: voters(5)}})
		if s := b.m.node.Status(); len(s.Config.Members) != 5 || s.ConfigAt != 5 || len(b.m.node.decide.Incoming) != 5 {
			t.Fatalf("%v at %d", s.Config, s.ConfigAt)
		}
	})
	t.Run("the leader is removed inside", func(t *testing.T) {
		w := cluster(t, 3)
		for _, n := range []int{4} {
			if err := w.add(testConfig(nid(n)), disk{}).start(w); err != nil {
				t.Fatal(err)
			}
		}
		l := w.makeLeader(t, 1, nil)
		w.settle(nil)
		l.give(w, changeOf(add(membership.AddVoter, 4), add(membership.Remove, 1)))
		w.settle(nil)
		w.advance(w.now.Add(id.Second), nil)
		next := w.leader()
		if l.node.role == Leader || !l.node.removed || next == nil || next == l || next.node.log.config().Config.Joint || w.oracle.violation != "" {
			t.Fatalf("n1 is %v (removed %v), the leader %+v; %s", l.node.role, l.node.removed, next, w.oracle.violation)
		}
		leaves := 0
		for _, e := range next.view.entries {
			if e.Kind == EntryConfig && !e.Config.Joint {
				leaves++
			}
		}
		if leaves != 1 {
			t.Errorf("left %d times", leaves)
		}
	})
}

// Thesis §4.2.2: n1 of two removes itself and crashes before n2 has the entry.
// n2 cannot win: n1's log is newer. So n1 must run, in the name of the
// configuration before, finish the removal, and go.
func TestBug13ARemovedNodeWithTheOnlyNewLogFinishesItsRemoval(t *testing.T) {
	w := cluster(t, 2)
	l := w.makeLeader(t, 1, nil)
	w.settle(nil)
	l.give(w, changeOf(add(membership.Remove, 1)))
	l.sync(w)
	l.crash(w, 0)
	w.net = nil
	w.advance(w.now.Add(id.Second), nil)
	if err := l.start(w); err != nil {
		t.Fatal(err)
	}
	w.advance(w.now.Add(3*id.Second), nil)
	n2 := w.member(nid(2))
	if n2.node.role != Leader || !l.node.removed || len(n2.node.log.config().Config.Members) != 1 || w.oracle.violation != "" {
		t.Fatalf("n2 is %v, n1 removed %v; %s", n2.node.role, l.node.removed, w.oracle.violation)
	}
}

func TestBug13ALeaderOutsideTheConfigurationDoesNotCountItself(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.lead(t)
	b.from(2, AppendAccepted{Term: 1, Match: 1})
	b.give(changeOf(add(membership.Remove, 1)))
	b.from(2, AppendAccepted{Term: 1, Match: 2})
	if b.m.node.commit != 1 {
		t.Fatal("committed its own removal with one of two")
	}
	b.from(3, AppendAccepted{Term: 1, Match: 2})
	if b.m.node.commit != 2 || b.m.node.role != Follower || !b.m.node.removed {
		t.Fatalf("commit %d as %v, removed %v", b.m.node.commit, b.m.node.role, b.m.node.removed)
	}
}
