package raft

import (
	"slices"

	"github.com/quorate/quorate/internal/id"
)

// Replication, the leader's side (Raft §5.3; thesis §10.2.1 for pipelining and
// for appends that leave before the leader's own disk is done).

// load is one Load in flight. At most one per reason and peer.
type load struct {
	reason LoadReason
	peer   id.NodeID
	from   id.Index
}

// propose appends commands (Raft §5.3). Each is placed or refused at once.
func (n *Node) propose(e Propose) {
	why := n.refusal()
	for i := range e.Proposals {
		p := &e.Proposals[i]
		if why == 0 && n.uncommitted() > 0 && n.uncommitted()+int64(len(p.Data)+entryOverheadBytes) > int64(n.cfg.UncommittedBytes) {
			why = Overloaded
		}
		if why != 0 {
			n.out = append(n.out, Refused{ID: p.ID, Why: why, Leader: n.leader})
			continue
		}
		at := n.log.last + 1
		n.appendOwn(Entry{Term: n.term, Index: at, Kind: EntryCommand, Proposal: p.ID, Data: p.Data})
		n.out = append(n.out, Placed{ID: p.ID, Index: at, Term: n.term})
	}
}

// appendOwn appends an entry of this leader, sealed: whoever sees it sees its
// encoding too, made once.
func (n *Node) appendOwn(e Entry) {
	n.log.append(e)
	if n.cfg.Seal != nil {
		n.cfg.Seal(&n.log.tail[len(n.log.tail)-1]) // in place: &e would cost an allocation per entry
	}
}

// refusal says why nothing can be proposed now; 0 if it can.
func (n *Node) refusal() Refusal {
	switch {
	case n.role != Leader:
		return NotLeader
	case n.transfer != id.None:
		return Transferring
	case n.slowDisk():
		return DiskStalled
	}
	return 0
}

// uncommitted is computed from the log, not counted up and down: it returns to
// zero whatever becomes of the entries (RAFT.md, bug 24).
func (n *Node) uncommitted() int64 { return n.log.total - n.log.bytes(n.commit) }

// heartbeat is due: everybody is told the office goes on and what is committed.
// It never waits for data, windows or a slow machine.
func (n *Node) heartbeat() {
	n.heartbeatAt = n.now.Add(n.cfg.Heartbeat)
	n.dismiss()
	for i := range n.peers {
		n.sendHeartbeat(&n.peers[i])
	}
	if n.transfer != id.None {
		n.handOver() // TimeoutNow may have been lost
	}
	n.hintDue = n.hintDue || n.commit > n.hintSaved
	n.compact(int64(n.cfg.RetainBytes) / 64)
}

func (n *Node) sendHeartbeat(p *peer) {
	commit := min(n.commit, p.match)
	p.told = max(p.told, commit)
	n.send(p.id, Heartbeat{Term: n.term, Commit: commit, Round: n.waitingRound()})
}

// replicate sends every peer what it lacks and its window allows.
func (n *Node) replicate() {
	if n.role != Leader {
		return
	}
	for i := range n.peers {
		p := &n.peers[i]
		for n.sendAppend(p) {
		}
		// A follower that has the entries but not the news that they are
		// committed does not wait for the next heartbeat.
		if p.told < min(n.commit, p.match) {
			n.sendHeartbeat(p)
		}
	}
}

// sendAppend sends one append if there is reason and room, and tells whether it
// is worth trying again.
func (n *Node) sendAppend(p *peer) bool {
	switch {
	case p.state == Snapshot || p.paused:
		return false
	case p.state == Probe && p.probed:
		return false
	case p.state == Replicate && p.next > n.log.last:
		return false
	}
	prevTerm, ok := n.log.term(p.next - 1)
	if !ok {
		n.startSnapshot(p)
		return false
	}
	if p.state == Probe {
		// Entries that must be loaded wait until the place is known to be right.
		// So do those that were sent here once: perhaps the peer's disk is only
		// slow, and a message a heartbeat would choke it.
		var entries []Entry
		if p.next >= n.log.first() && !p.asked {
			entries = n.log.slice(p.next, n.log.last+1, int64(n.cfg.MessageBytes))
		}
		p.probed, p.asked = true, true
		n.sendEntries(p, prevTerm, entries)
		return false
	}
	bytes, before := n.room(p)
	if bytes <= 0 {
		return false
	}
	if first := n.log.first(); p.next < first {
		n.load(ForPeer, p.id, p.next, min(before, first), bytes)
		return false
	}
	entries := n.log.slice(p.next, before, bytes)
	n.fly(p, prevTerm, entries)
	return true
}

// fly sends entries to a peer in Replicate without waiting for an answer.
func (n *Node) fly(p *peer, prevTerm id.Term, entries []Entry) {
	f := flight{last: entries[len(entries)-1].Index, sent: n.now}
	for i := range entries {
		f.bytes += entryBytes(&entries[i])
	}
	p.flights = append(p.flights, f)
	p.flightBytes += f.bytes
	n.sendEntries(p, prevTerm, entries)
	p.next = f.last + 1
}

