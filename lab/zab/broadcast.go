package zab

import (
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// propose is R13: the next zxid, to every follower in order, and to the leader's
// own disk at the same time. When the counter is full there is no next zxid in
// this epoch: an election makes another one (ZOOKEEPER-1277).
func (m *machine) propose(t *lab.Turn, x txn) {
	l := m.lead
	if l.counter >= m.set.counter {
		t.Rule("R13", "the counter of the epoch is full: only an election gives another epoch")
		m.look(t, "back to LOOKING")
		return
	}
	l.counter++
	x.zxid = zxidOf(l.epoch, l.counter)
	m.history.append(x)
	for _, f := range l.learners {
		if f.forwards && m.takesPart(f) {
			m.sendProposal(t, f, x)
		}
	}
	m.logged(t, x, func(t *lab.Turn) {
		l.own = x.zxid
		m.commit(t)
	})
}

// logged writes a transaction and goes on when it is on disk.
func (m *machine) logged(t *lab.Turn, x txn, then func(t *lab.Turn)) {
	t.Write(fileLog, recordTxn{x})
	if m.c.Broken(noFsync) {
		then(t)
		return
	}
	m.after(t.Sync(fileLog), then)
}

func (m *machine) sendProposal(t *lab.Turn, f *learner, x txn) {
	f.link.send(t, proposal{x})
	f.newest, f.newestAt = x.zxid, t.Now
	if f.oldest == 0 {
		f.oldest, f.oldestAt = x.zxid, t.Now
	}
}

// acked: a learner has something on disk. Its log is in order, so it has
// everything before as well.
func (m *machine) acked(t *lab.Turn, f *learner, z zxid) {
	l := m.lead
	if !f.synced && z == zxidOf(l.epoch, 0) {
		f.synced = true
		f.acked = max(f.acked, z)
		if l.phase == broadcasting {
			f.link.send(t, upToDate{l.epoch})
		}
		m.takeOffice(t)
		m.commit(t)
		return
	}
	f.acked = max(f.acked, z)
	if f.acked >= f.oldest {
		f.oldest, f.oldestAt = f.newest, f.newestAt
		if f.acked >= f.newest {
			f.oldest, f.oldestAt = 0, id.Never
		}
	}
	m.commit(t)
}

// commit is R14: in order, what a quorum has on disk. Followers have it already
// and are told so; observers get it now.
func (m *machine) commit(t *lab.Turn) {
	l := m.lead
	if l.phase != broadcasting {
		return
	}
	for l.committed < len(m.history.txns) {
		x := m.history.txns[l.committed]
		if m.voters(l.own >= x.zxid, func(f *learner) bool { return f.acked >= x.zxid }) < m.c.Quorum() {
			break
		}
		l.committed++
		m.history.log.Decide(l.committed)
		for _, f := range l.learners {
			switch {
			case !f.forwards:
			case m.takesPart(f):
				f.link.send(t, commit{x.zxid})
			default:
				f.link.send(t, inform{x})
			}
		}
		m.answer(t, x)
	}
	for len(l.syncs) > 0 && m.upTo(l.syncs[0].behind) {
		s := l.syncs[0]
		l.syncs = l.syncs[1:]
		m.sendSync(t, s)
	}
}

// upTo tells whether everything up to a zxid is committed.
func (m *machine) upTo(z zxid) bool { return m.history.upTo(z) <= m.lead.committed }

// syncAsked: somebody wants to be as new as the leader is now. If proposals are
// under way the sign goes behind them, so that a learner reads it after their
// commits. Every server waits for at most outstandingMax of them, which bounds the
// list. No quorum is asked: a leader that does not know yet that it is none
// answers too, as ZooKeeper's does.
func (m *machine) syncAsked(t *lab.Turn, from lab.Node, id uint64) {
	l := m.lead
	if l.phase != broadcasting {
		return
	}
	s := pendingSync{m.history.last(), from, id}
	if m.upTo(s.behind) {
		m.sendSync(t, s)
		return
	}
	l.syncs = append(l.syncs, s)
}

func (m *machine) sendSync(t *lab.Turn, s pendingSync) {
	if s.from == m.c.Self {
		m.synced(t, s.id)
	} else if f := m.lead.learner(s.from); f != nil {
		f.link.send(t, syncUp{s.id})
	}
}

// asked: a client came. Any server takes it (M100): a read is answered from what
// this server knows, a write goes to the leader and is answered when its commit
// comes back here.
func (m *machine) asked(t *lab.Turn, r lab.Request) {
	if r.Verb == "srvr" {
		t.Tell(r, m.mode())
		return
	}
	leads := m.lead != nil && m.lead.phase == broadcasting
	learns := m.learning != nil && m.learning.phase == serving
	if !leads && !learns {
		t.Refuse(r, 0, "R1 "+m.state+" and not synchronized: no service")
		return
	}
	if len(m.clients) >= outstandingMax {
		t.Refuse(r, 0, "R13 too many requests are outstanding")
		return
	}
	write := r.Verb == "write"
	toSync := r.Verb == "read" && slices.Equal(r.Args, []string{"sync"})
	switch {
	case !write && !toSync && (r.Verb != "read" || len(r.Args) > 0):
		t.Refuse(r, 0, "zab knows write, read, read sync (a read behind a SYNC) and srvr")
		return
	case !write && (!toSync || m.c.Broken(syncAtOnce)):
		t.Serve(r, m.history.log.Decided())
		return
	}
	m.clients = append(m.clients, waiter{r, toSync})
	switch {
	case leads && toSync:
		m.syncAsked(t, m.c.Self, r.ID)
	case leads:
		m.propose(t, txn{op: r.Op, client: r.Client, origin: m.c.Self, request: r.ID})
	case toSync:
		m.learning.link.send(t, syncUp{r.ID})
	default:
		m.learning.link.send(t, request{r.ID, r.Op, r.Client})
	}
}

// mode is what ZooKeeper's command srvr says of a server.
func (m *machine) mode() string {
	switch {
	case m.lead != nil && m.lead.phase == broadcasting:
		return "leader"
	case m.learning == nil || m.learning.phase != serving:
		return "not serving"
	case m.observes():
		return "observer"
	}
	return "follower"
}

// answer tells a client of this server that its write is committed.
func (m *machine) answer(t *lab.Turn, x txn) {
	if x.origin != m.c.Self {
		return
	}
	if w, ok := m.take(x.request, false); ok {
		t.Accept(w.request)
	}
}

// synced answers the read behind a SYNC.
func (m *machine) synced(t *lab.Turn, id uint64) {
	if w, ok := m.take(id, true); ok {
		t.Serve(w.request, m.history.log.Decided())
	}
}

func (m *machine) take(id uint64, isSync bool) (waiter, bool) {
	at := slices.IndexFunc(m.clients, func(w waiter) bool { return w.request.ID == id && w.isSync == isSync })
	if at < 0 {
		return waiter{}, false
	}
	w := m.clients[at]
	m.clients = slices.Delete(m.clients, at, at+1)
	return w, true
}
