package mvcc

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/engine"
)

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

// Update is what one Apply changes: any number of requests, each a revision of
// its own if it changed a key.
type Update struct {
	store  *Store
	batch  engine.Batch
	reader reader

	revision int64 // after the requests so far
	changes  int64 // of the request being executed; its sub revisions
	events   []Event

	failed error // the storage's first error
	closed bool

	rowKey, rowValue []byte // scratch
}

var errClosedUpdate = errors.New("mvcc: the update was committed or closed")

// Revision returns the revision after what was applied so far.
func (u *Update) Revision() int64 { return u.revision }

// CompactRevision returns the compact revision after what was applied so far.
func (u *Update) CompactRevision() int64 { return u.reader.compact }

// Range reads with everything applied so far.
func (u *Update) Range(r *RangeRequest) (*RangeResponse, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	resp, err := u.reader.rangeKeys(r, u.current())
	return resp, u.note(err)
}

// Put writes one key as one revision.
func (u *Update) Put(r *PutRequest) (*PutResponse, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if err := u.checkPut(r); err != nil {
		return nil, u.note(err)
	}
	resp, err := u.put(r)
	return resp, u.end(err)
}

// DeleteRange deletes the keys of a range as one revision, in key order; the
// revision stays when there are none.
func (u *Update) DeleteRange(r *DeleteRangeRequest) (*DeleteRangeResponse, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	resp, err := u.deleteRange(r)
	return resp, u.end(err)
}

// DeleteLeased deletes the keys attached to a lease, sorted, as one revision,
// and returns how many there were.
func (u *Update) DeleteLeased(lease int64) (int64, error) {
	keys, err := u.reader.leaseKeys(lease)
	for _, key := range keys {
		if err != nil {
			break
		}
		var m meta
		var found bool
		m, found, err = u.reader.getMeta(key, u.rowKey)
		if err == nil && (!found || m.dead || m.lease != lease) {
			err = corrupt("l", key)
		}
		if err == nil {
			err = u.delete(key, m)
		}
	}
	return int64(len(keys)), u.end(err)
}

// LeaseKeys returns the keys attached to a lease, sorted.
func (u *Update) LeaseKeys(lease int64) ([][]byte, error) {
	keys, err := u.reader.leaseKeys(lease)
	return keys, u.note(err)
}

// Compact makes revisions before rev unreadable; CompactStep deletes them later.
func (u *Update) Compact(rev int64) error {
	switch {
	case rev <= u.reader.compact:
		return ErrCompacted
	case rev > u.revision:
		return ErrFutureRev
	}
	u.reader.compact = rev
	return nil
}

// GetRow reads a row of another package's table, with the writes so far.
func (u *Update) GetRow(t Table, key []byte) (value []byte, found bool, err error) {
	value, found, err = u.reader.getRow(t, key)
	return value, found, u.note(err)
}

// SetRow and DeleteRow change a row of another package's table in this Update.
func (u *Update) SetRow(t Table, key, value []byte) error {
	checkTable(t)
	return u.note(u.set(appendTableKey(u.rowKey, u.reader.prefix, byte(t), key), value))
}

func (u *Update) DeleteRow(t Table, key []byte) error {
	checkTable(t)
	return u.note(u.remove(appendTableKey(u.rowKey, u.reader.prefix, byte(t), key)))
}

// checkTable keeps other packages out of mvcc's own tables.
func checkTable(t Table) {
	assert.That(t >= 'A' && t <= 'Z', "table %q is not one for other packages", t)
}

// EachRow calls f for the rows with start ≤ key < end (nil: no bound) in order
// until f returns false. f's slices are valid during the call, and f must not
// change the table.
func (u *Update) EachRow(t Table, start, end []byte, f func(key, value []byte) bool) error {
	return u.note(u.reader.eachRow(t, start, end, f))
}

// Commit writes the applied position and commits everything. It returns the new
// View, which the caller must close, and the events in order of revision.
func (u *Update) Commit(applied id.Index, term id.Term) (*View, []Event, error) {
	if u.closed {
		return nil, nil, errClosedUpdate
	}
	if u.failed != nil {
		u.Close()
		return nil, nil, fmt.Errorf("mvcc: not committed after an earlier failure: %w", u.failed)
	}
	s := u.store
	// Invariant: applied, term, revision and compact revision never go back.
	assert.That(applied >= s.state.applied && term >= s.state.term,
		"applied goes back from (%d, %d) to (%d, %d)", s.state.applied, s.state.term, applied, term)
	assert.That(u.revision >= s.state.revision && u.reader.compact >= s.state.compact,
		"revision goes back from %d to %d", s.state.revision, u.revision)
	next := state{applied: applied, term: term, revision: u.revision, compact: u.reader.compact}
	err := u.batch.Set(s.row(tableStateRow), next.append(u.rowValue[:0]))
	if err == nil {
		err = s.engine.Commit(u.batch)
	}
	u.finish()
	if err != nil {
		return nil, nil, fmt.Errorf("mvcc: commit at index %d: %w", applied, err)
	}
	s.state = next
	if err := s.advanceWalk(walkRowsPerChange * len(u.events)); err != nil {
		return nil, nil, fmt.Errorf("mvcc: walking the keys: %w", err)
	}
	return s.View(), u.events, nil
}

// Close abandons an Update that was not committed: nothing of it has happened.
func (u *Update) Close() {
	if !u.closed {
		u.store.lookups.forget()
		u.finish()
	}
}

func (u *Update) finish() {
	u.closed = true
	u.store.update = nil
	u.batch.Close()
}

// current is the revision that reads inside the running request see.
func (u *Update) current() int64 {
	if u.changes > 0 {
		return u.revision + 1
	}
	return u.revision
}

