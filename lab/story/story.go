// Package story tells a run of the lab as a person reads it: what a caption
// explains, who leads and under which rule, what was refused and why, what the
// checkers saw, and what of it was to be expected.
//
// A Teller gets the run's trace event by event and keeps what matters: it sums up
// what happens thousands of times (heartbeats, answers) between two steps of the
// story, and names what happens once (an election, a truncation, a lost write).
// Its memory is bounded by the recipe's steps and linesMax.
package story

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
)

// Bounds of a story: lines per step, and lines of one rule at one node in a step.
const (
	stepLinesMax = 60
	repeatedMax  = 2
	reasonsMax   = 6
	triesTold    = 2 // attempts of one operation; the answer that ends it is told anyway
)

// Teller collects a run's events.
type Teller struct {
	language string
	recipe   sim.Recipe
	protocol lab.Protocol
	steps    []*step
	nodes    map[uint64]belief // by number; only looked up
	numbers  []uint64
	tries    map[uint64]uint64 // by operation; only looked up
	begun    map[string]int    // faults, by likeness
}

// step is what happened from one caption or fault to the next.
type step struct {
	at       id.Time
	captions []string
	faults   []string
	lines    []told
	left     int // lines that did not fit
	repeated map[string]int
	acked    map[uint64]int
	refusals []reason
	unknown  int
	reads    int
	others   int      // requests of a recipe's own verbs
	after    []belief // of every node at its end
}

// told is one line: the same thing, said of nodes that did it at about the same
// time.
type told struct {
	at    id.Time
	nodes []uint64 // empty: the text says of whom
	text  string
	more  bool // it happens again and again
}

func (l told) String() string {
	text := l.text
	if l.more {
		text += " (and again)"
	}
	if len(l.nodes) > 0 {
		var names []string
		for _, n := range l.nodes {
			names = append(names, fmt.Sprintf("n%d", n))
		}
		text = strings.Join(names, " ") + ": " + text
	}
	const indent = "               "
	if i := strings.LastIndex(text, "  ["); i >= 0 { // the rule stays in one piece
		text = text[:i+2] + strings.ReplaceAll(text[i+2:], " ", "\u00a0")
	}
	text = strings.ReplaceAll(wrap(text, indent), "\u00a0", " ")
	return Seconds(l.at) + "  " + strings.TrimPrefix(text, indent)
}

type reason struct {
	nodes []uint64 // who refused so
	text  string
	count int
}

// belief is what a node last said of itself.
type belief struct {
	node    uint64
	role    string
	epoch   uint64
	leader  uint64
	leads   bool
	down    bool
	log     uint64
	decided uint64
}

// New returns a teller for a run. language is "en" or "zh": of the recipe's texts;
// what the machines say is English.
func New(r sim.Recipe, p lab.Protocol, language string) *Teller {
	t := &Teller{language: language, recipe: r, protocol: p, nodes: map[uint64]belief{}, tries: map[uint64]uint64{}, begun: map[string]int{}}
	t.numbers = r.Nodes()
	slices.Sort(t.numbers)
	for _, n := range t.numbers {
		t.nodes[n] = belief{node: n, down: true}
	}
	t.steps = []*step{newStep(0)}
	return t
}

func newStep(at id.Time) *step {
	return &step{at: at, repeated: map[string]int{}, acked: map[uint64]int{}}
}

func (t *Teller) now() *step { return t.steps[len(t.steps)-1] }

// begin begins a step, unless the present one has only begun.
func (t *Teller) begin(at id.Time) *step {
	s := t.now()
	if s.at == at && len(s.lines) == 0 {
		return s
	}
	t.close()
	s = newStep(at)
	t.steps = append(t.steps, s)
	return s
}

func (t *Teller) close() {
	s := t.now()
	for _, n := range t.numbers {
		s.after = append(s.after, t.nodes[n])
	}
}

func field(e trace.Event, name string) trace.Field {
	for _, f := range e.Fields {
		if f.Name == name {
			return f
		}
	}
	return trace.Field{}
}

