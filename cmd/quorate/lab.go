package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/family"
	"github.com/quorate/quorate/lab/recipes"
	"github.com/quorate/quorate/lab/story"
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
)

const labLong = `The lab runs protocols that elect a leader under the same faults and tells what
happened: who led, what was acknowledged, what was lost, and which rule decided.

New to leader election? Three short stories, each with what goes wrong without it:

  quorate lab run majority      why a leader needs more than half of the nodes
  quorate lab run term          why every leadership has a number
  quorate lab run log-check     why a voter compares logs before it votes

Add --control to see the same story with that rule taken away. Then:

  quorate lab list                     all stories, fault scripts and protocols
  quorate lab run f2 --protocol zab    one fault script with one protocol
  quorate lab compare f2 raft zab      where two protocols part, and how they end
  quorate lab matrix                   every protocol under every fault script
  quorate lab situations               every way in which a leader of three can fail`

func newLab() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Run the election family under the same faults, and see why",
		Long:  labLong,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q of lab; run 'quorate lab --help' for the list", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLabRun(), newLabList(), newLabCompare(), newLabMatrix(), newLabSituations())
	return cmd
}

// labOptions are the flags of lab run.
type labOptions struct {
	protocol string
	seed     uint64
	seeded   bool
	control  bool
	language string
	trace    string
	json     bool
	print    bool
}

