package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test binary is also the member that the supervisor runs.
func TestMain(m *testing.M) {
	switch os.Getenv("QUORATE_TEST_CHILD") {
	case "member":
		childMember()
	case "dev":
		childDev()
	case "fails":
		fmt.Println("quorate: port in use: 127.0.0.1:1")
		os.Exit(1)
	default:
		os.Exit(m.Run())
	}
}

// childMember lives until SIGTERM or until its parent is gone.
func childMember() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	gone := make(chan struct{})
	watchParent(parentFD, func() { close(gone) })
	select {
	case <-term:
	case <-gone:
	}
	os.Exit(0)
}

// childDev supervises one member and is then killed by the test.
func childDev() {
	s, err := startSupervisor(testSupervisor(os.Getenv("QUORATE_TEST_DIR"), 1, os.Stdout, "member"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("pid", s.pids()[0])
	select {}
}

func testSupervisor(dir string, n int, out interface{ Write([]byte) (int, error) }, kind string) supervisorOptions {
	members := devMembers(devOptions{members: n, dir: dir, clientPort: 2379})
	for i := range members {
		members[i].args = nil
	}
	return supervisorOptions{
		binary: os.Args[0], members: members, env: []string{"QUORATE_TEST_CHILD=" + kind},
		clusterFile: filepath.Join(dir, "cluster.json"), restartAfter: time.Millisecond, out: out,
	}
}

// lines is a writer whose lines a test can wait for.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newLines() *lines { return &lines{more: make(chan struct{}, 1)} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *lines) await(t *testing.T, want string) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		l.mu.Lock()
		got := l.text.String()
		l.mu.Unlock()
		if strings.Contains(got, want) {
			return
		}
		select {
		case <-l.more:
		case <-limit:
			t.Fatalf("waited for %q, saw:\n%s", want, got)
		}
	}
}

func readCluster(t *testing.T, dir string) []devMember {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "cluster.json"))
	if err != nil {
		t.Fatal(err)
	}
	var members []devMember
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return members
}

