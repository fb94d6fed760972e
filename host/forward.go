package host

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// A member that is not leader forwards a proposal under its own name and
// answers its client from its own apply (DESIGN 13). The leader's answer says
// where the proposal was placed, or that it was not.
//
// An Ask may get lost, and its answer too, and the leader may die in between. So
// a forwarded proposal is sent again, with the same name, and the leader looks
// for the name in its own log before it places it. That makes it at most once:
//
//	Copy 1 stands at (i, t1), placed by an older leader. The leader of t2 > t1
//	does not find it in its log and places copy 2 at (j, t2). A log that holds
//	copy 2 equals that leader's up to j (Log Matching), so it has no copy 1 up to
//	j; behind j it has no entry of a term below t2. So no log ever holds both, and
//	at most one of them is committed.
//
// Where to look: behind what the asker has applied when it asks. It applied no
// copy in this life, or its client would have its answer, and a copy at or before
// that index in some log is not the entry that is committed there. A snapshot that
// the asker installs could hide a copy: whoever is in doubt then ends as Unknown
// (skipped), and so does, by its Boot, what an earlier life of the asker sent.
//
// If the leader's memory does not reach back so far, it says up to where it cannot
// tell, and the asker asks again when it has applied that itself.
//
// An Ask is delivered at most once, so that a refusal is certain; the look into
// the log does not depend on it.

// parkedRetry is how long a proposal waits before it tries the known leader
// again: a transfer that failed changes no leader and brings no news.
const parkedRetry = 20 * id.Millisecond

// askedFor is what an Ask in flight was about.
type askedFor struct {
	group  id.GroupID
	client ClientID
}

// submission is a proposal on its way into raft in this pass.
type submission struct {
	raft.Proposal
	again bool     // it may stand in the log already,
	after id.Index // behind this index if so
	from  id.NodeID
	ask   uint64 // of the peer that forwarded it; 0: this node's own
}

// submit queues a proposal for this pass.
func (h *Host) submit(g *group, s submission) {
	g.submissions = append(g.submissions, s)
	h.touch(g)
}

// proposals turns this pass's submissions into raft's event, without those that
// stand in the log already. The list stays until raft has answered each, which it
// does in this order.
func (h *Host) proposals(g *group) {
	if len(g.submissions) == 0 {
		return
	}
	if slices.ContainsFunc(g.submissions, func(s submission) bool { return s.again }) && g.node.Role() == raft.Leader {
		h.withoutKnown(g)
	}
	g.proposals = g.proposals[:0]
	for i := range g.submissions {
		g.proposals = append(g.proposals, g.submissions[i].Proposal)
	}
	if len(g.proposals) > 0 {
		g.in = append(g.in, raft.Propose{Proposals: g.proposals})
	}
}

// proposed forgets the submissions that raft has answered.
func (h *Host) proposed(g *group) {
	assert.That(g.answered == len(g.submissions), "group %d: %d of %d proposals were placed or refused", g.id, g.answered, len(g.submissions))
	clear(g.submissions)
	clear(g.proposals)
	g.submissions, g.answered = g.submissions[:0], 0
}

// submitted returns the submission that raft answers under the name p; one
// without asker if it is a membership change.
func (g *group) submitted(p raft.ProposalID) submission {
	if g.answered < len(g.submissions) && g.submissions[g.answered].ID == p {
		g.answered++
		return g.submissions[g.answered-1]
	}
	return submission{Proposal: raft.Proposal{ID: p}}
}

// withoutKnown answers and takes out the submissions that stand in the log, or
// of which that cannot be told; one that came twice in this pass stays once.
func (h *Host) withoutKnown(g *group) {
	wanted := map[raft.ProposalID]raft.Placed{}
	from := id.Index(1<<64 - 1)
	for _, s := range g.submissions {
		if s.again {
			wanted[s.ID] = raft.Placed{}
			from = min(from, s.after+1)
		}
	}
	first, entries := g.node.Tail(from)
	for _, e := range entries {
		if _, ok := wanted[e.Proposal]; ok {
			wanted[e.Proposal] = raft.Placed{ID: e.Proposal, Index: e.Index, Term: e.Term}
		}
	}
	kept := map[raft.ProposalID]int{}
	list := g.submissions[:0]
	for _, s := range g.submissions {
		i, twice := kept[s.ID]
		switch at := wanted[s.ID]; {
		case at.Index != 0:
			h.place(g, s, at)
		case s.again && s.after+1 < first:
			h.cannotTell(g, s, first-1)
		case twice:
			list[i].from, list[i].ask = s.from, s.ask // the asker waits for its newest Ask
		default:
			kept[s.ID] = len(list)
			list = append(list, s)
		}
	}
	clear(g.submissions[len(list):])
	g.submissions = list
}

// place tells whoever submitted s where it stands.
func (h *Host) place(g *group, s submission, at raft.Placed) {
	if s.ask != 0 {
		h.effect(Answer{To: s.from, ID: s.ask, Data: appendAnswer(nil, answer{index: at.Index, term: at.Term})})
		return
	}
	c := h.clientOf(s.ID)
	if w := g.clients.waiting[c]; w != nil {
		w.doubt = true
		g.clients.place(c, w, position{at.Index, at.Term})
	}
}

// cannotTell has a client of this node, or a peer's, wait until what is not in
// memory is applied there.
func (h *Host) cannotTell(g *group, s submission, upTo id.Index) {
	at := position{upTo, g.node.Term()}
	if s.ask != 0 {
		h.effect(Answer{To: s.from, ID: s.ask, Data: appendAnswer(nil, answer{why: raft.OfficeUncertain, index: at.index, term: at.term})})
		return
	}
	c := h.clientOf(s.ID)
	if w := g.clients.waiting[c]; w != nil {
		h.waitFor(g, c, w, at)
	}
}

