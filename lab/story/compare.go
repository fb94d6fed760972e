package story

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
)

// Expected says of every expect line that speaks of the run's protocol whether the
// run shows it.
func Expected(list []lab.Expectation, r lab.Result) string {
	var b strings.Builder
	for _, e := range list {
		if !e.For(r.Protocol) {
			continue
		}
		sign := "✓"
		if !e.Met(r) {
			sign = "✗"
		}
		fmt.Fprintf(&b, "  %s %s: expected %s, found %s\n", sign, measured(e), strings.TrimPrefix(e.Op+" "+e.Value, "= "), found(e, r))
	}
	if b.Len() == 0 {
		return ""
	}
	return "\nExpected of " + r.Protocol + "\n" + b.String()
}

// found is what the run shows; a span to the millisecond.
func found(e lab.Expectation, r lab.Result) string {
	text := e.Found(r)
	if d, err := sim.ParseDuration(text); err == nil && d >= id.Millisecond {
		return sim.FormatDuration(d / id.Millisecond * id.Millisecond)
	}
	return text
}

// measured says in words what an expectation speaks of. Requests are the recipe's do
// lines, in the order of the text.
func measured(e lab.Expectation) string {
	word := strings.TrimRight(e.Name, "0123456789")
	number := e.Name[len(word):]
	switch {
	case e.Name == "fired":
		return "how often rule " + e.Of + " fired"
	case number == "":
		return strings.TrimSpace(e.Name + " " + e.Of)
	case word == "do":
		return "how request " + number + " ended"
	case word == "kept":
		return "whether request " + number + " is kept"
	case word == "times":
		return "how often request " + number + " took effect"
	case word == "said":
		return "what request " + number + " was told"
	}
	return "where request " + number + " stands in the log"
}

// slice is how finely two runs are compared: what happens within one is the same
// moment.
const slice = 100 * id.Millisecond

// Watch keeps of a run what two protocols can be compared by: in every slice of
// time who led, and who acknowledged writes.
type Watch struct {
	recipe sim.Recipe
	slices []moment
	leads  []uint64 // now, sorted
	told   []line   // faults, crashes, elections, rules, truncations
	faults []id.Time
	fired  map[string]int
}

// routine is how often a rule may fire in a run before it counts as what the
// protocol does all day: it then explains no parting, and is told no more.
const routine = 300

type moment struct {
	leads []uint64 // at its end
	acks  []uint64 // who acknowledged a write in it, sorted
}

type line struct {
	at   id.Time
	text string
	node uint64 // whose; 0: the text says
	lead bool   // a leader comes or goes
	rule string
}

// NewWatch returns a watch for a run.
func NewWatch(r sim.Recipe) *Watch { return &Watch{recipe: r, fired: map[string]int{}} }

// Record takes one event.
func (w *Watch) Record(e trace.Event) {
	at := int(int64(e.Time) / int64(slice))
	for len(w.slices) <= at {
		w.slices = append(w.slices, moment{leads: slices.Clone(w.leads)})
	}
	n := e.Node.Node
	say := func(format string, args ...any) {
		w.told = append(w.told, line{at: e.Time, text: fmt.Sprintf(format, args...), rule: e.Rule})
	}
	switch e.Kind {
	case trace.RoleChanged:
		leads := field(e, "leads").Number == 1
		if i := slices.Index(w.leads, n); leads && i < 0 {
			w.leads = append(w.leads, n)
			slices.Sort(w.leads)
			say("n%d leads (%s)", n, field(e, "role").Text)
			w.told[len(w.told)-1].lead = true
		} else if !leads && i >= 0 {
			w.leads = slices.Delete(w.leads, i, i+1)
			say("n%d no longer leads (%s)", n, field(e, "role").Text)
			w.told[len(w.told)-1].lead = true
		}
	case trace.Crashed:
		if i := slices.Index(w.leads, n); i >= 0 {
			w.leads = slices.Delete(w.leads, i, i+1)
		}
		say("n%d is down", n)
	case trace.Fired:
		if w.fired[e.Rule]++; w.fired[e.Rule] <= routine {
			w.told = append(w.told, line{at: e.Time, node: n, text: field(e, "what").Text, rule: e.Rule})
		}
	case trace.Truncated:
		say("n%d takes back positions %d to %d", n, field(e, "from").Number, field(e, "last").Number)
	case trace.Fault:
		if what := field(e, "what").Text; what != "" {
			say("⚡ %s", faultText(what, false))
			w.faults = append(w.faults, e.Time)
		} else if what := field(e, "over").Text; what != "" {
			say("⚡ %s", faultText(what, true))
			w.faults = append(w.faults, e.Time)
		}
	case trace.Answered:
		if field(e, "outcome").Text == "answered" && field(e, "verb").Text == "write" {
			m := &w.slices[at]
			if i, found := slices.BinarySearch(m.acks, n); !found {
				m.acks = slices.Insert(m.acks, i, n)
			}
		}
	}
	w.slices[at].leads = slices.Clone(w.leads)
}

