package redis

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// watched is one life of a node that runs a redis process and, beside it, a
// sentinel that watches all redis processes. They die together; a sentinel and the
// redis process beside it need no network.
type watched struct {
	c    lab.Config
	set  monitor
	data store
	role Role // of the redis process: redis.conf, which a sentinel's command rewrites

	office  Office // of the sentinel: sentinel.conf
	nodes   []*seen
	tick    id.Time
	ping    id.Time
	hello   id.Time
	ask     id.Time
	attempt promotion
	saved   id.Token // the last write of sentinel.conf
	durable id.Token
}

// monitor is what a sentinel is configured with.
type monitor struct {
	down     id.Duration // down-after-milliseconds
	failover id.Duration // failover-timeout
	quorum   int         // sentinels that must agree that the master is down
}

// seen is another node in a sentinel's eyes: the redis process and the sentinel.
type seen struct {
	node   lab.Node
	avail  id.Time // its last answer
	out    bool    // a ping has no answer yet
	pinged id.Time // since then
	asked  id.Time // the last INFO
	down   bool    // SDOWN
	role   Role    // what INFO said last
	offset int
	told   id.Time // of the last INFO
	same   id.Time // since when the role is what it is
	agrees id.Time // when this sentinel last said that the master is down; 0: never
	leader lab.Node
	epoch  uint64 // of that vote
	sent   id.Time
}

const (
	sentinelPing  = id.Second
	sentinelHello = 2 * id.Second
	sentinelInfo  = 10 * id.Second
	sentinelAsk   = id.Second
	tickSlow      = id.Second            // while nothing is wrong, to save events
	tickFastest   = 50 * id.Millisecond  // the sentinel's timer, 10 to 20 times a second,
	tickFast      = 100 * id.Millisecond // at a pace drawn anew each time (S3)
	electionLimit = 10 * id.Second       // S5
	desync        = id.Second            // S4
	settle        = 4 * sentinelHello    // S8
	replicaLost   = 5 * sentinelPing     // S6: a replica not heard for this is no candidate
	agreement     = 5 * sentinelAsk      // S2: how long a sentinel's word holds
	sentinelFile  = "sentinel.conf"
	redisFile     = "redis.conf"
)

func newWatched(c lab.Config, mins int) *watched {
	const s = id.Second
	m := &watched{
		c: c, data: newStore(c, false, mins), tick: id.Never,
		set: monitor{
			down:     c.Settings.Duration("down-after", 30*s, s, 600*s),
			failover: c.Settings.Duration("failover-timeout", 180*s, s, 3600*s),
			quorum:   int(c.Settings.Int("quorum", int64(c.Quorum()), 1, 9)),
		},
		office: Office{Master: c.Ranks[0]},
	}
	for _, n := range slices.Concat(c.Peers(), c.Learners) {
		if n != c.Self {
			m.nodes = append(m.nodes, &seen{node: n})
		}
	}
	if c.Self != c.Ranks[0] {
		m.role.Master = c.Ranks[0]
	}
	return m
}

// learner: a replica that is never promoted (priority 0), without a sentinel that
// decides anything.
func (m *watched) learner(n lab.Node) bool { return slices.Contains(m.c.Learners, n) }

func (m *watched) Step(t *lab.Turn, e lab.Event) {
	switch e := e.(type) {
	case lab.Started:
		m.start(t, e)
	case lab.Received:
		if !m.data.receive(t, e.From, e.Message) {
			m.receive(t, e.From, e.Message)
		}
	case lab.Durable:
		m.durable = e.Token
		if m.attempt.state == elected {
			m.failover(t)
		}
	case lab.Due:
		m.data.due(t)
		if t.Now >= m.tick {
			m.timer(t)
		}
	case lab.Asked:
		m.asked(t, e.Request)
	case lab.Reset:
		m.data.reset(t, e.Node)
	}
}

func (m *watched) start(t *lab.Turn, e lab.Started) {
	if r := e.Files[redisFile]; len(r) > 0 {
		m.role = r[len(r)-1].(Role)
	}
	if o := e.Files[sentinelFile]; len(o) > 0 {
		m.office = o[len(o)-1].(Office)
	}
	m.data.load(e.Files[aofFile])
	if m.role.Master != 0 {
		m.data.replicate(t, m.role.Master)
	}
	for _, n := range m.nodes {
		n.avail, n.told, n.same = t.Now, t.Now, t.Now
		m.expect(n)
	}
	m.tick = t.Now.Add(m.c.Dice.Duration(0, tickSlow))
	m.ping, m.hello, m.ask = m.tick, m.tick, m.tick
	m.attempt.notBefore = t.Now
}

// expect takes a node for what the configuration says, until its INFO says
// otherwise.
func (m *watched) expect(n *seen) {
	n.role.Master = m.office.Master
	if n.node == m.office.Master {
		n.role.Master = 0
	}
}

func (m *watched) other(n lab.Node) *seen {
	for _, s := range m.nodes {
		if s.node == n {
			return s
		}
	}
	return nil
}

// asked: clients ask the sentinel beside the node where the master is, and then
// the redis process there.
func (m *watched) asked(t *lab.Turn, r lab.Request) {
	if m.role.Master != 0 {
		hint := m.office.Master
		if hint == m.c.Self {
			hint = 0
		}
		t.Refuse(r, hint, "S1 READONLY: a replica")
		return
	}
	m.data.asked(t, r)
}

