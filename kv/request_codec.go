package kv

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/quorate/quorate/kv/mvcc"
)

// The requests of kv/mvcc, as they stand in commands and inside transactions.

func appendPut(b []byte, p *mvcc.PutRequest) []byte {
	b = append(b, flags(p.PrevKV, p.IgnoreValue, p.IgnoreLease))
	b = appendBytes(b, p.Key)
	b = appendBytes(b, p.Value)
	return binary.AppendVarint(b, p.Lease)
}

func readPut(r *reader) *mvcc.PutRequest {
	f := r.flags(3)
	return &mvcc.PutRequest{
		PrevKV: f&1 != 0, IgnoreValue: f&2 != 0, IgnoreLease: f&4 != 0,
		Key: r.bytes(), Value: r.bytes(), Lease: r.varint(),
	}
}

func appendDeleteRange(b []byte, d *mvcc.DeleteRangeRequest) []byte {
	b = append(b, flags(d.PrevKV))
	b = appendBytes(b, d.Key)
	return appendBytes(b, d.End)
}

func readDeleteRange(r *reader) *mvcc.DeleteRangeRequest {
	f := r.flags(1)
	return &mvcc.DeleteRangeRequest{PrevKV: f&1 != 0, Key: r.bytes(), End: r.bytes()}
}

func appendRange(b []byte, g *mvcc.RangeRequest) []byte {
	b = append(b, flags(g.KeysOnly, g.CountOnly), byte(g.SortOrder), byte(g.SortTarget))
	b = appendBytes(b, g.Key)
	b = appendBytes(b, g.End)
	for _, n := range [...]int64{
		g.Limit, g.Revision,
		g.MinModRevision, g.MaxModRevision, g.MinCreateRevision, g.MaxCreateRevision,
	} {
		b = binary.AppendVarint(b, n)
	}
	return b
}

func readRange(r *reader) *mvcc.RangeRequest {
	f := r.flags(2)
	// Sort options are the client's: one that mvcc does not know is refused there,
	// for all replicas alike.
	return &mvcc.RangeRequest{
		KeysOnly: f&1 != 0, CountOnly: f&2 != 0,
		SortOrder: mvcc.SortOrder(r.byte()), SortTarget: mvcc.SortTarget(r.byte()),
		Key: r.bytes(), End: r.bytes(),
		Limit: r.varint(), Revision: r.varint(),
		MinModRevision: r.varint(), MaxModRevision: r.varint(),
		MinCreateRevision: r.varint(), MaxCreateRevision: r.varint(),
	}
}

func appendCompare(b []byte, c *mvcc.Compare) []byte {
	b = append(b, byte(c.Result), byte(c.Target))
	b = appendBytes(b, c.Key)
	b = appendBytes(b, c.End)
	b = binary.AppendVarint(b, c.Number)
	return appendBytes(b, c.Value)
}

func readCompare(r *reader) mvcc.Compare {
	return mvcc.Compare{
		Result: mvcc.CompareResult(r.byte()), Target: mvcc.CompareTarget(r.byte()),
		Key: r.bytes(), End: r.bytes(), Number: r.varint(), Value: r.bytes(),
	}
}

// appendTxn writes a transaction with at most depth levels, itself included.
func appendTxn(b []byte, t *mvcc.TxnRequest, depth int) ([]byte, error) {
	if depth == 0 {
		return nil, fmt.Errorf("%w: transactions nested more than %d deep", ErrTooLarge, TxnDepthMax)
	}
	b = binary.AppendUvarint(b, uint64(len(t.Compare)))
	for i := range t.Compare {
		b = appendCompare(b, &t.Compare[i])
	}
	var err error
	for _, branch := range [...][]mvcc.Op{t.Success, t.Failure} {
		b = binary.AppendUvarint(b, uint64(len(branch)))
		for i := range branch {
			if b, err = appendTxnOp(b, &branch[i], depth); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

func appendTxnOp(b []byte, o *mvcc.Op, depth int) ([]byte, error) {
	switch {
	case o.Range != nil:
		return appendRange(append(b, byte(kindRange)), o.Range), nil
	case o.Put != nil:
		return appendPut(append(b, byte(kindPut)), o.Put), nil
	case o.DeleteRange != nil:
		return appendDeleteRange(append(b, byte(kindDeleteRange)), o.DeleteRange), nil
	case o.Txn != nil:
		return appendTxn(append(b, byte(kindTxn)), o.Txn, depth-1)
	}
	return nil, errors.New("kv: a transaction with an empty operation")
}

func readTxn(r *reader, depth int) *mvcc.TxnRequest {
	if depth == 0 {
		r.fail("transactions nested too deep")
		return nil
	}
	t := &mvcc.TxnRequest{}
	for n := r.count(); n > 0 && r.err == nil; n-- {
		t.Compare = append(t.Compare, readCompare(r))
	}
	for _, branch := range [...]*[]mvcc.Op{&t.Success, &t.Failure} {
		for n := r.count(); n > 0 && r.err == nil; n-- {
			*branch = append(*branch, readTxnOp(r, depth))
		}
	}
	return t
}

func readTxnOp(r *reader, depth int) (o mvcc.Op) {
	switch k := kind(r.byte()); k {
	case kindRange:
		o.Range = readRange(r)
	case kindPut:
		o.Put = readPut(r)
	case kindDeleteRange:
		o.DeleteRange = readDeleteRange(r)
	case kindTxn:
		o.Txn = readTxn(r, depth-1)
	default:
		r.fail(fmt.Sprintf("unknown operation %d in a transaction", k))
	}
	return o
}
