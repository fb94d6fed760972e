package mvcc

import (
	"encoding/binary"
	"fmt"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/kv/engine"
)

// Compaction is logical first: Update.Compact moves the compact revision, and
// from then on readers refuse what is older. Deleting is this replica's own
// business, in steps of a stated size. It walks e from the compact revision that
// was finished last, and needs no lookups: each change says what it replaced.
//
//	change at S ≤ target            what goes
//	replaced an older version       that version's k and e rows
//	a deletion, S < target          its own k and e rows, and m if it is the newest
//	a deletion, S = target          nothing yet: watchers may still start there
//
// The walk starts again at the finished revision, inclusive, because of the last
// line.

// progress is the p row: how far this replica's deleting has come.
type progress struct {
	done   int64    // everything unreachable since the compaction at done is gone
	target int64    // the compaction under way; = done when there is none
	next   revision // the first change not looked at, while under way
}

var noProgress = progress{done: fresh.compact, target: fresh.compact}

func (p *progress) append(b []byte) []byte {
	b = binary.AppendVarint(b, p.done)
	b = binary.AppendVarint(b, p.target)
	b = binary.AppendUvarint(b, uint64(p.next.main))
	return binary.AppendUvarint(b, uint64(p.next.sub))
}

func readProgress(r engine.Reader, row []byte) (progress, error) {
	b, found, err := r.Get(row, nil)
	if err != nil || !found {
		return noProgress, err
	}
	d := decoder{b: b}
	p := progress{done: d.varint(), target: d.varint()}
	p.next = d.revision()
	if d.bad || len(d.b) > 0 {
		return noProgress, corrupt("p", b)
	}
	return p, nil
}

// CompactedUpTo returns the revision up to which rows have really been deleted:
// a Compact with Physical is answered when it has reached its revision.
func (s *Store) CompactedUpTo() int64 { return s.progress.done }

// CompactStep looks at up to limit changes, deletes what the last compaction
// made unreachable, and reports whether more are left. It changes nothing that a
// reader or a hash can see, is local to this replica, and may be called at any
// pace between Updates.
func (s *Store) CompactStep(limit int) (more bool, err error) {
	assert.That(s.update == nil, "compaction during an update")
	assert.That(limit > 0, "compaction in steps of %d", limit)
	p := s.progress
	if p.done == p.target {
		if s.state.compact == p.done {
			return false, nil
		}
		p.target, p.next = s.state.compact, revision{main: max(p.done, 0)}
	}
	b := s.engine.NewBatch()
	defer b.Close()
	changes, finished, err := s.changesFrom(p, limit)
	if err == nil {
		err = s.dropUnreachable(b, changes, p.target)
	}
	if err != nil {
		return false, fmt.Errorf("mvcc: compaction to %d: %w", p.target, err)
	}
	if finished {
		p.done, p.next = p.target, revision{}
	} else {
		last := changes[len(changes)-1].rev
		p.next = revision{last.main, last.sub + 1}
	}
	if err := b.Set(s.row(tableProgress), p.append(nil)); err != nil {
		return false, err
	}
	if err := s.engine.Commit(b); err != nil {
		return false, fmt.Errorf("mvcc: compaction to %d: %w", p.target, err)
	}
	s.progress = p
	return p.done != s.state.compact, nil
}

// changesFrom reads at most limit changes from p.next up to p.target.
func (s *Store) changesFrom(p progress, limit int) (changes []change, finished bool, err error) {
	snap := s.engine.Snapshot()
	defer snap.Close()
	rows := snap.Iterate(engine.Span{
		Lower: appendEventKey(nil, s.prefix, p.next),
		Upper: appendEventKey(nil, s.prefix, revision{main: p.target + 1}),
	})
	defer func() {
		if cerr := rows.Close(); err == nil {
			err = cerr
		}
	}()
	var store arena
	for ok := rows.First(); ok; ok = rows.Next() {
		if len(changes) == limit {
			return changes, false, nil
		}
		c, err := decodeEvent(rows.Key()[len(s.prefix)+1:], rows.Value())
		if err != nil {
			return nil, false, err
		}
		c.key = store.copy(c.key)
		changes = append(changes, c)
	}
	return changes, true, nil
}

// dropUnreachable deletes what the changes leave behind once target is compacted.
func (s *Store) dropUnreachable(b engine.Batch, changes []change, target int64) error {
	r := reader{rows: b, prefix: s.prefix}
	var scratch []byte
	drop := func(key []byte, rev revision) error {
		scratch = appendVersionKey(scratch, s.prefix, key, rev)
		if err := b.Delete(scratch); err != nil {
			return err
		}
		scratch = appendEventKey(scratch, s.prefix, rev)
		return b.Delete(scratch)
	}
	for i := range changes {
		c := &changes[i]
		if !c.replaced.isZero() {
			if err := drop(c.key, c.replaced); err != nil {
				return err
			}
		}
		if !c.dead || c.rev.main == target {
			continue
		}
		if err := drop(c.key, c.rev); err != nil {
			return err
		}
		newest, found, err := r.getMeta(c.key, scratch)
		if err != nil {
			return err
		}
		if found && newest.rev == c.rev {
			scratch = appendMetaKey(scratch, s.prefix, c.key)
			if err := b.Delete(scratch); err != nil {
				return err
			}
			s.lookups.forget()
			s.lookups.droppedRow()
		}
	}
	return nil
}
