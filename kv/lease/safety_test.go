package lease

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/quorate/quorate/internal/id"
)

var seedFlag = flag.Uint64("seed", 0, "run TestPromisedTimeIsKept with this seed only")

// TestPromisedTimeIsKept runs three Expirers over one log in virtual time, with
// leaders that come and go, some without noticing, messages that take their
// time, and proposals whose outcome is lost. It checks the package's promise: no
// expiry before what a grant or an answered renewal promised, counted from when
// the request was received; and that every lease ends when nobody renews it.
func TestPromisedTimeIsKept(t *testing.T) {
	first, last := uint64(1), uint64(150)
	if *seedFlag != 0 {
		first, last = *seedFlag, *seedFlag
	}
	total := counts{}
	for seed := first; seed <= last; seed++ {
		w := newWorld(seed)
		if err := w.run(); err != nil {
			t.Fatalf("seed %d: %v\nreplay: go test ./kv/lease -run TestPromisedTimeIsKept -seed %d", seed, err, seed)
		}
		total.add(w.counts)
	}
	t.Logf("%+v", total)
	if *seedFlag == 0 && (total.Renewed < 1000 || total.Expired < 500 || total.Cleared < 50 || total.Zombie < 50 || total.Ignored == 0) {
		t.Fatalf("the runs do not reach what they are about: %+v", total)
	}
}

type counts struct{ Renewed, Refused, Expired, Cleared, Zombie, Leaders, Ignored int }

func (c *counts) add(d counts) {
	c.Renewed += d.Renewed
	c.Refused += d.Refused
	c.Expired += d.Expired
	c.Cleared += d.Cleared
	c.Zombie += d.Zombie
	c.Leaders += d.Leaders
	c.Ignored += d.Ignored
}

const tick = 20 * id.Millisecond

type world struct {
	counts
	random  *rand.Rand
	now     id.Time
	members [3]*member
	log     []entry
	leader  int // who really leads, in term
	term    id.Term
	calm    bool // no more renewals, grants or changes of leader

	leases   map[ID]*truth
	nextID   ID
	requests map[uint64]asking
	nextReq  uint64
	err      error
}

type member struct {
	x       *Expirer
	applied int
	inbox   []delayed
}

// delayed is an event on its way, or a decision of the world.
type delayed struct {
	at    id.Time
	after int // entries that must be applied before
	event Event
	do    func()
}

type entry struct {
	events []Event // what applying it tells
}

// truth is what the world knows of a lease.
type truth struct {
	ttl       int64
	promised  id.Time // the end of the latest promise
	revokedAt id.Time // 0: lives
	remaining int64
}

type asking struct {
	lease    ID
	received id.Time
}

func newWorld(seed uint64) *world {
	w := &world{
		random: rand.New(rand.NewPCG(seed, 1)), leases: map[ID]*truth{},
		requests: map[uint64]asking{}, nextID: 1, leader: 0, term: 1, now: id.Time(id.Second),
	}
	o := Options{
		Extend: id.Duration(w.random.IntN(300)) * id.Millisecond, ExpirePerSecondMax: 4,
		RevokesInFlightMax: 3, CheckpointInterval: 1500 * id.Millisecond, CheckpointsPerProposalMax: 3,
	}
	for i := range w.members {
		w.members[i] = &member{x: NewExpirer(o, nil)}
	}
	w.members[0].inbox = append(w.members[0].inbox, delayed{event: Promoted{Term: 1}})
	return w
}

func (w *world) delay(maxMillis int) id.Time {
	return w.now.Add(id.Duration(w.random.IntN(maxMillis)) * id.Millisecond)
}

func (w *world) run() error {
	for ; w.now < id.Time(40*id.Second) && w.err == nil; w.now = w.now.Add(tick) {
		w.disturb()
		w.stepAll()
	}
	w.calm = true
	for end := w.now.Add(60 * id.Second); w.now < end && w.err == nil; w.now = w.now.Add(tick) {
		w.stepAll()
	}
	for lease := ID(1); lease < w.nextID && w.err == nil; lease++ {
		if w.leases[lease].revokedAt == 0 {
			w.err = fmt.Errorf("lease %d lives for ever", lease)
		}
	}
	return w.err
}

// disturb does what clients and fate do.
func (w *world) disturb() {
	if w.random.IntN(150) == 0 {
		w.elect(w.random.IntN(3))
	}
	if len(w.leases) < 12 && w.random.IntN(30) == 0 {
		ttl := int64(2 + w.random.IntN(6))
		lease := w.nextID
		w.nextID++
		w.leases[lease] = &truth{ttl: ttl, promised: after(w.now, ttl)}
		w.append(Granted{Lease{ID: lease, TTL: ttl}})
	}
	for lease := ID(1); lease < w.nextID; lease++ {
		if w.random.IntN(60) != 0 {
			continue
		}
		for _, m := range w.members {
			if m.x.Leading() {
				w.nextReq++
				w.requests[w.nextReq] = asking{lease, w.now}
				m.inbox = append(m.inbox, delayed{at: w.now, event: Renew{Request: w.nextReq, ID: lease}})
			}
		}
	}
}

