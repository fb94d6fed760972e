package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// Transport is one member's connections to all others. Its methods may be called
// by any goroutine.
type Transport struct {
	o        Options
	listener net.Listener
	server   *tls.Config // nil: plain TCP
	client   *tls.Config
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	notices  *notices
	quiet    quiet

	mu        sync.Mutex
	closed    bool
	accepting bool // since the first SetPeers
	peers     map[id.NodeID]*peer
	inbound   map[*inbound]struct{}
	receiving int // snapshots
}

// New listens and returns a Transport that knows no peers yet. Connections wait
// unanswered until the first SetPeers, so that no callback runs before its owner
// holds the Transport and knows what to answer. Close it.
func New(o Options) (*Transport, error) {
	o = o.WithDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	t := &Transport{o: o, listener: o.Listener, peers: map[id.NodeID]*peer{}, inbound: map[*inbound]struct{}{}}
	if t.listener == nil {
		l, err := net.Listen("tcp", o.Addr)
		if err != nil {
			return nil, fmt.Errorf("transport: listening for peers: %w", err)
		}
		t.listener = l
	}
	if o.TLS != nil {
		t.server = o.TLS.Clone()
		t.server.ClientAuth = tls.RequireAndVerifyClientCert
		t.server.MinVersion = max(t.server.MinVersion, tls.VersionTLS12)
		t.client = o.TLS.Clone()
		t.client.MinVersion = t.server.MinVersion
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.notices = newNotices(t)
	t.wg.Add(1)
	go t.notices.run()
	return t, nil
}

// Addr is where the Transport listens.
func (t *Transport) Addr() net.Addr { return t.listener.Addr() }

// SetPeers says who the peers are and where: all of them, at every change. Those
// no longer listed are let go (what is queued for them is dropped); a connection
// to an address no longer listed is closed and made anew. This member itself may
// be in the list and is ignored. The first call, with an empty list too, begins
// to accept connections.
//
// A member that is not listed but dials us and says where it is can be answered
// as long as its connection stands: a member that was just added must reach
// those who have not heard of it, or it cannot become leader (thesis §4.1).
func (t *Transport) SetPeers(list []Peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if !t.accepting {
		t.accepting = true
		t.wg.Add(1)
		go t.accept()
	}
	for _, p := range list {
		if p.ID != t.o.Self {
			t.learn(p, true)
		}
	}
	for who, p := range t.peers {
		if !slices.ContainsFunc(list, func(l Peer) bool { return l.ID == who }) {
			p.listed = false
			t.forget(p)
		}
	}
}

// learn adds a peer or its new addresses. With mu held.
func (t *Transport) learn(at Peer, listed bool) {
	p := t.peers[at.ID]
	if p == nil {
		p = newPeer(t, at)
		t.peers[at.ID] = p
	}
	p.listed = p.listed || listed
	p.setURLs(at.URLs)
}

// forget lets go of a peer that is neither listed nor connected to us. With mu
// held.
func (t *Transport) forget(p *peer) {
	if p.listed {
		return
	}
	for c := range t.inbound {
		if c.from == p.id && len(c.urls) > 0 {
			p.setURLs(c.urls)
			return
		}
	}
	delete(t.peers, p.id)
	p.stop()
}

func (t *Transport) peer(n id.NodeID) *peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.peers[n]
}

// Send gives a message to the network. It returns at once; the message may be
// lost, and OnUnreachable tells when messages were. The entries of an append are
// read until it was written: they are immutable anyway. A snapshot goes by
// SendSnapshot.
func (t *Transport) Send(to id.NodeID, group id.GroupID, m raft.Message) {
	p := t.peer(to)
	if p == nil {
		return
	}
	out := outgoing{kind: frameMessage, tag: uint64(group), message: m, bytes: headBytes + controlMessageBytes}
	l := p.control
	switch m := m.(type) {
	case raft.Append:
		l = p.bulk // all of them, so that a probe does not overtake the entries it follows
		for i := range m.Entries {
			out.bytes += max(len(m.Entries[i].Encoded), m.Entries[i].Bytes())
		}
	case raft.InstallSnapshot:
		assert.Fail("an install-snapshot message was given to Send; its body goes with it by SendSnapshot")
	}
	l.send(out)
}

// controlMessageBytes is what a message other than an append counts for.
const controlMessageBytes = 64

// Ask sends a request to a peer's host. It ends in OnAnswered with the same
// number, which the caller uses once.
func (t *Transport) Ask(to id.NodeID, ask uint64, data []byte) {
	tag, ok := t.notices.ask(to, ask)
	if !ok {
		return
	}
	p := t.peer(to)
	if p == nil || !p.bulk.send(outgoing{kind: frameAsk, tag: tag, data: data, bytes: headBytes + len(data)}) {
		t.notices.lost(tag)
	}
}

