package raft

import (
	"math"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/trace"
)

// Linearizable reads by read index (thesis §6.4). The leader takes its commit
// index, then has its office confirmed by a majority, then the read may be
// served from a state that has applied that index. All reads that wait in a pass
// share one round. A round's number is used once in a node's life, so a late or
// doubled answer confirms nothing that came after it.

// waitingRead is a read at the leader: of its own host, or of a follower's.
type waitingRead struct {
	id    ReadID
	from  id.NodeID // None: this node's host
	ask   uint64    // RequestRead.ID
	round uint64
	index id.Index
}

// askedRead is a read at a follower that the leader was asked about.
type askedRead struct {
	id    ReadID
	ask   uint64 // 0: not sent yet
	until id.Time
}

// firstAsk is where the numbers of this life's RequestReads start. An answer to
// a former life's, still under way, must not meet its number again: n4 asks 1,
// crashes, asks 1 again in the same term, and takes the old, stale answer. No
// counter on the disk is worth that, 48 random bits are enough.
func (n *Node) firstAsk() uint64 { return uint64(n.draw(1<<48-1)) << 16 &^ (1 << 63) }

func (n *Node) read(e Read) {
	switch {
	case n.role != Leader && n.leader == id.None:
		n.refuseRead(e.ID, NotLeader)
	case len(n.reads)+len(n.asked) >= n.cfg.Reads:
		n.refuseRead(e.ID, Overloaded)
	case n.role == Leader:
		n.reads = append(n.reads, waitingRead{id: e.ID})
	default:
		n.asked = append(n.asked, askedRead{id: e.ID, until: n.now.Add(n.cfg.ElectionMax)})
	}
}

func (n *Node) refuseRead(r ReadID, why Refusal) {
	n.out = append(n.out, Refused{Read: r, IsRead: true, Why: why, Leader: n.leader})
}

func (n *Node) onRequestRead(from id.NodeID, m RequestRead) {
	if n.role != Leader || len(n.reads) >= n.cfg.Reads {
		n.send(from, ReadAnswer{Term: n.term, ID: m.ID})
		return
	}
	n.reads = append(n.reads, waitingRead{from: from, ask: m.ID})
}

func (n *Node) onReadAnswer(m ReadAnswer) {
	kept := n.asked[:0]
	for _, a := range n.asked {
		switch {
		case a.ask != m.ID || m.ID == 0:
			kept = append(kept, a)
		case m.Granted:
			n.out = append(n.out, ReadReady{ID: a.id, Index: m.Index})
		default:
			n.refuseRead(a.id, OfficeUncertain)
		}
	}
	n.asked = kept
}

// answerReads starts a round for the reads that have none and serves those whose
// round is confirmed. It runs after advance: the index is as new as it can be.
func (n *Node) answerReads() {
	n.askLeader()
	if n.role != Leader || len(n.reads) == 0 {
		return
	}
	if !n.ownTermCommitted() && !n.cfg.Faults.On(faults.NoOwnTermRead) {
		return // what is committed is not known yet (bug 6)
	}
	// One round in flight: what comes meanwhile shares the next one, as writes share
	// an fsync. A lost heartbeat is made good by the next, which carries the round.
	if n.assigned == 0 {
		n.round++
		for i := range n.reads {
			n.reads[i].round, n.reads[i].index = n.round, n.commit
		}
		n.assigned = len(n.reads)
		n.emit(trace.ReadRound, "thesis §6.4", trace.Num("round", n.round), trace.Num("index", uint64(n.commit)))
		if !n.soleVoter() {
			for i := range n.peers {
				if n.log.config().Config.IsVoter(n.peers[i].id) {
					n.sendHeartbeat(&n.peers[i])
				}
			}
		}
	}
	if n.serveReads(n.confirmed()); n.assigned == 0 && len(n.reads) > 0 {
		n.answerReads()
	}
}

// confirmed is the newest round that a majority answered: computed as a commit
// index is, with the round in the place of the index.
func (n *Node) confirmed() uint64 {
	if n.cfg.Faults.On(faults.ReadWithoutRound) {
		return n.round
	}
	return uint64(n.decide.Committed(func(m id.NodeID) id.Index {
		if m == n.cfg.Self {
			return math.MaxUint64
		}
		if p := n.peer(m); p != nil {
			return id.Index(p.round)
		}
		return 0
	}))
}

func (n *Node) serveReads(confirmed uint64) {
	k := 0
	for k < n.assigned && n.reads[k].round <= confirmed {
		r := n.reads[k]
		if r.from == id.None {
			n.out = append(n.out, ReadReady{ID: r.id, Index: r.index})
		} else {
			n.send(r.from, ReadAnswer{Term: n.term, ID: r.ask, Index: r.index, Granted: true})
		}
		k++
	}
	n.reads, n.assigned = n.reads[k:], n.assigned-k
	if len(n.reads) == 0 {
		n.reads = nil
	}
}

// waitingRound is the newest round that waits for confirmation; 0: none.
func (n *Node) waitingRound() uint64 {
	if n.assigned == 0 {
		return 0
	}
	return n.round
}

// askLeader asks the leader for all reads that wait, one question in flight. One
// that seems lost, by the time of a heartbeat, does not hold up the next.
func (n *Node) askLeader() {
	if n.role == Leader || n.leader == id.None || len(n.asked) == 0 || n.asked[len(n.asked)-1].ask != 0 {
		return
	}
	if n.asked[0].ask != 0 && n.now < n.askedAt.Add(n.cfg.Heartbeat) {
		return
	}
	n.askedSeq++
	n.askedAt = n.now
	for i := len(n.asked) - 1; i >= 0 && n.asked[i].ask == 0; i-- {
		n.asked[i].ask = n.askedSeq
	}
	n.send(n.leader, RequestRead{Term: n.term, ID: n.askedSeq})
}

// refuseReads ends every waiting read of a leader whose office ends.
func (n *Node) refuseReads() {
	for _, r := range n.reads {
		if r.from == id.None {
			n.out = append(n.out, Refused{Read: r.id, IsRead: true, Why: OfficeUncertain})
		} else {
			n.send(r.from, ReadAnswer{Term: n.term, ID: r.ask})
		}
	}
	n.reads, n.assigned = nil, 0
}

// refuseAsked ends the oldest reads that a leader was asked about.
func (n *Node) refuseAsked(count int) {
	for _, a := range n.asked[:count] {
		n.refuseRead(a.id, OfficeUncertain)
	}
	n.asked = append(n.asked[:0], n.asked[count:]...)
}
