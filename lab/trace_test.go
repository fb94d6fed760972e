package lab

import (
	"fmt"
	"testing"

	"github.com/quorate/quorate/trace"
)

// Who reads a trace can follow every event back to where it came from: what arrives
// to its sending, what is lost too, what a node does to what it received or to its
// disk or timer, and every fault to the recipe or to what set it off.
func TestEveryEventOfATraceHasItsCause(t *testing.T) {
	var list []trace.Event
	if _, err := tryFixed("length 25s\nworkload retry 1\nfault 2s 2s split r1,r2,r3/r4,r5\nfault 3s 1s duplicate r1>r2 rate=500\nfault 5s 1s drop *>* rate=300\n"+
		"fault 7s 2s crash r2 lose=all\nfault 7s@ack 1s crash leader lose=none\nfault 9s 3s pause r3\nfault 14s 1s power * lose=all\nfault 17s 1s wipe r4\nfault 19s 1s clog r1>r5\ncaption 1s now\n",
		func(e trace.Event) { list = append(list, e) }); err != nil {
		t.Fatal(err)
	}
	at := func(sequence uint64) trace.Event { return list[sequence-1] }
	text := func(e trace.Event, name string) string {
		for _, f := range e.Fields {
			if f.Name == name {
				if f.Text != "" {
					return f.Text
				}
				return fmt.Sprint(f.Number)
			}
		}
		return ""
	}
	arrived, lost := 0, 0
	for i, e := range list {
		if e.Sequence != uint64(i+1) || e.Cause >= e.Sequence || e.Cause > 0 && at(e.Cause).Time > e.Time {
			t.Fatalf("event %d: %+v", i, e)
		}
		var cause trace.Event
		if e.Cause > 0 {
			cause = at(e.Cause)
		}
		ok := true
		switch e.Kind {
		case trace.Caption, trace.Belief:
			ok = e.Cause == 0
		case trace.Received, trace.Dropped:
			ok = cameFrom(e, cause, text)
			if arrived++; e.Kind == trace.Dropped {
				lost++
			}
		case trace.Requested: // the recipe's rhythm, or the attempt before
			ok = e.Cause == 0 || cause.Kind == trace.Requested || cause.Kind == trace.Answered || cause.Kind == trace.Fault || cause.Kind == trace.Dropped
		case trace.Resolved:
			ok = cause.Kind == trace.Answered || cause.Kind == trace.Requested
		case trace.Fault:
			ok = e.Cause == 0 || cause.Kind == trace.Fault || cause.Kind == trace.Received || cause.Kind == trace.Durable
		case trace.Crashed, trace.LostData:
			ok = cause.Kind == trace.Fault
		case trace.Started:
			ok = e.Cause == 0 && text(e, "life") == "1" || cause.Kind == trace.Fault
		case trace.Durable:
			ok = cause.Node == e.Node
		case trace.Broke:
			ok = cause.Kind == trace.Fault || cause.Kind == trace.Dropped
		case trace.Verdict:
			ok = e.Node.Node != 0 || e.Cause == 0
		default: // what a node does, it does for a reason of its own
			ok = e.Cause > 0 && cause.Node == e.Node
		}
		if !ok {
			t.Fatalf("%+v\nis said to come from\n%+v", e, cause)
		}
	}
	if arrived < 1000 || lost < 50 {
		t.Errorf("%d arrived or lost, %d lost", arrived, lost)
	}
}

// cameFrom tells whether an arrival, or a loss, has the sending of that message as its
// cause.
func cameFrom(e, cause trace.Event, text func(trace.Event, string) string) bool {
	to, message := e.Node.Node, text(e, "message")
	switch message {
	case "Request":
		return cause.Kind == trace.Requested && text(cause, "client") == text(e, "from") && cause.Node.Node == to
	case "Answer":
		return cause.Kind == trace.Answered && text(cause, "client") == fmt.Sprint(to) && fmt.Sprint(cause.Node.Node) == text(e, "from")
	}
	return cause.Kind == trace.Sent && text(cause, "message") == message && text(cause, "to") == fmt.Sprint(to) && fmt.Sprint(cause.Node.Node) == text(e, "from")
}

// The disk of every node can be followed: what is durable was asked for, and what a
// crash took had been written in that life or before and was not durable.
func TestADiskCanBeFollowedInATrace(t *testing.T) {
	written, lost, asked, durable := map[uint64]uint64{}, map[uint64]uint64{}, map[uint64]uint64{}, 0
	if _, err := tryFixed("length 20s\nfault 3s@send-Ack 1s crash r3 lose=all\nfault 9s 1s power * lose=all\nfault 12s 1s wipe r2\n", func(e trace.Event) {
		n := e.Node.Node
		switch e.Kind {
		case trace.Written:
			written[n]++
		case trace.LostData:
			lost[n] += e.Fields[1].Number
		case trace.Persisting:
			asked[n] = e.Fields[0].Number
		case trace.Durable:
			if durable++; e.Fields[0].Number > asked[n] {
				t.Errorf("n%d: token %d is durable, and %d was asked for", n, e.Fields[0].Number, asked[n])
			}
		case trace.Crashed:
			asked[n] = 0
		case trace.Started:
			if got := e.Fields[1].Number; got != written[n]-lost[n] {
				t.Errorf("n%d starts with %d records; %d were written and %d lost", n, got, written[n], lost[n])
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if durable < 100 || lost[4] == 0 {
		t.Errorf("%d durable, lost %v", durable, lost)
	}
}
