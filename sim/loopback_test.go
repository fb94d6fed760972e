package sim

import (
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/trace"
)

// What a node sends to itself needs no cable: no cut, split or flap takes it, also of
// a node that no group names. What a fault takes has the sending as its cause.
func TestALoopbackIsNeverCut(t *testing.T) {
	for _, f := range []Fault{
		{For: id.Second, Kind: FaultCut, Target: Target{To: 2}},
		{For: id.Second, Kind: FaultSplit, Target: Parts([]uint64{1, 3})},
		{For: id.Second, Kind: FaultFlap, Target: Parts([]uint64{1, 3}), Args: []Arg{{"period", "100ms"}}},
		{For: id.Second, Kind: FaultIsolate, Target: On(2)},
	} {
		var dropped []trace.Event
		w := NewWorld(1, func(e trace.Event) {
			if e.Kind == trace.Dropped {
				dropped = append(dropped, e)
			}
		})
		var arrived []Packet
		n := NewNetwork(w, id.Millisecond, 2*id.Millisecond, func(p Packet) { arrived = append(arrived, p) })
		n.Begin(f)
		w.At(0, func() {
			w.Emit(trace.Event{Kind: trace.Mark})
			sent := w.Emit(trace.Event{Kind: trace.Sent})
			n.Send(Packet{From: 2, To: 2, Cause: sent})
			n.Send(Packet{From: 1, To: 2, Cause: sent})
		})
		for w.Step(id.Time(id.Second)) {
		}
		if len(arrived) != 1 || arrived[0].From != 2 {
			t.Errorf("%s: arrived %+v", f.Kind, arrived)
		}
		if len(dropped) != 1 || dropped[0].Cause != 2 {
			t.Errorf("%s: dropped %+v", f.Kind, dropped)
		}
	}
}

// A deadline a day away is not in the past.
func TestAFarDeadlineDoesNotOverflow(t *testing.T) {
	day := id.Time(86_400 * id.Second)
	for rate, want := range map[int64]id.Time{1_000_000: day, 900_000: day / 9 * 10} {
		c := NewClock(0)
		c.SetRate(0, rate)
		if got := c.When(0, day); got != want {
			t.Errorf("at %d: %d, want %d", rate, got, want)
		}
	}
}
