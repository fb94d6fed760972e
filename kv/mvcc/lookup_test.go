package mvcc

import (
	"fmt"
	"testing"

	"github.com/quorate/quorate/kv/engine/mem"
)

// walkAll finishes the walk.
func walkAll(t *testing.T, s *Store) {
	t.Helper()
	for s.lookups.walking {
		if err := s.advanceWalk(1000); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFilterKnowsEveryKeyAndFewOthers(t *testing.T) {
	var f keyFilter
	const n = 100_000
	for i := range n {
		f.add(hashKey(fmt.Append(nil, "key", i)))
	}
	for i := range n {
		if !f.mayHave(hashKey(fmt.Append(nil, "key", i))) {
			t.Fatalf("key %d is missing", i)
		}
	}
	alarms := 0
	for i := range n {
		if f.mayHave(hashKey(fmt.Append(nil, "other", i))) {
			alarms++
		}
	}
	if alarms > n*5/100 {
		t.Errorf("%d false alarms in %d", alarms, n)
	}
	bytes := 0
	for _, p := range f.parts {
		bytes += len(p.blocks) * 64
	}
	if bytes > n*3 {
		t.Errorf("%d bytes for %d keys", bytes, n)
	}
}

func TestFilterIsNotAskedBeforeItsWalkAfterAStartIsThrough(t *testing.T) {
	x := newFixture(t)
	for i := range 50 {
		x.put(fmt.Sprintf("k%02d=1", i))
	}
	reopened, err := Open(x.store.engine, Options{})
	if err != nil {
		t.Fatal(err)
	}
	x.store = reopened
	if x.store.lookups.complete || x.store.lookups.absent([]byte("k07")) {
		t.Fatal("a filter that knows nothing was asked")
	}
	x.put("k00=2")    // advances the walk by a few rows
	x.put("behind=1") // the walk has passed its place
	if x.store.lookups.complete {
		t.Fatal("two puts have walked everything")
	}
	for i := range 50 {
		x.put(fmt.Sprintf("k%02d=3", i), fmt.Sprintf("new%02d=1", i))
	}
	if !x.store.lookups.complete {
		t.Fatal("the walk does not come to its end")
	}
	x.want("content", x.read(RangeRequest{Key: []byte("k"), End: []byte("l"), CountOnly: true}), " of 50")
	x.view(func(v *View) {
		kv, err := v.At([]byte("k07"), v.Revision())
		if err != nil || kv.Version != 2 {
			t.Fatalf("%+v, %v", kv, err)
		}
	})
	if x.store.lookups.absent([]byte("behind")) || x.store.lookups.absent([]byte("k49")) || !x.store.lookups.absent([]byte("never")) {
		t.Fatal("the filter does not know what was walked, or knows nothing")
	}
}

func TestKeysThatComeAndGoDoNotFillTheFilterForEver(t *testing.T) {
	s, err := Open(mem.New(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	x := &fixture{T: t, store: s}
	most := 0
	const keys = filterKeysMin/2 + 100
	for round := range 2 {
		x.do(func(u *Update) {
			for i := range keys {
				u.Put(&PutRequest{Key: fmt.Append(nil, round, "/", i)})
			}
		})
		x.do(func(u *Update) { u.DeleteRange(&DeleteRangeRequest{Key: []byte{0}, End: []byte{0}}) })
		x.put("stays=1")
		if err := x.compact(x.store.Revision()); err != nil {
			t.Fatal(err)
		}
		for more := true; more; {
			if more, err = s.CompactStep(10_000); err != nil {
				t.Fatal(err)
			}
		}
		walkAll(t, s)
		most = max(most, s.lookups.filter.keys())
	}
	if most > keys {
		t.Errorf("%d keys in the filter after a walk, few live", most)
	}
	if s.lookups.absent([]byte("stays")) {
		t.Error("the living key is missing")
	}
}

func TestAnAbandonedUpdateLeavesNoMemory(t *testing.T) {
	x := newFixture(t)
	x.put("a=1")
	u := x.store.Begin()
	u.Put(&PutRequest{Key: []byte("a"), Value: []byte("abandoned")})
	u.Close()
	x.put("a=2")
	x.view(func(v *View) {
		kv, err := v.At([]byte("a"), 3)
		if err != nil || kv.Version != 2 {
			t.Fatalf("%+v, %v", kv, err)
		}
	})
}
