package raft

import (
	"slices"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/trace"
)

// Commitment (Raft §5.3, §5.4.2) and what follows from it.

// advance computes the leader's commit index, once per pass: the greatest index
// that a majority has durable, if it is of the leader's own term. Entries of
// older terms are committed by what stands behind them (Figure 8). The leader
// counts itself by its own disk, and only if it is a voter.
func (n *Node) advance() {
	if n.role != Leader || len(n.decide.Incoming) == 0 {
		return
	}
	double := id.None
	if n.cfg.Faults.On(faults.CountSelfTwice) {
		for _, p := range n.peers { // the first voter's place is taken by this node
			if slices.Contains(n.counts.Incoming, p.id) {
				double = p.id
				break
			}
		}
	}
	at := n.counts.Committed(func(m id.NodeID) id.Index {
		if m == n.cfg.Self || m == double && m != id.None {
			return n.log.durable
		}
		if p := n.peer(m); p != nil {
			return p.match
		}
		return 0
	})
	if at <= n.commit {
		n.leaveJoint()
		return
	}
	if t, _ := n.log.term(at); t == n.term || n.cfg.Faults.On(faults.CountPriorTerm) {
		n.commitTo(at)
	}
	n.leaveJoint()
}

// commitTo moves the commit index forward; an older one is old news.
func (n *Node) commitTo(at id.Index) {
	if at <= n.commit {
		return
	}
	// Invariant: nothing is committed that this log does not hold.
	if at > n.log.last {
		assert.Fail("raft: commit %d in a log that ends at %d", at, n.log.last)
	}
	n.commit = at
	t, _ := n.log.term(at)
	n.emit(trace.Committed, "raft §5.3", trace.Num("index", uint64(at)), trace.Num("term", uint64(t)))
	n.checkRemoved()
}

// checkRemoved reports, once, that a committed configuration without this node
// is in force after a committed one with it. A configuration that was only
// appended does not make a member:
//
//	n1 appends {1,3,5} and fails; n4 leads, and n5 falls back to the committed
//	{1,3,4}. n4 may add it just now: n5 was never removed.
func (n *Node) checkRemoved() {
	n.checkMember()
	c := n.log.config()
	if c.Index > n.commit || n.removed || !n.wasMember {
		return
	}
	if _, ok := c.Config.Find(n.cfg.Self); ok {
		return
	}
	n.removed = true
	n.out = append(n.out, Removed{Committed: true})
}

// checkMember notes that a committed configuration lists this node.
func (n *Node) checkMember() {
	for _, c := range n.log.configs {
		if n.wasMember || c.Index > n.commit {
			return
		}
		_, n.wasMember = c.Config.Find(n.cfg.Self)
	}
}

// leaveOffice ends the office of a leader whose committed configuration does not
// let it vote (thesis §4.2.2). It told the others in this pass that the change
// is committed, and asks the best of them to run at once.
func (n *Node) leaveOffice() {
	if n.role != Leader {
		return
	}
	if c := n.log.config(); n.voter || c.Index > n.commit || c.Config.Joint {
		return
	}
	if best := n.bestCandidate(); best != nil && best.match == n.log.last {
		n.send(best.id, TimeoutNow{Term: n.term})
	}
	n.becomeFollower(id.None, "thesis §4.2.2 removed")
}
