package cluster

import (
	"fmt"
	"sort"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
)

// Required are the marks that 200 seeds must reach: a batch that misses one shows
// less than it claims.
var Required = []string{"crash", "partition", "snapshot install", "membership change", "unsynced loss"}

// Summary is what a batch of seeds came to. The caller measures its CPU time.
type Summary struct {
	Seeds      int
	Operations int // of all seeds together, as everything here
	Answered   int
	Faults     int
	Events     uint64
	Simulated  id.Duration
	Marks      map[string]int // how many seeds reached each
	Failed     []Result       // in order of seeds
}

// Batch runs seeds first, first+1, … and calls each, unless nil, after every one.
// It goes on behind a failing seed, up to failuresMax of them.
func Batch(first uint64, count int, o Options, each func(Result)) Summary {
	const failuresMax = 10
	s := Summary{Marks: map[string]int{}}
	for i := 0; i < count && len(s.Failed) < failuresMax; i++ {
		o.Seed = first + uint64(i)
		r := Run(o)
		s.Seeds++
		s.Operations += r.Operations
		s.Answered += r.Answered
		s.Faults += r.Faults
		s.Events += r.Events
		s.Simulated += r.Simulated
		for _, m := range r.Marks {
			s.Marks[m]++
		}
		if r.Violation != nil {
			s.Failed = append(s.Failed, r)
		}
		if each != nil {
			each(r)
		}
	}
	return s
}

// Missing lists the required marks that no seed reached.
func (s Summary) Missing() []string {
	var missing []string
	for _, m := range Required {
		if s.Marks[m] == 0 {
			missing = append(missing, m)
		}
	}
	return missing
}

// MarkNames lists every mark that was reached, sorted.
func (s Summary) MarkNames() []string {
	var names []string
	for m := range s.Marks {
		names = append(names, m)
	}
	sort.Strings(names)
	return names
}

// Plant breaks one rule and runs seeds from 1 on until a run fails: how many seeds
// it took, and the failing run. An error says that the limit was reached: the
// oracles have a hole, or the switch is read nowhere.
func Plant(s faults.Switch, limit int) (seeds int, found Result, err error) {
	set, err := faults.New(s)
	if err != nil {
		return 0, Result{}, err
	}
	for seed := 1; seed <= limit; seed++ {
		if r := Run(Options{Seed: uint64(seed), Faults: set}); r.Violation != nil {
			return seed, r, nil
		}
	}
	return limit, Result{}, fmt.Errorf("%s: not found by %d seeds", s, limit)
}
