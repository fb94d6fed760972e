package lab

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/sim"
)

// Template makes a protocol's recipe of a template: a recipe in which nodes may be
// ranks and spans multiples of T.
//
//	r1 … r5     the voter of that rank; r1 leads at the start. A rank that nobody
//	            has vanishes from a list, and with an empty list the line
//	all, aux    the voters; the helpers (a coordination service), or nothing
//	2T, 3T/2    the protocol's slowest detection of a lost leader, times that
//	60s|2T      the larger
//	60s+60s|2T  sums; | binds tighter
//	REPLY       as message=REPLY: the answer that decides its elections
//	{r1}, {2T}  the same within captions and the like
//
// Lines stay where they are: errors name the template's own. What comes out is a
// plain recipe, which sim.Parse reads. The control (break, then) is left out if the
// template is another protocol's: its rules are not this one's.
func Template(text string, p Protocol) (sim.Recipe, error) {
	if len(text) > templateBytesMax {
		return sim.Recipe{}, &sim.Error{What: fmt.Sprintf("%d bytes; a recipe has at most %d", len(text), templateBytesMax)}
	}
	lines := strings.Split(text, "\n")
	own, last := "", len(lines)
	for i, line := range lines {
		if words := strings.Fields(line); len(words) == 2 && words[0] == "protocol" {
			own = words[1]
		}
		resolved, err := p.resolve(line)
		if err != nil {
			return sim.Recipe{}, &sim.Error{Line: i + 1, What: err.Error()}
		}
		lines[i] = resolved
	}
	if own == "" {
		lines = append(lines, "protocol "+p.Name) // behind the end: no line moves
	}
	r, err := sim.Parse(strings.Join(lines, "\n"))
	if e := (*sim.Error)(nil); errors.As(err, &e) {
		e.Line = min(e.Line, last) // an empty text is wrong where it ends
	}
	if err != nil {
		return r, err
	}
	if r.Protocol != p.Name {
		r.Break, r.Then = nil, nil // the control breaks a rule of the recipe's own protocol
	}
	if own != "" && own != p.Name {
		r.Break, r.Then = nil, nil
	}
	r.Protocol = p.Name
	return r, nil
}

// templateBytesMax bounds a template; what it comes to is bounded by sim.Parse.
const templateBytesMax = 256 << 10

// ranks are the protocol's voters by rank, r1 first; 0 where a rank is nobody's.
func ranks(p Protocol) []Node {
	if p.Ranks != nil {
		return p.Ranks
	}
	return []Node{5, 4, 3, 2, 1}
}

// ranksMax is how many ranks a template may speak of, whether or not a protocol has
// somebody for each.
const ranksMax = 5

// RankOf is a node's rank, 1 for who leads at the start; 0: it has none.
func (p Protocol) RankOf(n Node) int { return slices.Index(ranks(p), n) + 1 }

// resolve resolves one line.
func (p Protocol) resolve(line string) (string, error) {
	words := strings.Fields(line)
	if len(words) < 2 {
		return line, nil
	}
	var spans, nodes int // how many words behind the first are spans, then nodes; -1: all
	switch words[0] {
	case "voters", "learners", "spares":
		nodes = 1
	case "length":
		spans = 1
	case "fault":
		spans, nodes = 2, -1
	case "do":
		spans, nodes = 1, 1
	case "workload", "config":
		if len(words) == 3 && isSpan(words[2]) {
			d, err := p.span(words[2])
			if err != nil {
				return "", err
			}
			words[2] = sim.FormatDuration(d)
			return strings.Join(words, " "), nil
		}
		return line, nil
	case "expect", "then":
		for i := 1; i < len(words); i++ {
			if words[i] = p.name(words[i]); words[i] == "" {
				return "# " + line, nil // it speaks of a rank that this protocol has nobody for
			}
			if isSpan(words[i]) {
				if d, err := p.span(words[i]); err == nil {
					words[i] = sim.FormatDuration(d)
				}
			}
		}
		return strings.Join(words, " "), nil
	case "caption", "caption.zh":
		d, err := p.span(words[1])
		if err != nil {
			return "", err
		}
		head, tail, _ := strings.Cut(line, words[1])
		return head + sim.FormatDuration(d) + p.inProse(tail), nil
	default:
		return p.inProse(line), nil
	}
	for i := 1; i < len(words) && i <= spans; i++ {
		when, trigger, triggered := strings.Cut(words[i], "@")
		d, err := p.span(when)
		if err != nil {
			return "", err
		}
		words[i] = sim.FormatDuration(d)
		if triggered {
			words[i] += "@" + trigger
		}
	}
	for i := spans + 1; i < len(words) && (nodes < 0 || i <= spans+nodes); i++ {
		if name, value, isArg := strings.Cut(words[i], "="); isArg {
			if name == "message" && value == "REPLY" && p.Reply != "" {
				words[i] = "message=" + p.Reply
			}
			if isSpan(value) {
				d, err := p.span(value)
				if err != nil {
					return "", err
				}
				words[i] = name + "=" + sim.FormatDuration(d)
			}
			continue
		}
		words[i] = p.nodes(words[i])
		if words[i] == "" {
			return "# " + line, nil // a list that this protocol has nobody for
		}
	}
	return strings.Join(words, " "), nil
}

