package cluster

import (
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"sort"

	"github.com/quorate/quorate/check"
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
)

// Options says what to run.
type Options struct {
	Seed   uint64
	Recipe *sim.Recipe // instead of the one that the seed draws
	Wide   bool        // the seed draws from the wide mode: one to seven voters
	Faults *faults.Set // break switches, besides those of the recipe
	Trace  io.Writer   // gets the trace, unless nil
}

// Result is what came of it.
type Result struct {
	Hash       uint64 // of everything that happened; the same for the same recipe
	Operations int    // that clients began
	Answered   int    // of those, how many got an answer
	Faults     int    // that came into force
	Events     uint64 // handlers that ran
	Simulated  id.Duration
	Terms      int        // that had a leader before the healing
	Marks      []string   // rare branches that were reached, sorted
	Violation  error      // nil: every check passed
	At         id.Time    // of the violation
	Recipe     sim.Recipe // what ran: with the faults resolved

	drawn bool // from its seed, by default rules
}

// Command is the command that runs the same again. A run that no seed alone
// describes needs its recipe in a file: Recipe.String is what to put there.
func (r Result) Command() string {
	if r.drawn {
		return fmt.Sprintf("quorate sim --seed %d", r.Recipe.Seed)
	}
	return "quorate sim --recipe FILE"
}

// cluster is one run.
type cluster struct {
	recipe    sim.Recipe
	set       settings
	words     words
	faults    *faults.Set
	world     *sim.World
	net       *sim.Network
	nodes     []*node // by number - 1
	clients   []*client
	operating []*operator
	oracles   *oracles
	history   []*check.Operation
	began     int // faults that came into force
	nextID    uint64
	marks     map[string]bool
	violated  error
	at        id.Time
	forked    bool         // the faults behind the then line are scheduled
	healed    bool         // the second phase has begun
	terms     int          // that had a leader before it
	core      map[int]bool // indexes of nodes that were healed; only looked up
	calm      bool         // no client begins anything any more
}

// Run runs one seed or recipe. An error of the recipe is returned as the
// violation of an empty result.
func Run(o Options) Result {
	recipe := sim.Recipe{}
	if o.Recipe != nil {
		recipe = *o.Recipe
	} else {
		recipe = Draw(o.Seed, o.Wide)
	}
	for _, s := range faults.All {
		if o.Faults.On(s) && !slices.Contains(recipe.Broken, s) {
			recipe.Broken = append(recipe.Broken, s)
		}
	}
	set, err := readSettings(&recipe)
	if err != nil {
		return Result{Violation: err, Recipe: recipe}
	}
	broken, err := breaks(recipe.Broken)
	if err != nil {
		return Result{Violation: err, Recipe: recipe}
	}
	c := &cluster{recipe: recipe, set: set, words: vocabulary(set.machine), faults: broken, marks: map[string]bool{}, core: map[int]bool{}}
	record, finish, err := recorder(o.Trace, recipe)
	if err != nil {
		return Result{Violation: err, Recipe: recipe}
	}
	c.world = sim.NewWorld(recipe.Seed, record)
	c.net = sim.NewNetwork(c.world, set.latency/4, set.latency, c.deliver)
	c.oracles = newOracles(c)
	c.guarded(c.phases)
	if err := finish(); err != nil && c.violated == nil {
		c.fail("writing the trace: %v", err)
	}
	r := c.result()
	r.drawn = o.Recipe == nil && !o.Wide && c.faults == nil
	return r
}

// breaks turns a recipe's switches on; nil if there are none.
func breaks(on []faults.Switch) (*faults.Set, error) {
	if len(on) == 0 {
		return nil, nil
	}
	return faults.New(on...)
}

// recorder returns what the world calls for each event, and what to call last.
func recorder(w io.Writer, r sim.Recipe) (func(trace.Event), func() error, error) {
	if w == nil {
		return nil, func() error { return nil }, nil
	}
	t, err := trace.NewWriter(w, trace.Header{Seed: r.Seed, Configuration: r.String()})
	if err != nil {
		return nil, nil, err
	}
	var first error
	record := func(e trace.Event) {
		if err := t.Write(e); err != nil && first == nil {
			first = err
		}
	}
	return record, func() error {
		if err := t.Flush(); first == nil {
			first = err
		}
		return first
	}, nil
}

