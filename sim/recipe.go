package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
)

// RecipeVersion is the version of the text format. Until the first tag the
// format is unstable: another version is an error.
const RecipeVersion = 2

// Bounds of a recipe. A recipe is small enough for a link.
const (
	maxNodes       = 9
	maxRecipeBytes = 256 << 10
	maxFaults      = 10_000
	maxLines       = 20_000
	maxLength      = 3600 * id.Second
)

// Recipe is everything a run is a function of: configuration, seed, resolved
// faults and workload (DESIGN 21). The optional blocks belong to the lab and to
// planted bugs. docs/format/recipe.md is the reference of the text.
type Recipe struct {
	Seed   uint64
	Length id.Duration // of the phase with faults; healing follows

	Voters   []uint64 // nodes the group starts with
	Learners []uint64
	Spares   []uint64 // nodes that exist and belong to nothing yet

	Config   []Arg // settings of the nodes, by the reader's vocabulary
	Workload []Arg // settings of the clients, likewise
	Acts     []Act // what single clients do, besides
	Faults   []Fault

	Protocol string          // lab: which protocol; empty means quorate's own Raft
	Story    []Arg           // lab: title, about, lesson, source and so on, see storyWords
	Captions []Caption       // lab: what is told, and when
	Expect   []string        // what must be seen: "violation", "no violation", a mark
	Broken   []faults.Switch // rules that are broken in this run
	Break    []faults.Switch // the control: the same run with these broken as well …
	Then     []string        // … must show this
	Fork     *Fork           // faults added from an event of this run on
	lines    map[string]int  // where a setting stood in the text, for errors
}

// Caption is a text shown from a moment on.
type Caption struct {
	At       id.Time
	Language string // "zh" for Chinese; empty: English
	Text     string
}

// Act is one thing the client beside a node does: `do 5s n2 write x`.
type Act struct {
	At    id.Time
	Node  uint64
	Words []string
}

// Tell returns the line of the story under a word, in a language if it has one
// and in English otherwise.
func (r Recipe) Tell(word, language string) string {
	english := ""
	for _, a := range r.Story {
		switch {
		case a.Name == word+"."+language:
			return a.Value
		case a.Name == word:
			english = a.Value
		}
	}
	return english
}

// LineOf says where the i-th line of a kind stood in the text that was parsed
// (expect, then, do, broken, break; or "protocol" with 0); 0 if there was no text.
func (r Recipe) LineOf(kind string, i int) int { return r.lines[fmt.Sprintf("%s %d", kind, i)] }

// LineOfSetting says where a config or workload line stood; 0 if there is none.
func (r Recipe) LineOfSetting(block, name string) int { return r.lines[block+" "+name] }

// Fork says that a run goes as before until an event was recorded, and that then
// these faults come too (their times count from that event).
type Fork struct {
	Event  uint64
	Faults []Fault
}

// Nodes returns all nodes of the recipe: voters, learners, spares.
func (r Recipe) Nodes() []uint64 {
	var all []uint64
	all = append(all, r.Voters...)
	all = append(all, r.Learners...)
	return append(all, r.Spares...)
}

// Error is what is wrong with a recipe, and where: one line for people. Line 0
// is the recipe as a whole.
type Error struct {
	Line int
	What string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return "recipe: " + e.What
	}
	return fmt.Sprintf("recipe: line %d: %s", e.Line, e.What)
}

// Settings reads one list of settings by a vocabulary and keeps the first error;
// Unused reports what nobody asked for.
type Settings struct {
	block string
	args  []Arg
	lines map[string]int
	used  map[string]bool
	err   error
}

// Configuration and Clients read the two lists of settings.
func (r *Recipe) Configuration() *Settings {
	return &Settings{block: "config", args: r.Config, lines: r.lines, used: map[string]bool{}}
}

func (r *Recipe) Clients() *Settings {
	return &Settings{block: "workload", args: r.Workload, lines: r.lines, used: map[string]bool{}}
}

// Int returns the number under a name, which must lie in [lo, hi]; def if absent.
func (s *Settings) Int(name string, def, lo, hi int64) int64 {
	v, ok := s.word(name)
	if !ok {
		return def
	}
	n, err := parseNumber(v)
	if err != nil || n < lo || n > hi {
		s.fail(name, "%s %s is %q; want a number from %d to %d", s.block, name, v, lo, hi)
		return def
	}
	return n
}

// Duration returns the span under a name, likewise.
func (s *Settings) Duration(name string, def, lo, hi id.Duration) id.Duration {
	v, ok := s.word(name)
	if !ok {
		return def
	}
	d, err := ParseDuration(v)
	if err != nil || d < lo || d > hi {
		s.fail(name, "%s %s is %q; want a span from %s to %s, as 150ms", s.block, name, v, FormatDuration(lo), FormatDuration(hi))
		return def
	}
	return d
}

