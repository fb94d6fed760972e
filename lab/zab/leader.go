package zab

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// phase is how far a leader, or a learner, has come.
type phase uint8

const (
	// of a leader
	discovering   phase = iota // waiting for a quorum of FOLLOWERINFO
	promising                  // its own acceptedEpoch is on the way to the disk
	confirming                 // waiting for a quorum of ACKEPOCH
	synchronizing              // bringing a quorum to its history
	broadcasting               // in office
	// of a learner
	connecting     // waiting for LEADERINFO
	waitingToRetry // refused; it tries again
	receiving      // from ACKEPOCH to NEWLEADER
	acknowledging  // NEWLEADER is on its way to the disk, or acknowledged
	serving        // UPTODATE came
)

func (p phase) String() string {
	return [...]string{"discovery", "discovery", "discovery", "synchronization", "broadcast",
		"connecting", "connecting", "synchronization", "synchronization", "broadcast"}[p]
}

// lead is what a LEADING server knows.
type lead struct {
	phase    phase
	epoch    uint64
	learners []*learner // by number
	since    id.Time    // of the present office, for initLimit
	tickAt   id.Time    // the next half tick: pings; at whole ones the quorum is checked
	half     bool       // the one before was a half tick

	own       zxid // durable in its own log, of this epoch's or synchronized
	ready     bool // its own currentEpoch is durable: it acknowledged NEWLEADER
	counter   uint64
	committed int // transactions, of the history
	syncs     []pendingSync
}

// learner is the leader's end of a connection, LearnerHandler in the sources.
type learner struct {
	link     connection
	observer bool
	accepted uint64
	heard    id.Time
	agreed   bool // ACKEPOCH came
	counts   bool // and counts
	last     zxid // of its history, as ACKEPOCH said
	current  uint64
	forwards bool // it gets what is proposed from now on
	synced   bool // NEWLEADER is acknowledged
	acked    zxid

	// SyncLimitCheck: the oldest proposal it has not acknowledged, and the newest.
	oldest, newest     zxid
	oldestAt, newestAt id.Time
}

// pendingSync is a SYNC that waits until what was proposed before is committed.
type pendingSync struct {
	behind zxid
	from   lab.Node
	id     uint64
}

func (l *lead) learner(n lab.Node) *learner {
	for _, f := range l.learners {
		if f.link.peer == n {
			return f
		}
	}
	return nil
}

// voters counts the leader, if itself, and the participants for whom fits holds.
func (m *machine) voters(itself bool, fits func(f *learner) bool) (n int) {
	if itself {
		n++
	}
	for _, f := range m.lead.learners {
		if m.takesPart(f) && fits(f) {
			n++
		}
	}
	return n
}

// takesPart: observers never count (R16).
func (m *machine) takesPart(f *learner) bool { return !f.observer || m.c.Broken(countObservers) }

func (l *lead) synchronized() string {
	var names []string
	for _, f := range l.learners {
		if f.synced {
			names = append(names, fmt.Sprintf("n%d", f.link.peer))
		}
	}
	if names == nil {
		return "nobody"
	}
	return strings.Join(names, ",")
}

func (m *machine) beginLeading(t *lab.Turn) {
	m.lead = &lead{since: t.Now, tickAt: t.Now.Add(m.set.tick / 2)}
	m.discover(t)
}

// connected: a learner opened a connection.
func (m *machine) connected(t *lab.Turn, from lab.Node, number uint64, info followerInfo) {
	l := m.lead
	if old := l.learner(from); old != nil {
		if number <= old.link.number {
			return // it has come before
		}
		m.drop(t, old, false)
	}
	f := &learner{link: connection{peer: from, number: number, answer: m.draw(), read: 1}, observer: info.observer, accepted: info.accepted, heard: t.Now}
	at, _ := slices.BinarySearchFunc(l.learners, from, func(f *learner, n lab.Node) int { return int(f.link.peer) - int(n) })
	l.learners = slices.Insert(l.learners, at, f)
	if l.phase == discovering {
		m.discover(t)
	} else if l.phase > promising {
		m.tell(t, f)
	}
}

// discover is R7: the new epoch is one more than any that a quorum has promised
// to follow, so no leader before can have a quorum any more.
func (m *machine) discover(t *lab.Turn) {
	l := m.lead
	if m.voters(true, func(*learner) bool { return true }) < m.c.Quorum() {
		return
	}
	highest := m.accepted
	for _, f := range l.learners {
		highest = max(highest, f.accepted)
	}
	l.phase, l.epoch = promising, highest+1
	if m.c.Broken(epochStays) {
		l.epoch, l.counter = max(highest, 1), m.history.last().counter()
	}
	t.Rule("R7", fmt.Sprintf("a quorum is here: the new epoch is %d", l.epoch))
	m.accepted = l.epoch
	m.after(t.Persist(fileAccepted, recordEpoch{fileAccepted, l.epoch}), func(t *lab.Turn) {
		l.phase = confirming
		for _, f := range slices.Clone(l.learners) {
			m.tell(t, f)
		}
		m.confirm(t)
	})
}

func (m *machine) tell(t *lab.Turn, f *learner) {
	f.link.send(t, leaderInfo{m.lead.epoch})
}

