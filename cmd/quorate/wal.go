package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/vfs"
	"github.com/quorate/quorate/wal"
)

func newWal() *cobra.Command {
	return &cobra.Command{
		Use:   "wal DIR",
		Short: "Print a member's log for people",
		Long: `wal prints the log of a data directory, record by record, and what recovery would
make of its end. It only reads; the log of a running member may be looked at, but
its newest records may then be half written.

  quorate wal m1.etcd`,
		Args: exactly("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := args[0]
			if info, err := os.Stat(filepath.Join(dir, "wal")); err != nil || !info.IsDir() {
				return fmt.Errorf("%s is not the data directory of a member: it holds no directory wal", dir)
			}
			out := bufio.NewWriterSize(cmd.OutOrStdout(), 1<<16)
			err := wal.Dump(vfs.OS(dir), "wal", out)
			if e := out.Flush(); err == nil {
				err = e
			}
			return err
		},
	}
}
