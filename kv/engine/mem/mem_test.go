package mem

import (
	"bytes"
	"fmt"
	"math/rand"
	"sort"
	"strings"
	"testing"

	"github.com/quorate/quorate/kv/engine"
)

// Everything the interface promises is also held against Pebble, in
// engine/pebble. Here is what only this engine has.

func commit(t *testing.T, e *Engine, write func(b engine.Batch)) {
	t.Helper()
	b := e.NewBatch()
	write(b)
	if err := e.Commit(b); err != nil {
		t.Fatal(err)
	}
}

func content(r engine.Reader) string {
	var s []string
	it := r.Iterate(engine.Span{})
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		s = append(s, fmt.Sprintf("%s=%s", it.Key(), it.Value()))
	}
	return strings.Join(s, " ")
}

func TestCrashReturnsToWhatWasFlushed(t *testing.T) {
	e := New()
	for i := range 4 {
		commit(t, e, func(b engine.Batch) {
			b.Set([]byte("n"), []byte{byte('0' + i)})
			b.Set([]byte{byte('a' + i)}, nil)
		})
	}
	e.FlushBut(2)
	if v, found, _ := e.GetDurable([]byte("n")); !found || string(v) != "1" {
		t.Fatalf("durable %q %v", v, found)
	}
	after := e.Crash()
	if got := content(after.Snapshot()); got != "a= b= n=1" {
		t.Fatalf("after the crash: %s", got)
	}
	if err := e.Flush(); err != engine.ErrClosed {
		t.Fatalf("the dead engine: %v", err)
	}
	if err := after.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := content(after.Crash().Snapshot()); got != "a= b= n=1" {
		t.Fatalf("after another crash: %s", got)
	}
}

func TestUnflushedContentsAreBounded(t *testing.T) {
	e := New()
	for i := range unflushedMax + 5 {
		commit(t, e, func(b engine.Batch) { b.Set([]byte("n"), fmt.Append(nil, i)) })
	}
	if v, _, _ := e.GetDurable([]byte("n")); string(v) != "4" {
		t.Fatalf("durable %q", v)
	}
}

func TestSnapshotsAndIteratorsStandStill(t *testing.T) {
	e := New()
	commit(t, e, func(b engine.Batch) { b.Set([]byte("a"), []byte("1")); b.Set([]byte("c"), []byte("1")) })
	snap := e.Snapshot()
	commit(t, e, func(b engine.Batch) {
		b.Set([]byte("b"), []byte("2"))
		it := b.Iterate(engine.Span{})
		b.Set([]byte("a"), []byte("2"))
		b.Delete([]byte("c"))
		var seen string
		for ok := it.First(); ok; ok = it.Next() {
			seen += string(it.Key()) + string(it.Value())
		}
		if seen != "a1b2c1" {
			t.Errorf("an iterator in the batch saw %s", seen)
		}
	})
	if got := content(snap); got != "a=1 c=1" {
		t.Errorf("the snapshot: %s", got)
	}
	if got := content(e.Snapshot()); got != "a=2 b=2" {
		t.Errorf("now: %s", got)
	}
}

// shape prints the tree itself.
func shape(n *node) string {
	if n == nil {
		return "."
	}
	return fmt.Sprintf("(%s %s %s)", shape(n.left), n.key, shape(n.right))
}

func depth(n *node) int {
	if n == nil {
		return 0
	}
	return 1 + max(depth(n.left), depth(n.right))
}

func TestTreeHasOneShapePerContentAndStaysShallow(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	model := map[string]bool{}
	var root *node
	e := new(edit)
	for i := range 20000 {
		key := fmt.Appendf(nil, "%05d", rng.Intn(8000))
		if rng.Intn(4) == 0 {
			root = e.remove(root, key)
			delete(model, string(key))
		} else {
			root = e.set(root, key, nil)
			model[string(key)] = true
		}
		if i%100 == 0 {
			e = new(edit)
		}
	}
	var keys []string
	for k := range model {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var rebuilt *node
	for _, k := range keys {
		rebuilt = e.set(rebuilt, []byte(k), nil)
	}
	if shape(root) != shape(rebuilt) {
		t.Error("the same keys gave two trees")
	}
	if d := depth(root); d > 40 {
		t.Errorf("%d keys are %d deep", len(keys), d)
	}
}

func TestReplaceRefusesRowsOutOfOrderOrOutside(t *testing.T) {
	for _, rows := range [][]string{{"b", "a"}, {"a", "a"}, {"z"}} {
		e := New()
		commit(t, e, func(b engine.Batch) { b.Set([]byte("a"), []byte("old")) })
		left := rows
		err := e.Replace(engine.Span{Lower: []byte("a"), Upper: []byte("x")}, func() (k, v []byte, err error) {
			k, left = []byte(left[0]), left[1:]
			return k, nil, nil
		})
		if err == nil || content(e.Snapshot()) != "a=old" {
			t.Errorf("%q: %v; content %s", rows, err, content(e.Snapshot()))
		}
		commit(t, e, func(engine.Batch) {}) // and it can go on
	}
}

func TestPrefixEnd(t *testing.T) {
	for in, want := range map[string][]byte{"a": []byte("b"), "a\xff": []byte("b"), "\xff\xff": nil, "": nil} {
		if got := engine.PrefixEnd([]byte(in)); !bytes.Equal(got, want) {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func BenchmarkSet(b *testing.B) {
	e := New()
	keys := make([][]byte, 100_000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "%08x", uint32(i)*2654435761)
	}
	batch := e.NewBatch()
	for i := 0; b.Loop(); i++ {
		if i%64 == 63 {
			e.Commit(batch)
			batch = e.NewBatch()
		}
		batch.Set(keys[i%len(keys)], nil)
	}
}
