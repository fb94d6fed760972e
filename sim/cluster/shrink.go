package cluster

import (
	"strconv"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/sim"
)

// Shrink makes a failing run smaller as long as it still fails: it cuts the tail
// at the violation, drops faults (halves first, then one by one), clients,
// nodes nobody needs, and rounds what is left. It tries at most limit runs and
// returns the smallest failing one, and how many it tried.
//
// Any violation counts, not only the same one: a smaller way to break something
// is the better report.
func Shrink(failing Result, o Options, limit int) (Result, int) {
	s := &shrinking{best: failing, options: o, limit: limit}
	for progress := true; progress && s.tries < s.limit; {
		before := s.best.Recipe.String()
		s.cutTail()
		s.dropFaults()
		s.fewerClients()
		s.fewerNodes()
		s.round()
		progress = s.best.Recipe.String() != before
	}
	return s.best, s.tries
}

type shrinking struct {
	best    Result
	options Options
	tries   int
	limit   int
}

// try runs a candidate and keeps it if it fails too.
func (s *shrinking) try(r sim.Recipe) bool {
	if s.tries == s.limit {
		return false
	}
	if checked, err := sim.Parse(r.String()); err != nil {
		return false // it would not parse: a fault on a node that is gone, say
	} else {
		r = checked
	}
	s.tries++
	o := s.options
	o.Recipe, o.Trace = &r, nil
	got := Run(o)
	if got.Violation == nil || got.Hash == 0 {
		return false
	}
	s.best = got
	return true
}

// cutTail ends the phase with faults where the violation came, or earlier.
func (s *shrinking) cutTail() {
	for {
		r := s.best.Recipe
		end := id.Duration(s.best.At)/id.Millisecond*id.Millisecond + id.Millisecond
		if end >= r.Length {
			end = r.Length / 2 / id.Millisecond * id.Millisecond
		}
		if end <= 0 {
			return
		}
		var kept []sim.Fault
		for _, f := range r.Faults {
			if f.At <= id.Time(end) {
				kept = append(kept, f)
			}
		}
		r.Length, r.Faults = end, kept
		if !s.try(r) {
			return
		}
	}
}

// dropFaults takes away runs of faults, ever shorter ones.
func (s *shrinking) dropFaults() {
	for size := max(1, len(s.best.Recipe.Faults)/2); size > 0; size /= 2 {
		for at := 0; at < len(s.best.Recipe.Faults); {
			r := s.best.Recipe
			end := min(at+size, len(r.Faults))
			r.Faults = append(append([]sim.Fault(nil), r.Faults[:at]...), r.Faults[end:]...)
			if !s.try(r) {
				at += size
			}
		}
	}
}

// fewerClients halves the clients, then takes one away at a time.
func (s *shrinking) fewerClients() {
	for {
		n, ok := setting(s.best.Recipe.Workload, "clients")
		if !ok || n == 0 {
			return
		}
		if !s.try(withClients(s.best.Recipe, n/2)) && !s.try(withClients(s.best.Recipe, n-1)) {
			return
		}
	}
}

func setting(list []sim.Arg, name string) (int, bool) {
	for _, a := range list {
		if a.Name == name {
			n, err := strconv.Atoi(a.Value)
			return n, err == nil
		}
	}
	return 0, false
}

func withClients(r sim.Recipe, n int) sim.Recipe {
	r.Workload = append([]sim.Arg(nil), r.Workload...)
	for i := range r.Workload {
		if r.Workload[i].Name == "clients" {
			r.Workload[i].Value = strconv.Itoa(n)
		}
	}
	return r
}

// fewerNodes takes away the last spare, learner and voter that no fault names.
func (s *shrinking) fewerNodes() {
	last := func(list *[]uint64, least int) bool {
		if len(*list) <= least {
			return false
		}
		*list = (*list)[:len(*list)-1]
		return true
	}
	for {
		a, b, c := s.best.Recipe, s.best.Recipe, s.best.Recipe
		if !(last(&a.Spares, 0) && s.try(a)) && !(last(&b.Learners, 0) && s.try(b)) && !(last(&c.Voters, 1) && s.try(c)) {
			return
		}
	}
}

// round makes times and spans easier to read, one fault after the other.
func (s *shrinking) round() {
	for _, unit := range []id.Duration{id.Second, 100 * id.Millisecond, 10 * id.Millisecond} {
		for i := range s.best.Recipe.Faults {
			r := s.best.Recipe
			r.Faults = append([]sim.Fault(nil), r.Faults...)
			f := &r.Faults[i]
			at := f.At / id.Time(unit) * id.Time(unit)
			span := f.For
			if span >= unit {
				span = span / unit * unit
			}
			if at != f.At || span != f.For {
				f.At, f.For = at, span
				s.try(r)
			}
		}
	}
}