// inProse resolves {r1}, {T} and so on within a text for people.
func (p Protocol) inProse(text string) string {
	var b strings.Builder
	for {
		before, rest, opened := strings.Cut(text, "{")
		word, after, closed := strings.Cut(rest, "}")
		if !opened || !closed {
			b.WriteString(text)
			return b.String()
		}
		resolved := p.name(word)
		if d, err := p.span(word); err == nil && strings.Contains(word, "T") {
			resolved = sim.FormatDuration(d)
		}
		b.WriteString(before)
		b.WriteString(resolved)
		text = after
	}
}

// isSpan tells a span in terms of T from other words.
func isSpan(word string) bool {
	return strings.Contains(word, "T") && strings.Trim(word, "0123456789Tsmun/|+") == "" && strings.ContainsAny(word[:1], "0123456789T")
}

// spanMax is more than any line of a recipe may ask for; sums stay far from where
// they would overflow.
const spanMax = 100_000 * id.Second

// span reads a sum of alternatives.
func (p Protocol) span(text string) (id.Duration, error) {
	var sum id.Duration
	for _, term := range strings.Split(text, "+") {
		var most id.Duration
		for _, alternative := range strings.Split(term, "|") {
			d, err := p.multiple(alternative)
			if err != nil {
				return 0, err
			}
			most = max(most, d)
		}
		if sum += most; sum > spanMax {
			return 0, fmt.Errorf("%q is longer than %s", text, sim.FormatDuration(spanMax))
		}
	}
	return sum, nil
}

// multiple reads 2T, 3T/2, T or a plain span.
func (p Protocol) multiple(text string) (id.Duration, error) {
	before, after, has := strings.Cut(text, "T")
	if !has {
		return sim.ParseDuration(text)
	}
	number := func(s string) (int64, bool) {
		var n int64
		for _, c := range s {
			if c < '0' || c > '9' || n > 1000 {
				return 0, false
			}
			n = n*10 + int64(c-'0')
		}
		return n, s != ""
	}
	times, ok := number(before)
	if before == "" {
		times, ok = 1, true
	}
	by := int64(1)
	if after != "" && ok {
		by, ok = number(strings.TrimPrefix(after, "/"))
		ok = ok && strings.HasPrefix(after, "/") && by > 0
	}
	if !ok {
		return 0, fmt.Errorf("%q is not a span; want 150ms, 2T or 3T/2 (T is the protocol's slowest detection of a lost leader)", text)
	}
	return id.Duration(times * int64(p.Slowest) / by), nil
}

// nodes resolves a target or list: r1,r2/r3,aux or r1<>r2.
func (p Protocol) nodes(word string) string {
	for _, arrow := range []string{"<>", ">"} {
		if from, to, ok := strings.Cut(word, arrow); ok {
			from, to = p.nodes(from), p.nodes(to)
			if from == "" || to == "" {
				return ""
			}
			return from + arrow + to
		}
	}
	var groups []string
	for _, group := range strings.Split(word, "/") {
		var names []string
		for _, name := range strings.Split(group, ",") {
			for _, n := range strings.Split(p.name(name), ",") {
				if n != "" && !slices.Contains(names, n) {
					names = append(names, n)
				}
			}
		}
		if len(names) > 0 {
			groups = append(groups, strings.Join(names, ","))
		}
	}
	return strings.Join(groups, "/")
}

// name resolves one word: a rank, all, aux; anything else stays.
func (p Protocol) name(word string) string {
	list := ranks(p)
	text := func(numbers []Node) string {
		var names []string
		for _, n := range numbers {
			names = append(names, fmt.Sprintf("n%d", n))
		}
		return strings.Join(names, ",")
	}
	voters := slices.DeleteFunc(slices.Sorted(slices.Values(list)), func(n Node) bool { return n == 0 })
	switch {
	case word == "all":
		return text(voters)
	case word == "aux":
		var helpers []Node
		for i := range p.Helpers {
			helpers = append(helpers, voters[len(voters)-1]+Node(i)+1)
		}
		return text(helpers)
	case len(word) == 2 && word[0] == 'r' && word[1] >= '1' && int(word[1]-'0') <= max(ranksMax, len(list)):
		if i := int(word[1] - '1'); i < len(list) && list[i] != 0 {
			return text(list[i : i+1])
		}
		return ""
	}
	return word
}
