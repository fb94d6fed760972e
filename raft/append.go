package raft

import (
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/trace"
)

// What every role does with a message, and what a follower does with its
// leader's (Raft §5.3).

// receive takes a message: first the term (Raft §5.1), then the matter.
func (n *Node) receive(from id.NodeID, m Message) {
	if m == nil || from == n.cfg.Self || from == id.None {
		return
	}
	if n.installing != nil && m.SenderTerm() > n.term {
		return // a term cannot be saved now; whoever sent it will send again
	}
	switch m := m.(type) {
	case RequestPreVote:
		n.onRequestPreVote(from, m) // its term is never adopted
		return
	case PreVote:
		if m.Term <= n.term {
			n.onPreVote(from, m) // a grant may come from a smaller term: a new member's, say
			return
		}
	case RequestVote:
		if m.Term > n.term && !m.Transfer && n.leaderAlive() {
			return // not even the term (thesis §4.2.3)
		}
		if n.installing != nil {
			return // a vote cannot be saved now
		}
	}
	switch t := m.SenderTerm(); {
	case t < n.term:
		n.onStale(from, m)
		return
	case t > n.term:
		n.setTerm(t, "raft §5.1 greater term")
		if n.role == Follower {
			n.become(Follower, id.None, "raft §5.1 greater term")
		} else {
			n.becomeFollower(id.None, "raft §5.1 greater term")
		}
	}
	n.onCurrent(from, m)
}

// onCurrent takes a message of this term.
func (n *Node) onCurrent(from id.NodeID, m Message) {
	switch m := m.(type) {
	case RequestVote:
		n.onRequestVote(from, m)
	case Vote:
		n.onVote(from, m)
	case Append:
		if n.follow(from) {
			n.onAppend(m)
		}
	case Heartbeat:
		if n.follow(from) {
			n.onHeartbeat(from, m)
		}
	case InstallSnapshot:
		if n.follow(from) {
			n.onInstallSnapshot(from, m)
		}
	case AppendAccepted:
		n.onAccepted(from, m)
	case AppendRejected:
		n.onRejected(from, m)
	case HeartbeatAck:
		n.onHeartbeatAck(from, m)
	case TimeoutNow:
		n.onTimeoutNow(from)
	case RequestRead:
		n.onRequestRead(from, m)
	case ReadAnswer:
		n.onReadAnswer(m)
	case NotMember:
		n.onNotMember(m)
	}
}

// onStale answers a message of an older term where the sender waits for an
// answer: so it learns the term, even if it is stuck (etcd#8501).
func (n *Node) onStale(from id.NodeID, m Message) {
	switch m := m.(type) {
	case RequestVote:
		n.send(from, Vote{Term: n.term})
	case Append:
		n.send(from, AppendRejected{Term: n.term, Prev: m.Prev})
	case Heartbeat:
		n.send(from, HeartbeatAck{Term: n.term})
	case InstallSnapshot:
		n.send(from, AppendRejected{Term: n.term, Prev: m.Snapshot.Index})
	case RequestRead:
		n.send(from, ReadAnswer{Term: n.term, ID: m.ID})
	}
}

// follow recognizes the leader of this term and re-arms the election timer. It
// is false for a message that cannot be: a second leader in one term.
func (n *Node) follow(leader id.NodeID) bool {
	if n.role == Leader || n.leader != id.None && n.leader != leader {
		n.halt("%v and %v both lead term %d: two members voted twice, or a member was wiped under its old id", n.leader, leader, n.term)
		return false
	}
	n.heard, n.everHeard, n.hearsay = n.now, true, false
	if n.role != Follower || n.leader == id.None {
		n.becomeFollower(leader, "raft §5.2 leader of the term")
	} else {
		n.resetElection()
	}
	return true
}

