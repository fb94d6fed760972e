package raft

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/membership"
	production "github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
	"github.com/quorate/quorate/trace"
)

// Core is one production Raft node inside a lab.Machine: the raft protocol of the
// lab is one of it and little else, Kafka's coordination service another. Whoever
// holds it hands it its events and takes the ends of what it asked for:
//
//	core := raft.NewCore(config, raft.Options{Members: …, Machine: m, Campaign: …})
//	core.Step(t, event)                   // Started, Received, Durable, Due, Reset; others are ignored
//	ticket := core.Propose(t, command)    // in the same Step as what caused it
//	for _, e := range core.Ended() { … }  // at the end of every Step
//	core.Deadline()                       // beside the owner's own
//
// The replicated machine belongs to the owner as well: after a Step it has applied
// what is committed, and may be read.
type Core struct {
	o       Options
	self    lab.Node
	conf    production.Config
	host    *host.Host
	soft    production.Status // as last reported: role, term, leader, configuration
	log     *lab.Log
	role    string // for people: "follower", "leader", "learner", "halted"
	stopped string // why it halted; empty: it runs

	entries  []production.Entry // the log, from index 1
	applied  id.Index
	written  []written // syncs under way, oldest first
	effects  []host.Effect
	next     []host.Event // what follows at once
	ticket   Ticket
	ended    []End
	pins     pins
	heard    heard   // the message of this step
	leaderAt id.Time // when the leader was last heard
	ownTerm  id.Term // newest in which it committed an entry of its own
	version  uint64  // of the configuration told last
	members  string  // in it
	told     bool    // this pass was asked for by a campaign
	voted    voted
}

// theGroup is the one group of a Core.
const theGroup = id.GroupID(1)

// Options say what a Core replicates and how fast it is.
type Options struct {
	Members  []lab.Node  // voters the group starts with, sorted; whoever is not among them or the learners joins later
	Learners []lab.Node  // likewise, without a vote
	Machine  rsm.Machine // in memory; it belongs to this life. If it is a Teller it says what commands are
	File     string      // where its records go; "raft"
	Campaign bool        // stand for election at the start, in the node's first life

	// As in production's raft.Config; zero: its defaults.
	Heartbeat, ElectionMin, ElectionMax, QuorumWindow, DiskStall id.Duration
	MessageBytes                                                 int

	Broken []faults.Switch // internal/faults' and this package's own
}

// Switches of the lab's own doors; the others are internal/faults'.
const (
	NoFsync faults.Switch = "no-fsync" // nothing is ever synced, and all is taken for durable
	NoPin   faults.Switch = "no-pin"   // data directories are neither remembered nor compared
)

// Teller is a Machine that can say what a command is, for the log that people see:
// when it enters the log, and again when it is applied.
type Teller interface {
	Tell(e production.Entry, applied bool) lab.Entry
}

// Ticket names something asked of a Core, until it ends. 0 names nothing.
type Ticket uint64

// End is how it ended: exactly one for each ticket, in this life or never.
type End struct {
	Ticket  Ticket
	Outcome host.Outcome // Done, Refused or Unknown
	Result  rsm.Result   // Done: the machine's, of a proposal
	Index   id.Index     // Done: where it is in the log; of a read: what the machine has applied at least
	Why     string       // Refused
	Leader  lab.Node     // Refused: whom to ask instead; 0: unknown
}

// written is a sync under way: the lab's token, and the host's that it settles.
type written struct{ lab, host id.Token }

// NewCore returns a node that has not started. It panics if the options contradict
// each other: they are written in a program, not in a recipe.
func NewCore(c lab.Config, o Options) *Core {
	if o.File == "" {
		o.File = "raft"
	}
	o.Campaign = o.Campaign && c.Life == 1
	k := &Core{o: o, self: c.Self, role: "follower", log: lab.NewLog()}
	k.pins.init(c.Self, c.Directory, k.broken(NoPin))
	var on []faults.Switch
	for _, s := range o.Broken {
		if slices.Contains(faults.All, s) {
			on = append(on, s)
		}
	}
	set, err := faults.New(on...)
	assert.That(err == nil, "%v", err)
	k.host, err = host.New(host.Config{Self: node(c.Self), Boot: uint32(c.Life), Faults: set})
	assert.That(err == nil, "%v", err)
	k.conf = k.config(c.Dice.Uint64())
	judged := k.conf.WithDefaults()
	judged.Group, judged.Self = theGroup, node(c.Self) // the host's own
	err = judged.Validate()
	assert.That(err == nil, "%v", err)
	return k
}

func (c *Core) config(seed uint64) production.Config {
	o := c.o
	if o.DiskStall == 0 && o.ElectionMax > 2*id.Second {
		o.DiskStall = o.ElectionMax // as the library does: it may not be shorter
	}
	return production.Config{Seed: seed, Heartbeat: o.Heartbeat, ElectionMin: o.ElectionMin, ElectionMax: o.ElectionMax, QuorumWindow: o.QuorumWindow, DiskStall: o.DiskStall, MessageBytes: o.MessageBytes}
}

func (c *Core) broken(s faults.Switch) bool { return slices.Contains(c.o.Broken, s) }

// node is a node's name in production; the lab never gives one a second incarnation.
func node(n lab.Node) id.NodeID { return id.NodeID{Node: n} }

// Step takes what belongs to it of the owner's events.
func (c *Core) Step(t *lab.Turn, e lab.Event) {
	switch e := e.(type) {
	case lab.Started:
		c.start(t, e.Files[c.o.File])
	case lab.Received:
		switch m := e.Message.(type) {
		case Message:
			c.receive(t, e.From, m)
		case Refusal:
			c.refused(t, e.From)
		}
	case lab.Durable:
		c.durable(t, e.Token)
	case lab.Due:
		c.pass(t)
	case lab.Reset:
		c.pass(t, host.Unreachable{Node: node(e.Node)})
	}
	c.pinMissing(t)
}

