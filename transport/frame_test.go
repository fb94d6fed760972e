package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/wire"
)

// Frames of all sizes come out as they went in, however the bytes are cut, and
// what was kept is never written over.
func TestFramesSurviveAnyFragmentation(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for round := range 9 {
		var stream []byte
		var want [][]byte
		for range 200 {
			n := rnd.IntN(300)
			switch rnd.IntN(40) {
			case 0:
				n = rnd.IntN(3 * readBytes)
			case 1:
				n = trustedLengthBytes + rnd.IntN(1<<20)
			}
			p := make([]byte, n)
			for i := 0; i < n; i += 1 + n/100 {
				p[i] = byte(rnd.Uint32())
			}
			want = append(want, p)
			stream = appendFrame(stream, frameAsk, uint64(len(want)), p)
		}
		var in io.Reader = bytes.NewReader(stream)
		switch round % 3 {
		case 1:
			in = iotest.HalfReader(in)
		case 2:
			in = &raggedReader{in, rnd}
		}
		r := newFrameReader(in, 4<<20)
		kept := make([][]byte, len(want))
		for k := range want {
			f, err := r.next()
			if err != nil || f.kind != frameAsk || f.tag != uint64(k+1) || !bytes.Equal(f.payload, want[k]) {
				t.Fatalf("round %d, frame %d of %d bytes: kind %d, tag %d, error %v", round, k, len(want[k]), f.kind, f.tag, err)
			}
			if rnd.IntN(3) == 0 {
				r.keep()
				kept[k] = f.payload
			}
		}
		if _, err := r.next(); err != io.EOF {
			t.Fatalf("after the last frame: %v", err)
		}
		for k, p := range kept {
			if p != nil && !bytes.Equal(p, want[k]) {
				t.Fatalf("round %d: kept frame %d was written over", round, k)
			}
		}
	}
}

type raggedReader struct {
	r   io.Reader
	rnd *rand.Rand
}

func (r *raggedReader) Read(p []byte) (int, error) {
	return r.r.Read(p[:min(len(p), 1+r.rnd.IntN(5000))])
}

