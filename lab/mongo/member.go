package mongo

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// What a member of a replica set is, to itself and to the others.
const (
	statePrimary   = "PRIMARY"
	stateSecondary = "SECONDARY"
	stateRollback  = "ROLLBACK"
	stateCandidate = "CANDIDATE" // to the others a secondary
	stateCatchUp   = "CATCHUP"   // to the others a primary; it refuses clients (pv1)
)

// Defaults of both versions.
const (
	heartbeatEvery = 2 * id.Second
	heartbeatGives = 10 * id.Second // heartbeatTimeoutSecs: then the other is down
	awaitData      = 5 * id.Second  // a source without news answers after this
	pullGives      = 10 * id.Second // awaitData and five seconds of grace for the network
	sourceRest     = id.Second      // a source that failed is not asked again before
	journalEvery   = 100 * id.Millisecond
	waitersMax     = 1000 // writes that wait for their write concern; beyond, refused
	batchMax       = 1000 // entries of one Batch
	scanMax        = 500  // opTimes of one OplogTail
)

// version is what pv0 and pv1 do differently. All are called inside a Step, after
// the shared part has taken note of the event.
type version interface {
	started(t *lab.Turn)
	received(t *lab.Turn, from lab.Node, m lab.Body)
	durable(t *lab.Turn, token id.Token)
	due(t *lab.Turn)
	deadline() id.Time
	// heard: a heartbeat of the peer was answered, or failed (then p.up is false).
	heard(t *lab.Turn, p *peer)
	// asked: somebody's heartbeat came in.
	asked(t *lab.Turn, from lab.Node, m Heartbeat)
	// tell fills in what a heartbeat's answer says of this version.
	tell(t *lab.Turn, r *HeartbeatReply)
	// broke: the connection to a member is gone; it was refused, or its process died.
	broke(t *lab.Turn, n lab.Node)
	// pulled: a sync source has answered; its entries are in the log.
	pulled(t *lab.Turn, m Batch)
	// adopt: a message shows a term (pv1).
	adopt(t *lab.Turn, term uint64)
	// cannotCatchUp: what a new primary lacks belongs to a history that parted from
	// its own (pv1).
	cannotCatchUp(t *lab.Turn)
	// advanced: somebody's position, or this one's own, has moved.
	advanced(t *lab.Turn)
	// request is a client's verb besides write and read; false if unknown.
	request(t *lab.Turn, r lab.Request) bool
	details() []trace.Field
}

// member is what pv0 and pv1 have in common: the oplog, heartbeats, pulling,
// rollback, clients. All of it but the oplog's journal is volatile.
type member struct {
	c        lab.Config
	v        version
	oplog    *oplog
	peers    []*peer // by number
	state    string
	primary  lab.Node // whom it takes for primary; itself if it is
	term     uint64   // pv0: always 0
	commit   opTime   // pv1: the newest majority-committed entry it knows of
	priority map[lab.Node]int
	pull     pull
	waiters  []waiter
	flushAt  id.Time     // of the journal, for writes that nobody waits for
	phase    id.Duration // of its beat: the members' journals are flushed independently
	round    uint64      // of heartbeats, pulls and elections: the newest number used
	told     position    // of its own, to the source
	settings concern
	numbers  [3]string // of the rules below, in this version
}

// Rules that both versions have, under different numbers.
const (
	ruleStand = iota
	ruleCatchUp
	ruleRollback
)

func (m *member) rule(which int) string { return m.numbers[which] }

// concern is what a recipe may set.
type concern struct {
	majority  bool // w: a write is answered when a majority has it; else when the primary has it
	journaled bool // a majority counts what is on disk, not what is in memory
	committed bool // reads show the majority-committed prefix; else all the primary has
}

// peer is what a member knows of another.
type peer struct {
	node      lab.Node
	up        bool
	known     bool // answered at least once, or failed, in this life
	state     string
	applied   opTime // the newest entry it is known to hold
	acked     opTime // the newest it has reported for write concerns, in memory
	durable   opTime // and on disk
	term      uint64
	electable bool
	elected   uint64  // pv0: when it became primary
	heardAt   id.Time // its last sign of life
	askedAt   id.Time // the heartbeat under way; never if none
	nextAt    id.Time // the next heartbeat
	round     uint64  // of the heartbeat under way
	renewed   bool    // heard, or failed, since this node won an election (pv1)
	restUntil id.Time // not a sync source before
	poll      poll    // what it has asked of this node
}

