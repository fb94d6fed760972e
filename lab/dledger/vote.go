package dledger

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/lab"
)

// vote answers a request, the node's own included, by DLedger's checks in
// DLedger's order. The ledgers are compared before the terms: a candidate whose
// ledger is behind moves nobody's term.
func (m *machine) vote(t *lab.Turn, from lab.Node, v VoteRequest) result {
	if !slices.Contains(m.c.Voters, from) {
		return unknownMember // V1
	}
	if !m.c.Broken(noLedgerCheck) {
		if v.LedgerEndTerm < m.endTerm() {
			t.Rule("V2", fmt.Sprintf("n%d's ledger ends in term %d, mine in %d: no vote", from, v.LedgerEndTerm, m.endTerm()))
			return expiredLedger
		}
		if v.LedgerEndTerm == m.endTerm() && v.LedgerEndIndex < m.log.Len() {
			t.Rule("V3", fmt.Sprintf("n%d's ledger ends at %d, mine at %d: no vote", from, v.LedgerEndIndex, m.log.Len()))
			return smallLedgerEnd
		}
	}
	if v.Term > m.term {
		if m.c.Broken(voteAtOnce) {
			m.stand(t, v.Term)
			m.nextTerm(t)
			m.round, m.raise, m.outcome = nil, false, waitToRevote
			m.nextVote = t.Now.Add(m.interval())
			m.turn = m.nextVote
		} else {
			if !m.raise {
				t.Rule("V4", fmt.Sprintf("n%d asks in term %d, I am in %d: candidate, term first, no vote yet", from, v.Term, m.term))
			}
			m.stand(t, v.Term)
			m.raiseSoon(t)
			return notReady
		}
	}
	switch {
	case v.Term < m.term:
		return expiredTerm // V4
	case m.votedFor != 0 && m.votedFor != from && m.leader != 0:
		t.Rule("V5", fmt.Sprintf("term %d has a leader, n%d: no vote for n%d", m.term, m.leader, from))
		return hasLeader
	case m.votedFor != 0 && m.votedFor != from:
		return alreadyVoted // V6
	case v.Term < m.endTerm():
		t.Rule("V7", fmt.Sprintf("my ledger ends in term %d: no vote in %d", m.endTerm(), v.Term))
		return smallThanLedger
	}
	if m.votedFor != from {
		m.votedFor = from
		m.saveTerm(t)
		t.Rule("V8", fmt.Sprintf("the vote of term %d goes to n%d", m.term, from))
	}
	return accept
}

// answerTerm is the term that goes with a result.
func (m *machine) answerTerm(r result) uint64 {
	if r == smallThanLedger {
		return m.endTerm()
	}
	return m.term
}

// stand makes it a candidate that knows of a term. The term itself is adopted by
// the maintainer (raiseSoon), or at the next round.
func (m *machine) stand(t *lab.Turn, term uint64) {
	if term < m.term {
		return
	}
	if m.role == leads {
		m.leave(t)
	}
	if m.role == follower {
		m.round = nil
		m.turn = t.Now
	}
	m.known = max(m.known, term)
	m.role, m.leader = candidate, 0
}

// raiseSoon lets the maintainer adopt the known term at its next turn, within 10 ms.
func (m *machine) raiseSoon(t *lab.Turn) {
	m.raise = true
	m.turn = min(m.turn, t.Now.Add(m.c.Dice.Duration(1, maintainer)))
}

// nextTerm adopts the largest known term, or the next.
func (m *machine) nextTerm(t *lab.Turn) {
	if m.known > m.term {
		m.term = m.known
	} else {
		m.term++
		m.known = m.term
	}
	m.votedFor = 0
	m.saveTerm(t)
}

// follow takes a leader of the present term.
func (m *machine) follow(t *lab.Turn, leader lab.Node) {
	m.role, m.leader, m.heard, m.met = follower, leader, t.Now, true
	m.outcome, m.round, m.raise = waitToRevote, nil, false
	m.nextVote = t.Now
}

// onHeartBeat answers a leader.
func (m *machine) onHeartBeat(t *lab.Turn, from lab.Node, h HeartBeatRequest) {
	r := success
	switch {
	case h.Term < m.term:
		r = heartbeatExpired
	case h.Term > m.term:
		t.Rule("V4", fmt.Sprintf("n%d leads in term %d, I am in %d: candidate, term first", from, h.Term, m.term))
		m.stand(t, h.Term)
		m.raiseSoon(t)
		r = heartbeatUnready
	case m.leader == from:
		m.heard = t.Now
	case m.leader == 0:
		t.Rule("L3", fmt.Sprintf("follows n%d in term %d", from, h.Term))
		m.follow(t, from)
	default:
		t.Rule("L4", fmt.Sprintf("n%d leads in term %d as well as n%d", from, h.Term, m.leader))
		r = inconsistent
	}
	t.SendAfter(m.token, from, HeartBeatResponse{Term: m.term, Result: r, Round: h.Round})
}
