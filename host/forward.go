package host

import (
	"encoding/binary"
	"errors"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// A member that is not leader forwards a proposal under its own name and
// answers its client from its own apply (DESIGN 13). The leader's answer says
// only where the proposal was placed, or that it certainly was not; in that case
// alone it is sent again. An answer that never comes leaves the client waiting
// for the apply, or for its own deadline.

// forwardsMax bounds how often one proposal is sent to another supposed leader.
const forwardsMax = 8

// parkedRetry is how long a proposal waits before it tries the known leader
// again: a transfer that failed changes no leader and brings no news.
const parkedRetry = 20 * id.Millisecond

// askedFor is what an Ask in flight was about.
type askedFor struct {
	group  id.GroupID
	client ClientID
}

// askedBy remembers, within one pass, whom to answer about a forwarded proposal.
type askedBy struct {
	from  id.NodeID
	ask   uint64
	about raft.ProposalID
}

// forward sends a proposal to the leader, or parks it until there is one.
func (h *Host) forward(g *group, c ClientID, w *waiter) {
	leader := g.node.Leader()
	if leader == h.cfg.Self {
		w.state = given
		g.proposals = append(g.proposals, raft.Proposal{ID: h.proposalID(c), Data: w.data})
		h.touch(g)
		return
	}
	if leader == id.None || w.tries >= forwardsMax {
		h.park(g, c, w)
		return
	}
	w.state = asked
	w.tries++
	h.askID++
	h.asks[h.askID] = askedFor{group: g.id, client: c}
	h.effect(Ask{To: leader, ID: h.askID, Data: appendForward(nil, g.id, h.proposalID(c), w.data)})
}

func (h *Host) park(g *group, c ClientID, w *waiter) {
	if g.clients.parked+len(w.data) > h.cfg.ParkedBytes {
		h.end(g, Resolve{Client: c, Outcome: Refused, Why: raft.Overloaded})
		return
	}
	w.state, w.tries = parked, 0
	g.clients.parked += len(w.data)
	g.clients.queue = append(g.clients.queue, c)
}

// unpark sends what waited for a leader, in order.
func (h *Host) unpark(g *group) {
	queue := g.clients.queue
	g.clients.queue = nil
	for _, c := range queue {
		w := g.clients.waiting[c]
		if w == nil || w.state != parked {
			continue
		}
		g.clients.parked -= len(w.data)
		w.state = given
		h.forward(g, c, w)
	}
}

// asked takes a peer's forwarded proposal.
func (h *Host) asked(e Asked) {
	group, about, data, err := parseForward(e.Data)
	if err != nil {
		h.effect(Answer{To: e.From, ID: e.ID, Data: appendAnswer(nil, answer{why: raft.NotLeader})})
		return
	}
	g := h.open(group)
	if g == nil || g.node.Role() != raft.Leader {
		a := answer{why: raft.NotLeader}
		if g != nil {
			a.leader = g.node.Leader()
		}
		h.effect(Answer{To: e.From, ID: e.ID, Data: appendAnswer(nil, a)})
		return
	}
	h.askers = append(h.askers, askedBy{from: e.From, ask: e.ID, about: about})
	g.proposals = append(g.proposals, raft.Proposal{ID: about, Data: data})
	h.touch(g)
}

// answerPlaced answers the peer that forwarded this proposal, if one did.
func (h *Host) answerPlaced(e raft.Placed) bool {
	by, ok := h.asker(e.ID)
	if ok {
		h.effect(Answer{To: by.from, ID: by.ask, Data: appendAnswer(nil, answer{index: e.Index, term: e.Term})})
	}
	return ok
}

func (h *Host) answerRefused(e raft.Refused) bool {
	by, ok := h.asker(e.ID)
	if ok {
		h.effect(Answer{To: by.from, ID: by.ask, Data: appendAnswer(nil, answer{why: e.Why, leader: e.Leader})})
	}
	return ok
}

// asker takes out who forwarded a proposal. raft answers in the order it was
// asked, so the first is nearly always the one.
func (h *Host) asker(p raft.ProposalID) (askedBy, bool) {
	for i, by := range h.askers {
		if by.about == p {
			h.askers = append(h.askers[:i], h.askers[i+1:]...)
			return by, true
		}
	}
	return askedBy{}, false
}

// answered goes on with a forwarded proposal.
func (h *Host) answered(e Answered) {
	ask, ok := h.asks[e.ID]
	if !ok {
		return
	}
	delete(h.asks, e.ID)
	g := h.open(ask.group)
	if g == nil {
		return
	}
	w := g.clients.waiting[ask.client]
	if w == nil {
		return
	}
	a, err := parseAnswer(e.Data)
	switch {
	case e.Unknown || err != nil:
		w.state, w.data = given, nil // it may stand in a log somewhere
	case a.why == 0:
		w.state, w.data = given, nil
		if a.index > g.applied {
			g.clients.place(place{index: a.index, term: a.term, client: ask.client})
		}
	case a.why == raft.NotLeader || a.why == raft.Transferring:
		w.state = given
		if leader := g.node.Leader(); leader == id.None || leader == e.From {
			h.park(g, ask.client, w) // the peer knows better than we do: wait for the news
			return
		}
		h.forward(g, ask.client, w)
	default:
		h.end(g, Resolve{Client: ask.client, Outcome: Refused, Why: a.why, Leader: a.leader})
	}
}

// Format of a forwarded proposal (docs/format/ask.md):
//
//	byte 1, uvarint group, uvarint node, uvarint incarnation, uvarint sequence, data to the end
func appendForward(dst []byte, g id.GroupID, p raft.ProposalID, data []byte) []byte {
	dst = append(dst, formatForward)
	dst = binary.AppendUvarint(dst, uint64(g))
	dst = binary.AppendUvarint(dst, p.Origin.Node)
	dst = binary.AppendUvarint(dst, uint64(p.Origin.Incarnation))
	dst = binary.AppendUvarint(dst, p.Sequence)
	return append(dst, data...)
}

const (
	formatForward = 1
	formatAnswer  = 1
)

var errAskFormat = errors.New("host: malformed request from a peer's host")

func parseForward(b []byte) (g id.GroupID, p raft.ProposalID, data []byte, err error) {
	if len(b) == 0 || b[0] != formatForward {
		return 0, p, nil, errAskFormat
	}
	var n [4]uint64
	if b, err = uvarints(b[1:], n[:]); err != nil || n[2] > 1<<32-1 {
		return 0, p, nil, errAskFormat
	}
	p = raft.ProposalID{Origin: id.NodeID{Node: n[1], Incarnation: uint32(n[2])}, Sequence: n[3]}
	return id.GroupID(n[0]), p, b, nil
}

// answer is a leader's answer: a place, or why 0 ≠ refusal and whom to ask.
type answer struct {
	why    raft.Refusal
	leader id.NodeID
	index  id.Index
	term   id.Term
}

// Format: byte 1, byte refusal, uvarint leader node, incarnation, index, term.
func appendAnswer(dst []byte, a answer) []byte {
	dst = append(dst, formatAnswer, byte(a.why))
	dst = binary.AppendUvarint(dst, a.leader.Node)
	dst = binary.AppendUvarint(dst, uint64(a.leader.Incarnation))
	dst = binary.AppendUvarint(dst, uint64(a.index))
	return binary.AppendUvarint(dst, uint64(a.term))
}

func parseAnswer(b []byte) (answer, error) {
	if len(b) < 2 || b[0] != formatAnswer {
		return answer{}, errAskFormat
	}
	var n [4]uint64
	rest, err := uvarints(b[2:], n[:])
	if err != nil || len(rest) > 0 || n[1] > 1<<32-1 {
		return answer{}, errAskFormat
	}
	return answer{
		why:    raft.Refusal(b[1]),
		leader: id.NodeID{Node: n[0], Incarnation: uint32(n[1])},
		index:  id.Index(n[2]), term: id.Term(n[3]),
	}, nil
}

func uvarints(b []byte, out []uint64) ([]byte, error) {
	for i := range out {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errAskFormat
		}
		out[i], b = v, b[n:]
	}
	return b, nil
}
