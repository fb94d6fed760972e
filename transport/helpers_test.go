package transport

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/wire"
)

// guard ends a wait that would never end; no test depends on its length.
const guard = 10 * time.Second

// TestMain checks, after everything, that no goroutine is left.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && !noneLeft() {
		buf := make([]byte, 1<<20)
		fmt.Printf("goroutines are left after the tests:\n%s\n", buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

// noneLeft waits until no goroutine of this package but the caller's is left.
func noneLeft() bool {
	buf := make([]byte, 1<<20)
	for until := time.Now().Add(guard); time.Now().Before(until); runtime.Gosched() {
		n := 0
		for _, g := range bytes.Split(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
			if bytes.Contains(g, []byte("quorate/transport.")) && !bytes.Contains(g, []byte("TestMain")) && !bytes.Contains(g, []byte("testing.tRunner")) {
				n++
			}
		}
		if n == 0 {
			return true
		}
	}
	return false
}

var (
	n1 = id.NodeID{Node: 1}
	n2 = id.NodeID{Node: 2}
	n3 = id.NodeID{Node: 3}
)

type received struct {
	from  id.NodeID
	group id.GroupID
	m     raft.Message
}

type answer struct {
	from    id.NodeID
	ask     uint64
	data    string
	unknown bool
}

// member is a Transport under test. What its callbacks are given lies in
// channels, and its log lines can be waited for.
type member struct {
	*Transport
	t           *testing.T
	frames      chan received
	asked       chan answer
	answered    chan answer
	unreachable chan id.NodeID
	gone        chan struct{} // closed first by Close: callbacks wait for nobody any more
	once        sync.Once

	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func start(t *testing.T, self id.NodeID, change func(*Options)) *member {
	t.Helper()
	m := &member{t: t, frames: make(chan received, 10000), asked: make(chan answer, 1000),
		answered: make(chan answer, 1000), unreachable: make(chan id.NodeID, 1000), gone: make(chan struct{}), more: make(chan struct{})}
	o := Options{Self: self, Cluster: 0xc1, Directory: id.DirectoryID{0: byte(self.Node)}, Addr: "127.0.0.1:0", Seed: self.Node,
		BackoffMin: time.Millisecond, BackoffMax: 10 * time.Millisecond, PingEvery: 20 * time.Millisecond,
		OnFrame: func(from id.NodeID, g id.GroupID, msg raft.Message) { put(m, m.frames, received{from, g, msg}) },
		OnAsked: func(from id.NodeID, ask uint64, data []byte) { put(m, m.asked, answer{from, ask, string(data), false}) },
		OnAnswered: func(from id.NodeID, ask uint64, data []byte, un bool) {
			put(m, m.answered, answer{from, ask, string(data), un})
		},
		OnUnreachable: func(n id.NodeID) { put(m, m.unreachable, n) },
		Logf:          m.logf,
	}
	if change != nil {
		change(&o)
	}
	tr, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	m.Transport = tr
	tr.SetPeers(nil)
	t.Cleanup(func() {
		_ = m.Close()
		if t.Failed() {
			t.Logf("%v logged:\n%s\nits counters at the end: %+v", self, m.logged(), m.Stats())
		}
	})
	return m
}

// put is a callback's send; it ends when the member is closed and nobody reads.
func put[T any](m *member, c chan T, v T) {
	select {
	case c <- v:
	case <-m.gone:
	}
}

// Close closes the Transport, whatever its callbacks wait for.
func (m *member) Close() error {
	m.once.Do(func() { close(m.gone) })
	return m.Transport.Close()
}

func (m *member) logf(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines = append(m.lines, fmt.Sprintf(format, args...))
	close(m.more)
	m.more = make(chan struct{})
}

// log waits for a line that contains text and returns it.
func (m *member) log(text string) string {
	m.t.Helper()
	timeout := time.After(guard)
	for {
		m.mu.Lock()
		lines, more := m.lines, m.more
		m.mu.Unlock()
		for _, l := range lines {
			if strings.Contains(l, text) {
				return l
			}
		}
		select {
		case <-more:
		case <-timeout:
			m.t.Fatalf("no log line with %q; there are:\n%s", text, strings.Join(lines, "\n"))
		}
	}
}

func (m *member) logged() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.lines, "\n")
}

func (m *member) url() string { return "http://" + m.Addr().String() }

func (m *member) at() Peer { return Peer{ID: m.o.Self, URLs: []string{m.url()}} }

func (m *member) peerStats(n id.NodeID) Stats {
	for _, s := range m.Stats() {
		if s.Peer == n {
			return s
		}
	}
	return Stats{}
}

// reaches tells whether both lanes to a peer are connected to this one.
func (m *member) reaches(n id.NodeID, at *member) bool {
	p := m.peer(n)
	for _, l := range []*lane{p.control, p.bulk} {
		l.mu.Lock()
		ok := l.conn != nil && l.addr == at.Addr().String()
		l.mu.Unlock()
		if !ok {
			return false
		}
	}
	return true
}

func get[T any](t *testing.T, what string, c chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(guard):
		t.Fatalf("no %s came", what)
		panic("unreachable")
	}
}

// until waits for a condition that nothing announces.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(guard); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func entry(i id.Index, data string) raft.Entry {
	e := raft.Entry{Term: 3, Index: i, Kind: raft.EntryCommand, Data: []byte(data)}
	wire.Seal(&e)
	return e
}

func appendOf(first id.Index, data ...string) raft.Append {
	m := raft.Append{Term: 3, Prev: first - 1, PrevTerm: 3}
	for k, d := range data {
		m.Entries = append(m.Entries, entry(first+id.Index(k), d))
	}
	return m
}

// fake is a member made by hand, to misbehave. As acceptor it greets every
// connection as self and hands it to serve.
func fake(t *testing.T, self id.NodeID, serve func(k laneKind, c net.Conn)) Peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Add(1)
			go func() {
				defer wg.Done()
				h, err := readHello(c)
				if err != nil {
					return
				}
				_, _ = c.Write(reply{version: versionMax, from: self, cluster: h.cluster}.encode())
				serve(h.lane, c)
			}()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return Peer{ID: self, URLs: []string{"http://" + l.Addr().String()}}
}

// dialAs connects to a member and shakes hands as another would.
func dialAs(t *testing.T, m *member, h hello) (net.Conn, reply, error) {
	t.Helper()
	c, err := net.Dial("tcp", m.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(guard))
	if _, err := c.Write(h.encode()); err != nil {
		t.Fatal(err)
	}
	y, err := readReply(c)
	return c, y, err
}

func goodHello(m *member, from id.NodeID, k laneKind) hello {
	return hello{versionMin: versionMin, versionMax: versionMax, lane: k, cluster: m.o.Cluster, from: from, to: m.o.Self}
}

// ended waits until the other side has closed.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(guard))
	if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Fatal("the connection was not closed")
	}
}
