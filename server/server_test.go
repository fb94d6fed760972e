package server_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv"
	"github.com/quorate/quorate/kv/engine"
	"github.com/quorate/quorate/kv/lease"
	"github.com/quorate/quorate/kv/mvcc"
	"github.com/quorate/quorate/kv/watch"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/server"
	"github.com/quorate/quorate/server/servertest"
)

func start(t *testing.T, o server.Options) (*server.Server, *servertest.Group) {
	t.Helper()
	s, g, err := servertest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, g
}

func put(t *testing.T, s *server.Server, key, value string) int64 {
	t.Helper()
	h, _, err := s.Put(context.Background(), &mvcc.PutRequest{Key: []byte(key), Value: []byte(value)})
	if err != nil {
		t.Fatal(err)
	}
	return h.Revision
}

func TestPutAndRangeCarryTheHeader(t *testing.T) {
	s, _ := start(t, server.Options{})
	if rev := put(t, s, "a", "1"); rev != 2 {
		t.Fatalf("first write made revision %d, want 2", rev)
	}
	for _, serializable := range []bool{false, true} {
		h, r, err := s.Range(context.Background(), &mvcc.RangeRequest{Key: []byte("a")}, serializable)
		if err != nil || len(r.KVs) != 1 || string(r.KVs[0].Value) != "1" {
			t.Fatalf("serializable %v: %+v, %v", serializable, r, err)
		}
		want := server.Header{Cluster: servertest.Cluster, Member: servertest.Self.Node, Revision: 2, Term: 2}
		if h != want {
			t.Fatalf("header %+v, want %+v", h, want)
		}
	}
}

// A request that was certainly refused for want of a leader waits for one and is
// sent again; the client sees nothing of it.
func TestARefusedRequestIsSentAgainWhenThereIsALeader(t *testing.T) {
	s, g := start(t, server.Options{})
	g.FailNext(&server.Failure{Why: raft.NotLeader}, &server.Failure{Why: raft.Transferring})
	if rev := put(t, s, "a", "1"); rev != 2 {
		t.Fatalf("revision %d, want 2: exactly one put", rev)
	}
	g.LoseLeader()
	done := make(chan error, 1)
	go func() {
		_, _, err := s.Put(context.Background(), &mvcc.PutRequest{Key: []byte("a")})
		done <- err
	}()
	g.Lead()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestEveryOutcomeBecomesItsErrorAndNothingUnknownIsSentAgain(t *testing.T) {
	for _, tc := range []struct {
		name    string
		failure error
		want    error
		unknown bool
	}{
		{"unknown", &server.Failure{Unknown: true}, server.ErrTimeoutLeader, true},
		{"overloaded", &server.Failure{Why: raft.Overloaded}, server.ErrTooManyRequests, false},
		{"disk stalled", &server.Failure{Why: raft.DiskStalled}, server.ErrNoLeader, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, g := start(t, server.Options{})
			g.FailNext(tc.failure)
			_, _, err := s.Put(context.Background(), &mvcc.PutRequest{Key: []byte("a")})
			if !errors.Is(err, tc.want) || server.Unknown(err) != tc.unknown {
				t.Fatalf("%v (unknown %v), want %v", err, server.Unknown(err), tc.want)
			}
			if rev := put(t, s, "b", ""); rev != 2 {
				t.Fatalf("the next put made revision %d, want 2: the failed one was sent again", rev)
			}
		})
	}
	t.Run("no leader until our own limit", func(t *testing.T) {
		s, g := start(t, server.Options{RequestTimeout: time.Millisecond})
		g.LoseLeader()
		_, _, err := s.Put(context.Background(), &mvcc.PutRequest{Key: []byte("a")})
		if !errors.Is(err, server.ErrNoLeader) || server.Unknown(err) {
			t.Fatalf("%v, want %v and certain", err, server.ErrNoLeader)
		}
		if _, _, err := s.Range(context.Background(), &mvcc.RangeRequest{Key: []byte("a")}, false); !errors.Is(err, server.ErrNoLeader) {
			t.Fatalf("linearizable read: %v", err)
		}
		if _, _, err := s.Range(context.Background(), &mvcc.RangeRequest{Key: []byte("a")}, true); err != nil {
			t.Fatalf("serializable read: %v", err)
		}
	})
	t.Run("the client's own deadline", func(t *testing.T) {
		s, g := start(t, server.Options{})
		g.LoseLeader()
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if _, _, err := s.Put(ctx, &mvcc.PutRequest{Key: []byte("a")}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v, want the deadline", err)
		}
	})
	t.Run("stopped", func(t *testing.T) {
		s, _ := start(t, server.Options{})
		s.Close()
		if _, _, err := s.Put(context.Background(), &mvcc.PutRequest{Key: []byte("a")}); !errors.Is(err, server.ErrStopped) {
			t.Fatalf("%v, want %v", err, server.ErrStopped)
		}
	})
}

