package enumerate

import (
	"errors"
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
)

// Options bound the search. The zero value is the smallest: nothing fails.
type Options struct {
	Crashes    int // of any member, in all
	Elections  int // how often a member stands, in all; the first leader's aside
	Retries    int // how often the client asks again after the first leader failed; at most 1
	Heartbeats int // of a leader's clock, in all; those that carry news of a commit are free
	Duplicates int // messages that arrive twice, in all

	PreVoteSteps       bool        // deliver the pre-vote message by message instead of in one step
	OneEntryPerMessage bool        // an append carries one entry
	Candidates         []int       // who stands at the first, second, … election (1 to 3); empty: anybody
	Situations         []Situation // follow the first leader's failure in these only; empty: in all
	NoSymmetry         bool        // visit states apart that differ only by the names of the two followers

	Break  []faults.Switch // rules of raft to break
	Ignore []Rule          // checks to leave out: to see a later consequence of a breakage

	StatesMax int                 // stop there, with Report.Complete false. 0: 20,000,000, some 3 GB
	Progress  func(Progress) bool `json:"-"` // called every 10,000 states; false stops the search. May be nil
}

// Progress is how far a search is.
type Progress struct {
	States, Waiting, Depth int
}

const (
	statesMax     = 20_000_000
	progressEvery = 10_000
	firstTerm     = 1 // the first leader's
)

// Small is what a test runs in some seconds: a million states.
func Small() Options { return Options{Crashes: 1, Elections: 1} }

// Large is for a person who waits a minute: six million.
func Large() Options { return Options{Crashes: 2, Elections: 1} }

func (o *Options) validate() error {
	for _, b := range []struct {
		name      string
		value, to int
	}{
		{"Crashes", o.Crashes, 6}, {"Elections", o.Elections, 6}, {"Retries", o.Retries, 1},
		{"Heartbeats", o.Heartbeats, 6}, {"Duplicates", o.Duplicates, 6}, {"StatesMax", o.StatesMax, 1 << 31},
	} {
		if b.value < 0 || b.value > b.to {
			return fmt.Errorf("enumerate: %s is %d; give 0 to %d", b.name, b.value, b.to)
		}
	}
	for _, c := range o.Candidates {
		if c < 1 || c > members {
			return fmt.Errorf("enumerate: candidate %d; the members are 1 to %d", c, members)
		}
	}
	for _, s := range o.Situations {
		if s < BeforeData || s >= situations {
			return fmt.Errorf("enumerate: situation %d; they are numbered %d to %d", s, BeforeData, situations-1)
		}
	}
	for _, r := range o.Ignore {
		if !slices.Contains(Rules, r) {
			return fmt.Errorf("enumerate: no rule is called %q", r)
		}
	}
	return nil
}

// search is one run.
type search struct {
	Options Options
	faults  *faults.Set
	group   membership.Config
	configs [members]raft.Config

	numbers numbers
	members map[uint32]*member
	packets map[uint32]*packet
	locals  map[input]*output

	seen    map[fingerprint]bool // true: the first leader's failure leads right there
	tree    []branch             // how each state was found, in order
	endings map[fingerprint]*ending
	effects *effects
	buffer  []byte // scratch
	other   []byte
	report  *Report

	backwards bool // a test's: take steps in the opposite order
}

// branch is one state in the tree of first visits.
type branch struct {
	parent uint32
	step   step
}

// visit is a state whose successors are still to be found.
type visit struct {
	at    uint32 // in tree
	state *state
}

// Run visits every state within the bounds, breadth first, so that the first
// broken rule has a shortest story. It stops there: see Report.Violation. The
// error is one of the Options.
func Run(o Options) (Report, error) {
	if err := o.validate(); err != nil {
		return Report{}, err
	}
	g, err := newSearch(o)
	if err != nil {
		return Report{}, err
	}
	return g.run()
}

func (g *search) run() (Report, error) {
	s, err := g.start()
	var f *failure
	if errors.As(err, &f) { // a broken rule may not even let a first leader win
		g.report.Stopped = "a rule is broken at the start"
		g.report.Violation = &Violation{Rule: f.rule, What: f.what}
		return *g.report, nil
	}
	if err != nil {
		return Report{}, err
	}
	if err := g.explore(s); err != nil {
		return Report{}, err
	}
	g.report.Recoveries = len(lineups) * len(g.endings)
	g.report.judge()
	return *g.report, nil
}

