package raft

import (
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
)

// Application: in order, without gaps, one Apply in flight.

// applicable is the last entry that may be applied: committed, and durable in
// this node's own log (DESIGN 2), so that the machine is never ahead of it.
func (n *Node) applicable() id.Index {
	if n.cfg.Faults.On(faults.ApplyBeforeDurable) {
		return n.commit
	}
	return min(n.commit, n.log.durable)
}

// apply hands out the next entries, or has them loaded.
func (n *Node) apply() {
	to := n.applicable()
	if n.applying != 0 || n.installing != nil || n.pending != nil || to <= n.applied {
		return
	}
	from := n.applied + 1
	if first := n.log.first(); from < first {
		n.load(ForApply, id.None, from, min(to+1, first), int64(n.cfg.ApplyBytes))
		return
	}
	n.handToApply(n.log.slice(from, to+1, int64(n.cfg.ApplyBytes)))
}

func (n *Node) handToApply(entries []Entry) {
	n.applying = entries[len(entries)-1].Index
	n.out = append(n.out, Apply{Entries: entries})
}

func (n *Node) loadedForApply(e Loaded) {
	if n.applying != 0 || n.installing != nil || n.pending != nil || e.From != n.applied+1 {
		return // a snapshot takes its place
	}
	if e.Gone {
		n.halt("entry %d is needed to apply, but the log does not have it", e.From)
		return
	}
	if to := n.applicable(); len(e.Entries) > 0 && to >= e.From {
		n.handToApply(e.Entries[:min(len(e.Entries), int(to-e.From)+1)])
	}
}

func (n *Node) appliedTo(i id.Index) {
	if i != n.applying {
		return // of before an installation
	}
	n.applied, n.applying = i, 0
}
