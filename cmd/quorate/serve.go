package main

import (
	"errors"
	"flag"
	"io"

	"github.com/spf13/cobra"
)

func newServe() *cobra.Command {
	return &cobra.Command{
		Use:                "serve",
		Short:              "Run one member, with etcd's flags",
		DisableFlagParsing: true, // etcd's flags take one dash or two
		RunE: func(cmd *cobra.Command, args []string) error {
			return serve(args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}

// serve runs one member until it is told to stop.
func serve(args []string, stdout, stderr io.Writer) error {
	c, err := parseServe(args, environ)
	if errors.Is(err, flag.ErrHelp) {
		serveHelp(stdout)
		return nil
	}
	if err != nil {
		return err
	}
	if c.PrintVersion {
		return printEtcdVersion(stdout)
	}
	return errors.New("not wired yet")
}