func (n *Node) sendEntries(p *peer, prevTerm id.Term, entries []Entry) {
	n.send(p.id, Append{Term: n.term, Prev: p.next - 1, PrevTerm: prevTerm, Commit: n.commit, Entries: entries})
	p.told = max(p.told, min(n.commit, p.next-1+id.Index(len(entries))))
}

func (n *Node) onAccepted(from id.NodeID, m AppendAccepted) {
	p := n.answeredBy(from)
	if p == nil || m.Match > n.log.last {
		return // not one of ours, or of a log that is not this one
	}
	p.paused = false
	if m.Match > p.match {
		p.match = m.Match
	}
	switch p.state {
	case Probe:
		n.setProgress(p, Replicate, max(p.match+1, m.Match+1), "accepted")
	case Replicate:
		p.landed(m.Match)
		p.next = max(p.next, p.match+1)
	case Snapshot:
		// Whatever brought it here, it has what the log begins with: the
		// snapshot is not needed any more.
		if p.match >= n.log.start.Index {
			n.setProgress(p, Replicate, p.match+1, "has more than the snapshot")
		}
	}
	if n.transfer == from {
		n.handOver()
	}
}

// onRejected goes back to where the logs may meet (Raft §5.3, M39): a term per
// round. The follower's hint has HintTerm at HintIndex; the leader's greatest
// entry up to there with no greater term is the next candidate.
func (n *Node) onRejected(from id.NodeID, m AppendRejected) {
	p := n.answeredBy(from)
	if p == nil {
		return
	}
	switch p.state {
	case Replicate:
		if m.Prev <= p.match {
			return // an older one, overtaken
		}
		n.setProgress(p, Probe, p.match+1, "rejected")
	case Probe:
		if m.Prev != p.next-1 || m.Prev == 0 {
			return // not the one that is out
		}
		next := n.log.atMost(min(m.HintIndex, m.Prev-1), m.HintTerm) + 1
		n.setProgress(p, Probe, min(next, m.Prev), "rejected")
		// A follower that refuses what it once acknowledged was wiped under its
		// old id. match does not go back; ask again no faster than heartbeats.
		p.probed = p.next-1 == m.Prev
	}
}

// onHeartbeatAck confirms reads, and repairs what was lost: an append that
// should have been answered since the last heartbeat is asked about by an empty
// one behind it, which is either accepted (the answer was lost) or rejected (the
// entries were).
func (n *Node) onHeartbeatAck(from id.NodeID, m HeartbeatAck) {
	p := n.answeredBy(from)
	if p == nil {
		return
	}
	p.round = max(p.round, m.Round)
	p.probed, p.paused = false, false
	if p.state == Replicate && len(p.flights) > 0 && p.flights[0].sent.Add(n.cfg.Heartbeat) <= n.now {
		if prevTerm, ok := n.log.term(p.next - 1); ok {
			n.sendEntries(p, prevTerm, nil)
		}
	}
}

// unreachable: what was sent is lost. The probe waits for a heartbeat's answer: a
// peer that is gone must not cost a load or a snapshot.
func (n *Node) unreachable(m id.NodeID) {
	if p := n.peer(m); p != nil && p.state == Replicate {
		n.setProgress(p, Probe, p.match+1, "unreachable")
		p.probed = true
	}
}

// load asks for entries that left memory, unless such a Load is in flight.
func (n *Node) load(reason LoadReason, to id.NodeID, from, before id.Index, bytes int64) {
	for _, l := range n.loads {
		if l.reason == reason && l.peer == to {
			return
		}
	}
	n.loads = append(n.loads, load{reason, to, from})
	n.out = append(n.out, Load{For: reason, Peer: to, From: from, To: before, LimitBytes: int(bytes)})
}

// loaded takes the answer to a Load. Between the two the log may have changed:
// what no longer is this log's is dropped, and asked for again if still needed.
func (n *Node) loaded(e Loaded) {
	k := slices.IndexFunc(n.loads, func(l load) bool { return l.reason == e.For && l.peer == e.Peer })
	if k < 0 {
		return
	}
	n.loads = slices.Delete(n.loads, k, k+1)
	for i := range e.Entries {
		if x := &e.Entries[i]; x.Index != e.From+id.Index(i) || !n.log.matches(x.Index, x.Term) {
			e.Entries = e.Entries[:i]
			break
		}
	}
	if e.For == ForApply {
		n.loadedForApply(e)
		return
	}
	p := n.peer(e.Peer)
	if p == nil || p.state != Replicate || p.next != e.From {
		return
	}
	if e.Gone {
		n.startSnapshot(p)
		return
	}
	prevTerm, ok := n.log.term(p.next - 1)
	if bytes, _ := n.room(p); ok && bytes > 0 && len(e.Entries) > 0 {
		n.fly(p, prevTerm, e.Entries)
	}
}
