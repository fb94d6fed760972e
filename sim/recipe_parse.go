package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
)

// parser reads a recipe line by line. Every line is complete in itself: its
// first word says what it is.
type parser struct {
	line   int
	recipe *Recipe
	seen   map[string]bool
	faults []placed // with their lines; checked when all nodes are known
}

// placed is a fault and the line it stood on.
type placed struct {
	fault Fault
	line  int
}

// Parse reads a recipe. An error is an *Error: one line that says what is wrong
// and where.
func Parse(text string) (Recipe, error) {
	if len(text) > maxRecipeBytes {
		return Recipe{}, &Error{What: fmt.Sprintf("%d bytes; a recipe has at most %d", len(text), maxRecipeBytes)}
	}
	p := &parser{recipe: &Recipe{lines: map[string]int{}}, seen: map[string]bool{}}
	header := false
	for _, line := range strings.Split(text, "\n") {
		p.line++
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if !header {
			if err := p.header(words); err != nil {
				return Recipe{}, err
			}
			header = true
			continue
		}
		if err := p.parse(words, line); err != nil {
			return Recipe{}, err
		}
	}
	if !header {
		return Recipe{}, &Error{What: fmt.Sprintf("empty; the first line is %q", fmt.Sprintf("quorate recipe %d", RecipeVersion))}
	}
	if err := p.finish(); err != nil {
		return Recipe{}, err
	}
	return *p.recipe, nil
}

func (p *parser) errorf(format string, args ...any) error {
	return &Error{Line: p.line, What: fmt.Sprintf(format, args...)}
}

func (p *parser) header(words []string) error {
	if len(words) != 3 || words[0] != "quorate" || words[1] != "recipe" {
		return p.errorf("not a recipe; the first line is %q", fmt.Sprintf("quorate recipe %d", RecipeVersion))
	}
	if words[2] != strconv.Itoa(RecipeVersion) {
		return p.errorf("unknown version %q; this program reads version %d", words[2], RecipeVersion)
	}
	return nil
}

// parse reads one line behind the header.
func (p *parser) parse(words []string, line string) error {
	r, key := p.recipe, words[0]
	switch key {
	case "seed", "length", "voters", "learners", "spares", "protocol", "fork":
		if p.seen[key] {
			return p.errorf("a second %s line", key)
		}
		p.seen[key] = true
		if len(words) != 2 {
			return p.errorf("%s takes one value", key)
		}
		return p.single(key, words[1])
	case "config", "workload":
		if len(words) != 3 {
			return p.errorf("%s takes a name and a value", key)
		}
		if at := r.lines[key+" "+words[1]]; at != 0 {
			return p.errorf("%s %s stands in line %d already", key, words[1], at)
		}
		r.lines[key+" "+words[1]] = p.line
		list := &r.Config
		if key == "workload" {
			list = &r.Workload
		}
		*list = append(*list, Arg{words[1], words[2]})
		return nil
	case "fault":
		return p.fault(words)
	case "do":
		return p.act(words)
	case "caption", "caption.zh":
		return p.caption(words, line)
	case "expect", "then":
		if len(words) < 2 {
			return p.errorf("%s says nothing", key)
		}
		list := &r.Expect
		if key == "then" {
			list = &r.Then
		}
		r.lines[fmt.Sprintf("%s %d", key, len(*list))] = p.line
		*list = append(*list, strings.Join(words[1:], " "))
		return nil
	case "broken", "break":
		return p.switched(words)
	}
	if slices.Contains(storyWords, key) {
		if p.seen[key] {
			return p.errorf("a second %s line", key)
		}
		if len(words) < 2 {
			return p.errorf("%s says nothing", key)
		}
		p.seen[key] = true
		_, text, _ := strings.Cut(line, key)
		r.Story = append(r.Story, Arg{key, strings.TrimSpace(text)})
		return nil
	}
	return p.errorf("unknown word %q; want seed, length, voters, learners, spares, config, workload, do, fault, protocol, caption, expect, broken, break, then, fork or one of the story: %s", key, strings.Join(storyWords, ", "))
}

