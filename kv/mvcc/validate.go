package mvcc

// Validation that needs no state: the API edge does it before proposing, and
// Update does it again.

// Validate refuses an empty key.
func (r *RangeRequest) Validate() error { return errUnfinished }

// Validate refuses an empty key, and a value or lease where it is to be ignored.
func (r *PutRequest) Validate() error { return errUnfinished }

// Validate refuses an empty key.
func (r *DeleteRangeRequest) Validate() error { return errUnfinished }

// Validate checks every operation, the number of operations (nested ones count
// against what the parent left; 0 means DefaultTxnOpsMax) and that no key is put
// twice, or put and deleted.
func (r *TxnRequest) Validate(opsMax int) error { return errUnfinished }

// DefaultTxnOpsMax is etcd's default for --max-txn-ops.
const DefaultTxnOpsMax = 128

// ReadOnly reports whether the transaction consists of ranges only. A nested
// transaction makes it a write, as with etcd.
func (r *TxnRequest) ReadOnly() bool { return false }
