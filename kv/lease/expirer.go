package lease

import (
	"cmp"
	"maps"
	"slices"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
)

// Expirer decides when leases run out. See the package comment. It is a machine:
// not safe for concurrent use, and the same events give the same effects.
type Expirer struct {
	options Options
	leases  map[ID]*held
	term    id.Term // 0: not the leader

	// What follows is the leader's and empty on others.
	due         timers // when a lease runs out, or its revoke is tried again
	checkpoints timers // when a lease's remaining TTL is written down

	round         uint64  // of the newest ConfirmOffice
	roundInFlight bool    //
	renewing      []*held // leases with renewals that wait for a round not begun yet
	expired       []*held // leases that ran out, waiting for a round not begun yet
	asked         asked   // what the round in flight is for

	revocable       []*held // confirmed, waiting for room among the revokes in flight
	revokesInFlight int

	clears             []*held // leases whose checkpoint must be cleared before a renewal counts
	proposals          uint64  // number of the newest ProposeCheckpoint
	checkpointInFlight []*held // what it is about; nil: none is in flight
	renewalsWaiting    int
}

// asked is what a read round was begun for.
type asked struct{ renewing, expired []*held }

// held is one lease as the Expirer sees it.
type held struct {
	Lease
	deadline id.Time // when the promised TTL ends
	state    state
	// dirty says that the table may hold, now or once the log is applied, a
	// remaining TTL smaller than what a renewal promises.
	dirty         bool
	clearProposed bool     // the proposal in flight clears this lease's checkpoint
	asked         bool     // the round in flight is for renewals of this lease
	renewals      []uint64 // requests that came in time, waiting for the office or a clear
	later         []uint64 // requests that came in time, after the round for renewals began
	late          []uint64 // requests that came after the end, waiting for the revoke
	due           timer
	checkpoint    timer
}

// state says where a lease is between living and gone.
//
//	living ──renewal──► renewing ──office confirmed──► (clearing ──►) living
//	   └──deadline──► over ──office confirmed──► revocable ──► revoking ──► gone
//	                   ▲                                          │ failed
//	                   └──────────────── RetryAfter ──────────────┘
type state uint8

const (
	living state = iota
	renewing
	clearing
	over
	revoking
)

// NewExpirer returns the Expirer of a member that does not lead.
func NewExpirer(o Options, leases []Lease) *Expirer {
	x := &Expirer{options: o.WithDefaults()}
	x.replace(leases)
	return x
}

// Step takes the events that happened, then whatever fell due at now, and
// appends what is to be done to out. now never goes back.
func (x *Expirer) Step(now id.Time, events []Event, out []Effect) []Effect {
	for _, e := range events {
		out = x.handle(now, e, out)
	}
	if x.term == 0 {
		return out
	}
	for h := x.due.popDue(now); h != nil; h = x.due.popDue(now) {
		h.state = over
		x.checkpoints.stop(&h.checkpoint)
		x.expired = append(x.expired, h)
	}
	out = x.confirm(out)
	out = x.propose(out)
	return x.writeDown(now, out)
}

// Deadline is the next moment Step has something to do without an event.
func (x *Expirer) Deadline() id.Time {
	if x.term == 0 {
		return id.Never
	}
	if x.checkpointInFlight != nil {
		return x.due.next()
	}
	return min(x.due.next(), x.checkpoints.next())
}

// TimeToLive is the time a lease has left, in whole seconds, 0 when it ran out.
// Only the leader knows: known is false elsewhere. found is false when there is
// no such lease.
func (x *Expirer) TimeToLive(now id.Time, lease ID) (left, granted int64, found, known bool) {
	if x.term == 0 {
		return 0, 0, false, false
	}
	h, found := x.leases[lease]
	if !found {
		return 0, 0, false, true
	}
	return max(0, int64(h.deadline.Sub(now)/id.Second)), h.TTL, true, true
}

// Leading tells whether this Expirer decides.
func (x *Expirer) Leading() bool { return x.term != 0 }

// Len is the number of leases.
func (x *Expirer) Len() int { return len(x.leases) }

func (x *Expirer) handle(now id.Time, e Event, out []Effect) []Effect {
	switch e := e.(type) {
	case Granted:
		x.grant(now, e.Lease)
	case Revoked:
		out = x.forget(e.ID, out)
	case Checkpointed:
		x.checkpointed(now, e)
	case Replaced:
		term := x.term
		out = x.demote(out)
		x.replace(e.Leases)
		if term != 0 { // a leader never installs a snapshot, but a machine need not trust that
			x.promote(now, term)
		}
	case Promoted:
		out = x.demote(out)
		x.promote(now, e.Term)
	case Demoted:
		out = x.demote(out)
	case Renew:
		out = x.renew(now, e, out)
	case OfficeConfirmed:
		out = x.officeConfirmed(now, e, out)
	case RevokeFailed:
		x.revokeFailed(now, e.ID)
	case CheckpointDone:
		out = x.checkpointDone(now, e, out)
	default:
		assert.Fail("lease: unknown event %T", e)
	}
	return out
}

