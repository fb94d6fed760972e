package main

import (
	"strings"
	"testing"

	"github.com/quorate/quorate/lab/family"
	"github.com/quorate/quorate/lab/recipes"
)

// The list has every recipe once, under a heading, and every protocol; what a
// newcomer begins with stands first.
func TestTheListHasEverything(t *testing.T) {
	for _, language := range []string{"en", "zh"} {
		var b strings.Builder
		if err := labList(&b, language); err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		for _, line := range strings.Split(b.String(), "\n") {
			if name, ok := strings.CutPrefix(line, "  "); ok {
				count[strings.Fields(name)[0]]++
			}
		}
		for _, name := range recipes.Names() {
			want := 1
			if _, err := family.Find(name); err == nil {
				want = 2 // a protocol is called so as well
			}
			if count[name] != want {
				t.Errorf("%s: %s stands there %d times", language, name, count[name])
			}
		}
		for _, p := range family.All() {
			if count[p.Name] == 0 {
				t.Errorf("%s: no %s", language, p.Name)
			}
		}
		if i := strings.Index(b.String(), "  majority "); i < 0 || i > strings.Index(b.String(), "  f1 ") {
			t.Errorf("%s: majority does not stand first", language)
		}
	}
}
