package etcd

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/server"
	"github.com/quorate/quorate/server/servertest"
)

// up serves a group of one and returns clients of it.
func up(t *testing.T, o server.Options) (*clientv3.Client, *grpc.ClientConn, *servertest.Group) {
	t.Helper()
	s, g, err := servertest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rpc := New(s, Options{Election: time.Millisecond})
	go rpc.Serve(l)
	t.Cleanup(func() {
		rpc.Stop()
		s.Close()
	})
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{l.Addr().String()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return client, conn, g
}

func ctxFor(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// wants fails unless err is what clientv3 makes of etcd's error.
func wants(t *testing.T, what string, err, want error) {
	t.Helper()
	if err == nil || !errors.Is(err, rpctypes.Error(want)) && rpctypes.ErrorDesc(err) != rpctypes.ErrorDesc(want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestKVThroughEtcdsClient(t *testing.T) {
	c, _, _ := up(t, server.Options{})
	ctx := ctxFor(t)
	for _, kv := range [][2]string{{"a", "1"}, {"b", "2"}, {"c", "3"}, {"b", "4"}} {
		if _, err := c.Put(ctx, kv[0], kv[1]); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Get(ctx, "a", clientv3.WithRange("z"), clientv3.WithLimit(2), clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend))
	if err != nil || got.Count != 3 || !got.More || string(got.Kvs[0].Value) != "4" || got.Kvs[0].Version != 2 || got.Kvs[0].CreateRevision != 3 {
		t.Fatalf("range: %+v, %v", got, err)
	}
	if h := got.Header; h.ClusterId != servertest.Cluster || h.MemberId != servertest.Self.Node || h.Revision != 5 || h.RaftTerm != 2 {
		t.Fatalf("header %+v", h)
	}
	old, err := c.Get(ctx, "b", clientv3.WithRev(3), clientv3.WithSerializable())
	if err != nil || string(old.Kvs[0].Value) != "2" {
		t.Fatalf("at revision 3: %+v, %v", old, err)
	}
	txn, err := c.Txn(ctx).If(clientv3.Compare(clientv3.Value("b"), "=", "4"), clientv3.Compare(clientv3.ModRevision("a"), "<", 3)).
		Then(clientv3.OpPut("b", "5", clientv3.WithPrevKV()), clientv3.OpGet("b"),
			clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpDelete("c", clientv3.WithPrevKV())}, nil)).Commit()
	if err != nil || !txn.Succeeded || txn.Header.Revision != 6 {
		t.Fatalf("txn: %+v, %v", txn, err)
	}
	put, get, inner := txn.Responses[0].GetResponsePut(), txn.Responses[1].GetResponseRange(), txn.Responses[2].GetResponseTxn()
	if string(put.PrevKv.Value) != "4" || string(get.Kvs[0].Value) != "5" || get.Header.Revision != 6 ||
		inner.Responses[0].GetResponseDeleteRange().Deleted != 1 || string(inner.Responses[0].GetResponseDeleteRange().PrevKvs[0].Value) != "3" {
		t.Fatalf("txn: %v", txn.Responses)
	}
	read, err := c.Txn(ctx).Then(clientv3.OpGet("a"), clientv3.OpGet("b")).Commit()
	if err != nil || read.Header.Revision != 6 {
		t.Fatalf("a txn that reads made revision %+v, %v", read.Header, err)
	}
	del, err := c.Delete(ctx, "a", clientv3.WithRange("z"), clientv3.WithPrevKV())
	if err != nil || del.Deleted != 2 || len(del.PrevKvs) != 2 || del.Header.Revision != 7 {
		t.Fatalf("delete: %+v, %v", del, err)
	}
	if _, err := c.Compact(ctx, 6, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	_, err = c.Get(ctx, "a", clientv3.WithRev(5))
	wants(t, "below the compact revision", err, rpctypes.ErrGRPCCompacted)
	_, err = c.Get(ctx, "a", clientv3.WithRev(99))
	wants(t, "in the future", err, rpctypes.ErrGRPCFutureRev)
	_, err = c.Compact(ctx, 6)
	wants(t, "compact twice", err, rpctypes.ErrGRPCCompacted)
	_, err = c.Compact(ctx, 99)
	wants(t, "compact the future", err, rpctypes.ErrGRPCFutureRev)
}

func TestKVRefusesWithEtcdsErrors(t *testing.T) {
	c, conn, _ := up(t, server.Options{RequestBytesMax: 1 << 20})
	ctx := ctxFor(t)
	kv := pb.NewKVClient(conn)
	rangeOf := func(r *pb.RangeRequest) error { _, err := kv.Range(ctx, r); return err }
	put := func(r *pb.PutRequest) error { _, err := kv.Put(ctx, r); return err }
	txn := func(r *pb.TxnRequest) error { _, err := kv.Txn(ctx, r); return err }
	putOp := func(k string) *pb.RequestOp {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte(k)}}}
	}
	a := []byte("a")
	many := &pb.TxnRequest{}
	for range 129 {
		many.Compare = append(many.Compare, &pb.Compare{Key: a})
	}
	nested := &pb.TxnRequest{Success: []*pb.RequestOp{putOp("x")}}
	for range 100 {
		nested = &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{RequestTxn: nested}}}}
	}
	_, deleteErr := kv.DeleteRange(ctx, &pb.DeleteRangeRequest{})
	for _, tc := range []struct {
		what string
		err  error
		want error
	}{
		{"range without a key", rangeOf(&pb.RangeRequest{}), rpctypes.ErrGRPCEmptyKey},
		{"put without a key", put(&pb.PutRequest{}), rpctypes.ErrGRPCEmptyKey},
		{"delete without a key", deleteErr, rpctypes.ErrGRPCEmptyKey},
		{"unknown order", rangeOf(&pb.RangeRequest{Key: a, SortOrder: 9}), rpctypes.ErrGRPCInvalidSortOption},
		{"unknown target", rangeOf(&pb.RangeRequest{Key: a, SortTarget: 9}), rpctypes.ErrGRPCInvalidSortOption},
		{"ignore value with value", put(&pb.PutRequest{Key: a, Value: a, IgnoreValue: true}), rpctypes.ErrGRPCValueProvided},
		{"ignore lease with lease", put(&pb.PutRequest{Key: a, Lease: 1, IgnoreLease: true}), rpctypes.ErrGRPCLeaseProvided},
		{"ignore value of nothing", put(&pb.PutRequest{Key: a, IgnoreValue: true}), rpctypes.ErrGRPCKeyNotFound},
		{"unknown lease", put(&pb.PutRequest{Key: a, Lease: 1}), rpctypes.ErrGRPCLeaseNotFound},
		{"too many operations", txn(many), rpctypes.ErrGRPCTooManyOps},
		{"too deep", txn(nested), rpctypes.ErrGRPCTooManyOps},
		{"one key twice", txn(&pb.TxnRequest{Success: []*pb.RequestOp{putOp("a"), putOp("a")}}), rpctypes.ErrGRPCDuplicateKey},
		{"an operation that is none", txn(&pb.TxnRequest{Success: []*pb.RequestOp{{}}}), rpctypes.ErrGRPCKeyNotFound},
		{"compare without a key", txn(&pb.TxnRequest{Compare: []*pb.Compare{{}}}), rpctypes.ErrGRPCEmptyKey},
		{"over the request limit", put(&pb.PutRequest{Key: a, Value: make([]byte, 1<<20+1)}), rpctypes.ErrGRPCRequestTooLarge},
	} {
		if status.Code(tc.err) != status.Code(tc.want) || rpctypes.ErrorDesc(tc.err) != rpctypes.ErrorDesc(tc.want) {
			t.Errorf("%s: %v, want %v", tc.what, tc.err, tc.want)
		}
	}
	err := put(&pb.PutRequest{Key: a, Value: make([]byte, 3<<20)})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("over gRPC's own limit: %v", err)
	}
	if got, err := c.Get(ctx, "", clientv3.WithFromKey()); err != nil || got.Header.Revision != 1 || got.Count != 0 {
		t.Errorf("something was written: %+v, %v", got, err)
	}
}

