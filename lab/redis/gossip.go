package redis

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// header is what this node says of itself in every message.
func (m *cluster) header() header {
	h := header{Epoch: m.epoch, Master: m.me.Master, Offset: m.data.log.Len()}
	claimant := m.me
	if m.me.Master != 0 {
		claimant = m.peer(m.me.Master)
	}
	if claimant != nil {
		h.Config, h.Claims = claimant.Config, claimant.Claims
	}
	for _, p := range m.peers {
		if p.pfail || p.fail {
			h.Failing = append(h.Failing, p.Node)
		}
	}
	return h
}

func (m *cluster) ping(t *lab.Turn, p *peer) {
	if !p.out {
		p.out, p.pinged = true, t.Now
	}
	p.again = t.Now.Add(m.timeout / 2)
	t.Send(p.Node, Ping{m.header()})
}

// announce tells everybody at once what has changed here.
func (m *cluster) announce(t *lab.Turn, after id.Token, b lab.Body) {
	for _, p := range m.peers {
		if p != m.me {
			t.SendAfter(after, p.Node, b)
		}
	}
}

// cron does what is due: one ping a second to whoever was not heard for longest,
// a ping to whoever was not heard for half the timeout, and the verdict PFAIL.
func (m *cluster) cron(t *lab.Turn) {
	if t.Now >= m.nextPing {
		m.nextPing = t.Now.Add(pingEvery)
		var oldest *peer
		for _, p := range m.peers {
			if p != m.me && !p.out && (oldest == nil || p.heard < oldest.heard) {
				oldest = p
			}
		}
		if oldest != nil {
			m.ping(t, oldest)
		}
	}
	for _, p := range m.peers {
		switch {
		case p == m.me:
		case !p.out && t.Now >= p.heard.Add(m.timeout/2), p.out && t.Now >= p.again:
			m.ping(t, p)
		}
		if p != m.me && p.out && !p.pfail && !p.fail && t.Now >= p.pinged.Add(m.timeout) {
			p.pfail = true
			t.Rule("R1", fmt.Sprintf("no PONG from n%d for the node timeout: PFAIL", p.Node))
			m.judgeFailure(t, p)
		}
	}
	m.failover(t)
}

// judgeFailure is R1's second half: PFAIL in this node's eyes and reported by a
// majority of the masters is FAIL, and everybody is told.
func (m *cluster) judgeFailure(t *lab.Turn, p *peer) {
	if !p.pfail || p.fail {
		return
	}
	p.reports = slices.DeleteFunc(p.reports, func(r report) bool { return t.Now.Sub(r.at) > 2*m.timeout })
	count := len(p.reports)
	if m.me.voter() {
		count++
	}
	if count < m.quorum() {
		return
	}
	t.Rule("R1", fmt.Sprintf("%d masters do not hear n%d, a majority: FAIL", count, p.Node))
	m.setFail(t, p)
	m.announce(t, 0, Fail{Node: p.Node})
}

func (m *cluster) setFail(t *lab.Turn, p *peer) {
	p.pfail, p.fail, p.failed = false, true, t.Now
	m.failover(t)
}

func (m *cluster) receive(t *lab.Turn, from lab.Node, b lab.Body) {
	p := m.peer(from)
	if p == nil {
		return
	}
	switch b := b.(type) {
	case Ping:
		m.heard(t, p, b.header)
		t.Send(from, Pong{m.header()})
	case Pong:
		p.heard, p.out = t.Now, false
		m.alive(t, p)
		m.heard(t, p, b.header)
	case Fail:
		if f := m.peer(b.Node); f != nil && f != m.me && !f.fail {
			m.setFail(t, f)
		}
	case Update:
		m.updated(t, b.Owner)
	case AuthRequest:
		m.heard(t, p, b.header)
		m.voteAsked(t, p, b)
	case AuthAck:
		m.voteHeard(t, p, b)
	}
}

// alive takes the flags back. The FAIL of a master with shards stays for a while:
// its replicas are to have the chance that it gave them.
func (m *cluster) alive(t *lab.Turn, p *peer) {
	p.pfail = false
	if p.fail && (!p.voter() || t.Now.Sub(p.failed) > 2*m.timeout) {
		p.fail = false
	}
}

