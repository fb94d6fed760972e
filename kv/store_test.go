package kv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/engine"
	"github.com/quorate/quorate/kv/engine/mem"
	"github.com/quorate/quorate/kv/lease"
	"github.com/quorate/quorate/kv/mvcc"
	"github.com/quorate/quorate/rsm"
)

// bench is a store on a memory engine, applied to by hand, in term 3.
type bench struct {
	t       *testing.T
	engine  engine.Engine
	store   *Store
	index   id.Index
	term    id.Term
	changes []Changes
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, engine: mem.New(), term: 3}
	b.open()
	return b
}

func (b *bench) open() {
	b.t.Helper()
	b.store = NewStore(b.engine, Options{Publish: func(c Changes) {
		b.changes = append(b.changes, c)
		c.View.Close()
	}})
	index, _, err := b.store.Open()
	if err != nil {
		b.t.Fatal(err)
	}
	b.index = index
}

// entry is op as a committed command of the next index.
func (b *bench) entry(op Op) rsm.Command {
	b.t.Helper()
	data, err := (&Command{Op: op}).Encode()
	if err != nil {
		b.t.Fatal(err)
	}
	b.index++
	return rsm.Command{Index: b.index, Term: b.term, Data: data}
}

// apply applies ops as one batch and returns what they came to.
func (b *bench) apply(ops ...Op) []*Result {
	b.t.Helper()
	batch := rsm.Batch{Term: b.term}
	for _, op := range ops {
		batch.Commands = append(batch.Commands, b.entry(op))
	}
	batch.Applied = b.index
	raw, err := b.store.Apply(batch, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	var results []*Result
	for _, r := range raw {
		result, err := DecodeResult(r)
		if err != nil {
			b.t.Fatal(err)
		}
		results = append(results, result)
	}
	return results
}

// one applies one op, which is not to fail.
func (b *bench) one(op Op) *Result {
	b.t.Helper()
	r := b.apply(op)[0]
	if r.Err != nil {
		b.t.Fatal(r.Err)
	}
	return r
}

func (b *bench) refused(op Op, want error) {
	b.t.Helper()
	if r := b.apply(op)[0]; !errors.Is(r.Err, want) {
		b.t.Errorf("%+v came to %v, want %v", op, r.Err, want)
	}
}

func (b *bench) view() *View {
	v := b.store.View().(*View)
	b.t.Cleanup(func() { v.Close() })
	return v
}

// get returns a key's value, "-" if it is not there.
func (b *bench) get(key string) string {
	b.t.Helper()
	r, err := b.view().Range(&mvcc.RangeRequest{Key: []byte(key)})
	if err != nil {
		b.t.Fatal(err)
	}
	if len(r.KVs) == 0 {
		return "-"
	}
	return string(r.KVs[0].Value)
}

func putOp(key, value string, l lease.ID) Op {
	return Op{Put: &mvcc.PutRequest{Key: []byte(key), Value: []byte(value), Lease: l}}
}

// Numbers at the end of names are those of the rules in the list of etcd's traps,
// M and a number those of docs/MISSION.md.

func TestSameCommandsInTheSameOrderGiveTheSameStateM41(t *testing.T) {
	// The long form is TestReplicasAgree; here is the short one.
	a, b := newBench(t), newBench(t)
	ops := []Op{putOp("x", "1", 0), putOp("y", "2", 0), putOp("x", "3", 0), {DeleteRange: &mvcc.DeleteRangeRequest{Key: []byte("y")}}}
	a.apply(ops...)
	for _, op := range ops {
		b.apply(op)
	}
	var left, right bytes.Buffer
	a.view().WriteTo(&left)
	b.view().WriteTo(&right)
	if !bytes.Equal(left.Bytes(), right.Bytes()) {
		t.Errorf("the states differ:\n%x\n%x", left.Bytes(), right.Bytes())
	}
	if a.get("x") != "3" || a.get("y") != "-" {
		t.Errorf("x is %s, y is %s", a.get("x"), a.get("y"))
	}
}

func TestANewNodeGetsTheStateAndNotTheHistoryM67(t *testing.T) {
	// x=1, x=2, x=3 arrives as x=3: what has been compacted does not travel.
	b := newBench(t)
	b.apply(putOp("x", "1", 0), putOp("x", "2", 0), putOp("x", "3", 0), Op{Compact: &Compact{Revision: 4}})
	var stream bytes.Buffer
	if _, err := b.view().WriteTo(&stream); err != nil {
		t.Fatal(err)
	}
	n := newBench(t)
	n.apply(putOp("old", "rubbish", 0))
	if err := n.store.Restore(rsm.Meta{Index: b.index, Term: b.term}, &stream); err != nil {
		t.Fatal(err)
	}
	n.index = b.index
	if n.get("x") != "3" || n.get("old") != "-" {
		t.Errorf("x is %s, old is %s", n.get("x"), n.get("old"))
	}
	if _, err := n.view().Range(&mvcc.RangeRequest{Key: []byte("x"), Revision: 3}); !errors.Is(err, mvcc.ErrCompacted) {
		t.Errorf("revision 3: %v", err)
	}
	// It goes on from there.
	if r := n.one(putOp("x", "4", 0)); r.Revision != 5 {
		t.Errorf("the next revision is %d", r.Revision)
	}
	if c := n.changes[1]; !c.Restored || c.Revision != 4 || c.CompactRevision != 4 || len(c.Events) != 0 {
		t.Errorf("the restore published %+v", c)
	}
}

func TestAFreshStoreHasRevisionOneAndTheFirstWriteMakesTwo1(t *testing.T) {
	b := newBench(t)
	if v := b.view(); v.Revision() != 1 || v.CompactRevision() != -1 || v.Applied() != 0 {
		t.Errorf("revision %d, compact %d, applied %d", v.Revision(), v.CompactRevision(), v.Applied())
	}
	if r := b.one(putOp("a", "1", 0)); r.Revision != 2 || r.Put.Revision != 2 {
		t.Errorf("%+v", r)
	}
	r := b.one(Op{DeleteRange: &mvcc.DeleteRangeRequest{Key: []byte("nothing")}})
	if r.Revision != 2 || r.DeleteRange.Deleted != 0 {
		t.Errorf("a deletion of nothing: %+v", r)
	}
}

func TestWhatAClientDidWrongIsAResultAndChangesNothing(t *testing.T) {
	b := newBench(t)
	b.one(putOp("a", "1", 0))
	b.refused(Op{Put: &mvcc.PutRequest{}}, mvcc.ErrEmptyKey)
	b.refused(putOp("a", "2", 99), mvcc.ErrLeaseNotFound)
	b.refused(Op{Compact: &Compact{Revision: 100}}, mvcc.ErrFutureRev)
	b.refused(Op{Txn: &mvcc.TxnRequest{Success: []mvcc.Op{{Put: &mvcc.PutRequest{Key: []byte("a"), Value: []byte("3")}}, {Put: &mvcc.PutRequest{Key: []byte("a")}}}}}, mvcc.ErrDuplicateKey)
	if b.get("a") != "1" || b.view().Revision() != 2 || b.view().Applied() != b.index {
		t.Errorf("a is %s at revision %d, applied %d", b.get("a"), b.view().Revision(), b.view().Applied())
	}
}

func TestWhatTheEnvelopeAsksForAndThisVersionCannotDoIsRefused(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		command Command
		want    error
	}{
		{Command{Session: Session{1, 1}}, ErrSessions},
		{Command{Keyspace: 1}, ErrKeyspace},
	} {
		c.command.Op = putOp("a", "1", 0)
		data, err := c.command.Encode()
		if err != nil {
			t.Fatal(err)
		}
		b.index++
		raw, err := b.store.Apply(rsm.Batch{Commands: []rsm.Command{{Index: b.index, Term: 3, Data: data}}, Applied: b.index, Term: 3}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r, _ := DecodeResult(raw[0]); !errors.Is(r.Err, c.want) {
			t.Errorf("%+v came to %v, want %v", c.command, r.Err, c.want)
		}
	}
	if b.get("a") != "-" {
		t.Error("a refused command was applied")
	}
}

func TestAnUnreadableCommandStopsTheGroupBeforeTheAppliedIndexMoves(t *testing.T) {
	b := newBench(t)
	b.one(putOp("a", "1", 0))
	good := b.entry(putOp("a", "2", 0))
	bad := rsm.Command{Index: good.Index + 1, Term: 3, Data: []byte{9, 9, 9}}
	results, err := b.store.Apply(rsm.Batch{Commands: []rsm.Command{good, bad}, Applied: bad.Index, Term: 3}, nil)
	if !errors.Is(err, ErrFormat) || len(results) != 0 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	if !strings.Contains(err.Error(), fmt.Sprint("apply ", bad.Index)) {
		t.Errorf("the error does not say where: %v", err)
	}
	if _, again := b.store.Apply(rsm.Batch{Commands: []rsm.Command{good}, Applied: good.Index, Term: 3}, nil); !errors.Is(again, ErrFormat) {
		t.Errorf("after it the store says %v", again)
	}
	b.open()
	if b.index != 1 || b.get("a") != "1" {
		t.Errorf("after reopening applied is %d, a is %s", b.index, b.get("a"))
	}
}

func TestAFailingEngineStopsTheGroupBeforeTheAppliedIndexMoves(t *testing.T) {
	b := newBench(t)
	b.one(putOp("a", "1", 0))
	sound := b.engine
	b.engine = &failingEngine{Engine: sound}
	b.open()
	c := b.entry(putOp("a", "2", 0))
	if _, err := b.store.Apply(rsm.Batch{Commands: []rsm.Command{c}, Applied: c.Index, Term: 3}, nil); !errors.Is(err, errDisk) {
		t.Fatalf("apply: %v", err)
	}
	if len(b.changes) != 1 {
		t.Errorf("the failed batch was published: %+v", b.changes[1:])
	}
	b.engine = sound
	b.open()
	if b.index != 1 || b.get("a") != "1" {
		t.Errorf("after reopening applied is %d, a is %s", b.index, b.get("a"))
	}
}

var errDisk = errors.New("disk: commit failed")

// failingEngine abandons every batch at its commit.
type failingEngine struct{ engine.Engine }

func (f *failingEngine) Commit(b engine.Batch) error {
	b.Close()
	return errDisk
}

func TestACommandIsNotAppliedAgainAfterARestart(t *testing.T) {
	b := newBench(t)
	b.one(putOp("a", "1", 0))
	b.open()
	b.index = 0
	again := b.entry(putOp("a", "again", 0)) // index 1, as after a crash the log comes back
	raw, err := b.store.Apply(rsm.Batch{Commands: []rsm.Command{again}, Applied: 1, Term: 3}, nil)
	if err != nil || len(raw) != 1 || raw[0] != nil {
		t.Fatalf("%v, %v", raw, err)
	}
	next := b.entry(putOp("b", "2", 0))
	raw, err = b.store.Apply(rsm.Batch{Commands: []rsm.Command{again, next}, Applied: 2, Term: 3}, nil)
	if err != nil || len(raw) != 2 || raw[0] != nil || raw[1] == nil {
		t.Fatalf("%v, %v", raw, err)
	}
	if b.get("a") != "1" || b.get("b") != "2" || b.view().Revision() != 3 {
		t.Errorf("a is %s, b is %s, revision %d", b.get("a"), b.get("b"), b.view().Revision())
	}
}

func TestEntriesWithoutCommandsMoveTheAppliedIndex(t *testing.T) {
	b := newBench(t)
	if _, err := b.store.Apply(rsm.Batch{Applied: 5, Term: 4}, nil); err != nil {
		t.Fatal(err)
	}
	b.open()
	if v := b.view(); b.index != 5 || v.Term() != 4 || v.Revision() != 1 {
		t.Errorf("applied %d, term %d, revision %d", b.index, v.Term(), v.Revision())
	}
}

func TestEverythingAnApplyChangesIsFlushedTogether(t *testing.T) {
	e := mem.New()
	b := &bench{t: t, engine: e, term: 3}
	b.open()
	b.apply(Op{LeaseGrant: &LeaseGrant{ID: 7, TTL: 60}}, putOp("a", "1", 7), Op{Alarm: &AlarmChange{Raise: true, Alarm: Alarm{AlarmCorrupt, 1}}})
	if err := b.store.Flush(); err != nil {
		t.Fatal(err)
	}
	if f, err := b.store.Flushed(); err != nil || f != 3 {
		t.Fatalf("flushed %d, %v", f, err)
	}
	b.apply(Op{Alarm: &AlarmChange{}}, Op{LeaseRevoke: &LeaseRevoke{ID: 7}})
	if f, _ := b.store.Flushed(); f != 3 {
		t.Fatalf("flushed %d without a flush", f)
	}
	b.engine = e.Crash()
	b.open()
	if b.index != 3 || b.get("a") != "1" || !b.store.leases.Exists(7) || len(b.store.alarms) != 1 {
		t.Errorf("after the crash: applied %d, a is %s, lease %v, alarms %v", b.index, b.get("a"), b.store.leases.Exists(7), b.store.alarms)
	}
}

func TestLeaseGrantRules28(t *testing.T) {
	b := newBench(t)
	if r := b.one(Op{LeaseGrant: &LeaseGrant{ID: 7, TTL: 60}}); !reflect.DeepEqual(r.LeaseGrant, &lease.Lease{ID: 7, TTL: 60}) || r.Revision != 1 {
		t.Errorf("%+v", r)
	}
	b.refused(Op{LeaseGrant: &LeaseGrant{ID: 7, TTL: 60}}, ErrLeaseExists)
	b.refused(Op{LeaseGrant: &LeaseGrant{ID: 0, TTL: 60}}, mvcc.ErrLeaseNotFound)
	b.refused(Op{LeaseGrant: &LeaseGrant{ID: 8, TTL: lease.TTLMax + 1}}, ErrLeaseTTLTooLarge)
	b.refused(Op{LeaseGrant: &LeaseGrant{ID: 8, TTL: 0}}, ErrLeaseTTLInvalid)
	b.one(Op{LeaseGrant: &LeaseGrant{ID: -8, TTL: lease.TTLMax}})
	leases, err := b.view().Leases()
	if want := []lease.Lease{{ID: -8, TTL: lease.TTLMax}, {ID: 7, TTL: 60}}; err != nil || !slices.Equal(leases, want) {
		t.Errorf("leases %v, %v", leases, err)
	}
	if l, found, err := b.view().Lease(7); !found || err != nil || l.TTL != 60 {
		t.Errorf("lease 7: %v %v %v", l, found, err)
	}
	if _, found, _ := b.view().Lease(99); found {
		t.Error("lease 99 was found")
	}
}

func TestARevokeDeletesTheKeysSortedInOneRevision30(t *testing.T) {
	b := newBench(t)
	b.apply(Op{LeaseGrant: &LeaseGrant{ID: 7, TTL: 60}}, putOp("c", "1", 7), putOp("a", "1", 7), putOp("b", "1", 7), putOp("d", "1", 7))
	b.one(putOp("b", "2", 0)) // detaches
	b.one(Op{DeleteRange: &mvcc.DeleteRangeRequest{Key: []byte("d")}})
	keys, err := b.view().LeaseKeys(7)
	if err != nil || fmt.Sprintf("%s", keys) != "[a c]" {
		t.Errorf("keys %s, %v", keys, err)
	}
	before := b.view().Revision()
	r := b.one(Op{LeaseRevoke: &LeaseRevoke{ID: 7}})
	if r.Revision != before+1 {
		t.Errorf("revision %d after %d", r.Revision, before)
	}
	c := b.changes[len(b.changes)-1]
	var got []string
	for _, e := range c.Events {
		got = append(got, fmt.Sprint(e.Type, string(e.KV.Key), e.KV.ModRevision-before))
	}
	if want := []string{"1a1", "1c1"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if !reflect.DeepEqual(c.Leases, []lease.Event{lease.Revoked{ID: 7}}) {
		t.Errorf("leases %v", c.Leases)
	}
	b.refused(Op{LeaseRevoke: &LeaseRevoke{ID: 7}}, mvcc.ErrLeaseNotFound)
	b.refused(putOp("a", "1", 7), mvcc.ErrLeaseNotFound)
	if b.get("b") != "2" || b.get("a") != "-" {
		t.Errorf("a is %s, b is %s", b.get("a"), b.get("b"))
	}
}

func TestAnExpiryOfAnEarlierTermIsIgnored(t *testing.T) {
	b := newBench(t)
	b.one(Op{LeaseGrant: &LeaseGrant{ID: 7, TTL: 60}})
	if r := b.one(Op{LeaseRevoke: &LeaseRevoke{ID: 7, Expired: true, Term: 2}}); !r.Ignored || !b.store.leases.Exists(7) {
		t.Errorf("%+v", r)
	}
	if r := b.one(Op{LeaseCheckpoint: &LeaseCheckpoint{Term: 2, Checkpoints: []lease.Checkpoint{{ID: 7, Remaining: 5}}}}); !r.Ignored {
		t.Errorf("%+v", r)
	}
	if l, _, _ := b.view().Lease(7); l.Remaining != 0 {
		t.Errorf("%+v", l)
	}
	if r := b.one(Op{LeaseRevoke: &LeaseRevoke{ID: 7, Expired: true, Term: 3}}); r.Ignored || b.store.leases.Exists(7) {
		t.Errorf("%+v", r)
	}
}

func TestCheckpointsAreInTheStateAndSkipWhatIsGone(t *testing.T) {
	b := newBench(t)
	b.one(Op{LeaseGrant: &LeaseGrant{ID: 7, TTL: 60}})
	r := b.one(Op{LeaseCheckpoint: &LeaseCheckpoint{Term: 3, Checkpoints: []lease.Checkpoint{{ID: 6, Remaining: 1}, {ID: 7, Remaining: 25}}}})
	if r.Ignored || r.Revision != 1 {
		t.Errorf("%+v", r)
	}
	if got := b.changes[len(b.changes)-1].Leases; !reflect.DeepEqual(got, []lease.Event{lease.Checkpointed{ID: 7, Remaining: 25}}) {
		t.Errorf("published %v", got)
	}
	b.open()
	if want := []lease.Lease{{ID: 7, TTL: 60, Remaining: 25}}; !slices.Equal(b.store.Leases(), want) {
		t.Errorf("after reopening %v", b.store.Leases())
	}
}

func TestNoSpaceBlocksPutsGrantsAndTransactionsWithPuts43(t *testing.T) {
	b := newBench(t)
	b.apply(Op{LeaseGrant: &LeaseGrant{ID: 7, TTL: 60}}, putOp("a", "1", 7))
	if r := b.one(Op{Alarm: &AlarmChange{Raise: true, Alarm: Alarm{AlarmNoSpace, 5}}}); !slices.Equal(r.Alarms, []Alarm{{AlarmNoSpace, 5}}) {
		t.Errorf("%+v", r)
	}
	put := &mvcc.PutRequest{Key: []byte("b")}
	b.refused(Op{Put: put}, ErrNoSpace)
	b.refused(Op{LeaseGrant: &LeaseGrant{ID: 8, TTL: 60}}, ErrNoSpace)
	b.refused(Op{Txn: &mvcc.TxnRequest{Failure: []mvcc.Op{{Txn: &mvcc.TxnRequest{Success: []mvcc.Op{{Put: put}}}}}}}, ErrNoSpace)
	deletion := mvcc.Op{DeleteRange: &mvcc.DeleteRangeRequest{Key: []byte("zzz")}}
	b.one(Op{Txn: &mvcc.TxnRequest{Success: []mvcc.Op{deletion}}})
	b.one(Op{DeleteRange: deletion.DeleteRange})
	b.one(Op{Compact: &Compact{Revision: 2}})
	b.one(Op{LeaseRevoke: &LeaseRevoke{ID: 7}})
	b.open() // it is in the state
	b.refused(Op{Put: put}, ErrNoSpace)
	if r := b.one(Op{Alarm: &AlarmChange{}}); !slices.Equal(r.Alarms, []Alarm{{AlarmNoSpace, 5}}) {
		t.Errorf("%+v", r)
	}
	b.one(Op{Put: put})
}

func TestCorruptBlocksEverything(t *testing.T) {
	b := newBench(t)
	b.one(Op{LeaseGrant: &LeaseGrant{ID: 7, TTL: 60}})
	b.one(Op{Alarm: &AlarmChange{Raise: true, Alarm: Alarm{AlarmCorrupt, 5}}})
	for _, op := range []Op{
		putOp("a", "1", 0), {DeleteRange: &mvcc.DeleteRangeRequest{Key: []byte("a")}}, {Txn: &mvcc.TxnRequest{}},
		{Compact: &Compact{Revision: 1}}, {LeaseGrant: &LeaseGrant{ID: 8, TTL: 9}}, {LeaseRevoke: &LeaseRevoke{ID: 7}},
	} {
		b.refused(op, ErrCorrupt)
	}
}

func TestAlarmsAreASetPerTypeAndMember(t *testing.T) {
	b := newBench(t)
	raise := func(a Alarm) { b.one(Op{Alarm: &AlarmChange{Raise: true, Alarm: a}}) }
	raise(Alarm{AlarmNoSpace, 300})
	raise(Alarm{AlarmCorrupt, 2})
	raise(Alarm{AlarmNoSpace, 2})
	raise(Alarm{AlarmNoSpace, 2})
	raise(Alarm{AlarmNone, 9})
	alarms, err := b.view().Alarms()
	if want := []Alarm{{AlarmNoSpace, 2}, {AlarmNoSpace, 300}, {AlarmCorrupt, 2}}; err != nil || !slices.Equal(alarms, want) {
		t.Errorf("alarms %v, %v", alarms, err)
	}
	b.one(Op{Alarm: &AlarmChange{Alarm: Alarm{AlarmNoSpace, 2}}})
	if want := []Alarm{{AlarmNoSpace, 300}, {AlarmCorrupt, 2}}; !slices.Equal(b.store.alarms, want) {
		t.Errorf("alarms %v", b.store.alarms)
	}
	b.one(Op{Alarm: &AlarmChange{Alarm: Alarm{Type: AlarmCorrupt}}})
	if want := []Alarm{{AlarmNoSpace, 300}}; !slices.Equal(b.store.alarms, want) {
		t.Errorf("alarms %v", b.store.alarms)
	}
}

func TestTheClusterVersionOnlyGoesUp(t *testing.T) {
	b := newBench(t)
	if v, err := b.view().ClusterVersion(); err != nil || v != (ClusterVersion{}) {
		t.Errorf("at first %v, %v", v, err)
	}
	b.one(Op{ClusterVersion: &ClusterVersion{1, 2}})
	b.refused(Op{ClusterVersion: &ClusterVersion{1, 1}}, ErrVersionDown)
	b.refused(Op{ClusterVersion: &ClusterVersion{0, 9}}, ErrVersionDown)
	b.one(Op{ClusterVersion: &ClusterVersion{1, 2}})
	if v, err := b.view().ClusterVersion(); err != nil || v.String() != "1.2.0" {
		t.Errorf("then %v, %v", v, err)
	}
}

func TestCompactedRowsGoBitByBitAsThingsAreApplied(t *testing.T) {
	b := &bench{t: t, engine: mem.New(), term: 3}
	b.store = NewStore(b.engine, Options{CompactRowsPerApply: 10})
	if _, _, err := b.store.Open(); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		b.apply(putOp("a", fmt.Sprint(i), 0))
	}
	b.one(Op{Compact: &Compact{Revision: 101}})
	if done := b.view().CompactedUpTo(); done >= 101 {
		t.Fatalf("rows up to %d went at once", done)
	}
	steps := 0
	for b.view().CompactedUpTo() < 101 {
		b.one(Op{Advance: &Advance{}})
		if steps++; steps > 100 {
			t.Fatalf("stuck at %d", b.view().CompactedUpTo())
		}
	}
	if steps < 5 || b.get("a") != "99" {
		t.Errorf("%d steps, a is %s", steps, b.get("a"))
	}
}

func TestAViewStandsStill(t *testing.T) {
	b := newBench(t)
	b.one(putOp("a", "1", 0))
	old := b.view()
	b.one(putOp("a", "2", 0))
	r, err := old.Range(&mvcc.RangeRequest{Key: []byte("a")})
	if err != nil || string(r.KVs[0].Value) != "1" || old.Applied() != 1 || b.view().Applied() != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestADamagedSnapshotChangesNothing(t *testing.T) {
	b := newBench(t)
	b.apply(Op{LeaseGrant: &LeaseGrant{ID: 7, TTL: 60}}, putOp("a", "1", 7), putOp("b", "2", 0))
	var whole bytes.Buffer
	n, err := b.view().WriteTo(&whole)
	if err != nil || n != int64(whole.Len()) {
		t.Fatalf("%d of %d bytes, %v", n, whole.Len(), err)
	}
	meta := rsm.Meta{Index: b.index, Term: b.term}
	try := func(what string, m rsm.Meta, stream []byte) {
		t.Helper()
		e := newBench(t)
		e.one(putOp("mine", "1", 0))
		err := e.store.Restore(m, bytes.NewReader(stream))
		if err == nil {
			t.Fatalf("%s was restored", what)
		}
		if _, err := e.store.Apply(rsm.Batch{Applied: 99, Term: 9}, nil); err == nil {
			t.Errorf("%s: the store goes on", what)
		}
		e.open()
		if e.index != 1 || e.get("mine") != "1" || e.get("a") != "-" {
			t.Errorf("%s left applied %d, mine %s, a %s (%v)", what, e.index, e.get("mine"), e.get("a"), err)
		}
	}
	for i := range whole.Bytes() {
		flipped := bytes.Clone(whole.Bytes())
		flipped[i] ^= 0x40
		try(fmt.Sprintf("a snapshot with byte %d flipped", i), meta, flipped)
		try(fmt.Sprintf("a snapshot cut at %d", i), meta, whole.Bytes()[:i])
	}
	try("a snapshot with a byte more", meta, append(bytes.Clone(whole.Bytes()), 0))
	try("a snapshot of another index", rsm.Meta{Index: 99, Term: b.term}, whole.Bytes())
	version := bytes.Clone(whole.Bytes())
	version[7] = 2
	e := newBench(t)
	if err := e.store.Restore(meta, bytes.NewReader(version)); err == nil || !strings.Contains(err.Error(), "snapshot version 2, this version reads 1") {
		t.Errorf("version 2: %v", err)
	}
	if _, err := b.view().WriteTo(failingWriter{}); !errors.Is(err, errDisk) {
		t.Errorf("a writer that fails: %v", err)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errDisk }

var _ io.Writer = failingWriter{}

func TestAClosedStoreRefuses(t *testing.T) {
	b := newBench(t)
	b.store.Close()
	if _, err := b.store.Apply(rsm.Batch{Applied: 1, Term: 1}, nil); err == nil {
		t.Error("a closed store applied")
	}
}
