package http

import (
	"errors"
	"net"
	"sync"
	"time"
)

// preface is what every HTTP/2 client with prior knowledge sends first (RFC
// 9113 §3.4). No HTTP/1.1 request begins with it: PRI is not a method.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

const (
	peekTimeout = 5 * time.Second // for the first bytes; a silent connection is closed then
	peekingMax  = 1024            // connections being looked at; further ones wait in the kernel's queue
)

// Port shares one listener between HTTP/1.1 and another protocol: gRPC on the
// client port, frames on the peer port. Serve accepts; HTTP and Other are
// listeners for the two servers. Close ends all three; connections already
// handed over live on in their server.
type Port struct {
	listener net.Listener
	timeout  time.Duration
	classify func(net.Conn, time.Duration) (c net.Conn, isHTTP bool, err error)
	other    *half
	http     *half
	room     chan struct{} // one token per connection being looked at
	quit     chan struct{}
	once     sync.Once
	peeking  sync.WaitGroup
}

// NewClientPort takes the listener over. Other is gRPC.
func NewClientPort(l net.Listener) *Port { return newPort(l, httpOrGRPC) }

func newPort(l net.Listener, classify func(net.Conn, time.Duration) (net.Conn, bool, error)) *Port {
	p := &Port{listener: l, timeout: peekTimeout, classify: classify, room: make(chan struct{}, peekingMax), quit: make(chan struct{})}
	p.other = &half{port: p, conns: make(chan net.Conn)}
	p.http = &half{port: p, conns: make(chan net.Conn)}
	return p
}

// HTTP is the listener of connections that speak HTTP/1.1.
func (p *Port) HTTP() net.Listener { return p.http }

// Other is the listener of the others.
func (p *Port) Other() net.Listener { return p.other }

// Serve accepts until Close, then returns net.ErrClosed. A failed accept (no
// file descriptors left) is tried again with a growing pause.
func (p *Port) Serve() error {
	defer p.peeking.Wait()
	const pauseMin, pauseMax = 5 * time.Millisecond, time.Second
	pause := pauseMin
	for {
		select {
		case p.room <- struct{}{}:
		case <-p.quit:
			return net.ErrClosed
		}
		conn, err := p.listener.Accept()
		if err == nil {
			pause = pauseMin
			p.peeking.Add(1)
			go p.sort(conn)
			continue
		}
		<-p.room
		if errors.Is(err, net.ErrClosed) {
			return net.ErrClosed
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, pauseMax)
		case <-p.quit:
			return net.ErrClosed
		}
	}
}

// Close stops accepting. It returns at once; Serve returns when no connection is
// being looked at any more.
func (p *Port) Close() error {
	var err error
	p.once.Do(func() {
		close(p.quit)
		err = p.listener.Close()
	})
	return err
}

// sort hands conn to the side it belongs to.
func (p *Port) sort(conn net.Conn) {
	defer p.peeking.Done()
	defer func() { <-p.room }()
	c, isHTTP, err := p.classify(conn, p.timeout)
	if err != nil {
		conn.Close()
		return
	}
	side := p.other
	if isHTTP {
		side = p.http
	}
	select {
	case side.conns <- c:
	case <-p.quit:
		conn.Close()
	}
}

// httpOrGRPC tells HTTP/1.1 from HTTP/2.
func httpOrGRPC(conn net.Conn, timeout time.Duration) (net.Conn, bool, error) {
	head, isHTTP2, err := peek(conn, timeout)
	return &peeked{Conn: conn, head: head}, !isHTTP2, err
}

// peek reads no more than the preface and says whether it was one. It stops at
// the first byte that differs, so a short HTTP/1.0 request is not waited on.
func peek(conn net.Conn, timeout time.Duration) (head []byte, isHTTP2 bool, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return nil, false, err
	}
	head = make([]byte, 0, len(preface))
	for len(head) < len(preface) {
		n, err := conn.Read(head[len(head):cap(head)])
		head = head[:len(head)+n]
		if string(head) != preface[:len(head)] {
			return head, false, conn.SetReadDeadline(time.Time{})
		}
		if err != nil {
			return nil, false, err
		}
	}
	return head, true, conn.SetReadDeadline(time.Time{})
}

// peeked gives back the bytes that were looked at before reading on.
type peeked struct {
	net.Conn
	head []byte
}

func (c *peeked) Read(b []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(b, c.head)
		if c.head = c.head[n:]; len(c.head) == 0 {
			c.head = nil
		}
		return n, nil
	}
	return c.Conn.Read(b)
}

// half is one side of a Port as a listener.
type half struct {
	port  *Port
	conns chan net.Conn
}

func (h *half) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.port.quit:
		return nil, net.ErrClosed
	}
}

// Close closes the whole port: a server that stops means the member stops.
func (h *half) Close() error   { return h.port.Close() }
func (h *half) Addr() net.Addr { return h.port.listener.Addr() }
