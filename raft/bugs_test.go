package raft

import (
	"fmt"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
)

// Safety bugs of others, by their number in docs: each a regression here. Where
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

func TestBug15SnapshotThenARejectedAppend(t *testing.T) {
	b := newBench(t, 3, HardState{Term: 2}, 1, 1, 2)
	b.from(2, InstallSnapshot{Term: 3, Snapshot: SnapshotMeta{Index: 6, Term: 3, Config: voters(3)}})
	// Exactly at the last included index, with its term: accepted.
	if a := one[AppendAccepted](t, b.from(2, Append{Term: 3, Prev: 6, PrevTerm: 3, Entries: []Entry{data(7, 3, "x")}})); a.Match != 7 {
		t.Fatalf("%+v", a)
	}
	// Beyond the log: rejected, with a hint that is not below the snapshot.
	if r := one[AppendRejected](t, b.from(2, Append{Term: 3, Prev: 9, PrevTerm: 3})); r.HintIndex != 7 || r.HintTerm != 3 {
		t.Fatalf("%+v", r)
	}
	// Older than the snapshot, and overlapping it.
	if a := one[AppendAccepted](t, b.from(2, Append{Term: 3, Prev: 2, PrevTerm: 1})); a.Match != 6 {
		t.Fatalf("%+v", a)
	}
	b.from(2, Append{Term: 3, Prev: 4, PrevTerm: 2, Entries: []Entry{data(5, 2, "e"), data(6, 3, "f"), data(7, 3, "x"), data(8, 3, "y")}})
	if b.m.node.log.last != 8 || logText(b.m) != "(6, term 3) 3 3" {
		t.Fatalf("log %s", logText(b.m))
	}
	// A conflict at the last included index contradicts what is committed: halt.
	out := b.m.give(b.world, Received{From: nid(2), Message: Append{Term: 3, Prev: 6, PrevTerm: 2}})
	if h, ok := out[len(out)-1].(Halt); !ok || !strings.Contains(h.Reason.Error(), "committed") {
		t.Fatalf("%v", out)
	}
}

func TestBug15InstallationWaitsForTheApplyInFlight(t *testing.T) {
	b := newBench(t, 3, HardState{Term: 1}, 1, 1, 1)
	out := b.m.give(b.world, Received{From: nid(2), Message: Append{Term: 1, Prev: 3, PrevTerm: 1, Commit: 3}})
	has := func(out []Effect, is func(Effect) bool) bool {
		for _, e := range out {
			if is(e) {
				return true
			}
		}
		return false
	}
	install := func(e Effect) bool { _, ok := e.(Install); return ok }
	apply := func(e Effect) bool { _, ok := e.(Apply); return ok }
	if !has(out, apply) {
		t.Fatalf("no Apply: %v", out)
	}
	meta := SnapshotMeta{Index: 9, Term: 1, Config: voters(3)}
	if out = b.m.give(b.world, Received{From: nid(2), Message: InstallSnapshot{Term: 1, Snapshot: meta}}); has(out, install) {
		t.Fatal("installs while an Apply is in flight")
	}
	b.m.work(b.world)
	if out = b.pass(b.m); !has(out, install) {
		t.Fatal("does not install when the Apply is done")
	}
	// While it is in flight: no Persist, no Apply, no new term.
	out = b.m.give(b.world, Received{From: nid(2), Message: Append{Term: 1, Prev: 3, PrevTerm: 1, Entries: []Entry{data(4, 1, "x")}}},
		Received{From: nid(3), Message: RequestVote{Term: 5, Transfer: true, LastIndex: 99, LastTerm: 4}})
	if has(out, func(e Effect) bool { _, ok := e.(Persist); return ok }) || has(out, apply) || b.m.node.term != 1 {
		t.Fatalf("term %d, %v", b.m.node.term, out)
	}
}

func TestBug16TheLogIsCutOnlyUpToWhatIsFlushed(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.m.config.RetainBytes = 1
	b.m.node.cfg.RetainBytes = 1
	b.lead(t)
	for i := 0; i < 5; i++ {
		b.give(command(i))
	}
	b.from(2, AppendAccepted{Term: 1, Match: 6})
	b.from(3, AppendAccepted{Term: 1, Match: 6})
	if b.m.applied != 6 || b.m.node.log.start.Index != 0 {
		t.Fatalf("applied %d, log starts at %d before anything is flushed", b.m.applied, b.m.node.log.start.Index)
	}
	b.give(Flushed{Index: 3})
	if b.m.node.log.start.Index != 3 {
		t.Fatalf("log starts behind %d, flushed is 3", b.m.node.log.start.Index)
	}
	b.give(Flushed{Index: 99}) // more than was applied: not believed
	if at := b.m.node.log.start.Index; at > 6 {
		t.Fatalf("log starts behind %d, applied is 6", at)
	}
}

