package mvcc

import "errors"

// RequestError is an answer to a client: the request was refused and changed
// nothing. Every replica comes to the same one. Its text is the one etcd sends.
// Any other error from this package is the storage's and must stop the group.
type RequestError string

func (e RequestError) Error() string { return string(e) }

// IsRequestError reports whether err is an answer for the client rather than a
// failure of this node.
func IsRequestError(err error) bool {
	var r RequestError
	return errors.As(err, &r)
}

// The names are those of etcd's v3rpc/rpctypes.
const (
	ErrEmptyKey          = RequestError("etcdserver: key is not provided")
	ErrKeyNotFound       = RequestError("etcdserver: key not found")
	ErrValueProvided     = RequestError("etcdserver: value is provided")
	ErrLeaseProvided     = RequestError("etcdserver: lease is provided")
	ErrTooManyOps        = RequestError("etcdserver: too many operations in txn request")
	ErrDuplicateKey      = RequestError("etcdserver: duplicate key given in txn request")
	ErrInvalidSortOption = RequestError("etcdserver: invalid sort option")
	ErrCompacted         = RequestError("etcdserver: mvcc: required revision has been compacted")
	ErrFutureRev         = RequestError("etcdserver: mvcc: required revision is a future revision")
	ErrLeaseNotFound     = RequestError("etcdserver: requested lease not found")
)
