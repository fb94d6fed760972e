package redis

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// cluster is one life of one node of a Redis Cluster.
type cluster struct {
	c       lab.Config
	timeout id.Duration // cluster-node-timeout
	cover   bool        // cluster-require-full-coverage
	data    store

	epoch, lastVote uint64  // currentEpoch, lastVoteEpoch
	peers           []*peer // all nodes, this one too, by number
	me              *peer

	ok       bool    // cluster_state
	begun    id.Time // of this life
	minority id.Time // when it last heard too few masters
	nextPing id.Time
	now      id.Time // of the last step
	attempt  attempt
}

// peer is a node of the cluster in the eyes of another.
type peer struct {
	claim
	offset   int
	out      bool    // a ping has no answer yet
	pinged   id.Time // since then
	again    id.Time // when that ping is repeated, the connection being a new one
	heard    id.Time // its last pong
	pfail    bool
	fail     bool
	failed   id.Time
	reports  []report
	votedFor id.Time // when this node gave a vote to a replica of it; 0: never
}

// report is a master's word that it does not hear a node.
type report struct {
	by lab.Node
	at id.Time
}

const (
	pingEvery     = id.Second
	rejoinDelay   = 5 * id.Second // of a master that was in a minority
	writableDelay = 2 * id.Second // of a master that has started
	confFile      = "nodes.conf"
)

func newCluster(c lab.Config, aof bool) *cluster {
	m := &cluster{
		c: c, data: newStore(c, aof, 0), nextPing: id.Never, attempt: attempt{next: id.Never},
		cover:   c.Settings.Int("full-coverage", 0, 0, 1) == 1,
		timeout: c.Settings.Duration("node-timeout", 15*id.Second, 500*id.Millisecond, 600*id.Second),
	}
	m.know(founding(c.Ranks, c.Learners))
	return m
}

// know makes a table of nodes this node's own.
func (m *cluster) know(claims []claim) {
	m.peers = nil
	for _, c := range claims {
		p := &peer{claim: c}
		m.peers = append(m.peers, p)
		if c.Node == m.c.Self {
			m.me = p
		}
	}
}

// founding is the table a cluster is made with: the first rank has shard 0, the
// last two ranks have a shard each and vote, those between are the first's
// replicas, as are the learners, which never stand. Every master has a
// configuration epoch of its own.
func founding(ranks, learners []lab.Node) []claim {
	var claims []claim
	others := min(shards-1, len(ranks)-1)
	for i, n := range ranks {
		c := claim{Node: n, Master: ranks[0]}
		if shard := len(ranks) - i; i == 0 {
			c = claim{Node: n, Config: shards, Claims: 1}
		} else if shard <= others {
			c = claim{Node: n, Config: uint64(shard), Claims: 1 << (shards - shard)}
		}
		claims = append(claims, c)
	}
	for _, n := range learners {
		claims = append(claims, claim{Node: n, Master: ranks[0]})
	}
	slices.SortFunc(claims, func(a, b claim) int { return int(a.Node) - int(b.Node) })
	return claims
}

func (m *cluster) Step(t *lab.Turn, e lab.Event) {
	m.now = t.Now
	switch e := e.(type) {
	case lab.Started:
		m.start(t, e)
	case lab.Received:
		if !m.data.receive(t, e.From, e.Message) {
			m.receive(t, e.From, e.Message)
		}
	case lab.Due:
		m.data.due(t)
		m.cron(t)
	case lab.Asked:
		m.asked(t, e.Request)
	case lab.Reset:
		m.data.reset(t, e.Node)
		if p := m.peer(e.Node); p != nil && !p.out {
			p.out, p.pinged, p.again = true, t.Now, t.Now.Add(m.timeout/2) // a connection that cannot be made counts as a ping sent
		}
	}
	m.judgeState(t)
}

func (m *cluster) start(t *lab.Turn, e lab.Started) {
	m.epoch = shards
	if saved := e.Files[confFile]; len(saved) > 0 {
		conf := saved[len(saved)-1].(Conf)
		m.epoch, m.lastVote = conf.Epoch, conf.LastVote
		m.know(conf.Nodes)
	} else {
		m.save(t)
	}
	m.begun, m.minority = t.Now, t.Now.Add(-rejoinDelay)
	m.data.load(e.Files[aofFile])
	if m.me.Master != 0 {
		m.data.replicate(t, m.me.Master)
	}
	for _, p := range m.peers {
		p.heard = t.Now
		if p != m.me {
			m.ping(t, p)
		}
	}
	m.nextPing = t.Now.Add(m.c.Dice.Duration(0, pingEvery))
}

func (m *cluster) conf() Conf {
	c := Conf{Epoch: m.epoch, LastVote: m.lastVote}
	for _, p := range m.peers {
		c.Nodes = append(c.Nodes, p.claim)
	}
	return c
}

