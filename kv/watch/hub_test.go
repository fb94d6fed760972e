package watch

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/mvcc"
)

// desk runs one Hub by hand over a history that it keeps itself. Stream 1 is
// open from the start.
type desk struct {
	t       *testing.T
	hub     *Hub
	now     id.Time
	history []Event // of all revisions from 2 on
	rev     int64
	compact int64
	out     Output
}

func newDesk(t *testing.T, o Options) *desk {
	d := &desk{t: t, hub: NewHub(o, 1, -1), rev: 1, compact: -1, now: id.Time(id.Second)}
	d.do(OpenStream{1})
	return d
}

// do steps the hub and keeps its output.
func (d *desk) do(inputs ...Input) {
	d.out.Reset()
	d.hub.Step(d.now, inputs, &d.out)
}

func (d *desk) at(seconds int64, inputs ...Input) {
	d.now = id.Time(seconds * int64(id.Second))
	d.do(inputs...)
}

// change makes one revision out of "key=value" and "-key" and returns its events.
func (d *desk) change(ops ...string) []Event {
	d.rev++
	first := len(d.history)
	for _, op := range ops {
		key, value, put := strings.Cut(op, "=")
		e := Event{}
		if put {
			e.KV = mvcc.KeyValue{Key: []byte(key), Value: []byte(value), ModRevision: d.rev}
		} else {
			e.Type = mvcc.EventDelete
			e.KV = mvcc.KeyValue{Key: []byte(op[1:]), ModRevision: d.rev}
		}
		for i := range d.history {
			if p := &d.history[i]; bytes.Equal(p.KV.Key, e.KV.Key) {
				e.Prev = nil
				if p.Type == mvcc.EventPut {
					e.Prev = &p.KV
				}
			}
		}
		d.history = append(d.history, e)
	}
	return d.history[first:]
}

func (d *desk) published(events []Event) Published {
	return Published{Revision: d.rev, CompactRevision: d.compact, Events: bytesFree(events)}
}

// bytesFree copies events, so that the history is not shared with the Hub.
func bytesFree(events []Event) []Event { return append([]Event(nil), events...) }

func (d *desk) publish(ops ...string) { d.do(d.published(d.change(ops...))) }

// scan answers a scan as View.Scan does.
func (d *desk) scan(s Scan) Scanned {
	r := Scanned{Number: s.Number, Next: s.To + 1}
	if s.From < d.compact {
		return Scanned{Number: s.Number, Next: s.From, Compacted: d.compact}
	}
	size := 0
	key, end, single := normalize(s.Key, s.End)
	span := interest{key: key, end: end, single: single}
	for _, e := range d.history {
		if e.KV.ModRevision < s.From || e.KV.ModRevision > s.To {
			continue
		}
		if n := len(r.Events); n > 0 && size >= s.LimitBytes && r.Events[n-1].KV.ModRevision < e.KV.ModRevision {
			r.Next = e.KV.ModRevision
			break
		}
		if e.Prev != nil && (!s.Prev || e.KV.ModRevision-1 < d.compact) {
			e.Prev = nil
		}
		if span.holds(e.KV.Key) {
			r.Events = append(r.Events, e)
			size += EventBytes(&e)
		}
	}
	return r
}

// answer answers the scan asked for by the last step.
func (d *desk) answer() {
	d.t.Helper()
	if d.out.Scan == nil {
		d.t.Fatalf("no scan was asked for")
	}
	d.do(d.scan(*d.out.Scan))
}

// show writes a response as people would: "s1 w0 @5 created", "s1 w0 @6 a=1 -b".
func show(r *Response) string {
	b := fmt.Sprintf("s%d w%d @%d", r.Stream, r.WatchID, r.Revision)
	for _, f := range []struct {
		on   bool
		text string
	}{{r.Created, " created"}, {r.Canceled, " canceled"}, {r.Fragment, " fragment"}} {
		if f.on {
			b += f.text
		}
	}
	if r.CompactRevision > 0 {
		b += fmt.Sprintf(" compacted at %d", r.CompactRevision)
	}
	if r.Reason != "" {
		b += fmt.Sprintf(" %q", r.Reason)
	}
	for _, e := range r.Events {
		b += " " + showEvent(e, r.PrevKV)
	}
	return b
}

func showEvent(e *Event, prev bool) string {
	s := fmt.Sprintf("-%s", e.KV.Key)
	if e.Type == mvcc.EventPut {
		s = fmt.Sprintf("%s=%s", e.KV.Key, e.KV.Value)
	}
	s += fmt.Sprintf("/%d", e.KV.ModRevision)
	if prev && e.Prev != nil {
		s += fmt.Sprintf("(was %s)", e.Prev.Value)
	}
	return s
}

