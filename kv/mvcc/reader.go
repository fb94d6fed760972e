package mvcc

import (
	"bytes"

	"github.com/quorate/quorate/kv/engine"
)

// reader reads the keys of one consistent content: a View's snapshot or an
// Update's batch. A View's has no state of its own, so that it can be shared.
type reader struct {
	rows    engine.Reader
	prefix  []byte
	compact int64
	lookups *lookups // of the Store, for an Update; else nil
}

// readable turns a requested revision into the one to read, as etcd does: ≤ 0 is
// the current one, and the compacted one itself is still readable.
func (r *reader) readable(rev, current int64) (int64, error) {
	switch {
	case rev > current:
		return 0, ErrFutureRev
	case rev <= 0:
		rev = current
	}
	if rev < r.compact {
		return 0, ErrCompacted
	}
	return rev, nil
}

// getMeta returns the newest version of a key, dead or alive.
func (r *reader) getMeta(key, scratch []byte) (m meta, found bool, err error) {
	if r.lookups == nil {
		return r.fetchMeta(key, scratch)
	}
	if m, found, known := r.lookups.recall(key); known {
		return m, found, nil
	}
	if !r.lookups.absent(key) {
		if m, found, err = r.fetchMeta(key, scratch); err != nil {
			return meta{}, false, err
		}
	}
	r.lookups.remember(key, m, found)
	return m, found, nil
}

func (r *reader) fetchMeta(key, scratch []byte) (m meta, found bool, err error) {
	b, found, err := r.rows.Get(appendMetaKey(scratch, r.prefix, key), nil)
	if err != nil || !found {
		return meta{}, false, err
	}
	m, err = decodeMeta(b)
	return m, err == nil, err
}

// metaSpan is the m rows of a range: end empty is one key, "\x00" is no end.
func (r *reader) metaSpan(key, end []byte) engine.Span {
	span := engine.Span{Lower: appendMetaKey(nil, r.prefix, key)}
	if isFromKey(end) {
		span.Upper = append(append([]byte{}, r.prefix...), tableMeta+1)
	} else {
		span.Upper = appendMetaKey(nil, r.prefix, end)
	}
	return span
}

func isFromKey(end []byte) bool { return len(end) == 1 && end[0] == 0 }

// inRange reports whether k is in the range of key and end.
func inRange(k, key, end []byte) bool {
	switch {
	case len(end) == 0:
		return bytes.Equal(k, key)
	case isFromKey(end):
		return bytes.Compare(k, key) >= 0
	}
	return bytes.Compare(k, key) >= 0 && bytes.Compare(k, end) < 0
}

// cursor stands on a key that lives at the revision of a scan. Its slices are
// valid until the scan goes on.
type cursor struct {
	r        *reader
	rev      int64
	single   bool
	key      []byte
	m        meta // exact once settled, else the key's newest version
	settled  bool
	loaded   bool
	value    []byte
	versions engine.Iterator // opened when first needed
	scratch  []byte
}

// scan calls f for each key of the range that lives at rev, in order, until f
// returns false.
func (r *reader) scan(key, end []byte, rev int64, f func(c *cursor) (more bool, err error)) error {
	_, err := r.walk(key, end, rev, f, false)
	return err
}

// scanAndCount is scan, and counts all keys that live at rev: those after f
// returned false too. A nil f only counts.
func (r *reader) scanAndCount(key, end []byte, rev int64, f func(c *cursor) (more bool, err error)) (int64, error) {
	return r.walk(key, end, rev, f, true)
}

func (r *reader) walk(key, end []byte, rev int64, f func(c *cursor) (bool, error), count bool) (n int64, err error) {
	c := &cursor{r: r, rev: rev, single: len(end) == 0}
	defer func() {
		if c.versions != nil {
			if cerr := c.versions.Close(); err == nil {
				err = cerr
			}
		}
	}()
	if c.single {
		m, found, err := r.getMeta(key, nil)
		if err != nil || !found {
			return 0, err
		}
		if alive, err := c.stand(key, m); err != nil || !alive {
			return 0, err
		}
		if f != nil {
			_, err = f(c)
		}
		return 1, err
	}
	span := r.metaSpan(key, end)
	skip := len(r.prefix) + 1
	rows := r.rows.Iterate(span)
	defer func() {
		if cerr := rows.Close(); err == nil {
			err = cerr
		}
	}()
	counting := f == nil
	for ok := rows.First(); ok; ok = rows.Next() {
		if counting {
			if alive, known := metaLives(rows.Value(), rev); known {
				if alive {
					n++
				}
				continue
			}
		}
		m, err := decodeMeta(rows.Value())
		if err != nil {
			return n, err
		}
		alive, err := c.stand(rows.Key()[skip:], m)
		if err != nil {
			return n, err
		}
		if !alive {
			continue
		}
		n++
		if counting {
			continue
		}
		more, err := f(c)
		if err != nil || !more && !count {
			return n, err
		}
		counting = !more
	}
	return n, nil
}

