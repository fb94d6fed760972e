package raft

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/trace"
)

// chaos is one run of the property test: random drops, doubles, reorderings,
// partitions, crashes, changes, transfers, reads and snapshots for a while, with
// every effect judged; then everything is healed and the group must get on.
type chaos struct {
	*world
	r                                                        *rand.Rand
	cut                                                      map[[2]id.NodeID]bool
	drop                                                     int // per cent
	double                                                   int
	pace                                                     id.Duration // longest step of time
	sequence                                                 uint64
	readID                                                   ReadID
	crashes, changes, snapshots, reads, transfers, elections int
}

func newChaos(seed uint64, f ...faults.Switch) *chaos {
	c := &chaos{world: newWorld(), r: rand.New(rand.NewPCG(seed, 7)), cut: map[[2]id.NodeID]bool{}}
	c.drop, c.double = max(0, c.r.IntN(30)-15), max(0, c.r.IntN(20)-10)
	c.pace = id.Duration(5+c.r.IntN(30)) * id.Millisecond
	founders := []int{3, 3, 3, 5, 2, 4}[c.r.IntN(6)]
	small := c.r.IntN(2) == 0
	for i := 1; i <= 6; i++ {
		conf := testConfig(nid(i), f...)
		if small {
			conf.TailBytes, conf.RetainBytes, conf.ApplyBytes = 300, 1+c.r.IntN(600), 200
			conf.MessageBytes, conf.WindowBytes, conf.WindowMessages = 150, 400, 2
		}
		d := disk{}
		if i <= founders {
			d.start.Config = voters(founders)
		}
		c.add(conf, d)
	}
	for _, m := range c.members {
		c.boot(m)
	}
	return c
}

func (c *chaos) boot(m *member) {
	if err := m.start(c.world); err != nil {
		c.oracle.fail("%v does not start: %v", m.id, err)
	}
}

func (c *chaos) some() *member { return c.members[c.r.IntN(len(c.members))] }

// step does one random thing.
func (c *chaos) step() {
	m := c.some()
	switch x := c.r.IntN(1000); {
	case x < 420:
		c.deliver()
	case x < 560:
		if m.up && len(m.writes) > 0 {
			m.syncOne(c.world)
			c.pass(m)
		}
	case x < 680:
		if m.up && m.work(c.world) {
			c.pass(m)
		}
	case x < 820:
		c.tick()
	case x < 900:
		c.propose(m)
	case x < 930:
		c.readAt(m)
	case x < 945:
		c.flushMachine(m)
	case x < 955:
		c.changeMembers(m)
	case x < 962:
		c.faults(m)
	case x < 968:
		if m.up {
			c.transfers++
			m.give(c.world, Transfer{To: c.some().id})
		}
	case x < 972:
		if m.up {
			m.give(c.world, []Event{Campaign{}, ForgetLeader{}, Unreachable{Peer: c.some().id}}[c.r.IntN(3)])
		}
	default:
		c.deliver()
	}
}

func (c *chaos) deliver() {
	for k := c.r.IntN(4); k >= 0 && len(c.net) > 0; k-- {
		i := 0
		if c.r.IntN(4) == 0 {
			i = c.r.IntN(len(c.net))
		}
		p := c.net[i]
		if c.r.IntN(100) >= c.double {
			c.net = append(c.net[:i], c.net[i+1:]...)
		}
		to := c.member(p.to)
		if to == nil || !to.up || c.cut[[2]id.NodeID{p.from, p.to}] || c.r.IntN(100) < c.drop {
			continue
		}
		to.inbox = append(to.inbox, Received{From: p.from, Message: p.message})
		if c.r.IntN(3) > 0 {
			c.pass(to)
		}
	}
	if len(c.net) > 300 { // a real network drops too
		c.net = c.net[200:]
	}
}

// tick moves time a little and wakes who is due, most of the time.
func (c *chaos) tick() {
	c.now = c.now.Add(id.Duration(c.r.IntN(int(c.pace))))
	for _, m := range c.members {
		if m.up && m.node.Deadline() <= c.now && c.r.IntN(5) > 0 {
			c.pass(m)
		}
	}
}

