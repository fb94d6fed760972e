package mvcc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/engine"
)

// Options of a Store.
type Options struct {
	// Prefix is put before every row, so that keyspaces can share an engine. No
	// keyspace's prefix may be a prefix of another's. Default: none.
	Prefix []byte
	// LeaseExists tells whether a lease is there at this point of the log. nil:
	// there are no leases. It is called between Begin and Commit only.
	LeaseExists func(lease int64) bool
}

// Store is the writing side of one keyspace.
type Store struct {
	engine      engine.Engine
	prefix      []byte
	leaseExists func(lease int64) bool
	state       state
	progress    progress
	lookups     lookups
	update      *Update // the open one
}

// state is the state row.
type state struct {
	applied  id.Index
	term     id.Term
	revision int64
	compact  int64
}

// fresh is what etcd starts with: revision 1, and -1 for "never compacted".
var fresh = state{revision: 1, compact: -1}

func (s *state) append(b []byte) []byte {
	b = append(b, storeFormat)
	b = binary.AppendUvarint(b, uint64(s.applied))
	b = binary.AppendUvarint(b, uint64(s.term))
	b = binary.AppendUvarint(b, uint64(s.revision))
	return binary.AppendVarint(b, s.compact)
}

func decodeState(b []byte) (state, error) {
	if len(b) == 0 {
		return state{}, corrupt("s", b)
	}
	if b[0] != storeFormat {
		return state{}, fmt.Errorf("mvcc: the store has format %d and this program knows format %d only; use the program that wrote it", b[0], storeFormat)
	}
	d := decoder{b: b[1:]}
	applied, n := binary.Uvarint(d.b)
	if n <= 0 {
		return state{}, corrupt("s", b)
	}
	d.b = d.b[n:]
	s := state{applied: id.Index(applied)}
	s.term = id.Term(d.uvarint())
	s.revision = d.uvarint()
	s.compact = d.varint()
	if d.bad || len(d.b) > 0 || s.revision < 1 || s.compact > s.revision || s.compact < -1 {
		return state{}, corrupt("s", b)
	}
	return s, nil
}

// Open reads the state rows; an empty span is a fresh store at revision 1.
func Open(e engine.Engine, o Options) (*Store, error) {
	s := &Store{engine: e, prefix: bytes.Clone(o.Prefix), leaseExists: o.LeaseExists}
	return s, s.load()
}

// load reads the state rows.
func (s *Store) load() error {
	snap := s.engine.Snapshot()
	defer snap.Close()
	s.state, s.progress = fresh, noProgress
	row, found, err := snap.Get(s.row(tableStateRow), nil)
	if err == nil && found {
		s.state, err = decodeState(row)
	}
	if err != nil {
		return fmt.Errorf("mvcc: reading the state row: %w", err)
	}
	if s.progress, err = readProgress(snap, s.row(tableProgress)); err != nil {
		return err
	}
	s.lookups = lookups{}
	s.lookups.start()
	return s.advanceWalk(walkRowsPerChange) // a fresh store's walk ends here
}

func (s *Store) row(table byte) []byte { return append(bytes.Clone(s.prefix), table) }

// wholeSpan is every row of the keyspace; it has an end even without a prefix,
// because tables are letters.
func (s *Store) wholeSpan() engine.Span {
	if len(s.prefix) == 0 {
		return engine.Span{Upper: []byte{math.MaxUint8}}
	}
	return engine.Prefix(s.prefix)
}

// Applied returns the log position of the last Commit.
func (s *Store) Applied() (id.Index, id.Term) { return s.state.applied, s.state.term }

// Flushed returns the applied index that would survive a crash now.
func (s *Store) Flushed() (id.Index, error) {
	row, found, err := s.engine.GetDurable(s.row(tableStateRow))
	if err != nil || !found {
		return 0, err
	}
	durable, err := decodeState(row)
	if err != nil {
		return 0, err
	}
	// Invariant: what is durable was applied.
	assert.That(durable.applied <= s.state.applied,
		"index %d is durable and %d is applied", durable.applied, s.state.applied)
	return durable.applied, nil
}

// Flush makes everything committed so far survive a crash.
func (s *Store) Flush() error { return s.engine.Flush() }

// Revision returns the current revision; a fresh store has 1.
func (s *Store) Revision() int64 { return s.state.revision }

// CompactRevision returns the last compaction's revision, or -1: as etcd does.
func (s *Store) CompactRevision() int64 { return s.state.compact }

// View returns the content of the last Commit. Close it.
func (s *Store) View() *View {
	snap := s.engine.Snapshot()
	return &View{
		snap:   snap,
		state:  s.state,
		reader: reader{rows: snap, prefix: s.prefix, compact: s.state.compact},
	}
}

// Begin starts an Update; there is one at a time.
func (s *Store) Begin() *Update {
	assert.That(s.update == nil, "a second update was begun")
	b := s.engine.NewBatch()
	s.update = &Update{
		store: s, batch: b, revision: s.state.revision,
		reader: reader{rows: b, prefix: s.prefix, compact: s.state.compact, lookups: &s.lookups},
	}
	return s.update
}

// Restore replaces the whole keyspace, other tables included, by what
// View.EachStateRow gave, durably, and reads the state rows again. Rows come
// without the prefix; next returns io.EOF after the last one.
func (s *Store) Restore(next func() (row, value []byte, err error)) error {
	assert.That(s.update == nil, "restore during an update")
	var key []byte
	err := s.engine.Replace(s.wholeSpan(), func() (row, value []byte, err error) {
		row, value, err = next()
		key = append(append(key[:0], s.prefix...), row...)
		return key, value, err
	})
	if err != nil {
		return fmt.Errorf("mvcc: restore: %w", err)
	}
	return s.load()
}
