package etcd

import (
	"context"
	"errors"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"

	"github.com/quorate/quorate/kv/watch"
	"github.com/quorate/quorate/server"
)

type watchService struct {
	pb.UnimplementedWatchServer
	s *server.Server
}

type watchStream = grpc.BidiStreamingServer[pb.WatchRequest, pb.WatchResponse]

// Watch runs one stream: this goroutine sends, a second one takes requests. The
// stream ends when either does, and the other then ends with it: the sender's
// context is over, and grpc ends the receiver's Recv when Watch returns.
func (w *watchService) Watch(stream watchStream) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	watchers, err := w.s.OpenWatch(ctx)
	if err != nil {
		return wireError(err)
	}
	defer watchers.Close()
	go func() { cancel(w.receive(ctx, stream, watchers)) }()
	err = w.send(ctx, stream, watchers)
	if cause := context.Cause(ctx); cause != nil && stream.Context().Err() == nil {
		err = cause
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, context.Canceled):
		// etcd tells a client that goes away for want of a leader from one that
		// just goes away.
		return rpctypes.ErrGRPCWatchCanceled
	}
	return wireError(err)
}

// receive hands requests on until the client closes its side.
func (w *watchService) receive(ctx context.Context, stream watchStream, watchers *server.WatchStream) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		switch u := r.GetRequestUnion().(type) {
		case *pb.WatchRequest_CreateRequest:
			err = watchers.Create(ctx, createRequest(u.CreateRequest))
		case *pb.WatchRequest_CancelRequest:
			err = watchers.Cancel(ctx, u.CancelRequest.GetWatchId())
		case *pb.WatchRequest_ProgressRequest:
			err = watchers.RequestProgress(ctx)
		default:
			continue // etcd ignores what it does not know
		}
		if err != nil {
			return err
		}
	}
}

func createRequest(r *pb.WatchCreateRequest) watch.Create {
	c := watch.Create{
		WatchID: r.GetWatchId(), Key: r.GetKey(), End: r.GetRangeEnd(), StartRevision: r.GetStartRevision(),
		PrevKV: r.GetPrevKv(), ProgressNotify: r.GetProgressNotify(), Fragment: r.GetFragment(),
	}
	for _, f := range r.GetFilters() {
		switch f {
		case pb.WatchCreateRequest_NOPUT:
			c.NoPut = true
		case pb.WatchCreateRequest_NODELETE:
			c.NoDelete = true
		}
	}
	return c
}

// send writes what the hub has for this stream, in order.
func (w *watchService) send(ctx context.Context, stream watchStream, watchers *server.WatchStream) error {
	for {
		answers, err := watchers.Next(ctx)
		if err != nil {
			return err
		}
		for i := range answers {
			a := &answers[i]
			if err := stream.Send(w.response(a)); err != nil {
				return err
			}
			w.s.Counters.WatchEventsSent.Add(uint64(len(a.Events)))
			watchers.Sent(a.Bytes)
		}
	}
}

func (w *watchService) response(r *watch.Response) *pb.WatchResponse {
	out := &pb.WatchResponse{
		Header: header(w.s.HeaderAt(r.Revision)), WatchId: r.WatchID, Created: r.Created, Canceled: r.Canceled,
		CompactRevision: r.CompactRevision, CancelReason: r.Reason, Fragment: r.Fragment,
	}
	if len(r.Events) > 0 {
		out.Events = make([]*mvccpb.Event, len(r.Events))
		for i, e := range r.Events {
			if r.PrevKV {
				out.Events[i] = event(&e.Event, e.Prev)
			} else {
				out.Events[i] = event(&e.Event, nil)
			}
		}
	}
	return out
}
