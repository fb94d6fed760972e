package mvcc

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "rewrite golden files; read the difference before accepting it")

// Format 1, byte for byte: what docs/format/store.md says, as rows.
func TestRowsOfFormat1AreGolden(t *testing.T) {
	x := newFixture(t)
	x.do(func(u *Update) {
		u.Put(&PutRequest{Key: []byte("a"), Value: []byte("one"), Lease: 5})
		u.Put(&PutRequest{Key: []byte("a\x00b"), Value: []byte("zero inside")})
		u.SetRow(TableLease, []byte{5}, []byte("row of kv/lease"))
	})
	x.put("a=two")
	if _, err := x.txn(&TxnRequest{Success: []Op{putOp("b", ""), deleteOp("a", "")}}); err != nil {
		t.Fatal(err)
	}
	if err := x.compact(4); err != nil {
		t.Fatal(err)
	}
	if _, err := x.store.CompactStep(1); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("# format 1: row key, row value; a letter is the table (docs/format/store.md)\n")
	snap := x.store.engine.Snapshot()
	it := snap.Iterate(x.store.wholeSpan())
	for ok := it.First(); ok; ok = it.Next() {
		fmt.Fprintf(&b, "%c %s = %s\n", it.Key()[0], hex.EncodeToString(it.Key()[1:]), hex.EncodeToString(it.Value()))
	}
	const file = "testdata/rows_v1.golden"
	if *rewrite {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("rows changed; is this a new format? go test ./kv/mvcc -run Golden -rewrite\ngot:\n%s", b.String())
	}
}

func TestVersionKeysKeepTheOrderOfKeysAndPutTheNewestFirst(t *testing.T) {
	keys := []string{"", "\x00", "\x00\x00", "\x00\x01", "\x00\xff", "\x01", "a", "a\x00", "a\x00\x00", "a\x00\x01", "a\x00\xff", "a\x01", "ab", "a\xff", "b", "\xff", "\xff\xff"}
	revs := []revision{{1<<62 + 1, 0}, {300, 1}, {300, 0}, {2, 70000}, {2, 255}, {2, 0}, {1, 0}}
	var rows []string
	for _, key := range keys {
		for _, r := range revs {
			rows = append(rows, string(appendVersionKey(nil, []byte("p"), []byte(key), r)))
		}
	}
	if !sort.StringsAreSorted(rows) {
		t.Error("rows are out of order")
	}
	for i, row := range rows {
		start := appendVersionStart(nil, []byte("p"), []byte(keys[i/len(revs)]))
		if !bytes.HasPrefix([]byte(row), start) {
			t.Fatalf("%x does not begin with %x", row, start)
		}
		if r, err := decodeVersionSuffix([]byte(row)[len(start):]); err != nil || r != revs[i%len(revs)] {
			t.Fatalf("%x: %v, %v", row, r, err)
		}
		at := string(appendVersionAt(nil, []byte("p"), []byte(keys[i/len(revs)]), revs[i%len(revs)].main))
		if at > row {
			t.Fatalf("a seek to revision %d passes %x", revs[i%len(revs)].main, row)
		}
	}
}

// Whatever bytes a damaged disk hands us: an error or numbers in range, never a
// panic; and what decodes encodes to itself where the encoding is unique.
func FuzzRowDecoders(f *testing.F) {
	m := meta{rev: revision{300, 2}, create: 7, version: 3, lease: -5}
	f.Add(appendMetaValue(nil, &m))
	f.Add(appendVersionValue(nil, &m, []byte("value")))
	f.Add(appendEventValue(nil, true, revision{3, 1}, []byte("key")))
	f.Add((&state{applied: 9, term: 2, revision: 4, compact: -1}).append(nil))
	f.Add((&progress{done: -1, target: 8, next: revision{3, 1}}).append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decodeMeta(b); err == nil {
			again, err := decodeMeta(appendMetaValue(nil, &m))
			if err != nil || again != m {
				t.Fatalf("meta %+v, %+v, %v", m, again, err)
			}
		}
		if m, value, err := decodeVersion(b, revision{1, 0}); err == nil {
			again, v, err := decodeVersion(appendVersionValue(nil, &m, value), revision{1, 0})
			if err != nil || again != m || !bytes.Equal(v, value) {
				t.Fatalf("version %+v, %+v, %v", m, again, err)
			}
		}
		suffix := make([]byte, 12)
		if c, err := decodeEvent(suffix, b); err == nil {
			again, err := decodeEvent(suffix, appendEventValue(nil, c.dead, c.replaced, c.key))
			if err != nil || again.replaced != c.replaced || !bytes.Equal(again.key, c.key) {
				t.Fatalf("event %+v, %+v, %v", c, again, err)
			}
		}
		if s, err := decodeState(b); err == nil {
			if again, err := decodeState(s.append(nil)); err != nil || again != s {
				t.Fatalf("state %+v, %+v, %v", s, again, err)
			}
		}
		_, _ = decodeEvent(b, b)
		_, _ = decodeVersionSuffix(b)
	})
}
