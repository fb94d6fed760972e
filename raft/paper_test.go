package raft

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
)

// The Raft paper and the mission's list, section by section, on one node whose
// peers are this test: bench sends it messages and looks at what it answers.

type bench struct {
	*world
	m *member
}

// newBench is n1 of n voters with a log of these terms.
func newBench(t testing.TB, voterCount int, hard HardState, terms ...id.Term) *bench {
	t.Helper()
	b := &bench{world: newWorld()}
	b.oracle.lone = true
	t.Cleanup(func() {
		if v := b.oracle.violation; v != "" && !strings.Contains(v, " halts: ") {
			t.Errorf("the oracle: %s", v)
		}
	})
	d := disk{hard: hard, start: LogStart{Config: voters(voterCount)}}
	for i, term := range terms {
		d.entries = append(d.entries, Entry{Term: term, Index: id.Index(i + 1), Kind: EntryCommand, Data: []byte(fmt.Sprintf("%d/%d", i+1, term))})
		d.hard.Term = max(d.hard.Term, term)
	}
	b.m = b.add(testConfig(nid(1)), d)
	if err := b.m.start(b.world); err != nil {
		t.Fatal(err)
	}
	b.drain()
	return b
}

// drain makes everything durable and applied and returns what was sent.
func (b *bench) drain() []packet {
	b.m.up = b.m.up && !b.m.node.halted
	for b.m.up && (len(b.m.writes) > 0 || b.m.work(b.world) || len(b.m.inbox) > 0) {
		b.m.sync(b.world)
		b.pass(b.m)
	}
	sent := b.net
	b.net = nil
	return sent
}

func (b *bench) give(e ...Event) []packet {
	b.m.give(b.world, e...)
	return b.drain()
}

func (b *bench) from(n int, m Message) []packet { return b.give(Received{From: nid(n), Message: m}) }

func (b *bench) after(d id.Duration) []packet {
	b.now = b.now.Add(d)
	return b.give()
}

// timeout fires the next deadline of n1.
func (b *bench) timeout() []packet {
	b.now = max(b.now, b.m.node.Deadline())
	return b.give()
}

// candidate makes n1 a candidate, leader makes it win.
func (b *bench) candidate(t testing.TB) id.Term {
	t.Helper()
	b.timeout()
	term := b.m.node.term
	for i := 2; b.m.node.role == PreCandidate && i < 10; i++ {
		b.from(i, PreVote{Term: term, For: term + 1, Granted: true})
	}
	if b.m.node.role != Candidate {
		t.Fatalf("n1 is %v, want a candidate", b.m.node.role)
	}
	return b.m.node.term
}

func (b *bench) lead(t testing.TB) (id.Term, []packet) {
	t.Helper()
	term := b.candidate(t)
	var sent []packet
	for i := 2; b.m.node.role == Candidate && i < 10; i++ {
		sent = b.from(i, Vote{Term: term, Granted: true})
	}
	if b.m.node.role != Leader {
		t.Fatalf("n1 is %v, want the leader", b.m.node.role)
	}
	return term, sent
}

// inRole puts n1 into a role in a term of its own making.
func inRole(t *testing.T, r Role) *bench {
	b := newBench(t, 3, HardState{Term: 3})
	switch r {
	case PreCandidate:
		b.timeout()
	case Candidate:
		b.candidate(t)
	case Leader:
		b.lead(t)
	}
	return b
}

var roles = []Role{Follower, PreCandidate, Candidate, Leader}

// one finds the only message of a type.
func one[M Message](t testing.TB, sent []packet) M {
	t.Helper()
	var found []M
	for _, p := range sent {
		if m, ok := p.message.(M); ok {
			found = append(found, m)
		}
	}
	if len(found) != 1 {
		var none M
		t.Fatalf("%d messages of type %T, want one: %v", len(found), none, sent)
	}
	return found[0]
}

func count[M Message](sent []packet) int {
	n := 0
	for _, p := range sent {
		if _, ok := p.message.(M); ok {
			n++
		}
	}
	return n
}

func noop(index id.Index, term id.Term) Entry {
	return Entry{Index: index, Term: term, Kind: EntryNoop}
}

func data(index id.Index, term id.Term, text string) Entry {
	return Entry{Index: index, Term: term, Kind: EntryCommand, Data: []byte(text)}
}

// ---- §5.1 terms and roles

func TestStartsAsFollowerWithoutLeaderM1M2(t *testing.T) {
	b := newBench(t, 3, HardState{Term: 3, Vote: nid(2)})
	s := b.m.node.Status()
	if s.Role != Follower || s.Leader != id.None || s.Term != 3 || s.Vote != nid(2) {
		t.Fatalf("starts as %v of %v in term %d, vote %v", s.Role, s.Leader, s.Term, s.Vote)
	}
}

