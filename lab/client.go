package lab

import (
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
)

// client stands beside one node, on its side of every partition, and survives its
// crashes. It asks the node it believes to lead, follows hints, and otherwise
// tries the next one.
type client struct {
	r      *run
	home   Node
	target Node
	open   []*operation // answers it waits for, oldest first
	turn   int          // of the workload
}

// operation is one thing a client wants.
type operation struct {
	number   uint64
	home     Node
	verb     string
	args     []string
	outcome  outcome
	said     string
	began    id.Time
	acked    int // writes acknowledged when it began: what a read must show
	tries    int
	attempts []*attempt // without an answer so far
	doubt    bool       // an attempt ended without an answer: it may have had its effect
	timer    *sim.Timer
}

// attempt is one request on its way.
type attempt struct {
	c    *client
	o    *operation
	id   uint64
	to   Node
	over bool // answered, or given up
}

// reply is its answer on the way back.
type reply struct {
	a      *attempt
	kind   outcome
	leader Node
	text   string
}

const (
	patience = 250 * id.Millisecond // without an answer a client looks elsewhere
	pauseTry = 20 * id.Millisecond  // between two attempts
	openMax  = 400                  // operations a client waits for; beyond, it begins none
	stagger  = 7 * id.Millisecond   // between the clients' rhythms
	triesMax = 2                    // per node and operation, unless they are asked again and again
	// attemptsMax of one operation wait for an answer; beyond, the client hangs up on
	// the oldest. Every patience for as long as a client waits by default are 240.
	attemptsMax = 300
)

func newClient(r *run, home Node, i int) *client { return &client{r: r, home: home, target: home} }

// work begins the workload of the i-th client.
func (c *client) work(i int) {
	s := c.r.set
	first := s.from + id.Time(int64(s.every)*int64(i)/int64(max(1, s.clients))) + id.Time(int64(stagger)*int64(i))
	c.r.world.At(first, c.next)
}

// next begins the next operation of the workload.
func (c *client) next() {
	s := c.r.set
	c.r.world.After(s.every, c.next)
	if len(c.open) >= openMax {
		return
	}
	verb := "write"
	before := c.turn * s.reads / 1000
	c.turn++
	if c.turn*s.reads/1000 > before {
		verb = "read"
	}
	c.begin(&operation{verb: verb, home: c.home})
}

// begin starts an operation.
func (c *client) begin(o *operation) {
	r := c.r
	r.lastOp++
	o.number, o.began, o.acked = r.lastOp, r.world.Now(), len(r.checker.acked)
	r.checker.began(o)
	c.open = append(c.open, o)
	c.try(o, c.target)
	r.world.After(r.set.give, func() { c.end(o, unknown, "no answer in "+sim.FormatDuration(r.set.give)) })
}

// try sends one attempt to a node.
func (c *client) try(o *operation, to Node) {
	if o.outcome != pending {
		return
	}
	r := c.r
	o.tries++
	r.lastID++
	if len(o.attempts) == attemptsMax {
		o.attempts[0].close()
		o.doubt = true
	}
	a := &attempt{c: c, o: o, id: r.lastID, to: to}
	o.attempts = append(o.attempts, a)
	sent := r.world.Emit(trace.Event{Node: id.NodeID{Node: to}, Kind: trace.Requested, Fields: []trace.Field{
		trace.Num("client", c.home), trace.Num("operation", o.number), trace.Text("verb", o.verb), trace.Num("try", uint64(o.tries))}})
	r.net.Send(sim.Packet{From: c.home, To: to, Name: "Request", Cause: sent, Body: a})
	o.timer.Stop()
	o.timer = r.world.After(patience, func() { c.late(a) })
}

// late is called when an attempt had no answer for a while.
func (c *client) late(a *attempt) {
	if a.over || a.o.outcome != pending {
		return
	}
	if c.target == a.to {
		c.target = c.after(a.to)
	}
	if c.r.set.retry {
		c.again(a.o, c.target)
	}
}

// after is the next voter.
func (c *client) after(n Node) Node {
	voters := slices.Clone(c.r.recipe.Voters)
	slices.Sort(voters)
	for _, v := range voters {
		if v > n {
			return v
		}
	}
	return voters[0]
}

// again tries once more, if there are tries left.
func (c *client) again(o *operation, to Node) {
	if !c.r.set.retry && o.tries >= triesMax*len(c.r.recipe.Voters) {
		c.end(o, refused, o.said)
		return
	}
	o.timer.Stop()
	o.timer = c.r.world.After(pauseTry, func() { c.try(o, to) })
}

