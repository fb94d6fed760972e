// Labhash prints the trace hash of runs of the lab: one seed of every protocol on
// F2 and F8, and every recipe of a walk-through. Run natively
// and under js/wasm its output must be the same (`make labhash`).
package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/family"
	"github.com/quorate/quorate/lab/recipes"
)

func main() {
	if err := hashes(); err != nil {
		fmt.Fprintln(os.Stderr, "labhash:", err)
		os.Exit(1)
	}
}

func hashes() error {
	scripts := recipes.Scripts()
	for _, p := range family.All() {
		for _, name := range []string{"f2", "f8"} {
			if err := one(name, p.Name); err != nil {
				return err
			}
		}
	}
	for _, name := range recipes.Names() {
		if !slices.Contains(scripts, name) {
			if err := one(name, ""); err != nil {
				return err
			}
		}
	}
	return nil
}

func one(name, protocol string) error {
	r, p, err := family.Load(name, protocol)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	result, err := lab.Run(lab.Options{Recipe: r, Protocol: p})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Printf("%-40s %-24s %016x\n", name, p.Name, result.Hash)
	return nil
}
