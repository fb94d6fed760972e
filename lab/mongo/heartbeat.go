package mongo

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// beat sends the heartbeats that are due and gives up those that were not
// answered in time.
func (m *member) beat(t *lab.Turn) {
	for _, p := range m.peers {
		if p.askedAt != id.Never {
			if p.askedAt.Add(heartbeatGives) <= t.Now {
				m.failed(t, p)
			}
			continue
		}
		if p.nextAt <= t.Now {
			m.round++
			p.round, p.askedAt = m.round, t.Now
			t.Send(p.node, Heartbeat{Round: p.round, Term: m.term, Primary: m.announced()})
		}
	}
}

// announced is the primary a heartbeat names: only pv1's do.
func (m *member) announced() lab.Node {
	if m.term == 0 {
		return 0
	}
	return m.primary
}

// failed takes a peer for down: its heartbeat timed out, or the connection was
// refused (MongoDB tries twice more at once, which is refused as well).
func (m *member) failed(t *lab.Turn, p *peer) {
	p.askedAt, p.nextAt = id.Never, t.Now.Add(heartbeatEvery)
	p.up, p.known, p.renewed = false, true, true
	if m.pull.source == p.node {
		m.dropSource(t)
	}
	m.findPrimary()
	m.v.heard(t, p)
}

// reset: the process at a node is gone. A heartbeat learns of it only if one is
// under way, else the next one will; a pull learns at once.
func (m *member) reset(t *lab.Turn, n lab.Node) {
	p := m.peer(n)
	if p == nil {
		return
	}
	p.poll = poll{until: id.Never}
	if m.pull.source == n {
		p.restUntil = t.Now.Add(sourceRest)
		m.dropSource(t)
		m.chooseSource(t)
	}
	if p.askedAt != id.Never {
		m.failed(t, p)
	}
	m.v.broke(t, n)
}

// answerHeartbeat answers at once. A sender that was taken for down is asked back
// at once too.
func (m *member) answerHeartbeat(t *lab.Turn, from lab.Node, b Heartbeat) {
	m.v.asked(t, from, b)
	r := HeartbeatReply{Round: b.Round, State: m.shown(), Applied: m.oplog.last(), Durable: m.journaled()}
	m.v.tell(t, &r)
	t.Send(from, r)
	if p := m.peer(from); !p.up && p.known && p.askedAt == id.Never {
		p.nextAt = t.Now
		m.beat(t)
	}
}

// heard takes the answer to a heartbeat.
func (m *member) heard(t *lab.Turn, p *peer, r HeartbeatReply) {
	if r.Round != p.round || p.askedAt == id.Never {
		return // of a heartbeat that was given up
	}
	p.askedAt, p.nextAt = id.Never, t.Now.Add(heartbeatEvery)
	p.up, p.known, p.renewed, p.heardAt = true, true, true, t.Now
	p.state, p.applied, p.term = r.State, r.Applied, r.Term
	if m.term > 0 {
		p.acked, p.durable = r.Applied, r.Durable // in pv0 only UpdatePosition counts for a write concern
	}
	p.electable, p.elected = r.Electable, r.ElectionTime
	m.findPrimary()
	m.v.heard(t, p)
	m.learnCommit(r.Commit)
	m.reconsiderSource(t, p)
}

// findPrimary derives from the heartbeats whom this member takes for primary: a
// primary itself; else the one that says so, in pv1 in the newest term. Of two in
// pv0 the former is kept until things settle.
func (m *member) findPrimary() {
	if m.isPrimary() {
		m.primary = m.c.Self
		return
	}
	var found *peer
	for _, p := range m.peers {
		if !p.up || p.state != statePrimary {
			continue
		}
		if found == nil || p.term > found.term || p.term == found.term && p.node == m.primary {
			found = p
		}
	}
	m.primary = 0
	if found != nil {
		m.primary = found.node
	}
}

// restartHeartbeats asks everybody now: a new primary announces itself, and learns
// what the others have (pv1).
func (m *member) restartHeartbeats(t *lab.Turn) {
	for _, p := range m.peers {
		p.renewed = false
		if p.askedAt == id.Never {
			p.nextAt = t.Now
			continue
		}
		// The one under way is sent again, but its clock runs on: MongoDB keeps
		// when the attempt began (PingStats), so a silent host is given up no later.
		m.round++
		p.round = m.round
		t.Send(p.node, Heartbeat{Round: p.round, Term: m.term, Primary: m.announced()})
	}
	m.beat(t)
}