func TestRangeStreamIsTheRangeInParts(t *testing.T) {
	c, conn, _ := up(t, server.Options{})
	ctx := ctxFor(t)
	for i := range 30 {
		value := strings.Repeat("x", 50<<10)
		if _, err := c.Put(ctx, string(rune('A'+i)), value); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []*pb.RangeRequest{
		{Key: []byte("A"), RangeEnd: []byte{0}},
		{Key: []byte("A"), RangeEnd: []byte{0}, Limit: 11},
		{Key: []byte("A"), RangeEnd: []byte{0}, Limit: 7},
		{Key: []byte("A"), RangeEnd: []byte{0}, CountOnly: true},
		{Key: []byte("none")},
	} {
		whole, err := pb.NewKVClient(conn).Range(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := pb.NewKVClient(conn).RangeStream(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		var kvs []*mvccpb.KeyValue
		var last *pb.RangeResponse
		parts := 0
		for {
			part, err := stream.Recv()
			if err != nil {
				break
			}
			if last != nil && last.Header != nil {
				t.Fatal("a part follows the one with the header")
			}
			last, parts = part.RangeResponse, parts+1
			kvs = append(kvs, last.Kvs...)
		}
		if last == nil || last.Header.GetRevision() != whole.Header.Revision || last.Count != whole.Count || last.More != whole.More || len(kvs) != len(whole.Kvs) {
			t.Fatalf("%v: %d keys, last %v; want %d keys, count %d, more %v", r, len(kvs), last, len(whole.Kvs), whole.Count, whole.More)
		}
		for i := range kvs {
			if string(kvs[i].Key) != string(whole.Kvs[i].Key) {
				t.Fatalf("%v: key %d is %s", r, i, kvs[i].Key)
			}
		}
		if len(kvs) > 10 && parts < 2 {
			t.Errorf("%v came in %d part", r, parts)
		}
	}
	stream, _ := pb.NewKVClient(conn).RangeStream(ctx, &pb.RangeRequest{Key: []byte("A"), SortOrder: pb.RangeRequest_DESCEND})
	if _, err := stream.Recv(); status.Code(err) != codes.Unimplemented {
		t.Errorf("custom order: %v", err)
	}
}

func TestWatchThroughEtcdsClient(t *testing.T) {
	c, conn, _ := up(t, server.Options{})
	ctx := ctxFor(t)
	c.Put(ctx, "k1", "old")
	past := c.Watch(ctx, "k", clientv3.WithPrefix(), clientv3.WithRev(2), clientv3.WithPrevKV())
	now := c.Watch(ctx, "k", clientv3.WithPrefix(), clientv3.WithFilterPut(), clientv3.WithCreatedNotify())
	if r := <-now; !r.Created {
		t.Fatalf("created notify: %+v", r)
	}
	c.Put(ctx, "k1", "new")
	c.Delete(ctx, "k1")
	var events []*clientv3.Event
	for len(events) < 3 {
		r := <-past
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
		events = append(events, r.Events...)
	}
	if string(events[0].Kv.Value) != "old" || events[0].PrevKv != nil || string(events[1].PrevKv.Value) != "old" ||
		events[2].Type != clientv3.EventTypeDelete || string(events[2].PrevKv.Value) != "new" || events[2].Kv.ModRevision != 4 {
		t.Fatalf("events %v", events)
	}
	if r := <-now; len(r.Events) != 1 || r.Events[0].Type != clientv3.EventTypeDelete {
		t.Fatalf("filtered: %+v", r)
	}
	if err := c.RequestProgress(ctx); err != nil {
		t.Fatal(err)
	}
	if r := <-now; !r.IsProgressNotify() || r.Header.Revision != 4 {
		t.Fatalf("progress: %+v", r)
	}
	c.Compact(ctx, 4)
	r := <-c.Watch(ctx, "k", clientv3.WithRev(2))
	if !errors.Is(r.Err(), rpctypes.ErrCompacted) || r.CompactRevision != 4 {
		t.Fatalf("compacted: %+v, %v", r, r.Err())
	}

	// What the client library hides: refused creates, and cancels.
	stream, err := pb.NewWatchClient(conn).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	send := func(r *pb.WatchRequest) *pb.WatchResponse {
		t.Helper()
		if err := stream.Send(r); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	create := func(r *pb.WatchCreateRequest) *pb.WatchRequest {
		return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}}
	}
	if a := send(create(&pb.WatchCreateRequest{Key: []byte("b"), RangeEnd: []byte("a")})); !a.Created || !a.Canceled || a.WatchId != -1 || a.CancelReason == "" {
		t.Errorf("empty range: %v", a)
	}
	if a := send(create(&pb.WatchCreateRequest{Key: []byte("b"), WatchId: 7})); !a.Created || a.Canceled || a.WatchId != 7 {
		t.Errorf("own id: %v", a)
	}
	if a := send(create(&pb.WatchCreateRequest{Key: []byte("b"), WatchId: 7})); !a.Canceled || a.WatchId != -1 {
		t.Errorf("duplicate id: %v", a)
	}
	cancel := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: 7}}}
	if a := send(cancel); !a.Canceled || a.WatchId != 7 || a.CancelReason != "" {
		t.Errorf("cancel: %v", a)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err == nil {
		t.Error("the stream goes on after the client closed its side")
	}
}

