package mvcc

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"sort"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// twin is the same store written for a reader: the list of all changes ever
// made, searched from the start each time.
type twin struct {
	changes  []twinChange
	revision int64
	compact  int64
	leases   map[int64]bool
	begun    int64 // revision at the start of the running request
}

type twinChange struct {
	main, sub int64
	dead      bool
	kv        KeyValue
}

func newTwin(leases map[int64]bool) *twin {
	return &twin{revision: 1, compact: -1, leases: leases}
}

// newest returns the last change of key at or before rev.
func (w *twin) newest(key []byte, rev int64) *twinChange {
	var last *twinChange
	for i := range w.changes {
		if c := &w.changes[i]; c.main <= rev && bytes.Equal(c.kv.Key, key) {
			last = c
		}
	}
	return last
}

// live returns the keys of a range that live at rev, sorted.
func (w *twin) live(key, end []byte, rev int64) []KeyValue {
	byKey := map[string]*twinChange{}
	for i := range w.changes {
		if c := &w.changes[i]; c.main <= rev {
			byKey[string(c.kv.Key)] = c
		}
	}
	var kvs []KeyValue
	for k, c := range byKey {
		in := k == string(key)
		if len(end) > 0 {
			in = k >= string(key) && (string(end) == "\x00" || k < string(end))
		}
		if in && !c.dead {
			kvs = append(kvs, c.kv)
		}
	}
	sort.Slice(kvs, func(i, j int) bool { return bytes.Compare(kvs[i].Key, kvs[j].Key) < 0 })
	return kvs
}

// now is the revision reads inside a request see.
func (w *twin) now() int64 {
	if n := len(w.changes); n > 0 && w.changes[n-1].main > w.begun {
		return w.begun + 1
	}
	return w.begun
}

func (w *twin) begin() { w.begun = w.revision }
func (w *twin) end()   { w.revision = w.now() }

func (w *twin) Range(r *RangeRequest) (*RangeResponse, error) { w.begin(); return w.rangeAt(r) }

func (w *twin) rangeAt(r *RangeRequest) (*RangeResponse, error) {
	rev := r.Revision
	if rev > w.now() {
		return nil, ErrFutureRev
	}
	if rev <= 0 {
		rev = w.now()
	}
	if rev < w.compact {
		return nil, ErrCompacted
	}
	all := w.live(r.Key, r.End, rev)
	resp := &RangeResponse{Revision: w.now(), Count: int64(len(all))}
	if r.CountOnly {
		return resp, nil
	}
	filters := r.MinModRevision != 0 || r.MaxModRevision != 0 || r.MinCreateRevision != 0 || r.MaxCreateRevision != 0
	if r.Limit > 0 && !filters && r.SortOrder == SortNone && int64(len(all)) > r.Limit+1 {
		all = all[:r.Limit+1]
	}
	var kvs []KeyValue
	for _, kv := range all {
		if r.MinModRevision != 0 && kv.ModRevision < r.MinModRevision ||
			r.MaxModRevision != 0 && kv.ModRevision > r.MaxModRevision ||
			r.MinCreateRevision != 0 && kv.CreateRevision < r.MinCreateRevision ||
			r.MaxCreateRevision != 0 && kv.CreateRevision > r.MaxCreateRevision {
			continue
		}
		kvs = append(kvs, kv)
	}
	less := map[SortTarget]func(a, b KeyValue) bool{
		SortByKey:     func(a, b KeyValue) bool { return bytes.Compare(a.Key, b.Key) < 0 },
		SortByVersion: func(a, b KeyValue) bool { return a.Version < b.Version },
		SortByCreate:  func(a, b KeyValue) bool { return a.CreateRevision < b.CreateRevision },
		SortByMod:     func(a, b KeyValue) bool { return a.ModRevision < b.ModRevision },
		SortByValue:   func(a, b KeyValue) bool { return bytes.Compare(a.Value, b.Value) < 0 },
	}[r.SortTarget]
	// Stable: up to a dozen keys the library's sort keeps equal elements too, and
	// the generator has no more.
	sort.SliceStable(kvs, func(i, j int) bool {
		if r.SortOrder == SortDescend {
			i, j = j, i
		}
		return less(kvs[i], kvs[j])
	})
	if r.Limit > 0 && int64(len(kvs)) > r.Limit {
		kvs, resp.More = kvs[:r.Limit], true
	}
	if r.KeysOnly {
		kvs = append([]KeyValue(nil), kvs...)
		for i := range kvs {
			kvs[i].Value = nil
			if r.SortTarget != SortByValue {
				kvs[i].Lease = 0
			}
		}
	}
	resp.KVs = kvs
	return resp, nil
}

