package mvcc

import (
	"errors"
	"fmt"
	"io"
	"math/rand"
	"reflect"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/engine"
	"github.com/quorate/quorate/kv/engine/mem"
	"github.com/quorate/quorate/kv/engine/pebble"
)

// Random requests by seed, against the store and its naive twin: every answer,
// every event, every hash, and what a snapshot of it restores to.

var generatedKeys = []string{"a", "a\x00", "a\x00\x00", "a\x00\x01", "a\x00\xff", "ab", "b", "\x00", "\xff", "c"}

type generator struct{ *rand.Rand }

func (g generator) key() []byte { return []byte(generatedKeys[g.Intn(len(generatedKeys))]) }

func (g generator) end() []byte {
	switch g.Intn(4) {
	case 0:
		return []byte{0}
	case 1:
		return g.key()
	}
	return nil
}

func (g generator) number(max int64) int64 {
	if g.Intn(2) == 0 {
		return 0
	}
	return g.Int63n(max + 1)
}

func (g generator) rangeRequest(rev int64) *RangeRequest {
	r := &RangeRequest{Key: g.key(), End: g.end(), Limit: g.number(4), KeysOnly: g.Intn(4) == 0,
		CountOnly: g.Intn(6) == 0}
	if g.Intn(2) == 0 {
		r.Revision = g.Int63n(rev+3) - 1
	}
	if g.Intn(2) == 0 {
		r.SortOrder, r.SortTarget = SortOrder(g.Intn(3)), SortTarget(g.Intn(5))
	}
	if g.Intn(4) == 0 {
		r.MinModRevision, r.MaxModRevision = g.number(rev), g.number(rev)
		r.MinCreateRevision, r.MaxCreateRevision = g.number(rev), g.number(rev)
	}
	return r
}

func (g generator) put() *PutRequest {
	r := &PutRequest{Key: g.key(), PrevKV: g.Intn(3) == 0, IgnoreValue: g.Intn(6) == 0, IgnoreLease: g.Intn(6) == 0}
	if !r.IgnoreValue {
		r.Value = []byte(fmt.Sprint("v", g.Intn(5)))[:g.Intn(3)]
	}
	if !r.IgnoreLease && g.Intn(2) == 0 {
		r.Lease = int64(g.Intn(4))
	}
	return r
}

func (g generator) deleteRange() *DeleteRangeRequest {
	return &DeleteRangeRequest{Key: g.key(), End: g.end(), PrevKV: g.Intn(2) == 0}
}

func (g generator) txn(rev int64, depth int) *TxnRequest {
	t := &TxnRequest{}
	for range g.Intn(3) {
		t.Compare = append(t.Compare, Compare{Result: CompareResult(g.Intn(4)), Target: CompareTarget(g.Intn(5)),
			Key: g.key(), End: g.end(), Number: g.number(rev), Value: []byte(fmt.Sprint("v", g.Intn(3)))})
	}
	for range g.Intn(4) {
		t.Success = append(t.Success, g.op(rev, depth))
	}
	for range g.Intn(3) {
		t.Failure = append(t.Failure, g.op(rev, depth))
	}
	return t
}

func (g generator) op(rev int64, depth int) Op {
	switch n := g.Intn(10); {
	case n < 3:
		return Op{Range: g.rangeRequest(rev)}
	case n < 6:
		return Op{Put: g.put()}
	case n < 8 || depth == 0:
		return Op{DeleteRange: g.deleteRange()}
	default:
		return Op{Txn: g.txn(rev, depth-1)}
	}
}

// twins runs one seed.
type twins struct {
	t      *testing.T
	g      generator
	engine engine.Engine
	crash  func() engine.Engine // the engine as found after a power cut
	store  *Store
	naive  *twin
	index  id.Index
	old    *View // kept open, with what it once said
	oldRow []string
}

func TestStoreAgreesWithNaiveTwin(t *testing.T) {
	for seed := range int64(60) {
		if testing.Short() && seed >= 10 {
			break
		}
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			w := &twins{t: t, engine: mem.New()}
			w.crash = func() engine.Engine { return w.engine.(*mem.Engine).Crash() }
			w.run(seed)
		})
	}
}