func newLabRun() *cobra.Command {
	o := labOptions{}
	cmd := &cobra.Command{
		Use:   "run RECIPE",
		Short: "Tell one story",
		Long: `run runs a recipe and tells its story. RECIPE is a name from 'quorate lab list' or a
file (docs/format/recipe.md). The exit code is 1 if something else than the recipe
expects came out.`,
		Args: exactly("RECIPE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.seeded = cmd.Flags().Changed("seed")
			return labRun(cmd.OutOrStdout(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.protocol, "protocol", "", "run it with this protocol instead of the recipe's own")
	f.Uint64Var(&o.seed, "seed", 0, "instead of the recipe's")
	f.BoolVar(&o.control, "control", false, "break the rule that the recipe names, and see what then goes wrong")
	f.StringVar(&o.language, "language", "en", "of the recipe's texts: en or zh")
	f.StringVar(&o.trace, "trace", "", "write every event to this file")
	f.BoolVar(&o.json, "json", false, "print the result as JSON instead of the story")
	f.BoolVar(&o.print, "print", false, "print the recipe as it would run, without running it")
	return cmd
}

// loadRecipe finds a recipe by name or file and resolves it.
func loadRecipe(name, protocol string) (string, sim.Recipe, lab.Protocol, error) {
	fail := func(err error) (string, sim.Recipe, lab.Protocol, error) {
		return "", sim.Recipe{}, lab.Protocol{}, usagef("%s: %v", name, err)
	}
	text, ok := recipes.Text(name)
	if !ok {
		if _, err := os.Stat(name); err != nil && !strings.ContainsAny(name, "/.") {
			return "", sim.Recipe{}, lab.Protocol{}, usagef("unknown recipe %q, and no file of that name; 'quorate lab list' has the names%s", name, similar(name))
		}
		b, err := readRecipeFile(name)
		if err != nil {
			return "", sim.Recipe{}, lab.Protocol{}, err
		}
		text = b
	}
	r, p, err := family.Resolve(text, protocol)
	if err != nil {
		return fail(err)
	}
	if _, err := lab.Expectations(r); err != nil {
		return fail(err)
	}
	if _, err := lab.Controls(r); err != nil {
		return fail(err)
	}
	return text, r, p, nil
}

// similar names recipes that a mistyped name may mean.
func similar(name string) string {
	var list []string
	for _, n := range recipes.Names() {
		if len(name) > 2 && (strings.Contains(n, name) || strings.HasPrefix(n, name[:3])) {
			list = append(list, n)
		}
	}
	if len(list) == 0 || len(list) > 5 {
		return ""
	}
	return "; did you mean " + strings.Join(list, " or ") + "?"
}

// labRun runs one recipe and prints its story, or its result as JSON.
func labRun(out io.Writer, name string, o labOptions) (err error) {
	if o.language != "en" && o.language != "zh" {
		return usagef("--language %q: the stories are told in en and zh", o.language)
	}
	_, r, p, err := loadRecipe(name, o.protocol)
	if err != nil {
		return err
	}
	if o.seeded {
		r.Seed = o.seed
	}
	expected, err := lab.Expectations(r)
	if err != nil {
		return err
	}
	if o.control {
		broken, ok := lab.Controlled(r)
		if !ok {
			return usagef("%s has no control: it names no rule to break", name)
		}
		if expected, err = lab.Controls(r); err != nil {
			return err
		}
		r = broken
		if o.print { // what the control expects is what this recipe expects
			r.Expect, r.Then = r.Then, nil
		}
	}
	if o.print {
		_, err := io.WriteString(out, r.String())
		return err
	}
	teller := story.New(r, p, o.language)
	record, finish, err := traceFile(o.trace, r, teller.Record)
	if err != nil {
		return err
	}
	result, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Record: record})
	if e := finish(); err == nil {
		err = e
	}
	if err != nil {
		return usagef("%s: %v", name, err)
	}
	if o.json {
		return printResult(out, p, result, expected)
	}
	fmt.Fprint(out, teller.Text(result))
	fmt.Fprint(out, story.Expected(expected, result))
	if !o.control && len(r.Break) > 0 {
		fmt.Fprintf(out, "\nAnd without the rule? quorate lab run %s --control breaks %s.\n", name, switches(r))
	}
	return lab.Met(expected, result)
}

func switches(r sim.Recipe) string {
	var names []string
	for _, s := range r.Break {
		names = append(names, string(s))
	}
	return strings.Join(names, " and ")
}

// traceFile returns a recorder that also writes to a file, unless its name is
// empty.
func traceFile(name string, r sim.Recipe, also func(trace.Event)) (func(trace.Event), func() error, error) {
	if name == "" {
		return also, func() error { return nil }, nil
	}
	file, err := os.Create(name)
	if err != nil {
		return nil, nil, fmt.Errorf("--trace: %w", err)
	}
	buffered := bufio.NewWriterSize(file, 1<<20)
	w, err := trace.NewWriter(buffered, trace.Header{Build: ourVersion(), Seed: r.Seed, Configuration: r.String()})
	var first error
	if err != nil {
		first = err
	}
	record := func(e trace.Event) {
		if first == nil {
			first = w.Write(e)
		}
		also(e)
	}
	return record, func() error {
		for _, step := range []func() error{w.Flush, buffered.Flush, file.Close} {
			if e := step(); first == nil {
				first = e
			}
		}
		if first != nil {
			return fmt.Errorf("--trace: %w", first)
		}
		return nil
	}, nil
}

// labResult is what --json prints. Spans are nanoseconds.
type labResult struct {
	Recipe    string           `json:"recipe"`
	Protocol  string           `json:"protocol"`
	Seed      uint64           `json:"seed"`
	Hash      string           `json:"hash"`
	Simulated id.Duration      `json:"simulated_ns"`
	Leader    uint64           `json:"leader"` // 0: nobody
	Measures  map[string]int64 `json:"measures"`
	Verdicts  []story.Verdict  `json:"verdicts"`
	Acts      []lab.ActResult  `json:"acts,omitempty"`
	Expected  []labExpected    `json:"expected,omitempty"`
}

type labExpected struct {
	Text  string `json:"text"`
	Found string `json:"found"`
	Met   bool   `json:"met"`
}

func printResult(out io.Writer, p lab.Protocol, r lab.Result, expected []lab.Expectation) error {
	x := labResult{
		Recipe: r.Recipe.Tell("title", "en"), Protocol: p.Name, Seed: r.Recipe.Seed, Hash: fmt.Sprintf("%016x", r.Hash),
		Simulated: r.Simulated, Leader: r.Leader, Measures: map[string]int64{}, Verdicts: story.Verdicts(p, r), Acts: r.Acts,
	}
	for _, f := range r.Measures.Fields() {
		x.Measures[f.Name] = int64(f.Number)
	}
	for _, e := range expected {
		if e.For(p.Name) {
			x.Expected = append(x.Expected, labExpected{e.Text, e.Found(r), e.Met(r)})
		}
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(x); err != nil {
		return err
	}
	return lab.Met(expected, r)
}

func newLabList() *cobra.Command {
	var language string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "The stories, the fault scripts and the protocols",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return labList(cmd.OutOrStdout(), language)
		},
	}
	cmd.Flags().StringVar(&language, "language", "en", "of the titles: en or zh")
	return cmd
}

