package zen

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// round is one search for a master: the pings, what they found out, and what
// was made of it. It is over when a committed state names a master.
type round struct {
	number  uint64
	answers []answer // by node
	next    id.Time  // the next pings, or the next try of a join
	end     id.Time  // of the pings, of waiting for joins, of waiting for the join's answer
	target  lab.Node // joining: who is to be master
	tries   int
	seen    int // so many candidates in the round before, which were too few; 0: it was another reason
}

type answer struct {
	from    lab.Node
	master  lab.Node
	version uint64
}

// pingsPerRound: the source sends three rounds of pings in one ping time.
const pingsPerRound = 3

// search begins a new round. Joins that arrive meanwhile are kept: this node may
// be the one that wins.
func (m *machine) search(t *lab.Turn, rule, why string) {
	t.Rule(rule, why)
	m.pingAgain(t)
}

func (m *machine) pingAgain(t *lab.Turn) {
	m.role = pinging
	m.watches, m.foreign = nil, 0
	m.round = round{number: m.round.number + 1, next: t.Now, end: t.Now.Add(m.s.ping)}
	m.sendPings(t)
}

func (m *machine) sendPings(t *lab.Turn) {
	for _, n := range m.c.Peers() {
		t.Send(n, Ping{Round: m.round.number})
	}
	m.round.next = t.Now.Add(m.s.ping / pingsPerRound)
}

func (m *machine) pingAnswered(from lab.Node, a PingAnswer) {
	if m.role != pinging || a.Round != m.round.number {
		return
	}
	m.round.answers = slices.DeleteFunc(m.round.answers, func(o answer) bool { return o.from == from })
	m.round.answers = append(m.round.answers, answer{from: from, master: a.Master, version: a.Version})
}

func (m *machine) roundDue(t *lab.Turn) {
	r := &m.round
	switch {
	case m.role == pinging && t.Now >= r.end:
		m.judge(t)
	case m.role == pinging && t.Now >= r.next:
		m.sendPings(t)
	case m.role == electing && t.Now >= r.end:
		m.refuseJoins(t, "too few joined in time")
		m.search(t, "R4", fmt.Sprintf("fewer than %d joined in time: a new ping round", m.s.minimum-1))
	case m.role == joining && t.Now >= r.end:
		m.search(t, "R5", fmt.Sprintf("n%d did not answer the join: a new ping round", r.target))
	case m.role == joining && t.Now >= r.next:
		r.next = id.Never
		t.Send(r.target, Join{Life: m.me.Life})
	case m.role == calling && t.Now >= r.end:
		m.win(t)
	case m.role == awaiting && t.Now >= r.end:
		m.search(t, "D3", "no Victory came: asks again")
	}
}

// judge ends the pings: join a live master if anybody has one, else elect.
func (m *machine) judge(t *lab.Turn) {
	var masters []lab.Node
	masterless := m.eligibles([]lab.Node{m.c.Self})
	for _, a := range m.round.answers {
		switch a.master {
		case 0:
			masterless++
		case m.c.Self: // it has not noticed yet that this node is none
		default:
			masters = append(masters, a.master)
		}
	}
	if m.s.documentMode {
		m.judgeByDocument(t, masters, masterless)
		return
	}
	if len(masters) > 0 {
		live := slices.Min(masters)
		m.joinMaster(t, live, "R2", fmt.Sprintf("another node says that n%d is master: joins it, elects nobody", live))
		return
	}
	if candidates := len(m.round.answers) + m.eligibles([]lab.Node{m.c.Self}); candidates < m.s.minimum {
		if candidates != m.round.seen { // said once, not every three seconds
			t.Rule("R3", fmt.Sprintf("sees %d of the %d nodes an election needs: pings again", candidates, m.s.minimum))
		}
		m.pingAgain(t)
		m.round.seen = candidates
		return
	}
	candidates := m.round.answers
	if m.eligible(m.c.Self) {
		candidates = append(candidates, answer{from: m.c.Self, version: m.electionVersion()})
	}
	winner := candidates[0]
	for _, a := range candidates {
		if m.better(a, winner) {
			winner = a
		}
	}
	why := fmt.Sprintf("n%d wins: version %d is the highest, then the lowest id", winner.from, winner.version)
	if winner.version == 0 {
		why = fmt.Sprintf("n%d wins: nobody has a state yet, and it has the lowest id", winner.from)
	}
	if winner.from != m.c.Self {
		m.joinMaster(t, winner.from, "R5", why+"; joins it")
		return
	}
	t.Rule("R3", why)
	m.waitForJoins(t)
}

