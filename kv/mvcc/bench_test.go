package mvcc

import (
	"fmt"
	"math/rand"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/engine/pebble"
)

// The store itself on Pebble, with -layout.keys keys of 33 bytes and values of
// 256.
//
//	go test ./kv/mvcc -run '^$' -bench Store

func benchStore(b *testing.B) *Store {
	e, err := pebble.Open(b.TempDir(), pebble.Options{CacheBytes: *layoutCache << 20})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	s, err := Open(e, Options{Prefix: []byte{1}})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// benchPuts puts the keys that next names, 64 to a batch.
func benchPuts(b *testing.B, s *Store, n int, next func(i int) int) {
	value := make([]byte, 256)
	rand.New(rand.NewSource(1)).Read(value[:128])
	for i := 0; i < n; {
		u := s.Begin()
		for range 64 {
			if i < n {
				if _, err := u.Put(&PutRequest{Key: probeKey(next(i)), Value: value}); err != nil {
					b.Fatal(err)
				}
				i++
			}
		}
		v, _, err := u.Commit(s.state.applied+1, id.Term(1))
		if err != nil {
			b.Fatal(err)
		}
		v.Close()
	}
}

func BenchmarkStorePutNew(b *testing.B) {
	b.ReportAllocs()
	s := benchStore(b)
	measurePuts(b, s, func(i int) int { return i })
}

func BenchmarkStoreOverwrite(b *testing.B) {
	b.ReportAllocs()
	s := benchStore(b)
	benchPuts(b, s, *layoutKeys, func(i int) int { return i })
	rng := rand.New(rand.NewSource(2))
	measurePuts(b, s, func(int) int { return rng.Intn(*layoutKeys) })
}

// measurePuts reports CPU besides time: machines are shared.
func measurePuts(b *testing.B, s *Store, next func(i int) int) {
	b.ResetTimer()
	start := cpu()
	benchPuts(b, s, b.N, next)
	b.ReportMetric(float64((cpu()-start).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

func BenchmarkStoreRead(b *testing.B) {
	s := benchStore(b)
	n := *layoutKeys
	benchPuts(b, s, n, func(i int) int { return i })
	then := s.Revision()
	benchPuts(b, s, n/10, func(i int) int { return i * 7 % n })
	if err := s.Flush(); err != nil {
		b.Fatal(err)
	}
	v := s.View()
	defer v.Close()
	rng := rand.New(rand.NewSource(3))
	for _, c := range []struct {
		name string
		r    func() RangeRequest
	}{
		{"get", func() RangeRequest { return RangeRequest{Key: probeKey(rng.Intn(n))} }},
		{"page500", func() RangeRequest { r := all(); r.Key = probeKey(rng.Intn(n)); r.Limit = 500; return r }},
		{"page500-past", func() RangeRequest {
			r := all()
			r.Key, r.Limit, r.Revision = probeKey(rng.Intn(n)), 500, then
			return r
		}},
		{"count", func() RangeRequest { r := all(); r.CountOnly = true; return r }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := c.r()
				if _, err := v.Range(&r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run(fmt.Sprint("hash", n), func(b *testing.B) {
		for b.Loop() {
			if _, err := v.HashKV(0); err != nil {
				b.Fatal(err)
			}
		}
	})
}