// Control messages reuse one buffer; an announced length costs no memory.
func TestReaderMemory(t *testing.T) {
	var beats []byte
	for range 20000 {
		beats = appendMessageFrame(beats, frameMessage, 1, raft.Heartbeat{Term: 3, Commit: 9})
	}
	read := func(b []byte) uint64 {
		var before, after runtime.MemStats
		r := newFrameReader(bytes.NewReader(b), 1<<30)
		runtime.ReadMemStats(&before)
		for {
			if _, err := r.next(); err != nil {
				break
			}
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	if got := read(beats); got > 64<<10 {
		t.Errorf("reading %d bytes of heartbeats allocated %d", len(beats), got)
	}
	lie := appendFrame(nil, frameAsk, 1, nil)
	binary.LittleEndian.PutUint32(lie, 1<<30)
	if got := read(lie); got > 2*trustedLengthBytes {
		t.Errorf("a frame that only announces 1 GiB allocated %d", got)
	}
}

// Malformed frames end the connection they came on, with one line, and harm
// nobody else.
func TestMalformedFramesCloseTheConnection(t *testing.T) {
	a := start(t, n1, func(o *Options) { o.FrameBytes = 1 << 20 })
	raw := func(length uint32, rest ...byte) []byte { // with a checksum that fits
		b := binary.LittleEndian.AppendUint32(nil, length)
		b = binary.LittleEndian.AppendUint32(b, crc32.Update(crc32.Checksum(b[:4], castagnoli), castagnoli, rest))
		return append(b, rest...)
	}
	ok := appendMessageFrame(nil, frameMessage, 1, raft.TimeoutNow{Term: 1})
	flipped := bytes.Clone(ok)
	flipped[len(flipped)-1] ^= 1
	gap := wire.AppendMessage(nil, raft.Append{Term: 1, Entries: []raft.Entry{entry(5, "x")}})
	snap := wire.AppendMessage(nil, raft.InstallSnapshot{Term: 1})
	for _, c := range []struct {
		send []byte
		want string
	}{
		{raw(3, 1, 2, 3), "malformed frame at offset 0: length 3; it must be between 9 and 1048576"},
		{bytes.Repeat([]byte{0xff}, 40), "malformed frame at offset 0: length 4294967295; it must be between 9 and 1048576"},
		{append(bytes.Clone(ok), raw(9, 10, 0, 0, 0, 0, 0, 0, 0, 0)...), "malformed frame at offset 20: kind 10 is unknown"},
		{flipped, "malformed frame at offset 0: its checksum is"},
		{appendFrame(nil, frameMessage, 1, []byte{1, 99}), "wire: message: offset 1: kind 99 is unknown"},
		{appendFrame(nil, frameMessage, 1, gap), "entry 0 of the message has index 5; 1 was expected"},
		{appendFrame(nil, frameMessage, 1, snap), "an install-snapshot message without its snapshot"},
		{appendFrame(nil, frameChunk, 0, []byte("x")), "kind 7 does not belong on the bulk connection"},
	} {
		conn, _, err := dialAs(t, a, goodHello(a, n2, laneBulk))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(c.send); err != nil {
			t.Fatal(err)
		}
		ended(t, conn)
		if line := a.log(c.want); !strings.HasPrefix(line, "transport: connection from n2 at "+conn.LocalAddr().String()+" closed: malformed frame") {
			t.Errorf("log line %q", line)
		}
	}
	if got := get(t, "message before the malformed one", a.frames); got.m != (raft.TimeoutNow{Term: 1}) {
		t.Errorf("got %+v", got)
	}
	b := start(t, n3, nil)
	b.SetPeers([]Peer{a.at()})
	b.Send(n1, 1, raft.TimeoutNow{Term: 2})
	if got := get(t, "message", a.frames); got.from != n3 {
		t.Errorf("got %+v", got)
	}
}

// pipes is a listener whose connections are net.Pipes.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours
}

// Any bytes behind a good handshake, on every kind of connection: no panic, and
// the connection ends.
func FuzzConnection(f *testing.F) {
	f.Add(byte(laneControl), appendMessageFrame(nil, frameMessage, 1, raft.Heartbeat{Term: 3}))
	f.Add(byte(laneBulk), appendMessageFrame(appendFrame(nil, framePing, 7, nil), frameMessage, 1, appendOf(1, "x", "y")))
	f.Add(byte(laneBulk), appendFrame(appendFrame(nil, frameAsk, 1, []byte("q")), frameAnswer, 2, []byte("a")))
	snap := appendMessageFrame(nil, frameSnapshot, 1, raft.InstallSnapshot{Term: 1})
	snap = appendFrame(appendFrame(snap, frameChunk, 0, []byte("body")), frameSnapshotEnd, 4, nil)
	f.Add(byte(laneSnapshot), snap)
	f.Add(byte(9), []byte("GET / HTTP/1.1\r\n"))
	listener := newPipes()
	t, err := New(Options{Self: n1, Cluster: 1, Listener: listener,
		OnSnapshot: func(_ id.NodeID, _ id.GroupID, _ raft.InstallSnapshot, body io.Reader) error {
			_, err := io.Copy(io.Discard, body)
			return err
		}})
	if err != nil {
		f.Fatal(err)
	}
	t.SetPeers(nil)
	f.Cleanup(func() { _ = t.Close() })
	f.Fuzz(func(tt *testing.T, lane byte, b []byte) {
		conn := listener.dial()
		back := make(chan struct{})
		go func() { defer close(back); _, _ = io.Copy(io.Discard, conn) }()
		h := hello{versionMin: 1, versionMax: 1, lane: laneKind(lane), cluster: 1, from: n2, to: n1}
		if lane < 9 {
			_, _ = conn.Write(h.encode())
		}
		_, _ = conn.Write(b)
		_ = conn.Close()
		<-back
	})
}

// Any bytes as frames: what is accepted is spelled exactly as we would.
func FuzzFrames(f *testing.F) {
	f.Add(appendFrame(appendFrame(nil, framePing, 7, nil), frameAsk, 1, []byte("q")))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newFrameReader(iotest.HalfReader(bytes.NewReader(b)), 1<<20)
		var again []byte
		for {
			fr, err := r.next()
			if err != nil {
				if bad := (*errMalformed)(nil); errors.As(err, &bad) && bad.offset != int64(len(again)) {
					t.Fatalf("the bad frame begins at %d, reported %v", len(again), err)
				}
				break
			}
			again = appendFrame(again, fr.kind, fr.tag, fr.payload)
		}
		if !bytes.HasPrefix(b, again) {
			t.Fatalf("%x was read as %x", b, again)
		}
	})
}
