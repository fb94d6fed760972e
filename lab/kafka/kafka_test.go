package kafka

import (
	"fmt"
	"strings"
	"testing"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/recipes"
	"github.com/quorate/quorate/sim"
)

// run runs a text as a template of the protocol.
func run(t *testing.T, p lab.Protocol, text string) lab.Result {
	t.Helper()
	r, err := lab.Template(text, p)
	if err != nil {
		t.Fatal(err)
	}
	r.Break, r.Expect, r.Then = nil, nil, nil // another protocol's, in the scripts
	result, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// quick runs a recipe's body with the plain protocol.
func quick(t *testing.T, body string) lab.Result {
	t.Helper()
	return run(t, Protocols()[0], "quorate recipe 2\nseed 5\nvoters all\nspares aux\n"+body)
}

// shows checks a run against expect lines.
func shows(t *testing.T, r lab.Result, lines ...string) {
	t.Helper()
	r.Recipe.Expect = lines
	list, err := lab.Expectations(r.Recipe)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if !e.Met(r) {
			t.Errorf("not %s: found %s", e.Text, e.Found(r))
		}
	}
}

// Kafka's row of the matrix. The gap of 12 to 18 s is the session's 18 s less the time
// since the last sign of life; 30 s is the permitted lag.
func TestMatrix(t *testing.T) {
	always := []string{"same-epoch = 0", "two-leaders = 0", "divergent = 0", "twice = 0"}
	safe := []string{"lost = 0", "lost-worst = 0"}
	session := []string{"gap > 11s", "gap < 19s"}
	lag := []string{"gap > 29s", "gap < 32s"}
	rows := map[string][][]string{
		"f1":   {safe, session, {"changes = 1", "leader = n4"}},
		"f1s":  {safe, session, {"changes = 1", "leader = n4"}},
		"f2":   {safe, session, {"changes = 1", "leader = n3", "stale > 0"}},
		"f3":   {safe, {"gap > 60s", "gap < 80s"}},
		"f4":   {safe, session, {"changes = 1", "leader = n4"}},
		"f4f":  {safe, session, {"changes = 0", "leader = n5"}},
		"f5":   {safe, lag, {"changes = 0"}},
		"f7":   {safe, session, {"changes = 0", "leader = n4"}},
		"f8":   {safe, session, {"changes = 1"}},
		"f8n":  {safe, session, {"changes = 1"}},
		"f9":   {{"lost > 100", "gap < 30s"}},
		"f10":  {safe, session, {"changes = 0"}},
		"f10w": {safe, session, {"changes = 1", "leader = n4"}},
		"f11":  {safe, session, {"changes = 2", "leader = n5"}},
		"f12a": {safe, lag, {"changes = 0"}},
		"f12b": {safe, {"gap > 41s", "gap < 50s", "changes = 1", "stale > 0"}},
	}
	for _, name := range recipes.Scripts() {
		row, ok := rows[name]
		if !ok {
			continue // f6 is for protocols whose elections need an answer
		}
		text, _ := recipes.Text(name)
		for seed := 1; seed <= 2; seed++ {
			t.Run(fmt.Sprintf("%s seed %d", name, seed), func(t *testing.T) {
				r := run(t, Protocols()[0], strings.Replace(text, "seed 1\n", fmt.Sprintf("seed %d\n", seed), 1))
				shows(t, r, always...)
				for _, lines := range row {
					shows(t, r, lines...)
				}
			})
		}
	}
}

// Every walk-through shows what it says, and its control the other outcome.
func TestWalkThroughs(t *testing.T) {
	told := 0
	for _, name := range recipes.Names() {
		if !strings.HasPrefix(name, "kafka-") {
			continue
		}
		told++
		text, _ := recipes.Text(name)
		for _, p := range Protocols() {
			own := strings.Contains(text, "\nprotocol "+p.Name+"\n")
			if !own && !strings.Contains(text, p.Name+":") && !strings.Contains(text, p.Name+",") {
				continue
			}
			t.Run(name+" "+p.Name, func(t *testing.T) {
				r, err := lab.Template(text, p)
				if err != nil {
					t.Fatal(err)
				}
				meets(t, r, p, lab.Expectations)
				if broken, ok := lab.Controlled(r); own && ok {
					meets(t, broken, p, lab.Controls)
				} else if own {
					t.Error("no control")
				}
			})
		}
	}
	if told < 8 {
		t.Errorf("%d walk-throughs", told)
	}
}

