package server

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv"
	"github.com/quorate/quorate/kv/lease"
	"github.com/quorate/quorate/raft"
)

// leaseClock feeds the lease.Expirer of this member: one goroutine owns it, and
// everybody else leaves events in an inbox. What the Expirer asks for is done on
// goroutines of its own, as many as its options allow in flight; their outcomes
// come back as events.
//
// The inbox holds what apply and clients left while one Step ran, which waits
// for nothing; clients' part of it is bounded by the Expirer's own limit on
// waiting renewals and by the number of open requests.
type leaseClock struct {
	s       *Server
	expirer *lease.Expirer
	wake    chan struct{} // holds at most one

	mu      sync.Mutex
	inbox   []lease.Event
	queries []func(now id.Time, x *lease.Expirer)
	waiting map[uint64]chan lease.Renewed // by Request
	request uint64
	leading id.Term // as last told to the Expirer; 0: not leading
}

func newLeaseClock(s *Server) *leaseClock {
	return &leaseClock{
		s: s, wake: make(chan struct{}, 1), waiting: map[uint64]chan lease.Renewed{},
		expirer: lease.NewExpirer(lease.Options{Extend: id.Duration(s.o.Election)}, nil),
	}
}

// tell leaves events for the Expirer, in order. It does not block.
func (c *leaseClock) tell(events ...lease.Event) {
	if len(events) == 0 {
		return
	}
	c.mu.Lock()
	c.inbox = append(c.inbox, events...)
	c.mu.Unlock()
	c.poke()
}

func (c *leaseClock) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// status tells the Expirer about a change of office.
func (c *leaseClock) status(st raft.Status) {
	term := id.Term(0)
	if st.Role == raft.Leader {
		term = st.Term
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if term == c.leading {
		return
	}
	c.leading = term
	if term == 0 {
		c.inbox = append(c.inbox, lease.Demoted{})
	} else {
		c.inbox = append(c.inbox, lease.Promoted{Term: term})
	}
	c.poke()
}

// run steps the Expirer until the Server is closed.
func (c *leaseClock) run() {
	defer c.s.running.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var effects []lease.Effect
	for {
		c.mu.Lock()
		events, queries := c.inbox, c.queries
		c.inbox, c.queries = nil, nil
		c.mu.Unlock()
		now := c.s.now()
		effects = c.expirer.Step(now, events, effects[:0])
		for _, q := range queries {
			q(now, c.expirer)
		}
		for _, e := range effects {
			c.do(e)
		}
		wait := time.Hour
		if d := c.expirer.Deadline(); d != id.Never {
			wait = max(0, time.Duration(d.Sub(c.s.now())))
		}
		timer.Reset(min(wait, time.Hour))
		select {
		case <-c.wake:
		case <-timer.C:
		case <-c.s.quit:
			return
		}
	}
}

// do carries out one effect.
func (c *leaseClock) do(e lease.Effect) {
	switch e := e.(type) {
	case lease.Renewed:
		c.mu.Lock()
		answer := c.waiting[e.Request]
		delete(c.waiting, e.Request)
		c.mu.Unlock()
		if answer != nil {
			answer <- e // has room for its one answer
		}
	case lease.ConfirmOffice:
		term := c.term()
		c.s.spawn(func(ctx context.Context) {
			c.tell(lease.OfficeConfirmed{Round: e.Round, OK: c.confirm(ctx, term)})
		})
	case lease.ProposeRevoke:
		c.s.spawn(func(ctx context.Context) {
			res, err := c.s.proposeOnce(ctx, kv.Op{LeaseRevoke: &kv.LeaseRevoke{ID: e.ID, Expired: true, Term: e.Term}})
			if err != nil || res.Ignored {
				c.tell(lease.RevokeFailed{ID: e.ID})
				return
			}
			c.s.Counters.LeasesExpired.Add(1)
		})
	case lease.ProposeCheckpoint:
		c.s.spawn(func(ctx context.Context) {
			res, err := c.s.proposeOnce(ctx, kv.Op{LeaseCheckpoint: &kv.LeaseCheckpoint{Term: e.Term, Checkpoints: e.Checkpoints}})
			c.tell(lease.CheckpointDone{Number: e.Number, OK: err == nil && !res.Ignored})
		})
	}
}

func (c *leaseClock) term() id.Term {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leading
}

// confirm makes a read round and reports whether this member was the leader of
// term before and after it: then the round was its own. What was applied up to
// the round's index has been published, and so told, before the View came.
func (c *leaseClock) confirm(ctx context.Context, term id.Term) bool {
	v, err := c.s.group.Linearizable(ctx)
	if err != nil {
		return false
	}
	v.Close()
	st := c.s.group.Status()
	return st.Role == raft.Leader && st.Term == term
}

// renew asks the Expirer of this member.
func (c *leaseClock) renew(ctx context.Context, l lease.ID) (lease.Renewed, error) {
	answer := make(chan lease.Renewed, 1)
	c.mu.Lock()
	c.request++
	request := c.request
	c.waiting[request] = answer
	c.inbox = append(c.inbox, lease.Renew{Request: request, ID: l})
	c.mu.Unlock()
	c.poke()
	select {
	case r := <-answer:
		return r, nil
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.waiting, request)
		c.mu.Unlock()
		return lease.Renewed{}, ctx.Err()
	case <-c.s.quit:
		return lease.Renewed{}, ErrStopped
	}
}

