// Command quorate is the one binary: a store you can start (serve, dev), a
// client for it (ctl), and the tools that look inside (sim, wal).
//
// It is the only place that wires the layers together, and the only one that
// reads the environment, files of configuration and signals. Everything else is
// given what it needs.
//
// Exit codes: 0 done, 1 it failed, 2 it was asked for wrongly. Every error is
// one line on stderr that says what to do.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}

// run is main without the process: args[0] is the name it was called by.
func run(args []string, stdout, stderr io.Writer) int {
	var err error
	switch {
	case calledAsEtcd(args[0]):
		err = serve(args[1:], stdout, stderr)
	case len(args) > 1 && args[1] == "ctl":
		return ctl(args[2:])
	default:
		root := newRoot(stdout, stderr)
		root.SetArgs(args[1:])
		err = root.Execute()
	}
	return report(err, stderr)
}

// calledAsEtcd is true for a link or copy named etcd: existing unit files and
// scripts then start the store unchanged.
func calledAsEtcd(name string) bool {
	return strings.TrimSuffix(filepath.Base(name), ".exe") == "etcd"
}

// usageError is a request that could not be understood: exit code 2.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return usageError{fmt.Sprintf(format, args...)}
}

// report prints err as one line and returns the exit code.
func report(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	line := strings.Join(strings.Fields(err.Error()), " ")
	fmt.Fprintf(stderr, "quorate: %s\n", line)
	if usage := (usageError{}); errors.As(err, &usage) {
		return 2
	}
	return 1
}
