package lease

import (
	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
)

// renew takes a keep-alive. A lease whose time is over is not saved by a late
// one: the client waits for the revoke and learns that the lease is gone.
func (x *Expirer) renew(now id.Time, e Renew, out []Effect) []Effect {
	outcome := RenewOutcome(0)
	h := x.leases[e.ID]
	switch {
	case x.term == 0:
		outcome = RenewNotLeader
	case h == nil:
		outcome = RenewMissing
	case x.renewalsWaiting >= x.options.RenewalsWaitingMax:
		outcome = RenewOverloaded
	}
	if outcome != 0 {
		return append(out, Renewed{Request: e.Request, ID: e.ID, Outcome: outcome})
	}
	x.renewalsWaiting++
	switch {
	case h.state == over || h.state == revoking || h.state == living && h.deadline <= now:
		h.late = append(h.late, e.Request)
	case h.state == living:
		h.renewals = append(h.renewals, e.Request)
		x.waitForOffice(h)
	case h.state == renewing && !h.asked:
		h.renewals = append(h.renewals, e.Request)
	default:
		// The round that confirms the office has begun without this request:
		//
		//	n1's round is confirmed at 1.0 s, n2 is elected at 1.1 s and gives the
		//	lease until 1.1 + TTL. A request that reaches n1 at 1.2 s and is answered
		//	by that round would be promised 1.2 + TTL.
		h.later = append(h.later, e.Request)
	}
	return out
}

// waitForOffice makes h part of the next round. It cannot run out meanwhile.
func (x *Expirer) waitForOffice(h *held) {
	h.state = renewing
	x.due.stop(&h.due)
	x.checkpoints.stop(&h.checkpoint)
	x.renewing = append(x.renewing, h)
}

// confirm begins a read round when something waits for one and none is in flight.
func (x *Expirer) confirm(out []Effect) []Effect {
	if x.roundInFlight || len(x.renewing)+len(x.expired) == 0 {
		return out
	}
	x.asked = asked{renewing: x.renewing, expired: x.expired}
	x.renewing, x.expired = nil, nil
	for _, h := range x.asked.renewing {
		h.asked = true
	}
	x.round++
	x.roundInFlight = true
	return append(out, ConfirmOffice{Round: x.round})
}

// officeConfirmed makes the promises and the revokes the round was begun for, or
// takes them back. A round of an earlier office is ignored.
func (x *Expirer) officeConfirmed(now id.Time, e OfficeConfirmed, out []Effect) []Effect {
	if !x.roundInFlight || e.Round != x.round {
		return out
	}
	a := x.asked
	x.asked, x.roundInFlight = asked{}, false
	for _, h := range a.renewing {
		h.asked = false
		switch {
		case !e.OK:
			out = x.answer(h, RenewNotLeader, out)
			x.live(now, h, h.deadline)
		case h.dirty || h.Remaining > 0:
			h.state = clearing
			x.clears = append(x.clears, h)
		default:
			out = x.promise(now, h, out)
		}
	}
	for _, h := range a.expired {
		if e.OK {
			x.revocable = append(x.revocable, h)
		} else {
			x.due.set(&h.due, now.Add(x.options.RetryAfter))
		}
	}
	return out
}

// promise renews h from now. Invariant: nothing in the table or the log would
// give the lease less after a change of leader.
func (x *Expirer) promise(now id.Time, h *held, out []Effect) []Effect {
	assert.That(!h.dirty && h.Remaining == 0, "lease %x renewed with a checkpoint of %d s behind it", h.ID, h.Remaining)
	x.live(now, h, after(now, h.TTL))
	later := h.later
	h.later = nil
	out = x.answer(h, RenewOK, out)
	if len(later) > 0 {
		h.renewals = later
		x.waitForOffice(h)
	}
	return out
}

// propose revokes as many expired leases as there is room for.
func (x *Expirer) propose(out []Effect) []Effect {
	n := min(len(x.revocable), x.options.RevokesInFlightMax-x.revokesInFlight)
	for _, h := range x.revocable[:n] {
		h.state = revoking
		out = append(out, ProposeRevoke{ID: h.ID, Term: x.term})
	}
	x.revokesInFlight += n
	x.revocable = x.revocable[n:]
	if len(x.revocable) == 0 {
		x.revocable = nil // let the array go
	}
	return out
}

// revokeFailed tries again later, office and all.
func (x *Expirer) revokeFailed(now id.Time, lease ID) {
	h := x.leases[lease]
	if h == nil || h.state != revoking {
		return
	}
	x.revokesInFlight--
	h.state = over
	x.due.set(&h.due, now.Add(x.options.RetryAfter))
}
