package mongo

import (
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// standUp begins an election for one of the reasons of R1.
func (p *pv1) standUp(t *lab.Turn, why string) {
	if p.state == stateRollback || p.isPrimary() || !p.majorityUp() || p.locked(t, p.c.Self) {
		return
	}
	t.Rule("R1", "I stand for election: "+why)
	p.state = stateCandidate
	if p.c.Broken(NoDryRun) {
		p.campaign(t, why)
		return
	}
	t.Rule("R2", "a dry run first, in the present term "+digit(p.term))
	p.stand = ballot{dry: true, term: p.term, yes: 1, why: why}
	p.ask(t, 0)
	p.tally(t) // where there is nobody to ask
}

// campaign is R3: a new term, the own vote on disk, then everybody is asked.
func (p *pv1) campaign(t *lab.Turn, why string) {
	p.state = stateCandidate
	p.term++
	t.Rule("R3", "term "+digit(p.term)+": I vote for myself and ask all for their votes")
	p.stand = ballot{term: p.term, why: why}
	p.stand.token = p.keep(t, lastVote{p.term, p.c.Self})
	p.ask(t, p.stand.token)
	if p.stand.token == 0 {
		p.stand.yes = 1
	}
}

// keep writes a vote down. The token is 0 where a broken rule does not.
func (p *pv1) keep(t *lab.Turn, v lastVote) id.Token {
	p.vote, p.votedAt = v, t.Now
	if p.c.Broken(ForgetVote) {
		return 0
	}
	return t.Persist(votes, v)
}

// locked is pv0's lease, which terms have replaced.
func (p *pv1) locked(t *lab.Turn, who lab.Node) bool {
	return p.c.Broken(VoteLock) && p.vote.Candidate != 0 && p.vote.Candidate != who && t.Now < p.votedAt.Add(leaseTime)
}

func (p *pv1) ask(t *lab.Turn, after id.Token) {
	request := RequestVotes{DryRun: p.stand.dry, Term: p.stand.term, Config: configVersion, Applied: p.oplog.last()}
	for _, q := range p.peers {
		t.SendAfter(after, q.node, request)
	}
}

// durable: the own vote counts when it is on disk.
func (p *pv1) durable(t *lab.Turn, token id.Token) {
	if p.state == stateCandidate && p.stand.token != 0 && p.stand.token <= token {
		p.stand.token = 0
		p.stand.yes++
		p.tally(t)
	}
}

// received takes the messages of an election.
func (p *pv1) received(t *lab.Turn, from lab.Node, b lab.Body) {
	switch b := b.(type) {
	case RequestVotes:
		p.judge(t, from, b)
	case RequestVotesReply:
		p.takeVote(t, from, b)
	case StepUp:
		if b.Term == p.term && !p.isPrimary() && p.state != stateRollback {
			t.Rule("R1", "I stand for election: told to step up, so without a dry run")
			p.campaign(t, "told to step up")
		}
	}
}

// judge is R4.
func (p *pv1) judge(t *lab.Turn, from lab.Node, r RequestVotes) {
	if !r.DryRun {
		p.adopt(t, r.Term)
	}
	reply := RequestVotesReply{DryRun: r.DryRun, Asked: r.Term, Term: p.term, Granted: true}
	switch {
	case r.Term < p.term:
		reply.Why = "its term " + digit(r.Term) + " is older than " + digit(p.term)
	case r.Config != configVersion:
		reply.Why = "its configuration differs"
	case r.Applied.before(p.oplog.last()) && !p.c.Broken(NoLogCheck):
		reply.Why = "its log is behind mine"
	case p.locked(t, from):
		reply.Why = "a broken rule: I voted for n" + digit(p.vote.Candidate) + " less than 30 s ago"
	case !r.DryRun && p.vote.Term == r.Term && p.vote.Candidate != from:
		reply.Why = "I voted for n" + digit(p.vote.Candidate) + " in term " + digit(r.Term)
	}
	if reply.Why != "" {
		reply.Granted = false
		t.Rule("R4", "no vote for n"+digit(from)+": "+reply.Why)
		t.Send(from, reply)
		return
	}
	if r.DryRun {
		t.Rule("R4", "n"+digit(from)+" would get my vote")
		t.Send(from, reply)
		return
	}
	t.Rule("R4", "my vote in term "+digit(r.Term)+" goes to n"+digit(from)+"; it is on disk before I say so")
	t.SendAfter(p.keep(t, lastVote{r.Term, from}), from, reply)
}

// takeVote counts an answer.
func (p *pv1) takeVote(t *lab.Turn, from lab.Node, r RequestVotesReply) {
	p.adopt(t, r.Term)
	s := &p.stand
	if p.state != stateCandidate || r.DryRun != s.dry || r.Asked != s.term || slices.Contains(s.heard, from) {
		return
	}
	s.heard = append(s.heard, from)
	if r.Granted {
		s.yes++
	}
	p.tally(t)
}

// tally goes on when a majority has said yes, and ends when all have answered and
// it has not. Who never answers is waited for until the next election timeout.
func (p *pv1) tally(t *lab.Turn) {
	s := &p.stand
	switch {
	case s.token != 0: // its own vote is not on disk yet
	case s.yes >= p.c.Quorum() && s.dry:
		p.campaign(t, s.why)
	case s.yes >= p.c.Quorum():
		p.win(t)
	case len(s.heard) == len(p.peers):
		p.state = stateSecondary
	}
}

// win is R7: the office, but first what the others have and this one lacks.
func (p *pv1) win(t *lab.Turn) {
	t.Rule("R7", "elected in term "+digit(p.term)+" by "+count(p.stand.yes, "vote", "votes")+": I catch up before I serve")
	p.state = stateCatchUp
	p.primary = p.c.Self
	p.electionAt, p.takeover, p.overtake = id.Never, id.Never, id.Never
	p.began = opTime{}
	if p.catchUp > 0 {
		p.catchBy = t.Now.Add(p.catchUp)
	}
	for _, q := range p.peers {
		// The office begins with a majority that has just voted.
		if slices.Contains(p.stand.heard, q.node) {
			q.heardAt = t.Now
		}
	}
	p.restartHeartbeats(t)
	if p.c.Broken(NoCatchUp) {
		p.caughtUp(t, "a broken rule: without asking what the others have")
	}
	p.checkCatchUp(t)
}

// checkCatchUp looks whether everybody has been heard of since the election, or
// is down, and nobody has more.
func (p *pv1) checkCatchUp(t *lab.Turn) {
	if p.state != stateCatchUp {
		return
	}
	target := p.oplog.last()
	for _, q := range p.peers {
		if !q.renewed {
			return
		}
		if q.up && target.before(q.applied) {
			target = q.applied
		}
	}
	if target.compare(p.oplog.last()) > 0 {
		p.chooseSource(t)
		return
	}
	p.caughtUp(t, "nobody who answers has more than I")
}

// cannotCatchUp: a primary does not roll back, so it serves as it is, and whoever
// has the other history rolls back to this one (bgsync.cpp: "Rollback situation
// detected in catch-up mode").
func (p *pv1) cannotCatchUp(t *lab.Turn) {
	p.caughtUp(t, "the newest log is of another history than mine, and I shall not roll back")
}

// caughtUp opens the office with an entry of the new term: when a majority has it,
// everything before it is committed (R8).
func (p *pv1) caughtUp(t *lab.Turn, why string) {
	t.Rule("R7", why+": I write the no-op of term "+digit(p.term)+" and serve")
	p.state = statePrimary
	p.catchBy = id.Never
	p.dropSource(t)
	p.began = p.stamp(t)
	p.insert(t, lab.Entry{Epoch: p.term, Kind: "no-op"}, p.began)
}

// advanced is R8: committed is what a majority has on disk, if it is of the
// primary's own term; everything before goes with it.
func (p *pv1) advanced(t *lab.Turn) {
	if p.state != statePrimary {
		return
	}
	c := p.majority()
	if c.before(p.began) && !p.c.Broken(NoOwnTerm) {
		return
	}
	at, exact := p.oplog.find(c)
	if !exact || !p.commit.before(c) {
		return
	}
	p.commit = c
	p.oplog.log.Decide(at)
	p.satisfy(t, p.commit)
}
