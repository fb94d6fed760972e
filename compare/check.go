package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// compareAll sends the requests one after the other to both and returns how many
// answers differ.
func compareAll(ctx context.Context, g *generator, requests int, theirs, ours *store, show int) (int, error) {
	differ := 0
	for i := range requests {
		if differ > show {
			return differ, fmt.Errorf("stopped at request %d of %d: more than %d answers differ", i, requests, show)
		}
		if i%1000 == 0 && i > 0 {
			fmt.Printf("%d of %d requests, %d differences\n", i, requests, differ)
		}
		r := g.next()
		want, revision := answer(ctx, theirs, r)
		got, _ := answer(ctx, ours, r)
		if ctx.Err() != nil {
			return differ, fmt.Errorf("stopped at request %d: %w", i, ctx.Err())
		}
		if c, ok := r.m.(*pb.CompactionRequest); ok && !strings.Contains(want, "error") {
			g.compacted = c.Revision
		}
		g.revision = max(g.revision, revision)
		if want != got {
			differ++
			if differ <= show {
				fmt.Printf("request %d: %s\n  etcd:    %s\n  quorate: %s\n", i, describe(r), want, got)
			}
		}
	}
	return differ, nil
}

func describe(r request) string {
	if r.watch != nil {
		return "Watch " + line(r.watch)
	}
	return string(r.m.ProtoReflect().Descriptor().Name()) + " " + line(r.m)
}

func line(m proto.Message) string {
	return strings.Join(strings.Fields(prototext.MarshalOptions{}.Format(m)), " ")
}

// watchTimeout ends a watch that says nothing; both sides must say nothing then.
const watchTimeout = 3 * time.Second

// answer returns a side's normalized answer, and the header's revision.
func answer(ctx context.Context, s *store, r request) (string, int64) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if r.watch != nil {
		ctx, cancel := context.WithTimeout(ctx, watchTimeout)
		defer cancel()
		return watchAnswer(ctx, s, r.watch), 0
	}
	m, err := call(ctx, s, r.m)
	if err != nil {
		st, _ := status.FromError(err)
		return fmt.Sprintf("error %s: %s", st.Code(), st.Message()), 0
	}
	revision := normalize(m)
	return line(m), revision
}

func call(ctx context.Context, s *store, m proto.Message) (proto.Message, error) {
	kv, lease := pb.NewKVClient(s.conn), pb.NewLeaseClient(s.conn)
	switch m := m.(type) {
	case *pb.PutRequest:
		return kv.Put(ctx, m)
	case *pb.RangeRequest:
		return kv.Range(ctx, m)
	case *pb.DeleteRangeRequest:
		return kv.DeleteRange(ctx, m)
	case *pb.TxnRequest:
		return kv.Txn(ctx, m)
	case *pb.CompactionRequest:
		return kv.Compact(ctx, m)
	case *pb.LeaseGrantRequest:
		return lease.LeaseGrant(ctx, m)
	case *pb.LeaseRevokeRequest:
		return lease.LeaseRevoke(ctx, m)
	case *pb.LeaseTimeToLiveRequest:
		return lease.LeaseTimeToLive(ctx, m)
	case *pb.LeaseLeasesRequest:
		return lease.LeaseLeases(ctx, m)
	case *pb.HashKVRequest:
		return pb.NewMaintenanceClient(s.conn).HashKV(ctx, m)
	}
	panic(fmt.Sprintf("no service takes a %T", m))
}

// normalize hides what may differ: whose answer it is, and the remaining time of
// a lease, of which only its being there is compared. It returns the revision.
func normalize(m proto.Message) int64 {
	var revision int64
	if t, ok := m.(*pb.LeaseTimeToLiveResponse); ok && t.TTL > 0 {
		t.TTL = 1
		slices.SortFunc(t.Keys, bytes.Compare) // etcd's order is that of a Go map
	}
	if l, ok := m.(*pb.LeaseLeasesResponse); ok {
		// etcd's order is that of the remaining time, equal to the second at best
		slices.SortFunc(l.Leases, func(a, b *pb.LeaseStatus) int { return cmp.Compare(a.ID, b.ID) })
	}
	walk(m.ProtoReflect(), func(h *pb.ResponseHeader) {
		h.ClusterId, h.MemberId, h.RaftTerm = 0, 0, 0
		revision = max(revision, h.Revision)
	})
	return revision
}

// walk visits every header, those of the answers inside a transaction too.
func walk(m protoreflect.Message, visit func(*pb.ResponseHeader)) {
	if h, ok := m.Interface().(*pb.ResponseHeader); ok {
		visit(h)
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() || f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				walk(v.List().Get(i).Message(), visit)
			}
		default:
			walk(v.Message(), visit)
		}
		return true
	})
}

// watchAnswer creates a watch in the past and collects its events until it has
// seen the store's present, which a progress request on the same stream marks.
func watchAnswer(ctx context.Context, s *store, create *pb.WatchCreateRequest) string {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := pb.NewWatchClient(s.conn).Watch(ctx)
	if err != nil {
		return "error " + err.Error()
	}
	send := func(r *pb.WatchRequest) {
		if err == nil {
			err = stream.Send(r)
		}
	}
	send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}})
	progress := time.NewTicker(20 * time.Millisecond)
	defer progress.Stop()
	answers := make(chan *pb.WatchResponse)
	go func() {
		defer close(answers)
		for {
			r, err := stream.Recv()
			if err != nil {
				if c := status.Code(err); c == codes.DeadlineExceeded || c == codes.Canceled {
					<-ctx.Done() // the server's clock was first to see that time is up
				}
				return
			}
			select {
			case answers <- r:
			case <-ctx.Done():
				return
			}
		}
	}()
	var b strings.Builder
	for {
		select {
		case r, ok := <-answers:
			if !ok && ctx.Err() == nil {
				return b.String() + " stream ended"
			}
			if !ok {
				return b.String() + " nothing more"
			}
			if r.WatchId == -1 && !r.Canceled { // synced: the answer to a progress request
				return b.String()
			}
			for _, e := range r.Events {
				fmt.Fprintf(&b, "[%s] ", line(e))
			}
			if r.Created || r.Canceled {
				fmt.Fprintf(&b, "id=%d created=%v canceled=%v reason=%q compact=%d ", r.WatchId, r.Created, r.Canceled, r.CancelReason, r.CompactRevision)
			}
			if r.Canceled {
				return b.String()
			}
		case <-progress.C:
			send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
		case <-ctx.Done():
			return b.String() + " nothing more"
		}
	}
}

func freeURL() (url.URL, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return url.URL{}, err
	}
	defer l.Close()
	return url.URL{Scheme: "http", Host: l.Addr().String()}, nil
}