// waitFor lets a client wait until an index is applied here; if it stands there
// it is answered then, otherwise it is forwarded again.
func (h *Host) waitFor(g *group, c ClientID, w *waiter, at position) {
	if at.index > g.applied && at.term >= g.appliedTerm {
		g.clients.place(c, w, at)
		return
	}
	h.park(g, c, w)
	h.touch(g)
}

// forward sends a proposal to the leader, or parks it until there is one.
func (h *Host) forward(g *group, c ClientID, w *waiter) {
	w.at = position{}
	leader := g.node.Leader()
	switch leader {
	case h.cfg.Self:
		w.state = given
		sent := w.doubt || w.asked != id.None
		h.submit(g, submission{Proposal: raft.Proposal{ID: h.proposalID(c), Data: w.data}, again: sent, after: g.applied})
	case id.None:
		h.park(g, c, w)
	default:
		w.state, w.before, w.doubt = asked, w.doubt, true
		h.askID++
		w.ask, w.asked = h.askID, leader
		h.asks[h.askID] = askedFor{group: g.id, client: c}
		h.effect(Ask{To: leader, ID: h.askID, Data: appendForward(nil, g.id, h.proposalID(c), g.applied, w.data)})
	}
}

func (h *Host) park(g *group, c ClientID, w *waiter) {
	if g.clients.parked+len(w.data) > h.cfg.ParkedBytes {
		if w.doubt {
			h.end(g, Resolve{Client: c, Outcome: Unknown}) // it may take effect yet
			return
		}
		h.end(g, Resolve{Client: c, Outcome: Refused, Why: raft.Overloaded})
		return
	}
	w.state = parked
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

// askAgain sends what an older leader was asked to the new one.
func (h *Host) askAgain(g *group) {
	elsewhere := func(w *waiter) bool { return w.state == asked && w.asked != g.node.Leader() }
	for _, c := range g.clients.which(elsewhere) {
		w := g.clients.waiting[c]
		delete(h.asks, w.ask)
		h.forward(g, c, w)
	}
}

// asked takes a peer's forwarded proposal.
func (h *Host) asked(e Asked) {
	refuse := func(a answer) { h.effect(Answer{To: e.From, ID: e.ID, Data: appendAnswer(nil, a)}) }
	f, err := parseForward(e.Data)
	if err != nil {
		refuse(answer{why: raft.NotLeader})
		return
	}
	g := h.open(f.group)
	if g == nil {
		refuse(answer{why: raft.NotLeader})
		return
	}
	if g.node.Role() != raft.Leader {
		refuse(answer{why: raft.NotLeader, leader: g.node.Leader()})
		return
	}
	h.submit(g, submission{Proposal: raft.Proposal{ID: f.id, Data: f.data}, again: true, after: f.after, from: e.From, ask: e.ID})
}

// answered goes on with a forwarded proposal.
func (h *Host) answered(e Answered) {
	ask, ok := h.asks[e.ID]
	if !ok {
		return // sent again since
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
		h.park(g, ask.client, w) // it may stand in a log: sent again, it is looked for
		h.touch(g)
	case a.why == 0:
		h.waitFor(g, ask.client, w, position{a.index, a.term}) // applied already: another entry stands there
	case a.why == raft.OfficeUncertain:
		h.waitFor(g, ask.client, w, position{a.index, a.term}) // up to there the leader cannot tell
	default:
		w.doubt = w.before
		if a.why == raft.Overloaded && !w.doubt {
			h.end(g, Resolve{Client: ask.client, Outcome: Refused, Why: a.why, Leader: a.leader})
			return
		}
		h.park(g, ask.client, w)
		h.touch(g)
	}
}

// Format of a forwarded proposal (docs/format/ask.md):
//
//	byte 1, uvarint group, node, incarnation, sequence, after, then data to the end
func appendForward(dst []byte, g id.GroupID, p raft.ProposalID, after id.Index, data []byte) []byte {
	dst = append(dst, formatForward)
	dst = binary.AppendUvarint(dst, uint64(g))
	dst = binary.AppendUvarint(dst, p.Origin.Node)
	dst = binary.AppendUvarint(dst, uint64(p.Origin.Incarnation))
	dst = binary.AppendUvarint(dst, p.Sequence)
	dst = binary.AppendUvarint(dst, uint64(after))
	return append(dst, data...)
}

const (
	formatForward = 1
	formatAnswer  = 1
)

var errAskFormat = errors.New("host: malformed request from a peer's host")

// forwarded is a proposal as a peer forwards it.
type forwarded struct {
	group id.GroupID
	id    raft.ProposalID
	after id.Index
	data  []byte
}

func parseForward(b []byte) (forwarded, error) {
	if len(b) == 0 || b[0] != formatForward {
		return forwarded{}, errAskFormat
	}
	var n [5]uint64
	data, err := uvarints(b[1:], n[:])
	if err != nil || n[2] > 1<<32-1 {
		return forwarded{}, errAskFormat
	}
	return forwarded{
		group: id.GroupID(n[0]),
		id:    raft.ProposalID{Origin: id.NodeID{Node: n[1], Incarnation: uint32(n[2])}, Sequence: n[3]},
		after: id.Index(n[4]), data: data,
	}, nil
}

// answer is a leader's answer: a place, or why 0 ≠ refusal and whom to ask.
type answer struct {
	why    raft.Refusal
	leader id.NodeID
	index  id.Index
	term   id.Term
}

// Format (docs/format/ask.md): byte 1, byte refusal, uvarint leader node,
// incarnation, index, term.
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
