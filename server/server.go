package server

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv"
	"github.com/quorate/quorate/kv/engine"
	"github.com/quorate/quorate/kv/lease"
	"github.com/quorate/quorate/kv/watch"
	"github.com/quorate/quorate/raft"
)

// Options of a Server.
type Options struct {
	Cluster uint64    // id of the cluster, in every header
	Self    id.NodeID // this member

	RequestBytesMax  int           // encoded command; beyond: ErrRequestTooLarge. 1.5 MiB, etcd's
	TxnOpsMax        int           // operations in one transaction. 128, etcd's
	InFlightMax      int           // proposals waiting here; beyond: ErrTooManyRequests. 10,000
	InFlightBytesMax int64         // their bytes. 64 MiB
	ApplyLagMax      id.Index      // committed and not yet applied; beyond: ErrTooManyRequests. 5000, etcd's
	Election         time.Duration // longest election timeout of the group. 300 ms
	RequestTimeout   time.Duration // longest wait for a leader and a majority. 5 s + 2 × Election, etcd's
	ProgressInterval time.Duration // between progress notices to idle watchers. 10 min, etcd's
	// WatchQueueBytesMax bounds events that were applied and not yet handed to
	// watchers; beyond, watchers read the store instead. 64 MiB.
	WatchQueueBytesMax int
	WatchersMax        int           // watchers on this member; beyond a creation is refused. 1,000,000
	StrictReconfig     bool          // refuse changes that would leave no majority
	LearnersMax        int           // learners at a time. 1, etcd's
	Housekeeping       time.Duration // between looks at what changes without an event. 500 ms
	QuotaBytes         int64         // the store may occupy; beyond: alarm NOSPACE. 0: none
	EngineStats        func() engine.Stats
	Logger             *slog.Logger
}

