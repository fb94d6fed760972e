package mongo

import (
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/recipes"
)

// found returns one of the package's protocols.
func found(t *testing.T, name string) lab.Protocol {
	t.Helper()
	list := Protocols()
	i := slices.IndexFunc(list, func(p lab.Protocol) bool { return p.Name == name })
	if i < 0 {
		t.Fatalf("no protocol %s", name)
	}
	return list[i]
}

// run runs a recipe's text with more lines behind it.
func run(t *testing.T, protocol, text string, lines ...string) lab.Result {
	t.Helper()
	p := found(t, protocol)
	r, err := lab.Template(text+strings.Join(lines, "\n"), p)
	if err != nil {
		t.Fatal(err)
	}
	result, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// shows runs it and checks its expect lines.
func shows(t *testing.T, protocol, text string, lines ...string) lab.Result {
	t.Helper()
	result := run(t, protocol, text, lines...)
	expected, err := lab.Expectations(result.Recipe)
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Met(expected, result); err != nil {
		t.Error(err)
	}
	return result
}

const head = "quorate recipe 2\nseed 1\n"

// broken is one rule, a run in which it matters, and what is seen with it and
// without. (The others are broken
// by the controls of the walk-throughs, which lab/family runs.)
var brokenRules = []struct {
	protocol string
	rule     faults.Switch
	recipe   string
	sound    string
	broken   string
}{
	{"mongo/pv0-w1", NoRollback, // the isolated primary's own write stays in its log, and nowhere else
		head + `length 200s
voters all
workload clients 0
fault 60s 60s split r1,r2/r3,r4,r5
do 65s n5 write
do 100s n1 write
`, "expect kept1 = no", "expect kept1 = yes"},
	{"mongo/pv0-w1", NoStepDown,
		head + `length 150s
voters all
fault 60s 60s split r1,r2/r3,r4,r5
`, "expect two-leaders = 0", "expect two-leaders > 0"},
	{"mongo/pv0", NoFreshness, // r2 cannot pull the last write, but may win
		head + `length 200s
voters all
workload clients 0
fault 58s 20s drop *>r2 rate=1000 message=Batch
do 50s n5 write
do 59s n5 write
do 70s n1 write
fault 60s 60s crash r1 lose=none
`, "expect lost = 0\nexpect do2 = answered", "expect lost > 0\nexpect do2 = answered"},
	{"mongo/pv1", ForgetVote, // n1 votes for n3 in term 2, restarts, and votes for n2 in term 2
		head + `length 60s
voters n1,n2,n3
workload clients 0
fault 0s 300ms crash n2 lose=none
fault 150ms 100ms crash n1 lose=none
fault 150ms 40s cut n1<>n3
fault 150ms 40s cut n2<>n3
`, "expect same-epoch = 0", "expect same-epoch > 0"},
	{"mongo/pv1", NoDryRun, // r5 hears no primary and falls behind: it cannot win, but its term deposes the primary
		head + `length 100s
voters all
fault 60s 30s cut r1>r5
fault 60s 30s drop *>r5 rate=1000 message=Batch
`, "expect fired R5 = 0", "expect fired R5 > 0"},
	{"mongo/pv1", NoLogCheck, // r2 and r3 lack an acknowledged write; they may win
		head + `length 140s
voters all
workload clients 0
config catch-up 1s
fault 50s 40s drift r4 rate=900000
fault 50s 40s drift r5 rate=900000
fault 57s 43s drop *>r2 rate=1000 message=Batch
fault 57s 43s drop *>r3 rate=1000 message=Batch
do 50s n5 write
do 59s n5 write
fault 60s 60s crash r1 lose=none
`, "expect lost = 0\nexpect do2 = answered", "expect lost > 0\nexpect do2 = answered"},
	{"mongo/pv1", NoPullRearm, // F5: r5 hears of the primary only through the others
		head + `length 100s
voters all
fault 60s 30s cut r1<>r5
`, "expect fired R5 = 0", "expect fired R5 > 0"},
	{"mongo/pv1", NoReportTerm, // n2 has just voted for n1 in term 3 and still pulls from n3, which leads in term 2
		head + `length 79s
voters n1,n2,n3
workload clients 0
config catch-up 1ms
config priorities equal
fault 55s 30s cut n1<>n3
fault 55s 30s drop n2>n1 rate=1000 message=Batch
do 50s n3 write
do 64372ms n3 write
`, "expect fired R3 = 2\nexpect lost = 0\nexpect divergent = 0", "expect do2 = answered\nexpect lost = 1\nexpect divergent > 0"},
	{"mongo/pv1", NoFsync,
		head + `length 100s
voters all
fault 60s@ack 5s power * lose=all
`, "expect lost = 0", "expect lost > 0"},
	{"mongo/pv1-w1", NoStepDown,
		head + `length 150s
voters all
fault 60s 60s split r1,r2/r3,r4,r5
`, "expect two-leaders = 0", "expect two-leaders > 0"},
	{"mongo/pv1", NoOwnTerm, figure8, "expect divergent = 0\nexpect lost = 0", "expect divergent > 0"},
}

// figure8 is Raft's Figure 8 with pulling: two writes of term 2 are on n5 and n4
// when n5 dies (a); n1, which lacks them, leads in term 3 and dies with entries that
// only it has (b); others pull from n4, and one of them leads in term 4: now a
// majority has those of term 2 (c). It is cut off; n1 comes back, whose log ends in
// term 3: the others roll back what they had, and follow it (d).
const figure8 = head + `length 220s
voters all
workload clients 0
config catch-up 1s
do 50s n5 write
do 60s n5 write
do 60500ms n5 write
do 75s n1 write
fault 59s 140s drop n5>n1 rate=1000 message=Batch
fault 59s 140s drop n5>n2 rate=1000 message=Batch
fault 59s 140s drop n5>n3 rate=1000 message=Batch
fault 61s 139s crash n5 lose=none
fault 61s 35s isolate n4
fault 50s 30s drift n2 rate=900000
fault 50s 30s drift n3 rate=900000
fault 61s 60s drop n1>* rate=1000 message=Batch
fault 80s 45s crash n1 lose=none
fault 99s 25s drop *>* rate=1000 message=Batch
fault 99s@lead 60s isolate leader
`

// Every rule that can be broken is seen to matter: here, or in a walk-through.
func TestEveryBrokenRuleIsCaught(t *testing.T) {
	caught := map[faults.Switch]bool{}
	for _, b := range brokenRules {
		caught[b.rule] = true
		t.Run(strings.ReplaceAll(b.protocol, "/", "-")+"/"+string(b.rule), func(t *testing.T) {
			shows(t, b.protocol, b.recipe, b.sound)
			shows(t, b.protocol, b.recipe, "broken "+string(b.rule), b.broken)
		})
	}
	for _, name := range recipes.Names() {
		text, _ := recipes.Text(name)
		if strings.HasPrefix(name, "pv0-") || strings.HasPrefix(name, "pv1-") {
			for _, line := range strings.Split(text, "\n") {
				if s, ok := strings.CutPrefix(line, "break "); ok {
					caught[faults.Switch(s)] = true
				}
			}
		}
	}
	for _, s := range slices.Concat(switches0, switches1) {
		if !caught[s.Name] {
			t.Errorf("nothing shows what %s breaks", s.Name)
		}
	}
}