// storyWords begin the lines that are for people: one of each.
var storyWords = []string{"title", "title.zh", "about", "about.zh", "lesson", "lesson.zh", "without", "without.zh", "source", "mission", "illustration"}

// switched reads broken SWITCH and break SWITCH. Which switches there are is the
// protocol's affair; of quorate's own Raft they are known here.
func (p *parser) switched(words []string) error {
	key, r := words[0], p.recipe
	if len(words) != 2 {
		return p.errorf("%s takes one switch", key)
	}
	list := &r.Broken
	if key == "break" {
		list = &r.Break
	}
	s := faults.Switch(words[1])
	if slices.Contains(*list, s) {
		return p.errorf("%s %s stands here twice", key, s)
	}
	r.lines[fmt.Sprintf("%s %d", key, len(*list))] = p.line
	*list = append(*list, s)
	return nil
}

// act reads: do AT NODE VERB…
func (p *parser) act(words []string) error {
	if len(words) < 4 {
		return p.errorf("do takes a time, a node and what the client beside it does, as: do 5s n2 write")
	}
	at, err := ParseDuration(words[1])
	if err != nil {
		return p.errorf("do: %v", err)
	}
	n, err := p.node(words[2])
	if err != nil {
		return err
	}
	if len(p.recipe.Acts) == maxFaults {
		return p.errorf("more than %d do lines", maxFaults)
	}
	p.recipe.lines[fmt.Sprintf("do %d", len(p.recipe.Acts))] = p.line
	p.recipe.Acts = append(p.recipe.Acts, Act{At: id.Time(at), Node: n, Words: words[3:]})
	return nil
}

// single reads the lines with one value.
func (p *parser) single(key, value string) error {
	r := p.recipe
	switch key {
	case "seed", "fork":
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil || strconv.FormatUint(n, 10) != value {
			return p.errorf("%s is %q; want a whole number", key, value)
		}
		if key == "fork" {
			r.Fork = &Fork{Event: n}
		} else {
			r.Seed = n
		}
	case "length":
		d, err := ParseDuration(value)
		if err != nil {
			return p.errorf("length %v", err)
		}
		if d <= 0 || d > maxLength {
			return p.errorf("length %s: a run lasts longer than 0s and at most %s", value, FormatDuration(maxLength))
		}
		r.Length = d
	case "protocol":
		r.Protocol = value
		r.lines["protocol 0"] = p.line
	default:
		list, err := p.nodes(value)
		if err != nil {
			return err
		}
		for _, n := range list {
			if slices.Contains(r.Nodes(), n) {
				return p.errorf("%s stands in two lists", nodeText(n))
			}
		}
		switch key {
		case "voters":
			r.Voters = list
		case "learners":
			r.Learners = list
		case "spares":
			r.Spares = list
		}
	}
	return nil
}

// nodes reads n1,n2,n3.
func (p *parser) nodes(text string) ([]uint64, error) {
	var list []uint64
	for _, word := range strings.Split(text, ",") {
		n, err := p.node(word)
		if err != nil {
			return nil, err
		}
		if slices.Contains(list, n) {
			return nil, p.errorf("%s stands twice in %q", word, text)
		}
		list = append(list, n)
	}
	return list, nil
}

func (p *parser) node(word string) (uint64, error) {
	if len(word) == 2 && word[0] == 'n' && word[1] >= '1' && word[1] <= '0'+maxNodes {
		return uint64(word[1] - '0'), nil
	}
	return 0, p.errorf("%q is not a node; nodes are n1 to n%d", word, maxNodes)
}

// caption keeps the text as it stands, inner spaces included.
func (p *parser) caption(words []string, line string) error {
	if len(words) < 3 {
		return p.errorf("caption takes a time and a text")
	}
	at, err := ParseDuration(words[1])
	if err != nil {
		return p.errorf("caption: %v", err)
	}
	_, text, _ := strings.Cut(line, words[1])
	_, language, _ := strings.Cut(words[0], ".")
	p.recipe.Captions = append(p.recipe.Captions, Caption{At: id.Time(at), Language: language, Text: strings.TrimSpace(text)})
	return nil
}