func (d *desk) want(lines ...string) {
	d.t.Helper()
	var got []string
	for i := range d.out.Responses {
		got = append(got, show(&d.out.Responses[i]))
	}
	if strings.Join(got, "\n") != strings.Join(lines, "\n") {
		d.t.Fatalf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(lines, "\n  "))
	}
}

func on(key string) Create           { return Create{Stream: 1, Key: []byte(key)} }
func prefix(p string) Create         { return Create{Stream: 1, Key: []byte(p), End: []byte(p + "\xff")} }
func (c Create) from(r int64) Create { c.StartRevision = r; return c }

// The numbers in the names are those of the rules in the list of etcd's traps.

func TestStartZeroIsAfterNow19(t *testing.T) {
	d := newDesk(t, Options{})
	d.publish("a=1")
	d.do(on("a"))
	d.want("s1 w0 @2 created")
	d.publish("a=2", "b=2")
	d.want("s1 w0 @3 a=2/3")
	d.publish("b=3")
	d.want()
}

func TestAnEmptyKeyIsTheSmallestOne19(t *testing.T) {
	d := newDesk(t, Options{})
	d.do(Create{Stream: 1}, Create{Stream: 1, End: []byte{0}})
	d.publish("\x00=1")
	d.want("s1 w0 @2 \x00=1/2", "s1 w1 @2 \x00=1/2")
	d.publish("a=1") // the second one watches every key
	d.want("s1 w1 @3 a=1/3")
}

func TestAFutureStartDeliversNothingEarlier19(t *testing.T) {
	d := newDesk(t, Options{ProgressInterval: id.Second})
	c := on("a").from(4)
	c.ProgressNotify = true
	d.do(c)
	d.want("s1 w0 @1 created")
	d.publish("a=2")
	d.want()
	d.at(10, RequestProgress{1})
	d.want() // no progress either
	d.change("a=3")
	d.publish("a=4")
	d.want("s1 w0 @4 a=4/4")
	d.do(RequestProgress{1})
	d.want("s1 w-1 @4")
}

func TestAFutureStartInTheMiddleOfABatch19(t *testing.T) {
	d := newDesk(t, Options{})
	d.do(on("a").from(3), on("a"))
	d.out.Reset()
	events := append(bytesFree(d.change("a=2")), append(bytesFree(d.change("a=3")), d.change("a=4")...)...)
	d.do(d.published(events))
	d.want("s1 w0 @4 a=3/3 a=4/4", "s1 w1 @4 a=2/2 a=3/3 a=4/4")
}

func TestARefusedCreateIsOneResponse20(t *testing.T) {
	d := newDesk(t, Options{WatchersPerStreamMax: 2})
	d.do(on("a").from(-1))
	d.want(`s1 w-1 @1 created canceled "etcdserver: mvcc: required revision has been compacted"`)
	denied := on("a")
	denied.Denied = "etcdserver: permission denied"
	d.do(denied)
	d.want(`s1 w-1 @1 created canceled "etcdserver: permission denied"`)
	d.do(Create{Stream: 1, Key: []byte("b"), End: []byte("a")})
	d.want(`s1 w-1 @1 created canceled "mvcc: watcher range is empty"`)
	d.do(Create{Stream: 1, Key: []byte("b"), End: []byte("b")})
	d.want(`s1 w-1 @1 created canceled "mvcc: watcher range is empty"`)
	d.do(Create{Stream: 1, Key: []byte("a"), WatchID: 5}, Create{Stream: 1, Key: []byte("b"), WatchID: 5})
	d.want("s1 w5 @1 created", `s1 w-1 @1 created canceled "mvcc: duplicate watch ID provided on the WatchStream"`)
	d.do(on("a"), on("a"))
	d.want("s1 w0 @1 created", `s1 w-1 @1 created canceled "etcdserver: too many requests"`)
}

func TestChosenAndGivenIDsDoNotCollide20(t *testing.T) {
	d := newDesk(t, Options{})
	d.do(Create{Stream: 1, Key: []byte("a"), WatchID: 1}, on("a"), on("a"), OpenStream{2}, Create{Stream: 2, Key: []byte("a")})
	d.want("s1 w1 @1 created", "s1 w0 @1 created", "s1 w2 @1 created", "s2 w0 @1 created")
}

