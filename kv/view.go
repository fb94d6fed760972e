package kv

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/quorate/quorate/kv/lease"
	"github.com/quorate/quorate/kv/mvcc"
)

// View is the whole store at one applied index: immutable, for any goroutine.
// It implements rsm.View. Close it: it pins storage.
type View struct {
	*mvcc.View // Range, Txn, Events, At, HashKV, LeaseKeys, Revision, CompactRevision, Applied, …

	compactedUpTo int64
}

// CompactedUpTo is the revision up to which this member had deleted rows when
// the View was made: a physical compaction to a revision is done when it is
// reached.
func (v *View) CompactedUpTo() int64 { return v.compactedUpTo }

// Leases returns every lease, sorted by ID.
func (v *View) Leases() ([]lease.Lease, error) { return lease.ReadAll(v) }

// Lease returns one lease.
func (v *View) Lease(l lease.ID) (lease.Lease, bool, error) { return lease.Read(v, l) }

// Alarms returns the alarms raised, sorted by type, then member.
func (v *View) Alarms() ([]Alarm, error) { return readAlarms(v) }

// ClusterVersion returns the committed version of the commands; zero before the
// first was set.
func (v *View) ClusterVersion() (ClusterVersion, error) { return readClusterVersion(v) }

// Prev returns the version of its key that an event replaced, as a watcher sees
// it: the newest at the revision before the event's; nil if there was none or
// that revision has been compacted.
func (v *View) Prev(e *mvcc.Event) (*mvcc.KeyValue, error) {
	if e.Type == mvcc.EventPut && e.KV.Version == 1 {
		return nil, nil // it replaced nothing: no need to look
	}
	return v.At(e.KV.Key, e.KV.ModRevision-1)
}

// WriteTo writes the whole state as a snapshot stream. See snapshot.go.
func (v *View) WriteTo(w io.Writer) (int64, error) { return writeSnapshot(w, v) }

// Rows of mvcc.TableState, which is this package's:
//
//	"a" type(1) member(8, big endian) → empty      an alarm that is raised
//	"v"                               → 2 uvarint  the cluster version
const (
	rowAlarm          = 'a'
	rowClusterVersion = 'v'
)

func alarmRow(a Alarm) []byte {
	return binary.BigEndian.AppendUint64([]byte{rowAlarm, byte(a.Type)}, a.Member)
}

func readAlarms(r lease.Rows) (alarms []Alarm, err error) {
	walk := r.EachRow(mvcc.TableState, []byte{rowAlarm}, []byte{rowAlarm + 1}, func(key, _ []byte) bool {
		if len(key) != 10 {
			err = fmt.Errorf("kv: alarm row %x is damaged: the store is corrupt", key)
			return false
		}
		alarms = append(alarms, Alarm{Type: AlarmType(key[1]), Member: binary.BigEndian.Uint64(key[2:])})
		return true
	})
	if err == nil {
		err = walk
	}
	return alarms, err
}

func readClusterVersion(r lease.Rows) (ClusterVersion, error) {
	value, found, err := r.GetRow(mvcc.TableState, []byte{rowClusterVersion})
	if err != nil || !found {
		return ClusterVersion{}, err
	}
	q := &reader{rest: value}
	v := ClusterVersion{Major: uint32(q.uvarint()), Minor: uint32(q.uvarint())}
	if err := q.end(); err != nil {
		return ClusterVersion{}, fmt.Errorf("kv: the row of the cluster version is damaged: %w", err)
	}
	return v, nil
}

func (v ClusterVersion) less(w ClusterVersion) bool {
	return v.Major < w.Major || v.Major == w.Major && v.Minor < w.Minor
}

// String is major.minor.0, as etcd writes cluster versions.
func (v ClusterVersion) String() string { return fmt.Sprintf("%d.%d.0", v.Major, v.Minor) }
