package mvcc

// The requests and answers of the key-value API as plain Go values. Names,
// meanings and numbers are etcd's; protobuf stays at the edge (DESIGN 20). A
// request's slices are never changed and may be kept.

// KeyValue is one version of one key.
type KeyValue struct {
	Key            []byte
	Value          []byte
	CreateRevision int64 // revision that created this generation of the key
	ModRevision    int64 // revision that wrote this version
	Version        int64 // 1 for the put that created it; a deletion starts over
	Lease          int64 // attached lease, or 0
}

// EventType tells a put from a deletion.
type EventType uint8

const (
	EventPut EventType = iota
	EventDelete
)

// Event is one change of one key, for watchers. A deletion carries only Key and
// ModRevision in KV.
type Event struct {
	Type EventType
	KV   KeyValue
}

// SortOrder and SortTarget have etcd's numbers.
type SortOrder uint8

const (
	SortNone SortOrder = iota
	SortAscend
	SortDescend
)

type SortTarget uint8

const (
	SortByKey SortTarget = iota
	SortByVersion
	SortByCreate
	SortByMod
	SortByValue
)

// RangeRequest reads keys. An empty End is the single key; End "\x00" is every
// key ≥ Key; both "\x00" is every key.
type RangeRequest struct {
	Key, End   []byte
	Limit      int64 // 0: no limit
	Revision   int64 // ≤ 0: the current one
	SortOrder  SortOrder
	SortTarget SortTarget
	KeysOnly   bool // values are left out, and leases unless sorted by value
	CountOnly  bool
	// SkipCount leaves Count at 0 and reads no further than the limit: for the
	// later parts of a range read in parts, whose count is known. No request of a
	// client has it.
	SkipCount bool

	MinModRevision, MaxModRevision       int64 // 0: no bound
	MinCreateRevision, MaxCreateRevision int64
}

// RangeResponse answers a RangeRequest.
type RangeResponse struct {
	Revision int64 // the store's revision when the range was executed
	KVs      []KeyValue
	More     bool  // a limit cut the answer
	Count    int64 // keys in the range at the revision, whatever limit and filters
}

// PutRequest writes one key.
type PutRequest struct {
	Key, Value  []byte
	Lease       int64 // 0: none; it replaces the attachment the key had
	PrevKV      bool  // answer with the replaced version
	IgnoreValue bool  // keep the value the key has
	IgnoreLease bool  // keep the lease the key has
}

// PutResponse answers a PutRequest.
type PutResponse struct {
	Revision int64
	Prev     *KeyValue // only with PrevKV, nil if the key did not exist
}

// DeleteRangeRequest deletes keys; Key and End as in RangeRequest.
type DeleteRangeRequest struct {
	Key, End []byte
	PrevKV   bool
}

// DeleteRangeResponse answers a DeleteRangeRequest.
type DeleteRangeResponse struct {
	Revision int64
	Deleted  int64
	Prev     []KeyValue // only with PrevKV, in key order
}

// CompareResult and CompareTarget have etcd's numbers.
type CompareResult uint8

const (
	CompareEqual CompareResult = iota
	CompareGreater
	CompareLess
	CompareNotEqual
)

type CompareTarget uint8

const (
	CompareVersion CompareTarget = iota
	CompareCreate
	CompareMod
	CompareValue
	CompareLease
)

// Compare is one condition of a transaction. With an End it must hold for every
// key of the range; an empty range is judged like a missing key.
type Compare struct {
	Result   CompareResult
	Target   CompareTarget
	Key, End []byte
	Number   int64  // for version, create, mod and lease
	Value    []byte // for value
}

// Op is one operation of a transaction: exactly one field is set.
type Op struct {
	Range       *RangeRequest
	Put         *PutRequest
	DeleteRange *DeleteRangeRequest
	Txn         *TxnRequest
}

// TxnRequest runs Success if every Compare holds, else Failure, as one revision.
type TxnRequest struct {
	Compare          []Compare
	Success, Failure []Op
}

// OpResponse answers one Op: the field set is the one the Op had.
type OpResponse struct {
	Range       *RangeResponse
	Put         *PutResponse
	DeleteRange *DeleteRangeResponse
	Txn         *TxnResponse
}

// TxnResponse answers a TxnRequest. Revision is the store's revision after it;
// the operations' answers carry the revision current when they were executed,
// and a nested TxnResponse carries 0: so do etcd's.
type TxnResponse struct {
	Revision  int64
	Succeeded bool
	Responses []OpResponse
}
