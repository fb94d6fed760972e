package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/sim/enumerate"
)

func newLabSituations() *cobra.Command {
	var large, asJSON, markdown bool
	cmd := &cobra.Command{
		Use:   "situations",
		Short: "Visit every state of three nodes around one write whose leader fails",
		Long: `situations visits every state that three nodes of our Raft can be in around one
write, up to stated bounds: every order of deliveries, a crash at every point, every
end of every fsync. In each it checks Raft's rules, and from each it lets the group
recover and says what became of the write, by the seven situations in which a leader
can fail.

The stories situation-1 to situation-8 of 'quorate lab run' show one way through each.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := enumerate.Small()
			if large {
				o = enumerate.Large()
			}
			progress := newProgress(cmd.ErrOrStderr())
			o.Progress = func(p enumerate.Progress) bool {
				progress.show(p.States%1_000_000 == 0, "%d states visited, %d wait, %d steps deep", p.States, p.Waiting, p.Depth)
				return true
			}
			r, err := enumerate.Run(o)
			progress.end()
			if err != nil {
				return err
			}
			if err := printSituations(cmd.OutOrStdout(), r, asJSON, markdown); err != nil {
				return err
			}
			switch {
			case r.Violation != nil:
				return fmt.Errorf("%s is broken: %s", r.Violation.Rule, r.Violation.What)
			case len(r.Surprises) > 0:
				return fmt.Errorf("%d outcomes are other than docs/MISSION.md has them", len(r.Surprises))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&large, "large", false, "wider bounds: some six million states, a minute or two and 2 GB")
	f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	f.BoolVar(&markdown, "markdown", false, "print the report as Markdown")
	return cmd
}

// progress shows how far long work is: one line that is rewritten on a terminal, and
// now and then a line elsewhere.
type progress struct {
	out      io.Writer
	terminal bool
}

func newProgress(out io.Writer) progress {
	p := progress{out: out}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// show rewrites the line. milestone says that it is worth a line of its own where
// nothing can be rewritten.
func (p progress) show(milestone bool, format string, args ...any) {
	switch {
	case p.terminal:
		fmt.Fprintf(p.out, "\r\033[K"+format, args...)
	case milestone:
		fmt.Fprintf(p.out, format+"\n", args...)
	}
}

func (p progress) end() {
	if p.terminal {
		fmt.Fprint(p.out, "\r\033[K")
	}
}

func printSituations(out io.Writer, r enumerate.Report, asJSON, markdown bool) error {
	switch {
	case asJSON:
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(r)
	case markdown:
		_, err := io.WriteString(out, r.Markdown())
		return err
	}
	_, err := io.WriteString(out, r.String())
	return err
}
