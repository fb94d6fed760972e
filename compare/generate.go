package main

import (
	"fmt"
	"math/rand/v2"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// generator makes requests from a small world of keys and leases, so that they
// meet each other, with a share of requests that must be refused.
type generator struct {
	r         *rand.Rand
	revision  int64 // the store's, as last answered
	compacted int64
	watchers  int
}

func newGenerator(seed uint64) *generator {
	return &generator{r: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)), revision: 1}
}

// request is what next returns: a message of the KV or Lease service, or a
// watch.
type request struct {
	m     proto.Message
	watch *pb.WatchCreateRequest
}

func (g *generator) next() request {
	switch n := g.r.IntN(100); {
	case n < 28:
		return request{m: g.put()}
	case n < 55:
		return request{m: g.rangeRequest()}
	case n < 63:
		return request{m: g.deleteRange()}
	case n < 83:
		t := g.txn(2)
		if deletes(t) {
			keepNothing(t)
		}
		return request{m: t}
	case n < 86:
		return request{m: g.compact()}
	case n < 95:
		return request{m: g.lease()}
	case n < 96:
		return request{m: &pb.HashKVRequest{}} // the whole store in four bytes
	default:
		return request{watch: g.watch()}
	}
}

func (g *generator) one(in int) bool { return g.r.IntN(in) == 0 }

func (g *generator) key() []byte {
	if g.one(60) {
		return nil
	}
	return fmt.Appendf(nil, "k%c%d", 'a'+g.r.IntN(3), g.r.IntN(6))
}

// rangeEnd goes with a key: one key, a prefix, from the key on, everything, an
// interval, or one that is empty or inverted.
func (g *generator) span() (key, end []byte) {
	key = g.key()
	switch g.r.IntN(8) {
	case 0, 1, 2:
		return key, nil
	case 3:
		return []byte("k" + string(rune('a'+g.r.IntN(3)))), []byte("k" + string(rune('b'+g.r.IntN(3))))
	case 4:
		return key, []byte{0}
	case 5:
		return []byte{0}, []byte{0}
	default:
		return key, g.key()
	}
}

func (g *generator) leaseID() int64 { return int64(1000 + g.r.IntN(8)) }

func (g *generator) anyRevision() int64 {
	switch g.r.IntN(10) {
	case 0:
		return g.revision + 1 + int64(g.r.IntN(3))
	case 1:
		return g.compacted
	case 2:
		return g.compacted - 1
	case 3:
		return -1
	case 4:
		return g.revision
	default:
		return g.compacted + g.r.Int64N(g.revision-g.compacted+1)
	}
}

func (g *generator) put() *pb.PutRequest {
	p := &pb.PutRequest{Key: g.key(), Value: fmt.Appendf(nil, "v%d", g.r.IntN(50)), PrevKv: g.one(3)}
	if g.one(5) {
		p.Lease = g.leaseID()
	}
	if g.one(12) {
		p.IgnoreValue = true
		if !g.one(4) {
			p.Value = nil
		}
	}
	if g.one(12) {
		p.IgnoreLease = true
		if !g.one(4) {
			p.Lease = 0
		}
	}
	return p
}

func (g *generator) rangeRequest() *pb.RangeRequest {
	r := &pb.RangeRequest{KeysOnly: g.one(6), CountOnly: g.one(8), Serializable: g.one(2)}
	r.Key, r.RangeEnd = g.span()
	if g.one(3) {
		r.Limit = int64(g.r.IntN(5))
	}
	if g.one(3) {
		r.Revision = g.anyRevision()
	}
	if g.one(3) {
		r.SortOrder = pb.RangeRequest_SortOrder(g.r.IntN(3))
		r.SortTarget = pb.RangeRequest_SortTarget(g.r.IntN(5))
	}
	for _, bound := range []*int64{&r.MinModRevision, &r.MaxModRevision, &r.MinCreateRevision, &r.MaxCreateRevision} {
		if g.one(12) {
			*bound = g.r.Int64N(g.revision + 2)
		}
	}
	if g.one(60) {
		r.SortOrder, r.SortTarget = 7, 9
	}
	return r
}

func (g *generator) deleteRange() *pb.DeleteRangeRequest {
	d := &pb.DeleteRangeRequest{PrevKv: g.one(2)}
	d.Key, d.RangeEnd = g.span()
	if d.RangeEnd != nil && !g.one(4) {
		d.RangeEnd = nil // keep the world populated
	}
	return d
}

