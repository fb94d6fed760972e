package main

import (
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/etcdctl/v3/ctlv3"
)

func newCtl() *cobra.Command {
	return &cobra.Command{
		Use:   "ctl COMMAND ...",
		Short: "Talk to a running cluster: etcdctl's own commands",
		Long: `ctl is etcdctl, built in: the same commands, flags and ETCDCTL_ variables.

  quorate ctl put greeting hello
  quorate ctl get --prefix ''
  quorate ctl --endpoints 127.0.0.1:2379,127.0.0.1:2479 endpoint status -w table

'quorate ctl help' lists everything.`,
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			os.Exit(ctl(args))
			return nil
		},
	}
}

// ctl runs etcdctl's commands and returns the exit code. etcdctl reads its
// arguments from the process and ends it itself on most failures.
func ctl(args []string) int {
	cobra.EnablePrefixMatching = true
	os.Args = append([]string{"etcdctl"}, args...)
	if err := ctlv3.Start(); err != nil {
		return 1
	}
	return 0
}
