package cluster

import (
	"fmt"
	"sort"
	"strconv"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/sim"
)

// Draw is the recipe of a seed. Everything is drawn anew for each: sizes, limits,
// timeouts, the workload and which families of faults are on (swarm testing,
// Groce et al. 2012: a run with few kinds of faults reaches states that a run
// with all of them never does).
func Draw(seed uint64, wide bool) sim.Recipe {
	d := drawing{dice: sim.Stream(seed, "recipe"), recipe: sim.Recipe{Seed: seed, Length: 20 * id.Second}}
	d.nodes(wide)
	d.config()
	d.workload()
	d.faults()
	return d.recipe
}

type drawing struct {
	dice   *sim.Random
	recipe sim.Recipe
	voters int
}

func (d *drawing) nodes(wide bool) {
	r := &d.recipe
	d.voters = d.dice.Between(3, 5)
	if wide {
		d.voters = d.dice.Between(1, 7)
	}
	next := uint64(1)
	take := func(count int) (list []uint64) {
		for range count {
			list = append(list, next)
			next++
		}
		return list
	}
	r.Voters = take(d.voters)
	r.Learners = take(d.dice.Below(2))
	r.Spares = take(min(d.pick(0, 1, 1, 2), 9-int(next)+1))
}

// pick draws one of the given numbers.
func (d *drawing) pick(list ...int) int { return list[d.dice.Below(len(list))] }

func (d *drawing) set(name string, n int) {
	d.recipe.Config = append(d.recipe.Config, sim.Arg{Name: name, Value: strconv.Itoa(n)})
}

func (d *drawing) span(list *[]sim.Arg, name string, s id.Duration) {
	*list = append(*list, sim.Arg{Name: name, Value: sim.FormatDuration(s)})
}

func (d *drawing) config() {
	r := &d.recipe
	heartbeat := id.Duration(d.pick(20, 30, 30, 50)) * id.Millisecond
	least := heartbeat * id.Duration(d.pick(5, 5, 7))
	d.span(&r.Config, "heartbeat", heartbeat)
	d.span(&r.Config, "election-min", least)
	d.span(&r.Config, "election-max", least*2)
	d.span(&r.Config, "disk-stall", id.Duration(d.pick(800, 1000, 2000))*id.Millisecond)
	d.set("message-bytes", d.pick(200, 1000, 20_000, 1<<20))
	d.set("window-entries", d.pick(4, 64, 4096))
	d.set("window-messages", d.pick(1, 2, 4, 16))
	d.set("tail-bytes", d.pick(500, 5000, 100_000, 16<<20))
	d.set("retain-bytes", d.pick(1000, 5000, 50_000, 64<<20))
	d.set("snapshot-entries", d.pick(10, 40, 150, 100_000))
	d.set("segment-bytes", d.pick(8<<10, 16<<10, 64<<10))
	d.set("sector-bytes", d.pick(512, 4096))
	r.Config = append(r.Config, sim.Arg{Name: "machine", Value: []string{"map", "durable-map", "kv"}[d.dice.Below(3)]})
	if d.dice.Chance(250) {
		d.set("encode", 1)
	}
	d.set("reboot", d.dice.Below(2))
	d.span(&r.Config, "latency", id.Duration(d.pick(500, 2000, 5000))*id.Microsecond)
	d.span(&r.Config, "sync", id.Duration(d.pick(300, 2000, 8000))*id.Microsecond)
}

func (d *drawing) workload() {
	w := &d.recipe.Workload
	number := func(name string, n int) {
		*w = append(*w, sim.Arg{Name: name, Value: strconv.Itoa(n)})
	}
	clients := d.pick(3, 5, 8, 16)
	number("clients", clients)
	number("keys", d.pick(1, 3, 10))
	number("reads", d.pick(100, 300, 600))
	number("swaps", d.pick(0, 200))
	number("value-bytes", d.pick(8, 60, 400))
	number("forward", d.pick(0, 300, 1000))
	// 20 seconds give some 600 operations when all goes well, or three times as many.
	d.span(w, "think", id.Duration(clients*d.pick(10, 30, 30))*id.Millisecond)
	d.span(w, "deadline", id.Duration(d.pick(500, 1500))*id.Millisecond)
}

// family draws one fault of its kind.
type family struct {
	weight int
	draw   func(*drawing) sim.Fault
}

// families by what FAULTS.md calls them.
var families = []family{
	{3, (*drawing).drop}, {2, (*drawing).duplicate}, {2, (*drawing).replay}, {2, (*drawing).reorder},
	{2, (*drawing).delay}, {2, (*drawing).clog}, {4, (*drawing).cut}, {4, (*drawing).split},
	{3, (*drawing).bridge}, {2, (*drawing).flap}, {2, (*drawing).drift}, {1, (*drawing).freeze},
	{6, (*drawing).crash}, {3, (*drawing).pause}, {1, (*drawing).slow}, {2, (*drawing).power},
	{2, (*drawing).syncfail}, {1, (*drawing).nospace}, {2, (*drawing).stall}, {5, (*drawing).change}, {2, (*drawing).transfer},
}

