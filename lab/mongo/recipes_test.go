package mongo

import (
	"slices"
	"strings"
	"testing"

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

// Every walk-through of MongoDB shows what it says, with every protocol it speaks
// of, and its control the other outcome. M113 to M119 stand in the files.
func TestWalkThroughs(t *testing.T) {
	for _, name := range recipes.Names() {
		if !strings.HasPrefix(name, "pv0-") && !strings.HasPrefix(name, "pv1-") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			text, _ := recipes.Text(name)
			for _, p := range Protocols() {
				own := strings.Contains(text, "protocol "+p.Name+"\n")
				if !own && !strings.Contains(text, "expect "+p.Name+":") {
					continue
				}
				r, err := lab.Template(text, p)
				if err != nil {
					t.Fatal(err)
				}
				expected, err := lab.Expectations(r)
				if err != nil {
					t.Fatal(err)
				}
				if !own {
					expected = slices.DeleteFunc(expected, func(e lab.Expectation) bool { return e.Protocols == nil })
				}
				result, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Quiet: true})
				if err != nil {
					t.Fatal(err)
				}
				if err := lab.Met(expected, result); err != nil {
					t.Error(err)
				}
				if !own {
					continue
				}
				controls, err := lab.Controls(r)
				if err != nil {
					t.Fatal(err)
				}
				c, ok := lab.Controlled(r)
				if !ok {
					t.Fatalf("%s has no control", name)
				}
				result, err = lab.Run(lab.Options{Recipe: c, Protocol: p, Quiet: true})
				if err != nil {
					t.Fatal(err)
				}
				if err := lab.Met(controls, result); err != nil {
					t.Errorf("control: %v", err)
				}
			}
		})
	}
}
