package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"
)

const rootLong = `quorate is a replicated key-value store that etcd's clients use unchanged, the
Raft library it is built on, the simulator that tests both, and a lab in which other
protocols that elect a leader run beside it.

Three members on this machine, in one command:

  quorate dev

and, from another terminal:

  quorate ctl put greeting hello
  quorate ctl get greeting

Why does a leader need a majority? The lab tells it as a story:

  quorate lab run majority`

// newRoot is the tree of commands. ctl is listed for its help; run hands it
// over before cobra sees it, because it brings a command tree of its own.
func newRoot(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "quorate",
		Short:         "A replicated key-value store with etcd's API",
		Long:          rootLong,
		Version:       ourVersion(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; run 'quorate help' for the list", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	// etcdctl's package turns this on for the whole process; here an
	// abbreviated command is more likely a typing error.
	cobra.EnablePrefixMatching = false
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetVersionTemplate("quorate {{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%s; run '%s --help' for what it takes", err, cmd.CommandPath())
	})
	root.AddCommand(newDev(), newServe(), newCtl(), newSim(), newLab(), newWal(), newVersion())
	return root
}

// exactly is cobra.ExactArgs with an error that names what is missing.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		want := "no arguments"
		if len(names) > 0 {
			want = strings.Join(names, " ")
		}
		return usagef("'%s' takes %s, got %d; run '%s --help'", cmd.CommandPath(), want, len(args), cmd.CommandPath())
	}
}
