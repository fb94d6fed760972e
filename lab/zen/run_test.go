package zen

import (
	"slices"
	"testing"

	"github.com/quorate/quorate/lab"
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
