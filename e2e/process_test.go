package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for something that takes moments on an idle
// machine. It guards against hanging and says nothing about speed.
const patience = 60 * time.Second

// parallel runs a test beside others, but not beside many, however many cores
// there are: a member's log alone takes 128 MiB of disk from the beginning.
func parallel(t *testing.T) {
	t.Helper()
	t.Parallel()
	places <- struct{}{}
	t.Cleanup(func() { <-places })
}

var places = make(chan struct{}, 3)

// process is one running quorate.
type process struct {
	cmd   *exec.Cmd
	out   *output
	ended chan struct{} // closed when the process is gone
}

// start runs the binary in the background; it is killed at the end of the test
// if it is still there. dev is stopped: its members must have left the directory
// before that is removed.
func start(t testing.TB, args ...string) *process {
	t.Helper()
	return startIn(t, "", args...)
}

// startIn is start in a directory; "" is the tests' own.
func startIn(t testing.TB, dir string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(program(t), args...), out: newOutput(), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, p.out, p.out
	endWithUs(p.cmd)
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("quorate %s: %v", strings.Join(args, " "), err)
	}
	go func() {
		p.cmd.Wait()
		p.out.close()
		close(p.ended)
	}()
	t.Cleanup(func() {
		if args[0] == "dev" {
			p.cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-p.ended:
			case <-time.After(patience):
			}
		}
		p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

func (p *process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal %v: %v", s, err)
	}
}

// kill is kill -9, and the process is gone when it returns.
func (p *process) kill(t testing.TB) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
	<-p.ended
}

// wait returns the exit code, -1 for a process that a signal ended.
func (p *process) wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("the process did not end; it wrote:\n%s", p.out.text())
		return 0
	}
}

// output is what a process writes; a test can wait for a part of it.
type output struct {
	mu     sync.Mutex
	buffer bytes.Buffer
	ended  bool
	more   chan struct{} // closed and replaced at every write
}

func newOutput() *output { return &output{more: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.more)
	o.more = make(chan struct{})
	return o.buffer.Write(b)
}

func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	close(o.more)
	o.more = make(chan struct{})
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
}

// await waits until want is in the output.
func (o *output) await(t testing.TB, want string) {
	t.Helper()
	limit := time.After(patience)
	for {
		o.mu.Lock()
		have, ended, more := o.buffer.String(), o.ended, o.more
		o.mu.Unlock()
		if strings.Contains(have, want) {
			return
		}
		if ended {
			t.Fatalf("the process ended without writing %q; it wrote:\n%s", want, have)
		}
		select {
		case <-more:
		case <-limit:
			t.Fatalf("waited for %q, read:\n%s", want, have)
		}
	}
}

// answer is what a command that ends by itself came to.
type answer struct {
	stdout, stderr string
	code           int
}

// run runs a command to its end.
func run(t testing.TB, stdin string, args ...string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(t), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	if ended := (*exec.ExitError)(nil); err != nil && !errors.As(err, &ended) {
		t.Fatalf("quorate %s: %v", strings.Join(args, " "), err)
	}
	if ctx.Err() != nil {
		t.Fatalf("quorate %s does not end; it wrote:\n%s%s", strings.Join(args, " "), stdout.String(), stderr.String())
	}
	return answer{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// until tries again, a moment apart, until try succeeds.
func until(t testing.TB, what string, try func() error) {
	t.Helper()
	limit := time.Now().Add(patience)
	for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
		err := try()
		if err == nil {
			tick.Stop()
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// alive tells whether a process with this id runs. One that has ended and that
// nobody asks for (a container without an init) does not.
func alive(pid int) bool {
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		if _, rest, ok := bytes.Cut(stat, []byte(") ")); ok && bytes.HasPrefix(rest, []byte("Z")) {
			return false
		}
	}
	return syscall.Kill(pid, 0) == nil
}

// ports hands out ports that nobody listens on and that it has not handed out
// before. They are below what Linux and others give to outgoing connections.
var ports struct {
	sync.Mutex
	next int
}

// freePorts returns a port such that port + d is free for each d.
func freePorts(t testing.TB, d ...int) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	const from, to = 10000, 20000
	if ports.next == 0 {
		ports.next = from + os.Getpid()%(to-from)
	}
	for range (to - from) / 2 {
		port := ports.next
		if ports.next += 2; ports.next >= to {
			ports.next = from
		}
		if allFree(port, d) {
			return port
		}
	}
	t.Fatalf("no free ports from %d to %d", from, to)
	return 0
}

func allFree(port int, d []int) bool {
	for _, d := range d {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+d))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}
