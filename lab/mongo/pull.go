package mongo

import (
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// pull is what a member asks of its sync source. One request is under way at a
// time; the next leaves when its answer is in the log.
type pull struct {
	source  lab.Node // 0: none
	cursor  uint64   // of the request under way
	askedAt id.Time  // never: none under way
}

// poll is what a follower asked of this member, to be answered when there is
// something.
type poll struct {
	cursor uint64
	after  opTime
	loose  bool
	until  id.Time // never: it asks for nothing
}

// chooseSource picks whom to pull from: any member that is up, readable and has
// something newer (pv0 R12, pv1 R12); the primary before others, then the newest.
// MongoDB prefers the shortest ping; here all are equally near.
func (m *member) chooseSource(t *lab.Turn) {
	if m.pull.source != 0 || m.state == statePrimary || m.state == stateRollback {
		return
	}
	var best *peer
	for _, p := range m.peers {
		if !p.up || p.state == stateRollback || p.restUntil > t.Now || !m.oplog.last().before(p.applied) {
			continue
		}
		if best == nil || p.node == m.primary || best.node != m.primary && best.applied.before(p.applied) {
			best = p
		}
	}
	if best != nil {
		m.pull.source = best.node
		m.more(t, false)
		m.report(t)
	}
}

// reconsiderSource looks, after a heartbeat of p, whether there is a better source
// than the present one: there is none, or p is a primary with news while the
// present one is a secondary that is known to have none.
func (m *member) reconsiderSource(t *lab.Turn, p *peer) {
	if m.state == stateRollback {
		return
	}
	if s := m.peer(m.pull.source); s != nil && s != p {
		last := m.oplog.last()
		if p.node == m.primary && last.before(p.applied) && !last.before(s.applied) {
			m.dropSource(t)
		}
	}
	m.chooseSource(t)
}

// more asks the source for what comes next.
func (m *member) more(t *lab.Turn, unchecked bool) {
	m.round++
	m.pull.cursor, m.pull.askedAt = m.round, t.Now
	t.Send(m.pull.source, GetMore{Cursor: m.pull.cursor, After: m.oplog.last(), Unchecked: unchecked})
}

// dropSource stops pulling. A rollback under way ends where it stands: nothing has
// been truncated before the common point is known.
func (m *member) dropSource(t *lab.Turn) {
	m.pull.source, m.pull.askedAt = 0, id.Never
	if m.state == stateRollback {
		m.state = stateSecondary
	}
}

// checkPull gives up a source that is silent.
func (m *member) checkPull(t *lab.Turn) {
	if m.pull.askedAt != id.Never && m.pull.askedAt.Add(pullGives) <= t.Now {
		if p := m.peer(m.pull.source); p != nil {
			p.restUntil = t.Now.Add(sourceRest)
		}
		m.dropSource(t)
		m.chooseSource(t)
	}
}

// takeBatch appends what the source sent, or finds out that the logs have parted.
func (m *member) takeBatch(t *lab.Turn, p *peer, b Batch) {
	if p.node != m.pull.source || b.Cursor != m.pull.cursor || m.state == statePrimary || m.state == stateRollback {
		return
	}
	m.pull.askedAt = id.Never
	if !b.Found {
		m.parted(t, p, b)
		return
	}
	for _, e := range b.Entries {
		m.oplog.append(t, e.Entry, e.At)
	}
	if len(b.Entries) > 0 {
		m.journal(t, m.settings.journaled)
		m.report(t)
	}
	if p.applied.before(b.Last) {
		p.applied = b.Last
	}
	m.learnCommit(b.Commit)
	m.v.pulled(t, b)
	if m.pull.source != p.node || m.pull.askedAt != id.Never {
		return // what it learned made it look elsewhere
	}
	if len(b.Entries) == 0 && p.node != m.primary && !m.oplog.last().before(b.Last) {
		m.dropSource(t) // a dead end, as long as nobody has more
		m.chooseSource(t)
		return
	}
	m.more(t, false)
}

// parted is called when the source lacks the entry this log ends with.
func (m *member) parted(t *lab.Turn, p *peer, b Batch) {
	if !m.oplog.last().before(b.Last) {
		m.dropSource(t) // the source is the older one: it is the one to roll back
		return
	}
	if m.state == stateCatchUp {
		m.dropSource(t)
		m.v.cannotCatchUp(t)
		return
	}
	if m.c.Broken(NoRollback) {
		m.more(t, true)
		return
	}
	t.Rule(m.rule(ruleRollback), "n"+digit(p.node)+" is newer and lacks my last entry ("+m.oplog.last().String()+"): I look for the common point")
	m.state = stateRollback
	m.findPrimary()
	m.round++
	m.pull.cursor, m.pull.askedAt = m.round, t.Now
	t.Send(p.node, OplogScan{Cursor: m.pull.cursor})
}

// scan answers with opTimes, newest first.
func (m *member) scan(t *lab.Turn, from lab.Node, s OplogScan) {
	end := len(m.oplog.times)
	if (s.Below != opTime{}) {
		at, exact := m.oplog.find(s.Below)
		end = at
		if exact {
			end--
		}
	}
	start := max(0, end-scanMax)
	times := slices.Clone(m.oplog.times[start:end])
	slices.Reverse(times)
	t.Send(from, OplogTail{Cursor: s.Cursor, Times: times, More: start > 0})
}

// takeTail looks for the newest opTime both hold, and truncates behind it.
func (m *member) takeTail(t *lab.Turn, p *peer, b OplogTail) {
	if p.node != m.pull.source || b.Cursor != m.pull.cursor || m.state != stateRollback {
		return
	}
	m.pull.askedAt = id.Never
	common, found := 0, !b.More
	for _, x := range b.Times {
		if at, exact := m.oplog.find(x); exact {
			common, found = at, true
			break
		}
	}
	if !found {
		m.round++
		m.pull.cursor, m.pull.askedAt = m.round, t.Now
		t.Send(p.node, OplogScan{Cursor: m.pull.cursor, Below: b.Times[len(b.Times)-1]})
		return
	}
	gone := m.oplog.log.Len() - common
	t.Rule(m.rule(ruleRollback), "rolled back to the common point: "+count(gone, "entry", "entries")+" of mine taken away")
	if m.oplog.at(common).before(m.commit) {
		t.Note("the common point lies before what was committed: MongoDB would stop here and ask for a person")
	}
	m.oplog.truncate(t, common)
	m.state = stateSecondary
	m.findPrimary()
	m.more(t, false)
}

// asks takes note of what a follower wants; feed answers it.
func (m *member) asks(t *lab.Turn, p *peer, g GetMore) {
	p.poll = poll{cursor: g.Cursor, after: g.After, loose: g.Unchecked, until: t.Now.Add(awaitData)}
}

// feed answers the followers for whom there is something, and those who have
// waited long enough. It is called at the end of every Step.
func (m *member) feed(t *lab.Turn) {
	for _, p := range m.peers {
		q := &p.poll
		if q.until == id.Never {
			continue
		}
		if q.after == m.oplog.last() && q.until > t.Now {
			continue
		}
		at, exact := m.oplog.find(q.after)
		b := Batch{Cursor: q.cursor, Found: exact || q.loose, Last: m.oplog.last(), Term: m.term, Primary: m.primary, Commit: m.commit}
		if b.Found {
			end := min(len(m.oplog.times), at+batchMax)
			for i := at; i < end; i++ {
				b.Entries = append(b.Entries, insert{At: m.oplog.times[i], Entry: m.oplog.log.At(i + 1)})
			}
		}
		q.until = id.Never
		t.Send(p.node, b)
	}
}

// position is how far this member has come itself.
func (m *member) position() position {
	return position{Node: m.c.Self, Applied: m.oplog.last(), Durable: m.journaled()}
}

// report tells the sync source how far this member has come, if that is news. Where
// only what is on disk counts, only that is news.
func (m *member) report(t *lab.Turn) {
	now := m.position()
	same := now.Applied == m.told.Applied
	if m.settings.journaled {
		same = now.Durable == m.told.Durable
	}
	if m.pull.source == 0 || same || m.state == stateRollback {
		return
	}
	m.told = now
	t.Send(m.pull.source, UpdatePosition{Term: m.term, Positions: []position{now}})
}

// takePositions takes note of others' progress and passes on what is news.
func (m *member) takePositions(t *lab.Turn, u UpdatePosition) {
	var news []position
	for _, x := range u.Positions {
		p := m.peer(x.Node)
		if p == nil {
			continue
		}
		moved := p.acked.before(x.Applied) || p.durable.before(x.Durable)
		if p.applied.before(x.Applied) {
			p.applied = x.Applied
		}
		if p.acked.before(x.Applied) {
			p.acked = x.Applied
		}
		if p.durable.before(x.Durable) {
			p.durable = x.Durable
		}
		if moved {
			news = append(news, x)
		}
	}
	if len(news) == 0 {
		return
	}
	m.v.advanced(t)
	if m.pull.source != 0 && !m.isPrimary() {
		t.Send(m.pull.source, UpdatePosition{Term: m.term, Positions: news})
	}
}

// learnCommit takes note of a commit point. It counts here only when the very
// entry is in the log: then everything before it is the committed history.
func (m *member) learnCommit(c opTime) {
	if c == (opTime{}) || !m.commit.before(c) {
		return
	}
	if at, exact := m.oplog.find(c); exact {
		m.commit = c
		m.oplog.log.Decide(at)
	}
}
