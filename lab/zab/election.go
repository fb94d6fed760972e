package zab

import (
	"fmt"
	"maps"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// vote is for a leader, with what that server's history was when the vote was
// made.
type vote struct {
	leader lab.Node
	zxid   zxid
	epoch  uint64 // its currentEpoch
}

// better is the order of R3: the epoch first, then the zxid, then the myid.
func (m *machine) better(a, b vote) bool {
	if m.c.Broken(sidFirst) {
		return a.leader > b.leader
	}
	if a.epoch != b.epoch {
		return a.epoch > b.epoch
	}
	if a.zxid != b.zxid {
		return a.zxid > b.zxid
	}
	return a.leader > b.leader
}

// ballot is a vote as it was received.
type ballot struct {
	vote  vote
	round uint64
	state string
}

// election is FastLeaderElection's state. Nothing of it is on disk: a vote is an
// opinion, not a promise. What must not be broken is promised in discovery.
type election struct {
	round   uint64 // logicalclock
	vote    vote   // mine while LOOKING; afterwards the one that won
	won     uint64 // the round in which it did
	ballots map[lab.Node]ballot
	outside map[lab.Node]ballot // of servers that are not LOOKING, whatever their round
	resend  id.Duration
	again   id.Time // when votes are sent again if nothing comes
	final   id.Time // end of the final wait (R4); Never: none
}

func (e *election) deadline() id.Time {
	if e.final != id.Never {
		return e.final // during the final wait nothing is sent again
	}
	return e.again
}

// mine is the vote for myself. An observer votes for nobody (R16).
func (m *machine) mine() vote {
	if m.observes() {
		return vote{}
	}
	return vote{m.c.Self, m.history.last(), m.current}
}

// vote begins a round: one's own vote goes to everybody (R1).
func (m *machine) vote(t *lab.Turn, why string) {
	e := &m.election
	t.Rule("R1", why)
	e.round++
	e.ballots, e.outside = map[lab.Node]ballot{}, map[lab.Node]ballot{}
	e.resend = m.set.resendMin
	e.final = id.Never
	e.vote = m.mine()
	m.sendVotes(t)
	m.quorate(t)
}

// sendVotes tells every voter what I vote, and counts it as mine.
func (m *machine) sendVotes(t *lab.Turn) {
	e := &m.election
	for _, n := range m.c.Peers() {
		m.sendVote(t, n)
	}
	if !m.observes() {
		e.ballots[m.c.Self] = ballot{e.vote, e.round, looking}
	}
	e.again = t.Now.Add(e.resend)
}

func (m *machine) sendVote(t *lab.Turn, to lab.Node) {
	e := &m.election
	n := notification{vote: e.vote, round: e.round, state: m.state, sid: m.c.Self, life: m.c.Life}
	if m.state != looking {
		n.round = e.won
	}
	t.Send(to, n)
}

// notified: a vote came. Who is LOOKING gets an answer if it helps: of a server
// that is in office or follows one, its current vote (R6); of one that is LOOKING
// in a later round, the vote there (R2).
func (m *machine) notified(t *lab.Turn, from lab.Node, n notification) {
	if !slices.Contains(m.c.Voters, from) {
		m.sendVote(t, from) // an observer asks: its own vote means nothing
		return
	}
	if m.state != looking {
		if n.state != looking {
			return
		}
		if m.c.Broken(yieldToLarger) && m.state == leading && n.sid > m.c.Self {
			m.look(t, "broken: a leader makes way for a larger myid")
			return
		}
		m.sendVote(t, from)
		return
	}
	// On a new connection QuorumCnxManager sends the last vote once more: a server
	// that was just started need not wait until votes are sent again.
	fresh := m.met[from] != n.life
	m.met[from] = n.life
	m.consider(t, n)
	if m.state == looking && n.state == looking && (fresh || n.round < m.election.round) {
		m.sendVote(t, from)
	}
}

// consider is what a LOOKING server makes of a vote.
func (m *machine) consider(t *lab.Turn, n notification) {
	e := &m.election
	if !slices.Contains(m.c.Voters, n.vote.leader) {
		return
	}
	if e.final != id.Never {
		if !m.better(n.vote, e.vote) {
			// The source takes the message out of its queue and waits anew.
			e.final = t.Now.Add(m.set.finalWait)
			return
		}
		e.final = id.Never
	}
	e.again = t.Now.Add(e.resend)
	if n.state == looking {
		m.compare(t, n)
		return
	}
	m.joinOffice(t, n)
}

// compare is R2: my vote against one of a server that is LOOKING too.
func (m *machine) compare(t *lab.Turn, n notification) {
	e := &m.election
	switch {
	case n.round > e.round:
		e.round = n.round
		clear(e.ballots)
		e.vote = m.mine()
		if m.observes() || m.better(n.vote, e.vote) {
			e.vote = n.vote
		}
		t.Rule("R2", "a later round: the votes so far are void")
		m.sendVotes(t)
	case n.round < e.round:
		return
	case m.observes() && e.vote.leader == 0 || m.better(n.vote, e.vote):
		e.vote = n.vote
		t.Rule("R2", fmt.Sprintf("the vote for n%d is better and is taken over", e.vote.leader))
		m.sendVotes(t)
	}
	e.ballots[n.sid] = ballot{n.vote, n.round, n.state}
	m.quorate(t)
}

// quorate begins the final wait when a quorum votes as I do (R4).
func (m *machine) quorate(t *lab.Turn) {
	e := &m.election
	if e.final == id.Never && count(e.ballots, func(b ballot) bool { return b.vote == e.vote && b.round == e.round }) >= m.c.Quorum() {
		t.Rule("R4", fmt.Sprintf("a quorum votes for n%d: wait a moment for a better vote", e.vote.leader))
		e.final = t.Now.Add(m.set.finalWait)
	}
}

// joinOffice is R5: a vote of a server that is not LOOKING. If a quorum stands
// behind a leader, and the leader itself says that it leads, there is nothing to
// elect: whoever comes back joins, however large its myid.
func (m *machine) joinOffice(t *lab.Turn, n notification) {
	e := &m.election
	b := ballot{n.vote, n.round, n.state}
	if n.round == e.round {
		e.ballots[n.sid] = b
		same := func(o ballot) bool {
			if o.state == looking {
				return o.vote == b.vote && o.round == b.round
			}
			return o.vote.leader == b.vote.leader && o.vote.epoch == b.vote.epoch
		}
		if count(e.ballots, same) >= m.c.Quorum() && m.leads(e.ballots, b) {
			m.decided(t, b, "R5", fmt.Sprintf("a quorum of this round is with n%d, which leads", b.vote.leader))
			return
		}
	}
	e.outside[n.sid] = b
	same := func(o ballot) bool { return o.vote.leader == b.vote.leader && o.vote.epoch == b.vote.epoch }
	if count(e.outside, same) >= m.c.Quorum() && m.leads(e.outside, b) {
		e.round = n.round
		m.decided(t, b, "R5", fmt.Sprintf("n%d is in office with a quorum: it is joined, not challenged", b.vote.leader))
	}
}

// leads: the one voted for says itself that it leads; if that is me, it was in
// this round.
func (m *machine) leads(votes map[lab.Node]ballot, b ballot) bool {
	if b.vote.leader == m.c.Self {
		return b.round == m.election.round
	}
	return votes[b.vote.leader].state == leading
}

func count(votes map[lab.Node]ballot, fits func(ballot) bool) (n int) {
	for _, sid := range slices.Sorted(maps.Keys(votes)) {
		if fits(votes[sid]) {
			n++
		}
	}
	return n
}

func (m *machine) electionDue(t *lab.Turn) {
	e := &m.election
	if t.Now >= e.final {
		m.decided(t, ballot{e.vote, e.round, looking}, "R4", "no better vote came")
		return
	}
	if e.final == id.Never && t.Now >= e.again {
		e.resend = min(2*e.resend, m.set.resendMax)
		m.sendVotes(t)
	}
}

// decided ends the election: LEADING, FOLLOWING or OBSERVING.
func (m *machine) decided(t *lab.Turn, b ballot, rule, why string) {
	e := &m.election
	t.Rule(rule, why)
	e.vote, e.won = b.vote, b.round
	e.ballots, e.outside = nil, nil
	switch {
	case b.vote.leader == m.c.Self:
		m.state = leading
		m.beginLeading(t)
		return
	case m.observes():
		m.state = observing
	default:
		m.state = following
	}
	m.beginLearning(t, b.vote.leader)
}
