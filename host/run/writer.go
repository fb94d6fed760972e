package run

import (
	"errors"
	"sync"
	"time"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/wal"
)

// writer is the one writer of the log. Whatever arrives while an fsync is in
// flight is the next batch (DESIGN 4). The queue is bounded by raft's windows and
// limits: a leader does not append past UncommittedBytes, a follower not past
// the window its leader keeps.
type writer struct {
	r     *Runner
	mu    sync.Mutex
	queue []host.Persist
	wake  chan struct{} // capacity 1
	done  chan struct{} // closed: finish the queue and end
}

// noSpaceRetry is how often a full disk is tried again. Nothing was written, and
// the leader loses its office by raft's stalled-disk rule meanwhile.
const noSpaceRetry = 100 * time.Millisecond

func (w *writer) init(r *Runner) {
	w.r, w.wake, w.done = r, make(chan struct{}, 1), make(chan struct{})
}

func (w *writer) add(p host.Persist) {
	w.mu.Lock()
	w.queue = append(w.queue, p)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *writer) stop() { close(w.done) }

func (w *writer) loop() {
	defer w.r.wg.Done()
	var batch []host.Persist
	for {
		batch = w.take(batch)
		if len(batch) == 0 {
			if err := w.r.o.Disk.Idle(); err != nil {
				w.r.Deliver(host.DiskFailed{Err: err})
				return
			}
			select {
			case <-w.wake:
				continue
			case <-w.done:
				if batch = w.take(batch); len(batch) == 0 { // both may be ready
					return
				}
			}
		}
		if !w.write(batch) {
			return
		}
		clear(batch)
	}
}

// take exchanges the queue for an empty one.
func (w *writer) take(empty []host.Persist) []host.Persist {
	w.mu.Lock()
	defer w.mu.Unlock()
	batch := w.queue
	w.queue = empty[:0]
	return batch
}

// write returns false when the disk is no longer to be used.
func (w *writer) write(batch []host.Persist) bool {
	for {
		durable, err := w.r.o.Disk.Persist(batch)
		switch {
		case err == nil:
			if durable != 0 {
				w.r.Deliver(host.Durable{Token: durable})
			}
			return true
		case errors.Is(err, wal.ErrNoSpace):
			select {
			case <-time.After(noSpaceRetry):
			case <-w.done:
				return false
			}
		default:
			w.r.Deliver(host.DiskFailed{Err: err})
			return false
		}
	}
}