// phases is the run.
func (c *cluster) phases() {
	c.start()
	c.until(id.Time(c.recipe.Length), nil)
	if c.violated == nil {
		c.heal()
	}
	if c.violated == nil {
		c.aftermath()
	}
	if c.violated == nil {
		c.judge()
	}
}

// start makes nodes and clients and schedules the faults.
func (c *cluster) start() {
	first := c.firstConfig()
	all := c.recipe.Nodes()
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	for number := uint64(1); number <= all[len(all)-1]; number++ {
		c.nodes = append(c.nodes, newNode(c, number, first))
	}
	for _, n := range all {
		if _, member := first.Find(id.NodeID{Node: n}); member {
			c.nodes[n-1].boot()
		}
	}
	for i := 0; i < c.set.clients; i++ {
		c.clients = append(c.clients, newClient(c, i+1))
	}
	for _, f := range c.recipe.Faults {
		c.world.At(f.At, func() { c.begin(f) })
	}
}

// firstConfig is the configuration the group is bootstrapped with.
func (c *cluster) firstConfig() membership.Config {
	var members []membership.Member
	add := func(list []uint64, role membership.Role) {
		for _, n := range list {
			m := member(id.NodeID{Node: n})
			m.Role = role
			members = append(members, m)
		}
	}
	add(c.recipe.Voters, membership.Voter)
	add(c.recipe.Learners, membership.Learner)
	config, err := membership.Bootstrap(members)
	if err != nil {
		c.fail("the first configuration: %v", err)
	}
	return config
}

func member(n id.NodeID) membership.Member {
	return membership.Member{ID: n, Name: n.String(), PeerURLs: []string{"http://" + n.String()}}
}

// until runs the world up to a moment, or until done (asked every few
// milliseconds) says so. It returns whether done did.
func (c *cluster) until(limit id.Time, done func() bool) bool {
	for c.violated == nil {
		if done != nil && done() {
			return true
		}
		slice := limit
		if done != nil {
			slice = min(limit, c.world.Now().Add(5*id.Millisecond))
		}
		for c.violated == nil && c.world.Step(slice) {
			c.fork()
		}
		if slice == limit {
			return done != nil && c.violated == nil && done()
		}
	}
	return false
}

// fork brings in the faults behind a recipe's fork line when its event has come.
func (c *cluster) fork() {
	t := c.recipe.Fork
	if t == nil || c.forked || c.world.Sequence() < t.Event {
		return
	}
	c.forked = true
	for _, f := range t.Faults {
		f.At = c.world.Now().Add(id.Duration(f.At))
		c.world.At(f.At, func() { c.begin(f) })
	}
}

// guarded runs f and makes a violation of its panic: a node may stop for listed
// reasons only, and none of them is a panic.
func (c *cluster) guarded(f func()) {
	defer func() {
		if p := recover(); p != nil {
			c.fail("panic: %v\n%s", p, debug.Stack())
		}
	}()
	f()
}

// fail records the first violation; the run ends at once.
func (c *cluster) fail(format string, args ...any) {
	if c.violated != nil {
		return
	}
	c.violated = fmt.Errorf(format, args...)
	c.at = c.world.Now()
	c.world.Emit(trace.Event{Kind: trace.Verdict, Fields: []trace.Field{trace.Text("outcome", "violation")}})
}

// mark notes that a rare branch was reached while faults were on. What the healing
// and the last power cut do to every run does not count.
func (c *cluster) mark(name string) {
	if !c.healed && !c.marks[name] {
		c.marks[name] = true
		c.world.Emit(trace.Event{Kind: trace.Mark, Fields: []trace.Field{trace.Text("name", name)}})
	}
}

func (c *cluster) result() Result {
	r := Result{
		Hash: c.world.Hash(), Operations: len(c.history), Faults: c.began, Events: c.world.Events(),
		Simulated: id.Duration(c.world.Now()), Violation: c.violated, At: c.at, Recipe: c.recipe,
	}
	r.Terms = c.terms
	for _, o := range c.history {
		if o.Outcome == check.Done {
			r.Answered++
		}
	}
	for name := range c.marks {
		r.Marks = append(r.Marks, name)
	}
	sort.Strings(r.Marks)
	return r
}