func (c *chaos) propose(m *member) {
	if !m.up {
		return
	}
	if l := c.leader(); l != nil && c.r.IntN(3) > 0 {
		m = l
	}
	p := Propose{}
	for k := c.r.IntN(3); k >= 0; k-- {
		c.sequence++
		p.Proposals = append(p.Proposals, Proposal{ID: ProposalID{Origin: m.id, Sequence: c.sequence}, Data: []byte(fmt.Sprint(c.sequence))})
	}
	m.inbox = append(m.inbox, p)
	if c.r.IntN(2) == 0 {
		c.pass(m)
	}
}

func (c *chaos) readAt(m *member) {
	// Half of the reads go to whoever takes itself for a leader, the deposed too.
	for _, x := range c.members[c.r.IntN(len(c.members)):] {
		if x.up && x.node.role == Leader && c.r.IntN(2) == 0 {
			m = x
			break
		}
	}
	if m.up {
		c.readID++
		c.reads++
		c.oracle.asked(m, c.readID)
		m.inbox = append(m.inbox, Read{ID: c.readID})
		c.pass(m)
	}
}

func (c *chaos) flushMachine(m *member) {
	if m.up && m.node.installing == nil {
		m.flushed = m.applied
		m.give(c.world, Flushed{Index: m.flushed})
	}
}

func (c *chaos) changeMembers(m *member) {
	l := c.leader()
	if l == nil {
		return
	}
	c.changes++
	ch := membership.Change{}
	for k := c.r.IntN(3); k >= 0; k-- {
		x := membership.Member{ID: c.some().id}
		x.Name = x.ID.String()
		kinds := []membership.OpKind{membership.AddVoter, membership.AddLearner, membership.Promote, membership.Demote, membership.Remove, membership.AddVoter, membership.Promote}
		op := membership.Op{Kind: kinds[c.r.IntN(len(kinds))], Member: x}
		if have, ok := l.node.log.config().Config.Find(x.ID); ok == (op.Kind == membership.AddVoter || op.Kind == membership.AddLearner) ||
			op.Kind == membership.Promote && have.Role != membership.Learner || op.Kind == membership.Demote && have.Role != membership.Voter {
			continue
		}
		dup := false
		for _, o := range ch.Ops {
			dup = dup || o.Member.ID == x.ID
		}
		if !dup {
			ch.Ops = append(ch.Ops, op)
		}
	}
	if len(ch.Ops) > 0 {
		c.sequence++
		l.give(c.world, Change{ID: ProposalID{Origin: l.id, Sequence: c.sequence}, Change: ch})
	}
}

// faults crashes, restarts, cuts links and mends them.
func (c *chaos) faults(m *member) {
	switch c.r.IntN(6) {
	case 4:
		c.depose()
	case 0:
		if m.up {
			c.crashes++
			m.crash(c.world, c.r.IntN(3))
		}
	case 1:
		for _, m := range c.members {
			if !m.up && c.r.IntN(2) == 0 {
				c.boot(m)
			}
		}
	case 2:
		if l := c.leader(); l != nil && c.r.IntN(2) == 0 {
			m = l
		}
		alone := c.r.IntN(2) == 0 // or with some links left, one way or both
		for _, o := range c.members {
			c.cut[[2]id.NodeID{m.id, o.id}] = alone || c.r.IntN(4) > 0
			c.cut[[2]id.NodeID{o.id, m.id}] = alone || c.r.IntN(4) > 0
		}
	case 3:
		clear(c.cut)
	}
}

// depose cuts the leader off just long enough for the others to go on without
// it, and asks it to read: rare by chance, and the one hour of stale reads.
func (c *chaos) depose() {
	old := c.leader()
	if old == nil {
		return
	}
	apart := func(p packet) bool { return p.from == old.id || p.to == old.id }
	c.advance(c.now.Add(id.Duration(300+c.r.IntN(200))*id.Millisecond), apart)
	if l := c.leader(); l != nil {
		l.give(c.world, command(int(c.sequence)))
		c.settle(apart)
	}
	if old.up {
		c.readAt(old)
	}
}

// run is the whole: faults, then healing. The result is empty if all was well.
func (c *chaos) run(steps int) (violation string) {
	defer func() {
		if p := recover(); p != nil && violation == "" {
			violation = fmt.Sprint("panic: ", p)
		}
	}()
	for i := 0; i < steps; i++ {
		c.step()
		if c.oracle.violation != "" {
			return c.oracle.violation
		}
	}
	return c.heal()
}

