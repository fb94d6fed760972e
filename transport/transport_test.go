package transport

import (
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

func TestMessagesArriveAsTheyWereSent(t *testing.T) {
	a, b := start(t, n1, nil), start(t, n2, nil)
	a.SetPeers([]Peer{a.at(), b.at()}) // both dial at once; a's own entry is ignored
	b.SetPeers([]Peer{b.at(), a.at()})
	sent := []raft.Message{
		raft.RequestPreVote{Term: 3, LastIndex: 9, LastTerm: 2}, raft.PreVote{Term: 3, For: 4, Granted: true},
		raft.Heartbeat{Term: 3, Commit: 9, Round: 7}, raft.AppendAccepted{Term: 3, Match: 9}, raft.TimeoutNow{Term: 3},
	}
	for k, m := range sent {
		a.Send(n2, id.GroupID(k+1), m)
		b.Send(n1, id.GroupID(k+1), m)
	}
	for _, side := range []struct {
		m    *member
		from id.NodeID
	}{{a, n2}, {b, n1}} {
		for k, want := range sent { // one queue: in order
			got := get(t, "message", side.m.frames)
			if got.from != side.from || got.group != id.GroupID(k+1) || !reflect.DeepEqual(got.m, want) {
				t.Errorf("message %d: got %+v, want %+v from %v", k, got, want, side.from)
			}
		}
	}
	long := strings.Repeat("v", 3<<20) // longer than every buffer
	batch := appendOf(10, "x=3", long, "y=1")
	a.Send(n2, 1, batch)
	a.Send(n2, 1, appendOf(13, "z=9"))
	first, second := get(t, "append", b.frames).m, get(t, "append", b.frames).m
	if !reflect.DeepEqual(first, raft.Message(batch)) || second.(raft.Append).Prev != 12 {
		t.Errorf("appends arrived changed or out of order")
	}
	until(t, "what was written is counted", func() bool { return a.peerStats(n2).SentFrames == 7 })
	if s := a.peerStats(n2); !s.Connected || s.SentFrames < 7 || s.SentBytes < 3<<20 || s.Dropped != 0 || s.Outages != 0 {
		t.Errorf("counters of n1 for n2: %+v", s)
	}
	if s := b.peerStats(n1); s.ReceivedFrames < 7 || s.ReceivedBytes < 3<<20 {
		t.Errorf("counters of n2 for n1: %+v", s)
	}
	until(t, "a ping is answered", func() bool { return a.peerStats(n2).RTT > 0 })
}

// A peer goes away and comes back: told once, reached again without being asked.
func TestPeerThatRestartsIsReachedAgain(t *testing.T) {
	a, b := start(t, n1, nil), start(t, n2, nil)
	where := b.at()
	a.SetPeers([]Peer{where})
	a.Send(n2, 1, raft.TimeoutNow{Term: 1})
	get(t, "message", b.frames)
	addr := b.Addr().String()
	_ = b.Close()
	if n := get(t, "report", a.unreachable); n != n2 {
		t.Errorf("%v was reported unreachable", n)
	}
	a.log("n2 at " + addr + " cannot be reached: ")
	until(t, "both lanes are down", func() bool {
		p := a.peer(n2)
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.down == 2
	})
	before := a.peerStats(n2).Dropped
	a.Send(n2, 1, raft.TimeoutNow{Term: 2})
	if d := a.peerStats(n2).Dropped; d != before+1 {
		t.Errorf("a message to a peer that cannot be reached: %d dropped, %d before", d, before)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	b = start(t, n2, func(o *Options) { o.Addr, o.Listener = "", l })
	a.log("n2 at " + addr + " is reached again")
	a.Send(n2, 1, raft.TimeoutNow{Term: 3})
	if got := get(t, "message", b.frames); got.m != (raft.TimeoutNow{Term: 3}) {
		t.Errorf("after the restart came %+v", got)
	}
	if n := len(a.unreachable); n != 0 {
		t.Errorf("reported unreachable %d times more than once", n)
	}
	if s := a.peerStats(n2); s.Outages != 1 {
		t.Errorf("%d outages were counted", s.Outages)
	}
}

// A peer that reads no data: the queue fills up to its bound, what is beyond is
// dropped and told once, no Send waits, and heartbeats still pass, as does
// everything to others.
func TestStalledPeerDropsDataButNotHeartbeatsNorOthers(t *testing.T) {
	beats := make(chan struct{}, 1000)
	hold := make(chan struct{})
	stalled := fake(t, n2, func(k laneKind, c net.Conn) {
		if k != laneControl {
			<-hold // reads nothing
			return
		}
		r := newFrameReader(c, 1<<20)
		for {
			f, err := r.next()
			if err != nil {
				return
			}
			if f.kind == frameMessage {
				beats <- struct{}{}
			} else {
				_, _ = c.Write(appendFrame(nil, framePong, f.tag, nil))
			}
		}
	})
	t.Cleanup(func() { close(hold) })
	const limit = 2 << 20
	a := start(t, n1, func(o *Options) { o.QueueBytes, o.StallTimeout = limit, time.Hour })
	c := start(t, n3, nil)
	a.SetPeers([]Peer{stalled, c.at()})
	data := strings.Repeat("d", 200<<10)
	for i := id.Index(1); a.peerStats(n2).Dropped < 20; i++ {
		a.Send(n2, 1, appendOf(i, data))
		a.Send(n2, 1, raft.Heartbeat{Term: 3})
		get(t, "heartbeat", beats)
		a.Send(n3, 1, appendOf(i, data))
		if got := get(t, "append", c.frames).m.(raft.Append); got.Entries[0].Index != i {
			t.Fatalf("n3 got entry %d, sent %d", got.Entries[0].Index, i)
		}
		if q := a.peerStats(n2).QueuedBytes; q > limit {
			t.Fatalf("%d bytes are queued; the limit is %d", q, limit)
		}
		if i > 2000 {
			t.Fatal("the queue has no end")
		}
	}
	if n := get(t, "report", a.unreachable); n != n2 {
		t.Errorf("%v was reported unreachable", n)
	}
	if n := len(a.unreachable); n != 0 {
		t.Errorf("one overflow was reported %d times more", n)
	}
}

// A peer that takes bytes but answers no ping is given up after StallTimeout.
func TestSilentPeerIsGivenUp(t *testing.T) {
	silent := fake(t, n2, func(_ laneKind, c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	a := start(t, n1, func(o *Options) { o.StallTimeout, o.PingEvery = 60*time.Millisecond, 20*time.Millisecond })
	a.SetPeers([]Peer{silent})
	get(t, "report", a.unreachable)
	a.log("cannot be reached: read: no progress in time")
}

// New addresses are used at once; a peer taken from the list is let go.
func TestPeersChangeAddressOnTheFly(t *testing.T) {
	a, old, moved := start(t, n1, nil), start(t, n2, nil), start(t, n2, nil)
	a.SetPeers([]Peer{old.at()})
	a.Send(n2, 1, raft.TimeoutNow{Term: 1})
	get(t, "message", old.frames)
	a.SetPeers([]Peer{moved.at()})
	until(t, "both lanes are at the new address", func() bool { return a.reaches(n2, moved) })
	a.log("n2 at " + moved.Addr().String() + " is reached again")
	a.log("cannot be reached: its address has changed")
	a.Send(n2, 1, raft.TimeoutNow{Term: 2})
	if got := get(t, "message", moved.frames); got.m != (raft.TimeoutNow{Term: 2}) {
		t.Errorf("at the new address came %+v", got)
	}
	a.SetPeers(nil)
	if s := a.Stats(); len(s) != 0 {
		t.Errorf("peers after all were taken away: %+v", s)
	}
	a.Send(n2, 1, raft.TimeoutNow{Term: 3}) // to nobody: nothing happens
}

// Addresses are tried in turn until one answers.
func TestSecondURLIsTried(t *testing.T) {
	a, b := start(t, n1, nil), start(t, n2, nil)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	a.SetPeers([]Peer{{ID: n2, URLs: []string{"http://" + dead.Addr().String(), "https://wants.tls:1", b.url()}}})
	until(t, "both lanes are at the second address", func() bool { return a.reaches(n2, b) })
	a.log("n2 at " + b.Addr().String() + " is reached again")
	a.Send(n2, 1, raft.TimeoutNow{Term: 1})
	get(t, "message", b.frames)
	a.log("set one or use http://")
}

// A member that was just added reaches one that has not heard of it: that one
// can answer, for as long as the connection stands.
func TestUnlistedMemberIsAnswered(t *testing.T) {
	a := start(t, n1, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := start(t, n2, func(o *Options) {
		o.Addr, o.Listener, o.Advertise = "", l, []string{"http://" + l.Addr().String()}
	})
	b.SetPeers([]Peer{a.at()})
	b.Send(n1, 1, raft.RequestVote{Term: 4})
	if got := get(t, "message", a.frames); got.from != n2 {
		t.Fatalf("got %+v", got)
	}
	a.Send(n2, 1, raft.Vote{Term: 4, Granted: true})
	if got := get(t, "answer", b.frames); got.m != (raft.Vote{Term: 4, Granted: true}) {
		t.Errorf("got %+v", got)
	}
	a.SetPeers([]Peer{{ID: n3, URLs: []string{"http://127.0.0.1:1"}}}) // a list without it does not end that
	a.Send(n2, 1, raft.Vote{Term: 5})
	get(t, "answer", b.frames)
	_ = b.Close()
	until(t, "it is forgotten when it is gone", func() bool { return a.peer(n2) == nil })
}

// Two processes with one id: the later connection stands, and the log says so.
func TestSecondConnectionReplacesTheFirst(t *testing.T) {
	a := start(t, n1, nil)
	c1, _, err := dialAs(t, a, goodHello(a, n2, laneControl))
	if err != nil {
		t.Fatal(err)
	}
	c2, _, err := dialAs(t, a, goodHello(a, n2, laneControl))
	if err != nil {
		t.Fatal(err)
	}
	ended(t, c1)
	a.log("n2 dialed again from " + c2.LocalAddr().String() + "; its older control connection from " + c1.LocalAddr().String() + " is closed")
	if _, err := c2.Write(appendMessageFrame(nil, frameMessage, 1, raft.TimeoutNow{Term: 1})); err != nil {
		t.Fatal(err)
	}
	get(t, "message", a.frames)
}

func TestConnectionsAreBounded(t *testing.T) {
	a := start(t, n1, func(o *Options) { o.Connections = 2 })
	for _, n := range []id.NodeID{n2, n3} {
		if _, _, err := dialAs(t, a, goodHello(a, n, laneControl)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := dialAs(t, a, goodHello(a, id.NodeID{Node: 4}, laneControl)); err == nil {
		t.Error("a third connection was taken")
	}
	a.log("refused: 2 are open, the limit")
}

func TestTooLargeMessageIsDroppedWithALine(t *testing.T) {
	a, b := start(t, n1, func(o *Options) { o.FrameBytes = 64 << 10 }), start(t, n2, nil)
	a.SetPeers([]Peer{b.at()})
	a.Send(n2, 1, appendOf(1, strings.Repeat("v", 64<<10)))
	a.log("a message of 65665 bytes for n2 is dropped: the limit of a frame is 65536")
	if d := a.peerStats(n2).Dropped; d != 1 {
		t.Errorf("%d were dropped", d)
	}
}

func TestAskIsAnsweredOrUnknownButNeverBoth(t *testing.T) {
	a, b := start(t, n1, nil), start(t, n2, nil)
	a.SetPeers([]Peer{b.at()})
	b.SetPeers([]Peer{a.at()})
	a.Ask(n2, 7, []byte("put x=3"))
	q := get(t, "request", b.asked)
	if q.from != n1 || q.data != "put x=3" {
		t.Errorf("asked %+v", q)
	}
	b.Answer(n1, q.ask, []byte("at 12"))
	b.Answer(n1, q.ask, []byte("again")) // ignored: the ask has ended
	if got := get(t, "answer", a.answered); got != (answer{n2, 7, "at 12", false}) {
		t.Errorf("answered %+v", got)
	}
	a.Ask(n3, 8, nil) // nobody
	if got := get(t, "answer", a.answered); got != (answer{n3, 8, "", true}) {
		t.Errorf("an ask to nobody ended as %+v", got)
	}
	a.Ask(n2, 9, []byte("lost")) // the peer goes away while it is open
	get(t, "request", b.asked)
	_ = b.Close()
	if got := get(t, "answer", a.answered); got != (answer{n2, 9, "", true}) {
		t.Errorf("an ask to a peer that went away ended as %+v", got)
	}
	a.Ask(n2, 10, nil)
	if got := get(t, "answer", a.answered); got != (answer{n2, 10, "", true}) {
		t.Errorf("an ask to a peer that is away ended as %+v", got)
	}
	if n := len(a.answered); n != 0 {
		t.Errorf("%d asks ended twice", n)
	}
}

func TestAskEndsByItsTimeoutAndItsBound(t *testing.T) {
	a, b := start(t, n1, func(o *Options) { o.AskTimeout, o.Asks = 30*time.Millisecond, 1 }), start(t, n2, nil)
	a.SetPeers([]Peer{b.at()})
	a.Ask(n2, 1, nil) // never answered
	a.Ask(n2, 2, nil) // beyond the bound: unknown at once
	for range 2 {
		if got := get(t, "answer", a.answered); !got.unknown {
			t.Errorf("answered %+v", got)
		}
	}
}

// An answer that names an ask of an earlier life of the process is ignored.
func TestAnswerToAnEarlierLifeIsIgnored(t *testing.T) {
	b := start(t, n2, nil)
	a := start(t, n1, nil)
	a.SetPeers([]Peer{b.at()})
	a.Ask(n2, 1, []byte("first life"))
	late := get(t, "request", b.asked)
	_ = a.Close()
	a = start(t, n1, nil)
	a.SetPeers([]Peer{b.at()})
	b.SetPeers([]Peer{a.at()})
	a.Ask(n2, 1, []byte("second life"))
	now := get(t, "request", b.asked)
	b.Answer(n1, late.ask, []byte("late"))
	b.Answer(n1, now.ask, []byte("right"))
	if got := get(t, "answer", a.answered); got.data != "right" || got.ask != 1 {
		t.Errorf("answered %+v", got)
	}
}

// Before the first SetPeers a connection waits: no callback can run before its
// owner holds the Transport.
func TestNothingIsAcceptedBeforeSetPeers(t *testing.T) {
	got := make(chan received, 1)
	early, err := New(Options{Self: n2, Cluster: 0xc1, Addr: "127.0.0.1:0",
		OnFrame: func(from id.NodeID, g id.GroupID, m raft.Message) { got <- received{from, g, m} }})
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	a := start(t, n1, nil)
	a.SetPeers([]Peer{{n2, []string{"http://" + early.Addr().String()}}})
	a.Send(n2, 1, raft.TimeoutNow{Term: 1})
	conn, err := net.Dial("tcp", early.Addr().String()) // the socket listens
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	early.mu.Lock()
	accepted := len(early.inbound)
	early.mu.Unlock()
	if accepted != 0 {
		t.Errorf("%d connections were accepted", accepted)
	}
	early.SetPeers(nil)
	if m := get(t, "message that waited", got); m.from != n1 {
		t.Errorf("got %+v", m)
	}
}

// Close ends everything, also while others send, and nothing is called after it.
func TestCloseWhileBusy(t *testing.T) {
	var closed atomic.Bool
	b := start(t, n2, nil)
	a := start(t, n1, func(o *Options) {
		o.OnFrame = func(id.NodeID, id.GroupID, raft.Message) {
			if closed.Load() {
				t.Error("a callback ran after Close")
			}
		}
	})
	a.SetPeers([]Peer{b.at()})
	b.SetPeers([]Peer{a.at()})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := id.Index(1); ; i++ {
			select {
			case <-stop:
				return
			default:
				a.Send(n2, 1, appendOf(i, "x"))
				b.Send(n1, 1, raft.Heartbeat{Term: 1})
				a.Ask(n2, uint64(i), nil)
			}
			for len(b.frames) > 100 {
				<-b.frames
			}
			for len(b.asked) > 100 {
				<-b.asked
			}
			for len(a.answered) > 100 {
				<-a.answered
			}
		}
	}()
	until(t, "both send", func() bool { return a.peerStats(n2).SentFrames > 50 && b.peerStats(n1).SentFrames > 50 })
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	closed.Store(true)
	if err := a.Close(); err != nil { // again: nothing
		t.Error(err)
	}
	a.SetPeers([]Peer{b.at()})
	close(stop)
	<-done
	if got := fmt.Sprint(a.SendSnapshot(n2, 1, raft.InstallSnapshot{}, nil)); !strings.Contains(got, "not a peer") {
		t.Errorf("SendSnapshot after Close: %s", got)
	}
}

func TestOptionsSayWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.Self = id.None }, "transport: Options.Self is empty; give the member its id"},
		{func(o *Options) { o.Addr = "" }, "transport: give either Options.Addr or Options.Listener"},
		{func(o *Options) { o.PingEvery = 3 * time.Second }, "transport: PingEvery (3s) must be at most a third of StallTimeout (5s), or idle connections end"},
		{func(o *Options) { o.FrameBytes = 1 }, "transport: FrameBytes is 1; it must be between 64 KiB and 1 GiB"},
		{func(o *Options) { o.QueueBytes = -1 }, "transport: Options.QueueBytes is -1; it must be positive"},
		{func(o *Options) { o.Advertise = []string{"127.0.0.1:2380"} }, `transport: peer URL "127.0.0.1:2380": parse "127.0.0.1:2380": first path segment in URL cannot contain colon`},
		{func(o *Options) { o.Advertise = []string{"ftp://h:1"} }, `transport: peer URL "ftp://h:1" must begin with http:// or https://`},
		{func(o *Options) { o.Advertise = []string{"http://h"} }, `transport: peer URL "http://h" must name a host and a port`},
		{func(o *Options) { o.SnapshotBytesPerSecond = 1000 }, "transport: SnapshotBytesPerSecond is 1000; a chunk of 65536 bytes must not take more than half of StallTimeout (5s)"},
	} {
		o := Options{Self: n1, Addr: "127.0.0.1:0"}
		c.change(&o)
		tr, err := New(o)
		if err == nil {
			_ = tr.Close()
		}
		if err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
	busy := start(t, n1, nil)
	if _, err := New(Options{Self: n2, Addr: busy.Addr().String()}); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("a port in use: %v", err)
	}
}
