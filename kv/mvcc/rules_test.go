package mvcc

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/status"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/engine/mem"
)

// Each test shows one rule of etcd's surface; the numbers are those of the list
// of rules in the design notes, the names say the rule.

// fixture runs requests as single commands on a fresh store.
type fixture struct {
	*testing.T
	store *Store
	index id.Index
}

func newFixture(t *testing.T) *fixture {
	s, err := Open(mem.New(), Options{LeaseExists: func(l int64) bool { return l == 5 || l == 6 }})
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{T: t, store: s}
}

// do applies f as one batch and returns the events.
func (x *fixture) do(f func(u *Update)) []Event {
	x.Helper()
	u := x.store.Begin()
	f(u)
	x.index++
	v, events, err := u.Commit(x.index, 1)
	if err != nil {
		x.Fatal(err)
	}
	if err := v.Close(); err != nil {
		x.Fatal(err)
	}
	return events
}

// put writes "key=value" pairs, a revision each.
func (x *fixture) put(pairs ...string) {
	x.Helper()
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, "=")
		x.do(func(u *Update) {
			if _, err := u.Put(&PutRequest{Key: []byte(k), Value: []byte(v)}); err != nil {
				x.Fatal(err)
			}
		})
	}
}

func (x *fixture) delete(key string) {
	x.Helper()
	x.do(func(u *Update) {
		if _, err := u.DeleteRange(&DeleteRangeRequest{Key: []byte(key)}); err != nil {
			x.Fatal(err)
		}
	})
}

func (x *fixture) txn(t *TxnRequest) (resp *TxnResponse, err error) {
	x.Helper()
	x.do(func(u *Update) { resp, err = u.Txn(t) })
	return resp, err
}

func (x *fixture) compact(rev int64) (err error) {
	x.Helper()
	x.do(func(u *Update) { err = u.Compact(rev) })
	return err
}

func (x *fixture) finishCompaction() {
	x.Helper()
	for more := true; more; {
		var err error
		if more, err = x.store.CompactStep(2); err != nil {
			x.Fatal(err)
		}
	}
}

func (x *fixture) view(f func(v *View)) {
	v := x.store.View()
	defer v.Close()
	f(v)
}

// read returns "key=value" pairs, then the count, then "more" if there is more.
func (x *fixture) read(r RangeRequest) string {
	x.Helper()
	var s string
	x.view(func(v *View) {
		resp, err := v.Range(&r)
		if err != nil {
			s = err.Error()
			return
		}
		s = keyValues(resp.KVs) + fmt.Sprint(" of ", resp.Count)
		if resp.More {
			s += " more"
		}
	})
	return s
}

func keyValues(kvs []KeyValue) string {
	var s []string
	for _, kv := range kvs {
		s = append(s, fmt.Sprintf("%s=%s", kv.Key, kv.Value))
	}
	return strings.Join(s, " ")
}

func all() RangeRequest { return RangeRequest{Key: []byte{0}, End: []byte{0}} }

