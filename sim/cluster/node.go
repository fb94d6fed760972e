package cluster

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/host/exec"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/engine/mem"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
	"github.com/quorate/quorate/vfs"
	"github.com/quorate/quorate/wal"
)

// node is one machine of the cluster: what survives its crashes.
type node struct {
	c       *cluster
	number  uint64
	self    id.NodeID
	disk    *vfs.Disk
	storage *storage // of a durable machine
	clock   *sim.Clock
	dice    *sim.Random // latencies
	look    *sim.Random // when an oracle opens the disk
	first   membership.Config
	joiner  bool  // it came later: its group is joined, not bootstrapped
	life    *life // nil: down
	running *sim.Task
	shadow  *shadow

	down    int  // crashes whose span is not over
	gone    bool // removed from the group: it has exited for good
	exists  bool // it was ever started
	pauses  id.Time
	slow    id.Duration
	stall   id.Duration
	failing vfs.Fault // the next sync (or write) fails so
	sick    bool      // a disk fault was injected since the last start: halting is legitimate
	nospace bool
	crash   *pendingCrash
}

// pendingCrash waits for a number of file calls.
type pendingCrash struct {
	calls int64
	fault sim.Fault
}

// life is one run of the process.
type life struct {
	n         *node
	host      *host.Host
	disk      *exec.Disk
	group     *exec.Group
	inbox     []host.Event
	spare     []host.Event
	effects   []host.Effect
	scheduled bool
	timer     *sim.Timer

	writer, applier, reader, receiver *sim.Worker
	persists                          []host.Persist // not yet given to the writer
	requests                          map[host.ClientID]*request
	asks                              map[uint64]id.NodeID // unanswered; only looked up
	askers                            map[uint64]askBody   // likewise, of peers
	newestAsker                       uint64
	refusedUntil                      map[uint64]id.Time // by peer: no report before; only looked up
	restored                          raft.Restored
	before                            raft.Status // after the last pass
}

// inboxEvents bounds what waits for a pass; beyond, frames are lost as in a full
// transport queue.
const inboxEvents = 100_000

func newNode(c *cluster, number uint64, first membership.Config) *node {
	n := &node{c: c, number: number, self: id.NodeID{Node: number}, first: first}
	n.clock = sim.NewClock(c.world.Random("clock", number).Duration(0, 1000*id.Second))
	n.dice = c.world.Random("latency", number)
	n.look = c.world.Random("look", number)
	n.wipe()
	return n
}

// wipe gives the node a new, empty disk.
func (n *node) wipe() {
	seed := n.c.world.Random("disk", n.number, uint64(n.self.Incarnation)).Uint64()
	n.disk = vfs.NewDisk(vfs.DiskOptions{Seed: seed, SectorBytes: int64(n.c.set.sectorBytes), Hook: n.hook})
	dice := n.c.world.Random("flush", n.number, uint64(n.self.Incarnation))
	n.storage = &storage{engine: mem.New(), flush: func() bool { return dice.Chance(50) }}
	n.shadow = newShadow(n)
}

// hook is called before every file operation: virtual time passes, the node may
// crash, the disk may fail.
func (n *node) hook(op vfs.Op) error {
	t := n.running
	if t == nil {
		return nil // not in a coroutine: an oracle looks
	}
	if p := n.crash; p != nil {
		if p.calls--; p.calls <= 0 {
			n.crash = nil
			n.c.mark("crash inside a file call")
			n.c.world.At(n.c.world.Now(), func() { n.crashNow(p.fault) })
			t.Yield(sim.Call{Op: op.Kind.String(), Name: op.Name, Bytes: int(op.Bytes)})
		}
	}
	switch op.Kind {
	case vfs.OpRead, vfs.OpOpen, vfs.OpSize, vfs.OpList, vfs.OpClose, vfs.OpLock:
		if n.stall == 0 {
			return nil // from the cache, in no time
		}
	}
	t.Yield(sim.Call{Op: op.Kind.String(), Name: op.Name, Bytes: int(op.Bytes)})
	if f := n.failing; f != 0 && (op.Kind == vfs.OpSync && f != vfs.WriteFailsLater || op.Kind == vfs.OpWrite && f == vfs.WriteFailsLater) {
		n.failing = 0
		n.c.mark("fsync failed")
		return f
	}
	return nil
}

