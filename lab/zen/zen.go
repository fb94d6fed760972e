package zen

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// The switches. Each is read in one place, beside its rule.
const (
	NoMinimum         faults.Switch = "no-minimum"           // R3, R4, R6, R9: one node is enough for everything
	NoVersion         faults.Switch = "no-version"           // R3: the lower id wins, whatever its state
	ApplyBeforeCommit faults.Switch = "apply-before-commit"  // R6: a node applies in phase 1
	NoAnswerAtTimeout faults.Switch = "no-answer-at-timeout" // R7: the client is answered only when the minimum has applied
	NoStepDown        faults.Switch = "no-step-down"         // R6, R9, R10: a master stays master
	NoFsync           faults.Switch = "no-fsync"             // R12: applied means written, not on disk
)

var switches = []lab.Switch{
	{Name: NoMinimum, What: "minimum_master_nodes is 1: a single node elects itself and commits alone"},
	{Name: NoVersion, What: "the lowest id wins the election even with an older state"},
	{Name: ApplyBeforeCommit, What: "a node applies an update when it arrives, before anybody committed it"},
	{Name: NoAnswerAtTimeout, What: "the client is answered only when the minimum of nodes has applied, not at the publish timeout"},
	{Name: NoStepDown, What: "a master that no longer reaches the minimum, or hears of a newer master, stays master"},
	{Name: NoFsync, What: "applying an update does not wait for the disk"},
}

// What bounds a node.
const (
	pendingMax = 25   // received updates that wait for their commit; the oldest goes (R8)
	batchMax   = 100  // client writes in one update
	writesMax  = 1000 // client writes that wait for the next update; more are refused
	joinTries  = 3
	joinRetry  = 100 * id.Millisecond
)

// role is what a node is busy with.
type role string

const (
	pinging  role = "pinging"  // R1: asks the others what they know
	electing role = "electing" // R4: has won by R3 and waits for joins, or publishes its first state
	calling  role = "calling"  // document mode: sent Election, waits for Alive
	awaiting role = "awaiting" // document mode: somebody better is alive, waits for its Victory
	joining  role = "joining"  // R5: has asked a node to be its master
	follower role = "follower"
	master   role = "master"
)

// times are the settings of discovery.zen with their defaults.
type times struct {
	minimum               int
	ping, join, waitJoins id.Duration
	detect, detectTimeout id.Duration
	retries               int
	commit, publish       id.Duration
	foreignPings          int
	alive, victory        id.Duration
	documentMode          bool
}

func settings(c lab.Config, minimum int, document bool) times {
	s := c.Settings
	return times{
		minimum:       int(s.Int("minimum", int64(minimum), 1, 9)),
		ping:          s.Duration("ping", 3*id.Second, 30*id.Millisecond, 60*id.Second),
		join:          s.Duration("join", 60*id.Second, id.Second, 600*id.Second),
		waitJoins:     s.Duration("wait-for-joins", 30*id.Second, id.Second, 600*id.Second),
		detect:        s.Duration("fd-interval", id.Second, 10*id.Millisecond, 60*id.Second),
		detectTimeout: s.Duration("fd-timeout", 30*id.Second, 100*id.Millisecond, 600*id.Second),
		retries:       int(s.Int("fd-retries", 3, 1, 10)),
		commit:        s.Duration("commit-timeout", 30*id.Second, 100*id.Millisecond, 600*id.Second),
		publish:       s.Duration("publish-timeout", 30*id.Second, 100*id.Millisecond, 600*id.Second),
		foreignPings:  int(s.Int("foreign-pings", 3, 1, 100)),
		alive:         s.Duration("alive", id.Second, 10*id.Millisecond, 60*id.Second),
		victory:       s.Duration("victory", 3*id.Second, 10*id.Millisecond, 60*id.Second),
		documentMode:  document,
	}
}