func TestDevRestartsAKilledMemberAndKeepsClusterJSONCurrent(t *testing.T) {
	dir, out := t.TempDir(), newLines()
	s, err := startSupervisor(testSupervisor(dir, 3, out, "member"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	before := readCluster(t, dir)
	if len(before) != 3 || before[1].Name != "m2" || before[1].ClientURL != "http://127.0.0.1:2479" || before[1].PeerURL != "http://127.0.0.1:2480" {
		t.Fatalf("cluster.json holds %+v", before)
	}
	if err := syscall.Kill(*before[1].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	out.await(t, "member m2 is gone (signal: killed)")
	out.await(t, "member m2 started again")
	after := readCluster(t, dir)
	if after[1].PID == nil || *after[1].PID == *before[1].PID || *after[0].PID != *before[0].PID {
		t.Fatalf("pids before %v, after %v", *before[1].PID, after[1].PID)
	}
	s.stop()
	for _, m := range append(before, after...) {
		if err := syscall.Kill(*m.PID, 0); err != syscall.ESRCH {
			t.Errorf("pid %d of %s after stop: %v, want no such process", *m.PID, m.Name, err)
		}
	}
	for _, m := range readCluster(t, dir) {
		if m.PID != nil {
			t.Errorf("%s has pid %d after stop, want null", m.Name, *m.PID)
		}
	}
}

// However often a member is killed, it is started again: only one that ends by
// itself is given up.
func TestDevRestartsAMemberThatIsKilledAgainAndAgain(t *testing.T) {
	dir, out := t.TempDir(), newLines()
	s, err := startSupervisor(testSupervisor(dir, 1, out, "member"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	for range 2 * quickDeathsMax {
		pid := s.pids()[0]
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for s.pids()[0] == pid || s.pids()[0] == 0 {
			select {
			case err := <-s.failed:
				t.Fatal(err)
			default:
				runtime.Gosched()
			}
		}
	}
}

func TestDevMembersAreInGroupsOfTheirOwn(t *testing.T) {
	dir := t.TempDir()
	s, err := startSupervisor(testSupervisor(dir, 1, newLines(), "member"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	pid := s.pids()[0]
	if group, err := syscall.Getpgid(pid); err != nil || group != pid {
		t.Fatalf("process group %d (%v), want its own, %d", group, err, pid)
	}
}

func TestDevMembersEndWhenTheParentVanishes(t *testing.T) {
	dir := t.TempDir()
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), "QUORATE_TEST_CHILD=dev", "QUORATE_TEST_DIR="+dir)
	out := newLines()
	parent.Stdout = out
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	out.await(t, "pid ")
	pid := *readCluster(t, dir)[0].PID
	parent.Process.Kill()
	parent.Wait()
	for limit := time.Now().Add(20 * time.Second); ; {
		err := syscall.Kill(pid, 0)
		if err == syscall.ESRCH || zombie(pid) {
			return
		}
		if time.Now().After(limit) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("member %d still runs after its parent was killed", pid)
		}
	}
}

// zombie is true for an ended process whom nobody has waited for: in a container
// without an init process nobody ever does.
func zombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(text), ") Z ")
}

func TestDevGivesUpOnAMemberThatDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	s, err := startSupervisor(testSupervisor(dir, 1, newLines(), "fails"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	<-s.died
	if line := s.earlyEnd(); !strings.Contains(line, "m1 did not start (exit status 1): port in use") {
		t.Errorf("says %q", line)
	}
	if err := <-s.failed; !strings.Contains(err.Error(), "ended 5 times right after its start") {
		t.Errorf("says %q", err)
	}
}

func TestDevNamesAPortInUseBeforeAnythingStarts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := filepath.Join(t.TempDir(), "d")
	port := l.Addr().(*net.TCPAddr).Port
	if port > 65000 {
		t.Skip("no room above this port")
	}
	var out, errs bytes.Buffer
	code := run([]string{"quorate", "dev", "--dir", dir, "--members", "1", "--client-port", fmt.Sprint(port)}, &out, &errs)
	if code != 1 || !strings.Contains(errs.String(), "port in use: "+l.Addr().String()) || !strings.Contains(errs.String(), "--client-port") {
		t.Fatalf("code %d, %q", code, errs.String())
	}
	if _, err := os.Stat(filepath.Join(dir, "cluster.json")); !os.IsNotExist(err) {
		t.Fatalf("a partial start left cluster.json: %v", err)
	}
}

func TestDevGoesOnOnlyUnderTheSameAddresses(t *testing.T) {
	dir := t.TempDir()
	o := devOptions{members: 3, dir: dir, clientPort: 2379}
	if err := sameCluster(dir, devMembers(o)); err != nil {
		t.Fatalf("a fresh directory: %v", err)
	}
	s, err := startSupervisor(testSupervisor(dir, 3, newLines(), "member"))
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	if err := sameCluster(dir, devMembers(o)); err != nil {
		t.Errorf("the same again: %v", err)
	}
	for _, other := range []devOptions{{members: 5, dir: dir, clientPort: 2379}, {members: 3, dir: dir, clientPort: 4000}} {
		if err := sameCluster(dir, devMembers(other)); err == nil || !strings.Contains(err.Error(), "holds a cluster of 3 members, the first at http://127.0.0.1:2379") {
			t.Errorf("%+v: %v", other, err)
		}
	}
}

func TestCommandsNameWhatIsWrong(t *testing.T) {
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"quorate", "srve"}, 2, `unknown command "srve"; run 'quorate help'`},
		{[]string{"quorate", "ser"}, 2, `unknown command "ser"`},
		{[]string{"quorate", "--nope"}, 2, "unknown flag: --nope; run 'quorate --help'"},
		{[]string{"quorate", "dev", "--nope"}, 2, "unknown flag: --nope; run 'quorate dev --help'"},
		{[]string{"quorate", "dev", "x"}, 2, "takes no arguments; flags for every member go behind --"},
		{[]string{"quorate", "dev", "--members", "0"}, 2, "--members 0 must be 1 to 9"},
		{[]string{"quorate", "dev", "--client-port", "65500"}, 2, "leaves no room for 3 members"},
		{[]string{"quorate", "serve", "-nope"}, 2, "unknown flag --nope"},
		{[]string{"etcd", "-nope"}, 2, "unknown flag --nope"},
	} {
		var out, errs bytes.Buffer
		if code := run(tc.args, &out, &errs); code != tc.code || !strings.Contains(errs.String(), tc.want) || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%v: code %d, %q; want %d and one line with %q", tc.args, code, errs.String(), tc.code, tc.want)
		}
	}
}

func TestCalledAsEtcdItNamesEtcdsVersionFirst(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"/usr/local/bin/etcd", "--version"}, &out, &errs); code != 0 {
		t.Fatalf("code %d: %s", code, errs.String())
	}
	first, rest, _ := strings.Cut(out.String(), "\n")
	if !strings.HasPrefix(first, "etcd Version: 3.7.") || !strings.HasPrefix(rest, "quorate Version: ") {
		t.Fatalf("printed %q", out.String())
	}
}

func TestHelpShowsEveryCommand(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"quorate", "help"}, &out, &errs); code != 0 {
		t.Fatal(errs.String())
	}
	for _, name := range []string{"dev", "serve", "ctl", "sim", "wal", "version"} {
		if !strings.Contains(out.String(), "\n  "+name+" ") {
			t.Errorf("help does not list %s:\n%s", name, out.String())
		}
	}
	out.Reset()
	if code := run([]string{"etcd", "-h"}, &out, &errs); code != 0 || !strings.Contains(out.String(), "--listen-client-urls") {
		t.Errorf("etcd -h: code %d\n%s", code, out.String())
	}
}
