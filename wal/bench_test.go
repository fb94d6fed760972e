package wal

import (
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/vfs"
)

// BenchmarkAppendSync writes batches of 64 entries of 256 bytes, one fsync each,
// to real files; BenchmarkAppendSync/append leaves the fsync out and shows what
// the log itself costs.
func BenchmarkAppendSync(b *testing.B) {
	for _, sync := range []bool{true, false} {
		name := "sync"
		if !sync {
			name = "append"
		}
		b.Run(name, func(b *testing.B) {
			l, _ := mustOpen(b, vfs.OS(b.TempDir()), Options{})
			mustAppend(b, l, startOf(1, 0, 0))
			const size = 64
			entries := run(1, 1, size, 256)
			batch := []Record{appendOf(1, raft.HardState{Term: 1}, entries...)}
			b.ReportAllocs()
			b.SetBytes(int64(size * len(entries[0].Encoded)))
			n := 0
			for b.Loop() {
				// The same entries again and again: each batch overwrites the last.
				if err := l.Append(batch); err != nil {
					b.Fatal(err)
				}
				err := error(nil)
				if sync {
					err = l.Sync()
				} else {
					err = l.flush()
				}
				if err != nil {
					b.Fatal(err)
				}
				if n++; n%4096 == 0 {
					if _, err := l.Release(); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*size), "ns/entry")
			b.StopTimer()
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkOpen recovers a log of 64 MiB of 256-byte entries.
func BenchmarkOpen(b *testing.B) {
	fs := vfs.OS(b.TempDir())
	l, _ := mustOpen(b, fs, Options{})
	mustAppend(b, l, startOf(1, 0, 0))
	last := id.Index(0)
	for range 64 << 20 / (64 * 256) {
		mustAppend(b, l, appendOf(1, raft.HardState{Term: 1}, run(1, last+1, 64, 240)...))
		last += 64
	}
	mustSync(b, l)
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l, states := mustOpen(b, fs, Options{})
		if states[0].Restored.Last != last {
			b.Fatal(states[0].Restored.Last)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
