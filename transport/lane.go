package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/wire"
)

// peer is a member we send to: two lanes, so that data never delays control.
type peer struct {
	t             *Transport
	id            id.NodeID
	listed        bool // by SetPeers; otherwise it lives as long as it is connected to us. Guarded by Transport.mu
	control, bulk *lane
	counters      counters
	ctx           context.Context // ends when the peer is let go
	stop          context.CancelFunc

	mu    sync.Mutex
	urls  []string
	down  int    // lanes that cannot reach it
	logNo string // what was logged about this outage
}

func newPeer(t *Transport, at Peer) *peer {
	p := &peer{t: t, id: at.ID, urls: slices.Clone(at.URLs)}
	p.ctx, p.stop = context.WithCancel(t.ctx)
	p.control = newLane(p, laneControl, t.o.ControlBytes)
	p.bulk = newLane(p, laneBulk, t.o.QueueBytes)
	t.wg.Add(2)
	go p.control.run()
	go p.bulk.run()
	return p
}

// setURLs takes new addresses. A connection to an address that is gone is closed.
func (p *peer) setURLs(urls []string) {
	p.mu.Lock()
	if slices.Equal(p.urls, urls) {
		p.mu.Unlock()
		return
	}
	p.urls = slices.Clone(urls)
	p.mu.Unlock()
	for _, l := range []*lane{p.control, p.bulk} {
		l.readdress(urls)
		l.retry()
	}
}

// lost and found count the lanes that cannot reach the peer: an outage begins
// with the first and ends with the last.
func (p *peer) lost(addr string, err error) {
	p.mu.Lock()
	p.down++
	began := p.down == 1
	text := fmt.Sprintf("transport: %v at %s cannot be reached: %s", p.id, addr, short(err))
	say := p.logNo != text
	p.logNo = text
	p.mu.Unlock()
	if began {
		p.counters.outages.Add(1)
		p.t.notices.unreachable(p.id)
	}
	p.t.notices.lostAll(p.id)
	if say {
		p.t.o.Logf("%s", text)
	}
}

func (p *peer) stillLost(addr string, err error) {
	p.mu.Lock()
	text := fmt.Sprintf("transport: %v at %s cannot be reached: %s", p.id, addr, short(err))
	say := p.logNo != text && p.t.quiet.first(p.id.String(), text)
	p.logNo = text
	p.mu.Unlock()
	if say {
		p.t.o.Logf("%s", text)
	}
}

func (p *peer) found(addr string) {
	p.mu.Lock()
	p.down--
	again := p.down == 0
	if again {
		p.logNo = ""
	}
	p.mu.Unlock()
	if again {
		p.t.quiet.forget(p.id.String())
		p.t.o.Logf("transport: %v at %s is reached again", p.id, addr)
	}
}

func (p *peer) stats() Stats {
	c := &p.counters
	s := Stats{Peer: p.id, SentFrames: c.sentFrames.Load(), SentBytes: c.sentBytes.Load(),
		ReceivedFrames: c.receivedFrames.Load(), ReceivedBytes: c.receivedBytes.Load(),
		Dropped: c.dropped.Load(), Outages: c.outages.Load(), RTT: time.Duration(c.rtt.Load())}
	s.Connected = true
	for _, l := range []*lane{p.control, p.bulk} {
		l.mu.Lock()
		s.QueuedBytes += l.queued
		s.Connected = s.Connected && l.conn != nil
		l.mu.Unlock()
	}
	return s
}

// outgoing is a frame to be: it is encoded by the writer, into its own buffer.
type outgoing struct {
	kind    frameKind
	tag     uint64
	message raft.Message // frameMessage
	data    []byte       // the others
	bytes   int          // what it counts for
}

// lane is one queue and the connection it is written to.
//
//	            dial, handshake              write fails, silence
//	connecting ─────────────────▶ connected ─────────────────────▶ down
//	  queues       │ fails            ▲            drops the queue,  │
//	               └──────────────────┼──────────▶ and what comes ◀──┤
//	                                  └───────── dial after a pause ─┘
type lane struct {
	p     *peer
	kind  laneKind
	limit int           // bytes of the queue
	wake  chan struct{} // 1: the queue is not empty any more
	kick  chan struct{} // 1: do not wait for the pause to end
	rnd   *rand.Rand    // of the pauses; used by run only
	buf   []byte        // frames being written; used by run only
	spare []outgoing    // the last batch's memory, empty; used by run only

	mu     sync.Mutex
	queue  []outgoing // from head on
	head   int
	queued int // bytes
	down   bool
	full   bool // dropping since the queue overflowed; ends when it is empty
	conn   net.Conn
	addr   string // of conn
}