func (w *world) append(events ...Event) int {
	w.log = append(w.log, entry{events})
	return len(w.log)
}

// elect makes m the leader; the old one may learn of it late.
func (w *world) elect(m int) {
	w.term++
	w.Leaders++
	term := w.term
	if old := w.leader; old != m {
		w.members[old].inbox = append(w.members[old].inbox, delayed{at: w.delay(3000), do: func() {
			if w.leader != old {
				w.step(old, Demoted{})
			}
		}})
	}
	w.leader = m
	w.members[m].inbox = append(w.members[m].inbox, delayed{at: w.delay(200), do: func() {
		if w.term == term {
			w.step(m, Promoted{Term: term})
		}
	}})
}

func (w *world) stepAll() {
	for i, m := range w.members {
		for m.applied < len(w.log) && (w.calm || w.random.IntN(4) > 0) {
			w.applyNext(i)
		}
		for n := 0; n < len(m.inbox); n++ {
			d := m.inbox[n]
			if d.at > w.now || d.after > m.applied {
				continue
			}
			m.inbox = append(m.inbox[:n:n], m.inbox[n+1:]...)
			n--
			if d.do != nil {
				d.do()
			} else {
				w.step(i, d.event)
			}
		}
		w.step(i)
	}
}

func (w *world) applyNext(i int) {
	e := w.log[w.members[i].applied]
	w.members[i].applied++
	w.step(i, e.events...)
}

func (w *world) step(i int, events ...Event) {
	for _, e := range w.members[i].x.Step(w.now, events, nil) {
		w.effect(i, e)
	}
}

func (w *world) effect(i int, e Effect) {
	m := w.members[i]
	switch e := e.(type) {
	case ConfirmOffice:
		term := w.term
		if w.leader != i {
			term = 0
		}
		m.inbox = append(m.inbox, delayed{at: w.delay(150), do: func() {
			// The moment a majority answers.
			ok := w.leader == i && w.term == term && w.random.IntN(20) > 0
			if !ok {
				w.Zombie++
			}
			m.inbox = append(m.inbox, delayed{at: w.delay(150), after: len(w.log), event: OfficeConfirmed{Round: e.Round, OK: ok}})
		}})
	case ProposeRevoke:
		m.inbox = append(m.inbox, delayed{at: w.delay(150), do: func() { w.proposeRevoke(i, e) }})
	case ProposeCheckpoint:
		m.inbox = append(m.inbox, delayed{at: w.delay(150), do: func() { w.proposeCheckpoint(i, e) }})
	case Renewed:
		w.renewed(e)
	}
}

func (w *world) proposeRevoke(i int, e ProposeRevoke) {
	m := w.members[i]
	lost := w.random.IntN(10) == 0
	if w.leader != i || lost && w.random.IntN(2) == 0 {
		m.inbox = append(m.inbox, delayed{at: w.now, event: RevokeFailed{ID: e.ID}})
		return
	}
	if l := w.leases[e.ID]; w.term != e.Term {
		w.Ignored++ // the state machine sees an entry of another term
		lost = true
	} else if l.revokedAt == 0 {
		l.revokedAt = w.now
		w.Expired++
		if w.now < l.promised {
			w.err = fmt.Errorf("lease %d revoked at %d, promised until %d", e.ID, w.now, l.promised)
		}
		w.append(Revoked{ID: e.ID})
	}
	if lost {
		m.inbox = append(m.inbox, delayed{at: w.delay(300), event: RevokeFailed{ID: e.ID}})
	}
}

func (w *world) proposeCheckpoint(i int, e ProposeCheckpoint) {
	m := w.members[i]
	lost := w.random.IntN(10) == 0
	if w.leader != i || w.term != e.Term || lost && w.random.IntN(2) == 0 {
		m.inbox = append(m.inbox, delayed{at: w.now, event: CheckpointDone{Number: e.Number}})
		return
	}
	var events []Event
	for _, c := range e.Checkpoints {
		if l := w.leases[c.ID]; l.revokedAt == 0 {
			if l.remaining > 0 && c.Remaining == 0 {
				w.Cleared++
			}
			l.remaining = c.Remaining
			events = append(events, Checkpointed(c))
		}
	}
	index := w.append(events...)
	if lost {
		index = 0
	}
	m.inbox = append(m.inbox, delayed{at: w.delay(150), after: index, event: CheckpointDone{Number: e.Number, OK: !lost}})
}

func (w *world) renewed(e Renewed) {
	r, ok := w.requests[e.Request]
	if !ok || r.lease != e.ID {
		w.err = fmt.Errorf("request %d answered twice or for another lease: %+v", e.Request, e)
		return
	}
	delete(w.requests, e.Request)
	if e.Outcome != RenewOK {
		w.Refused++
		return
	}
	w.Renewed++
	l := w.leases[e.ID]
	until := after(r.received, e.TTL)
	l.promised = max(l.promised, until)
	if e.TTL != l.ttl || l.revokedAt != 0 && l.revokedAt < until {
		w.err = fmt.Errorf("lease %d promised for %d s from %d, it was revoked at %d", e.ID, e.TTL, r.received, l.revokedAt)
	}
}
