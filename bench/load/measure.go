package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/quorate/quorate/bench/internal/cluster"
)

// operation is one request; n counts them over all clients.
type operation func(ctx context.Context, c *clientv3.Client, n int64, value string) error

func key(n int64) string { return fmt.Sprintf("/bench/%026d", uint64(n)*2654435761%100_000_000_000) }

func put(ctx context.Context, c *clientv3.Client, n int64, value string) error {
	_, err := c.Put(ctx, key(n), value)
	return err
}

func get(ctx context.Context, c *clientv3.Client, n int64, _ string) error {
	_, err := c.Get(ctx, key(n%1000))
	return err
}

// connectionsMax: clients share so many connections, spread over the members.
const connectionsMax = 100

// measure runs closed-loop clients for a time, or for a number of operations.
func measure(ctx context.Context, p *cluster.Processes, clients int, d time.Duration, operations, valueBytes int, op operation) (sample, error) {
	endpoints := p.Endpoints()
	var conns []*clientv3.Client
	for i := range min(clients, connectionsMax) {
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoints[i%len(endpoints)]}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
		if err != nil {
			return sample{}, err
		}
		defer c.Close()
		conns = append(conns, c)
	}
	value := strings.Repeat("v", valueBytes)
	var next atomic.Int64
	var failed atomic.Pointer[error]
	latencies := make([][]time.Duration, clients)
	before := cpu(p)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			c := conns[i%len(conns)]
			for ctx.Err() == nil && failed.Load() == nil {
				n := next.Add(1)
				if operations > 0 && n > int64(operations) || operations == 0 && time.Since(began) >= d {
					return
				}
				at := time.Now()
				if err := op(ctx, c, n, value); err != nil {
					failed.Store(&err)
					return
				}
				latencies[i] = append(latencies[i], time.Since(at))
			}
		}()
	}
	wg.Wait()
	took := time.Since(began)
	if err := failed.Load(); err != nil {
		return sample{}, *err
	}
	all := slices.Concat(latencies...)
	if len(all) == 0 {
		return sample{}, fmt.Errorf("no operation was done: %w", ctx.Err())
	}
	slices.Sort(all)
	return sample{
		perSecond: float64(len(all)) / took.Seconds(),
		p50:       all[len(all)/2], p99: all[len(all)*99/100],
		cpu: (cpu(p) - before) / time.Duration(len(all)),
		rss: memory(p),
	}, nil
}

// cpu is the processor time all members have used so far.
func cpu(p *cluster.Processes) time.Duration {
	var ticks int64
	for _, m := range p.Members() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.PID))
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		user, _ := strconv.ParseInt(f[11], 10, 64)
		system, _ := strconv.ParseInt(f[12], 10, 64)
		ticks += user + system
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100 on Linux
}

// memory is the mean resident size of the members, in MiB.
func memory(p *cluster.Processes) float64 {
	members := p.Members()
	var kib float64
	for _, m := range members {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.PID))
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
				n, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
				kib += n
			}
		}
	}
	return kib / 1024 / float64(len(members))
}
