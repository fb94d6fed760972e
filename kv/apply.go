package kv

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/lease"
	"github.com/quorate/quorate/kv/mvcc"
	"github.com/quorate/quorate/rsm"
)

// applying is one Apply under way.
type applying struct {
	store  *Store
	update *mvcc.Update
	leases []lease.Event
}

// command applies one command. What the client did wrong is in the Result; an
// error is this member's trouble.
func (a *applying) command(rc rsm.Command) (*Result, error) {
	c, err := DecodeCommand(rc.Data)
	if err != nil {
		return nil, err
	}
	result := &Result{}
	if err = a.admit(c); err == nil {
		result, err = a.dispatch(&c.Op, rc.Term)
	}
	if err != nil {
		if !mvcc.IsRequestError(err) {
			return nil, err
		}
		result = &Result{Err: err}
	}
	result.Revision = a.update.Revision()
	return result, nil
}

// admit refuses what this version cannot honour and what alarms forbid.
func (a *applying) admit(c *Command) error {
	switch {
	case c.Session != Session{}:
		return ErrSessions
	case c.Keyspace != 0:
		return ErrKeyspace
	case len(a.store.alarms) == 0:
		return nil
	}
	o := &c.Op
	if a.raised(AlarmCorrupt) && (o.Put != nil || o.DeleteRange != nil || o.Txn != nil ||
		o.Compact != nil || o.LeaseGrant != nil || o.LeaseRevoke != nil) {
		return ErrCorrupt
	}
	if a.raised(AlarmNoSpace) && (o.Put != nil || o.LeaseGrant != nil || o.Txn != nil && writesValues(o.Txn)) {
		return ErrNoSpace
	}
	return nil
}

func (a *applying) raised(t AlarmType) bool {
	return slices.ContainsFunc(a.store.alarms, func(x Alarm) bool { return x.Type == t })
}

// writesValues tells whether either branch, or one nested in it, puts a key.
func writesValues(t *mvcc.TxnRequest) bool {
	puts := func(o mvcc.Op) bool { return o.Put != nil || o.Txn != nil && writesValues(o.Txn) }
	return slices.ContainsFunc(t.Success, puts) || slices.ContainsFunc(t.Failure, puts)
}

func (a *applying) dispatch(o *Op, term id.Term) (result *Result, err error) {
	result = &Result{}
	switch {
	case o.Put != nil:
		result.Put, err = a.update.Put(o.Put)
	case o.DeleteRange != nil:
		result.DeleteRange, err = a.update.DeleteRange(o.DeleteRange)
	case o.Txn != nil:
		result.Txn, err = a.update.Txn(o.Txn)
	case o.Compact != nil:
		err = a.update.Compact(o.Compact.Revision)
	case o.LeaseGrant != nil:
		result.LeaseGrant, err = a.grant(o.LeaseGrant)
	case o.LeaseRevoke != nil:
		result.Ignored, err = a.revoke(o.LeaseRevoke, term)
	case o.LeaseCheckpoint != nil:
		result.Ignored, err = a.checkpoint(o.LeaseCheckpoint, term)
	case o.Alarm != nil:
		result.Alarms, err = a.alarm(o.Alarm)
	case o.ClusterVersion != nil:
		err = a.clusterVersion(*o.ClusterVersion)
	case o.Advance != nil:
	default:
		err = fmt.Errorf("%w: no operation", ErrFormat)
	}
	return result, err
}

func (a *applying) grant(g *LeaseGrant) (*lease.Lease, error) {
	switch {
	case g.ID == 0:
		return nil, mvcc.ErrLeaseNotFound // as etcd: 0 means "no lease"
	case g.TTL > lease.TTLMax:
		return nil, ErrLeaseTTLTooLarge
	case g.TTL <= 0:
		return nil, ErrLeaseTTLInvalid
	case a.store.leases.Exists(g.ID):
		return nil, ErrLeaseExists
	}
	l := lease.Lease{ID: g.ID, TTL: g.TTL}
	if err := a.store.leases.Grant(a.update, l); err != nil {
		return nil, err
	}
	a.leases = append(a.leases, lease.Granted{Lease: l})
	return &l, nil
}

func (a *applying) revoke(r *LeaseRevoke, term id.Term) (ignored bool, err error) {
	switch {
	case r.Expired && r.Term != term:
		return true, nil
	case !a.store.leases.Exists(r.ID):
		return false, mvcc.ErrLeaseNotFound
	}
	if err := a.store.leases.Revoke(a.update, r.ID); err != nil {
		return false, err
	}
	a.leases = append(a.leases, lease.Revoked{ID: r.ID})
	return false, nil
}

func (a *applying) checkpoint(l *LeaseCheckpoint, term id.Term) (ignored bool, err error) {
	if l.Term != term {
		return true, nil
	}
	for _, c := range l.Checkpoints {
		c.Remaining = max(0, c.Remaining)
		exists, err := a.store.leases.Checkpoint(a.update, c)
		if err != nil {
			return false, err
		}
		if exists {
			a.leases = append(a.leases, lease.Checkpointed(c))
		}
	}
	return false, nil
}

// alarm raises or clears, and returns what it raised or cleared. Raising what is
// raised and clearing what is not changes nothing; both answer as etcd does.
func (a *applying) alarm(c *AlarmChange) ([]Alarm, error) {
	changed := []Alarm{}
	if c.Raise {
		if c.Alarm.Type == AlarmNone {
			return changed, nil
		}
		changed = append(changed, c.Alarm)
		if slices.Contains(a.store.alarms, c.Alarm) {
			return changed, nil
		}
		if err := a.update.SetRow(mvcc.TableState, alarmRow(c.Alarm), nil); err != nil {
			return nil, err
		}
	} else {
		for _, x := range a.store.alarms {
			if (c.Alarm.Type == AlarmNone || c.Alarm.Type == x.Type) && (c.Alarm.Member == 0 || c.Alarm.Member == x.Member) {
				changed = append(changed, x)
				if err := a.update.DeleteRow(mvcc.TableState, alarmRow(x)); err != nil {
					return nil, err
				}
			}
		}
	}
	alarms, err := readAlarms(a.update)
	if err != nil {
		return nil, err
	}
	a.store.alarms = alarms
	return changed, nil
}

func (a *applying) clusterVersion(v ClusterVersion) error {
	old, err := readClusterVersion(a.update)
	if err != nil {
		return err
	}
	if v.less(old) {
		return ErrVersionDown
	}
	value := binary.AppendUvarint(nil, uint64(v.Major))
	value = binary.AppendUvarint(value, uint64(v.Minor))
	return a.update.SetRow(mvcc.TableState, []byte{rowClusterVersion}, value)
}