func TestAStartBeforeTheCompactionIsCreatedThenCanceled21(t *testing.T) {
	d := newDesk(t, Options{})
	d.publish("a=1")
	d.publish("a=2")
	d.publish("a=3")
	d.compact = 3
	d.do(d.published(nil), on("a").from(2))
	d.want("s1 w0 @4 created", "s1 w0 @0 canceled compacted at 3")
	d.do(on("a").from(3)) // the compact revision itself can be read
	d.want("s1 w1 @4 created")
	d.answer()
	d.want("s1 w1 @4 a=2/3 a=3/4")
}

func TestACompactionOvertakesAWatcherThatIsBehind21(t *testing.T) {
	d := newDesk(t, Options{})
	d.publish("a=1")
	d.publish("a=2")
	d.do(on("a").from(2))
	scan := *d.out.Scan
	d.compact = 3
	d.do(d.scan(scan)) // the store knows of it before the Hub
	d.want("s1 w0 @0 canceled compacted at 3")
	if s := d.hub.Stats(); s.Watchers != 0 || s.Behind != 0 {
		t.Errorf("%+v", s)
	}
}

func TestCreatedPrecedesEventsAndACancelHasNoReason22(t *testing.T) {
	d := newDesk(t, Options{})
	d.publish("a=1")
	d.do(on("a").from(1))
	d.want("s1 w0 @2 created")
	d.answer()
	d.want("s1 w0 @2 a=1/2")
	d.do(Cancel{1, 0}, Cancel{1, 0}, Cancel{1, 9}, Cancel{7, 0})
	d.want("s1 w0 @2 canceled")
	d.publish("a=2")
	d.want()
}

func TestARevisionIsNotSplitUnlessAskedFor23(t *testing.T) {
	d := newDesk(t, Options{FragmentBytes: 200, StreamBytesMax: 300})
	fragments := prefix("k")
	fragments.Fragment = true
	d.do(fragments, prefix("k"))
	big := strings.Repeat("v", 80)
	d.publish("k1="+big, "k2="+big, "k3="+big)
	d.want(
		"s1 w0 @2 fragment k1="+big+"/2",
		"s1 w0 @2 fragment k2="+big+"/2",
		"s1 w0 @2 k3="+big+"/2",
		// The second watcher's stream is full now: it falls behind.
	)
	if d.hub.Stats().Behind != 1 {
		t.Fatalf("%+v", d.hub.Stats())
	}
	d.do(Sent{1, d.hub.streams[1].unsentBytes})
	d.answer()
	d.want("s1 w1 @2 k1=" + big + "/2 k2=" + big + "/2 k3=" + big + "/2")
}

func TestFragmentsPackWhatFits23(t *testing.T) {
	d := newDesk(t, Options{FragmentBytes: 120})
	c := prefix("k")
	c.Fragment = true
	d.do(c)
	d.publish("k1=v", "k2=v", "k3=v") // 51 bytes each
	d.want("s1 w0 @2 fragment k1=v/2 k2=v/2", "s1 w0 @2 k3=v/2")
}

func TestALargeBatchIsSplitBetweenRevisions23(t *testing.T) {
	d := newDesk(t, Options{FragmentBytes: 160}) // three small events
	c := prefix("k")
	c.Fragment = true
	d.do(prefix("k"), c)
	events := append(bytesFree(d.change("k1=a")), append(bytesFree(d.change("k1=b", "k2=b")), append(bytesFree(d.change("k1=c", "k2=c", "k3=c", "k4=c")), d.change("k1=d")...)...)...)
	for i := range events {
		events[i].Prev = nil
	}
	d.do(d.published(events))
	d.want(
		"s1 w0 @3 k1=a/2 k1=b/3 k2=b/3",
		"s1 w0 @4 k1=c/4 k2=c/4 k3=c/4 k4=c/4",
		"s1 w0 @5 k1=d/5",
		"s1 w1 @3 k1=a/2 k1=b/3 k2=b/3",
		"s1 w1 @4 fragment k1=c/4 k2=c/4 k3=c/4",
		"s1 w1 @4 k4=c/4",
		"s1 w1 @5 k1=d/5",
	)
}

func TestCatchUpReadsAThousandRevisionsAtATime24(t *testing.T) {
	d := newDesk(t, Options{})
	for i := 0; i < 2500; i++ {
		d.change(fmt.Sprintf("a=%d", i))
	}
	d.do(d.published(nil))
	d.do(on("a").from(1))
	got := 0
	for _, want := range [][2]int64{{1, 1000}, {1001, 2000}, {2001, 2501}} {
		s := d.out.Scan
		if s.From != want[0] || s.To != want[1] {
			t.Fatalf("scan of %d to %d, want %v", s.From, s.To, want)
		}
		d.answer()
		if len(d.out.Responses) != 1 || d.out.Responses[0].Revision != want[1] {
			t.Fatalf("%d responses", len(d.out.Responses))
		}
		for _, e := range d.out.Responses[0].Events {
			if want := fmt.Sprint(got); string(e.KV.Value) != want {
				t.Fatalf("value %s, want %s", e.KV.Value, want)
			}
			got++
		}
	}
	if got != 2500 || d.hub.Stats().Behind != 0 || d.out.Scan != nil {
		t.Fatalf("%d events, %+v", got, d.hub.Stats())
	}
}