func TestBug20RetentionKeepsWhatASlowFollowerNeeds(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.lead(t)
	for i := 0; i < 100; i++ {
		b.give(command(i))
		b.from(2, AppendAccepted{Term: 1, Match: b.m.node.log.last})
	}
	b.from(3, AppendAccepted{Term: 1, Match: 40})
	b.give(Flushed{Index: 101})
	if at := b.m.node.log.start.Index; at != 0 && at > 40 {
		t.Fatalf("cut up to %d, n3 needs 41", at)
	}
	b.m.node.cfg.RetainBytes = 20 * 51 // twenty entries: n3 is beyond it
	b.give(Flushed{Index: 101})
	if at := b.m.node.log.start.Index; at < 78 || at > 84 {
		t.Fatalf("cut up to %d, want about 81: twenty entries are kept", at)
	}
}

func TestBug21OldAcknowledgementAfterAnOverwrite(t *testing.T) {
	b := newBench(t, 3, HardState{Term: 1}, 1)
	m := b.m
	m.give(b.world, Received{From: nid(2), Message: Append{Term: 1, Prev: 1, PrevTerm: 1, Entries: []Entry{data(2, 1, "a"), data(3, 1, "b"), data(4, 1, "c")}}})
	m.give(b.world, Received{From: nid(3), Message: Append{Term: 2, Prev: 1, PrevTerm: 1, Entries: []Entry{data(2, 2, "x"), data(3, 2, "y")}, Commit: 3}})
	m.syncOne(b.world) // the old write: 2, 3, 4 of term 1 are on the disk
	b.pass(m)
	if d := m.node.log.durable; d != 1 {
		t.Fatalf("durable up to %d by an acknowledgement of what was overwritten", d)
	}
	for _, p := range b.net {
		if a, ok := p.message.(AppendAccepted); ok && a.Term == 2 {
			t.Fatalf("acknowledged %v before it is durable", p)
		}
	}
	if m.node.applied != 0 || m.node.applying > 1 {
		t.Fatal("applies what is not durable here")
	}
	b.drain()
	if m.node.log.durable != 3 || m.applied != 3 {
		t.Fatalf("durable %d, applied %d", m.node.log.durable, m.applied)
	}
}

func TestBug22AStalledDiskLosesTheOffice(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.lead(t)
	b.from(2, AppendAccepted{Term: 1, Match: 1})
	b.m.give(b.world, command(1)) // never synced
	end := b.now.Add(b.m.config.DiskStall)
	for b.now < end && b.m.node.role == Leader {
		b.now = min(b.m.node.Deadline(), end)
		b.m.inbox = append(b.m.inbox, Received{From: nid(2), Message: HeartbeatAck{Term: 1}})
		b.pass(b.m)
	}
	if b.m.node.role == Leader || b.now != end {
		t.Fatalf("%v at %d", b.m.node.role, b.now)
	}
}

func TestBug23AFollowerWipedUnderItsId(t *testing.T) {
	w := cluster(t, 3)
	l := w.makeLeader(t, 1, nil)
	w.settle(nil)
	for i := 0; i < 5; i++ {
		l.give(w, command(i))
	}
	w.settle(nil)
	n3 := w.member(nid(3))
	n3.crash(w, 0)
	n3.image, n3.flushed = disk{start: LogStart{Config: voters(3)}}, 0
	if err := n3.start(w); err != nil {
		t.Fatal(err)
	}
	packets := 0
	w.advance(w.now.Add(id.Second), func(packet) bool { packets++; return false })
	if l.node.halted || n3.node.halted || l.node.role != Leader || packets > 1000 {
		t.Fatalf("leader %v (halted %v), wiped halted %v, %d packets in a second", l.node.role, l.node.halted, n3.node.halted, packets)
	}
	// What it lost counts as acknowledged by this leader still, and match does
	// not go back: that is why the host refuses a wiped directory (DESIGN 14).
	if p := l.node.peer(nid(3)); p.match != 6 {
		t.Fatalf("match %d", p.match)
	}
}

func TestBug24PagingSkipsNothingAndBytesReturnToZero(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.m.node.cfg.ApplyBytes, b.m.node.cfg.TailBytes, b.m.node.cfg.UncommittedBytes = 120, 150, 600
	b.lead(t)
	b.from(2, AppendAccepted{Term: 1, Match: 1})
	placed, refused := 0, 0
	for i := 0; i < 40; i++ {
		for _, e := range b.m.give(b.world, command(i)) {
			switch e := e.(type) {
			case Placed:
				placed++
			case Refused:
				refused++
				if e.Why != Overloaded {
					t.Fatalf("%v", e.Why)
				}
			}
		}
		b.drain()
	}
	if placed == 0 || refused == 0 || b.m.node.uncommitted() > 600 {
		t.Fatalf("%d placed, %d refused, %d bytes uncommitted", placed, refused, b.m.node.uncommitted())
	}
	// The oracle fails on a gap or a repetition in what is applied.
	b.from(2, AppendAccepted{Term: 1, Match: b.m.node.log.last})
	if b.m.node.uncommitted() != 0 || b.m.applied != b.m.node.log.last || b.oracle.violation != "" {
		t.Fatalf("%d bytes uncommitted, applied %d of %d; %s", b.m.node.uncommitted(), b.m.applied, b.m.node.log.last, b.oracle.violation)
	}
	// Deposed with entries uncommitted, and elected again: nothing is left over.
	b.give(command(100))
	b.from(3, Append{Term: 2, Prev: b.m.node.commit, PrevTerm: 1, Entries: []Entry{noop(b.m.node.commit+1, 2)}, Commit: b.m.node.commit + 1})
	if b.m.node.uncommitted() != 0 {
		t.Fatalf("%d bytes uncommitted after truncation", b.m.node.uncommitted())
	}
}

