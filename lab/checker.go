package lab

import (
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/trace"
)

// Measures is what a run came to. Spans are of true time.
type Measures struct {
	SameEpoch  int // C1: epochs in which two nodes led
	TwoLeaders int // C2: acknowledgements by one leader while another acknowledged
	Lost       int // C3: acknowledged writes that are absent at the end
	LostWorst  int // C3: the most that were absent when a leader began to acknowledge
	Divergent  int // C4: positions at which two nodes that lived then had decided different operations
	Stale      int // C5: reads without a write that was acknowledged before they began, although some node held it
	Twice      int // operations that took effect twice in one log that counts at the end
	Changes    int // C7: a node begins to lead, and the last one that began was another

	Recovery id.Duration // C6: from the first fault to the first acknowledgement of a leader that came after it; 0: none came
	Gap      id.Duration // the longest without an acknowledged write

	Operations, Acked, Refused, Unknown int // operations of clients, acknowledged writes, …
	Messages, Bytes, Syncs              int // between nodes; fsyncs
}

// checker sees everything the nodes believe and the clients hear.
type checker struct {
	r        *run
	m        Measures
	ops      []*opState // by number - 1
	acked    []uint64   // writes, in the order in which clients heard it
	attempts map[uint64]*attempt
	nodes    []nodeState // by number - 1
	epochs   map[uint64][]Node
	counted  map[uint64]bool // epochs that were counted for C1; only looked up
	diverged map[int]bool    // positions counted for C4; only looked up
	last     Node            // who led last
	lastAck  id.Time
	begun    bool // something was acknowledged
	fault    id.Time
	faulted  bool
}

// opState is what is known of one operation.
type opState struct {
	o       *operation
	holders int
}

// nodeState is what the checker knows of one node's present life.
type nodeState struct {
	position []int // by operation - 1: where it stands in the log; 0: nowhere
	decided  int
	leads    id.Time // since when; meaningful while it leads
	acks     int     // in this leadership
	lastAck  id.Time
}

func newChecker(r *run) *checker {
	return &checker{r: r, attempts: map[uint64]*attempt{}, epochs: map[uint64][]Node{}, counted: map[uint64]bool{}, diverged: map[int]bool{}}
}

func (c *checker) state(n *node) *nodeState {
	for len(c.nodes) < int(n.number) {
		c.nodes = append(c.nodes, nodeState{})
	}
	return &c.nodes[n.number-1]
}

func (s *nodeState) at(op uint64) int {
	if op == 0 || op > uint64(len(s.position)) {
		return 0
	}
	return s.position[op-1]
}

func (s *nodeState) put(op uint64, position int) {
	for uint64(len(s.position)) < op {
		s.position = append(s.position, 0)
	}
	s.position[op-1] = position
}

// began, asked, attempt and ended follow the clients.
func (c *checker) began(o *operation) {
	c.ops = append(c.ops, &opState{o: o})
	c.m.Operations++
}

func (c *checker) asked(a *attempt) { c.attempts[a.id] = a }

func (c *checker) attempt(id uint64) *attempt { return c.attempts[id] }

// dropped forgets an attempt nobody waits for: what a node says to it is heard by
// nobody and judged by nobody.
func (c *checker) dropped(a *attempt) { delete(c.attempts, a.id) }

func (c *checker) ended(o *operation) {
	switch o.outcome {
	case answered:
		if o.verb == "write" {
			c.m.Acked++
			c.acked = append(c.acked, o.number)
		}
	case refused:
		c.m.Refused++
	case unknown:
		c.m.Unknown++
	}
}

// sent and synced count.
func (c *checker) sent(bytes int) { c.m.Messages++; c.m.Bytes += bytes }
func (c *checker) synced(n int)   { c.m.Syncs += n }

// holds is told of every position of every log.
func (c *checker) holds(n *node, position int, e Entry) {
	if e.Op == 0 || e.Op > uint64(len(c.ops)) {
		return
	}
	s := c.state(n)
	if s.at(e.Op) == 0 {
		c.ops[e.Op-1].holders++
		s.put(e.Op, position)
	}
	c.await(n, e.Op)
}

// truncated takes positions behind one away.
func (c *checker) truncated(n *node, position int) {
	s := c.state(n)
	for i, p := range s.position {
		if p > position {
			s.position[i] = 0
			c.ops[i].holders--
		}
	}
	c.undecided(n, position)
}

// undecided lets what stands behind a position be judged again when it is decided.
func (c *checker) undecided(n *node, position int) {
	s := c.state(n)
	s.decided = min(s.decided, position)
}

