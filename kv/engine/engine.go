// Package engine is what the store needs from storage: an ordered byte map with
// atomic batches, immutable snapshots, and an honest answer to "what would
// survive a crash now".
//
// There is no write-ahead log here: the Raft log is the log (DESIGN 7). A
// committed batch is visible at once and durable later, and batches become
// durable in the order they were committed:
//
//	Invariant: after a crash the content is that after some prefix of the
//	committed batches, and every batch that Flush covered is in that prefix.
//
// So a caller that writes its applied index in every batch finds out after a
// crash, by reading it, from where the Raft log has to be applied again.
//
// Two implementations, held equal by a metamorphic test: engine/mem (a
// persistent tree, for tests and the simulator) and engine/pebble (on disk).
//
// Who may call: one writer at a time for NewBatch, Commit, Flush and Replace.
// Snapshots are read by any goroutine, meanwhile. Keys are ordered as bytes. A
// nil Upper bound means "to the end". Keys and values handed in are copied.
package engine

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrClosed is returned by calls on an engine that was closed.
var ErrClosed = errors.New("engine: closed")

// Reader reads one consistent content. Errors are the storage's own (a failed
// read, a checksum mismatch); an absent key is not an error.
type Reader interface {
	// Get returns the value of key, appended to into[:0], and whether the key is
	// there. The returned slice is the caller's.
	Get(key, into []byte) (value []byte, found bool, err error)
	// Iterate returns an iterator over the keys in [span.Lower, span.Upper). It
	// must be closed before the Reader is.
	Iterate(span Span) Iterator
}

// Span is a range of keys: Lower is in it, Upper is not. A nil Upper is the end
// of all keys.
type Span struct{ Lower, Upper []byte }

// Iterator walks keys upwards. It starts before the first key: position it with
// First or SeekGE.
type Iterator interface {
	// First, SeekGE and Next report whether the iterator stands on a key.
	First() bool
	// SeekGE moves to the first key ≥ key within the span, forwards or backwards.
	SeekGE(key []byte) bool
	Next() bool
	// Key and Value are valid until the iterator is moved or closed.
	Key() []byte
	Value() []byte
	// Err returns what ended the walk early; nil at a regular end.
	Err() error
	// Close releases the iterator and returns Err.
	Close() error
}

// Batch collects writes that take effect together at Commit. As a Reader it
// sees the engine's content of the moment it was made with its own writes on
// top. An iterator sees the writes made before it was opened; whether it sees
// later ones is not defined, so open a new one after writing.
type Batch interface {
	Reader
	Set(key, value []byte) error
	Delete(key []byte) error
	// DeleteRange deletes every key in the span. It costs the same for one key
	// and for a million.
	DeleteRange(span Span) error
	// SizeBytes is a rough size of what was written, for bounding a batch.
	SizeBytes() int
	// Close abandons a batch that was not committed; after Commit it does nothing.
	Close() error
}

// Snapshot is an immutable content. Close it: it pins storage.
type Snapshot interface {
	Reader
	Close() error
}

// Stats is a rough picture for metrics and quota decisions that are not
// replicated. Everything is in bytes.
type Stats struct {
	DiskBytes      int64 // files on disk, old versions included; 0 for mem
	MemoryBytes    int64 // tables and caches held in memory
	UnflushedBytes int64 // committed and not yet durable
}

// Engine is the ordered map.
type Engine interface {
	// NewBatch starts a batch. At most one batch is open at a time.
	NewBatch() Batch
	// Commit makes the batch visible to later snapshots and batches, atomically.
	// It does not make it durable. The batch may not be used afterwards. After an
	// error the engine must not be used any more.
	Commit(b Batch) error
	// Snapshot returns the content after the last Commit.
	Snapshot() Snapshot
	// GetDurable reads key in the content that would survive a crash now.
	// Invariant: it never answers with a value that a crash could take back.
	GetDurable(key []byte) (value []byte, found bool, err error)
	// Flush makes everything committed so far durable.
	Flush() error
	// Replace exchanges everything in the span for the rows that next yields, in
	// ascending key order, in one step that is durable on return: a crash finds
	// either the old rows or the new ones. next returns io.EOF after the last
	// row; its slices are used only until the next call. On any other error of
	// next the old content stays.
	Replace(span Span, next func() (key, value []byte, err error)) error
	Stats() Stats
	// Close releases everything; close snapshots and iterators first, reading one
	// afterwards is a programming error. It does not flush: reopening finds what a
	// crash would have left, or more.
	Close() error
}

// PrefixEnd returns the smallest key greater than every key with the prefix, or
// nil if there is none (all bytes 0xff).
func PrefixEnd(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			end := append([]byte(nil), prefix[:i+1]...)
			end[i]++
			return end
		}
	}
	return nil
}

// Prefix returns the span of all keys with the prefix.
func Prefix(prefix []byte) Span { return Span{Lower: prefix, Upper: PrefixEnd(prefix)} }

// CheckReplacement judges the next key of a Replace: within the span and greater
// than the key before it. For implementations.
func CheckReplacement(span Span, key, last []byte, first bool) error {
	if bytes.Compare(key, span.Lower) < 0 || span.Upper != nil && bytes.Compare(key, span.Upper) >= 0 {
		return fmt.Errorf("engine: row %x to install lies outside of %x…%x", key, span.Lower, span.Upper)
	}
	if !first && bytes.Compare(last, key) >= 0 {
		return fmt.Errorf("engine: rows to install are out of order: %x after %x", key, last)
	}
	return nil
}
