package mvcc

import (
	"errors"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/engine"
)

// errUnfinished ends with the bodies of this package.
var errUnfinished = errors.New("mvcc: not written yet")

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
type Store struct{}

// Open reads the state rows; an empty span is a fresh store at revision 1.
func Open(e engine.Engine, o Options) (*Store, error) { return nil, errUnfinished }

// Applied returns the log position of the last Commit.
func (s *Store) Applied() (id.Index, id.Term) { return 0, 0 }

// Flushed returns the applied index that would survive a crash now.
func (s *Store) Flushed() (id.Index, error) { return 0, errUnfinished }

// Revision returns the current revision; a fresh store has 1.
func (s *Store) Revision() int64 { return 0 }

// CompactRevision returns the last compaction's revision, or -1: as etcd does.
func (s *Store) CompactRevision() int64 { return 0 }

// View returns the content of the last Commit. Close it.
func (s *Store) View() *View { return nil }

// Begin starts an Update; there is one at a time.
func (s *Store) Begin() *Update { return nil }

// CompactStep deletes at most limit rows that the last compaction made
// unreachable and reports whether more are left. It changes nothing that a
// reader or a hash can see, is local to this replica, and may be called at any
// pace between Updates.
func (s *Store) CompactStep(limit int) (more bool, err error) { return false, errUnfinished }

// CompactedUpTo returns the revision up to which rows have really been deleted:
// a Compact with Physical is answered when it has reached its revision.
func (s *Store) CompactedUpTo() int64 { return 0 }

// Restore replaces the whole keyspace, other tables included, by what
// View.EachStateRow gave, durably, and reads the state rows again.
func (s *Store) Restore(next func() (row, value []byte, err error)) error { return errUnfinished }
