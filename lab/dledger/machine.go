package dledger

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// machine is one life of a node. machine.go holds its state and disk; vote.go
// answers votes and heartbeats, candidate.go asks for them, leader.go keeps the
// lead, push.go replicates.
type machine struct {
	c       lab.Config
	beat    id.Duration
	leak    id.Duration // silence that ends a leader, for both sides: 3 heartbeats
	voteMin id.Duration
	voteMax id.Duration
	advance bool // a new leader writes a no-op, if something is uncommitted

	role     role
	term     uint64
	votedFor lab.Node
	known    uint64 // the largest term it heard of
	leader   lab.Node
	met      bool     // it has known a leader in this life
	log      *lab.Log // an entry's Epoch is its term

	raise    bool       // a larger term came: adopt it at the maintainer's next turn
	turn     id.Time    // that turn
	nextVote id.Time    // candidate: asks no earlier
	outcome  parse      // of the last round
	again    uint64     // the term in which it last said that it asks again at once
	round    *voteRound // that runs
	rounds   uint64     // so far, and the life: no two of a node have the same number
	heard    id.Time    // follower: the leader's last heartbeat
	compared comparison // follower: the last COMPARE
	sent     id.Time    // leader: its last heartbeat
	good     id.Time    // leader: the last that Q answered
	beats    *beatRound // whose answers are not judged yet
	peers    [10]pusher // leader: by node
	waiting  []pending  // leader: writes that wait, by index
	unsynced []written  // switch fsync-first: how far the ledger went at a sync
	durable  int        // and how far it is on disk

	phase     id.Duration // of the flush every 10 ms
	dirty     bool        // the ledger has unflushed records
	flushAt   id.Time
	writeback id.Time // when the kernel writes currterm back; Never: it is clean
	token     id.Token
}

// pending is a write that waits for a majority.
type pending struct {
	index   int
	since   id.Time
	request lab.Request
}

type role uint8

const (
	candidate role = iota
	follower
	leads
)

func (r role) String() string { return [...]string{"CANDIDATE", "FOLLOWER", "LEADER"}[r] }

// parse is what a candidate makes of a round.
type parse uint8

const (
	waitToRevote   parse = iota // the same term again
	waitToVoteNext              // the next term
	revoteNow
)

// Times of DLedger that no recipe changes.
const (
	maintainer   = 10 * id.Millisecond // between two turns of the state maintainer
	flushEvery   = 10 * id.Millisecond
	dirtyExpires = 30 * id.Second        // after which a kernel writes an unsynced file back by itself
	voteWait     = 2 * id.Second         // for the answers of a round, and up to voteMax
	compareWait  = 3 * id.Second         // for the answer to COMPARE or TRUNCATE
	pushWait     = id.Second             // for the answer to APPEND
	pushPause    = 500 * id.Millisecond  // after a push that failed
	commitEvery  = id.Second             // a COMMIT when nothing else goes
	ackWait      = 2500 * id.Millisecond // a write without a majority
	pendingMax   = 10000                 // writes that wait; beyond: LEADER_PENDING_FULL
	batchMax     = 500                   // entries in one APPEND
	inFlightMax  = 1000                  // APPENDs without an answer, per follower
	termFile     = "currterm"
	ledgerFile   = "ledger"
)

func newMachine(c lab.Config) *machine {
	m := &machine{
		c: c, log: lab.NewLog(), turn: id.Never, flushAt: id.Never, writeback: id.Never,
		beat:    c.Settings.Duration("heartbeat", 2*id.Second, 10*id.Millisecond, 600*id.Second),
		voteMin: c.Settings.Duration("vote-min", 300*id.Millisecond, id.Millisecond, 60*id.Second),
		voteMax: c.Settings.Duration("vote-max", id.Second, id.Millisecond, 60*id.Second),
		advance: c.Settings.Word("fast-advance", "off", "on") == "on",
	}
	m.leak = id.Duration(c.Settings.Int("leak", 3, 1, 100)) * m.beat
	m.voteMax = max(m.voteMax, m.voteMin)
	return m
}

// Step takes one event.
func (m *machine) Step(t *lab.Turn, e lab.Event) {
	switch e := e.(type) {
	case lab.Started:
		m.restore(t, e.Files)
		m.rounds = uint64(m.c.Life) << 32
		m.phase = m.c.Dice.Duration(0, flushEvery-1)
		m.nextVote = t.Now
		m.turn = t.Now
	case lab.Received:
		m.receive(t, e.From, e.Message)
	case lab.Due:
		m.due(t)
	case lab.Asked:
		m.serve(t, e.Request)
	case lab.Durable:
		m.onDurable(t, e.Token)
	case lab.Reset:
		m.unreachable(t, e.Node)
	}
}

