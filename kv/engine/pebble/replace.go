package pebble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/quorate/quorate/kv/engine"
)

// Replace writes the new rows to files of its own, each of which first deletes
// its part of the span, and ingests them in one edit of the manifest:
//
//	span     |────────────────────────────────────────|
//	files    |del……………rows|del……………rows|del………………rows|
//
// The deletion in a file and its rows get one sequence number, and a deletion
// hides only what is older. Pebble's excise would save the deletions, but it
// drops the old rows under open snapshots: a View opened before would change.
//
// Order: flush, so that no memtable holds rows of the span and the ingest needs
// no log; write and sync the files; ingest (atomic, durable on return); flush,
// for what was committed meanwhile to other keyspaces. A crash before the ingest
// leaves files that Open removes.
const installPrefix = "install-"

// installFileBytes is where the next file begins; a variable for tests.
var installFileBytes = 32 << 20

// Replace implements engine.Engine.
func (e *Engine) Replace(span engine.Span, next func() (key, value []byte, err error)) error {
	if span.Upper == nil {
		return errors.New("engine: a span to replace needs an upper end")
	}
	if empty(span) {
		return fmt.Errorf("engine: the span to replace, %x…%x, is empty", span.Lower, span.Upper)
	}
	if err := e.db.Flush(); err != nil {
		return err
	}
	w := &installer{engine: e, start: span.Lower}
	err := w.writeAll(span, next)
	if err == nil {
		err = e.db.Ingest(context.Background(), w.paths)
	}
	if err != nil {
		w.discard()
		return err
	}
	return e.db.Flush()
}

// installer writes the files of one Replace.
type installer struct {
	engine *Engine
	paths  []string
	start  []byte // where the file being written begins
	w      *sstable.Writer
	bytes  int
}

func (w *installer) writeAll(span engine.Span, next func() (key, value []byte, err error)) error {
	var last []byte
	if err := w.open(); err != nil {
		return err
	}
	for first := true; ; first = false {
		key, value, err := next()
		if errors.Is(err, io.EOF) {
			return w.finish(span.Upper)
		}
		if err != nil {
			return fmt.Errorf("reading the rows to install: %w", err)
		}
		if err := engine.CheckReplacement(span, key, last, first); err != nil {
			return err
		}
		last = append(last[:0], key...)
		if w.bytes > installFileBytes {
			if err := w.finish(key); err != nil {
				return err
			}
			w.start = append([]byte{}, key...)
			if err := w.open(); err != nil {
				return err
			}
		}
		if err := w.w.Set(key, value); err != nil {
			return err
		}
		w.bytes += len(key) + len(value)
	}
}

func (w *installer) open() error {
	fs := w.engine.fs
	path := fs.PathJoin(w.engine.dir, fmt.Sprintf("%s%04d.sst", installPrefix, len(w.paths)))
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	w.paths = append(w.paths, path)
	o := databaseOptions(Options{FS: fs}.WithDefaults(), nil).MakeWriterOptions(0, w.engine.db.TableFormat())
	w.w = sstable.NewWriter(objstorageprovider.NewFileWritable(f), o)
	w.bytes = 0
	return nil
}

// finish ends the file at end, which the next one begins with. The writer syncs.
func (w *installer) finish(end []byte) error {
	err := w.w.DeleteRange(w.start, end)
	if cerr := w.w.Close(); err == nil {
		err = cerr
	}
	w.w = nil
	return err
}

// discard removes what was written for nothing; Open would do it too.
func (w *installer) discard() {
	if w.w != nil {
		w.w.Close()
	}
	for _, path := range w.paths {
		_ = w.engine.fs.Remove(path)
	}
}

func removeLeftovers(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return nil // no directory yet: Pebble makes it
	}
	for _, name := range names {
		if strings.HasPrefix(name, installPrefix) {
			if err := fs.Remove(fs.PathJoin(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

var _ source = (*pebble.Snapshot)(nil)
