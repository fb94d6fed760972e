package mvcc

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/engine"
)

// Update is what one Apply changes.
type Update struct{}

// Revision returns the revision after what was applied so far.
func (u *Update) Revision() int64 { return 0 }

// CompactRevision returns the compact revision after what was applied so far.
func (u *Update) CompactRevision() int64 { return 0 }

// Range reads with everything applied so far.
func (u *Update) Range(r *RangeRequest) (*RangeResponse, error) { return nil, errUnfinished }

// Put writes one key as one revision.
func (u *Update) Put(r *PutRequest) (*PutResponse, error) { return nil, errUnfinished }

// DeleteRange deletes the keys of a range as one revision, in key order; the
// revision stays when there are none.
func (u *Update) DeleteRange(r *DeleteRangeRequest) (*DeleteRangeResponse, error) {
	return nil, errUnfinished
}

// Txn evaluates all compares, those of nested transactions too, checks all
// operations of the branches to run, and then runs them as one revision.
func (u *Update) Txn(r *TxnRequest) (*TxnResponse, error) { return nil, errUnfinished }

// Compact makes revisions before rev unreadable; CompactStep deletes them later.
func (u *Update) Compact(rev int64) error { return errUnfinished }

// DeleteLeased deletes the keys attached to a lease, sorted, as one revision,
// and returns how many there were.
func (u *Update) DeleteLeased(lease int64) (int64, error) { return 0, errUnfinished }

// LeaseKeys returns the keys attached to a lease, sorted.
func (u *Update) LeaseKeys(lease int64) ([][]byte, error) { return nil, errUnfinished }

// GetRow reads a row of another package's table, with the writes so far.
func (u *Update) GetRow(t Table, key []byte) (value []byte, found bool, err error) {
	return nil, false, errUnfinished
}

// SetRow and DeleteRow change a row of another package's table in this Update.
func (u *Update) SetRow(t Table, key, value []byte) error { return errUnfinished }
func (u *Update) DeleteRow(t Table, key []byte) error     { return errUnfinished }

// EachRow calls f for the rows with start ≤ key < end (nil: no bound) in order
// until f returns false. f's slices are valid during the call, and f must not
// change the table.
func (u *Update) EachRow(t Table, start, end []byte, f func(key, value []byte) bool) error {
	return errUnfinished
}

// Commit writes the applied position and commits everything. It returns the new
// View, which the caller must close, and the events in order of revision.
func (u *Update) Commit(applied id.Index, term id.Term) (*View, []Event, error) {
	return nil, nil, errUnfinished
}

// Close abandons an Update that was not committed, and the Store with it if
// anything had been written: reopen it.
func (u *Update) Close() {}

// Table is the first byte of a row of another package.
type Table byte

// The tables that other packages write through an Update. Upper case is theirs,
// lower case is mvcc's own.
const (
	TableAuth    Table = 'A' // kv/auth
	TableLease   Table = 'L' // kv/lease
	TableState   Table = 'K' // kv: alarms, cluster version, ids
	TableSession Table = 'S' // kv: client sessions
)

var _ = engine.ErrClosed
