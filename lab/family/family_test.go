package family

import (
	"strings"
	"testing"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/recipes"
	"github.com/quorate/quorate/sim"
)

// Every recipe runs to its stated outcome, with every protocol it speaks of, twice
// to the same hash; and with its rule broken it shows the other outcome.
func TestRecipes(t *testing.T) {
	illustrations := 0
	for _, name := range recipes.Names() {
		text, _ := recipes.Text(name)
		if strings.Contains(text, "\nillustration ") {
			illustrations++
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			protocols, err := Speaks(text)
			if err != nil {
				t.Fatal(err)
			}
			for i, protocol := range protocols {
				r, p, err := Load(name, protocol)
				if err != nil {
					t.Fatalf("%s: %v", protocol, err)
				}
				if i == 0 {
					told(t, r)
				}
				shows(t, r, p, i == 0)
			}
		})
	}
	if illustrations > 5 {
		t.Errorf("%d recipes have no rule to break; at most five may", illustrations)
	}
}

// told checks that a recipe can be read by a person, in both languages.
func told(t *testing.T, r sim.Recipe) {
	t.Helper()
	words := []string{"title", "about", "lesson"}
	if len(r.Break) > 0 {
		words = append(words, "without")
	}
	for _, word := range words {
		if r.Tell(word, "en") == "" || r.Tell(word, "zh") == "" || r.Tell(word, "en") == r.Tell(word, "zh") {
			t.Errorf("no %s in both languages", word)
		}
	}
	if r.Tell("source", "en") == "" {
		t.Error("no source")
	}
	english, chinese := 0, 0
	for _, c := range r.Captions {
		if c.Language == "" {
			english++
		} else {
			chinese++
		}
	}
	if english == 0 || english != chinese {
		t.Errorf("%d captions, %d of them in Chinese", english, chinese)
	}
}

// shows runs a recipe and, for its own protocol, its control.
func shows(t *testing.T, r sim.Recipe, p lab.Protocol, own bool) {
	t.Helper()
	expected, err := lab.Expectations(r)
	if err != nil {
		t.Fatal(err)
	}
	first := run(t, r, p)
	if err := lab.Met(expected, first); err != nil {
		t.Error(err)
	}
	speaks := false
	for _, e := range expected {
		speaks = speaks || e.For(p.Name)
	}
	if !speaks {
		t.Errorf("nothing is expected of %s", p.Name)
	}
	if own {
		if again := run(t, r, p); again.Hash != first.Hash {
			t.Errorf("hash %016x, then %016x", first.Hash, again.Hash)
		}
		control(t, r, p)
	}
}

// control runs the recipe with its rule broken: the outcome must be the other one,
// and what was expected must no longer be shown.
func control(t *testing.T, r sim.Recipe, p lab.Protocol) {
	t.Helper()
	broken, ok := lab.Controlled(r)
	if !ok {
		if r.Tell("illustration", "en") == "" {
			t.Error("no rule to break, and no illustration line that says why")
		}
		return
	}
	want, err := lab.Controls(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(want) == 0 {
		t.Error("a rule is broken and no then line says what that shows")
	}
	result := run(t, broken, p)
	if err := lab.Met(want, result); err != nil {
		t.Errorf("with %v broken: %v", r.Break, err)
	}
	if sound := run(t, r, p); lab.Met(want, sound) == nil {
		t.Errorf("what %v is said to cause is seen without it too", r.Break)
	}
}

func run(t *testing.T, r sim.Recipe, p lab.Protocol) lab.Result {
	t.Helper()
	result, err := lab.Run(lab.Options{Recipe: r, Protocol: p})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// Every protocol is described, its name is its own, and its switches say what they
// break.
func TestProtocolsAreDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range All() {
		if p.Title == "" || p.Chinese == "" || p.About == "" || p.Slowest <= 0 || p.New == nil || seen[p.Name] {
			t.Errorf("%+v", p)
		}
		seen[p.Name] = true
		for _, s := range p.Switches {
			if s.What == "" {
				t.Errorf("%s: %s says nothing", p.Name, s.Name)
			}
		}
	}
}

// What a person may mistype is answered with a line that helps.
func TestUnknownNames(t *testing.T) {
	if _, _, err := Load("f2", "zookeeper"); err == nil || !strings.Contains(err.Error(), `unknown protocol "zookeeper"; known: raft`) {
		t.Error(err)
	}
	if _, _, err := Resolve("quorate recipe 2\nprotocol zookeeper\n", ""); err == nil || !strings.HasPrefix(err.Error(), `recipe: line 2: unknown protocol "zookeeper"`) {
		t.Error(err)
	}
	if _, err := Speaks("quorate recipe 2\nexpect zk: lost = 0\n"); err == nil || !strings.HasPrefix(err.Error(), `recipe: line 2: unknown protocol "zk"`) {
		t.Error(err)
	}
	if _, _, err := Load("f99", ""); err == nil {
		t.Error("f99")
	}
}