func meets(t *testing.T, r sim.Recipe, p lab.Protocol, lines func(sim.Recipe) ([]lab.Expectation, error)) {
	t.Helper()
	list, err := lines(r)
	if err != nil {
		t.Fatal(err)
	}
	result, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Met(list, result); err != nil {
		t.Error(err)
	}
}

// acks=1 answers what only the leader has: cut off at that moment (F8), the answered
// write is lost. With acks=all it never is.
func TestAnAnswerByTheLeaderAloneIsLost(t *testing.T) {
	body := "length 100s\nworkload clients 0\ndo 10s n5 write\ndo 80s n4 write\nfault 9s@ack 60s isolate n5\n"
	shows(t, quick(t, body), "do1 = answered", "kept1 = yes", "lost = 0")
	shows(t, quick(t, body+"broken acks-1\nfault 9s@held1 1s cut n5>n1\nfault 9s@held1 1s cut n5>n2\nfault 9s@held1 1s cut n5>n3\nfault 9s@held1 1s cut n5>n4\n"),
		"do1 = answered", "kept1 = no", "lost = 1")
}

// The coordination service may lose a server, its leader included: sessions live on,
// and nobody's leadership changes.
func TestTheServiceLosesItsLeader(t *testing.T) {
	r := quick(t, "length 80s\nfault 20s 30s crash n6 lose=none reset=no\n")
	shows(t, r, "changes = 0", "gap < 1s", "lost = 0", "leader = n5")
	if r.Final[5].Role != "service-follower" || r.Final[6].Role != "service-leader" && r.Final[7].Role != "service-leader" {
		t.Errorf("%+v", r.Final[5:])
	}
	// A broker that dies meanwhile is missed all the same, once there is a new leader.
	r = quick(t, "length 80s\nfault 20s 60s crash n6 lose=none reset=no\nfault 21s 50s crash n5 lose=none reset=no\n")
	shows(t, r, "changes = 1", "gap < 23s", "lost = 0", "leader = n4")
}

// Without the service nothing is decided, but what was decided goes on: writes are
// answered as long as nobody of the set fails; if the leader does, nobody follows it.
func TestWithoutTheServiceNothingIsDecided(t *testing.T) {
	down := "fault 20s 60s crash n6 lose=none\nfault 20s 60s crash n7 lose=none\n"
	shows(t, quick(t, "length 70s\n"+down), "gap < 1s", "changes = 0", "lost = 0")
	shows(t, quick(t, "length 130s\n"+down+"fault 30s 80s crash n5 lose=none\n"), "gap > 60s", "changes = 1", "lost = 0", "leader = n4")
}

// Brokers that come back in any order, again and again, lose nothing while somebody of
// the set keeps what it wrote.
func TestRollingRestarts(t *testing.T) {
	body := "length 200s\n"
	for i, at := range []int{20, 50, 80, 110, 140} {
		body += fmt.Sprintf("fault %ds 25s crash n%d lose=all\n", at, 5-i)
	}
	shows(t, quick(t, body), "lost = 0", "divergent = 0", "two-leaders = 0", "same-epoch = 0", "gap < 19s")
}

// A paused controller is replaced, and what it still says afterwards is not obeyed.
func TestAPausedControllerIsReplaced(t *testing.T) {
	r := quick(t, "length 120s\nfault 20s 40s pause n1\nfault 50s 30s crash n5 lose=none\n")
	shows(t, r, "lost = 0", "same-epoch = 0", "divergent = 0", "leader = n4")
	if r.Fired("R1") < 3 { // n1, its successor, and n1's resignation
		t.Errorf("R1 fired %d times", r.Fired("R1"))
	}
}

// A recipe's mistakes are answered with one line.
func TestSettings(t *testing.T) {
	for body, want := range map[string]string{
		"config min-insync 0\n": `config min-insync is "0"; want a number from 1 to 9`,
		"config unclean yes\n":  `config unclean is "yes"; want one of off, on`,
		"config acks 1\n":       `unknown config "acks"`,
	} {
		r, err := lab.Template("quorate recipe 2\nseed 1\nlength 1s\nvoters all\nspares aux\n"+body, Protocols()[0])
		if err == nil {
			_, err = lab.Run(lab.Options{Recipe: r, Protocol: Protocols()[0]})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", body, err)
		}
	}
	shows(t, quick(t, "length 20s\nconfig min-insync 6\n"), "acked = 0", "refused > 10")
}
