package family

import (
	"testing"

	"github.com/quorate/quorate/lab/recipes"
)

// A recipe that is printed as it runs reads as itself again: what --print and the
// header of a trace have gives the same run.
func TestAPrintedRecipeIsTheSameRecipe(t *testing.T) {
	for _, name := range recipes.Names() {
		text, _ := recipes.Text(name)
		protocols, err := Speaks(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, protocol := range protocols {
			r, _, err := Load(name, protocol)
			if err != nil {
				t.Fatalf("%s with %s: %v", name, protocol, err)
			}
			again, p, err := Resolve(r.String(), "")
			if err != nil || again.String() != r.String() || p.Name != protocol {
				t.Errorf("%s with %s reads as %s's\n%s\nand %v", name, protocol, p.Name, again.String(), err)
			}
		}
	}
}

// Every fault script can be read for every protocol.
func TestEveryScriptResolvesForEveryProtocol(t *testing.T) {
	for _, name := range recipes.Scripts() {
		for _, p := range All() {
			if _, _, err := Load(name, p.Name); err != nil {
				t.Errorf("%s with %s: %v", name, p.Name, err)
			}
		}
	}
}
