package watch

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/mvcc"
)

// TestRangesFindsWhatAListFinds holds the interval index against a list.
func TestRangesFindsWhatAListFinds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 3))
	key := func() []byte { return fmt.Appendf(nil, "%02d", random.IntN(40)) }
	var index ranges
	var list []*interest
	for step := range 5000 {
		switch random.IntN(3) {
		case 0:
			i := &interest{key: key(), end: key()}
			if random.IntN(8) == 0 {
				i.end = nil
			}
			if i.end != nil && bytes.Compare(i.key, i.end) >= 0 {
				continue
			}
			known := index.find(i.key, i.end)
			for _, o := range list {
				if bytes.Equal(o.key, i.key) && bytes.Equal(o.end, i.end) && (o.end == nil) == (i.end == nil) != (known == o) {
					t.Fatalf("step %d: find gives %v for %q to %q", step, known, i.key, i.end)
				}
			}
			if known == nil {
				index.insert(i)
				list = append(list, i)
			}
		case 1:
			if len(list) > 30 {
				n := random.IntN(len(list))
				index.remove(list[n])
				list = append(list[:n], list[n+1:]...)
			}
		}
		k := key()
		want, got := map[*interest]bool{}, 0
		for _, i := range list {
			if i.holds(k) {
				want[i] = true
			}
		}
		index.each(k, func(i *interest) {
			got++
			if !want[i] {
				t.Fatalf("step %d: %q is not in %q to %q", step, k, i.key, i.end)
			}
		})
		if got != len(want) {
			t.Fatalf("step %d: %d ranges hold %q, found %d", step, len(want), k, got)
		}
	}
}

// BenchmarkFanOut delivers one event on one key to ten thousand watchers on a
// hundred streams: ns/op divided by 10,000 is the Hub's cost per delivered event.
func BenchmarkFanOut(b *testing.B) {
	const streams, each = 100, 100
	h := NewHub(Options{}, 1, -1)
	var out Output
	for s := StreamID(1); s <= streams; s++ {
		in := []Input{OpenStream{s}}
		for range each {
			in = append(in, Create{Stream: s, Key: []byte("key")})
		}
		h.Step(0, in, &out)
		out.Reset()
		h.Step(0, []Input{Sent{s, each * responseBytes}}, &out)
	}
	rev := int64(1)
	b.ReportAllocs()
	for b.Loop() {
		rev++
		events := []Event{{Event: mvcc.Event{KV: mvcc.KeyValue{Key: []byte("key"), Value: make([]byte, 100), ModRevision: rev}}}}
		out.Reset()
		h.Step(id.Time(rev), []Input{Published{Revision: rev, CompactRevision: -1, Events: events}}, &out)
		if len(out.Responses) != streams*each {
			b.Fatalf("%d responses", len(out.Responses))
		}
		bytes := out.Responses[0].Bytes * each
		for s := StreamID(1); s <= streams; s++ {
			h.Step(0, []Input{Sent{s, bytes}}, &out)
		}
	}
}
