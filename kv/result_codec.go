package kv

import (
	"encoding/binary"
	"fmt"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/kv/lease"
	"github.com/quorate/quorate/kv/mvcc"
	"github.com/quorate/quorate/rsm"
)

// A result (docs/format/kv.md):
//
//	format   1 byte   1
//	what     1 byte   0 done without more to tell, the kind of the operation,
//	                  254 ignored, 255 refused
//	revision varint
//	body              of that kind; the text of the error if refused
const (
	resultFormatOne = 1
	resultPlain     = 0
	resultIgnored   = 254
	resultRefused   = 255
)

// encode returns the result's bytes. An Err must be an mvcc.RequestError.
func (s *Result) encode() rsm.Result {
	what := byte(resultPlain)
	switch {
	case s.Err != nil:
		what = resultRefused
	case s.Ignored:
		what = resultIgnored
	case s.Put != nil:
		what = byte(kindPut)
	case s.DeleteRange != nil:
		what = byte(kindDeleteRange)
	case s.Txn != nil:
		what = byte(kindTxn)
	case s.LeaseGrant != nil:
		what = byte(kindLeaseGrant)
	case s.Alarms != nil:
		what = byte(kindAlarm)
	}
	b := append(make([]byte, 0, 24), resultFormatOne, what)
	b = binary.AppendVarint(b, s.Revision)
	switch what {
	case resultRefused:
		b = append(b, s.Err.Error()...)
	case byte(kindPut):
		b = appendPutResponse(b, s.Put)
	case byte(kindDeleteRange):
		b = appendDeleteRangeResponse(b, s.DeleteRange)
	case byte(kindTxn):
		b = appendTxnResponse(b, s.Txn)
	case byte(kindLeaseGrant):
		b = binary.AppendVarint(b, s.LeaseGrant.ID)
		b = binary.AppendVarint(b, s.LeaseGrant.TTL)
	case byte(kindAlarm):
		b = binary.AppendUvarint(b, uint64(len(s.Alarms)))
		for _, a := range s.Alarms {
			b = appendAlarm(b, a)
		}
	}
	return b
}

// DecodeResult reads what Store.Apply returned for a command. The result's
// slices point into data.
func DecodeResult(data rsm.Result) (*Result, error) {
	r := &reader{rest: data}
	if f := r.byte(); r.err == nil && f != resultFormatOne {
		return nil, fmt.Errorf("%w: result format %d, this version reads 1", ErrFormat, f)
	}
	what := r.byte()
	s := &Result{Revision: r.varint()}
	switch what {
	case resultPlain:
	case resultIgnored:
		s.Ignored = true
	case resultRefused:
		s.Err = mvcc.RequestError(r.rest)
		r.rest = nil
	case byte(kindPut):
		s.Put = readPutResponse(r)
	case byte(kindDeleteRange):
		s.DeleteRange = readDeleteRangeResponse(r)
	case byte(kindTxn):
		s.Txn = readTxnResponse(r, TxnDepthMax)
	case byte(kindLeaseGrant):
		s.LeaseGrant = &lease.Lease{ID: r.varint(), TTL: r.varint()}
	case byte(kindAlarm):
		s.Alarms = []Alarm{}
		for n := r.count(); n > 0 && r.err == nil; n-- {
			s.Alarms = append(s.Alarms, readAlarm(r))
		}
	default:
		r.fail(fmt.Sprintf("unknown result %d", what))
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return s, nil
}

func appendKeyValue(b []byte, kv *mvcc.KeyValue) []byte {
	b = appendBytes(b, kv.Key)
	b = appendBytes(b, kv.Value)
	for _, n := range [...]int64{kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease} {
		b = binary.AppendVarint(b, n)
	}
	return b
}

func readKeyValue(r *reader) mvcc.KeyValue {
	return mvcc.KeyValue{
		Key: r.bytes(), Value: r.bytes(),
		CreateRevision: r.varint(), ModRevision: r.varint(), Version: r.varint(), Lease: r.varint(),
	}
}

func appendKeyValues(b []byte, kvs []mvcc.KeyValue) []byte {
	b = binary.AppendUvarint(b, uint64(len(kvs)))
	for i := range kvs {
		b = appendKeyValue(b, &kvs[i])
	}
	return b
}

func readKeyValues(r *reader) (kvs []mvcc.KeyValue) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		kvs = append(kvs, readKeyValue(r))
	}
	return kvs
}

