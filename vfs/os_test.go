//go:build !js

package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOSKeepsTheInterface walks the interface once on real files.
func TestOSKeepsTheInterface(t *testing.T) {
	root := t.TempDir()
	m := OS(root)
	must(t, m.MkdirAll("a/b"))
	f := create(t, m, "a/b/f")
	if _, err := m.Create("a/b/f"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("creating a taken name: %v", err)
	}
	if _, err := m.Open("a/b/none"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), root) {
		t.Errorf("opening nothing: %v", err)
	}
	must(t, f.Preallocate(100_000))
	write(t, f, 10, "hello")
	must(t, f.Sync())
	if n, err := f.Size(); n != 100_000 || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
	must(t, f.Preallocate(50))
	if n, _ := f.Size(); n != 100_000 {
		t.Errorf("a smaller reservation cut the file to %d", n)
	}
	must(t, f.Truncate(15))
	if got := content(t, m, "a/b/f"); got != strings.Repeat("\x00", 10)+"hello" {
		t.Errorf("content %q", got)
	}
	must(t, f.Close())
	must(t, m.Rename("a/b/f", "a/b/g"))
	must(t, m.SyncDir("a/b"))
	create(t, m, "a/b/c").Close()
	if names, err := m.List("a/b"); err != nil || strings.Join(names, " ") != "c g" {
		t.Errorf("names %v, %v", names, err)
	}
	must(t, m.Remove("a/b/g"))
}

func TestOSLockIsExclusive(t *testing.T) {
	m := OS(t.TempDir())
	must(t, m.MkdirAll("."))
	l, err := m.Lock("LOCK")
	must(t, err)
	if _, err := m.Lock("LOCK"); !errors.Is(err, ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	must(t, l.Close())
	l, err = m.Lock("LOCK")
	must(t, err)
	l.Close()
}

// TestReservationByZeros shows the fallback where the system cannot reserve.
func TestReservationByZeros(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	must(t, err)
	defer f.Close()
	o := &osFile{f}
	write(t, o, 0, "abc")
	must(t, o.writeZeros(3, 3<<20))
	if n, err := o.Size(); n != 3<<20 || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
	b := make([]byte, 4)
	if _, err := o.ReadAt(b, 0); err != nil || string(b) != "abc\x00" {
		t.Errorf("read %q, %v", b, err)
	}
}