func TestBoundsRefuseInsteadOfQueueing(t *testing.T) {
	s, g := start(t, server.Options{InFlightMax: 1, RequestBytesMax: 1000})
	_, _, err := s.Put(context.Background(), &mvcc.PutRequest{Key: []byte("a"), Value: make([]byte, 1000)})
	if !errors.Is(err, server.ErrRequestTooLarge) {
		t.Fatalf("a large request: %v", err)
	}
	g.LoseLeader()
	ctx, cancel := context.WithCancel(context.Background())
	waiting := make(chan error, 1)
	go func() {
		_, _, err := s.Put(ctx, &mvcc.PutRequest{Key: []byte("a")})
		waiting <- err
	}()
	for s.Pending() == 0 {
		runtime.Gosched()
	}
	if _, _, err := s.Put(context.Background(), &mvcc.PutRequest{Key: []byte("b")}); !errors.Is(err, server.ErrTooManyRequests) {
		t.Fatalf("beyond the bound: %v", err)
	}
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Fatalf("the waiting one: %v", err)
	}
	g.Lead()
	g.SetStatus(func(st *raft.Status) { st.Commit = st.Applied + 5001 })
	if _, _, err := s.Put(context.Background(), &mvcc.PutRequest{Key: []byte("b")}); !errors.Is(err, server.ErrTooManyRequests) {
		t.Fatalf("far behind in applying: %v", err)
	}
}