// faults draws which families are on, then a timetable.
func (d *drawing) faults() {
	var on []family
	for _, f := range families {
		if d.dice.Chance(450) {
			on = append(on, f)
		}
	}
	if len(on) == 0 {
		on = families
	}
	sum := 0
	for _, f := range on {
		sum += f.weight
	}
	for range d.dice.Between(8, 30) {
		draw := d.dice.Below(sum)
		at := 0
		for draw >= on[at].weight {
			draw -= on[at].weight
			at++
		}
		fault := on[at].draw(d)
		fault.At = id.Time(d.dice.Below(int(d.recipe.Length/id.Millisecond))) * id.Time(id.Millisecond)
		d.recipe.Faults = append(d.recipe.Faults, fault)
		if fault.Kind == sim.FaultCrash && d.dice.Chance(350) {
			d.recipe.Faults = append(d.recipe.Faults, d.again(fault))
		}
		if fault.Kind == sim.FaultChange && d.dice.Chance(500) {
			d.recipe.Faults = append(d.recipe.Faults, d.meanwhile(fault))
		}
	}
	sort.SliceStable(d.recipe.Faults, func(i, j int) bool { return d.recipe.Faults[i].At < d.recipe.Faults[j].At })
}

// What the faults have in common: on whom, and for how long.

func (d *drawing) anybody() uint64 {
	all := d.recipe.Nodes()
	return all[d.dice.Below(len(all))]
}

func (d *drawing) anyVoter() uint64 { return uint64(d.dice.Between(1, d.voters)) }

func (d *drawing) link() sim.Target {
	t := sim.Target{From: d.anybody(), To: d.anybody(), Both: d.dice.Chance(300)}
	for t.From == t.To {
		t.To = uint64(d.dice.Below(len(d.recipe.Nodes()) + 1)) // may be everybody
	}
	if t.To == 0 && t.From == 0 {
		t.From = 1
	}
	return t
}

// milliseconds draws a span.
func (d *drawing) milliseconds(lo, hi int) id.Duration {
	return id.Duration(d.dice.Between(lo, hi)) * id.Millisecond
}

func (d *drawing) fault(kind sim.FaultKind, t sim.Target, lo, hi int) sim.Fault {
	return sim.Fault{Kind: kind, Target: t, For: d.milliseconds(lo, hi)}
}

func (d *drawing) rate(lo, hi int) string { return strconv.Itoa(d.dice.Between(lo, hi)) }

func (d *drawing) by(lo, hi int) string { return sim.FormatDuration(d.milliseconds(lo, hi)) }

func (d *drawing) drop() sim.Fault {
	f := d.fault(sim.FaultDrop, d.link(), 300, 6000)
	if d.dice.Chance(400) {
		f.Target = sim.Link(0, 0)
	}
	f = f.With("rate", d.rate(20, 500))
	if d.dice.Chance(400) {
		f = f.With("only", []string{"vote", "append", "heartbeat", "ack", "snapshot"}[d.dice.Below(5)])
	}
	return f
}

func (d *drawing) duplicate() sim.Fault {
	return d.fault(sim.FaultDuplicate, sim.Link(0, 0), 500, 8000).With("rate", d.rate(50, 400))
}

func (d *drawing) replay() sim.Fault {
	return d.fault(sim.FaultReplay, sim.Link(0, 0), 500, 8000).With("rate", d.rate(10, 100)).With("within", d.by(500, 8000))
}

func (d *drawing) reorder() sim.Fault {
	return d.fault(sim.FaultReorder, sim.Link(0, 0), 500, 8000).With("rate", d.rate(50, 500)).With("by", d.by(2, 100))
}

func (d *drawing) delay() sim.Fault {
	return d.fault(sim.FaultDelay, d.link(), 300, 4000).With("by", d.by(5, 300))
}

func (d *drawing) clog() sim.Fault { return d.fault(sim.FaultClog, d.link(), 100, 3000) }

func (d *drawing) cut() sim.Fault { return d.fault(sim.FaultCut, d.link(), 200, 5000) }

// halves splits all nodes in two, by chance.
func (d *drawing) halves() (a, b []uint64) {
	all := d.recipe.Nodes()
	d.dice.Shuffle(all)
	at := d.dice.Between(1, len(all)-1)
	if len(all) == 1 {
		return all, nil
	}
	return all[:at:at], all[at:]
}

