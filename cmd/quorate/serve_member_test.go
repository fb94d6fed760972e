package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"log/slog"
)

// process is a member as serve runs it, in this process.
type process struct {
	args   []string
	client string
	stop   context.CancelFunc
	ended  chan error
}

func (p *process) start(t *testing.T) {
	t.Helper()
	c, err := parseServe(p.args, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m, err := startMember(ctx, c, newLogger(io.Discard, slog.LevelError))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	p.stop, p.ended = cancel, ended
	go func() { ended <- m.run(ctx) }()
	t.Cleanup(func() { p.end(t) })
}

func (p *process) end(t *testing.T) {
	p.stop()
	if err := <-p.ended; err != nil {
		t.Errorf("%s: %v", p.args[1], err)
	}
	p.ended <- nil // for the cleanup
}

// freePorts returns n addresses nobody listens on.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out = append(out, l.Addr().String())
	}
	return out
}

func newProcesses(t *testing.T, dir string, n, joiners int) []*process {
	t.Helper()
	ports := freePorts(t, 2*(n+joiners))
	var initial []string
	for i := range n + joiners {
		initial = append(initial, fmt.Sprintf("m%d=http://%s", i+1, ports[2*i+1]))
	}
	var out []*process
	for i := range n + joiners {
		p := &process{client: ports[2*i]}
		p.args = []string{
			"--name", fmt.Sprintf("m%d", i+1), "--data-dir", filepath.Join(dir, fmt.Sprintf("m%d", i+1)),
			"--listen-client-urls", "http://" + p.client, "--listen-peer-urls", "http://" + ports[2*i+1],
			"--strict-reconfig-check=false", // it wants everybody connected for 5 s first
		}
		if i < n {
			p.args = append(p.args, "--initial-cluster", strings.Join(initial[:n], ","))
		} else {
			p.args = append(p.args, "--initial-cluster", strings.Join(initial[:i+1], ","), "--initial-cluster-state", "existing")
		}
		out = append(out, p)
	}
	return out
}

