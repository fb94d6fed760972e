package lab

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/trace"
)

// Node is the number of a node, from 1. 0 is nobody.
type Node = uint64

// Machine is one life of one node. A crash ends it; the next life is a new
// Machine that gets the disk's content in its Started.
type Machine interface {
	// Step takes one event. It neither blocks nor keeps the Turn.
	Step(t *Turn, e Event)
	// Deadline is when it wants a Due, on the node's monotonic clock; id.Never if
	// not at all. It is asked after every Step. A deadline in the past means now,
	// and the Due must move it: a machine that does not is stopped with an error.
	Deadline() id.Time
	// View is what it believes now. It is asked after every Step and must be cheap.
	View() View
	// Details is what a person should see besides (votes, ballots, sets), in a
	// fixed order. It is asked when the View changed and at keyframes.
	Details() []trace.Field
}

// View is what a node believes.
type View struct {
	Role   string // in the protocol's own word: "leader", "LOOKING", "primary"
	Leads  bool   // it takes itself for the leader and would answer clients
	Epoch  uint64 // term, ballot, epoch; 0 where the protocol has none
	Leader Node   // whom it follows; 0: nobody
	Log    *Log   // the operations it holds; never nil, always the same pointer
}

// Body is a message, or a record on disk: a plain value that is never changed
// after it is handed over.
type Body interface {
	Name() string          // as the protocol's sources call it
	Fields() []trace.Field // its particulars, in a fixed order
}

// Bytes is what a body counts as: the same rule for all protocols. Eight bytes a
// number, a text by its length, sixteen for the frame around it.
func Bytes(b Body) int {
	n := 16
	for _, f := range b.Fields() {
		if f.Text != "" {
			n += len(f.Text)
		} else {
			n += 8
		}
	}
	return n
}

// Sized is a body that says itself how large it is, since its Fields only sum it
// up (a list of entries, a state).
type Sized interface{ Bytes() int }

// Event is what comes to a machine.
type Event interface{ event() }

// Started is the first event of a life. Files are what the disk has: per file,
// what was written and survived, in order.
type Started struct{ Files map[string][]Body }

// Received is a message from a node. Links are FIFO unless a fault says otherwise.
type Received struct {
	From    Node
	Message Body
}

// Durable says that what Sync returned this token for, and everything synced
// before, is on disk.
type Durable struct{ Token id.Token }

// Due says that the deadline has come.
type Due struct{}

// Asked is a request of a client. Answer it, at once or later, or never.
type Asked struct{ Request Request }

// Reset says that the process at a node is gone: the connection to it broke, or
// was refused. A node that is silent gives no such sign.
type Reset struct{ Node Node }

func (Started) event()  {}
func (Received) event() {}
func (Durable) event()  {}
func (Due) event()      {}
func (Asked) event()    {}
func (Reset) event()    {}

// Request is what a client asks of a node.
type Request struct {
	ID     uint64   // of this attempt
	Client Node     // the node the client stands beside: its side of a partition
	Op     uint64   // the operation, the same in every attempt; from 1 on without gaps
	Verb   string   // "write" and "read" of the workload; others by a recipe's do lines
	Args   []string // the words behind the verb
	Try    int      // 1: the first attempt
}

// Turn is one Step: when it happens, and what it leads to, in order.
type Turn struct {
	Now  id.Time // the node's monotonic clock
	Wall id.Time // its wall clock, which may be off and may jump

	last    id.Token // given out so far in this life
	unsaved bool
	effects []effect
}

// Send gives a message to the network at the end of the step. A node may send to
// itself.
func (t *Turn) Send(to Node, m Body) { t.SendAfter(0, to, m) }

// SendAfter sends when everything up to a token is durable.
func (t *Turn) SendAfter(after id.Token, to Node, m Body) {
	t.effects = append(t.effects, effect{kind: sending, token: after, to: to, body: m})
}

// Write appends a record to a file, in the cache of the operating system: a
// process may die and it is still there, a power cut takes it.
func (t *Turn) Write(file string, r Body) {
	t.effects = append(t.effects, effect{kind: writing, file: file, body: r})
}

// Sync makes everything written to a file so far durable. Durable comes with the
// token. Several Syncs of one node may be served by one fsync per file.
func (t *Turn) Sync(file string) id.Token {
	t.last++
	t.effects = append(t.effects, effect{kind: syncing, file: file, token: t.last})
	return t.last
}

// Persist is Write and Sync.
func (t *Turn) Persist(file string, r Body) id.Token {
	t.Write(file, r)
	return t.Sync(file)
}

// Rule names the rule that fires, with its source, and says in a few words what
// it leads to: Rule("ZAB R4", "a quorum is for my vote"). What the rest of the
// step changes is reported under it.
func (t *Turn) Rule(rule, what string) {
	t.effects = append(t.effects, effect{kind: ruling, rule: rule, text: what})
}

// Accept answers a write: it took effect, as far as this protocol promises
// anything.
func (t *Turn) Accept(r Request) {
	t.effects = append(t.effects, effect{kind: answering, request: r, answer: answered})
}

// Serve answers a read with the first n entries of the node's log.
func (t *Turn) Serve(r Request, n int) {
	t.effects = append(t.effects, effect{kind: answering, request: r, answer: answered, prefix: n})
}

// Refuse answers that a request has certainly no effect: why, in a few words that
// begin with the rule, and whom to ask instead (0: unknown).
func (t *Turn) Refuse(r Request, leader Node, why string) {
	t.effects = append(t.effects, effect{kind: answering, request: r, answer: refused, to: leader, text: why})
}

// Fail answers that nobody knows whether the request had an effect.
func (t *Turn) Fail(r Request, why string) {
	t.effects = append(t.effects, effect{kind: answering, request: r, answer: unknown, text: why})
}

// Tell answers a request of a recipe's own verb with a text.
func (t *Turn) Tell(r Request, text string) {
	t.effects = append(t.effects, effect{kind: answering, request: r, answer: answered, text: text})
}

// Note reports something a person should know that no View shows.
func (t *Turn) Note(what string, fields ...trace.Field) {
	t.effects = append(t.effects, effect{kind: noting, text: what, fields: fields})
}

// effect is one thing a Turn asks for.
type effect struct {
	kind    effectKind
	token   id.Token
	to      Node
	file    string
	body    Body
	rule    string
	text    string
	fields  []trace.Field
	request Request
	answer  outcome
	prefix  int
}

type effectKind uint8

const (
	sending effectKind = iota
	writing
	syncing
	ruling
	answering
	noting
)

// outcome is how an attempt, or an operation, ended for its client.
type outcome uint8

const (
	pending outcome = iota
	answered
	refused
	unknown
)

func (o outcome) String() string {
	return [...]string{"pending", "answered", "refused", "unknown"}[o]
}
