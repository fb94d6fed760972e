package host

import (
	"maps"
	"slices"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
)

// clients is who waits for something of a group.
//
// A proposal's life:
//
//	Propose ─▶ parked (no leader) ◀─▶ asked (forwarded) ─┐
//	   └──────────▶ given to raft ─▶ placed ─────────────┴─▶ applied: Done
//	                     ▲              └─ another entry applied at its index
//	                     └──────────────────────┘
type clients struct {
	waiting map[ClientID]*waiter
	placed  []place    // by index: whose fate is known when the index is applied
	reads   []readyAt  // by index: confirmed, waiting for the machine
	leaving []ClientID // changes whose joint configuration is applied, waiting for the simple one
	parked  int        // bytes of proposals that wait for a leader
	queue   []ClientID // parked, oldest first; may name clients that are gone
}

type waiter struct {
	kind   waiterKind
	state  waiterState
	data   []byte    // of a proposal that may be forwarded
	after  id.Index  // applied here when it came: no copy stands before
	doubt  bool      // a copy may stand in some log
	before bool      // doubt before the Ask in flight
	ask    uint64    // the Ask in flight, to
	asked  id.NodeID // this leader
	target id.NodeID // of a transfer
}

type waiterKind uint8

const (
	waitPropose waiterKind = iota + 1
	waitChange
	waitRead
	waitTransfer
)

type waiterState uint8

const (
	given  waiterState = iota // to raft, or placed: it may take effect
	parked                    // waits for a leader; without doubt, certainly without effect
	asked                     // forwarded, no answer yet
)

type place struct {
	index  id.Index
	term   id.Term
	client ClientID
}

type readyAt struct {
	index  id.Index
	client ClientID
}

func (c *clients) init() { c.waiting = map[ClientID]*waiter{} }

// request takes a client's request.
func (h *Host) request(e Event) {
	switch e := e.(type) {
	case Propose:
		if g := h.admit(e.Group, e.Client); g != nil {
			h.propose(g, e)
		}
	case Read:
		if g := h.admit(e.Group, e.Client); g != nil {
			g.clients.waiting[e.Client] = &waiter{kind: waitRead}
			h.give(g, raft.Read{ID: raft.ReadID(e.Client)})
		}
	case Change:
		if g := h.admit(e.Group, e.Client); g != nil {
			g.clients.waiting[e.Client] = &waiter{kind: waitChange}
			h.give(g, raft.Change{ID: h.proposalID(e.Client), Change: e.Change})
		}
	case Transfer:
		if g := h.admit(e.Group, e.Client); g != nil {
			h.transfer(g, e)
		}
	case Campaign:
		if g := h.open(e.Group); g != nil {
			h.give(g, raft.Campaign{})
		}
	case Cancel:
		h.cancel(e)
	case Inspect:
		if g := h.byID[e.Group]; g != nil {
			h.effect(Status{Group: g.id, Client: e.Client, Status: g.node.Status()})
		} else {
			h.effect(Resolve{Client: e.Client, Outcome: Refused, Detail: "the group is not open on this node"})
		}
	default:
		assert.Fail("the host got a %T it does not know", e)
	}
}

// admit finds the group and a free place, or refuses.
func (h *Host) admit(which id.GroupID, c ClientID) *group {
	assert.That(c != 0 && uint64(c) < 1<<clientBits, "client id %d is out of range", c)
	g := h.byID[which]
	switch {
	case g == nil:
		h.effect(Resolve{Client: c, Outcome: Refused, Detail: "the group is not open on this node"})
		return nil
	case g.halted:
		h.effect(Resolve{Client: c, Outcome: Refused, Detail: "the group has stopped on this node; see its log"})
		return nil
	case len(g.clients.waiting) >= h.cfg.ClientsMax:
		h.effect(Resolve{Client: c, Outcome: Refused, Why: raft.Overloaded})
		return nil
	}
	assert.That(g.clients.waiting[c] == nil, "client id %d is used twice", c)
	return g
}

func (h *Host) proposalID(c ClientID) raft.ProposalID {
	return raft.ProposalID{Origin: h.cfg.Self, Sequence: uint64(h.cfg.Boot)<<clientBits | uint64(c)}
}

// clientOf finds who waits here for an entry, or 0.
func (h *Host) clientOf(p raft.ProposalID) ClientID {
	if p.Origin != h.cfg.Self || p.Sequence>>clientBits != uint64(h.cfg.Boot) {
		return 0
	}
	return ClientID(p.Sequence & (1<<clientBits - 1))
}

