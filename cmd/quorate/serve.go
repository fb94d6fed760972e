package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/signal"
	"syscall"

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

// serve runs one member until it is told to stop, is removed, or cannot go on.
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
	out, closeLog, err := openLog(c.LogOutputs, stdout, stderr)
	if err != nil {
		return err
	}
	defer closeLog()
	level, err := logLevel(c.LogLevel)
	if err != nil {
		return err
	}
	log := newLogger(out, level)
	for _, w := range c.Warnings {
		log.Warn(w)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if c.ParentFD > 0 {
		watchParent(c.ParentFD, stop)
	}
	m, err := startMember(ctx, c, log)
	if err != nil {
		return err
	}
	return m.run(ctx)
}
