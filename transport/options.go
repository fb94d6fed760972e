package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// Peer says where a member can be reached: URLs of the form http://host:port or
// https://host:port, tried in turn. With Options.TLS set both speak TLS.
type Peer struct {
	ID   id.NodeID
	URLs []string
}

// Options of a Transport.
type Options struct {
	Self      id.NodeID
	Cluster   uint64         // members of another cluster are refused
	Directory id.DirectoryID // of this member's data
	Advertise []string       // this member's own peer URLs: a peer that does not know us yet answers there (at most 8)

	Addr     string       // host:port to listen on, or
	Listener net.Listener // a listener, which Close closes
	TLS      *tls.Config  // nil: TCP. Else mutual TLS: needs Certificates, RootCAs and ClientCAs

	QueueBytes   int // bulk queue per peer. 64 MiB; beyond, messages are dropped
	ControlBytes int // control queue per peer. 1 MiB; some 10,000 heartbeats
	FrameBytes   int // largest frame, either way. 16 MiB; must hold the largest entry and MessageBytes of raft
	Connections  int // accepted at a time. 256; beyond, closed at once
	Snapshots    int // received at a time. 4; beyond, refused as busy
	Asks         int // waiting for an answer. 65,536; beyond, unknown at once

	DialTimeout  time.Duration // for connecting and for the handshake. 2 s
	StallTimeout time.Duration // a write, or silence, that lasts so long ends the connection. 5 s
	PingEvery    time.Duration // 500 ms; at most a third of StallTimeout
	AskTimeout   time.Duration // 10 s
	BackoffMin   time.Duration // between attempts to connect, doubling, ± half. 20 ms
	BackoffMax   time.Duration // 1 s; a peer that dials us ends the wait
	Seed         uint64        // of the jitter; different on every member

	SnapshotBytesPerSecond int // per snapshot sent; 0: as fast as it goes

	// Callbacks. What they are given is theirs. Nil ones ignore the event, and a
	// nil OnSnapshot refuses snapshots. None may call Close.
	OnFrame       func(from id.NodeID, group id.GroupID, m raft.Message)
	OnAsked       func(from id.NodeID, ask uint64, data []byte) // answer with Answer(from, ask, …)
	OnAnswered    func(from id.NodeID, ask uint64, data []byte, unknown bool)
	OnUnreachable func(node id.NodeID)
	// OnSnapshot reads the stream to its end (io.EOF: it is complete), makes it
	// durable and returns nil; only then the sender takes it as sent. An error
	// goes back to the sender as text.
	OnSnapshot func(from id.NodeID, group id.GroupID, m raft.InstallSnapshot, body io.Reader) error
	// Pinned returns the directory the replicated configuration pins for a
	// member; zero: none. A peer that shows another directory is refused.
	Pinned func(id.NodeID) id.DirectoryID
	Logf   func(format string, args ...any) // one line per event; nil: silent
}

