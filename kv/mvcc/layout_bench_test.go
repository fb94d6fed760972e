package mvcc

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/kv/engine"
	"github.com/quorate/quorate/kv/engine/pebble"
)

// The probe behind docs/decisions/0002-store-layout.md: the candidates' row
// accesses and nothing else, on Pebble as we open it. CPU seconds of the whole
// process (flushes and compactions included), because this machine is shared.
//
//	go test ./kv/mvcc -run '^$' -bench Layouts -benchtime 1x -layout.keys 1000000

var (
	layoutKeys  = flag.Int("layout.keys", 50_000, "keys loaded by BenchmarkLayouts")
	layoutCache = flag.Int64("layout.cache", 96, "engine cache in MiB")
)

// layout is one candidate: key and value of the newest version only.
type layout struct {
	name string
	put  func(p *probe, b engine.Batch, key, value []byte)
	get  func(p *probe, r engine.Reader, key []byte) int
	// walk visits n keys from key on, with their values if wanted.
	walk func(p *probe, r engine.Reader, key []byte, n int, values bool) int
}

type probe struct {
	rev        uint64
	k, v, k2   []byte
	versionEnd [8]byte
}

func row(b []byte, table byte, parts ...[]byte) []byte {
	b = append(b[:0], table)
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func revBytes(rev uint64) []byte  { return binary.BigEndian.AppendUint64(nil, rev) }
func downBytes(rev uint64) []byte { return revBytes(^rev) }

var numbers = make([]byte, 12) // create, version, lease

var layouts = []layout{
	{
		name: "values-with-key",
		put: func(p *probe, b engine.Batch, key, value []byte) {
			it := b.Iterate(engine.Prefix(row(nil, 'k', key)))
			if it.First() {
				p.v = append(p.v[:0], it.Value()[:12]...)
			}
			it.Close()
			p.rev++
			b.Set(row(p.k, 'k', key, downBytes(p.rev)), append(append(p.v[:0], numbers...), value...))
			b.Set(row(p.k, 'r', revBytes(p.rev)), key)
		},
		get: func(p *probe, r engine.Reader, key []byte) int {
			it := r.Iterate(engine.Prefix(row(nil, 'k', key)))
			defer it.Close()
			it.First()
			return len(it.Value())
		},
		walk: func(p *probe, r engine.Reader, key []byte, n int, values bool) int {
			it := r.Iterate(engine.Span{Lower: row(nil, 'k', key), Upper: []byte{'l'}})
			defer it.Close()
			seen := 0
			for ok := it.First(); ok && seen < n; ok = it.Next() {
				if k := it.Key(); len(k)-8 != len(p.k2) || string(k[:len(k)-8]) != string(p.k2) {
					p.k2 = append(p.k2[:0], k[:len(k)-8]...)
					seen++
				}
				if values {
					p.v = append(p.v[:0], it.Value()...)
				}
			}
			return seen
		},
	},
	{
		name: "values-by-revision",
		put: func(p *probe, b engine.Batch, key, value []byte) {
			p.rev++
			p.k = row(p.k, 'm', key)
			old, found, _ := b.Get(p.k, p.v)
			if found {
				b.Set(row(p.k2, 'h', key, downBytes(binary.BigEndian.Uint64(old))), numbers)
			}
			b.Set(p.k, append(revBytes(p.rev), numbers...))
			b.Set(row(p.k, 'r', revBytes(p.rev)), append(append(append([]byte{}, numbers...), key...), value...))
		},
		get: func(p *probe, r engine.Reader, key []byte) int {
			m, _, _ := r.Get(row(p.k, 'm', key), nil)
			v, _, _ := r.Get(row(p.k, 'r', m[:8]), nil)
			return len(v)
		},
		walk: func(p *probe, r engine.Reader, key []byte, n int, values bool) int {
			it := r.Iterate(engine.Span{Lower: row(nil, 'm', key), Upper: []byte{'n'}})
			defer it.Close()
			seen := 0
			for ok := it.First(); ok && seen < n; ok = it.Next() {
				seen++
				if values {
					p.k = row(p.k, 'r', it.Value()[:8])
					p.v, _, _ = r.Get(p.k, p.v)
				}
			}
			return seen
		},
	},
	{
		name: "numbers-apart",
		put: func(p *probe, b engine.Batch, key, value []byte) {
			p.rev++
			p.k = row(p.k, 'm', key)
			p.v, _, _ = b.Get(p.k, p.v)
			b.Set(p.k, append(revBytes(p.rev), numbers...))
			b.Set(row(p.k, 'k', key, downBytes(p.rev)), append(append(p.v[:0], numbers...), value...))
			b.Set(row(p.k, 'e', revBytes(p.rev)), append(append(p.v[:0], numbers...), key...))
		},
		get: func(p *probe, r engine.Reader, key []byte) int {
			m, _, _ := r.Get(row(p.k, 'm', key), nil)
			v, _, _ := r.Get(row(p.k, 'k', key, downBytes(binary.BigEndian.Uint64(m))), nil)
			return len(v)
		},
		walk: func(p *probe, r engine.Reader, key []byte, n int, values bool) int {
			it := r.Iterate(engine.Span{Lower: row(nil, 'm', key), Upper: []byte{'n'}})
			defer it.Close()
			vit := r.Iterate(engine.Span{Lower: []byte{'k'}, Upper: []byte{'l'}})
			defer vit.Close()
			seen := 0
			for ok := it.First(); ok && seen < n; ok = it.Next() {
				seen++
				if values {
					p.k = row(p.k, 'k', it.Key()[1:], downBytes(binary.BigEndian.Uint64(it.Value())))
					vit.SeekGE(p.k)
					p.v = append(p.v[:0], vit.Value()...)
				}
			}
			return seen
		},
	},
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func rss() int {
	b, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kb, _ := strconv.Atoi(f[1])
			return kb >> 10
		}
	}
	return 0
}