// died forgets a node's life.
func (c *checker) died(n *node) {
	c.truncated(n, 0)
	s := c.state(n)
	*s = nodeState{position: s.position}
}

func (c *checker) decidedBy(n *node) int { return c.state(n).decided }

// decides compares what a node decided with what the others did (C4).
func (c *checker) decides(n *node, upTo int) {
	s := c.state(n)
	for p := s.decided + 1; p <= upTo; p++ {
		op := n.seen.Log.At(p).Op
		for _, other := range c.r.nodes {
			if other == n || !other.up() || other.seen.Log.Decided() < p || other.seen.Log.At(p).Op == op {
				continue
			}
			if !c.diverged[p] {
				c.diverged[p] = true
				c.m.Divergent++
				n.emit(trace.Event{Kind: trace.Verdict, Fields: []trace.Field{trace.Text("checker", "divergent"),
					trace.Num("index", uint64(p)), trace.Num("operation", op), trace.Num("other", other.number), trace.Num("theirs", other.seen.Log.At(p).Op)}})
			}
		}
	}
	before := s.decided
	s.decided = upTo
	for p := before + 1; p <= upTo && n.up(); p++ {
		if op := n.seen.Log.At(p).Op; op != 0 {
			c.awaitDecided(n, op)
		}
	}
}

// believes follows who leads (C1, C7).
func (c *checker) believes(n *node, old, now View) {
	s := c.state(n)
	if !now.Leads {
		return
	}
	if !old.Leads || old.Epoch != now.Epoch {
		if !old.Leads {
			s.leads, s.acks = c.r.world.Now(), 0
		}
		c.epoch(n, now.Epoch)
		c.r.trigger("lead", n)
	}
	if old.Leads || c.r.Protocol.Leaderless {
		return
	}
	if c.last != 0 && c.last != n.number && c.r.world.Now() >= c.r.set.changes {
		c.m.Changes++
	}
	c.last = n.number
}

func (c *checker) epoch(n *node, epoch uint64) {
	if !c.r.Protocol.Epochs {
		return
	}
	led := c.epochs[epoch]
	if slices.Contains(led, n.number) {
		return
	}
	c.epochs[epoch] = append(led, n.number)
	if len(led) > 0 && !c.counted[epoch] {
		c.counted[epoch] = true
		c.m.SameEpoch++
		n.emit(trace.Event{Kind: trace.Verdict, Fields: []trace.Field{trace.Text("checker", "same-epoch"), trace.Num("epoch", epoch), trace.Num("other", led[0])}})
	}
}

// answers is told of every answer a node gives.
func (c *checker) answers(n *node, a *attempt, e *effect) {
	delete(c.attempts, a.id)
	if e.answer != answered {
		return
	}
	switch a.o.verb {
	case "write":
		c.acks(n, a)
	case "read":
		c.reads(n, a, e.prefix)
	}
}

// acks follows acknowledgements (C2, C6, the gap, the worst of C3).
func (c *checker) acks(n *node, a *attempt) {
	now := c.r.world.Now()
	if c.begun && now >= c.r.set.measured {
		c.m.Gap = max(c.m.Gap, now.Sub(max(c.lastAck, c.r.set.measured)))
	}
	c.begun, c.lastAck = true, now
	if c.r.Protocol.Leaderless {
		return
	}
	if !n.seen.Leads {
		// A follower that serves clients speaks for its leader.
		if n.seen.Leader == 0 {
			return
		}
		if n = c.r.nodes[n.seen.Leader-1]; !n.up() || !n.seen.Leads {
			return
		}
	}
	s := c.state(n)
	if s.acks == 0 {
		if lost := c.absent(n.seen.Log, s); lost > c.m.LostWorst {
			c.m.LostWorst = lost
			n.emit(trace.Event{Kind: trace.Verdict, Fields: []trace.Field{trace.Text("checker", "lost-worst"), trace.Num("lost", uint64(lost))}})
		}
		if c.faulted && c.m.Recovery == 0 && s.leads > c.fault {
			c.m.Recovery = now.Sub(c.fault)
		}
	}
	s.acks++
	for _, other := range c.r.nodes {
		if other == n || !other.up() || !other.seen.Leads {
			continue
		}
		if o := c.state(other); o.acks > 0 && o.lastAck >= s.leads {
			if c.m.TwoLeaders++; c.m.TwoLeaders == 1 {
				n.emit(trace.Event{Kind: trace.Verdict, Fields: []trace.Field{trace.Text("checker", "two-leaders"), trace.Num("other", other.number)}})
			}
			break
		}
	}
	s.lastAck = now
}

