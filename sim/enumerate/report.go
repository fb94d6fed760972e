package enumerate

import (
	"fmt"
	"slices"
	"strings"
)

// Report is what a search found.
type Report struct {
	Options     Options
	Complete    bool   // everything within the bounds was visited
	Stopped     string // why not, if it was not
	States      int    // different ones visited
	Transitions int    // steps tried
	Depth       int    // steps of the longest shortest way
	Unfailed    int    // states in which the first leader has not failed
	Recoveries  int    // recoveries run: six per state that differs once faults end
	LateCommits int    // steps by which an old leader learned, with another in office, that what it had replicated before is committed
	Rows        []Row  // by situation and disks; only those that were met
	Violation   *Violation
	Surprises   []string // what contradicts MISSION's outcomes; empty if the enumeration bears them out
}

// Row is one situation, split by where the command was when the leader failed.
type Row struct {
	Situation Situation
	Caption   Text
	Expected  Text
	Mission   string // number of the behaviour
	Disks     int    // on how many of the three disks the command was when the leader had failed

	Failures Counts // the states right after the failure
	All      Counts // these and everything that can come after
}

// Counts are numbers of states, by what becomes of the command in the recoveries.
type Counts struct {
	States   int
	Kept     int // it takes effect, whoever stands
	Lost     int // it does not, whoever stands
	Depends  int // on who stands first
	Answered int // the client has an answer

	// Of a retry: states in which some recovery lets the command take effect twice,
	// in a state machine without and with client sessions (rsm).
	Twice, TwiceWithSessions int
}

// Violation is a broken rule, with a shortest story that leads there.
type Violation struct {
	Rule  Rule
	What  string
	Steps []string
}

func (v *Violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is broken: %s\n", v.Rule, v.What)
	for i, s := range v.Steps {
		fmt.Fprintf(&b, "%4d. %s\n", i, s)
	}
	return b.String()
}

// row finds the row of a history. Rows are few: they are kept in order and found
// by walking.
func (r *Report) row(h *history) *Row {
	k := 0
	for k < len(r.Rows) && before(&r.Rows[k], h) {
		k++
	}
	if k == len(r.Rows) || r.Rows[k].Situation != h.situation || r.Rows[k].Disks != int(h.disks) {
		r.Rows = slices.Insert(r.Rows, k, Row{
			Situation: h.situation, Disks: int(h.disks), Mission: missions[h.situation],
			Caption: captions[h.situation], Expected: expectations[h.situation],
		})
	}
	return &r.Rows[k]
}

func before(r *Row, h *history) bool {
	return r.Situation < h.situation || r.Situation == h.situation && r.Disks < int(h.disks)
}

func (c *Counts) add(s *state, e *ending, x *effects) {
	c.States++
	switch {
	case e.all(fate.kept):
		c.Kept++
	case e.may(fate.kept):
		c.Depends++
	default:
		c.Lost++
	}
	if s.past.answered != 0 {
		c.Answered++
	}
	if e.may(func(f fate) bool { return x.without[f] > 1 }) {
		c.Twice++
	}
	if e.may(func(f fate) bool { return x.with[f] > 1 }) {
		c.TwiceWithSessions++
	}
}

const legend = `Kept: when everybody is up again, the command takes effect, whoever stands for
election. Lost: it does not. Depends: on who stands first.`

// String is the report for a terminal.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", r.bounds(), r.visited())
	if r.Violation != nil {
		return b.String() + "\n" + r.Violation.String()
	}
	b.WriteString("\n" + legend + "\n")
	for i := range r.Rows {
		w := &r.Rows[i]
		if i == 0 || r.Rows[i-1].Situation != w.Situation {
			fmt.Fprintf(&b, "\n%s%s\n   stated: %s\n", w.label(), w.Caption.English, w.Expected.English)
		}
		fmt.Fprintf(&b, "   the command on %s: %s right after, %s\n", disksText(w.Disks), plural(w.Failures.States, "state", "states"), w.Failures.fates())
		fmt.Fprintf(&b, "      and %s that can follow, %s\n", plural(w.All.States-w.Failures.States, "state", "states"), w.All.less(&w.Failures).fates())
		if w.All.Twice > 0 {
			fmt.Fprintf(&b, "      in %s of them the retry takes effect twice without sessions, in %s with them\n", count(w.All.Twice), count(w.All.TwiceWithSessions))
		}
	}
	return b.String() + r.late() + "\n" + r.verdict() + "\n"
}