func labList(out io.Writer, language string) error {
	if language != "en" && language != "zh" {
		return usagef("--language %q: the titles are there in en and zh", language)
	}
	groups, err := labGroups(language)
	if err != nil {
		return err
	}
	for _, g := range groups {
		fmt.Fprintf(out, "%s\n", g.head)
		for _, l := range g.lines {
			fmt.Fprintln(out, l)
		}
		fmt.Fprintln(out)
	}
	fmt.Fprint(out, "Protocols, for --protocol and compare\n")
	for _, p := range family.All() {
		title := p.Title
		if language == "zh" && p.Chinese != "" {
			title = p.Chinese
		}
		fmt.Fprintf(out, "  %-28s %s\n", p.Name, title)
	}
	return nil
}

// labGroup is one part of the list of recipes.
type labGroup struct {
	head  string
	lines []string
}

// firstStories are where a newcomer begins.
var firstStories = []string{"majority", "term", "log-check"}

// labGroups sorts the recipes: where to begin, the scripts for all protocols, the
// situations, and the other stories by the protocol they are about.
func labGroups(language string) ([]labGroup, error) {
	groups := []labGroup{
		{head: "Begin here: quorate lab run NAME, and again with --control"},
		{head: "Fault scripts, for every protocol: quorate lab run NAME --protocol PROTOCOL"},
		{head: "The situations in which a leader can fail: quorate lab run NAME"},
	}
	of := map[string]int{} // the group of a protocol's stories
	for _, p := range family.All() {
		base, _, _ := strings.Cut(p.Name, "/")
		if _, ok := of[base]; !ok {
			of[base] = len(groups)
			groups = append(groups, labGroup{head: "Stories of " + base})
		}
	}
	for _, name := range slices.Concat(firstStories, recipes.Scripts(), recipes.Names()) {
		r, p, err := family.Load(name, "")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		base, preset, _ := strings.Cut(p.Name, "/")
		at := of[base]
		switch {
		case slices.Contains(firstStories, name):
			at = 0
		case slices.Contains(recipes.Scripts(), name):
			at, preset = 1, ""
		case strings.HasPrefix(name, "situation-"):
			at = 2
		}
		line := fmt.Sprintf("  %-34s %s", name, r.Tell("title", language))
		if preset != "" {
			line += "  (" + preset + ")"
		}
		if !slices.Contains(groups[at].lines, line) {
			groups[at].lines = append(groups[at].lines, line)
		}
	}
	return slices.DeleteFunc(groups, func(g labGroup) bool { return g.lines == nil }), nil
}

func newLabCompare() *cobra.Command {
	var seed uint64
	cmd := &cobra.Command{
		Use:   "compare RECIPE PROTOCOL PROTOCOL",
		Short: "Run one recipe with two protocols and show where they part",
		Args:  exactly("RECIPE", "PROTOCOL", "PROTOCOL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var sides [2]story.Side
			for i, protocol := range args[1:] {
				_, r, p, err := loadRecipe(args[0], protocol)
				if err != nil {
					return err
				}
				if cmd.Flags().Changed("seed") {
					r.Seed = seed
				}
				w := story.NewWatch(r)
				result, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Record: w.Record})
				if err != nil {
					return usagef("%s: %v", args[0], err)
				}
				sides[i] = story.Side{Protocol: p, Watch: w, Result: result}
			}
			_, err := io.WriteString(cmd.OutOrStdout(), story.Compare(sides[0], sides[1]))
			return err
		},
	}
	cmd.Flags().Uint64Var(&seed, "seed", 0, "instead of the recipe's")
	return cmd
}
