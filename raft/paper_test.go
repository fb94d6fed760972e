package raft

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
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

// What a leader does: takes writes, keeps its own log and the followers', and
// sends heartbeats. And the two waits that are random, each drawn anew: for a
// leader's heartbeat, and for the outcome of an election.
func TestALeadersTasksAndTheRandomWaitsM89(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.lead(t)
	b.from(2, AppendAccepted{Term: 1, Match: 1}) // one follower's log is known
	sent := b.give(Propose{Proposals: []Proposal{{ID: ProposalID{Origin: nid(1), Sequence: 1}, Data: []byte("x")}}})
	if s := b.m.node.Status(); s.Last != 2 || s.Durable != 2 || count[Append](sent) != 1 {
		t.Errorf("a write: log to %d, durable to %d, sent %v", s.Last, s.Durable, sent)
	}
	if sent := b.after(b.m.node.heartbeatAt.Sub(b.now)); count[Heartbeat](sent) != 2 {
		t.Errorf("heartbeats when due: %v", sent)
	}
	c := b.m.node.cfg
	for _, r := range []Role{Follower, PreCandidate, Candidate} {
		seen := map[id.Duration]bool{}
		b := inRole(t, r)
		for range 50 {
			b.m.node.resetElection()
			wait := b.m.node.election.at.Sub(b.m.node.now)
			if wait < c.ElectionMin || wait > c.ElectionMax {
				t.Fatalf("%v waits %d ns, outside %d to %d", r, wait, c.ElectionMin, c.ElectionMax)
			}
			seen[wait] = true
		}
		if len(seen) < 40 {
			t.Errorf("%v: %d different waits of 50", r, len(seen))
		}
	}
}
