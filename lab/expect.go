package lab

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/sim"
)

// Expectation is one expect or then line: [PROTOCOL[,PROTOCOL]:] NAME OP VALUE.
// docs/format/recipe.md lists the names.
type Expectation struct {
	Text      string
	Protocols []string // whose; nil: of whatever the recipe runs with
	Name      string   // gap, do1, fired, role …
	Of        string   // the rule or node behind fired, role, epoch, decided
	Op        string
	Value     string
	line      int
}

var (
	numberNames = []string{"same-epoch", "two-leaders", "lost", "lost-worst", "divergent", "stale", "twice", "changes", "operations", "acked", "refused", "unknown", "messages", "bytes", "syncs"}
	spanNames   = []string{"recovery", "gap"}
	actNames    = []string{"do", "kept", "times", "said", "at"} // with the number of a do line behind
	nodeNames   = []string{"role", "epoch", "decided", "log"}   // with a node behind
	ops         = []string{"=", "!=", "<=", ">=", "<", ">"}
)

// Expectations reads a recipe's expect lines, Controls its then lines.
func Expectations(r sim.Recipe) ([]Expectation, error) { return expectations(r, "expect", r.Expect) }
func Controls(r sim.Recipe) ([]Expectation, error)     { return expectations(r, "then", r.Then) }

func expectations(r sim.Recipe, kind string, lines []string) ([]Expectation, error) {
	var list []Expectation
	for i, text := range lines {
		e, err := parseExpectation(text, len(r.Acts))
		if err != nil {
			return nil, &sim.Error{Line: r.LineOf(kind, i), What: kind + " " + err.Error()}
		}
		e.line = r.LineOf(kind, i)
		list = append(list, e)
	}
	return list, nil
}

func parseExpectation(text string, acts int) (Expectation, error) {
	e := Expectation{Text: text}
	words := strings.Fields(text)
	if len(words) > 1 && strings.HasSuffix(words[0], ":") {
		e.Protocols = strings.Split(strings.TrimSuffix(words[0], ":"), ",")
		words = words[1:]
	}
	at := slices.IndexFunc(words, func(w string) bool { return slices.Contains(ops, w) })
	if at < 1 || at == len(words)-1 {
		return e, fmt.Errorf("%q: want [PROTOCOL:] NAME OP VALUE with OP one of %s, as: lost = 0", text, strings.Join(ops, " "))
	}
	e.Name, e.Op, e.Value = words[0], words[at], strings.Join(words[at+1:], " ")
	e.Of = strings.Join(words[1:at], " ")
	return e, e.judge(acts)
}

// judge refuses what no run can answer.
func (e Expectation) judge(acts int) error {
	ordered := func(ok bool) error {
		if !ok && e.Op != "=" && e.Op != "!=" {
			return fmt.Errorf("%s is no number: only = and != compare it", e.Name)
		}
		return nil
	}
	number := func() error {
		if _, err := strconv.ParseUint(e.Value, 10, 62); err != nil {
			return fmt.Errorf("%s is compared with %q; want a whole number", e.Name, e.Value)
		}
		return nil
	}
	word, i, isAct := e.act()
	switch {
	case e.Of == "" && slices.Contains(numberNames, e.Name):
		return number()
	case e.Of == "" && slices.Contains(spanNames, e.Name):
		_, err := sim.ParseDuration(e.Value)
		return err
	case e.Of == "" && e.Name == "leader":
		return ordered(false)
	case e.Of != "" && e.Name == "fired":
		return number()
	case e.Of != "" && slices.Contains(nodeNames, e.Name):
		if _, ok := nodeNumber(e.Of); !ok {
			return fmt.Errorf("%s %q: want a node, as: %s n3", e.Name, e.Of, e.Name)
		}
		if e.Name == "role" {
			return ordered(false)
		}
		return number()
	case isAct && e.Of == "":
		if i < 1 || i > acts {
			return fmt.Errorf("%s: the recipe has %d do lines", e.Name, acts)
		}
		if word == "times" || word == "at" {
			return number()
		}
		return ordered(false)
	}
	return fmt.Errorf("unknown name %q; known: %s, %s, leader, fired RULE, %s NODE, and with the number of a do line behind: %s", strings.TrimSpace(e.Name+" "+e.Of),
		strings.Join(numberNames, ", "), strings.Join(spanNames, ", "), strings.Join(nodeNames, ", "), strings.Join(actNames, ", "))
}