func TestGreaterTermInAnyMessageMakesAFollowerM3M16M17M24(t *testing.T) {
	for _, r := range roles {
		for _, m := range []Message{
			PreVote{Term: 9, For: 5}, RequestVote{Term: 9, Transfer: true}, Vote{Term: 9}, Append{Term: 9}, AppendAccepted{Term: 9},
			AppendRejected{Term: 9}, Heartbeat{Term: 9}, HeartbeatAck{Term: 9}, TimeoutNow{Term: 8}, RequestRead{Term: 9},
			ReadAnswer{Term: 9}, NotMember{Term: 9}, InstallSnapshot{Term: 9, Snapshot: SnapshotMeta{Index: 50, Term: 2, Config: voters(3)}},
		} {
			b := inRole(t, r)
			b.from(2, m)
			s := b.m.node.Status()
			if s.Role != Follower || s.Term != m.SenderTerm() || b.m.image.hard.Term != m.SenderTerm() {
				t.Errorf("%v after %s: %v in term %d, on disk %d", r, messageText(m), s.Role, s.Term, b.m.image.hard.Term)
			}
		}
	}
}

func TestALeaderSeesAGreaterTermAndCompletesTheVoteM16(t *testing.T) {
	b := inRole(t, Leader)
	last, lastTerm := b.m.node.log.last, b.m.node.log.lastTerm()
	v := one[Vote](t, b.from(2, RequestVote{Term: 20, LastIndex: last, LastTerm: lastTerm, Transfer: true}))
	if !v.Granted || b.m.node.role != Follower || b.m.image.hard.Vote != nid(2) {
		t.Fatalf("vote %+v as %v, on disk for %v", v, b.m.node.role, b.m.image.hard.Vote)
	}
}

func TestAPreVoteNeverMovesATermM17M65M74(t *testing.T) {
	for _, r := range roles {
		b := inRole(t, r)
		before := b.m.node.term
		b.from(2, RequestPreVote{Term: 30, LastIndex: 90, LastTerm: 29})
		if b.m.node.term != before || r == Leader && b.m.node.role != Leader {
			t.Errorf("%v went from term %d to %d as %v", r, before, b.m.node.term, b.m.node.role)
		}
	}
}

func TestSmallerTermIsRefusedWithTheCurrentOneM23M34(t *testing.T) {
	for _, r := range roles {
		b := inRole(t, r)
		term, role := b.m.node.term, b.m.node.role
		if v := one[Vote](t, b.from(2, RequestVote{Term: term - 1, LastIndex: 99, LastTerm: term - 1})); v.Granted || v.Term != term {
			t.Errorf("%v: %+v", r, v)
		}
		if x := one[AppendRejected](t, b.from(2, Append{Term: term - 1, Entries: []Entry{noop(1, term-1)}})); x.Term != term {
			t.Errorf("%v: %+v", r, x)
		}
		if x := one[HeartbeatAck](t, b.from(2, Heartbeat{Term: term - 1})); x.Term != term {
			t.Errorf("%v: %+v", r, x)
		}
		if v := one[PreVote](t, b.from(2, RequestPreVote{Term: term - 1, LastIndex: 99, LastTerm: term - 1})); v.Granted || v.Term != term {
			t.Errorf("%v: %+v", r, v)
		}
		if b.m.node.role != role || b.m.node.term != term {
			t.Errorf("%v became %v in term %d", role, b.m.node.role, b.m.node.term)
		}
	}
}

// ---- §5.2 elections

func TestLeaderSendsHeartbeatsPeriodicallyM7M12(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.lead(t)
	for i := 0; i < 5; i++ {
		b.from(2, HeartbeatAck{Term: 1})
		due := b.m.node.heartbeatAt
		if sent := b.after(due.Sub(b.now) - 1); count[Heartbeat](sent) != 0 {
			t.Fatalf("a heartbeat before it is due: %v", sent)
		}
		if sent := b.after(1); count[Heartbeat](sent) != 2 {
			t.Fatalf("heartbeats to both followers when due, got %v", sent)
		}
	}
}

