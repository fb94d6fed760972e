// Package writers is what people reach for before they reach for a leader: every
// node takes writes, and time stamps of the nodes' own clocks order them. It is
// here to go wrong (the account example of the source document: 100 come in at A,
// 100 go out at B, and the clocks differ).
//
//	client ─▶ n1: stamp, apply, answer ──Push──▶ n2: put in its place by the stamp,
//	                                             compute anew what comes behind it
//
// # Rules
//
//	R1  every node takes writes: it stamps them with its own wall clock, applies
//	    them and answers at once.
//	R2  then it pushes them to every peer, again each second (config resend) until
//	    the peer says Got.
//	R3  the order of all operations is (stamp, node, operation); what comes late is
//	    put in its place, and everything behind it is computed anew.
//	R4  a withdrawal is paid if the balance that the node sees covers it. Where the
//	    order of the stamps turns out not to cover it, it counts as declined: the
//	    money has left, the account does not know.
//
// # What is promised
//
// Every node answers at any time, and nodes that hear each other come to the same
// operations in the same order: the same balance.
//
// # What is not
//
//   - That the balance is right. An effect that has an earlier stamp than its cause
//     is ordered before it, on all nodes alike.
//   - That an answer stays true: decided positions change when something comes late
//     (C4, divergent).
//   - That a power cut takes nothing: an operation is pushed by its author alone, so
//     what one node has lost stays lost to it, whoever else holds it.
//   - Two nodes pay the same money at the same time, however good the clocks are.
//
// A leader ends all three: one node orders, and it answers when the order stands
// (`expect raft: …` in the recipe account-with-clocks).
//
// Operations are written to disk and not synced. Nobody leads: C2, C6 and C7 mean
// nothing here.
package writers

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// oneClock lets the nodes stamp by one clock.
const oneClock = faults.Switch("one-clock")

// Protocols is the one protocol of this package.
func Protocols() []lab.Protocol {
	return []lab.Protocol{{
		Name: "writers", Title: "Many writers, ordered by clocks", Chinese: "多写者（按时钟排序）",
		About:   "every node takes writes and stamps them with its own clock; no leader, and no order that anybody could rely on",
		Slowest: id.Second, Leaderless: true,
		Switches: []lab.Switch{{Name: oneClock, What: "R1: the stamps come from one clock that all nodes share, which no network has"}},
		New:      func(c lab.Config) lab.Machine { return newMachine(c) },
	}}
}

// operation is one write with its stamp.
type operation struct {
	stamp  id.Time
	node   lab.Node // who stamped it
	op     uint64
	client lab.Node
	verb   string // write, deposit, withdraw
	amount int64
}

func (o operation) compare(p operation) int {
	return cmp.Or(cmp.Compare(o.stamp, p.stamp), cmp.Compare(o.node, p.node), cmp.Compare(o.op, p.op))
}

// An operation is also its record on disk.
func (o operation) Name() string { return "operation" }
func (o operation) Fields() []trace.Field {
	return []trace.Field{trace.Num("stamp", uint64(o.stamp)), trace.Num("node", o.node), trace.Num("operation", o.op),
		trace.Text("verb", o.verb), trace.Num("amount", uint64(o.amount))}
}

type (
	push struct{ operations []operation }
	got  struct{ last operation } // everything up to this one of the receiver's queue
)

func (push) Name() string { return "Push" }
func (m push) Fields() []trace.Field {
	return []trace.Field{trace.Num("operations", uint64(len(m.operations)))}
}
func (m push) Bytes() int           { return 16 + 48*len(m.operations) }
func (got) Name() string            { return "Got" }
func (m got) Fields() []trace.Field { return []trace.Field{trace.Num("operation", m.last.op)} }

const (
	batchMax = 64     // operations in one Push
	queueMax = 10_000 // not yet taken by a peer; beyond, a node refuses writes
)

type machine struct {
	c      lab.Config
	resend id.Duration
	peers  []lab.Node
	queues [][]operation // by peer: own operations it has not said Got to
	again  id.Time       // when they are pushed again
	sorted []operation   // all, by R3
	log    *lab.Log      // the same, as the frame wants it
}

func newMachine(c lab.Config) *machine {
	m := &machine{c: c, peers: c.Peers(), again: id.Never, log: lab.NewLog()}
	m.resend = c.Settings.Duration("resend", id.Second, 10*id.Millisecond, 600*id.Second)
	m.queues = make([][]operation, len(m.peers))
	return m
}

// Step takes one event.
func (m *machine) Step(t *lab.Turn, e lab.Event) {
	switch e := e.(type) {
	case lab.Started:
		m.restore(t, e.Files["operations"])
	case lab.Received:
		switch b := e.Message.(type) {
		case push:
			for _, o := range b.operations {
				m.insert(t, o)
			}
			t.Send(e.From, got{b.operations[len(b.operations)-1]})
		case got:
			m.got(t, e.From, b.last)
		}
	case lab.Due:
		for i := range m.peers {
			m.push(t, i)
		}
		m.rearm(t)
	case lab.Asked:
		m.answer(t, e.Request)
	}
}

func (m *machine) Deadline() id.Time { return m.again }

func (m *machine) View() lab.View { return lab.View{Role: "writer", Log: m.log} }

func (m *machine) Details() []trace.Field {
	waiting := 0
	for _, q := range m.queues {
		waiting = max(waiting, len(q))
	}
	return []trace.Field{trace.Text("balance", strconv.FormatInt(m.balance(), 10)), trace.Num("unpushed", uint64(waiting))}
}