// grant adds a lease. A leader counts its TTL from the moment of apply, which is
// before the client hears of it.
func (x *Expirer) grant(now id.Time, l Lease) {
	h := &held{Lease: l}
	h.reset()
	if old, ok := x.leases[l.ID]; ok {
		assert.Fail("lease %x granted twice (TTL %d, then %d)", l.ID, old.TTL, l.TTL)
	}
	x.leases[l.ID] = h
	if x.term != 0 {
		x.live(now, h, after(now, l.Left()))
	}
}

// reset forgets what only a leader knows of h.
func (h *held) reset() {
	*h = held{Lease: h.Lease}
	h.due = timer{lease: h, position: -1}
	h.checkpoint = timer{lease: h, position: -1}
}

// live gives h until deadline.
func (x *Expirer) live(now id.Time, h *held, deadline id.Time) {
	h.state, h.deadline = living, deadline
	x.due.set(&h.due, deadline)
	if deadline.Sub(now) > x.options.CheckpointInterval {
		x.checkpoints.set(&h.checkpoint, now.Add(x.options.CheckpointInterval))
	} else {
		x.checkpoints.stop(&h.checkpoint)
	}
}

// forget drops a revoked lease; whoever waited to renew it learns that it is gone.
func (x *Expirer) forget(lease ID, out []Effect) []Effect {
	h, ok := x.leases[lease]
	if !ok {
		return out
	}
	delete(x.leases, lease)
	x.due.stop(&h.due)
	x.checkpoints.stop(&h.checkpoint)
	if h.state == revoking {
		x.revokesInFlight--
	}
	x.unlist(h)
	return x.answer(h, RenewMissing, out)
}

// unlist takes h out of the lists its state may have put it in.
func (x *Expirer) unlist(h *held) {
	without := func(s []*held) []*held {
		return slices.DeleteFunc(s, func(o *held) bool { return o == h })
	}
	switch h.state {
	case renewing:
		x.renewing, x.asked.renewing = without(x.renewing), without(x.asked.renewing)
	case clearing:
		x.clears = without(x.clears)
	case over:
		x.expired, x.asked.expired = without(x.expired), without(x.asked.expired)
		x.revocable = without(x.revocable)
	}
}

// answer ends every renewal of h that waits.
func (x *Expirer) answer(h *held, outcome RenewOutcome, out []Effect) []Effect {
	for _, requests := range [...][]uint64{h.renewals, h.later, h.late} {
		for _, r := range requests {
			e := Renewed{Request: r, ID: h.ID, Outcome: outcome}
			if outcome == RenewOK {
				e.TTL = h.TTL
			}
			out = append(out, e)
		}
		x.renewalsWaiting -= len(requests)
	}
	h.renewals, h.later, h.late = nil, nil, nil
	return out
}

func (x *Expirer) replace(leases []Lease) {
	x.leases = make(map[ID]*held, len(leases))
	for _, l := range leases {
		x.grant(0, l)
	}
}

// demote forgets everything only a leader knows.
func (x *Expirer) demote(out []Effect) []Effect {
	if x.term == 0 {
		return out
	}
	for _, lease := range slices.Sorted(maps.Keys(x.leases)) {
		h := x.leases[lease]
		out = x.answer(h, RenewNotLeader, out)
		h.reset()
	}
	assert.That(x.renewalsWaiting == 0, "lease: %d renewals wait for nothing", x.renewalsWaiting)
	*x = Expirer{options: x.options, leases: x.leases, round: x.round, proposals: x.proposals}
	return out
}

// promote gives every lease its full remaining TTL from now. Where more than
// ExpirePerSecondMax would run out within a second, the later ones get more:
//
// Invariant: with deadlines sorted, deadline[i] ≥ deadline[i-max] + 1 s.
func (x *Expirer) promote(now id.Time, term id.Term) {
	assert.That(term != 0, "lease: promoted in term 0")
	x.term = term
	order := make([]*held, 0, len(x.leases))
	for _, lease := range slices.Sorted(maps.Keys(x.leases)) {
		h := x.leases[lease]
		h.deadline = after(now.Add(x.options.Extend), h.Left())
		order = append(order, h)
	}
	slices.SortStableFunc(order, func(a, b *held) int { return cmp.Compare(a.deadline, b.deadline) })
	for i, h := range order {
		deadline := h.deadline
		if earlier := i - x.options.ExpirePerSecondMax; earlier >= 0 {
			deadline = max(deadline, order[earlier].deadline.Add(id.Second))
		}
		x.live(now, h, deadline)
	}
}

// after is seconds from now, never past the end of time.
func after(now id.Time, seconds int64) id.Time {
	if seconds > int64(id.Never-now)/int64(id.Second)-1 {
		return id.Never - 1
	}
	return now.Add(id.Duration(seconds) * id.Second)
}
