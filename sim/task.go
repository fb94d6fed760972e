package sim

import (
	"iter"

	"github.com/quorate/quorate/internal/id"
)

// Call is one call to a disk at which a coroutine stops: what it waits for.
type Call struct {
	Op    string // "write", "sync", "rename", …
	Name  string // the file
	Bytes int
}

// Task is a body of synchronous code (a WAL append, a snapshot) that runs as a
// coroutine: it stops at every Yield and goes on at the next Resume, so that
// virtual time can pass, or the node can crash, inside any call (DESIGN 22).
type Task struct {
	next   func() (Call, bool)
	stop   func()
	yield  func(Call) bool
	killed bool
	over   bool
}

// killed unwinds the stack of a killed task; nobody but Go recovers it.
type killSignal struct{}

// Go makes a task of body. Nothing of it runs before the first Resume.
func Go(body func()) *Task {
	t := &Task{}
	t.next, t.stop = iter.Pull(func(yield func(Call) bool) {
		defer func() {
			if p := recover(); p != nil {
				if _, ok := p.(killSignal); !ok {
					panic(p)
				}
			}
		}()
		t.yield = yield
		body()
	})
	return t
}

// Resume runs the task to its next Yield and returns what it waits for, or false
// when the body returned. A panic of the body comes out here.
func (t *Task) Resume() (Call, bool) {
	c, more := t.next()
	t.over = !more
	return c, more
}

// Yield stops the task, from inside its body, until the next Resume. It does not
// return if the task is killed meanwhile: the body ends where it stands.
func (t *Task) Yield(c Call) {
	if t.killed || !t.yield(c) {
		t.killed = true // deferred calls of the body end here as well
		panic(killSignal{})
	}
}

// Kill ends the task in the middle of the call it waits for, as a crash does.
func (t *Task) Kill() {
	if t.over {
		return
	}
	t.killed, t.over = true, true
	t.stop()
}

// Worker runs jobs one after the other, each as a task. latency says how long a
// call takes; the call's effect is there when it has passed. A crash kills the
// job in hand and forgets those behind it.
type Worker struct {
	world   *World
	latency func(Call) id.Duration
	enter   func(*Task) // the task that runs from here on; nil: none
	panics  func(any)   // a job panicked: the node is down
	queue   []job
	task    *Task
	timer   *Timer
}

type job struct {
	body  func()
	done  func()
	cause uint64
}

// NewWorker returns an idle worker. enter is told which task runs, so that a
// disk's hook knows whom to stop; panics gets what a job panicked with.
func NewWorker(w *World, latency func(Call) id.Duration, enter func(*Task), panics func(any)) *Worker {
	return &Worker{world: w, latency: latency, enter: enter, panics: panics}
}

// Do queues a job. done runs, outside of the coroutine, when body has returned.
// The caller bounds how many jobs it queues; Len tells.
func (k *Worker) Do(body, done func()) {
	k.queue = append(k.queue, job{body: body, done: done, cause: k.world.Cause()})
	if k.task == nil {
		k.begin()
	}
}

// Len is how many jobs are queued or running.
func (k *Worker) Len() int {
	if k.task != nil {
		return len(k.queue) + 1
	}
	return len(k.queue)
}

// begin starts the first job of the queue as an event of its own, so that a crash
// can come before it.
func (k *Worker) begin() {
	j := k.queue[0]
	k.queue = k.queue[1:]
	k.task = Go(j.body)
	k.timer = k.world.At(k.world.Now(), func() {
		k.world.Because(j.cause)
		k.resume(j)
	})
}

// resume runs the job to its next call.
func (k *Worker) resume(j job) {
	task := k.task
	call, more := k.run(task)
	if k.task != task {
		return // the job crashed its own node
	}
	if more {
		k.timer = k.world.After(k.latency(call), func() { k.resume(j) })
		return
	}
	k.task = nil
	if j.done != nil {
		j.done()
	}
	if k.task == nil && len(k.queue) > 0 {
		k.begin()
	}
}

func (k *Worker) run(task *Task) (c Call, more bool) {
	k.enter(task)
	defer func() {
		k.enter(nil)
		if p := recover(); p != nil {
			k.Kill()
			k.panics(p)
		}
	}()
	return task.Resume()
}

// Kill ends the job in hand and forgets the queue.
func (k *Worker) Kill() {
	k.timer.Stop()
	k.queue = nil
	if k.task != nil {
		task := k.task
		k.task = nil
		k.enter(task) // deferred calls of the body reach the disk too, and die there
		task.Kill()
		k.enter(nil)
	}
}
