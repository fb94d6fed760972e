package dledger

import (
	"testing"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/sim"
)

func alone(term uint64, votedFor, leader lab.Node, entries ...uint64) *machine {
	m := newMachine(lab.Config{Self: 1, Voters: []lab.Node{1, 2, 3}, Ranks: []lab.Node{1, 2, 3}, Life: 2,
		Dice: sim.Stream(1, "test"), Settings: (&sim.Recipe{}).Configuration()})
	m.term, m.known, m.votedFor, m.leader = term, term, votedFor, leader
	if leader != 0 {
		m.role = follower
	}
	for _, e := range entries {
		m.log.Append(lab.Entry{Epoch: e})
	}
	return m
}

// The checks of a vote, each met where every later one would say something else.
func TestVotesAreCheckedInOrder(t *testing.T) {
	for _, c := range []struct {
		name   string
		m      *machine
		from   lab.Node
		v      VoteRequest
		want   result
		term   uint64 // afterwards
		raises bool
	}{
		{"V1: a stranger", alone(3, 0, 0), 7, VoteRequest{Term: 9, LedgerEndTerm: 9, LedgerEndIndex: 9}, unknownMember, 3, false},
		{"V2: an older ledger, in a larger term", alone(3, 0, 0, 2, 3), 2, VoteRequest{Term: 9, LedgerEndTerm: 2, LedgerEndIndex: 9}, expiredLedger, 3, false},
		{"V3: a shorter ledger, in a larger term", alone(3, 0, 0, 3, 3), 2, VoteRequest{Term: 9, LedgerEndTerm: 3, LedgerEndIndex: 1}, smallLedgerEnd, 3, false},
		{"V4: an older term", alone(3, 0, 0, 3), 2, VoteRequest{Term: 2, LedgerEndTerm: 3, LedgerEndIndex: 1}, expiredTerm, 3, false},
		{"V4: a larger term, and a leader is known", alone(3, 3, 3, 3), 2, VoteRequest{Term: 4, LedgerEndTerm: 3, LedgerEndIndex: 1}, notReady, 3, true},
		{"V5: voted, and the leader is known", alone(3, 3, 3, 3), 2, VoteRequest{Term: 3, LedgerEndTerm: 3, LedgerEndIndex: 1}, hasLeader, 3, false},
		{"V6: voted", alone(3, 3, 0, 3), 2, VoteRequest{Term: 3, LedgerEndTerm: 3, LedgerEndIndex: 1}, alreadyVoted, 3, false},
		{"V7: a forgotten term", alone(1, 0, 0, 3), 2, VoteRequest{Term: 1, LedgerEndTerm: 3, LedgerEndIndex: 1}, smallThanLedger, 1, false},
		{"V8", alone(3, 0, 0, 3), 2, VoteRequest{Term: 3, LedgerEndTerm: 3, LedgerEndIndex: 1}, accept, 3, false},
		{"V8: again, to the same", alone(3, 2, 0, 3), 2, VoteRequest{Term: 3, LedgerEndTerm: 3, LedgerEndIndex: 2}, accept, 3, false},
	} {
		turn := &lab.Turn{Now: 1000}
		if got := c.m.vote(turn, c.from, c.v); got != c.want || c.m.term != c.term || c.m.raise != c.raises {
			t.Errorf("%s: %s in term %d (raises: %t), want %s in term %d (%t)", c.name, got, c.m.term, c.m.raise, c.want, c.term, c.raises)
		}
		if c.want == accept && c.m.votedFor != c.from {
			t.Errorf("%s: the vote is not remembered", c.name)
		}
	}
}

// What a candidate makes of a round, in DLedger's order.
func TestARoundIsJudgedInOrder(t *testing.T) {
	for _, c := range []struct {
		name     string
		r        voteRound
		outcome  parse
		leads    bool
		atLeast  int64 // of the wait, in milliseconds
		lessThan int64
	}{
		{"E2: a larger term, and a leader", voteRound{valid: 3, highest: 5, leader: true}, waitToVoteNext, false, 300, 1001},
		{"E3: a leader", voteRound{valid: 3, accepted: 2, leader: true}, waitToRevote, false, 6300, 7001},
		{"E1: too few answers", voteRound{valid: 1, accepted: 1}, waitToRevote, false, 300, 1001},
		{"E4: ledgers ahead", voteRound{valid: 3, accepted: 1, larger: 2}, waitToRevote, false, 1300, 2001},
		{"E5: not ready", voteRound{valid: 3, accepted: 1, unready: 1}, revoteNow, false, 10, 11},
		{"E2: no result", voteRound{valid: 3, accepted: 1}, waitToVoteNext, false, 300, 1001},
		{"not E6: votes of the term before", voteRound{term: 2, valid: 3, accepted: 3}, revoteNow, false, 10, 11},
		{"E6: a majority", voteRound{valid: 3, accepted: 2}, waitToRevote, true, 0, 1},
	} {
		m := alone(3, 1, 0)
		r := c.r
		if r.term == 0 {
			r.term = 3
		}
		r.highest = max(r.highest, r.term)
		m.round = &r
		turn := &lab.Turn{Now: 5_000_000}
		m.conclude(turn)
		wait := int64(m.nextVote.Sub(turn.Now)) / 1_000_000
		if m.role == leads {
			wait = 0
		}
		if m.outcome != c.outcome || (m.role == leads) != c.leads || wait < c.atLeast || wait >= c.lessThan {
			t.Errorf("%s: outcome %d, role %s, waits %d ms", c.name, m.outcome, m.role, wait)
		}
	}
}