// restore reads the disk. What peers have already is pushed again, and ignored.
func (m *machine) restore(t *lab.Turn, records []lab.Body) {
	for _, b := range records {
		o := b.(operation)
		m.place(o)
		if o.node == m.c.Self {
			m.enqueue(o)
		}
	}
	m.rearm(t)
}

// answer is a client's request.
func (m *machine) answer(t *lab.Turn, r lab.Request) {
	amount, err := amountOf(r)
	if err != nil {
		t.Refuse(r, 0, err.Error())
		return
	}
	switch r.Verb {
	case "read":
		t.Serve(r, m.log.Len())
		return
	case "balance":
		t.Tell(r, strconv.FormatInt(m.balance(), 10))
		return
	}
	for _, q := range m.queues {
		if len(q) >= queueMax {
			t.Refuse(r, 0, fmt.Sprintf("R2 %d operations wait for a peer already", queueMax))
			return
		}
	}
	seen := m.balance()
	if r.Verb == "withdraw" && seen < amount {
		t.Rule("R4", fmt.Sprintf("%d are asked for, %d are there: declined", amount, seen))
		t.Tell(r, fmt.Sprintf("declined: the balance is %d", seen))
		return
	}
	stamp := t.Wall
	if m.c.Broken(oneClock) {
		stamp = t.Now
	}
	o := operation{stamp, m.c.Self, r.Op, r.Client, r.Verb, amount}
	t.Rule("R1", "it takes the write itself, by its own clock")
	m.insert(t, o)
	m.enqueue(o)
	for i := range m.peers {
		if len(m.queues[i]) == 1 { // else an older Push is on its way, and its Got brings the next
			m.push(t, i)
		}
	}
	m.rearm(t)
	switch r.Verb {
	case "write":
		t.Accept(r)
	case "deposit":
		t.Tell(r, fmt.Sprintf("done: the balance is %d", seen+amount))
	case "withdraw":
		t.Tell(r, fmt.Sprintf("done: the balance is %d", seen-amount))
	}
}

// amountOf is the number that a verb needs; an error is for a verb unknown or an
// amount that is none.
func amountOf(r lab.Request) (int64, error) {
	switch r.Verb {
	case "write", "read", "balance":
		return 0, nil
	case "deposit", "withdraw":
		if len(r.Args) == 1 {
			if n, err := strconv.ParseInt(r.Args[0], 10, 32); err == nil && n > 0 {
				return n, nil
			}
		}
		return 0, fmt.Errorf("%s needs an amount, as in: do 5s n1 %s 100", r.Verb, r.Verb)
	}
	return 0, fmt.Errorf("writers knows no %q; it knows write, read, deposit, withdraw, balance", r.Verb)
}

// insert adds an operation where its stamp wants it (R3), unless it is known.
func (m *machine) insert(t *lab.Turn, o operation) {
	behind, known := m.place(o)
	if known {
		return
	}
	t.Write("operations", o)
	if behind > 0 {
		t.Rule("R3", fmt.Sprintf("the stamp of operation %d (%s) is older than the last %d: it is put before them", o.op, o.verb, behind))
	}
}

// place puts an operation in its place and tells how many are behind it.
func (m *machine) place(o operation) (behind int, known bool) {
	at, known := slices.BinarySearchFunc(m.sorted, o, operation.compare)
	if known {
		return 0, true
	}
	m.sorted = slices.Insert(m.sorted, at, o)
	m.log.Truncate(at)
	for _, o := range m.sorted[at:] {
		m.log.Append(lab.Entry{Op: o.op, Client: o.client})
	}
	m.log.Decide(m.log.Len())
	return len(m.sorted) - at - 1, false
}

// balance is what the order of the stamps comes to.
func (m *machine) balance() int64 {
	var sum int64
	for _, o := range m.sorted {
		switch {
		case o.verb == "deposit":
			sum += o.amount
		case o.verb == "withdraw" && sum >= o.amount:
			sum -= o.amount
		}
	}
	return sum
}

func (m *machine) enqueue(o operation) {
	for i := range m.queues {
		m.queues[i] = append(m.queues[i], o)
	}
}

// push sends the oldest of a peer's queue (R2).
func (m *machine) push(t *lab.Turn, i int) {
	if q := m.queues[i]; len(q) > 0 {
		t.Send(m.peers[i], push{slices.Clone(q[:min(len(q), batchMax)])})
	}
}

// got drops what a peer has, and pushes what came meanwhile.
func (m *machine) got(t *lab.Turn, from lab.Node, last operation) {
	i := slices.Index(m.peers, from)
	if i < 0 {
		return
	}
	at := slices.Index(m.queues[i], last)
	if at < 0 {
		return
	}
	m.queues[i] = append([]operation(nil), m.queues[i][at+1:]...)
	m.push(t, i)
	m.rearm(t)
}

// rearm keeps a time that is set: new operations, or an answer of one peer, must not
// put off what another one has not taken.
func (m *machine) rearm(t *lab.Turn) {
	waiting := slices.ContainsFunc(m.queues, func(q []operation) bool { return len(q) > 0 })
	switch {
	case !waiting:
		m.again = id.Never
	case m.again == id.Never || m.again <= t.Now:
		m.again = t.Now.Add(m.resend)
	}
}