// onAppend puts a leader's entries into the log (Raft §5.3, receiver rules 2 to 5).
func (n *Node) onAppend(m Append) {
	if n.installing != nil || n.pending != nil || !m.wellFormed() {
		return
	}
	l := &n.log
	if m.Prev < l.start.Index {
		// Old news: what the log no longer holds is committed, hence equal.
		skip := l.start.Index - m.Prev
		if id.Index(len(m.Entries)) < skip {
			n.accept(n.commit)
			return
		}
		m.Prev, m.PrevTerm, m.Entries = l.start.Index, m.Entries[skip-1].Term, m.Entries[skip:]
	}
	if !l.matches(m.Prev, m.PrevTerm) {
		if m.Prev <= n.commit {
			n.halt("the leader of term %d has term %d at entry %d, which is committed here with another", m.Term, m.PrevTerm, m.Prev)
			return
		}
		n.reject(m)
		return
	}
	if !n.put(m.Entries) {
		return
	}
	verified := m.Prev + id.Index(len(m.Entries))
	n.accept(max(verified, n.commit))
	// Only what this message verified: behind it the log may hold entries of an
	// older term that the leader never had (Raft §5.3, rule 5; etcd#1203).
	if n.cfg.Faults.On(faults.CommitPastVerified) {
		verified = l.last
	}
	n.commitTo(min(m.Commit, verified))
}

// put appends entries that follow a matching position. It is false after a halt.
func (n *Node) put(entries []Entry) bool {
	l := &n.log
	before := l.config().Index
	for i := range entries {
		e := &entries[i]
		if e.Index <= l.last {
			if l.matches(e.Index, e.Term) || n.cfg.Faults.On(faults.KeepConflict) {
				continue
			}
			if e.Index <= n.commit {
				n.halt("the leader sends entry %d with term %d, but another is committed here", e.Index, e.Term)
				return false
			}
			n.truncate(e.Index)
			before = min(before, l.config().Index)
		}
		l.append(*e)
	}
	if l.config().Index != before {
		n.refreshConfig()
	}
	return true
}

// truncate removes a conflicting suffix (Raft §5.3, rule 3). Claims of writes in
// flight shrink with it: when such a write is reported durable, what it wrote
// there counts for nothing (RAFT.md, bug 21).
func (n *Node) truncate(from id.Index) {
	n.emit(trace.Truncated, "raft §5.3", trace.Num("from", uint64(from)), trace.Num("last", uint64(n.log.last)))
	rollback := n.log.config().Index >= from
	n.log.truncate(from)
	n.trimClaims(from)
	n.hasAck = n.hasAck && n.ack < from
	if rollback {
		n.refreshConfig()
	}
}

// accept promises the leader that the log equals its own up to match, once that
// is durable. A pass answers once, with the greatest.
func (n *Node) accept(match id.Index) {
	if !n.hasAck || match > n.ack {
		n.ack, n.hasAck = match, true
	}
}

// acknowledge sends what accept promised.
func (n *Node) acknowledge() {
	if !n.hasAck || n.leader == id.None || n.role == Leader {
		n.hasAck = false
		return
	}
	n.hasAck = false
	s := Send{To: n.leader, Message: AppendAccepted{Term: n.term, Match: n.ack}, After: n.durableAfter(n.ack)}
	if n.cfg.Faults.On(faults.AckBeforeDurable) {
		s.After = 0
	}
	n.sends = append(n.sends, s)
}

// reject tells the leader where the logs may meet: the greatest position below
// Prev whose term is not greater than Prev's, for a log that has PrevTerm at Prev
// has nothing greater before. What is committed matches anyhow.
func (n *Node) reject(m Append) {
	hint := max(n.log.atMost(m.Prev-1, m.PrevTerm), n.commit)
	term, _ := n.log.term(hint)
	n.send(n.leader, AppendRejected{Term: n.term, Prev: m.Prev, HintIndex: hint, HintTerm: term})
}

func (n *Node) onHeartbeat(from id.NodeID, m Heartbeat) {
	n.send(from, HeartbeatAck{Term: n.term, Round: m.Round})
	if m.Commit <= n.log.last && n.installing == nil {
		n.commitTo(m.Commit)
	}
	n.hintDue = n.hintDue || n.commit > n.hintSaved
}

// wellFormed tells whether an append can come from a correct leader.
func (m Append) wellFormed() bool {
	index, term := m.Prev, m.PrevTerm
	for i := range m.Entries {
		e := &m.Entries[i]
		if e.Index != index+1 || e.Term < term || e.Term > m.Term || e.Kind == EntryConfig && e.Config == nil {
			return false
		}
		index, term = e.Index, e.Term
	}
	return term <= m.Term
}