func TestLeaseThroughEtcdsClient(t *testing.T) {
	c, _, _ := up(t, server.Options{})
	ctx := ctxFor(t)
	l, err := c.Grant(ctx, 60)
	if err != nil || l.TTL != 60 || l.ID == 0 {
		t.Fatalf("grant: %+v, %v", l, err)
	}
	c.Put(ctx, "a", "", clientv3.WithLease(l.ID))
	if ka, err := c.KeepAliveOnce(ctx, l.ID); err != nil || ka.TTL != 60 {
		t.Fatalf("keep alive: %+v, %v", ka, err)
	}
	if _, err := c.KeepAliveOnce(ctx, 999); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		t.Errorf("keep alive of nothing: %v", err)
	}
	ttl, err := c.TimeToLive(ctx, l.ID, clientv3.WithAttachedKeys())
	if err != nil || ttl.GrantedTTL != 60 || ttl.TTL < 0 || len(ttl.Keys) != 1 {
		t.Fatalf("time to live: %+v, %v", ttl, err)
	}
	if none, err := c.TimeToLive(ctx, 999); err != nil || none.TTL != -1 {
		t.Fatalf("time to live of nothing: %+v, %v", none, err)
	}
	if list, err := c.Leases(ctx); err != nil || len(list.Leases) != 1 || list.Leases[0].ID != l.ID {
		t.Fatalf("leases: %+v, %v", list, err)
	}
	if _, err := c.Revoke(ctx, l.ID); err != nil {
		t.Fatal(err)
	}
	_, err = c.Revoke(ctx, l.ID)
	wants(t, "revoke twice", err, rpctypes.ErrGRPCLeaseNotFound)
	_, err = c.Grant(ctx, 9_000_000_001)
	wants(t, "too long", err, rpctypes.ErrGRPCLeaseTTLTooLarge)
	if got, _ := c.Get(ctx, "a"); got.Count != 0 {
		t.Error("the key outlived its lease")
	}
}

