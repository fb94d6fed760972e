package dledger

import (
	"fmt"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// beatRound is one round of heartbeats and what came back.
type beatRound struct {
	number  uint64
	ends    id.Time
	heard   uint16 // who answered or is unreachable, as bits
	count   int
	good    int
	unready int
	highest uint64
	rival   bool // somebody follows another leader in this term
}

// lead begins. No entry of the own term is written, unless fast-advance says so:
// what the ledger holds beyond the committed waits for the next write (K1).
func (m *machine) lead(t *lab.Turn) {
	t.Rule("E6", fmt.Sprintf("a majority voted: leads term %d", m.term))
	m.role, m.leader, m.met = leads, m.c.Self, true
	m.good = t.Now
	for _, n := range m.c.Peers() {
		m.peers[n] = pusher{kind: compare, next: m.log.Len() + 1, pause: t.Now}
	}
	m.beatNow(t)
	if m.advance && m.log.Decided() < m.log.Len() {
		m.add(t, lab.Entry{Epoch: m.term, Kind: "no-op"})
	}
	m.push(t)
}

// leave gives the lead up. The writes that wait may be in the next leader's ledger:
// nobody knows.
func (m *machine) leave(t *lab.Turn) {
	for _, w := range m.waiting {
		t.Fail(w.request, "L1 the lead is lost before a majority held the entry")
	}
	m.waiting, m.beats, m.round = nil, nil, nil
	m.outcome = waitToRevote
	m.nextVote, m.turn = t.Now, t.Now
}

// beatNow sends a round of heartbeats.
func (m *machine) beatNow(t *lab.Turn) {
	m.rounds++
	m.sent = t.Now
	m.beats = &beatRound{number: m.rounds, ends: t.Now.Add(m.beat - maintainer), count: 1, good: 1}
	for _, n := range m.c.Peers() {
		t.SendAfter(m.token, n, HeartBeatRequest{Term: m.term, Round: m.rounds})
	}
}

// onBeat counts an answer.
func (m *machine) onBeat(t *lab.Turn, from lab.Node, h HeartBeatResponse) {
	b := m.beats
	if m.role != leads || b == nil || h.Round != b.number || b.heard&(1<<from) != 0 {
		return
	}
	switch h.Result {
	case success:
		b.good++
	case heartbeatExpired:
		b.highest = max(b.highest, h.Term)
	case heartbeatUnready:
		b.unready++
	case inconsistent:
		b.rival = true
	}
	m.beaten(t, from)
}

// beaten shortens the round to one more turn of the maintainer when it is clear.
func (m *machine) beaten(t *lab.Turn, from lab.Node) {
	b := m.beats
	if b == nil || b.heard&(1<<from) != 0 {
		return
	}
	b.heard |= 1 << from
	b.count++
	if b.good+b.unready >= m.c.Quorum() || b.count == len(m.c.Voters) {
		b.ends = min(b.ends, t.Now.Add(maintainer))
	}
}

// keep is the leader's turn.
func (m *machine) keep(t *lab.Turn) {
	if m.beats != nil && t.Now >= m.beats.ends {
		b := m.beats
		m.beats = nil
		m.judge(t, b)
		if m.role != leads {
			return
		}
	}
	if m.beats == nil && t.Now >= m.sent.Add(m.beat) {
		m.beatNow(t)
	}
	for len(m.waiting) > 0 && t.Now >= m.waiting[0].since.Add(ackWait) {
		t.Fail(m.waiting[0].request, "P3 no majority held the entry in time")
		m.waiting = m.waiting[1:]
	}
	m.push(t)
}

// judge draws the consequences of a round of heartbeats, in DLedger's order.
func (m *machine) judge(t *lab.Turn, b *beatRound) {
	switch q := m.c.Quorum(); {
	case b.highest > m.term:
		t.Rule("L5", fmt.Sprintf("a follower is in term %d: candidate", b.highest))
		m.stand(t, b.highest)
		m.outcome = waitToVoteNext
	case b.good >= q:
		m.good = t.Now
	case b.good+b.unready >= q:
		m.beatNow(t)
	case b.rival:
		t.Rule("L4", fmt.Sprintf("another node leads term %d too: candidate", m.term))
		m.stand(t, m.term)
	case t.Now >= m.good.Add(m.leak):
		t.Rule("L1", "no majority answered for 3 intervals: candidate")
		m.stand(t, m.term)
	}
}

// unreachable is a connection that broke: questions to that node have their answer.
func (m *machine) unreachable(t *lab.Turn, n lab.Node) {
	switch m.role {
	case candidate:
		m.answered(t, n)
	case leads:
		m.beaten(t, n)
		m.peers[n].fail(t)
	}
}

// serve answers a client: the leader, or a hint to it.
func (m *machine) serve(t *lab.Turn, r lab.Request) {
	if m.role != leads {
		t.Refuse(r, m.leader, "P3 only the leader appends; I am "+m.role.String())
		return
	}
	switch r.Verb {
	case "read":
		t.Serve(r, m.log.Decided())
	case "write":
		if len(m.waiting) >= pendingMax {
			t.Refuse(r, 0, "P3 LEADER_PENDING_FULL")
			return
		}
		index := m.add(t, lab.Entry{Op: r.Op, Epoch: m.term, Client: r.Client})
		m.waiting = append(m.waiting, pending{index, t.Now, r})
		m.push(t)
	default:
		t.Refuse(r, 0, "P3 this protocol knows write and read")
	}
}

func (m *machine) add(t *lab.Turn, e lab.Entry) int {
	index := m.log.Append(e)
	m.saveEntries(t, entryRecord{e})
	return index
}

// commit is K1: what a majority holds of the own term is committed, and with it
// everything before.
func (m *machine) commit(t *lab.Turn) {
	var marks []int
	for _, n := range m.c.Voters {
		switch {
		case n == m.c.Self:
			marks = append(marks, m.ownMark())
		case m.c.Broken(countPriorTerm):
			marks = append(marks, m.peers[n].match)
		default:
			marks = append(marks, m.peers[n].own)
		}
	}
	index := median(marks)
	if index <= m.log.Decided() {
		return
	}
	if m.termAt(index) < m.term {
		t.Rule("K1", fmt.Sprintf("a majority holds index %d of term %d: committed, although the term is %d", index, m.termAt(index), m.term))
	}
	m.log.Decide(index)
	for len(m.waiting) > 0 && m.waiting[0].index <= index {
		t.Accept(m.waiting[0].request)
		m.waiting = m.waiting[1:]
	}
}

// median is the largest number that a majority reaches.
func median(marks []int) int {
	best := 0
	for _, x := range marks {
		reached := 0
		for _, y := range marks {
			if y >= x {
				reached++
			}
		}
		if reached > len(marks)/2 {
			best = max(best, x)
		}
	}
	return best
}