// query runs f on the goroutine that owns the Expirer.
func (c *leaseClock) query(ctx context.Context, f func(now id.Time, x *lease.Expirer)) error {
	done := make(chan struct{})
	c.mu.Lock()
	c.queries = append(c.queries, func(now id.Time, x *lease.Expirer) {
		f(now, x)
		close(done)
	})
	c.mu.Unlock()
	c.poke()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.s.quit:
		return ErrStopped
	}
}

// LeaseGrant creates a lease; id 0 lets the server choose. The TTL is raised to
// the smallest that outlives an election, and echoed.
func (s *Server) LeaseGrant(ctx context.Context, leaseID, ttl int64) (Header, lease.Lease, error) {
	if ttl > lease.TTLMax {
		return Header{}, lease.Lease{}, ErrLeaseTTLTooLarge
	}
	generated := leaseID == 0
	grant := kv.LeaseGrant{ID: leaseID, TTL: lease.EffectiveTTL(ttl, id.Duration(s.o.Election))}
	for {
		if generated {
			grant.ID = 1 + rand.Int64N(math.MaxInt64)
		}
		res, err := s.propose(ctx, kv.Op{LeaseGrant: &grant})
		if generated && err == kv.ErrLeaseExists {
			continue // one in 2^63 for every lease there is
		}
		if err != nil {
			return Header{}, lease.Lease{}, err
		}
		return s.header(res.Revision), *res.LeaseGrant, nil
	}
}

// LeaseRevoke removes a lease and its keys.
func (s *Server) LeaseRevoke(ctx context.Context, leaseID int64) (Header, error) {
	res, err := s.propose(ctx, kv.Op{LeaseRevoke: &kv.LeaseRevoke{ID: leaseID}})
	if err != nil {
		return Header{}, err
	}
	return s.header(res.Revision), nil
}

// LeaseRenew answers the TTL the client may rely on from now, in seconds, 0 if
// there is no such lease. Any member takes it; the leader decides.
func (s *Server) LeaseRenew(ctx context.Context, leaseID int64) (Header, int64, error) {
	h, err := s.localHeader() // filled before renewing, as etcd does
	if err != nil {
		return Header{}, 0, s.clientError(ctx, err)
	}
	answer, err := s.atLeader(ctx, ask{Do: askRenew, Lease: leaseID})
	return h, answer.TTL, err
}

// renewHere is LeaseRenew at the leader. A lease that is not known here may have
// been granted already: the member that was asked for it can apply the grant, and
// answer, before the leader has applied it; and a leader that was deposed knows
// nothing new at all. So "no such lease" is said only after a read round.
func (s *Server) renewHere(ctx context.Context, leaseID int64) (askAnswer, error) {
	r, err := s.leases.renew(ctx, leaseID)
	if err == nil && r.Outcome == lease.RenewMissing {
		v, err := s.group.Linearizable(ctx)
		if err != nil {
			return askAnswer{}, err
		}
		v.Close()
		r, err = s.leases.renew(ctx, leaseID)
		if err != nil {
			return askAnswer{}, err
		}
	}
	if err != nil {
		return askAnswer{}, err
	}
	switch r.Outcome {
	case lease.RenewOK:
		s.Counters.LeasesRenewed.Add(1)
		return askAnswer{TTL: r.TTL}, nil
	case lease.RenewMissing:
		return askAnswer{}, nil
	case lease.RenewOverloaded:
		return askAnswer{}, ErrTooManyRequests
	case lease.RenewUnavailable:
		return askAnswer{}, refusedFor(raft.NoOwnTermCommit)
	}
	return askAnswer{}, refusedFor(raft.NotLeader)
}

// LeaseTTL is what is known of a lease.
type LeaseTTL struct {
	Left    int64 // seconds, -1: no such lease
	Granted int64
	Keys    [][]byte
}

// LeaseTimeToLive tells how long a lease has left. Any member takes it; only the
// leader knows.
func (s *Server) LeaseTimeToLive(ctx context.Context, leaseID int64, keys bool) (Header, LeaseTTL, error) {
	answer, err := s.atLeader(ctx, ask{Do: askTTL, Lease: leaseID, Keys: keys})
	if err != nil {
		return Header{}, LeaseTTL{}, err
	}
	return s.header(answer.Revision), LeaseTTL{Left: answer.TTL, Granted: answer.Granted, Keys: answer.Keys}, nil
}

// ttlHere is LeaseTimeToLive at the leader. The read round makes sure that every
// acknowledged grant was told to the Expirer.
func (s *Server) ttlHere(ctx context.Context, leaseID int64, keys bool) (askAnswer, error) {
	v, err := s.group.Linearizable(ctx)
	if err != nil {
		return askAnswer{}, err
	}
	defer v.Close()
	var answer askAnswer
	var found, known bool
	err = s.leases.query(ctx, func(now id.Time, x *lease.Expirer) {
		answer.TTL, answer.Granted, found, known = x.TimeToLive(now, leaseID)
	})
	answer.Revision = v.Revision()
	switch {
	case err != nil:
		return askAnswer{}, err
	case !known:
		return askAnswer{}, refusedFor(raft.NotLeader)
	case !found:
		answer.TTL = -1
	case keys:
		answer.Keys, err = v.LeaseKeys(leaseID)
	}
	return answer, err
}

// Leases lists every lease.
func (s *Server) Leases(ctx context.Context) (Header, []lease.Lease, error) {
	v, err := s.view(ctx, false)
	if err != nil {
		return Header{}, nil, err
	}
	defer v.Close()
	leases, err := v.Leases()
	return s.header(v.Revision()), leases, err
}
