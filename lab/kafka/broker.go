package kafka

import (
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
)

// broker is one life of one broker: a replica of the partition, a session with the
// coordination service, and, if it was first to create /controller, the controller.
type broker struct {
	o        *options
	self     lab.Node
	assigned []lab.Node // the replicas in assignment order: the first is the preferred leader
	life     uint64
	place    int // in which the brokers are started
	dice     *sim.Random

	session session
	control controller
	replica replica
}

func newBroker(c lab.Config, o *options) *broker {
	b := &broker{o: o, self: c.Self, assigned: c.Ranks, life: uint64(c.Life), place: slices.Index(c.Voters, c.Self), dice: c.Dice}
	b.session.init(c.Helpers)
	b.control.init()
	b.replica.init()
	return b
}

// Step takes one event.
func (b *broker) Step(t *lab.Turn, e lab.Event) {
	switch e := e.(type) {
	case lab.Started:
		b.recover(t, e.Files)
		b.session.openAt = t.Now
		if b.life == 1 {
			// An operator starts one after the other, n1 first: it becomes the controller.
			b.session.openAt = t.Now.Add(5*startGap + id.Duration(b.place)*startGap)
		}
	case lab.Received:
		b.receive(t, e.From, e.Message)
	case lab.Durable:
		b.durable(t, e.Token)
	case lab.Reset:
		b.sessionReset(t, e.Node)
		b.fetchReset(t, e.Node)
	case lab.Asked:
		b.asked(t, e.Request)
	}
	// Timers that are due also fire in the Step of another event.
	b.sessionDue(t)
	b.controlDue(t)
	b.replicaDue(t)
}

func (b *broker) receive(t *lab.Turn, from lab.Node, m lab.Body) {
	switch m := m.(type) {
	case response:
		b.responded(t, m)
	case pong:
		b.ponged(t, from, m)
	case elsewhere:
		b.redirected(t, from, m)
	case watchEvent:
		b.saw(t, m.State)
	case leaderAndISR:
		b.instructed(t, from, m)
	case leaderAndISRAnswer:
		b.obeyed(t, from, m)
	case fetch:
		b.fetchAsked(t, from, m)
	case fetched:
		b.fetchAnswered(t, from, m)
	case epochQuery:
		b.epochAsked(t, from, m)
	case epochAnswer:
		b.epochAnswered(t, from, m)
	}
}

// Deadline is the earliest of its timers.
func (b *broker) Deadline() id.Time {
	return min(b.sessionDeadline(), b.controlDeadline(), b.replicaDeadline())
}

// View is what the replica believes.
func (b *broker) View() lab.View {
	r := &b.replica
	role := "follower"
	switch r.leader {
	case 0:
		role = "offline"
	case b.self:
		role = "leader"
	}
	return lab.View{Role: role, Leads: r.leader == b.self, Epoch: r.epoch, Leader: r.leader, Log: r.log}
}

// Details are the high watermark, the in-sync set, and how far the others are.
func (b *broker) Details() []trace.Field {
	r := &b.replica
	f := []trace.Field{trace.Num("high-watermark", uint64(r.hw)), trace.Num("session", b.session.id)}
	if b.control.epoch > 0 {
		f = append(f, trace.Num("controller-epoch", b.control.epoch))
	}
	if r.leader == b.self {
		f = append(f, trace.Text("isr", list(r.isr)), trace.Num("waiting", uint64(len(r.waiting))))
		for _, o := range r.others {
			f = append(f, trace.Num("end "+nodeName(o.node), uint64(o.end)))
		}
	}
	return f
}
