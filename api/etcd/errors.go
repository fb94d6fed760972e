package etcd

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/quorate/quorate/kv"
	"github.com/quorate/quorate/kv/mvcc"
	"github.com/quorate/quorate/server"
)

// outcome is one row of docs/etcd-errors.md: what one of our errors becomes on
// the wire.
type outcome struct {
	ours  error
	wire  error
	means string
}

// outcomes is every error a client can be told. Clients compare texts.
//
// Two of them leave etcd without a code, as Unknown, because etcd returns the
// client-side value for them; clients have learned to live with that.
var outcomes = []outcome{
	{mvcc.ErrEmptyKey, rpctypes.ErrGRPCEmptyKey, "certainly refused"},
	{mvcc.ErrKeyNotFound, rpctypes.ErrGRPCKeyNotFound, "certainly refused"},
	{mvcc.ErrValueProvided, rpctypes.ErrGRPCValueProvided, "certainly refused"},
	{mvcc.ErrLeaseProvided, rpctypes.ErrGRPCLeaseProvided, "certainly refused"},
	{mvcc.ErrTooManyOps, rpctypes.ErrGRPCTooManyOps, "certainly refused"},
	{mvcc.ErrDuplicateKey, rpctypes.ErrGRPCDuplicateKey, "certainly refused"},
	{mvcc.ErrInvalidSortOption, rpctypes.ErrGRPCInvalidSortOption, "certainly refused"},
	{mvcc.ErrCompacted, rpctypes.ErrGRPCCompacted, "certainly refused"},
	{mvcc.ErrFutureRev, rpctypes.ErrGRPCFutureRev, "certainly refused"},
	{mvcc.ErrLeaseNotFound, rpctypes.ErrGRPCLeaseNotFound, "certainly refused"},
	{kv.ErrLeaseExists, rpctypes.ErrGRPCLeaseExist, "certainly refused"},
	{kv.ErrLeaseTTLTooLarge, rpctypes.ErrGRPCLeaseTTLTooLarge, "certainly refused"},
	{kv.ErrNoSpace, rpctypes.ErrGRPCNoSpace, "no space: refused until compaction has made room"},
	{kv.ErrCorrupt, rpctypes.ErrGRPCCorrupt, "corrupt: refused until the alarm is cleared"},

	{server.ErrLeaseTTLTooLarge, rpctypes.ErrGRPCLeaseTTLTooLarge, "certainly refused"},
	{server.ErrLeaseNotFound, rpctypes.ErrGRPCLeaseNotFound, "certainly refused"},
	{server.ErrNotLeader, rpctypes.ErrGRPCNotLeader, "certainly refused: ask the leader"},
	{server.ErrBadTransferee, rpctypes.ErrGRPCBadLeaderTransferee, "certainly refused"},
	{server.ErrMemberExists, rpctypes.ErrGRPCMemberExist, "certainly refused"},
	{server.ErrPeerURLExists, rpctypes.ErrGRPCPeerURLExist, "certainly refused"},
	{server.ErrMemberBadURLs, rpctypes.ErrGRPCMemberBadURLs, "certainly refused"},
	{server.ErrMemberNotFound, rpctypes.ErrGRPCMemberNotFound, "certainly refused"},
	{server.ErrMemberNotLearner, rpctypes.ErrGRPCMemberNotLearner, "certainly refused"},
	{server.ErrLearnerNotReady, rpctypes.ErrGRPCLearnerNotReady, "certainly refused: try again when it has caught up"},
	{server.ErrTooManyLearners, rpctypes.ErrGRPCTooManyLearners, "certainly refused"},
	{server.ErrNotEnoughStarted, rpctypes.ErrMemberNotEnoughStarted, "certainly refused: it would leave no majority"},
	{server.ErrUnhealthy, rpctypes.ErrGRPCUnhealthy, "certainly refused: try again when all members are connected"},
	{server.ErrLearner, rpctypes.ErrGRPCNotSupportedForLearner, "certainly refused: ask a voter"},
	{server.ErrRequestTooLarge, rpctypes.ErrGRPCRequestTooLarge, "certainly refused"},
	{server.ErrCorrupt, rpctypes.ErrGRPCCorrupt, "corrupt: refused until the alarm is cleared"},

	{server.ErrTooManyRequests, rpctypes.ErrTooManyRequests, "overloaded: certainly refused, try again later"},
	{server.ErrNoLeader, rpctypes.ErrGRPCNoLeader, "no leader: certainly refused"},
	{server.ErrStopped, rpctypes.ErrGRPCStopped, "unknown: this member stops"},
	{server.ErrTimeout, rpctypes.ErrGRPCTimeout, "unknown: no answer within the server's limit"},
	{server.ErrTimeoutLeader, rpctypes.ErrGRPCTimeoutDueToLeaderFail, "unknown: the leader changed"},
	{context.Canceled, rpctypes.ErrGRPCCanceled, "unknown: the client went away"},
	{context.DeadlineExceeded, rpctypes.ErrGRPCDeadlineExceeded, "unknown: the client's own deadline"},
}

// byError finds the row of an error that is a value of its own.
var byError = func() map[error]error {
	m := make(map[error]error, len(outcomes))
	for _, o := range outcomes {
		m[o.ours] = o.wire
	}
	return m
}()

// wireError is what a client gets for err; nil for nil. What no row knows is
// passed on as Unknown with its text, as etcd does.
func wireError(err error) error {
	if err == nil {
		return nil
	}
	var refused mvcc.RequestError
	var told server.Error
	switch {
	case errors.As(err, &refused):
		err = refused
	case errors.As(err, &told):
		err = told
	case errors.Is(err, context.Canceled):
		err = context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		err = context.DeadlineExceeded
	default:
		if _, ok := status.FromError(err); ok {
			return err
		}
		return status.Error(codes.Unknown, err.Error())
	}
	if wire, ok := byError[err]; ok {
		return wire
	}
	// An Error with a text of a RequestError: another member's answer.
	for _, o := range outcomes {
		if o.ours.Error() == err.Error() {
			return o.wire
		}
	}
	return status.Error(codes.Unknown, err.Error())
}
