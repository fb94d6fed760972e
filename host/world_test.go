package host

import (
	"fmt"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
	"github.com/quorate/quorate/wire"
)

// world is a few hosts with doors that do what they are told, at once, in one
// thread. Frames pass through wire, so that what tests see has been bytes.
type world struct {
	t       *testing.T
	now     id.Time
	nodes   []*node
	cut     func(from, to id.NodeID) bool // drops frames, asks and answers
	holdMsg bool                          // keeps frames in mail
	mail    []letter
}

type letter struct {
	from, to id.NodeID
	event    func() Event
}

type node struct {
	w       *world
	id      id.NodeID
	host    *Host
	in      []Event
	disk    []Persist // given to the disk, not yet durable
	hold    bool      // the disk does not complete
	crashed bool
	log     map[id.GroupID][]string // what was applied
	applied id.Index
	ended   map[ClientID]Resolve
	reads   map[ClientID]id.Index
	halted  map[id.GroupID]error
	other   []Effect // Snapshot, SendSnapshot, Install, Load, Removed
	passes  [][]Effect
	client  ClientID
}

func newWorld(t *testing.T, n int, groups ...id.GroupID) *world {
	t.Helper()
	w := &world{t: t, cut: func(id.NodeID, id.NodeID) bool { return false }}
	var members []membership.Member
	for i := 1; i <= n; i++ {
		members = append(members, membership.Member{ID: id.NodeID{Node: uint64(i)}, Role: membership.Voter})
	}
	config, err := membership.Bootstrap(members)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= n; i++ {
		h, err := New(Config{Self: id.NodeID{Node: uint64(i)}, Boot: 1, SnapshotEntries: 10})
		if err != nil {
			t.Fatal(err)
		}
		nd := &node{w: w, id: id.NodeID{Node: uint64(i)}, host: h, log: map[id.GroupID][]string{},
			ended: map[ClientID]Resolve{}, reads: map[ClientID]id.Index{}, halted: map[id.GroupID]error{}}
		w.nodes = append(w.nodes, nd)
		for _, g := range groups {
			nd.in = append(nd.in, Start{Group: g, Config: raft.Config{Seed: uint64(i) * 77}.WithDefaults(),
				Restored: raft.Restored{Start: raft.LogStart{Config: config}}, InMemory: true})
		}
	}
	return w
}

// step gives every node one pass.
func (w *world) step() {
	for _, n := range w.nodes {
		if n.crashed || len(n.in) == 0 && n.host.Deadline() > w.now {
			continue
		}
		in := n.in
		n.in = nil
		out := n.host.Step(w.now, in, nil)
		n.passes = append(n.passes, out)
		for _, e := range out {
			n.execute(e)
		}
	}
	if !w.holdMsg {
		w.deliver()
	}
}

func (w *world) deliver() {
	mail := w.mail
	w.mail = nil
	for _, l := range mail {
		if to := w.nodes[l.to.Node-1]; !to.crashed && !w.cut(l.from, l.to) {
			to.in = append(to.in, l.event())
		}
	}
}

func (n *node) send(to id.NodeID, event func() Event) {
	n.w.mail = append(n.w.mail, letter{from: n.id, to: to, event: event})
}

func (n *node) execute(e Effect) {
	switch e := e.(type) {
	case Persist:
		n.disk = append(n.disk, e)
		if !n.hold {
			n.flush()
		}
	case Send:
		bytes := wire.AppendMessage(nil, e.Message)
		n.send(e.To, func() Event {
			m, err := wire.Message(bytes)
			if err != nil {
				n.w.t.Fatalf("%s sent %T that does not decode: %v", n.id, e.Message, err)
			}
			return Frame{From: n.id, Group: e.Group, Message: m}
		})
	case Ask:
		n.send(e.To, func() Event { return Asked{From: n.id, ID: e.ID, Data: e.Data} })
	case Answer:
		n.send(e.To, func() Event { return Answered{From: n.id, ID: e.ID, Data: e.Data} })
	case Apply:
		batch := e.Batch(nil)
		var results []rsm.Result
		for _, c := range batch.Commands {
			n.log[e.Group] = append(n.log[e.Group], string(c.Data))
			results = append(results, rsm.Result("did "+string(c.Data)))
		}
		n.applied = batch.Applied
		n.in = append(n.in, ApplyDone{Group: e.Group, Applied: batch.Applied, Results: results})
	case Resolve:
		if _, twice := n.ended[e.Client]; twice {
			n.w.t.Errorf("%s: client %d was resolved twice", n.id, e.Client)
		}
		n.ended[e.Client] = e
	case ReadAt:
		n.reads[e.Client] = e.Index
	case Halt:
		n.halted[e.Group] = e.Reason
	case Emit, Status:
	default:
		n.other = append(n.other, e)
	}
}

// flush completes every write.
func (n *node) flush() {
	if len(n.disk) > 0 {
		n.in = append(n.in, Durable{Token: n.disk[len(n.disk)-1].Token})
		n.disk = nil
	}
}

// run steps for d, a millisecond at a time; several passes fit into one.
func (w *world) run(d id.Duration) {
	for end := w.now.Add(d); w.now < end; w.now = w.now.Add(id.Millisecond) {
		for range 8 {
			w.step()
		}
	}
}

// leader runs until exactly one live node leads group g and returns it.
func (w *world) leader(g id.GroupID) *node {
	w.t.Helper()
	for range 3000 {
		var found *node
		for _, n := range w.nodes {
			if s, ok := n.host.Group(g); ok && !n.crashed && s.Role == raft.Leader && s.Commit == s.Last {
				found = n
			}
		}
		if found != nil {
			return found
		}
		w.run(id.Millisecond)
	}
	w.t.Fatal("no leader within 3 s")
	return nil
}

// follower returns a node that is not n.
func (w *world) follower(n *node) *node {
	return w.nodes[int(n.id.Node)%len(w.nodes)]
}

func (n *node) next() ClientID { n.client++; return n.client }

func (n *node) propose(g id.GroupID, data string) ClientID {
	c := n.next()
	n.in = append(n.in, Propose{Group: g, Client: c, Data: []byte(data), Forward: true})
	return c
}

func (n *node) want(c ClientID, o Outcome) Resolve {
	n.w.t.Helper()
	r, ok := n.ended[c]
	if !ok {
		n.w.t.Fatalf("%s: client %d was not resolved, want %s", n.id, c, o)
	}
	if r.Outcome != o {
		n.w.t.Fatalf("%s: client %d was %s (%v %s), want %s", n.id, c, r.Outcome, r.Why, r.Detail, o)
	}
	return r
}

func (n *node) pending(c ClientID) {
	n.w.t.Helper()
	if r, ok := n.ended[c]; ok {
		n.w.t.Fatalf("%s: client %d was resolved as %s, want it to wait", n.id, c, r.Outcome)
	}
}

func proposals(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprint("c", i))
	}
	return out
}