func newSearch(o Options) (*search, error) {
	if o.StatesMax == 0 {
		o.StatesMax = statesMax
	}
	g := &search{
		Options: o, report: &Report{Options: o}, seen: map[fingerprint]bool{}, endings: map[fingerprint]*ending{},
		numbers: numbers{}, members: map[uint32]*member{}, packets: map[uint32]*packet{}, locals: map[input]*output{},
	}
	var err error
	if len(o.Break) > 0 {
		if g.faults, err = faults.New(o.Break...); err != nil {
			return nil, fmt.Errorf("enumerate: %w", err)
		}
	}
	if g.effects, err = newEffects(); err != nil {
		return nil, err
	}
	if g.group, err = group(); err != nil {
		return nil, err
	}
	for i := range g.configs {
		g.configs[i] = g.config(i)
	}
	return g, nil
}

// start is where every run begins: n1 leads term 1, everybody has and knows its
// first entry, nothing is in flight.
func (g *search) start() (*state, error) {
	s := &state{past: history{leaders: []int8{-1, 0}}}
	for i := range members {
		s.members[i] = g.one(&member{self: i})
		if err := g.happen(s, i, restart, 0, nil); err != nil {
			return nil, err
		}
	}
	if err := g.settle(s, lineups[0]); err != nil {
		return nil, err
	}
	if m := s.members[0]; m.role != raft.Leader || m.term != firstTerm {
		return nil, errors.New("enumerate: n1 does not lead at the start")
	}
	for i := range members {
		if err := g.check(s, i); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (g *search) explore(from *state) error {
	g.seen[g.print(from, g.symmetric(), true)] = false
	g.tree = append(g.tree, branch{})
	level := []visit{{0, from}}
	var steps []step
	for depth := 0; len(level) > 0; depth++ {
		g.report.Depth = depth
		var deeper []visit
		for _, v := range level {
			steps = g.steps(v.state, steps[:0])
			for _, a := range steps {
				next, isNew, err := g.arrive(v, a)
				if err != nil {
					return g.violated(v.at, a, err)
				}
				if !isNew {
					continue
				}
				deeper = append(deeper, next)
				if why := g.enough(len(level)+len(deeper), depth); why != "" {
					g.report.States, g.report.Stopped = len(g.tree), why
					return nil
				}
			}
		}
		level = deeper
	}
	g.report.States = len(g.tree)
	g.report.Complete = true
	return nil
}

// arrive takes a step from v and puts down where it leads.
func (g *search) arrive(v visit, a step) (visit, bool, error) {
	next, err := g.take(v.state, a)
	if next == nil && err == nil {
		return visit{}, false, nil
	}
	g.report.Transitions++
	if err != nil {
		return visit{}, false, err
	}
	only, failed := g.Options.Situations, next.past.situation
	if len(only) > 0 && failed != Unfailed && !slices.Contains(only, failed) {
		return visit{}, false, nil
	}
	p := g.print(next, g.symmetric(), true)
	failure := v.state.past.situation == Unfailed && failed != Unfailed
	counted, old := g.seen[p]
	if old && (!failure || counted) {
		return visit{}, false, nil
	}
	g.seen[p] = failure
	if err := g.record(next, !old, failure); err != nil || old {
		return visit{}, false, err
	}
	g.tree = append(g.tree, branch{v.at, a})
	return visit{uint32(len(g.tree) - 1), next}, true, nil
}

// enough tells why the search ends early; empty: it goes on.
func (g *search) enough(waiting, depth int) string {
	if len(g.tree)%progressEvery == 0 && g.Options.Progress != nil && !g.Options.Progress(Progress{len(g.tree), waiting, depth}) {
		return "it was told to stop"
	}
	if len(g.tree) >= g.Options.StatesMax {
		return count(g.Options.StatesMax) + " states were the limit"
	}
	return ""
}

// symmetric: the followers may be swapped where nothing tells them apart. Some
// broken rules do.
func (g *search) symmetric() bool {
	return !g.Options.NoSymmetry && len(g.Options.Candidates) == 0 && len(g.Options.Break) == 0
}

// record puts a state into the table: a new one, or one that a failure leads to.
func (g *search) record(s *state, isNew, failure bool) error {
	if s.past.situation == Unfailed {
		g.report.Unfailed++
		return nil
	}
	e, err := g.end(s)
	if err != nil || e.err != nil {
		return err
	}
	w := g.report.row(&s.past)
	if isNew {
		w.All.add(s, e, g.effects)
	}
	if failure {
		w.Failures.add(s, e, g.effects)
	}
	return nil
}

// violated ends the search with the story of a broken rule.
func (g *search) violated(at uint32, last step, err error) error {
	var f *failure
	if !errors.As(err, &f) {
		return err
	}
	var steps []step
	for ; at != 0; at = g.tree[at].parent {
		steps = append(steps, g.tree[at].step)
	}
	slices.Reverse(steps)
	g.report.States = len(g.tree)
	g.report.Stopped = "a rule is broken"
	story, err := g.story(append(steps, last))
	g.report.Violation = &Violation{Rule: f.rule, What: f.what, Steps: story}
	return err
}
