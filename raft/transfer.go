package raft

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/trace"
)

// Leadership transfer (thesis §3.10): refuse proposals, bring the target's log
// up to the leader's, tell it to campaign at once. If it has not taken over
// within the longest election timeout, office goes on as before.

func (n *Node) startTransfer(to id.NodeID) {
	refuse := func(why string) { n.out = append(n.out, TransferEnded{To: to, Why: why}) }
	switch {
	case n.role != Leader:
		refuse("this node is not the leader")
		return
	case n.transfer != id.None && (n.transfer == to || to == id.None):
		return // under way
	case n.transfer != id.None:
		refuse("a transfer to " + n.transfer.String() + " is under way")
		return
	case to == n.cfg.Self:
		refuse("it is the leader already")
		return
	}
	p := n.peer(to)
	if to == id.None {
		if p = n.bestCandidate(); p == nil {
			refuse("no other voter is reachable")
			return
		}
		to = p.id
	}
	if !n.canTake(p) {
		refuse("it is not a voter of the newest configuration")
		return
	}
	n.transfer, n.transferEnd = to, n.now.Add(n.cfg.ElectionMax)
	n.emit(trace.Transfer, "thesis §3.10", trace.Text("to", to.String()), trace.Text("outcome", "started"))
	n.handOver()
}

// canTake: the target must vote in the configuration the group is moving to.
func (n *Node) canTake(p *peer) bool {
	if p == nil || p.departing {
		return false
	}
	for _, v := range n.log.config().Config.Quorum().Incoming {
		if v == p.id {
			return true
		}
	}
	return false
}

// bestCandidate is the voter with the longest matching log among those heard
// from; nil if there is none.
func (n *Node) bestCandidate() *peer {
	var best *peer
	for i := range n.peers {
		p := &n.peers[i]
		if n.canTake(p) && p.heard.Add(n.cfg.ElectionMax) > n.now && (best == nil || p.match > best.match) {
			best = p
		}
	}
	return best
}

// handOver tells the target to run once the logs are equal (M75). It is said
// again with every heartbeat, since it may be lost; a target that runs already
// is in a greater term and ignores it.
func (n *Node) handOver() {
	if p := n.peer(n.transfer); p != nil && p.match == n.log.last {
		n.send(p.id, TimeoutNow{Term: n.term})
	}
}

// endTransfer: this node stays in office.
func (n *Node) endTransfer(why string) {
	n.emit(trace.Transfer, "thesis §3.10", trace.Text("to", n.transfer.String()), trace.Text("outcome", why))
	n.out = append(n.out, TransferEnded{To: n.transfer, Why: why})
	n.transfer = id.None
}

// onTimeoutNow: no pre-vote, and voters do not refuse on account of the leader,
// for it is the leader who asks.
func (n *Node) onTimeoutNow(from id.NodeID) {
	if n.role == Follower && n.leader == from && n.mayCampaign() {
		n.stand(true)
	}
}