// machine is one life of one node.
type machine struct {
	c    lab.Config
	s    times
	me   member
	log  *lab.Log
	role role

	applied state    // committed and applied here; its ops are what reads see
	master  lab.Node // whom this node takes for master; 0: nobody
	shown   *chain   // what log holds: applied, or behind it what is pending
	made    uint64   // states made in this life, for their uuid

	saved   Saved  // version of the file "state"
	onDisk  *chain // its operations
	waiting []waiting

	// Phase 1 here, as one that receives.
	pending  []state
	lastSeen state // the newest that was sent here: what the next Send builds on

	round   round        // R1–R5
	desk    desk         // what waits for the next update (R6)
	going   *publication // the update that is being published
	past    *publication // the last one that was committed: its stragglers still get their commit
	gather  *gathering   // R12
	watches []watch      // fault detection: of the master, or of the members
	numbers uint64       // of fault detection pings
	foreign int          // R10: pings from another master
}

// waiting is what happens when a write is durable.
type waiting struct {
	token id.Token
	then  func(t *lab.Turn)
}

func newMachine(c lab.Config, s times) *machine {
	if c.Broken(NoMinimum) {
		s.minimum = 1
	}
	return &machine{c: c, s: s, me: member{Node: c.Self, Life: uint64(c.Life)}, log: lab.NewLog()}
}

func (m *machine) Step(t *lab.Turn, e lab.Event) {
	switch e := e.(type) {
	case lab.Started:
		m.start(t, e.Files["state"])
	case lab.Received:
		m.receive(t, e.From, e.Message)
	case lab.Durable:
		m.durable(t, e.Token)
	case lab.Due:
		m.due(t)
	case lab.Asked:
		m.asked(t, e.Request)
	case lab.Reset:
		m.reset(t, e.Node)
	}
}

func (m *machine) start(t *lab.Turn, records []lab.Body) {
	for _, b := range records {
		r := b.(Saved)
		m.onDisk, m.saved.Version = m.onDisk.first(r.Keep).push(r.Ops...), r.Version
	}
	// Not recovered: these are on disk, and no cluster state yet (R12).
	m.applied = state{ops: m.onDisk}
	m.show(m.onDisk)
	m.log.Decide(m.log.Len())
	m.search(t, "R1", "starts: a ping round")
}

func (m *machine) receive(t *lab.Turn, from lab.Node, b lab.Body) {
	switch b := b.(type) {
	case Ping:
		t.Send(from, PingAnswer{Round: b.Round, Master: m.master, Version: m.electionVersion()})
	case PingAnswer:
		m.pingAnswered(from, b)
	case Join:
		m.joinAsked(t, from, b)
	case ValidateJoin:
		t.Send(from, ValidateJoinAnswer{Life: m.me.Life})
	case ValidateJoinAnswer:
		m.joinValidated(t, from, b)
	case JoinAnswer:
		m.joinAnswered(t, from, b)
	case MasterPing:
		m.masterPinged(t, from, b)
	case MasterAnswer:
		m.masterAnswered(t, from, b)
	case NodePing:
		m.nodePinged(t, from, b)
	case NodeAnswer:
		m.nodeAnswered(t, from, b)
	case Rejoin:
		m.toldToRejoin(t, from)
	case Send:
		m.sent(t, from, b)
	case SendAck:
		m.sendAcked(t, from, b)
	case SendRefused:
		m.sendRefused(t, from, b)
	case Commit:
		m.committed(t, from, b)
	case CommitAck:
		m.commitAcked(t, from, b)
	case AskMetadata:
		t.Send(from, Metadata{Version: m.saved.Version, Ops: m.onDisk.behind(0)})
	case Metadata:
		m.metadata(t, from, b)
	case Election:
		m.electionCalled(t, from, b)
	case Alive:
		m.aliveHeard(t, from)
	case Victory:
		m.victoryHeard(t, from, b)
	}
}

func (m *machine) durable(t *lab.Turn, token id.Token) {
	for len(m.waiting) > 0 && m.waiting[0].token <= token {
		w := m.waiting[0]
		m.waiting = m.waiting[1:]
		w.then(t)
	}
}

func (m *machine) due(t *lab.Turn) {
	m.roundDue(t)
	m.publicationDue(t)
	m.watchesDue(t)
}

func (m *machine) Deadline() id.Time {
	next := min(m.round.next, m.round.end)
	if m.role == follower || m.role == master {
		next = id.Never
	}
	if m.going != nil {
		next = min(next, m.going.deadline())
	}
	for _, w := range m.watches {
		next = min(next, w.next)
	}
	return next
}

