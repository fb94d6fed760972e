package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const installedMetric = "quorate_snapshots_installed_total"

// Who was down briefly catches up from the log; who was down longer than the
// leader keeps its log, and who is new, gets a snapshot and not the whole history
// (M67). All end equal, and each way is shown by the member's own counter.
func TestAMemberCatchesUpFromTheLogOrBySnapshotM67(t *testing.T) {
	parallel(t)
	const retained = 1 << 20
	flags := []string{"--strict-reconfig-check=false", "--retain-bytes", fmt.Sprint(retained)}
	members := startMembers(t, 3, flags...)
	leader, _ := leaderOf(t, endpointsOf(members))
	slow := members[(leader+1)%3]
	others := []string{members[leader].client, members[(leader+2)%3].client}
	c := dial(t, others...)
	write := func(keys, valueBytes int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for i := range keys {
			if _, err := c.Put(ctx, fmt.Sprintf("k%03d", i), strings.Repeat("x", valueBytes)); err != nil {
				t.Fatal(err)
			}
		}
	}

	write(10, 100)
	slow.kill(t)
	write(20, 100)
	slow.start(t)
	equalHashes(t, members)
	if n := metric(t, slow.client, installedMetric); n != 0 {
		t.Errorf("down briefly, %s installed %v snapshots; the log was enough", slow.name, n)
	}

	slow.kill(t)
	write(40, 128<<10) // five times what is retained
	slow.start(t)
	equalHashes(t, members)
	if n := metric(t, slow.client, installedMetric); n < 1 {
		t.Errorf("down beyond retention, %s installed %v snapshots", slow.name, n)
	}

	// What it was given is on its own disk: a restart needs no second snapshot.
	write(1, 1)
	slow.kill(t)
	slow.start(t)
	equalHashes(t, members)
	if n := metric(t, slow.client, installedMetric); n != 0 {
		t.Errorf("restarted after the snapshot, %s installed %v more", slow.name, n)
	}

	m4 := planMember(t, t.TempDir(), "m4")
	m4.flags = flags
	announce(t, m4, others)
	m4.start(t)
	equalHashes(t, append(members, m4))
	if n := metric(t, m4.client, installedMetric); n < 1 {
		t.Errorf("new to a cluster whose log begins late, m4 installed %v snapshots", n)
	}
}

// equalHashes waits until all members are at one revision and compares what they
// hold there.
func equalHashes(t testing.TB, members []*member) {
	t.Helper()
	var revision int64
	until(t, "the members reach one revision", func() error {
		var seen []int64
		for _, m := range members {
			s, err := status(t, m.client)
			if err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			seen = append(seen, s.Header.Revision)
		}
		if revision = seen[0]; slices.Min(seen) != slices.Max(seen) {
			return fmt.Errorf("revisions %v", seen)
		}
		return nil
	})
	hashes := map[uint32]string{}
	for _, m := range members {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		h, err := dial(t, m.client).HashKV(ctx, m.client, revision)
		if err != nil {
			t.Fatalf("%s: HashKV: %v", m.name, err)
		}
		hashes[h.Hash] += " " + m.name
	}
	if len(hashes) != 1 {
		t.Errorf("at revision %d the members differ: %v", revision, hashes)
	}
}
