package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// simOptions are sim's flags.
type simOptions struct {
	seeds  int
	seed   uint64
	recipe string
	trace  string
}

func newSim() *cobra.Command {
	o := simOptions{}
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Run the whole cluster in a simulated world, by seed",
		Long: `sim runs the production code under a virtual network, disk and clock and judges
every event. A seed is a whole run: the same seed gives the same hash for ever.

  quorate sim --seeds 200          seeds 1 to 200, with their mean cost
  quorate sim --seed 7             one run and its hash
  quorate sim --recipe FILE        one run as written down, for replaying a failure`,
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
			return runSim(cmd, o)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.seeds, "seeds", 0, "run this many seeds, from 1")
	f.Uint64Var(&o.seed, "seed", 0, "run this seed and print its hash")
	f.StringVar(&o.recipe, "recipe", "", "run this recipe")
	f.StringVar(&o.trace, "trace", "", "write the events of the run to this file")
	return cmd
}

func runSim(*cobra.Command, simOptions) error { return errors.New("the simulator is not wired in yet") }
