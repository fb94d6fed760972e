package sim

import (
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/trace"
)

// The numbers of a stream are part of every seed that was ever written down.
func TestStreamIsTheSameForEver(t *testing.T) {
	known := &Random{state: 1234567} // SplitMix64's published test vector
	for _, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423} {
		if got := known.Uint64(); got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
	r := Stream(42, "link", 1, 2)
	first := r.Uint64()
	for i, want := range []uint64{0x7210c1c7b2969f0a, 0xeb7066734af9c19d, 0xdfd69defb34f38ea} {
		if got := Stream(42, "link", 1, uint64(2+i)).Uint64(); got != want {
			t.Errorf("stream %d begins with %#x, want %#x", i, got, want)
		}
	}
	for _, other := range []*Random{Stream(43, "link", 1, 2), Stream(42, "link", 2, 1), Stream(42, "disk", 1, 2), Stream(42, "link", 1)} {
		if other.Uint64() == first {
			t.Error("another key gives the same numbers")
		}
	}
}

func TestRandomStaysInBounds(t *testing.T) {
	r := Stream(1, "bounds")
	seen := [7]int{}
	for range 7000 {
		seen[r.Between(3, 9)-3]++
		if d := r.Duration(5, 6); d < 5 || d > 6 {
			t.Fatalf("duration %d outside 5..6", d)
		}
	}
	for i, n := range seen {
		if n < 800 || n > 1200 {
			t.Errorf("%d came %d times of 7000; want about 1000", i+3, n)
		}
	}
	if r.Below(0) != 0 || r.Chance(0) || !r.Chance(1000) {
		t.Error("bounds of Below and Chance")
	}
}

func TestEventsRunInOrderOfTimeThenOfScheduling(t *testing.T) {
	w := NewWorld(1, nil)
	var got []int
	add := func(n int) func() { return func() { got = append(got, n) } }
	w.At(30, add(4))
	w.At(10, add(1))
	w.At(20, add(2))
	w.At(20, add(3))
	off := w.At(15, add(99))
	off.Stop()
	w.At(30, func() { w.At(0, add(6)) }) // the past is now, behind what is due
	w.At(30, add(5))
	for w.Step(1000) {
	}
	if !slices.Equal(got, []int{1, 2, 3, 4, 5, 6}) {
		t.Errorf("order %v", got)
	}
	if w.Now() != 1000 {
		t.Errorf("time stands at %d, not at the limit", w.Now())
	}
}

func TestEveryRecordNamesItsCause(t *testing.T) {
	var events []trace.Event
	w := NewWorld(1, func(e trace.Event) { events = append(events, e) })
	w.At(1, func() {
		w.Emit(trace.Event{Kind: "a"})
		w.Emit(trace.Event{Kind: "b"})
		w.At(2, func() { w.Emit(trace.Event{Kind: "c"}) })
	})
	for w.Step(10) {
	}
	want := []uint64{0, 1, 1}
	for i, e := range events {
		if e.Sequence != uint64(i+1) || e.Cause != want[i] {
			t.Errorf("event %s: sequence %d, cause %d; want cause %d", e.Kind, e.Sequence, e.Cause, want[i])
		}
	}
}

func TestClockDriftsFreezesAndNeverGoesBack(t *testing.T) {
	c := NewClock(5 * id.Second)
	if got := c.Read(0); got != id.Time(5*id.Second) {
		t.Fatalf("offset: %d", got)
	}
	c.SetRate(id.Time(id.Second), 1_100_000)
	if got, want := c.Read(id.Time(2*id.Second)), id.Time(7100*id.Millisecond); got != want {
		t.Errorf("10 %% fast: %d, want %d", got, want)
	}
	c.Freeze(id.Time(2*id.Second), id.Time(4*id.Second))
	if got, want := c.Read(id.Time(3*id.Second)), id.Time(7100*id.Millisecond); got != want {
		t.Errorf("frozen: %d, want %d", got, want)
	}
	due := c.When(id.Time(3*id.Second), id.Time(8200*id.Millisecond))
	if want := id.Time(5 * id.Second); due != want {
		t.Errorf("8.2 s on the clock at %d, want %d", due, want)
	}
	if got := c.Read(due); got < id.Time(8200*id.Millisecond) {
		t.Errorf("at its deadline the clock shows only %d", got)
	}
	r, last := Stream(7, "clock"), id.Time(0)
	now := id.Time(0)
	c = NewClock(0)
	for range 2000 {
		now = now.Add(r.Duration(0, 30*id.Second))
		switch r.Below(4) {
		case 0:
			c.SetRate(now, int64(r.Between(900_000, 1_100_000)))
		case 1:
			c.Freeze(now, now.Add(r.Duration(0, id.Second)))
		}
		got := c.Read(now)
		if got < last {
			t.Fatalf("the clock went back from %d to %d", last, got)
		}
		last = got
		want := got.Add(r.Duration(0, 2*id.Second))
		if at := c.When(now, want); c.Read(at) < want {
			t.Fatalf("When promised %d at %d, the clock shows %d", want, at, c.Read(at))
		}
	}
}

