package bully

import (
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/recipes"
	"github.com/quorate/quorate/sim"
)

func protocol(t *testing.T, name string) lab.Protocol {
	t.Helper()
	for _, p := range Protocols() {
		if p.Name == "bully/"+name {
			return p
		}
	}
	t.Fatalf("no preset %q", name)
	return lab.Protocol{}
}

// shows runs a recipe (or template) with more lines behind it, and checks what the
// expect lines among these say.
func shows(t *testing.T, preset, text string, more ...string) {
	t.Helper()
	p := protocol(t, preset)
	r, err := lab.Template(text+"\n"+strings.Join(more, "\n"), p)
	if err != nil {
		t.Fatal(err)
	}
	expected, err := lab.Expectations(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(expected) == 0 {
		t.Fatal("nothing is expected")
	}
	res, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Met(expected, res); err != nil {
		t.Error(err)
	}
}

// script returns a fault script, with another seed and nothing expected yet.
func script(t *testing.T, name, seed string) string {
	t.Helper()
	text, ok := recipes.Text(name)
	if !ok {
		t.Fatalf("no script %q", name)
	}
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return strings.HasPrefix(l, "expect ") })
	return strings.Replace(strings.Join(lines, "\n"), "seed 1\n", "seed "+seed+"\n", 1)
}

// TestRow pins what the fault scripts show: the row of Bully in the matrix.
func TestRow(t *testing.T) {
	for _, c := range []struct{ preset, script, expect string }{
		{"plain", "f1", "recovery <= 4500ms; gap <= 4500ms; lost > 100; changes = 2; leader = n5"}, // 5 returns with its old state
		{"plain", "f1s", "recovery <= 4500ms; lost > 100; changes = 2"},                            // a reset is no miss: as F1
		{"plain", "f2", "two-leaders > 100; lost > 100; divergent > 0; gap < 1s; leader = n5"},     // both sides answer, one side's is lost
		{"plain", "f4", "two-leaders > 0; lost > 0"},
		{"plain", "f5", "changes = 0; lost = 0; fired R4 >= 20"}, // elections nobody needs
		{"plain", "f7", "changes >= 5"},
		{"plain", "f8", "two-leaders > 0; lost > 0; lost-worst > 0"},
		{"plain", "f9", "lost > 700"},
		{"plain", "f10", "changes = 0; lost = 0"},
		{"epoch", "f9", "same-epoch > 0; lost > 700"}, // the numbers are forgotten, and given out again
		{"epoch", "f2", "two-leaders > 100; lost > 100; same-epoch = 0"},
		{"ask-others", "f5", "changes = 0; lost = 0; fired R4 <= 11"}, // those of the start
		{"ask-others", "f3", "changes = 0; lost = 0; acked > 1700"},   // nobody may elect, but who leads goes on alone
		{"plain", "f3", "two-leaders > 100; lost > 100; divergent > 0; leader = n5"},
		{"plain", "f6", "lost > 100; changes >= 2; changes <= 3; leader = n5"}, // 3: the one whose Alive is late wins at first
		{"plain", "f12a", "changes = 0; lost = 0; fired R4 >= 20"},
		{"plain", "f12b", "two-leaders > 0; lost > 0; leader = n5"},
		{"hardened", "f8n", "two-leaders = 0; lost > 0"}, // answered by one node: the same as F8
		{"hardened", "f10w", "lost > 100; same-epoch = 0; leader = n5"},
		{"hardened", "f11", "two-leaders = 0; lost > 100; same-epoch = 0"}, // no clock is compared
		{"hardened", "f12a", "changes = 0; lost = 0; gap < 1s"},
		{"hardened", "f1", "recovery <= 4500ms; lost > 100; changes = 2; same-epoch = 0"},
		{"hardened", "f2", "two-leaders = 0; lost > 100; same-epoch = 0; recovery <= 5s; fired R10 = 1"},
		{"hardened", "f3", "two-leaders = 0; lost = 0; gap > 55s"}, // no side goes on
		{"hardened", "f5", "changes = 0; lost = 0"},
		{"hardened", "f7", "changes >= 5; same-epoch = 0"},
		{"hardened", "f8", "two-leaders = 0; lost > 0"},
		{"hardened", "f9", "lost > 700; same-epoch = 0"},
		{"hardened", "f12b", "same-epoch = 1; lost > 0"}, // a majority that is heard is no vote
	} {
		t.Run(c.preset+" "+c.script, func(t *testing.T) {
			for _, seed := range []string{"1", "2"} {
				var lines []string
				for _, e := range strings.Split(c.expect, "; ") {
					lines = append(lines, "expect "+e)
				}
				shows(t, c.preset, script(t, c.script, seed), lines...)
			}
		})
	}
}

