package server

import (
	"context"
	"errors"

	"github.com/quorate/quorate/raft"
)

// Error is an answer to a client that is not a result. The text is the one etcd
// sends; api/etcd finds the code by it. Errors of the store itself are
// mvcc.RequestError and come through unchanged.
type Error string

func (e Error) Error() string { return string(e) }

// What every request can end in.
const (
	ErrNoLeader        = Error("etcdserver: no leader")
	ErrStopped         = Error("etcdserver: server stopped")
	ErrTimeout         = Error("etcdserver: request timed out")
	ErrTimeoutLeader   = Error("etcdserver: request timed out, possibly due to previous leader failure")
	ErrTooManyRequests = Error("etcdserver: too many requests")
	ErrRequestTooLarge = Error("etcdserver: request is too large")
	ErrLearner         = Error("etcdserver: rpc not supported for learner")
	ErrCorrupt         = Error("etcdserver: corrupt cluster")
)

// What single use cases can end in.
const (
	ErrLeaseTTLTooLarge   = Error("etcdserver: too large lease TTL")
	ErrLeaseNotFound      = Error("etcdserver: requested lease not found")
	ErrNotLeader          = Error("etcdserver: not leader")
	ErrBadTransferee      = Error("etcdserver: bad leader transferee")
	ErrMemberExists       = Error("etcdserver: member ID already exist")
	ErrPeerURLExists      = Error("etcdserver: Peer URLs already exists")
	ErrMemberBadURLs      = Error("etcdserver: given member URLs are invalid")
	ErrMemberNotFound     = Error("etcdserver: member not found")
	ErrMemberNotLearner   = Error("etcdserver: can only promote a learner member")
	ErrLearnerNotReady    = Error("etcdserver: can only promote a learner member which is in sync with leader")
	ErrTooManyLearners    = Error("etcdserver: too many learner members in cluster")
	ErrNotEnoughStarted   = Error("etcdserver: re-configuration failed due to not enough started members")
	ErrUnhealthy          = Error("etcdserver: unhealthy cluster")
	ErrWatchDuplicateID   = Error("mvcc: duplicate watch ID provided on the WatchStream")
	ErrWatchEmptyRange    = Error("mvcc: watcher range is empty")
	ErrMembershipInFlight = ErrTooManyRequests // one change at a time, as with any other bound
)

// Unknown reports whether err leaves open if the request took effect.
func Unknown(err error) bool {
	return errors.Is(err, ErrTimeout) || errors.Is(err, ErrTimeoutLeader) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// Failure is how a Group says that a request did not succeed.
type Failure struct {
	Unknown bool         // it may or may not take effect; otherwise it certainly did not
	Why     raft.Refusal // why not
	Detail  string       // for people
	Cause   error        // why the wait for it ended, or nil
}

func (f *Failure) Unwrap() error { return f.Cause }

func (f *Failure) Error() string {
	outcome := "refused"
	if f.Unknown {
		outcome = "unknown"
	}
	if f.Detail != "" {
		return outcome + ": " + f.Detail
	}
	return outcome
}

// retry reports whether a request that ended with err certainly had no effect
// and may succeed once there is a leader that takes it. Nothing else is ever
// sent again.
func retry(err error) bool {
	var f *Failure
	if !errors.As(err, &f) || f.Unknown {
		return false
	}
	switch f.Why {
	case raft.NotLeader, raft.Transferring, raft.OfficeUncertain, raft.NoOwnTermCommit:
		return true
	}
	return false
}

// clientError turns what a Group said into what a client is told. ctx is the
// client's own: if it is over, that is the answer, as with etcd.
func (s *Server) clientError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if s.stopping() {
		return ErrStopped
	}
	var f *Failure
	switch {
	case !errors.As(err, &f):
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return ErrTimeout // our own limit, not the client's
		}
		return err
	case f.Unknown && f.Cause != nil:
		return ErrTimeout
	case f.Unknown:
		return ErrTimeoutLeader
	}
	switch f.Why {
	case raft.Overloaded, raft.ChangeInFlight, raft.ChangeStale:
		return ErrTooManyRequests
	case raft.NotLeader, raft.Transferring, raft.OfficeUncertain, raft.NoOwnTermCommit, raft.DiskStalled:
		return ErrNoLeader
	}
	return err
}