func TestSilenceStartsAnElectionM7M12M13(t *testing.T) {
	for _, r := range []Role{Follower, PreCandidate, Candidate} {
		b := inRole(t, r)
		before := b.m.node.term
		sent := b.timeout()
		if b.m.node.role != PreCandidate || b.m.node.term != before || count[RequestPreVote](sent) != 2 {
			t.Fatalf("%v: is %v in term %d after %d; sent %v", r, b.m.node.role, b.m.node.term, before, sent)
		}
		sent = b.from(2, PreVote{Term: before, For: before + 1, Granted: true})
		if b.m.node.role != Candidate || b.m.node.term != before+1 || b.m.image.hard.Vote != nid(1) || count[RequestVote](sent) != 2 {
			t.Fatalf("%v: is %v in term %d, vote %v; sent %v", r, b.m.node.role, b.m.node.term, b.m.image.hard.Vote, sent)
		}
	}
}

func TestElectedInOneRoundM5M14(t *testing.T) {
	for _, x := range []struct {
		size  int
		votes []int // 1 granted, 0 refused, from n2 on
		want  Role
	}{
		{1, nil, Leader}, {3, []int{1}, Leader}, {3, []int{1, 1}, Leader}, {3, []int{0, 1}, Leader},
		{5, []int{1, 1}, Leader}, {5, []int{1}, Candidate}, {5, []int{0, 1}, Candidate}, {3, []int{0}, Candidate},
		{3, []int{0, 0}, Follower}, {5, []int{0, 0, 0}, Follower}, {5, []int{1, 0, 0, 0}, Follower}, {3, nil, Candidate}, {4, []int{1}, Candidate}, {4, []int{1, 0, 1}, Leader},
	} {
		b := newBench(t, x.size, HardState{})
		if x.size > 1 {
			b.candidate(t)
		}
		for i, v := range x.votes {
			b.from(i+2, Vote{Term: 1, Granted: v == 1})
		}
		if got := b.m.node.role; got != x.want {
			t.Errorf("%d voters, votes %v: %v, want %v", x.size, x.votes, got, x.want)
		}
	}
}

func TestAWinnerContactsEveryoneAtOnceM14M30M31M62(t *testing.T) {
	b := newBench(t, 3, HardState{}, 1, 1)
	term, sent := b.lead(t)
	if count[Append](sent) != 2 {
		t.Fatalf("sent %v", sent)
	}
	for _, p := range sent {
		if a := p.message.(Append); a.Term != term || a.Prev != 2 || a.PrevTerm != 1 || len(a.Entries) != 1 || a.Entries[0].Kind != EntryNoop || a.Entries[0].Term != term {
			t.Errorf("%v", p)
		}
	}
}

func TestACandidateFollowsALeaderM15(t *testing.T) {
	for _, m := range []Message{Append{Term: 4}, Heartbeat{Term: 4}, Append{Term: 5}, Heartbeat{Term: 7}} {
		b := inRole(t, Candidate)
		b.from(2, m)
		if s := b.m.node.Status(); s.Role != Follower || s.Leader != nid(2) || s.Term != m.SenderTerm() {
			t.Errorf("after %s: %v of %v in term %d", messageText(m), s.Role, s.Leader, s.Term)
		}
	}
	b := inRole(t, Candidate)
	b.from(2, Append{Term: 3})
	if b.m.node.role != Candidate {
		t.Errorf("after an append of a smaller term: %v, want still a candidate", b.m.node.role)
	}
}

func TestFailedTermsAreFollowedByTheNextM11M18(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.lead(t)
	b.after(700 * id.Millisecond) // late by lateness, then no majority since a window
	b.timeout()
	for b.m.node.role == Leader {
		b.timeout()
	}
	for want := id.Term(2); want <= 3; want++ {
		if got := b.candidate(t); got != want {
			t.Fatalf("term %d, want %d", got, want)
		}
		b.from(2, Vote{Term: want})
		b.from(3, Vote{Term: want})
		if b.m.node.role != Follower {
			t.Fatalf("%v after two refusals", b.m.node.role)
		}
	}
	if term, _ := b.lead(t); term != 4 {
		t.Fatalf("leads term %d, want 4: 1 succeeded, 2 and 3 failed", term)
	}
}