func TestStoreOnPebbleAgreesWithNaiveTwin(t *testing.T) {
	for seed := range int64(3) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			fs := vfs.NewCrashableMem()
			open := func(fs *vfs.MemFS) *pebble.Engine {
				e, err := pebble.Open("db", pebble.Options{FS: fs, CacheBytes: 1 << 20, MemTableBytes: 64 << 10})
				if err != nil {
					t.Fatal(err)
				}
				return e
			}
			w := &twins{t: t, engine: open(fs)}
			w.crash = func() engine.Engine {
				w.closeOld()
				fs = fs.CrashClone(vfs.CrashCloneCfg{})
				if err := w.engine.Close(); err != nil {
					t.Fatal(err)
				}
				return open(fs)
			}
			w.run(1000 + seed)
			w.closeOld()
			if err := w.engine.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func (w *twins) run(seed int64) {
	leases := map[int64]bool{1: true, 2: true}
	w.g, w.naive = generator{rand.New(rand.NewSource(seed))}, newTwin(leases)
	var err error
	w.store, err = Open(w.engine, Options{Prefix: []byte("ks"), LeaseExists: func(l int64) bool { return leases[l] }})
	if err != nil {
		w.t.Fatal(err)
	}
	for range 60 {
		w.update()
		w.maintain()
		w.checkView()
	}
}

// closeOld closes the view that was kept.
func (w *twins) closeOld() {
	if w.old != nil {
		if err := w.old.Close(); err != nil {
			w.t.Fatal(err)
		}
		w.old = nil
	}
}

// update applies a few requests as one batch.
func (w *twins) update() {
	u := w.store.Begin()
	from := len(w.naive.changes)
	for range 1 + w.g.Intn(3) {
		rev := w.naive.revision
		switch n := w.g.Intn(20); {
		case n < 8:
			r := w.g.put()
			compare(w, r, u.Put, w.naive.Put)
		case n < 11:
			r := w.g.deleteRange()
			compare(w, r, u.DeleteRange, w.naive.DeleteRange)
		case n < 13:
			r := w.g.rangeRequest(rev)
			compare(w, r, u.Range, w.naive.Range)
		case n < 18:
			r := w.g.txn(rev, 2)
			if r.Validate(DefaultTxnOpsMax) == nil {
				compare(w, r, u.Txn, w.naive.Txn)
			}
		case n < 19:
			lease := int64(1 + w.g.Intn(3))
			compare(w, lease, u.DeleteLeased, w.naive.DeleteLeased)
		default:
			at := w.g.Int63n(rev + 2)
			if got, want := u.Compact(at), w.naive.Compact(at); got != want {
				w.t.Fatalf("compact %d: %v, want %v", at, got, want)
			}
		}
		if u.Revision() != w.naive.revision {
			w.t.Fatalf("revision %d, want %d", u.Revision(), w.naive.revision)
		}
	}
	w.index++
	view, events, err := u.Commit(w.index, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	view.Close()
	var want []Event
	for _, c := range w.naive.changes[from:] {
		e := Event{Type: EventPut, KV: c.kv}
		if c.dead {
			e.Type = EventDelete
		}
		want = append(want, e)
	}
	w.equal("events of the batch", events, want)
}

func compare[R, A any](w *twins, r R, store, naive func(R) (A, error)) {
	w.t.Helper()
	got, gotErr := store(r)
	want, wantErr := naive(r)
	if gotErr != wantErr {
		w.t.Fatalf("%+v: error %v, want %v", r, gotErr, wantErr)
	}
	if gotErr == nil {
		w.equal(fmt.Sprintf("%+v", r), got, want)
	}
}

// equal compares, with nil and empty slices alike.
func (w *twins) equal(what string, got, want any) {
	w.t.Helper()
	if g, x := show(reflect.ValueOf(got)), show(reflect.ValueOf(want)); g != x {
		w.t.Fatalf("%s:\n got %s\nwant %s", what, g, x)
	}
}

// show prints a value with everything its pointers reach.
func show(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "nil"
		}
		return "&" + show(v.Elem())
	case reflect.Struct:
		s := "{"
		for i := range v.NumField() {
			s += v.Type().Field(i).Name + ":" + show(v.Field(i)) + " "
		}
		return s + "}"
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return fmt.Sprintf("%q", v.Bytes())
		}
		s := "["
		for i := range v.Len() {
			s += show(v.Index(i)) + " "
		}
		return s + "]"
	}
	return fmt.Sprint(v)
}

// maintain compacts a step, flushes a little, crashes the engine when all is
// flushed, or moves to a replica restored from a snapshot.
func (w *twins) maintain() {
	switch w.g.Intn(12) {
	case 0, 1, 2:
		if _, err := w.store.CompactStep(1 + w.g.Intn(5)); err != nil {
			w.t.Fatal(err)
		}
	case 3:
		if err := w.store.Flush(); err != nil {
			w.t.Fatal(err)
		}
		if flushed, err := w.store.Flushed(); err != nil || flushed != w.index {
			w.t.Fatalf("flushed %d, %v; want %d", flushed, err, w.index)
		}
		w.engine = w.crash()
		w.reopen(w.engine)
	case 4:
		rows := stateRows(w.t, w.store)
		// A replica that has deleted everything gives the same bytes.
		other := mem.New()
		w.restore(other, rows)
		for more := true; more; {
			var err error
			if more, err = w.store.CompactStep(100); err != nil {
				w.t.Fatal(err)
			}
		}
		w.equal("rows after finishing compaction", stateRows(w.t, w.store), rows)
		replica, err := Open(other, Options{Prefix: w.store.prefix})
		if err != nil {
			w.t.Fatal(err)
		}
		w.equal("rows of the restored replica", stateRows(w.t, replica), rows)
		// And this one goes on from a snapshot of itself.
		if err := restoreRows(w.store, rows); err != nil {
			w.t.Fatal(err)
		}
		w.reopen(w.engine)
	}
}