// Record takes one event.
func (t *Teller) Record(e trace.Event) {
	n := e.Node.Node
	text := func(name string) string { return field(e, name).Text }
	number := func(name string) uint64 { return field(e, name).Number }
	b := t.nodes[n]
	switch e.Kind {
	case trace.Caption:
		if l := text("language"); l == "" && t.language != "zh" || l == t.language {
			s := t.begin(e.Time)
			s.captions = append(s.captions, text("text"))
		}
	case trace.Fault:
		t.fault(e)
	case trace.Started:
		b.down = false
		if number("life") > 1 {
			t.sayOf(e, fmt.Sprintf("starts again with %s on its disk", plural(number("records"), "record")))
		}
	case trace.Crashed:
		b = belief{node: n, down: true}
		t.sayOf(e, "is down")
	case trace.LostData:
		why := "that no fsync had covered"
		if text("why") == "wiped" {
			why = "with its disk"
		}
		t.sayOf(e, fmt.Sprintf("loses %s of its file %q %s", plural(number("records"), "record"), text("file"), why))
	case trace.RoleChanged:
		b = t.role(e, b)
	case trace.Held:
		b.log = number("index")
	case trace.Committed:
		b.decided = number("index")
	case trace.Truncated:
		b.log = number("from") - 1
		b.decided = min(b.decided, b.log)
		t.say(e, fmt.Sprintf("n%d takes back %s of its log, from %d to %d", n, plural(number("last")-number("from")+1, "position"), number("from"), number("last")))
	case trace.Fired:
		t.sayOf(e, text("what"))
	case trace.Noted:
		t.say(e, fmt.Sprintf("n%d: %s%s", n, text("what"), particulars(e.Fields[1:])))
	case trace.Requested:
		t.tries[number("operation")] = number("try")
		if t.told() && number("try") <= triesTold {
			t.say(e, fmt.Sprintf("the client beside n%d asks n%d: %s (operation %d%s)", number("client"), n, text("verb"), number("operation"), again(number("try"))))
		}
	case trace.Answered:
		t.answer(e)
	case trace.Verdict:
		t.verdict(e)
	}
	if n != 0 {
		t.nodes[n] = b
	}
}

func again(try uint64) string {
	if try > 1 {
		return fmt.Sprintf(", attempt %d", try)
	}
	return ""
}

func plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func particulars(fields []trace.Field) string {
	var b strings.Builder
	for _, f := range fields {
		if f.Text != "" {
			fmt.Fprintf(&b, " %s %s", f.Name, f.Text)
		} else {
			fmt.Fprintf(&b, " %s %d", f.Name, f.Number)
		}
	}
	return b.String()
}

// told tells whether single operations are the story: when there is no workload.
func (t *Teller) told() bool {
	for _, a := range t.recipe.Workload {
		if a.Name == "clients" && a.Value == "0" {
			return true
		}
	}
	return false
}

// together is how close in time nodes do the same to be named in one line.
const together = 30 * id.Millisecond

// sayOf says what the event's node did, once or a few times.
func (t *Teller) sayOf(e trace.Event, what string) {
	s, n := t.now(), e.Node.Node
	if e.Rule != "" {
		what += "  [" + e.Rule + "]"
	}
	for i := len(s.lines) - 1; i >= 0 && e.Time.Sub(s.lines[i].at) <= together; i-- {
		if l := &s.lines[i]; l.text == what && len(l.nodes) > 0 && !slices.Contains(l.nodes, n) {
			l.nodes = append(l.nodes, n)
			slices.Sort(l.nodes)
			return
		}
	}
	key := fmt.Sprintf("n%d %s", n, what)
	s.repeated[key]++
	switch times := s.repeated[key]; {
	case times > repeatedMax:
		for i := range s.lines {
			if l := &s.lines[i]; l.text == what && slices.Contains(l.nodes, n) {
				l.more = true
			}
		}
	default:
		s.add(told{at: e.Time, nodes: []uint64{n}, text: what})
	}
}

