package redis

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// promotion is a sentinel's failover of the master.
type promotion struct {
	state     step
	epoch     uint64
	since     id.Time  // of this state
	notBefore id.Time  // the next one may begin
	chosen    lab.Node // who becomes master
}

type step uint8

const (
	idle     step = iota
	electing      // S4, S5: asks the sentinels for their votes
	elected       // S5: its own vote is on its way to the disk
	waiting       // S7: the chosen replica was told, and has not yet said that it is master
)

func (s step) String() string { return [...]string{"watching", "electing", "elected", "promoting"}[s] }

// failover takes S3 to S8 a step further.
func (m *watched) failover(t *lab.Turn) {
	a := &m.attempt
	switch a.state {
	case idle:
		if m.learner(m.c.Self) || !m.objectively(t.Now) || t.Now < a.notBefore {
			return
		}
		m.office.Epoch++
		*a = promotion{state: electing, epoch: m.office.Epoch, since: t.Now}
		a.notBefore = m.later(t.Now)
		t.Rule("S3", fmt.Sprintf("enough sentinels say that n%d is down: objectively down, stands for election in epoch %d", m.office.Master, a.epoch))
		m.save(t)
		m.askOthers(t)
	case electing:
		m.count(t)
	case elected:
		if m.durable >= m.saved {
			m.choose(t)
		}
	case waiting:
		n := m.other(a.chosen)
		done := n != nil && n.role.Master == 0 && n.told > a.since || n == nil && m.role.Master == 0
		switch {
		case done:
			m.promoted(t)
		case t.Now.Sub(a.since) > m.set.failover:
			t.Rule("S7", fmt.Sprintf("n%d did not become master within the failover timeout: gives up", a.chosen))
			a.state = idle
		}
	}
}

// later is when a failover of the same master may be tried again: twice the
// failover timeout, and a moment of its own for every sentinel.
func (m *watched) later(now id.Time) id.Time {
	return now.Add(2*m.set.failover + m.c.Dice.Duration(0, desync))
}

// count is S5. A sentinel that stands votes for itself only now, if nobody is
// ahead: its voice goes to whoever leads in the count.
func (m *watched) count(t *lab.Turn) {
	a := &m.attempt
	votes := map[lab.Node]int{}
	for _, n := range m.nodes {
		if n.leader != 0 && n.epoch == a.epoch {
			votes[n.leader]++
		}
	}
	winner := m.c.Self
	for _, n := range m.c.Voters {
		if votes[n] > votes[winner] {
			winner = n
		}
	}
	m.vote(t, a.epoch, winner)
	if m.office.VoteEpoch == a.epoch {
		votes[m.office.Vote]++
	}
	if needed := m.needed(max(m.c.Quorum(), m.set.quorum)); votes[m.c.Self] >= needed {
		t.Rule("S5", fmt.Sprintf("%d votes in epoch %d: leads the failover", votes[m.c.Self], a.epoch))
		a.state = elected
		m.failover(t)
		return
	}
	if t.Now.Sub(a.since) > min(electionLimit, m.set.failover) {
		t.Rule("S5", fmt.Sprintf("%d votes in epoch %d are too few: not elected", votes[m.c.Self], a.epoch))
		a.state = idle
	}
}

// needed is how many sentinels it takes.
func (m *watched) needed(sentinels int) int {
	if m.c.Broken(OneSentinel) {
		return 1
	}
	return sentinels
}

// vote is S4: one vote per epoch, for the first who asks, on disk before it is
// told.
func (m *watched) vote(t *lab.Turn, epoch uint64, candidate lab.Node) {
	changed := epoch > m.office.Epoch
	m.office.Epoch = max(m.office.Epoch, epoch)
	if m.office.VoteEpoch < epoch && m.office.Epoch <= epoch {
		m.office.Vote, m.office.VoteEpoch = candidate, epoch
		changed = true
		if candidate != m.c.Self {
			m.attempt.notBefore = m.later(t.Now)
		}
		t.Rule("S4", fmt.Sprintf("votes for n%d in epoch %d", candidate, epoch))
	}
	if changed {
		m.save(t)
	}
}

// save writes sentinel.conf; what depends on it is sent after it.
func (m *watched) save(t *lab.Turn) { m.saved = t.Persist(sentinelFile, m.office) }

