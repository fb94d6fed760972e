// Package cluster starts a cluster of real processes for a measurement and ends
// it again: `quorate dev` in a directory of its own.
package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Member is a line of cluster.json.
type Member struct {
	Name      string `json:"name"`
	PID       int    `json:"pid"`
	ClientURL string `json:"clientURL"`
	PeerURL   string `json:"peerURL"`
}

// Cluster is a running `quorate dev`.
type Cluster struct {
	Dir   string
	Fixed []Member // instead of cluster.json
	cmd   *exec.Cmd
	log   *os.File
}

// Start runs the binary's dev command with n members on free ports and waits
// until the cluster serves.
func Start(ctx context.Context, binary, dir string, n int, more ...string) (*Cluster, error) {
	port, err := freePorts(n)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "dev.log"))
	if err != nil {
		return nil, err
	}
	args := append([]string{"dev", "--dir", filepath.Join(dir, "data"), "--keep", "--members", fmt.Sprint(n), "--client-port", fmt.Sprint(port)}, more...)
	c := &Cluster{Dir: filepath.Join(dir, "data"), log: log, cmd: exec.Command(binary, args...)}
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	if err := c.WaitServing(ctx, n); err != nil {
		c.Stop()
		return nil, fmt.Errorf("%w; the end of its log:\n%s", err, tail(log.Name()))
	}
	return c, nil
}

// Members reads cluster.json.
func (c *Cluster) Members() ([]Member, error) {
	if c.Fixed != nil {
		return c.Fixed, nil
	}
	b, err := os.ReadFile(filepath.Join(c.Dir, "cluster.json"))
	if err != nil {
		return nil, err
	}
	var m []Member
	return m, json.Unmarshal(b, &m)
}

// Endpoints lists the client URLs.
func (c *Cluster) Endpoints() ([]string, error) {
	members, err := c.Members()
	var urls []string
	for _, m := range members {
		urls = append(urls, m.ClientURL)
	}
	return urls, err
}

// WaitServing waits until n members answer a linearizable status and agree on
// the leader.
func (c *Cluster) WaitServing(ctx context.Context, n int) error {
	var last error
	for ctx.Err() == nil {
		if last = c.serving(ctx, n); last == nil {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return fmt.Errorf("the cluster does not serve: %w", last)
}

func (c *Cluster) serving(ctx context.Context, n int) error {
	members, err := c.Members()
	if err != nil {
		return err
	}
	if len(members) != n {
		return fmt.Errorf("%d of %d members are up", len(members), n)
	}
	var leader uint64
	for _, m := range members {
		s, err := status(ctx, m)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		if s.Leader == 0 || leader != 0 && s.Leader != leader {
			return errors.New("the members do not agree on a leader")
		}
		leader = s.Leader
	}
	return nil
}

func status(ctx context.Context, m Member) (*clientv3.StatusResponse, error) {
	cli, err := clientv3.New(clientv3.Config{Endpoints: []string{m.ClientURL}, DialTimeout: time.Second, Logger: zap.NewNop()})
	if err != nil {
		return nil, err
	}
	defer cli.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return cli.Status(ctx, m.ClientURL)
}

// Leader finds the member that leads.
func (c *Cluster) Leader(ctx context.Context) (Member, error) {
	members, err := c.Members()
	if err != nil {
		return Member{}, err
	}
	for _, m := range members {
		if s, err := status(ctx, m); err == nil && s.Leader == s.Header.MemberId {
			return m, nil
		}
	}
	return Member{}, errors.New("no member says that it leads")
}

// Stop ends dev, and with it every member.
func (c *Cluster) Stop() error {
	c.cmd.Process.Signal(os.Interrupt)
	err := c.cmd.Wait()
	c.log.Close()
	return err
}

// freePorts finds a port such that the ports `dev` derives from it are free too.
func freePorts(n int) (int, error) {
	for port := 21000; port < 30000; port += 100*n + 7 {
		free := true
		for i := 0; i < n && free; i++ {
			for _, p := range []int{port + 100*i, port + 100*i + 1} {
				l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
				if err != nil {
					free = false
					break
				}
				l.Close()
			}
		}
		if free {
			return port, nil
		}
	}
	return 0, errors.New("no free ports between 21000 and 30000")
}

func tail(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	var lines []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if lines = append(lines, s.Text()); len(lines) > 20 {
			lines = lines[1:]
		}
	}
	return strings.Join(lines, "\n")
}