func TestWhatIsPublishedDuringAScanComesOnceAndInOrder24(t *testing.T) {
	d := newDesk(t, Options{})
	d.publish("a=1")
	d.do(on("a").from(1))
	scan := *d.out.Scan
	d.publish("a=2") // not for a watcher that is behind
	d.want()
	d.do(d.scan(scan))
	d.want("s1 w0 @2 a=1/2")
	d.answer()
	d.want("s1 w0 @3 a=2/3")
	d.publish("a=3")
	d.want("s1 w0 @4 a=3/4")
}

func TestPreviousVersions25(t *testing.T) {
	d := newDesk(t, Options{})
	with := on("a")
	with.PrevKV = true
	d.publish("a=1")
	if d.hub.WantsPrev([]byte("a")) {
		t.Error("nobody wants previous versions")
	}
	d.do(with, on("a"))
	if !d.hub.WantsPrev([]byte("a")) || d.hub.WantsPrev([]byte("b")) {
		t.Error("previous versions are wanted of a and only of a")
	}
	d.publish("a=2")
	d.want("s1 w0 @3 a=2/3(was 1)", "s1 w1 @3 a=2/3")
	d.publish("-a")
	d.want("s1 w0 @4 -a/4(was 2)", "s1 w1 @4 -a/4")
	d.do(Cancel{1, 0})
	if d.hub.WantsPrev([]byte("a")) {
		t.Error("nobody wants previous versions any more")
	}
	d.compact = 3
	d.do(d.published(nil), with.from(3)) // revision 2 has been compacted
	if !d.out.Scan.Prev {
		t.Error("the scan does not ask for previous versions")
	}
	d.answer()
	d.want("s1 w2 @4 a=2/3 -a/4(was 2)")
}

func TestPeriodicProgressIsForSyncedAndIdleWatchers26(t *testing.T) {
	d := newDesk(t, Options{ProgressInterval: 10 * id.Second})
	c := on("a")
	c.ProgressNotify = true
	d.do(c, on("a"))
	d.publish("b=1")
	d.at(11)
	due := d.hub.Deadline()
	if due > id.Time(12*id.Second) {
		t.Fatalf("progress due at %d", due)
	}
	d.at(12)
	d.want("s1 w0 @2")
	d.at(18, d.published(d.change("a=1")))
	d.want("s1 w0 @3 a=1/3", "s1 w1 @3 a=1/3")
	d.at(24) // it had an event 6 s ago
	d.want()
	d.at(30)
	d.want("s1 w0 @3")
}

func TestNoPeriodicProgressWhileBehind26(t *testing.T) {
	d := newDesk(t, Options{ProgressInterval: 10 * id.Second})
	c := on("a").from(1)
	c.ProgressNotify = true
	d.publish("a=1")
	d.do(c)
	scan := *d.out.Scan
	d.at(20)
	d.want()
	d.do(d.scan(scan))
	d.want("s1 w0 @2 a=1/2")
	d.at(40)
	d.want("s1 w0 @2")
}

func TestManualProgressOnlyWhenAllOfTheStreamAreSynced26(t *testing.T) {
	d := newDesk(t, Options{})
	d.do(RequestProgress{1}, RequestProgress{9})
	d.want() // no watcher, no answer
	d.publish("a=1")
	d.do(OpenStream{2}, on("a"), on("b").from(1), Create{Stream: 2, Key: []byte("a")}, RequestProgress{1}, RequestProgress{2})
	d.want("s1 w0 @2 created", "s1 w1 @2 created", "s2 w0 @2 created", "s2 w-1 @2")
	d.answer()
	d.do(RequestProgress{1})
	d.want("s1 w-1 @2")
}

func TestProgressFollowsTheEventsItCovers27(t *testing.T) {
	d := newDesk(t, Options{})
	d.do(on("a"))
	d.do(d.published(d.change("a=1")), RequestProgress{1})
	d.want("s1 w0 @2 a=1/2", "s1 w-1 @2")
}

