package raft

import (
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/trace"
)

// Roles and terms (Raft §5.1): exactly one role at a time, a term that only
// grows, and a greater term in any message ends whatever role this is.

// setTerm enters a greater term, with the vote not given.
func (n *Node) setTerm(t id.Term, rule string) {
	n.term, n.vote, n.hardDirty = t, id.None, true
	n.hasAck = false // it was for a leader of the past
	n.emit(trace.TermChanged, rule, trace.Num("term", uint64(t)))
}

// become changes the role and reports it. Whoever leaves the leader's role loses
// its waiting reads: they were promised on an office that ended.
func (n *Node) become(r Role, leader id.NodeID, rule string) {
	if n.role == r && n.leader == leader {
		return
	}
	if n.role == Leader && r != Leader {
		n.refuseReads()
		n.peers, n.transfer = nil, id.None
	}
	if leader != n.leader {
		n.refuseAsked(len(n.asked))
		n.hasAck = false
	}
	n.role, n.leader = r, leader
	n.votes = n.votes[:0]
	n.emit(trace.RoleChanged, rule, trace.Text("role", r.String()), trace.Num("term", uint64(n.term)), trace.Text("leader", leader.String()))
}

// becomeFollower leaves any other role. The term is already set.
func (n *Node) becomeFollower(leader id.NodeID, rule string) {
	was := n.role
	n.become(Follower, leader, rule)
	if was != Follower || leader != id.None {
		n.resetElection()
	}
}

// becomeLeader takes the office: everybody is contacted at once, by an append
// that carries the entry of the own term without which nothing is committed,
// read or changed (Raft §5.4.2, §8).
func (n *Node) becomeLeader() {
	n.become(Leader, n.cfg.Self, "raft §5.2 majority of votes")
	n.peers = nil
	n.refreshPeers()
	n.transfer, n.transferEnd = id.None, id.Never
	n.heartbeatAt = n.now.Add(n.cfg.Heartbeat)
	n.majority = timer{at: n.now.Add(n.window())}
	n.ownTerm = n.log.last + 1
	n.appendOwn(Entry{Term: n.term, Index: n.ownTerm, Kind: EntryNoop})
}

// ownTermCommitted tells whether an entry of the leader's own term is committed:
// only then does it know what is committed (thesis §6.4, Ongaro 2015).
func (n *Node) ownTermCommitted() bool { return n.commit >= n.ownTerm }

// leaderAlive tells whether a vote must be refused because there is a leader
// (thesis §4.2.3, §6.4): a leader in office by the check of its majority, a
// follower that heard it within the shortest election timeout.
func (n *Node) leaderAlive() bool {
	if n.role == Leader {
		return true
	}
	return n.leader != id.None && n.everHeard && n.heard.Add(n.cfg.ElectionMin) > n.now
}

func (n *Node) forgetLeader() {
	if n.role != Leader && n.leader != id.None {
		n.become(n.role, id.None, "forget-leader")
	}
}

// checkQuorum ends the office of a leader that did not hear from a majority for
// a window (thesis §6.2). The greatest moment a majority was heard since is
// computed as a commit index is: time takes the place of the index.
func (n *Node) checkQuorum() {
	contact := id.Time(n.decide.Committed(func(m id.NodeID) id.Index {
		if m == n.cfg.Self {
			return id.Index(n.now)
		}
		if p := n.peer(m); p != nil {
			return id.Index(p.heard)
		}
		return 0
	}))
	n.majority = timer{at: min(contact, n.now).Add(n.window())}
	if n.majority.at <= n.now {
		if n.cfg.Faults.On(faults.NoCheckQuorum) {
			n.majority.at = n.now.Add(n.window())
			return
		}
		n.becomeFollower(id.None, "check-quorum")
	}
}
