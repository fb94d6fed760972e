package lab

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
)

// node is one machine of a run: what survives its crashes, and its present life.
type node struct {
	r       *run
	number  Node
	clock   *sim.Clock
	rates   []int64     // of its clock, by the drifts in force; the last one counts
	ahead   id.Duration // the wall clock is before the other one
	disk    *disk
	machine Machine // nil: down
	life    int
	seen    View // after the last step
	down    int  // crashes whose span is not over
	silent  bool // it went down without breaking connections
	paused  id.Time
	inbox   []queued // while it is paused
	timer   *sim.Timer
	idle    int    // Dues in a row at one moment
	rule    string // of the running step
	turn    Turn
}

// queued is an event that waits for the end of a pause.
type queued struct {
	event Event
	cause uint64
}

const (
	inboxMax = 200_000 // events that wait; beyond, they are lost as in a full socket
	idleMax  = 1000
)

func newNode(r *run, number Node) *node {
	n := &node{r: r, number: number}
	n.clock = sim.NewClock(0)
	n.disk = newDisk(n, 1)
	return n
}

// up tells whether the process runs (paused or not).
func (n *node) up() bool { return n.machine != nil }

func (n *node) emit(e trace.Event) uint64 {
	e.Node = id.NodeID{Node: n.number}
	if e.Rule == "" {
		e.Rule = n.rule
	}
	return n.r.world.Emit(e)
}

// boot starts the next life.
func (n *node) boot() error {
	if n.up() || n.down > 0 {
		return nil
	}
	r := n.r
	n.life++
	n.silent = false
	settings := r.recipe.Configuration()
	c := Config{
		Self: n.number, Voters: slices.Clone(r.recipe.Voters), Learners: slices.Clone(r.recipe.Learners), Helpers: slices.Clone(r.recipe.Spares),
		Life: n.life, Directory: n.disk.identity, Dice: r.world.Random("protocol", n.number, uint64(n.life)),
		Settings: settings, broken: r.broken(),
	}
	slices.Sort(c.Voters)
	for _, rank := range ranks(r.Protocol) {
		if slices.Contains(c.Voters, rank) {
			c.Ranks = append(c.Ranks, rank)
		}
	}
	for _, v := range slices.Backward(c.Voters) {
		if !slices.Contains(c.Ranks, v) {
			c.Ranks = append(c.Ranks, v)
		}
	}
	machine := r.Protocol.New(c)
	if err := settings.Err(); err != nil {
		return err
	}
	n.machine = machine
	n.seen = View{Log: machine.View().Log}
	files, count := n.disk.open()
	n.rule = ""
	cause := r.world.Cause()
	r.world.Because(n.emit(trace.Event{Kind: trace.Started, Fields: []trace.Field{trace.Num("life", uint64(n.life)), trace.Num("records", uint64(count))}}))
	n.step(Started{Files: files})
	r.world.Because(cause)
	return nil
}

// take gives an event to the machine, or keeps it for the end of a pause.
func (n *node) take(e Event) {
	if !n.up() {
		return
	}
	if n.paused > n.r.world.Now() {
		if len(n.inbox) < inboxMax {
			n.inbox = append(n.inbox, queued{e, n.r.world.Cause()})
		}
		return
	}
	n.step(e)
}

// step is one Step and what follows from it.
func (n *node) step(e Event) {
	if n.r.err != nil {
		return
	}
	now := n.clock.Read(n.r.world.Now())
	n.turn = Turn{Now: now, Wall: now.Add(n.ahead), last: n.disk.given, effects: n.turn.effects[:0]}
	n.rule = ""
	n.machine.Step(&n.turn, e)
	n.disk.given = n.turn.last
	machine := n.machine
	effects := n.turn.effects
	n.turn.effects = nil // an effect may end this life or step it again
	for i := range effects {
		if effects[i].kind == ruling {
			n.do(&effects[i]) // the reasons come first: what the view shows has them
		}
	}
	n.look()
	for i := range effects {
		if n.machine != machine {
			return // an effect ended this life
		}
		if effects[i].kind != ruling {
			n.do(&effects[i])
		}
	}
	clear(effects)
	n.turn.effects = effects[:0]
	n.rule = ""
	if n.machine == machine {
		n.rearm()
	}
}