// stand moves the cursor to a key with its newest version and reports whether
// the key lives at the cursor's revision. Only a key that was created or deleted
// since costs a lookup of its older versions.
func (c *cursor) stand(key []byte, newest meta) (alive bool, err error) {
	c.key, c.m, c.loaded, c.value = key, newest, false, nil
	c.settled = newest.rev.main <= c.rev
	switch {
	case c.settled:
		return !newest.dead, nil
	case !newest.dead && newest.create <= c.rev:
		return true, nil // an older version of the same generation
	}
	found, err := c.loadOlder()
	return found && !c.m.dead, err
}

// version returns the numbers of the version at the cursor's revision.
func (c *cursor) version() (*meta, error) {
	if !c.settled {
		if err := c.load(); err != nil {
			return nil, err
		}
	}
	return &c.m, nil
}

// load fetches the value, and settles the numbers.
func (c *cursor) load() error {
	if c.loaded {
		return nil
	}
	if !c.settled {
		found, err := c.loadOlder()
		if err == nil && !found {
			err = corrupt("m", c.key)
		}
		return err
	}
	want := appendVersionKey(c.scratch, c.r.prefix, c.key, c.m.rev)
	c.scratch = want
	var row []byte
	if c.single {
		b, found, err := c.r.rows.Get(want, nil)
		if err != nil {
			return err
		}
		if !found {
			return corrupt("m", c.key)
		}
		row = b
	} else {
		it := c.iterator()
		if !it.SeekGE(want) || !bytes.Equal(it.Key(), want) {
			if err := it.Err(); err != nil {
				return err
			}
			return corrupt("m", c.key)
		}
		row = it.Value()
	}
	_, value, err := decodeVersion(row, c.m.rev)
	c.value, c.loaded = value, true
	return err
}

// loadOlder looks for the newest version ≤ rev of the key, value included.
func (c *cursor) loadOlder() (found bool, err error) {
	want := appendVersionAt(c.scratch, c.r.prefix, c.key, c.rev)
	c.scratch = want
	it := c.iterator()
	start := want[:len(want)-8]
	if !it.SeekGE(want) || !bytes.HasPrefix(it.Key(), start) {
		return false, it.Err()
	}
	rev, err := decodeVersionSuffix(it.Key()[len(start):])
	if err != nil {
		return false, err
	}
	c.m, c.value, err = decodeVersion(it.Value(), rev)
	c.settled, c.loaded = true, true
	return err == nil, err
}

func (c *cursor) iterator() engine.Iterator {
	if c.versions == nil {
		c.versions = c.r.rows.Iterate(c.r.table(tableVersion))
	}
	return c.versions
}

func (r *reader) table(t byte) engine.Span {
	return engine.Prefix(append(append([]byte{}, r.prefix...), t))
}

// at returns the version of key at rev with its value, nil if it does not live.
func (r *reader) at(key []byte, rev int64) (kv *KeyValue, err error) {
	err = r.scan(key, nil, rev, func(c *cursor) (bool, error) {
		v, err := c.version()
		if err != nil {
			return false, err
		}
		if err := c.load(); err != nil {
			return false, err
		}
		kv = &KeyValue{Key: bytes.Clone(key), Value: bytes.Clone(c.value)}
		v.fill(kv)
		return false, nil
	})
	return kv, err
}

func (m *meta) fill(kv *KeyValue) {
	kv.CreateRevision, kv.ModRevision = m.create, m.rev.main
	kv.Version, kv.Lease = m.version, m.lease
}

// leaseKeys returns the keys attached to a lease, sorted.
func (r *reader) leaseKeys(lease int64) (keys [][]byte, err error) {
	start := appendAttachmentKey(nil, r.prefix, lease, nil)
	rows := r.rows.Iterate(engine.Prefix(start))
	for ok := rows.First(); ok; ok = rows.Next() {
		keys = append(keys, bytes.Clone(rows.Key()[len(start):]))
	}
	return keys, rows.Close()
}

// getRow and eachRow read another package's table.
func (r *reader) getRow(t Table, key []byte) ([]byte, bool, error) {
	return r.rows.Get(appendTableKey(nil, r.prefix, byte(t), key), nil)
}

func (r *reader) eachRow(t Table, start, end []byte, f func(key, value []byte) bool) error {
	span := engine.Span{Lower: appendTableKey(nil, r.prefix, byte(t), start)}
	if end == nil {
		span.Upper = appendTableKey(nil, r.prefix, byte(t)+1, nil)
	} else {
		span.Upper = appendTableKey(nil, r.prefix, byte(t), end)
	}
	rows := r.rows.Iterate(span)
	for ok := rows.First(); ok; ok = rows.Next() {
		if !f(rows.Key()[len(r.prefix)+1:], rows.Value()) {
			break
		}
	}
	return rows.Close()
}
