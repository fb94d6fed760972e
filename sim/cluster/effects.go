package cluster

import (
	"bytes"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/trace"
)

// do carries out one effect, as host/run does on goroutines.
func (l *life) do(e host.Effect) {
	n, c := l.n, l.n.c
	switch e := e.(type) {
	case host.Persist:
		l.persists = append(l.persists, e)
		l.write()
	case host.Send:
		c.send(n, e)
	case host.Load:
		var done host.Loaded
		l.reader.Do(func() { done = l.disk.Load(e) }, func() { l.take(done) })
	case host.Apply:
		var done host.ApplyDone
		l.applier.Do(func() { done = l.group.Apply(e) }, func() {
			c.oracles.applied(l, e, done)
			l.take(done)
		})
	case host.Snapshot:
		var done host.SnapshotSaved
		l.applier.Do(func() { done = l.group.Snapshot() }, func() {
			if done.Err == nil {
				c.mark("snapshot saved")
			}
			l.take(done)
		})
	case host.SendSnapshot:
		l.sendSnapshot(e)
	case host.Install:
		var done host.Installed
		l.applier.Do(func() { done = l.group.Install(e) }, func() {
			if done.Err == nil {
				c.mark("snapshot install")
				c.oracles.installed(l, e)
			}
			l.take(done)
		})
	case host.Resolve:
		if q := l.requests[e.Client]; q != nil {
			delete(l.requests, e.Client)
			q.resolved(e)
		}
	case host.ReadAt:
		if q := l.requests[e.Client]; q != nil {
			delete(l.requests, e.Client)
			q.readAt(l, e.Index)
		}
	case host.Ask:
		l.ask(e)
	case host.Answer:
		l.answer(e)
	case host.Status:
		// The oracles look at every pass.
	case host.Removed:
		if e.Committed {
			l.removed()
		}
	case host.Emit:
		c.world.Emit(e.Event)
		if e.Event.Kind == trace.Truncated {
			c.mark("truncation")
		}
	case host.Halt:
		l.halted(e)
	default:
		c.fail("%v: the host emitted a %T this driver does not know", n.self, e)
	}
}

// write gives the writer everything that waits: one batch, one fsync (DESIGN 4).
func (l *life) write() {
	if l.writer.Len() > 0 || len(l.persists) == 0 || l.n.life != l {
		return
	}
	run := l.persists
	l.persists = nil
	var upTo id.Token
	var err error
	l.writer.Do(func() { upTo, err = l.disk.Persist(run) }, func() {
		switch {
		case isNoSpace(err):
			// Nothing was written: the same run is tried again. If it takes too
			// long a leader loses its office.
			l.n.c.mark("no space")
			l.persists = append(run, l.persists...)
			l.n.c.world.After(20*id.Millisecond, l.write)
			return
		case err != nil:
			l.take(host.DiskFailed{Err: err})
			return
		case upTo > 0:
			l.n.shadow.durableUpTo(upTo)
			if l.n.look.Chance(imagesPerMille) {
				l.n.c.oracles.onDisk(l.n)
			}
			l.take(host.Durable{Token: upTo})
		}
		l.write()
	})
}

// imagesPerMille is how many fsyncs of a thousand are checked on the disk itself.
const imagesPerMille = 4

// removed ends the process of a node that is no member any more.
func (l *life) removed() {
	n := l.n
	n.c.mark("removed node exits")
	n.c.world.Emit(trace.Event{Node: n.self, Kind: trace.Halted, Fields: []trace.Field{trace.Text("reason", "removed from the group")}})
	n.end()
	n.gone = true
}

// halted judges why a group stopped: only a disk that was made to fail is a
// reason.
func (l *life) halted(e host.Halt) {
	if !l.n.sick {
		l.n.c.fail("%v halts without any fault of its disk: %v", l.n.self, e.Reason)
		return
	}
	l.n.exit(e.Reason.Error())
}

// askTimeout ends a host-to-host request that nobody answers.
const askTimeout = id.Second

func (l *life) ask(e host.Ask) {
	l.asks[e.ID] = e.To
	l.n.c.packet(l.n, e.To, "ack", "ask", askBody{l, e.ID, e.Data, new(bool)})
	l.n.c.world.After(askTimeout, func() { l.answered(e.ID, nil, true) })
}

// asked hands a peer's request to the host. The number it goes by here is our
// own: two peers may have chosen the same.
func (l *life) asked(from id.NodeID, a askBody) {
	if *a.taken || len(l.askers) >= askersMax {
		return // the asker learns by its timeout that nothing is known
	}
	*a.taken = true
	l.newestAsker++
	l.askers[l.newestAsker] = a
	l.take(host.Asked{From: from, ID: l.newestAsker, Data: a.data})
}

// askersMax bounds requests of peers that were not answered.
const askersMax = 10_000

func (l *life) answer(e host.Answer) {
	a, ok := l.askers[e.ID]
	if !ok {
		l.n.c.fail("%v: the host answers %d, which nobody asked", l.n.self, e.ID)
		return
	}
	delete(l.askers, e.ID)
	l.n.c.packet(l.n, e.To, "ack", "answer", answerBody{a.asker, a.id, e.Data})
}

func (l *life) answered(ask uint64, data []byte, unknown bool) {
	if from, ok := l.asks[ask]; ok && l.n.life == l {
		delete(l.asks, ask)
		l.take(host.Answered{From: from, ID: ask, Data: data, Unknown: unknown})
	}
}

// sendSnapshot streams the published state. The stream is one packet: chunks and
// their loss are the transport's affair.
func (l *life) sendSnapshot(e host.SendSnapshot) {
	p := l.group.Acquire()
	defer p.Release()
	if p.Meta.Index < e.MinIndex {
		l.n.c.fail("%v: the host wants to send a snapshot of %d or later, the published state is of %d", l.n.self, e.MinIndex, p.Meta.Index)
		return
	}
	var b bytes.Buffer
	if _, err := p.Stream().WriteTo(&b); err != nil {
		l.n.c.fail("%v: writing a snapshot: %v", l.n.self, err)
		return
	}
	meta := p.Meta
	over := false
	end := func(ok bool) {
		if !over && l.n.life == l {
			over = true
			l.take(host.SnapshotSent{Group: e.Group, To: e.To, Index: meta.Index, OK: ok})
		}
	}
	l.n.c.packet(l.n, e.To, "snapshot", "snapshot", snapshotBody{meta, e.Term, b.Bytes(), end})
	l.n.c.world.After(3*id.Second, func() { end(false) })
}

// receiveSnapshot stores one that came, then lets raft hear of it.
func (l *life) receiveSnapshot(from id.NodeID, s snapshotBody) {
	if l.receiver.Len() > 4 {
		return // bounded: the sender will try again
	}
	var err error
	l.receiver.Do(func() { err = l.group.Receive(s.meta, bytes.NewReader(s.stream)) }, func() {
		if err != nil {
			l.n.c.mark("snapshot not stored")
			return
		}
		l.n.c.packet(l.n, from, "ack", "snapshot stored", storedBody{s.end})
		l.take(host.Frame{From: from, Group: theGroup, Message: raft.InstallSnapshot{Term: s.term, Snapshot: s.meta}})
	})
}
