package kafka

import (
	"slices"
	"strconv"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// replica is the broker's copy of the partition, and what it is in it: the leader,
// a follower, or neither.
type replica struct {
	log    *lab.Log
	hw     int // high watermark: everything up to it was in every log of the in-sync set
	epochs []epochStart

	controllerEpoch uint64   // newest controller that spoke to it
	leader          lab.Node // 0: offline, or not told yet
	epoch           uint64   // leader epoch; 0: not told yet
	version         uint64   // of the partition's state, as leader

	leading
	following
	storage
}

// leading is what only a leader has.
type leading struct {
	isr     []lab.Node // in assignment order
	others  []other
	waiting []produce // writes that are not answered, by position
	want    partition // the change of the set under way
	stale   bool      // the service refused one: another leader epoch is in force
}

// other is a follower as the leader sees it.
type other struct {
	node     lab.Node
	end      int     // it has everything up to here
	caughtUp id.Time // when it last had everything there was
	lastAt   id.Time // its fetch before
	lastEnd  int     // what there was then
	poll     bool    // a fetch of it waits for entries
	pollTo   id.Time // and so long at most
}

// produce is a write that waits for the in-sync set.
type produce struct {
	request  lab.Request
	position int
	due      id.Time
}

// entriesMax bounds what one FetchResponse carries, waitingMax the writes that wait.
const (
	entriesMax = 500
	waitingMax = 10_000
)

func (r *replica) init() {
	r.log = lab.NewLog()
	r.following.at = id.Never
	r.storage.init()
}

// instructed takes what the controller says about the partition.
func (b *broker) instructed(t *lab.Turn, from lab.Node, m leaderAndISR) {
	r := &b.replica
	answer := leaderAndISRAnswer{Epoch: m.Epoch, LeaderEpoch: m.Partition.Epoch}
	if m.Epoch < r.controllerEpoch && !b.o.unfenced {
		t.Rule("R1", nodeName(from)+" speaks as controller of epoch "+number(m.Epoch)+", but there is a newer one: not obeyed")
		answer.Stale = true
		t.Send(from, answer)
		return
	}
	if (b.session.id == 0 || m.Session < b.session.id) && !b.o.unfenced {
		return // meant for this broker's life before, or a moment too early: it comes again
	}
	r.controllerEpoch = max(r.controllerEpoch, m.Epoch)
	t.Send(from, answer)
	p := m.Partition
	if p.Epoch == r.epoch || p.Epoch < r.epoch && !b.o.unfenced {
		return
	}
	if p.Leader == b.self {
		b.lead(t, p)
	} else {
		b.follow(t, p)
	}
}

// lead begins a leader epoch as leader. One that led before keeps what it knows of
// the others.
func (b *broker) lead(t *lab.Turn, p partition) {
	r := &b.replica
	led := r.leader == b.self
	r.leader, r.epoch, r.version, r.isr = b.self, p.Epoch, p.Version, p.ISR
	r.want, r.stale = partition{}, false
	r.following = following{at: id.Never}
	if !led {
		t.Rule("R2", "the controller makes me leader of epoch "+number(p.Epoch))
		r.others, r.waiting = nil, nil
		for _, n := range b.assigned {
			if n != b.self {
				r.others = append(r.others, other{node: n})
			}
		}
	}
	for i := range r.others {
		r.others[i].caughtUp, r.others[i].poll = t.Now, false
	}
	b.beginEpoch(t, p.Epoch)
	r.log.Decide(r.hw)
	b.advance(t)
}

// follow begins a leader epoch as follower, or without a leader.
func (b *broker) follow(t *lab.Turn, p partition) {
	r := &b.replica
	if r.leader == b.self {
		t.Rule("R9", "the controller names another leader epoch, "+number(p.Epoch)+": I do not lead any more")
		for _, w := range r.waiting {
			t.Fail(w.request, "R9 a new leader epoch began before the in-sync set had it")
		}
	}
	r.leading = leading{}
	r.leader, r.epoch = p.Leader, p.Epoch
	r.following = following{at: id.Never}
	if r.leader != 0 {
		b.truncate(t)
	}
}

// asked takes a client's request.
func (b *broker) asked(t *lab.Turn, q lab.Request) {
	r := &b.replica
	switch {
	case r.leader == 0:
		t.Refuse(q, 0, "R3 the partition has no leader that I know of")
	case r.leader != b.self:
		t.Refuse(q, r.leader, "R2 "+nodeName(r.leader)+" leads")
	case q.Verb == "read":
		t.Serve(q, min(r.hw, r.log.Len()))
	case q.Verb != "write":
		t.Refuse(q, 0, "Kafka knows no "+strconv.Quote(q.Verb)+"; it knows write and read")
	case len(r.isr) < b.o.minimum:
		t.Rule("R5", "the in-sync set is "+names(r.isr)+", fewer than "+strconv.Itoa(b.o.minimum)+": the write is refused")
		t.Refuse(q, b.self, "R5 not enough replicas in sync: "+strconv.Itoa(len(r.isr))+" of "+strconv.Itoa(b.o.minimum))
	case len(r.waiting) >= waitingMax:
		t.Refuse(q, b.self, "R5 too many writes wait for the in-sync set")
	default:
		b.produce(t, q)
	}
}

// produce appends a write and waits for the in-sync set (R5).
func (b *broker) produce(t *lab.Turn, q lab.Request) {
	r := &b.replica
	position := r.log.Append(lab.Entry{Op: q.Op, Epoch: r.epoch, Client: q.Client})
	b.store(t, position-1)
	if b.o.acksLeader {
		t.Accept(q)
	} else {
		r.waiting = append(r.waiting, produce{q, position, t.Now.Add(produceMax)})
	}
	for i := range r.others {
		if o := &r.others[i]; o.poll {
			b.serve(t, o)
		}
	}
	b.advance(t)
}

// fetchAsked takes a follower's fetch: what it has by now, and what it wants.
func (b *broker) fetchAsked(t *lab.Turn, from lab.Node, m fetch) {
	r := &b.replica
	if why := b.judge(t, from, m.Epoch); why != "" {
		t.Send(from, fetched{Epoch: m.Epoch, From: m.From, Error: why})
		return
	}
	i := slices.IndexFunc(r.others, func(o other) bool { return o.node == from })
	if i < 0 {
		return
	}
	o := &r.others[i]
	// Partition.updateFollowerFetchState: it counts as caught up as of now, or as of
	// its fetch before if it has all there was then.
	switch {
	case m.From >= r.log.Len():
		o.caughtUp = t.Now
	case m.From >= o.lastEnd:
		o.caughtUp = max(o.caughtUp, o.lastAt)
	}
	o.lastAt, o.lastEnd = t.Now, r.log.Len()
	o.end, o.poll = min(m.From, r.log.Len()), false
	b.advance(t)
	b.expand(t, o)
	if m.From < r.log.Len() {
		b.serve(t, o)
		return
	}
	o.poll, o.pollTo = true, t.Now.Add(b.o.wait)
}

// judge tells why a replica's request is not answered; empty: it is.
func (b *broker) judge(t *lab.Turn, from lab.Node, epoch uint64) string {
	r := &b.replica
	switch {
	case r.leader != b.self:
		return notLeader
	case b.o.unfenced || epoch == r.epoch:
		return ""
	case epoch < r.epoch:
		t.Rule("R9", nodeName(from)+" asks in leader epoch "+number(epoch)+", an old one: fenced")
		return fencedEpoch
	}
	return unknownEpoch
}

// serve answers a fetch with what there is.
func (b *broker) serve(t *lab.Turn, o *other) {
	r := &b.replica
	o.poll = false
	entries := r.log.From(o.end)
	if len(entries) > entriesMax {
		entries = entries[:entriesMax:entriesMax]
	}
	t.Send(o.node, fetched{Epoch: r.epoch, From: o.end, HW: r.hw, Entries: entries})
}

// advance moves the high watermark to what everybody in sync has (R4), and answers
// the writes that it passes.
func (b *broker) advance(t *lab.Turn) {
	r := &b.replica
	least := b.ownEnd()
	for _, o := range r.others {
		// While a change of the set is under way both sets count: the service may have
		// taken it already, and then the controller may choose the newcomer.
		if slices.Contains(r.isr, o.node) || slices.Contains(r.want.ISR, o.node) {
			least = min(least, o.end)
		}
	}
	if r.hw = max(r.hw, min(least, r.log.Len())); r.hw > r.log.Decided() {
		r.log.Decide(r.hw)
	}
	for len(r.waiting) > 0 && r.waiting[0].position <= r.hw {
		w := r.waiting[0]
		r.waiting = r.waiting[1:]
		if len(r.isr) < b.o.minimum {
			t.Fail(w.request, "R5 the in-sync set became too small after the write")
		} else {
			t.Accept(w.request)
		}
	}
}

// expand takes a follower back into the in-sync set once it has everything up to
// the high watermark and to where this epoch began (R7).
func (b *broker) expand(t *lab.Turn, o *other) {
	r := &b.replica
	if slices.Contains(r.isr, o.node) || o.end < r.hw || o.end < b.epochBegan() || r.stale || b.session.busy(altering) {
		return
	}
	var next []lab.Node
	for _, n := range b.assigned {
		if n == o.node || slices.Contains(r.isr, n) {
			next = append(next, n)
		}
	}
	t.Rule("R7", nodeName(o.node)+" has caught up: the in-sync set should be "+names(next))
	b.alter(t, next)
}

// shrink takes those out who have not had everything for too long (R6).
func (b *broker) shrink(t *lab.Turn) {
	r := &b.replica
	var next, late []lab.Node
	for _, n := range r.isr {
		if slices.ContainsFunc(r.others, func(o other) bool { return o.node == n && t.Now >= b.lagsAt(o) }) {
			late = append(late, n)
		} else {
			next = append(next, n)
		}
	}
	if late == nil {
		return
	}
	t.Rule("R6", names(late)+" did not have everything for "+seconds(b.o.lag)+": the in-sync set should be "+names(next))
	b.alter(t, next)
}

// lagsAt is when a follower has lagged too long; Never: it does not lag.
func (b *broker) lagsAt(o other) id.Time {
	r := &b.replica
	if b.o.noShrink || r.stale || b.session.busy(altering) || o.end >= r.log.Len() || !slices.Contains(r.isr, o.node) {
		return id.Never
	}
	return o.caughtUp.Add(b.o.lag)
}

// looksAt is when the leader looks for those who lag. It looks one fetch later than
// it could, so that those who were lost together leave together (Kafka looks every
// half of the permitted lag).
func (b *broker) looksAt() id.Time {
	at := id.Never
	for _, o := range b.replica.others {
		at = min(at, b.lagsAt(o).Add(b.o.wait))
	}
	return at
}

// alter asks the service for another in-sync set, by compare-and-set.
func (b *broker) alter(t *lab.Turn, isr []lab.Node) {
	r := &b.replica
	r.want = partition{Leader: b.self, Epoch: r.epoch, ISR: isr, Version: r.version + 1}
	b.ask(t, altering, putCommand(0, r.want))
}

// altered is the answer. Until it is there the old set counts; a leader that is
// refused has been replaced, and changes nothing any more until it is told.
func (b *broker) altered(t *lab.Turn, m response) {
	r := &b.replica
	if r.leader != b.self || r.want.Epoch != r.epoch || r.want.Version == 0 {
		return
	}
	now := m.State.Partition
	switch {
	case m.OK || now.same(r.want):
		r.isr, r.version = r.want.ISR, now.Version
	case now.Leader == b.self && now.Epoch == r.epoch:
		r.isr, r.version = now.ISR, now.Version
	default:
		r.stale = true
		t.Rule("R9", "the coordination service refuses my in-sync set ("+m.Why+"): the partition is in leader epoch "+number(now.Epoch)+", not in mine")
	}
	r.want = partition{}
	b.advance(t)
}

// replicaDue sees to polls, lagging followers, writes nobody could confirm, the next
// fetch and the disk.
func (b *broker) replicaDue(t *lab.Turn) {
	r := &b.replica
	if r.leader == b.self {
		for i := range r.others {
			if o := &r.others[i]; o.poll && t.Now >= o.pollTo {
				b.serve(t, o)
			}
		}
		if t.Now >= b.looksAt() {
			b.shrink(t)
		}
		for len(r.waiting) > 0 && t.Now >= r.waiting[0].due {
			t.Fail(r.waiting[0].request, "R5 the in-sync set did not have it in "+seconds(produceMax))
			r.waiting = r.waiting[1:]
		}
	}
	if t.Now >= r.following.at {
		b.pull(t)
	}
	b.storageDue(t)
}

func (b *broker) replicaDeadline() id.Time {
	r := &b.replica
	at := min(r.following.at, b.storageDeadline())
	if r.leader != b.self {
		return at
	}
	for _, o := range r.others {
		if o.poll {
			at = min(at, o.pollTo)
		}
	}
	at = min(at, b.looksAt())
	if len(r.waiting) > 0 {
		at = min(at, r.waiting[0].due)
	}
	return at
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }
