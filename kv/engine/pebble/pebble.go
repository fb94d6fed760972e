// Package pebble is the engine on disk: one Pebble database for all keyspaces of
// a process, with Pebble's own write-ahead log off (DESIGN 7).
//
// What that means: batches collect in memtables and become durable when a
// memtable is written to a file, in commit order. After a crash the content is
// that of some prefix of the commits, and the Raft log is applied again from the
// applied index found in it. Pebble calls this mode untested: the crash tests
// here are the evidence.
//
//	file                    what                                durable when
//	NNNNNN.sst              sorted rows, checksummed            flush or compaction ends
//	MANIFEST-, OPTIONS-,    Pebble's own                        each edit is synced
//	marker.*, LOCK
//	install-NNNN.sst        rows of a Replace under way         linked by the ingest;
//	                                                            leftovers go at Open
//
// A door: Pebble runs goroutines of its own. Whatever it cannot recover from (a
// failed write in the background, a corrupt block) ends in Options.Fatal with
// one line: a member that goes on with half an engine spreads the damage.
package pebble

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/quorate/quorate/kv/engine"
)

// Options of an engine. The zero value takes the defaults.
type Options struct {
	// FS is Pebble's file system. Default: the operating system's.
	FS vfs.FS
	// CacheBytes bounds blocks kept in memory, the memtables among them. Default
	// 96 MiB. Smaller: every put of a known key reads a block from the system.
	CacheBytes int64
	// MemTableBytes is how much is written before a file is. Default 16 MiB, which
	// is also the most: it bounds how much log is applied again after a crash.
	// Smaller: more compaction per put.
	MemTableBytes int
	// Fatal is called with one line when the engine cannot go on. It must not
	// return. Default: print the line to standard error and exit with status 1.
	Fatal func(line string)
}

const (
	defaultCacheBytes    = 96 << 20
	defaultMemTableBytes = 16 << 20
)

// WithDefaults returns o with its zero fields set.
func (o Options) WithDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = defaultMemTableBytes
	}
	if o.Fatal == nil {
		o.Fatal = func(line string) {
			fmt.Fprintln(os.Stderr, line)
			os.Exit(1)
		}
	}
	return o
}

// Validate judges o, defaults set.
func (o Options) Validate() error {
	if o.MemTableBytes < 64<<10 || o.MemTableBytes > defaultMemTableBytes {
		return fmt.Errorf("engine: memtable of %d bytes is not between 64 KiB and 16 MiB", o.MemTableBytes)
	}
	if o.CacheBytes < 1<<20 {
		return fmt.Errorf("engine: cache of %d bytes is less than 1 MiB", o.CacheBytes)
	}
	return nil
}

// Engine implements engine.Engine. Snapshot, Stats and GetDurable may be called
// by any goroutine.
type Engine struct {
	db  *pebble.DB
	fs  vfs.FS
	dir string
}

// Open opens or makes the database in dir. It fails if another process has it.
func Open(dir string, o Options) (*Engine, error) {
	o = o.WithDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := removeLeftovers(o.FS, dir); err != nil {
		return nil, fmt.Errorf("engine: cannot clean %s: %w", dir, err)
	}
	cache := pebble.NewCache(o.CacheBytes)
	defer cache.Unref() // the database holds its own reference
	db, err := pebble.Open(dir, databaseOptions(o, cache))
	if err != nil {
		return nil, fmt.Errorf("engine: cannot open %s: %w", dir, err)
	}
	return &Engine{db: db, fs: o.FS, dir: dir}, nil
}

func databaseOptions(o Options, cache *pebble.Cache) *pebble.Options {
	p := &pebble.Options{
		FS:    o.FS,
		Cache: cache,
		// Persisted by name and fixed for ever: order is byte order.
		Comparer:           pebble.DefaultComparer,
		FormatMajorVersion: pebble.FormatTableFormatV6,
		DisableWAL:         true,
		MemTableSize:       uint64(o.MemTableBytes),
		// One being written to and two waiting; then commits wait for the disk.
		MemTableStopWritesThreshold: 3,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       20,
		LBaseMaxBytes:               64 << 20,
		// Two cores are shared with everything else.
		CompactionConcurrencyRange: func() (int, int) { return 1, 1 },
		MaxOpenFiles:               1000,
		Logger:                     quiet{o.Fatal},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) {
				// Pebble would try again for ever, at once.
				o.Fatal(oneLine("engine: a write in the background failed: %v; free the disk or replace it, then restart this member", err))
			},
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				o.Fatal(oneLine("engine: a file is corrupt: %v; restore this member from its peers", info))
			},
		},
	}
	// An ingest that waits in the queue of memtables would need the log.
	p.Experimental.DisableIngestAsFlushable = func() bool { return true }
	for i := range p.Levels {
		// Filters are for puts of new keys: "not there" without reading a block.
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		p.Levels[i].BlockSize = 8 << 10
		// A filter is one block and must fit into one of the cache's shards.
		p.TargetFileSizes[i] = 8 << 20
	}
	p.EnsureDefaults()
	return p
}

// quiet drops Pebble's chatter; what matters comes back as an error or event.
type quiet struct{ fatal func(string) }

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (q quiet) Fatalf(format string, args ...any) {
	q.fatal(oneLine("engine: "+format, args...))
}

func oneLine(format string, args ...any) string {
	return strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
}

// NewBatch implements engine.Engine.
func (e *Engine) NewBatch() engine.Batch {
	b := e.db.NewIndexedBatch()
	return &batch{reader: reader{b}, b: b}
}

// Commit implements engine.Engine.
func (e *Engine) Commit(b engine.Batch) error {
	own, ok := b.(*batch)
	if !ok || own.b == nil {
		return errors.New("engine: commit of a batch that is not open")
	}
	err := e.db.Apply(own.b, pebble.NoSync)
	if cerr := own.Close(); err == nil {
		err = cerr
	}
	return err
}

// Snapshot implements engine.Engine.
func (e *Engine) Snapshot() engine.Snapshot {
	s := e.db.NewSnapshot()
	return snapshot{reader{s}, s}
}

// GetDurable implements engine.Engine.
func (e *Engine) GetDurable(key []byte) (value []byte, found bool, err error) {
	it, err := e.db.NewIter(&pebble.IterOptions{
		LowerBound:                key,
		UpperBound:                append(append([]byte{}, key...), 0),
		OnlyReadGuaranteedDurable: true,
	})
	if err != nil {
		return nil, false, err
	}
	if found = it.First(); found {
		value = append([]byte{}, it.Value()...)
	}
	return value, found, it.Close()
}

// Flush implements engine.Engine.
func (e *Engine) Flush() error { return e.db.Flush() }

// Stats implements engine.Engine.
func (e *Engine) Stats() engine.Stats {
	m := e.db.Metrics()
	return engine.Stats{
		DiskBytes:      int64(m.DiskSpaceUsage()),
		MemoryBytes:    m.BlockCache.Size + int64(m.MemTable.Size),
		UnflushedBytes: int64(m.MemTable.Size),
	}
}

// Close implements engine.Engine.
func (e *Engine) Close() error { return e.db.Close() }
