package etcd

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/quorate/quorate/kv/mvcc"
	"github.com/quorate/quorate/server"
)

// Requests. The slices of a request are shared: grpc-go never touches a message
// again once it is decoded.

// Nothing is judged here: which of several mistakes a client hears of depends on
// the order in which Validate looks, and that is etcd's.
func rangeRequest(r *pb.RangeRequest) *mvcc.RangeRequest {
	return &mvcc.RangeRequest{
		Key: r.GetKey(), End: r.GetRangeEnd(), Limit: r.GetLimit(), Revision: r.GetRevision(),
		SortOrder: mvcc.SortOrder(oneByte(r.GetSortOrder())), SortTarget: mvcc.SortTarget(oneByte(r.GetSortTarget())),
		KeysOnly: r.GetKeysOnly(), CountOnly: r.GetCountOnly(),
		MinModRevision: r.GetMinModRevision(), MaxModRevision: r.GetMaxModRevision(),
		MinCreateRevision: r.GetMinCreateRevision(), MaxCreateRevision: r.GetMaxCreateRevision(),
	}
}

// oneByte keeps an unknown enumeration value unknown.
func oneByte[E ~int32](e E) uint8 {
	if e < 0 || e > 255 {
		return 255
	}
	return uint8(e)
}

func putRequest(r *pb.PutRequest) *mvcc.PutRequest {
	return &mvcc.PutRequest{
		Key: r.GetKey(), Value: r.GetValue(), Lease: r.GetLease(),
		PrevKV: r.GetPrevKv(), IgnoreValue: r.GetIgnoreValue(), IgnoreLease: r.GetIgnoreLease(),
	}
}

func deleteRequest(r *pb.DeleteRangeRequest) *mvcc.DeleteRangeRequest {
	return &mvcc.DeleteRangeRequest{Key: r.GetKey(), End: r.GetRangeEnd(), PrevKV: r.GetPrevKv()}
}

// txnRequest also bounds the depth: the decoder's own limit is far higher than
// what a transaction of opsMax operations can use.
func txnRequest(r *pb.TxnRequest, depth int) (*mvcc.TxnRequest, error) {
	if depth <= 0 {
		return nil, rpctypes.ErrGRPCTooManyOps
	}
	t := &mvcc.TxnRequest{Compare: make([]mvcc.Compare, len(r.GetCompare()))}
	for i, c := range r.GetCompare() {
		t.Compare[i] = compare(c)
	}
	var err error
	if t.Success, err = ops(r.GetSuccess(), depth); err != nil {
		return nil, err
	}
	t.Failure, err = ops(r.GetFailure(), depth)
	return t, err
}

func compare(c *pb.Compare) mvcc.Compare {
	out := mvcc.Compare{
		Result: mvcc.CompareResult(c.GetResult()), Target: mvcc.CompareTarget(c.GetTarget()),
		Key: c.GetKey(), End: c.GetRangeEnd(),
	}
	switch c.GetTarget() {
	case pb.Compare_VERSION:
		out.Number = c.GetVersion()
	case pb.Compare_CREATE:
		out.Number = c.GetCreateRevision()
	case pb.Compare_MOD:
		out.Number = c.GetModRevision()
	case pb.Compare_LEASE:
		out.Number = c.GetLease()
	case pb.Compare_VALUE:
		out.Value = c.GetValue()
	}
	return out
}

func ops(in []*pb.RequestOp, depth int) ([]mvcc.Op, error) {
	out := make([]mvcc.Op, len(in))
	for i, o := range in {
		var err error
		switch o := o.GetRequest().(type) {
		case *pb.RequestOp_RequestRange:
			out[i].Range = rangeRequest(o.RequestRange)
		case *pb.RequestOp_RequestPut:
			out[i].Put = putRequest(o.RequestPut)
		case *pb.RequestOp_RequestDeleteRange:
			out[i].DeleteRange = deleteRequest(o.RequestDeleteRange)
		case *pb.RequestOp_RequestTxn:
			out[i].Txn, err = txnRequest(o.RequestTxn, depth-1)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Answers.

func header(h server.Header) *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: h.Cluster, MemberId: h.Member, Revision: h.Revision, RaftTerm: h.Term}
}

// inner is the header of an operation inside a transaction: the revision only.
func inner(revision int64) *pb.ResponseHeader { return &pb.ResponseHeader{Revision: revision} }

func keyValue(kv *mvcc.KeyValue) *mvccpb.KeyValue {
	if kv == nil {
		return nil
	}
	return &mvccpb.KeyValue{
		Key: kv.Key, Value: kv.Value, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision,
		Version: kv.Version, Lease: kv.Lease,
	}
}

// keyValues allocates all messages at once: a page of a thousand keys is the
// commonest large answer.
func keyValues(kvs []mvcc.KeyValue) []*mvccpb.KeyValue {
	if len(kvs) == 0 {
		return nil
	}
	messages := make([]mvccpb.KeyValue, len(kvs))
	out := make([]*mvccpb.KeyValue, len(kvs))
	for i := range kvs {
		kv, m := &kvs[i], &messages[i]
		m.Key, m.Value, m.CreateRevision, m.ModRevision = kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision
		m.Version, m.Lease = kv.Version, kv.Lease
		out[i] = m
	}
	return out
}

func rangeResponse(h *pb.ResponseHeader, r *mvcc.RangeResponse) *pb.RangeResponse {
	return &pb.RangeResponse{Header: h, Kvs: keyValues(r.KVs), More: r.More, Count: r.Count}
}

func putResponse(h *pb.ResponseHeader, r *mvcc.PutResponse) *pb.PutResponse {
	return &pb.PutResponse{Header: h, PrevKv: keyValue(r.Prev)}
}

func deleteResponse(h *pb.ResponseHeader, r *mvcc.DeleteRangeResponse) *pb.DeleteRangeResponse {
	return &pb.DeleteRangeResponse{Header: h, Deleted: r.Deleted, PrevKvs: keyValues(r.Prev)}
}

func txnResponse(h *pb.ResponseHeader, r *mvcc.TxnResponse) *pb.TxnResponse {
	out := &pb.TxnResponse{Header: h, Succeeded: r.Succeeded, Responses: make([]*pb.ResponseOp, len(r.Responses))}
	for i, o := range r.Responses {
		op := &pb.ResponseOp{}
		switch {
		case o.Range != nil:
			op.Response = &pb.ResponseOp_ResponseRange{ResponseRange: rangeResponse(inner(o.Range.Revision), o.Range)}
		case o.Put != nil:
			op.Response = &pb.ResponseOp_ResponsePut{ResponsePut: putResponse(inner(o.Put.Revision), o.Put)}
		case o.DeleteRange != nil:
			op.Response = &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: deleteResponse(inner(o.DeleteRange.Revision), o.DeleteRange)}
		case o.Txn != nil:
			op.Response = &pb.ResponseOp_ResponseTxn{ResponseTxn: txnResponse(inner(o.Txn.Revision), o.Txn)}
		}
		out.Responses[i] = op
	}
	return out
}

func event(e *mvcc.Event, prev *mvcc.KeyValue) *mvccpb.Event {
	out := &mvccpb.Event{Kv: keyValue(&e.KV), PrevKv: keyValue(prev)}
	if e.Type == mvcc.EventDelete {
		out.Type = mvccpb.Event_DELETE
	}
	return out
}
