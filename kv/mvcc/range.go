package mvcc

import (
	"bytes"
	"cmp"
	"math"
	"slices"
)

// rangeKeys answers a range at a content whose current revision is current.
//
// etcd reads up to limit+1 keys in key order, filters, sorts, and cuts to the
// limit; filters and an explicit order lift the first limit, a bare sort target
// does not (so it sorts among the first limit+1 keys). All of this is visible.
func (r *reader) rangeKeys(q *RangeRequest, current int64) (*RangeResponse, error) {
	rev, err := r.readable(q.Revision, current)
	if err != nil {
		return nil, err
	}
	resp := &RangeResponse{Revision: current}
	fetchMax := q.fetchMax()
	withValues := !q.KeysOnly || q.SortTarget == SortByValue
	var store arena
	take := func(c *cursor) (more bool, err error) {
		v, err := c.version()
		if err != nil {
			return false, err
		}
		if !q.admits(v) {
			return true, nil
		}
		if withValues {
			if err := c.load(); err != nil {
				return false, err
			}
		}
		resp.KVs = append(resp.KVs, store.keyValue(c, v, withValues))
		return int64(len(resp.KVs)) < fetchMax, nil
	}
	switch {
	case q.CountOnly:
		resp.Count, err = r.scanAndCount(q.Key, q.End, rev, nil)
	case q.SkipCount:
		err = r.scan(q.Key, q.End, rev, take)
	default:
		resp.Count, err = r.scanAndCount(q.Key, q.End, rev, take)
	}
	if err != nil {
		return nil, err
	}
	q.sort(resp.KVs)
	if q.Limit > 0 && int64(len(resp.KVs)) > q.Limit {
		resp.KVs = resp.KVs[:q.Limit]
		resp.More = true
	}
	if q.KeysOnly {
		for i := range resp.KVs {
			resp.KVs[i].Value = nil
		}
	}
	return resp, nil
}

// fetchMax is how many keys are read before sorting.
func (q *RangeRequest) fetchMax() int64 {
	filtered := q.MinModRevision != 0 || q.MaxModRevision != 0 ||
		q.MinCreateRevision != 0 || q.MaxCreateRevision != 0
	keyOrder := q.SortTarget == SortByKey && q.SortOrder == SortAscend
	if q.Limit <= 0 || q.Limit == math.MaxInt64 || filtered || q.SortOrder != SortNone && !keyOrder {
		return math.MaxInt64
	}
	return q.Limit + 1
}

func (q *RangeRequest) admits(m *meta) bool {
	return (q.MaxModRevision == 0 || m.rev.main <= q.MaxModRevision) &&
		(q.MinModRevision == 0 || m.rev.main >= q.MinModRevision) &&
		(q.MaxCreateRevision == 0 || m.create <= q.MaxCreateRevision) &&
		(q.MinCreateRevision == 0 || m.create >= q.MinCreateRevision)
}

// sort orders what came in key order. Equal elements may change places: the same
// library sort as etcd's makes it the same places.
func (q *RangeRequest) sort(kvs []KeyValue) {
	order := q.SortOrder
	if order == SortNone {
		order = SortAscend
	}
	var compare func(a, b KeyValue) int
	switch q.SortTarget {
	case SortByKey:
		if order == SortDescend {
			slices.Reverse(kvs)
		}
		return
	case SortByVersion:
		compare = func(a, b KeyValue) int { return cmp.Compare(a.Version, b.Version) }
	case SortByCreate:
		compare = func(a, b KeyValue) int { return cmp.Compare(a.CreateRevision, b.CreateRevision) }
	case SortByMod:
		compare = func(a, b KeyValue) int { return cmp.Compare(a.ModRevision, b.ModRevision) }
	case SortByValue:
		compare = func(a, b KeyValue) int { return bytes.Compare(a.Value, b.Value) }
	}
	if order == SortDescend {
		ascending := compare
		compare = func(a, b KeyValue) int { return ascending(b, a) }
	}
	slices.SortFunc(kvs, compare)
}

// arena gives out copies from large pieces: an answer of a thousand keys costs a
// few allocations instead of two thousand. A piece lives as long as any of it.
type arena struct {
	free []byte
	size int // of the last piece; the next is twice as large
}

// Most answers are one key, so the first piece is small.
const (
	arenaPieceBytesMin = 512
	arenaPieceBytesMax = 32 << 10
)

func (a *arena) copy(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	if len(b) > cap(a.free)-len(a.free) {
		a.size = min(max(2*a.size, arenaPieceBytesMin), arenaPieceBytesMax)
		if len(b) > a.size/2 {
			return bytes.Clone(b)
		}
		a.free = make([]byte, 0, a.size)
	}
	start := len(a.free)
	a.free = append(a.free, b...)
	return a.free[start:len(a.free):len(a.free)]
}

func (a *arena) keyValue(c *cursor, m *meta, withValue bool) KeyValue {
	kv := KeyValue{Key: a.copy(c.key)}
	m.fill(&kv)
	if withValue {
		kv.Value = a.copy(c.value)
	} else {
		kv.Lease = 0 // as etcd 3.7, which answers keys_only from its index
	}
	return kv
}
