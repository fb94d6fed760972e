package raft

import (
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/trace"
)

// peer is what a leader knows of one other member.
//
//	          accepted                     entry was cut
//	Probe ──────────────▶ Replicate   Probe ────────────▶ Snapshot
//	  ▲  rejected, unreachable  │       ▲  sent, failed,    │
//	  └─────────────────────────┘       └─ or has it anyhow ┘
//
// Invariant: match < next; match only grows within a term (M32).
type peer struct {
	id    id.NodeID
	state ProgressState
	match id.Index
	next  id.Index
	heard id.Time
	round uint64   // newest read round it confirmed
	told  id.Index // greatest commit index sent to it

	probed bool // Probe: an append is out; the next waits for an answer or a heartbeat's
	asked  bool // Probe: this place was asked about; again without entries
	paused bool // its snapshot failed: wait for a sign of life

	flights     []flight // Replicate: appends with entries, not acknowledged
	flightBytes int64

	departing bool // not in the configuration any more, but not told yet
	until     id.Time
}

// flight is one unacknowledged append.
type flight struct {
	last  id.Index
	bytes int64
	sent  id.Time
}

// peer finds a member; nil if this node does not lead or does not know it. There
// are few, and it is asked for often: a loop beats a search.
func (n *Node) peer(m id.NodeID) *peer {
	for i := range n.peers {
		if n.peers[i].id == m {
			return &n.peers[i]
		}
	}
	return nil
}

// answeredBy is the peer that answered this leader in this term: only answers
// show that it can be reached both ways.
func (n *Node) answeredBy(m id.NodeID) *peer {
	p := n.peer(m)
	if p != nil {
		p.heard = n.now
	}
	return p
}

// refreshPeers makes the leader's peers those of the configuration in force. Who
// left stays for a while as departing, so that it learns of its removal; it counts
// for nothing.
func (n *Node) refreshPeers() {
	c := n.log.config().Config
	kept := make([]peer, 0, len(c.Members)+1)
	for _, m := range c.Members {
		if m.ID == n.cfg.Self {
			continue
		}
		if p := n.peer(m.ID); p != nil {
			p.departing = false
			kept = append(kept, *p)
			continue
		}
		kept = append(kept, peer{id: m.ID, state: Probe, next: n.log.last + 1, heard: n.now})
	}
	for _, p := range n.peers {
		if _, ok := c.Find(p.id); !ok {
			if !p.departing {
				p.departing, p.until = true, id.Never
			}
			kept = append(kept, p)
		}
	}
	slices.SortFunc(kept, func(a, b peer) int { return a.id.Compare(b.id) })
	n.peers = kept
}

// dismiss sends away who departed: once the removal is committed it has one
// longest election timeout to hear so.
func (n *Node) dismiss() {
	c := n.log.config()
	for i := 0; i < len(n.peers); i++ {
		p := &n.peers[i]
		if !p.departing || c.Index > n.commit {
			continue
		}
		if p.until == id.Never {
			p.until = n.now.Add(n.cfg.ElectionMax)
		} else if p.until <= n.now {
			n.peers = slices.Delete(n.peers, i, i+1)
			i--
		}
	}
}

func (n *Node) setProgress(p *peer, s ProgressState, next id.Index, rule string) {
	changed := p.state != s
	p.state, p.next = s, max(next, p.match+1)
	p.probed, p.asked, p.paused = false, false, false
	p.flights, p.flightBytes = p.flights[:0], 0
	if changed {
		n.emit(trace.ProgressState, rule, trace.Text("peer", p.id.String()), trace.Text("state", s.String()), trace.Num("match", uint64(p.match)), trace.Num("next", uint64(p.next)))
	}
}

func (s ProgressState) String() string {
	switch s {
	case Probe:
		return "probe"
	case Replicate:
		return "replicate"
	case Snapshot:
		return "snapshot"
	}
	return "invalid state"
}

// landed takes the flights that match acknowledges out of the window.
func (p *peer) landed(match id.Index) {
	k := 0
	for k < len(p.flights) && p.flights[k].last <= match {
		p.flightBytes -= p.flights[k].bytes
		k++
	}
	p.flights = append(p.flights[:0], p.flights[k:]...)
}

// room returns how many bytes the next append may carry and before which entry
// it must end; no room is 0. The window is counted in messages, entries and bytes.
func (n *Node) room(p *peer) (bytes int64, before id.Index) {
	if len(p.flights) >= n.cfg.WindowMessages || p.flightBytes >= int64(n.cfg.WindowBytes) {
		return 0, 0
	}
	before = min(n.log.last+1, p.match+1+id.Index(n.cfg.WindowEntries))
	if before <= p.next {
		return 0, 0
	}
	return min(int64(n.cfg.MessageBytes), int64(n.cfg.WindowBytes)-p.flightBytes), before
}
