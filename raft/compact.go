package raft

import "github.com/quorate/quorate/internal/id"

// Retention (DESIGN 8): the log is cut at what the machine would still have
// after a crash, but kept for slow followers up to RetainBytes. Who is further
// behind gets a snapshot. A follower does not know who is slow and may be the
// next leader: it keeps RetainBytes.

// compact emits a Cut if that frees more than least bytes.
func (n *Node) compact(least int64) {
	if n.installing != nil || n.pending != nil || n.flushed <= n.log.start.Index {
		return
	}
	to := n.flushed
	if bound := n.log.indexAtBytes(n.log.total - int64(n.cfg.RetainBytes)); bound < to {
		needed := bound
		if n.role == Leader {
			needed = to
			for i := range n.peers {
				if p := &n.peers[i]; !p.departing {
					needed = min(needed, p.match)
				}
			}
		}
		to = max(bound, needed)
	}
	if to <= n.log.start.Index || n.log.bytes(to)-n.log.bytes(n.log.start.Index) <= least {
		return
	}
	n.log.cut(to)
	n.out = append(n.out, Cut{Start: n.log.start})
}

// tailKeeps returns the index up to which entries may leave memory: the newest
// TailBytes stay, and so does what is not durable or not applied; but a machine
// that lags by more than another TailBytes gets its entries from the disk.
func (n *Node) tailKeeps() id.Index {
	l := &n.log
	if len(l.tail) == 0 {
		return 0
	}
	oldest := l.sums[0] - entryBytes(&l.tail[0])
	if l.total-oldest <= int64(n.cfg.TailBytes) {
		return 0
	}
	to := min(l.tailAtBytes(l.total-int64(n.cfg.TailBytes)), n.applied)
	to = max(to, l.tailAtBytes(l.total-2*int64(n.cfg.TailBytes)))
	return min(to, l.durable, l.handed-1)
}
