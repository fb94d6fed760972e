package mvcc

import (
	"fmt"
	"testing"
)

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
