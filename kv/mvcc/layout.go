package mvcc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/quorate/quorate/internal/assert"
)

// The rows of a keyspace, after Options.Prefix (docs/format/store.md, decision
// 0002). Numbers in row keys are big-endian, so that byte order is their order;
// ^x has all bits flipped, so that the newest comes first.
//
//	s                           → format, applied, term, revision, compact revision
//	p                           → local progress of compaction; not in snapshots
//	m key                       → newest version of the key, without its value
//	k esc(key) ^revision ^sub   → one version: its numbers and its value
//	e revision sub              → one change: its kind, the version it replaced, key
//	l lease key                 → the key is attached to the lease
//	A… K… L… S…                 → other packages' tables
//
// A put looks up and writes m (small: a cache holds many), and appends to k and
// e. Reads and exact counts walk m; the values they want lie in k in the same
// order. A deletion keeps an m row marked dead until compaction passes it: so a
// range at an old revision walks the same rows.
//
//	Invariant: m holds the version with the greatest (revision, sub) of its key in
//	k, and every k row has the e row of its revision and sub.
const (
	tableStateRow   = 's'
	tableProgress   = 'p'
	tableMeta       = 'm'
	tableVersion    = 'k'
	tableEvent      = 'e'
	tableAttachment = 'l'
)

// storeFormat is the first byte of the state row.
const storeFormat = 1

// revision orders changes: sub counts the changes within one main revision.
type revision struct{ main, sub int64 }

func (r revision) isZero() bool { return r == revision{} }
func (r revision) less(o revision) bool {
	return r.main < o.main || r.main == o.main && r.sub < o.sub
}

const (
	kindPut  = 0
	kindDead = 1
)

// meta is a version without key and value.
type meta struct {
	rev     revision
	dead    bool // the version is a deletion; the fields below are 0
	create  int64
	version int64
	lease   int64
}

// A row key is built by appending to a scratch slice the caller owns.

func appendMetaKey(b, prefix, key []byte) []byte {
	return append(append(append(b[:0], prefix...), tableMeta), key...)
}

// appendVersionStart appends what all versions of a key begin with. 0x00 in the
// key becomes 0x00 0xff and 0x00 0x01 ends it, which keeps the order of the keys
// although a suffix follows.
func appendVersionStart(b, prefix, key []byte) []byte {
	b = append(append(b[:0], prefix...), tableVersion)
	for {
		i := bytes.IndexByte(key, 0)
		if i < 0 {
			break
		}
		b = append(append(b, key[:i]...), 0x00, 0xff)
		key = key[i+1:]
	}
	return append(append(b, key...), 0x00, 0x01)
}

func appendVersionKey(b, prefix, key []byte, r revision) []byte {
	b = appendVersionStart(b, prefix, key)
	b = binary.BigEndian.AppendUint64(b, ^uint64(r.main))
	return binary.BigEndian.AppendUint32(b, ^uint32(r.sub))
}

// appendVersionAt appends the row key at or after which the newest version of
// revision ≤ main is found.
func appendVersionAt(b, prefix, key []byte, main int64) []byte {
	return appendSuffixAt(appendVersionStart(b, prefix, key), main)
}

func appendSuffixAt(start []byte, main int64) []byte {
	return binary.BigEndian.AppendUint64(start, ^uint64(main))
}

const versionSuffixBytes = 12

func appendEventKey(b, prefix []byte, r revision) []byte {
	assert.That(r.sub >= 0 && r.sub <= math.MaxUint32, "sub revision %d does not fit", r.sub)
	b = append(append(b[:0], prefix...), tableEvent)
	b = binary.BigEndian.AppendUint64(b, uint64(r.main))
	return binary.BigEndian.AppendUint32(b, uint32(r.sub))
}

func appendAttachmentKey(b, prefix []byte, lease int64, key []byte) []byte {
	b = append(append(b[:0], prefix...), tableAttachment)
	return append(binary.BigEndian.AppendUint64(b, uint64(lease)), key...)
}

func appendTableKey(b, prefix []byte, table byte, key []byte) []byte {
	return append(append(append(b[:0], prefix...), table), key...)
}

// Row values: a kind byte, then varints.

