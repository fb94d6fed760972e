package mvcc

import (
	"fmt"
	"testing"
)

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

func TestRule8_TheLaterPartsOfARangeNeedNoCount(t *testing.T) {
	x := newFixture(t)
	x.put("a=1", "b=2", "c=3", "d=4")
	r := all()
	r.Limit, r.SkipCount = 2, true
	x.want("a part", x.read(r), "a=1 b=2 of 0 more")
	r.Key = []byte("b\x00")
	x.want("the last part", x.read(r), "c=3 d=4 of 0")
}