func (h *Host) propose(g *group, e Propose) {
	w := &waiter{kind: waitPropose, after: g.applied}
	g.clients.waiting[e.Client] = w
	if e.Forward {
		w.data = e.Data
		h.forward(g, e.Client, w)
		return
	}
	h.submit(g, submission{Proposal: raft.Proposal{ID: h.proposalID(e.Client), Data: e.Data}})
}

// placed notes where a proposal stands: this node's client waits for the index,
// a peer's host gets its answer.
func (h *Host) placed(g *group, e raft.Placed) {
	s, ok := g.asker(e.ID)
	if !ok {
		s = submission{Proposal: raft.Proposal{ID: e.ID}}
	}
	h.place(g, s, e)
}

// place keeps placed sorted by index; a new leadership may place behind older
// ones.
func (c *clients) place(p place) {
	at := len(c.placed)
	for at > 0 && c.placed[at-1].index > p.index {
		at--
	}
	c.placed = slices.Insert(c.placed, at, p)
}

func (h *Host) refused(g *group, e raft.Refused) {
	if !e.IsRead {
		if s, ok := g.asker(e.ID); ok {
			h.effect(Answer{To: s.from, ID: s.ask, Data: appendAnswer(nil, answer{why: e.Why, leader: e.Leader})})
			return
		}
	}
	c := ClientID(e.Read)
	if !e.IsRead {
		c = h.clientOf(e.ID)
	}
	w := g.clients.waiting[c]
	if w == nil {
		return
	}
	if w.data != nil {
		switch e.Why {
		case raft.NotLeader, raft.Transferring, raft.DiskStalled:
			h.park(g, c, w) // there will be another leader, or this one again
			return
		}
		if w.doubt {
			return // this copy is refused; it waits for the apply of the earlier one
		}
	}
	h.end(g, Resolve{Client: c, Outcome: Refused, Why: e.Why, Detail: e.Detail, Leader: e.Leader})
}

func (h *Host) appliedCommand(g *group, e raft.Entry, r rsm.Result) {
	if c := h.clientOf(e.Proposal); c != 0 {
		if w := g.clients.waiting[c]; w != nil && w.kind == waitPropose {
			h.end(g, Resolve{Client: c, Outcome: Done, Result: r, Index: e.Index})
		}
	}
}

// appliedChange answers a change when its last step, the automatic leave
// included, is applied.
func (h *Host) appliedChange(g *group, e raft.Entry) {
	if c := h.clientOf(e.Proposal); c != 0 && g.clients.waiting[c] != nil {
		g.clients.leaving = append(g.clients.leaving, c)
	}
	if e.Config.Joint {
		return
	}
	for _, c := range g.clients.leaving {
		h.end(g, Resolve{Client: c, Outcome: Done, Index: e.Index})
	}
	g.clients.leaving = g.clients.leaving[:0]
}

// overtaken looks after what was placed at an index that now holds another
// entry: its place is taken for good. It is forwarded again, or refused.
func (h *Host) overtaken(g *group, applied id.Index) {
	n := 0
	for n < len(g.clients.placed) && g.clients.placed[n].index <= applied {
		n++
	}
	gone := slices.Clone(g.clients.placed[:n])
	g.clients.placed = slices.Delete(g.clients.placed, 0, n)
	for _, p := range gone {
		w := g.clients.waiting[p.client]
		switch {
		case w == nil || slices.Contains(g.clients.leaving, p.client):
			// answered, or its joint entry is applied
		case slices.ContainsFunc(g.clients.placed, func(q place) bool { return q.client == p.client }):
			// it stands further on too
		case w.data != nil && w.state == given:
			h.forward(g, p.client, w)
		case w.data == nil:
			h.end(g, Resolve{Client: p.client, Outcome: Refused, Why: raft.NotLeader, Leader: g.node.Leader()})
		}
	}
}

// skipped ends what was placed at an index that a snapshot jumped over: nobody
// here saw what stands there.
func (h *Host) skipped(g *group, upTo id.Index) {
	n := 0
	for ; n < len(g.clients.placed) && g.clients.placed[n].index <= upTo; n++ {
		h.end(g, Resolve{Client: g.clients.placed[n].client, Outcome: Unknown})
	}
	g.clients.placed = slices.Delete(g.clients.placed, 0, n)
	for _, c := range g.clients.leaving {
		h.end(g, Resolve{Client: c, Outcome: Unknown})
	}
	g.clients.leaving = g.clients.leaving[:0]
}

