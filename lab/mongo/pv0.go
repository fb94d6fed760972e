package mongo

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// Times of pv0.
const (
	leaseTime   = 30 * id.Second // a vote is not given to another for so long
	roundGives  = 30 * id.Second // an unanswered Fresh or Elect fails after this
	closeEnough = 10 * id.Second // older than the newest by more: not electable
	sleepMin    = 50 * id.Millisecond
	sleepMax    = 1049 * id.Millisecond
	vetoVote    = -10000
	sayAgain    = 10 * id.Second
	saidMax     = 32 // sayings kept; beyond, a rule is told each time
)

// leases is the file of the votes; only the switch durable-lease writes it.
const leases = "lease"

// lease is a vote: to whom, and when on this member's monotonic clock.
type lease struct {
	Who  lab.Node
	When id.Time
}

func (lease) Name() string { return "lease" }
func (l lease) Fields() []trace.Field {
	return []trace.Field{trace.Num("who", l.Who), trace.Num("when", uint64(l.When))}
}

// pv0 is one member of a set that speaks the protocol of before 3.2.
type pv0 struct {
	member
	lease      lease
	sleepUntil id.Time // it does not stand before
	slept      bool    // for a tie, the last time it stood
	elected    uint64  // wall clock when it became primary: R10 compares it
	stand      candidacy
	said       []saying // lately: a rule that fires at every heartbeat is told once
}

// saying is what was reported, and when.
type saying struct {
	what string
	at   id.Time
}

// candidacy is an election of this member's own.
type candidacy struct {
	round   uint64
	asking  bool // Fresh is under way, or else Elect
	waiting []lab.Node
	asked   int
	failed  int      // of the asked, how many cannot answer
	tied    lab.Node // who is as fresh; 0: nobody
	woken   bool     // it has slept over a tie
	tally   int
	ends    id.Time
}

func newPV0(c lab.Config, w string) lab.Machine {
	p := &pv0{stand: candidacy{ends: id.Never}}
	words := []string{"majority", "1"}
	if w == "1" {
		words = []string{"1", "majority"}
	}
	p.member = newMember(c, p, concern{
		majority:  c.Settings.Word("w", words...) == "majority",
		journaled: c.Settings.Word("journal", "no", "yes") == "yes",
	}, [3]string{ruleStand: "R1", ruleCatchUp: "R1", ruleRollback: "R12"})
	return p
}

// Step takes one event.
func (p *pv0) Step(t *lab.Turn, e lab.Event) {
	if s, ok := e.(lab.Started); ok && p.c.Broken(DurableLease) {
		for _, r := range s.Files[leases] {
			p.lease = r.(lease)
		}
	}
	p.member.Step(t, e)
}

// started: where the set begins, the first of the ranks stands first, as the
// member does on which an operator initiates it.
func (p *pv0) started(t *lab.Turn) {
	if p.c.Life == 1 && p.c.Self != p.c.Ranks[0] {
		p.sleepUntil = t.Now.Add(id.Second)
	}
	p.oplog.log.Decide(p.oplog.log.Len())
	if len(p.peers) == 0 {
		p.consider(t, true) // no heartbeat will ever be answered
	}
}

func (p *pv0) asked(*lab.Turn, lab.Node, Heartbeat) {}
func (p *pv0) durable(*lab.Turn, id.Token)          {}
func (p *pv0) adopt(*lab.Turn, uint64)              {}
func (p *pv0) cannotCatchUp(*lab.Turn)              {}

func (p *pv0) request(*lab.Turn, lab.Request) bool { return false }

// tell adds what pv0's heartbeat carries.
func (p *pv0) tell(t *lab.Turn, r *HeartbeatReply) {
	r.Electable = p.unelectable(t) == ""
	if p.state == statePrimary {
		r.ElectionTime = p.elected
	}
	r.Durable = opTime{}
}

// pulled: what is in the log counts as done; pv0 knows no commit point.
func (p *pv0) pulled(*lab.Turn, Batch) { p.oplog.log.Decide(p.oplog.log.Len()) }

