package redis

import (
	"strings"
	"testing"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/recipes"
)

// script is a fault script with other expectations.
func script(t *testing.T, name string, expect ...string) string {
	t.Helper()
	text, ok := recipes.Text(name)
	if !ok {
		t.Fatalf("no script %q", name)
	}
	var lines []string
	for _, l := range strings.Split(text, "\n") {
		word, _, _ := strings.Cut(l, " ")
		if word != "expect" && word != "break" && word != "then" && word != "protocol" {
			lines = append(lines, l)
		}
	}
	for _, e := range expect {
		lines = append(lines, "expect "+e)
	}
	return strings.Join(lines, "\n")
}

// shows runs a recipe's text with a protocol and some seeds.
func shows(t *testing.T, text string, p lab.Protocol, seeds ...uint64) {
	t.Helper()
	r, err := lab.Template(text, p)
	if err != nil {
		t.Fatal(err)
	}
	expected, err := lab.Expectations(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, seed := range seeds {
		r.Seed = seed
		x, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Quiet: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := lab.Met(expected, x); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

func row(t *testing.T, protocol string, always []string, rows map[string][]string) {
	t.Helper()
	for name, expect := range rows {
		t.Run(name, func(t *testing.T) {
			shows(t, script(t, name, append(expect, always...)...), named(t, protocol), 1, 2)
		})
	}
}

// TestRowOfTheCluster pins what F1 to F12 show of Redis Cluster: one master per
// epoch, and lost is what the old one answered alone.
func TestRowOfTheCluster(t *testing.T) {
	row(t, "redis/cluster", []string{"same-epoch = 0"}, map[string][]string{
		"f1":   {"lost = 0", "changes = 1", "gap > 15s", "gap < 19s"},
		"f1s":  {"lost = 0", "changes = 1", "gap > 15s", "gap < 22s"}, // silence: the first ping that gets no answer may be four seconds late
		"f2":   {"lost > 50", "changes = 1", "gap < 5s"},              // what the isolated master answered for 15 s and some
		"f3":   {"lost = 0", "gap > 30s"},                             // no side has two masters; the old one stops
		"f4":   {"lost > 0", "changes = 1"},                           // it wakes and answers what waited, before it hears anybody
		"f4f":  {"lost = 0", "changes = 0", "gap < 1s"},
		"f5":   {"lost = 0", "changes = 0", "gap < 1s"}, // one master's opinion is no FAIL
		"f6":   {"lost = 0", "changes = 1"},             // a vote that is late by a timeout still counts
		"f7":   {"lost = 0", "changes = 0"},             // a returning higher id is a replica
		"f8":   {"lost > 10", "changes = 1"},
		"f8n":  {"lost > 10", "changes = 1"},
		"f9":   {"lost > 500"}, // nothing was on a disk
		"f10":  {"lost = 0", "changes = 0"},
		"f10w": {"lost = 0", "changes = 1"},
		"f11":  {"lost > 50"},
		"f12a": {"lost = 0", "changes = 0"},
		"f12b": {"lost = 0", "changes = 1"},
	})
}

// With the append-only file a power cut takes a second; the rest is as without.
func TestRowOfEverysec(t *testing.T) {
	row(t, "redis/cluster-everysec", []string{"same-epoch = 0"}, map[string][]string{
		"f2": {"lost > 50"},
		"f9": {"lost > 0", "lost <= 15"},
	})
}

// TestRowOfSentinel: an old master that comes back is master in its own eyes for
// some seconds, which counts as a change.
func TestRowOfSentinel(t *testing.T) {
	row(t, "redis/sentinel", []string{"same-epoch = 0"}, map[string][]string{
		"f1":   {"lost = 0", "changes = 2", "gap > 30s", "gap < 34s", "role n3 = replica"},
		"f1s":  {"lost = 0", "changes = 2", "gap > 30s", "gap < 34s"},
		"f2":   {"lost > 100", "two-leaders > 100", "changes = 1", "role n3 = replica"}, // it answers until the network heals
		"f3":   {"changes <= 1"},                                                        // alone no sentinel has anybody to agree with; when the network heals, two may agree before they hear the master
		"f4":   {"lost > 0", "two-leaders > 0"},
		"f4f":  {"lost = 0", "changes = 0"},
		"f5":   {"lost = 0", "changes = 0", "leader = n3"},
		"f6":   {"lost = 0"},
		"f7":   {"lost = 0", "changes = 1", "leader != n3"}, // the table expects none
		"f8":   {"lost > 50", "two-leaders > 0"},
		"f8n":  {"lost > 50", "two-leaders > 0"},
		"f9":   {"lost > 300"},
		"f10":  {"lost = 0", "changes = 0"},
		"f10w": {"lost = 0"},
		"f11":  {"lost > 100"},
		"f12a": {"lost = 0", "changes = 0", "leader = n3"},
	})
}

// min-replicas-to-write: the isolated master stops after ten seconds.
func TestRowOfMinReplicas(t *testing.T) {
	row(t, "redis/sentinel-min-replicas", []string{"same-epoch = 0"}, map[string][]string{
		"f1": {"lost = 0", "gap < 34s"},
		"f2": {"lost > 0", "lost < 60", "two-leaders = 0"},
		"f8": {"lost > 0", "lost < 60", "two-leaders = 0"},
	})
}

// The crashed process is started again at once: nobody has noticed, it is master
// still, its memory is empty, and its replicas empty theirs. With the file
// everything a kill leaves is there.
func TestAMasterThatRestartsEmptyEmptiesItsReplicas(t *testing.T) {
	const text = `quorate recipe 2
seed 1
length 40s
voters all
workload clients 0
do 10s r1 write
do 35s r1 read
fault 20s 3s crash r1 lose=none
expect do1 = answered
expect changes = 0
`
	for _, p := range []string{"redis/cluster", "redis/sentinel"} {
		shows(t, text+"expect kept1 = no\nexpect lost = 1\nexpect log n1 = 0\nexpect fired R9 > 0\n", named(t, p), 1, 2)
	}
	shows(t, text+"expect kept1 = yes\nexpect lost = 0\n", named(t, "redis/cluster-everysec"), 1, 2)
}

// R2: of two replicas the one with more operations stands a second earlier.
func TestTheReplicaThatHasMoreStandsFirst(t *testing.T) {
	for behind, wins := range map[string]string{"n3": "n4", "n4": "n3"} {
		shows(t, `quorate recipe 2
seed 1
length 60s
voters all
workload clients 0
do 10s n5 write
do 19500ms n5 write
fault 19s 1s cut n5>`+behind+`
fault 20s 40s crash n5 lose=none
expect kept2 = yes
expect leader = `+wins+`
expect lost = 0
`, named(t, "redis/cluster"), 1, 2, 3, 4)
	}
}

// R2 to R5: two replicas that stand within milliseconds split the two votes that
// are left, and the next attempt is a minute away.
func TestSplitVotesLeaveNoMasterForAMinute(t *testing.T) {
	shows(t, `quorate recipe 2
seed 1
length 130s
voters all
workload every 1s
fault 20s 100s crash n5 lose=none
fault 30s@send-FAIL 3s drop *>* rate=1000 message=PING
fault 30s@send-FAIL 3s drop *>* rate=1000 message=PONG
fault 30s@send-FAIL 3s drop n3<>n4 rate=1000 message=AUTH_REQUEST
fault 30s 10s hold n3>n1 message=AUTH_REQUEST by=1s count=1
fault 30s 10s hold n4>n2 message=AUTH_REQUEST by=1s count=1
expect fired R4 >= 6
expect gap > 70s
expect lost = 0
expect same-epoch = 0
`, named(t, "redis/cluster"), 1, 2)
}

// Late and repeated messages of the bus, of the sentinels and of replication.
func TestLateAndRepeatedMessagesChangeNothing(t *testing.T) {
	for _, p := range []string{"redis/cluster", "redis/sentinel"} {
		shows(t, `quorate recipe 2
seed 1
length 90s
voters all
workload every 500ms
fault 10s 60s duplicate *>* rate=300
fault 10s 60s replay *>* rate=100 within=20s
expect lost = 0
expect divergent = 0
expect two-leaders = 0
expect same-epoch = 0
expect changes = 0
`, named(t, p), 1, 2)
	}
}

// R5: a vote that arrives twice is one vote. Two replicas have one vote of two each;
// counted twice, both would have a majority, and the same epoch.
func TestAVoteThatArrivesTwiceIsOneVote(t *testing.T) {
	shows(t, `quorate recipe 2
seed 1
length 85s
voters all
workload every 1s
fault 20s 80s crash n5 lose=none
fault 30s@send-FAIL 3s drop *>* rate=1000 message=PING
fault 30s@send-FAIL 3s drop *>* rate=1000 message=PONG
fault 30s@send-FAIL 3s drop n3<>n4 rate=1000 message=AUTH_REQUEST
fault 30s@send-FAIL 3s duplicate *>* rate=1000
fault 30s 10s hold n3>n1 message=AUTH_REQUEST by=1s count=1
fault 30s 10s hold n4>n2 message=AUTH_REQUEST by=1s count=1
expect fired R4 >= 4
expect fired R5 = 0
expect same-epoch = 0
`, named(t, "redis/cluster"), 1, 2)
}

// cluster-require-full-coverage, the source's default: without n2 and its slots
// nobody is served.
func TestFullCoverageStopsTheClusterForOneShard(t *testing.T) {
	const text = `quorate recipe 2
seed 1
length 60s
voters all
workload clients 0
do 50s n5 write
fault 10s 50s crash n2 lose=none
`
	shows(t, text+"expect do1 = answered\n", named(t, "redis/cluster"), 1)
	shows(t, text+"config full-coverage 1\nexpect do1 != answered\n", named(t, "redis/cluster"), 1)
}

// Groups of other sizes, and a learner, which follows and counts nowhere.
func TestGroupsOfAnySize(t *testing.T) {
	for _, voters := range []string{"n1", "n1,n2", "n1,n2,n3,n4", "n1,n2,n3,n4,n5,n6,n7", "n6,n7,n8"} {
		for _, p := range Protocols() {
			shows(t, "quorate recipe 2\nseed 1\nlength 30s\nvoters "+voters+"\nlearners n9\nworkload every 1s\nexpect acked > 10\nexpect decided n9 > 10\nexpect two-leaders = 0\n", p, 1)
		}
	}
}
