package cluster

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
)

// mustPass fails a test with the command that replays the run.
func mustPass(t *testing.T, r Result) {
	t.Helper()
	if r.Violation != nil {
		t.Errorf("%s\n%v", r.Command(), r.Violation)
	}
}

// One vote per term (M19, M20), equal states (M41), Raft's five properties (M44 to
// M48) and nothing acknowledged lost (M49) hold on every event of every seed; the
// planted bugs show that a breach would be seen.
func TestSeedsKeepTheInvariantsM19M20M41M44M45M46M47M48M49(t *testing.T) {
	s := Batch(1, 12, Options{}, func(r Result) { mustPass(t, r) })
	if s.Operations < 300*s.Seeds {
		t.Errorf("%d operations in %d seeds; a seed has at least 300", s.Operations, s.Seeds)
	}
	if m := s.Missing(); m != nil {
		t.Errorf("not reached: %v", m)
	}
}

func TestWideSeedsPass(t *testing.T) {
	Batch(1000, 4, Options{Wide: true}, func(r Result) { mustPass(t, r) })
}

// The same seed gives the same hash, with and without a trace, and the recipe it
// printed gives it too. The trace reads back and hashes to the same.
func TestARunIsAFunctionOfItsRecipe(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		first := Run(Options{Seed: seed})
		var b bytes.Buffer
		again := Run(Options{Seed: seed, Trace: &b})
		if first.Hash != again.Hash || first.Events != again.Events {
			t.Errorf("seed %d: hash %016x, then %016x with a trace", seed, first.Hash, again.Hash)
		}
		recipe, err := sim.Parse(first.Recipe.String())
		if err != nil {
			t.Fatal(err)
		}
		if third := Run(Options{Recipe: &recipe}); third.Hash != first.Hash {
			t.Errorf("seed %d: hash %016x, its recipe gives %016x", seed, first.Hash, third.Hash)
		}
		r, err := trace.NewReader(&b)
		if err != nil {
			t.Fatal(err)
		}
		h := trace.NewHash()
		for {
			e, err := r.Next()
			if err != nil {
				break
			}
			h = h.Add(e)
		}
		if uint64(h) != first.Hash {
			t.Errorf("seed %d: the stored trace hashes to %016x, the run to %016x", seed, uint64(h), first.Hash)
		}
	}
	if Run(Options{Seed: 1}).Hash == Run(Options{Seed: 2}).Hash {
		t.Error("two seeds, one hash")
	}
}

// A fork goes as its recipe until its event, and otherwise from there on.
func TestAForkSharesItsPast(t *testing.T) {
	lines := func(r sim.Recipe) []string {
		var b bytes.Buffer
		mustPass(t, Run(Options{Recipe: &r, Trace: &b}))
		return strings.Split(b.String(), "\n")[1:] // without the header, which holds the recipe
	}
	r := mustParse(t, "voters n1,n2,n3\nworkload clients 2")
	r.Length = 3 * id.Second
	plain := lines(r)
	const event = 900
	r.Fork = &sim.Fork{Event: event, Faults: []sim.Fault{sim.Fault{For: id.Second, Kind: sim.FaultPower}.With("lose", "all")}}
	forked := lines(r)
	for i := range event {
		if plain[i] != forked[i] {
			t.Fatalf("event %d differs:\n%s\n%s", i+1, plain[i], forked[i])
		}
	}
	if !strings.Contains(forked[event]+forked[event+1]+forked[event+2], "power") {
		t.Errorf("no power cut behind event %d: %s", event, forked[event])
	}
}

// Each found within a stated number of seeds; `make planted` does all of them.
func TestPlantedBugsAreFound(t *testing.T) {
	for _, p := range []struct {
		s     faults.Switch
		seeds int
		want  string // in the violation
	}{
		{faults.CountSelfTwice, 3, "not durable on a majority"},
		{faults.KeepConflict, 10, ""},
		{faults.AckBeforeDurable, 3, "durable before visible"},
		{faults.ApplyBeforeDurable, 5, "its own log is durable up to"},
	} {
		n, r, err := Plant(p.s, p.seeds)
		if err != nil {
			t.Error(err)
		} else if !strings.Contains(r.Violation.Error(), p.want) {
			t.Errorf("%s: found by seed %d, as %v", p.s, n, r.Violation)
		}
	}
}

// A recipe whose settings nobody can follow is refused with a line.
func TestBadSettingsAreOneLine(t *testing.T) {
	head := "quorate recipe 2\nseed 1\nlength 1s\nvoters n1,n2,n3\n"
	for _, c := range []struct{ text, want string }{
		{head + "config hartbeat 30ms\n", `recipe: line 5: unknown config "hartbeat"`},
		{head + "config heartbeat 30\n", `recipe: line 5: config heartbeat is "30"; want a span from 1ms to 1s, as 150ms`},
		{head + "config heartbeat 100ms\n", `recipe: raft: election timeout (150 ms) must be at least 5 heartbeats (100 ms each): broadcast time ≪ election timeout`},
		{head + "workload clients 1000\n", `recipe: line 5: workload clients is "1000"; want a number from 0 to 64`},
	} {
		recipe, err := sim.Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if r := Run(Options{Recipe: &recipe}); r.Violation == nil || r.Violation.Error() != c.want {
			t.Errorf("got %v\nwant %s", r.Violation, c.want)
		}
	}
}

// The oracles' own arithmetic, which shares nothing with package quorum.
func TestIntersect(t *testing.T) {
	c := func(text string) *cluster { return &cluster{recipe: mustParse(t, text)} }
	three := c("voters n1,n2,n3").firstConfig()
	four := c("voters n1,n2,n3,n4").firstConfig()
	two := c("voters n1,n4").firstConfig()
	five := c("voters n1,n2,n3,n4,n5").firstConfig()
	if !intersect(three, four) || !intersect(four, three) {
		t.Error("one voter more keeps quorums together")
	}
	if intersect(three, two) || intersect(three, five) {
		t.Error("two voters at once: {n2,n3} beside {n1,n4}, or beside {n1,n4,n5}")
	}
}

func mustParse(t *testing.T, text string) sim.Recipe {
	t.Helper()
	r, err := sim.Parse("quorate recipe 2\nseed 1\nlength 1s\n" + text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Every recipe in testdata runs and shows what it expects.
func TestRecipes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.recipe")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".recipe"), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			recipe, err := sim.Parse(string(text))
			if err != nil {
				t.Fatal(err)
			}
			r := Run(Options{Recipe: &recipe})
			t.Logf("%d operations, %d answered, %d terms, marks %v", r.Operations, r.Answered, r.Terms, r.Marks)
			if err := r.Met(); err != nil {
				t.Error(err)
			}
		})
	}
}
