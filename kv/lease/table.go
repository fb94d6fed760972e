package lease

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/quorate/quorate/kv/mvcc"
)

// Table is the replicated half: the leases as of the last command applied. Each
// is a row of mvcc.TableLease, and is kept in memory besides, because every put
// with a lease asks whether it is there. 24 bytes a lease and the map's share.
//
//	key    8 bytes  ID, big endian, sign bit flipped: rows are in order of ID
//	value  varint TTL, varint remaining
//
// A Table belongs to whoever applies. A change that returns an error was not
// made in memory; the Update it was part of must be closed.
type Table struct{ leases map[ID]Lease }

// Rows reads rows of other packages' tables: an mvcc.View or mvcc.Update.
type Rows interface {
	GetRow(t mvcc.Table, key []byte) (value []byte, found bool, err error)
	EachRow(t mvcc.Table, start, end []byte, f func(key, value []byte) bool) error
}

// Load reads the whole table anew, after opening and after a snapshot.
func (t *Table) Load(r Rows) error {
	leases, err := ReadAll(r)
	if err != nil {
		return err
	}
	t.leases = make(map[ID]Lease, len(leases))
	for _, l := range leases {
		t.leases[l.ID] = l
	}
	return nil
}

// Exists tells whether there is such a lease.
func (t *Table) Exists(lease ID) bool {
	_, ok := t.leases[lease]
	return ok
}

// All returns every lease, sorted by ID.
func (t *Table) All() []Lease {
	return slices.SortedFunc(maps.Values(t.leases), func(a, b Lease) int { return cmp.Compare(a.ID, b.ID) })
}

// Grant adds a lease that does not exist.
func (t *Table) Grant(u *mvcc.Update, l Lease) error { return t.set(u, l) }

// Checkpoint sets the remaining TTL of a lease and reports whether it exists.
func (t *Table) Checkpoint(u *mvcc.Update, c Checkpoint) (bool, error) {
	l, ok := t.leases[c.ID]
	if !ok {
		return false, nil
	}
	l.Remaining = c.Remaining
	return true, t.set(u, l)
}

// Revoke removes a lease and, as one revision, the keys attached to it.
func (t *Table) Revoke(u *mvcc.Update, lease ID) error {
	if _, err := u.DeleteLeased(lease); err != nil {
		return err
	}
	if err := u.DeleteRow(mvcc.TableLease, rowKey(lease)); err != nil {
		return err
	}
	delete(t.leases, lease)
	return nil
}

func (t *Table) set(u *mvcc.Update, l Lease) error {
	value := binary.AppendVarint(nil, l.TTL)
	value = binary.AppendVarint(value, l.Remaining)
	if err := u.SetRow(mvcc.TableLease, rowKey(l.ID), value); err != nil {
		return err
	}
	t.leases[l.ID] = l
	return nil
}

// Read returns one lease from the rows of a View.
func Read(r Rows, lease ID) (l Lease, found bool, err error) {
	value, found, err := r.GetRow(mvcc.TableLease, rowKey(lease))
	if err != nil || !found {
		return Lease{}, false, err
	}
	l, err = decodeRow(rowKey(lease), value)
	return l, err == nil, err
}

// ReadAll returns every lease from the rows of a View, sorted by ID.
func ReadAll(r Rows) (leases []Lease, err error) {
	walk := r.EachRow(mvcc.TableLease, nil, nil, func(key, value []byte) bool {
		var l Lease
		if l, err = decodeRow(key, value); err == nil {
			leases = append(leases, l)
		}
		return err == nil
	})
	if err == nil {
		err = walk
	}
	return leases, err
}

func rowKey(lease ID) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(lease)^1<<63)
}

func decodeRow(key, value []byte) (Lease, error) {
	if len(key) == 8 {
		l := Lease{ID: int64(binary.BigEndian.Uint64(key) ^ 1<<63)}
		ttl, n := binary.Varint(value)
		if n > 0 {
			remaining, m := binary.Varint(value[n:])
			if m > 0 && n+m == len(value) && ttl > 0 && remaining >= 0 {
				l.TTL, l.Remaining = ttl, remaining
				return l, nil
			}
		}
	}
	return Lease{}, fmt.Errorf("lease: row %x = %x is not a lease: the store is corrupt", key, value)
}
