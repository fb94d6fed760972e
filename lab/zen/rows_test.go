package zen

import (
	"strings"
	"testing"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/recipes"
)

// script is a fault script with other expectations: its faults and times, and
// clients that ask every two seconds, which is enough for what is counted here.
func script(t *testing.T, name string, expect ...string) string {
	t.Helper()
	text, ok := recipes.Text(name)
	if !ok {
		t.Fatalf("no script %q", name)
	}
	var lines []string
	for _, l := range strings.Split(text, "\n") {
		word, _, _ := strings.Cut(l, " ")
		if word != "expect" && word != "break" && word != "then" && word != "protocol" && !strings.HasPrefix(l, "workload every") {
			lines = append(lines, l)
		}
	}
	lines = append(lines, "workload every 2s")
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

// TestRow pins what F1 to F12 show of Zen with a minimum of a majority: never two
// masters that acknowledge, and nothing lost but in F8.
func TestRow(t *testing.T) {
	for name, expect := range map[string][]string{
		"f1":   {"lost = 0", "changes = 1", "leader = n2", "gap < 7s"},   // a reset is noticed at once
		"f1s":  {"lost = 0", "changes = 1", "gap > 90s", "gap < 99s"},    // silence after three pings of 30 s
		"f2":   {"lost = 0", "changes = 1", "leader = n3", "gap > 90s"},  // the first update fails after 30 s, the others need 90
		"f3":   {"lost = 0", "changes = 0", "leader = n1", "gap > 180s"}, // nobody has three nodes
		"f4":   {"lost = 0", "changes = 1", "leader = n2"},
		"f4f":  {"lost = 0", "changes = 0", "gap > 29s", "gap < 36s", "fired R7 > 0"}, // every update waits for the sleeper
		"f5":   {"lost = 0", "changes = 0", "leader = n1", "gap < 36s"},               // X stays without a master, and elects nobody
		"f6":   {"lost = 0", "changes = 1", "gap < 7s"},                               // the state that has the joiner in it says it too
		"f7":   {"lost = 0", "changes = 0", "leader = n2"},                            // a returning lower id joins (R2)
		"f8":   {"lost = 1", "do1 = answered", "kept1 = no", "fired R8 = 1"},
		"f8n":  {"lost = 0", "changes = 1"},
		"f9":   {"lost = 0", "fired R12 > 1"}, // what was answered had been applied by all
		"f10":  {"lost = 0", "changes = 0", "gap < 4s"},
		"f10w": {"lost = 0", "changes = 1"}, // no vote is kept, so none is forgotten
		"f11":  {"lost = 0", "changes = 2"}, // no clock is compared
		"f12a": {"lost = 0", "changes = 0", "leader = n1", "gap < 36s"},
		"f12b": {"lost = 0", "changes = 1", "leader = n2", "gap < 7s"}, // n3 does not hear n2, and joins nobody
	} {
		t.Run(name, func(t *testing.T) {
			seeds := []uint64{1, 2}
			if name == "f7" {
				seeds = seeds[:1] // an hour each
			}
			expect = append(expect, "two-leaders = 0", "divergent <= 1")
			shows(t, script(t, name, expect...), named(t, "zen"), seeds...)
		})
	}
}

// With a minimum of 1 each side of a split has its master, and they stay two.
func TestRowOfTheUnsafeMinimumM109(t *testing.T) {
	for name, expect := range map[string][]string{
		"f2":   {"two-leaders > 0", "lost > 0", "divergent > 0", "stale > 0", "role n1 = master", "role n3 = master"},
		"f3":   {"two-leaders > 0", "lost > 0", "role n1 = master", "role n3 = master", "role n5 = master"},
		"f8":   {"two-leaders > 0", "lost > 1"},
		"f12b": {"two-leaders > 0", "lost > 0"}, // n3 does not hear n2 and wins as well
	} {
		t.Run(name, func(t *testing.T) { shows(t, script(t, name, expect...), named(t, "zen/unsafe"), 1) })
	}
}

// The election of the source document keeps what Zen keeps, and is a second slower.
func TestRowOfTheDocument(t *testing.T) {
	for name, expect := range map[string][]string{
		"f1":   {"lost = 0", "changes = 1", "leader = n2", "gap > 4s", "gap < 8s", "fired D3 > 1"},
		"f2":   {"lost = 0", "leader = n3"},
		"f5":   {"lost = 0", "changes = 0", "fired D2 <= 9"}, // less than half cannot see the master
		"f6":   {"lost = 0", "changes = 1"},                  // a late Alive: dropped, its round is over
		"f7":   {"changes = 0"},
		"f8":   {"lost = 1"},
		"f12b": {"lost = 0"}, // the joins may be split between n2 and n3, over and over
	} {
		t.Run(name, func(t *testing.T) {
			shows(t, script(t, name, append(expect, "two-leaders = 0")...), named(t, "zen/document"), 1)
		})
	}
}

const power = `quorate recipe 2
seed 1
length 60s
voters all
workload clients 0
do 20s n1 write
do 55s n3 read
fault 20010ms 1s power * lose=all
`

// R12: what all applied is on all disks. And without the fsync it is on none.
func TestAppliedSurvivesAPowerCutAndWithoutFsyncDoesNot(t *testing.T) {
	shows(t, power+"expect do1 = answered\nexpect kept1 = yes\nexpect lost = 0\nexpect do2 = answered\n", named(t, "zen"), 1, 2, 3)
	shows(t, power+"broken no-fsync\nexpect do1 = answered\nexpect kept1 = no\nexpect lost = 1\n", named(t, "zen"), 1, 2, 3)
}

// R12: an update that was acknowledged at the publish timeout is on one disk. If
// that one is not back when the others elect, it is lost.
func TestWhatOnlyTheMasterAppliedIsLostInAPowerCut(t *testing.T) {
	shows(t, `quorate recipe 2
seed 1
length 140s
voters all
workload clients 0
do 20s n1 write
fault 20s@send-Commit 35s drop n1>* rate=1000 message=Commit
fault 55s 1s power * lose=all
fault 55s 40s crash n1 lose=all
expect do1 = answered
expect kept1 = no
expect lost = 1
expect leader = n2
`, named(t, "zen"), 1, 2)
}

// R10: a master that gets another one's state compares versions; with a minimum of
// 1 the older one has committed and answered before it hears of it.
func TestTwoMastersMeetByAStateAndTheOlderRejoinsM112(t *testing.T) {
	const text = `quorate recipe 2
seed 1
length 150s
voters all
workload clients 0
do 117s n3 write
do 118s n3 write
do 120100ms n1 write
do 140s n1 read
fault 20s 100s pause n1
expect leader = n2
expect role n1 = follower
expect fired R10 > 0
expect kept1 = yes
expect kept2 = yes
expect do3 = answered
expect do4 = answered
`
	shows(t, text+"expect kept3 = no\nexpect lost = 1\n", named(t, "zen/unsafe"), 1, 2)
	// With a majority it is refused by the old master, and goes to the new one.
	shows(t, text+"expect kept3 = yes\nexpect lost = 0\n", named(t, "zen"), 1, 2)
}

// The minimum is a setting: with two of five both sides of a split may have it.
func TestTheMinimumIsASettingM109(t *testing.T) {
	for minimum, two := range map[string]string{"2": "two-leaders > 0", "3": "two-leaders = 0"} {
		shows(t, script(t, "f2", "fired R4 > 0", two)+"\nconfig minimum "+minimum+"\n", named(t, "zen"), 1)
	}
}

// R8: an update that a node gets twice or late changes nothing. (The requests of
// clients are delivered twice as well, and Zen has no sessions: those it obeys.)
func TestLateAndRepeatedMessagesChangeNothing(t *testing.T) {
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
expect changes = 0
`, named(t, "zen"), 1, 2)
}

// A verb that Zen does not have, and an answer that says whom to ask.
func TestRefusalsSayWhy(t *testing.T) {
	x := run(t, `quorate recipe 2
seed 1
length 30s
voters n1
workload clients 0
do 10s n1 swim
`, named(t, "zen"))
	if said := x.Acts[0].Said; said != `unknown verb "swim"; Zen knows write and read` {
		t.Errorf("said %q", said)
	}
}

// Groups of other sizes, and a learner, which follows and counts nowhere.
func TestGroupsOfAnySize(t *testing.T) {
	for _, voters := range []string{"n1", "n1,n2", "n1,n2,n3,n4", "n1,n2,n3,n4,n5,n6,n7", "n6,n7,n8"} {
		for _, p := range Protocols() {
			shows(t, "quorate recipe 2\nseed 1\nlength 30s\nvoters "+voters+"\nlearners n9\nworkload every 1s\nexpect acked > 10\nexpect decided n9 > 10\nexpect two-leaders = 0\n", p, 1)
		}
	}
}
