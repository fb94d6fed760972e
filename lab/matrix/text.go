package matrix

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/sim"
)

// Widths of the terminal's tables: seventeen scripts and a name make 119.
const (
	nameWidth = 17
	cellWidth = 6
)

// figure is one figure of a cell as a table of its own.
type figure struct {
	title string
	of    func(Row, Cell) string // "": means nothing here
	worst func(Row, Cell) uint64 // by which a table of nothing but zeros is left out
}

// count is a figure whose worst run is shown.
func count(title string, of func(Cell) Stat, means func(Row) bool) figure {
	return figure{
		title: title,
		of: func(r Row, c Cell) string {
			if !means(r) {
				return ""
			}
			if of(c).Worst == 0 {
				return Kept.Mark()
			}
			return number(of(c).Worst)
		},
		worst: func(r Row, c Cell) uint64 {
			if !means(r) {
				return 0
			}
			return of(c).Worst
		},
	}
}

func always(Row) bool  { return true }
func led(r Row) bool   { return !r.Leaderless }
func epoch(r Row) bool { return r.Epochs }

// figures are the tables behind the overview.
func figures() []figure {
	return []figure{
		count("Acknowledged writes that are gone at the end", func(c Cell) Stat { return c.Lost }, always),
		count("Acknowledged writes that a leader was without, at worst during the run", func(c Cell) Stat { return c.LostWorst }, always),
		count("Acknowledgements while another leader acknowledged", func(c Cell) Stat { return c.TwoLeaders }, led),
		count("Epochs with two leaders", func(c Cell) Stat { return c.SameEpoch }, epoch),
		count("Positions that two nodes decided differently", func(c Cell) Stat { return c.Divergent }, always),
		count("Stale reads", func(c Cell) Stat { return c.Stale }, always),
		count("Changes of leader", func(c Cell) Stat { return c.Changes }, led),
		{
			title: "From the fault to the next leader's first acknowledgement (no leader came: blank)",
			of: func(r Row, c Cell) string {
				if !led(r) {
					return ""
				}
				if c.Recovery.Worst == 0 {
					return " "
				}
				return span(c.Recovery.Worst)
			},
			worst: func(r Row, c Cell) uint64 { return c.Recovery.Worst },
		},
	}
}

// Text is the matrix for a terminal: an overview with its legend, the figures one
// by one, and what a write costs.
func (t Table) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", t.Headline())
	t.table(&b, func(r Row, c Cell) string {
		o := c.Outcome()
		if o == None || o == Broken {
			return o.Mark()
		}
		return o.Mark() + pad(span(c.Gap.Worst), cellWidth-2, false)
	})
	b.WriteString("\n")
	for _, o := range outcomes() {
		if t.has(o) {
			fmt.Fprintf(&b, "  %s  %s: %s\n", o.Mark(), o.Word(), o.Meaning())
		}
	}
	b.WriteString("\n")
	for _, s := range t.Scripts {
		fmt.Fprintf(&b, "  %s%s\n", pad(s.Label(), cellWidth, true), s.About())
	}
	for _, f := range figures() {
		if t.zero(f) {
			fmt.Fprintf(&b, "\n%s: none anywhere.\n", f.title)
			continue
		}
		fmt.Fprintf(&b, "\n%s\n\n", f.title)
		t.table(&b, func(r Row, c Cell) string {
			if o := c.Outcome(); o == None || o == Broken {
				return o.Mark()
			}
			if text := f.of(r, c); text != "" {
				return text
			}
			return None.Mark()
		})
	}
	fmt.Fprintf(&b, "\n%s\n\n", costTitle)
	fmt.Fprintf(&b, "%s%s%s%s\n", pad("", nameWidth, true), pad("messages", 12, false), pad("bytes", 12, false), pad("fsyncs", 12, false))
	for _, r := range t.Rows {
		messages, bytes, syncs := r.cost()
		fmt.Fprintf(&b, "%s%s%s%s\n", pad(r.Protocol, nameWidth, true), pad(messages, 12, false), pad(bytes, 12, false), pad(syncs, 12, false))
	}
	if failed := t.failures(); failed != nil {
		fmt.Fprintf(&b, "\nFailed\n\n  %s\n", strings.Join(failed, "\n  "))
	}
	return b.String()
}