func (d *drawing) split() sim.Fault {
	a, b := d.halves()
	t := sim.Parts(a)
	if b != nil {
		t = sim.Parts(a, b)
	}
	return d.fault(sim.FaultSplit, t, 200, 6000)
}

func (d *drawing) bridge() sim.Fault {
	a, b := d.halves()
	if b == nil {
		return d.crash()
	}
	return d.fault(sim.FaultSplit, sim.Parts(append(a, b[0]), b), 500, 6000)
}

func (d *drawing) flap() sim.Fault {
	f := d.split()
	f.Kind = sim.FaultFlap
	return f.With("period", d.by(80, 500))
}

func (d *drawing) drift() sim.Fault {
	return d.fault(sim.FaultDrift, sim.On(d.anybody()), 1000, 20_000).With("rate", d.rate(900_000, 1_100_000))
}

func (d *drawing) freeze() sim.Fault { return d.fault(sim.FaultFreeze, sim.On(d.anybody()), 50, 3000) }

func (d *drawing) loss() string {
	return []string{"none", "all", "prefix", "random", "torn"}[d.dice.Below(5)]
}

func (d *drawing) crash() sim.Fault {
	f := d.fault(sim.FaultCrash, sim.On(d.anybody()), 20, 3000).With("lose", d.loss())
	if d.dice.Chance(500) {
		f = f.With("calls", fmt.Sprint(d.dice.Between(1, 30)))
	}
	return f
}

// again is a second crash while the node is down: it comes during the recovery (P2).
func (d *drawing) again(first sim.Fault) sim.Fault {
	f := d.fault(sim.FaultCrash, first.Target, 20, 1000)
	f.At = min(first.At.Add(first.For/2/id.Millisecond*id.Millisecond), id.Time(d.recipe.Length))
	return f.With("lose", d.loss()).With("calls", fmt.Sprint(d.dice.Between(1, 25)))
}

// meanwhile is trouble that comes just when the membership changes: a change takes
// milliseconds, chance alone would hardly ever meet it.
func (d *drawing) meanwhile(change sim.Fault) sim.Fault {
	f := []func(*drawing) sim.Fault{(*drawing).split, (*drawing).cut, (*drawing).cut, (*drawing).clog, (*drawing).bridge, (*drawing).stall}[d.dice.Below(6)](d)
	lead := id.Time(d.dice.Between(-30, 60)) * id.Time(id.Millisecond)
	f.At = min(max(change.At-lead, 0), id.Time(d.recipe.Length))
	return f
}

func (d *drawing) pause() sim.Fault {
	return d.fault(sim.FaultPause, sim.On(d.anybody()), 1, d.pick(100, 600, 4000))
}

func (d *drawing) slow() sim.Fault {
	return d.fault(sim.FaultSlow, sim.On(d.anybody()), 300, 3000).With("by", d.by(1, 60))
}

func (d *drawing) power() sim.Fault {
	return d.fault(sim.FaultPower, sim.Target{}, 50, 1000).With("lose", d.loss())
}

func (d *drawing) syncfail() sim.Fault {
	return d.fault(sim.FaultSync, sim.On(d.anybody()), 100, 2000).With("mode", []string{"clean", "dirty", "late"}[d.dice.Below(3)])
}

func (d *drawing) nospace() sim.Fault {
	return d.fault(sim.FaultNoSpace, sim.On(d.anybody()), 300, 4000)
}

func (d *drawing) stall() sim.Fault {
	return d.fault(sim.FaultStall, sim.On(d.anyVoter()), 100, 3000).With("by", d.by(10, 400))
}

func (d *drawing) change() sim.Fault {
	f := sim.Fault{Kind: sim.FaultChange, Target: sim.On(d.anybody())}
	op := []string{"add-voter", "add-learner", "promote", "promote", "demote", "remove", "replace", "replace", "voters", "voters", "voters"}[d.dice.Below(11)]
	spares := append(append([]uint64(nil), d.recipe.Spares...), d.recipe.Learners...)
	if len(spares) > 0 && op != "remove" && op != "demote" && d.dice.Chance(800) {
		f.Target.Node = spares[d.dice.Below(len(spares))]
	}
	switch op {
	case "replace":
		of := d.anyVoter()
		if of == f.Target.Node {
			return f.With("op", "add-voter")
		}
		return f.With("op", op).With("of", fmt.Sprint(of))
	case "voters":
		all := d.recipe.Nodes()
		d.dice.Shuffle(all)
		set := ""
		for _, n := range all[:min(len(all), d.dice.Between(2, 5))] {
			set += fmt.Sprint(n)
		}
		return f.With("op", op).With("set", set)
	}
	return f.With("op", op)
}

func (d *drawing) transfer() sim.Fault {
	return sim.Fault{Kind: sim.FaultTransfer, Target: sim.On(d.anybody())}
}