// eligible: a voter may be master (node.master). A learner follows, applies and
// counts nowhere.
func (m *machine) eligible(n lab.Node) bool { return slices.Contains(m.c.Voters, n) }

func (m *machine) eligibles(nodes []lab.Node) int {
	count := 0
	for _, n := range nodes {
		if m.eligible(n) {
			count++
		}
	}
	return count
}

// better orders candidates: the higher version, then the lower id.
func (m *machine) better(a, b answer) bool {
	if a.version != b.version && !m.c.Broken(NoVersion) {
		return a.version > b.version
	}
	return a.from < b.from
}

// waitForJoins is the election itself: the others' joins are the votes.
func (m *machine) waitForJoins(t *lab.Turn) {
	m.role = electing
	m.round.next, m.round.end = id.Never, t.Now.Add(m.s.waitJoins)
	m.countJoins(t)
}

func (m *machine) countJoins(t *lab.Turn) {
	var votes []lab.Node
	for _, j := range m.desk.joins {
		votes = append(votes, j.Node)
	}
	if m.role != electing || m.going != nil || m.eligibles(votes) < m.s.minimum-1 {
		return
	}
	t.Rule("R4", fmt.Sprintf("%d joins, and %d are needed: becomes master by publishing a state", m.eligibles(votes), m.s.minimum-1))
	m.round.end = id.Never // from here on the publication has its own timeouts
	s := m.successor()
	s.master, s.nodes = m.c.Self, []member{m.me}
	for _, j := range m.desk.joins {
		s.nodes = remember(s.nodes, j)
	}
	joins := m.desk.joins
	m.desk.joins = nil
	m.publish(t, s, nil, joins)
}

// joinMaster asks a node to be its master: as a vote (R5), or because it is one
// already (R2).
func (m *machine) joinMaster(t *lab.Turn, target lab.Node, rule, why string) {
	t.Rule(rule, why)
	m.refuseJoins(t, "not the master")
	m.role = joining
	m.round.target, m.round.tries = target, 1
	m.round.next, m.round.end = id.Never, t.Now.Add(m.s.join)
	t.Send(target, Join{Life: m.me.Life})
}

// joinAnswered: a refusal is tried again shortly, since the two may have judged
// at slightly different times. An acceptance comes after the state that has this
// node in it; without such a state it is worth nothing.
func (m *machine) joinAnswered(t *lab.Turn, from lab.Node, a JoinAnswer) {
	if m.role != joining || from != m.round.target {
		return
	}
	switch {
	case a.Refused == "":
		m.search(t, "R5", fmt.Sprintf("n%d accepts the join, but no state came: a new ping round", from))
	case m.s.documentMode:
		m.search(t, "D1", fmt.Sprintf("n%d refuses the join (%s): asks again", from, a.Refused))
	case m.round.tries >= joinTries:
		m.search(t, "R5", fmt.Sprintf("n%d refuses the join (%s) for the third time: a new ping round", from, a.Refused))
	default:
		m.round.tries++
		m.round.next = t.Now.Add(joinRetry)
	}
}

// joinAsked tries the way back first: a node that this one cannot reach shall
// not be counted.
func (m *machine) joinAsked(t *lab.Turn, from lab.Node, j Join) {
	if m.role == pinging || m.role == electing || m.role == calling || m.master == m.c.Self {
		t.Send(from, ValidateJoin{})
		return
	}
	t.Send(from, JoinAnswer{Refused: "not the master"})
}

func (m *machine) joinValidated(t *lab.Turn, from lab.Node, a ValidateJoinAnswer) {
	switch {
	case m.master == m.c.Self || m.role == electing || m.role == pinging || m.role == calling:
		m.desk.joins = remember(m.desk.joins, member{Node: from, Life: a.Life})
		m.countJoins(t)
		m.nextUpdate(t)
	default:
		t.Send(from, JoinAnswer{Refused: "not the master"})
	}
}

func (m *machine) refuseJoins(t *lab.Turn, why string) {
	for _, j := range m.desk.joins {
		t.Send(j.Node, JoinAnswer{Refused: why})
	}
	m.desk.joins = nil
}

func (m *machine) roundReset(t *lab.Turn, node lab.Node) {
	m.round.answers = slices.DeleteFunc(m.round.answers, func(a answer) bool { return a.from == node })
	if m.going == nil {
		m.desk.joins = slices.DeleteFunc(m.desk.joins, func(j member) bool { return j.Node == node })
	}
	if m.role == joining && m.round.target == node {
		m.search(t, "R5", fmt.Sprintf("the connection to n%d is gone: a new ping round", node))
	}
}