func TestClusterThroughEtcdsClient(t *testing.T) {
	c, conn, g := up(t, server.Options{StrictReconfig: true})
	ctx := ctxFor(t)
	list, err := c.MemberList(ctx)
	if err != nil || len(list.Members) != 1 || list.Members[0].ID != servertest.Self.Node {
		t.Fatalf("list: %+v, %v", list, err)
	}
	_, err = c.MemberAdd(ctx, []string{"http://127.0.0.1:2480"})
	wants(t, "a voter beside one that has not started", err, rpctypes.ErrMemberNotEnoughStarted)
	added, err := c.MemberAddAsLearner(ctx, []string{"http://127.0.0.1:2480"})
	if err != nil || !added.Member.IsLearner || added.Member.Name != "" || len(added.Members) != 2 {
		t.Fatalf("add: %+v, %v", added, err)
	}
	_, err = c.MemberAddAsLearner(ctx, []string{"http://127.0.0.1:2580"})
	wants(t, "second learner", err, rpctypes.ErrGRPCTooManyLearners)
	_, err = c.MemberAddAsLearner(ctx, []string{"http://127.0.0.1:2480"})
	wants(t, "taken URL", err, rpctypes.ErrGRPCPeerURLExist)
	_, err = c.MemberPromote(ctx, added.Member.ID)
	wants(t, "promote at once", err, rpctypes.ErrGRPCLearnerNotReady)
	_, err = c.MemberPromote(ctx, 1)
	wants(t, "promote nobody", err, rpctypes.ErrGRPCMemberNotFound)
	_, err = c.MemberPromote(ctx, servertest.Self.Node)
	wants(t, "promote a voter", err, rpctypes.ErrGRPCMemberNotLearner)
	_, err = c.MemberRemove(ctx, 1)
	wants(t, "remove nobody", err, rpctypes.ErrGRPCMemberNotFound)
	_, err = pb.NewClusterClient(conn).MemberUpdate(ctx, &pb.MemberUpdateRequest{ID: added.Member.ID, PeerURLs: []string{"127.0.0.1:2480"}})
	wants(t, "bad URLs", err, rpctypes.ErrGRPCMemberBadURLs)
	if updated, err := c.MemberUpdate(ctx, added.Member.ID, []string{"http://127.0.0.1:2680"}); err != nil || len(updated.Members) != 2 {
		t.Fatalf("update: %+v, %v", updated, err)
	}
	if m, _ := g.Status().Config.Find(member0(g, added.Member.ID)); m.PeerURLs[0] != "http://127.0.0.1:2680" || m.Role != membership.Learner {
		t.Fatalf("after update: %+v", m)
	}
	if removed, err := c.MemberRemove(ctx, added.Member.ID); err != nil || len(removed.Members) != 1 {
		t.Fatalf("remove: %+v, %v", removed, err)
	}
}