// asked answers what the clients want. Only a master answers, out of what it has
// applied; the source would let others forward a write and read their own state.
func (m *machine) asked(t *lab.Turn, r lab.Request) {
	switch {
	case r.Verb != "write" && r.Verb != "read":
		t.Refuse(r, 0, fmt.Sprintf("unknown verb %q; Zen knows write and read", r.Verb))
	case m.master == 0:
		t.Refuse(r, 0, "R9 no master is known here")
	case m.master != m.c.Self:
		t.Refuse(r, m.master, "R5 not the master")
	case !m.applied.recovered:
		t.Refuse(r, 0, "R12 the state is not recovered yet")
	case r.Verb == "read":
		t.Serve(r, m.applied.ops.len())
	case len(m.desk.writes) >= writesMax:
		t.Refuse(r, 0, fmt.Sprintf("R6 %d updates wait already", writesMax))
	default:
		m.desk.writes = append(m.desk.writes, r)
		m.nextUpdate(t)
	}
}

// reset is a broken connection: fault detection, joins and updates take it for a
// failure at once, without retries.
func (m *machine) reset(t *lab.Turn, node lab.Node) {
	m.watchReset(t, node)
	m.publicationReset(t, node)
	m.roundReset(t, node)
}

// electionVersion is what counts in R3. A process that has not recovered a state
// since it started says 0, whatever is on its disk.
func (m *machine) electionVersion() uint64 {
	if !m.applied.recovered {
		return 0
	}
	return m.applied.version
}

// show makes the log hold a list of operations.
func (m *machine) show(ops *chain) {
	same := common(m.shown, ops).len()
	m.log.Truncate(same)
	for _, e := range ops.behind(same) {
		m.log.Append(e)
	}
	m.shown = ops
}

// adopt makes a committed state this node's own, and writes its metadata if that
// changed (R12). What then asks for waits for the disk.
func (m *machine) adopt(t *lab.Turn, s state, then func(t *lab.Turn)) {
	m.applied = s
	m.show(s.ops)
	m.log.Decide(s.ops.len())
	if s.ops == m.onDisk {
		m.whenWritten(t, then)
		return
	}
	keep := common(m.onDisk, s.ops).len()
	m.saved.Version, m.onDisk = s.version, s.ops
	t.Write("state", Saved{Version: s.version, Keep: keep, Ops: s.ops.behind(keep)})
	if m.c.Broken(NoFsync) {
		then(t)
		return
	}
	m.waiting = append(m.waiting, waiting{token: t.Sync("state"), then: then})
}

// whenWritten does something when all that was written is on disk.
func (m *machine) whenWritten(t *lab.Turn, then func(t *lab.Turn)) {
	if len(m.waiting) == 0 {
		then(t)
		return
	}
	last := m.waiting[len(m.waiting)-1].token
	m.waiting = append(m.waiting, waiting{token: last, then: then})
}

func (m *machine) View() lab.View {
	return lab.View{
		Role:   string(m.role),
		Leads:  m.role == master && m.applied.recovered,
		Leader: m.master,
		Log:    m.log,
	}
}

func (m *machine) Details() []trace.Field {
	fields := []trace.Field{
		trace.Num("version", m.applied.version),
		trace.Text("nodes", names(m.applied.nodes)),
		trace.Num("pending", uint64(len(m.pending))),
		trace.Num("on-disk", m.saved.Version),
	}
	if m.role == electing {
		fields = append(fields, trace.Text("joins", names(m.desk.joins)))
	}
	if p := m.going; p != nil {
		fields = append(fields, trace.Num("publishes", p.state.version), trace.Num("acks", uint64(len(p.acked)+1)))
	}
	return fields
}

// remember puts a member into a sorted list, in the place of its earlier life.
func remember(members []member, m member) []member {
	members = slices.DeleteFunc(members, func(o member) bool { return o.Node == m.Node })
	members = append(members, m)
	slices.SortFunc(members, func(a, b member) int { return int(a.Node) - int(b.Node) })
	return members
}
