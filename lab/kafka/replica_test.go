package kafka

import (
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/sim"
)

// alone is a broker that is driven by hand: the test is the network.
type alone struct {
	*broker
	now id.Time
}

func newAlone(self lab.Node, o options) *alone {
	o.session, o.lag, o.wait, o.flush, o.minimum = sessionTimeout, lagMax, fetchWait, pageCache, 1
	a := &alone{broker: newBroker(lab.Config{
		Self: self, Voters: []lab.Node{1, 2, 3, 4, 5}, Helpers: []lab.Node{6, 7, 8}, Ranks: []lab.Node{5, 4, 3, 2, 1},
		Life: 1, Dice: sim.Stream(1, "test"),
	}, &o)}
	a.step(lab.Started{})
	a.session.openAt, a.session.id = id.Never, 10 // registered
	return a
}

func (a *alone) step(e lab.Event) {
	a.now = a.now.Add(id.Millisecond)
	a.Step(&lab.Turn{Now: a.now, Wall: a.now}, e)
}

func (a *alone) hears(from lab.Node, m lab.Body) { a.step(lab.Received{From: from, Message: m}) }

// told is what a controller says about the partition.
func (a *alone) told(controller uint64, leader lab.Node, epoch uint64, isr ...lab.Node) {
	a.hears(1, leaderAndISR{Epoch: controller, Session: 10, Partition: partition{Leader: leader, Epoch: epoch, Version: epoch, ISR: isr}})
}

func (a *alone) writes(n int) {
	for range n {
		op := uint64(a.replica.log.Len() + 1)
		a.step(lab.Asked{Request: lab.Request{ID: op, Op: op, Verb: "write"}})
	}
}

// R1, R9: neither an older controller nor an older leader epoch is obeyed, nor what
// was meant for the broker's registration before (KIP-380).
func TestOldEpochsAreNotObeyed(t *testing.T) {
	for _, c := range []struct {
		what       string
		controller uint64
		session    uint64
		epoch      uint64
		unfenced   bool
		want       lab.Node
	}{
		{"newer in everything", 3, 10, 3, false, 4},
		{"the same controller", 2, 10, 3, false, 4},
		{"an older controller", 1, 10, 3, false, 5},
		{"an older leader epoch", 3, 10, 1, false, 5},
		{"an older registration", 3, 9, 3, false, 5},
		{"an older controller, nobody compares", 1, 10, 3, true, 4},
		{"an older leader epoch, nobody compares", 3, 10, 1, true, 4},
	} {
		a := newAlone(3, options{unfenced: c.unfenced})
		a.told(2, 5, 2, 5, 4, 3)
		a.hears(2, leaderAndISR{Epoch: c.controller, Session: c.session, Partition: partition{Leader: 4, Epoch: c.epoch, Version: 9, ISR: []lab.Node{4, 3}}})
		if got := a.View().Leader; got != c.want {
			t.Errorf("%s: follows n%d, want n%d", c.what, got, c.want)
		}
	}
}

// R4: the high watermark is the least end over the set, and not over those outside.
func TestTheHighWatermarkIsTheLeastOfTheSet(t *testing.T) {
	a := newAlone(5, options{})
	a.told(1, 5, 1, 5, 4, 3)
	a.writes(3)
	a.hears(4, fetch{Epoch: 1, From: 3})
	a.hears(3, fetch{Epoch: 1, From: 2})
	a.hears(2, fetch{Epoch: 1, From: 0})
	if a.replica.hw != 2 || a.replica.log.Decided() != 2 || len(a.replica.waiting) != 1 {
		t.Errorf("high watermark %d, %d wait", a.replica.hw, len(a.replica.waiting))
	}
	a.hears(3, fetch{Epoch: 2, From: 3}) // of an epoch that is not this leader's
	if a.replica.hw != 2 {
		t.Errorf("a fetch of another epoch counts: high watermark %d", a.replica.hw)
	}
}

// While the set grows, the newcomer counts already: the service may have taken the
// change, and the controller may choose the newcomer.
func TestBothSetsCountWhileTheSetChanges(t *testing.T) {
	a := newAlone(5, options{})
	a.told(1, 5, 1, 5, 4)
	a.writes(2)
	a.hears(4, fetch{Epoch: 1, From: 2})
	a.hears(3, fetch{Epoch: 1, From: 2}) // caught up: the leader asks for {5, 4, 3}
	if !slices.Equal(a.replica.want.ISR, []lab.Node{5, 4, 3}) {
		t.Fatalf("wants %v", a.replica.want.ISR)
	}
	a.writes(1)
	a.hears(4, fetch{Epoch: 1, From: 3})
	if a.replica.hw != 2 {
		t.Errorf("high watermark %d without the newcomer", a.replica.hw)
	}
	a.hears(3, fetch{Epoch: 1, From: 3})
	if a.replica.hw != 3 {
		t.Errorf("high watermark %d", a.replica.hw)
	}
}

// R7: a follower must have everything up to the high watermark and to where the leader
// epoch began. A new leader's high watermark may lag behind what its predecessor
// answered; where its own epoch began does not.
func TestANewcomerHasWhatTheEpochBeganWith(t *testing.T) {
	a := newAlone(5, options{})
	a.told(1, 4, 1, 5, 4)
	a.hears(4, fetched{Epoch: 1, From: 0, HW: 1, Entries: []lab.Entry{{Op: 1, Epoch: 1}, {Op: 2, Epoch: 1}, {Op: 3, Epoch: 1}}})
	a.told(1, 5, 2, 5, 4)
	if a.replica.hw != 1 || a.epochBegan() != 3 {
		t.Fatalf("high watermark %d, the epoch began behind %d", a.replica.hw, a.epochBegan())
	}
	a.hears(3, fetch{Epoch: 2, From: 2})
	if a.replica.want.Version != 0 {
		t.Error("n3 may join without what the epoch began with")
	}
	a.hears(3, fetch{Epoch: 2, From: 3})
	if !slices.Equal(a.replica.want.ISR, []lab.Node{5, 4, 3}) {
		t.Errorf("wants %v", a.replica.want.ISR)
	}
}