// latency says how long a file call takes.
func (n *node) latency(call sim.Call) id.Duration {
	var d id.Duration
	switch call.Op {
	case "sync", "syncdir":
		d = n.dice.Duration(n.c.set.sync/4, n.c.set.sync)
	default:
		d = n.dice.Duration(5*id.Microsecond, 50*id.Microsecond)
	}
	if now := n.c.world.Now(); n.pauses > now {
		d += n.pauses.Sub(now)
	}
	return d + n.stall
}

// boot starts the process: recovery is a coroutine too, so a crash can come in
// the middle of it.
func (n *node) boot() {
	if n.life != nil || n.down > 0 || n.gone {
		return
	}
	n.exists = true
	l := &life{n: n, requests: map[host.ClientID]*request{}, asks: map[uint64]id.NodeID{}, askers: map[uint64]askBody{}, refusedUntil: map[uint64]id.Time{}}
	n.life = l
	worker := func() *sim.Worker {
		return sim.NewWorker(n.c.world, n.latency, func(t *sim.Task) { n.running = t }, func(p any) {
			n.c.fail("%v: panic in a worker: %v\n%s", n.self, p, debug.Stack())
		})
	}
	l.writer, l.applier, l.reader, l.receiver = worker(), worker(), worker(), worker()
	var err error
	l.writer.Do(func() { err = l.recover() }, func() { l.started(err) })
}

// recover is what a process does between its start and serving.
func (l *life) recover() (err error) {
	n, set := l.n, l.n.c.set
	l.disk, err = exec.Open(n.disk.FS(), exec.Options{
		Cluster: 1, Self: n.self, Directory: id.DirectoryID{byte(n.number), byte(n.self.Incarnation), 1},
		WAL:    wal.Options{SegmentBytes: int64(set.segmentBytes), TailBytes: min(set.tailBytes, 1<<20), Identity: n.number<<8 | uint64(n.self.Incarnation)},
		Faults: n.c.faults,
	})
	if err != nil {
		return err
	}
	if len(l.disk.Groups()) == 0 {
		if n.joiner {
			err = l.disk.Join(theGroup)
		} else {
			err = l.disk.Bootstrap(theGroup, n.first)
		}
		if err != nil {
			return err
		}
	}
	l.group, l.restored, err = l.disk.OpenGroup(theGroup, n.c.words.open(n.storage))
	return err
}

// started goes on behind the recovery.
func (l *life) started(err error) {
	n, c := l.n, l.n.c
	if err != nil {
		if !n.sick && !n.nospace {
			c.fail("%v cannot start: %v", n.self, err)
			return
		}
		n.exit(fmt.Sprintf("cannot start: %v", err))
		return
	}
	if !n.nospace && n.failing == 0 {
		n.sick = false
	}
	r := l.restored
	c.world.Emit(trace.Event{Node: n.self, Group: theGroup, Kind: trace.Started, Fields: []trace.Field{
		trace.Num("applied", uint64(r.Applied)), trace.Num("last", uint64(r.Last)), trace.Num("term", uint64(r.Hard.Term))}})
	c.oracles.started(n, r, l.view())
	l.host, err = host.New(host.Config{
		Self: n.self, Boot: l.disk.Identity().Boot, SnapshotEntries: c.set.snapshotEntries, Faults: c.faults,
	})
	if err != nil {
		c.fail("%v: %v", n.self, err)
		return
	}
	seed := c.world.Random("raft", n.number, uint64(l.disk.Identity().Boot)).Uint64()
	l.take(host.Start{Group: theGroup, Config: c.set.raft(seed, c.faults), Restored: r, InMemory: l.group.InMemory()})
}

// view copies out the published state.
func (l *life) view() mapView {
	p := l.group.Acquire()
	defer p.Release()
	v, err := l.n.c.words.pairs(p.View)
	if err != nil {
		l.n.c.fail("%v: its state does not read: %v", l.n.self, err)
	}
	return v
}

// serving tells whether the process takes messages and clients.
func (n *node) serving() bool { return n.life != nil && n.life.host != nil }

// crashNow cuts the power under the node; it stays down until the fault ends.
func (n *node) crashNow(f sim.Fault) {
	n.down++
	n.kill(f.Word("lose"))
	restart := max(f.End(), n.c.world.Now().Add(10*id.Millisecond))
	n.c.world.At(restart, func() {
		if n.down > 0 {
			n.down--
		}
		n.boot()
	})
}

