package mvcc

import (
	"fmt"
	"testing"
)

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
		{"etcd's hole: its own first key too", []Op{deleteOp("a", "\x00"), putOp("a", "1")}, nil},
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

// etcd 3.7 panics here, on every member.
func TestIgnoringTheValueOfAKeyThatTheTransactionItselfDeleted(t *testing.T) {
	x := newFixture(t)
	x.do(func(u *Update) { u.Put(&PutRequest{Key: []byte("b"), Value: []byte("v"), Lease: 5}) })
	resp, err := x.txn(&TxnRequest{Success: []Op{deleteOp("a", "\x00"),
		{Put: &PutRequest{Key: []byte("b"), IgnoreValue: true, IgnoreLease: true, PrevKV: true}}}})
	if err != nil || resp.Responses[1].Put.Prev != nil {
		t.Fatalf("%+v, %v", resp, err)
	}
	x.view(func(v *View) {
		kv, err := v.At([]byte("b"), 3)
		if err != nil || kv.Version != 1 || len(kv.Value) != 0 || kv.Lease != 0 {
			t.Fatalf("%+v, %v", kv, err)
		}
	})
}