func (h *Host) readReady(g *group, e raft.ReadReady) {
	c := ClientID(e.ID)
	if g.clients.waiting[c] == nil {
		return
	}
	if e.Index <= g.applied {
		delete(g.clients.waiting, c)
		h.effect(ReadAt{Client: c, Group: g.id, Index: e.Index})
		return
	}
	at := len(g.clients.reads)
	for at > 0 && g.clients.reads[at-1].index > e.Index {
		at--
	}
	g.clients.reads = slices.Insert(g.clients.reads, at, readyAt{index: e.Index, client: c})
}

func (h *Host) releaseReads(g *group) {
	n := 0
	for ; n < len(g.clients.reads) && g.clients.reads[n].index <= g.applied; n++ {
		r := g.clients.reads[n]
		if g.clients.waiting[r.client] != nil {
			delete(g.clients.waiting, r.client)
			h.effect(ReadAt{Client: r.client, Group: g.id, Index: r.index})
		}
	}
	g.clients.reads = slices.Delete(g.clients.reads, 0, n)
}

func (h *Host) transfer(g *group, e Transfer) {
	if g.node.Role() != raft.Leader {
		h.effect(Resolve{Client: e.Client, Outcome: Refused, Why: raft.NotLeader, Leader: g.node.Leader()})
		return
	}
	g.clients.waiting[e.Client] = &waiter{kind: waitTransfer, target: e.To}
	h.give(g, raft.Transfer{To: e.To})
}

// transferEnded: this node stayed in office.
func (h *Host) transferEnded(g *group, e raft.TransferEnded) {
	for _, c := range h.waitingFor(g, waitTransfer) {
		h.end(g, Resolve{Client: c, Outcome: Refused, Detail: e.Why, Leader: g.node.Leader()})
	}
}

// leaderChanged settles what depends on who leads.
func (h *Host) leaderChanged(g *group) {
	leader := g.node.Leader()
	if leader != id.None {
		// A transfer under way ended when the office was lost, also if this node
		// wins the next election itself without having heard of another leader.
		for _, c := range h.waitingFor(g, waitTransfer) {
			w := g.clients.waiting[c]
			switch {
			case g.node.Role() == raft.Leader:
				h.end(g, Resolve{Client: c, Outcome: Refused, Detail: "this member won the next election", Leader: leader})
			case w.target == id.None || w.target == leader:
				h.end(g, Resolve{Client: c, Outcome: Done})
			default:
				h.end(g, Resolve{Client: c, Outcome: Refused, Detail: "another member won the election", Leader: leader})
			}
		}
	}
	if leader != id.None {
		h.askAgain(g)
		h.unpark(g)
	}
}

// waitingFor lists the clients of one kind, in order. Rare: transfers and the
// end of a group.
func (h *Host) waitingFor(g *group, kinds ...waiterKind) []ClientID {
	all := slices.Sorted(maps.Keys(g.clients.waiting))
	return slices.DeleteFunc(all, func(c ClientID) bool {
		return !slices.Contains(kinds, g.clients.waiting[c].kind)
	})
}

func (h *Host) cancel(e Cancel) {
	g := h.byID[e.Group]
	if g == nil || g.clients.waiting[e.Client] == nil {
		return // already resolved: that answer is on its way
	}
	h.end(g, certainty(e.Client, g.clients.waiting[e.Client]))
}

// certainty is the truthful end of a request that is given up.
func certainty(c ClientID, w *waiter) Resolve {
	if w.kind == waitRead || w.state == parked && !w.doubt {
		return Resolve{Client: c, Outcome: Refused, Why: raft.NotLeader, Detail: "given up while waiting"}
	}
	return Resolve{Client: c, Outcome: Unknown}
}

// endAll resolves every client of a group that stops.
func (h *Host) endAll(g *group) {
	for _, c := range h.waitingFor(g, waitPropose, waitChange, waitRead, waitTransfer) {
		h.end(g, certainty(c, g.clients.waiting[c]))
	}
	g.clients.placed, g.clients.reads, g.clients.leaving, g.clients.queue = nil, nil, nil, nil
}

// end resolves a client once.
func (h *Host) end(g *group, r Resolve) {
	w := g.clients.waiting[r.Client]
	if w == nil {
		return
	}
	if w.state == parked {
		g.clients.parked -= len(w.data)
	}
	delete(g.clients.waiting, r.Client)
	h.effect(r)
}