// say adds a line that names its nodes itself.
func (t *Teller) say(e trace.Event, line string) {
	s := t.now()
	if e.Rule != "" {
		line += "  [" + e.Rule + "]"
	}
	if s.repeated[line]++; s.repeated[line] <= repeatedMax {
		s.add(told{at: e.Time, text: line})
	}
}

func (s *step) add(l told) {
	if len(s.lines) >= stepLinesMax {
		s.left++
		return
	}
	s.lines = append(s.lines, l)
}

// saidJust tells whether the last lines give the reason why the node changed: then
// the change itself needs no line.
func (t *Teller) saidJust(e trace.Event) bool {
	s := t.now()
	for i := len(s.lines) - 1; i >= 0 && e.Time.Sub(s.lines[i].at) <= together; i-- {
		if slices.Contains(s.lines[i].nodes, e.Node.Node) && e.Rule != "" && strings.HasSuffix(s.lines[i].text, "["+e.Rule+"]") {
			return true
		}
	}
	return false
}

// fault begins a step of its own.
func (t *Teller) fault(e trace.Event) {
	s := t.begin(e.Time)
	if what := field(e, "what").Text + field(e, "void").Text; what != "" {
		t.begun[likeness(what)]++
	}
	if what := field(e, "what").Text; what != "" {
		s.faults = append(s.faults, t.begins(what))
	} else if what := field(e, "over").Text; what != "" {
		s.faults = append(s.faults, faultText(what, true))
	} else if what := field(e, "void").Text; what != "" {
		s.faults = append(s.faults, "nobody leads, so it falls on nobody: "+strings.Join(strings.Fields(what)[3:], " "))
	}
}

// likeness is what a fault keeps of its line when a trigger sets it off: all but when,
// and on whom.
func likeness(line string) string {
	words := strings.Fields(line)
	if len(words) < 5 {
		return line
	}
	return strings.Join(append(words[2:4:4], words[5:]...), " ")
}

// never are the recipe's faults that nothing set off.
func (t *Teller) never() []string {
	begun := maps.Clone(t.begun)
	var list []string
	for _, triggered := range []bool{false, true} {
		for _, f := range t.recipe.Faults {
			if (f.Trigger != "") != triggered {
				continue
			}
			k := likeness(f.String())
			if begun[k]--; begun[k] < 0 && triggered {
				list = append(list, f.String())
			}
		}
	}
	return list
}

// begins says what fault begins; of a node that is down already only that it stays so.
func (t *Teller) begins(what string) string {
	if words := strings.Fields(what); len(words) > 4 && words[3] == string(sim.FaultCrash) {
		for _, n := range t.numbers {
			if t.nodes[n].down && words[4] == fmt.Sprintf("n%d", n) {
				return fmt.Sprintf("n%d stays down, for %s", n, spanText(words[2]))
			}
		}
	}
	return faultText(what, false)
}

// role tells a change of what a node believes.
func (t *Teller) role(e trace.Event, old belief) belief {
	b := old
	b.role, b.epoch, b.leader = field(e, "role").Text, field(e, "epoch").Number, field(e, "leader").Number
	b.leads = field(e, "leads").Number == 1
	name := fmt.Sprintf("n%d", b.node)
	epoch := ""
	if b.epoch > 0 {
		epoch = fmt.Sprintf(", %s %d", t.epochWord(), b.epoch)
	}
	switch {
	case b.leads && !old.leads:
		t.say(e, fmt.Sprintf("%s leads (%s%s)", name, b.role, epoch))
	case old.leads && !b.leads:
		t.say(e, fmt.Sprintf("%s no longer leads: %s%s%s", name, b.role, epoch, following(b)))
	case t.saidJust(e) || old.role == "":
	case b.role != old.role:
		t.say(e, fmt.Sprintf("%s is now %s%s%s", name, b.role, epoch, following(b)))
	case b.leader != old.leader && b.leader != 0:
		t.say(e, fmt.Sprintf("%s follows n%d%s", name, b.leader, epoch))
	}
	return b
}

