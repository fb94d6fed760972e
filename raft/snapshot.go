package raft

import (
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/trace"
)

// Snapshots (Raft §7): for a follower that needs what the leader's log no longer
// holds. The bytes are the host's affair; raft decides when, and what the log is
// afterwards.

// startSnapshot has a snapshot sent to p, one at a time.
func (n *Node) startSnapshot(p *peer) {
	n.setProgress(p, Snapshot, p.next, "raft §7 entry was cut")
	if slices.Contains(n.shipping, p.id) {
		return // of an earlier office; its end is reported
	}
	n.shipping = append(n.shipping, p.id)
	n.out = append(n.out, SendSnapshot{To: p.id, Term: n.term, MinIndex: n.log.start.Index})
	n.reportSnapshot("send to "+p.id.String(), n.log.start.Index, n.log.start.Term)
}

// snapshotSent: if the peer has it all, the next append says whether it is
// installed. If not, another is sent when the peer gives a sign of life, not at
// once: a failing peer must not cost a snapshot per pass (RAFT.md, bug 30).
func (n *Node) snapshotSent(e SnapshotSent) {
	if k := slices.Index(n.shipping, e.To); k >= 0 {
		n.shipping = slices.Delete(n.shipping, k, k+1)
	}
	p := n.peer(e.To)
	if p == nil || p.state != Snapshot {
		return
	}
	next := p.match + 1
	if e.OK {
		next = max(next, min(e.Index, n.log.last)+1)
	}
	n.setProgress(p, Probe, next, "snapshot sent")
	p.probed = e.OK // its installation is answered, or a heartbeat is
	p.paused = !e.OK
}

// onInstallSnapshot: the whole of a snapshot lies verified here.
func (n *Node) onInstallSnapshot(from id.NodeID, m InstallSnapshot) {
	s := m.Snapshot
	switch {
	case n.installing != nil || n.pending != nil:
		return // one at a time; the leader probes again
	case s.Index <= n.commit:
		n.reportSnapshot("refuse: has more", s.Index, s.Term)
		n.accept(n.commit)
	case n.log.matches(s.Index, s.Term):
		// The log holds the snapshot's last entry, hence all of it (Log
		// Matching), and perhaps more that must not be thrown away.
		n.reportSnapshot("refuse: log has it", s.Index, s.Term)
		n.accept(s.Index)
		n.commitTo(s.Index)
	default:
		n.pending = &Install{From: from, Snapshot: s}
	}
}

// beginInstall emits the Install once no Apply is in flight: the machine is
// replaced only while nobody changes it.
func (n *Node) beginInstall() {
	if n.pending == nil || n.applying != 0 {
		return
	}
	i := *n.pending
	n.pending = nil
	if i.Snapshot.Index <= n.commit {
		return // caught up meanwhile
	}
	n.issued++
	i.Token, i.Hard = n.issued, HardState{Term: n.term, Vote: n.vote, Commit: i.Snapshot.Index}
	n.installing = &i
	n.hasAck = false
	n.out = append(n.out, i)
	n.reportSnapshot("install", i.Snapshot.Index, i.Snapshot.Term)
}

// installed: the log begins behind the snapshot, whatever stood in it.
func (n *Node) installed(t id.Token) {
	i := n.installing
	if i == nil || i.Token != t {
		return
	}
	n.installing = nil
	s := i.Snapshot
	n.log.reset(LogStart{Index: s.Index, Term: s.Term, Config: s.Config})
	n.claims = n.claims[:0]
	n.durable = max(n.durable, t)
	n.commit, n.applied, n.flushed, n.hintSaved = s.Index, s.Index, s.Index, s.Index
	n.refreshConfig()
	n.checkRemoved()
	n.accept(s.Index)
}

func (n *Node) reportSnapshot(what string, i id.Index, t id.Term) {
	n.emit(trace.SnapshotState, "raft §7", trace.Num("index", uint64(i)), trace.Num("term", uint64(t)), trace.Text("what", what))
}
