package mongo

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// Times of pv1.
const (
	electionTimeout = 10 * id.Second
	electionSpread  = electionTimeout * 15 / 100 // drawn on top of the timeout
	takeoverFresh   = 2 * id.Second              // how far behind a priority takeover may be
	catchUpTakeover = 30 * id.Second
	configVersion   = 1 // the configuration does not change in the lab
)

// votes is the file of the last vote.
const votes = "replset.election"

// lastVote is the vote of the newest term this member voted in.
type lastVote struct {
	Term      uint64
	Candidate lab.Node
}

func (lastVote) Name() string { return "LastVote" }
func (v lastVote) Fields() []trace.Field {
	return []trace.Field{trace.Num("term", v.Term), trace.Num("candidate", v.Candidate)}
}

// pv1 is one member of a set that speaks the protocol from 3.2 on.
type pv1 struct {
	member
	vote       lastVote // on disk
	votedAt    id.Time  // for the switch vote-lock alone
	electionAt id.Time  // R13: without a sign of a primary it stands then
	takeover   id.Time  // R10: for the sake of its priority
	overtake   id.Time  // R11: since the primary catches up too slowly
	stand      ballot
	catchUp    id.Duration // how long a new primary catches up; 0: as long as it takes
	catchBy    id.Time
	began      opTime // the no-op of the present office
}

// ballot is an election of this member's own.
type ballot struct {
	dry   bool
	term  uint64
	token id.Token // of its own vote; 0: it is on disk
	yes   int
	heard []lab.Node
	why   string
}

func newPV1(c lab.Config, w string) lab.Machine {
	p := &pv1{electionAt: id.Never, takeover: id.Never, overtake: id.Never, catchBy: id.Never}
	words := []string{"majority", "1"}
	if w == "1" {
		words = []string{"1", "majority"}
	}
	p.catchUp = c.Settings.Duration("catch-up", 0, 0, 3600*id.Second)
	p.member = newMember(c, p, concern{
		majority:  c.Settings.Word("w", words...) == "majority",
		journaled: !c.Broken(NoFsync),
		committed: c.Settings.Word("read", "local", "majority") == "majority",
	}, [3]string{ruleStand: "R1", ruleCatchUp: "R7", ruleRollback: "R9"})
	return p
}

// Step takes one event.
func (p *pv1) Step(t *lab.Turn, e lab.Event) {
	if s, ok := e.(lab.Started); ok {
		for _, r := range s.Files[votes] {
			p.vote = r.(lastVote)
		}
	}
	p.member.Step(t, e)
}

// started: the term is the newest it voted in or wrote in. Where the set begins,
// the first of the ranks stands at once, as the member does on which an operator
// initiates it.
func (p *pv1) started(t *lab.Turn) {
	p.term = max(1, p.vote.Term, p.oplog.last().Term)
	p.rearm(t)
	if p.c.Life == 1 && p.c.Self == p.c.Ranks[0] {
		p.electionAt = t.Now.Add(100 * id.Millisecond)
	}
}

// rearm is R13: a sign of a primary puts the next election off.
func (p *pv1) rearm(t *lab.Turn) {
	p.electionAt = t.Now.Add(electionTimeout + p.c.Dice.Duration(0, electionSpread))
}

func (p *pv1) deadline() id.Time {
	if p.isPrimary() {
		return min(p.loseAt(), p.catchBy)
	}
	return min(p.electionAt, p.takeover, p.overtake)
}

func (p *pv1) due(t *lab.Turn) {
	if p.isPrimary() {
		p.keepOffice(t)
		if p.catchBy <= t.Now && p.state == stateCatchUp {
			p.caughtUp(t, "the time for catching up is over")
		}
		return
	}
	if p.electionAt <= t.Now {
		p.rearm(t)
		why := "no sign of a primary for an election timeout"
		if p.c.Life == 1 && p.term == 1 && p.c.Self == p.c.Ranks[0] {
			why = "the set begins with me"
		}
		p.standUp(t, why)
	}
	if p.takeover <= t.Now {
		p.takeover = id.Never
		if q := p.peer(p.primary); q != nil && p.outranks(q) && p.oplog.last().within(takeoverFresh, q.applied) {
			t.Rule("R10", "my priority is higher than that of the primary n"+digit(q.node)+" and I am fresh: I take over")
			p.standUp(t, "a priority takeover")
		}
	}
	if p.overtake <= t.Now {
		p.overtake = id.Never
		if q := p.peer(p.primary); q != nil && p.leads(q) {
			t.Rule("R11", "the primary n"+digit(q.node)+" still catches up and I am the freshest: I take over")
			p.standUp(t, "a catch-up takeover")
		}
	}
}

// adopt is R5: a higher term is everybody's, and ends the office or candidacy of
// an older one.
func (p *pv1) adopt(t *lab.Turn, term uint64) {
	if term <= p.term {
		return
	}
	was := p.term
	p.term = term
	if p.isPrimary() {
		t.Rule("R5", "term "+digit(term)+" is newer than my "+digit(was)+": I step down")
		p.stepDown(t)
	}
	if p.state == stateCandidate {
		p.state = stateSecondary
	}
}

func (p *pv1) stepDown(t *lab.Turn) {
	p.state = stateSecondary
	p.catchBy = id.Never
	p.abandon(t)
	p.findPrimary()
	p.rearm(t)
	p.chooseSource(t)
}