// choose is S6: of the replicas that are well, the one with the most operations,
// then the lowest id. (All priorities are the same here.)
func (m *watched) choose(t *lab.Turn) {
	a := &m.attempt
	var best *seen
	for _, n := range m.candidates(t.Now) {
		if best == nil || n.offset > best.offset {
			best = n
		}
	}
	if best == nil {
		t.Rule("S6", "no replica is fit to be promoted: gives up")
		a.state = idle
		return
	}
	a.state, a.since, a.chosen = waiting, t.Now, best.node
	t.Rule("S6", fmt.Sprintf("n%d has the most: %d operations; it becomes master", best.node, best.offset))
	if best.node == m.c.Self {
		m.told(t, ReplicaOf{Epoch: a.epoch})
		m.failover(t)
		return
	}
	t.Send(best.node, ReplicaOf{Epoch: a.epoch})
	t.Send(best.node, Info{})
}

// candidates are the replicas, this node's own process among them, by number.
func (m *watched) candidates(now id.Time) []*seen {
	var fit []*seen
	for _, n := range m.nodes {
		if n.node != m.office.Master && !m.learner(n.node) && n.role.Master != 0 && !n.down && now.Sub(n.avail) <= replicaLost && now.Sub(n.told) <= replicaLost {
			fit = append(fit, n)
		}
	}
	if m.role.Master != 0 {
		fit = append(fit, &seen{node: m.c.Self, role: m.role, offset: m.data.log.Len()})
	}
	slices.SortFunc(fit, func(a, b *seen) int { return int(a.node) - int(b.node) })
	return fit
}

// promoted ends the failover: the configuration gets its epoch, the other
// replicas are told, and the sentinels hear of it by HELLO.
func (m *watched) promoted(t *lab.Turn) {
	a := &m.attempt
	t.Rule("S7", fmt.Sprintf("n%d says that it is master: the configuration of epoch %d", a.chosen, a.epoch))
	a.state = idle
	m.monitor(t, a.chosen, a.epoch)
	for _, n := range m.nodes {
		if n.node != a.chosen && !n.down {
			n.sent = t.Now
			t.Send(n.node, ReplicaOf{Master: a.chosen, Epoch: a.epoch})
		}
	}
	if m.c.Self != a.chosen {
		m.told(t, ReplicaOf{Master: a.chosen, Epoch: a.epoch})
	}
	m.publish(t)
}

// monitor switches to another master. The sentinel begins anew with everybody:
// who was not heard before has its 30 s again.
func (m *watched) monitor(t *lab.Turn, master lab.Node, config uint64) {
	m.office.Master, m.office.Config = master, config
	m.save(t)
	m.attempt.state, m.attempt.notBefore = idle, t.Now
	for _, n := range m.nodes {
		n.agrees, n.same, n.down, n.out = 0, t.Now, false, false
		m.expect(n)
	}
}

// publish is HELLO: on the channel of the redis process beside it, which the
// other sentinels subscribe to. (They also hear each other through third
// processes; that way is not modelled.)
func (m *watched) publish(t *lab.Turn) {
	for _, n := range m.nodes {
		t.SendAfter(m.saved, n.node, Hello{Epoch: m.office.Epoch, Master: m.office.Master, Config: m.office.Config})
	}
}

func (m *watched) receive(t *lab.Turn, from lab.Node, b lab.Body) {
	n := m.other(from)
	if n == nil {
		return
	}
	switch b := b.(type) {
	case SentinelPing:
		t.Send(from, SentinelPong{})
	case SentinelPong:
		n.avail, n.out = t.Now, false
	case Info:
		t.Send(from, InfoReply{Role: m.role, Offset: m.data.log.Len()})
	case InfoReply:
		if n.role.Master != b.Role.Master {
			n.same = t.Now
		}
		n.role, n.offset, n.told = b.Role, b.Offset, t.Now
		if m.attempt.state == waiting {
			m.failover(t)
		}
	case IsMasterDown:
		m.downAsked(t, from, b)
	case IsMasterDownReply:
		if b.Master != m.office.Master {
			return
		}
		n.agrees = 0
		if b.Down {
			n.agrees = t.Now
		}
		if b.Leader != 0 {
			n.leader, n.epoch = b.Leader, b.LeaderEpoch
		}
		m.failover(t)
	case Hello:
		m.helloHeard(t, from, b)
	case ReplicaOf:
		m.told(t, b)
	}
}

func (m *watched) downAsked(t *lab.Turn, from lab.Node, q IsMasterDown) {
	if m.learner(m.c.Self) {
		return
	}
	master := m.other(m.office.Master)
	r := IsMasterDownReply{Master: q.Master, Down: master != nil && m.office.Master == q.Master && master.down}
	if q.Candidate != 0 && q.Master == m.office.Master {
		m.vote(t, q.Epoch, q.Candidate)
		r.Leader, r.LeaderEpoch = m.office.Vote, m.office.VoteEpoch
	}
	t.SendAfter(m.saved, from, r)
}