// rearm sets the timer to the machine's deadline.
func (n *node) rearm() {
	n.timer.Stop()
	n.timer = nil
	w := n.r.world
	due := n.clock.When(w.Now(), n.machine.Deadline())
	if due == id.Never {
		return
	}
	due = max(due, n.paused)
	if due > w.Now() {
		n.idle = 0
	}
	n.timer = w.At(due, func() {
		if !n.up() || n.paused > w.Now() {
			return
		}
		if n.idle++; n.idle > idleMax {
			n.r.fail("node %d does not move its deadline: %d Dues at one moment", n.number, idleMax)
			return
		}
		n.step(Due{})
	})
}

// do carries out one effect.
func (n *node) do(e *effect) {
	switch e.kind {
	case ruling:
		n.r.fired[e.rule]++
		n.rule = n.r.Protocol.Name + " " + e.rule
		n.emit(trace.Event{Kind: trace.Fired, Fields: []trace.Field{trace.Text("what", e.text)}})
	case noting:
		n.emit(trace.Event{Kind: trace.Noted, Fields: append([]trace.Field{trace.Text("what", e.text)}, e.fields...)})
	case sending:
		to, body := e.to, e.body
		n.disk.after(e.token, func() { n.send(to, body) })
	case writing:
		n.disk.write(e.file, e.body)
	case syncing:
		n.disk.sync(e.file, e.token)
	case answering:
		n.answer(e)
	}
}

// send puts a message on the wire.
func (n *node) send(to Node, m Body) {
	r := n.r
	if to == 0 || int(to) > len(r.nodes) {
		r.fail("node %d sends %s to node %d, which does not exist", n.number, m.Name(), to)
		return
	}
	bytes := size(m)
	fields := append([]trace.Field{trace.Num("to", to), trace.Text("message", m.Name()), trace.Num("bytes", uint64(bytes))}, m.Fields()...)
	sent := n.emit(trace.Event{Kind: trace.Sent, Fields: fields})
	if to != n.number {
		r.checker.sent(bytes)
	}
	r.trigger("send-"+m.Name(), n)
	r.net.Send(sim.Packet{From: n.number, To: to, Name: m.Name(), Cause: sent, Body: m})
}

func size(b Body) int {
	if s, ok := b.(Sized); ok {
		return s.Bytes()
	}
	return Bytes(b)
}

// deliver is called by the network when a packet arrives.
func (r *run) deliver(p sim.Packet) {
	n := r.nodes[p.To-1]
	switch body := p.Body.(type) {
	case *attempt:
		body.arrive(n, p)
		return
	case reply:
		body.arrive()
		return
	}
	if !n.up() {
		n.emit(trace.Event{Kind: trace.Dropped, Fields: []trace.Field{
			trace.Num("from", p.From), trace.Num("to", p.To), trace.Text("message", p.Name), trace.Text("why", "nobody there")}})
		n.refuse(p.From)
		return
	}
	n.rule = ""
	r.world.Because(n.emit(trace.Event{Kind: trace.Received, Fields: []trace.Field{trace.Num("from", p.From), trace.Text("message", p.Name)}}))
	n.take(Received{From: p.From, Message: p.Body.(Body)})
}

// refuse tells a sender that nobody listens here: its connection was refused. Of a
// silent host it hears nothing.
func (n *node) refuse(sender Node) {
	if n.silent || sender == n.number {
		return
	}
	r := n.r
	r.world.After(latencyMax, func() {
		if r.net.Linked(n.number, sender) && !n.up() {
			r.nodes[sender-1].reset(n.number)
		}
	})
}

// reset tells the node that a peer's process is gone.
func (n *node) reset(peer Node) {
	if n.up() {
		n.rule = ""
		n.r.world.Because(n.emit(trace.Event{Kind: trace.Broke, Fields: []trace.Field{trace.Num("peer", peer)}}))
		n.take(Reset{Node: peer})
	}
}

// kill ends the process. lose says what becomes of what was not synced; with
// resets its peers and clients see their connections break. A node that is down
// already can still lose its power: then the cache goes too, and the host with it.
func (n *node) kill(lose string, resets bool) {
	n.silent = n.silent || !resets
	if !n.up() {
		if lose != "none" {
			n.disk.crash(lose)
		}
		return
	}
	r := n.r
	n.rule = ""
	n.emit(trace.Event{Kind: trace.Crashed, Fields: []trace.Field{trace.Text("how", lose)}})
	n.machine = nil
	n.timer.Stop()
	n.inbox = nil
	n.paused = 0
	n.disk.crash(lose)
	r.checker.died(n)
	if !resets {
		return
	}
	for _, other := range r.nodes {
		if other != n && r.net.Linked(n.number, other.number) {
			r.world.After(latencyMax, func() {
				if r.net.Linked(n.number, other.number) {
					other.reset(n.number)
				}
			})
		}
	}
	for _, c := range r.clients {
		c.broke(n)
	}
}

