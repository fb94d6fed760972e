package raft

import (
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/trace"
)

// Elections (Raft §5.2, §5.4.1), always through a pre-vote (thesis §9.6): a node
// first asks whether it would win, in a term that nobody enters. So a node that
// was isolated comes back with the term it left with.

// ballot is one answer to a (pre-)candidate.
type ballot struct {
	from    id.NodeID
	granted bool
}

// electionDue is the end of a silence, or of an election without result.
func (n *Node) electionDue() {
	n.resetElection()
	if !n.mayCampaign() {
		n.become(Follower, id.None, "silence")
		if !n.isCandidateOnceReady() {
			n.election.at = id.Never // a learner or stranger: news re-arms it
		}
		return
	}
	n.campaign()
}

// mayCampaign: only voters stand. A node that an uncommitted configuration
// removes still may, in the name of the one before: it may be the only one whose
// log is new enough to finish the removal (thesis §4.2.2). A node that is
// installing a snapshot may not, since it cannot save its vote meanwhile; nor may
// one whose disk is stalled, since it could not win.
func (n *Node) mayCampaign() bool {
	return n.installing == nil && n.pending == nil && n.isCandidateOnceReady() && !n.stalled()
}

func (n *Node) isCandidateOnceReady() bool {
	for i := len(n.log.configs) - 1; i >= 0; i-- {
		c := &n.log.configs[i]
		if c.Config.IsVoter(n.cfg.Self) {
			return true
		}
		if c.Index <= n.commit {
			return false
		}
	}
	return false
}

func (n *Node) soleVoter() bool {
	return len(n.decide.Outgoing) == 0 && len(n.decide.Incoming) == 1 && n.decide.Incoming[0] == n.cfg.Self
}

// campaign starts an election through the pre-vote.
func (n *Node) campaign() {
	if n.role == Leader || !n.mayCampaign() {
		return
	}
	if n.cfg.Faults.On(faults.NoPreVote) {
		n.stand(false)
		return
	}
	n.resetElection()
	n.become(PreCandidate, id.None, "thesis §9.6 pre-vote")
	n.votes = n.votes[:0]
	n.askVoters(RequestPreVote{Term: n.term, LastIndex: n.log.last, LastTerm: n.log.lastTerm()})
	n.count(n.cfg.Self, true)
}

// stand makes the node a candidate in the next term. Its own vote counts when it
// is durable, like everybody's (persisted).
func (n *Node) stand(transfer bool) {
	n.setTerm(n.term+1, "raft §5.2")
	n.vote = n.cfg.Self
	n.emit(trace.Voted, "raft §5.2 for itself", trace.Num("term", uint64(n.term)), trace.Text("for", n.vote.String()), trace.Num("granted", 1), trace.Text("reason", "candidate"))
	n.resetElection()
	n.become(Candidate, id.None, "raft §5.2")
	n.votes = n.votes[:0]
	n.askVoters(RequestVote{Term: n.term, LastIndex: n.log.last, LastTerm: n.log.lastTerm(), Transfer: transfer})
}

func (n *Node) askVoters(m Message) {
	c := n.log.config().Config
	for _, v := range c.Members {
		if v.ID != n.cfg.Self && c.IsVoter(v.ID) {
			n.send(v.ID, m)
		}
	}
}

// count takes one answer and acts on the outcome (Raft §5.2: wins, no majority,
// another leader: the last is an append's affair).
func (n *Node) count(from id.NodeID, granted bool) {
	for _, b := range n.votes {
		if b.from == from {
			return // the first answer stands
		}
	}
	n.votes = append(n.votes, ballot{from, granted})
	if len(n.decide.Incoming) == 0 {
		return
	}
	switch n.decide.Vote(func(m id.NodeID) (bool, bool) {
		for _, b := range n.votes {
			if b.from == m {
				return b.granted, true
			}
		}
		return false, false
	}) {
	case quorum.Won:
		if n.role == PreCandidate {
			n.stand(false)
		} else {
			n.becomeLeader()
		}
	case quorum.Lost:
		at := n.election
		n.becomeFollower(id.None, "raft §5.2 no majority")
		n.election = at // the next try comes when this one would have ended
	}
}

// newEnough is the log check (Raft §5.4.1): the last term decides, then the
// length. Equal is enough.
func (n *Node) newEnough(lastTerm id.Term, last id.Index) bool {
	if n.cfg.Faults.On(faults.NoLogCheck) {
		return true
	}
	mine := n.log.lastTerm()
	return lastTerm > mine || lastTerm == mine && last >= n.log.last
}

// A voter never asks its own configuration about the candidate or itself: a
// learner that does not know of its promotion yet must vote, or a group of two
// that grows to three and loses one has no leader for ever (etcd#10998).

// onRequestPreVote answers what it would answer to the vote, and changes nothing.
func (n *Node) onRequestPreVote(from id.NodeID, m RequestPreVote) {
	granted := m.Term >= n.term && !n.leaderAlive() && n.newEnough(m.LastTerm, m.LastIndex)
	n.send(from, PreVote{Term: n.term, For: m.Term + 1, Granted: granted})
	if !granted {
		n.tellStranger(from)
	}
}

func (n *Node) onPreVote(from id.NodeID, m PreVote) {
	if n.role == PreCandidate && m.For == n.term+1 {
		n.count(from, m.Granted)
	}
}

// onRequestVote: the term is equal by now (receive).
func (n *Node) onRequestVote(from id.NodeID, m RequestVote) {
	free := n.vote == id.None || n.vote == from || n.cfg.Faults.On(faults.DoubleVote)
	reason := "granted"
	switch {
	case !free:
		reason = "voted for " + n.vote.String()
	case n.role == Leader || n.leader != id.None && n.vote != from:
		reason = "this term has a leader"
	case !n.newEnough(m.LastTerm, m.LastIndex):
		reason = "its log is older"
	}
	granted := reason == "granted"
	if granted {
		if n.vote != from {
			n.vote, n.hardDirty = from, true
		}
		n.resetElection()
	} else {
		n.tellStranger(from)
	}
	n.emit(trace.Voted, "raft §5.4.1", trace.Num("term", uint64(n.term)), trace.Text("for", from.String()), trace.Num("granted", bit(granted)), trace.Text("reason", reason))
	n.send(from, Vote{Term: n.term, Granted: granted})
}

func (n *Node) onVote(from id.NodeID, m Vote) {
	if n.role == Candidate {
		n.count(from, m.Granted)
	}
}

// tellStranger tells a would-be candidate that was removed so: nobody else will.
func (n *Node) tellStranger(from id.NodeID) {
	c := n.log.configAt(n.commit)
	if len(c.Config.Members) == 0 {
		return
	}
	if _, ok := n.log.config().Config.Find(from); ok {
		return
	}
	if _, ok := c.Config.Find(from); !ok {
		n.send(from, NotMember{Term: n.term, Version: c.Config.Version})
	}
}

// onNotMember: hearsay, so it is only reported, once per leader heard, and only
// if it speaks of a configuration this node has not seen.
func (n *Node) onNotMember(m NotMember) {
	if !n.hearsay && !n.removed && m.Version > n.log.config().Config.Version {
		n.hearsay = true
		n.out = append(n.out, Removed{Committed: false})
	}
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
