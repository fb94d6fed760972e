package transport

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

var header = raft.InstallSnapshot{Term: 3, Snapshot: raft.SnapshotMeta{Index: 100, Term: 2}}

type arrived struct {
	from   id.NodeID
	group  id.GroupID
	header raft.InstallSnapshot
	body   []byte
	err    error
}

// taker starts n2, which takes snapshots and then answers with fail.
func taker(t *testing.T, fail error) (*member, chan arrived) {
	got := make(chan arrived, 10)
	return start(t, n2, func(o *Options) {
		o.OnSnapshot = func(from id.NodeID, g id.GroupID, h raft.InstallSnapshot, body io.Reader) error {
			b, err := io.ReadAll(body)
			got <- arrived{from, g, h, b, err}
			return errors.Join(err, fail)
		}
	}), got
}

func TestSnapshotArrivesWhole(t *testing.T) {
	b, got := taker(t, nil)
	a := start(t, n1, nil)
	a.SetPeers([]Peer{b.at()})
	for _, size := range []int{0, 1, chunkBytes, chunkBytes + 1, 40*chunkBytes + 99} {
		want := bytes.Repeat([]byte{byte(size), 1, 2, 3, 5, 7, 11}, size/7+1)[:size]
		if err := a.SendSnapshot(n2, 9, header, bytes.NewReader(want)); err != nil {
			t.Fatal(err)
		}
		s := get(t, "snapshot", got)
		if s.from != n1 || s.group != 9 || s.header.Snapshot.Index != 100 || !bytes.Equal(s.body, want) || s.err != nil {
			t.Errorf("%d bytes sent: %d arrived, from %v, group %d, header %+v, error %v", size, len(s.body), s.from, s.group, s.header, s.err)
		}
	}
}

// bodyFunc is a body that does as it likes.
type bodyFunc func(w io.Writer) (int64, error)

func (f bodyFunc) WriteTo(w io.Writer) (int64, error) { return f(w) }

func TestSnapshotThatFailsSaysWhy(t *testing.T) {
	b, got := taker(t, errors.New("no space left"))
	a := start(t, n1, nil)
	a.SetPeers([]Peer{b.at(), {ID: n3}})
	check := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; %q was expected in it", err, want)
		}
	}
	check(a.SendSnapshot(n2, 9, header, strings.NewReader("x")), "transport: snapshot of group 9 at 100 for n2: the receiver failed: no space left")
	get(t, "snapshot", got)

	// The sender's own disk fails in the middle: the receiver must not take it for the end.
	rotten := bodyFunc(func(w io.Writer) (int64, error) {
		_, _ = w.Write(make([]byte, 3*chunkBytes))
		return 0, errors.New("chunk is damaged")
	})
	check(a.SendSnapshot(n2, 9, header, rotten), "chunk is damaged")
	if s := get(t, "snapshot", got); s.err == nil {
		t.Error("the receiver took it for complete")
	}
	check(a.SendSnapshot(n3, 9, header, strings.NewReader("x")), "it has no peer URL")
	check(a.SendSnapshot(id.NodeID{Node: 4}, 9, header, strings.NewReader("x")), "it is not a peer")

	none := start(t, n3, nil)
	a.SetPeers([]Peer{none.at()})
	check(a.SendSnapshot(n3, 9, header, strings.NewReader("x")), "the receiver failed: this member takes no snapshots")
}

// A receiver that fails at once stops a sender that has much to send.
func TestReceiverThatGivesUpStopsTheSender(t *testing.T) {
	b := start(t, n2, func(o *Options) {
		o.OnSnapshot = func(id.NodeID, id.GroupID, raft.InstallSnapshot, io.Reader) error { return errors.New("not now") }
	})
	a := start(t, n1, nil)
	a.SetPeers([]Peer{b.at()})
	endless := bodyFunc(func(w io.Writer) (n int64, err error) {
		for err == nil {
			_, err = w.Write(make([]byte, chunkBytes))
		}
		return 0, err
	})
	if err := a.SendSnapshot(n2, 9, header, endless); err == nil || !strings.Contains(err.Error(), "the receiver failed: not now") {
		t.Errorf("error %v", err)
	}
	careless := start(t, n3, func(o *Options) {
		o.OnSnapshot = func(id.NodeID, id.GroupID, raft.InstallSnapshot, io.Reader) error { return nil }
	})
	a.SetPeers([]Peer{careless.at()})
	if err := a.SendSnapshot(n3, 9, header, strings.NewReader("x")); err == nil || !strings.Contains(err.Error(), "it did not read the snapshot to its end") {
		t.Errorf("a receiver that reads nothing: %v", err)
	}
}

// A snapshot on its way delays neither heartbeats nor data, and only so many are
// received at a time.
func TestSnapshotBlocksNothingElse(t *testing.T) {
	reading, goOn := make(chan struct{}), make(chan struct{})
	b := start(t, n2, func(o *Options) {
		o.Snapshots = 1
		o.OnSnapshot = func(_ id.NodeID, _ id.GroupID, _ raft.InstallSnapshot, body io.Reader) error {
			_, err := io.Copy(io.Discard, body)
			close(reading)
			<-goOn // the disk takes its time
			return err
		}
	})
	a := start(t, n1, nil)
	a.SetPeers([]Peer{b.at()})
	sent := make(chan error, 1)
	go func() { sent <- a.SendSnapshot(n2, 9, header, strings.NewReader("state")) }()
	get(t, "start of the snapshot", reading)
	for i := id.Index(1); i <= 50; i++ {
		a.Send(n2, 1, raft.Heartbeat{Term: 3})
		a.Send(n2, 1, appendOf(i, "x"))
		get(t, "message", b.frames)
		get(t, "message", b.frames)
	}
	if err := a.SendSnapshot(n2, 8, header, strings.NewReader("x")); err == nil || !strings.Contains(err.Error(), "refused: n2 is receiving 1 snapshots already; try again later") {
		t.Errorf("a second snapshot: %v", err)
	}
	close(goOn)
	if err := get(t, "end of the snapshot", sent); err != nil {
		t.Error(err)
	}
}

