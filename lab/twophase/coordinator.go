package twophase

import (
	"fmt"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// transaction is the one that runs.
type transaction struct {
	position int
	entry    lab.Entry
	request  lab.Request
	own      id.Token // the coordinator's own vote counts when this is durable
	voted    [10]bool // yes
	refused  [10]bool // no
	ends     id.Time
	decided  bool
	outcome  lab.Entry
	why      string   // of an abort
	after    id.Token // the outcome is told when this is durable
}

func (x *transaction) yes() int { return count(x.voted) }

func count(nodes [10]bool) int {
	n := 0
	for _, in := range nodes {
		if in {
			n++
		}
	}
	return n
}

// need is how many votes commit: all of them.
func (m *machine) need() int {
	if m.c.Broken(commitAtMajority) {
		return m.c.Quorum()
	}
	return len(m.c.Voters)
}

// serve answers a client: the coordinator, or a hint to it.
func (m *machine) serve(t *lab.Turn, r lab.Request) {
	if !m.coordinates() {
		t.Refuse(r, m.coordinator(), "R1 only the coordinator begins a transaction")
		return
	}
	if m.opens != 0 {
		t.Refuse(r, 0, "R7 the coordinator just started and reads its decisions")
		return
	}
	switch r.Verb {
	case "read":
		t.Serve(r, m.log.Decided())
	case "write":
		if n := m.missed(); n != 0 {
			t.Refuse(r, 0, fmt.Sprintf("R5 n%d is away, and every vote is needed", n))
		} else if m.now != nil && len(m.queue) >= queueMax {
			t.Refuse(r, 0, fmt.Sprintf("R1 %d transactions wait for the lock", queueMax))
		} else {
			m.queue = append(m.queue, r)
			m.next(t)
		}
	default:
		t.Refuse(r, 0, "R1 this protocol knows write and read")
	}
}

// missed names a node without which nothing can commit; 0: enough are there.
func (m *machine) missed() lab.Node {
	missing, who := 0, lab.Node(0)
	for _, n := range m.c.Voters {
		if m.away[n] {
			missing++
			who = n
		}
	}
	if len(m.c.Voters)-missing >= m.need() {
		return 0
	}
	return who
}

// next begins the transaction that waits longest (R1).
func (m *machine) next(t *lab.Turn) {
	if m.now != nil || len(m.queue) == 0 {
		return
	}
	r := m.queue[0]
	m.queue = append([]lab.Request(nil), m.queue[1:]...)
	x := &transaction{position: m.log.Len() + 1, request: r, ends: t.Now.Add(m.wait)}
	x.entry = lab.Entry{Op: r.Op, Client: r.Client}
	m.now = x
	m.log.Append(x.entry)
	m.persist(t, preparedRecord{x.position, x.entry})
	x.own = m.token
	for _, n := range m.c.Peers() {
		t.Send(n, Prepare{Position: x.position, Entry: x.entry})
	}
	if m.c.Broken(voteUnsynced) {
		m.voted(t, m.c.Self)
	}
}

// onVote counts a vote.
func (m *machine) onVote(t *lab.Turn, from lab.Node, v Vote) {
	x := m.now
	if x == nil || x.decided || v.Position != x.position || v.Op != x.entry.Op {
		return
	}
	if v.Yes {
		m.voted(t, from)
		return
	}
	x.refused[from] = true
	if len(m.c.Voters)-count(x.refused) < m.need() {
		m.abort(t, fmt.Sprintf("n%d voted no", from))
	}
}

// voted is R4.
func (m *machine) voted(t *lab.Turn, n lab.Node) {
	x := m.now
	x.voted[n] = true
	if x.yes() >= m.need() {
		m.decide(t, x.entry)
	}
}

// late is R5: who has not voted in time is away.
func (m *machine) late(t *lab.Turn) {
	x := m.now
	for _, n := range m.c.Peers() {
		if !x.voted[n] {
			m.away[n] = true
		}
	}
	if n := m.missed(); n != 0 {
		m.abort(t, fmt.Sprintf("n%d did not vote in time", n))
	} else {
		x.ends = id.Never // enough are there: the coordinator's own disk is late
	}
}

// missing is R5 for a connection that broke.
func (m *machine) missing(t *lab.Turn, n lab.Node, why string) {
	m.away[n] = true
	x := m.now
	if x != nil && !x.decided && !x.voted[n] && m.missed() != 0 {
		m.abort(t, fmt.Sprintf("n%d: %s", n, why))
	}
}

func (m *machine) abort(t *lab.Turn, why string) {
	t.Rule("R5", fmt.Sprintf("%s: position %d is aborted", why, m.now.position))
	m.now.why = why
	m.decide(t, lab.Entry{Kind: aborted})
}

// decide writes the outcome down; told tells it when it is on disk.
func (m *machine) decide(t *lab.Turn, outcome lab.Entry) {
	x := m.now
	x.decided, x.outcome = true, outcome
	m.persist(t, decidedRecord{x.position, outcome})
	x.after = m.token
	if m.c.Broken(voteUnsynced) {
		m.told(t)
	}
}

// durable: the coordinator's own vote, or its decision, is on disk, or what its
// former life left.
func (m *machine) durable(t *lab.Turn, token id.Token) {
	x := m.now
	switch {
	case m.opens != 0:
		if token >= m.opens {
			m.opens = 0
			m.start(t)
		}
	case x == nil:
	case x.decided && token >= x.after:
		m.told(t)
	case !x.decided && token >= x.own && !x.voted[m.c.Self]:
		m.voted(t, m.c.Self)
	}
}

// told makes the outcome known, and goes on.
func (m *machine) told(t *lab.Turn) {
	x := m.now
	m.now = nil
	m.log.Set(x.position, x.outcome)
	m.log.Decide(x.position)
	if x.request.ID != 0 {
		if x.outcome.Kind == aborted {
			t.Refuse(x.request, 0, "R5 aborted: "+x.why)
		} else {
			t.Accept(x.request)
		}
	}
	for _, n := range m.c.Peers() {
		t.Send(n, Decision{From: x.position, Entries: []lab.Entry{x.outcome}})
	}
	if n := m.missed(); n != 0 {
		for _, r := range m.queue {
			t.Refuse(r, 0, fmt.Sprintf("R5 n%d is away, and every vote is needed", n))
		}
		m.queue = nil
	}
	m.next(t)
}

// tell sends a participant the decisions it has not acknowledged; if there are
// none, it only asks whether somebody is there.
func (m *machine) tell(t *lab.Turn, n lab.Node) {
	from := m.acked[n] + 1
	entries := m.log.From(from - 1)
	entries = entries[:max(0, min(len(entries), m.log.Decided()-from+1, decisionMax))]
	t.Send(n, Decision{From: from, Entries: entries})
}
