// Package mem is the engine in memory: a persistent tree. Snapshots cost
// nothing and never copy. It is the engine of tests and of the simulator, where
// it stands in for Pebble (DESIGN, "the one stand-in"): what was committed and
// not flushed is lost by Crash, exactly as with Pebble without a log.
//
//	committed  ─┬───┬───┬───┬───► newest      Snapshot, NewBatch
//	            durable          ▲
//	            Crash goes here  └ FlushBut(2) makes all but two batches durable
//
// A machine: no goroutine, no lock, no clock. When it flushes by itself is the
// caller's decision (FlushBut), so a seed decides it.
package mem

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/kv/engine"
)

// unflushedMax bounds how many unflushed contents are remembered. Beyond it the
// oldest becomes durable by itself, as Pebble's oldest memtable does.
const unflushedMax = 4096

// Engine implements engine.Engine.
type Engine struct {
	durable *node
	// later are the contents after each batch committed since; the last one is
	// the newest.
	later []*node
	bytes int // written since the last flush, roughly
	batch *batch
	dead  bool
}

// New returns an empty engine.
func New() *Engine { return &Engine{} }

func (e *Engine) newest() *node {
	if len(e.later) > 0 {
		return e.later[len(e.later)-1]
	}
	return e.durable
}

// NewBatch implements engine.Engine.
func (e *Engine) NewBatch() engine.Batch {
	assert.That(e.batch == nil, "a second batch was opened")
	e.batch = &batch{engine: e, reader: reader{e.newest()}, edit: new(edit)}
	return e.batch
}

// Commit implements engine.Engine.
func (e *Engine) Commit(b engine.Batch) error {
	if e.dead {
		return engine.ErrClosed
	}
	assert.That(b == engine.Batch(e.batch), "commit of a batch that is not open")
	e.push(e.batch.root)
	e.bytes += e.batch.size
	return e.batch.Close()
}

func (e *Engine) push(root *node) {
	e.later = append(e.later, root)
	if len(e.later) > unflushedMax {
		e.FlushBut(unflushedMax)
	}
}

// Snapshot implements engine.Engine.
func (e *Engine) Snapshot() engine.Snapshot { return snapshot{reader{e.newest()}} }

// GetDurable implements engine.Engine.
func (e *Engine) GetDurable(key []byte) ([]byte, bool, error) {
	return reader{e.durable}.Get(key, nil)
}

// Flush implements engine.Engine.
func (e *Engine) Flush() error {
	if e.dead {
		return engine.ErrClosed
	}
	e.FlushBut(0)
	return nil
}

// FlushBut makes everything durable but the last n committed batches: what an
// engine that flushes in the background has come to at some moment.
func (e *Engine) FlushBut(n int) {
	cut := len(e.later) - n
	if cut <= 0 {
		return
	}
	e.durable = e.later[cut-1]
	e.later = append(e.later[:0:0], e.later[cut:]...)
	if len(e.later) == 0 {
		e.bytes = 0
	}
}

// Crash returns the engine as it is found after a power cut now. This one must
// not be used any more; its snapshots may, they belong to the dead process.
func (e *Engine) Crash() *Engine {
	e.dead = true
	return &Engine{durable: e.durable}
}

// Replace implements engine.Engine.
func (e *Engine) Replace(span engine.Span, next func() (key, value []byte, err error)) error {
	if e.dead {
		return engine.ErrClosed
	}
	b := e.NewBatch().(*batch)
	defer b.Close()
	if err := b.DeleteRange(span); err != nil {
		return err
	}
	var last []byte
	for first := true; ; first = false {
		key, value, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the rows to install: %w", err)
		}
		if err := engine.CheckReplacement(span, key, last, first); err != nil {
			return err
		}
		last = append(last[:0], key...)
		if err := b.Set(key, value); err != nil {
			return err
		}
	}
	e.push(b.root)
	return e.Flush()
}

// Stats implements engine.Engine.
func (e *Engine) Stats() engine.Stats {
	return engine.Stats{MemoryBytes: int64(e.bytes), UnflushedBytes: int64(e.bytes)}
}

// Close implements engine.Engine. What was not flushed is lost with the Engine.
func (e *Engine) Close() error {
	e.dead = true
	return nil
}

type snapshot struct{ reader }

func (snapshot) Close() error { return nil }

type batch struct {
	reader
	engine *Engine
	edit   *edit
	size   int
}

func (b *batch) Set(key, value []byte) error {
	b.root = b.edit.set(b.root, bytes.Clone(key), append([]byte{}, value...))
	b.size += len(key) + len(value)
	return nil
}

func (b *batch) Delete(key []byte) error {
	b.root = b.edit.remove(b.root, key)
	b.size += len(key)
	return nil
}

func (b *batch) DeleteRange(span engine.Span) error {
	less, rest := b.edit.split(b.root, span.Lower)
	if span.Upper != nil {
		_, rest = b.edit.split(rest, span.Upper)
	} else {
		rest = nil
	}
	b.root = b.edit.join(less, rest)
	b.size += len(span.Lower) + len(span.Upper)
	return nil
}

// Iterate ends the edit: nodes that the iterator walks are not changed any more.
func (b *batch) Iterate(span engine.Span) engine.Iterator {
	b.edit = new(edit)
	return b.reader.Iterate(span)
}

func (b *batch) SizeBytes() int { return b.size }

func (b *batch) Close() error {
	if b.engine.batch == b {
		b.engine.batch = nil
	}
	return nil
}