func TestMaintenanceThroughEtcdsClient(t *testing.T) {
	c, conn, g := up(t, server.Options{QuotaBytes: 1 << 30})
	ctx := ctxFor(t)
	c.Put(ctx, "a", "1")
	endpoint := c.Endpoints()[0]
	st, err := c.Status(ctx, endpoint)
	if err != nil || !strings.HasPrefix(st.Version, "3.7.") || st.Leader != servertest.Self.Node || st.RaftTerm != 2 ||
		st.RaftIndex != st.RaftAppliedIndex || st.DbSize == 0 || st.DbSizeQuota != 1<<30 || len(st.Errors) != 0 || st.IsLearner || st.StorageVersion == "" {
		t.Fatalf("status: %+v, %v", st, err)
	}
	hash, err := c.HashKV(ctx, endpoint, 0)
	if err != nil || hash.Hash == 0 || hash.HashRevision != 2 || hash.CompactRevision != -1 {
		t.Fatalf("hashkv: %+v, %v", hash, err)
	}
	_, err = c.HashKV(ctx, endpoint, 99)
	wants(t, "hash of the future", err, rpctypes.ErrGRPCFutureRev)
	if _, err := c.Defragment(ctx, endpoint); err != nil {
		t.Errorf("defragment: %v", err)
	}
	alarm := func(action pb.AlarmRequest_AlarmAction, member uint64) *pb.AlarmResponse {
		t.Helper()
		a, err := pb.NewMaintenanceClient(conn).Alarm(ctx, &pb.AlarmRequest{Action: action, MemberID: member, Alarm: pb.AlarmType_NOSPACE})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := alarm(pb.AlarmRequest_ACTIVATE, 5); len(a.Alarms) != 1 {
		t.Fatalf("activate: %v", a)
	}
	_, err = c.Put(ctx, "b", "")
	wants(t, "put without space", err, rpctypes.ErrGRPCNoSpace)
	if list, err := c.AlarmList(ctx); err != nil || len(list.Alarms) != 1 || list.Alarms[0].MemberID != 5 {
		t.Fatalf("list: %v, %v", list, err)
	}
	if off, err := c.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil || len(off.Alarms) != 1 {
		t.Fatalf("disarm: %v, %v", off, err)
	}
	_, err = c.MoveLeader(ctx, 1)
	wants(t, "to nobody", err, rpctypes.ErrGRPCBadLeaderTransferee)
	g.LoseLeader()
	_, err = c.MoveLeader(ctx, 1)
	wants(t, "at a follower", err, rpctypes.ErrGRPCNotLeader)
	if st, err := c.Status(ctx, endpoint); err != nil || len(st.Errors) != 1 || st.Errors[0] != "etcdserver: no leader" {
		t.Fatalf("status without a leader: %+v, %v", st, err)
	}
	healthy, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil || healthy.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("health: %v, %v", healthy, err)
	}
	if auth, err := c.AuthStatus(ctx); err != nil || auth.Enabled {
		t.Fatalf("auth status: %v, %v", auth, err)
	}
}