// TestQuorumAcknowledgementsStopTheMinority is the second column: with answers at a
// majority the smaller side answers nothing, but the largest node still brings an
// old state back, and with it the majority's writes are lost.
func TestQuorumAcknowledgementsStopTheMinority(t *testing.T) {
	shows(t, "plain", script(t, "f2", "1"), "config acks quorum", "expect two-leaders = 0", "expect lost > 100")
}

// TestQuorumAcknowledgementsKeepAnIsolatedWrite: what a majority holds is not lost
// with the leader's host, as long as it stays away.
func TestQuorumAcknowledgementsKeepAnIsolatedWrite(t *testing.T) {
	const recipe = `quorate recipe 2
seed 3
length 20s
voters all
fault 10s@ack 3600s isolate n5
expect lost = 0
expect leader = n4
expect acked > 50`
	shows(t, "hardened", recipe, "config acks quorum")
}

// walk is a quiet group whose largest node dies; nobody writes but the do line.
const walk = `quorate recipe 2
seed 1
length 30s
voters all
workload clients 0
do 28s n1 write
`

func TestNobodyLargerAnswersAndTheNextWinsM92(t *testing.T) {
	shows(t, "plain", walk, "fault 10s 3600s crash n5 lose=none", "expect leader = n4", "expect fired R6 >= 3", "expect do1 = answered", "expect role n1 = Follower")
	shows(t, "plain", walk, "fault 10s 3600s crash n5 lose=none", "broken silent-when-alive", "expect fired R6 = 0", "expect changes > 1")
}

// TestALateAliveIsBelievedWithoutEpochsM95: n4 won long ago, and its Alive to n1
// arrives. Plain waits for a Victory, until a Heartbeat says again who leads; with
// epochs the message is of an election that is over.
func TestALateAliveIsBelievedWithoutEpochsM95(t *testing.T) {
	const late = `quorate recipe 2
seed 1
length 16200ms
voters all
workload clients 0
fault 10s 3600s crash n5 lose=none
fault 10s 6s hold n4>n1 message=Alive by=4s count=1
expect leader = n4`
	shows(t, "plain", late, "expect role n1 = WaitVictory")
	shows(t, "epoch", late, "expect role n1 = Follower", "expect fired R0 > 0")
}

func TestAFollowerThatLostALinkAsksFirst(t *testing.T) {
	const cut = "fault 10s 3600s cut n5<>n4"
	shows(t, "ask-others", walk, cut, "expect leader = n5", "expect changes = 0", "expect fired R2 > 2")
	shows(t, "ask-others", walk, cut, "broken no-asking", "expect changes > 2")
}

// TestALeaderThatCameBackWithoutItsOfficeIsNone: n3 restarts so fast that n1 and n2
// go on following it, though it knows of no office; they ask at different times. It
// is alive and leads nobody, and that is what R2 asks for.
func TestALeaderThatCameBackWithoutItsOfficeIsNone(t *testing.T) {
	shows(t, "ask-others", `quorate recipe 2
seed 1
length 17s
voters n1,n2,n3
workload clients 0
fault 9500ms 900ms cut n3>n1
fault 10200ms 300ms crash n3 lose=none reset=no
do 15s n1 write
expect do1 = answered
expect leader = n3`)
}

