package cluster

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/quorate/quorate/check"
	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
)

// client does one operation after the other: it thinks, asks a node, waits until
// its deadline. What it saw goes into the history.
type client struct {
	c      *cluster
	number int
	dice   *sim.Random
	target uint64 // the node it believes to be the leader
	done   int    // operations answered since the healing
}

// request is one operation at one node.
type request struct {
	c      *cluster
	client *client // nil: an operator's
	op     *check.Operation
	at     *node
	id     host.ClientID
	over   bool
	onEnd  func(host.Resolve, bool) // an operator's; the second: whether the end is known
}

func newClient(c *cluster, number int) *client {
	k := &client{c: c, number: number, dice: c.world.Random("client", uint64(number))}
	k.pause()
	return k
}

// pause thinks, then goes on.
func (k *client) pause() {
	k.c.world.After(k.dice.Duration(k.c.set.think/4, 2*k.c.set.think), k.begin)
}

// begin does the next operation.
func (k *client) begin() {
	c := k.c
	if c.calm {
		return
	}
	n := k.choose()
	key := fmt.Sprintf("k%d", k.dice.Below(c.set.keys))
	c.nextID++
	op := &check.Operation{ID: c.nextID, Client: k.number, Call: c.world.Now()}
	switch draw := k.dice.Below(1000); {
	case draw < c.set.reads:
		op.Read, op.Input = true, []byte(key)
	case draw < c.set.reads+c.set.swaps:
		cmd := command{operation: op.ID, kind: "cas", key: key, old: k.guess(key), new: k.value(op.ID)}
		op.Input = cmd.bytes()
	case k.dice.Chance(100):
		op.Input = command{operation: op.ID, kind: "del", key: key}.bytes()
	default:
		op.Input = command{operation: op.ID, kind: "put", key: key, new: k.value(op.ID)}.bytes()
	}
	c.history = append(c.history, op)
	q := &request{c: c, client: k, op: op, at: n}
	forward := k.dice.Chance(c.set.forward)
	c.world.After(k.dice.Duration(50*id.Microsecond, 500*id.Microsecond), func() { q.arrive(forward) })
}

// choose picks the node to ask.
func (k *client) choose() *node {
	c := k.c
	if k.target != 0 && k.dice.Chance(900) && (!c.healed || c.core[int(k.target-1)]) {
		return c.nodes[k.target-1]
	}
	var able []*node
	for i, n := range c.nodes {
		if n.exists && !n.gone && (!c.healed || c.core[i]) {
			able = append(able, n)
		}
	}
	return able[k.dice.Below(len(able))]
}

func (k *client) value(operation uint64) string {
	v := fmt.Sprintf("v%d.", operation)
	return v + strings.Repeat("x", k.dice.Below(k.c.set.valueBytes))
}

// guess is the value this client saw last under a key: sometimes right.
func (k *client) guess(key string) string {
	for i := len(k.c.history) - 1; i >= 0 && i > len(k.c.history)-50; i-- {
		if o := k.c.history[i]; o.Outcome == check.Done && o.Read && string(o.Input) == key {
			return string(o.Output)
		}
	}
	return ""
}

// arrive is the request at its node.
func (q *request) arrive(forward bool) {
	n, c := q.at, q.c
	if !n.serving() {
		q.resolved(host.Resolve{Outcome: host.Refused, Detail: "connection refused"})
		return
	}
	c.nextID++
	q.id = host.ClientID(c.nextID)
	n.life.requests[q.id] = q
	if q.op.Read {
		n.life.take(host.Read{Group: theGroup, Client: q.id})
	} else {
		cmd, _ := parseCommand(q.op.Input) // it was printed here
		n.life.take(host.Propose{Group: theGroup, Client: q.id, Data: c.words.encode(cmd), Forward: forward})
	}
	l := n.life
	c.world.After(c.set.deadline, func() {
		if !q.over && n.life == l {
			l.take(host.Cancel{Group: theGroup, Client: q.id})
			c.world.After(c.set.deadline/2, func() { // a paused node does not even cancel
				if !q.over && n.life == l {
					delete(l.requests, q.id)
					q.lost()
				}
			})
		}
	})
}