func TestElectionTimeoutsAreRandomAndSpreadM6M8M9M11(t *testing.T) {
	b := newBench(t, 3, HardState{})
	n := b.m.node
	low, high := id.Never, id.Time(0)
	seen := map[id.Time]bool{}
	for i := 0; i < 2000; i++ {
		n.resetElection()
		d := n.election.at - n.now
		low, high = min(low, d), max(high, d)
		seen[d/id.Time(id.Millisecond)] = true
	}
	ms := id.Time(id.Millisecond)
	if low < 150*ms || high > 300*ms || low > 155*ms || high < 295*ms || len(seen) < 145 {
		t.Fatalf("from %d to %d ns, %d different milliseconds", low, high, len(seen))
	}
	// Conflicts are rare, but not excluded: of 1000 elections of five the two
	// shortest timeouts lie within 2 ms of each other in fewer than 150.
	conflicts := 0
	for seed := uint64(0); seed < 1000; seed++ {
		var at []id.Time
		for i := uint64(1); i <= 5; i++ {
			c := testConfig(nid(int(i)))
			c.Seed = seed*31 + i
			n, err := New(c, Restored{Start: LogStart{Config: voters(5)}})
			if err != nil {
				t.Fatal(err)
			}
			n.Step(0, nil, nil)
			at = append(at, n.Deadline())
		}
		slices.Sort(at)
		if at[1]-at[0] < 2*ms {
			conflicts++
		}
	}
	if conflicts == 0 || conflicts > 150 {
		t.Fatalf("%d conflicts in 1000 elections", conflicts)
	}
}

// ---- §5.2, §5.4.1 votes

func TestOneVotePerTermFirstComeM19M20M25M26M61(t *testing.T) {
	for _, x := range []struct {
		voted, asks int
		want        bool
	}{{0, 2, true}, {0, 3, true}, {2, 2, true}, {3, 3, true}, {2, 3, false}, {3, 2, false}} {
		b := newBench(t, 3, HardState{Term: 4, Vote: nid(x.voted)})
		if x.voted == 0 {
			b = newBench(t, 3, HardState{Term: 4})
		}
		if v := one[Vote](t, b.from(x.asks, RequestVote{Term: 4})); v.Granted != x.want {
			t.Errorf("voted for n%d, n%d asks: %v", x.voted, x.asks, v.Granted)
		}
	}
	// Not even after a restart.
	b := newBench(t, 3, HardState{Term: 4})
	b.from(2, RequestVote{Term: 5})
	b.m.crash(b.world, 0)
	if err := b.m.start(b.world); err != nil {
		t.Fatal(err)
	}
	b.drain()
	if v := one[Vote](t, b.from(3, RequestVote{Term: 5})); v.Granted {
		t.Error("two votes in term 5, one before a crash and one after")
	}
}

func TestAVoterComparesLogsM25M27M50(t *testing.T) {
	for _, x := range []struct {
		log  []id.Term
		term id.Term
		at   id.Index
		want bool
	}{
		{[]id.Term{1}, 1, 1, true}, {[]id.Term{1}, 1, 2, true}, {[]id.Term{1}, 2, 1, true},
		{[]id.Term{1, 1}, 1, 1, false}, {[]id.Term{1, 1}, 2, 1, true}, {[]id.Term{1, 1}, 1, 2, true},
		{[]id.Term{2}, 1, 1, false}, {[]id.Term{2}, 1, 9, false}, {[]id.Term{1, 2}, 1, 9, false}, {nil, 0, 0, true},
	} {
		b := newBench(t, 3, HardState{Term: 2}, x.log...)
		if v := one[Vote](t, b.from(2, RequestVote{Term: 3, LastTerm: x.term, LastIndex: x.at})); v.Granted != x.want {
			t.Errorf("log %v, candidate (%d, term %d): %v", x.log, x.at, x.term, v.Granted)
		}
		b = newBench(t, 3, HardState{Term: 2}, x.log...)
		if v := one[PreVote](t, b.from(2, RequestPreVote{Term: 2, LastTerm: x.term, LastIndex: x.at})); v.Granted != x.want {
			t.Errorf("pre-vote: log %v, candidate (%d, term %d): %v", x.log, x.at, x.term, v.Granted)
		}
	}
}

func TestAVoteIsIgnoredWhileALeaderWasHeardM22(t *testing.T) {
	ask := RequestVote{Term: 9, LastIndex: 99, LastTerm: 8}
	b := newBench(t, 3, HardState{Term: 3})
	b.from(2, Heartbeat{Term: 3})
	if sent := b.from(3, ask); len(sent) != 0 || b.m.node.term != 3 {
		t.Fatalf("term %d, sent %v", b.m.node.term, sent)
	}
	b.from(2, Heartbeat{Term: 3})
	if v := one[Vote](t, b.from(3, RequestVote{Term: 9, LastIndex: 99, LastTerm: 8, Transfer: true})); !v.Granted {
		t.Fatal("a transfer is the exception")
	}
	b = newBench(t, 3, HardState{Term: 3})
	b.from(2, Heartbeat{Term: 3})
	b.now = b.now.Add(150 * id.Millisecond)
	if v := one[Vote](t, b.from(3, ask)); !v.Granted {
		t.Fatal("after the shortest election timeout the leader counts as silent")
	}
}

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
