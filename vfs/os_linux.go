package vfs

import (
	"errors"
	"os"
	"syscall"
)

// syncData uses fdatasync: it makes the bytes durable and the metadata needed to
// find them again (the size, the extents), and leaves out the rest (the times),
// which would cost a journal commit each.
func syncData(f *os.File) error {
	return retryInterrupted(func() error { return syscall.Fdatasync(int(f.Fd())) })
}

// allocate reserves space for the first n bytes and sets the size to at least n.
func allocate(f *os.File, n int64) error {
	err := retryInterrupted(func() error { return syscall.Fallocate(int(f.Fd()), 0, 0, n) })
	if err == syscall.EOPNOTSUPP || err == syscall.ENOSYS {
		return errors.ErrUnsupported
	}
	return err
}

// retryInterrupted repeats a call that a signal interrupted before it did
// anything. It never repeats a sync that failed (fsyncgate): EINTR is the one
// answer that says nothing about the data.
func retryInterrupted(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}
