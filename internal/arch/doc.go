// Package arch is the test that holds the house up: which package may import
// which, what a machine may not contain, what may be written to disk, and the
// few questions of style that a test can keep true. The rules are data, each
// with its reason (table.go, words.go); a finding prints the place, the rule and
// the reason on one line.
//
// It works from three things:
//
//	imports   every package has a place in the table; arrows go down
//	syntax    go, chan, select, range, fields, file lengths
//	types     what a name really is: a range over a map behind a named type, a
//	          time.Now under another import name, a func inside a message
//
// It reads the source tree itself instead of asking `go list`, so that `go test`
// knows which files the verdict depends on and never serves a stale one. Only
// the types of what is not ours come from the go command.
//
// A new package must be placed in table.go before its first commit. That is the
// moment to ask which layer the truth belongs to.
package arch

import "fmt"

// Finding is one broken rule.
type Finding struct {
	At   string // file:line, or a package
	Text string // what is wrong, why that matters, what to do
}

func (f Finding) String() string { return f.At + ": " + f.Text }

func finding(at, format string, args ...any) Finding {
	return Finding{At: at, Text: fmt.Sprintf(format, args...)}
}