// heard takes in a header: epochs, places, claims, complaints.
func (m *cluster) heard(t *lab.Turn, p *peer, h header) {
	changed := false
	if h.Epoch > m.epoch {
		m.epoch, changed = h.Epoch, true
	}
	p.offset = h.Offset
	if p.Master != h.Master {
		p.Master, changed = h.Master, true
		if h.Master != 0 {
			p.Claims = 0 // a master that became a replica claims nothing
		}
	}
	if h.Master == 0 {
		if h.Config > p.Config {
			p.Config, changed = h.Config, true
		}
		if m.claimed(t, p, h.Config, h.Claims) {
			changed = true
		}
		m.collision(t, p, h)
	}
	m.correct(t, p, h)
	m.complaints(t, p, h.Failing)
	if changed {
		m.save(t)
	}
}

// claimed is R6: a shard belongs to whoever claims it with the highest
// configuration epoch. A master that has lost its last shard this way, and its
// replicas, follow the one who took it.
func (m *cluster) claimed(t *lab.Turn, p *peer, config uint64, claims uint8) bool {
	mine := m.me
	if m.me.Master != 0 {
		mine = m.peer(m.me.Master)
	}
	had := mine != nil && mine.Claims != 0
	changed := false
	for s := range shards {
		if claims>>s&1 == 0 || p.Claims>>s&1 == 1 {
			continue
		}
		owner := m.owner(s)
		if owner != nil && owner.Config >= config {
			continue
		}
		if owner != nil {
			owner.Claims &^= 1 << s
		}
		p.Claims |= 1 << s
		changed = true
	}
	if changed && had && mine != p && mine.Claims == 0 {
		t.Rule("R6", fmt.Sprintf("n%d has the slots with configuration epoch %d: becomes its replica", p.Node, config))
		m.become(t, p.Node)
	}
	return changed
}

// become makes this node a replica.
func (m *cluster) become(t *lab.Turn, master lab.Node) {
	m.me.Master, m.me.Claims = master, 0
	m.attempt = attempt{next: id.Never}
	m.data.replicate(t, master)
}

// correct answers a claim that somebody has outdone.
func (m *cluster) correct(t *lab.Turn, p *peer, h header) {
	claimant := p.Node
	if h.Master != 0 {
		claimant = h.Master
	}
	for s := range shards {
		owner := m.owner(s)
		if h.Claims>>s&1 == 1 && owner != nil && owner.Node != claimant && owner.Config > h.Config {
			t.Send(p.Node, Update{Owner: owner.claim})
			return
		}
	}
}

func (m *cluster) updated(t *lab.Turn, c claim) {
	p := m.peer(c.Node)
	if p == nil || p == m.me || c.Config <= p.Config {
		return
	}
	p.Master, p.Config = 0, c.Config
	m.claimed(t, p, c.Config, c.Claims)
	m.save(t)
}

// collision: two masters with one configuration epoch, which a vote cannot lead
// to; the lower id takes a new epoch.
func (m *cluster) collision(t *lab.Turn, p *peer, h header) {
	if m.me.Master != 0 || h.Config != m.me.Config || m.me.Node > p.Node {
		return
	}
	m.epoch++
	m.me.Config = m.epoch
	t.Rule("R6", fmt.Sprintf("n%d has the same configuration epoch: takes epoch %d", p.Node, m.epoch))
	m.save(t)
}

// complaints are a master's reports of whom it does not hear; what it does not
// report any more is forgotten.
func (m *cluster) complaints(t *lab.Turn, by *peer, failing []lab.Node) {
	if !by.voter() {
		return
	}
	for _, p := range m.peers {
		p.reports = slices.DeleteFunc(p.reports, func(r report) bool { return r.by == by.Node })
		if p != m.me && slices.Contains(failing, p.Node) {
			p.reports = append(p.reports, report{by: by.Node, at: t.Now})
			m.judgeFailure(t, p)
		}
	}
}