func (w *twin) Put(r *PutRequest) (*PutResponse, error) {
	w.begin()
	defer w.end()
	if err := w.checkPut(r); err != nil {
		return nil, err
	}
	return w.put(r), nil
}

func (w *twin) checkPut(r *PutRequest) error {
	if r.Lease != 0 && !w.leases[r.Lease] {
		return ErrLeaseNotFound
	}
	if (r.IgnoreValue || r.IgnoreLease) && len(w.live(r.Key, nil, w.begun)) == 0 {
		return ErrKeyNotFound
	}
	return nil
}

func (w *twin) nextSub() int64 {
	if n := len(w.changes); n > 0 && w.changes[n-1].main > w.begun {
		return w.changes[n-1].sub + 1
	}
	return 0
}

func (w *twin) put(r *PutRequest) *PutResponse {
	main, sub := w.begun+1, w.nextSub()
	kv := KeyValue{Key: r.Key, Value: r.Value, Lease: r.Lease, CreateRevision: main, ModRevision: main, Version: 1}
	resp := &PutResponse{Revision: main}
	if old := w.live(r.Key, nil, w.now()); len(old) > 0 {
		kv.CreateRevision, kv.Version = old[0].CreateRevision, old[0].Version+1
		if r.IgnoreValue {
			kv.Value = old[0].Value
		}
		if r.IgnoreLease {
			kv.Lease = old[0].Lease
		}
		if r.PrevKV {
			resp.Prev = &old[0]
		}
	}
	w.changes = append(w.changes, twinChange{main: main, sub: sub, kv: kv})
	return resp
}

func (w *twin) DeleteRange(r *DeleteRangeRequest) (*DeleteRangeResponse, error) {
	w.begin()
	defer w.end()
	return w.deleteRange(r), nil
}

func (w *twin) deleteRange(r *DeleteRangeRequest) *DeleteRangeResponse {
	old := w.live(r.Key, r.End, w.now())
	resp := &DeleteRangeResponse{Deleted: int64(len(old))}
	if r.PrevKV {
		resp.Prev = old
	}
	for _, kv := range old {
		w.delete(kv.Key)
	}
	resp.Revision = w.now()
	return resp
}

func (w *twin) delete(key []byte) {
	main, sub := w.begun+1, w.nextSub()
	w.changes = append(w.changes, twinChange{main: main, sub: sub, dead: true,
		kv: KeyValue{Key: key, ModRevision: main}})
}

func (w *twin) DeleteLeased(lease int64) (int64, error) {
	w.begin()
	defer w.end()
	n := int64(0)
	for _, kv := range w.live([]byte{0}, []byte{0}, w.begun) {
		if kv.Lease == lease {
			w.delete(kv.Key)
			n++
		}
	}
	return n, nil
}

func (w *twin) holds(c *Compare) bool {
	kvs := w.live(c.Key, c.End, w.begun)
	if len(kvs) == 0 {
		if c.Target == CompareValue {
			return false
		}
		kvs = []KeyValue{{}}
	}
	for _, kv := range kvs {
		var d int64
		switch c.Target {
		case CompareValue:
			d = int64(bytes.Compare(kv.Value, c.Value))
		case CompareCreate:
			d = kv.CreateRevision - c.Number
		case CompareMod:
			d = kv.ModRevision - c.Number
		case CompareVersion:
			d = kv.Version - c.Number
		case CompareLease:
			d = kv.Lease - c.Number
		}
		ok := map[CompareResult]bool{CompareEqual: d == 0, CompareNotEqual: d != 0,
			CompareGreater: d > 0, CompareLess: d < 0}[c.Result]
		if !ok {
			return false
		}
	}
	return true
}

func (w *twin) Txn(t *TxnRequest) (*TxnResponse, error) {
	w.begin()
	defer w.end()
	// Compares come first: no write below can be seen by them.
	chosen := map[*TxnRequest]bool{}
	w.choose(t, chosen)
	if err := w.checkTxn(t, chosen); err != nil {
		return nil, err
	}
	resp := w.runTxn(t, chosen)
	resp.Revision = w.now()
	return resp, nil
}