func (w *twins) reopen(e engine.Engine) {
	store, err := Open(e, Options{Prefix: w.store.prefix, LeaseExists: w.store.leaseExists})
	if err != nil {
		w.t.Fatal(err)
	}
	if store.state != w.store.state {
		w.t.Fatalf("state %+v after reopening, want %+v", store.state, w.store.state)
	}
	w.store = store
}

func (w *twins) restore(e engine.Engine, rows []string) {
	w.t.Helper()
	store, err := Open(e, Options{Prefix: w.store.prefix})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := restoreRows(store, rows); err != nil {
		w.t.Fatal(err)
	}
}

func restoreRows(s *Store, rows []string) error {
	return s.Restore(func() (row, value []byte, err error) {
		if len(rows) == 0 {
			return nil, nil, io.EOF
		}
		row, value = []byte(rows[0]), []byte(rows[1])
		rows = rows[2:]
		return row, value, nil
	})
}

// stateRows lists rows and values in turn.
func stateRows(t *testing.T, s *Store) (rows []string) {
	t.Helper()
	v := s.View()
	defer v.Close()
	if err := v.EachStateRow(func(row, value []byte) error {
		rows = append(rows, string(row), string(value))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return rows
}

// checkView compares reads of the newest view, and that an old view has not
// changed.
func (w *twins) checkView() {
	v := w.store.View()
	defer v.Close()
	rev, compacted := w.naive.revision, w.naive.compact
	r := w.g.rangeRequest(rev)
	compare(w, r, v.Range, w.naive.Range)

	at := max(compacted, 1) + w.g.Int63n(rev-max(compacted, 1)+1)
	hash, err := v.HashKV(at)
	if err != nil || hash != (Hash{w.naive.HashKV(at), at, compacted}) {
		w.t.Fatalf("hash at %d: %+v, %v; want %d", at, hash, err, w.naive.HashKV(at))
	}

	key, end := w.g.key(), w.g.end()
	var events []Event
	for next := at; next <= rev; {
		part, after, err := v.Events(key, end, next, rev, 1+w.g.Intn(4))
		if err != nil || after <= next {
			w.t.Fatalf("events from %d: next %d, %v", next, after, err)
		}
		events, next = append(events, part...), after
	}
	w.equal("events", events, w.naive.Events(key, end, at, rev))

	for lease := range int64(3) {
		got, err := v.LeaseKeys(lease)
		var want [][]byte
		for _, kv := range w.naive.live([]byte{0}, []byte{0}, rev) {
			if lease != 0 && kv.Lease == lease {
				want = append(want, kv.Key)
			}
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			w.t.Fatalf("keys of lease %d: %q, %v; want %q", lease, got, err, want)
		}
	}

	kv, err := v.At(key, at)
	var want *KeyValue
	if l := w.naive.live(key, nil, at); len(l) > 0 {
		want = &l[0]
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.equal("at", kv, want)

	if w.old != nil {
		w.equal("rows of an old view", viewRows(w.t, w.old), w.oldRow)
	}
	if w.old == nil || w.g.Intn(10) == 0 {
		w.closeOld()
		w.old = w.store.View()
		w.oldRow = viewRows(w.t, w.old)
	}
}

func viewRows(t *testing.T, v *View) (rows []string) {
	t.Helper()
	if err := v.EachStateRow(func(row, value []byte) error {
		rows = append(rows, string(row), string(value))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestRestoreKeepsTheOldContentWhenItsSourceFails(t *testing.T) {
	e := mem.New()
	s, _ := Open(e, Options{})
	u := s.Begin()
	if _, err := u.Put(&PutRequest{Key: []byte("k"), Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	v, _, err := u.Commit(7, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	before := stateRows(t, s)
	broken := errors.New("the stream ended early")
	n := 0
	err = s.Restore(func() (row, value []byte, err error) {
		if n++; n == 2 {
			return nil, nil, broken
		}
		return []byte("Kx"), []byte("y"), nil
	})
	if !errors.Is(err, broken) || !reflect.DeepEqual(stateRows(t, s), before) {
		t.Fatalf("restore: %v; rows %q", err, stateRows(t, s))
	}
	if applied, term := s.Applied(); applied != 7 || term != 2 {
		t.Fatalf("applied %d term %d", applied, term)
	}
}
