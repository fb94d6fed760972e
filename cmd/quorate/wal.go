package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func newWal() *cobra.Command {
	return &cobra.Command{
		Use:   "wal DIR",
		Short: "Print a member's log for people",
		Long: `wal prints the log below a data directory, record by record, and says where it is
damaged. It only reads; stop the member first to see a log at rest.

  quorate wal m1.etcd`,
		Args: exactly("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return printWal(cmd, args[0]) },
	}
}

func printWal(*cobra.Command, string) error { return errors.New("the log printer is not wired in yet") }