// late tells what M57's old leader may still learn.
func (r *Report) late() string {
	if r.LateCommits == 0 {
		return ""
	}
	return fmt.Sprintf("\nWith another leader in office the old one still learned, in %s steps, that something is\ncommitted: each time what the other has, acknowledged before that one was elected.\n", count(r.LateCommits))
}

// Markdown is the same as a table.
func (r Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s\n\n", r.bounds(), r.visited())
	if r.Violation != nil {
		fmt.Fprintf(&b, "```\n%s```\n", r.Violation)
		return b.String()
	}
	b.WriteString(strings.ReplaceAll(legend, "\n", " ") + "\n\n")
	b.WriteString("| | when the first leader fails | the command is on | states right after | kept | lost | depends | states that follow | kept | lost | depends | a retry takes effect twice without sessions | with sessions |\n")
	b.WriteString("|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for i := range r.Rows {
		w := &r.Rows[i]
		fmt.Fprintf(&b, "| %s | %s | %s |", w.Mission, w.Caption.English, disksText(w.Disks))
		for _, c := range []Counts{w.Failures, w.All.less(&w.Failures)} {
			for _, n := range []int{c.States, c.Kept, c.Lost, c.Depends} {
				b.WriteString(" " + count(n) + " |")
			}
		}
		fmt.Fprintf(&b, " %s | %s |\n", count(w.All.Twice), count(w.All.TwiceWithSessions))
	}
	return b.String() + r.late() + "\n" + r.verdict() + "\n"
}

func (r *Report) bounds() string {
	o := &r.Options
	s := fmt.Sprintf("Three members, one command. At most %s, %s, %s", plural(o.Crashes, "crash", "crashes"),
		plural(o.Elections, "further election", "further elections"), plural(o.Retries, "retry of the client", "retries of the client"))
	if o.Heartbeats > 0 {
		s += ", " + plural(o.Heartbeats, "heartbeat by the clock", "heartbeats by the clock")
	}
	s += ", " + plural(o.Duplicates, "message that arrives twice", "messages that arrive twice")
	if len(o.Break) > 0 {
		s += fmt.Sprintf("; broken on purpose: %v", o.Break)
	}
	return s + ". Messages arrive in any order or not at all."
}

func (r *Report) visited() string {
	how := "every one within the bounds"
	if !r.Complete {
		how = "not all: " + r.Stopped
	}
	return fmt.Sprintf("%s visited (%s) by %s, the farthest %d steps from the start; %s run.", plural(r.States, "state", "states"), how,
		plural(r.Transitions, "step", "steps"), r.Depth, plural(r.Recoveries, "recovery", "recoveries"))
}

func (r *Report) verdict() string {
	switch {
	case !r.Complete:
		return "No verdict: not every state within the bounds was visited."
	case len(r.Surprises) == 0:
		return "Every rule holds in every state, and every situation ends as stated."
	}
	return "NOT as stated:\n- " + strings.Join(r.Surprises, "\n- ")
}

func (w *Row) label() string {
	if n := w.Situation.Number(); n > 0 {
		return fmt.Sprintf("%d (%s) ", n, w.Mission)
	}
	return "- "
}

// less is c without those that are in d.
func (c *Counts) less(d *Counts) Counts {
	return Counts{
		States: c.States - d.States, Kept: c.Kept - d.Kept, Lost: c.Lost - d.Lost, Depends: c.Depends - d.Depends,
		Answered: c.Answered - d.Answered, Twice: c.Twice - d.Twice, TwiceWithSessions: c.TwiceWithSessions - d.TwiceWithSessions,
	}
}

func (c Counts) fates() string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{c.Kept, "kept"}, {c.Lost, "lost"}, {c.Depends, "depends"}} {
		if p.n > 0 {
			parts = append(parts, p.what+" in "+count(p.n))
		}
	}
	return strings.Join(parts, ", ")
}

func disksText(n int) string {
	switch n {
	case 0:
		return "no disk"
	case 1:
		return "1 disk"
	}
	return fmt.Sprintf("%d disks", n)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// count is a number as people read it: 1,006,703.
func count(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
