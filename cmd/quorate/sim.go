package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/sim/cluster"
)

// simOptions are sim's flags.
type simOptions struct {
	seeds  int
	from   uint64
	seed   uint64
	recipe string
	trace  string
	wide   bool
	shrink int
}

const (
	recipeLimitBytes = 1 << 20
	marksNeedSeeds   = 200 // a batch this large must have reached every required mark
)

func newSim() *cobra.Command {
	o := simOptions{}
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Run a whole cluster in a simulated world, by seed",
		Long: `sim runs the production code under a virtual network, disk and clock and judges
every event. A seed is a whole run: with one version it gives one hash, anywhere.

  quorate sim --seeds 200          seeds 1 to 200, and what they cost
  quorate sim --seed 7             one run, its hash and what it reached
  quorate sim --recipe FILE        one run as written down: replays a failure

A run that breaks a rule is made smaller and printed as a recipe; the exit code
is then 1.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			chosen := 0
			for _, name := range []string{"seeds", "seed", "recipe"} {
				if cmd.Flags().Changed(name) {
					chosen++
				}
			}
			if chosen != 1 {
				return usagef("sim needs exactly one of --seeds N, --seed S and --recipe FILE")
			}
			if o.seeds < 0 || cmd.Flags().Changed("seeds") && o.seeds == 0 {
				return usagef("--seeds %d must be at least 1", o.seeds)
			}
			if o.seeds > 0 && o.trace != "" {
				return usagef("--trace holds one run; use it with --seed or --recipe")
			}
			if o.seeds > 0 {
				return simBatch(cmd.OutOrStdout(), o)
			}
			return simOne(cmd.OutOrStdout(), o)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.seeds, "seeds", 0, "run this many seeds")
	f.Uint64Var(&o.from, "from", 1, "first of --seeds")
	f.Uint64Var(&o.seed, "seed", 0, "run this seed and print its hash")
	f.StringVar(&o.recipe, "recipe", "", "run this recipe")
	f.StringVar(&o.trace, "trace", "", "write the events of the run to this file")
	f.BoolVar(&o.wide, "wide", false, "draw from the wide mode: one to seven voters")
	f.IntVar(&o.shrink, "shrink", 100, "runs to spend on making a failing one smaller")
	return cmd
}

// simBatch runs seeds and prints what they came to, marks included.
func simBatch(out io.Writer, o simOptions) error {
	begin := cpuTime()
	s := cluster.Batch(o.from, o.seeds, cluster.Options{Wide: o.wide}, nil)
	cpu := cpuTime() - begin
	each := func(n int) float64 { return float64(n) / float64(s.Seeds) }
	fmt.Fprintf(out, "%d seeds from %d: mean %.0f operations (%.0f answered), %.1f faults, %.1f simulated s, %.3f CPU s each; %d failed\n",
		s.Seeds, o.from, each(s.Operations), each(s.Answered), each(s.Faults),
		float64(s.Simulated)/float64(id.Second)/float64(s.Seeds), cpu.Seconds()/float64(s.Seeds), len(s.Failed))
	fmt.Fprintf(out, "reached: %s\n", strings.Join(s.MarkNames(), ", "))
	if len(s.Failed) > 0 {
		for _, r := range s.Failed {
			fmt.Fprintf(out, "%s: %v\n", r.Command(), r.Violation)
		}
		return simFailed(out, o, s.Failed[0])
	}
	if missing := s.Missing(); len(missing) > 0 && s.Seeds >= marksNeedSeeds {
		return fmt.Errorf("no seed reached %s: the batch shows less than it claims", strings.Join(missing, ", "))
	}
	return nil
}

// simOne runs one seed or recipe.
func simOne(out io.Writer, o simOptions) (err error) {
	options := cluster.Options{Seed: o.seed, Wide: o.wide}
	if o.recipe != "" {
		recipe, err := readRecipe(o.recipe)
		if err != nil {
			return err
		}
		options.Recipe = &recipe
	}
	if o.trace != "" {
		file, err := os.Create(o.trace)
		if err != nil {
			return fmt.Errorf("--trace: %w", err)
		}
		buffered := bufio.NewWriterSize(file, 1<<20)
		options.Trace = buffered
		defer func() {
			flushed := buffered.Flush()
			if e := file.Close(); flushed == nil {
				flushed = e
			}
			if err == nil && flushed != nil {
				err = fmt.Errorf("--trace: %w", flushed)
			}
		}()
	}
	r := cluster.Run(options)
	if bad := (*sim.Error)(nil); r.Events == 0 && errors.As(r.Violation, &bad) {
		return usagef("--recipe %s: %v", o.recipe, bad)
	}
	fmt.Fprintf(out, "hash %016x  %d operations (%d answered), %d faults, %d events, %.1f simulated s\nreached: %s\n",
		r.Hash, r.Operations, r.Answered, r.Faults, r.Events, float64(r.Simulated)/float64(id.Second), strings.Join(r.Marks, ", "))
	if r.Violation == nil {
		return nil
	}
	return simFailed(out, o, r)
}

func readRecipe(path string) (sim.Recipe, error) {
	text, err := readRecipeFile(path)
	if err != nil {
		return sim.Recipe{}, err
	}
	recipe, err := sim.Parse(text)
	if err != nil {
		return sim.Recipe{}, usagef("--recipe %s: %v", path, err)
	}
	return recipe, nil
}

// readRecipeFile reads a file that is small enough to be a recipe.
func readRecipeFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", usagef("recipe: %v", err)
	}
	if info.IsDir() || info.Size() > recipeLimitBytes {
		return "", usagef("recipe %s: want a file of at most %d bytes", path, recipeLimitBytes)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", usagef("recipe: %v", err)
	}
	return string(text), nil
}

// simFailed prints the smallest run found that still fails.
func simFailed(out io.Writer, o simOptions, r cluster.Result) error {
	small, tries := cluster.Shrink(r, cluster.Options{Wide: o.wide}, o.shrink)
	fmt.Fprintf(out, "\nThe run that follows fails too, after %d tries to make it smaller. Save it and run: quorate sim --recipe FILE\n\n%s\n", tries, small.Recipe)
	return fmt.Errorf("%s breaks a rule at %.6f s: %w", r.Command(), float64(r.At)/float64(id.Second), r.Violation)
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
