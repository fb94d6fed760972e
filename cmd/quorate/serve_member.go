package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	nethttp "net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/quorate/quorate"
	apietcd "github.com/quorate/quorate/api/etcd"
	apihttp "github.com/quorate/quorate/api/http"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv"
	"github.com/quorate/quorate/kv/engine/pebble"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/server"
	"github.com/quorate/quorate/vfs"
	"github.com/quorate/quorate/wal"
)

// storeGroup is the one group of this version.
const storeGroup quorate.GroupID = 1

const (
	handOverLimit = 500 * time.Millisecond // for the leader to give the office away
	drainLimit    = 500 * time.Millisecond // for calls under way
	closeLimit    = time.Second
)

// runningMember is one member with everything that is open for it, in the order
// it was opened. close ends it in the opposite order.
type runningMember struct {
	c        *serveConfig
	log      *slog.Logger
	identity identity

	clients []*apihttp.Port
	metrics []net.Listener
	peers   *apihttp.Port

	host   *quorate.Host
	engine *pebble.Engine
	store  *kv.Store
	group  *quorate.Group
	server *server.Server
	asker  *apihttp.PeerClient

	rpc    *grpc.Server
	web    []*nethttp.Server
	failed chan error // a listener that cannot go on
	quit   context.CancelFunc
}

// startMember opens everything. It listens before it touches the data, so that a
// port in use leaves nothing behind; on any error what was opened is closed.
func startMember(ctx context.Context, c *serveConfig, log *slog.Logger) (_ *runningMember, err error) {
	m := &runningMember{c: c, log: log, failed: make(chan error, 8), quit: func() {}}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	secure, err := peerTLS(c)
	if err != nil {
		return nil, err
	}
	if err := m.listen(); err != nil {
		return nil, err
	}
	peerListener, err := listenOn(c.ListenPeer[0].Host, "tcp", "--listen-peer-urls")
	if err != nil {
		return nil, err
	}
	m.peers = apihttp.NewPeerPort(peerListener, secure)
	var fresh bool
	if m.identity, fresh, err = identify(ctx, c, secure); err != nil {
		return nil, err
	}
	if fresh {
		if err := m.identity.keep(c.DataDir); err != nil {
			return nil, fmt.Errorf("data directory %s: %w", c.DataDir, err)
		}
	}
	self := id.NodeID{Node: m.identity.Node, Incarnation: m.identity.Incarnation}
	m.host, err = quorate.Open(ctx, c.DataDir, quorate.Options{
		Cluster: m.identity.Cluster, Node: self.Node, Incarnation: self.Incarnation,
		Listener: m.peers.Other(), Advertise: c.AdvertisePeer.strings(), TLS: secure,
		Heartbeat:       time.Duration(c.HeartbeatMillis) * time.Millisecond,
		ElectionTimeout: time.Duration(c.ElectionMillis) * time.Millisecond,
		RetainBytes:     c.RetainBytes,
		Logf:            func(format string, args ...any) { log.Info(fmt.Sprintf(format, args...)) },
	})
	if err != nil {
		return nil, m.explain(err)
	}
	return m, m.explain(m.startGroup(self, secure))
}

// explain adds what to do to an error of the library, which knows no flags.
func (m *runningMember) explain(err error) error {
	var corrupt *wal.ErrCorrupt
	switch {
	case err == nil:
		return nil
	case errors.Is(err, vfs.ErrLocked):
		return fmt.Errorf("data directory %s is in use by another process: stop that one, or choose another --data-dir", m.c.DataDir)
	case errors.As(err, &corrupt):
		return fmt.Errorf("the log of %s is damaged and nothing was changed: %w; replace this member: quorate ctl member remove %x, remove %s, then member add", m.c.DataDir, corrupt, m.identity.Node, m.c.DataDir)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "quorate: "))
}