// settle waits for the compactions that the writes have left behind.
func settle() {
	for {
		before := cpu()
		time.Sleep(300 * time.Millisecond)
		if cpu()-before < 15*time.Millisecond {
			return
		}
	}
}

func probeKey(i int) []byte {
	return fmt.Appendf(nil, "/registry/pods/%04d/%013d", uint32(i)*2654435761>>22, uint32(i)*2654435761)
}

func BenchmarkLayouts(b *testing.B) {
	for _, l := range layouts {
		b.Run(l.name, func(b *testing.B) {
			for range b.N {
				runProbe(b, &l, *layoutKeys)
			}
		})
	}
}

func runProbe(b *testing.B, l *layout, n int) {
	dir := b.TempDir()
	e, err := pebble.Open(dir, pebble.Options{CacheBytes: *layoutCache << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	p := &probe{}
	rng := rand.New(rand.NewSource(1))
	noise := make([]byte, 1<<20)
	rng.Read(noise)
	value := make([]byte, 256) // half of it does not compress
	measure := func(what string, times int, f func()) {
		start := cpu()
		f()
		b.ReportMetric(float64((cpu()-start).Nanoseconds())/float64(times)/1e3, what)
	}
	puts := func(keys func(i int) int, times int) func() {
		return func() {
			for i := 0; i < times; {
				batch := e.NewBatch()
				for range 64 {
					if i < times {
						copy(value[:128], noise[i*131%(1<<20-128):])
						l.put(p, batch, probeKey(keys(i)), value)
						i++
					}
				}
				if err := e.Commit(batch); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	measure("load-µs/put", n, puts(func(i int) int { return i }, n))
	measure("overwrite-µs/put", n/5, puts(func(int) int { return rng.Intn(n) }, n/5))
	measure("hot-µs/put", n/5, puts(func(i int) int { return i % 1000 }, n/5))
	measure("compact-s", 1e6, settle)
	runtime.GC()
	b.ReportMetric(float64(rss()), "RSS-MiB")
	s := e.Snapshot()
	defer s.Close()
	measure("get-µs", 20000, func() {
		for range 20000 {
			l.get(p, s, probeKey(rng.Intn(n)))
		}
	})
	measure("range1000-µs", 200, func() {
		for range 200 {
			l.walk(p, s, probeKey(rng.Intn(n)), 1000, true)
		}
	})
	measure("count-ms", 1000, func() {
		if got := l.walk(p, s, nil, 1<<30, false); got != n {
			b.Fatalf("counted %d of %d", got, n)
		}
	})
	b.ReportMetric(float64(e.Stats().DiskBytes>>20), "disk-MiB")
	b.ReportMetric(0, "ns/op")
}