// end closes a request: it becomes a revision if it changed anything.
func (u *Update) end(err error) error {
	u.revision = u.current()
	u.changes = 0
	return u.note(err)
}

// note remembers a failure of the storage, after which nothing is committed.
func (u *Update) note(err error) error {
	if err != nil && u.failed == nil && !IsRequestError(err) {
		u.failed = err
	}
	return err
}

func (u *Update) set(key, value []byte) error {
	u.rowKey = key
	return u.batch.Set(key, value)
}

func (u *Update) remove(key []byte) error {
	u.rowKey = key
	return u.batch.Delete(key)
}

// checkPut is everything that can refuse a put, before any effect. The lease
// comes first, as with etcd.
func (u *Update) checkPut(r *PutRequest) error {
	if r.Lease != 0 && (u.store.leaseExists == nil || !u.store.leaseExists(r.Lease)) {
		return ErrLeaseNotFound
	}
	if r.IgnoreValue || r.IgnoreLease {
		m, found, err := u.reader.getMeta(r.Key, u.rowKey)
		if err != nil {
			return err
		}
		if !found || m.dead {
			return ErrKeyNotFound
		}
	}
	return nil
}

// put executes a checked put.
func (u *Update) put(r *PutRequest) (*PutResponse, error) {
	old, found, err := u.reader.getMeta(r.Key, u.rowKey)
	if err != nil {
		return nil, err
	}
	alive := found && !old.dead
	resp := &PutResponse{Revision: u.revision + 1}
	value, lease := r.Value, r.Lease
	// A deletion earlier in the transaction may have taken the key after checkPut
	// saw it (the holes in writesOf): then there is nothing to keep, and the value
	// and lease are empty. etcd 3.7 panics there.
	if alive && (r.PrevKV || r.IgnoreValue) {
		prev, err := u.reader.at(r.Key, u.current())
		if err != nil {
			return nil, err
		}
		if r.IgnoreValue {
			value = prev.Value
		}
		if r.PrevKV {
			resp.Prev = prev
		}
	}
	if r.IgnoreLease {
		lease = old.lease
	}
	m := meta{rev: revision{u.revision + 1, u.changes}, create: u.revision + 1, version: 1, lease: lease}
	var replaced revision
	if alive {
		m.create, m.version, replaced = old.create, old.version+1, old.rev
	}
	if err := u.write(r.Key, &m, value, found, old.rev, replaced); err != nil {
		return nil, err
	}
	if old.lease != lease { // old is zero if the key was not there
		err = u.attach(r.Key, old.lease, lease)
	}
	kv := KeyValue{Key: r.Key, Value: value}
	m.fill(&kv)
	u.events = append(u.events, Event{Type: EventPut, KV: kv})
	return resp, err
}

// deleteRange executes a deletion.
func (u *Update) deleteRange(r *DeleteRangeRequest) (*DeleteRangeResponse, error) {
	resp := &DeleteRangeResponse{}
	type victim struct {
		key []byte
		m   meta
	}
	// The scan ends before the first write: it reads the rows that change.
	var victims []victim
	var store arena
	err := u.reader.scan(r.Key, r.End, u.current(), func(c *cursor) (bool, error) {
		if r.PrevKV {
			if err := c.load(); err != nil {
				return false, err
			}
			resp.Prev = append(resp.Prev, store.keyValue(c, &c.m, true))
		}
		victims = append(victims, victim{store.copy(c.key), c.m})
		return true, nil
	})
	for i := 0; i < len(victims) && err == nil; i++ {
		err = u.delete(victims[i].key, victims[i].m)
	}
	resp.Deleted = int64(len(victims))
	resp.Revision = u.current()
	return resp, err
}

// delete executes the deletion of one key that lives as m.
func (u *Update) delete(key []byte, old meta) error {
	m := meta{rev: revision{u.revision + 1, u.changes}, dead: true}
	if err := u.write(key, &m, nil, true, old.rev, old.rev); err != nil {
		return err
	}
	u.events = append(u.events, Event{
		Type: EventDelete, KV: KeyValue{Key: bytes.Clone(key), ModRevision: m.rev.main}})
	if old.lease != 0 {
		return u.attach(key, old.lease, 0)
	}
	return nil
}

// write adds one version: its rows in m, k and e.
func (u *Update) write(key []byte, m *meta, value []byte, found bool, before, replaced revision) error {
	// Invariant: versions of a key only go up.
	if found && !before.less(m.rev) {
		assert.Fail("key %q goes from revision %v to %v", key, before, m.rev)
	}
	u.changes++
	u.store.lookups.wrote(key, m)
	u.rowValue = appendMetaValue(u.rowValue, m)
	if err := u.set(appendMetaKey(u.rowKey, u.reader.prefix, key), u.rowValue); err != nil {
		return err
	}
	u.rowValue = appendVersionValue(u.rowValue, m, value)
	if err := u.set(appendVersionKey(u.rowKey, u.reader.prefix, key, m.rev), u.rowValue); err != nil {
		return err
	}
	u.rowValue = appendEventValue(u.rowValue, m.dead, replaced, key)
	return u.set(appendEventKey(u.rowKey, u.reader.prefix, m.rev), u.rowValue)
}

// attach moves a key from one lease to another; 0 is none.
func (u *Update) attach(key []byte, from, to int64) error {
	if from != 0 {
		if err := u.remove(appendAttachmentKey(u.rowKey, u.reader.prefix, from, key)); err != nil {
			return err
		}
	}
	if to != 0 {
		return u.set(appendAttachmentKey(u.rowKey, u.reader.prefix, to, key), nil)
	}
	return nil
}
