package bully

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// Step takes one event.
func (m *machine) Step(t *lab.Turn, e lab.Event) {
	switch e := e.(type) {
	case lab.Started:
		m.start(t, e.Files)
	case lab.Received:
		m.receive(t, e.From, e.Message)
	case lab.Durable:
		if m.pending != 0 && e.Token >= m.pending {
			m.pending = 0
			if m.role == electing && !m.dead {
				m.campaign(t)
			}
		}
	case lab.Due:
		m.due(t)
	case lab.Asked:
		m.request(t, e.Request)
	case lab.Reset: // R1 counts silence only
	}
}

// Deadline is the next Heartbeat, or what ends the role.
func (m *machine) Deadline() id.Time {
	next := m.beat
	if m.dead {
		return next
	}
	if m.rules.minimum {
		next = min(next, m.lostQuorum())
	}
	switch m.role {
	case follower:
		next = min(next, m.suspicion())
	case asking, waitVictory:
		next = min(next, m.until)
	case electing:
		if m.pending == 0 {
			next = min(next, m.until)
		}
	}
	return next
}

// View shows Dead where R3 holds: whatever the node was, it is nothing now.
func (m *machine) View() lab.View {
	v := lab.View{Role: string(m.role), Leads: m.role == leading, Epoch: m.epoch, Leader: m.leader, Log: m.log}
	if m.dead {
		v.Role, v.Leads = "Dead", false
	}
	return v
}

// Details are who is heard, and who agrees that the leader is dead.
func (m *machine) Details() []trace.Field {
	return []trace.Field{trace.Text("hears", m.list(m.hears)), trace.Text("agree", names(m.asked)), trace.Num("copying", bit(m.copying))}
}

func (m *machine) hears(i int) bool { return m.heard[i] != unheard }

func (m *machine) list(in func(i int) bool) string {
	var list []lab.Node
	for i, p := range m.peers {
		if in(i) {
			list = append(list, p)
		}
	}
	return names(list)
}

func names(list []lab.Node) string {
	text := ""
	for i, n := range list {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprintf("n%d", n)
	}
	if text == "" {
		return "nobody"
	}
	return text
}

// start reads the disk and suspects that there is no leader (R1).
func (m *machine) start(t *lab.Turn, files map[string][]lab.Body) {
	m.restore(files)
	m.watched = t.Now
	m.sendBeat(t)
	m.dead = m.rules.minimum && m.c.Quorum() > 1
	if !m.dead {
		m.suspect(t, "it has just started")
	}
}

// patience is how long a node may be silent.
func (m *machine) patience() id.Duration { return id.Duration(m.misses) * m.heartbeat }

// silent tells whether a peer missed its Heartbeats.
func (m *machine) silent(t *lab.Turn, n lab.Node) bool {
	i := slices.Index(m.peers, n)
	return i < 0 || m.heard[i] == unheard || t.Now >= m.heard[i].Add(m.patience())
}

// suspicion is when a follower misses the leader.
func (m *machine) suspicion() id.Time { return max(m.watched.Add(m.patience()), m.again) }

// lostQuorum is when fewer than a majority, oneself included, will have been heard
// of late, if nobody says anything until then.
func (m *machine) lostQuorum() id.Time {
	need := m.c.Quorum() - 1 // besides oneself
	if need == 0 {
		return id.Never
	}
	times := slices.Sorted(slices.Values(m.heard))
	last := times[len(times)-need]
	if last == unheard {
		return 0
	}
	return last.Add(m.patience())
}

// judge applies R3 and R10, and R1 where a node comes back to life.
func (m *machine) judge(t *lab.Turn) {
	if !m.rules.minimum || m.dead == (t.Now >= m.lostQuorum()) {
		return
	}
	m.dead = !m.dead
	if !m.dead {
		m.suspect(t, "it hears a majority")
		return
	}
	rule := "R3"
	if m.role == leading {
		rule = "R10"
	}
	t.Rule(rule, fmt.Sprintf("fewer than %d of %d are heard: it takes itself for dead", m.c.Quorum(), len(m.c.Voters)))
	m.be(t, follower, 0)
}

// be changes the role; writes that wait for a majority have no answer then.
func (m *machine) be(t *lab.Turn, r role, leader lab.Node) {
	if m.role == leading && r != leading {
		for _, w := range m.open {
			t.Fail(w.request, "R8 the office is lost; nobody knows whether the write is")
		}
		m.open = nil
	}
	m.role, m.leader = r, leader
	m.copying = false
	m.pending = 0
	m.watched = t.Now
}

