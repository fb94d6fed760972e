package raft

import (
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/membership"
	production "github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
	"github.com/quorate/quorate/trace"
	"github.com/quorate/quorate/wire"
)

// counter is a machine that knows nothing of the lab: it counts commands.
type counter struct {
	count   uint64
	applied id.Index
}

func (c *counter) Apply(b rsm.Batch, results []rsm.Result) ([]rsm.Result, error) {
	for range b.Commands {
		c.count++
		results = append(results, binary.BigEndian.AppendUint64(nil, c.count))
	}
	c.applied = b.Applied
	return results, nil
}
func (c *counter) View() rsm.View                    { return counterView{*c} }
func (c *counter) Restore(rsm.Meta, io.Reader) error { return errors.New("never asked for") }

type counterView struct{ counter }

func (v counterView) Applied() id.Index                { return v.applied }
func (v counterView) WriteTo(io.Writer) (int64, error) { return 0, nil }
func (v counterView) Close() error                     { return nil }

// owner is another protocol built on a Core, with a file and tokens of its own, and
// a log of its own.
type owner struct {
	core    *Core
	counter *counter
	log     *lab.Log
	asked   map[Ticket]lab.Request
	ended   map[Ticket]int
	own     map[id.Token]bool
	seen    int // own tokens that came back
	t       *testing.T
}

type note struct{ Op uint64 }

func (note) Name() string            { return "note" }
func (n note) Fields() []trace.Field { return []trace.Field{trace.Num("operation", n.Op)} }

func (o *owner) Step(t *lab.Turn, e lab.Event) {
	switch e := e.(type) {
	case lab.Asked:
		if e.Request.Verb == "write" {
			o.own[t.Persist("notes", note{e.Request.Op})] = true
			o.asked[o.core.Propose(t, []byte("count"))] = e.Request
		} else {
			o.asked[o.core.Read(t)] = e.Request
		}
	case lab.Durable:
		if o.own[e.Token] {
			o.seen++
		}
	}
	o.core.Step(t, e)
	for _, end := range o.core.Ended() {
		if o.ended[end.Ticket]++; o.ended[end.Ticket] > 1 {
			o.t.Errorf("ticket %d ended twice", end.Ticket)
		}
		r, ok := o.asked[end.Ticket]
		switch {
		case !ok:
			o.t.Errorf("ticket %d is nobody's: %+v", end.Ticket, end)
		case end.Outcome == host.Done && r.Verb == "write":
			o.log.Append(lab.Entry{Op: r.Op, Epoch: binary.BigEndian.Uint64(end.Result)})
			o.log.Decide(o.log.Len())
			t.Accept(r)
		case end.Outcome == host.Done:
			t.Tell(r, "counted")
		case end.Outcome == host.Refused:
			t.Refuse(r, end.Leader, end.Why)
		default:
			t.Fail(r, "nobody knows")
		}
	}
}
func (o *owner) Deadline() id.Time      { return o.core.Deadline() }
func (o *owner) Details() []trace.Field { return o.core.Details() }
func (o *owner) View() lab.View {
	v := o.core.View()
	v.Log = o.log
	return v
}

// Another protocol runs on a Core of its own machine, file and pace, beside syncs of
// its own; every ticket ends once, and a restart brings the machine back.
func TestACoreServesAnotherProtocol(t *testing.T) {
	lives := map[lab.Node][]*owner{}
	p := lab.Protocol{Name: "owner", Slowest: 2 * id.Second, Epochs: true, New: func(c lab.Config) lab.Machine {
		m := &counter{}
		o := &owner{
			counter: m, log: lab.NewLog(), asked: map[Ticket]lab.Request{}, ended: map[Ticket]int{}, own: map[id.Token]bool{}, t: t,
			core: NewCore(c, Options{
				Members: c.Voters, Machine: m, File: "service", Campaign: c.Self == 2,
				Heartbeat: 200 * id.Millisecond, ElectionMin: id.Second, ElectionMax: 2 * id.Second,
			}),
		}
		lives[c.Self] = append(lives[c.Self], o)
		return o
	}}
	_, result := run(t, `quorate recipe 2
seed 3
length 30s
voters n1,n2,n3
fault 10s 5s crash n2 lose=all
fault 20s 5s isolate n1
`, p, 0)
	if m := result.Measures; m.Acked < 150 || m.SameEpoch+m.TwoLeaders != 0 || m.Changes < 1 || m.Gap > 8*id.Second {
		t.Errorf("%+v", m)
	}
	if len(lives[2]) != 2 || lives[2][0].seen == 0 {
		t.Errorf("n2 has %d lives; its owner saw %d of its own tokens", len(lives[2]), lives[2][0].seen)
	}
	count := lives[1][0].counter.count
	for n, all := range lives {
		last := all[len(all)-1]
		if last.counter.count != count || last.core.Applied() != lives[1][0].core.Applied() {
			t.Errorf("n%d counted %d, n1 %d", n, last.counter.count, count)
		}
		if last.core.Log().Decided() != int(last.core.Applied()) {
			t.Errorf("n%d shows %d decided, and has applied %d", n, last.core.Log().Decided(), last.core.Applied())
		}
	}
}

// A message weighs what production would put on the wire, and every kind has a name
// and says its term first.
func TestMessagesAreProductions(t *testing.T) {
	conf, err := membership.Bootstrap([]membership.Member{member(1, membership.Voter)})
	if err != nil {
		t.Fatal(err)
	}
	entry := production.Entry{Term: 7, Index: 3, Kind: production.EntryCommand, Data: []byte("seventeen bytes .")}
	names := map[string]bool{}
	for _, m := range []production.Message{
		production.RequestPreVote{Term: 7}, production.PreVote{Term: 7, Granted: true}, production.RequestVote{Term: 7}, production.Vote{Term: 7},
		production.Append{Term: 7, Prev: 2, Entries: []production.Entry{entry}}, production.AppendAccepted{Term: 7}, production.AppendRejected{Term: 7},
		production.Heartbeat{Term: 7}, production.HeartbeatAck{Term: 7}, production.TimeoutNow{Term: 7}, production.RequestRead{Term: 7},
		production.ReadAnswer{Term: 7, Granted: true}, production.NotMember{Term: 7},
		production.InstallSnapshot{Term: 7, Snapshot: production.SnapshotMeta{Index: 1, Term: 1, Config: conf}},
	} {
		b := Message{Of: m}
		if names[b.Name()] || b.Name() == "unknown" {
			t.Errorf("%T is called %s", m, b.Name())
		}
		names[b.Name()] = true
		if f := b.Fields(); f[0].Name != "term" || f[0].Number != 7 {
			t.Errorf("%s: %v", b.Name(), f)
		}
		if want := 16 + len(wire.AppendMessage(nil, m)); b.Bytes() != want {
			t.Errorf("%s weighs %d, want %d", b.Name(), b.Bytes(), want)
		}
	}
}
