package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// nothingServer is the server that does nothing, as a process of its own, so
// that its processor time is not the clients'.
type nothingServer struct {
	address string
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     io.ReadCloser
}

func startNothing() (*nothingServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &nothingServer{address: l.Addr().String()}
	l.Close()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s.cmd = exec.Command(self, "--nothing", s.address)
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if s.out, err = s.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", s.address); err == nil {
			c.Close()
			return s, nil
		}
	}
	return nil, fmt.Errorf("it does not listen on %s", s.address)
}

// stop ends it and returns the processor time it has used.
func (s *nothingServer) stop() (time.Duration, error) {
	s.in.Close()
	var n int64
	_, err := fmt.Fscan(s.out, &n)
	s.cmd.Wait()
	return time.Duration(n), err
}