const costTitle = "What an acknowledged write costs, between nodes (the median of the scripts' medians; heartbeats and reads included)"

// Headline says what the figures are.
func (t Table) Headline() string {
	runs := "one run"
	if t.Seeds > 1 {
		runs = fmt.Sprintf("the worst of %d runs", t.Seeds)
	}
	return fmt.Sprintf("What was kept, and the longest time without an acknowledged write: %s a cell", runs)
}

// table writes one table: names down, scripts across.
func (t Table) table(b *strings.Builder, cell func(Row, Cell) string) {
	line := pad("", nameWidth, true)
	for _, s := range t.Scripts {
		line += pad(s.Label(), cellWidth, false)
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
	for _, r := range t.Rows {
		line := pad(r.Protocol, nameWidth, true)
		for _, c := range r.Cells {
			line += pad(cell(r, c), cellWidth, false)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

func (t Table) zero(f figure) bool {
	for _, r := range t.Rows {
		for _, c := range r.Cells {
			if f.worst(r, c) > 0 {
				return false
			}
		}
	}
	return true
}

func (t Table) has(o Outcome) bool {
	for _, r := range t.Rows {
		for _, c := range r.Cells {
			if c.Outcome() == o {
				return true
			}
		}
	}
	return false
}

// failures are the cells whose runs ended with an error.
func (t Table) failures() (list []string) {
	for _, r := range t.Rows {
		for _, c := range r.Cells {
			if c.Failed != "" {
				list = append(list, printable(fmt.Sprintf("%s, %s: %s", r.Protocol, c.Script, c.Failed)))
			}
		}
	}
	return list
}

// pad fills a text up to a width; a name that is too long is shortened.
func pad(text string, width int, left bool) string {
	if left {
		text = shorten(text, width-1)
	}
	n := utf8.RuneCountInString(text)
	space := strings.Repeat(" ", max(0, width-n))
	if left {
		return text + space
	}
	return space + text
}

// shorten cuts a text, and shows that it did.
func shorten(text string, letters int) string {
	if runes := []rune(text); len(runes) > letters {
		return string(runes[:letters-1]) + "…"
	}
	return text
}

// printable replaces what neither a terminal nor XML should get.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || r == 0xFFFE || r == 0xFFFF {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// span is a span in at most four characters: 0.4s, 12s, 127s, 20m.
func span(ns uint64) string {
	tenths := (ns + uint64(id.Second)/20) / (uint64(id.Second) / 10)
	switch {
	case tenths < 100:
		return fmt.Sprintf("%d.%ds", tenths/10, tenths%10)
	case tenths < 10_000:
		return fmt.Sprintf("%ds", (tenths+5)/10)
	}
	return fmt.Sprintf("%dm", (tenths+300)/600)
}

// number is a count in at most five characters.
func number(n uint64) string {
	switch {
	case n < 100_000:
		return strconv.FormatUint(n, 10)
	case n < 10_000_000:
		return strconv.FormatUint(n/1000, 10) + "k"
	case n < 10_000_000_000:
		return strconv.FormatUint(n/1_000_000, 10) + "M"
	}
	return "many"
}

// thousandths prints a figure that was kept per thousand.
func thousandths(n uint64) string {
	if n >= 100_000 {
		return strconv.FormatUint((n+500)/1000, 10)
	}
	return fmt.Sprintf("%d.%d", (n+50)/1000, (n+50)%1000/100)
}

// exact is a span to the millisecond, for those who look closer.
func exact(ns uint64) string {
	ms := id.Duration(ns) / id.Millisecond * id.Millisecond
	return sim.FormatDuration(ms)
}
