package mongo

import (
	"fmt"
	"strings"
	"testing"

	"github.com/quorate/quorate/lab/recipes"
)

// What F1 to F12 show of MongoDB. The package comment says why where that is not
// what one would expect.
var matrix = []struct {
	protocol string
	script   string
	seeds    int
	want     string
}{
	// pv1: an election timeout, and up to 2 s until the secondaries see by a
	// heartbeat that there is something to pull; up to 10 s more where a member is
	// silent, for which a new primary waits while it catches up.
	{"mongo/pv1", "f1", 1, "gap >= 10s; gap <= 14s; lost = 0; same-epoch = 0; leader = n5; fired R10 >= 1"},
	{"mongo/pv1", "f1s", 1, "gap >= 10s; gap <= 24s; lost = 0; leader = n5"},
	{"mongo/pv1", "f2", 2, "two-leaders = 0; lost-worst = 0; divergent = 0; stale = 0; same-epoch = 0; gap >= 10s; gap <= 24s"},
	{"mongo/pv1", "f3", 1, "gap >= 60s; lost-worst = 0; two-leaders = 0; same-epoch = 0"},
	{"mongo/pv1", "f4", 1, "gap >= 10s; gap <= 24s; lost-worst = 0; two-leaders = 0; same-epoch = 0"},
	{"mongo/pv1", "f4f", 1, "gap < 1s; changes = 0"},
	{"mongo/pv1", "f5", 1, "gap < 1s; changes = 0; fired R5 = 0"},
	{"mongo/pv1", "f6", 1, "gap >= 10s; gap <= 14s; lost = 0; same-epoch = 0"},
	{"mongo/pv1", "f7", 1, "changes >= 5; lost-worst = 0; same-epoch = 0; gap <= 24s"},
	{"mongo/pv1", "f8", 1, "lost-worst = 0; divergent = 0; same-epoch = 0"},
	{"mongo/pv1", "f8n", 1, "lost-worst = 0; divergent = 0; same-epoch = 0"},
	{"mongo/pv1", "f9", 1, "lost = 0; lost-worst = 0"},
	{"mongo/pv1", "f10", 1, "lost = 0; changes = 0; gap < 1s"},
	{"mongo/pv1", "f10w", 1, "lost = 0; same-epoch = 0"},
	{"mongo/pv1", "f11", 1, "lost-worst = 0; divergent = 0; two-leaders = 0; same-epoch = 0"},
	{"mongo/pv1", "f12a", 1, "changes = 0; gap < 1s"},
	{"mongo/pv1", "f12b", 1, "lost-worst = 0; same-epoch = 0; gap >= 10s; gap <= 24s"},

	// w:1: what the isolated primary acknowledged in its last 10 s is rolled back.
	{"mongo/pv1-w1", "f2", 2, "lost > 0; stale > 0; divergent = 0; two-leaders = 0; same-epoch = 0; fired R6 >= 1; fired R9 >= 1"},
	{"mongo/pv1-w1", "f4", 1, "two-leaders > 0; lost > 0; divergent = 0"},
	{"mongo/pv1-w1", "f8", 1, "lost > 0; divergent = 0"},
	{"mongo/pv1-w1", "f1", 1, "gap >= 10s; gap <= 12s"},

	// pv0: a process that dies is missed at the next heartbeat, a silent host after
	// 10 s. A primary that came back for its priority's sake waits for the 30 s lock.
	{"mongo/pv0", "f1", 1, "gap <= 6s; lost = 0; leader = n5"},
	{"mongo/pv0", "f1s", 2, "gap >= 10s; gap <= 15s; lost = 0"},
	{"mongo/pv0", "f2", 1, "two-leaders = 0; lost-worst = 0; divergent > 0; gap >= 10s; gap <= 15s; fired R11 >= 1"},
	{"mongo/pv0", "f3", 1, "gap >= 60s; lost = 0"},
	{"mongo/pv0", "f4", 1, "lost = 0; gap >= 20s; fired R9 >= 1; fired R10 >= 1"},
	{"mongo/pv0", "f4f", 1, "changes = 0; gap < 1s"},
	{"mongo/pv0", "f5", 1, "changes = 0; gap < 1s; fired R3 > 0"},
	{"mongo/pv0", "f6", 1, "gap >= 10s; gap <= 15s"},
	{"mongo/pv0", "f7", 1, "changes >= 5; fired R9 >= 3; gap >= 15s"},
	{"mongo/pv0", "f8", 1, "lost = 0; fired R12 >= 1"},
	{"mongo/pv0", "f9", 1, "lost = 0"},
	{"mongo/pv0", "f10", 1, "changes = 0; lost = 0"},
	{"mongo/pv0", "f10w", 1, "lost = 0"},
	{"mongo/pv0", "f11", 2, "lost > 0; lost-worst > 0; leader = n5; fired R12 >= 1"},
	{"mongo/pv0", "f12a", 1, "changes = 0; gap < 1s"},
	{"mongo/pv0", "f12b", 1, "gap >= 30s; gap <= 36s; lost = 0"},

	{"mongo/pv0-w1", "f2", 1, "lost > 0; stale > 0; fired R11 >= 1"},
	{"mongo/pv0-w1", "f8", 1, "lost > 0"},
}

func TestMatrix(t *testing.T) {
	for _, row := range matrix {
		text, ok := recipes.Text(row.script)
		if !ok {
			t.Fatalf("no script %s", row.script)
		}
		for seed := 1; seed <= row.seeds; seed++ {
			t.Run(fmt.Sprintf("%s/%s/%d", strings.ReplaceAll(row.protocol, "/", "-"), row.script, seed), func(t *testing.T) {
				lines := []string{""}
				if row.script != "f7" && row.script != "f11" { // whose own lines speak of how much is written
					lines = append(lines, "workload every 500ms") // half as often: as telling, and faster
				}
				for _, w := range strings.Split(row.want, "; ") {
					lines = append(lines, "expect "+w)
				}
				shows(t, row.protocol, strings.Replace(text, "\nseed 1\n", fmt.Sprintf("\nseed %d\n", seed), 1), lines...)
			})
		}
	}
}
