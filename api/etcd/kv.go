package etcd

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/quorate/quorate/kv/mvcc"
	"github.com/quorate/quorate/server"
)

type kvService struct {
	pb.UnimplementedKVServer
	s *server.Server
}

func (k *kvService) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	request := rangeRequest(r)
	h, res, err := k.s.Range(ctx, request, r.GetSerializable())
	if err != nil {
		return nil, wireError(err)
	}
	return rangeResponse(header(h), res), nil
}

// Chunks of a RangeStream: as many keys as fit a quarter of etcd's request limit.
const (
	streamChunkKeys  = 1000
	streamChunkBytes = 384 << 10
)

// RangeStream sends a range in parts, all of one revision. Header, more and count
// come with the last. Custom order and filters would need the whole in memory,
// so they are refused, as by etcd.
func (k *kvService) RangeStream(r *pb.RangeRequest, stream grpc.ServerStreamingServer[pb.RangeStreamResponse]) error {
	request := rangeRequest(r)
	if request.SortOrder == mvcc.SortDescend || request.SortTarget != mvcc.SortByKey ||
		request.MinModRevision != 0 || request.MaxModRevision != 0 || request.MinCreateRevision != 0 || request.MaxCreateRevision != 0 {
		return errStreamOrder
	}
	first, err := k.firstChunk(stream.Context(), request, r.GetSerializable())
	if err != nil {
		return wireError(err)
	}
	send := func(res *pb.RangeResponse) error {
		return stream.Send(&pb.RangeStreamResponse{RangeResponse: res})
	}
	left, total := request.Limit, first.res.Count
	for chunk := first; ; {
		sent := int64(len(chunk.res.KVs))
		last := !chunk.res.More || request.Limit > 0 && sent >= left || request.CountOnly
		if last {
			res := rangeResponse(header(chunk.h), chunk.res)
			res.Count = total
			return send(res)
		}
		if err := send(&pb.RangeResponse{Kvs: keyValues(chunk.res.KVs)}); err != nil {
			return err
		}
		next := *request
		next.Key = append(append([]byte{}, chunk.res.KVs[sent-1].Key...), 0)
		next.Revision = first.revision // pinned
		if left > 0 {
			left -= sent
		}
		next.Limit = chunkLimit(left)
		if chunk, err = k.chunk(stream.Context(), &next, true); err != nil {
			return wireError(err)
		}
		request.Key = next.Key
	}
}

type rangeChunk struct {
	h        server.Header
	res      *mvcc.RangeResponse
	revision int64
}

func (k *kvService) firstChunk(ctx context.Context, request *mvcc.RangeRequest, serializable bool) (rangeChunk, error) {
	first := *request
	if !request.CountOnly {
		first.Limit = chunkLimit(request.Limit)
	}
	return k.chunk(ctx, &first, serializable)
}

func (k *kvService) chunk(ctx context.Context, request *mvcc.RangeRequest, serializable bool) (rangeChunk, error) {
	h, res, err := k.s.Range(ctx, request, serializable)
	if err != nil {
		return rangeChunk{}, err
	}
	c := rangeChunk{h: h, res: res, revision: request.Revision}
	if c.revision <= 0 {
		c.revision = res.Revision
	}
	bytes := 0
	for i := range res.KVs {
		if bytes += len(res.KVs[i].Key) + len(res.KVs[i].Value); bytes > streamChunkBytes && i > 0 {
			c.res.KVs, c.res.More = res.KVs[:i], true
			break
		}
	}
	return c, nil
}

func chunkLimit(left int64) int64 {
	if left > 0 {
		return min(left, streamChunkKeys)
	}
	return streamChunkKeys
}

func (k *kvService) Put(ctx context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	h, res, err := k.s.Put(ctx, putRequest(r))
	if err != nil {
		return nil, wireError(err)
	}
	return putResponse(header(h), res), nil
}

func (k *kvService) DeleteRange(ctx context.Context, r *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	h, res, err := k.s.DeleteRange(ctx, deleteRequest(r))
	if err != nil {
		return nil, wireError(err)
	}
	return deleteResponse(header(h), res), nil
}

// txnDepthMax is how deep transactions may be nested; each level takes at least
// one of the operations that are allowed.
const txnDepthMax = 64

func (k *kvService) Txn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	request, err := txnRequest(r, txnDepthMax)
	if err != nil {
		return nil, wireError(err)
	}
	h, res, err := k.s.Txn(ctx, request, serializableTxn(r))
	if err != nil {
		return nil, wireError(err)
	}
	return txnResponse(header(h), res), nil
}

// serializableTxn is etcd's rule: a transaction that only reads is local if every
// one of its ranges says so.
func serializableTxn(r *pb.TxnRequest) bool {
	for _, branch := range [][]*pb.RequestOp{r.GetSuccess(), r.GetFailure()} {
		for _, o := range branch {
			if g := o.GetRequestRange(); g == nil || !g.GetSerializable() {
				return false
			}
		}
	}
	return true
}

func (k *kvService) Compact(ctx context.Context, r *pb.CompactionRequest) (*pb.CompactionResponse, error) {
	h, err := k.s.Compact(ctx, r.GetRevision(), r.GetPhysical())
	if err != nil {
		return nil, wireError(err)
	}
	return &pb.CompactionResponse{Header: header(h)}, nil
}