func TestBug25WhatIsInMemoryIsTruncatedWithTheLog(t *testing.T) {
	w := cluster(t, 3)
	l := w.makeLeader(t, 1, nil)
	w.settle(nil)
	for i := 0; i < 10; i++ {
		l.give(w, command(i))
	}
	w.settle(only(1)) // nobody has them
	next := w.makeLeader(t, 2, only(2, 3))
	next.give(w, command(100))
	w.settle(only(2, 3))
	w.advance(w.now.Add(id.Second), nil)
	// n1 leads again and replicates from its memory: n3 must get what was
	// written over, not what was there before.
	n3 := w.member(nid(3))
	n3.crash(w, 0)
	n3.image, n3.flushed = disk{start: LogStart{Config: voters(3)}}, 0
	w.leader().give(w, Transfer{To: nid(1)})
	w.settle(nil)
	if w.leader() != l {
		t.Fatal("n1 did not take over")
	}
	if err := n3.start(w); err != nil {
		t.Fatal(err)
	}
	w.advance(w.now.Add(id.Second), nil)
	if w.oracle.violation != "" || n3.applied != w.leader().node.log.last {
		t.Fatalf("n3 applied %d; %s", n3.applied, w.oracle.violation)
	}
}

func TestBug27HeartbeatsDoNotWaitForDataOrApply(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.lead(t)
	b.from(2, AppendAccepted{Term: 1, Match: 1})
	for i := 0; i < 100; i++ { // the window is full, the machine never answers
		b.m.give(b.world, command(i))
		b.m.sync(b.world)
		b.pass(b.m)
	}
	b.net = nil
	b.now = b.m.node.heartbeatAt
	b.pass(b.m)
	if count[Heartbeat](b.net) != 2 {
		t.Fatalf("sent %v", b.net)
	}
}

func TestBug30SnapshotsDoNotLoop(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.m.node.cfg.RetainBytes = 1
	b.lead(t)
	for i := 0; i < 5; i++ {
		b.give(command(i))
	}
	b.from(2, AppendAccepted{Term: 1, Match: 6})
	b.give(Flushed{Index: 6})
	sends := 0
	b.tell = func(_ *member, e Effect) {
		if _, ok := e.(SendSnapshot); ok {
			sends++
		}
	}
	fail := func(ok bool) {
		b.m.sendSnaps = nil
		b.m.give(b.world, SnapshotSent{To: nid(3), Index: 6, OK: ok})
	}
	b.m.give(b.world, Received{From: nid(3), Message: HeartbeatAck{Term: 1}}) // it is alive, and entry 1 is gone
	if sends != 1 {
		t.Fatalf("%d snapshots sent, want 1", sends)
	}
	fail(false)
	for i := 0; i < 20; i++ { // dead: no sign of life, no other snapshot
		b.now = b.m.node.heartbeatAt
		b.m.inbox = append(b.m.inbox, Received{From: nid(2), Message: HeartbeatAck{Term: 1}})
		b.pass(b.m)
	}
	if sends != 1 {
		t.Fatalf("%d snapshots to a dead follower, want 1", sends)
	}
	b.m.give(b.world, Received{From: nid(3), Message: HeartbeatAck{Term: 1}})
	if sends != 2 {
		t.Fatalf("%d snapshots after a sign of life, want 2", sends)
	}
	// It has more than the snapshot by another way: the snapshot is given up.
	b.m.give(b.world, Received{From: nid(3), Message: AppendAccepted{Term: 1, Match: 6}})
	if p := b.m.node.peer(nid(3)); p.state != Replicate || p.match != 6 {
		t.Fatalf("%v, match %d", p.state, p.match)
	}
	fail(true)
	if p := b.m.node.peer(nid(3)); p.state != Replicate || sends != 2 {
		t.Fatalf("%v after the end of a snapshot nobody needs, %d sent", p.state, sends)
	}
	// And one that is older than what a follower has is answered, not installed.
	f := newBench(t, 3, HardState{Term: 1, Commit: 3}, 1, 1, 1)
	if a := one[AppendAccepted](t, f.from(2, InstallSnapshot{Term: 1, Snapshot: SnapshotMeta{Index: 2, Term: 1, Config: voters(3)}})); a.Match != 3 {
		t.Fatalf("%+v", a)
	}
}