// save writes nodes.conf; whatever depends on it waits for the token.
func (m *cluster) save(t *lab.Turn) id.Token { return t.Persist(confFile, m.conf()) }

func (m *cluster) peer(n lab.Node) *peer {
	for _, p := range m.peers {
		if p.Node == n {
			return p
		}
	}
	return nil
}

// owner has a shard in this node's eyes; nil: nobody.
func (m *cluster) owner(shard int) *peer {
	for _, p := range m.peers {
		if p.Master == 0 && p.Claims>>shard&1 == 1 {
			return p
		}
	}
	return nil
}

// voter: a master with a shard, reachable or not.
func (p *peer) voter() bool { return p.Master == 0 && p.Claims != 0 }

func (m *cluster) quorum() int {
	size := 0
	for _, p := range m.peers {
		if p.voter() {
			size++
		}
	}
	return size/2 + 1
}

func (m *cluster) asked(t *lab.Turn, r lab.Request) {
	owner := m.owner(0)
	switch {
	case !m.ok:
		t.Refuse(r, 0, "R7 CLUSTERDOWN: too few masters are reachable")
	case owner == nil:
		t.Refuse(r, 0, "R6 CLUSTERDOWN: nobody has these slots")
	case owner != m.me:
		t.Refuse(r, owner.Node, "R6 MOVED")
	default:
		m.data.asked(t, r)
	}
}

// judgeState is R7, after every event: a master that does not reach a majority of
// the masters stops answering. With full-coverage 1, which is how redis comes, so
// does everybody while any shard has no master.
func (m *cluster) judgeState(t *lab.Turn) {
	isMaster := m.me.Master == 0
	if isMaster && !m.ok && t.Now.Sub(m.begun) < writableDelay {
		return
	}
	reachable, covered := 0, true
	for _, p := range m.peers {
		if p.voter() && !p.pfail && !p.fail {
			reachable++
		}
	}
	for s := range shards {
		owner := m.owner(s)
		covered = covered && (!m.cover || owner != nil && !owner.fail)
	}
	minority := reachable < m.quorum()
	if minority {
		m.minority = t.Now
	}
	ok := covered && !minority || m.c.Broken(NoFailState) && isMaster && m.me.Claims != 0
	switch {
	case ok == m.ok:
	case ok && isMaster && t.Now.Sub(m.minority) < rejoinDelay: // who was alone may have been replaced: it listens first
	case ok:
		m.ok = true
		if m.owner(0) == m.me {
			t.Rule("R7", "a majority of the masters is reachable: serves")
		}
	default:
		m.ok = false
		why := "a shard has no master"
		if minority {
			why = fmt.Sprintf("reaches %d of the %d masters that are a majority", reachable, m.quorum())
		}
		t.Rule("R7", why+": the cluster is down in its eyes")
	}
}

func (m *cluster) Deadline() id.Time {
	next := min(m.data.deadline(), m.nextPing, m.attempt.next)
	for _, p := range m.peers {
		switch {
		case p == m.me:
		case p.out:
			next = min(next, p.again)
			if !p.pfail && !p.fail {
				next = min(next, p.pinged.Add(m.timeout))
			}
		default:
			next = min(next, p.heard.Add(m.timeout/2))
		}
	}
	if !m.ok && m.me.Master == 0 {
		for _, at := range []id.Time{m.begun.Add(writableDelay), m.minority.Add(rejoinDelay)} {
			if at > m.now {
				next = min(next, at)
			}
		}
	}
	return next
}

func (m *cluster) View() lab.View {
	v := lab.View{Role: "replica", Log: m.data.log}
	if m.me.Master == 0 {
		v.Role = "master"
		if m.me.Claims&1 == 0 {
			v.Role = "master of other slots"
		}
	}
	if owner := m.owner(0); owner != nil {
		v.Leader, v.Epoch = owner.Node, owner.Config
		v.Leads = owner == m.me && m.ok
	}
	return v
}

func (m *cluster) Details() []trace.Field {
	var pfail, fail []lab.Node
	for _, p := range m.peers {
		if p.fail {
			fail = append(fail, p.Node)
		} else if p.pfail {
			pfail = append(pfail, p.Node)
		}
	}
	state := "fail"
	if m.ok {
		state = "ok"
	}
	return []trace.Field{
		trace.Text("cluster", state), trace.Num("current-epoch", m.epoch), trace.Num("last-vote-epoch", m.lastVote),
		trace.Num("shards", uint64(bits.OnesCount8(m.me.Claims))), trace.Num("offset", uint64(m.data.log.Len())),
		trace.Text("pfail", list(pfail)), trace.Text("fail", list(fail)), trace.Num("votes", uint64(len(m.attempt.votes))),
	}
}
