package kv

import (
	"encoding/binary"
	"fmt"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/lease"
	"github.com/quorate/quorate/kv/mvcc"
)

// A command (docs/format/kv.md):
//
//	format   1 byte    1
//	flags    1 byte    1 session, 2 user, 4 keyspace, 8 time
//	request  uvarint
//	session  2 uvarint id, sequence          only if flagged
//	user     bytes, uvarint auth revision    only if flagged
//	keyspace uvarint                         only if flagged
//	time     varint                          only if flagged
//	kind     1 byte
//	body                                     of that kind, to the end

// Encode returns the command's bytes.
func (c *Command) Encode() ([]byte, error) {
	k, err := c.Op.kind()
	if err != nil {
		return nil, err
	}
	hasSession, hasUser := c.Session != Session{}, c.User != "" || c.AuthRevision != 0
	b := make([]byte, 0, 32+len(c.User)+c.Op.sizeHint())
	b = append(b, commandFormatOne, flags(hasSession, hasUser, c.Keyspace != 0, c.Time != 0))
	b = binary.AppendUvarint(b, c.RequestID)
	if hasSession {
		b = binary.AppendUvarint(b, c.Session.ID)
		b = binary.AppendUvarint(b, c.Session.Sequence)
	}
	if hasUser {
		b = appendBytes(b, []byte(c.User))
		b = binary.AppendUvarint(b, c.AuthRevision)
	}
	if c.Keyspace != 0 {
		b = binary.AppendUvarint(b, c.Keyspace)
	}
	if c.Time != 0 {
		b = binary.AppendVarint(b, c.Time)
	}
	b = append(b, byte(k))
	if b, err = appendOp(b, k, &c.Op); err != nil {
		return nil, err
	}
	if len(b) > CommandBytesMax {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(b), CommandBytesMax)
	}
	return b, nil
}

// DecodeCommand reads what Encode wrote. The command's slices point into data.
func DecodeCommand(data []byte) (*Command, error) {
	if len(data) > CommandBytesMax {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), CommandBytesMax)
	}
	r := &reader{rest: data}
	if f := r.byte(); r.err == nil && f != commandFormatOne {
		return nil, fmt.Errorf("%w: command format %d, this version reads 1: upgrade this member", ErrFormat, f)
	}
	c := &Command{}
	f := r.flags(4)
	c.RequestID = r.uvarint()
	if f&1 != 0 {
		c.Session = Session{ID: r.uvarint(), Sequence: r.uvarint()}
	}
	if f&2 != 0 {
		c.User = string(r.bytes())
		c.AuthRevision = r.uvarint()
	}
	if f&4 != 0 {
		c.Keyspace = r.uvarint()
	}
	if f&8 != 0 {
		c.Time = r.varint()
	}
	k := kind(r.byte())
	readOp(r, k, &c.Op)
	if err := r.end(); err != nil {
		return nil, err
	}
	return c, nil
}

// sizeHint is roughly what the operation takes encoded, so that the common ones
// are encoded into one allocation.
func (o *Op) sizeHint() int {
	switch {
	case o.Put != nil:
		return len(o.Put.Key) + len(o.Put.Value) + 24
	case o.DeleteRange != nil:
		return len(o.DeleteRange.Key) + len(o.DeleteRange.End) + 16
	case o.Txn != nil:
		n := 0
		for _, ops := range [][]mvcc.Op{o.Txn.Success, o.Txn.Failure} {
			for _, op := range ops {
				n += 64
				if op.Put != nil {
					n += len(op.Put.Key) + len(op.Put.Value)
				}
			}
		}
		return n + 64*len(o.Txn.Compare)
	}
	return 64
}

func appendOp(b []byte, k kind, o *Op) ([]byte, error) {
	switch k {
	case kindPut:
		return appendPut(b, o.Put), nil
	case kindDeleteRange:
		return appendDeleteRange(b, o.DeleteRange), nil
	case kindTxn:
		return appendTxn(b, o.Txn, TxnDepthMax)
	case kindCompact:
		return binary.AppendVarint(b, o.Compact.Revision), nil
	case kindLeaseGrant:
		b = binary.AppendVarint(b, o.LeaseGrant.ID)
		return binary.AppendVarint(b, o.LeaseGrant.TTL), nil
	case kindLeaseRevoke:
		b = binary.AppendVarint(b, o.LeaseRevoke.ID)
		b = appendBool(b, o.LeaseRevoke.Expired)
		return binary.AppendUvarint(b, uint64(o.LeaseRevoke.Term)), nil
	case kindLeaseCheckpoint:
		b = binary.AppendUvarint(b, uint64(o.LeaseCheckpoint.Term))
		b = binary.AppendUvarint(b, uint64(len(o.LeaseCheckpoint.Checkpoints)))
		for _, c := range o.LeaseCheckpoint.Checkpoints {
			b = binary.AppendVarint(b, c.ID)
			b = binary.AppendVarint(b, c.Remaining)
		}
		return b, nil
	case kindAlarm:
		b = appendBool(b, o.Alarm.Raise)
		return appendAlarm(b, o.Alarm.Alarm), nil
	case kindClusterVersion:
		b = binary.AppendUvarint(b, uint64(o.ClusterVersion.Major))
		return binary.AppendUvarint(b, uint64(o.ClusterVersion.Minor)), nil
	case kindAdvance:
		return b, nil
	}
	return nil, fmt.Errorf("kv: operation %d has no encoding", k)
}

func readOp(r *reader, k kind, o *Op) {
	switch k {
	case kindPut:
		o.Put = readPut(r)
	case kindDeleteRange:
		o.DeleteRange = readDeleteRange(r)
	case kindTxn:
		o.Txn = readTxn(r, TxnDepthMax)
	case kindCompact:
		o.Compact = &Compact{Revision: r.varint()}
	case kindLeaseGrant:
		o.LeaseGrant = &LeaseGrant{ID: r.varint(), TTL: r.varint()}
	case kindLeaseRevoke:
		o.LeaseRevoke = &LeaseRevoke{ID: r.varint(), Expired: r.bool(), Term: id.Term(r.uvarint())}
	case kindLeaseCheckpoint:
		o.LeaseCheckpoint = &LeaseCheckpoint{Term: id.Term(r.uvarint())}
		for n := r.count(); n > 0 && r.err == nil; n-- {
			c := lease.Checkpoint{ID: r.varint(), Remaining: r.varint()}
			o.LeaseCheckpoint.Checkpoints = append(o.LeaseCheckpoint.Checkpoints, c)
		}
	case kindAlarm:
		o.Alarm = &AlarmChange{Raise: r.bool(), Alarm: readAlarm(r)}
	case kindClusterVersion:
		major, minor := r.uvarint(), r.uvarint()
		if major > 1<<32-1 || minor > 1<<32-1 {
			r.fail("a version beyond 32 bits")
		}
		o.ClusterVersion = &ClusterVersion{Major: uint32(major), Minor: uint32(minor)}
	case kindAdvance:
		o.Advance = &Advance{}
	default:
		r.fail(fmt.Sprintf("unknown operation %d: upgrade this member", k))
	}
}

func appendAlarm(b []byte, a Alarm) []byte {
	return binary.AppendUvarint(append(b, byte(a.Type)), a.Member)
}

func readAlarm(r *reader) Alarm {
	return Alarm{Type: AlarmType(r.number(byte(AlarmCorrupt), "alarm")), Member: r.uvarint()}
}