// fault reads: fault AT FOR KIND TARGET NAME=VALUE…
func (p *parser) fault(words []string) error {
	if len(words) < 5 {
		return p.errorf("a fault takes a time, a span, a kind and a target, as: fault 2s 500ms pause n2")
	}
	when, trigger, triggered := strings.Cut(words[1], "@")
	at, err := ParseDuration(when)
	if err != nil {
		return p.errorf("fault: %v", err)
	}
	if triggered && !knownTrigger(trigger) {
		return p.errorf("unknown trigger %q; want now, ack, lead, held1 to held%d, decided1 to decided%d or send-NAME", trigger, maxNodes, maxNodes)
	}
	span, err := ParseDuration(words[2])
	if err != nil {
		return p.errorf("fault: %v", err)
	}
	f := Fault{At: id.Time(at), Trigger: trigger, For: span, Kind: FaultKind(words[3])}
	spec, known := faultSpecs[f.Kind]
	if !known {
		return p.errorf("unknown fault %q; known: %s", words[3], kindList())
	}
	if spec.lasting && span == 0 {
		return p.errorf("fault %s needs a span longer than 0s", f.Kind)
	}
	if triggered && spec.form == onNode && words[4] == leaderWord {
		f.Target.Leader = true
	} else if f.Target, err = p.target(spec.form, words[4]); err != nil {
		return err
	}
	if f.Args, err = p.args(f.Kind, spec, words[5:]); err != nil {
		return err
	}
	for _, pair := range [][2]string{{"replace", "of"}, {"voters", "set"}} {
		if has := f.Word(pair[1]) != ""; f.Kind == FaultChange && has != (f.Word("op") == pair[0]) {
			return p.errorf("fault change: op=%s and %s= belong together", pair[0], pair[1])
		}
	}
	if len(p.faults) == maxFaults {
		return p.errorf("more than %d faults", maxFaults)
	}
	p.faults = append(p.faults, placed{f, p.line})
	if p.recipe.Fork != nil {
		p.recipe.Fork.Faults = append(p.recipe.Fork.Faults, f)
	} else {
		p.recipe.Faults = append(p.recipe.Faults, f)
	}
	return nil
}

func kindList() string {
	var names []string
	for _, k := range FaultKinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, " ")
}

func (p *parser) target(form targetForm, word string) (t Target, err error) {
	switch form {
	case onAll:
		if word != "*" {
			return t, p.errorf("this fault falls on everybody: its target is *")
		}
	case onNode:
		t.Node, err = p.node(word)
	case onLink:
		from, to, ok := strings.Cut(word, ">")
		if !ok {
			return t, p.errorf("%q is not a link; want n1>n2, n1<>n2 or n1>*", word)
		}
		from, t.Both = strings.CutSuffix(from, "<")
		if t.From, err = p.end(from); err == nil {
			t.To, err = p.end(to)
		}
		if err == nil && t.From == t.To && t.From != 0 {
			err = p.errorf("%q is no link: both ends are one node", word)
		}
	case onGroups:
		for _, part := range strings.Split(word, "/") {
			g, err := p.nodes(part)
			if err != nil {
				return t, err
			}
			t.Groups = append(t.Groups, g)
		}
	}
	return t, err
}

// end reads one end of a link: a node or * for everybody.
func (p *parser) end(word string) (uint64, error) {
	if word == "*" {
		return 0, nil
	}
	return p.node(word)
}

func (p *parser) args(kind FaultKind, spec faultSpec, words []string) ([]Arg, error) {
	given := map[string]string{}
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok {
			return nil, p.errorf("%q is not NAME=VALUE", w)
		}
		if !slices.ContainsFunc(spec.args, func(a argument) bool { return a.name == name }) {
			return nil, p.errorf("fault %s has no %s=", kind, name)
		}
		if _, twice := given[name]; twice {
			return nil, p.errorf("%s stands twice", name)
		}
		given[name] = value
	}
	var args []Arg
	for _, a := range spec.args {
		v, ok := given[a.name]
		if !ok {
			if a.optional {
				continue
			}
			return nil, p.errorf("fault %s needs %s=", kind, a.name)
		}
		v, err := a.check(v)
		if err != nil {
			return nil, p.errorf("fault %s: %v", kind, err)
		}
		args = append(args, Arg{a.name, v})
	}
	return args, nil
}