// heal: with every member up and the network whole there is a leader within ten
// election timeouts and every member of its configuration gets what it has.
func (c *chaos) heal() string {
	clear(c.cut)
	for _, m := range c.members {
		if !m.up {
			c.boot(m)
		}
	}
	c.settle(nil)
	c.advance(c.now.Add(10*c.members[0].config.ElectionMax), nil)
	l := c.leader()
	if l == nil {
		return "liveness: no leader after healing"
	}
	c.advance(c.now.Add(id.Second), nil)
	l = c.leader()
	c.sequence++
	l.give(c.world, Propose{Proposals: []Proposal{{ID: ProposalID{Origin: l.id, Sequence: c.sequence}, Data: []byte("end")}}})
	c.advance(c.now.Add(id.Second), nil)
	if c.oracle.violation != "" {
		return c.oracle.violation
	}
	l = c.leader()
	for _, x := range l.node.log.config().Config.Members {
		if m := c.member(x.ID); m.applied != l.node.log.last || m.applied != c.oracle.topCommit {
			return fmt.Sprintf("liveness: after healing %v applied %d of %d (committed %d)", m.id, m.applied, l.node.log.last, c.oracle.topCommit)
		}
	}
	if l.node.log.config().Config.Joint {
		return "liveness: the joint configuration is not left"
	}
	return ""
}

const chaosSteps = 2500

// markOf names what must have happened somewhere, or the test tests less than it says.
func markOf(e Effect) string {
	switch e := e.(type) {
	case Install:
		return "snapshot installed"
	case Load:
		return fmt.Sprint("loaded for ", e.For)
	case Cut:
		return "log cut"
	case Removed:
		return fmt.Sprint("removed ", e.Committed)
	case TransferEnded:
		return "transfer ended"
	case ReadReady:
		return "read served"
	case Refused:
		return "refused: " + e.Why.String()
	case Persist:
		if !e.MustSync {
			return "commit hint"
		}
	case Emit:
		switch f := e.Event.Fields; {
		case e.Event.Kind == trace.Truncated:
			return "truncated"
		case e.Event.Kind == trace.ConfigChanged && f[1].Number == 1:
			return "joint"
		case e.Event.Kind == trace.RoleChanged:
			return f[0].Text
		case e.Event.Kind == trace.ProgressState:
			return f[1].Text
		}
	}
	return "other"
}

func TestRandomFaultsBreakNothingM44M45M46M47M48M49(t *testing.T) {
	seeds := uint64(300)
	if testing.Short() {
		seeds = 50
	}
	var sum chaos
	marks := map[string]int{}
	terms := id.Term(0)
	for seed := uint64(1); seed <= seeds; seed++ {
		c := newChaos(seed)
		c.tell = func(_ *member, e Effect) { marks[markOf(e)]++ }
		if v := c.run(chaosSteps); v != "" {
			t.Fatalf("seed %d: %s", seed, v)
		}
		sum.crashes += c.crashes
		sum.changes += c.changes
		sum.reads += c.reads
		sum.transfers += c.transfers
		sum.sequence += uint64(c.oracle.topCommit)
		terms += c.leader().node.term
		for _, m := range c.members {
			sum.snapshots += int(m.image.start.Index)
		}
	}
	for _, must := range []string{
		"snapshot installed", "loaded for 1", "loaded for 2", "log cut", "removed true", "removed false", "transfer ended", "read served",
		"commit hint", "truncated", "joint", "leader", "candidate", "pre-candidate", "follower", "probe", "replicate", "snapshot",
		"refused: " + ChangeInFlight.String(), "refused: " + NoOwnTermCommit.String(), "refused: " + OfficeUncertain.String(), "refused: " + Transferring.String(),
	} {
		if marks[must] == 0 && !testing.Short() {
			t.Errorf("no seed reached %q", must)
		}
	}
	t.Logf("%v", marks)
	t.Logf("%d seeds: %d committed, %d terms, %d crashes, %d changes, %d reads, %d transfers, %d entries cut", seeds, sum.sequence, terms, sum.crashes, sum.changes, sum.reads, sum.transfers, sum.snapshots)
}

