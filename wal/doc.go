// Package wal is one segmented, checksummed log per disk for all groups of a
// process, written by one writer with one fsync in flight (DESIGN 4 to 6).
//
// # Promises
//
//   - After Sync returned nil, everything appended before it survives any crash.
//   - Open returns exactly the durable records and perhaps some that were
//     written but not synced, a prefix in append order; a torn tail is cut. A bad
//     record that is not a torn tail is ErrCorrupt with file and offset, and
//     nothing is cut.
//   - After a failed write or sync every later call fails with ErrPoisoned: no
//     retry, no silent continue.
//
// # Signatures (the seam; see docs/decisions/0001-signatures.md)
//
//	func Open(fs vfs.FS, dir string, o Options) (*Log, []GroupState, error)
//	func (l *Log) Append(batch []Record) error                  // one writer; buffered until Sync's write is done
//	func (l *Log) Sync() error
//	func (l *Log) Release() (removed int, err error)            // delete segments nobody needs; by the writer
//	func (l *Log) Read(g id.GroupID, from, to id.Index, limitBytes int) ([]raft.Entry, error) // [from, to), any goroutine
//	func (l *Log) Bytes() int64                                 // on disk
//	func (l *Log) Close() error
//
// Errors: ErrCorrupt{File, Offset, Why}, ErrForeign{Dir, Why}, ErrVersion{File,
// Found, Known}, ErrLocked, ErrNoSpace (refusable: nothing was written, the log
// goes on), ErrPoisoned{Cause}, ErrGone (Read before the start).
package wal

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// RecordKind says which fields of a Record count.
type RecordKind uint8

const (
	RecordAppend RecordKind = iota + 1 // Hard, and Entries that replace everything from Entries[0].Index on
	RecordStart                        // Start: the log begins behind it; older entries may go. With entries behind Start.Index kept
	RecordIntent                       // Snapshot: an installation began; ends with RecordReset
	RecordReset                        // Start and Hard: as RecordStart, but every entry of the group is gone (a snapshot was installed)
	RecordDrop                         // the group is gone from this disk
)

// Record is one change to one group's log.
type Record struct {
	Group    id.GroupID
	Kind     RecordKind
	Hard     raft.HardState
	Entries  []raft.Entry // consecutive; Encoded is set (wire.Seal)
	Start    raft.LogStart
	Snapshot raft.SnapshotMeta
}

// GroupState is what Open found of one group.
type GroupState struct {
	Group    id.GroupID
	Restored raft.Restored      // all but Applied
	Intent   *raft.SnapshotMeta // an installation was cut short: host/exec finishes or undoes it
}