// listen opens the client ports.
func (m *runningMember) listen() error {
	for _, u := range m.c.ListenClient {
		network, address := listenAddress(u)
		l, err := listenOn(address, network, "--listen-client-urls")
		if err != nil {
			return err
		}
		m.clients = append(m.clients, apihttp.NewClientPort(l))
	}
	for _, u := range m.c.ListenMetrics {
		network, address := listenAddress(u)
		l, err := listenOn(address, network, "--listen-metrics-urls")
		if err != nil {
			return err
		}
		m.metrics = append(m.metrics, l)
	}
	return nil
}

// listenOn is net.Listen with an error that names the flag.
func listenOn(address, network, flag string) (net.Listener, error) {
	if network == "unix" {
		os.Remove(address) // of an earlier life; a live one would answer, but then its directory is locked
	}
	l, err := net.Listen(network, address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port in use: %s is taken by another program; choose another with %s", address, flag)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: cannot listen on %s: %w", flag, address, err)
	}
	return l, nil
}

// startGroup opens the store and begins to serve.
func (m *runningMember) startGroup(self id.NodeID, secure *tls.Config) error {
	c := m.c
	var err error
	// The log can only be cut up to what the engine has flushed, so the engine
	// flushes at least as often as the log is to be cut.
	engine := pebble.Options{MemTableBytes: min(pebble.Options{}.WithDefaults().MemTableBytes, c.RetainBytes)}
	if m.engine, err = pebble.Open(filepath.Join(c.DataDir, "kv"), engine); err != nil {
		return err
	}
	election := 2 * time.Duration(c.ElectionMillis) * time.Millisecond
	m.server = server.New(server.Options{
		Cluster: m.identity.Cluster, Self: self, Election: election,
		RequestBytesMax: int(c.MaxRequestBytes), TxnOpsMax: int(c.MaxTxnOps), ProgressInterval: c.ProgressInterval,
		StrictReconfig: c.StrictReconfig, LearnersMax: c.MaxLearners, QuotaBytes: c.QuotaBytes,
		EngineStats: m.engine.Stats, Logger: m.log,
	})
	m.store = kv.NewStore(m.engine, kv.Options{Publish: m.server.Applied})
	how, err := m.how()
	if err != nil {
		return err
	}
	if m.group, err = m.host.Start(storeGroup, m.store, how); err != nil {
		return err
	}
	m.asker = apihttp.NewPeerClient(m.identity.Cluster, secure)
	return m.server.Start(server.Over(m.group, m.asker.Ask))
}

// how says how the group comes here: with the data, as one of the first members,
// or by joining.
func (m *runningMember) how() (quorate.How, error) {
	switch {
	case m.host.HasData(storeGroup):
		return quorate.Resume(), nil
	case m.identity.Joined:
		return quorate.Join(), nil
	}
	members, err := firstMembers(m.c)
	if err != nil {
		return quorate.How{}, err
	}
	return quorate.Bootstrap(members...), nil
}

// run serves until ctx is over, the member is removed, or it cannot go on.
func (m *runningMember) run(ctx context.Context) error {
	defer m.close()
	life, quit := context.WithCancel(context.Background())
	m.quit = quit
	m.serve(life)
	select {
	case <-ctx.Done():
		m.log.Info("stopping")
		return nil
	case <-m.group.Removed():
		m.log.Info("this member was removed from the cluster; it stops", "member", fmt.Sprintf("%x", m.identity.Node))
		m.identity.Removed = true
		return m.identity.keep(m.c.DataDir)
	case <-m.group.Halted():
		return fmt.Errorf("this member cannot go on: %w", m.group.Err())
	case err := <-m.failed:
		return err
	}
}

