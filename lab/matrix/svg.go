package matrix

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Measures of the picture, in its own units.
const (
	svgMargin  = 24
	svgName    = 150 // the column of names
	svgCell    = 58
	svgRow     = 28
	svgHead    = 96 // above the first row
	svgLine    = 18 // of the legend
	svgLetters = 7  // the width of a letter of twelve units, about
)

// svgStyle has the colours for light and for dark. The cells keep theirs, with
// white on them (at least 4.5 : 1); letters repeat what colours say.
const svgStyle = `
  text { font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; font-size: 12px; fill: #1f2328 }
  .page { fill: #ffffff }
  .title { font-size: 20px; font-weight: 600 }
  .soft { fill: #59636e }
  .head { font-weight: 600; text-anchor: middle }
  .gap { fill: #ffffff; text-anchor: middle; font-weight: 600 }
  .none { fill: #818b98; text-anchor: middle }
  .c1 { fill: #1b7f5c } .c2 { fill: #4c63b6 } .c3 { fill: #8f6400 } .c4 { fill: #b34700 }
  .c5 { fill: #5a1e76 } .c6 { fill: #b3122d } .c7 { fill: #24292f }
  .c0 { fill: none; stroke: #d1d9e0 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .page { fill: #0d1117 } .soft { fill: #9198a1 } .c0 { stroke: #3d444d } .c7 { stroke: #f0f6fc }
    .gap { fill: #ffffff } .none { fill: #9198a1 }
  }
`

// SVG is the matrix as one picture: protocols down, scripts across, the colour is
// the worst thing that happened, the number the longest gap. It needs no script
// and no font of its own; every cell has its figures as a tooltip.
func (t Table) SVG() string {
	var legend []Outcome
	for _, o := range outcomes() {
		if t.has(o) {
			legend = append(legend, o)
		}
	}
	grid := svgName + svgCell*len(t.Scripts)
	lines := []string{t.Headline()}
	for _, o := range legend {
		lines = append(lines, o.Word()+": "+o.Meaning())
	}
	width := grid
	for _, line := range lines {
		width = max(width, 30+svgLetters*utf8.RuneCountInString(line))
	}
	columns := max(1, width/380)
	perColumn := (len(t.Scripts) + columns - 1) / columns
	width += 2 * svgMargin
	legendTop := svgHead + svgRow*len(t.Rows) + 28
	scriptsTop := legendTop + svgLine*len(legend) + 16
	height := scriptsTop + svgLine*perColumn + svgMargin

	var b strings.Builder
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"title description\">\n", width, height, width, height)
	fmt.Fprintf(&b, "<title id=\"title\">Who keeps what: %d protocols under %d fault scripts</title>\n", len(t.Rows), len(t.Scripts))
	fmt.Fprintf(&b, "<desc id=\"description\">%s</desc>\n", escape(t.Headline()))
	fmt.Fprintf(&b, "<style>%s</style>\n", svgStyle)
	fmt.Fprintf(&b, "<rect class=\"page\" width=\"%d\" height=\"%d\"/>\n", width, height)
	text := func(class string, x, y int, s string) {
		fmt.Fprintf(&b, "<text class=\"%s\" x=\"%d\" y=\"%d\">%s</text>\n", class, x, y, escape(s))
	}
	text("title", svgMargin, svgMargin+14, "Who keeps what under faults")
	text("soft", svgMargin, svgMargin+36, t.Headline())
	for i, s := range t.Scripts {
		fmt.Fprintf(&b, "<text class=\"head\" x=\"%d\" y=\"%d\"><title>%s</title>%s</text>\n", svgMargin+svgName+svgCell*i+svgCell/2, svgHead-10, escape(s.Title), escape(s.Label()))
	}
	for i, r := range t.Rows {
		y := svgHead + svgRow*i
		fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\"><title>%s</title>%s</text>\n", svgMargin, y+18, escape(r.Title), escape(shorten(r.Protocol, svgName/svgLetters)))
		for j, c := range r.Cells {
			t.svgCell(&b, svgMargin+svgName+svgCell*j, y, r, c)
		}
	}
	for i, o := range legend {
		y := legendTop + svgLine*i
		fmt.Fprintf(&b, "<rect class=\"c%d\" x=\"%d\" y=\"%d\" width=\"22\" height=\"14\" rx=\"3\"/>\n", o, svgMargin, y-11)
		fmt.Fprintf(&b, "<text class=\"%s\" x=\"%d\" y=\"%d\">%s</text>\n", o.ink(), svgMargin+11, y, o.Mark())
		text("soft", svgMargin+30, y, o.Word()+": "+o.Meaning())
	}
	for i, s := range t.Scripts {
		text("soft", svgMargin+(width-2*svgMargin)/columns*(i/perColumn), scriptsTop+svgLine*(i%perColumn), s.Title)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// ink is the class of what is written on an outcome's colour.
func (o Outcome) ink() string {
	if o == None {
		return "none"
	}
	return "gap"
}

// svgCell is one cell, with everything about it in its tooltip.
func (t Table) svgCell(b *strings.Builder, x, y int, r Row, c Cell) {
	o := c.Outcome()
	mark := o.Mark()
	if o != None && o != Broken {
		mark = span(c.Gap.Worst)
		if o != Kept {
			mark = o.Mark() + " " + mark
		}
	}
	fmt.Fprintf(b, "<g><title>%s</title><rect class=\"c%d\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"4\"/><text class=\"%s\" x=\"%d\" y=\"%d\">%s</text></g>\n",
		escape(c.sentence(r)), o, x+1, y+1, svgCell-3, svgRow-3, o.ink(), x+svgCell/2-1, y+18, escape(mark))
}

// sentence says in words what a cell shows.
func (c Cell) sentence(r Row) string {
	s := r.Protocol + ", " + c.Script + ": "
	switch c.Outcome() {
	case None:
		return s + c.NotApplicable
	case Broken:
		return s + c.Failed
	}
	s += c.Outcome().Word() + "; longest gap " + exact(c.Gap.Worst)
	for _, part := range []struct {
		n    uint64
		what string
	}{
		{c.Lost.Worst, "acknowledged writes gone at the end"},
		{c.LostWorst.Worst, "absent at worst"},
		{c.TwoLeaders.Worst, "acknowledgements beside another leader"},
		{c.SameEpoch.Worst, "epochs with two leaders"},
		{c.Divergent.Worst, "divergent positions"},
		{c.Stale.Worst, "stale reads"},
		{c.Changes.Worst, "changes of leader"},
	} {
		if part.n > 0 {
			s += fmt.Sprintf("; %d %s", part.n, part.what)
		}
	}
	return s
}

// escape makes a text safe inside XML.
func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(printable(text))
}
