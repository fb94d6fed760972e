package redis

import (
	"slices"
	"testing"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/recipes"
)

// named returns a protocol of this package.
func named(t *testing.T, name string) lab.Protocol {
	t.Helper()
	i := slices.IndexFunc(Protocols(), func(p lab.Protocol) bool { return p.Name == name })
	if i < 0 {
		t.Fatalf("no protocol %q", name)
	}
	return Protocols()[i]
}

// run runs a recipe's text.
func run(t *testing.T, text string, p lab.Protocol) lab.Result {
	t.Helper()
	r, err := lab.Template(text, p)
	if err != nil {
		t.Fatal(err)
	}
	x, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestRecipes: every walk-through shows what it says, with each protocol it speaks
// of, and its control the other outcome. M123
func TestRecipes(t *testing.T) {
	for name, protocols := range map[string][]string{
		"redis-isolated-master":         {"redis/sentinel-min-replicas", "redis/sentinel"},
		"redis-cluster-isolated-master": {"redis/cluster", "redis/cluster-everysec"},
		"redis-epoch-votes":             {"redis/cluster", "redis/cluster-everysec"},
		"sentinel-promotes":             {"redis/sentinel"},
	} {
		t.Run(name, func(t *testing.T) {
			text, ok := recipes.Text(name)
			if !ok {
				t.Fatal("no such recipe")
			}
			for i, p := range protocols {
				walk(t, text, named(t, p), i == 0)
			}
		})
	}
}

func walk(t *testing.T, text string, p lab.Protocol, control bool) {
	t.Helper()
	r, err := lab.Template(text, p)
	if err != nil {
		t.Fatal(err)
	}
	expected, err := lab.Expectations(r)
	if err != nil {
		t.Fatal(err)
	}
	x := run(t, text, p)
	if err := lab.Met(expected, x); err != nil {
		t.Error(err)
	}
	broken, ok := lab.Controlled(r)
	if !ok || !control {
		return
	}
	then, err := lab.Controls(r)
	if err != nil {
		t.Fatal(err)
	}
	x, err = lab.Run(lab.Options{Recipe: broken, Protocol: p, Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Met(then, x); err != nil {
		t.Error("the control: ", err)
	}
}
