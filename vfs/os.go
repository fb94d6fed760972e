//go:build !js

package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
)

// OS returns the operating system's files below root. Root itself is made by
// MkdirAll("."). Errors carry the full path.
func OS(root string) FS { return osFS{root} }

type osFS struct{ root string }

func (o osFS) path(name string) string { return filepath.Join(o.root, filepath.FromSlash(name)) }

func (o osFS) Create(name string) (File, error) {
	return o.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (o osFS) Open(name string) (File, error) { return o.open(name, os.O_RDWR) }

func (o osFS) open(name string, flag int) (File, error) {
	f, err := os.OpenFile(o.path(name), flag, 0o600)
	if err != nil {
		return nil, err
	}
	return &osFile{f}, nil
}

func (o osFS) Rename(oldName, newName string) error {
	return os.Rename(o.path(oldName), o.path(newName))
}

func (o osFS) Remove(name string) error { return os.Remove(o.path(name)) }

func (o osFS) List(dir string) ([]string, error) {
	d, err := os.Open(o.path(dir))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	return names, nil
}

func (o osFS) MkdirAll(dir string) error { return os.MkdirAll(o.path(dir), 0o700) }

func (o osFS) SyncDir(dir string) error { return syncDir(o.path(dir)) }

func (o osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(o.path(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "lock", Path: o.path(name), Err: err}
	}
	return f, nil // the lock ends with the descriptor
}

// osFile adds to os.File what differs between systems.
type osFile struct{ *os.File }

func (f *osFile) Size() (int64, error) {
	i, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}

func (f *osFile) Sync() error {
	if err := syncData(f.File); err != nil {
		return &fs.PathError{Op: "sync", Path: f.Name(), Err: err}
	}
	return nil
}

func (f *osFile) Preallocate(n int64) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	switch err := allocate(f.File, n); {
	case err == nil:
	case errors.Is(err, errors.ErrUnsupported):
		if err := f.writeZeros(size, n); err != nil {
			return fmt.Errorf("reserving %d bytes: %w", n, err)
		}
	default:
		return &fs.PathError{Op: fmt.Sprintf("reserve %d bytes in", n), Path: f.Name(), Err: err}
	}
	return nil
}

// writeZeros is Preallocate where the file system cannot reserve space: bytes
// that are written are certainly there. Holes before from stay holes.
func (f *osFile) writeZeros(from, to int64) error {
	zeros := make([]byte, 1<<20)
	for off := from; off < to; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), to-off)], off); err != nil {
			// Give the space back: a half reserved file helps nobody.
			return errors.Join(err, f.Truncate(from))
		}
	}
	return nil
}
