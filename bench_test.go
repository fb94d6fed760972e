package quorate_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quorate/quorate"
	"github.com/quorate/quorate/rsm"
)

// counter is the cheapest state machine: what is measured is everything else.
type counter struct {
	table
	result rsm.Result
}

func (m *counter) Apply(b rsm.Batch, results []rsm.Result) ([]rsm.Result, error) {
	for range b.Commands {
		results = append(results, m.result)
	}
	m.applied = b.Applied
	return results, nil
}

// BenchmarkPropose: 1000 clients of the leader of three members in this process,
// on loopback, with real files.
func BenchmarkPropose(b *testing.B) {
	var voters []quorate.Member
	var hosts []*quorate.Host
	var groups []*quorate.Group
	var addresses []string
	for i := range 3 {
		addresses = append(addresses, freeAddress(b))
		voters = append(voters, quorate.Voter(uint64(i+1), addresses[i]))
	}
	dir := b.TempDir()
	for i := range 3 {
		h, err := quorate.Open(b.Context(), filepath.Join(dir, fmt.Sprint(i)), quorate.Options{Node: uint64(i + 1), Listen: addresses[i]})
		if err != nil {
			b.Fatal(err)
		}
		hosts = append(hosts, h)
		g, err := h.Start(1, &counter{result: rsm.Result("ok")}, quorate.Bootstrap(voters...))
		if err != nil {
			b.Fatal(err)
		}
		groups = append(groups, g)
	}
	defer func() {
		for _, h := range hosts {
			h.Close(context.Background())
		}
	}()
	if _, err := groups[0].Propose(b.Context(), []byte("first")); err != nil {
		b.Fatal(err)
	}
	leader := groups[groups[0].Status().Leader.Node-1]
	command := make([]byte, 128)
	b.ReportAllocs()
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range 1000 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for left.Add(-1) >= 0 {
				if _, err := leader.Propose(b.Context(), command); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "proposals/s")
}
