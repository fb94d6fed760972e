package raft

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/membership"
	production "github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/trace"
)

// Data directories are pinned as in production (DESIGN 14, pin.go and
// transport/hello.go): each has a random id; a leader's first act after its no-op is
// to commit the members' ids to the configuration; from then on whoever comes with
// another one, because its disk was wiped, is not let in under its old name. It has
// forgotten its votes and its log: let in, it could vote a second time in a term, or
// elect a leader that lacks what its lost disk had acknowledged.
//
// In production the ids are compared when two members connect, in both directions,
// and the leader asks for them; here every message carries what the handshake of its
// connection said.
type pins struct {
	own    id.DirectoryID
	off    bool                        // broken: NoPin
	known  map[lab.Node]id.DirectoryID // as they came; only looked up
	told   []lab.Node                  // refused before, in this life
	shut   map[lab.Node]id.Time        // who refused this node: no message before; only looked up
	first  bool                        // leader: nothing was tried in this office yet
	tryAt  id.Time                     // leader: when to try at the latest
	ticket Ticket                      // the change under way
}

// Refusal is the answer to a handshake with the wrong directory: there is no
// connection.
type Refusal struct{}

// Name is the message's.
func (Refusal) Name() string { return "Refusal" }

// Fields are none.
func (Refusal) Fields() []trace.Field { return nil }

// redial is how long a refused node waits before it tries to connect again.
const redial = id.Second

// refused takes a refusal: nothing goes there for a while, as without a connection.
func (c *Core) refused(t *lab.Turn, by lab.Node) {
	c.pins.shut[by] = t.Now.Add(redial)
	c.pass(t, host.Unreachable{Node: node(by)})
}

// connected tells whether a message can be sent.
func (c *Core) connected(t *lab.Turn, to lab.Node) bool { return t.Now >= c.pins.shut[to] }

// pinRetry is how long the leader waits for members that did not speak yet, and
// before it tries a change again. As in production.
const pinRetry = id.Second

func (p *pins) init(self lab.Node, directory uint64, off bool) {
	p.off, p.first, p.tryAt = off, true, id.Never
	p.known, p.shut = map[lab.Node]id.DirectoryID{}, map[lab.Node]id.Time{}
	binary.BigEndian.PutUint64(p.own[:8], directory)
	p.own[15] = byte(self) // every disk's first is 1; and never the zero id, which means "unknown"
}

// pinOf is the directory that the configuration in force knows a member by.
func (c *Core) pinOf(n id.NodeID) id.DirectoryID {
	m, _ := c.soft.Config.Find(n)
	return m.Directory
}

// admits tells whether the connection that a message came over would stand.
func (c *Core) admits(t *lab.Turn, from lab.Node, m Message) bool {
	if c.pins.off {
		return true
	}
	pinned := c.pinOf(node(from))
	switch {
	case pinned != id.DirectoryID{} && pinned != m.From:
		c.refuse(t, from, fmt.Sprintf("n%d comes with another data directory than the cluster knows it with: it is not let in under its old name", from))
		return false
	case m.To != id.DirectoryID{} && m.To != c.pins.own:
		c.refuse(t, from, fmt.Sprintf("n%d knows this node by another data directory, the one it has lost, and does not talk to it", from))
		return false
	}
	c.pins.known[from] = m.From
	return true
}

// refuse answers as a handshake does, and tells the story once per peer.
func (c *Core) refuse(t *lab.Turn, from lab.Node, what string) {
	t.Send(from, Refusal{})
	if slices.Contains(c.pins.told, from) {
		return
	}
	c.pins.told = append(c.pins.told, from)
	t.Rule("pin", what)
}

// pinMissing commits the directories of members that have none yet, if this node
// leads: as soon as it knows all of them, else those it knows after a while.
func (c *Core) pinMissing(t *lab.Turn) {
	p := &c.pins
	if p.off || !c.Leads() || c.soft.Config.Joint {
		p.first, p.tryAt = true, id.Never
		return
	}
	if p.ticket != 0 {
		return // under way; its end comes back
	}
	change, all := c.missing()
	if all && len(change.Ops) == 0 {
		p.tryAt = id.Never
		return
	}
	if p.tryAt == id.Never {
		p.tryAt = t.Now.Add(pinRetry)
	}
	if p.first && all && c.ownTerm == c.soft.Term || t.Now >= p.tryAt {
		p.first, p.tryAt = false, t.Now.Add(pinRetry)
		if len(change.Ops) > 0 {
			p.ticket = c.ticket + 1
			c.Change(t, change)
		}
	}
}

// pinned is the end of the change under way: refused or not, what is missing then
// is tried again after a while.
func (c *Core) pinned(e host.Resolve) bool {
	if e.Client == 0 || Ticket(e.Client) != c.pins.ticket {
		return false
	}
	c.pins.ticket = 0
	return true
}

// pinDeadline is when pinMissing must be asked.
func (c *Core) pinDeadline() id.Time {
	if c.pins.ticket != 0 {
		return id.Never
	}
	return c.pins.tryAt
}

// missing is the change that pins what is known, and whether that is everything.
func (c *Core) missing() (membership.Change, bool) {
	ch, all := membership.Change{If: c.soft.Config.Version}, true
	for _, m := range c.soft.Config.Members {
		if m.Directory != (id.DirectoryID{}) {
			continue
		}
		d, ok := c.pins.known[m.ID.Node]
		if m.ID.Node == c.self {
			d, ok = c.pins.own, true
		}
		if !ok {
			all = false
			continue
		}
		m.Directory = d
		ch.Ops = append(ch.Ops, membership.Op{Kind: membership.Update, Member: m})
	}
	return ch, all
}

// seal is a message with what its connection's handshake says.
func (c *Core) seal(to id.NodeID, m production.Message) Message {
	if a, ok := m.(production.Append); ok {
		a.Entries = slices.Clone(a.Entries) // the sender may use its slice again
		m = a
	}
	s := Message{Of: m}
	if !c.pins.off {
		s.From, s.To = c.pins.own, c.pinOf(to)
	}
	return s
}