// lately is what a slice shows: who leads, and who acknowledged within the last
// half second. Answers come in bursts; half a second without any is a sign.
func (w *Watch) lately(i int) moment {
	m := moment{leads: w.slices[i].leads}
	for j := max(0, i-4); j <= i; j++ {
		for _, n := range w.slices[j].acks {
			if k, found := slices.BinarySearch(m.acks, n); !found {
				m.acks = slices.Insert(m.acks, k, n)
			}
		}
	}
	return m
}

// Side is one of two runs that are compared.
type Side struct {
	Protocol lab.Protocol
	Watch    *Watch
	Result   lab.Result
}

// Compare tells where two protocols part under the same recipe, and how both end.
// Nodes are compared by rank: each protocol's first leader is r1. How a protocol
// gets its first leader is not compared: the comparison begins when both serve.
func Compare(a, b Side) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n%s beside %s, seed %d\n", a.Watch.recipe.Tell("title", "en"), a.Protocol.Name, b.Protocol.Name, a.Watch.recipe.Seed)
	if about := a.Watch.recipe.Tell("about", "en"); about != "" {
		out.WriteString("\n" + wrap(about, "") + "\n")
	}
	at, begun, ok := parting(a, b)
	switch {
	case a.Protocol.Leaderless != b.Protocol.Leaderless:
		leaderless := a.Protocol.Name
		if b.Protocol.Leaderless {
			leaderless = b.Protocol.Name
		}
		fmt.Fprintf(&out, "\nThey have no moment in common to part from: nobody leads in %s. How both end:\n", leaderless)
	case !begun:
		out.WriteString("\nThey have no moment in common to part from: never did both acknowledge writes under the same leader. How both end:\n")
	case !ok:
		out.WriteString("\nThey never part: from when both first served, the same ranks led and acknowledged writes.\n")
	default:
		fmt.Fprintf(&out, "\nThey part at %s.%s\n", strings.TrimSpace(Seconds(at)), names(a.Protocol, b.Protocol))
		for _, s := range []Side{a, b} {
			m := s.Watch.lately(int(int64(at) / int64(slice)))
			fmt.Fprintf(&out, "\n%s: %s\n", s.Protocol.Name, m.text())
			for _, l := range s.Watch.around(at) {
				fmt.Fprintln(&out, l)
			}
		}
	}
	table(&out, a, b)
	return out.String()
}

// parting is the first moment at which they differ and still do two slices later.
// begun: they had a moment in common before.
func parting(a, b Side) (at id.Time, begun, parted bool) {
	length := min(len(a.Watch.slices), len(b.Watch.slices))
	differs := func(i int) bool {
		x, y := a.Watch.lately(i), b.Watch.lately(i)
		return !slices.Equal(ranked(a.Protocol, x.leads), ranked(b.Protocol, y.leads)) ||
			(len(x.acks) == 0) != (len(y.acks) == 0) || (len(x.acks) > 1) != (len(y.acks) > 1)
	}
	for i := 0; i+2 < length; i++ {
		if !begun {
			begun = len(a.Watch.lately(i).acks) > 0 && len(b.Watch.lately(i).acks) > 0 && !differs(i)
			continue
		}
		if differs(i) && differs(i+1) && differs(i+2) {
			return id.Time(int64(i) * int64(slice)), true, true
		}
	}
	return 0, begun, false
}

// names says who is who, if the two protocols begin with leaders of different names.
func names(a, b lab.Protocol) string {
	first := func(p lab.Protocol) uint64 {
		for n := uint64(1); n <= 9; n++ {
			if p.RankOf(n) == 1 {
				return n
			}
		}
		return 0
	}
	if first(a) == first(b) {
		return ""
	}
	return fmt.Sprintf(" The leader at the start is n%d with %s and n%d with %s.", first(a), a.Name, first(b), b.Name)
}

// ranked are nodes by their rank: what r1 is called differs between protocols.
func ranked(p lab.Protocol, nodes []uint64) []int {
	var list []int
	for _, n := range nodes {
		list = append(list, p.RankOf(n))
	}
	slices.Sort(list)
	return list
}