// resolved is the end of a request.
func (q *request) resolved(e host.Resolve) {
	if q.over {
		q.c.fail("%v resolves client %d twice", q.at.self, q.id)
		return
	}
	q.over = true
	if q.client == nil {
		q.onEnd(e, true)
		return
	}
	op := q.op
	switch e.Outcome {
	case host.Done:
		before, err := q.c.words.answer(e.Result)
		if err != nil {
			q.c.fail("the answer to %v: %v", op, err)
			return
		}
		op.Outcome, op.Output, op.Index = check.Done, []byte(before), e.Index
	case host.Refused:
		op.Outcome = check.Refused
		q.client.target = e.Leader.Node
		if int(e.Leader.Node) > len(q.c.nodes) {
			q.client.target = 0
		}
	default:
		op.Outcome = check.Unknown
	}
	q.end()
}

// readAt answers a read whose index is confirmed.
func (q *request) readAt(l *life, index id.Index) {
	if !q.op.Read || q.over {
		q.c.fail("%v lets client %d read, which did not ask", q.at.self, q.id)
		return
	}
	p := l.group.Acquire()
	defer p.Release()
	if p.Meta.Index < index {
		q.c.fail("%v lets a client read at %d, the published state is of %d", q.at.self, index, p.Meta.Index)
		return
	}
	value, err := q.c.words.get(p.View, string(q.op.Input))
	if err != nil {
		q.c.fail("%v: reading %q: %v", q.at.self, q.op.Input, err)
		return
	}
	q.over = true
	q.op.Outcome, q.op.Output, q.op.Index = check.Done, []byte(value), p.Meta.Index
	q.end()
}

// lost is the end of a request whose node went away: nobody knows.
func (q *request) lost() {
	if q.over {
		return
	}
	q.over = true
	if q.client == nil {
		q.onEnd(host.Resolve{}, false)
		return
	}
	q.client.target = 0
	q.end()
}

func (q *request) end() {
	op, k := q.op, q.client
	op.Return = q.c.world.Now()
	if op.Outcome == check.Done {
		k.target = q.at.number
		if q.c.healed {
			k.done++
		}
	}
	q.c.world.Emit(trace.Event{Node: q.at.self, Group: theGroup, Kind: trace.Resolved, Fields: []trace.Field{
		trace.Num("client", uint64(k.number)), trace.Text("outcome", op.Outcome.String()), trace.Num("index", uint64(op.Index))}})
	k.pause()
}

func sortedRequests(m map[host.ClientID]*request) []*request {
	list := make([]*request, 0, len(m))
	for _, q := range m {
		list = append(list, q)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].id < list[j].id })
	return list
}

// An operator asks for changes of membership and transfers. It tries again for a
// while when it is refused, at the latest when there is a new leader, and never
// when it does not know.
type operator struct {
	c     *cluster
	tries int
	event func(host.ClientID) host.Event
	done  func()
	next  *sim.Timer // nil: a request is under way, or all is over
}

const (
	operatorTries    = 12
	operatorPause    = 250 * id.Millisecond
	operatorDeadline = 3 * id.Second
)

// operate sends an operator's request to whoever leads, until it is taken.
func (c *cluster) operate(tries int, event func(host.ClientID) host.Event, done func()) {
	o := &operator{c: c, tries: tries, event: event, done: done}
	c.operating = append(c.operating, o)
	o.try()
}

// operators is called when there is a new leader: whoever waits tries at once,
// before the leader has committed anything.
func (c *cluster) operators() {
	for _, o := range c.operating {
		if o.next != nil {
			o.try()
		}
	}
}

func (o *operator) again() { o.next = o.c.world.After(operatorPause, o.try) }

