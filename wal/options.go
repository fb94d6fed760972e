package wal

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/vfs"
)

// Options is how a log behaves.
type Options struct {
	SegmentBytes int64  // size of a segment file. 64 MiB; small ones rotate often, large ones are given back late
	PinnedBytes  int64  // log kept for groups that hardly write, before their records are moved to the head. 4 × SegmentBytes
	TailBytes    int    // newest entries of each group that Open returns, in encoded bytes. 1 MiB
	Identity     uint64 // of this log: salts every checksum. Read when the log is created, any number that other logs do not have

	Faults *faults.Set // nil outside the simulator, lab and stories
}

const (
	segmentBytesMin = 8 << 10
	segmentBytesMax = int64(1) << 31
)

// WithDefaults returns a copy in which every zero field has its default.
func (o Options) WithDefaults() Options {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 64 << 20
	}
	if o.PinnedBytes == 0 {
		o.PinnedBytes = 4 * o.SegmentBytes
	}
	if o.TailBytes == 0 {
		o.TailBytes = 1 << 20
	}
	return o
}

// Validate judges Options that have their defaults.
func (o Options) Validate() error {
	if o.SegmentBytes < segmentBytesMin || o.SegmentBytes > segmentBytesMax {
		return fmt.Errorf("wal: a segment of %d bytes is outside %d to %d", o.SegmentBytes, segmentBytesMin, segmentBytesMax)
	}
	if o.PinnedBytes < o.SegmentBytes {
		return fmt.Errorf("wal: PinnedBytes is %d; it must be at least one segment (%d)", o.PinnedBytes, o.SegmentBytes)
	}
	if o.TailBytes < 0 {
		return fmt.Errorf("wal: TailBytes is %d; it must not be negative", o.TailBytes)
	}
	return nil
}

// reserveBytes is the end of the last segment that entries may not use while no
// segment is ahead: votes, cuts and drops still fit, so that a full disk can be
// left again.
func (o Options) reserveBytes() int64 { return o.SegmentBytes / 8 }

var (
	// ErrLocked says that another process, or this one, has the log open.
	ErrLocked = vfs.ErrLocked
	// ErrNoSpace says that an Append was refused because no segment could be
	// reserved for it. Nothing was written and the log goes on: records without
	// entries are still taken, and entries again once there is space. From Open it
	// says that the last segment could not be written again; nothing is lost.
	ErrNoSpace = errors.New("wal: no space left for another segment")
	// ErrGone says that a Read asked for entries before the start of the log.
	ErrGone = errors.New("wal: the entries were cut away")
)

// ErrCorrupt says that bytes which were durable are not what was written.
// Nothing is cut: the file is left as it was found.
type ErrCorrupt struct {
	File   string
	Offset int64
	Why    string
}

func (e *ErrCorrupt) Error() string {
	return fmt.Sprintf("wal: %s is corrupt at offset %d: %s", e.File, e.Offset, e.Why)
}

// ErrForeign says that the directory is not a log's.
type ErrForeign struct {
	Dir string
	Why string
}

func (e *ErrForeign) Error() string {
	return fmt.Sprintf("wal: %s is not a quorate log: %s", e.Dir, e.Why)
}

// ErrVersion says that the log was written by a program of another version.
type ErrVersion struct {
	File  string
	Found uint32
	Known uint32
}

func (e *ErrVersion) Error() string {
	return fmt.Sprintf("wal: %s has format version %d, this program knows %d: use the program that wrote it", e.File, e.Found, e.Known)
}

// ErrPoisoned says that a write or sync failed earlier. What is on the disk since
// the last successful Sync is unknown, so the log takes and gives nothing more.
type ErrPoisoned struct{ Cause error }

func (e *ErrPoisoned) Error() string {
	return fmt.Sprintf("wal: stopped for good after a failed write: %v", e.Cause)
}

func (e *ErrPoisoned) Unwrap() error { return e.Cause }
