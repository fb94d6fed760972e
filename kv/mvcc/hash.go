package mvcc

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/quorate/quorate/kv/engine"
)

// Hash is the answer of HashKV.
type Hash struct {
	Hash            uint32
	Revision        int64 // the revision hashed
	CompactRevision int64
}

// etcd keeps its versions in a bucket of this name, under keys of the form
// main '_' sub, with 't' behind it for a deletion.
const (
	etcdBucket    = "key"
	etcdSeparator = '_'
	etcdDeletion  = 't'
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// HashKV hashes every version up to rev (0: all) as etcd does: CRC-32C over the
// name of its bucket and then each row's key and value, in order of revision.
// Versions at or before the compact revision count only if they still live at
// rev; but if no key lives at rev, all puts that compaction keeps count.
// Deletions at or before it never count, although one exactly there is kept.
func (v *View) HashKV(rev int64) (Hash, error) {
	if rev > 0 && rev < v.state.compact {
		return Hash{}, ErrCompacted
	}
	if rev > v.state.revision {
		return Hash{}, ErrFutureRev
	}
	if rev <= 0 {
		rev = v.state.revision
	}
	h := Hash{Revision: rev, CompactRevision: v.state.compact}
	alive, err := v.anyAlive(rev)
	if err != nil {
		return Hash{}, err
	}
	keptAt := rev
	if !alive {
		keptAt = v.state.compact
	}
	h.Hash = crc32.Update(0, castagnoli, []byte(etcdBucket))
	var row []byte
	err = v.eachChange(0, rev, func(c *change, kv *KeyValue) bool {
		row = appendEtcdKey(row[:0], c)
		row = appendEtcdKeyValue(row, kv)
		h.Hash = crc32.Update(h.Hash, castagnoli, row)
		return true
	}, func(c *change, versions *versionReader) (bool, error) {
		if c.rev.main > v.state.compact {
			return true, nil
		}
		return versions.kept(c, keptAt, false)
	})
	return h, err
}

// anyAlive reports whether a key lives at rev.
func (v *View) anyAlive(rev int64) (alive bool, err error) {
	err = v.reader.scan([]byte{0}, []byte{0}, rev, func(*cursor) (bool, error) {
		alive = true
		return false, nil
	})
	return alive, err
}

// eachChange calls f for the changes of revisions from ≤ r ≤ to that admit
// accepts, in order, with the version each one wrote; a deletion has only its
// key, as in etcd's rows. f's slices are valid during the call.
func (v *View) eachChange(from, to int64, f func(c *change, kv *KeyValue) bool,
	admit func(c *change, versions *versionReader) (bool, error)) (err error) {
	versions := &versionReader{r: &v.reader}
	defer func() {
		if cerr := versions.close(); err == nil {
			err = cerr
		}
	}()
	rows := v.snap.Iterate(engine.Span{
		Lower: appendEventKey(nil, v.reader.prefix, revision{main: from}),
		Upper: appendEventKey(nil, v.reader.prefix, revision{main: to + 1}),
	})
	defer func() {
		if cerr := rows.Close(); err == nil {
			err = cerr
		}
	}()
	for ok := rows.First(); ok; ok = rows.Next() {
		c, err := decodeEvent(rows.Key()[len(v.reader.prefix)+1:], rows.Value())
		if err != nil {
			return err
		}
		if ok, err := admit(&c, versions); err != nil {
			return err
		} else if !ok {
			continue
		}
		kv := KeyValue{Key: c.key}
		if !c.dead {
			if err := versions.read(&c, &kv); err != nil {
				return err
			}
		}
		if !f(&c, &kv) {
			return nil
		}
	}
	return nil
}

// versionReader finds k rows for changes read from e.
type versionReader struct {
	r       *reader
	it      engine.Iterator
	scratch []byte
}

func (x *versionReader) seek(key []byte) bool {
	if x.it == nil {
		x.it = x.r.rows.Iterate(x.r.table(tableVersion))
	}
	x.scratch = key
	return x.it.SeekGE(key)
}

// read fills kv with the version that a put wrote; its value is valid until the
// next call.
func (x *versionReader) read(c *change, kv *KeyValue) error {
	want := appendVersionKey(x.scratch, x.r.prefix, c.key, c.rev)
	if !x.seek(want) || !bytes.Equal(x.it.Key(), want) {
		if err := x.it.Err(); err != nil {
			return err
		}
		return corrupt("e", c.key)
	}
	m, value, err := decodeVersion(x.it.Value(), c.rev)
	if err != nil {
		return err
	}
	m.fill(kv)
	kv.Value = value
	return nil
}

// kept reports whether the change is its key's newest at rev, and a put; or a
// deletion at exactly rev, if those count.
func (x *versionReader) kept(c *change, rev int64, deletions bool) (bool, error) {
	if c.dead && !(deletions && c.rev.main == rev) {
		return false, nil
	}
	at := appendVersionAt(x.scratch, x.r.prefix, c.key, rev)
	if !x.seek(at) {
		return false, x.it.Err()
	}
	x.scratch = appendVersionKey(at, x.r.prefix, c.key, c.rev)
	return bytes.Equal(x.it.Key(), x.scratch), nil
}

func (x *versionReader) close() error {
	if x.it == nil {
		return nil
	}
	return x.it.Close()
}

func appendEtcdKey(b []byte, c *change) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(c.rev.main))
	b = append(b, etcdSeparator)
	b = binary.BigEndian.AppendUint64(b, uint64(c.rev.sub))
	if c.dead {
		b = append(b, etcdDeletion)
	}
	return b
}

// appendEtcdKeyValue encodes mvccpb.KeyValue: fields in order of their numbers,
// zero ones left out, as etcd writes it.
func appendEtcdKeyValue(b []byte, kv *KeyValue) []byte {
	bytesField := func(tag byte, v []byte) {
		if len(v) > 0 {
			b = binary.AppendUvarint(append(b, tag), uint64(len(v)))
			b = append(b, v...)
		}
	}
	numberField := func(tag byte, v int64) {
		if v != 0 {
			b = binary.AppendUvarint(append(b, tag), uint64(v))
		}
	}
	bytesField(1<<3|2, kv.Key)
	numberField(2<<3, kv.CreateRevision)
	numberField(3<<3, kv.ModRevision)
	numberField(4<<3, kv.Version)
	bytesField(5<<3|2, kv.Value)
	numberField(6<<3, kv.Lease)
	return b
}