// R8: where an epoch ends, as a leader answers (KIP-279: with the largest it knows up
// to the asked one).
func TestWhereAnEpochEnds(t *testing.T) {
	r := &replica{log: lab.NewLog(), epochs: []epochStart{{1, 0}, {3, 2}, {6, 5}}}
	for p := 1; p <= 7; p++ {
		r.log.Append(lab.Entry{Op: uint64(p), Epoch: []uint64{1, 1, 3, 3, 3, 6, 6}[p-1]})
	}
	for asked, want := range map[uint64][2]int{0: {0, 0}, 1: {1, 2}, 2: {1, 2}, 3: {3, 5}, 5: {3, 5}, 6: {6, 7}, 9: {6, 7}} {
		if epoch, end := r.endOf(asked); int(epoch) != want[0] || end != want[1] {
			t.Errorf("epoch %d: %d ends at %d, want %v", asked, epoch, end, want)
		}
	}
}

// R8: a follower whose epoch the leader does not know asks again about the one before,
// until both have the same (KIP-279).
func TestAFollowerAsksBackUntilTheEpochsAgree(t *testing.T) {
	a := newAlone(3, options{})
	a.told(1, 5, 1, 5, 4, 3)
	a.hears(5, fetched{Epoch: 1, From: 0, Entries: []lab.Entry{{Op: 1, Epoch: 1}, {Op: 2, Epoch: 1}, {Op: 3, Epoch: 2}, {Op: 4, Epoch: 4}}})
	a.told(1, 5, 5, 5, 4, 3)
	if a.replica.asks != 4 || a.replica.pulls {
		t.Fatalf("asks about %d", a.replica.asks)
	}
	// The leader has entries of 1 and 3, none of 2 and 4.
	a.hears(5, epochAnswer{Current: 5, Asked: 4, Epoch: 3, End: 6})
	if a.replica.log.Len() != 3 || a.replica.pulls || a.replica.asks != 2 {
		t.Errorf("length %d, asks about %d", a.replica.log.Len(), a.replica.asks)
	}
	a.hears(5, epochAnswer{Current: 5, Asked: 4, Epoch: 3, End: 6}) // late, of the question before
	a.hears(5, epochAnswer{Current: 5, Asked: 2, Epoch: 1, End: 1})
	if a.replica.log.Len() != 1 || !a.replica.pulls {
		t.Errorf("length %d, pulls %v", a.replica.log.Len(), a.replica.pulls)
	}
}

// A follower of a new leader decides nothing before its log is known to be a prefix:
// the high watermark it remembers may be of entries that it alone has.
func TestNothingIsDecidedBeforeTheLogsAgree(t *testing.T) {
	a := newAlone(3, options{})
	a.broker = newBroker(lab.Config{Self: 3, Voters: a.assigned, Helpers: []lab.Node{6}, Ranks: a.assigned, Life: 2}, a.o)
	a.step(lab.Started{Files: map[string][]lab.Body{
		segments:  {appended{0, []lab.Entry{{Op: 1, Epoch: 1}, {Op: 2, Epoch: 1}}}, cut{1}, appended{1, []lab.Entry{{Op: 3, Epoch: 2}}}},
		hwFile:    {checkpoint{1}, checkpoint{2}},
		epochFile: {epochsRecord{[]epochStart{{1, 0}}}, epochsRecord{[]epochStart{{1, 0}, {2, 1}, {3, 2}}}},
	}})
	a.session.id = 10
	r := &a.replica
	if r.log.Len() != 2 || r.log.At(2).Op != 3 || r.hw != 2 || !slices.Equal(r.epochs, []epochStart{{1, 0}, {2, 1}}) {
		t.Fatalf("recovered %d entries, high watermark %d, epochs %v", r.log.Len(), r.hw, r.epochs)
	}
	a.told(1, 5, 4, 5, 3)
	if r.log.Decided() != 0 {
		t.Errorf("decided %d before the leader answered", r.log.Decided())
	}
	a.hears(5, epochAnswer{Current: 4, Asked: 2, Epoch: 1, End: 1})
	a.hears(5, epochAnswer{Current: 4, Asked: 1, Epoch: 1, End: 1})
	if r.log.Len() != 1 || r.log.Decided() != 1 {
		t.Errorf("length %d, decided %d", r.log.Len(), r.log.Decided())
	}
}

// R6: followers that were lost together leave the set together, and one that has all
// there is stays, however long it has not asked.
func TestTheLaggingLeaveTogether(t *testing.T) {
	a := newAlone(5, options{})
	a.told(1, 5, 1, 5, 4, 3, 2)
	a.writes(1)
	a.hears(2, fetch{Epoch: 1, From: 1})
	a.now = a.now.Add(fetchWait / 2)
	a.hears(3, fetch{Epoch: 1, From: 0})
	a.now = id.Time(lagMax)
	a.step(lab.Due{})
	if a.replica.want.Version != 0 {
		t.Errorf("too early: wants %v", a.replica.want.ISR)
	}
	a.now = a.now.Add(2 * fetchWait)
	a.step(lab.Due{})
	if !slices.Equal(a.replica.want.ISR, []lab.Node{5, 2}) {
		t.Errorf("wants %v", a.replica.want.ISR)
	}
}