func dial(t *testing.T, endpoints ...string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// eventually tries until it works or ctx is over.
func eventually(t *testing.T, ctx context.Context, what string, try func() error) {
	t.Helper()
	for {
		err := try()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// The whole way, from a client's socket to three logs and back, over a restart of
// everything; then a fourth member joins, is promoted, and the leader leaves.
func TestThreeMembersFromEndToEnd(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	all := newProcesses(t, t.TempDir(), 3, 1)
	members, joiner := all[:3], all[3]
	for _, p := range members {
		p.start(t)
	}
	var endpoints []string
	for _, p := range members {
		endpoints = append(endpoints, p.client)
	}
	c := dial(t, endpoints...)
	eventually(t, ctx, "first put", func() error { _, err := c.Put(ctx, "a", "1"); return err })
	for i, e := range endpoints {
		one := dial(t, e)
		if _, err := one.Put(ctx, "b", fmt.Sprint(i)); err != nil {
			t.Fatalf("put at %s: %v", e, err)
		}
		got, err := one.Get(ctx, "b")
		if err != nil || string(got.Kvs[0].Value) != fmt.Sprint(i) {
			t.Fatalf("get at %s: %v, %v", e, got, err)
		}
		lease, err := one.Grant(ctx, 60)
		if err != nil {
			t.Fatalf("grant at %s: %v", e, err)
		}
		if ka, err := one.KeepAliveOnce(ctx, lease.ID); err != nil || ka.TTL != 60 {
			t.Fatalf("keep alive at %s: %v, %v", e, ka, err)
		}
	}
	before, err := c.Get(ctx, "", clientv3.WithFromKey())
	if err != nil {
		t.Fatal(err)
	}

	for _, p := range members {
		p.end(t)
	}
	for _, p := range members {
		p.start(t)
	}
	eventually(t, ctx, "read after the restart", func() error {
		after, err := c.Get(ctx, "", clientv3.WithFromKey())
		if err == nil && (after.Count != before.Count || after.Header.Revision != before.Header.Revision) {
			t.Fatalf("%v before the restart, %v after it", before, after)
		}
		return err
	})

	var added *clientv3.MemberAddResponse
	eventually(t, ctx, "member add", func() (err error) {
		added, err = c.MemberAddAsLearner(ctx, []string{peerURL(joiner)})
		return err
	})
	joiner.start(t)
	eventually(t, ctx, "promotion", func() error { _, err := c.MemberPromote(ctx, added.Member.ID); return err })
	joined := dial(t, joiner.client)
	eventually(t, ctx, "read at the joiner", func() error {
		got, err := joined.Get(ctx, "b")
		if err == nil && string(got.Kvs[0].Value) != "2" {
			t.Fatalf("the joiner has %v", got.Kvs)
		}
		return err
	})

	leader := leaderOf(t, ctx, c, endpoints)
	if _, err := joined.MemberRemove(ctx, leader.id); err != nil {
		t.Fatal(err)
	}
	gone := members[leader.at]
	select {
	case err := <-gone.ended:
		if err != nil {
			t.Fatalf("the removed leader: %v", err)
		}
		gone.ended <- nil
	case <-ctx.Done():
		t.Fatal("the removed leader does not end")
	}
	eventually(t, ctx, "put without the old leader", func() error { _, err := joined.Put(ctx, "c", "1"); return err })
	config, err := parseServe(gone.args, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := startMember(ctx, config, newLogger(io.Discard, slog.LevelError)); err == nil || !strings.Contains(err.Error(), "was removed from its cluster for good") {
		t.Fatalf("started again: %v", err)
	}
}

func peerURL(p *process) string {
	for i, a := range p.args {
		if a == "--listen-peer-urls" {
			return p.args[i+1]
		}
	}
	return ""
}

type leaderAt struct {
	id uint64
	at int
}

func leaderOf(t *testing.T, ctx context.Context, c *clientv3.Client, endpoints []string) (l leaderAt) {
	t.Helper()
	eventually(t, ctx, "leader", func() error {
		for i, e := range endpoints {
			if st, err := c.Status(ctx, e); err == nil && st.Leader == st.Header.MemberId {
				l = leaderAt{st.Leader, i}
				return nil
			}
		}
		return errors.New("nobody leads")
	})
	return l
}

func TestADirectoryInUseAPortInUseAndAForeignPlaceAreNamed(t *testing.T) {
	dir := t.TempDir()
	p := newProcesses(t, dir, 1, 0)[0]
	p.start(t)
	ports := freePorts(t, 2)
	try := func(change ...string) error {
		t.Helper()
		c, err := parseServe(append(append([]string{}, p.args...), change...), func(string) string { return "" })
		if err != nil {
			t.Fatal(err)
		}
		_, err = startMember(context.Background(), c, newLogger(io.Discard, slog.LevelError))
		return err
	}
	other := []string{"--listen-client-urls", "http://" + ports[0], "--initial-cluster", "m1=http://" + ports[1], "--listen-peer-urls", "http://" + ports[1]}
	for _, tc := range []struct {
		change []string
		want   string
	}{
		{nil, "port in use: " + p.client},
		{append(other, "--listen-client-urls", "http://"+p.client), "choose another with --listen-client-urls"},
		{other, "is in use by another process"},
		{append(other, "--initial-cluster-token", "x"), `belongs to a cluster with token "etcd-cluster", not "x"`},
		{append(other, "--name", "y", "--initial-cluster", "y=http://"+ports[1]), `belongs to member "m1"`},
		{append(other, "--data-dir", dir+"/new", "--initial-cluster-state", "existing"), "no member of the existing cluster could be asked"},
	} {
		if err := try(tc.change...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v, want %q", tc.change, err, tc.want)
		}
	}
	c := dial(t, p.client)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	eventually(t, ctx, "put after all that", func() error { _, err := c.Put(ctx, "a", "1"); return err })

	// Where there is data, the --initial flags do not matter.
	p.end(t)
	p.args = append(p.args, "--initial-cluster", "x=http://"+ports[0])
	p.start(t)
	eventually(t, ctx, "get after a restart with other flags", func() error {
		got, err := c.Get(ctx, "a")
		if err == nil && len(got.Kvs) != 1 {
			t.Fatal("the data is gone")
		}
		return err
	})
	if _, err := pb.NewKVClient(c.ActiveConnection()).Put(ctx, &pb.PutRequest{Key: []byte("a"), Value: make([]byte, 1600<<10)}); err == nil || !strings.Contains(err.Error(), "request is too large") {
		t.Errorf("over the request limit: %v", err)
	}
}