// WithDefaults returns a copy in which every zero field has its default.
// StrictReconfig and QuotaBytes have no default.
func (o Options) WithDefaults() Options {
	if o.RequestBytesMax == 0 {
		o.RequestBytesMax = 1536 << 10
	}
	if o.TxnOpsMax == 0 {
		o.TxnOpsMax = 128
	}
	if o.InFlightMax == 0 {
		o.InFlightMax = 10_000
	}
	if o.InFlightBytesMax == 0 {
		o.InFlightBytesMax = 64 << 20
	}
	if o.ApplyLagMax == 0 {
		o.ApplyLagMax = 5000
	}
	if o.Election == 0 {
		o.Election = 300 * time.Millisecond
	}
	if o.RequestTimeout == 0 {
		o.RequestTimeout = 5*time.Second + 2*o.Election
	}
	if o.ProgressInterval == 0 {
		o.ProgressInterval = 10 * time.Minute
	}
	if o.WatchQueueBytesMax == 0 {
		o.WatchQueueBytesMax = 64 << 20
	}
	if o.WatchersMax == 0 {
		o.WatchersMax = 1_000_000
	}
	if o.LearnersMax == 0 {
		o.LearnersMax = 1
	}
	if o.Housekeeping == 0 {
		o.Housekeeping = 500 * time.Millisecond
	}
	if o.EngineStats == nil {
		o.EngineStats = func() engine.Stats { return engine.Stats{} }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Header is what every answer carries.
type Header struct {
	Cluster  uint64
	Member   uint64
	Revision int64
	Term     uint64
}

// Server is one member's service. Create it with New, give it what happens
// (Applied, StatusChanged), and Close it before the group.
type Server struct {
	o       Options
	group   Group
	started time.Time
	life    context.Context // ends with Close
	end     context.CancelFunc
	quit    <-chan struct{} // life's
	running sync.WaitGroup

	inFlight      atomic.Int64 // proposals
	inFlightBytes atomic.Int64
	requests      atomic.Uint64 // numbers commands, for logs

	Counters Counters

	hub       *hub
	leases    *leaseClock
	health    peerHealth
	alarms    atomic.Pointer[[]kv.Alarm] // as of the last look
	quotaBusy atomic.Bool                // an alarm is being proposed

	early struct { // what was applied before Start: leases all of it, the rest only the last
		sync.Mutex
		leases []earlyLeases
		last   kv.Changes
		over   bool
	}

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when the status changed
	seen    office        // by the last StatusChanged
}

// office is the part of a status that requests wait for.
type office struct {
	role    raft.Role
	term    id.Term
	leader  id.NodeID
	version uint64 // of the configuration
}

// Counters is what metrics read; all only grow.
type Counters struct {
	LeaderChanges      atomic.Uint64 // leaders this member has seen come
	ProposalsFailed    atomic.Uint64
	ReadsFailed        atomic.Uint64 // linearizable ones
	LeasesExpired      atomic.Uint64 // revoked by this member as leader
	LeasesRenewed      atomic.Uint64
	WatchEventsSent    atomic.Uint64
	SnapshotsInstalled atomic.Uint64 // since the start
}

// New returns a Server that does nothing yet. Give every kv.Changes of the store
// to Applied from the first one on, and call Start when the group is up.
func New(o Options) *Server {
	s := &Server{o: o.WithDefaults(), started: time.Now(), changed: make(chan struct{})}
	s.life, s.end = context.WithCancel(context.Background())
	s.quit = s.life.Done()
	s.leases = newLeaseClock(s)
	s.hub = newHub(s)
	return s
}

// Start begins to serve g, whose store gave its changes to Applied from the
// beginning. From here on StatusChanged must be called whenever the group's
// status changes.
func (s *Server) Start(g Group) error {
	v, err := g.Local()
	if err != nil {
		return err
	}
	leases, err := v.Leases()
	if err != nil {
		v.Close()
		return err
	}
	s.group = g
	s.hub.machine = watch.NewHub(watch.Options{ProgressInterval: id.Duration(s.o.ProgressInterval), WatchersPerStreamMax: s.o.WatchersMax}, v.Revision(), v.CompactRevision())
	s.early.Lock()
	s.hub.replaceView(v) // hub.mu need not be held: nobody else knows the hub yet
	s.leases.tell(lease.Replaced{Leases: leases})
	for _, e := range s.early.leases {
		if e.applied > v.Applied() { // the others are in the View
			s.leases.tell(e.events...)
		}
	}
	if last := s.early.last; last.Applied > v.Applied() {
		last.Restored, last.Leases = true, nil // nobody watches yet: no events are owed
		s.hub.applied(last)
	} else if last.View != nil {
		last.View.Close()
	}
	s.early.leases, s.early.last, s.early.over = nil, kv.Changes{}, true
	s.early.Unlock()
	s.running.Add(3)
	go s.leases.run()
	go s.hub.run()
	go s.housekeeping()
	s.StatusChanged()
	return nil
}

// Applied takes what an Apply changed; it closes c.View and does not block. It
// is kv.Options.Publish.
func (s *Server) Applied(c kv.Changes) {
	s.early.Lock()
	defer s.early.Unlock()
	if s.early.over {
		s.take(c)
		return
	}
	if s.early.last.View != nil {
		s.early.last.View.Close()
	}
	s.early.last = c
	s.early.last.Events = nil
	if len(c.Leases) > 0 {
		s.early.leases = append(s.early.leases, earlyLeases{c.Applied, c.Leases})
	}
}

// earlyLeases are the lease events of one Apply.
type earlyLeases struct {
	applied id.Index
	events  []lease.Event
}

func (s *Server) take(c kv.Changes) {
	if c.Restored {
		s.Counters.SnapshotsInstalled.Add(1)
	}
	s.leases.tell(c.Leases...)
	s.hub.applied(c)
}

// Close ends what the Server runs. Requests that wait end with ErrStopped.
func (s *Server) Close() {
	s.mu.Lock()
	s.end() // under mu: after it spawn starts nothing
	s.mu.Unlock()
	s.running.Wait()
}

// spawn runs f on a goroutine that Close waits for and whose context ends then.
func (s *Server) spawn(f func(ctx context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping() {
		return
	}
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		ctx, cancel := context.WithTimeout(s.life, s.o.RequestTimeout)
		defer cancel()
		f(ctx)
	}()
}

// now is the monotonic time the machines are given.
func (s *Server) now() id.Time { return id.Time(time.Since(s.started)) }

// stopping reports whether Close was called.
func (s *Server) stopping() bool {
	select {
	case <-s.quit:
		return true
	default:
		return false
	}
}

// StatusChanged tells the Server that the group's role, term, leader or
// configuration may have changed. It does not block. Not before Start.
func (s *Server) StatusChanged() {
	st := s.group.Status()
	seen := office{st.Role, st.Term, st.Leader, st.Config.Version}
	s.mu.Lock()
	if seen == s.seen { // only the applied index: nobody waits for that here
		s.mu.Unlock()
		return
	}
	if st.Leader != id.None && (st.Leader != s.seen.leader || st.Term != s.seen.term) {
		s.Counters.LeaderChanges.Add(1)
	}
	s.seen = seen
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	s.leases.status(st)
}

// next returns a channel that is closed at the next StatusChanged. Take it
// before looking at the status.
func (s *Server) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Leading reports whether this member is the leader, as far as it knows.
func (s *Server) Leading() bool { return s.group.Status().Role == raft.Leader }

// HasLeader reports whether this member knows a leader.
func (s *Server) HasLeader() bool { return s.group.Status().Leader != id.None }

// header is a header for an answer at the given revision.
func (s *Server) header(revision int64) Header {
	return Header{Cluster: s.o.Cluster, Member: s.o.Self.Node, Revision: revision, Term: uint64(s.group.Status().Term)}
}

// HeaderAt is a header for an answer at a revision that the caller knows.
func (s *Server) HeaderAt(revision int64) Header { return s.header(revision) }

// Header is a header at this member's current revision.
func (s *Server) Header(ctx context.Context) (Header, error) {
	h, err := s.localHeader()
	if err != nil {
		return Header{}, s.clientError(ctx, err)
	}
	return h, nil
}

// WithoutLeader calls f once, when no leader was known for as long as d without
// a break. stop ends the watch; f may still be running then.
func (s *Server) WithoutLeader(d time.Duration, f func()) (stop func()) {
	ctx, cancel := context.WithCancel(s.life)
	go func() {
		var over *time.Timer // runs while there is no leader
		for {
			changed := s.next()
			var fired <-chan time.Time
			switch {
			case s.HasLeader() && over != nil:
				over.Stop()
				over = nil
			case !s.HasLeader() && over == nil:
				over = time.NewTimer(d)
			}
			if over != nil {
				fired = over.C
			}
			select {
			case <-changed:
			case <-fired:
				f()
				return
			case <-ctx.Done():
				if over != nil {
					over.Stop()
				}
				return
			}
		}
	}()
	return cancel
}

// Vitals is what metrics show, from what is at hand without waiting.
type Vitals struct {
	Raft            raft.Status
	Learner         bool
	Revision        int64
	CompactRevision int64
	SizeBytes       int64
	QuotaBytes      int64
	Watch           watch.Stats
	Pending         int64
}

// Vitals reads them.
func (s *Server) Vitals() Vitals {
	v := Vitals{
		Raft: s.group.Status(), Learner: s.IsLearner(), SizeBytes: s.size(), QuotaBytes: s.o.QuotaBytes,
		Watch: s.WatchStats(), Pending: s.Pending(),
	}
	if view, err := s.group.Local(); err == nil {
		v.Revision, v.CompactRevision = view.Revision(), view.CompactRevision()
		view.Close()
	}
	return v
}

// limited bounds a request by the Server's own timeout.
func (s *Server) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.o.RequestTimeout)
}

// untilTaken calls try until it succeeds, ends with something other than a
// certain refusal for want of a leader, or ctx is over. Between tries it waits
// for the status to change, and at most for retryPause: a refusal can also end
// without a change that is seen here.
func (s *Server) untilTaken(ctx context.Context, try func(ctx context.Context) error) error {
	for {
		changed := s.next()
		err := try(ctx)
		if !retry(err) {
			return err
		}
		pause := time.NewTimer(retryPause)
		select {
		case <-changed:
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err // certainly refused: better than "timed out"
		case <-s.quit:
			pause.Stop()
			return ErrStopped
		}
		pause.Stop()
	}
}

const retryPause = 10 * time.Millisecond