// Word returns one of the allowed words under a name; the first if absent.
func (s *Settings) Word(name string, allowed ...string) string {
	v, ok := s.word(name)
	if !ok {
		return allowed[0]
	}
	if !slices.Contains(allowed, v) {
		s.fail(name, "%s %s is %q; want one of %s", s.block, name, v, strings.Join(allowed, ", "))
		return allowed[0]
	}
	return v
}

// Err returns the first error, a setting that nobody asked for included.
func (s *Settings) Err() error {
	for _, a := range s.args {
		if !s.used[a.Name] {
			s.fail(a.Name, "unknown %s %q", s.block, a.Name)
		}
	}
	return s.err
}

func (s *Settings) word(name string) (string, bool) {
	s.used[name] = true
	for _, a := range s.args {
		if a.Name == name {
			return a.Value, true
		}
	}
	return "", false
}

func (s *Settings) fail(name, format string, args ...any) {
	if s.err == nil {
		s.err = &Error{Line: s.lines[s.block+" "+name], What: fmt.Sprintf(format, args...)}
	}
}

// String prints the recipe. Parse(r.String()) gives r again.
func (r Recipe) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "quorate recipe %d\n", RecipeVersion)
	if r.Protocol != "" {
		fmt.Fprintf(&b, "protocol %s\n", r.Protocol)
	}
	for _, a := range r.Story {
		fmt.Fprintf(&b, "%s %s\n", a.Name, a.Value)
	}
	fmt.Fprintf(&b, "seed %d\n", r.Seed)
	fmt.Fprintf(&b, "length %s\n", FormatDuration(r.Length))
	nodes := func(role string, list []uint64) {
		if len(list) > 0 {
			fmt.Fprintf(&b, "%s %s\n", role, Target{Groups: [][]uint64{list}}.text(onGroups))
		}
	}
	nodes("voters", r.Voters)
	nodes("learners", r.Learners)
	nodes("spares", r.Spares)
	for _, a := range r.Config {
		fmt.Fprintf(&b, "config %s %s\n", a.Name, a.Value)
	}
	for _, a := range r.Workload {
		fmt.Fprintf(&b, "workload %s %s\n", a.Name, a.Value)
	}
	for _, f := range r.Faults {
		fmt.Fprintln(&b, f)
	}
	for _, a := range r.Acts {
		fmt.Fprintf(&b, "do %s %s %s\n", FormatDuration(id.Duration(a.At)), nodeText(a.Node), strings.Join(a.Words, " "))
	}
	for _, c := range r.Captions {
		word := "caption"
		if c.Language != "" {
			word += "." + c.Language
		}
		fmt.Fprintf(&b, "%s %s %s\n", word, FormatDuration(id.Duration(c.At)), c.Text)
	}
	for _, e := range r.Expect {
		fmt.Fprintf(&b, "expect %s\n", e)
	}
	for _, s := range r.Broken {
		fmt.Fprintf(&b, "broken %s\n", s)
	}
	for _, s := range r.Break {
		fmt.Fprintf(&b, "break %s\n", s)
	}
	for _, e := range r.Then {
		fmt.Fprintf(&b, "then %s\n", e)
	}
	if r.Fork != nil {
		fmt.Fprintf(&b, "fork %d\n", r.Fork.Event)
		for _, f := range r.Fork.Faults {
			fmt.Fprintln(&b, f)
		}
	}
	return b.String()
}

// units of a span, the largest first.
var units = []struct {
	name string
	ns   id.Duration
}{{"s", id.Second}, {"ms", id.Millisecond}, {"us", id.Microsecond}, {"ns", 1}}

// FormatDuration prints a span exactly, in the largest unit that divides it:
// 0s, 150ms, 20s.
func FormatDuration(d id.Duration) string {
	for _, u := range units {
		if d%u.ns == 0 {
			return fmt.Sprintf("%d%s", d/u.ns, u.name)
		}
	}
	return "" // unreachable: 1 divides everything
}

// ParseDuration reads a whole number and a unit: s, ms, us, ns.
func ParseDuration(s string) (id.Duration, error) {
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	for _, u := range units {
		if s[digits:] != u.name {
			continue
		}
		n, err := parseNumber(s[:digits])
		if err != nil || n > int64(1<<62)/int64(u.ns) {
			break
		}
		return id.Duration(n) * u.ns, nil
	}
	return 0, fmt.Errorf("%q is not a span of time; want a whole number and s, ms, us or ns, as 150ms", s)
}

// parseNumber reads a whole decimal number without sign or leading zeros.
func parseNumber(s string) (int64, error) {
	if s == "" || len(s) > 18 || len(s) > 1 && s[0] == '0' {
		return 0, fmt.Errorf("%q is not a whole number", s)
	}
	var n int64
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, fmt.Errorf("%q is not a whole number", s)
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, nil
}
