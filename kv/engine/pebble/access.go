package pebble

import (
	"bytes"
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"github.com/quorate/quorate/kv/engine"
)

// source is what a snapshot and a batch of Pebble have in common.
type source interface {
	Get(key []byte) (value []byte, closer io.Closer, err error)
	NewIter(o *pebble.IterOptions) (*pebble.Iterator, error)
}

type reader struct{ from source }

func (r reader) Get(key, into []byte) ([]byte, bool, error) {
	value, closer, err := r.from.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	into = append(into[:0], value...)
	return into, true, closer.Close()
}

func (r reader) Iterate(span engine.Span) engine.Iterator {
	if empty(span) {
		span.Upper = span.Lower
	}
	it, err := r.from.NewIter(&pebble.IterOptions{LowerBound: span.Lower, UpperBound: span.Upper})
	if err != nil {
		return failed{err}
	}
	return iterator{it}
}

// empty reports whether a span ends before it begins, which Pebble leaves open.
func empty(span engine.Span) bool {
	return span.Upper != nil && bytes.Compare(span.Lower, span.Upper) >= 0
}

type iterator struct{ it *pebble.Iterator }

func (i iterator) First() bool            { return i.it.First() }
func (i iterator) SeekGE(key []byte) bool { return i.it.SeekGE(key) }
func (i iterator) Next() bool             { return i.it.Next() }
func (i iterator) Key() []byte            { return i.it.Key() }
func (i iterator) Value() []byte          { return i.it.Value() }
func (i iterator) Err() error             { return i.it.Error() }
func (i iterator) Close() error           { return i.it.Close() }

// failed is an iterator that could not be made.
type failed struct{ err error }

func (failed) First() bool        { return false }
func (failed) SeekGE([]byte) bool { return false }
func (failed) Next() bool         { return false }
func (failed) Key() []byte        { return nil }
func (failed) Value() []byte      { return nil }
func (f failed) Err() error       { return f.err }
func (f failed) Close() error     { return f.err }

type snapshot struct {
	reader
	s *pebble.Snapshot
}

func (s snapshot) Close() error { return s.s.Close() }

type batch struct {
	reader
	b *pebble.Batch
}

func (b *batch) Set(key, value []byte) error { return b.b.Set(key, value, nil) }
func (b *batch) Delete(key []byte) error     { return b.b.Delete(key, nil) }

func (b *batch) DeleteRange(span engine.Span) error {
	if empty(span) {
		return nil
	}
	upper := span.Upper
	if upper == nil { // Pebble wants an end; no row key of ours begins like this
		upper = bytes.Repeat([]byte{0xff}, 64)
	}
	return b.b.DeleteRange(span.Lower, upper, nil)
}

func (b *batch) SizeBytes() int { return b.b.Len() }

func (b *batch) Close() error {
	if b.b == nil {
		return nil
	}
	err := b.b.Close()
	b.b = nil
	return err
}
