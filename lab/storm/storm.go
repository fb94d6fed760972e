// Package storm draws recipes full of faults: what a protocol that promises to lose
// nothing is tested with, many seeds at a time.
//
//	crashes, with and without power, also between a write and its fsync, and several
//	in a row · power cuts of all · isolation, splits, one-way cuts · pauses ·
//	messages lost, doubled, overtaken, and brought again much later
//
// Half of them meet a moment that matters: a first acknowledgement, a write that one
// or two nodes hold or have decided, a leader that begins. The last third of a run is
// calm, so that it ends with a leader if the protocol can find one.
package storm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quorate/quorate/sim"
)

// Options is what a protocol can bear.
type Options struct {
	Seconds int    // of a run
	Config  string // lines of the recipe: the protocol's timings, made short
	Kills   bool   // nobody loses power: the protocol promises nothing then
}

// storm is one recipe being drawn.
type storm struct {
	Options
	dice  *sim.Random
	nodes []string
	lines []string
}

// Recipe draws the text of a recipe from a seed.
func Recipe(seed uint64, o Options) string {
	d := sim.Stream(seed, "storm")
	s := storm{Options: o, dice: d}
	for n := range []int{3, 3, 5, 5, 7, 9}[d.Below(6)] {
		s.nodes = append(s.nodes, fmt.Sprintf("n%d", n+1))
	}
	s.add("quorate recipe 2\nseed %d\nlength %ds\nvoters %s", seed, o.Seconds, strings.Join(s.nodes, ","))
	s.add("workload every %dms\nworkload clients 3\nworkload retry %d", d.Between(60, 250), d.Below(2))
	if o.Config != "" {
		s.add("%s", o.Config)
	}
	for range d.Between(4, 12) {
		s.fault()
	}
	return strings.Join(s.lines, "\n") + "\n"
}

func (s *storm) add(format string, values ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, values...))
}

func (s *storm) node() string { return s.nodes[s.dice.Below(len(s.nodes))] }

// loss is what a crash takes.
func (s *storm) loss() string {
	if s.Kills {
		return "none"
	}
	return []string{"none", "all", "prefix", "random", "torn"}[s.dice.Below(5)]
}

// fault draws one, or a few that belong together. Those that wait for a moment begin
// in the first third, for the moment may be long in coming.
func (s *storm) fault() {
	d := s.dice
	third := s.Seconds * 1000 / 3
	at, soon := d.Between(third/10, 2*third), d.Between(third/10, third)
	span := []int{d.Between(1, 50), d.Between(50, 1000), d.Between(500, third)}[d.Below(3)]
	span = min(span, 2*third+third/10-at)
	node, loss := s.node(), s.loss()
	moment := []string{"ack", "held1", "held2", "decided1", "decided2", "lead"}[d.Below(6)]
	switch d.Below(12) {
	case 0:
		s.add("fault %dms %dms crash %s lose=%s", at, span, node, loss)
	case 1:
		s.add("fault %dms@%s %dms crash leader lose=%s", soon, moment, min(span, third/2), loss)
	case 2:
		s.add("fault %dms@%s %dms power * lose=%s", soon, moment, min(span, third/2), loss)
	case 3: // a kill between a write and its fsync, perhaps, and then the power
		for range 2 {
			n, gap := s.node(), d.Between(0, 3)
			s.add("fault %dms 1ms crash %s lose=none", at, n)
			s.add("fault %dms %dms crash %s lose=%s", at+2+gap, span, n, loss)
		}
	case 4: // restarts in a row
		for i := range 4 {
			s.add("fault %dms 5ms crash %s lose=%s", at+40*i, node, loss)
		}
	case 5:
		s.add("fault %dms %dms isolate %s", at, span, node)
	case 6:
		s.add("fault %dms@%s %dms isolate leader", soon, moment, min(span, third/2))
	case 7:
		s.add("fault %dms@%s %dms pause leader", soon, moment, min(span, third/2))
	case 8:
		nodes := slices.Clone(s.nodes)
		for i := range nodes {
			j := d.Between(i, len(nodes)-1)
			nodes[i], nodes[j] = nodes[j], nodes[i]
		}
		cut := d.Between(1, len(nodes)-1)
		s.add("fault %dms %dms split %s/%s", at, span, strings.Join(nodes[:cut], ","), strings.Join(nodes[cut:], ","))
	case 9:
		s.add("fault %dms %dms drop *>* rate=%d", at, span, d.Between(1, 300))
		s.add("fault %dms %dms duplicate *>* rate=%d", at, span, d.Between(1, 500))
	case 10:
		s.add("fault %dms %dms replay *>* rate=%d within=%dms", at, span, d.Between(1, 300), d.Between(1, 2*third))
		s.add("fault %dms %dms reorder *>* rate=%d by=%dms", at, span, d.Between(1, 500), d.Between(1, 300))
	case 11:
		if to := s.node(); to != node {
			s.add("fault %dms %dms cut %s>%s", at, span, node, to)
		}
	}
}
