package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/wire"
)

// A snapshot has a connection of its own (docs/format/peer.md):
//
//	sender    ─ handshake ─ snapshot{group, header} ─ chunk ─ chunk ─ … ─ end{length} ─▶
//	receiver  ◀─ welcome ─────────────────────── pong every PingEvery ───── done{"" or why} ─
//
// The receiver's pongs say that it is still at work: a disk may take its time
// to sync, and the sender waits for that as long as they come.

// chunkBytes is the payload of one chunk and the unit of the throttle.
const chunkBytes = 64 << 10

// SendSnapshot sends a group's snapshot to a peer: header says what it is, and
// body writes its bytes (a snapshot.Stream). It blocks until the receiver has
// taken all of it, or failed; a receiver's own error comes back as text. Close
// and a SetPeers without the peer end it. Any goroutine may call it; to send one
// snapshot to a peer at a time is the caller's affair.
func (t *Transport) SendSnapshot(to id.NodeID, group id.GroupID, header raft.InstallSnapshot, body io.WriterTo) error {
	t.mu.Lock()
	p := t.peers[to]
	if p == nil || t.closed {
		t.mu.Unlock()
		return fmt.Errorf("transport: snapshot for %v: it is not a peer", to)
	}
	t.wg.Add(1) // Close waits for us too
	t.mu.Unlock()
	defer t.wg.Done()
	p.mu.Lock()
	urls := p.urls
	p.mu.Unlock()
	err := errors.New("it has no peer URL")
	for _, u := range urls {
		var addr string
		if addr, err = address(u, t.client != nil); err != nil {
			continue
		}
		var conn net.Conn
		if conn, err = t.dial(p.ctx, to, addr, laneSnapshot); err == nil {
			err = t.stream(p, conn, group, header, body)
			break // body is used up
		}
	}
	if err != nil {
		return fmt.Errorf("transport: snapshot of group %d at %d for %v: %w", group, header.Snapshot.Index, to, err)
	}
	return nil
}

func (t *Transport) stream(p *peer, conn net.Conn, group id.GroupID, header raft.InstallSnapshot, body io.WriterTo) error {
	release := cutAfter(p.ctx, conn)
	defer release()
	link := timed{conn, t.o.StallTimeout}

	// What comes back is read meanwhile: a receiver that fails early says why,
	// which is worth more than the broken pipe it causes.
	outcome := make(chan error, 1)
	go func() {
		err := awaitDone(link)
		cut(conn) // whatever is still being written is in vain
		outcome <- err
	}()

	w := &chunkWriter{p: p, w: link, began: time.Now(), rate: t.o.SnapshotBytesPerSecond}
	w.buf = appendMessageFrame(w.buf, frameSnapshot, uint64(group), header)
	err := w.flush()
	if err == nil {
		_, err = body.WriteTo(w)
	}
	if err == nil {
		err = w.finish()
	}
	if err != nil {
		timer := time.AfterFunc(t.o.PingEvery, func() { cut(conn) })
		said := <-outcome // the receiver's word first, if it has spoken
		timer.Stop()
		if errors.As(said, new(*receiverError)) {
			return said
		}
		return err
	}
	return <-outcome
}

// receiverError is what the receiver's OnSnapshot returned.
type receiverError struct{ text string }

func (e *receiverError) Error() string { return "the receiver failed: " + e.text }

// awaitDone reads pongs until the receiver is done.
func awaitDone(link timed) error {
	r := newFrameReader(link, 4<<10)
	for {
		f, err := r.next()
		switch {
		case err == io.EOF:
			return errors.New("the receiver closed the connection")
		case err != nil:
			return err
		case f.kind == framePong:
		case f.kind == frameSnapshotDone && len(f.payload) == 0:
			return nil
		case f.kind == frameSnapshotDone:
			return &receiverError{string(f.payload)}
		default:
			return r.malformed("kind %d does not belong here", f.kind)
		}
	}
}

// chunkWriter cuts what is written to it into chunk frames.
type chunkWriter struct {
	p     *peer
	w     io.Writer
	buf   []byte // a frame being filled
	total uint64
	began time.Time
	rate  int // bytes per second; 0: no limit
}