// arrive is called when the request reaches its node.
func (a *attempt) arrive(n *node, p sim.Packet) {
	r := a.c.r
	n.rule = ""
	if !n.up() {
		n.emit(trace.Event{Kind: trace.Dropped, Fields: []trace.Field{trace.Num("from", p.From), trace.Num("to", p.To), trace.Text("message", p.Name), trace.Text("why", "nobody there")}})
		if !n.silent {
			r.world.After(latencyMax, func() { a.broke() })
		}
		return
	}
	r.world.Because(n.emit(trace.Event{Kind: trace.Received, Fields: []trace.Field{trace.Num("from", p.From), trace.Text("message", p.Name), trace.Num("operation", a.o.number)}}))
	if !a.over {
		r.checker.asked(a)
	}
	n.take(Asked{Request: Request{ID: a.id, Client: a.c.home, Op: a.o.number, Verb: a.o.verb, Args: a.o.args, Try: a.o.tries}})
}

// broke says that the connection is gone: a client does not know what became of
// its request.
func (a *attempt) broke() {
	if a.over || a.o.outcome != pending {
		return
	}
	a.close()
	a.o.doubt = true
	c := a.c
	if c.target == a.to {
		c.target = c.after(a.to)
	}
	if c.r.set.retry {
		c.again(a.o, c.target)
	} else {
		c.end(a.o, unknown, "the connection broke")
	}
}

// broke is called when a node's process died with its connections.
func (c *client) broke(n *node) {
	c.r.world.After(latencyMax, func() {
		if !c.r.net.Linked(n.number, c.home) {
			return
		}
		for _, o := range slices.Clone(c.open) {
			for _, a := range slices.Clone(o.attempts) {
				if a.to == n.number {
					a.broke()
				}
			}
		}
	})
}

// close ends an attempt: its answer came, or nobody waits for it.
func (a *attempt) close() {
	a.over = true
	a.c.r.checker.dropped(a)
	if i := slices.Index(a.o.attempts, a); i >= 0 {
		a.o.attempts = slices.Delete(a.o.attempts, i, i+1)
	}
}

// answer sends a machine's answer back.
func (n *node) answer(e *effect) {
	r := n.r
	a := r.checker.attempt(e.request.ID)
	if a == nil {
		return // answered twice, or nobody waits for it any more
	}
	fields := []trace.Field{trace.Num("client", a.c.home), trace.Num("operation", a.o.number), trace.Text("verb", a.o.verb), trace.Text("outcome", e.answer.String())}
	if e.text != "" {
		fields = append(fields, trace.Text("why", e.text))
	}
	if e.answer == refused && e.to != 0 {
		fields = append(fields, trace.Num("ask", e.to))
	}
	if e.answer == answered && a.o.verb == "read" {
		fields = append(fields, trace.Num("entries", uint64(e.prefix)))
	}
	sent := n.emit(trace.Event{Kind: trace.Answered, Fields: fields})
	r.checker.answers(n, a, e)
	r.net.Send(sim.Packet{From: n.number, To: a.c.home, Name: "Answer", Cause: sent, Body: reply{a, e.answer, e.to, e.text}})
	if e.answer == answered && a.o.verb == "write" && a.c.home == n.number && (n.seen.Leads || r.Protocol.Leaderless) {
		r.trigger("ack", n)
	}
}

// arrive is called when the answer reaches the client.
func (p reply) arrive() {
	a, c := p.a, p.a.c
	a.close()
	if a.o.outcome != pending {
		return
	}
	switch p.kind {
	case answered:
		if !c.r.Protocol.AnyServer {
			c.target = a.to
		}
		c.end(a.o, answered, p.text)
	case unknown:
		c.end(a.o, unknown, p.text)
	case refused:
		a.o.said = p.text
		next := p.leader
		if next == 0 || next == a.to || int(next) > len(c.r.nodes) {
			next = c.after(a.to)
		}
		if c.target == a.to && !c.r.Protocol.AnyServer {
			c.target = next
		}
		if !custom(a.o.verb) {
			c.again(a.o, next)
		} else if p.leader != 0 && p.leader != a.to {
			c.again(a.o, p.leader)
		} else {
			c.end(a.o, refused, p.text)
		}
	}
}

// custom tells a recipe's own verb: it is asked of one node, and of the leader that
// the node names.
func custom(verb string) bool { return verb != "write" && verb != "read" }

// end is the end of an operation for its client. One attempt that was refused does
// not tell what became of the others.
func (c *client) end(o *operation, how outcome, text string) {
	if o.outcome != pending {
		return
	}
	if how == refused && (o.doubt || len(o.attempts) > 0) {
		how = unknown
	}
	o.outcome = how
	if text != "" {
		o.said = text
	}
	o.timer.Stop()
	for len(o.attempts) > 0 {
		o.attempts[0].close()
	}
	c.r.world.Emit(trace.Event{Node: id.NodeID{Node: c.home}, Kind: trace.Resolved, Fields: []trace.Field{
		trace.Num("client", c.home), trace.Num("operation", o.number), trace.Text("verb", o.verb), trace.Text("outcome", how.String())}})
	if i := slices.Index(c.open, o); i >= 0 {
		c.open = slices.Delete(c.open, i, i+1)
	}
	c.r.checker.ended(o)
}
