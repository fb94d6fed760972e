package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// window reads a segment forward through a buffer of moderate size.
type window struct {
	s    *segment
	from int64
	b    []byte
	keep []byte // the buffer behind b
}

const windowBytes = 1 << 20

// read returns n bytes at off; fewer only at the end of the file. They are valid
// until the next read.
func (w *window) read(s *segment, off int64, n int) ([]byte, error) {
	if w.s == s && off >= w.from && off+int64(n) <= w.from+int64(len(w.b)) {
		return w.b[off-w.from:][:n], nil
	}
	size := int(min(int64(max(n, windowBytes)), s.bytes-off))
	if size <= 0 {
		return nil, nil
	}
	if cap(w.keep) < size {
		w.keep = make([]byte, size)
	}
	w.s, w.from, w.b = s, off, w.keep[:size]
	k, err := s.file.ReadAt(w.b, off)
	if err != nil && !(err == io.EOF && k == size) {
		w.s = nil
		return nil, fmt.Errorf("wal: reading %s: %w", at(s.number, off), err)
	}
	return w.b[:min(n, size)], nil
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
