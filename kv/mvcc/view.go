package mvcc

import (
	"bytes"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/engine"
)

// View is the keyspace at one applied index. It pins storage: close it.
type View struct {
	snap   engine.Snapshot
	state  state
	reader reader
}

func (v *View) Applied() id.Index      { return v.state.applied }
func (v *View) Term() id.Term          { return v.state.term }
func (v *View) Revision() int64        { return v.state.revision }
func (v *View) CompactRevision() int64 { return v.state.compact }

// Range reads at r.Revision or at the view's own revision.
func (v *View) Range(r *RangeRequest) (*RangeResponse, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return v.reader.rangeKeys(r, v.state.revision)
}

// Txn runs a transaction that only reads (ReadOnly).
func (v *View) Txn(r *TxnRequest) (*TxnResponse, error) {
	return v.reader.readTxn(r, v.state.revision)
}

// At returns key as it was at revision rev; nil if it did not exist then, or if
// rev has been compacted or is to come. The previous value that a watcher wants
// with an event is At(key, event.KV.ModRevision-1).
func (v *View) At(key []byte, rev int64) (*KeyValue, error) {
	if rev < v.state.compact || rev > v.state.revision {
		return nil, nil
	}
	return v.reader.at(key, rev)
}

// Events returns the events of revisions from ≤ r ≤ to on keys of the range
// (Key and End as in RangeRequest), in order. It ends after the revision in which
// it has seen limit or more changes, matching or not, and returns the first
// revision it did not look at: call again from there until next > to. to beyond
// the view's revision means the view's. from < CompactRevision is ErrCompacted;
// the compact revision itself still has all its events.
func (v *View) Events(key, end []byte, from, to int64, limit int) (events []Event, next int64, err error) {
	to = min(to, v.state.revision)
	if from < v.state.compact {
		return nil, 0, ErrCompacted
	}
	if from > to {
		return nil, from, nil
	}
	next = to + 1
	var store arena
	seen, last := 0, int64(0)
	err = v.eachChange(max(from, 0), to, func(c *change, kv *KeyValue) bool {
		if c.rev.main >= next {
			return false
		}
		e := Event{Type: EventPut, KV: *kv}
		if c.dead {
			e = Event{Type: EventDelete, KV: KeyValue{ModRevision: c.rev.main}}
		}
		e.KV.Key, e.KV.Value = store.copy(c.key), store.copy(kv.Value)
		events = append(events, e)
		return true
	}, func(c *change, _ *versionReader) (bool, error) {
		if c.rev.main != last && seen >= limit {
			next = min(next, c.rev.main)
			return true, nil // ends the walk in f
		}
		seen, last = seen+1, c.rev.main
		return inRange(c.key, key, end), nil
	})
	return events, next, err
}

// LeaseKeys returns the keys attached to a lease, sorted.
func (v *View) LeaseKeys(lease int64) ([][]byte, error) { return v.reader.leaseKeys(lease) }

// GetRow and EachRow read another package's table, as Update's do.
func (v *View) GetRow(t Table, key []byte) (value []byte, found bool, err error) {
	return v.reader.getRow(t, key)
}

func (v *View) EachRow(t Table, start, end []byte, f func(key, value []byte) bool) error {
	return v.reader.eachRow(t, start, end, f)
}

// EachStateRow calls f for every row a replica starting from this View needs, in
// order of the bytes and without the prefix: the content of a snapshot. Replicas
// at the same applied index give the same rows, whatever of a compaction each has
// deleted so far. f's slices are valid during the call. An error of f ends the
// walk and is returned.
func (v *View) EachStateRow(f func(row, value []byte) error) (err error) {
	p, err := readProgress(v.snap, append(bytes.Clone(v.reader.prefix), tableProgress))
	if err != nil {
		return err
	}
	keep := keeper{v: v, compact: v.state.compact, all: p.done == v.state.compact,
		versions: versionReader{r: &v.reader}}
	defer func() {
		if cerr := keep.versions.close(); err == nil {
			err = cerr
		}
	}()
	rows := v.snap.Iterate(engine.Prefix(v.reader.prefix))
	defer func() {
		if cerr := rows.Close(); err == nil {
			err = cerr
		}
	}()
	progressRow := (&progress{done: v.state.compact, target: v.state.compact}).append(nil)
	skip := len(v.reader.prefix)
	for ok := rows.First(); ok; ok = rows.Next() {
		row, value := rows.Key()[skip:], rows.Value()
		if row[0] == tableProgress {
			continue
		}
		if row[0] == tableStateRow {
			// The receiver has nothing left to delete. 'p' sorts before 's'.
			if err := f([]byte{tableProgress}, progressRow); err != nil {
				return err
			}
		}
		wanted, err := keep.wants(row, value)
		if err != nil {
			return err
		}
		if wanted {
			if err := f(row, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// keeper tells which rows a finished compaction would have left.
type keeper struct {
	v        *View
	compact  int64
	all      bool // it is finished
	versions versionReader
}

func (k *keeper) wants(row, value []byte) (bool, error) {
	if k.all {
		return true, nil
	}
	switch row[0] {
	case tableMeta:
		m, err := decodeMeta(value)
		return !m.dead || m.rev.main >= k.compact, err
	case tableEvent:
		c, err := decodeEvent(row[1:], value)
		if err != nil || c.rev.main > k.compact {
			return err == nil, err
		}
		return k.versions.kept(&c, k.compact, true)
	case tableVersion:
		if len(row) < 1+versionSuffixBytes {
			return false, corrupt("k", row)
		}
		start := row[:len(row)-versionSuffixBytes]
		rev, err := decodeVersionSuffix(row[len(start):])
		if err != nil || rev.main > k.compact {
			return err == nil, err
		}
		return k.keptVersion(start, row, rev, value)
	}
	return true, nil
}

// keptVersion judges a k row at or before the compact revision: it stays if no
// newer one at or before it exists, and if it is not a deletion of before.
func (k *keeper) keptVersion(start, row []byte, rev revision, value []byte) (bool, error) {
	m, _, err := decodeVersion(value, rev)
	if err != nil || m.dead && rev.main != k.compact {
		return false, err
	}
	prefix := k.v.reader.prefix
	at := appendSuffixAt(append(bytes.Clone(prefix), start...), k.compact)
	if !k.versions.seek(at) {
		return false, k.versions.it.Err()
	}
	return bytes.Equal(k.versions.it.Key()[len(prefix):], row), nil
}

// Close releases the storage the View pins.
func (v *View) Close() error { return v.snap.Close() }
