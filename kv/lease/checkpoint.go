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
	x.proposals++
	p := ProposeCheckpoint{Number: x.proposals, Term: x.term, Checkpoints: make([]Checkpoint, len(batch))}
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
	if x.term == 0 {
		return
	}
	if e.Remaining == 0 {
		x.cleared(now, h)
	} else if h.state == living && h.deadline.Sub(now) > x.options.CheckpointInterval {
		x.checkpoints.set(&h.checkpoint, now.Add(x.options.CheckpointInterval))
	}
}

// cleared takes notice of a cleared checkpoint. One that an earlier leader
// proposed may be applied only after this one was promoted, and a client may
// already rely on the whole TTL: the lease must not end by what the table said
// at the promotion.
func (x *Expirer) cleared(now id.Time, h *held) {
	if h.clearProposed {
		return // our own: checkpointDone goes on
	}
	deadline := max(h.deadline, after(now, h.TTL))
	switch h.state {
	case living:
		x.live(now, h, deadline)
	case renewing, clearing:
		h.deadline = deadline
	case over:
		x.unlist(h)
		x.live(now, h, deadline)
		if h.renewals, h.late = h.late, nil; len(h.renewals) > 0 {
			x.waitForOffice(h)
		}
	case revoking:
		// The office was confirmed, so everything of earlier leaders was applied.
		// This is our own clear whose outcome was unknown: nobody was promised
		// anything by it.
	}
}

// checkpointDone lets the renewals go that waited for a clear. The end of a
// proposal of an earlier office is ignored.
func (x *Expirer) checkpointDone(now id.Time, e CheckpointDone, out []Effect) []Effect {
	if x.checkpointInFlight == nil || e.Number != x.proposals {
		return out
	}
	batch := x.checkpointInFlight
	x.checkpointInFlight = nil
	for _, h := range batch {
		if x.leases[h.ID] != h {
			continue // revoked meanwhile; its renewals were answered
		}
		switch {
		case h.clearProposed && e.OK:
			// The clear lies behind every checkpoint this office proposed, and those
			// of earlier offices were applied before the round that let the renewal in:
			// nothing smaller can follow.
			h.clearProposed, h.dirty = false, false
			out = x.promise(now, h, out)
		case h.clearProposed:
			h.clearProposed = false
			out = x.answer(h, RenewUnavailable, out)
			x.live(now, h, h.deadline)
		case h.state == living && !e.OK:
			x.checkpoints.set(&h.checkpoint, now.Add(x.options.RetryAfter))
		}
	}
	return out
}
