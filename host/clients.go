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
	gone    []place    // scratch
	reads   []readyAt  // by index: confirmed, waiting for the machine
	leaving []ClientID // changes whose joint configuration is applied, waiting for the simple one
	parked  int        // bytes of proposals that wait for a leader
	queue   []ClientID // parked, oldest first; may name clients that are gone
}

type waiter struct {
	kind   waiterKind
	state  waiterState
	data   []byte    // of a proposal that may be forwarded
	at     position  // its newest place; none while it is forwarded
	doubt  bool      // a copy may stand in some log
	before bool      // doubt before the Ask in flight
	ask    uint64    // the Ask in flight, to
	asked  id.NodeID // this leader; None: never
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

// place is where a client's proposal stood in a leader's log.
type place struct {
	position
	client ClientID
}

type position struct {
	index id.Index
	term  id.Term
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
	if c == 0 || uint64(c) >= 1<<clientBits { // assert.That would put c on the heap, per request
		assert.Fail("client id %d is out of range", c)
	}
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
	if g.clients.waiting[c] != nil {
		assert.Fail("client id %d is used twice", c)
	}
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
	w := &waiter{kind: waitPropose}
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
	h.place(g, g.submitted(e.ID), e)
}

// place keeps placed sorted by index; a new leadership may place behind older
// ones.
func (c *clients) place(client ClientID, w *waiter, p position) {
	w.state, w.at = given, p
	at := len(c.placed)
	for at > 0 && c.placed[at-1].index > p.index {
		at--
	}
	c.placed = slices.Insert(c.placed, at, place{position: p, client: client})
}

func (h *Host) refused(g *group, e raft.Refused) {
	if !e.IsRead {
		if s := g.submitted(e.ID); s.ask != 0 {
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
	if w.data != nil && (w.doubt || e.Why != raft.Overloaded) {
		h.park(g, c, w) // there will be another leader, or this one again; or an earlier copy
		return
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

// overtaken looks after what was placed where it certainly is not any more: its
// index holds another entry, or an entry of a later term is applied, behind which
// no log has one of an earlier term. Without the second a proposal that its leader
// lost would wait in an idle group until others fill the log up. It is forwarded
// again, or refused.
func (h *Host) overtaken(g *group, applied id.Index, term id.Term) {
	over := func(p place) bool { return p.index <= applied || p.term < term }
	n := len(g.clients.placed)
	if term == g.appliedTerm { // only by index then, and they are sorted by that
		n = 0
		for n < len(g.clients.placed) && over(g.clients.placed[n]) {
			n++
		}
	}
	g.appliedTerm = term
	gone := g.clients.gone[:0]
	kept := g.clients.placed[:0]
	for _, p := range g.clients.placed[:n] {
		if over(p) {
			gone = append(gone, p)
		} else {
			kept = append(kept, p)
		}
	}
	g.clients.placed = append(kept, g.clients.placed[n:]...)
	g.clients.gone = gone
	for _, p := range gone {
		w := g.clients.waiting[p.client]
		switch {
		case w == nil || w.state != given || w.at != p.position:
			// answered, or it is asked about, or stands elsewhere too
		case w.data != nil:
			h.forward(g, p.client, w)
		case !slices.Contains(g.clients.leaving, p.client): // or its joint entry is applied
			h.end(g, Resolve{Client: p.client, Outcome: Refused, Why: raft.NotLeader, Leader: g.node.Leader()})
		}
	}
}

// skipped ends whoever may stand in the log: a snapshot jumped over a part of it,
// and nobody here saw what stands there.
func (h *Host) skipped(g *group) {
	for _, c := range g.clients.which(func(w *waiter) bool { return w.doubt }) {
		h.end(g, Resolve{Client: c, Outcome: Unknown})
	}
	g.clients.placed, g.clients.leaving = g.clients.placed[:0], g.clients.leaving[:0]
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

// transferEnded: this node stayed in office, or was asked for a transfer when it
// had lost it; then leaderChanged settles them all. If another transfer goes on,
// only those end who asked for this one by name.
func (h *Host) transferEnded(g *group, e raft.TransferEnded) {
	if g.node.Role() != raft.Leader {
		return
	}
	goesOn := g.node.Status().Transfer
	ended := func(w *waiter) bool {
		return w.kind == waitTransfer && (goesOn == id.None || w.target == e.To && w.target != goesOn)
	}
	for _, c := range g.clients.which(ended) {
		h.end(g, Resolve{Client: c, Outcome: Refused, Detail: e.Why, Leader: g.node.Leader()})
	}
}

// leaderChanged settles what depends on who leads.
func (h *Host) leaderChanged(g *group) {
	leader := g.node.Leader()
	if leader != id.None {
		// A transfer under way ended when the office was lost, also if this node
		// wins the next election itself without having heard of another leader.
		for _, c := range g.clients.which(func(w *waiter) bool { return w.kind == waitTransfer }) {
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

// which lists the clients that are of some sort, in order. Rare: a new leader, a
// transfer, an installation, the end of a group.
func (c *clients) which(are func(*waiter) bool) []ClientID {
	list := slices.Sorted(maps.Keys(c.waiting))
	return slices.DeleteFunc(list, func(x ClientID) bool { return !are(c.waiting[x]) })
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
	for _, c := range g.clients.which(func(*waiter) bool { return true }) {
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
