package e2e

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ctlAt runs an etcdctl command against the given URLs.
func ctlAt(t testing.TB, endpoints []string, args ...string) answer {
	t.Helper()
	return run(t, "", append([]string{"ctl", "--endpoints", strings.Join(endpoints, ",")}, args...)...)
}

// mustCtl is ctlAt for a command that has to work; it returns what it printed.
func mustCtl(t testing.TB, endpoints []string, args ...string) string {
	t.Helper()
	a := ctlAt(t, endpoints, args...)
	if a.code != 0 {
		t.Fatalf("ctl %s: exit code %d: %s%s", strings.Join(args, " "), a.code, a.stdout, a.stderr)
	}
	return a.stdout
}

// announce adds a member as a person does, and gives it the flags that the
// command prints. It is not started.
func announce(t testing.TB, m *member, endpoints []string, more ...string) (memberID string) {
	t.Helper()
	printed := mustCtl(t, endpoints, append([]string{"member", "add", m.name, "--peer-urls=" + m.peer}, more...)...)
	id := regexp.MustCompile(`Member +([0-9a-f]+) added(?: as learner)? to cluster`).FindStringSubmatch(printed)
	initial := regexp.MustCompile(`ETCD_INITIAL_CLUSTER="(.*)"`).FindStringSubmatch(printed)
	if id == nil || initial == nil || !strings.Contains(printed, `ETCD_INITIAL_CLUSTER_STATE="existing"`) {
		t.Fatalf("member add printed:\n%s", printed)
	}
	m.flags = append(m.flags, "--initial-cluster", initial[1], "--initial-cluster-state", "existing")
	return id[1]
}

// holds waits until a member by itself, asking nobody, has the key.
func holds(t testing.TB, m *member, key string) {
	t.Helper()
	c := dial(t, m.client)
	until(t, m.name+" has "+key, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		r, err := c.Get(ctx, key, clientv3.WithSerializable())
		if err == nil && r.Count != 1 {
			err = errors.New("not there")
		}
		return err
	})
}

// A fourth process learns, is promoted and replaces the leader, under load (M64,
// M71): nothing is lost, and the removed one ends by itself and stays away.
func TestALearnerIsPromotedAndTheLeaderRemovedUnderLoadM64M71(t *testing.T) {
	parallel(t)
	members := startMembers(t, 3, "--strict-reconfig-check=false")
	old := endpointsOf(members)
	m4 := planMember(t, t.TempDir(), "m4")
	l := startLoad(t, 6, 2, append([]string{m4.client}, old...))
	l.flows(t, 50)

	memberID := announce(t, m4, old, "--learner")
	const behind = "etcdserver: can only promote a learner member which is in sync with leader"
	if a := ctlAt(t, old, "member", "promote", memberID); a.code == 0 || !strings.Contains(a.stderr, behind) {
		t.Errorf("a learner that has nothing yet: member promote: %+v", a)
	}
	m4.start(t)
	if list := mustCtl(t, old, "member", "list"); !regexp.MustCompile(memberID + `, (started|unstarted), .*, true\n`).MatchString(list) {
		t.Errorf("m4 is not listed as a learner:\n%s", list)
	}
	until(t, "promotion", func() error {
		a := ctlAt(t, old, "member", "promote", memberID)
		if a.code == 0 {
			return nil
		}
		if !strings.Contains(a.stderr, behind) {
			t.Fatalf("member promote: %+v", a)
		}
		return errors.New(a.stderr)
	})
	m4.out.await(t, "ready to serve client requests")
	l.flows(t, 50)

	leader, s := leaderOf(t, old)
	gone := members[leader]
	mustCtl(t, []string{m4.client}, "member", "remove", fmt.Sprintf("%x", s.Header.MemberId))
	if code := gone.wait(t); code != 0 {
		t.Errorf("the removed leader ended with exit code %d:\n%s", code, gone.out.text())
	}
	if text := gone.out.text(); !strings.Contains(text, "this member was removed from the cluster; it stops") {
		t.Errorf("the removed leader does not say why it stops:\n%s", text)
	}
	l.flows(t, 50)
	l.finish(t)

	gone.start(t)
	if code := gone.wait(t); code != 1 {
		t.Errorf("started again, the removed member ended with exit code %d", code)
	}
	if text := gone.out.text(); !strings.Contains(text, "was removed from its cluster for good; to come back, remove "+gone.dir+" and add it anew") {
		t.Errorf("started again, the removed member says:\n%s", text)
	}
}

func TestAVoterIsAddedDirectlyAndPeerURLsAreUpdatedUnderLoadM64(t *testing.T) {
	parallel(t)
	members := startMembers(t, 3, "--strict-reconfig-check=false")
	endpoints := endpointsOf(members)
	l := startLoad(t, 6, 1, endpoints)
	l.flows(t, 50)

	m4 := planMember(t, t.TempDir(), "m4")
	memberID := announce(t, m4, endpoints)
	m4.start(t)
	m4.out.await(t, "ready to serve client requests")
	if list := mustCtl(t, endpoints, "member", "list"); !strings.Contains(list, memberID+", started, m4, "+m4.peer+", "+m4.client+", false\n") {
		t.Errorf("m4 is not listed as a voter:\n%s", list)
	}
	l.flows(t, 50)

	// m4 moves: the cluster hears of the new address first, then m4 starts there.
	moved := *m4
	moved.peer = planMember(t, "", "").peer
	mustCtl(t, endpoints, "member", "update", memberID, "--peer-urls="+moved.peer)
	m4.signal(t, syscall.SIGTERM)
	if code := m4.wait(t); code != 0 {
		t.Errorf("m4 ended with exit code %d:\n%s", code, m4.out.text())
	}
	moved.start(t)
	moved.out.await(t, "ready to serve client requests")
	if list := mustCtl(t, endpoints, "member", "list"); !strings.Contains(list, memberID+", started, m4, "+moved.peer+", ") {
		t.Errorf("m4 is not listed at its new address:\n%s", list)
	}
	mustCtl(t, endpoints, "put", "after the move", "1")
	holds(t, &moved, "after the move")
	l.finish(t)
}