// pause stops the process; at the end its queue comes first, then its timers.
func (n *node) pause(until id.Time) {
	if !n.up() || until <= n.paused {
		return
	}
	n.paused = until
	n.timer.Stop()
	life := n.life
	n.r.world.At(until, func() {
		if n.life == life && n.up() && n.paused <= n.r.world.Now() {
			n.resume()
		}
	})
}

func (n *node) resume() {
	in := n.inbox
	n.inbox = nil
	life := n.life
	for i, q := range in {
		if n.life != life || !n.up() {
			return
		}
		if n.paused > n.r.world.Now() { // what was queued set off another pause
			n.inbox = append(slices.Clone(in[i:]), n.inbox...)
			return
		}
		n.r.world.Because(q.cause)
		n.step(q.event)
	}
	if n.up() {
		n.rearm()
	}
}

// look compares what the node believes with what it believed, and reports it. A
// triggered fault may end the node's life at any line of the report: what it did
// not get to say is not counted, since died has been told already.
func (n *node) look() {
	v := n.machine.View()
	if v.Log != n.seen.Log || v.Log == nil {
		n.r.fail("node %d shows another Log than before", n.number)
		return
	}
	old := n.seen
	n.seen = v
	changed := v.Role != old.Role || v.Epoch != old.Epoch || v.Leader != old.Leader || v.Leads != old.Leads
	if changed {
		n.emit(trace.Event{Kind: trace.RoleChanged, Fields: append([]trace.Field{
			trace.Text("role", v.Role), trace.Num("epoch", v.Epoch), trace.Num("leader", v.Leader), trace.Num("leads", bit(v.Leads))}, n.machine.Details()...)})
	}
	n.lookAtLog(v.Log)
	if changed && n.up() {
		n.r.checker.believes(n, old, v)
	}
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// lookAtLog reports what changed in the log since the last look.
func (n *node) lookAtLog(l *Log) {
	c := n.r.checker
	if l.lowest >= 0 {
		if l.lowest < l.looked {
			n.emit(trace.Event{Kind: trace.Truncated, Fields: []trace.Field{trace.Num("from", uint64(l.lowest+1)), trace.Num("last", uint64(l.looked))}})
			c.truncated(n, l.lowest)
		}
		for p := l.lowest + 1; p <= l.Len() && n.up(); p++ {
			n.lookAtEntry(p, l.At(p))
		}
	}
	for _, p := range l.filled {
		if p <= l.Len() && (l.lowest < 0 || p <= l.lowest) && n.up() {
			c.undecided(n, p-1)
			n.lookAtEntry(p, l.At(p))
		}
	}
	l.filled, l.lowest, l.looked = nil, -1, l.Len()
	if d := l.Decided(); d > c.decidedBy(n) && n.up() {
		n.emit(trace.Event{Kind: trace.Committed, Fields: []trace.Field{trace.Num("index", uint64(d))}})
		c.decides(n, d)
	}
}

func (n *node) lookAtEntry(position int, e Entry) {
	fields := []trace.Field{trace.Num("index", uint64(position)), trace.Num("operation", e.Op), trace.Num("epoch", e.Epoch)}
	if e.Kind != "" {
		fields = append(fields, trace.Text("kind", e.Kind))
	}
	n.emit(trace.Event{Kind: trace.Held, Fields: fields})
	n.r.checker.holds(n, position, e)
}

// belief is everything a person should see of the node.
func (n *node) belief() []trace.Field {
	v := n.seen
	return append([]trace.Field{
		trace.Text("role", v.Role), trace.Num("epoch", v.Epoch), trace.Num("leader", v.Leader), trace.Num("leads", bit(v.Leads)),
		trace.Num("log", uint64(v.Log.Len())), trace.Num("decided", uint64(v.Log.Decided())),
	}, n.machine.Details()...)
}

func (n *node) String() string { return fmt.Sprintf("n%d", n.number) }