func branchOf(t *TxnRequest, chosen map[*TxnRequest]bool) []Op {
	if chosen[t] {
		return t.Success
	}
	return t.Failure
}

func (w *twin) choose(t *TxnRequest, chosen map[*TxnRequest]bool) {
	chosen[t] = true
	for i := range t.Compare {
		chosen[t] = chosen[t] && w.holds(&t.Compare[i])
	}
	for _, op := range branchOf(t, chosen) {
		if op.Txn != nil {
			w.choose(op.Txn, chosen)
		}
	}
}

func (w *twin) checkTxn(t *TxnRequest, chosen map[*TxnRequest]bool) error {
	for _, op := range branchOf(t, chosen) {
		switch {
		case op.Range != nil && op.Range.Revision > w.begun:
			return ErrFutureRev
		case op.Range != nil && op.Range.Revision != 0 && op.Range.Revision < w.compact:
			return ErrCompacted
		case op.Put != nil:
			if err := w.checkPut(op.Put); err != nil {
				return err
			}
		case op.Txn != nil:
			if err := w.checkTxn(op.Txn, chosen); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *twin) runTxn(t *TxnRequest, chosen map[*TxnRequest]bool) *TxnResponse {
	resp := &TxnResponse{Succeeded: chosen[t]}
	for _, op := range branchOf(t, chosen) {
		var r OpResponse
		switch {
		case op.Range != nil:
			r.Range, _ = w.rangeAt(op.Range)
		case op.Put != nil:
			r.Put = w.put(op.Put)
		case op.DeleteRange != nil:
			r.DeleteRange = w.deleteRange(op.DeleteRange)
		case op.Txn != nil:
			r.Txn = w.runTxn(op.Txn, chosen)
		}
		resp.Responses = append(resp.Responses, r)
	}
	return resp
}

func (w *twin) Compact(rev int64) error {
	if rev <= w.compact {
		return ErrCompacted
	}
	if rev > w.revision {
		return ErrFutureRev
	}
	w.compact = rev
	return nil
}

// stored is what etcd has in its bucket once compaction is finished.
func (w *twin) stored() (rows []twinChange) {
	for i := range w.changes {
		c := &w.changes[i]
		if c.main > w.compact || w.newest(c.kv.Key, w.compact) == c && (!c.dead || c.main == w.compact) {
			rows = append(rows, *c)
		}
	}
	return rows
}

func (w *twin) Events(key, end []byte, from, to int64) (events []Event) {
	for _, c := range w.stored() {
		if c.main < from || c.main > to || !inRange(c.kv.Key, key, end) {
			continue
		}
		e := Event{Type: EventPut, KV: c.kv}
		if c.dead {
			e.Type = EventDelete
		}
		events = append(events, e)
	}
	return events
}

// HashKV is etcd's algorithm, step by step, with etcd's own encoder.
func (w *twin) HashKV(rev int64) uint32 {
	keep := map[[2]int64]bool{}
	for _, kv := range w.live([]byte{0}, []byte{0}, rev) {
		c := w.newest(kv.Key, rev)
		keep[[2]int64{c.main, c.sub}] = true
	}
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	h.Write([]byte("key"))
	for _, c := range w.stored() {
		if c.main > rev || c.main <= w.compact && len(keep) > 0 && !keep[[2]int64{c.main, c.sub}] {
			continue
		}
		if c.main == w.compact && c.dead {
			continue
		}
		k := make([]byte, 17, 18)
		binary.BigEndian.PutUint64(k, uint64(c.main))
		k[8] = '_'
		binary.BigEndian.PutUint64(k[9:], uint64(c.sub))
		kv := &mvccpb.KeyValue{Key: c.kv.Key}
		if c.dead {
			k = append(k, 't')
		} else {
			kv.Value, kv.Lease, kv.Version = c.kv.Value, c.kv.Lease, c.kv.Version
			kv.CreateRevision, kv.ModRevision = c.kv.CreateRevision, c.kv.ModRevision
		}
		v, err := proto.MarshalOptions{Deterministic: true}.Marshal(kv)
		if err != nil {
			panic(err)
		}
		h.Write(k)
		h.Write(v)
	}
	return h.Sum32()
}
