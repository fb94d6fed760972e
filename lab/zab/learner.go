package zab

import (
	"fmt"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// learning is what a FOLLOWING or OBSERVING server knows: Learner in the sources.
type learning struct {
	link  connection
	phase phase
	tries int
	again id.Time // when it connects again
	heard id.Time // when something of the leader was read last
	epoch uint64
	goal  zxid  // what the leader said is committed
	whole zxid  // on disk when NEWLEADER is acknowledged: R11
	said  bool  // NEWLEADER is acknowledged
	later []txn // only with a broken R11: not written yet
}

func (m *machine) beginLearning(t *lab.Turn, leader lab.Node) {
	m.learning = &learning{link: connection{peer: leader}}
	m.connect(t)
}

// connect opens a connection.
func (m *machine) connect(t *lab.Turn) {
	l := m.learning
	l.tries++
	l.phase, l.heard = connecting, t.Now
	l.link = connection{peer: l.link.peer, number: m.draw()}
	l.link.send(t, followerInfo{m.accepted, m.observes()})
}

// lostLeader: the connection ended. A server that was elected by others may not
// know yet that it leads, and refuses: then the learner knocks again, a few times.
func (m *machine) lostLeader(t *lab.Turn, why string) {
	l := m.learning
	if l.phase == waitingToRetry {
		return
	}
	if l.phase == connecting && l.tries < m.set.tries {
		l.phase, l.again = waitingToRetry, t.Now.Add(m.set.retry)
		return
	}
	t.Rule("R15", why)
	m.look(t, "a server without a leader starts LOOKING")
}

func (l *learning) deadline(s settings) id.Time {
	switch l.phase {
	case waitingToRetry:
		return l.again
	case serving:
		return l.heard.Add(s.syncLimit)
	}
	return l.heard.Add(s.initLimit)
}

func (m *machine) learnerDue(t *lab.Turn) {
	l := m.learning
	if t.Now < l.deadline(m.set) {
		return
	}
	if l.phase == waitingToRetry {
		m.connect(t)
		return
	}
	t.Rule("R15", fmt.Sprintf("nothing of n%d for too long", l.link.peer))
	m.look(t, "a server without a leader starts LOOKING")
}

// learn takes a message of the leader.
func (m *machine) learn(t *lab.Turn, content lab.Body) {
	l := m.learning
	switch content := content.(type) {
	case leaderInfo:
		m.promise(t, content.epoch)
	case diff:
		l.goal = content.last
	case trunc:
		l.goal = content.last
		m.truncate(t, content.last)
	case snap:
		m.install(t, content.txns)
	case newLeader:
		m.acknowledge(t)
	case upToDate:
		m.startServing(t)
	case proposal:
		m.log(t, content.txn)
	case commit:
		m.settle(t, content.zxid)
	case inform:
		m.log(t, content.txn)
		m.settle(t, content.txn.zxid)
	case syncUp:
		m.synced(t, content.id)
	case ping:
		l.link.send(t, ping{})
	}
}

// promise is R8: a learner that accepted an epoch follows no smaller one, also
// after a restart: it is on disk before the leader hears of it.
func (m *machine) promise(t *lab.Turn, epoch uint64) {
	l := m.learning
	answer := func(t *lab.Turn, counts bool) {
		l.phase, l.epoch = receiving, epoch
		l.link.send(t, ackEpoch{m.history.last(), m.current, counts})
	}
	switch {
	case epoch < m.accepted:
		t.Rule("R8", fmt.Sprintf("epoch %d is older than %d, which was accepted: not followed", epoch, m.accepted))
		m.look(t, "back to LOOKING")
	case epoch == m.accepted:
		t.Rule("R8", fmt.Sprintf("epoch %d was accepted before: this does not count again", epoch))
		answer(t, m.c.Broken(epochStays))
	default:
		t.Rule("R8", fmt.Sprintf("epoch %d is accepted, and no smaller one any more", epoch))
		m.accepted = epoch
		m.after(t.Persist(fileAccepted, recordEpoch{fileAccepted, epoch}), func(t *lab.Turn) { answer(t, true) })
	}
}

// log takes a transaction into the log. During synchronization NEWLEADER makes it
// durable; afterwards each is acknowledged when it is (R13).
func (m *machine) log(t *lab.Turn, x txn) {
	l := m.learning
	if x.zxid <= m.history.last() {
		return
	}
	m.history.append(x)
	if l.phase == receiving {
		if m.c.Broken(logAfterUpToDate) || m.c.Broken(epochFirst) {
			l.later = append(l.later, x)
			return
		}
		t.Write(fileLog, recordTxn{x})
		return
	}
	m.logged(t, x, func(t *lab.Turn) {
		switch {
		case !l.said:
			l.whole = x.zxid // acknowledged behind NEWLEADER, for the epoch is not on disk yet
		case m.votes():
			l.link.send(t, ack{x.zxid})
		}
	})
}

// votes: an observer keeps a log as well, but acknowledges nothing (R16).
func (m *machine) votes() bool { return !m.observes() || m.c.Broken(countObservers) }

// truncate forgets what is not in the leader's history.
func (m *machine) truncate(t *lab.Turn, last zxid) {
	if m.c.Broken(keepSkipped) {
		return
	}
	t.Rule("R10", fmt.Sprintf("what lies behind %v is not in the leader's history: it is cut off", last))
	m.history.truncate(last)
	t.Write(fileLog, recordTruncated{last})
}

// install takes the leader's state for its own.
func (m *machine) install(t *lab.Turn, txns []txn) {
	l := m.learning
	if m.c.Broken(keepSkipped) && !m.history.prefixOf(txns) {
		return
	}
	m.history.replace(txns)
	l.goal = m.history.last()
	t.Write(fileLog, recordSnapshot{txns})
}

// acknowledge is R11, in an order that cost ZooKeeper four bugs: first what was
// synchronized comes to the disk, THEN currentEpoch, THEN the leader hears ACK.
//
//	n1 synchronizes up to 1:9, writes currentEpoch 2, and dies before 1:9 is on
//	disk: it comes back with (2, 1:3), which beats (1, 1:9) in an election, and
//	truncates what was committed (ZOOKEEPER-4643)
//
//	n1 and n2 acknowledge, the leader takes office on them, the power fails before
//	1:9 is on their disks: what it answered to clients is gone (ZOOKEEPER-3911,
//	ZOOKEEPER-4646, ZOOKEEPER-4785)
func (m *machine) acknowledge(t *lab.Turn) {
	l := m.learning
	l.phase, l.whole = acknowledging, m.history.last()
	switch {
	case m.c.Broken(logAfterUpToDate), m.c.Broken(ackAsync):
		m.enterEpoch(t, m.sayACK)
	case m.c.Broken(epochFirst):
		m.enterEpoch(t, func(t *lab.Turn) {
			m.logLater(t)
			m.after(t.Sync(fileLog), m.sayACK)
		})
	default:
		m.after(t.Sync(fileLog), func(t *lab.Turn) { m.enterEpoch(t, m.sayACK) })
	}
}

// enterEpoch makes the leader's epoch this server's.
func (m *machine) enterEpoch(t *lab.Turn, then func(t *lab.Turn)) {
	l := m.learning
	m.current = l.epoch
	m.after(t.Persist(fileCurrent, recordEpoch{fileCurrent, l.epoch}), then)
}

// sayACK acknowledges NEWLEADER, and what was proposed meanwhile and synchronized
// with it.
func (m *machine) sayACK(t *lab.Turn) {
	l := m.learning
	what := "the history is on disk, then currentEpoch %d: now NEWLEADER is acknowledged"
	if m.c.Broken(logAfterUpToDate) || m.c.Broken(ackAsync) {
		what = "broken: currentEpoch %d is on disk and NEWLEADER is acknowledged, the history is not on disk yet"
	}
	t.Rule("R11", fmt.Sprintf(what, l.epoch))
	l.said = true
	l.link.send(t, ack{zxidOf(l.epoch, 0)})
	if l.whole > zxidOf(l.epoch, 0) && m.votes() {
		l.link.send(t, ack{l.whole})
	}
}

// logLater writes what a broken rule kept back.
func (m *machine) logLater(t *lab.Turn) {
	l := m.learning
	for _, x := range l.later {
		t.Write(fileLog, recordTxn{x})
	}
	l.later = nil
}

// startServing: the leader is in office, and this server is as new as it was when
// it took office.
func (m *machine) startServing(t *lab.Turn) {
	l := m.learning
	t.Rule("R12", fmt.Sprintf("up to date with n%d in epoch %d: clients are served", l.link.peer, l.epoch))
	l.phase = serving
	m.election.vote.epoch = l.epoch
	if len(l.later) > 0 {
		m.logLater(t)
		t.Sync(fileLog)
	}
	m.settle(t, l.goal)
}

// settle: everything up to a zxid is committed. What synchronization commits
// counts when the leader is in office.
func (m *machine) settle(t *lab.Turn, z zxid) {
	l := m.learning
	l.goal = max(l.goal, z)
	if l.phase != serving {
		return
	}
	before := m.history.log.Decided()
	m.history.log.Decide(m.history.upTo(l.goal))
	for _, x := range m.history.txns[before:m.history.log.Decided()] {
		m.answer(t, x)
	}
}