// Answer answers what OnAsked brought. It may be lost as any message.
func (t *Transport) Answer(to id.NodeID, ask uint64, data []byte) {
	p := t.peer(to)
	if p == nil {
		return
	}
	l := p.control // short answers do not wait behind entries
	if len(data) > 4<<10 {
		l = p.bulk
	}
	l.send(outgoing{kind: frameAnswer, tag: ask, data: data, bytes: headBytes + len(data)})
}

// Stats returns the counters of every peer, by id.
func (t *Transport) Stats() []Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Stats, 0, len(t.peers))
	for _, p := range t.peers {
		all = append(all, p.stats())
	}
	slices.SortFunc(all, func(a, b Stats) int { return a.Peer.Compare(b.Peer) })
	return all
}

// Close closes every connection and the listener, and returns when all
// goroutines have ended. Asks that wait are not answered any more.
func (t *Transport) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	for _, p := range t.peers {
		p.stop()
	}
	for c := range t.inbound {
		cut(c.conn)
	}
	t.mu.Unlock()
	t.cancel()
	err := t.listener.Close()
	t.wg.Wait()
	return err
}

// dial connects to an address and shakes hands.
func (t *Transport) dial(ctx context.Context, to id.NodeID, addr string, k laneKind) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.o.DialTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	release := cutAfter(ctx, conn) // ends the handshake too
	defer release()
	_ = conn.SetDeadline(time.Now().Add(t.o.DialTimeout))
	c := conn
	if t.client != nil {
		cfg := t.client
		if cfg.ServerName == "" {
			cfg = cfg.Clone()
			cfg.ServerName, _, _ = net.SplitHostPort(addr)
		}
		c = tls.Client(conn, cfg)
	}
	h := hello{versionMin: versionMin, versionMax: versionMax, lane: k, cluster: t.o.Cluster,
		from: t.o.Self, to: to, directory: t.o.Directory, urls: t.o.Advertise}
	_, err = c.Write(h.encode())
	if err == nil {
		var y reply
		if y, err = readReply(c); err == nil {
			err = t.check(to, y)
		}
	}
	if err == nil {
		err = ctx.Err() // the connection may be cut already
	}
	if err != nil {
		_ = conn.Close()
		if errors.Is(err, io.EOF) {
			err = errors.New("it closed the connection during the handshake")
		}
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return c, nil
}

// timed is a connection whose reads and writes each must move within timeout.
type timed struct {
	net.Conn
	timeout time.Duration
}

func (c timed) Read(p []byte) (int, error) {
	_ = c.SetReadDeadline(time.Now().Add(c.timeout))
	return c.Conn.Read(p)
}

func (c timed) Write(p []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(c.timeout))
	return c.Conn.Write(p)
}

// cut closes a connection without a goodbye: closing TLS politely may wait for a
// peer that does not read.
func cut(c net.Conn) {
	if tc, ok := c.(*tls.Conn); ok {
		c = tc.NetConn()
	}
	_ = c.Close()
}

// cutAfter cuts a connection when ctx ends. release ends that, and returns when
// no goroutine of it is left.
func cutAfter(ctx context.Context, c net.Conn) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		cut(c)
		close(done)
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

// short is an error for a log line: without the addresses, which the line has,
// and which differ with every attempt.
func short(err error) string {
	text := err.Error()
	var op *net.OpError
	if errors.As(err, &op) {
		brief := op.Op + ": " + op.Err.Error()
		if op.Timeout() {
			brief = op.Op + ": no progress in time"
		}
		text = strings.Replace(text, op.Error(), brief, 1)
	}
	return text
}

// quiet remembers what was logged about strangers, so that one who comes back
// every second fills no disk. It forgets everything when it is full.
type quiet struct {
	mu   sync.Mutex
	said map[string]bool
}

const quietMax = 256

// first tells whether text was not logged yet about host.
func (q *quiet) first(host, text string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	key := host + " " + text
	if q.said[key] {
		return false
	}
	if q.said == nil || len(q.said) >= quietMax {
		q.said = map[string]bool{}
	}
	q.said[key] = true
	return true
}

// forget makes the next line about host be logged again.
func (q *quiet) forget(host string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for key := range q.said {
		if len(key) > len(host) && key[:len(host)+1] == host+" " {
			delete(q.said, key)
		}
	}
}

// counters are what Stats shows; lanes and accepted connections add to them.
type counters struct {
	sentFrames, sentBytes         atomic.Uint64
	receivedFrames, receivedBytes atomic.Uint64
	dropped, outages              atomic.Uint64
	rtt                           atomic.Int64
}