func (m moment) text() string {
	names := func(list []uint64) string {
		if len(list) == 0 {
			return "nobody"
		}
		var parts []string
		for _, n := range list {
			parts = append(parts, fmt.Sprintf("n%d", n))
		}
		return strings.Join(parts, " and ")
	}
	verb := func(list []uint64, one, many string) string {
		if len(list) > 1 {
			return many
		}
		return one
	}
	return fmt.Sprintf("%s %s, %s %s writes", names(m.leads), verb(m.leads, "leads", "lead"), names(m.acks), verb(m.acks, "acknowledges", "acknowledge"))
}

// around tells what led to a moment and what came of it: from the last fault before
// it, or two seconds before, to two seconds after. What several nodes do at about the
// same time is one line; what is told again and again is left out.
func (w *Watch) around(at id.Time) []string {
	const linesMax, sameMax = 10, 1
	from := at.Add(-2 * id.Second)
	for _, f := range w.faults {
		if f <= at && f > at.Add(-10*id.Second) {
			from = f
		}
	}
	first, _ := slices.BinarySearchFunc(w.told, from, func(l line, t id.Time) int { return int(max(-1, min(1, int64(l.at-t)))) })
	var list []told
	seen := map[string]int{}
	for _, l := range w.told[first:] {
		if l.at > at.Add(2*id.Second) {
			break
		}
		text := l.text
		if l.rule != "" {
			text += "  [" + l.rule + "]"
		}
		if l.node != 0 && w.fired[l.rule] > routine || joins(list, l, text) {
			continue
		}
		if seen[text]++; seen[text] > sameMax {
			continue
		}
		if len(list) == linesMax {
			break
		}
		t := told{at: l.at, text: text}
		if l.node != 0 {
			t.nodes = []uint64{l.node}
		}
		list = append(list, t)
	}
	var lines []string
	for _, t := range list {
		lines = append(lines, t.String())
	}
	if lines == nil {
		lines = []string{"             nothing but its daily work"}
	}
	end := at.Add(2 * id.Second)
	if len(list) == linesMax {
		end = list[linesMax-1].at
	}
	if i := slices.IndexFunc(w.told, func(l line) bool { return l.at > end && l.lead }); i >= 0 {
		lines = append(lines, "             …", told{at: w.told[i].at, text: w.told[i].text}.String())
	}
	return lines
}

// joins adds a node to a line that tells the same of another.
func joins(list []told, l line, text string) bool {
	for i := len(list) - 1; i >= 0 && l.node != 0; i-- {
		if t := &list[i]; t.text == text && len(t.nodes) > 0 && l.at.Sub(t.at) <= together {
			if !slices.Contains(t.nodes, l.node) {
				t.nodes = append(t.nodes, l.node)
				slices.Sort(t.nodes)
			}
			return true
		}
	}
	return false
}

// table sets what was measured side by side.
func table(out *strings.Builder, a, b Side) {
	fmt.Fprintf(out, "\n%-44s %14s %14s\n", "", a.Protocol.Name, b.Protocol.Name)
	row := func(what string, value func(Side) string) {
		fmt.Fprintf(out, "%-44s %14s %14s\n", what, value(a), value(b))
	}
	number := func(what string, value func(lab.Measures) int) {
		row(what, func(s Side) string { return fmt.Sprint(value(s.Result.Measures)) })
	}
	row("longest without an acknowledged write", func(s Side) string { return Span(s.Result.Measures.Gap) })
	number("changes of leader", func(m lab.Measures) int { return m.Changes })
	number("writes acknowledged", func(m lab.Measures) int { return m.Acked })
	number("… while another leader acknowledged", func(m lab.Measures) int { return m.TwoLeaders })
	number("… and lost at the end", func(m lab.Measures) int { return m.Lost })
	number("stale reads", func(m lab.Measures) int { return m.Stale })
	number("positions decided differently", func(m lab.Measures) int { return m.Divergent })
	per := func(what string, value func(lab.Measures) int) {
		row(what+" per acknowledged write", func(s Side) string {
			if s.Result.Measures.Acked == 0 {
				return "–"
			}
			return tenths(value(s.Result.Measures), s.Result.Measures.Acked)
		})
	}
	per("messages", func(m lab.Measures) int { return m.Messages })
	per("bytes", func(m lab.Measures) int { return m.Bytes })
	per("fsyncs", func(m lab.Measures) int { return m.Syncs })
}