// asked: a heartbeat brings the sender's term, and whom it takes for primary. Who
// learns of a primary by this asks everybody at once.
func (p *pv1) asked(t *lab.Turn, from lab.Node, m Heartbeat) {
	p.adopt(t, m.Term)
	if m.Primary == from && m.Term >= p.term && p.primary != from && !p.isPrimary() {
		q := p.peer(from)
		if q.askedAt == id.Never {
			q.nextAt = t.Now
			p.beat(t)
		}
	}
}

// tell adds what pv1's heartbeat carries.
func (p *pv1) tell(_ *lab.Turn, r *HeartbeatReply) {
	r.Term, r.Primary, r.Commit = p.term, p.primary, p.commit
}

// heard: a heartbeat shows the term, the primary, and how far the others are.
func (p *pv1) heard(t *lab.Turn, q *peer) {
	if q.up {
		p.adopt(t, q.term)
	}
	if p.isPrimary() {
		p.keepOffice(t)
		p.checkCatchUp(t)
		p.advanced(t)
		return
	}
	if q.up && q.node == p.primary && q.term == p.term {
		p.rearm(t)
	}
	p.planTakeovers(t)
}

// outranks tells whether q is in office in my term and of lower priority.
func (p *pv1) outranks(q *peer) bool {
	return q.up && q.state == statePrimary && q.term == p.term && p.priority[q.node] < p.priority[p.c.Self] && !p.c.Broken(NoTakeover)
}

// leads tells whether the primary q still lacks what this member, the freshest,
// has.
func (p *pv1) leads(q *peer) bool {
	last := p.oplog.last()
	return q.up && q.state == statePrimary && q.term == p.term && q.applied.Term < q.term && q.applied.before(last) && !last.before(p.newest())
}

// planTakeovers is R10 and R11: it sets the timers, or takes them back when their
// reason is gone.
func (p *pv1) planTakeovers(t *lab.Turn) {
	q := p.peer(p.primary)
	if q == nil {
		p.takeover, p.overtake = id.Never, id.Never
		return
	}
	switch {
	case !p.outranks(q):
		p.takeover = id.Never
	case p.takeover == id.Never:
		delay := electionTimeout * id.Duration(p.rank()+1)
		p.takeover = t.Now.Add(delay + p.c.Dice.Duration(0, electionSpread))
	}
	switch {
	case !p.leads(q):
		p.overtake = id.Never
	case p.overtake == id.Never:
		p.overtake = t.Now.Add(catchUpTakeover)
	}
}

// rank is how many members have a higher priority.
func (p *pv1) rank() int {
	rank := 0
	for _, n := range p.c.Voters {
		if p.priority[n] > p.priority[p.c.Self] {
			rank++
		}
	}
	return rank
}

// pulled: a source that knows of a primary is a sign of one.
func (p *pv1) pulled(t *lab.Turn, b Batch) {
	p.adopt(t, b.Term)
	if p.state == stateCatchUp {
		p.checkCatchUp(t)
		return
	}
	if b.Primary != 0 && b.Primary != p.c.Self && b.Term == p.term && !p.c.Broken(NoPullRearm) {
		p.rearm(t)
	}
}

func (p *pv1) broke(*lab.Turn, lab.Node) {}

// loseAt is when a majority will not have been heard of for an election timeout:
// R6 looks then.
func (p *pv1) loseAt() id.Time {
	if p.c.Broken(NoStepDown) {
		return id.Never
	}
	var heard [9]id.Time
	n := 0
	for _, q := range p.peers {
		heard[n] = q.heardAt
		for i := n; i > 0 && heard[i-1] < heard[i]; i-- {
			heard[i-1], heard[i] = heard[i], heard[i-1]
		}
		n++
	}
	if p.c.Quorum() < 2 {
		return id.Never
	}
	return heard[p.c.Quorum()-2].Add(electionTimeout)
}

// keepOffice is R6.
func (p *pv1) keepOffice(t *lab.Turn) {
	if !p.c.Broken(NoStepDown) && (p.loseAt() <= t.Now || !p.majorityUp()) {
		t.Rule("R6", "no majority in sight: I step down")
		p.stepDown(t)
	}
}

// request: hand-over is an operator's step down, with a chosen successor told to
// stand at once.
func (p *pv1) request(t *lab.Turn, r lab.Request) bool {
	if r.Verb != "hand-over" {
		return false
	}
	if p.state != statePrimary {
		t.Refuse(r, p.primary, p.excuse())
		return true
	}
	var best *peer
	for _, q := range p.peers {
		if q.up && q.state == stateSecondary && q.acked == p.oplog.last() && (best == nil || p.priority[q.node] > p.priority[best.node]) {
			best = q
		}
	}
	if best == nil {
		t.Refuse(r, p.c.Self, "R1 no secondary has caught up")
		return true
	}
	t.Rule("R1", "I step down and tell n"+digit(best.node)+" to step up")
	p.stepDown(t)
	t.Send(best.node, StepUp{Term: p.term})
	t.Tell(r, "handed over to n"+digit(best.node))
	return true
}

func (p *pv1) details() []trace.Field {
	fields := []trace.Field{trace.Num("voted-in", p.vote.Term), trace.Num("voted-for", p.vote.Candidate), trace.Text("committed", p.commit.String())}
	if p.state == stateCandidate {
		fields = append(fields, trace.Num("dry-run", bit(p.stand.dry)), trace.Num("votes", uint64(p.stand.yes)))
	}
	return fields
}
