package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/family"
	"github.com/quorate/quorate/lab/matrix"
	"github.com/quorate/quorate/lab/recipes"
)

// matrixSeedsMax bounds a matrix: ten thousand runs of every cell.
const matrixSeedsMax = 10_000

// matrixOptions are the flags of lab matrix.
type matrixOptions struct {
	seeds               int
	protocols, scripts  []string
	json, markdown, svg string
}

func newLabMatrix() *cobra.Command {
	o := matrixOptions{}
	cmd := &cobra.Command{
		Use:   "matrix",
		Short: "Run every protocol under every fault script and tabulate",
		Long: `matrix runs every protocol under every fault script, several seeds each, and prints
who had no leader for how long, who had two, who lost what was acknowledged, and what a
write costs. The same seeds give the same table on every machine.

  quorate lab matrix                                   5 seeds: some minutes of CPU
  quorate lab matrix --protocols raft,zab --seeds 20   two of them, more seeds
  quorate lab matrix --svg matrix.svg                  a picture of it as well`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return labMatrix(cmd.OutOrStdout(), newProgress(cmd.ErrOrStderr()), o)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.seeds, "seeds", 5, "runs of every cell, with the seeds 1 to this")
	f.StringSliceVar(&o.protocols, "protocols", nil, "only these, as raft,zab; default: all that decide more than once")
	f.StringSliceVar(&o.scripts, "scripts", nil, "only these, as f2,f8; default: all")
	f.StringVar(&o.json, "json", "", "write every figure to this file")
	f.StringVar(&o.markdown, "markdown", "", "write the table to this file")
	f.StringVar(&o.svg, "svg", "", "draw the table into this file")
	return cmd
}

func labMatrix(out io.Writer, p progress, o matrixOptions) error {
	if o.seeds < 1 || o.seeds > matrixSeedsMax {
		return usagef("--seeds %d must be 1 to %d", o.seeds, matrixSeedsMax)
	}
	protocols, scripts, err := chosen(o)
	if err != nil {
		return err
	}
	t := measure(protocols, scripts, o.seeds, p)
	if _, err := io.WriteString(out, t.Text()); err != nil {
		return err
	}
	for _, file := range []struct {
		flag, name string
		content    func() []byte
	}{
		{"--json", o.json, t.JSON},
		{"--markdown", o.markdown, func() []byte { return []byte(t.Markdown(o.command())) }},
		{"--svg", o.svg, func() []byte { return []byte(t.SVG()) }},
	} {
		if file.name == "" {
			continue
		}
		if err := os.WriteFile(file.name, file.content(), 0o644); err != nil {
			return fmt.Errorf("%s: %w", file.flag, err)
		}
	}
	return nil
}

// command is the command that makes the table again.
func (o matrixOptions) command() string {
	c := fmt.Sprintf("quorate lab matrix --seeds %d", o.seeds)
	if o.protocols != nil {
		c += " --protocols " + strings.Join(o.protocols, ",")
	}
	if o.scripts != nil {
		c += " --scripts " + strings.Join(o.scripts, ",")
	}
	return c
}

// chosen are the protocols and scripts that the flags name; all, if they name none.
func chosen(o matrixOptions) ([]lab.Protocol, []string, error) {
	protocols, scripts := slices.DeleteFunc(family.All(), func(p lab.Protocol) bool { return p.Once }), recipes.Scripts()
	if o.protocols != nil {
		protocols = nil
		for _, name := range o.protocols {
			p, err := family.Find(name)
			if err != nil {
				return nil, nil, usagef("--protocols: %v", err)
			}
			protocols = append(protocols, p)
		}
	}
	for _, name := range o.scripts {
		if !slices.Contains(scripts, name) {
			return nil, nil, usagef("--scripts: unknown fault script %q; known: %s", name, strings.Join(scripts, ", "))
		}
	}
	if o.scripts != nil {
		scripts = o.scripts
	}
	return protocols, scripts, nil
}

// measure runs the protocols side by side, each on one thread: a row is a function
// of its protocol, whoever runs beside it.
func measure(protocols []lab.Protocol, scripts []string, seeds int, p progress) matrix.Table {
	var (
		mu     sync.Mutex
		done   int
		tables = make([]matrix.Table, len(protocols))
		next   = make(chan int, len(protocols)) // all rows fit: nobody waits to send
		all    sync.WaitGroup
	)
	total := len(protocols) * len(scripts) * seeds
	for i := range protocols {
		next <- i
	}
	close(next)
	for range min(runtime.GOMAXPROCS(0), len(protocols)) {
		all.Go(func() {
			for i := range next {
				tables[i] = matrix.Run(protocols[i:i+1], scripts, seeds, func(_, _ int, protocol, script string) {
					mu.Lock()
					defer mu.Unlock()
					done++
					p.show(done%100 == 0 || done == total, "%d of %d runs: %s, %s", done, total, protocol, script)
				})
			}
		})
	}
	all.Wait()
	p.end()
	whole := tables[0]
	for _, t := range tables[1:] {
		whole.Rows = append(whole.Rows, t.Rows...)
	}
	return whole
}