func TestTaskStopsAtEveryCallAndCanDieInside(t *testing.T) {
	w := NewWorld(1, nil)
	var current *Task
	k := NewWorker(w, func(c Call) id.Duration { return id.Duration(c.Bytes) }, func(t *Task) { current = t }, func(p any) { t.Errorf("panic %v", p) })
	var log []string
	var at []id.Time
	write := func(name string, n int) {
		current.Yield(Call{Op: "write", Name: name, Bytes: n})
		log = append(log, name)
		at = append(at, w.Now())
	}
	k.Do(func() { write("a", 5); write("b", 7) }, func() { log = append(log, "done") })
	k.Do(func() {
		defer func() { write("never", 1) }() // a deferred call dies too
		write("c", 1)
		write("d", 100)
	}, func() { log = append(log, "never") })
	for w.Step(50) {
	}
	k.Kill()
	for w.Step(500) {
	}
	if want := []string{"a", "b", "done", "c"}; !slices.Equal(log, want) {
		t.Errorf("%v, want %v", log, want)
	}
	if want := []id.Time{5, 12, 13}; !slices.Equal(at, want) {
		t.Errorf("calls took effect at %v, want %v", at, want)
	}
	if k.Len() != 0 {
		t.Errorf("%d jobs after the kill", k.Len())
	}
}

func TestPanicInATaskComesOutOnce(t *testing.T) {
	w := NewWorld(1, nil)
	var got any
	k := NewWorker(w, func(Call) id.Duration { return 1 }, func(*Task) {}, func(p any) { got = p })
	k.Do(func() { panic("boom") }, nil)
	for w.Step(10) {
	}
	if got != "boom" || k.Len() != 0 {
		t.Errorf("got %v, %d jobs left", got, k.Len())
	}
}

// network sends 100 packets from n1 to n2, one a millisecond, under one fault.
func network(t *testing.T, text string) (arrivals []id.Time, order []int) {
	t.Helper()
	r, err := Parse("quorate recipe 2\nseed 1\nlength 10s\nvoters n1,n2,n3\n" + text)
	if err != nil {
		t.Fatal(err)
	}
	w := NewWorld(r.Seed, nil)
	n := NewNetwork(w, id.Millisecond/2, id.Millisecond, func(p Packet) {
		arrivals = append(arrivals, w.Now())
		order = append(order, p.Body.(int))
	})
	for _, f := range r.Faults {
		w.At(f.At, func() { n.Begin(f) })
		w.At(f.End(), func() { n.End(f) })
	}
	for i := range 100 {
		w.At(id.Time(id.Duration(i)*id.Millisecond), func() { n.Send(Packet{From: 1, To: 2, Class: "append", Body: i}) })
	}
	for w.Step(id.Time(60 * id.Second)) {
	}
	return arrivals, order
}

func TestNetworkFaults(t *testing.T) {
	sorted := func(list []int) bool { return slices.IsSorted(list) }
	for _, c := range []struct {
		name, fault string
		want        func([]id.Time, []int) bool
	}{
		{"none", "", func(a []id.Time, o []int) bool { return len(o) == 100 && sorted(o) }},
		{"N1 drop", "fault 0s 1s drop n1>n2 rate=300", func(a []id.Time, o []int) bool { return len(o) > 50 && len(o) < 90 }},
		{"N1 drop of another class", "fault 0s 1s drop n1>n2 rate=1000 only=vote", func(a []id.Time, o []int) bool { return len(o) == 100 }},
		{"N1 drop of another link", "fault 0s 1s drop n2>n1 rate=1000", func(a []id.Time, o []int) bool { return len(o) == 100 }},
		{"N2 duplicate", "fault 0s 1s duplicate n1>n2 rate=500", func(a []id.Time, o []int) bool { return len(o) > 130 && len(o) < 170 }},
		{"N2 replay", "fault 0s 1s replay *>n2 rate=500 within=5s", func(a []id.Time, o []int) bool { return len(o) > 130 && a[len(a)-1] > id.Time(2*id.Second) }},
		{"N3 reorder", "fault 0s 1s reorder n1<>n2 rate=500 by=20ms", func(a []id.Time, o []int) bool { return len(o) == 100 && !sorted(o) }},
		{"N4 delay", "fault 0s 1s delay n1>n2 by=50ms", func(a []id.Time, o []int) bool {
			return len(o) == 100 && a[0] > id.Time(50*id.Millisecond) && sorted(o)
		}},
		{"N4 clog", "fault 0s 1s clog n1>n2", func(a []id.Time, o []int) bool { return len(o) == 100 && a[0] >= id.Time(id.Second) && sorted(o) }},
		{"N5 cut", "fault 0s 50ms cut n1>n2", func(a []id.Time, o []int) bool { return len(o) > 40 && len(o) < 60 && o[0] >= 49 }},
		{"N5 cut the other way", "fault 0s 50ms cut n2>n1", func(a []id.Time, o []int) bool { return len(o) == 100 }},
		{"N5 split", "fault 0s 50ms split n1,n3/n2", func(a []id.Time, o []int) bool { return len(o) < 60 }},
		{"N6 bridge", "fault 0s 50ms split n1,n2/n2,n3", func(a []id.Time, o []int) bool { return len(o) == 100 }},
		{"N7 flap", "fault 0s 1s flap n1/n2,n3 period=10ms", func(a []id.Time, o []int) bool { return len(o) > 30 && len(o) < 60 }},
	} {
		if a, o := network(t, c.fault); !c.want(a, o) {
			t.Errorf("%s: %d arrivals, order %v", c.name, len(a), o)
		}
	}
}

// Taking one fault away leaves the dice of the others as they were.
func TestFaultsHaveDiceOfTheirOwn(t *testing.T) {
	drop := "fault 0s 1s drop n1>n2 rate=300"
	_, alone := network(t, drop)
	_, beside := network(t, "fault 0s 1s drop n2>n1 rate=300\nfault 0s 1s delay n1>n2 by=3ms\n"+drop)
	if !slices.Equal(alone, beside) {
		t.Error("another fault changed which packets are lost")
	}
}