// WithDefaults returns a copy in which every zero field has its default.
func (o Options) WithDefaults() Options {
	num := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	span := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	num(&o.QueueBytes, 64<<20)
	num(&o.ControlBytes, 1<<20)
	num(&o.FrameBytes, 16<<20)
	num(&o.Connections, 256)
	num(&o.Snapshots, 4)
	num(&o.Asks, 1<<16)
	span(&o.DialTimeout, 2*time.Second)
	span(&o.StallTimeout, 5*time.Second)
	span(&o.PingEvery, 500*time.Millisecond)
	span(&o.AskTimeout, 10*time.Second)
	span(&o.BackoffMin, 20*time.Millisecond)
	span(&o.BackoffMax, time.Second)
	if o.OnFrame == nil {
		o.OnFrame = func(id.NodeID, id.GroupID, raft.Message) {}
	}
	if o.OnAsked == nil {
		o.OnAsked = func(id.NodeID, uint64, []byte) {}
	}
	if o.OnAnswered == nil {
		o.OnAnswered = func(id.NodeID, uint64, []byte, bool) {}
	}
	if o.OnUnreachable == nil {
		o.OnUnreachable = func(id.NodeID) {}
	}
	if o.OnSnapshot == nil {
		o.OnSnapshot = func(id.NodeID, id.GroupID, raft.InstallSnapshot, io.Reader) error {
			return errors.New("this member takes no snapshots")
		}
	}
	if o.Pinned == nil {
		o.Pinned = func(id.NodeID) id.DirectoryID { return id.DirectoryID{} }
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	return o
}

// Validate judges Options that have their defaults.
func (o Options) Validate() error {
	if o.Self == id.None {
		return errors.New("transport: Options.Self is empty; give the member its id")
	}
	if (o.Addr == "") == (o.Listener == nil) {
		return errors.New("transport: give either Options.Addr or Options.Listener")
	}
	if o.PingEvery > o.StallTimeout/3 {
		return fmt.Errorf("transport: PingEvery (%v) must be at most a third of StallTimeout (%v), or idle connections end", o.PingEvery, o.StallTimeout)
	}
	if o.BackoffMax < o.BackoffMin {
		return fmt.Errorf("transport: BackoffMax (%v) is less than BackoffMin (%v)", o.BackoffMax, o.BackoffMin)
	}
	if o.FrameBytes < 64<<10 || o.FrameBytes > 1<<30 {
		return fmt.Errorf("transport: FrameBytes is %d; it must be between 64 KiB and 1 GiB", o.FrameBytes)
	}
	if len(o.Advertise) > urlsMax {
		return fmt.Errorf("transport: %d URLs to advertise; the limit is %d", len(o.Advertise), urlsMax)
	}
	for _, l := range []struct {
		name string
		v    int
	}{
		{"QueueBytes", o.QueueBytes}, {"ControlBytes", o.ControlBytes}, {"Connections", o.Connections},
		{"Snapshots", o.Snapshots}, {"Asks", o.Asks}, {"DialTimeout", int(o.DialTimeout)},
		{"AskTimeout", int(o.AskTimeout)}, {"PingEvery", int(o.PingEvery)}, {"BackoffMin", int(o.BackoffMin)},
	} {
		if l.v <= 0 {
			return fmt.Errorf("transport: Options.%s is %d; it must be positive", l.name, l.v)
		}
	}
	if o.SnapshotBytesPerSecond < 0 {
		return fmt.Errorf("transport: SnapshotBytesPerSecond is %d; 0 means no limit", o.SnapshotBytesPerSecond)
	}
	if r := o.SnapshotBytesPerSecond; r > 0 && time.Duration(float64(chunkBytes)/float64(r)*float64(time.Second)) > o.StallTimeout/2 {
		return fmt.Errorf("transport: SnapshotBytesPerSecond is %d; a chunk of %d bytes must not take more than half of StallTimeout (%v)", r, chunkBytes, o.StallTimeout)
	}
	if o.TLS != nil && (o.TLS.ClientCAs == nil || o.TLS.RootCAs == nil) {
		return errors.New("transport: peer TLS is mutual: set RootCAs and ClientCAs to the authority of the peers' certificates")
	}
	for _, u := range o.Advertise {
		if len(u) > urlBytesMax {
			return fmt.Errorf("transport: peer URL %q is longer than %d bytes", u, urlBytesMax)
		}
		if _, err := address(u, o.TLS != nil); err != nil {
			return err
		}
	}
	return nil
}

// address returns host:port of a peer URL.
func address(peerURL string, withTLS bool) (string, error) {
	u, err := url.Parse(peerURL)
	switch {
	case err != nil:
		return "", fmt.Errorf("transport: peer URL %q: %w", peerURL, err)
	case u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("transport: peer URL %q must begin with http:// or https://", peerURL)
	case u.Hostname() == "" || u.Port() == "":
		return "", fmt.Errorf("transport: peer URL %q must name a host and a port", peerURL)
	case u.Scheme == "https" && !withTLS:
		return "", fmt.Errorf("transport: peer URL %q wants TLS, but this member has no peer certificate; set one or use http://", peerURL)
	}
	return net.JoinHostPort(u.Hostname(), u.Port()), nil
}

// Stats is what a Transport counted for one peer since it knows it.
type Stats struct {
	Peer                          id.NodeID
	Connected                     bool // both connections for sending stand
	SentFrames, SentBytes         uint64
	ReceivedFrames, ReceivedBytes uint64
	Dropped                       uint64 // frames given to Send, Ask or Answer that were not sent
	Outages                       uint64 // connections that broke or could not be made, one per outage
	QueuedBytes                   int
	RTT                           time.Duration // of the last ping on the control connection; 0: none yet
}
