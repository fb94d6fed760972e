package kv

import (
	"errors"
	"fmt"
	"io"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/engine"
	"github.com/quorate/quorate/kv/lease"
	"github.com/quorate/quorate/kv/mvcc"
	"github.com/quorate/quorate/rsm"
)

// Options of a Store.
type Options struct {
	// Prefix is put before every row, so that keyspaces can share an engine.
	Prefix []byte
	// Publish, if set, receives what every Apply and Restore changed, called by
	// whoever called those, after the engine has it and before they return. It
	// must not block and must close Changes.View.
	Publish func(Changes)
	// CompactRowsPerApply bounds how many compacted rows one Apply deletes besides
	// its own work. Default 1000: some milliseconds. Larger: puts wait longer
	// during a compaction; smaller: it takes longer.
	CompactRowsPerApply int
}

// Store is the replicated state machine. It implements rsm.Durable; Open comes
// first. It belongs to the apply worker; its Views to everybody.
//
//	Invariant: everything a batch changes, the applied index included, is one
//	commit of the engine. A crash leaves the state after some earlier batch, and
//	Open says after which.
type Store struct {
	engine  engine.Engine
	options Options
	mvcc    *mvcc.Store
	leases  lease.Table
	alarms  []Alarm // sorted; what the rows say
	broken  error   // an Apply or Restore failed: nothing more is accepted
	spare   *View   // of the last Apply, until somebody asks for it
}

var _ rsm.Durable = (*Store)(nil)

// NewStore returns a Store on an engine that it alone writes to within Prefix.
func NewStore(e engine.Engine, o Options) *Store {
	if o.CompactRowsPerApply == 0 {
		o.CompactRowsPerApply = 1000
	}
	return &Store{engine: e, options: o}
}

// Open reads the state and returns the applied index and term; 0 when new.
func (s *Store) Open() (id.Index, id.Term, error) {
	m, err := mvcc.Open(s.engine, mvcc.Options{Prefix: s.options.Prefix, LeaseExists: s.leases.Exists})
	if err != nil {
		return 0, 0, fmt.Errorf("kv: open: %w", err)
	}
	s.mvcc = m
	if err := s.load(); err != nil {
		return 0, 0, fmt.Errorf("kv: open: %w", err)
	}
	applied, term := m.Applied()
	return applied, term, nil
}

// load reads what is kept in memory besides the rows.
func (s *Store) load() error {
	v := s.mvcc.View()
	defer v.Close()
	alarms, err := readAlarms(v)
	if err != nil {
		return err
	}
	s.alarms = alarms
	return s.leases.Load(v)
}

// Leases returns every lease as of the last Apply, sorted by ID: what a
// lease.Expirer starts from.
func (s *Store) Leases() []lease.Lease { return s.leases.All() }

// View returns the state as of the last Apply.
func (s *Store) View() rsm.View { return s.view() }

func (s *Store) view() *View {
	if v := s.spare; v != nil {
		s.spare = nil
		return v
	}
	return s.wrap(s.mvcc.View())
}

func (s *Store) wrap(v *mvcc.View) *View {
	return &View{View: v, compactedUpTo: s.mvcc.CompactedUpTo()}
}

// Flushed returns the applied index that would survive a crash now.
func (s *Store) Flushed() (id.Index, error) { return s.mvcc.Flushed() }

// Flush makes everything applied so far survive a crash.
func (s *Store) Flush() error { return s.engine.Flush() }

// Close gives back what the Store holds of the engine, which stays open. It does
// not flush.
func (s *Store) Close() error {
	s.broken = errors.New("kv: the store is closed")
	if s.spare == nil {
		return nil
	}
	v := s.spare
	s.spare = nil
	return v.Close()
}

// Apply applies a batch as one commit of the engine. Commands at or below the
// applied index are not applied again; their results are nil, nobody waits for
// them after a restart. An error means that nothing of the batch is visible and
// that this Store accepts nothing more: the group stops here.
func (s *Store) Apply(b rsm.Batch, results []rsm.Result) ([]rsm.Result, error) {
	if s.broken != nil {
		return results, s.broken
	}
	applied, _ := s.mvcc.Applied()
	if b.Applied <= applied {
		for range b.Commands {
			results = append(results, nil)
		}
		return results, nil
	}
	kept := len(results)
	results, err := s.apply(b, applied, results)
	if err != nil {
		s.broken = err
		return results[:kept], err
	}
	return results, nil
}

func (s *Store) apply(b rsm.Batch, applied id.Index, results []rsm.Result) ([]rsm.Result, error) {
	// A commit of its own, and first: if it fails nothing of the batch is applied.
	if _, err := s.mvcc.CompactStep(s.options.CompactRowsPerApply); err != nil {
		return results, fmt.Errorf("kv: deleting compacted rows: %w", err)
	}
	u := s.mvcc.Begin()
	defer u.Close()
	a := &applying{store: s, update: u}
	for _, c := range b.Commands {
		if c.Index <= applied {
			results = append(results, nil)
			continue
		}
		applied = c.Index
		result, err := a.command(c)
		if err != nil {
			return results, fmt.Errorf("kv: apply %d: %w", c.Index, err)
		}
		results = append(results, result.encode())
	}
	assert.That(applied <= b.Applied, "kv: a batch up to %d holds command %d", b.Applied, applied)
	view, events, err := u.Commit(b.Applied, b.Term)
	if err != nil {
		return results, fmt.Errorf("kv: commit %d: %w", b.Applied, err)
	}
	s.publish(s.wrap(view), Changes{Events: events, Leases: a.leases})
	return results, nil
}

// publish hands the changes on, or keeps the View for the next one who asks.
func (s *Store) publish(v *View, c Changes) {
	if s.options.Publish == nil {
		if s.spare != nil {
			s.spare.Close()
		}
		s.spare = v
		return
	}
	c.Applied, c.Term = v.Applied(), v.Term()
	c.Revision, c.CompactRevision = v.Revision(), v.CompactRevision()
	c.View = v
	s.options.Publish(c)
}

// Restore replaces the whole state by a stream that View.WriteTo wrote. It is
// durable on return. On an error the old state stays, in the engine; the Store
// accepts nothing more.
func (s *Store) Restore(m rsm.Meta, r io.Reader) error {
	if s.broken != nil {
		return s.broken
	}
	if err := s.restore(m, r); err != nil {
		s.broken = fmt.Errorf("kv: restore %d: %w", m.Index, err)
		return s.broken
	}
	return nil
}

func (s *Store) restore(m rsm.Meta, r io.Reader) error {
	rows, err := newSnapshotReader(r)
	if err != nil {
		return err
	}
	if rows.applied != m.Index || rows.term != m.Term {
		return fmt.Errorf("the snapshot holds index %d term %d, announced was index %d term %d",
			rows.applied, rows.term, m.Index, m.Term)
	}
	if s.spare != nil {
		s.spare.Close()
		s.spare = nil
	}
	if err := s.mvcc.Restore(rows.next); err != nil {
		return err
	}
	if applied, term := s.mvcc.Applied(); applied != m.Index || term != m.Term {
		return fmt.Errorf("its rows say index %d term %d, its head index %d term %d", applied, term, m.Index, m.Term)
	}
	if err := s.load(); err != nil {
		return err
	}
	s.publish(s.wrap(s.mvcc.View()), Changes{
		Restored: true,
		Leases:   []lease.Event{lease.Replaced{Leases: s.leases.All()}},
	})
	return nil
}
