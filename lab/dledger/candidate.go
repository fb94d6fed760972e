package dledger

import (
	"fmt"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// voteRound is one question to all, and what came back.
type voteRound struct {
	number   uint64
	term     uint64
	ends     id.Time
	heard    uint16 // who answered or is unreachable, as bits
	answered int
	valid    int // answered with a result
	accepted int
	unready  int
	larger   int // ledgers that are ahead of mine
	highest  uint64
	leader   bool // somebody has a leader
}

// campaign is the maintainer's turn of a candidate.
func (m *machine) campaign(t *lab.Turn) {
	if m.round != nil {
		if t.Now >= m.round.ends {
			m.conclude(t)
		}
		return
	}
	if t.Now < m.turn {
		return
	}
	if t.Now < m.nextVote && !m.raise {
		m.turn = m.nextVote
		return
	}
	if m.raise {
		m.raise = false
		m.nextTerm(t)
		m.outcome = waitToRevote
		t.Rule("E2", fmt.Sprintf("takes the larger term %d", m.term))
		m.nextVote = t.Now.Add(m.interval())
		m.turn = m.nextVote
		return
	}
	switch {
	case m.outcome == waitToVoteNext || m.c.Broken(voteAtOnce):
		m.nextTerm(t)
		t.Rule("E2", fmt.Sprintf("asks for votes in the next term, %d", m.term))
	case m.outcome == revoteNow && m.again == m.term: // said before
	case m.outcome == revoteNow:
		m.again = m.term
		t.Rule("E5", fmt.Sprintf("enough take the term: asks again at once in term %d", m.term))
	default:
		t.Rule("E1", fmt.Sprintf("asks for votes in the term it has, %d", m.term))
	}
	m.outcome = waitToRevote
	m.ask(t)
}

// interval is the random wait between two rounds. Until there was a first leader
// rank 1 has the shortest, so that every run begins with the same one.
func (m *machine) interval() id.Duration {
	if m.c.Life == 1 && !m.met {
		if m.c.Self == m.c.Ranks[0] {
			return m.voteMin
		}
		return m.c.Dice.Duration((m.voteMin+m.voteMax)/2, m.voteMax)
	}
	return m.c.Dice.Duration(m.voteMin, m.voteMax)
}

// ask begins a round: the own vote first, by the same checks.
func (m *machine) ask(t *lab.Turn) {
	m.rounds++
	r := &voteRound{number: m.rounds, term: m.term, highest: m.term}
	r.ends = t.Now.Add(voteWait + m.c.Dice.Duration(0, m.voteMax))
	m.round = r
	v := VoteRequest{Term: m.term, LedgerEndTerm: m.endTerm(), LedgerEndIndex: m.log.Len(), Round: r.number}
	own := m.vote(t, m.c.Self, v)
	for _, n := range m.c.Peers() {
		t.SendAfter(m.token, n, v)
	}
	m.onVote(t, m.c.Self, VoteResponse{Term: m.answerTerm(own), Result: own, Round: r.number})
}

// onVote counts an answer of the running round.
func (m *machine) onVote(t *lab.Turn, from lab.Node, v VoteResponse) {
	r := m.round
	if r == nil || m.role != candidate || v.Round != r.number || r.heard&(1<<from) != 0 {
		return
	}
	r.valid++
	switch v.Result {
	case accept:
		r.accepted++
	case hasLeader:
		r.leader = true
	case smallThanLedger, expiredTerm:
		r.highest = max(r.highest, v.Term)
	case expiredLedger, smallLedgerEnd:
		r.larger++
	case notReady:
		r.unready++
	}
	m.answered(t, from)
}

// answered ends the round when nothing more can change it.
func (m *machine) answered(t *lab.Turn, from lab.Node) {
	r := m.round
	if r == nil || r.heard&(1<<from) != 0 {
		return
	}
	r.heard |= 1 << from
	r.answered++
	q := m.c.Quorum()
	if r.leader || r.accepted >= q || r.accepted+r.unready >= q || r.answered == len(m.c.Voters) {
		m.conclude(t)
	}
}

// conclude draws the consequences of a round, in DLedger's order.
func (m *machine) conclude(t *lab.Turn) {
	r := m.round
	m.round = nil
	q := m.c.Quorum()
	wait := m.interval()
	m.outcome = waitToRevote
	switch {
	case m.raise:
		wait = 0 // a larger term came meanwhile: that first
	case r.highest > r.term:
		t.Rule("E2", fmt.Sprintf("somebody is in term %d: the next round is in it", r.highest))
		m.outcome = waitToVoteNext
		m.stand(t, r.highest)
	case r.leader:
		t.Rule("E3", "somebody has a leader: wait for its heartbeat, 3 intervals and a vote interval")
		wait += m.leak
	case r.valid < q:
		t.Rule("E1", fmt.Sprintf("%d of %d answered: the same term again", r.valid, len(m.c.Voters)))
	case r.valid-r.larger < q:
		t.Rule("E4", fmt.Sprintf("ledgers ahead of mine: %d of %d, wait longer", r.larger, r.valid))
		wait += m.voteMax
	case r.accepted >= q && r.term == m.term:
		m.lead(t)
		return
	case r.accepted+r.unready >= q:
		m.outcome = revoteNow
		wait = maintainer
	default:
		t.Rule("E2", fmt.Sprintf("votes: %d of %d answers, no result; the next round is in the next term", r.accepted, r.valid))
		m.outcome = waitToVoteNext
	}
	m.nextVote = t.Now.Add(wait)
	m.turn = m.nextVote
	if m.raise {
		m.turn = t.Now.Add(maintainer)
	}
}