// due does what is due.
func (m *machine) due(t *lab.Turn) {
	m.judge(t)
	if t.Now >= m.beat {
		m.sendBeat(t)
	}
	if m.dead {
		return
	}
	switch m.role {
	case follower:
		if t.Now >= m.suspicion() {
			m.suspect(t, fmt.Sprintf("%d heartbeats of the leader missed", m.misses))
		}
	case asking:
		if t.Now >= m.until {
			t.Rule("R2", fmt.Sprintf("%d of %d see no leader: not enough, it asks again later", 1+len(m.asked), len(m.c.Voters)))
			m.role, m.again = follower, t.Now.Add(m.heartbeat)
		}
	case electing:
		if m.pending == 0 && t.Now >= m.until {
			m.win(t, "no larger node answers")
		}
	case waitVictory:
		if t.Now >= m.until {
			t.Rule("R6", "a larger node is alive but announces no victory")
			m.suspect(t, "nobody took the office")
		}
	}
}

func (m *machine) sendBeat(t *lab.Turn) {
	m.beat = t.Now.Add(m.heartbeat)
	m.broadcast(t, heartbeat{m.leader, m.epoch})
}

func (m *machine) broadcast(t *lab.Turn, b lab.Body) {
	for _, p := range m.peers {
		t.Send(p, b)
	}
}

// receive notes that the sender is alive, and applies R0.
func (m *machine) receive(t *lab.Turn, from lab.Node, b lab.Body) {
	if i := slices.Index(m.peers, from); i >= 0 {
		m.heard[i] = t.Now
	}
	m.judge(t)
	if !m.admit(t, from, b) || m.dead {
		return
	}
	switch b := b.(type) {
	case election:
		m.contest(t, from)
	case alive:
		m.answered(t, from)
	case victory:
		m.claim(t, b.leader)
	case heartbeat:
		if b.leader == from {
			m.claim(t, from)
		}
	case ask:
		t.Send(from, opinion{m.takesForDead(t, b.leader)})
		m.agree(t, from, b.leader == m.leader)
	case opinion:
		m.agree(t, from, b.dead)
	default:
		m.replicate(t, from, b)
	}
}

// epochOf is the epoch a message carries.
func epochOf(b lab.Body) (uint64, bool) {
	switch b := b.(type) {
	case election:
		return b.epoch, true
	case alive:
		return b.epoch, true
	case victory:
		return b.epoch, true
	case heartbeat:
		return b.epoch, true
	case ask:
		return b.epoch, true
	case update:
		return b.epoch, true
	case stored:
		return b.epoch, true
	case copyRequest:
		return b.epoch, true
	case state:
		return b.epoch, true
	}
	return 0, false
}

// admit is R0.
func (m *machine) admit(t *lab.Turn, from lab.Node, b lab.Body) bool {
	epoch, has := epochOf(b)
	if !m.rules.epochs || !has || epoch == m.epoch {
		return true
	}
	if epoch < m.epoch {
		if m.rules.believesOld {
			return true
		}
		m.drop(t, from, b, epoch)
		return false
	}
	t.Rule("R0", fmt.Sprintf("epoch %d is larger than %d: adopted", epoch, m.epoch))
	m.setEpoch(t, epoch)
	switch m.role {
	case leading, electing:
		m.be(t, follower, 0)
	case follower, asking:
		m.leader, m.watched = 0, t.Now // the leader of the old epoch is none in this one
	}
	return true
}

// drop tells of what an election might have turned on; the rest is old and silent.
func (m *machine) drop(t *lab.Turn, from lab.Node, b lab.Body, epoch uint64) {
	switch b.(type) {
	case election, alive, victory:
		t.Rule("R0", fmt.Sprintf("%s of epoch %d comes in epoch %d: dropped", b.Name(), epoch, m.epoch))
	case heartbeat:
		if m.leader != 0 && !m.dead {
			t.Rule("R0", fmt.Sprintf("n%d is still in epoch %d: it is told that n%d leads in %d", from, epoch, m.leader, m.epoch))
			t.SendAfter(m.saved, from, victory{m.leader, m.epoch})
		}
	}
}

func (m *machine) setEpoch(t *lab.Turn, epoch uint64) {
	m.epoch = epoch
	if m.rules.durable {
		m.saved = t.Persist("epoch", epochRecord{epoch})
	}
}

// suspect is R1: with R2 it asks first.
func (m *machine) suspect(t *lab.Turn, why string) {
	t.Rule("R1", why+": is there a leader?")
	if !m.rules.asks {
		m.elect(t)
		return
	}
	m.role, m.asked = asking, nil
	m.until = t.Now.Add(m.ask)
	m.broadcast(t, ask{m.leader, m.epoch})
	m.count(t)
}