// serve starts what answers clients and peers.
func (m *runningMember) serve(life context.Context) {
	c := m.c
	metrics := apihttp.NewMetrics()
	metrics.Watch(m.server)
	keepalive := c.KeepaliveInterval
	if keepalive == 0 {
		keepalive = -1 // etcd: 0 turns it off
	}
	m.rpc = apietcd.New(m.server, apietcd.Options{
		RequestBytesMax: int(c.MaxRequestBytes), StreamsMax: uint32(c.MaxStreams),
		KeepaliveMinTime: c.KeepaliveMinTime, KeepaliveInterval: keepalive, KeepaliveTimeout: c.KeepaliveTimeout,
		Election: 2 * time.Duration(c.ElectionMillis) * time.Millisecond, Observe: metrics,
	})
	options := apihttp.Options{RequestBytesMax: int64(c.MaxRequestBytes), Metrics: metrics.Handler(), Profiles: c.Profiles}
	clients := apihttp.Server(apihttp.New(m.server, options))
	operators := apihttp.Server(apihttp.NewOperators(m.server, options))
	peers := apihttp.Server(apihttp.NewPeers(m.server, m.identity.Cluster, m.log))
	m.web = []*nethttp.Server{clients, operators, peers}

	start := func(what string, f func() error) {
		go func() {
			if err := f(); life.Err() == nil {
				m.failed <- fmt.Errorf("%s: %w", what, err)
			}
		}()
	}
	for _, p := range m.clients {
		start("client port", p.Serve)
		start("gRPC", func() error { return m.rpc.Serve(p.Other()) })
		start("HTTP", func() error { return clients.Serve(p.HTTP()) })
	}
	for _, l := range m.metrics {
		start("metrics", func() error { return operators.Serve(l) })
	}
	start("HTTP between members", func() error { return peers.Serve(m.peers.HTTP()) })
	start("peer port", m.peers.Serve)
	go m.followStatus(life)
	go m.publish(life)
}

// followStatus tells the server about every change, and the log about leaders.
func (m *runningMember) followStatus(life context.Context) {
	var leader id.NodeID
	for {
		changed := m.group.Changed()
		m.server.StatusChanged()
		if st := m.group.Status(); st.Leader != leader {
			leader = st.Leader
			if leader == id.None {
				m.log.Info("no leader is known", "term", st.Term)
			} else {
				m.log.Info("leader elected", "leader", fmt.Sprintf("%x", leader.Node), "term", st.Term, "self", leader.Node == m.identity.Node)
			}
		}
		select {
		case <-changed:
		case <-life.Done():
			return
		}
	}
}

// publish makes this member's name and client URLs known through the log, and
// says so: whoever waits for that line waits for a majority.
func (m *runningMember) publish(life context.Context) {
	for life.Err() == nil {
		err := m.server.Publish(life, m.c.Name, m.c.AdvertiseClient.strings())
		if err == nil {
			m.log.Info("ready to serve client requests", "member", fmt.Sprintf("%x", m.identity.Node),
				"cluster", fmt.Sprintf("%x", m.identity.Cluster), "clientURLs", m.c.ListenClient.String())
			return
		}
		m.log.Debug("not published yet", "error", err.Error())
		select {
		case <-time.After(100 * time.Millisecond):
		case <-life.Done():
		}
	}
}

// close ends everything, the leader handing over first: clients are answered
// while it does.
func (m *runningMember) close() {
	if m.group != nil && m.group.Status().Role == raft.Leader && m.rpc != nil {
		ctx, cancel := context.WithTimeout(context.Background(), handOverLimit)
		if err := m.group.Transfer(ctx, id.None); err == nil {
			m.log.Info("handed the leadership over")
		}
		cancel()
	}
	m.quit()
	if m.rpc != nil {
		drained := make(chan struct{})
		go func() {
			m.rpc.GracefulStop() // closes the client ports
			close(drained)
		}()
		select {
		case <-drained:
		case <-time.After(drainLimit):
			m.rpc.Stop()
		}
	}
	for _, w := range m.web {
		w.Close()
	}
	for _, p := range m.clients {
		p.Close()
	}
	for _, l := range m.metrics {
		l.Close()
	}
	if m.server != nil {
		m.server.Close()
	}
	if m.host != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
		defer cancel()
		if err := m.host.Close(ctx); err != nil {
			m.log.Warn("closing", "error", err.Error())
		}
	}
	if m.peers != nil {
		m.peers.Close()
	}
	if m.asker != nil {
		m.asker.Close()
	}
	if m.store != nil {
		m.store.Close()
	}
	if m.engine != nil {
		if err := m.engine.Close(); err != nil {
			m.log.Warn("closing the engine", "error", err.Error())
		}
	}
}
