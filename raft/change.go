package raft

import (
	"errors"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/trace"
)

// Membership (Raft §6; thesis §4). A configuration is in force from the moment
// its entry is in the log, and out of force again if that entry is truncated. At
// most one is uncommitted.

// change appends the next configuration.
func (n *Node) change(e Change) {
	refuse := func(why Refusal, detail string) {
		n.out = append(n.out, Refused{ID: e.ID, Why: why, Detail: detail, Leader: n.leader})
	}
	if why := n.refusal(); why != 0 {
		refuse(why, "")
		return
	}
	// A leader does not know what is committed before an entry of its own term
	// is: two leaders could each hold an uncommitted configuration, and their
	// majorities need not meet (Ongaro, raft-dev, July 2015).
	if !n.ownTermCommitted() && !n.cfg.Faults.On(faults.ChangeBeforeOwnTerm) {
		refuse(NoOwnTermCommit, "")
		return
	}
	c := n.log.config()
	if c.Index > n.commit || c.Config.Joint {
		refuse(ChangeInFlight, "")
		return
	}
	next, err := c.Config.Apply(e.Change)
	switch {
	case errors.Is(err, membership.ErrStale):
		refuse(ChangeStale, err.Error())
	case err != nil:
		refuse(ChangeIllegal, err.Error())
	default:
		at := n.appendConfig(next, e.ID)
		n.out = append(n.out, Placed{ID: e.ID, Index: at, Term: n.term})
	}
}

// leaveJoint ends a joint configuration once it is committed (Raft §6). Every
// leader does so after its own-term commit, whoever entered it.
func (n *Node) leaveJoint() {
	c := n.log.config()
	if !c.Config.Joint || c.Index > n.commit || !n.ownTermCommitted() {
		return
	}
	next, err := c.Config.Leave()
	if err != nil {
		n.halt("leaving joint configuration %d: %v", c.Config.Version, err)
		return
	}
	n.appendConfig(next, ProposalID{})
}

func (n *Node) appendConfig(c membership.Config, p ProposalID) id.Index {
	at := n.log.last + 1
	n.appendOwn(Entry{Term: n.term, Index: at, Kind: EntryConfig, Proposal: p, Config: &c})
	n.refreshConfig()
	return at
}

// refreshConfig makes the newest configuration in the log the one in force.
func (n *Node) refreshConfig() {
	c := n.log.config()
	n.decide, n.counts = n.quorums(c.Config)
	n.voter = c.Config.IsVoter(n.cfg.Self)
	if _, ok := c.Config.Find(n.cfg.Self); ok {
		n.removed = false
	}
	n.emit(trace.ConfigChanged, "thesis §4.1 in force when appended",
		trace.Num("version", c.Config.Version), trace.Num("joint", bit(c.Config.Joint)), trace.Text("members", c.Config.String()))
	if n.role == Leader {
		n.refreshPeers()
		if n.transfer != id.None && !n.canTake(n.peer(n.transfer)) {
			n.endTransfer("the target may not lead in the new configuration")
		}
	} else if n.election.at == id.Never && n.isCandidateOnceReady() {
		n.resetElection()
	}
}

// quorums derives who decides from a configuration: in elections, reads and the
// check of the majority, and in commitment.
func (n *Node) quorums(c membership.Config) (decide, commit quorum.Joint) {
	decide = c.Quorum()
	if n.cfg.Faults.On(faults.OneMajorityInJoint) {
		decide.Outgoing = nil
	}
	commit = decide
	if n.cfg.Faults.On(faults.CountLearners) {
		commit.Incoming = nil
		for _, m := range c.Members {
			if m.Role != membership.Absent {
				commit.Incoming = append(commit.Incoming, m.ID)
			}
		}
	}
	return decide, commit
}
