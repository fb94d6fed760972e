package matrix

import (
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files instead of comparing with them")

// small is a table with one cell of every kind.
func small() Table {
	const s = uint64(id.Second)
	good := Cell{Runs: 3, Gap: Stat{s * 6 / 10, s / 2}, Acked: Stat{2240, 2250}, Messages: Stat{13_400, 13_350}, Bytes: Stat{470_123, 470_000}, Syncs: Stat{4_900, 4_900}}
	with := func(script string, change func(c *Cell)) Cell {
		c := good
		c.Script = script
		change(&c)
		return c
	}
	led := func(c *Cell) { c.Changes, c.Recovery = Stat{1, 1}, Stat{s * 4 / 10, s * 3 / 10} }
	return Table{
		Seeds:   3,
		Scripts: []Script{{"f1", "F1: the leader crashes"}, {"f2", "F2: cut off | \"with <one> other\" & more"}, {"f6", "F6: one reply comes too late"}, {"f9", "F9: the power fails"}},
		Rows: []Row{
			{Protocol: "good", Title: "Keeps & serves", Epochs: true, Cells: []Cell{
				with("f1", led),
				with("f2", func(c *Cell) { led(c); c.Gap = Stat{s * 60, s * 59}; c.Acked = Stat{0, 2}; c.WithoutAcknowledging = 1 }),
				with("f6", func(c *Cell) { *c = Cell{Script: "f6", NotApplicable: "no reply decides its elections"} }),
				with("f9", func(c *Cell) { c.Stale = Stat{5, 0} }),
			}},
			{Protocol: "bad/with-a-rather-long-name", Title: "Bully <plain>", Cells: []Cell{
				with("f1", func(c *Cell) { led(c); c.Lost, c.LostWorst = Stat{587, 12}, Stat{590, 12} }),
				with("f2", func(c *Cell) { c.TwoLeaders = Stat{123_456, 9} }),
				with("f6", func(c *Cell) {
					*c = Cell{Script: "f6", Failed: "bad/with-a-rather-long-name, seed 2: a machine panicked at 3s: <nil> & \x01"}
				}),
				with("f9", func(c *Cell) { c.Divergent, c.Gap = Stat{3, 1}, Stat{s * 1234, s * 61} }),
			}},
			{Protocol: "nobody", Title: "Nobody leads", Leaderless: true, Cells: []Cell{
				with("f1", func(*Cell) {}), with("f2", func(*Cell) {}), with("f6", func(*Cell) {}),
				with("f9", func(c *Cell) { *c = Cell{Script: "f9", Runs: 3, Gap: Stat{s * 90, s * 90}, WithoutAcknowledging: 3} }),
			}},
		},
	}
}

func TestRenderings(t *testing.T) {
	table := small()
	for name, got := range map[string]string{
		"table.txt": table.Text(), "table.md": table.Markdown("quorate lab matrix --seeds 3"),
		"table.json": string(table.JSON()), "table.svg": table.SVG(),
	} {
		path := filepath.Join("testdata", name)
		if *rewrite {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs; read the diff of: go test ./lab/matrix -run Renderings -rewrite", name)
		}
	}
}

// Seventeen scripts fit a terminal of 120 columns, whatever the figures are.
func TestTextFitsATerminal(t *testing.T) {
	table := small()
	for len(table.Scripts) < 17 {
		table.Scripts = append(table.Scripts, Script{"f12b", "F12b: a crash and a one-way link"})
		for i := range table.Rows {
			c := table.Rows[i].Cells[len(table.Rows[i].Cells)-1]
			c.Lost, c.Stale = Stat{18_446_744_073_709, 0}, Stat{99_999, 0}
			table.Rows[i].Cells = append(table.Rows[i].Cells, c)
		}
	}
	for line := range strings.Lines(table.Text()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 120 && !strings.Contains(line, "panicked") {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestPictureIsWellFormed(t *testing.T) {
	d := xml.NewDecoder(strings.NewReader(small().SVG()))
	d.Strict = true
	rects := 0
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok {
			switch e.Name.Local {
			case "rect":
				rects++
			case "script", "image", "foreignObject", "a":
				t.Errorf("<%s> in the picture", e.Name.Local)
			}
			for _, a := range e.Attr {
				if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "href" {
					t.Errorf("%s= in the picture", a.Name.Local)
				}
			}
		}
	}
	if want := 1 + 3*4 + 8; rects != want { // the page, the cells, the legend
		t.Errorf("%d rectangles, want %d", rects, want)
	}
}

func TestWhatOutcomeIsTheWorst(t *testing.T) {
	c := Cell{}
	for i, step := range []struct {
		worse func()
		want  Outcome
	}{
		{func() {}, Kept},
		{func() { c.Gap.Worst = uint64(LongGap) - 1 }, Kept},
		{func() { c.Gap.Worst = uint64(LongGap) }, Long},
		{func() { c.LostWorst.Worst = 1 }, Stale},
		{func() { c.SameEpoch.Worst = 1 }, Two},
		{func() { c.Divergent.Worst = 1 }, Diverged},
		{func() { c.Lost.Worst = 1 }, Lost},
		{func() { c.Failed = "x" }, Broken},
		{func() { c.NotApplicable = "x" }, None},
	} {
		if step.worse(); c.Outcome() != step.want {
			t.Errorf("step %d: %s, want %s", i, c.Outcome().Word(), step.want.Word())
		}
	}
}

func TestCellKeepsTheWorstAndTheMedian(t *testing.T) {
	var c Cell
	c.aggregate([]lab.Measures{
		{Gap: 5, Changes: 2, Lost: 7, LostWorst: 9, Acked: 100, Messages: 1300, Bytes: 50_000, Syncs: 250},
		{Gap: 9, Changes: 0, Lost: 0, LostWorst: 1, Acked: 50, Messages: 700, Bytes: 20_000, Syncs: 200},
		{Gap: 1, Changes: 1, Lost: 3, LostWorst: 3, Acked: 0, Messages: 10, Bytes: 10, Syncs: 10},
		{Gap: 6, Changes: 1, Lost: 4, LostWorst: 4, Acked: 200, Messages: 2000, Bytes: 10_000, Syncs: 1},
	})
	for what, pair := range map[string][2]Stat{
		"gap":       {c.Gap, Stat{9, 5}},
		"changes":   {c.Changes, Stat{2, 1}},
		"lost":      {c.Lost, Stat{7, 3}},
		"worst":     {c.LostWorst, Stat{9, 3}},
		"acked":     {c.Acked, Stat{0, 50}},
		"messages":  {c.Messages, Stat{14_000, 13_000}},
		"bytes":     {c.Bytes, Stat{500_000, 400_000}},
		"fsyncs":    {c.Syncs, Stat{4000, 2500}},
		"divergent": {c.Divergent, Stat{}},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %v, want %v", what, pair[0], pair[1])
		}
	}
	if c.Runs != 4 || c.WithoutAcknowledging != 1 {
		t.Errorf("%d runs, %d without an acknowledgement", c.Runs, c.WithoutAcknowledging)
	}
}

func TestNumbersAreShort(t *testing.T) {
	const s = uint64(id.Second)
	for ns, want := range map[uint64]string{0: "0.0s", s / 4: "0.3s", s*994/100 + 1: "9.9s", s * 996 / 100: "10s", s * 127: "127s", s * 999: "999s", s * 1200: "20m", s * 3600: "60m"} {
		if got := span(ns); got != want || utf8.RuneCountInString(got) > 4 {
			t.Errorf("span(%d) = %q, want %q", ns, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0", 99_999: "99999", 100_000: "100k", 12_345_678: "12M", 1 << 60: "many"} {
		if got := number(n); got != want {
			t.Errorf("number(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0.0", 13_449: "13.4", 13_450: "13.5", 99_960: "100.0", 470_499: "470", 470_500: "471"} {
		if got := thousandths(n); got != want {
			t.Errorf("thousandths(%d) = %q, want %q", n, got, want)
		}
	}
}

// alone is a protocol of nodes that answer everything by themselves.
type alone struct {
	log *lab.Log
}

func (a *alone) Deadline() id.Time      { return id.Never }
func (a *alone) View() lab.View         { return lab.View{Role: "alone", Log: a.log} }
func (a *alone) Details() []trace.Field { return nil }
func (a *alone) Step(t *lab.Turn, e lab.Event) {
	if e, ok := e.(lab.Asked); ok {
		if e.Request.Verb == "write" {
			a.log.Decide(a.log.Append(lab.Entry{Op: e.Request.Op}))
			t.Accept(e.Request)
		} else {
			t.Serve(e.Request, a.log.Decided())
		}
	}
}

func theAlone() lab.Protocol {
	return lab.Protocol{Name: "alone", Title: "Alone", Slowest: id.Second, Leaderless: true, AnyServer: true, Ranks: []lab.Node{3, 0, 0, 2, 1},
		New: func(lab.Config) lab.Machine { return &alone{lab.NewLog()} }}
}

func TestRunFillsTheTable(t *testing.T) {
	var told []string
	scripts := []string{"f1", "f4f", "f6", "f12b", "f99"}
	run := func() Table {
		told = nil
		return Run([]lab.Protocol{theAlone()}, scripts, 2, func(done, total int, protocol, script string) {
			told = append(told, fmt.Sprintf("%d/%d %s %s", done, total, protocol, script))
		})
	}
	table := run()
	if want := "1/10 alone f1,2/10 alone f1,3/10 alone f4f,4/10 alone f4f,6/10 alone f6,8/10 alone f12b,10/10 alone f99"; strings.Join(told, ",") != want {
		t.Errorf("progress %v, want %s", told, want)
	}
	cells := table.Rows[0].Cells
	if c := cells[0]; c.Runs != 2 || c.Outcome() != Lost || c.Acked.Worst == 0 || c.Messages.Worst != 0 {
		t.Errorf("f1: %+v is %s", c, c.Outcome().Word())
	}
	// r2 and r3 are nobody, so F4f has no follower to pause and F12b no survivors.
	for i, want := range []Outcome{Lost, cells[1].Outcome(), None, None, Broken} {
		if cells[i].Outcome() != want {
			t.Errorf("%s is %s: %q %q", scripts[i], cells[i].Outcome().Word(), cells[i].NotApplicable, cells[i].Failed)
		}
	}
	if again := run(); string(again.JSON()) != string(table.JSON()) {
		t.Error("the same matrix twice differs")
	}
}

func TestJSONCanBeReadBack(t *testing.T) {
	var back tableJSON
	if err := json.Unmarshal(small().JSON(), &back); err != nil {
		t.Fatal(err)
	}
	bad := back.Protocols[1].Cells
	if bad[0].Figures.Lost.Worst != 587 || bad[0].Figures.SameEpoch != nil || bad[2].Figures != nil || bad[2].Outcome != "failed" {
		t.Errorf("%+v", bad)
	}
	if nobody := back.Protocols[2].Cells; nobody[0].Figures.Changes != nil || nobody[3].Figures.Messages != nil {
		t.Errorf("%+v", nobody)
	}
}
