package zen

import (
	"fmt"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// The source-document mode: an election as the survey of the election family
// tells it, with messages that Zen does not have. From the joins on (R4) it is
// Zen.

// Election says "I want to be master, with this version"; Alive, "somebody
// better than you is there"; Victory, "I am".
type (
	Election struct{ Version uint64 }
	Alive    struct{}
	Victory  struct{ Version uint64 }
)

func (Election) Name() string            { return "Election" }
func (Alive) Name() string               { return "Alive" }
func (Victory) Name() string             { return "Victory" }
func (m Election) Fields() []trace.Field { return []trace.Field{trace.Num("version", m.Version)} }
func (Alive) Fields() []trace.Field      { return nil }
func (m Victory) Fields() []trace.Field  { return []trace.Field{trace.Num("version", m.Version)} }

// judgeByDocument ends the pings: they asked everybody whether the master is
// seen. That is D1.
func (m *machine) judgeByDocument(t *lab.Turn, masters []lab.Node, masterless int) {
	needed := min(m.c.Quorum(), m.s.minimum)
	switch {
	case masterless >= needed && m.eligible(m.c.Self):
		m.call(t, fmt.Sprintf("%d of %d nodes cannot see a master, more than half: calls an election", masterless, len(m.c.Voters)))
	case len(masters) > 0:
		m.joinMaster(t, masters[0], "D1", fmt.Sprintf("only %d of %d nodes cannot see a master: joins n%d", masterless, len(m.c.Voters), masters[0]))
	default:
		m.search(t, "D1", fmt.Sprintf("only %d of %d nodes say that they cannot see a master: asks again", masterless, len(m.c.Voters)))
	}
}

// call is D2.
func (m *machine) call(t *lab.Turn, why string) {
	t.Rule("D2", why)
	m.role = calling
	m.round.next, m.round.end = id.Never, t.Now.Add(m.s.alive)
	for _, n := range m.c.Peers() {
		t.Send(n, Election{Version: m.electionVersion()})
	}
}

func (m *machine) electionCalled(t *lab.Turn, from lab.Node, e Election) {
	if m.master == m.c.Self {
		t.Send(from, Victory{Version: m.applied.version})
		return
	}
	if m.master != 0 || !m.betterThan(from, e.Version) {
		return
	}
	t.Send(from, Alive{})
	if m.role == pinging {
		m.call(t, fmt.Sprintf("n%d calls an election, and this node is better placed: calls one itself", from))
	}
}

func (m *machine) aliveHeard(t *lab.Turn, from lab.Node) {
	if m.role == calling {
		t.Rule("D2", fmt.Sprintf("n%d is alive and better placed: waits for its Victory", from))
		m.role = awaiting
		m.round.end = t.Now.Add(m.s.victory)
	}
}

// win is D3: nobody better answered in time.
func (m *machine) win(t *lab.Turn) {
	t.Rule("D3", "nobody better is alive: tells everybody, and waits for joins")
	for _, n := range m.c.Peers() {
		t.Send(n, Victory{Version: m.electionVersion()})
	}
	m.waitForJoins(t)
}

func (m *machine) victoryHeard(t *lab.Turn, from lab.Node, v Victory) {
	switch {
	case m.master == m.c.Self:
		m.otherMaster(t, from, v.Version, "its Victory")
	case m.master != 0 || m.role == electing || m.role == joining: // it has voted, and waits for what comes of it
	case !m.betterThan(from, v.Version):
		m.joinMaster(t, from, "D4", fmt.Sprintf("n%d says it has won: joins it", from))
	case m.role == pinging:
		m.call(t, fmt.Sprintf("n%d says it has won, but this node is better placed: calls an election", from))
	}
}

func (m *machine) betterThan(other lab.Node, version uint64) bool {
	return m.better(answer{from: m.c.Self, version: m.electionVersion()}, answer{from: other, version: version})
}
