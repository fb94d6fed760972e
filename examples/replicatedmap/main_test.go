package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestMain is the example itself when the test starts it as a child.
func TestMain(m *testing.M) {
	if os.Getenv("REPLICATEDMAP_CHILD") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
}

func start(t *testing.T, dir string, member int, addresses []string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0], append([]string{fmt.Sprint(member)}, addresses...)...), lines: make(chan string, 100)}
	p.cmd.Env, p.cmd.Dir, p.cmd.Stderr = append(os.Environ(), "REPLICATEDMAP_CHILD=1"), dir, os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() { p.kill() })
	return p
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// say types a line and returns the answer.
func (p *process) say(line string) string {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		p.t.Fatal(err)
	}
	select {
	case answer := <-p.lines:
		return answer
	case <-time.After(20 * time.Second):
		p.t.Fatalf("no answer to %q", line)
		return ""
	}
}

func TestThreeProcessesReplicateAMapAndSurviveKill(t *testing.T) {
	dir := t.TempDir()
	var addresses []string
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
		l.Close()
	}
	var members []*process
	for i := range 3 {
		members = append(members, start(t, dir, i+1, addresses))
	}
	if got := members[0].say("set fruit apple"); got != "ok" {
		t.Fatalf("set: %s", got)
	}
	for i, m := range members {
		if got := m.say("get fruit"); got != "apple" {
			t.Errorf("member %d reads %q", i+1, got)
		}
	}
	members[1].kill()
	if got := members[2].say("set fruit pear"); got != "ok" {
		t.Fatalf("set with one member dead: %s", got)
	}
	for _, m := range members {
		m.kill()
	}
	for i := range 3 {
		members[i] = start(t, dir, i+1, addresses)
	}
	for i, m := range members {
		if got := m.say("get fruit"); got != "pear" {
			t.Errorf("member %d reads %q after all were killed", i+1, got)
		}
	}
}

func TestBadArgumentsGetOneLine(t *testing.T) {
	for _, args := range [][]string{{}, {"x", "127.0.0.1:1"}, {"4", "127.0.0.1:1"}} {
		cmd := exec.Command(os.Args[0], args...)
		cmd.Env = append(os.Environ(), "REPLICATEDMAP_CHILD=1")
		out, err := cmd.CombinedOutput()
		if err == nil || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), "MEMBER") {
			t.Errorf("%q: %v, %q", args, err, out)
		}
	}
}