func appendNumbers(b []byte, m *meta) []byte {
	b = binary.AppendUvarint(b, uint64(m.create))
	b = binary.AppendUvarint(b, uint64(m.version))
	return binary.AppendVarint(b, m.lease)
}

func appendMetaValue(b []byte, m *meta) []byte {
	b = append(b[:0], kindOf(m.dead))
	b = binary.AppendUvarint(b, uint64(m.rev.main))
	b = binary.AppendUvarint(b, uint64(m.rev.sub))
	if m.dead {
		return b
	}
	return appendNumbers(b, m)
}

func appendVersionValue(b []byte, m *meta, value []byte) []byte {
	b = append(b[:0], kindOf(m.dead))
	if m.dead {
		return b
	}
	return append(appendNumbers(b, m), value...)
}

func appendEventValue(b []byte, dead bool, replaced revision, key []byte) []byte {
	b = append(b[:0], kindOf(dead))
	b = binary.AppendUvarint(b, uint64(replaced.main))
	b = binary.AppendUvarint(b, uint64(replaced.sub))
	return append(b, key...)
}

func kindOf(dead bool) byte {
	if dead {
		return kindDead
	}
	return kindPut
}

// decoder reads varints and remembers that one was cut or out of range.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) kind() (dead bool) {
	if len(d.b) == 0 || d.b[0] > kindDead {
		d.bad = true
		return false
	}
	dead = d.b[0] == kindDead
	d.b = d.b[1:]
	return dead
}

func (d *decoder) uvarint() int64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > math.MaxInt64 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return int64(v)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) revision() revision { return revision{d.uvarint(), d.uvarint()} }

func (d *decoder) numbers(m *meta) {
	m.create, m.version, m.lease = d.uvarint(), d.uvarint(), d.varint()
}

func decodeMeta(b []byte) (meta, error) {
	d := decoder{b: b}
	m := meta{dead: d.kind()}
	m.rev = d.revision()
	if !m.dead {
		d.numbers(&m)
	}
	if d.bad || len(d.b) > 0 {
		return meta{}, corrupt("m", b)
	}
	return m, nil
}

// metaLives reads as little of an m row as tells whether its key lives at rev;
// known is false if that takes more than the row's beginning. Exact counts are
// made of this.
func metaLives(b []byte, rev int64) (alive, known bool) {
	if len(b) < 2 || b[0] > kindDead {
		return false, false
	}
	main, n := binary.Uvarint(b[1:])
	return b[0] == kindPut, n > 0 && main <= uint64(rev)
}

// decodeVersion returns the numbers and the value, which shares b's memory.
func decodeVersion(b []byte, r revision) (meta, []byte, error) {
	d := decoder{b: b}
	m := meta{rev: r, dead: d.kind()}
	if !m.dead {
		d.numbers(&m)
	}
	if d.bad || m.dead && len(d.b) > 0 {
		return meta{}, nil, corrupt("k", b)
	}
	return m, d.b, nil
}

type change struct {
	rev      revision
	dead     bool
	replaced revision // the version this one replaced; zero if there was no live one
	key      []byte
}

func decodeEvent(suffix, b []byte) (change, error) {
	d := decoder{b: b}
	c := change{dead: d.kind()}
	c.replaced = d.revision()
	if d.bad || len(suffix) != 12 {
		return change{}, corrupt("e", b)
	}
	c.rev = revision{
		int64(binary.BigEndian.Uint64(suffix)), int64(binary.BigEndian.Uint32(suffix[8:]))}
	c.key = d.b
	return c, nil
}

// decodeVersionSuffix reads the revision at the end of a k row's key.
func decodeVersionSuffix(suffix []byte) (revision, error) {
	if len(suffix) != versionSuffixBytes {
		return revision{}, corrupt("k", suffix)
	}
	return revision{
		int64(^binary.BigEndian.Uint64(suffix)), int64(^binary.BigEndian.Uint32(suffix[8:]))}, nil
}

// corrupt reports a row that this code cannot have written.
func corrupt(table string, b []byte) error {
	if len(b) > 32 {
		b = b[:32]
	}
	return fmt.Errorf("mvcc: row of table %q does not decode: %x; the store is damaged, restore this member from its peers", table, b)
}
