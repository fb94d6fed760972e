package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// devMember is one member process of dev and its line in cluster.json.
type devMember struct {
	Name      string `json:"name"`
	PID       *int   `json:"pid"` // null while it is down: never the pid of a stranger
	ClientURL string `json:"clientURL"`
	PeerURL   string `json:"peerURL"`

	args    []string
	log     string
	dataDir string
}

const (
	stopLimit      = 5 * time.Second // from SIGTERM to SIGKILL
	quickDeath     = 3 * time.Second // a member that lives shorter did not start
	quickDeathsMax = 5               // in a row; then it is left down
	parentFD       = 3               // where a child finds the pipe whose end is its parent's end
)

type supervisorOptions struct {
	binary       string
	members      []devMember
	env          []string // added to the environment of the members
	clusterFile  string
	restartAfter time.Duration // 0: never
	out          io.Writer     // lines about deaths and restarts
}

// supervisor starts the members, starts a dead one again, and ends all of them.
//
// Every member is in a process group of its own, so Ctrl-C in a terminal reaches
// only dev, which then stops them in order. Every member holds the reading end of
// a pipe that only this process writes: when this process vanishes, by SIGKILL
// too, the pipe closes and the members end by themselves.
//
// One goroutine per member owns its process; they share what is below mu.
type supervisor struct {
	o      supervisorOptions
	pipeR  *os.File // inherited by the members
	pipeW  *os.File // held only here
	quit   chan struct{}
	once   sync.Once
	alive  sync.WaitGroup
	failed chan error    // a member that cannot be kept running
	died   chan struct{} // a member ended; holds at most one

	mu      sync.Mutex
	members []devMember
	early   string // why a member that never served ended
}

// startSupervisor starts every member. On an error nothing is left running.
func startSupervisor(o supervisorOptions) (*supervisor, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s := &supervisor{
		o: o, pipeR: r, pipeW: w, members: append([]devMember{}, o.members...),
		quit: make(chan struct{}), failed: make(chan error, 1), died: make(chan struct{}, 1),
	}
	for i := range s.members {
		cmd, err := s.start(i)
		if err != nil {
			s.stop()
			return nil, err
		}
		s.alive.Add(1)
		go s.keep(i, cmd)
	}
	return s, nil
}

// start starts member i and records its pid.
func (s *supervisor) start(i int) (*exec.Cmd, error) {
	m := &s.members[i]
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of member %s: %w", m.Name, err)
	}
	defer log.Close() // the child has its own copy
	cmd := exec.Command(s.o.binary, append(append([]string{}, m.args...), "--parent-fd", fmt.Sprint(parentFD))...)
	cmd.Env = append(cleanEnvironment(), s.o.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{s.pipeR} // becomes file 3
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start member %s: %w", m.Name, err)
	}
	return cmd, s.record(i, cmd.Process.Pid)
}

// cleanEnvironment leaves ETCD_ variables out: they are meant for a member that
// is started by hand, and would apply to every member here.
func cleanEnvironment() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "ETCD_") {
			env = append(env, e)
		}
	}
	return env
}

// keep owns member i until the supervisor stops.
func (s *supervisor) keep(i int, cmd *exec.Cmd) {
	defer s.alive.Done()
	quick := 0
	for {
		started := time.Now()
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-s.quit:
			end(cmd, ended)
			s.record(i, 0)
			return
		case err := <-ended:
			lived := time.Since(started)
			s.record(i, 0)
			s.noteDeath(i, err, lived)
			if quick++; lived >= quickDeath || killed(err) {
				quick = 0 // it did start; whoever kills members often may go on
			}
		}
		if s.o.restartAfter == 0 || removedForGood(s.o.members[i].dataDir) {
			<-s.quit
			return
		}
		if quick >= quickDeathsMax {
			s.fail(fmt.Errorf("member %s ended %d times right after its start; see %s", s.members[i].Name, quick, s.members[i].log))
			<-s.quit
			return
		}
		select {
		case <-s.quit:
			return
		case <-time.After(s.o.restartAfter):
		}
		next, err := s.start(i)
		if next == nil {
			s.fail(err)
			<-s.quit
			return
		}
		cmd = next
		fmt.Fprintf(s.o.out, "member %s started again, pid %d\n", s.members[i].Name, cmd.Process.Pid)
	}
}

// killed reports whether a signal from outside ended a process: it did not end by
// itself.
func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled()
}

// end stops one member: SIGTERM lets a leader hand over, SIGKILL is for one
// that does not listen.
func end(cmd *exec.Cmd, ended <-chan error) {
	cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(stopLimit):
		cmd.Process.Kill()
		<-ended
	}
}

func (s *supervisor) noteDeath(i int, err error, lived time.Duration) {
	how := "ended"
	if err != nil {
		how = err.Error() // "signal: killed", "exit status 1"
	}
	s.mu.Lock()
	name, log := s.members[i].Name, s.members[i].log
	if lived < quickDeath {
		s.early = fmt.Sprintf("member %s did not start (%s): %s", name, how, lastLine(log))
	}
	s.mu.Unlock()
	then := fmt.Sprintf("; again in %s", s.o.restartAfter)
	if removedForGood(s.o.members[i].dataDir) {
		how, then = "removed from the cluster", ""
	} else if s.o.restartAfter == 0 {
		then = "; it stays down"
	}
	fmt.Fprintf(s.o.out, "member %s is gone (%s)%s\n", name, how, then)
	select {
	case s.died <- struct{}{}:
	default:
	}
}

func (s *supervisor) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// earlyEnd says why a member ended right after its start, if one did.
func (s *supervisor) earlyEnd() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.early
}

func (s *supervisor) pids() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]int, len(s.members))
	for i, m := range s.members {
		if m.PID != nil {
			out[i] = *m.PID
		}
	}
	return out
}

// record sets a member's pid (0: down) and rewrites cluster.json.
func (s *supervisor) record(i, pid int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members[i].PID = nil
	if pid != 0 {
		s.members[i].PID = &pid
	}
	text, err := json.MarshalIndent(s.members, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(s.o.clusterFile, append(text, '\n'))
}

// stop ends every member and returns when all are gone.
func (s *supervisor) stop() {
	s.once.Do(func() {
		close(s.quit)
		s.alive.Wait()
		s.pipeW.Close()
		s.pipeR.Close()
	})
}

// replaceFile lets a reader see the old content or the new one, never a part; the
// new one is durable on return.
func replaceFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	if _, err = f.Write(content); err == nil {
		err = f.Sync() // or a power cut leaves the new name with nothing in it
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// lastLine is the last line of a log, for an error that should say more than
// where to look.
func lastLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "no log"
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil && size > 64<<10 {
		f.Seek(size-64<<10, io.SeekStart)
	} else {
		f.Seek(0, io.SeekStart)
	}
	last := "its log " + path + " is empty"
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		if t := strings.TrimSpace(lines.Text()); t != "" {
			last = t
		}
	}
	return strings.TrimPrefix(last, "quorate: ")
}

// watchParent calls gone when the process that holds the other end of pipe fd
// has ended.
func watchParent(fd int, gone func()) {
	f := os.NewFile(uintptr(fd), "parent")
	if f == nil {
		return
	}
	syscall.CloseOnExec(fd)
	go func() {
		io.Copy(io.Discard, f)
		gone()
	}()
}
