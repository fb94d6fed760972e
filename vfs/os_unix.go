//go:build unix

package vfs

import (
	"io/fs"
	"os"
	"syscall"
)

// lockFile takes flock's exclusive lock. It belongs to the open file, so it ends
// with the process however that ends.
func lockFile(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == syscall.EWOULDBLOCK {
		return ErrLocked
	}
	return err
}

// syncDir makes a directory's names durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return &fs.PathError{Op: "sync directory", Path: path, Err: err}
	}
	return nil
}
