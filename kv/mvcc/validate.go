package mvcc

import (
	"bytes"
	"slices"
)

// Validation that needs no state: the API edge does it before proposing, and
// Update does it again.

// DefaultTxnOpsMax is etcd's default for --max-txn-ops.
const DefaultTxnOpsMax = 128

// Validate refuses an empty key and a sort etcd does not know.
func (r *RangeRequest) Validate() error {
	if len(r.Key) == 0 {
		return ErrEmptyKey
	}
	if r.SortOrder > SortDescend || r.SortTarget > SortByValue {
		return ErrInvalidSortOption
	}
	return nil
}

// Validate refuses an empty key, and a value or lease where it is to be ignored.
func (r *PutRequest) Validate() error {
	switch {
	case len(r.Key) == 0:
		return ErrEmptyKey
	case r.IgnoreValue && len(r.Value) != 0:
		return ErrValueProvided
	case r.IgnoreLease && r.Lease != 0:
		return ErrLeaseProvided
	}
	return nil
}

// Validate refuses an empty key.
func (r *DeleteRangeRequest) Validate() error {
	if len(r.Key) == 0 {
		return ErrEmptyKey
	}
	return nil
}

// Validate checks every operation, and that no key is put twice, or put and
// deleted. opsMax bounds the operations: the longest of compares and branches,
// where a nested transaction has what its parent left. opsMax < 0 is no bound:
// that is how a transaction is checked when it is applied, because the bound is
// each member's own flag and replicas must come to the same answer.
func (r *TxnRequest) Validate(opsMax int) error {
	if err := r.validateOps(opsMax); err != nil {
		return err
	}
	// After the bound, because this is quadratic in the worst case.
	for _, branch := range [][]Op{r.Success, r.Failure} {
		if _, err := writesOf(branch); err != nil {
			return err
		}
	}
	return nil
}

func (r *TxnRequest) validateOps(opsMax int) error {
	left := opsMax
	if opsMax >= 0 {
		ops := max(len(r.Compare), len(r.Success), len(r.Failure))
		if ops > opsMax {
			return ErrTooManyOps
		}
		left = opsMax - ops
	}
	for i := range r.Compare {
		if len(r.Compare[i].Key) == 0 {
			return ErrEmptyKey
		}
	}
	for _, branch := range [][]Op{r.Success, r.Failure} {
		for i := range branch {
			if err := branch[i].validate(left); err != nil {
				return err
			}
		}
	}
	return nil
}

func (op *Op) validate(opsMax int) error {
	switch {
	case op.Range != nil:
		return op.Range.Validate()
	case op.Put != nil:
		return op.Put.Validate()
	case op.DeleteRange != nil:
		return op.DeleteRange.Validate()
	case op.Txn != nil:
		return op.Txn.validateOps(opsMax)
	}
	return ErrKeyNotFound // an empty operation: etcd's answer
}

// keySpan is what a deletion covers, with End as in a request.
type keySpan struct{ key, end []byte }

// seenToCover is etcd's test for "this deletion covers that put". It takes the
// end "\x00" literally, so a deletion "from key on" is held against no put.
func (d keySpan) seenToCover(key []byte) bool {
	if len(d.end) == 0 {
		return bytes.Equal(key, d.key)
	}
	return bytes.Compare(key, d.key) >= 0 && bytes.Compare(key, d.end) < 0
}

// writes is what a list of operations, nested ones included, may put and delete.
type writes struct {
	puts    [][]byte // sorted
	deletes []keySpan
}

func (w *writes) putAt(key []byte) (int, bool) {
	return slices.BinarySearchFunc(w.puts, key, bytes.Compare)
}

// add takes a put of this list or a nested one; exempt holds the puts of the
// other branch of the same nested transaction, which never runs together.
func (w *writes) add(key []byte, exempt *writes) error {
	at, taken := w.putAt(key)
	if taken {
		if exempt == nil {
			return ErrDuplicateKey
		}
		if _, other := exempt.putAt(key); !other {
			return ErrDuplicateKey
		}
	}
	for _, d := range w.deletes {
		if d.seenToCover(key) {
			return ErrDuplicateKey
		}
	}
	if !taken {
		w.puts = slices.Insert(w.puts, at, key)
	}
	return nil
}

// writesOf follows etcd's order of checks, with its holes: a nested put is held
// against the deletions of its own list and of nested transactions before it,
// not after it (and see seenToCover). So one revision may write a key twice, once
// putting and once deleting it: sub revisions order the two.
func writesOf(ops []Op) (*writes, error) {
	w := &writes{}
	for i := range ops {
		if d := ops[i].DeleteRange; d != nil {
			w.deletes = append(w.deletes, keySpan{d.Key, d.End})
		}
	}
	for i := range ops {
		t := ops[i].Txn
		if t == nil {
			continue
		}
		success, err := writesOf(t.Success)
		if err != nil {
			return nil, err
		}
		failure, err := writesOf(t.Failure)
		if err != nil {
			return nil, err
		}
		for _, key := range success.puts {
			if err := w.add(key, nil); err != nil {
				return nil, err
			}
		}
		for _, key := range failure.puts {
			if err := w.add(key, success); err != nil {
				return nil, err
			}
		}
		w.deletes = append(append(w.deletes, success.deletes...), failure.deletes...)
	}
	for i := range ops {
		if p := ops[i].Put; p != nil {
			if err := w.add(p.Key, nil); err != nil {
				return nil, err
			}
		}
	}
	return w, nil
}

// ReadOnly reports whether the transaction consists of ranges only. A nested
// transaction makes it a write, as with etcd.
func (r *TxnRequest) ReadOnly() bool {
	for _, branch := range [][]Op{r.Success, r.Failure} {
		for i := range branch {
			if branch[i].Range == nil {
				return false
			}
		}
	}
	return true
}