// Deadline is the next timer.
func (m *machine) Deadline() id.Time {
	next := min(m.flushAt, m.writeback)
	switch m.role {
	case candidate:
		if m.round != nil {
			return min(next, m.round.ends)
		}
		return min(next, m.turn)
	case follower:
		return min(next, m.heard.Add(m.leak))
	}
	if m.beats != nil {
		next = min(next, m.beats.ends)
	} else {
		next = min(next, m.sent.Add(m.beat))
	}
	if len(m.waiting) > 0 {
		next = min(next, m.waiting[0].since.Add(ackWait))
	}
	for _, n := range m.c.Peers() {
		next = min(next, m.peers[n].deadline(m.log.Len()))
	}
	return next
}

func (m *machine) due(t *lab.Turn) {
	if t.Now >= m.flushAt {
		m.flushAt, m.dirty = id.Never, false
		t.Sync(ledgerFile) // D2: nobody waits for it
	}
	if t.Now >= m.writeback {
		m.writeback = id.Never
		t.Sync(termFile)
	}
	switch m.role {
	case candidate:
		m.campaign(t)
	case follower:
		if t.Now >= m.heard.Add(m.leak) {
			t.Rule("L2", "no heartbeat for 3 intervals: candidate, in the same term")
			m.stand(t, m.term)
		}
	case leads:
		m.keep(t)
	}
}

// View is what it believes.
func (m *machine) View() lab.View {
	return lab.View{Role: m.role.String(), Leads: m.role == leads, Epoch: m.term, Leader: m.leader, Log: m.log}
}

// Details are the vote and the ledger.
func (m *machine) Details() []trace.Field {
	fields := []trace.Field{trace.Num("voted for", m.votedFor), trace.Num("known term", m.known), trace.Num("end index", uint64(m.log.Len())), trace.Num("end term", m.endTerm())}
	if m.role == leads {
		fields = append(fields, trace.Num("waiting", uint64(len(m.waiting))))
	}
	return fields
}

func (m *machine) receive(t *lab.Turn, from lab.Node, body lab.Body) {
	switch b := body.(type) {
	case VoteRequest:
		r := m.vote(t, from, b)
		t.SendAfter(m.token, from, VoteResponse{Term: m.answerTerm(r), Result: r, Round: b.Round})
	case VoteResponse:
		m.onVote(t, from, b)
	case HeartBeatRequest:
		m.onHeartBeat(t, from, b)
	case HeartBeatResponse:
		m.onBeat(t, from, b)
	case PushEntryRequest:
		m.onPush(t, from, b)
	case PushEntryResponse:
		m.onPushed(t, from, b)
	}
}

// endTerm is the term of the last entry; 0 of an empty ledger.
func (m *machine) endTerm() uint64 { return m.log.Last().Epoch }

// termAt is the term of an entry; 0 before the first.
func (m *machine) termAt(index int) uint64 {
	if index < 1 || index > m.log.Len() {
		return 0
	}
	return m.log.At(index).Epoch
}

// D1: term and vote are written, never synced; the kernel does that in its time.

func (m *machine) saveTerm(t *lab.Turn) {
	t.Write(termFile, termRecord{m.term, m.votedFor})
	if m.c.Broken(fsyncFirst) {
		m.token = t.Sync(termFile)
		return
	}
	if m.writeback == id.Never {
		m.writeback = t.Now.Add(dirtyExpires)
	}
}

// D2: entries are written at once and flushed in the background.

func (m *machine) saveEntries(t *lab.Turn, records ...lab.Body) {
	for _, r := range records {
		t.Write(ledgerFile, r)
	}
	if m.c.Broken(fsyncFirst) {
		m.token = t.Sync(ledgerFile)
		m.unsynced = append(m.unsynced, written{m.token, m.log.Len()})
		return
	}
	if !m.dirty {
		m.dirty = true
		since := id.Duration(t.Now) - m.phase
		m.flushAt = id.Time((since/flushEvery+1)*flushEvery + m.phase)
	}
}

// written is how far the ledger went when a sync began.
type written struct {
	token id.Token
	index int
}

// onDurable matters with the switch fsync-first: the leader's own copy counts when
// it is on disk.
func (m *machine) onDurable(t *lab.Turn, token id.Token) {
	for len(m.unsynced) > 0 && m.unsynced[0].token <= token {
		m.durable = m.unsynced[0].index
		m.unsynced = m.unsynced[1:]
	}
	if m.role == leads {
		m.commit(t)
	}
}

// ownMark is how far the node's own copy counts.
func (m *machine) ownMark() int {
	if m.c.Broken(fsyncFirst) {
		return min(m.durable, m.log.Len())
	}
	return m.log.Len()
}

func (m *machine) restore(t *lab.Turn, files map[string][]lab.Body) {
	for _, b := range files[termFile] {
		if r, ok := b.(termRecord); ok {
			m.term, m.votedFor = r.term, r.votedFor
		}
	}
	m.known = m.term
	for _, b := range files[ledgerFile] {
		switch r := b.(type) {
		case entryRecord:
			m.log.Append(r.entry)
		case truncateRecord:
			m.log.Truncate(r.index - 1)
		}
	}
	if m.c.Broken(fsyncFirst) { // what a killed process left may be in the cache only
		t.Sync(termFile)
		m.token = t.Sync(ledgerFile)
		m.unsynced = []written{{m.token, m.log.Len()}}
	}
}