func TestLeaseLivesByRenewalAndAnswersAsEtcd(t *testing.T) {
	s, _ := start(t, server.Options{})
	ctx := context.Background()
	_, l, err := s.LeaseGrant(ctx, 0, 1)
	if err != nil || l.ID <= 0 || l.TTL != 2 {
		t.Fatalf("granted %+v, %v; want an id and the smallest TTL, 2", l, err)
	}
	if _, l, err = s.LeaseGrant(ctx, 0, 100); err != nil || l.TTL != 100 { // outlives any slow machine
		t.Fatalf("granted %+v, %v", l, err)
	}
	if _, _, err := s.LeaseGrant(ctx, l.ID, 10); err != kv.ErrLeaseExists {
		t.Fatalf("granted twice: %v", err)
	}
	if _, _, err := s.LeaseGrant(ctx, 5, lease.TTLMax+1); !errors.Is(err, server.ErrLeaseTTLTooLarge) {
		t.Fatalf("too long: %v", err)
	}
	if _, _, err := s.Put(ctx, &mvcc.PutRequest{Key: []byte("k"), Lease: l.ID}); err != nil {
		t.Fatal(err)
	}
	if _, ttl, err := s.LeaseRenew(ctx, l.ID); err != nil || ttl != 100 {
		t.Fatalf("renewed to %d, %v", ttl, err)
	}
	if _, ttl, err := s.LeaseRenew(ctx, 12345); err != nil || ttl != 0 {
		t.Fatalf("a missing lease renewed to %d, %v; want 0", ttl, err)
	}
	_, left, err := s.LeaseTimeToLive(ctx, l.ID, true)
	if err != nil || left.Granted != 100 || left.Left < 0 || left.Left > 100 || len(left.Keys) != 1 || string(left.Keys[0]) != "k" {
		t.Fatalf("time to live %+v, %v", left, err)
	}
	if _, left, err := s.LeaseTimeToLive(ctx, 12345, true); err != nil || left.Left != -1 {
		t.Fatalf("a missing lease has %+v left, %v; want -1", left, err)
	}
	if _, leases, err := s.Leases(ctx); err != nil || !slices.ContainsFunc(leases, func(x lease.Lease) bool { return x.ID == l.ID }) {
		t.Fatalf("leases %+v, %v", leases, err)
	}
	if _, err := s.LeaseRevoke(ctx, l.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.LeaseRevoke(ctx, l.ID); err != mvcc.ErrLeaseNotFound {
		t.Fatalf("revoked twice: %v", err)
	}
	if _, r, _ := s.Range(ctx, &mvcc.RangeRequest{Key: []byte("k")}, false); len(r.KVs) != 0 {
		t.Fatal("the key outlived its lease")
	}
}

// An expired lease takes its keys with it; a watcher sees it happen.
func TestAnExpiredLeaseIsRevokedByTheLeader(t *testing.T) {
	t.Parallel() // it waits for the shortest TTL there is, 2 s
	s, _ := start(t, server.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, l, err := s.LeaseGrant(ctx, 7, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Put(ctx, &mvcc.PutRequest{Key: []byte("k"), Lease: l.ID}); err != nil {
		t.Fatal(err)
	}
	w := openWatch(t, s)
	if err := w.Create(ctx, watch.Create{Key: []byte("k")}); err != nil {
		t.Fatal(err)
	}
	for _, r := range collect(t, ctx, w, 1) {
		if r.Type != mvcc.EventDelete || string(r.KV.Key) != "k" {
			t.Fatalf("event %+v, want the deletion", r)
		}
	}
	if s.Counters.LeasesExpired.Load() != 1 {
		t.Errorf("counted %d expiries", s.Counters.LeasesExpired.Load())
	}
}

func openWatch(t *testing.T, s *server.Server) *server.WatchStream {
	t.Helper()
	w, err := s.OpenWatch(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// collect reads answers until it has n events.
func collect(t *testing.T, ctx context.Context, w *server.WatchStream, n int) (events []*watch.Event) {
	t.Helper()
	for len(events) < n {
		answers, err := w.Next(ctx)
		if err != nil {
			t.Fatalf("after %d events of %d: %v", len(events), n, err)
		}
		for _, a := range answers {
			events = append(events, a.Events...)
			w.Sent(a.Bytes)
		}
	}
	return events
}

func TestWatchersCatchUpAndStayInOrder(t *testing.T) {
	t.Run("handed out as applied", func(t *testing.T) { watchersCatchUp(t, server.Options{}) })
	// No room between apply and the hub: everything is read back from the store.
	t.Run("always too late", func(t *testing.T) { watchersCatchUp(t, server.Options{WatchQueueBytesMax: 1}) })
}

func watchersCatchUp(t *testing.T, o server.Options) {
	s, _ := start(t, o)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	const before, after = 1500, 200
	for i := range before {
		put(t, s, fmt.Sprintf("k%d", i%7), fmt.Sprint(i))
	}
	past, now := openWatch(t, s), openWatch(t, s)
	if err := past.Create(ctx, watch.Create{Key: []byte("k"), End: []byte("l"), StartRevision: 2, PrevKV: true}); err != nil {
		t.Fatal(err)
	}
	if err := now.Create(ctx, watch.Create{Key: []byte("k"), End: []byte("l"), PrevKV: true}); err != nil {
		t.Fatal(err)
	}
	if answers, err := now.Next(ctx); err != nil || !answers[0].Created || answers[0].Revision != before+1 {
		t.Fatalf("created %+v, %v; want revision %d", answers, err, before+1)
	}
	for i := range after {
		put(t, s, fmt.Sprintf("k%d", i%7), fmt.Sprint(before+i))
	}
	for name, tc := range map[string]struct {
		w     *server.WatchStream
		first int
	}{"from the past": {past, 0}, "from now": {now, before}} {
		for i, e := range collect(t, ctx, tc.w, before+after-tc.first) {
			n := tc.first + i
			if e.KV.ModRevision != int64(n+2) || string(e.KV.Value) != fmt.Sprint(n) {
				t.Fatalf("%s: event %d is %+v", name, i, e.KV)
			}
			key := n % 7
			switch previous := n - 7; {
			case n < before && n < 7 && e.Prev != nil:
				t.Fatalf("%s: the first put of k%d replaced %+v", name, key, e.Prev)
			case n >= before && n-before < 7, n < 7:
			case e.Prev == nil || string(e.Prev.Value) != fmt.Sprint(previous):
				t.Fatalf("%s: event %d replaced %+v, want %d", name, i, e.Prev, previous)
			}
		}
	}
}

func TestAWatcherBelowTheCompactRevisionIsCanceledWithIt(t *testing.T) {
	s, _ := start(t, server.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for range 10 {
		put(t, s, "a", "")
	}
	if _, err := s.Compact(ctx, 5, true); err != nil {
		t.Fatal(err)
	}
	w := openWatch(t, s)
	if err := w.Create(ctx, watch.Create{Key: []byte("a"), StartRevision: 3}); err != nil {
		t.Fatal(err)
	}
	var got []watch.Response
	for len(got) < 2 {
		more, err := w.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, more...)
	}
	if !got[0].Created || got[0].Canceled || !got[1].Canceled || got[1].CompactRevision != 5 {
		t.Fatalf("answers %+v", got)
	}
}

// A stream that only asks and never reads is stopped, not buffered.
func TestAStreamThatDoesNotReadIsNotServedWithoutBound(t *testing.T) {
	s, _ := start(t, server.Options{})
	w := openWatch(t, s)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second/2)
	defer cancel()
	made := 0
	for ; made < 100_000; made++ {
		if err := w.Create(ctx, watch.Create{Key: []byte("a")}); err != nil {
			break
		}
	}
	if made > 10_000 {
		t.Fatalf("%d requests were taken from a stream that reads nothing", made)
	}
	if _, err := w.Next(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := w.Cancel(context.Background(), 0); err != nil {
		t.Fatalf("after reading: %v", err)
	}
}

func TestClosingEndsStreams(t *testing.T) {
	s, _ := start(t, server.Options{})
	w, err := s.OpenWatch(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := w.Next(context.Background()); !errors.Is(err, server.ErrStopped) {
		t.Fatalf("%v, want %v", err, server.ErrStopped)
	}
	w.Close()
}

func TestMembersAreAddedPromotedUpdatedAndRemovedWithEtcdsChecks(t *testing.T) {
	s, g := start(t, server.Options{StrictReconfig: true})
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Publish(ctx, "m1", []string{"http://127.0.0.1:2379"}))
	must(s.Publish(ctx, "m1", []string{"http://127.0.0.1:2379"})) // changes nothing
	if v := g.Status().Config.Version; v != 2 {
		t.Fatalf("configuration version %d after publishing twice, want 2", v)
	}
	for _, bad := range [][]string{nil, {"x"}, {"http://a"}, {"http://a:1/p"}, {"ftp://a:1"}} {
		if _, _, _, err := s.MemberAdd(ctx, bad, false); !errors.Is(err, server.ErrMemberBadURLs) {
			t.Errorf("URLs %q: %v", bad, err)
		}
	}
	if _, _, _, err := s.MemberAdd(ctx, []string{"http://127.0.0.1:2380"}, false); !errors.Is(err, server.ErrPeerURLExists) {
		t.Fatalf("own URL: %v", err)
	}
	_, learner, list, err := s.MemberAdd(ctx, []string{"http://127.0.0.1:2480"}, true)
	must(err)
	if learner.Name != "" || len(learner.ClientURLs) != 0 || len(list) != 2 {
		t.Fatalf("added %+v, list %+v", learner, list)
	}
	if _, _, _, err := s.MemberAdd(ctx, []string{"http://127.0.0.1:2580"}, true); !errors.Is(err, server.ErrTooManyLearners) {
		t.Fatalf("second learner: %v", err)
	}
	if _, _, err := s.MemberPromote(ctx, 99); !errors.Is(err, server.ErrMemberNotFound) {
		t.Fatalf("promote nobody: %v", err)
	}
	if _, _, err := s.MemberPromote(ctx, servertest.Self.Node); !errors.Is(err, server.ErrMemberNotLearner) {
		t.Fatalf("promote a voter: %v", err)
	}
	progress := func(match id.Index, active bool) {
		g.SetStatus(func(st *raft.Status) {
			st.Last = 1000
			st.Progress = []raft.Progress{{ID: learner.ID, Match: match, Active: active}}
		})
	}
	progress(899, true)
	if _, _, err := s.MemberPromote(ctx, learner.ID.Node); !errors.Is(err, server.ErrLearnerNotReady) {
		t.Fatalf("89.9 %% of the log: %v", err)
	}
	progress(900, true)
	_, list, err = s.MemberPromote(ctx, learner.ID.Node)
	must(err)
	if m := list[0]; m.Role != membership.Voter || list[1].Role != membership.Voter {
		t.Fatalf("after promotion %+v", list)
	}
	// Of two voters one has never started: a third would leave no started majority.
	if _, _, _, err := s.MemberAdd(ctx, []string{"http://127.0.0.1:2580"}, false); !errors.Is(err, server.ErrNotEnoughStarted) {
		t.Fatalf("third voter: %v", err)
	}
	if _, _, err := s.MemberUpdate(ctx, learner.ID.Node, []string{"http://127.0.0.1:2380"}); !errors.Is(err, server.ErrPeerURLExists) {
		t.Fatalf("update to a taken URL: %v", err)
	}
	_, list, err = s.MemberUpdate(ctx, learner.ID.Node, []string{"http://127.0.0.1:2680"})
	must(err)
	if m := member(list, learner.ID.Node); m.PeerURLs[0] != "http://127.0.0.1:2680" || m.Role != membership.Voter {
		t.Fatalf("after update %+v", m)
	}
	_, list, err = s.MemberRemove(ctx, learner.ID.Node)
	must(err)
	if len(list) != 1 {
		t.Fatalf("after removal %+v", list)
	}
	if _, _, err := s.MemberRemove(ctx, learner.ID.Node); !errors.Is(err, server.ErrMemberNotFound) {
		t.Fatalf("removed twice: %v", err)
	}
	if _, list, err = s.Members(ctx, true); err != nil || len(list) != 1 || list[0].Name != "m1" {
		t.Fatalf("members %+v, %v", list, err)
	}
}

func member(list []membership.Member, node uint64) membership.Member {
	for _, m := range list {
		if m.ID.Node == node {
			return m
		}
	}
	return membership.Member{}
}

// What only the leader can answer works at every member.
func TestAFollowerAsksTheLeader(t *testing.T) {
	leader, _ := start(t, server.Options{})
	follower, g := start(t, server.Options{RequestTimeout: 2 * time.Second})
	ctx := context.Background()
	_, l, err := leader.LeaseGrant(ctx, 9, 100)
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	g.Follow(id.NodeID{Node: 42}, func(ctx context.Context, request []byte) ([]byte, error) {
		if lost++; lost == 1 {
			return nil, &server.Failure{Unknown: true} // a renewal may be asked for twice
		}
		return leader.Answer(ctx, request), nil
	})
	if _, ttl, err := follower.LeaseRenew(ctx, l.ID); err != nil || ttl != 100 {
		t.Fatalf("renewed to %d, %v", ttl, err)
	}
	if _, left, err := follower.LeaseTimeToLive(ctx, l.ID, true); err != nil || left.Granted != 100 {
		t.Fatalf("time to live %+v, %v", left, err)
	}
	_, m, list, err := follower.MemberAdd(ctx, []string{"http://127.0.0.1:9"}, true)
	if err != nil || m.ID.Node == 0 || len(list) != 2 {
		t.Fatalf("member add: %+v, %+v, %v", m, list, err)
	}
	if _, _, err := follower.MemberPromote(ctx, 5); !errors.Is(err, server.ErrMemberNotFound) {
		t.Fatalf("the leader's error: %v", err)
	}
	lost = 0
	if _, _, err := follower.MemberRemove(ctx, m.ID.Node); !server.Unknown(err) {
		t.Fatalf("a change whose answer was lost: %v, want unknown", err)
	}
	for _, bad := range []string{"", "x", `{"do":"nothing"}`, strings.Repeat(" ", 65<<10)} {
		if answer := string(leader.Answer(ctx, []byte(bad))); !strings.Contains(answer, `"error"`) {
			t.Errorf("request %.20q: %s", bad, answer)
		}
	}
}

// A leader that is to remove itself hands over; its successor removes it and
// tells the client.
func TestALeaderIsRemovedByItsSuccessor(t *testing.T) {
	s, g := start(t, server.Options{})
	ctx := context.Background()
	_, other, _, err := s.MemberAdd(ctx, []string{"http://127.0.0.1:9"}, false)
	if err != nil {
		t.Fatal(err)
	}
	var asked string
	g.Ask(func(_ context.Context, request []byte) ([]byte, error) {
		asked = string(request)
		return []byte(`{"members":[]}`), nil
	})
	if _, _, err := s.MemberRemove(ctx, servertest.Self.Node); err != nil {
		t.Fatal(err)
	}
	if st := g.Status(); st.Leader != other.ID && st.Leader != id.None || len(st.Config.Members) != 2 {
		t.Errorf("it removed itself: %+v", st)
	}
	if !strings.Contains(asked, `"do":"remove"`) {
		t.Errorf("asked %q", asked)
	}
}

func TestMoveLeaderOnlyFromTheLeaderToAVoter(t *testing.T) {
	s, g := start(t, server.Options{})
	ctx := context.Background()
	_, learner, _, err := s.MemberAdd(ctx, []string{"http://127.0.0.1:9"}, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []uint64{1, learner.ID.Node} {
		if _, err := s.MoveLeader(ctx, to); !errors.Is(err, server.ErrBadTransferee) {
			t.Errorf("to %x: %v", to, err)
		}
	}
	if _, err := s.MoveLeader(ctx, servertest.Self.Node); err != nil {
		t.Errorf("to itself: %v", err)
	}
	g.LoseLeader()
	if _, err := s.MoveLeader(ctx, servertest.Self.Node); !errors.Is(err, server.ErrNotLeader) {
		t.Errorf("at a follower: %v", err)
	}
}

func TestAlarmsStopWhatTheyStopAndHealthTells(t *testing.T) {
	s, _ := start(t, server.Options{})
	ctx := context.Background()
	put(t, s, "a", "1")
	raise := func(raise bool, t kv.AlarmType) error {
		_, _, err := s.ChangeAlarm(ctx, raise, kv.Alarm{Type: t, Member: 1})
		return err
	}
	if err := raise(true, kv.AlarmNoSpace); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Put(ctx, &mvcc.PutRequest{Key: []byte("b")}); err != kv.ErrNoSpace {
		t.Fatalf("put: %v", err)
	}
	if _, _, err := s.DeleteRange(ctx, &mvcc.DeleteRangeRequest{Key: []byte("a")}); err != nil {
		t.Fatalf("delete: %v", err)
	}
	if err := s.Healthy(ctx, false, nil); err == nil || err.Error() != "ALARM NOSPACE" {
		t.Fatalf("health: %v", err)
	}
	if err := s.Healthy(ctx, false, []string{"NOSPACE"}); err != nil {
		t.Fatalf("health but for space: %v", err)
	}
	if err := raise(true, kv.AlarmCorrupt); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Range(ctx, &mvcc.RangeRequest{Key: []byte("a")}, true); !errors.Is(err, server.ErrCorrupt) {
		t.Fatalf("range: %v", err)
	}
	if err := raise(false, kv.AlarmNone); err != nil {
		t.Fatal(err)
	}
	if _, alarms, err := s.Alarms(ctx); err != nil || len(alarms) != 0 {
		t.Fatalf("alarms %v, %v", alarms, err)
	}
	put(t, s, "b", "1")
}

// The quota is cluster-wide through an alarm, and space comes back by itself: no
// defragmentation, nobody disarms anything.
func TestTheQuotaRaisesNoSpaceAndTakesItBack(t *testing.T) {
	var size atomic.Int64
	size.Store(50)
	s, _ := start(t, server.Options{Housekeeping: time.Millisecond, QuotaBytes: 100, EngineStats: func() engine.Stats { return engine.Stats{DiskBytes: size.Load()} }})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	until := func(want error) {
		t.Helper()
		for {
			_, _, err := s.Put(ctx, &mvcc.PutRequest{Key: []byte("a")})
			if errors.Is(err, want) {
				return
			}
			if ctx.Err() != nil {
				t.Fatalf("put: %v, want %v", err, want)
			}
		}
	}
	until(nil)
	size.Store(101)
	until(kv.ErrNoSpace)
	if _, _, err := s.DeleteRange(ctx, &mvcc.DeleteRangeRequest{Key: []byte("a")}); err != nil {
		t.Fatalf("delete without space: %v", err)
	}
	size.Store(80)
	until(nil)
}

// Where nobody writes, compacted rows are still deleted.
func TestACompactionEndsWithoutWriters(t *testing.T) {
	s, g := start(t, server.Options{Housekeeping: time.Millisecond})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for range 3000 { // more than one Apply deletes
		put(t, s, "a", "")
	}
	if _, err := s.Compact(ctx, 3000, false); err != nil {
		t.Fatal(err)
	}
	for {
		v, err := g.Local()
		if err != nil {
			t.Fatal(err)
		}
		done := v.CompactedUpTo() >= 3000
		v.Close()
		if done {
			return
		}
		if ctx.Err() != nil {
			t.Fatal("the rows are still there")
		}
		runtime.Gosched()
	}
}