// timer is the sentinel's heartbeat.
func (m *watched) timer(t *lab.Turn) {
	due := func(at *id.Time, every id.Duration) bool {
		if t.Now < *at {
			return false
		}
		*at = t.Now.Add(every)
		return true
	}
	master := m.other(m.office.Master) // nil: the redis process beside this sentinel
	troubled := master != nil && master.down || m.attempt.state != idle
	if due(&m.ping, sentinelPing) {
		for _, n := range m.nodes {
			if !n.out {
				n.out, n.pinged = true, t.Now
			}
			t.Send(n.node, SentinelPing{})
		}
	}
	every := sentinelInfo
	if troubled {
		every = id.Second
	}
	for _, n := range m.nodes {
		if t.Now.Sub(n.told) >= every && t.Now.Sub(n.asked) >= id.Second {
			n.asked = t.Now
			t.Send(n.node, Info{})
		}
	}
	if due(&m.hello, sentinelHello) {
		m.publish(t)
	}
	m.judgeDown(t)
	m.correct(t)
	m.failover(t)
	pace := tickSlow
	for _, n := range m.nodes {
		if t.Now.Sub(n.avail) > 2*sentinelPing || m.attempt.state != idle {
			pace = m.c.Dice.Duration(tickFastest, tickFast)
		}
	}
	m.tick = t.Now.Add(pace)
}

// judgeDown is S1, and S2's question to the other sentinels.
func (m *watched) judgeDown(t *lab.Turn) {
	for _, n := range m.nodes {
		down := n.out && t.Now.Sub(n.pinged) > m.set.down
		if down && !n.down && n.node == m.office.Master {
			t.Rule("S1", fmt.Sprintf("no answer from master n%d for %d s: subjectively down", n.node, m.set.down/id.Second))
			m.ask = t.Now
		}
		n.down = down
	}
	master := m.other(m.office.Master)
	if master == nil || !master.down || t.Now < m.ask {
		return
	}
	m.ask = t.Now.Add(sentinelAsk)
	m.askOthers(t)
}

// askOthers asks whether the master is down, and in a failover also for the vote.
func (m *watched) askOthers(t *lab.Turn) {
	q := IsMasterDown{Master: m.office.Master, Epoch: m.office.Epoch}
	if m.attempt.state == electing {
		q.Candidate = m.c.Self
	}
	for _, n := range m.nodes {
		t.SendAfter(m.saved, n.node, q)
	}
}

// objectively is S2: enough sentinels say so, and said it lately.
func (m *watched) objectively(now id.Time) bool {
	master := m.other(m.office.Master)
	if master == nil || !master.down {
		return false
	}
	count := 1
	for _, n := range m.nodes {
		if n.agrees != 0 && now.Sub(n.agrees) <= agreement {
			count++
		}
	}
	return count >= m.needed(m.set.quorum)
}

// correct is S8 in daily life: a node that says it is something else than this
// sentinel's configuration has it, for some time and with a master that looks
// well, is told.
func (m *watched) correct(t *lab.Turn) {
	if m.attempt.state != idle || !m.sane(t.Now) {
		return
	}
	for _, n := range m.nodes {
		wrong := n.node != m.office.Master && n.role.Master != m.office.Master
		wait := settle
		if n.role.Master != 0 {
			wait = m.set.failover // follows somebody else: a failover may be about to tell it
		}
		if !wrong || n.down || t.Now.Sub(n.same) <= wait || t.Now.Sub(n.told) > sentinelInfo*3 || t.Now.Sub(n.sent) <= settle {
			continue
		}
		n.sent = t.Now
		t.Rule("S8", fmt.Sprintf("n%d is no replica of n%d, as the configuration of epoch %d says: tells it", n.node, m.office.Master, m.office.Config))
		t.Send(n.node, ReplicaOf{Master: m.office.Master, Epoch: m.office.Config})
	}
}

// sane: the master is one, in its own words too.
func (m *watched) sane(now id.Time) bool {
	if m.office.Master == m.c.Self {
		return m.role.Master == 0
	}
	master := m.other(m.office.Master)
	return !master.down && master.role.Master == 0 && now.Sub(master.told) <= 2*sentinelInfo
}

func (m *watched) Deadline() id.Time { return min(m.tick, m.data.deadline()) }

func (m *watched) View() lab.View {
	v := lab.View{Role: "replica", Epoch: m.role.Epoch, Leader: m.role.Master, Log: m.data.log}
	if m.role.Master == 0 {
		v.Role, v.Leads, v.Leader = "master", true, m.c.Self
	}
	return v
}

func (m *watched) Details() []trace.Field {
	var down []lab.Node
	for _, n := range m.nodes {
		if n.down {
			down = append(down, n.node)
		}
	}
	return []trace.Field{
		trace.Text("sentinel", m.attempt.state.String()), trace.Num("monitors", m.office.Master),
		trace.Num("current-epoch", m.office.Epoch), trace.Num("config-epoch", m.office.Config),
		trace.Num("voted-for", m.office.Vote), trace.Num("vote-epoch", m.office.VoteEpoch),
		trace.Text("sdown", list(down)), trace.Num("offset", uint64(m.data.log.Len())),
	}
}
