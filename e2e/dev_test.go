package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"syscall"
	"testing"
)

// Three nodes are the smallest useful cluster (M4): dev starts them, shows where
// they are, and the kill of one is survived and repaired.
func TestDevStartsThreeShowsThemAndRestartsAKilledOneM4(t *testing.T) {
	parallel(t)
	c := launchDev(t, 3, "", "--restart-after", "100ms")
	table := c.out.text()
	for i := range 3 {
		row := regexp.MustCompile(fmt.Sprintf(`(?m)^  m%d +http://127\.0\.0\.1:%d +http://127\.0\.0\.1:%d +\d+$`, i+1, c.port+100*i, c.port+100*i+1))
		if !row.MatchString(table) {
			t.Errorf("no row like %s in the table:\n%s", row, table)
		}
	}
	before := c.members(t)
	if len(before) != 3 {
		t.Fatalf("cluster.json lists %d members", len(before))
	}
	for i, m := range before {
		if m.Name != fmt.Sprintf("m%d", i+1) || m.PID == nil || !alive(*m.PID) ||
			m.ClientURL != fmt.Sprintf("http://127.0.0.1:%d", c.port+100*i) || m.PeerURL != fmt.Sprintf("http://127.0.0.1:%d", c.port+100*i+1) {
			t.Errorf("cluster.json lists %+v", m)
		}
	}
	if a := c.ctl(t, "put", "kept", "1"); a.code != 0 {
		t.Fatal(a)
	}
	old, err := os.Open(filepath.Join(c.dir, "cluster.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	for i, m := range before {
		if err := syscall.Kill(*m.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		until(t, m.Name+" is started again", func() error {
			if pid := c.pids(t)[i]; pid == 0 || pid == *m.PID {
				return fmt.Errorf("cluster.json says pid %d, killed was %d", pid, *m.PID)
			}
			return nil
		})
		c.out.await(t, fmt.Sprintf("member %s is gone (signal: killed)", m.Name))
		c.out.await(t, fmt.Sprintf("member %s started again, pid %d", m.Name, c.pids(t)[i]))
	}
	if a := c.ctl(t, "get", "kept", "--print-value-only"); a.stdout != "1\n" {
		t.Errorf("after three kills: %+v", a)
	}
	// cluster.json is whole at any instant: it was replaced, never written over.
	// Who opened it before the first kill still reads what stood there then.
	var held []line
	if err := json.NewDecoder(old).Decode(&held); err != nil || !reflect.DeepEqual(held, before) {
		t.Errorf("cluster.json was changed in place: %+v, %v", held, err)
	}
	pids := c.pids(t)
	c.signal(t, syscall.SIGINT)
	if code := c.wait(t); code != 0 {
		t.Errorf("exit code %d after Ctrl-C:\n%s", code, c.out.text())
	}
	for i, pid := range pids {
		if alive(pid) {
			t.Errorf("m%d, pid %d, outlives dev", i+1, pid)
		}
	}
	if _, err := os.Stat(c.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the fresh directory %s is still there: %v", c.dir, err)
	}
}

func TestDevWithRestartAfterZeroLeavesADeadMemberDown(t *testing.T) {
	parallel(t)
	c := startDev(t, 3, "--restart-after", "0")
	if err := syscall.Kill(c.pids(t)[2], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.out.await(t, "member m3 is gone (signal: killed); it stays down")
	if a := c.ctl(t, "put", "two", "suffice"); a.code != 0 {
		t.Error(a)
	}
	if pid := c.pids(t)[2]; pid != 0 {
		t.Errorf("cluster.json says that m3 runs with pid %d", pid)
	}
	c.signal(t, syscall.SIGTERM)
	if code := c.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	// Nothing was started behind the scenes: dev would have said so.
	if again := regexp.MustCompile("started again").FindString(c.out.text()); again != "" {
		t.Errorf("a member was started again:\n%s", c.out.text())
	}
	if _, err := os.Stat(filepath.Join(c.dir, "m1")); err != nil {
		t.Errorf("a directory given with --dir is kept: %v", err)
	}
	// Members at other addresses would be strangers to their own data.
	refuse(t, c.dir, []refusal{
		{"other ports over the same directory", []string{"dev", "--dir", c.dir, "--client-port", fmt.Sprint(c.port + 2)}, 1, "start it with the same --members and --client-port, or use another --dir"},
		{"fewer members over the same directory", []string{"dev", "--dir", c.dir, "--client-port", fmt.Sprint(c.port), "--members", "1"}, 1, "start it with the same --members and --client-port, or use another --dir"},
	})
}

// kill -9 of dev itself: nobody is there to stop the members, they end alone.
func TestDevMembersEndWhenDevIsKilledAndResumeWithTheirData(t *testing.T) {
	parallel(t)
	c := startDev(t, 3)
	if a := c.ctl(t, "put", "kept", "1"); a.code != 0 {
		t.Fatal(a)
	}
	pids := c.pids(t)
	c.kill(t)
	for i, pid := range pids {
		until(t, fmt.Sprintf("m%d ends", i+1), func() error {
			if alive(pid) {
				return fmt.Errorf("pid %d is still there", pid)
			}
			return nil
		})
	}
	// Other ports than before would make these other members.
	c.process = start(t, "dev", "--dir", c.dir, "--client-port", fmt.Sprint(c.port))
	c.out.await(t, "Ctrl-C ends all members.")
	if a := c.ctl(t, "get", "kept", "--print-value-only"); a.stdout != "1\n" {
		t.Errorf("after dev was killed: %+v", a)
	}
}

func TestDevEndsCleanlyWhenToldSoWhileItStarts(t *testing.T) {
	parallel(t)
	c := &devCluster{dir: t.TempDir(), port: freePorts(t, 0, 1, 100, 101, 200, 201)}
	c.process = start(t, "dev", "--dir", c.dir, "--client-port", fmt.Sprint(c.port))
	until(t, "the first member is started", func() error {
		_, err := os.Stat(filepath.Join(c.dir, "cluster.json"))
		return err
	})
	c.signal(t, syscall.SIGINT)
	if code := c.wait(t); code != 0 {
		t.Errorf("exit code %d:\n%s", code, c.out.text())
	}
	for i, pid := range c.pids(t) {
		if pid != 0 {
			t.Errorf("cluster.json says that m%d still runs, pid %d", i+1, pid)
		}
	}
	for i := range 3 {
		if !allFree(c.port, []int{100 * i, 100*i + 1}) {
			t.Errorf("somebody still listens on m%d's ports", i+1)
		}
	}
}

func TestDevKeepKeepsTheFreshDirectory(t *testing.T) {
	parallel(t)
	c := launchDev(t, 1, "", "--keep")
	t.Cleanup(func() { os.RemoveAll(c.dir) })
	c.signal(t, syscall.SIGINT)
	if code := c.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	c.out.await(t, "the data stays in "+c.dir)
	if _, err := os.Stat(filepath.Join(c.dir, "m1", "wal")); err != nil {
		t.Error(err)
	}
}