// epochWord is what the protocol calls an epoch.
func (t *Teller) epochWord() string { return epochWord(t.protocol) }

func epochWord(p lab.Protocol) string {
	if p.EpochWord != "" {
		return p.EpochWord
	}
	return "epoch"
}

func following(b belief) string {
	if b.leader != 0 && b.leader != b.node {
		return fmt.Sprintf(", follows n%d", b.leader)
	}
	return ""
}

// answer counts, and tells single operations.
func (t *Teller) answer(e trace.Event) {
	s := t.now()
	outcome, why := field(e, "outcome").Text, field(e, "why").Text
	op, verb := field(e, "operation").Number, field(e, "verb").Text
	if t.told() && (outcome != "refused" || t.tries[op] <= triesTold) {
		line := fmt.Sprintf("n%d answers operation %d: %s", e.Node.Node, op, outcome)
		if why != "" {
			line += ": " + why
		}
		t.say(e, line)
	}
	switch {
	case outcome == "answered" && verb == "write":
		s.acked[e.Node.Node]++
	case outcome == "answered":
		if verb == "read" {
			s.reads++
		} else {
			s.others++
		}
	case outcome == "unknown":
		s.unknown++
	case outcome == "refused":
		for i := range s.refusals {
			if x := &s.refusals[i]; x.text == why {
				if x.count++; !slices.Contains(x.nodes, e.Node.Node) {
					x.nodes = append(x.nodes, e.Node.Node)
					slices.Sort(x.nodes)
				}
				return
			}
		}
		if len(s.refusals) < 10*reasonsMax {
			s.refusals = append(s.refusals, reason{[]uint64{e.Node.Node}, why, 1})
		}
	}
}

// verdict tells what a checker saw the first time.
func (t *Teller) verdict(e trace.Event) {
	number := func(name string) uint64 { return field(e, name).Number }
	n := e.Node.Node
	switch field(e, "checker").Text {
	case "same-epoch":
		if e.Node.Node != 0 {
			t.say(e, fmt.Sprintf("✗ n%d leads in %s %d, and so does n%d", n, t.epochWord(), number("epoch"), number("other")))
		}
	case "two-leaders":
		if n != 0 {
			t.say(e, fmt.Sprintf("✗ n%d acknowledges writes while n%d does too", n, number("other")))
		}
	case "lost-worst":
		if n != 0 {
			t.say(e, fmt.Sprintf("✗ n%d serves without %s that clients had been promised", n, plural(number("lost"), "write")))
		}
	case "divergent":
		if s := t.now(); n != 0 {
			if s.repeated["divergent"]++; s.repeated["divergent"] > repeatedMax {
				return // the verdict has how many
			}
			t.say(e, fmt.Sprintf("✗ n%d decides %s at position %d, where n%d decided %s", n, entryText(number("operation")), number("index"), number("other"), entryText(number("theirs"))))
		}
	case "stale":
		if n != 0 {
			t.say(e, fmt.Sprintf("✗ n%d answers a read without write %d, acknowledged before the read began", n, number("without")))
		}
	}
}

// entryText names what stands at a position.
func entryText(op uint64) string {
	if op == 0 {
		return "no client's write (a no-op, say)"
	}
	return fmt.Sprintf("operation %d", op)
}

// Seconds prints a time in seconds with three digits, as 60.310 s.
func Seconds(at id.Time) string {
	ms := int64(at) / int64(id.Millisecond)
	return fmt.Sprintf("%5d.%03d s", ms/1000, ms%1000)
}

// Span prints a span for people: 223 ms, 9.6 s.
func Span(d id.Duration) string {
	switch {
	case d < id.Millisecond:
		return "0"
	case d < id.Second:
		return fmt.Sprintf("%d ms", d/id.Millisecond)
	case d < 100*id.Second:
		return fmt.Sprintf("%d.%d s", d/id.Second, d%id.Second/(100*id.Millisecond))
	}
	return fmt.Sprintf("%d s", d/id.Second)
}
