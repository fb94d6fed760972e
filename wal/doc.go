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
// # Use
//
//	l, groups, err := wal.Open(fs, dir, wal.Options{})
//	err = l.Append(batch)   // all of it or nothing; readable at once
//	err = l.Sync()          // one write and one fsync for everything appended since the last
//	err = l.Idle()          // when nothing is left to write: the watermark, no fsync
//	n, err := l.Release()   // after cuts: give back segments nobody needs
//	entries, err := l.Read(group, from, to, limitBytes) // any goroutine, any time
//
// Append, Sync, Idle, Release and Close belong to one writer. Group commit is the
// caller's: whatever is appended before a Sync shares it.
//
// Errors: *ErrCorrupt, *ErrForeign, *ErrVersion, ErrLocked, ErrNoSpace (nothing is
// lost) from Open; ErrNoSpace from Append (nothing was written, the log goes on); *ErrPoisoned from everything
// after a failed write or sync; ErrGone from Read.
//
// # The log
//
//	00000007.wal            00000008.wal            00000009.wal
//	┌──────┬────┬────┬──┐   ┌──────┬────┬────┬──┐   ┌──────┬──────────┐
//	│header│ ▓▓ │ ▓▓ │00│──▶│header│ ▓▓ │ ▓░ │00│   │header│ zeros    │
//	└──────┴────┴────┴──┘   └──────┴────┴────┴──┘   └──────┴──────────┘
//	  sealed                  active: ▓ synced ░ not  ahead: reserved
//
// A frame (▓) is one batch: a header and the records of any groups. Its header
// says how far the log was durable when it was written, the watermark. A segment
// file is reserved, with its header and its name durable, before it is used, one
// ahead. While none can be reserved the last eighth of the active segment is kept
// for records without entries: votes, cuts and drops still work on a full disk.
// docs/format/wal.md has the bytes.
//
// # Recovery
//
//  1. Refuse a directory that holds anything but a log; take the lock.
//  2. Open the segments; they are numbered without a gap, their headers are good,
//     of one log, of a known version, and the files are as long as these say.
//  3. Remove a segment that was being prepared: it never had its name.
//  4. Take up frames in order while each one's checksum continues the last one's,
//     across segments by the link record that begins every segment.
//  5. At the first place p without a good frame, look at every frame header behind
//     p, in this and later segments. If one of them says that the log was durable
//     past p, this is corruption: stop, change nothing. Otherwise p is the end.
//  6. Remove later segments unless they are empty.
//  7. What was read may be in the page cache only, and a sync need not bring it to
//     the disk: a failed one, in an earlier life of the process, may have marked
//     its pages as written (fsyncgate). So if the last segment holds anything that
//     no watermark covers, or remains behind p, write its good frames to a new
//     file, sync that, and let it take the old one's place by a rename. Otherwise
//     go on right behind the watermark. Sync the directory.
//  8. Check that the log begins where the newest header says it must, and that
//     every group's entries reach back to its start.
//
// A crash inside recovery is followed by the same recovery: 3 and 6 only take away
// bytes that prove nothing, and files from the end; 7 changes nothing before its
// rename, and then the same frames are at the same places. Segments before the
// last need no 7: the first frame of each follows a sync of the one before. In 7
// lost frames go with the old file; none can come back behind equal bytes. It
// writes at most one segment, however often a log is opened, and needs space for
// it: the segment kept ahead if nothing else. Without space Open fails with
// ErrNoSpace and has changed nothing that counts.
//
// # Assumptions about disks
//
//   - Bytes synced without an error are there after a crash, at their place;
//     their rot is rare and independent (a checksum finds it).
//   - A write changes no byte outside its range, even if the power fails during
//     it (power-safe overwrite). Within its range anything may be found.
//   - Unsynced writes may survive in any order and selection.
//   - A synced directory holds its names; a rename is whole or not at all.
//   - A failed sync says that nothing unsynced can be known or saved any more,
//     though it may still be read. A failed sync of a directory leaves its names as
//     changed as they were: the next one that succeeds covers them.
//
// The stated limit: if the very last batch rots and no header was written behind
// it (the writer was never idle and wrote nothing more), or the frame that took
// that header's place after a restart is torn, it looks like a torn tail and is cut.
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