// serve takes a message of a learner.
func (m *machine) serve(t *lab.Turn, f *learner, content lab.Body) {
	switch content := content.(type) {
	case ackEpoch:
		m.agreed(t, f, content)
	case ack:
		m.acked(t, f, content.zxid)
	case request:
		if m.lead.phase == broadcasting {
			m.propose(t, txn{op: content.op, client: content.client, origin: f.link.peer, request: content.id})
		}
	case syncUp:
		m.syncAsked(t, f.link.peer, content.id)
	}
}

// agreed is R9: a learner promised the epoch and said what it has. Who has more
// than the leader must not be brought to less: it is turned away, and a leader
// that everybody is ahead of finds no quorum.
func (m *machine) agreed(t *lab.Turn, f *learner, a ackEpoch) {
	l := m.lead
	f.agreed, f.counts, f.last, f.current = true, a.counts, a.last, a.current
	if l.phase == confirming {
		ahead := a.counts && (a.current > m.current || a.current == m.current && a.last > m.history.last())
		if ahead && !m.c.Broken(takeAhead) {
			t.Rule("R9", fmt.Sprintf("n%d has (%d, %v), more than the leader's (%d, %v): its connection is closed", f.link.peer, a.current, a.last, m.current, m.history.last()))
			m.drop(t, f, true)
			return
		}
		m.confirm(t)
		return
	}
	if l.phase > confirming && l.ready {
		m.synchronize(t, f)
	}
}

// confirm goes on when a quorum has promised the epoch. The leader's own history
// and epoch come to the disk first, in the order of R11.
func (m *machine) confirm(t *lab.Turn) {
	l := m.lead
	if m.voters(true, func(f *learner) bool { return f.agreed && f.counts }) < m.c.Quorum() {
		return
	}
	t.Rule("R9", "a quorum promised the epoch, and nobody in it has more than the leader")
	l.phase = synchronizing
	m.after(t.Sync(fileLog), func(t *lab.Turn) {
		m.current = l.epoch
		m.after(t.Persist(fileCurrent, recordEpoch{fileCurrent, l.epoch}), func(t *lab.Turn) {
			l.ready = true
			l.own = max(m.history.last(), zxidOf(l.epoch, 0))
			for _, f := range slices.Clone(l.learners) {
				if f.agreed {
					m.synchronize(t, f)
				}
			}
			m.takeOffice(t)
		})
	})
}

// takeOffice is R12: a quorum has the leader's history and epoch on disk. From
// now on everything in it is committed, whoever proposed it.
func (m *machine) takeOffice(t *lab.Turn) {
	l := m.lead
	if l.phase != synchronizing || m.voters(l.ready, func(f *learner) bool { return f.synced }) < m.c.Quorum() {
		return
	}
	t.Rule("R12", fmt.Sprintf("a quorum is synchronized: epoch %d is in office", l.epoch))
	l.phase, l.tickAt = broadcasting, t.Now.Add(m.set.tick/2)
	l.committed = len(m.history.txns)
	m.history.log.Decide(l.committed)
	m.election.vote.epoch = l.epoch
	for _, f := range l.learners {
		if f.synced {
			f.link.send(t, upToDate{l.epoch})
		}
	}
}

// drop ends the connection to a learner.
func (m *machine) drop(t *lab.Turn, f *learner, tellIt bool) {
	l := m.lead
	if tellIt {
		hangUp(t, f.link.peer, f.link.number)
	}
	l.learners = slices.DeleteFunc(l.learners, func(x *learner) bool { return x == f })
	l.syncs = slices.DeleteFunc(l.syncs, func(s pendingSync) bool { return s.from == f.link.peer })
}

func (f *learner) limit(s settings) id.Time {
	if f.synced {
		return f.heard.Add(s.syncLimit)
	}
	return f.heard.Add(s.initLimit)
}

func (l *lead) deadline(s settings) id.Time {
	d := l.tickAt
	if l.phase != broadcasting {
		d = l.since.Add(s.initLimit)
	}
	for _, f := range l.learners {
		d = min(d, f.limit(s))
	}
	return d
}

// leaderDue watches over learners, and over the leader's own right to the office
// (R15).
func (m *machine) leaderDue(t *lab.Turn) {
	l := m.lead
	for _, f := range slices.Clone(l.learners) {
		if t.Now >= f.limit(m.set) {
			m.drop(t, f, true)
		}
	}
	if l.phase != broadcasting {
		if t.Now >= l.since.Add(m.set.initLimit) {
			t.Rule("R9", "no quorum within the initLimit: the elected leader gives up")
			m.look(t, "back to LOOKING")
		}
		return
	}
	if t.Now < l.tickAt {
		return
	}
	l.tickAt = t.Now.Add(m.set.tick / 2)
	l.half = !l.half
	if !l.half && !m.c.Broken(keepOffice) && m.voters(true, func(f *learner) bool { return f.synced }) < m.c.Quorum() {
		t.Rule("R15", "fewer than a quorum of servers are left: the leader steps down")
		m.look(t, "back to LOOKING")
		return
	}
	for _, f := range slices.Clone(l.learners) {
		switch {
		case !f.synced:
		case f.oldest != 0 && t.Now >= f.oldestAt.Add(m.set.syncLimit):
			t.Note("a proposal was not acknowledged within the syncLimit: the connection is closed", trace.Num("learner", f.link.peer))
			m.drop(t, f, true)
		default:
			f.link.send(t, ping{})
		}
	}
}
