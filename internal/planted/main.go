// planted breaks one safety rule at a time and runs simulator seeds until an
// oracle sees it: this is how the checkers are checked. A breakage that no seed
// finds is a hole in the oracles, or a switch that is read nowhere.
//
//	go run ./internal/planted                     the ten that must be found
//	go run ./internal/planted -all                every switch of internal/faults
//	go run ./internal/planted count-prior-term    this one
//
// It says which seed was the first to find it and what the oracle said; with
// -recipe also how to replay that run, as a file for `quorate sim --recipe`.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/sim/cluster"
)

// must are the breakages that a run of at most 300 seeds must find.
var must = []faults.Switch{
	faults.AckBeforeDurable, faults.SkipVoteSync, faults.CountPriorTerm, faults.CommitPastVerified,
	faults.ReadWithoutRound, faults.KeepConflict, faults.ApplyBeforeDurable, faults.TornTailIsGood,
	faults.CutByApplied, faults.SkipInstallFlush,
}

func main() {
	all := flag.Bool("all", false, "every switch of internal/faults")
	seeds := flag.Int("seeds", 300, "give up on a breakage after so many seeds")
	recipe := flag.Bool("recipe", false, "print the recipe of the run that found it")
	flag.Parse()
	list := must
	if *all {
		list = faults.All
	}
	if flag.NArg() > 0 {
		list = nil
		for _, name := range flag.Args() {
			list = append(list, faults.Switch(name))
		}
	}
	if err := run(os.Stdout, list, *seeds, *recipe); err != nil {
		fmt.Fprintf(os.Stderr, "planted: %v\n", err)
		os.Exit(1)
	}
}

// run plants each and joins what was not found into one error.
func run(out io.Writer, list []faults.Switch, seeds int, recipe bool) error {
	var missed []error
	for _, s := range list {
		n, found, err := cluster.Plant(s, seeds)
		if err != nil {
			missed = append(missed, err)
			fmt.Fprintf(out, "%-22s NOT FOUND\n", s)
			continue
		}
		what, _, _ := strings.Cut(found.Violation.Error(), "\n")
		fmt.Fprintf(out, "%-22s seed %-4d %.160s\n", s, n, what)
		if recipe {
			fmt.Fprintf(out, "\n%s", found.Recipe)
		}
	}
	return errors.Join(missed...)
}
