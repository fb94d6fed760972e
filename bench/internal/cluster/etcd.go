package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// BuildEtcd builds the etcd server that this module depends on.
func BuildEtcd(ctx context.Context, dir string) (string, error) {
	return build(ctx, filepath.Join(dir, "etcd"), ".", "go.etcd.io/etcd/server/v3")
}

// BuildQuorate builds quorate from the checkout that this module is in.
func BuildQuorate(ctx context.Context, dir string) (string, error) {
	return build(ctx, filepath.Join(dir, "quorate"), "..", "./cmd/quorate")
}

func build(ctx context.Context, to, in, what string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", to, what)
	cmd.Dir, cmd.Env = in, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", what, err, out)
	}
	return to, nil
}

// Processes is a cluster whose members this program starts itself, with the same
// flags whichever binary it is: both take etcd's.
type Processes struct {
	Binary  []string // the command and what comes before the flags
	Dir     string
	names   []string
	client  []string
	peer    []string
	running []*exec.Cmd
}

// NewProcesses plans n members on free ports; nothing is started.
func NewProcesses(binary []string, dir string, n int) (*Processes, error) {
	port, err := freePorts(n)
	if err != nil {
		return nil, err
	}
	p := &Processes{Binary: binary, Dir: dir, running: make([]*exec.Cmd, n)}
	for i := range n {
		p.names = append(p.names, fmt.Sprint("m", i+1))
		p.client = append(p.client, fmt.Sprintf("http://127.0.0.1:%d", port+100*i))
		p.peer = append(p.peer, fmt.Sprintf("http://127.0.0.1:%d", port+100*i+1))
	}
	return p, nil
}

// Start starts every member and waits until all serve.
func (p *Processes) Start(ctx context.Context) error {
	var all []string
	for i := range p.names {
		all = append(all, p.names[i]+"="+p.peer[i])
	}
	for i := range p.names {
		log, err := os.OpenFile(filepath.Join(p.Dir, p.names[i]+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		args := append(append([]string{}, p.Binary[1:]...),
			"--name", p.names[i], "--data-dir", filepath.Join(p.Dir, p.names[i]),
			"--listen-client-urls", p.client[i], "--advertise-client-urls", p.client[i],
			"--listen-peer-urls", p.peer[i], "--initial-advertise-peer-urls", p.peer[i],
			"--initial-cluster", strings.Join(all, ","), "--log-level", "error")
		cmd := exec.Command(p.Binary[0], args...)
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			return err
		}
		log.Close()
		p.running[i] = cmd
	}
	c := &Cluster{Fixed: p.Members()}
	if err := c.WaitServing(ctx, len(p.names)); err != nil {
		return fmt.Errorf("%w; the end of %s's log:\n%s", err, p.names[0], tail(filepath.Join(p.Dir, p.names[0]+".log")))
	}
	return nil
}

// Members lists them with their process ids.
func (p *Processes) Members() []Member {
	var list []Member
	for i := range p.names {
		list = append(list, Member{Name: p.names[i], PID: p.running[i].Process.Pid, ClientURL: p.client[i], PeerURL: p.peer[i]})
	}
	return list
}

// Endpoints lists the client URLs.
func (p *Processes) Endpoints() []string { return p.client }

// Stop ends every member with the signal and waits for all.
func (p *Processes) Stop(signal syscall.Signal) {
	for _, c := range p.running {
		if c != nil {
			c.Process.Signal(signal)
		}
	}
	for _, c := range p.running {
		if c != nil {
			c.Wait()
		}
	}
}
