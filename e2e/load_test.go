package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// load is closed-loop writers and watchers of what they write. Every write is of
// a new key, so the key's revision tells whether that very write survived.
//
// A write that fails may have happened: its outcome is unknown, and nothing is
// expected of it. A write that was acknowledged is there for ever, with the
// revision of the acknowledgement.
type load struct {
	writing  sync.WaitGroup
	watching sync.WaitGroup
	stop     chan struct{} // closed: no further writes
	cancel   context.CancelFunc
	reader   *clientv3.Client

	mu       sync.Mutex
	acked    map[string]int64 // key → revision
	failed   []error          // outcome unknown
	problems []string
	watchers []*seen
}

// seen is what one watcher was told.
type seen struct {
	newest int64
	keys   map[string]int64 // key → revision
}

const loadPrefix = "load/"

// startLoad starts writers and watchers, each with a client of its own over all
// endpoints, of which it prefers another one.
func startLoad(t testing.TB, writers, watchers int, endpoints []string) *load {
	t.Helper()
	l := &load{stop: make(chan struct{}), acked: map[string]int64{}, reader: dial(t, endpoints...)}
	var life context.Context
	life, l.cancel = context.WithCancel(context.Background())
	t.Cleanup(l.end)
	for i := range watchers {
		s := &seen{keys: map[string]int64{}}
		l.watchers = append(l.watchers, s)
		events := dial(t, turned(endpoints, i)...).Watch(life, loadPrefix, clientv3.WithPrefix(), clientv3.WithRev(1))
		l.watching.Go(func() { l.watch(i, s, events) })
	}
	for i := range writers {
		c := dial(t, turned(endpoints, i)...)
		l.writing.Go(func() { l.write(life, i, c) })
	}
	return l
}

func turned(list []string, by int) []string {
	by %= len(list)
	return append(slices.Clone(list[by:]), list[:by]...)
}

func (l *load) write(life context.Context, writer int, c *clientv3.Client) {
	var last int64
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			return
		default:
		}
		key := fmt.Sprintf("%s%02d/%06d", loadPrefix, writer, n)
		ctx, cancel := context.WithTimeout(life, 2*time.Second)
		r, err := c.Put(ctx, key, "x")
		cancel()
		l.mu.Lock()
		if err != nil {
			l.failed = append(l.failed, fmt.Errorf("%s: %w", key, err))
		} else {
			l.acked[key] = r.Header.Revision
			if r.Header.Revision <= last {
				l.problems = append(l.problems, fmt.Sprintf("writer %d got revision %d after %d", writer, r.Header.Revision, last))
			}
			last = r.Header.Revision
		}
		l.mu.Unlock()
		if err != nil { // a refused connection is no reason to spin
			select {
			case <-l.stop:
			case <-time.After(time.Millisecond):
			}
		}
	}
}

func (l *load) watch(watcher int, s *seen, events clientv3.WatchChan) {
	for r := range events {
		l.mu.Lock()
		if r.CompactRevision != 0 {
			l.problems = append(l.problems, fmt.Sprintf("watcher %d: %v", watcher, r.Err()))
		}
		for _, e := range r.Events {
			key, revision := string(e.Kv.Key), e.Kv.ModRevision
			if _, twice := s.keys[key]; twice {
				l.problems = append(l.problems, fmt.Sprintf("watcher %d saw %s twice", watcher, key))
			}
			if revision <= s.newest {
				l.problems = append(l.problems, fmt.Sprintf("watcher %d saw revision %d after %d", watcher, revision, s.newest))
			}
			s.keys[key], s.newest = revision, revision
		}
		l.mu.Unlock()
	}
}

// flows waits until n more writes were acknowledged.
func (l *load) flows(t testing.TB, n int) {
	t.Helper()
	want := l.count() + n
	until(t, "writes flow", func() error {
		if have := l.count(); have < want {
			return fmt.Errorf("%d writes acknowledged, waited for %d", have, want)
		}
		return nil
	})
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// end stops everything; what is still under way fails.
func (l *load) end() {
	l.mu.Lock()
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.mu.Unlock()
	l.writing.Wait()
	l.cancel()
	l.watching.Wait()
}

// finish stops the writers, lets the watchers catch up, and compares everything
// with what the store holds. It returns how many writes failed.
func (l *load) finish(t testing.TB) (failed []error) {
	t.Helper()
	close(l.stop)
	l.writing.Wait()
	stored := l.stored(t)
	var newest int64
	for _, r := range stored {
		newest = max(newest, r)
	}
	until(t, "the watchers catch up", func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		for i, s := range l.watchers {
			if s.newest < newest {
				return fmt.Errorf("watcher %d is at revision %d of %d", i, s.newest, newest)
			}
		}
		return nil
	})
	l.cancel()
	l.watching.Wait()
	for key, r := range l.acked {
		if stored[key] != r {
			l.problems = append(l.problems, fmt.Sprintf("%s was acknowledged at revision %d; the store has it at %d (0: not at all)", key, r, stored[key]))
		}
	}
	for i, s := range l.watchers {
		for key, r := range stored {
			if s.keys[key] != r {
				l.problems = append(l.problems, fmt.Sprintf("watcher %d saw %s at revision %d (0: never); the store has it at %d", i, key, s.keys[key], r))
			}
		}
		if len(s.keys) != len(stored) {
			l.problems = append(l.problems, fmt.Sprintf("watcher %d saw %d writes, the store has %d", i, len(s.keys), len(stored)))
		}
	}
	t.Logf("%d writes acknowledged, %d of unknown outcome", len(l.acked), len(l.failed))
	for i, p := range l.problems {
		if i == 20 {
			t.Errorf("and %d more", len(l.problems)-i)
			break
		}
		t.Error(p)
	}
	return l.failed
}

// stored reads every key that the load wrote.
func (l *load) stored(t testing.TB) map[string]int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := l.reader.Get(ctx, loadPrefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatalf("reading back: %v", err)
	}
	all := map[string]int64{}
	for _, kv := range r.Kvs {
		all[string(kv.Key)] = kv.ModRevision
	}
	return all
}