// Every breakage of raft is seen by the oracle within a stated number of seeds:
// so is shown that the checkers see what they claim to see.
func TestEveryRaftFaultSwitchIsFound(t *testing.T) {
	for _, f := range []struct {
		fault faults.Switch
		seeds uint64
	}{
		{faults.AckBeforeDurable, 100}, {faults.CountPriorTerm, 100}, {faults.CommitPastVerified, 100},
		{faults.ReadWithoutRound, 100}, {faults.KeepConflict, 100}, {faults.NoLogCheck, 100}, {faults.NoPreVote, 100},
		{faults.NoCheckQuorum, 100}, {faults.NoOwnTermRead, 100}, {faults.DoubleVote, 100}, {faults.CountSelfTwice, 100},
		{faults.CountLearners, 100}, {faults.OneMajorityInJoint, 100}, {faults.ChangeBeforeOwnTerm, 100},
		{faults.ApplyBeforeDurable, 100},
	} {
		t.Run(string(f.fault), func(t *testing.T) {
			for seed := uint64(1); seed <= f.seeds; seed++ {
				if v := newChaos(seed, f.fault).run(chaosSteps); v != "" {
					t.Logf("seed %d: %s", seed, v)
					return
				}
			}
			t.Fatalf("no oracle saw it within %d seeds", f.seeds)
		})
	}
}

// Whatever a peer sends, a node does not panic. It may halt: two leaders in one
// term, or another entry where one is committed, end a node for good.
func TestAnyMessageIsSurvived(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	small := func() id.Index { return id.Index(r.IntN(8)) }
	term := func() id.Term { return id.Term(r.IntN(7)) }
	entry := func(i id.Index) Entry {
		e := Entry{Index: i, Term: term(), Kind: EntryKind(r.IntN(5))}
		if e.Kind == EntryConfig && r.IntN(2) == 0 {
			c := voters(1 + r.IntN(4))
			e.Config = &c
		}
		return e
	}
	message := func() Message {
		switch r.IntN(14) {
		case 0:
			return RequestPreVote{term(), small(), term()}
		case 1:
			return PreVote{term(), term(), r.IntN(2) == 0}
		case 2:
			return RequestVote{term(), small(), term(), r.IntN(2) == 0}
		case 3:
			return Vote{term(), r.IntN(2) == 0}
		case 4, 5:
			a := Append{Term: term(), Prev: small(), PrevTerm: term(), Commit: small()}
			if r.IntN(10) == 0 {
				a.Prev = 1<<64 - 1 - small()
			}
			for k := r.IntN(4); k > 0; k-- {
				i := a.Prev + id.Index(len(a.Entries)) + 1
				if r.IntN(20) == 0 {
					i = small()
				}
				a.Entries = append(a.Entries, entry(i))
			}
			return a
		case 6:
			return AppendAccepted{term(), small()}
		case 7:
			return AppendRejected{term(), small(), small(), term()}
		case 8:
			return Heartbeat{term(), small(), uint64(small())}
		case 9:
			return HeartbeatAck{term(), uint64(small())}
		case 10:
			return InstallSnapshot{term(), SnapshotMeta{small(), term(), []membership.Config{{}, voters(3)}[r.IntN(2)]}}
		case 11:
			return TimeoutNow{term()}
		case 12:
			return []Message{RequestRead{term(), uint64(small())}, ReadAnswer{term(), uint64(small()), small(), r.IntN(2) == 0}}[r.IntN(2)]
		}
		return NotMember{term(), uint64(small())}
	}
	halted := 0
	for round := 0; round < 400; round++ {
		b := newBench(t, 1+r.IntN(3), HardState{Term: id.Term(r.IntN(3))}, 1, 1)
		b.oracle.deaf = true
		for i := 0; i < 60 && b.m.up; i++ {
			switch r.IntN(12) {
			case 0:
				b.timeout()
			case 1:
				b.give(command(i), Read{ID: ReadID(i)})
			case 2:
				b.m.give(b.world, Received{From: nid(2 + r.IntN(3)), Message: message()}, Received{From: nid(2), Message: message()})
			default:
				b.from(2+r.IntN(3), message())
			}
		}
		if !b.m.up {
			halted++
		}
	}
	if halted == 400 {
		t.Error("every node halted: the test reaches nothing")
	}
}