func (c *chunkWriter) Write(b []byte) (n int, err error) {
	for n < len(b) {
		if len(c.buf) == 0 {
			c.buf = beginFrame(c.buf, frameChunk, c.total)
		}
		part := min(headBytes+chunkBytes-len(c.buf), len(b)-n)
		c.buf = append(c.buf, b[n:n+part]...)
		n += part
		c.total += uint64(part)
		if len(c.buf) == headBytes+chunkBytes {
			if err := c.chunk(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (c *chunkWriter) chunk() error {
	endFrame(c.buf, 0)
	if err := c.flush(); err != nil {
		return err
	}
	if c.rate == 0 {
		return nil
	}
	timer := time.NewTimer(time.Until(c.began.Add(pace(c.total, c.rate))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.p.ctx.Done():
		return net.ErrClosed
	}
}

// pace is when total bytes are due at rate bytes per second; 0: no limit.
func pace(total uint64, rate int) time.Duration {
	if rate == 0 {
		return 0
	}
	return time.Duration(float64(total) / float64(rate) * float64(time.Second))
}

func (c *chunkWriter) finish() error {
	if len(c.buf) > 0 {
		if err := c.chunk(); err != nil {
			return err
		}
	}
	c.buf = appendFrame(c.buf, frameSnapshotEnd, c.total, nil)
	return c.flush()
}

func (c *chunkWriter) flush() error {
	_, err := c.w.Write(c.buf)
	c.p.counters.sentBytes.Add(uint64(len(c.buf)))
	c.p.counters.sentFrames.Add(1)
	c.buf = c.buf[:0]
	return err
}

// admitSnapshot takes one of the places for snapshots being received.
func (t *Transport) admitSnapshot() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.receiving >= t.o.Snapshots {
		return false
	}
	t.receiving++
	return true
}

func (t *Transport) leaveSnapshot() {
	t.mu.Lock()
	t.receiving--
	t.mu.Unlock()
}

// receiveSnapshot serves a snapshot connection that was admitted.
func (t *Transport) receiveSnapshot(c *inbound, link timed) error {
	defer t.leaveSnapshot()
	r := newFrameReader(link, t.o.FrameBytes)
	f, err := r.next()
	if err != nil {
		return err
	}
	var header raft.InstallSnapshot
	m, err := wire.Message(f.payload)
	header, ok := m.(raft.InstallSnapshot)
	if f.kind != frameSnapshot || err != nil || !ok {
		return r.malformed("a snapshot connection must begin with an install-snapshot message")
	}
	stop := t.working(link)
	body := &chunkReader{r: r}
	failed := t.o.OnSnapshot(c.from, id.GroupID(f.tag), header, body)
	stop()
	if failed == nil && !body.ended {
		failed = errors.New("it did not read the snapshot to its end")
	}
	text := ""
	if failed != nil {
		text = failed.Error()
		text = text[:min(len(text), 1<<10)]
	}
	if _, err := link.Write(appendFrame(nil, frameSnapshotDone, 0, []byte(text))); err != nil {
		return err
	}
	if errors.As(body.err, new(*errMalformed)) {
		return body.err
	}
	if failed != nil {
		// Let the sender read why before the connection goes: closing with unread
		// bytes would reset it.
		_, _ = io.Copy(io.Discard, link)
	}
	return nil
}

// working sends a pong every PingEvery until stop, which waits for the last.
func (t *Transport) working(link timed) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(t.o.PingEvery)
		defer ticker.Stop()
		pong := appendFrame(nil, framePong, 0, nil)
		for {
			select {
			case <-ticker.C:
				if _, err := link.Write(pong); err != nil {
					return
				}
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}

// chunkReader is the body of a snapshot being received.
type chunkReader struct {
	r     *frameReader
	chunk []byte
	total uint64
	ended bool
	err   error
}

func (c *chunkReader) Read(p []byte) (int, error) {
	for len(c.chunk) == 0 && c.err == nil {
		c.err = c.next()
	}
	if len(c.chunk) == 0 {
		return 0, c.err
	}
	n := copy(p, c.chunk)
	c.chunk = c.chunk[n:]
	return n, nil
}

func (c *chunkReader) next() error {
	f, err := c.r.next()
	switch {
	case err == io.EOF:
		return fmt.Errorf("the sender closed the connection after %d bytes: %w", c.total, io.ErrUnexpectedEOF)
	case err != nil:
		return err
	case f.kind == frameSnapshotEnd && f.tag == c.total:
		c.ended = true
		return io.EOF
	case f.kind != frameChunk || f.tag != c.total || len(f.payload) == 0 || len(f.payload) > chunkBytes:
		return c.r.malformed("kind %d at %d with %d bytes; a chunk of 1 to %d at %d was expected", f.kind, f.tag, len(f.payload), chunkBytes, c.total)
	}
	c.chunk = f.payload
	c.total += uint64(len(f.payload))
	return nil
}