func TestWithoutALeader(t *testing.T) {
	c, conn, g := up(t, server.Options{RequestTimeout: time.Millisecond})
	ctx := ctxFor(t)
	withLeader := metadata.AppendToOutgoingContext(ctx, rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader)
	stream, err := pb.NewWatchClient(conn).Watch(withLeader)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte("a")}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	g.LoseLeader()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable || rpctypes.ErrorDesc(err) != "etcdserver: no leader" {
		t.Errorf("a stream that wants a leader: %v", err)
	}
	_, err = pb.NewKVClient(conn).Range(withLeader, &pb.RangeRequest{Key: []byte("a"), Serializable: true})
	wants(t, "a call that wants a leader", err, rpctypes.ErrGRPCNoLeader)
	if _, err := pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte("a"), Serializable: true}); err != nil {
		t.Errorf("a serializable read: %v", err)
	}
	_, err = c.Put(ctx, "a", "")
	wants(t, "put", err, rpctypes.ErrGRPCNoLeader)
}

func TestALearnerServesOnlyWhatNeedsNoMajority(t *testing.T) {
	_, conn, g := up(t, server.Options{})
	ctx := ctxFor(t)
	g.SetStatus(func(st *raft.Status) {
		st.Config.Members[0].Role = membership.Learner
		st.Config.Version++
	})
	kv := pb.NewKVClient(conn)
	_, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte("a")})
	wants(t, "linearizable range", err, rpctypes.ErrGRPCNotSupportedForLearner)
	_, err = kv.Put(ctx, &pb.PutRequest{Key: []byte("a")})
	wants(t, "put", err, rpctypes.ErrGRPCNotSupportedForLearner)
	stream, _ := pb.NewWatchClient(conn).Watch(ctx)
	_, err = stream.Recv()
	wants(t, "watch", err, rpctypes.ErrGRPCNotSupportedForLearner)
	if _, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte("a"), Serializable: true}); err != nil {
		t.Errorf("serializable range: %v", err)
	}
	if st, err := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{}); err != nil || !st.IsLearner {
		t.Errorf("status: %v, %v", st, err)
	}
}

func member0(g *servertest.Group, node uint64) (n id.NodeID) {
	for _, m := range g.Status().Config.Members {
		if m.ID.Node == node {
			return m.ID
		}
	}
	return n
}