func (o *operator) try() {
	o.next.Stop()
	o.next = nil
	c := o.c
	if o.tries--; o.tries < 0 || c.healed {
		return
	}
	n := c.leader()
	if n == nil {
		o.again()
		return
	}
	c.nextID++
	q := &request{c: c, op: &check.Operation{}, at: n, id: host.ClientID(c.nextID)}
	q.onEnd = func(e host.Resolve, known bool) {
		switch {
		case known && e.Outcome == host.Done:
			o.done()
		case known && e.Outcome == host.Refused:
			o.again()
		}
	}
	l := n.life
	l.requests[q.id] = q
	l.take(o.event(q.id))
	c.world.After(operatorDeadline, func() {
		if !q.over && n.life == l {
			l.take(host.Cancel{Group: theGroup, Client: q.id})
		}
	})
}

// leader is the serving node that leads the newest term.
func (c *cluster) leader() *node {
	var best *node
	for _, n := range c.nodes {
		if n.serving() && n.life.leads() && (best == nil || n.life.before.Term > best.life.before.Term) {
			best = n
		}
	}
	return best
}

// change asks for a change of membership (M1, M2). What it means in steps is
// settled when it is asked, by what the operator then knows of the members.
func (c *cluster) change(f sim.Fault) {
	n := c.nodes[f.Target.Node-1]
	c.operate(operatorTries, func(client host.ClientID) host.Event {
		return host.Change{Group: theGroup, Client: client, Change: membership.Change{Ops: c.steps(f, n)}}
	}, func() { c.mark("membership change") })
}

// steps is the change as the library takes it. Nodes that come in are started.
func (c *cluster) steps(f sim.Fault, n *node) []membership.Op {
	op := func(kind membership.OpKind, n *node) membership.Op {
		if kind == membership.AddVoter || kind == membership.AddLearner {
			n.join()
		}
		return membership.Op{Kind: kind, Member: member(n.self)}
	}
	switch f.Word("op") {
	case "add-voter":
		return []membership.Op{op(membership.AddVoter, n)}
	case "add-learner":
		return []membership.Op{op(membership.AddLearner, n)}
	case "replace":
		return []membership.Op{op(membership.AddVoter, n), op(membership.Remove, c.nodes[f.Number("of")-1])}
	case "promote":
		return []membership.Op{op(membership.Promote, n)}
	case "demote":
		return []membership.Op{op(membership.Demote, n)}
	case "remove":
		return []membership.Op{op(membership.Remove, n)}
	}
	// The voters shall be these.
	var ops []membership.Op
	wanted := f.Nodes("set")
	newest := c.oracles.config().Config
	for _, n := range c.nodes {
		m, isMember := newest.Find(n.self)
		switch in := slices.Contains(wanted, n.number); {
		case in && !isMember:
			ops = append(ops, op(membership.AddVoter, n))
		case in && m.Role == membership.Learner:
			ops = append(ops, op(membership.Promote, n))
		case !in && m.Role == membership.Voter:
			ops = append(ops, op(membership.Remove, n))
		}
	}
	return ops
}

// join starts a node that knows nothing yet. One that was a member once comes
// back as a new incarnation with an empty disk, whether or not it has heard of
// its removal: an id is never used again (DESIGN 14).
func (n *node) join() {
	newest := n.c.oracles.config()
	if _, member := newest.Config.Find(n.self); !member && n.c.oracles.wasMember(n.self) {
		if n.life != nil {
			n.end()
		}
		n.self.Incarnation++
		n.gone, n.exists = false, false
		n.wipe()
		n.c.mark("new incarnation")
	}
	if !n.exists {
		n.joiner = true
		n.boot()
	}
}

// transfer asks the leader to hand over.
func (c *cluster) transfer(f sim.Fault) {
	n := c.nodes[f.Target.Node-1]
	c.operate(3, func(client host.ClientID) host.Event {
		return host.Transfer{Group: theGroup, Client: client, To: n.self}
	}, func() { c.mark("transfer") })
}