// helloHeard is S8 between sentinels: the higher configuration epoch wins.
func (m *watched) helloHeard(t *lab.Turn, from lab.Node, h Hello) {
	if h.Epoch > m.office.Epoch {
		m.office.Epoch = h.Epoch
		m.save(t)
	}
	if h.Config <= m.office.Config {
		return
	}
	t.Rule("S8", fmt.Sprintf("the sentinel at n%d has configuration epoch %d against %d: the master is n%d", from, h.Config, m.office.Config, h.Master))
	m.monitor(t, h.Master, h.Config)
}

// told is the redis process that gets REPLICAOF. It obeys whoever says so: redis
// knows of no epochs. (The epoch travels along for the record of who led when.)
func (m *watched) told(t *lab.Turn, r ReplicaOf) {
	if m.role.Master == r.Master && r.Master != 0 {
		return
	}
	if m.role.Master == 0 && r.Master == 0 {
		return
	}
	m.role = Role{Master: r.Master, Epoch: r.Epoch}
	t.Persist(redisFile, m.role)
	if r.Master == 0 {
		t.Rule("S7", "REPLICAOF NO ONE: is master")
		m.data.promote()
		return
	}
	t.Rule("S8", fmt.Sprintf("REPLICAOF n%d: is its replica", r.Master))
	m.data.replicate(t, r.Master)
}

// The sentinels' messages and files.
type (
	SentinelPing struct{}
	SentinelPong struct{}
	Info         struct{}
	InfoReply    struct {
		Role   Role
		Offset int
	}
	IsMasterDown struct {
		Master    lab.Node
		Epoch     uint64
		Candidate lab.Node // 0: only asks
	}
	IsMasterDownReply struct {
		Master      lab.Node
		Down        bool
		Leader      lab.Node // whom it has voted for; 0: no word about it
		LeaderEpoch uint64
	}
	Hello struct {
		Epoch  uint64
		Master lab.Node
		Config uint64
	}
	ReplicaOf struct {
		Master lab.Node // 0: NO ONE
		Epoch  uint64
	}

	// Role is what a redis process is.
	Role struct {
		Master lab.Node // 0: a master
		Epoch  uint64   // of the configuration that made it so
	}
	// Office is what a sentinel must not forget.
	Office struct {
		Epoch           uint64 // current-epoch
		Vote, VoteEpoch uint64 // leader, leader-epoch
		Master          lab.Node
		Config          uint64 // config-epoch
	}
)

func (SentinelPing) Name() string      { return "PING" }
func (SentinelPong) Name() string      { return "PONG" }
func (Info) Name() string              { return "INFO" }
func (InfoReply) Name() string         { return "INFO-REPLY" }
func (IsMasterDown) Name() string      { return "IS-MASTER-DOWN" }
func (IsMasterDownReply) Name() string { return "IS-MASTER-DOWN-REPLY" }
func (Hello) Name() string             { return "HELLO" }
func (ReplicaOf) Name() string         { return "REPLICAOF" }
func (Role) Name() string              { return "redis.conf" }
func (Office) Name() string            { return "sentinel.conf" }

func (SentinelPing) Fields() []trace.Field { return nil }
func (SentinelPong) Fields() []trace.Field { return nil }
func (Info) Fields() []trace.Field         { return nil }
func (m InfoReply) Fields() []trace.Field {
	return append(m.Role.Fields(), trace.Num("offset", uint64(m.Offset)))
}
func (m IsMasterDown) Fields() []trace.Field {
	return []trace.Field{trace.Num("master", m.Master), trace.Num("epoch", m.Epoch), trace.Num("candidate", m.Candidate)}
}
func (m IsMasterDownReply) Fields() []trace.Field {
	down := uint64(0)
	if m.Down {
		down = 1
	}
	return []trace.Field{trace.Num("down", down), trace.Num("leader", m.Leader), trace.Num("leader-epoch", m.LeaderEpoch)}
}
func (m Hello) Fields() []trace.Field {
	return []trace.Field{trace.Num("epoch", m.Epoch), trace.Num("master", m.Master), trace.Num("config-epoch", m.Config)}
}
func (m ReplicaOf) Fields() []trace.Field {
	return []trace.Field{trace.Num("master", m.Master), trace.Num("epoch", m.Epoch)}
}
func (m Role) Fields() []trace.Field {
	return []trace.Field{trace.Num("master", m.Master), trace.Num("epoch", m.Epoch)}
}
func (m Office) Fields() []trace.Field {
	return []trace.Field{
		trace.Num("epoch", m.Epoch), trace.Num("vote", m.Vote), trace.Num("vote-epoch", m.VoteEpoch),
		trace.Num("master", m.Master), trace.Num("config-epoch", m.Config),
	}
}
