package lease

import (
	"cmp"
	"slices"

	"github.com/quorate/quorate/internal/id"
)

// A long lease would live for ever if the leader changed often enough, each new
// one giving it its whole TTL again. So the leader writes the remaining TTL to
// the log now and then. The price is that a renewal, which is not written, must
// first clear what was: otherwise
//
//	TTL 3600. n1 writes "60 s left" and crashes 10 s after answering a renewal
//	with 3600. n2 gives the lease 60 s: it breaks n1's promise by an hour.
//
// So a renewal of a lease that has a checkpoint, or may have one in the log
// (dirty), waits until the clear is applied. Few leases have one: it takes a
// client that stayed silent for CheckpointInterval.

// writeDown proposes what is due, the clears first: clients wait for those.
func (x *Expirer) writeDown(now id.Time, out []Effect) []Effect {
	if x.checkpointInFlight != nil {
		return out
	}
	limit := x.options.CheckpointsPerProposalMax
	var batch []*held
	n := min(limit, len(x.clears))
	batch = append(batch, x.clears[:n]...)
	for _, h := range batch {
		h.clearProposed = true
	}
	if x.clears = x.clears[n:]; len(x.clears) == 0 {
		x.clears = nil
	}
	for len(batch) < limit {
		h := x.checkpoints.popDue(now)
		if h == nil {
			break
		}
		batch = append(batch, h)
	}
	if len(batch) == 0 {
		return out
	}
	slices.SortFunc(batch, func(a, b *held) int { return cmp.Compare(a.ID, b.ID) })
	p := ProposeCheckpoint{Term: x.term, Checkpoints: make([]Checkpoint, len(batch))}
	for i, h := range batch {
		p.Checkpoints[i] = Checkpoint{ID: h.ID}
		if h.state == living {
			h.dirty = true
			p.Checkpoints[i].Remaining = int64((h.deadline.Sub(now) + id.Second - 1) / id.Second)
		}
	}
	x.checkpointInFlight = batch
	return append(out, p)
}

// checkpointed notes what the table now says.
func (x *Expirer) checkpointed(now id.Time, e Checkpointed) {
	h := x.leases[e.ID]
	if h == nil {
		return
	}
	h.Remaining = e.Remaining
	if x.term != 0 && h.state == living && h.deadline.Sub(now) > x.options.CheckpointInterval {
		x.checkpoints.set(&h.checkpoint, now.Add(x.options.CheckpointInterval))
	}
}

// checkpointDone lets the renewals go that waited for a clear.
func (x *Expirer) checkpointDone(now id.Time, ok bool, out []Effect) []Effect {
	batch := x.checkpointInFlight
	x.checkpointInFlight = nil
	for _, h := range batch {
		if x.leases[h.ID] != h {
			continue // revoked meanwhile; its renewals were answered
		}
		switch {
		case h.clearProposed && ok:
			// The clear lies behind every checkpoint this office proposed, and those
			// of earlier offices were applied before the round that let the renewal in:
			// nothing smaller can follow.
			h.clearProposed, h.dirty = false, false
			out = x.promise(now, h, out)
		case h.clearProposed:
			h.clearProposed = false
			out = x.answer(h, RenewUnavailable, out)
			x.live(now, h, h.deadline)
		case h.state == living && !ok:
			x.checkpoints.set(&h.checkpoint, now.Add(x.options.RetryAfter))
		}
	}
	return out
}