// What a majority reaches is the median.
func TestMedian(t *testing.T) {
	for _, c := range []struct {
		marks []int
		want  int
	}{{[]int{5, 0, 0}, 0}, {[]int{5, 4, 0}, 4}, {[]int{5, 4, 5}, 5}, {[]int{9, 7, 8, 1, 2}, 7}, {[]int{3}, 3}, {[]int{4, 2, 6, 8}, 4}} {
		if got := median(c.marks); got != c.want {
			t.Errorf("%v: %d, want %d", c.marks, got, c.want)
		}
	}
}

// COMPARE goes back to where the difference begins, a term at a time.
func TestCompareSaysWhereTheDifferenceBegins(t *testing.T) {
	m := alone(4, 0, 2, 1, 1, 2, 2, 2)
	for _, c := range []struct {
		index    int
		term     uint64
		want     result
		conflict int
	}{
		{0, 0, success, 0}, {2, 1, success, 0}, {5, 2, success, 0},
		{7, 4, inconsistentData, 0}, // behind my end: the answer names the end
		{5, 3, inconsistentData, 3}, {4, 3, inconsistentData, 3}, {2, 3, inconsistentData, 1},
	} {
		r := PushEntryResponse{Result: success}
		m.compareWith(PushEntryRequest{Index: c.index, Compare: c.term}, &r)
		if r.Result != c.want || r.Conflict != c.conflict {
			t.Errorf("index %d of term %d: %s, conflict %d; want %s, %d", c.index, c.term, r.Result, r.Conflict, c.want, c.conflict)
		}
	}
}

// A TRUNCATE is good once, behind its own COMPARE. One that the network brings again
// would remove what was appended, and counted, in the meantime.
func TestATruncateThatComesAgainRemovesNothing(t *testing.T) {
	m := alone(4, 0, 2, 1, 1, 2)
	push := func(p PushEntryRequest) int {
		p.Term = 4
		m.onPush(&lab.Turn{}, 2, p)
		return m.log.Len()
	}
	push(PushEntryRequest{Kind: compare, Index: 2, Compare: 1, Round: 7})
	if n := push(PushEntryRequest{Kind: truncate, Index: 3, Round: 7}); n != 2 {
		t.Fatalf("%d entries behind TRUNCATE", n)
	}
	push(PushEntryRequest{Kind: appendTo, Index: 3, Entries: []lab.Entry{{Op: 3, Epoch: 4}, {Op: 4, Epoch: 4}}, Commit: 4})
	push(PushEntryRequest{Kind: truncate, Index: 3, Round: 7})
	push(PushEntryRequest{Kind: compare, Index: 2, Compare: 1, Round: 6})
	if n := push(PushEntryRequest{Kind: truncate, Index: 3, Round: 6}); n != 4 || m.log.Decided() != 4 {
		t.Errorf("%d entries, %d decided: an old TRUNCATE took something away", n, m.log.Decided())
	}
	push(PushEntryRequest{Kind: compare, Index: 3, Compare: 4, Round: 8})
	if n := push(PushEntryRequest{Kind: truncate, Index: 4, Round: 8}); n != 3 {
		t.Errorf("%d entries behind the next TRUNCATE", n)
	}
}

// An answer to a question of a former life is not counted: the numbers of rounds
// begin with the life.
func TestAVoteOfAFormerLifeIsNotCounted(t *testing.T) {
	m := alone(3, 0, 0)
	m.Step(&lab.Turn{}, lab.Started{})
	m.ask(&lab.Turn{})
	old := VoteResponse{Term: 3, Result: accept, Round: m.round.number - 1<<32}
	if m.onVote(&lab.Turn{}, 2, old); m.role == leads || m.round.accepted != 1 {
		t.Errorf("%s with %d votes", m.role, m.round.accepted)
	}
	old.Round += 1 << 32
	if m.onVote(&lab.Turn{}, 2, old); m.role != leads {
		t.Errorf("%s with a majority", m.role)
	}
}