// takesForDead is this node's View (R2). It is the office that counts: a node that
// came back without it, and says so, leads nobody, however alive it is.
func (m *machine) takesForDead(t *lab.Turn, leader lab.Node) bool {
	if leader == 0 {
		leader = m.leader
	}
	switch leader {
	case m.c.Self:
		return m.role != leading
	case m.leader:
		return leader == 0 || t.Now >= m.watched.Add(m.patience())
	}
	return m.silent(t, leader)
}

// agree notes who takes the leader for dead: who says so, or asks itself.
func (m *machine) agree(t *lab.Turn, from lab.Node, dead bool) {
	if m.role == asking && dead && !slices.Contains(m.asked, from) {
		m.asked = append(m.asked, from)
		m.count(t)
	}
}

func (m *machine) count(t *lab.Turn) {
	if 1+len(m.asked) >= m.c.Quorum() {
		t.Rule("R2", fmt.Sprintf("%d of %d see no leader", 1+len(m.asked), len(m.c.Voters)))
		m.elect(t)
	}
}

// elect is R4.
func (m *machine) elect(t *lab.Turn) {
	m.be(t, electing, 0)
	if m.rules.epochs {
		m.setEpoch(t, m.epoch+1)
	}
	if m.rules.durable {
		m.pending = m.saved // what leaves now would be forgotten by a restart
		return
	}
	m.campaign(t)
}

// campaign asks all larger nodes.
func (m *machine) campaign(t *lab.Turn) {
	m.elected = t.Now
	var larger []lab.Node
	for _, p := range m.peers {
		if p > m.c.Self {
			t.Send(p, election{m.epoch})
			larger = append(larger, p)
		}
	}
	if larger == nil {
		t.Rule("R4", "no number is larger")
		m.win(t, "nobody could object")
		return
	}
	t.Rule("R4", "Election to all larger: "+names(larger))
	m.until = t.Now.Add(m.alive)
}

// win is R7.
func (m *machine) win(t *lab.Turn, why string) {
	t.Rule("R7", why+": it leads, and tells all")
	m.be(t, leading, m.c.Self)
	for i := range m.stored {
		m.stored[i] = 0
	}
	for _, p := range m.peers {
		t.SendAfter(m.saved, p, victory{m.c.Self, m.epoch})
	}
}

// contest is R5: a smaller node asked.
func (m *machine) contest(t *lab.Turn, from lab.Node) {
	if from > m.c.Self {
		return
	}
	if !m.rules.noAlive {
		t.Send(from, alive{m.epoch})
	}
	if m.role == electing || m.role == waitVictory {
		return
	}
	t.Rule("R5", fmt.Sprintf("n%d asks, and is smaller: Alive to it, and an election of its own", from))
	m.elect(t)
}

// answered is R6: a larger node is alive.
func (m *machine) answered(t *lab.Turn, from lab.Node) {
	switch {
	case m.role == waitVictory || m.pending != 0:
		return
	case m.role == electing:
		t.Rule("R6", fmt.Sprintf("n%d is alive: wait for a victory", from))
	case m.elected != unheard && t.Now < m.elected.Add(m.alive):
		return // in time, but somebody won already
	case m.rules.epochs && !m.rules.believesOld:
		t.Rule("R0", fmt.Sprintf("an Alive of n%d for an election that is over: dropped", from))
		return
	default:
		t.Rule("R6", fmt.Sprintf("n%d is alive, for all it knows it is about to win: wait for a victory", from))
	}
	m.be(t, waitVictory, 0)
	m.until = t.Now.Add(m.victory)
}

// claim is R8 and R11: a node is said to lead.
func (m *machine) claim(t *lab.Turn, leader lab.Node) {
	self := m.c.Self
	running := m.role == electing || m.role == waitVictory
	switch {
	case leader == self || leader == 0:
		return
	case leader < self && !m.rules.noBullying:
		if running {
			return
		}
		t.Rule("R8", fmt.Sprintf("n%d leads, which is smaller: it takes the office away", leader))
		m.elect(t)
		return
	case m.rules.epochs && !m.rules.noYielding && m.role == follower && m.leader > leader:
		return // R11: in one epoch the larger of two
	case m.rules.epochs && m.role == leading && m.rules.noYielding:
		return
	case m.role == follower && m.leader == leader:
		m.watched = t.Now
		if m.copying { // the State, or the Copy, was lost on its way
			t.Send(leader, copyRequest{m.epoch})
		}
		return
	}
	rule := "R8"
	if m.rules.epochs && m.role == leading {
		rule = "R11"
	}
	t.Rule(rule, fmt.Sprintf("n%d leads: follow it", leader))
	m.be(t, follower, leader)
	m.copying = true
	t.Send(leader, copyRequest{m.epoch})
}