func (g *generator) txn(depth int) *pb.TxnRequest {
	t := &pb.TxnRequest{}
	for range g.r.IntN(3) {
		t.Compare = append(t.Compare, g.compare())
	}
	t.Success, t.Failure = g.ops(depth), g.ops(depth)
	return t
}

// deletes tells whether a transaction may delete. etcd 3.7.3 panics, every member
// alike, when a put that ignores its value or lease follows a deletion of its key
// in the same transaction (docs/DIVERGENCE.md).
func deletes(t *pb.TxnRequest) bool {
	for _, op := range slices.Concat(t.Success, t.Failure) {
		if op.GetRequestDeleteRange() != nil || op.GetRequestTxn() != nil && deletes(op.GetRequestTxn()) {
			return true
		}
	}
	return false
}

// keepNothing makes every put of a transaction bring its value and lease.
func keepNothing(t *pb.TxnRequest) {
	for _, op := range slices.Concat(t.Success, t.Failure) {
		if p := op.GetRequestPut(); p != nil {
			p.IgnoreValue, p.IgnoreLease = false, false
		}
		if nested := op.GetRequestTxn(); nested != nil {
			keepNothing(nested)
		}
	}
}

func (g *generator) ops(depth int) []*pb.RequestOp {
	var ops []*pb.RequestOp
	for range g.r.IntN(4) {
		switch n := g.r.IntN(10); {
		case n < 4:
			ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: g.put()}})
		case n < 7:
			ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: g.rangeRequest()}})
		case n < 8:
			ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: g.deleteRange()}})
		case n < 9 && depth > 0:
			ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: g.txn(depth - 1)}})
		case g.one(30):
			ops = append(ops, &pb.RequestOp{})
		}
	}
	return ops
}

func (g *generator) compare() *pb.Compare {
	c := &pb.Compare{Key: g.key(), Result: pb.Compare_CompareResult(g.r.IntN(4)), Target: pb.Compare_CompareTarget(g.r.IntN(5))}
	switch c.Target {
	case pb.Compare_VERSION:
		c.TargetUnion = &pb.Compare_Version{Version: int64(g.r.IntN(4))}
	case pb.Compare_CREATE:
		c.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: g.r.Int64N(g.revision + 1)}
	case pb.Compare_MOD:
		c.TargetUnion = &pb.Compare_ModRevision{ModRevision: g.r.Int64N(g.revision + 1)}
	case pb.Compare_VALUE:
		c.TargetUnion = &pb.Compare_Value{Value: fmt.Appendf(nil, "v%d", g.r.IntN(50))}
	case pb.Compare_LEASE:
		c.TargetUnion = &pb.Compare_Lease{Lease: g.leaseID()}
	}
	if g.one(5) {
		c.Key, c.RangeEnd = g.span()
	}
	return c
}

func (g *generator) compact() *pb.CompactionRequest {
	revision := g.anyRevision()
	if revision == 0 {
		revision = 1 // at 0 etcd compacts nothing but keeps a stale hash (docs/DIVERGENCE.md)
	}
	return &pb.CompactionRequest{Revision: revision, Physical: g.one(2)}
}

func (g *generator) lease() proto.Message {
	switch g.r.IntN(5) {
	case 0, 1:
		ttl := int64(3600 + g.r.IntN(3600))
		if g.one(20) {
			ttl = 9_000_000_001
		}
		return &pb.LeaseGrantRequest{ID: g.leaseID(), TTL: ttl}
	case 2:
		return &pb.LeaseRevokeRequest{ID: g.leaseID()}
	case 3:
		return &pb.LeaseTimeToLiveRequest{ID: g.leaseID(), Keys: g.one(2)}
	default:
		return &pb.LeaseLeasesRequest{}
	}
}

// watch starts in the past, so that its events are known when it is compared.
func (g *generator) watch() *pb.WatchCreateRequest {
	w := &pb.WatchCreateRequest{PrevKv: g.one(2), StartRevision: 1 + g.anyRevision()}
	w.Key, w.RangeEnd = g.span()
	if w.StartRevision <= 0 || w.StartRevision > g.revision {
		w.StartRevision = g.compacted + 1
	}
	if g.one(12) && g.compacted > 1 {
		w.StartRevision = g.compacted - 1
	}
	if g.one(6) {
		w.Filters = append(w.Filters, pb.WatchCreateRequest_FilterType(g.r.IntN(2)))
	}
	return w
}