func (x *fixture) want(what string, got, want any) {
	x.Helper()
	if !reflect.DeepEqual(got, want) {
		x.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func putOp(key, value string) Op {
	return Op{Put: &PutRequest{Key: []byte(key), Value: []byte(value)}}
}
func deleteOp(key, end string) Op {
	return Op{DeleteRange: &DeleteRangeRequest{Key: []byte(key), End: []byte(end)}}
}
func rangeOp(key string) Op { return Op{Range: &RangeRequest{Key: []byte(key)}} }
func txnOp(success ...Op) Op {
	return Op{Txn: &TxnRequest{Success: success}}
}

func TestRule1_FreshStoreIsAtRevision1AndTheFirstWriteMakes2(t *testing.T) {
	x := newFixture(t)
	x.want("fresh", x.store.Revision(), int64(1))
	x.put("a=1")
	x.want("after one put", x.store.Revision(), int64(2))
}

func TestRule1_TxnIsOneRevisionAndNothingChangedIsNone(t *testing.T) {
	x := newFixture(t)
	resp, err := x.txn(&TxnRequest{Success: []Op{putOp("a", "1"), putOp("b", "2"), rangeOp("a"), deleteOp("b", "")}})
	if err != ErrDuplicateKey {
		t.Fatalf("put and delete of one key: %v, %v", resp, err)
	}
	resp, err = x.txn(&TxnRequest{Success: []Op{putOp("a", "1"), putOp("b", "2"), rangeOp("a")}})
	x.want("error", err, nil)
	x.want("revision", resp.Revision, int64(2))
	x.want("a range inside sees the coming revision", resp.Responses[2].Range.Revision, int64(2))
	x.delete("nothing")
	x.want("deleting nothing", x.store.Revision(), int64(2))
	if _, err := x.txn(&TxnRequest{Success: []Op{rangeOp("a"), deleteOp("nothing", "")}}); err != nil {
		t.Fatal(err)
	}
	x.want("a txn that changes nothing", x.store.Revision(), int64(2))
}

func TestRule2_AnswersCarryTheRevisionAtTheirExecution(t *testing.T) {
	x := newFixture(t)
	x.do(func(u *Update) {
		p, _ := u.Put(&PutRequest{Key: []byte("a")})
		r, _ := u.Range(&RangeRequest{Key: []byte("a")})
		d, _ := u.DeleteRange(&DeleteRangeRequest{Key: []byte("a")})
		n, _ := u.DeleteRange(&DeleteRangeRequest{Key: []byte("a")})
		x.want("revisions", []int64{p.Revision, r.Revision, d.Revision, n.Revision}, []int64{2, 2, 3, 3})
	})
	x.view(func(v *View) {
		r, err := v.Range(&RangeRequest{Key: []byte("a"), Revision: 2})
		if err != nil {
			t.Fatal(err)
		}
		x.want("a read of the past has the present's revision", r.Revision, int64(3))
	})
	resp, err := x.txn(&TxnRequest{Success: []Op{txnOp(putOp("b", "1"))}})
	if err != nil {
		t.Fatal(err)
	}
	x.want("a nested answer's own revision", resp.Responses[0].Txn.Revision, int64(0))
}

func TestRule3_RangeEnds(t *testing.T) {
	x := newFixture(t)
	x.put("\x00=0", "a=1", "a\x00=2", "ab=3", "b=4")
	for _, c := range []struct{ key, end, want string }{
		{"a", "", "a=1 of 1"},
		{"a", "b", "a=1 a\x00=2 ab=3 of 3"},
		{"a", "\x00", "a=1 a\x00=2 ab=3 b=4 of 4"},
		{"\x00", "\x00", "\x00=0 a=1 a\x00=2 ab=3 b=4 of 5"},
		{"b", "a", " of 0"},
		{"a", "a", " of 0"},
		{"a\x00", "", "a\x00=2 of 1"},
		{"", "", "etcdserver: key is not provided"},
	} {
		x.want(fmt.Sprintf("%q to %q", c.key, c.end), x.read(RangeRequest{Key: []byte(c.key), End: []byte(c.end)}), c.want)
	}
}

func TestRule3_EmptyKeyIsRefusedEverywhere(t *testing.T) {
	for _, op := range []Op{rangeOp(""), putOp("", "v"), deleteOp("", ""), txnOp(putOp("", ""))} {
		for _, r := range []*TxnRequest{{Success: []Op{op}}, {Failure: []Op{op}}} {
			if err := r.Validate(DefaultTxnOpsMax); err != ErrEmptyKey {
				t.Errorf("%+v: %v", op, err)
			}
		}
	}
	if err := (&TxnRequest{Compare: []Compare{{}}}).Validate(DefaultTxnOpsMax); err != ErrEmptyKey {
		t.Errorf("compare: %v", err)
	}
}

func TestRule4_FutureCompactedAndTheCompactedRevisionItself(t *testing.T) {
	x := newFixture(t)
	x.put("a=1", "a=2", "a=3") // revisions 2, 3, 4
	if err := x.compact(3); err != nil {
		t.Fatal(err)
	}
	read := func(rev int64) string { return x.read(RangeRequest{Key: []byte("a"), Revision: rev}) }
	for range 2 { // before and after the deletion has happened
		x.want("5", read(5), ErrFutureRev.Error())
		x.want("4", read(4), "a=3 of 1")
		x.want("3", read(3), "a=2 of 1")
		x.want("2", read(2), ErrCompacted.Error())
		x.want("negative is current", read(-1), "a=3 of 1")
		x.finishCompaction()
	}
}

func TestRule5_CountIgnoresLimitAndFilters(t *testing.T) {
	x := newFixture(t)
	x.put("a=1", "b=2", "c=3", "d=4") // revisions 2 to 5
	r := all()
	r.Limit = 2
	x.want("limit", x.read(r), "a=1 b=2 of 4 more")
	r.Limit = 4
	x.want("limit = count", x.read(r), "a=1 b=2 c=3 d=4 of 4")
	r = all()
	r.CountOnly, r.Limit = true, 1
	x.want("count only", x.read(r), " of 4")
}

func TestRule5_MoreIsComputedAfterTheFilter(t *testing.T) {
	x := newFixture(t)
	x.put("a=1", "b=2", "c=3", "d=4")
	r := all()
	r.Limit, r.MinModRevision = 2, 4
	x.want("two of two pass", x.read(r), "c=3 d=4 of 4")
	r.Limit = 1
	x.want("one of two", x.read(r), "c=3 of 4 more")
}

func TestRule6_AFilterOrAnOrderLiftsTheLimitWhileReading(t *testing.T) {
	x := newFixture(t)
	x.put("a=9", "b=8", "c=7", "d=6")
	r := all()
	r.Limit, r.SortOrder = 2, SortDescend
	x.want("descending keys", x.read(r), "d=6 c=7 of 4 more")
	r.SortOrder, r.SortTarget = SortAscend, SortByValue
	x.want("ascending values", x.read(r), "d=6 c=7 of 4 more")
	r = all()
	r.Limit, r.MaxCreateRevision = 2, 3
	x.want("filter", x.read(r), "a=9 b=8 of 4")
}

func TestRule6_ATargetWithoutOrderSortsOnlyWhatTheLimitLetIn(t *testing.T) {
	x := newFixture(t)
	x.put("a=9", "b=8", "c=7", "d=6")
	r := all()
	r.Limit, r.SortTarget = 2, SortByValue
	x.want("of a, b and the one more", x.read(r), "c=7 b=8 of 4 more")
}

func TestRule7_KeysOnlyLeavesTheLeaseOutUnlessSortedByValue(t *testing.T) {
	x := newFixture(t)
	x.do(func(u *Update) { u.Put(&PutRequest{Key: []byte("a"), Value: []byte("v"), Lease: 5}) })
	for target, lease := range map[SortTarget]int64{SortByKey: 0, SortByMod: 0, SortByValue: 5} {
		x.view(func(v *View) {
			resp, err := v.Range(&RangeRequest{Key: []byte("a"), KeysOnly: true, SortTarget: target})
			if err != nil {
				t.Fatal(err)
			}
			x.want(fmt.Sprint("sorted by ", target), resp.KVs,
				[]KeyValue{{Key: []byte("a"), CreateRevision: 2, ModRevision: 2, Version: 1, Lease: lease}})
		})
	}
}

func TestRule10_IgnoreValueAndIgnoreLeaseNeedTheKeyAndAnEmptyField(t *testing.T) {
	x := newFixture(t)
	put := func(r PutRequest) (err error) {
		r.Key = []byte("a")
		x.do(func(u *Update) { _, err = u.Put(&r) })
		return err
	}
	x.want("absent, ignore value", put(PutRequest{IgnoreValue: true}), error(ErrKeyNotFound))
	x.want("absent, ignore lease", put(PutRequest{IgnoreLease: true}), error(ErrKeyNotFound))
	x.want("with value", put(PutRequest{IgnoreValue: true, Value: []byte("v")}), error(ErrValueProvided))
	x.want("with lease", put(PutRequest{IgnoreLease: true, Lease: 5}), error(ErrLeaseProvided))
	x.want("nothing happened", x.store.Revision(), int64(1))
	x.want("put", put(PutRequest{Value: []byte("v"), Lease: 5}), nil)
	x.want("keep the value", put(PutRequest{IgnoreValue: true, Lease: 6}), nil)
	x.want("keep the lease", put(PutRequest{IgnoreLease: true, Value: []byte("w")}), nil)
	x.view(func(v *View) {
		kv, _ := v.At([]byte("a"), 4)
		x.want("kept", *kv, KeyValue{Key: []byte("a"), Value: []byte("w"), CreateRevision: 2, ModRevision: 4, Version: 3, Lease: 6})
	})
	x.delete("a")
	x.want("deleted, ignore value", put(PutRequest{IgnoreValue: true}), error(ErrKeyNotFound))
}

func TestRule11_APutMovesTheKeyToItsLeaseOrToNone(t *testing.T) {
	x := newFixture(t)
	attached := func(lease int64) (keys string) {
		x.view(func(v *View) {
			k, err := v.LeaseKeys(lease)
			if err != nil {
				t.Fatal(err)
			}
			keys = fmt.Sprintf("%s", k)
		})
		return keys
	}
	put := func(lease int64) (err error) {
		x.do(func(u *Update) { _, err = u.Put(&PutRequest{Key: []byte("a"), Lease: lease}) })
		return err
	}
	x.want("attach", put(5), nil)
	x.want("5", attached(5), "[a]")
	x.want("move", put(6), nil)
	x.want("5 and 6", attached(5)+attached(6), "[][a]")
	x.want("unknown", put(99), error(ErrLeaseNotFound))
	x.want("refused before any effect", attached(6), "[a]")
	x.want("detach", put(0), nil)
	x.want("6", attached(6), "[]")
	x.want("again", put(5), nil)
	x.delete("a")
	x.want("a deletion detaches", attached(5), "[]")
}

func TestRule11_RevokingDeletesTheKeysSortedInOneRevision(t *testing.T) {
	x := newFixture(t)
	x.do(func(u *Update) {
		for _, k := range []string{"c", "a", "b"} {
			u.Put(&PutRequest{Key: []byte(k), Lease: 5})
		}
		u.Put(&PutRequest{Key: []byte("d"), Lease: 6})
	})
	var n int64
	events := x.do(func(u *Update) { n, _ = u.DeleteLeased(5) })
	x.want("deleted", n, int64(3))
	var got string
	for _, e := range events {
		got += fmt.Sprintf("%s@%d ", e.KV.Key, e.KV.ModRevision)
	}
	x.want("events", got, "a@6 b@6 c@6 ")
	x.want("left", x.read(all()), "d= of 1")
}

func TestRule12_ComparesOnAMissingKeySeeZerosAndNoValue(t *testing.T) {
	x := newFixture(t)
	x.put("a=1")
	for _, c := range []struct {
		c    Compare
		want bool
	}{
		{Compare{Target: CompareVersion, Key: []byte("x"), Number: 0}, true},
		{Compare{Target: CompareCreate, Key: []byte("x"), Number: 0}, true},
		{Compare{Target: CompareMod, Key: []byte("x"), Number: 1, Result: CompareLess}, true},
		{Compare{Target: CompareLease, Key: []byte("x"), Number: 0}, true},
		{Compare{Target: CompareValue, Key: []byte("x")}, false},
		{Compare{Target: CompareValue, Key: []byte("x"), Result: CompareNotEqual, Value: []byte("1")}, false},
		{Compare{Target: CompareValue, Key: []byte("a"), Value: []byte("1")}, true},
		{Compare{Target: CompareValue, Key: []byte("a"), Value: []byte("0"), Result: CompareGreater}, true},
		{Compare{Target: CompareMod, Key: []byte("a"), Number: 2}, true},
	} {
		resp, err := x.txn(&TxnRequest{Compare: []Compare{c.c}})
		if err != nil || resp.Succeeded != c.want {
			t.Errorf("%+v: %v, %v", c.c, resp, err)
		}
	}
}

func TestRule12_ARangeCompareMustHoldForEveryKey(t *testing.T) {
	x := newFixture(t)
	x.put("a=1", "b=1", "c=2")
	for end, want := range map[string]bool{"c": true, "d": false} {
		resp, err := x.txn(&TxnRequest{Compare: []Compare{
			{Target: CompareValue, Key: []byte("a"), End: []byte(end), Value: []byte("1")}}})
		if err != nil || resp.Succeeded != want {
			t.Errorf("up to %s: %+v, %v", end, resp, err)
		}
	}
}

func TestRule13_DuplicateAndOverlappingWritesAreRefused(t *testing.T) {
	either := func(success, failure []Op) Op { return Op{Txn: &TxnRequest{Success: success, Failure: failure}} }
	for _, c := range []struct {
		name string
		ops  []Op
		want error
	}{
		{"two puts", []Op{putOp("a", "1"), putOp("a", "2")}, ErrDuplicateKey},
		{"put and delete", []Op{putOp("a", "1"), deleteOp("a", "")}, ErrDuplicateKey},
		{"delete range over a put", []Op{deleteOp("a", "c"), putOp("b", "1")}, ErrDuplicateKey},
		{"delete range beside a put", []Op{deleteOp("a", "b"), putOp("b", "1")}, nil},
		{"two deletes", []Op{deleteOp("a", "c"), deleteOp("b", "")}, nil},
		{"put and nested put", []Op{putOp("a", "1"), txnOp(putOp("a", "2"))}, ErrDuplicateKey},
		{"two nested puts", []Op{txnOp(putOp("a", "1")), txnOp(putOp("a", "2"))}, ErrDuplicateKey},
		{"branches are exclusive", []Op{either([]Op{putOp("a", "1")}, []Op{putOp("a", "2")})}, nil},
		{"branches, then a put", []Op{either([]Op{putOp("a", "1")}, []Op{putOp("a", "2")}), putOp("a", "3")}, ErrDuplicateKey},
		{"put in one branch, delete in the other", []Op{either([]Op{putOp("a", "1")}, []Op{deleteOp("a", "")})}, nil},
		{"nested delete before a nested put", []Op{txnOp(deleteOp("a", "")), txnOp(putOp("a", "1"))}, ErrDuplicateKey},
		{"etcd's hole: nested put before a nested delete", []Op{txnOp(putOp("a", "1")), txnOp(deleteOp("a", ""))}, nil},
		{"etcd's hole: delete from a key on", []Op{deleteOp("a", "\x00"), putOp("b", "1")}, nil},
		{"but not its own first key", []Op{deleteOp("a", "\x00"), putOp("a", "1")}, ErrDuplicateKey},
		{"put and nested delete", []Op{putOp("a", "1"), txnOp(deleteOp("a", "b"))}, ErrDuplicateKey},
	} {
		if err := (&TxnRequest{Success: c.ops}).Validate(DefaultTxnOpsMax); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if err := (&TxnRequest{Failure: c.ops}).Validate(-1); err != c.want {
			t.Errorf("%s, in failure: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestRule13_OneRevisionMayStillWriteAKeyTwice(t *testing.T) {
	x := newFixture(t)
	x.put("b=0")
	resp, err := x.txn(&TxnRequest{Success: []Op{deleteOp("a", "\x00"), putOp("b", "1"), rangeOp("b")}})
	if err != nil || keyValues(resp.Responses[2].Range.KVs) != "b=1" {
		t.Fatalf("%+v, %v", resp, err)
	}
	x.view(func(v *View) {
		events, next, err := v.Events([]byte{0}, []byte{0}, 3, 3, 1)
		if err != nil || next != 4 || len(events) != 2 || events[0].Type != EventDelete || events[1].KV.Version != 1 {
			t.Fatalf("%+v, next %d, %v", events, next, err)
		}
	})
}

func TestTxnOperationsAreBoundedAndNestedOnesCountAgainstTheParent(t *testing.T) {
	ops := func(n int) (ops []Op) {
		for i := range n {
			ops = append(ops, rangeOp(fmt.Sprint(i)))
		}
		return ops
	}
	nest := func(outer, inner int) *TxnRequest {
		return &TxnRequest{Success: append(ops(outer-1), Op{Txn: &TxnRequest{Failure: ops(inner)}})}
	}
	for _, c := range []struct {
		r    *TxnRequest
		want error
	}{
		{&TxnRequest{Success: ops(128), Failure: ops(128)}, nil},
		{&TxnRequest{Success: ops(129)}, ErrTooManyOps},
		{&TxnRequest{Compare: make([]Compare, 129)}, ErrTooManyOps},
		{nest(100, 28), nil},
		{nest(100, 29), ErrTooManyOps},
	} {
		if err := c.r.Validate(DefaultTxnOpsMax); err != c.want {
			t.Errorf("%d, %d operations: %v, want %v", len(c.r.Success), len(c.r.Failure), err, c.want)
		}
	}
}

func TestRule14_AnEmptyOperationIsKeyNotFound(t *testing.T) {
	if err := (&TxnRequest{Success: []Op{{}}}).Validate(DefaultTxnOpsMax); err != ErrKeyNotFound {
		t.Fatal(err)
	}
}

func TestRule14_ANestedTransactionMakesItAWrite(t *testing.T) {
	if !(&TxnRequest{Success: []Op{rangeOp("a")}, Failure: []Op{rangeOp("b")}}).ReadOnly() {
		t.Error("ranges only")
	}
	if (&TxnRequest{Success: []Op{txnOp(rangeOp("a"))}}).ReadOnly() {
		t.Error("nested")
	}
}

func TestRule14_RangesWithARevisionAreJudgedBeforeAnyWrite(t *testing.T) {
	x := newFixture(t)
	x.put("a=1", "a=2") // 2, 3
	if err := x.compact(3); err != nil {
		t.Fatal(err)
	}
	for rev, want := range map[int64]error{3: nil, 2: ErrCompacted, -1: ErrCompacted, 100: ErrFutureRev} {
		x := *x
		before := x.store.Revision()
		_, err := x.txn(&TxnRequest{Success: []Op{putOp("b", "1"),
			{Range: &RangeRequest{Key: []byte("a"), Revision: rev}}}})
		x.want(fmt.Sprint("range at ", rev), err, want)
		if want != nil && (x.store.Revision() != before) {
			t.Errorf("range at %d: the put before it happened", rev)
		}
	}
	_, err := x.txn(&TxnRequest{Success: []Op{putOp("b", "1"),
		{Range: &RangeRequest{Key: []byte("a"), Revision: x.store.Revision() + 1}}}})
	x.want("its own coming revision", err, error(ErrFutureRev))
}

func TestRule14_ComparesOfNestedTransactionsSeeTheStateBefore(t *testing.T) {
	x := newFixture(t)
	nested := &TxnRequest{
		Compare: []Compare{{Target: CompareVersion, Key: []byte("a"), Number: 0}},
		Success: []Op{putOp("b", "then")}, Failure: []Op{putOp("b", "else")}}
	resp, err := x.txn(&TxnRequest{Success: []Op{putOp("a", "1"), {Txn: nested}}})
	if err != nil || !resp.Responses[1].Txn.Succeeded {
		t.Fatalf("%+v, %v", resp, err)
	}
	x.want("content", x.read(all()), "a=1 b=then of 2")
}

func TestRule15_DeletesInsideSeeTheTransactionsOwnWrites(t *testing.T) {
	x := newFixture(t)
	resp, err := x.txn(&TxnRequest{Success: []Op{
		txnOp(putOp("a", "1")),
		txnOp(Op{DeleteRange: &DeleteRangeRequest{Key: []byte("a"), PrevKV: true}})}})
	if err != nil {
		t.Fatal(err)
	}
	d := resp.Responses[1].Txn.Responses[0].DeleteRange
	if d.Deleted != 1 || keyValues(d.Prev) != "a=1" || d.Prev[0].ModRevision != 2 {
		t.Fatalf("%+v", d)
	}
	x.want("content", x.read(all()), " of 0")
	x.want("content at 2", x.read(RangeRequest{Key: []byte("a"), Revision: 2}), " of 0")
}

func TestRule15_PrevKVIsPerOperation(t *testing.T) {
	x := newFixture(t)
	x.put("a=1", "b=2")
	p, d := putOp("a", "3"), deleteOp("b", "")
	p.Put.PrevKV = true
	resp, err := x.txn(&TxnRequest{Success: []Op{p, d, putOp("c", "4")}})
	if err != nil {
		t.Fatal(err)
	}
	x.want("put", keyValues([]KeyValue{*resp.Responses[0].Put.Prev}), "a=1")
	x.want("delete without", len(resp.Responses[1].DeleteRange.Prev), 0)
	x.want("new key", resp.Responses[2].Put.Prev, (*KeyValue)(nil))
}

func TestRule16_CompactRefusesThePastAndTheFuture(t *testing.T) {
	x := newFixture(t)
	x.put("a=1", "a=2")
	x.want("never compacted", x.store.CompactRevision(), int64(-1))
	x.want("future", x.compact(4), error(ErrFutureRev))
	x.want("3", x.compact(3), nil)
	x.want("again", x.compact(3), error(ErrCompacted))
	x.want("older", x.compact(2), error(ErrCompacted))
	x.want("nothing deleted yet", x.store.CompactedUpTo(), int64(-1))
	x.finishCompaction()
	x.want("deleted", x.store.CompactedUpTo(), int64(3))
}

func TestRule17_CompactionKeepsTheNewestAndTheTombstoneAtTheRevision(t *testing.T) {
	x := newFixture(t)
	x.put("a=1", "a=2", "b=1") // 2, 3, 4
	x.delete("b")              // 5
	x.put("c=1")               // 6
	x.delete("c")              // 7
	changes := func() (s string) {
		x.view(func(v *View) {
			from := max(v.CompactRevision(), 0)
			err := v.eachChange(0, 100, func(c *change, _ *KeyValue) bool {
				s += fmt.Sprintf("%s@%d ", c.key, c.rev.main)
				return true
			}, func(*change, *versionReader) (bool, error) { return true, nil })
			if err != nil {
				t.Fatal(err)
			}
			events, _, err := v.Events([]byte{0}, []byte{0}, from, 100, 100)
			if err != nil {
				t.Fatal(err)
			}
			s += fmt.Sprint(len(events), " events")
		})
		return s
	}
	for _, c := range []struct {
		rev  int64
		want string
	}{
		{5, "a@3 b@5 c@6 c@7 3 events"},
		{6, "a@3 c@6 c@7 2 events"},
		{7, "a@3 c@7 1 events"},
	} {
		if err := x.compact(c.rev); err != nil {
			t.Fatal(err)
		}
		x.finishCompaction()
		x.want(fmt.Sprint("kept at ", c.rev), changes(), c.want)
	}
	x.put("d=1")
	if err := x.compact(8); err != nil {
		t.Fatal(err)
	}
	x.finishCompaction()
	x.want("the tombstone goes with the next", changes(), "a@3 d@8 1 events")
	metas := 0
	x.view(func(v *View) {
		v.EachStateRow(func(row, _ []byte) error {
			if row[0] == tableMeta {
				metas++
			}
			return nil
		})
	})
	x.want("no row is left of dead keys", metas, 2)
}

func TestRule18_TheHashDoesNotSeeHowFarCompactionHasCome(t *testing.T) {
	x := newFixture(t)
	x.put("a=1", "a=2", "b=1")
	x.delete("b") // 5
	if err := x.compact(5); err != nil {
		t.Fatal(err)
	}
	hash := func() (h Hash) {
		x.view(func(v *View) {
			var err error
			if h, err = v.HashKV(0); err != nil {
				t.Fatal(err)
			}
		})
		return h
	}
	before := hash()
	x.finishCompaction()
	x.want("after", hash(), before)
	x.view(func(v *View) {
		_, err := v.HashKV(4)
		x.want("before the compaction", err, error(ErrCompacted))
		_, err = v.HashKV(6)
		x.want("future", err, error(ErrFutureRev))
	})
}

// The bytes of the hash of an empty store: CRC-32C of "key".
func TestRule18_HashOfAFreshStore(t *testing.T) {
	x := newFixture(t)
	x.view(func(v *View) {
		h, err := v.HashKV(0)
		x.want("error", err, nil)
		x.want("hash", h, Hash{Hash: newTwin(nil).HashKV(1), Revision: 1, CompactRevision: -1})
	})
}

func TestWatchersCanStartAtTheCompactedRevisionAndNotBefore(t *testing.T) {
	x := newFixture(t)
	x.put("a=1", "a=2", "a=3")
	if err := x.compact(3); err != nil {
		t.Fatal(err)
	}
	x.view(func(v *View) {
		_, _, err := v.Events([]byte("a"), nil, 2, 10, 10)
		x.want("2", err, error(ErrCompacted))
		events, next, err := v.Events([]byte("a"), nil, 3, 10, 10)
		if err != nil || len(events) != 2 || next != 5 {
			t.Errorf("3: %v, next %d, %v", events, next, err)
		}
	})
}

func TestEventsNeverSplitARevision(t *testing.T) {
	x := newFixture(t)
	if _, err := x.txn(&TxnRequest{Success: []Op{putOp("a", "1"), putOp("b", "1"), putOp("c", "1")}}); err != nil {
		t.Fatal(err)
	}
	x.put("d=1")
	x.view(func(v *View) {
		events, next, err := v.Events([]byte{0}, []byte{0}, 2, 3, 1)
		if err != nil || len(events) != 3 || next != 3 {
			t.Fatalf("%v, next %d, %v", events, next, err)
		}
		events, next, err = v.Events([]byte("x"), nil, 2, 3, 1)
		if err != nil || len(events) != 0 || next != 3 {
			t.Fatalf("what does not match counts too: %v, next %d, %v", events, next, err)
		}
	})
}

func TestPreviousValueIsNilOnceCompacted(t *testing.T) {
	x := newFixture(t)
	x.put("a=1", "a=2", "a=3") // 2, 3, 4
	prev := func(rev int64) string {
		var s string
		x.view(func(v *View) {
			kv, err := v.At([]byte("a"), rev-1)
			if err != nil {
				t.Fatal(err)
			}
			if kv != nil {
				s = keyValues([]KeyValue{*kv})
			}
		})
		return s
	}
	x.want("of 2", prev(2), "")
	x.want("of 3", prev(3), "a=1")
	if err := x.compact(3); err != nil {
		t.Fatal(err)
	}
	x.want("of 3", prev(3), "")
	x.want("of 4", prev(4), "a=2")
}

func TestErrorsHaveEtcdsTexts(t *testing.T) {
	for ours, theirs := range map[error]error{
		ErrEmptyKey: rpctypes.ErrGRPCEmptyKey, ErrKeyNotFound: rpctypes.ErrGRPCKeyNotFound,
		ErrValueProvided: rpctypes.ErrGRPCValueProvided, ErrLeaseProvided: rpctypes.ErrGRPCLeaseProvided,
		ErrTooManyOps: rpctypes.ErrGRPCTooManyOps, ErrDuplicateKey: rpctypes.ErrGRPCDuplicateKey,
		ErrInvalidSortOption: rpctypes.ErrGRPCInvalidSortOption, ErrCompacted: rpctypes.ErrGRPCCompacted,
		ErrFutureRev: rpctypes.ErrGRPCFutureRev, ErrLeaseNotFound: rpctypes.ErrGRPCLeaseNotFound,
	} {
		if text := status.Convert(theirs).Message(); ours.Error() != text {
			t.Errorf("%q, etcd says %q", ours, text)
		}
	}
}

func TestReadOnlyTxnOnAView(t *testing.T) {
	x := newFixture(t)
	x.put("a=1")
	x.view(func(v *View) {
		resp, err := v.Txn(&TxnRequest{
			Compare: []Compare{{Target: CompareValue, Key: []byte("a"), Value: []byte("2")}},
			Success: []Op{rangeOp("b")}, Failure: []Op{rangeOp("a")}})
		if err != nil || resp.Succeeded || resp.Revision != 2 || keyValues(resp.Responses[0].Range.KVs) != "a=1" {
			t.Fatalf("%+v, %v", resp, err)
		}
		_, err = v.Txn(&TxnRequest{Success: []Op{{Range: &RangeRequest{Key: []byte("a"), Revision: 3}}}})
		x.want("future", err, error(ErrFutureRev))
	})
}

func TestOtherPackagesRowsShareTheBatch(t *testing.T) {
	x := newFixture(t)
	list := func(each func(Table, []byte, []byte, func(k, v []byte) bool) error, start, end []byte) (s string) {
		if err := each(TableLease, start, end, func(k, v []byte) bool {
			s += fmt.Sprintf("%s=%s ", k, v)
			return true
		}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	x.do(func(u *Update) {
		u.SetRow(TableLease, []byte("1"), []byte("one"))
		u.SetRow(TableLease, []byte("2"), []byte("two"))
		u.SetRow(TableState, []byte("1"), []byte("other"))
		x.want("inside", list(u.EachRow, nil, nil), "1=one 2=two ")
		v, found, err := u.GetRow(TableLease, []byte("2"))
		x.want("get", fmt.Sprintf("%s %v %v", v, found, err), "two true <nil>")
	})
	u := x.store.Begin()
	u.DeleteRow(TableLease, []byte("1"))
	u.Put(&PutRequest{Key: []byte("k")})
	u.Close()
	x.want("abandoned", x.store.Revision(), int64(1))
	x.do(func(u *Update) { u.DeleteRow(TableLease, []byte("2")) })
	x.view(func(v *View) {
		x.want("after", list(v.EachRow, nil, nil), "1=one ")
		x.want("bounds", list(v.EachRow, []byte("2"), nil)+list(v.EachRow, nil, []byte("1")), "")
		_, found, _ := v.GetRow(TableLease, []byte("2"))
		x.want("deleted", found, false)
		x.want("applied", v.Applied(), id.Index(2))
	})
}

func TestAStoreOfAnotherFormatIsRefusedWithOneLine(t *testing.T) {
	e := mem.New()
	b := e.NewBatch()
	b.Set([]byte{tableStateRow}, []byte{9})
	if err := e.Commit(b); err != nil {
		t.Fatal(err)
	}
	_, err := Open(e, Options{})
	if err == nil || !strings.Contains(err.Error(), "format 9") || strings.Contains(err.Error(), "\n") {
		t.Fatal(err)
	}
}

func TestADamagedRowIsAnErrorThatStopsTheUpdate(t *testing.T) {
	x := newFixture(t)
	x.put("a=1")
	b := x.store.engine.NewBatch()
	b.Set([]byte("ma"), []byte{7})
	if err := x.store.engine.Commit(b); err != nil {
		t.Fatal(err)
	}
	var err error
	if x.store, err = Open(x.store.engine, Options{}); err != nil {
		t.Fatal(err)
	}
	u := x.store.Begin()
	if _, err := u.Put(&PutRequest{Key: []byte("a")}); err == nil || IsRequestError(err) {
		t.Fatalf("put over a damaged row: %v", err)
	}
	if _, _, err := u.Commit(9, 1); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Fatalf("commit: %v", err)
	}
	x.want("applied", x.store.state.applied, id.Index(1))
}
