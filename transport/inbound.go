package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// inbound is a connection that was accepted. Fields behind conn are set by the
// handshake, with Transport.mu held.
type inbound struct {
	conn net.Conn
	from id.NodeID
	lane laneKind
	urls []string
}

// accept is the goroutine of the listener.
func (t *Transport) accept() {
	defer t.wg.Done()
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			if t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of file descriptors, most likely: say so and go on a little later.
			if t.quiet.first("accept", short(err)) {
				t.o.Logf("transport: accepting a connection: %s; trying again", short(err))
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-t.ctx.Done():
			}
			continue
		}
		c := &inbound{conn: conn}
		t.mu.Lock()
		over, closed := len(t.inbound) >= t.o.Connections, t.closed
		if !over && !closed {
			t.inbound[c] = struct{}{}
			t.wg.Add(1)
		}
		t.mu.Unlock()
		if over || closed {
			_ = conn.Close()
			if over && t.quiet.first(host(conn), "connections") {
				t.o.Logf("transport: connection from %s refused: %d are open, the limit", conn.RemoteAddr(), t.o.Connections)
			}
			continue
		}
		go t.serve(c)
	}
}

func host(c net.Conn) string {
	h, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	return h
}

// serve is the goroutine of an accepted connection.
func (t *Transport) serve(c *inbound) {
	defer t.wg.Done()
	raw := c.conn
	err := t.greet(c)
	greeted := err == nil
	if greeted {
		t.quiet.forget(host(raw))
		link := timed{c.conn, t.o.StallTimeout}
		if c.lane == laneSnapshot {
			err = t.receiveSnapshot(c, link)
		} else {
			err = t.receive(c, link)
		}
	}
	_ = raw.Close()
	t.mu.Lock()
	delete(t.inbound, c)
	if p := t.peers[c.from]; p != nil {
		t.forget(p) // if nobody listed it and this was its last connection
	}
	t.mu.Unlock()
	switch malformed := (*errMalformed)(nil); {
	case t.ctx.Err() != nil || err == nil:
	case errors.As(err, &malformed):
		t.o.Logf("transport: connection from %v at %s closed: %v", c.from, raw.RemoteAddr(), malformed)
	case greeted: // it went away; our own lanes to it say so if it matters
	case err == io.EOF: // it said nothing: somebody looked whether the port is open
	case t.quiet.first(host(raw), short(err)):
		t.o.Logf("transport: connection from %s refused: %s", raw.RemoteAddr(), short(err))
	}
}

// greet does the acceptor's half of the handshake.
func (t *Transport) greet(c *inbound) error {
	_ = c.conn.SetDeadline(time.Now().Add(t.o.DialTimeout))
	if t.server != nil {
		tc := tls.Server(c.conn, t.server)
		ctx, cancel := context.WithTimeout(t.ctx, t.o.DialTimeout)
		defer cancel()
		if err := tc.HandshakeContext(ctx); err != nil {
			var record tls.RecordHeaderError
			if errors.As(err, &record) {
				return fmt.Errorf("%w: it does not speak TLS, and this member's peers must; give it a peer certificate", errForeign)
			}
			return fmt.Errorf("TLS: %w", err)
		}
		t.mu.Lock()
		c.conn = tc
		t.mu.Unlock()
	}
	h, err := readHello(c.conn)
	if err != nil {
		t.turnAway(c.conn, err)
		return err
	}
	y := t.judge(h)
	if y.code == welcome && h.lane == laneSnapshot && !t.admitSnapshot() {
		y.code, y.text = refuseBusy, fmt.Sprintf("%v is receiving %d snapshots already; try again later", t.o.Self, t.o.Snapshots)
	}
	if y.code == welcome {
		t.admit(c, h)
	}
	if _, err := c.conn.Write(y.encode()); err != nil {
		if y.code == welcome && h.lane == laneSnapshot {
			t.leaveSnapshot()
		}
		return err
	}
	if y.code != welcome {
		return errors.New(y.text)
	}
	_ = c.conn.SetDeadline(time.Time{})
	return nil
}

// turnAway answers those who speak another protocol in a way they understand.
func (t *Transport) turnAway(conn net.Conn, err error) {
	if errors.Is(err, errForeign) {
		_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nthis is the peer port of a quorate member; clients use the client port\n")
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
		_, _ = io.CopyN(io.Discard, conn, helloBytesMax) // closing with unread bytes would take the answer back
		return
	}
	var op *net.OpError
	if !errors.As(err, &op) && !errors.Is(err, io.EOF) {
		y := reply{code: refuseMalformed, version: versionMax, from: t.o.Self, cluster: t.o.Cluster, directory: t.o.Directory, text: err.Error()}
		_, _ = conn.Write(y.encode())
	}
}

// admit registers a connection that passed. An older one for the same purpose is
// closed: the peer would not have dialed if it still stood.
func (t *Transport) admit(c *inbound, h hello) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for old := range t.inbound {
		if old != c && old.from == h.from && old.lane == h.lane && h.lane != laneSnapshot {
			cut(old.conn)
			if t.quiet.first(h.from.String(), "again") {
				t.o.Logf("transport: %v dialed again from %s; its older %v connection from %s is closed (if this repeats, two processes have its id)",
					h.from, c.conn.RemoteAddr(), h.lane, old.conn.RemoteAddr())
			}
		}
	}
	c.from, c.lane, c.urls = h.from, h.lane, h.urls
	if t.closed {
		return
	}
	if p := t.peers[h.from]; p != nil {
		if !p.listed && len(h.urls) > 0 {
			p.setURLs(h.urls)
		}
		p.control.retry() // it lives: do not sit out the pause
		p.bulk.retry()
	} else if len(h.urls) > 0 {
		t.learn(Peer{ID: h.from, URLs: slices.Clone(h.urls)}, false)
	}
}

// receive reads frames until the connection ends.
func (t *Transport) receive(c *inbound, link timed) error {
	r := newFrameReader(link, t.o.FrameBytes)
	var pong []byte
	for {
		f, err := r.next()
		if err != nil {
			return err
		}
		if p := t.peer(c.from); p != nil {
			p.counters.receivedFrames.Add(1)
			p.counters.receivedBytes.Add(r.bytes)
		}
		switch f.kind {
		case frameMessage:
			m, err := decodeMessage(r, f)
			if err != nil {
				return r.malformed("%v", err)
			}
			if _, ok := m.(raft.InstallSnapshot); ok {
				return r.malformed("an install-snapshot message without its snapshot")
			}
			t.o.OnFrame(c.from, id.GroupID(f.tag), m)
		case framePing:
			pong = appendFrame(pong[:0], framePong, f.tag, nil)
			if _, err := link.Write(pong); err != nil {
				return err
			}
		case frameAsk:
			r.keep()
			t.o.OnAsked(c.from, f.tag, f.payload)
		case frameAnswer:
			if ask, ok := t.notices.answered(c.from, f.tag); ok {
				r.keep()
				t.o.OnAnswered(c.from, ask, f.payload, false)
			}
		default:
			return r.malformed("kind %d does not belong on the %v connection", f.kind, c.lane)
		}
	}
}