// act splits do1, kept2 and so on.
func (e Expectation) act() (word string, i int, ok bool) {
	word = strings.TrimRight(e.Name, "0123456789")
	i, err := strconv.Atoi(e.Name[len(word):])
	return word, i, err == nil && slices.Contains(actNames, word)
}

func nodeNumber(text string) (Node, bool) {
	if len(text) == 2 && text[0] == 'n' && text[1] >= '1' && text[1] <= '9' {
		return Node(text[1] - '0'), true
	}
	return 0, false
}

// For tells whether the line speaks of a protocol.
func (e Expectation) For(protocol string) bool {
	return e.Protocols == nil || slices.Contains(e.Protocols, protocol)
}

// Found is what a run shows of it, as text.
func (e Expectation) Found(r Result) string {
	if word, i, ok := e.act(); ok {
		a := r.Acts[i-1]
		switch word {
		case "do":
			return a.Outcome
		case "kept":
			if a.Kept {
				return "yes"
			}
			return "no"
		case "times":
			return strconv.Itoa(a.Times)
		case "at":
			return strconv.Itoa(a.Position)
		}
		return a.Said
	}
	switch e.Name {
	case "leader":
		if r.Leader == 0 {
			return "none"
		}
		return fmt.Sprintf("n%d", r.Leader)
	case "fired":
		return strconv.Itoa(r.Fired(e.Of))
	case "role", "epoch", "decided", "log":
		return e.ofNode(r)
	}
	for _, f := range r.Measures.Fields() {
		if f.Name == e.Name {
			if slices.Contains(spanNames, e.Name) {
				return sim.FormatDuration(id.Duration(f.Number))
			}
			return strconv.FormatUint(f.Number, 10)
		}
	}
	return ""
}

func (e Expectation) ofNode(r Result) string {
	number, _ := nodeNumber(e.Of)
	for _, n := range r.Final {
		if n.Node != number {
			continue
		}
		switch {
		case e.Name == "role" && !n.Up:
			return "down"
		case e.Name == "role":
			return n.Role
		case e.Name == "epoch":
			return strconv.FormatUint(n.Epoch, 10)
		case e.Name == "log":
			return strconv.Itoa(n.Length)
		}
		return strconv.Itoa(n.Decided)
	}
	return "no such node"
}

// Met tells whether a run shows it.
func (e Expectation) Met(r Result) bool {
	found := e.Found(r)
	a, b := quantity(found), quantity(e.Value)
	switch e.Op {
	case "=":
		return found == e.Value || a >= 0 && a == b
	case "!=":
		return !(found == e.Value || a >= 0 && a == b)
	case "<":
		return a >= 0 && a < b
	case "<=":
		return a >= 0 && a <= b
	case ">":
		return b >= 0 && a > b
	}
	return b >= 0 && a >= b
}

// quantity is a number or a span in nanoseconds; -1: neither.
func quantity(text string) int64 {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	if d, err := sim.ParseDuration(text); err == nil {
		return int64(d)
	}
	return -1
}

// Met checks a run against the lines that speak of its protocol and returns what
// it failed to show.
func Met(list []Expectation, r Result) error {
	var missed []string
	for _, e := range list {
		if e.For(r.Protocol) && !e.Met(r) {
			missed = append(missed, fmt.Sprintf("line %d: %s (found %s)", e.line, e.Text, e.Found(r)))
		}
	}
	if missed == nil {
		return nil
	}
	return fmt.Errorf("%s does not show: %s", r.Protocol, strings.Join(missed, "; "))
}

// Controlled returns the recipe's control: the same run with one more rule broken.
// false: it has none.
func Controlled(r sim.Recipe) (sim.Recipe, bool) {
	if len(r.Break) == 0 {
		return r, false
	}
	r.Broken = slices.Concat(r.Broken, r.Break)
	r.Break = []faults.Switch{}
	return r, true
}
