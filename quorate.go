// Package quorate replicates a state machine: many Raft groups in one process,
// safe by construction, with a small face.
//
//	h, err := quorate.Open(ctx, dir, quorate.Options{Node: 1, Listen: "127.0.0.1:7001"})
//	g, err := h.Start(1, machine, quorate.Bootstrap(members...)) // or Join(), Resume()
//	res, err := g.Propose(ctx, cmd)      // applied, certainly not, or unknown: errors.As(err, *quorate.Error)
//	v, err := g.Barrier(ctx)             // a View with everything acknowledged before the call
//	defer v.Release()
//	err = g.Change(ctx, quorate.ChangeSet{…})
//	err = g.Transfer(ctx, quorate.NodeID{})
//	err = h.Close(ctx)                   // hands leaderships over first
//
// A state machine implements rsm.Machine or rsm.Durable. What is durable on
// return: a Propose that returned nil is on the disks of a majority and applied
// here. There is no option that weakens that.
package quorate

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/host/exec"
	"github.com/quorate/quorate/host/run"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/trace"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/vfs"
	"github.com/quorate/quorate/wal"
)

// The small types of the library, under names a program outside can say.
type (
	NodeID    = id.NodeID
	GroupID   = id.GroupID
	Index     = id.Index
	Term      = id.Term
	Member    = membership.Member
	ChangeSet = membership.Change
	Op        = membership.Op
	Status    = raft.Status
)

// Options of a host. Node and Listen are needed; the rest has defaults.
type Options struct {
	Cluster     uint64        // hosts of another cluster are refused. 0 is a cluster like any other
	Node        uint64        // this member's number, never 0
	Incarnation uint32        // how often this member was wiped and admitted again
	Listen      string        // where peers connect: "host:port"; the address peers dial is in the membership
	Listener    net.Listener  // instead of Listen: already listening
	Advertise   []string      // this member's peer URLs, for a joiner that does not know the members yet. http://Listen
	TLS         *tls.Config   // mutual TLS between peers; nil: clear text
	Heartbeat   time.Duration // 30 ms
	// ElectionTimeout is the shortest silence before an election; the longest is
	// twice that. 150 ms; at least 5 × Heartbeat.
	ElectionTimeout time.Duration
	RetainBytes     int   // of log kept for slow members; beyond, they get a snapshot. 64 MiB
	SegmentBytes    int64 // of one log file. 64 MiB
	SnapshotEntries int   // an in-memory machine is snapshotted after so many entries. 100,000

	Logf    func(format string, args ...any) // what people should know; nil: nothing
	OnTrace func(trace.Event)                // every trace event; nil: none
}

// Host is an open data directory with its groups.
type Host struct {
	o    Options
	self id.NodeID
	disk *exec.Disk
	net  *transport.Transport
	run  *run.Runner
	asks asks

	life    context.Context // ends with Close
	end     context.CancelFunc
	running sync.WaitGroup // what ends with life

	starting sync.Mutex // the groups on the disk: one comes up at a time
	learning sync.Mutex // an older list of peers must not replace a newer one

	mu      sync.Mutex
	closed  bool
	group   map[GroupID]*Group
	configs map[GroupID]membership.Config // newest known, of every group
}

// Open locks the directory, reads the log and listens for peers. It fails with
// one clear error if the directory is in use, another cluster's or node's,
// etcd's, or damaged, or if the address cannot be listened on. A ctx that has
// ended is refused; reading a log once begun is not cut short. Close the Host.
func Open(ctx context.Context, dir string, o Options) (*Host, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("quorate: %w", err)
	}
	if o.Node == 0 {
		return nil, errors.New("quorate: Options.Node is 0; give this member a number of its own")
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("quorate: %w", err)
	}
	h := &Host{o: o, self: id.NodeID{Node: o.Node, Incarnation: o.Incarnation}, group: map[GroupID]*Group{}, configs: map[GroupID]membership.Config{}}
	h.life, h.end = context.WithCancel(context.Background())
	h.asks.waiting, h.asks.working = map[uint64]chan askAnswer{}, make(chan struct{}, asksMax)
	var fresh id.DirectoryID
	if _, err := rand.Read(fresh[:]); err != nil {
		return nil, fmt.Errorf("quorate: %w", err)
	}
	l := o.Listener
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", o.Listen); err != nil {
			return nil, fmt.Errorf("quorate: peers: %w", err)
		}
	}
	if len(h.o.Advertise) == 0 {
		h.o.Advertise = []string{"http://" + l.Addr().String()}
	}
	disk, err := exec.Open(vfs.OS(dir), exec.Options{
		Cluster: o.Cluster, Self: h.self, Directory: fresh,
		WAL: wal.Options{SegmentBytes: o.SegmentBytes},
	})
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("quorate: %s: %w", dir, err)
	}
	h.disk = disk
	if err := h.connect(l); err != nil {
		h.end()
		l.Close()
		disk.Close()
		return nil, fmt.Errorf("quorate: %w", err)
	}
	return h, nil
}

// connect starts the driver and the transport, which need each other.
func (h *Host) connect(l net.Listener) error {
	identity := h.disk.Identity()
	r, err := run.New(run.Options{
		Host:      host.Config{Self: h.self, Boot: identity.Boot, SnapshotEntries: h.o.SnapshotEntries},
		Disk:      h.disk,
		Transport: (*peers)(h),
		OnStatus:  h.onStatus,
		OnApplied: h.onApplied,
		OnRemoved: h.onRemoved,
		OnHalt:    h.onHalt,
		OnTrace:   h.o.OnTrace,
	})
	if err != nil {
		return err
	}
	h.run = r
	h.net, err = transport.New(h.transportOptions(l, identity))
	if err != nil {
		r.Close()
	}
	return err
}

// How says how a group comes to this host.
type How struct {
	kind    howKind
	members []Member
}

type howKind uint8

const (
	bootstrap howKind = iota + 1
	join
	resume
)

// Bootstrap starts a new group with these members, the same list on every one
// of them. It is an error if the group has data here.
func Bootstrap(members ...Member) How { return How{kind: bootstrap, members: members} }

// Join starts an empty replica of a group that exists elsewhere and has this
// node as a member, or will. It is an error if the group has data here.
func Join() How { return How{kind: join} }

// Resume goes on with what is on the disk. It is an error if there is nothing.
func Resume() How { return How{kind: resume} }

// HasData tells whether a group can be resumed.
func (h *Host) HasData(g GroupID) bool {
	h.starting.Lock()
	defer h.starting.Unlock()
	for _, have := range h.disk.Groups() {
		if have == g {
			return true
		}
	}
	return false
}

// Close hands leaderships over, bounded by ctx, stops everything and releases
// the directory. Proposals that wait are answered first where that is possible.
// A second Close does nothing.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	groups := make([]*Group, 0, len(h.group))
	for _, g := range h.group {
		groups = append(groups, g)
	}
	h.mu.Unlock()
	for _, g := range groups {
		g.handOver(ctx)
	}
	h.end()
	h.net.Close()
	h.run.Close()
	h.running.Wait()
	for _, g := range groups {
		if err := g.exec.Flush(); err != nil {
			h.o.Logf("group %d: flushing at the end: %v", g.id, err)
		}
	}
	return h.disk.Close()
}

// Identity tells whose directory it is.
func (h *Host) Identity() exec.Identity { return h.disk.Identity() }

// Voter is a voting member for Bootstrap: its number and the address its peers
// dial, "host:port".
func Voter(node uint64, address string) Member {
	return Member{ID: NodeID{Node: node}, Role: membership.Voter, PeerURLs: []string{"http://" + address}}
}
