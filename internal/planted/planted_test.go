package main

import (
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/sim"
)

func TestAFoundAndAnUnknownBreakage(t *testing.T) {
	var out strings.Builder
	if err := run(&out, []faults.Switch{faults.CountSelfTwice}, 10, true); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(out.String(), "count-self-twice       seed ") {
		t.Errorf("got %q", out.String())
	}
	_, recipe, _ := strings.Cut(out.String(), "\n\n")
	if r, err := sim.Parse(recipe); err != nil || r.Seed == 0 {
		t.Errorf("the recipe does not parse: %v", err)
	}
	err := run(&out, []faults.Switch{"count-nobody"}, 1, false)
	if err == nil || !strings.Contains(err.Error(), `unknown break switch "count-nobody"`) {
		t.Errorf("got %v", err)
	}
}
