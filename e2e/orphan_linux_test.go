package e2e

import (
	"os/exec"
	"syscall"
)

// endWithUs keeps a process from outliving a test run that was killed.
func endWithUs(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
