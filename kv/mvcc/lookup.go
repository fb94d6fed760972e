package mvcc

import (
	"bytes"

	"github.com/quorate/quorate/kv/engine"
)

// The lookup of a key's newest version is the largest part of a put: for a new
// key the engine asks every memtable and every level's filter to find nothing.
// Two things in memory spare most of it. Neither changes an answer.
//
//   - keyFilter: a Bloom filter over the keys in m, about 1.3 bytes a key, at
//     most twice that: "not in it" is certain. It is filled by puts and, after a
//     start, by a walk of m that advances with the puts, so opening a store of a
//     million keys costs nothing; until the walk is through it is not asked.
//   - memo: the last answer. A transaction that compares a key and then puts it
//     looks it up once.
//
// What it is worth: decision 0002, BenchmarkStorePutNew.

const (
	filterKeysMin = 1 << 15 // of the first part; each further part is twice as large
	filterBits    = 10      // per key: about one false alarm in a hundred
	filterProbes  = 6
	// walkRowsPerChange is how far the walk advances with each change.
	walkRowsPerChange = 8
)

// filterPart is a Bloom filter in blocks of one cache line.
type filterPart struct {
	blocks    [][8]uint64
	room, has int
}

func newFilterPart(room int) *filterPart {
	return &filterPart{blocks: make([][8]uint64, (room*filterBits+511)/512), room: room}
}

func (f *filterPart) block(h uint64) *[8]uint64 {
	return &f.blocks[(h>>32)*uint64(len(f.blocks))>>32]
}

func (f *filterPart) add(h uint64) {
	b := f.block(h)
	for x, i := h*0x9e3779b97f4a7c15, 0; i < filterProbes; i++ {
		b[x>>6&7] |= 1 << (x & 63)
		x >>= 9
	}
	f.has++
}

func (f *filterPart) mayHave(h uint64) bool {
	b := f.block(h)
	for x, i := h*0x9e3779b97f4a7c15, 0; i < filterProbes; i++ {
		if b[x>>6&7]&(1<<(x&63)) == 0 {
			return false
		}
		x >>= 9
	}
	return true
}

// keyFilter grows by parts: a key is in one of them.
type keyFilter struct{ parts []*filterPart }

func (f *keyFilter) add(h uint64) {
	if f.mayHave(h) {
		return
	}
	n := len(f.parts)
	if n == 0 || f.parts[n-1].has == f.parts[n-1].room {
		f.parts = append(f.parts, newFilterPart(filterKeysMin<<n))
		n++
	}
	f.parts[n-1].add(h)
}

func (f *keyFilter) mayHave(h uint64) bool {
	for i := len(f.parts) - 1; i >= 0; i-- {
		if f.parts[i].mayHave(h) {
			return true
		}
	}
	return false
}

func (f *keyFilter) keys() (n int) {
	for _, p := range f.parts {
		n += p.has
	}
	return n
}

// hashKey is FNV-1a, mixed. Somebody who makes keys collide makes his own puts
// as slow as without a filter.
func hashKey(key []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range key {
		h = (h ^ uint64(b)) * 1099511628211
	}
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}

// lookups belongs to the Store and is used by its Updates; Views go without.
type lookups struct {
	filter   keyFilter
	complete bool // every key in m is in filter

	walking bool
	next    keyFilter // being filled; becomes filter when the walk is through
	from    []byte    // the m key where the walk goes on
	dropped int       // m rows that compaction deleted since the last walk began

	memoKey   []byte
	memoMeta  meta
	memoFound bool
	memoValid bool
}

// start begins a walk. Meanwhile a complete filter stays in use.
func (l *lookups) start() {
	l.walking, l.next, l.from, l.dropped = true, keyFilter{}, nil, 0
}

// absent reports that key has certainly no m row.
func (l *lookups) absent(key []byte) bool {
	return l.complete && !l.filter.mayHave(hashKey(key))
}

// wrote takes note of a key's new m row.
func (l *lookups) wrote(key []byte, m *meta) {
	h := hashKey(key)
	if l.complete {
		l.filter.add(h)
	}
	if l.walking {
		l.next.add(h)
	}
	l.remember(key, *m, true)
}

func (l *lookups) remember(key []byte, m meta, found bool) {
	l.memoKey = append(l.memoKey[:0], key...)
	l.memoMeta, l.memoFound, l.memoValid = m, found, true
}

func (l *lookups) recall(key []byte) (m meta, found, known bool) {
	if l.memoValid && bytes.Equal(l.memoKey, key) {
		return l.memoMeta, l.memoFound, true
	}
	return meta{}, false, false
}

// forget is for what changes m rows beside write: an abandoned Update, a
// compaction.
func (l *lookups) forget() { l.memoValid = false }

// droppedRow counts towards walking again: keys that come and go for ever must
// not fill the filter for ever.
func (l *lookups) droppedRow() {
	l.dropped++
	if l.complete && !l.walking && l.dropped > filterKeysMin/2 && l.dropped > l.filter.keys()/2 {
		l.start()
	}
}

// advanceWalk looks at up to rows more rows of m.
func (s *Store) advanceWalk(rows int) error {
	l := &s.lookups
	if !l.walking {
		return nil
	}
	snap := s.engine.Snapshot()
	defer snap.Close()
	r := reader{rows: snap, prefix: s.prefix}
	it := snap.Iterate(engine.Span{Lower: appendMetaKey(nil, s.prefix, l.from), Upper: r.table(tableMeta).Upper})
	ok := it.First()
	for ; ok && rows > 0; ok = it.Next() {
		l.next.add(hashKey(it.Key()[len(s.prefix)+1:]))
		rows--
	}
	if ok {
		l.from = bytes.Clone(it.Key()[len(s.prefix)+1:])
		return it.Close()
	}
	if err := it.Close(); err != nil {
		return err
	}
	l.filter, l.complete, l.walking, l.next = l.next, true, false, keyFilter{}
	return nil
}
