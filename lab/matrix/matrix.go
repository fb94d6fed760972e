// Package matrix runs every protocol under every fault script, over several seeds,
// and shows at a glance who loses what:
//
//	Run ─▶ Table ─┬▶ Text      terminal, at most 120 columns
//	              ├▶ Markdown  docs/LAB.md
//	              ├▶ JSON      every figure, with its unit in its name
//	              └▶ SVG       one picture: colour is the worst thing that happened
//
// A cell is one protocol under one script. Of every figure it keeps the worst run
// and the median of all runs; what is worst is said at Cell. A cell that means
// nothing (a fault that has nobody to fall on) says why instead.
//
// Figures are integers; fractions are only printed. The same protocols, scripts
// and seeds give the same table, byte for byte.
package matrix

import (
	"slices"
	"strings"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/recipes"
	"github.com/quorate/quorate/sim"
)

// Table is what a run of the matrix came to.
type Table struct {
	Seeds   int
	Scripts []Script
	Rows    []Row
}

// Script is a column.
type Script struct {
	Name  string // "f1s"
	Title string // "F1s: the leader's host goes silent"
}

// Label is how a column is headed: "F1s".
func (s Script) Label() string {
	label, _, _ := strings.Cut(s.Title, ": ")
	return label
}

// About is what happens in it: "the leader's host goes silent".
func (s Script) About() string {
	_, about, _ := strings.Cut(s.Title, ": ")
	return about
}

// Row is a protocol.
type Row struct {
	Protocol   string
	Title      string
	Epochs     bool // same-epoch means something
	Leaderless bool // changes, recovery and two leaders mean nothing
	Cells      []Cell
}

// Cell is one protocol under one script.
type Cell struct {
	Script        string
	NotApplicable string // why the script means nothing here; then there are no figures
	Failed        string // the first run that ended with an error; its figures are missing
	Runs          int    // that are in the figures

	Gap, Recovery        Stat // spans in nanoseconds; no recovery counts as 0
	Changes              Stat
	TwoLeaders           Stat // acknowledgements while another leader acknowledged
	SameEpoch            Stat // epochs with two leaders
	Lost, LostWorst      Stat // acknowledged and absent: at the end, at worst during the run
	Stale                Stat // reads
	Divergent            Stat // positions that two nodes decided differently
	Acked                Stat // writes; here the fewest are the worst
	Messages, Bytes      Stat // per thousand acknowledged writes, of runs that had any
	Syncs                Stat // likewise: fsyncs
	WithoutAcknowledging int  // runs in which no write was acknowledged at all
}

// Stat is one figure over the seeds. The median of an even number of runs is the
// smaller of the two in the middle: a figure that some run really had.
type Stat struct {
	Worst  uint64 `json:"worst"`
	Median uint64 `json:"median"`
}