func TestFilters(t *testing.T) {
	d := newDesk(t, Options{})
	noPut, noDelete := on("a"), on("a")
	noPut.NoPut, noDelete.NoDelete = true, true
	neither := noPut
	neither.NoDelete = true
	d.do(noPut, noDelete, neither)
	d.publish("a=1")
	d.want("s1 w1 @2 a=1/2")
	d.publish("-a")
	d.want("s1 w0 @3 -a/3")
}

func TestASlowStreamKeepsNothingButItsPosition(t *testing.T) {
	d := newDesk(t, Options{StreamBytesMax: 1000})
	d.do(on("a"), OpenStream{2}, Create{Stream: 2, Key: []byte("a")})
	d.do(Sent{2, responseBytes})
	fast, seen := 0, 0
	for i := 0; i < 100; i++ {
		d.publish("a=" + strings.Repeat("x", 100))
		for _, r := range d.out.Responses {
			if r.Stream == 2 {
				fast++
				d.do(Sent{2, r.Bytes})
			} else {
				seen++
			}
		}
	}
	if fast != 100 {
		t.Fatalf("the fast stream got %d of 100", fast)
	}
	s := d.hub.streams[1]
	if s.unsentBytes > 1000+300 || d.hub.Stats().Behind != 1 || d.hub.queue.Len() != 0 || d.out.Scan != nil {
		t.Fatalf("unsent %d bytes, %+v", s.unsentBytes, d.hub.Stats())
	}
	if seen > 5 {
		t.Fatalf("%d were given at once", seen)
	}
	for rounds := 0; d.hub.Stats().Behind > 0; rounds++ {
		d.do(Sent{1, s.unsentBytes})
		d.answer()
		for _, r := range d.out.Responses {
			seen += len(r.Events)
		}
		if rounds > 100 {
			t.Fatal("it never catches up")
		}
	}
	if seen != 100 {
		t.Fatalf("it saw %d of 100", seen)
	}
}

func TestManyThatFellBehindTogetherShareOneScan(t *testing.T) {
	d := newDesk(t, Options{})
	d.publish("a=1")
	var creates []Input
	for i := 0; i < 1000; i++ {
		creates = append(creates, on("a").from(1))
	}
	d.do(creates...)
	d.answer()
	if len(d.out.Responses) != 1000 || d.hub.Stats().Behind != 0 {
		t.Fatalf("%d responses, %+v", len(d.out.Responses), d.hub.Stats())
	}
	first := &d.out.Responses[0].Events[0]
	for i := range d.out.Responses {
		if &d.out.Responses[i].Events[0] != first {
			t.Fatal("the events are not shared")
		}
	}
}

func TestOneFarBehindDoesNotStarveTheOthers(t *testing.T) {
	d := newDesk(t, Options{ScanRevisionsMax: 10})
	for i := 0; i < 1000; i++ {
		d.change("a=1")
	}
	d.do(d.published(nil), on("a").from(1), on("a").from(1000))
	d.answer()
	d.answer()
	if d.hub.Stats().Behind != 1 {
		t.Fatalf("after two scans %d are behind, want only the one with 990 revisions to go", d.hub.Stats().Behind)
	}
}

func TestASnapshotLetsEverybodyCatchUp(t *testing.T) {
	d := newDesk(t, Options{})
	d.do(on("a"), on("a").from(100))
	d.change("a=2")
	d.change("a=3")
	d.do(Restored{Revision: 3, CompactRevision: -1})
	d.want()
	d.answer()
	d.want("s1 w0 @3 a=2/2 a=3/3")
}

func TestAFailedScanEndsItsWatchers(t *testing.T) {
	d := newDesk(t, Options{})
	d.publish("a=1")
	d.do(on("a").from(1))
	d.do(Scanned{Number: d.out.Scan.Number, Err: errors.New("disk: read failed")})
	d.want(`s1 w0 @2 canceled "disk: read failed"`)
}

func TestClosingAStreamForgetsEverything(t *testing.T) {
	d := newDesk(t, Options{})
	d.publish("a=1")
	c := prefix("a")
	c.ProgressNotify = true
	d.do(on("a"), on("a").from(1), c)
	scan := *d.out.Scan
	d.do(CloseStream{1}, CloseStream{1}, on("a"), RequestProgress{1}, Sent{1, 1})
	d.want()
	d.do(d.scan(scan))
	d.publish("a=2")
	d.want()
	if s := d.hub.Stats(); s != (Stats{}) || len(d.hub.exact) != 0 || d.hub.ranges.root != nil || d.hub.Deadline() != id.Never {
		t.Errorf("left over: %+v", s)
	}
}
