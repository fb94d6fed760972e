package dledger

import (
	"fmt"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// pusher is the leader's dispatcher for one follower.
//
//	COMPARE ──▶ TRUNCATE ──▶ APPEND, and COMMIT when nothing else goes
//	   ▲                        │
//	   └──── anything failed ───┘
type pusher struct {
	kind   pushKind
	next   int    // COMPARE: behind the entry to compare; APPEND: the next to send
	match  int    // up to here the follower is known to have the same ledger
	own    int    // the same, as far as the last is of the leader's term
	round  uint64 // of the last COMPARE
	waits  bool
	asked  id.Time // COMPARE and TRUNCATE: when
	pause  id.Time // not before
	sent   id.Time // last APPEND or COMMIT
	flight []batch // APPENDs without an answer
}

// batch is one APPEND.
type batch struct {
	last int
	sent id.Time
}

// fail begins again with COMPARE, after a pause.
func (p *pusher) fail(t *lab.Turn) {
	p.kind, p.waits, p.flight = compare, false, nil
	p.pause = t.Now.Add(pushPause)
}

func (p *pusher) deadline(end int) id.Time {
	switch {
	case p.waits:
		return p.asked.Add(compareWait)
	case p.kind != appendTo:
		return p.pause
	case len(p.flight) > 0:
		return p.flight[0].sent.Add(pushWait)
	case p.next <= end:
		return p.pause
	}
	return p.sent.Add(commitEvery)
}

// push does what is due for every follower.
func (m *machine) push(t *lab.Turn) {
	for _, n := range m.c.Peers() {
		m.pushTo(t, n, &m.peers[n])
	}
}

func (m *machine) pushTo(t *lab.Turn, n lab.Node, p *pusher) {
	if p.waits && t.Now >= p.asked.Add(compareWait) {
		p.fail(t)
	}
	if p.waits || t.Now < p.pause {
		return
	}
	r := PushEntryRequest{Kind: p.kind, Term: m.term, Commit: m.log.Decided()}
	switch p.kind {
	case compare:
		p.next = min(p.next, m.log.Len()+1)
		r.Index, r.Compare = p.next-1, m.termAt(p.next-1)
		m.rounds++
		p.round = m.rounds
	case truncate:
		r.Index = p.match + 1
	case appendTo:
		m.appendTo(t, n, p)
		return
	}
	p.waits, p.asked, r.Round = true, t.Now, p.round
	t.Send(n, r)
}

// appendTo sends entries, those of a batch without an answer once more, and
// otherwise now and then how far things are committed.
func (m *machine) appendTo(t *lab.Turn, n lab.Node, p *pusher) {
	if len(p.flight) > 0 && t.Now >= p.flight[0].sent.Add(pushWait) {
		p.next, p.flight = p.match+1, nil
	}
	for p.next <= m.log.Len() && len(p.flight) < inFlightMax {
		entries := m.log.From(p.next - 1)
		entries = entries[:min(len(entries), batchMax)]
		t.Send(n, PushEntryRequest{Kind: appendTo, Term: m.term, Index: p.next, Entries: entries, Commit: m.log.Decided()})
		p.next += len(entries)
		p.sent = t.Now
		p.flight = append(p.flight, batch{p.next - 1, t.Now})
	}
	if len(p.flight) == 0 && t.Now >= p.sent.Add(commitEvery) {
		p.sent = t.Now
		t.Send(n, PushEntryRequest{Kind: commit, Term: m.term, Commit: m.log.Decided()})
	}
}

// onPush is the follower's side. It takes pushes of its leader and term only.
func (m *machine) onPush(t *lab.Turn, from lab.Node, p PushEntryRequest) {
	r := PushEntryResponse{Kind: p.Kind, Term: p.Term, Index: p.Index, Round: p.Round, Result: success}
	switch {
	case m.role != follower || m.leader != from || m.term != p.Term:
		r.Result = unexpected
	case p.Kind == compare:
		if p.Term == m.compared.term && p.Round <= m.compared.round {
			return // it comes again, or was overtaken by a later one
		}
		m.compareWith(p, &r)
		m.compared = comparison{p.Term, p.Round, r.Result == success}
	case p.Kind == truncate:
		if m.compared != (comparison{p.Term, p.Round, true}) {
			return // it comes again: what came behind it in the meantime is the leader's
		}
		m.compared.agreed = false
		if m.log.Len() >= p.Index {
			t.Rule("P2", fmt.Sprintf("TRUNCATE: entries %d to %d are not the leader's", p.Index, m.log.Len()))
			m.log.Truncate(p.Index - 1)
			m.saveEntries(t, truncateRecord{p.Index})
		}
	case p.Kind == appendTo:
		m.take(t, p, &r)
	case p.Kind == commit:
		m.log.Decide(max(m.log.Decided(), min(p.Commit, m.log.Len())))
		return
	}
	r.End = m.log.Len()
	t.SendAfter(m.token, from, r)
}

// comparison is the last COMPARE that a follower answered. A TRUNCATE is good once,
// behind its own COMPARE.
type comparison struct {
	term, round uint64
	agreed      bool
}

// compareWith is P1: the same term at the same index, or where the difference begins.
func (m *machine) compareWith(p PushEntryRequest, r *PushEntryResponse) {
	if p.Index <= m.log.Len() && m.termAt(p.Index) == p.Compare {
		return
	}
	r.Result = inconsistentData
	if p.Index > m.log.Len() {
		return
	}
	r.Conflict = p.Index
	for r.Conflict > 1 && m.termAt(r.Conflict-1) == m.termAt(p.Index) {
		r.Conflict--
	}
}

// take is P3: entries follow the last one; what is there already is there.
func (m *machine) take(t *lab.Turn, p PushEntryRequest, r *PushEntryResponse) {
	var records []lab.Body
	for i, e := range p.Entries {
		switch index := p.Index + i; {
		case index == m.log.Len()+1:
			m.log.Append(e)
			records = append(records, entryRecord{e})
		case index > m.log.Len() || m.termAt(index) != e.Epoch:
			r.Result = inconsistentData
		}
	}
	if records != nil {
		m.saveEntries(t, records...)
	}
	if r.Result == success {
		r.Index = p.Index + len(p.Entries) - 1
		m.log.Decide(max(m.log.Decided(), min(p.Commit, r.Index)))
	}
}

// onPushed is the dispatcher's next step.
func (m *machine) onPushed(t *lab.Turn, from lab.Node, r PushEntryResponse) {
	p := &m.peers[from]
	if m.role != leads || r.Term != m.term || r.Kind != p.kind || r.Kind != appendTo && (!p.waits || r.Round != p.round) {
		return
	}
	switch {
	case r.Result == unexpected:
		p.fail(t)
	case r.Kind == compare && r.Result == success:
		p.match = 0 // a follower may have less than it once had: what was not flushed
		m.matched(p, r.Index)
		p.kind, p.waits = truncate, false
	case r.Kind == compare:
		t.Rule("P1", fmt.Sprintf("COMPARE: n%d differs at %d", from, r.Index))
		p.waits = false
		if r.Conflict > 0 {
			p.next = r.Conflict
		} else {
			p.next = r.End + 1
		}
	case r.Kind == truncate:
		p.kind, p.waits = appendTo, false
		p.next, p.flight, p.sent = p.match+1, nil, t.Now
	case r.Result != success:
		p.fail(t)
		p.pause = t.Now
		p.next = m.log.Len() + 1
	default:
		for len(p.flight) > 0 && p.flight[0].last <= r.Index {
			p.flight = p.flight[1:]
		}
		m.matched(p, r.Index)
		m.commit(t)
	}
	m.pushTo(t, from, p)
}

// matched takes a mark. The one that counts is of the own term (K1) and never goes
// back, as in DLedger.
func (m *machine) matched(p *pusher, index int) {
	p.match = max(p.match, index)
	if m.termAt(p.match) == m.term {
		p.own = max(p.own, p.match)
	}
}