// Run runs protocols × scripts × seeds 1 to n. progress, unless nil, is told after
// every run how many of how many are done. Fewer seeds than one are one.
func Run(protocols []lab.Protocol, scripts []string, seeds int, progress func(done, total int, protocol, script string)) Table {
	t := Table{Seeds: max(1, seeds)}
	for _, s := range scripts {
		t.Scripts = append(t.Scripts, Script{s, title(s)})
	}
	done, total := 0, len(protocols)*len(scripts)*t.Seeds
	for _, p := range protocols {
		row := Row{Protocol: p.Name, Title: p.Title, Epochs: p.Epochs, Leaderless: p.Leaderless}
		for _, s := range scripts {
			before := done
			cell := Measure(p, s, t.Seeds, func() {
				done++
				if progress != nil {
					progress(done, total, p.Name, s)
				}
			})
			if skipped := before + t.Seeds - done; skipped > 0 {
				done += skipped
				if progress != nil {
					progress(done, total, p.Name, s)
				}
			}
			row.Cells = append(row.Cells, cell)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// title is the script's title line.
func title(script string) string {
	text, _ := recipes.Text(script)
	for line := range strings.Lines(text) {
		if t, ok := strings.CutPrefix(line, "title "); ok {
			return strings.TrimSpace(t)
		}
	}
	return script
}

// Measure fills one cell. ran, unless nil, is called after every run.
func Measure(p lab.Protocol, script string, seeds int, ran func()) Cell {
	c := Cell{Script: script}
	text, ok := recipes.Text(script)
	if !ok {
		c.Failed = "there is no recipe " + script
		return c
	}
	if c.NotApplicable = whyNot(p, text); c.NotApplicable != "" {
		return c
	}
	recipe, err := lab.Template(text, p)
	if err != nil {
		c.Failed = err.Error()
		return c
	}
	// The control of a script is one protocol's, and so are its expectations.
	recipe.Break, recipe.Then, recipe.Expect = nil, nil, nil
	var runs []lab.Measures
	for seed := 1; seed <= seeds; seed++ {
		recipe.Seed = uint64(seed)
		got, err := lab.Run(lab.Options{Recipe: recipe, Protocol: p, Quiet: true})
		if err != nil {
			if c.Failed == "" {
				c.Failed = err.Error()
			}
		} else {
			runs = append(runs, got.Measures)
		}
		if ran != nil {
			ran()
		}
	}
	c.aggregate(runs)
	return c
}

// whyNot says why a script means nothing for a protocol; empty: it does.
func whyNot(p lab.Protocol, text string) string {
	if p.Reply == "" && strings.Contains(text, "message=REPLY") {
		return "no reply decides its elections"
	}
	if p.Once {
		return "it decides once, and the scripts' clients write all the time"
	}
	faults := 0
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "fault ") && !strings.Contains(line, " crash ") {
			faults++
		}
	}
	// A line whose nodes nobody is vanishes from the resolved recipe. That one node
	// less crashes leaves the script what it is; a link that is not cut does not.
	if r, err := lab.Template(text, p); err == nil {
		left := 0
		for _, f := range r.Faults {
			if f.Kind != sim.FaultCrash {
				left++
			}
		}
		if left < faults {
			return "a fault of the script falls on a rank that it does not have"
		}
	}
	return ""
}

// aggregate sums runs up.
func (c *Cell) aggregate(runs []lab.Measures) {
	c.Runs = len(runs)
	most := func(figure func(m lab.Measures) int) Stat { return stat(runs, figure) }
	span := func(figure func(m lab.Measures) id.Duration) Stat {
		return stat(runs, func(m lab.Measures) int { return int(figure(m)) })
	}
	c.Gap = span(func(m lab.Measures) id.Duration { return m.Gap })
	c.Recovery = span(func(m lab.Measures) id.Duration { return m.Recovery })
	c.Changes = most(func(m lab.Measures) int { return m.Changes })
	c.TwoLeaders = most(func(m lab.Measures) int { return m.TwoLeaders })
	c.SameEpoch = most(func(m lab.Measures) int { return m.SameEpoch })
	c.Lost = most(func(m lab.Measures) int { return m.Lost })
	c.LostWorst = most(func(m lab.Measures) int { return m.LostWorst })
	c.Stale = most(func(m lab.Measures) int { return m.Stale })
	c.Divergent = most(func(m lab.Measures) int { return m.Divergent })
	c.Acked = most(func(m lab.Measures) int { return m.Acked })
	for _, m := range runs {
		c.Acked.Worst = min(c.Acked.Worst, uint64(m.Acked))
	}
	acking := slices.DeleteFunc(slices.Clone(runs), func(m lab.Measures) bool { return m.Acked == 0 })
	c.WithoutAcknowledging = len(runs) - len(acking)
	per := func(figure func(m lab.Measures) int) Stat {
		return stat(acking, func(m lab.Measures) int { return figure(m) * 1000 / m.Acked })
	}
	c.Messages = per(func(m lab.Measures) int { return m.Messages })
	c.Bytes = per(func(m lab.Measures) int { return m.Bytes })
	c.Syncs = per(func(m lab.Measures) int { return m.Syncs })
}

func stat(runs []lab.Measures, figure func(m lab.Measures) int) Stat {
	if len(runs) == 0 {
		return Stat{}
	}
	var all []uint64
	for _, m := range runs {
		all = append(all, uint64(figure(m)))
	}
	slices.Sort(all)
	return Stat{Worst: all[len(all)-1], Median: all[(len(all)-1)/2]}
}

// Outcome is the worst thing that happened in any run of a cell, from good to bad.
type Outcome uint8

const (
	None     Outcome = iota // the script means nothing here
	Kept                    // everything was kept, and nobody waited long
	Long                    // no write was acknowledged for LongGap or more
	Stale                   // a read, or a leader for a while, was without an acknowledged write
	Two                     // two leaders acknowledged at once, or led in one epoch
	Diverged                // two nodes decided different things for one position
	Lost                    // acknowledged writes are gone at the end
	Broken                  // a run ended with an error
)

// LongGap is from when on a gap is a matter of its own: half a minute.
const LongGap = 30 * id.Second

// Outcome judges a cell.
func (c Cell) Outcome() Outcome {
	switch {
	case c.NotApplicable != "":
		return None
	case c.Failed != "":
		return Broken
	case c.Lost.Worst > 0:
		return Lost
	case c.Divergent.Worst > 0:
		return Diverged
	case c.TwoLeaders.Worst > 0, c.SameEpoch.Worst > 0:
		return Two
	case c.Stale.Worst > 0, c.LostWorst.Worst > 0:
		return Stale
	case c.Gap.Worst >= uint64(LongGap):
		return Long
	}
	return Kept
}

// Mark is one letter for a table.
func (o Outcome) Mark() string { return [...]string{"–", "·", "u", "s", "T", "D", "L", "!"}[o] }

// Word is what a legend calls it.
func (o Outcome) Word() string {
	return [...]string{"n/a", "kept", "long gap", "stale", "two leaders", "diverged", "lost", "failed"}[o]
}

// Meaning is a legend's explanation.
func (o Outcome) Meaning() string {
	return [...]string{
		"the script means nothing for this protocol",
		"every acknowledged write was kept, and no gap reached " + sim.FormatDuration(LongGap),
		"no write was acknowledged for " + sim.FormatDuration(LongGap) + " or longer",
		"a read, or a leader for a while, was without an acknowledged write",
		"two leaders acknowledged at once, or held office in one epoch",
		"two nodes decided different writes for one position",
		"acknowledged writes are gone at the end",
		"a run ended with an error",
	}[o]
}

// outcomes is the order of legends.
func outcomes() []Outcome { return []Outcome{Kept, Long, Stale, Two, Diverged, Lost, None, Broken} }