// A receiver whose disk takes its time says that it is alive, so that the sender
// waits, and says at last how it ended.
func TestReceiverAtWorkSendsPongs(t *testing.T) {
	goOn := make(chan struct{})
	b := start(t, n2, func(o *Options) {
		o.OnSnapshot = func(_ id.NodeID, _ id.GroupID, _ raft.InstallSnapshot, body io.Reader) error {
			_, err := io.Copy(io.Discard, body)
			<-goOn
			return err
		}
	})
	conn, _, err := dialAs(t, b, goodHello(b, n1, laneSnapshot))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(appendFrame(appendMessageFrame(nil, frameSnapshot, 9, header), frameSnapshotEnd, 0, nil)); err != nil {
		t.Fatal(err)
	}
	r := newFrameReader(conn, 4<<10)
	for pongs := 0; ; pongs++ {
		f, err := r.next()
		if err != nil {
			t.Fatal(err)
		}
		if f.kind == frameSnapshotDone && pongs >= 3 && len(f.payload) == 0 {
			break
		}
		if f.kind != framePong {
			t.Fatalf("after %d pongs came kind %d, payload %q", pongs, f.kind, f.payload)
		}
		if pongs == 2 {
			close(goOn)
		}
	}
}

// Malformed chunks fail the snapshot and are logged.
func TestMalformedSnapshotIsRefused(t *testing.T) {
	b, got := taker(t, nil)
	begin := appendMessageFrame(nil, frameSnapshot, 9, header)
	for _, c := range []struct {
		send []byte
		want string
	}{
		{appendFrame(begin, frameChunk, 5, []byte("x")), "kind 7 at 5 with 1 bytes; a chunk of 1 to 65536 at 0 was expected"},
		{appendFrame(begin, frameSnapshotEnd, 7, nil), "kind 8 at 7 with 0 bytes; a chunk of 1 to 65536 at 0 was expected"},
		{appendFrame(nil, frameChunk, 0, []byte("x")), "a snapshot connection must begin with an install-snapshot message"},
	} {
		conn, _, err := dialAs(t, b, goodHello(b, n1, laneSnapshot))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(c.send)
		ended(t, conn)
		b.log(c.want)
	}
	if len(got) != 2 {
		t.Errorf("OnSnapshot was called %d times", len(got))
	}
	for len(got) > 0 {
		if s := <-got; s.err == nil {
			t.Error("a malformed snapshot was read to its end")
		}
	}
}

// Close ends a snapshot on its way, on both sides.
func TestCloseEndsASnapshot(t *testing.T) {
	for _, side := range []string{"sender", "receiver"} {
		began, got := make(chan struct{}), make(chan error, 1)
		b := start(t, n2, func(o *Options) {
			o.OnSnapshot = func(_ id.NodeID, _ id.GroupID, _ raft.InstallSnapshot, body io.Reader) error {
				_, err := io.CopyN(io.Discard, body, 3*chunkBytes)
				close(began)
				if err == nil {
					_, err = io.Copy(io.Discard, body)
				}
				got <- err
				return err
			}
		})
		a := start(t, n1, nil)
		a.SetPeers([]Peer{b.at()})
		endless := bodyFunc(func(w io.Writer) (n int64, err error) {
			for err == nil {
				_, err = w.Write(make([]byte, chunkBytes))
			}
			return 0, err
		})
		sent := make(chan error, 1)
		go func() { sent <- a.SendSnapshot(n2, 9, header, endless) }()
		get(t, "chunk", began)
		if side == "sender" {
			_ = a.Close()
		} else {
			_ = b.Close()
		}
		if err := get(t, "end", sent); err == nil {
			t.Errorf("%s closed, and the snapshot was sent", side)
		}
		if err := get(t, "snapshot", got); err == nil {
			t.Errorf("%s closed, and the receiver read to the end", side)
		}
	}
}

func TestThrottlePacesChunks(t *testing.T) {
	for _, c := range []struct {
		total uint64
		rate  int
		want  time.Duration
	}{
		{1 << 20, 0, 0},
		{64 << 10, 64 << 10, time.Second},
		{10 << 20, 20 << 20, 500 * time.Millisecond},
		{1 << 40, 1 << 30, 1024 * time.Second},
	} {
		if got := pace(c.total, c.rate); got != c.want {
			t.Errorf("%d bytes at %d a second are due after %v; %v was expected", c.total, c.rate, got, c.want)
		}
	}
	b, got := taker(t, nil)
	a := start(t, n1, func(o *Options) { o.SnapshotBytesPerSecond = 100 << 20 })
	a.SetPeers([]Peer{b.at()})
	if err := a.SendSnapshot(n2, 1, header, bytes.NewReader(make([]byte, 5*chunkBytes))); err != nil {
		t.Error(err)
	}
	if s := get(t, "snapshot", got); len(s.body) != 5*chunkBytes {
		t.Errorf("%d bytes arrived", len(s.body))
	}
}