// absent counts acknowledged writes that are in no position of a log.
func (c *checker) absent(l *Log, s *nodeState) int {
	lost := 0
	for _, op := range c.acked {
		if s.at(op) == 0 {
			lost++
		}
	}
	return lost
}

// reads judges what a read showed (C5).
func (c *checker) reads(n *node, a *attempt, prefix int) {
	s := c.state(n)
	for _, op := range c.acked[:a.o.acked] {
		if p := s.at(op); (p == 0 || p > prefix) && c.ops[op-1].holders > 0 {
			if c.m.Stale++; c.m.Stale == 1 {
				n.emit(trace.Event{Kind: trace.Verdict, Fields: []trace.Field{trace.Text("checker", "stale"), trace.Num("read", a.o.number), trace.Num("without", op)}})
			}
			return
		}
	}
}

// leader is who leads at present: of several, who has the newest epoch, then who
// came last.
func (c *checker) leader() *node {
	var best *node
	for _, n := range c.r.nodes {
		if !n.up() || !n.seen.Leads {
			continue
		}
		if best == nil || n.seen.Epoch > best.seen.Epoch || n.seen.Epoch == best.seen.Epoch && c.state(n).leads > c.state(best).leads {
			best = n
		}
	}
	return best
}

// final are the logs that count at the end: the leader's; without one that of the
// living node which decided most; where nobody ever leads, those of all living nodes.
func (c *checker) final() []*Log {
	if n := c.leader(); n != nil && !c.r.Protocol.Leaderless {
		return []*Log{n.seen.Log}
	}
	var list []*Log
	for _, n := range c.r.nodes {
		if n.up() {
			list = append(list, n.seen.Log)
		}
	}
	slices.SortStableFunc(list, func(a, b *Log) int { return b.Decided() - a.Decided() })
	if len(list) > 1 && !c.r.Protocol.Leaderless {
		list = list[:1]
	}
	return list
}

// effects tells how often an operation took effect in a log, and where first.
func effects(l *Log, op uint64) (times, position int) {
	for p := 1; p <= l.Decided(); p++ {
		if e := l.At(p); e.Op == op && e.Kind == "" {
			if times++; times == 1 {
				position = p
			}
		}
	}
	return times, position
}

// finish judges the end (C3, operations applied twice).
func (c *checker) finish() {
	r := c.r
	end := r.world.Now()
	if c.begun {
		c.m.Gap = max(c.m.Gap, end.Sub(max(c.lastAck, r.set.measured)))
	} else {
		c.m.Gap = end.Sub(r.set.measured)
	}
	leader := c.leader()
	if leader != nil && !r.Protocol.Leaderless {
		c.m.Lost = c.absent(leader.seen.Log, c.state(leader))
	} else {
		for _, op := range c.acked {
			held := false
			for _, n := range r.nodes {
				held = held || n.up() && c.state(n).at(op) != 0
			}
			if !held {
				c.m.Lost++
			}
		}
	}
	c.m.LostWorst = max(c.m.LostWorst, c.m.Lost)
	twice := make([]bool, len(c.ops))
	for _, l := range c.final() {
		times := make([]int, len(c.ops))
		for p := 1; p <= l.Decided(); p++ {
			if e := l.At(p); e.Op != 0 && e.Op <= uint64(len(times)) && e.Kind == "" {
				if times[e.Op-1]++; times[e.Op-1] == 2 && !twice[e.Op-1] {
					twice[e.Op-1] = true
					c.m.Twice++
				}
			}
		}
	}
	c.verdicts()
}

// verdicts ends the trace with what was measured.
func (c *checker) verdicts() {
	c.r.world.Because(0)
	for _, f := range c.m.Fields() {
		c.r.world.Emit(trace.Event{Kind: trace.Verdict, Fields: []trace.Field{trace.Text("checker", f.Name), trace.Num("final", f.Number)}})
	}
}

// Fields are the measures under the names that expect lines use; spans in
// nanoseconds.
func (m Measures) Fields() []trace.Field {
	n := func(name string, v int) trace.Field { return trace.Num(name, uint64(v)) }
	return []trace.Field{
		n("same-epoch", m.SameEpoch), n("two-leaders", m.TwoLeaders), n("lost", m.Lost), n("lost-worst", m.LostWorst),
		n("divergent", m.Divergent), n("stale", m.Stale), n("twice", m.Twice), n("changes", m.Changes),
		trace.Num("recovery", uint64(m.Recovery)), trace.Num("gap", uint64(m.Gap)),
		n("operations", m.Operations), n("acked", m.Acked), n("refused", m.Refused), n("unknown", m.Unknown),
		n("messages", m.Messages), n("bytes", m.Bytes), n("syncs", m.Syncs),
	}
}