const (
	writeBytes    = 256 << 10 // of frames joined into one write
	writeBytesMax = 4 << 20   // a buffer that grew past this is not kept
	spareMax      = 4096      // likewise, frames
)

func newLane(p *peer, k laneKind, limit int) *lane {
	seed := p.t.o.Seed ^ p.id.Node<<8 ^ uint64(k)
	return &lane{p: p, kind: k, limit: limit, wake: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		rnd: rand.New(rand.NewPCG(seed, p.t.o.Self.Node))}
}

// send queues a frame, or drops it and returns false.
func (l *lane) send(out outgoing) bool {
	l.mu.Lock()
	over := l.queued+out.bytes > l.limit
	if out.bytes > l.p.t.o.FrameBytes || l.down || over {
		report := over && !l.down && !l.full
		l.full = l.full || report
		l.mu.Unlock()
		l.p.counters.dropped.Add(1)
		if report {
			l.p.t.notices.unreachable(l.p.id)
		}
		if out.bytes > l.p.t.o.FrameBytes && l.p.t.quiet.first(l.p.id.String(), "too large") {
			l.p.t.o.Logf("transport: a message of %d bytes for %v is dropped: the limit of a frame is %d", out.bytes, l.p.id, l.p.t.o.FrameBytes)
		}
		return false
	}
	l.queue = append(l.queue, out)
	l.queued += out.bytes
	first := len(l.queue) == l.head+1
	l.mu.Unlock()
	if first {
		signal(l.wake)
	}
	return true
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// retry ends a pause between attempts.
func (l *lane) retry() { signal(l.kick) }

// readdress closes a connection to an address that is not in urls.
func (l *lane) readdress(urls []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return
	}
	for _, u := range urls {
		if a, err := address(u, l.p.t.client != nil); err == nil && a == l.addr {
			return
		}
	}
	cut(l.conn)
}

// run is the lane's goroutine, until the peer is let go.
func (l *lane) run() {
	defer l.p.t.wg.Done()
	pause := l.p.t.o.BackoffMin
	for turn := 0; l.p.ctx.Err() == nil; turn++ {
		conn, addr, err := l.connect(turn)
		if err == nil {
			if l.up(conn, addr) {
				l.p.found(addr)
			}
			l.p.mu.Lock()
			urls := l.p.urls
			l.p.mu.Unlock()
			l.readdress(urls) // they may have changed while we dialed
			var alive bool
			alive, err = l.serve(conn)
			if alive {
				pause = l.p.t.o.BackoffMin
			}
		}
		l.fell(addr, err)
		if !l.wait(pause) {
			break
		}
		pause = min(2*pause, l.p.t.o.BackoffMax)
	}
	l.mu.Lock()
	l.down = true // whoever still holds this peer sends to nobody
	l.mu.Unlock()
	l.drop()
	l.p.t.notices.lostAll(l.p.id)
}

// connect dials the next address.
func (l *lane) connect(turn int) (net.Conn, string, error) {
	l.p.mu.Lock()
	urls := l.p.urls
	l.p.mu.Unlock()
	if len(urls) == 0 {
		return nil, "no address", errors.New("it has no peer URL")
	}
	u := urls[turn%len(urls)]
	addr, err := address(u, l.p.t.client != nil)
	if err != nil {
		return nil, u, err
	}
	conn, err := l.p.t.dial(l.p.ctx, l.p.id, addr, l.kind)
	return conn, addr, err
}

// up tells whether the lane was down before.
func (l *lane) up(conn net.Conn, addr string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.down
	l.down, l.conn, l.addr = false, conn, addr
	return was
}

// fell goes down, if it was not: what is queued is dropped.
func (l *lane) fell(addr string, err error) {
	if l.p.ctx.Err() != nil {
		return // let go, or closing: no news for anybody
	}
	l.mu.Lock()
	was := l.down
	l.down, l.conn = true, nil
	l.mu.Unlock()
	if was {
		l.p.stillLost(addr, err)
		return
	}
	l.drop()
	l.p.lost(addr, err)
}

// drop empties the queue. Requests in it end as unknown.
func (l *lane) drop() {
	l.mu.Lock()
	queue := l.queue[l.head:]
	l.queue, l.head, l.queued, l.full = nil, 0, 0, false
	l.mu.Unlock()
	l.p.counters.dropped.Add(uint64(len(queue)))
	for _, out := range queue {
		if out.kind == frameAsk {
			l.p.t.notices.lost(out.tag)
		}
	}
}

