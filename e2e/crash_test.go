package e2e

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
)

// kill -9 of every member at the same time, under load, twice: what was
// acknowledged is never lost (M49), and a watcher that resumes misses nothing.
func TestKillOfAllMembersAtOnceLosesNothingAcknowledgedM49(t *testing.T) {
	parallel(t)
	c := startDev(t, 3, "--restart-after", "50ms")
	l := startLoad(t, 8, 2, c.endpoints)
	for range 2 {
		l.flows(t, 100)
		before := c.pids(t)
		for _, pid := range before {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		until(t, "all are started again", func() error {
			for i, pid := range c.pids(t) {
				if pid == 0 || slices.Contains(before, pid) {
					return fmt.Errorf("m%d has pid %d, before it had %d", i+1, pid, before[i])
				}
			}
			return nil
		})
	}
	l.flows(t, 100)
	l.finish(t)
}