func appendPutResponse(b []byte, p *mvcc.PutResponse) []byte {
	b = append(b, flags(p.Prev != nil))
	b = binary.AppendVarint(b, p.Revision)
	if p.Prev != nil {
		b = appendKeyValue(b, p.Prev)
	}
	return b
}

func readPutResponse(r *reader) *mvcc.PutResponse {
	f := r.flags(1)
	p := &mvcc.PutResponse{Revision: r.varint()}
	if f&1 != 0 {
		kv := readKeyValue(r)
		p.Prev = &kv
	}
	return p
}

func appendDeleteRangeResponse(b []byte, d *mvcc.DeleteRangeResponse) []byte {
	b = binary.AppendVarint(b, d.Revision)
	b = binary.AppendVarint(b, d.Deleted)
	return appendKeyValues(b, d.Prev)
}

func readDeleteRangeResponse(r *reader) *mvcc.DeleteRangeResponse {
	return &mvcc.DeleteRangeResponse{Revision: r.varint(), Deleted: r.varint(), Prev: readKeyValues(r)}
}

func appendRangeResponse(b []byte, g *mvcc.RangeResponse) []byte {
	b = append(b, flags(g.More))
	b = binary.AppendVarint(b, g.Revision)
	b = binary.AppendVarint(b, g.Count)
	return appendKeyValues(b, g.KVs)
}

func readRangeResponse(r *reader) *mvcc.RangeResponse {
	f := r.flags(1)
	return &mvcc.RangeResponse{More: f&1 != 0, Revision: r.varint(), Count: r.varint(), KVs: readKeyValues(r)}
}

func appendTxnResponse(b []byte, t *mvcc.TxnResponse) []byte {
	b = append(b, flags(t.Succeeded))
	b = binary.AppendVarint(b, t.Revision)
	b = binary.AppendUvarint(b, uint64(len(t.Responses)))
	for i := range t.Responses {
		switch o := &t.Responses[i]; {
		case o.Range != nil:
			b = appendRangeResponse(append(b, byte(kindRange)), o.Range)
		case o.Put != nil:
			b = appendPutResponse(append(b, byte(kindPut)), o.Put)
		case o.DeleteRange != nil:
			b = appendDeleteRangeResponse(append(b, byte(kindDeleteRange)), o.DeleteRange)
		case o.Txn != nil:
			b = appendTxnResponse(append(b, byte(kindTxn)), o.Txn)
		default:
			assert.Fail("kv: answer %d of a transaction is empty", i)
		}
	}
	return b
}

func readTxnResponse(r *reader, depth int) *mvcc.TxnResponse {
	if depth == 0 {
		r.fail("answers nested too deep")
		return nil
	}
	f := r.flags(1)
	t := &mvcc.TxnResponse{Succeeded: f&1 != 0, Revision: r.varint()}
	for n := r.count(); n > 0 && r.err == nil; n-- {
		var o mvcc.OpResponse
		switch k := kind(r.byte()); k {
		case kindRange:
			o.Range = readRangeResponse(r)
		case kindPut:
			o.Put = readPutResponse(r)
		case kindDeleteRange:
			o.DeleteRange = readDeleteRangeResponse(r)
		case kindTxn:
			o.Txn = readTxnResponse(r, depth-1)
		default:
			r.fail(fmt.Sprintf("unknown answer %d in a transaction", k))
		}
		t.Responses = append(t.Responses, o)
	}
	return t
}