// wait pauses for between half and one and a half of d; false: stop.
func (l *lane) wait(d time.Duration) bool {
	timer := time.NewTimer(d/2 + time.Duration(l.rnd.Int64N(int64(d))))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.kick:
	case <-l.p.ctx.Done():
		return false
	}
	return true
}

// serve writes the queue to conn until something breaks. alive: the peer has
// answered a ping, so the next attempt need not wait long.
func (l *lane) serve(conn net.Conn) (alive bool, err error) {
	c := timed{conn, l.p.t.o.StallTimeout}
	release := cutAfter(l.p.ctx, conn)
	defer release()
	began := time.Now() // pings carry the time since
	broken := make(chan error, 1)
	go func() {
		var err error
		alive, err = l.pongs(c, began)
		broken <- err
	}()
	err = l.write(c, began, broken)
	cut(conn)
	if err == nil {
		err = <-broken
	} else if e := <-broken; errors.As(err, new(*net.OpError)) && !errors.Is(e, net.ErrClosed) {
		err = e // the reader saw why the write failed
	}
	if errors.Is(err, net.ErrClosed) { // by readdress: nobody else closes it under a peer that is kept
		err = errors.New("its address has changed")
	}
	return alive, err
}

// write is the loop of the writer. nil: broken has the reason.
func (l *lane) write(c timed, began time.Time, broken chan error) error {
	ticker := time.NewTicker(l.p.t.o.PingEvery)
	defer ticker.Stop()
	ping := true
	for {
		batch := l.take()
		b := l.buf[:0]
		if ping {
			b = appendFrame(b, framePing, uint64(time.Since(began)), nil)
			ping = false
		}
		for i := range batch {
			b = batch[i].append(b)
		}
		frames := len(batch)
		clear(batch) // entries must not live longer for having been sent
		if l.spare = batch[:0]; cap(l.spare) > spareMax {
			l.spare = nil
		}
		if len(b) > 0 {
			if _, err := c.Write(b); err != nil {
				return err
			}
			l.p.counters.sentFrames.Add(uint64(frames))
			l.p.counters.sentBytes.Add(uint64(len(b)))
		}
		if l.buf = b; cap(b) > writeBytesMax {
			l.buf = nil
		}
		wake := l.wake
		if frames > 0 {
			wake = closedChan // more may be queued: look again, but not past a ping or a break
		}
		select {
		case <-ticker.C:
			ping = true
		case err := <-broken:
			broken <- err
			return nil
		case <-wake:
		}
	}
}

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// take takes frames of about writeBytes, at least one if there is any.
func (l *lane) take() []outgoing {
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting, n, bytes := l.queue[l.head:], 0, 0
	for n < len(waiting) && (n == 0 || bytes+waiting[n].bytes <= writeBytes) {
		bytes += waiting[n].bytes
		n++
	}
	batch := append(l.spare, waiting[:n]...)
	clear(waiting[:n])
	l.head += n
	l.queued -= bytes
	switch {
	case l.head == len(l.queue):
		l.head, l.full = 0, false
		if l.queue = l.queue[:0]; cap(l.queue) > spareMax {
			l.queue = nil
		}
	case l.head > len(l.queue)/2: // moved at most once per frame on average
		rest := copy(l.queue, l.queue[l.head:])
		clear(l.queue[rest:])
		l.queue, l.head = l.queue[:rest], 0
	}
	return batch
}

func (out *outgoing) append(b []byte) []byte {
	if out.kind == frameMessage {
		return appendMessageFrame(b, out.kind, out.tag, out.message)
	}
	return appendFrame(b, out.kind, out.tag, out.data)
}

// pongs reads what comes back: pongs and the end of the connection.
func (l *lane) pongs(c timed, began time.Time) (alive bool, err error) {
	r := newFrameReader(c, 64)
	for {
		f, err := r.next()
		switch {
		case err != nil:
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = errors.New("it closed the connection")
			}
			return alive, err
		case f.kind != framePong:
			return alive, &errMalformed{r.offset, fmt.Sprintf("kind %d does not belong here", f.kind)}
		}
		alive = true
		if rtt := time.Since(began) - time.Duration(f.tag); l.kind == laneControl && rtt > 0 {
			l.p.counters.rtt.Store(int64(rtt))
		}
	}
}

// decodeMessage decodes a frame's message and tells the reader whether its
// buffer is shared with it.
func decodeMessage(r *frameReader, f frame) (raft.Message, error) {
	m, err := wire.Message(f.payload)
	if a, ok := m.(raft.Append); ok && len(a.Entries) > 0 {
		r.keep()
	}
	return m, err
}
