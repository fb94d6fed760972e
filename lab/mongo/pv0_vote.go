package mongo

import (
	"slices"
	"strconv"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// consider is R1: stand if nobody is primary, a majority answers, and this member
// is electable. Behind a sleep for a tie it stands whether there is a tie or not.
// The others see no candidate before the vote, only a secondary that asks.
func (p *pv0) consider(t *lab.Turn, woken bool) {
	if p.state != stateSecondary || p.standing() || p.primary != 0 || p.sleepUntil > t.Now {
		return
	}
	if why := p.unelectable(t); why != "" {
		if !p.free(t, p.c.Self) && p.majorityUp() {
			p.say(t, "R5", "I do not stand: "+why)
		}
		return
	}
	p.say(t, "R1", "nobody is primary and a majority answers: I ask whether I may stand")
	p.stand = candidacy{asking: true, woken: woken}
	p.open(t)
	fresh := Fresh{Round: p.stand.round, OpTime: p.oplog.last()}
	for _, n := range p.stand.waiting {
		t.Send(n, fresh)
	}
	p.freshDone(t) // where there is nobody to ask
}

// standing tells whether a round of its own is under way.
func (p *pv0) standing() bool { return p.stand.ends != id.Never }

// say reports a rule, but not the same again within ten seconds: who may not stand
// asks again at every heartbeat.
func (p *pv0) say(t *lab.Turn, rule, what string) {
	p.said = slices.DeleteFunc(p.said, func(s saying) bool { return s.at.Add(sayAgain) <= t.Now })
	if slices.ContainsFunc(p.said, func(s saying) bool { return s.what == what }) {
		return
	}
	if len(p.said) < saidMax {
		p.said = append(p.said, saying{what, t.Now})
	}
	t.Rule(rule, what)
}

// open begins a round of questions to everybody who is not known to be down.
func (p *pv0) open(t *lab.Turn) {
	p.round++
	s := &p.stand
	s.round, s.ends, s.waiting = p.round, t.Now.Add(roundGives), nil
	for _, q := range p.peers {
		if q.up || !q.known {
			s.waiting = append(s.waiting, q.node)
		}
	}
	s.asked = len(s.waiting)
}

// answered crosses a member off; false if its answer is none of this round.
func (p *pv0) answered(from lab.Node, round uint64, asking bool) bool {
	s := &p.stand
	i := slices.Index(s.waiting, from)
	if !p.standing() || s.round != round || s.asking != asking || i < 0 {
		return false
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	return true
}

// received takes the messages of an election.
func (p *pv0) received(t *lab.Turn, from lab.Node, b lab.Body) {
	switch b := b.(type) {
	case Fresh:
		t.Send(from, p.judge(t, from, b))
	case Elect:
		p.vote(t, from, b)
	case FreshReply:
		p.takeFresh(t, from, b)
	case ElectReply:
		p.takeVote(t, from, b)
	}
}

// judge is R3: is somebody fresher, and is there a reason against the candidate?
func (p *pv0) judge(t *lab.Turn, from lab.Node, f Fresh) FreshReply {
	r := FreshReply{Round: f.Round, OpTime: p.oplog.last(), Fresher: f.OpTime.before(p.newest())}
	q := p.peer(from)
	h := p.highest(t)
	switch {
	case p.state == statePrimary && !p.oplog.last().before(q.applied):
		r.Veto = "I am the primary"
	case p.primary != 0 && p.primary != from && p.primary != p.c.Self && !p.peer(p.primary).applied.before(q.applied):
		r.Veto = "n" + digit(p.primary) + " is primary and as fresh"
	case h != 0 && p.priority[h] > p.priority[from]:
		r.Veto = "n" + digit(h) + " is electable and has a higher priority"
	case p.unfit(q) != "":
		r.Veto = "not electable: " + p.unfit(q)
	}
	if p.c.Broken(NoVeto) {
		r.Veto = ""
	}
	if r.Veto != "" {
		p.say(t, "R3", "veto against n"+digit(from)+": "+r.Veto)
	}
	return r
}

// takeFresh is R2: any fresher one or veto ends it.
func (p *pv0) takeFresh(t *lab.Turn, from lab.Node, r FreshReply) {
	if !p.answered(from, r.Round, true) {
		return
	}
	switch {
	case (r.Fresher || p.oplog.last().before(r.OpTime)) && !p.c.Broken(NoFreshness):
		p.say(t, "R2", "n"+digit(from)+" knows a fresher member: I do not stand")
		p.lose(t, false)
		return
	case r.Veto != "":
		p.say(t, "R2", "n"+digit(from)+" vetoes: I do not stand")
		p.lose(t, false)
		return
	}
	if r.OpTime == p.oplog.last() && (r.OpTime != opTime{}) {
		p.stand.tied = from
	}
	p.freshDone(t)
}

// freshDone goes on to the vote when everybody has answered, or can no longer. R4: a
// tie is slept over, once; the first member of the configuration never sleeps.
func (p *pv0) freshDone(t *lab.Turn) {
	s := &p.stand
	if len(s.waiting) > 0 {
		return
	}
	if s.asked-s.failed+1 < p.c.Quorum() {
		p.say(t, "R2", "too few answer: I do not stand")
		p.lose(t, false)
		return
	}
	if s.tied != 0 && !s.woken && p.c.Self != p.c.Voters[0] {
		p.say(t, "R4", "n"+digit(s.tied)+" is as fresh as I am: a tie, I sleep a random while")
		p.lose(t, true)
		return
	}
	if p.state != stateSecondary || !p.free(t, p.c.Self) {
		p.lose(t, true) // meanwhile it has voted for another, or must roll back
		return
	}
	t.Rule("R5", "I vote for myself first")
	p.state = stateCandidate
	p.lease = lease{p.c.Self, t.Now}
	p.stand = candidacy{tally: 1}
	p.open(t)
	var token id.Token
	if p.c.Broken(DurableLease) {
		token = t.Persist(leases, p.lease)
	}
	for _, n := range p.stand.waiting {
		t.SendAfter(token, n, Elect{Round: p.stand.round})
	}
	p.count(t)
}

// free tells whether the lease allows a vote for a member.
func (p *pv0) free(t *lab.Turn, who lab.Node) bool {
	l := p.lease
	return p.c.Broken(NoLease) || l.Who == 0 || l.Who == who || l.When.Add(leaseTime) < t.Now
}

// vote is R7.
func (p *pv0) vote(t *lab.Turn, from lab.Node, e Elect) {
	r := ElectReply{Round: e.Round, Vote: vetoVote}
	h := p.highest(t)
	switch {
	case p.state == statePrimary:
		r.Why = "I am the primary"
	case p.primary != 0:
		r.Why = "n" + digit(p.primary) + " is primary"
	case h != 0 && p.priority[h] > p.priority[from]:
		r.Why = "n" + digit(h) + " is electable and has a higher priority"
	case !p.free(t, from):
		r.Vote, r.Why = 0, "my vote is n"+digit(p.lease.Who)+"'s until 30 s have passed"
	default:
		r.Vote = 1
	}
	if r.Vote == vetoVote && p.c.Broken(NoVeto) {
		r.Vote = 0
	}
	if r.Vote != 1 {
		p.say(t, "R7", signed(r.Vote)+" for n"+digit(from)+": "+r.Why)
		t.Send(from, r)
		return
	}
	p.say(t, "R7", "+1 for n"+digit(from)+", and to no other for 30 s")
	p.lease = lease{from, t.Now}
	if p.c.Broken(DurableLease) {
		t.SendAfter(t.Persist(leases, p.lease), from, r)
		return
	}
	t.Send(from, r) // nothing is written: a restart forgets this vote
}

// takeVote adds up.
func (p *pv0) takeVote(t *lab.Turn, from lab.Node, r ElectReply) {
	if p.answered(from, r.Round, false) {
		p.stand.tally += r.Vote
		p.count(t)
	}
}

// count is R8: when all have answered, or can no longer, more than half of all
// votes win.
func (p *pv0) count(t *lab.Turn) {
	s := &p.stand
	if len(s.waiting) > 0 {
		return
	}
	if p.state != stateCandidate {
		p.lose(t, true) // it must roll back
		return
	}
	if s.tally*2 <= len(p.c.Voters) {
		p.say(t, "R8", "the sum of the votes is "+signedSum(s.tally)+" and not more than half of "+count(len(p.c.Voters), "vote", "votes")+": I sleep and try again")
		p.lose(t, true)
		return
	}
	p.say(t, "R8", "the sum of the votes is "+signedSum(s.tally)+", more than half: I am primary")
	p.stand = candidacy{ends: id.Never}
	p.state = statePrimary
	p.slept = false
	p.elected = p.stamp(t).Stamp
	p.pull.source, p.pull.askedAt = 0, id.Never
	p.findPrimary()
}

// giveUpRound takes what has not answered in 30 s for failed: no vote, and no
// objection either.
func (p *pv0) giveUpRound(t *lab.Turn) {
	s := &p.stand
	s.ends = id.Never
	s.failed += len(s.waiting)
	s.waiting = nil
	if s.asking {
		p.freshDone(t)
		return
	}
	p.say(t, "R8", "the vote took longer than 30 s and does not count")
	p.lose(t, true)
}

// broke: the connection to a member is gone, so a question to it has failed. One
// that is only silent is waited for.
func (p *pv0) broke(t *lab.Turn, n lab.Node) {
	s := &p.stand
	i := slices.Index(s.waiting, n)
	if !p.standing() || i < 0 {
		return
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	s.failed++
	if s.asking {
		p.freshDone(t)
	} else {
		p.count(t)
	}
}

// lose ends the candidacy; with sleep the member does not stand again for a random
// while. A vote for itself is free again.
func (p *pv0) lose(t *lab.Turn, sleep bool) {
	if p.lease.Who == p.c.Self {
		p.lease = lease{}
	}
	p.stand = candidacy{ends: id.Never}
	if p.state == stateCandidate {
		p.state = stateSecondary
	}
	if sleep {
		p.slept = true
		p.sleepUntil = t.Now.Add(p.c.Dice.Duration(sleepMin, sleepMax))
	}
}

func signedSum(n int) string {
	if n > 0 {
		return "+" + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}