func newMember(c lab.Config, v version, s concern, numbers [3]string) member {
	m := member{c: c, v: v, oplog: &oplog{log: lab.NewLog()}, state: stateSecondary, flushAt: id.Never, settings: s, numbers: numbers, priority: map[lab.Node]int{}}
	equal := c.Settings.Word("priorities", "ranked", "equal") == "equal" || c.Broken(NoPriority)
	for i, n := range c.Ranks {
		m.priority[n] = len(c.Ranks) - i
		if equal {
			m.priority[n] = 1
		}
	}
	for _, n := range c.Peers() {
		m.peers = append(m.peers, &peer{node: n, askedAt: id.Never, nextAt: 0, state: stateSecondary, poll: poll{until: id.Never}})
	}
	m.pull.askedAt = id.Never
	m.phase = c.Dice.Duration(0, journalEvery)
	return m
}

// Step takes one event.
func (m *member) Step(t *lab.Turn, e lab.Event) {
	switch e := e.(type) {
	case lab.Started:
		m.oplog.replay(e.Files[journal])
		m.told = m.position()
		m.v.started(t)
		m.beat(t)
	case lab.Received:
		m.receive(t, e.From, e.Message)
	case lab.Durable:
		m.oplog.synced(e.Token)
		m.v.durable(t, e.Token)
		m.report(t)
		m.v.advanced(t)
	case lab.Due:
		m.beat(t)
		m.checkPull(t)
		m.flush(t)
		m.v.due(t)
	case lab.Asked:
		m.serve(t, e.Request)
	case lab.Reset:
		m.reset(t, e.Node)
	}
	m.feed(t)
}

func (m *member) receive(t *lab.Turn, from lab.Node, b lab.Body) {
	p := m.peer(from)
	if p == nil {
		return // not a member of the set
	}
	switch b := b.(type) {
	case Heartbeat:
		m.answerHeartbeat(t, from, b)
	case HeartbeatReply:
		m.heard(t, p, b)
	case GetMore:
		m.asks(t, p, b)
	case Batch:
		m.takeBatch(t, p, b)
	case OplogScan:
		m.scan(t, from, b)
	case OplogTail:
		m.takeTail(t, p, b)
	case UpdatePosition:
		p.heardAt = t.Now
		if !m.c.Broken(NoReportTerm) {
			m.v.adopt(t, b.Term)
		}
		m.takePositions(t, b)
	default:
		m.v.received(t, from, b)
	}
}

// Deadline is the earliest of all timers.
func (m *member) Deadline() id.Time {
	d := min(m.v.deadline(), m.flushAt)
	for _, p := range m.peers {
		if p.askedAt != id.Never {
			d = min(d, p.askedAt.Add(heartbeatGives))
		} else {
			d = min(d, p.nextAt)
		}
		d = min(d, p.poll.until)
	}
	if m.pull.askedAt != id.Never {
		d = min(d, m.pull.askedAt.Add(pullGives))
	}
	return d
}

// View is what the member believes.
func (m *member) View() lab.View {
	return lab.View{Role: m.state, Leads: m.state == statePrimary, Epoch: m.term, Leader: m.primary, Log: m.oplog.log}
}

// Details is what a person should see besides.
func (m *member) Details() []trace.Field {
	fields := []trace.Field{
		trace.Num("priority", uint64(m.priority[m.c.Self])), trace.Num("source", m.pull.source),
		trace.Text("last", m.oplog.last().String()), trace.Num("journaled", uint64(m.oplog.durable)),
	}
	return append(fields, m.v.details()...)
}

func (m *member) peer(n lab.Node) *peer {
	for _, p := range m.peers {
		if p.node == n {
			return p
		}
	}
	return nil
}

// isPrimary tells whether it holds the office, serving clients or not yet.
func (m *member) isPrimary() bool { return m.state == statePrimary || m.state == stateCatchUp }

// shown is the state the others are told.
func (m *member) shown() string {
	switch m.state {
	case stateCandidate:
		return stateSecondary
	case stateCatchUp:
		return statePrimary
	}
	return m.state
}

// majorityUp tells whether a majority, itself included, answers heartbeats.
func (m *member) majorityUp() bool {
	up := 1
	for _, p := range m.peers {
		if p.up {
			up++
		}
	}
	return up >= m.c.Quorum()
}

// newest is the newest opTime known, of itself or of a member that is up.
func (m *member) newest() opTime {
	newest := m.oplog.last()
	for _, p := range m.peers {
		if p.up && newest.before(p.applied) {
			newest = p.applied
		}
	}
	return newest
}

// journaled is the newest opTime on this member's disk.
func (m *member) journaled() opTime {
	return m.oplog.at(m.oplog.durable)
}
