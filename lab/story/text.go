package story

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quorate/quorate/lab"
)

// width is of a line of running text.
const width = 96

// Text is the whole story, when the run is over.
func (t *Teller) Text(r lab.Result) string {
	t.close()
	var b strings.Builder
	r0 := t.recipe
	title := r0.Tell("title", t.language)
	if title == "" {
		title = "A recipe without a title"
	}
	fmt.Fprintf(&b, "%s\n%s, seed %d\n", title, t.name(), r0.Seed)
	for _, s := range r0.Broken {
		fmt.Fprintf(&b, "broken on purpose: %s%s\n", s, t.switchText(string(s)))
	}
	if about := r0.Tell("about", t.language); about != "" {
		b.WriteString("\n" + wrap(about, "") + "\n")
	}
	if len(r0.Broken) > 0 {
		note := "The captions (▌) tell how it goes when nothing is broken; the lines between them and the verdicts show how it went."
		if t.language == "zh" {
			note = "说明文字（▌）讲的是一切正常时的经过；其间各行与最后的判定才是这次实际发生的事。"
		}
		b.WriteString("\n" + wrap(note, "") + "\n")
	}
	var before []belief
	for _, s := range t.steps {
		t.step(&b, s, before)
		before = s.after
	}
	for i, f := range t.never() {
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "             nothing set this off: %s\n", f)
	}
	b.WriteString("\nVerdicts\n")
	for _, v := range Verdicts(t.protocol, r) {
		if v.Load && t.told() {
			continue // figures of a workload that there is not
		}
		fmt.Fprintf(&b, "  %s %s\n", v.Sign, v.Text)
	}
	word := "lesson"
	if len(r0.Broken) > 0 {
		word = "without"
	}
	if lesson := r0.Tell(word, t.language); lesson != "" {
		b.WriteString("\n" + wrap(lesson, "") + "\n")
	}
	if source := r0.Tell("source", t.language); source != "" {
		b.WriteString("\n" + wrap("Source: "+source, "") + "\n")
	}
	return b.String()
}

func (t *Teller) name() string {
	title := t.protocol.Title
	if t.language == "zh" && t.protocol.Chinese != "" {
		title = t.protocol.Chinese
	}
	return fmt.Sprintf("%s (%s)", title, t.protocol.Name)
}

func (t *Teller) switchText(name string) string {
	for _, s := range t.protocol.Switches {
		if string(s.Name) == name {
			return ": " + s.What
		}
	}
	return ""
}

// step prints one step: captions and faults, what happened, the sums, beliefs.
func (t *Teller) step(b *strings.Builder, s *step, before []belief) {
	if len(s.captions)+len(s.faults)+len(s.lines) == 0 && s.at != 0 {
		return
	}
	b.WriteString("\n")
	for _, f := range s.faults {
		fmt.Fprintf(b, "%s  ⚡ %s\n", Seconds(s.at), f)
	}
	for _, c := range s.captions {
		fmt.Fprintf(b, "%s  ▌ %s\n", Seconds(s.at), strings.TrimPrefix(wrap(c, "             ▌ "), "             ▌ "))
	}
	for _, l := range s.lines {
		fmt.Fprintf(b, "%s\n", l)
	}
	if s.left > 0 {
		fmt.Fprintf(b, "             … and %d lines more; --trace has them all\n", s.left)
	}
	t.sums(b, s)
	if text := Beliefs(s.after); text != Beliefs(before) {
		fmt.Fprintf(b, "             who believes what: %s\n", strings.TrimPrefix(wrap(text, "                                "), "                                "))
	}
}

// sums tells what was answered and refused, and why.
func (t *Teller) sums(b *strings.Builder, s *step) {
	var parts []string
	for _, n := range t.numbers {
		if count := s.acked[n]; count > 0 {
			parts = append(parts, fmt.Sprintf("n%d acknowledges %s", n, plural(uint64(count), "write")))
		}
	}
	if s.reads > 0 {
		parts = append(parts, plural(uint64(s.reads), "read")+" answered")
	}
	if s.others > 0 {
		parts = append(parts, plural(uint64(s.others), "other request")+" answered")
	}
	if s.unknown > 0 {
		parts = append(parts, plural(uint64(s.unknown), "request")+" with an unknown outcome")
	}
	if len(parts) > 0 {
		fmt.Fprintf(b, "             clients: %s\n", under(strings.Join(parts, "; ")))
	}
	slices.SortStableFunc(s.refusals, func(x, y reason) int { return y.count - x.count })
	for i, r := range s.refusals {
		if i == reasonsMax {
			rest := 0
			for _, x := range s.refusals[i:] {
				rest += x.count
			}
			fmt.Fprintf(b, "             refused: %d more, for other reasons\n", rest)
			break
		}
		fmt.Fprintf(b, "             refused: %s\n", under(fmt.Sprintf("%s, %s: %s", r.who(), times(r.count), r.text)))
	}
}

// under wraps a text that begins behind a word like "clients:".
func under(text string) string {
	const indent = "                      "
	return strings.TrimPrefix(wrap(text, indent), indent)
}

func (r reason) who() string {
	var names []string
	for _, n := range r.nodes {
		names = append(names, fmt.Sprintf("n%d", n))
	}
	return strings.Join(names, " ")
}

func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}

