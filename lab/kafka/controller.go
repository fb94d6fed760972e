package kafka

import (
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// controller is what the broker that holds /controller does: it watches the
// registrations, decides who leads (R2, R3), writes that to the service by
// compare-and-set, and only then tells the brokers.
type controller struct {
	epoch  uint64         // 0: this broker is not the controller
	known  []registration // as of the last decision: a broker that registered anew since was away
	acting []registration // as of the decision under way
	want   partition      // what that asks for
	told   []told
	at     id.Time // when brokers that did not answer are told again; Never: all have
}

// told is what a registered broker was told last.
type told struct {
	registration
	epoch    uint64 // leader epoch
	answered bool
}

func (c *controller) init() { *c = controller{at: id.Never} }

// contend becomes the controller, ceases to be, or acts as one, as the newest state
// says.
func (b *broker) contend(t *lab.Turn) {
	s, c := &b.session, &b.control
	if s.id == 0 {
		return
	}
	mine := s.seen.Holder == s.id
	switch {
	case !mine && c.epoch != 0:
		b.resign(t)
	case mine && c.epoch != s.seen.Epoch:
		*c = controller{epoch: s.seen.Epoch, known: s.seen.Brokers, at: id.Never}
		t.Rule("R1", "I was first to create /controller: I am the controller")
	}
	if s.seen.Holder == 0 && !s.busy(electing) {
		b.ask(t, electing, electCommand(s.id))
	}
	if c.epoch != 0 {
		b.decide(t)
	}
}

func (b *broker) resign(t *lab.Turn) {
	if b.control.epoch != 0 {
		t.Rule("R1", "another broker is the controller, or my session is over: I am not any more")
	}
	b.control.init()
}

// decide compares the registrations with the partition's state and, if something
// must change, asks the service for it.
func (b *broker) decide(t *lab.Turn) {
	s, c := &b.session, &b.control
	if s.busy(deciding) {
		return
	}
	old := s.seen.Partition
	next, why := b.wanted(old)
	if next.same(old) {
		c.known = s.seen.Brokers
		b.tell(t)
		return
	}
	c.acting = s.seen.Brokers
	next.Epoch, next.Version = old.Epoch+1, old.Version+1
	c.want = next
	t.Rule(why.rule, why.what)
	b.ask(t, deciding, putCommand(c.epoch, next))
}

// reason is a rule, and what it leads to.
type reason struct{ rule, what string }

// wanted is the partition's state as it should be now.
func (b *broker) wanted(p partition) (partition, reason) {
	s := &b.session.seen
	if p.Version == 0 {
		if slices.ContainsFunc(b.assigned, func(n lab.Node) bool { return !s.live(n) }) {
			return p, reason{} // the topic is created when all its replicas are there
		}
		p.Leader, p.ISR = b.assigned[0], b.assigned
		return p, reason{"R2", nodeName(p.Leader) + " is first in the assignment and leads; the in-sync set starts full"}
	}
	staying := slices.DeleteFunc(slices.Clone(p.ISR), b.gone)
	if len(staying) == 0 {
		staying = p.ISR[:1] // the last of the set keeps its claim: whatever was acknowledged, it has
		if slices.Contains(p.ISR, p.Leader) {
			staying = []lab.Node{p.Leader}
		}
	}
	why := reason{"R2", "a replica's broker is gone: the in-sync set is " + names(staying)}
	if p.Leader == 0 || b.gone(p.Leader) {
		p.Leader, why = 0, reason{"R3", "nobody in sync is alive: the partition is offline"}
		for _, n := range b.assigned {
			if s.live(n) && slices.Contains(staying, n) {
				p.Leader, why = n, reason{"R2", nodeName(n) + " is the first in the assignment that is alive and in sync: it leads"}
				break
			}
		}
	}
	p.ISR = staying
	if p.Leader == 0 && b.o.unclean {
		for _, n := range b.assigned {
			if s.live(n) {
				p.Leader, p.ISR = n, []lab.Node{n}
				return p, reason{"R3", nodeName(n) + " leads although it was not in sync: what only the others had is lost"}
			}
		}
	}
	return p, why
}

// gone tells whether a broker is not registered, or was away since the last
// decision: its new registration is another one.
func (b *broker) gone(n lab.Node) bool {
	now, live := b.session.seen.registered(n)
	if !live {
		return true
	}
	for _, r := range b.control.known {
		if r.Broker == n {
			return r.Session != now.Session
		}
	}
	return false
}

// decided is the answer to a decision. A command that was sent twice fails the
// second time, and the state is as wished.
func (b *broker) decided(t *lab.Turn, m response) {
	c := &b.control
	if c.epoch == 0 {
		return
	}
	if m.OK || m.State.Partition.same(c.want) {
		c.known = c.acting
		return
	}
	t.Rule("R9", "the coordination service refuses the controller's decision: "+m.Why)
}

// tell sends every registered broker the partition's state, unless it knows.
func (b *broker) tell(t *lab.Turn) {
	s, c := &b.session, &b.control
	if s.seen.Partition.Version == 0 {
		return
	}
	var list []told
	for _, r := range s.seen.Brokers {
		entry := told{registration: r, epoch: s.seen.Partition.Epoch}
		i := slices.IndexFunc(c.told, func(x told) bool { return x.registration == r && x.epoch == entry.epoch })
		if i >= 0 {
			entry = c.told[i]
		} else {
			t.Send(r.Broker, leaderAndISR{Epoch: c.epoch, Session: r.Session, Partition: s.seen.Partition})
			c.at = t.Now.Add(again)
		}
		list = append(list, entry)
	}
	c.told = list
}

// obeyed is a broker's answer to what it was told.
func (b *broker) obeyed(t *lab.Turn, from lab.Node, m leaderAndISRAnswer) {
	c := &b.control
	if m.Epoch != c.epoch {
		return
	}
	open := false
	for i := range c.told {
		if c.told[i].Broker == from && c.told[i].epoch == m.LeaderEpoch {
			c.told[i].answered = true
		}
		open = open || !c.told[i].answered
	}
	if !open {
		c.at = id.Never
	}
}

// controlDue tells brokers again that did not answer.
func (b *broker) controlDue(t *lab.Turn) {
	c := &b.control
	if t.Now < c.at {
		return
	}
	c.at = id.Never
	for _, x := range c.told {
		if !x.answered {
			t.Send(x.Broker, leaderAndISR{Epoch: c.epoch, Session: x.Session, Partition: b.session.seen.Partition})
			c.at = t.Now.Add(again)
		}
	}
}

func (b *broker) controlDeadline() id.Time { return b.control.at }

// names prints nodes for people: "n5, n4".
func names(nodes []lab.Node) string {
	text := ""
	for i, n := range nodes {
		if i > 0 {
			text += ", "
		}
		text += nodeName(n)
	}
	return text
}
