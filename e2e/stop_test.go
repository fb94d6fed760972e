package e2e

import (
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A leader that is told to stop hands its office over first (M75): exactly one
// election, and writers, those on the leader itself too, see no error.
func TestACleanStopOfTheLeaderIsNotNoticedByWritersM75(t *testing.T) {
	parallel(t)
	members := startMembers(t, 3)
	endpoints := endpointsOf(members)
	leader, before := leaderOf(t, endpoints)
	l := startLoad(t, 8, 1, endpoints)
	l.flows(t, 100)

	members[leader].signal(t, syscall.SIGTERM)
	if code := members[leader].wait(t); code != 0 {
		t.Errorf("exit code %d:\n%s", code, members[leader].out.text())
	}
	if text := members[leader].out.text(); !strings.Contains(text, "handed the leadership over") {
		t.Errorf("the leader does not say that it handed over:\n%s", text)
	}
	l.flows(t, 100)
	if _, after := leaderOf(t, slices.Delete(slices.Clone(endpoints), leader, leader+1)); after.RaftTerm != before.RaftTerm+1 {
		t.Errorf("term %d before the stop, %d after it; one more was expected", before.RaftTerm, after.RaftTerm)
	}
	for _, err := range l.finish(t) {
		t.Errorf("a writer saw %v", err)
	}
}
