package kv

import (
	"fmt"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/engine"
	"github.com/quorate/quorate/kv/engine/mem"
	"github.com/quorate/quorate/kv/engine/pebble"
	"github.com/quorate/quorate/kv/mvcc"
	"github.com/quorate/quorate/rsm"
)

// BenchmarkApply is what one replica spends on a put of 256 bytes in batches of
// 64, over 10,000 keys: decoding, mvcc, the engine, the result.
func BenchmarkApply(b *testing.B) {
	for _, c := range []struct {
		name string
		open func() engine.Engine
	}{
		{"mem", func() engine.Engine { return mem.New() }},
		{"pebble", func() engine.Engine {
			e, err := pebble.Open(b.TempDir(), pebble.Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { e.Close() })
			return e
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := NewStore(c.open(), Options{})
			if _, _, err := s.Open(); err != nil {
				b.Fatal(err)
			}
			const batch = 64
			value := make([]byte, 256)
			var index id.Index
			var results []rsm.Result
			b.ReportAllocs()
			for n := 0; n < b.N; n += batch {
				commands := make([]rsm.Command, batch)
				for i := range commands {
					index++
					key := fmt.Appendf(nil, "key-%08d", uint64(index)*2654435761%10_000)
					data, err := (&Command{RequestID: uint64(index), Op: Op{Put: &mvcc.PutRequest{Key: key, Value: value}}}).Encode()
					if err != nil {
						b.Fatal(err)
					}
					commands[i] = rsm.Command{Index: index, Term: 1, Data: data}
				}
				var err error
				if results, err = s.Apply(rsm.Batch{Commands: commands, Applied: index, Term: 1}, results[:0]); err != nil {
					b.Fatal(err)
				}
			}
			s.Close()
		})
	}
}