// start recovers what the disk has and opens the group.
func (c *Core) start(t *lab.Turn, records []lab.Body) {
	events := []host.Event{host.Start{Group: theGroup, Config: c.conf, Restored: c.recover(records), InMemory: true}}
	if c.o.Campaign {
		events = append(events, host.Campaign{Group: theGroup})
		c.told = true
	}
	c.pass(t, events...)
	c.told = false
}

// first is the configuration the group begins with; nothing for whoever joins.
func (c *Core) first() membership.Config {
	if !slices.Contains(c.o.Members, c.self) && !slices.Contains(c.o.Learners, c.self) {
		return membership.Config{}
	}
	var members []membership.Member
	for _, n := range c.o.Members {
		members = append(members, member(n, membership.Voter))
	}
	for _, n := range c.o.Learners {
		members = append(members, member(n, membership.Learner))
	}
	conf, err := membership.Bootstrap(members)
	assert.That(err == nil, "%v", err)
	return conf
}

func member(n lab.Node, r membership.Role) membership.Member {
	return membership.Member{ID: node(n), Role: r, Name: fmt.Sprintf("n%d", n)}
}

// durable passes on what is durable. Tokens of the owner's own files are among them:
// whatever was synced before is durable too.
func (c *Core) durable(t *lab.Turn, upTo id.Token) {
	var token id.Token
	for len(c.written) > 0 && c.written[0].lab <= upTo {
		token, c.written = c.written[0].host, c.written[1:]
	}
	if token > 0 {
		c.pass(t, host.Durable{Token: token})
	}
}

// Propose asks for a command. It must not change any more.
func (c *Core) Propose(t *lab.Turn, command []byte) Ticket {
	return c.ask(t, func(h host.ClientID) host.Event { return host.Propose{Group: theGroup, Client: h, Data: command} })
}

// Read asks until when the machine must have applied to show everything that was
// acknowledged before: when it ends as Done, the machine has.
func (c *Core) Read(t *lab.Turn) Ticket {
	return c.ask(t, func(h host.ClientID) host.Event { return host.Read{Group: theGroup, Client: h} })
}

// Change asks for a change of the membership.
func (c *Core) Change(t *lab.Turn, ch membership.Change) Ticket {
	return c.ask(t, func(h host.ClientID) host.Event { return host.Change{Group: theGroup, Client: h, Change: ch} })
}

// Transfer asks the leader to hand over; to 0: to whoever fits best.
func (c *Core) Transfer(t *lab.Turn, to lab.Node) Ticket {
	return c.ask(t, func(h host.ClientID) host.Event { return host.Transfer{Group: theGroup, Client: h, To: node(to)} })
}

// Campaign lets the node stand for election, if it may.
func (c *Core) Campaign(t *lab.Turn) {
	c.told = true
	c.pass(t, host.Campaign{Group: theGroup})
	c.told = false
}

func (c *Core) ask(t *lab.Turn, event func(host.ClientID) host.Event) Ticket {
	c.ticket++
	if c.stopped != "" {
		c.ended = append(c.ended, End{Ticket: c.ticket, Outcome: host.Refused, Why: "halt: this member has stopped for good"})
	}
	c.pass(t, event(host.ClientID(c.ticket)))
	return c.ticket
}

// Ended returns what ended since the last call.
func (c *Core) Ended() []End {
	e := c.ended
	c.ended = nil
	return e
}

// Deadline is when it wants a Due.
func (c *Core) Deadline() id.Time {
	if c.stopped != "" {
		return id.Never
	}
	return min(c.host.Deadline(), c.pinDeadline())
}

// Leads tells whether the node takes itself for the leader.
func (c *Core) Leads() bool { return c.stopped == "" && c.soft.Role == production.Leader }

// Leader is whom the node takes for the leader; 0: unknown.
func (c *Core) Leader() lab.Node { return c.soft.Leader.Node }

// Applied is the last entry that the machine has applied.
func (c *Core) Applied() id.Index { return c.applied }

// Status is everything production's node tells of itself.
func (c *Core) Status() production.Status {
	s, _ := c.host.Group(theGroup)
	return s
}

// Log is the group's log as this node has it.
func (c *Core) Log() *lab.Log { return c.log }

// View is the node as the lab sees it.
func (c *Core) View() lab.View {
	return lab.View{Role: c.role, Leads: c.Leads(), Epoch: uint64(c.soft.Term), Leader: c.Leader(), Log: c.log}
}

// learn takes the soft state as production reports it: whenever it changed.
func (c *Core) learn(s production.Status) {
	c.soft = s
	c.role = s.Role.String()
	if m, ok := s.Config.Find(node(c.self)); s.Role == production.Follower && len(s.Config.Members) > 0 {
		switch {
		case !ok:
			c.role = "removed"
		case m.Role == membership.Learner && m.Was != membership.Voter:
			c.role = "learner"
		}
	}
}

// Details is what a person should see besides.
func (c *Core) Details() []trace.Field {
	s := c.Status()
	fields := []trace.Field{
		trace.Text("vote", s.Vote.String()), trace.Num("durable", uint64(s.Durable)), trace.Num("commit", uint64(s.Commit)),
		trace.Text("members", s.Config.String()),
	}
	for _, p := range s.Progress {
		fields = append(fields, trace.Num("match "+p.ID.String(), uint64(p.Match)))
	}
	if c.stopped != "" {
		fields = append(fields, trace.Text("halted", c.stopped))
	}
	return fields
}