// check judges one value by its specification and returns it as it is printed.
func (a argument) check(v string) (string, error) {
	if a.text {
		if v == "" {
			return "", fmt.Errorf("%s says nothing", a.name)
		}
		return v, nil
	}
	if a.words != nil {
		if !slices.Contains(a.words, v) {
			return "", fmt.Errorf("%s is %q; want one of %s", a.name, v, strings.Join(a.words, ", "))
		}
		return v, nil
	}
	if a.span {
		d, err := ParseDuration(v)
		if err != nil {
			return "", fmt.Errorf("%s %v", a.name, err)
		}
		if int64(d) < a.lo || int64(d) > a.hi {
			return "", fmt.Errorf("%s is %s; want %s to %s", a.name, v, FormatDuration(id.Duration(a.lo)), FormatDuration(id.Duration(a.hi)))
		}
		return FormatDuration(d), nil
	}
	n, err := parseNumber(v)
	if err != nil || n < a.lo || n > a.hi {
		return "", fmt.Errorf("%s is %q; want a number from %d to %d", a.name, v, a.lo, a.hi)
	}
	return v, nil
}

// finish checks what needs the whole recipe: every run ends, every fault falls on
// nodes that exist and begins before the end.
func (p *parser) finish() error {
	r := p.recipe
	if !p.seen["seed"] {
		return &Error{What: "no seed line"}
	}
	if r.Length == 0 {
		return &Error{What: "never ends: no length line"}
	}
	if len(r.Voters) == 0 {
		return &Error{What: "no voters line"}
	}
	if r.Protocol == "" {
		for i, s := range slices.Concat(r.Broken, r.Break) {
			if !slices.Contains(faults.All, s) {
				if p.line = r.LineOf("broken", i); i >= len(r.Broken) {
					p.line = r.LineOf("break", i-len(r.Broken))
				}
				return p.errorf("unknown break switch %q", s)
			}
		}
	}
	known := r.Nodes()
	for i, a := range r.Acts {
		p.line = r.LineOf("do", i)
		if !slices.Contains(known, a.Node) {
			return p.errorf("unknown node %s; the recipe has %s", nodeText(a.Node), Target{Groups: [][]uint64{known}}.text(onGroups))
		}
		if a.At > id.Time(r.Length) {
			return p.errorf("the client acts at %s, behind the end at %s", FormatDuration(id.Duration(a.At)), FormatDuration(r.Length))
		}
	}
	for _, f := range p.faults {
		p.line = f.line
		for _, n := range f.fault.named() {
			if !slices.Contains(known, n) {
				return p.errorf("unknown node %s; the recipe has %s", nodeText(n), Target{Groups: [][]uint64{known}}.text(onGroups))
			}
		}
		if f.fault.At > id.Time(r.Length) {
			return p.errorf("the fault begins at %s, behind the end at %s", FormatDuration(id.Duration(f.fault.At)), FormatDuration(r.Length))
		}
		if f.fault.For > maxLength {
			return p.errorf("the fault never ends: %s is longer than %s", FormatDuration(f.fault.For), FormatDuration(maxLength))
		}
	}
	return nil
}

// named returns the nodes a fault names.
func (f Fault) named() []uint64 {
	var list []uint64
	add := func(n uint64) {
		if n != 0 {
			list = append(list, n)
		}
	}
	add(f.Target.Node)
	add(f.Target.From)
	add(f.Target.To)
	for _, g := range f.Target.Groups {
		list = append(list, g...)
	}
	add(uint64(f.Number("of")))
	for _, n := range f.Nodes("set") {
		list = append(list, n) // 0 is no node, and not known either
	}
	return list
}