// losses are what becomes of unsynced writes when the power goes (D1–D3).
var losses = map[string]vfs.Loss{
	"all": vfs.LossAll, "prefix": vfs.LossPrefix, "random": vfs.LossSubset, "torn": vfs.LossDrawn,
}

// kill ends the process at once and takes unsynced writes away.
func (n *node) kill(lose string) {
	n.c.mark("crash")
	if n.life == nil {
		return
	}
	if lose != "none" && n.shadow.unsynced() {
		n.c.mark("unsynced loss")
	}
	n.c.world.Emit(trace.Event{Node: n.self, Kind: trace.Crashed, Fields: []trace.Field{trace.Text("how", lose)}})
	if n.life.host == nil {
		n.c.mark("crash during recovery")
	}
	n.end()
	if lose == "none" {
		n.disk.Kill() // the process, not the power
	} else {
		n.disk.CrashWith(losses[lose])
	}
}

// exit ends the process as a fail-stop does. A supervisor starts it again: behind a
// reboot of the machine, or at once, and then what the process wrote is still in
// the cache of the operating system, written to the disk or not.
func (n *node) exit(why string) {
	n.c.mark("halt")
	// The last words are the operating system's, and each has its own: the hash
	// shall be the same on all of them.
	if at := strings.LastIndex(why, ": "); at > 0 {
		why = why[:at]
	}
	n.c.world.Emit(trace.Event{Node: n.self, Kind: trace.Halted, Fields: []trace.Field{trace.Text("reason", why)}})
	n.end()
	if n.c.set.reboot {
		n.disk.Crash()
	} else {
		n.disk.Kill()
	}
	n.c.world.After(id.Second, n.boot)
}

// end forgets everything the process had in memory. Its clients lose their
// connection: they know nothing about what they asked for.
func (n *node) end() {
	l := n.life
	n.life = nil
	for _, w := range []*sim.Worker{l.writer, l.applier, l.reader, l.receiver} {
		w.Kill()
	}
	n.running = nil
	n.storage.crashed()
	l.timer.Stop()
	for _, q := range sortedRequests(l.requests) {
		q.lost()
	}
	n.shadow.crashed()
}

// take puts an event into the inbox.
func (l *life) take(e host.Event) {
	if l.n.life != l {
		return
	}
	l.inbox = append(l.inbox, e)
	l.wake(l.n.c.world.Now())
}

// wake schedules the next pass. A pass takes everything that is queued then.
func (l *life) wake(at id.Time) {
	if l.scheduled {
		return
	}
	l.scheduled = true
	l.timer.Stop()
	now := l.n.c.world.Now()
	at = max(at, l.n.pauses, now.Add(l.n.slow))
	l.n.c.world.At(at, func() {
		if l.n.life == l {
			l.pass()
		}
	})
}

// pass is one pass of the host and what follows from it.
func (l *life) pass() {
	l.scheduled = false
	n, c := l.n, l.n.c
	now := c.world.Now()
	if n.pauses > now {
		l.wake(n.pauses)
		return
	}
	in := l.inbox
	l.inbox = l.spare[:0]
	l.effects = l.host.Step(n.clock.Read(now), in, l.effects[:0])
	clear(in)
	l.spare = in[:0]
	effects := l.effects
	l.effects = nil // an effect may end this life, another pass may not begin under it
	c.oracles.pass(l, effects)
	for _, e := range effects {
		if n.life != l || c.violated != nil {
			return
		}
		l.do(e)
	}
	clear(effects)
	l.effects = effects[:0]
	if n.life == l && !l.scheduled {
		l.rearm()
	}
}

// rearm sets the timer to the host's deadline, by the node's own clock.
func (l *life) rearm() {
	n := l.n
	now := n.c.world.Now()
	l.timer.Stop()
	due := n.clock.When(now, l.host.Deadline())
	if due == id.Never {
		return
	}
	l.timer = n.c.world.At(max(due, now+1), func() {
		if n.life == l && !l.scheduled {
			l.wake(n.c.world.Now())
		}
	})
}

// reclock is called when the node's clock changed its pace.
func (n *node) reclock() {
	if n.serving() && !n.life.scheduled {
		n.life.rearm()
	}
}

// isNoSpace tells a full disk from a failed one.
func isNoSpace(err error) bool { return errors.Is(err, wal.ErrNoSpace) }