func TestTwoOfFiveTakeThemselvesForDeadM97(t *testing.T) {
	const split = "fault 10s 3600s split n5,n4/n1,n2,n3"
	const ask = "do 25s n5 write"
	shows(t, "minimum", walk, split, ask, "expect role n5 = Dead", "expect role n4 = Dead", "expect do2 != answered", "expect leader = n3", "expect do1 = answered")
	shows(t, "minimum", walk, split, ask, "broken no-minimum", "expect role n5 = Leader", "expect do2 = answered", "expect kept2 = no")
}

func TestAReturningLargestBullies(t *testing.T) {
	const back = "fault 10s 10s crash n5 lose=none"
	shows(t, "hardened", walk, back, "expect leader = n5", "expect changes = 2")
	shows(t, "hardened", walk, back, "broken no-bullying", "expect leader = n4", "expect changes = 1")
}

func TestTheSmallerOfTwoInOneEpochYields(t *testing.T) {
	busy := strings.Replace(walk, "workload clients 0\n", "", 1)
	deaf := []string{"fault 10s 3600s crash n5 lose=none", "fault 10s 10s cut n4<>n3", "expect same-epoch = 1"}
	shows(t, "hardened", busy, append(deaf[:3:3], "expect fired R11 > 0", "expect two-leaders = 0", "expect leader = n4", "expect role n3 = Follower")...)
	shows(t, "hardened", busy, append(deaf[:3:3], "broken no-yielding", "expect fired R11 = 0", "expect two-leaders > 0")...)
}

// TestAnEpochOutlivesThePowerOnlyHardened: all lose their power; the first number
// after that is a new one only if it was on disk.
func TestAnEpochOutlivesThePowerOnlyHardened(t *testing.T) {
	power := []string{"fault 10s 2s power * lose=all", "fault 10s 3600s crash n5 lose=all"}
	shows(t, "hardened", walk, append(power, "expect same-epoch = 0", "expect leader = n4")...)
	shows(t, "hardened", walk, append(power, "broken volatile-epoch", "expect same-epoch > 0")...)
}

// TestAStateThatComesAgainIsOfThePast: n4 restarts and takes the leader's State. The
// network delivers that once more when n4 has long got another write, which a majority
// acknowledged; then n5 dies and n4 leads.
func TestAStateThatComesAgainIsOfThePast(t *testing.T) {
	shows(t, "hardened", `quorate recipe 2
seed 1
length 45s
voters n1,n2,n3,n4,n5
workload clients 0
config acks quorum
do 5s n5 write
do 16s n5 write
fault 12s 1s crash n4 lose=none
fault 12s 10s replay n5>n4 rate=1000 within=15s
fault 31s 3600s crash n5 lose=none
expect leader = n4
expect do2 = answered
expect lost = 0`)
}

func TestUnknownVerbsAreRefused(t *testing.T) {
	shows(t, "plain", walk, "do 5s n5 fly", "expect do2 = refused", "expect said2 = bully knows write and read, not fly")
}

// TestARunIsAFunctionOfItsRecipe: the same hash twice, another with another seed.
func TestARunIsAFunctionOfItsRecipe(t *testing.T) {
	hash := func(seed uint64) uint64 {
		r, err := lab.Template(walk, protocol(t, "hardened"))
		if err != nil {
			t.Fatal(err)
		}
		r.Seed = seed
		r.Faults = append(r.Faults, sim.Fault{At: 10e9, For: 5e9, Kind: sim.FaultPause, Target: sim.On(5)})
		res, err := lab.Run(lab.Options{Recipe: r, Protocol: protocol(t, "hardened")})
		if err != nil {
			t.Fatal(err)
		}
		return res.Hash
	}
	if hash(1) != hash(1) || hash(1) == hash(2) {
		t.Errorf("hashes %x %x %x", hash(1), hash(1), hash(2))
	}
}