// Beliefs says in one line who takes whom for the leader. Nodes that believe the same
// are named together.
func Beliefs(list []belief) string {
	var parts []string
	var said [][]string // the nodes of each part
	for _, b := range list {
		text := b.text()
		i := slices.Index(parts, text)
		if i < 0 {
			i = len(parts)
			parts, said = append(parts, text), append(said, nil)
		}
		said[i] = append(said[i], fmt.Sprintf("n%d", b.node))
	}
	for i := range parts {
		parts[i] = strings.Join(said[i], " ") + ": " + parts[i]
	}
	return strings.Join(parts, " · ")
}

func (b belief) text() string {
	epoch := ""
	if b.epoch > 0 {
		epoch = fmt.Sprintf(" in %d", b.epoch)
	}
	switch {
	case b.down:
		return "down"
	case b.leads:
		return "I lead" + epoch
	case b.leader != 0:
		return fmt.Sprintf("n%d leads%s", b.leader, epoch)
	}
	return fmt.Sprintf("nobody leads, I am %s%s", b.role, epoch)
}

// wrap breaks a text into lines; behind the first each begins with indent. Texts
// without spaces (Chinese) break anywhere.
func wrap(text, indent string) string {
	var b strings.Builder
	column := 0
	b.WriteString(indent)
	for _, word := range strings.SplitAfter(text, " ") {
		w := 0
		for _, r := range word {
			w += cells(r)
		}
		if column > 0 && column+w > width && w <= width {
			line := strings.TrimRight(b.String(), " ")
			b.Reset()
			b.WriteString(line + "\n" + indent)
			column = 0
		}
		for _, r := range word {
			if column >= width && !strings.ContainsRune("，。；：、？！”）》", r) { // these begin no line
				b.WriteString("\n" + indent)
				column = 0
			}
			b.WriteRune(r)
			column += cells(r)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// cells is how wide a character stands in a terminal.
func cells(r rune) int {
	if r >= 0x1100 {
		return 2
	}
	return 1
}

// Verdict is what one checker says of a run.
type Verdict struct {
	Checker string `json:"checker"` // C1 … C7, or what was measured
	Sign    string `json:"sign"`    // ✓ kept, ✗ broken, – means nothing here, · a figure
	Text    string `json:"text"`
	Load    bool   `json:"-"` // a figure that means something under a workload only
}

// Verdicts are all checkers' words on a run.
func Verdicts(p lab.Protocol, r lab.Result) []Verdict {
	m := r.Measures
	var list []Verdict
	judge := func(checker string, applies bool, bad int, kept, broken string) {
		switch {
		case !applies:
			list = append(list, Verdict{Checker: checker, Sign: "–", Text: checker + " " + kept + ": means nothing here"})
		case bad == 0:
			list = append(list, Verdict{Checker: checker, Sign: "✓", Text: checker + " " + kept})
		default:
			list = append(list, Verdict{Checker: checker, Sign: "✗", Text: checker + " " + fmt.Sprintf(broken, bad)})
		}
	}
	judge("C1", p.Epochs, m.SameEpoch, "no "+epochWord(p)+" had two leaders", epochWord(p)+"s in which two nodes led: %d")
	judge("C2", !p.Leaderless, m.TwoLeaders, "never did two leaders acknowledge writes at once", "writes acknowledged by one leader while another acknowledged too: %d")
	judge("C3", true, m.Lost, fmt.Sprintf("no acknowledged write is lost (of %d)", m.Acked), "acknowledged writes that are lost: %d"+down(r))
	if m.LostWorst > m.Lost {
		list = append(list, Verdict{Checker: "C3", Sign: "✗", Text: fmt.Sprintf("C3 for a while %d acknowledged writes were missing from a serving leader", m.LostWorst)})
	}
	judge("C4", true, m.Divergent, "nowhere did two nodes decide different operations", "positions at which two nodes decided different operations: %d")
	judge("C5", true, m.Stale, "no read was stale", "reads that missed a write acknowledged before: %d")
	judge("", true, m.Twice, "no operation took effect twice", "operations that took effect twice: %d")
	figure := func(text string) { list = append(list, Verdict{Sign: "·", Text: text}) }
	load := func(text string) { list = append(list, Verdict{Sign: "·", Text: text, Load: true}) }
	if m.Recovery > 0 {
		figure("C6 from the fault to the next leader's first acknowledgement: " + Span(m.Recovery))
	}
	if !p.Leaderless {
		figure(fmt.Sprintf("C7 changes of leader: %d", m.Changes))
	}
	load("longest without an acknowledged write: " + Span(m.Gap))
	figure(fmt.Sprintf("operations: %d; writes acknowledged: %d; refused: %d; unknown outcome: %d", m.Operations, m.Acked, m.Refused, m.Unknown))
	if m.Acked > 0 {
		load(fmt.Sprintf("per acknowledged write: %s messages, %s bytes, %s fsyncs", tenths(m.Messages, m.Acked), tenths(m.Bytes, m.Acked), tenths(m.Syncs, m.Acked)))
	}
	for i := range list {
		list[i].Text = strings.TrimSpace(list[i].Text)
	}
	return list
}

// down says of nodes that are down at the end that their disks were not looked at.
func down(r lab.Result) string {
	var names []string
	for _, n := range r.Final {
		if !n.Up && slices.Contains(r.Recipe.Nodes(), n.Node) {
			names = append(names, fmt.Sprintf("n%d", n.Node))
		}
	}
	if names == nil {
		return ""
	}
	return " (the disk of " + strings.Join(names, ", ") + ", down at the end, does not count)"
}

// tenths prints a/b with one digit behind the point.
func tenths(a, b int) string {
	x := (a*10 + b/2) / b
	return fmt.Sprintf("%d.%d", x/10, x%10)
}
