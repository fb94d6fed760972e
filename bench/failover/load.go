package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/quorate/quorate/bench/internal/cluster"
)

// load is writers that put a fresh key each time, and watchers of all of it.
// Every key is written once, so a key's mod revision tells whether that very
// write survived.
type load struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	check  *clientv3.Client

	mu       sync.Mutex
	acks     []time.Time      // when a write was acknowledged
	revision map[string]int64 // acknowledged writes
	unknown  int
	problems []string
	seen     []map[string]int64 // per watcher: key → revision
	newest   []int64            // per watcher
}

const prefix = "failover/"

func startLoad(ctx context.Context, c *cluster.Cluster, writers, watchers int) (*load, error) {
	endpoints, err := c.Endpoints()
	if err != nil {
		return nil, err
	}
	l := &load{revision: map[string]int64{}, seen: make([]map[string]int64, watchers), newest: make([]int64, watchers)}
	l.ctx, l.cancel = context.WithCancel(ctx)
	if l.check, err = connect(endpoints); err != nil {
		return nil, err
	}
	for i := range watchers {
		l.seen[i] = map[string]int64{}
		cli, err := connect(rotate(endpoints, i))
		if err != nil {
			return nil, err
		}
		events := cli.Watch(l.ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(1))
		l.wg.Add(1)
		go l.watch(i, cli, events)
	}
	for i := range writers {
		cli, err := connect(rotate(endpoints, i))
		if err != nil {
			return nil, err
		}
		l.wg.Add(1)
		go l.write(i, cli)
	}
	return l, nil
}

func connect(endpoints []string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
}

func rotate(s []string, by int) []string {
	by %= len(s)
	return append(slices.Clone(s[by:]), s[:by]...)
}

func (l *load) write(writer int, cli *clientv3.Client) {
	defer l.wg.Done()
	defer cli.Close()
	var last int64
	for n := 0; l.ctx.Err() == nil; n++ {
		key := fmt.Sprintf("%s%02d/%08d", prefix, writer, n)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		r, err := cli.Put(ctx, key, "x")
		cancel()
		l.mu.Lock()
		if err != nil {
			l.unknown++
		} else {
			l.acks = append(l.acks, time.Now())
			l.revision[key] = r.Header.Revision
			if r.Header.Revision <= last {
				l.problems = append(l.problems, fmt.Sprintf("writer %d: revision %d acknowledged after %d", writer, r.Header.Revision, last))
			}
			last = r.Header.Revision
		}
		l.mu.Unlock()
		if err != nil {
			time.Sleep(time.Millisecond) // a refused connection must not become a busy loop
		}
	}
}

func (l *load) watch(watcher int, cli *clientv3.Client, events clientv3.WatchChan) {
	defer l.wg.Done()
	defer cli.Close()
	for r := range events {
		l.mu.Lock()
		if err := r.Err(); err != nil && l.ctx.Err() == nil {
			l.problems = append(l.problems, fmt.Sprintf("watcher %d: %v", watcher, err))
		}
		for _, e := range r.Events {
			key, revision := string(e.Kv.Key), e.Kv.ModRevision
			if _, twice := l.seen[watcher][key]; twice {
				l.problems = append(l.problems, fmt.Sprintf("watcher %d saw %s twice", watcher, key))
			}
			if revision < l.newest[watcher] {
				l.problems = append(l.problems, fmt.Sprintf("watcher %d saw revision %d after %d", watcher, revision, l.newest[watcher]))
			}
			l.seen[watcher][key], l.newest[watcher] = revision, max(l.newest[watcher], revision)
		}
		l.mu.Unlock()
	}
}

// settle waits until writes flow.
func (l *load) settle(ctx context.Context) {
	l.mu.Lock()
	want := len(l.acks) + 200
	l.mu.Unlock()
	for ctx.Err() == nil {
		l.mu.Lock()
		have := len(l.acks)
		l.mu.Unlock()
		if have >= want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// longestGap is the longest span between two acknowledgements, of those that end
// after at; the one that at falls into counts from the acknowledgement before it.
func (l *load) longestGap(at time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var longest time.Duration
	for i := len(l.acks) - 1; i > 0 && l.acks[i].After(at); i-- {
		longest = max(longest, l.acks[i].Sub(l.acks[i-1]))
	}
	return longest
}

func (l *load) failed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unknown
}

func (l *load) summary() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%d writes acknowledged, %d with unknown outcome", len(l.acks), l.unknown)
}

// finish stops the writers, lets the watchers catch up, and compares everything
// with what the store holds.
func (l *load) finish(ctx context.Context) []string {
	stored, revision, err := l.stored(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	l.catchUp(ctx, revision)
	l.cancel()
	l.wg.Wait()
	defer l.check.Close()
	if stored, _, err = l.stored(ctx); err != nil {
		return []string{err.Error()}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, r := range l.revision {
		switch have, ok := stored[key]; {
		case !ok:
			l.problems = append(l.problems, fmt.Sprintf("%s, acknowledged at revision %d, is missing", key, r))
		case have != r:
			l.problems = append(l.problems, fmt.Sprintf("%s, acknowledged at revision %d, has revision %d", key, r, have))
		}
	}
	for w, seen := range l.seen {
		for key, r := range stored {
			if s, ok := seen[key]; !ok && r <= l.newest[w] {
				l.problems = append(l.problems, fmt.Sprintf("watcher %d missed %s at revision %d, although it saw %d", w, key, r, l.newest[w]))
			} else if ok && s != r {
				l.problems = append(l.problems, fmt.Sprintf("watcher %d saw %s at revision %d, stored is %d", w, key, s, r))
			}
		}
		if l.newest[w] < revision {
			l.problems = append(l.problems, fmt.Sprintf("watcher %d stopped at revision %d of %d", w, l.newest[w], revision))
		}
	}
	return l.problems
}

// catchUp waits until every watcher has seen revision, 30 s at most.
func (l *load) catchUp(ctx context.Context, revision int64) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		l.mu.Lock()
		behind := slices.ContainsFunc(l.newest, func(n int64) bool { return n < revision })
		l.mu.Unlock()
		if !behind {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// stored reads all keys in pages and returns their mod revisions.
func (l *load) stored(ctx context.Context) (map[string]int64, int64, error) {
	all := map[string]int64{}
	var revision, newest int64
	for from := prefix; ; {
		opts := []clientv3.OpOption{clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithLimit(5000), clientv3.WithKeysOnly()}
		if revision != 0 {
			opts = append(opts, clientv3.WithRev(revision))
		}
		r, err := l.check.Get(ctx, from, opts...)
		if err != nil {
			return nil, 0, fmt.Errorf("reading back: %w", err)
		}
		if revision == 0 {
			revision = r.Header.Revision
		}
		for _, kv := range r.Kvs {
			all[string(kv.Key)] = kv.ModRevision
			newest = max(newest, kv.ModRevision)
		}
		if !r.More {
			return all, newest, nil
		}
		from = strings.Clone(string(r.Kvs[len(r.Kvs)-1].Key)) + "\x00"
	}
}