// advanced answers the writes that enough members have. A stamp at least as new
// counts as having the write, whatever history it belongs to.
func (p *pv0) advanced(t *lab.Turn) {
	p.oplog.log.Decide(p.oplog.log.Len())
	if p.state == statePrimary {
		p.satisfy(t, p.majority())
	}
}

func (p *pv0) deadline() id.Time {
	d := p.stand.ends
	if p.state == stateSecondary && p.primary == 0 && p.slept {
		d = min(d, p.sleepUntil)
	}
	return d
}

func (p *pv0) due(t *lab.Turn) {
	if p.stand.ends <= t.Now {
		p.giveUpRound(t)
	}
	if p.slept && p.sleepUntil <= t.Now && p.state == stateSecondary && p.primary == 0 {
		p.slept = false
		p.consider(t, true)
	}
}

// heard judges the office after every heartbeat, answered or failed.
func (p *pv0) heard(t *lab.Turn, _ *peer) {
	if p.state == statePrimary {
		p.keepOffice(t)
		return
	}
	if p.primary == 0 {
		p.consider(t, false)
	}
}

// keepOffice: three reasons for which a primary leaves.
func (p *pv0) keepOffice(t *lab.Turn) {
	if h := p.highest(t); h != 0 && h != p.c.Self && p.priority[h] > p.priority[p.c.Self] {
		t.Rule("R9", "I step down for n"+digit(h)+": its priority is higher and it has caught up")
		p.stepDown(t)
		p.sleepUntil = t.Now.Add(leaseTime + heartbeatEvery)
		return
	}
	for _, q := range p.peers {
		if q.up && q.state == statePrimary && q.elected > p.elected {
			t.Rule("R10", "I step down for n"+digit(q.node)+", a primary elected after me")
			p.stepDown(t)
			return
		}
	}
	if !p.majorityUp() && !p.c.Broken(NoStepDown) {
		t.Rule("R11", "I see no majority any more: I step down")
		p.stepDown(t)
	}
}

func (p *pv0) stepDown(t *lab.Turn) {
	p.state = stateSecondary
	p.abandon(t)
	p.findPrimary()
	p.chooseSource(t)
}

// unelectable is why this member may not stand; empty if it may.
func (p *pv0) unelectable(t *lab.Turn) string {
	switch {
	case p.state == stateRollback:
		return "I am rolling back"
	case !p.majorityUp():
		return "I see no majority"
	case !p.oplog.last().within(closeEnough, p.newest()):
		return "I am more than 10 s behind the newest"
	case !p.free(t, p.c.Self):
		return "my vote is bound to n" + digit(p.lease.Who) + " for 30 s"
	}
	return ""
}

// unfit is why another member may not stand, as far as heartbeats tell.
func (p *pv0) unfit(q *peer) string {
	switch {
	case !q.up:
		return "I cannot reach it"
	case q.state != stateSecondary:
		return "it is not a secondary"
	case !q.applied.within(closeEnough, p.newest()):
		return "it is more than 10 s behind the newest"
	}
	return ""
}

// highest is the electable member of the highest priority, of equal ones the
// lowest number; 0 if there is none.
func (p *pv0) highest(t *lab.Turn) lab.Node {
	var best lab.Node
	for _, n := range p.c.Voters {
		fit := false
		if n == p.c.Self {
			fit = p.unelectable(t) == ""
		} else if q := p.peer(n); q != nil {
			fit = p.unfit(q) == "" && q.electable
		}
		if fit && (best == 0 || p.priority[n] > p.priority[best]) {
			best = n
		}
	}
	return best
}

func (p *pv0) details() []trace.Field {
	fields := []trace.Field{trace.Num("leased-to", p.lease.Who), trace.Num("leased-at", uint64(p.lease.When))}
	if p.state == stateCandidate {
		fields = append(fields, trace.Text("tally", signedSum(p.stand.tally)), trace.Num("unanswered", uint64(len(p.stand.waiting))))
	}
	return fields
}
