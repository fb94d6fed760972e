package run

import (
	"sync"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/host/exec"
	"github.com/quorate/quorate/internal/id"
)

// worker runs one group's jobs, one at a time and in order. It has a goroutine
// only while it has a job: an idle group costs none. At most an Apply and an
// Install are queued, by the host's rules.
type worker struct {
	r     *Runner
	id    id.GroupID
	group *exec.Group

	mu      sync.Mutex
	jobs    []func(*worker)
	running bool
}

func (w *worker) add(job func(*worker)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.jobs = append(w.jobs, job)
	if !w.running {
		w.running = true
		w.r.goDo(w.run)
	}
}

func (w *worker) run() {
	for {
		w.mu.Lock()
		if len(w.jobs) == 0 {
			w.running = false
			w.mu.Unlock()
			return
		}
		job := w.jobs[0]
		w.jobs = w.jobs[1:]
		w.mu.Unlock()
		job(w)
	}
}

func (w *worker) apply(a host.Apply) {
	done := w.group.Apply(a)
	if done.Err == nil && w.r.o.OnApplied != nil {
		w.r.o.OnApplied(w.id, done.Applied)
	}
	w.r.Deliver(done)
}

func (w *worker) install(i host.Install) {
	done := w.group.Install(i)
	if done.Err == nil && w.r.o.OnApplied != nil {
		w.r.o.OnApplied(w.id, i.Snapshot.Index)
	}
	w.r.Deliver(done)
}
