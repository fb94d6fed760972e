package mvcc

import (
	"github.com/quorate/quorate/internal/id"
)

// View is the keyspace at one applied index. It pins storage: close it.
type View struct{}

func (v *View) Applied() id.Index      { return 0 }
func (v *View) Term() id.Term          { return 0 }
func (v *View) Revision() int64        { return 0 }
func (v *View) CompactRevision() int64 { return 0 }

// Range reads at r.Revision or at the view's own revision.
func (v *View) Range(r *RangeRequest) (*RangeResponse, error) { return nil, errUnfinished }

// Txn runs a transaction that only reads (ReadOnly).
func (v *View) Txn(r *TxnRequest) (*TxnResponse, error) { return nil, errUnfinished }

// At returns the version of key that was written at exactly revision rev, nil
// if there is none or it has been compacted away.
func (v *View) At(key []byte, rev int64) (*KeyValue, error) { return nil, errUnfinished }

// Events returns the events of revisions from ≤ r ≤ to on keys of the range
// (Key and End as in RangeRequest, Key "" here meaning "\x00"), in order. It
// stops after the revision in which it has seen limit or more changes, matching
// or not, and returns the first revision it did not look at: call again from
// there until next > to. from ≤ CompactRevision is ErrCompacted.
func (v *View) Events(key, end []byte, from, to int64, limit int) (events []Event, next int64, err error) {
	return nil, 0, errUnfinished
}

// Hash is the answer of HashKV.
type Hash struct {
	Hash            uint32
	Revision        int64 // the revision hashed
	CompactRevision int64
}

// HashKV hashes every version up to rev (0: all) as etcd does.
func (v *View) HashKV(rev int64) (Hash, error) { return Hash{}, errUnfinished }

// LeaseKeys returns the keys attached to a lease, sorted.
func (v *View) LeaseKeys(lease int64) ([][]byte, error) { return nil, errUnfinished }

// GetRow and EachRow read another package's table, as Update's do.
func (v *View) GetRow(t Table, key []byte) (value []byte, found bool, err error) {
	return nil, false, errUnfinished
}
func (v *View) EachRow(t Table, start, end []byte, f func(key, value []byte) bool) error {
	return errUnfinished
}

// EachStateRow calls f for every row a replica starting from this View needs, in
// order of the bytes: the content of a snapshot. Replicas at the same applied
// index give the same rows, whatever of a compaction each has done. An error of
// f ends the walk and is returned.
func (v *View) EachStateRow(f func(row, value []byte) error) error { return errUnfinished }

// Close releases the storage the View pins.
func (v *View) Close() error { return nil }
