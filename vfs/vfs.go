// Package vfs is the door to files: a handful of synchronous methods. OS is the
// operating system. Disk is a disk that loses, tears, stalls and rots by seed,
// for the simulator and for crash tests.
//
// What a caller may rely on, and nothing more:
//   - bytes written are durable after a Sync of that file that returned nil;
//   - a created, renamed or removed name is durable after SyncDir of its
//     directory returned nil;
//   - after a failed Sync nothing is known about the file's unsynced bytes, now
//     or ever (fsyncgate): the caller must not retry and go on.
package vfs

import (
	"errors"
	"io"
	"syscall"
)

// ErrLocked is what Lock returns when somebody else holds the lock.
var ErrLocked = errors.New("locked by another process")

// IsNoSpace tells whether err says that a file system or a quota is full. It is
// the one failure a caller may survive, and only where it comes from Preallocate
// or Create: nothing was promised yet.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// FS is a file system. Names are slash-separated paths below a root the
// implementation knows. Errors wrap io/fs's: errors.Is(err, fs.ErrNotExist),
// and syscall.ENOSPC for a full disk.
type FS interface {
	// Create makes a new, empty file open for reading and writing; it fails with
	// fs.ErrExist if the name is taken.
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)
	// Rename replaces newName atomically if it exists.
	Rename(oldName, newName string) error
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// List returns the names in a directory, sorted.
	List(dir string) ([]string, error)
	// MkdirAll makes a directory and its parents; durable after SyncDir of each.
	MkdirAll(dir string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
	// Lock takes an exclusive lock that ends with the process or with Close. It
	// fails with ErrLocked at once if somebody holds it.
	Lock(name string) (io.Closer, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes everything written so far durable, the size included.
	Sync() error
	// Preallocate reserves space for the first n bytes and sets the size to at
	// least n; the reserved part reads as zeros. It fails with ENOSPC before any
	// byte is promised.
	Preallocate(n int64) error
	Truncate(n int64) error
	Size() (int64, error)
	Close() error
}
