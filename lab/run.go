package lab

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
)

// Options is what to run.
type Options struct {
	Recipe   sim.Recipe // resolved: Template has been over it
	Protocol Protocol
	Record   func(trace.Event) // gets the trace, unless nil
	Quiet    bool              // no keyframes: the run is for its figures only
}

// Result is what came of it.
type Result struct {
	Recipe    sim.Recipe
	Protocol  string
	Hash      uint64
	Events    uint64 // handlers that ran
	Simulated id.Duration
	Measures  Measures
	Acts      []ActResult // what became of the recipe's do lines
	Final     []NodeState // by number
	Leader    Node        // at the end; 0: nobody leads
	fired     map[string]int
}

// Fired tells how often a rule fired.
func (r Result) Fired(rule string) int { return r.fired[rule] }

// ActResult is what became of one do line.
type ActResult struct {
	Op       uint64
	Outcome  string // answered, refused, unknown, pending
	Said     string // the text of the answer, or why it was refused
	Kept     bool   // in the decided part of a log that counts at the end, see final
	Times    int    // how often it took effect in that log; of several, the most
	Position int    // where first; 0: nowhere
}

// NodeState is a node at the end.
type NodeState struct {
	Node    Node
	Up      bool
	Role    string
	Epoch   uint64
	Leader  Node
	Length  int
	Decided int
	Ops     []uint64 // in the order of the log; 0 where there is no operation
}

// Bounds of a run: time by the recipe, handlers by eventsMax, memory by both and by
// operationsMax: every node keeps what every operation left in its log.
const (
	latencyMin = 500 * id.Microsecond
	latencyMax = 2 * id.Millisecond
	eventsMax  = 20_000_000
	// operationsMax is refused before a run begins; a script of the matrix has some
	// ten thousand.
	operationsMax = 100_000
	// keyframes is how often every node's beliefs are recorded in full.
	keyframes = 10 * id.Second
)

// run is one run.
type run struct {
	Options
	recipe  *sim.Recipe
	set     settings
	world   *sim.World
	net     *sim.Network
	nodes   []*node // by number - 1
	clients []*client
	checker *checker
	waiting []*awaited // triggered faults that have not begun
	lastID  uint64     // of requests
	lastOp  uint64
	acts    []*operation
	fired   map[string]int
	err     error
}

// settings is what the recipe's workload lines mean here.
type settings struct {
	clients  int         // stand beside the first so many voters
	every    id.Duration // a client begins an operation so often
	reads    int         // of a thousand operations
	retry    bool        // an operation without an answer is asked again, under its number
	give     id.Duration // an answer that comes later than this is nobody's
	from     id.Time     // first operation
	changes  id.Time     // leader changes are counted from here
	measured id.Time     // gaps are measured from here
}

func readSettings(r *sim.Recipe) (settings, error) {
	w := r.Clients()
	const s = id.Second
	x := settings{
		clients:  int(w.Int("clients", int64(len(r.Voters)), 0, 9)),
		every:    w.Duration("every", 200*id.Millisecond, id.Millisecond, 600*s),
		reads:    int(w.Int("reads", 500, 0, 1000)),
		retry:    w.Int("retry", 0, 0, 1) == 1,
		give:     w.Duration("give-up", 60*s, id.Millisecond, 600*s),
		from:     id.Time(w.Duration("from", 0, 0, 3600*s)),
		changes:  id.Time(w.Duration("count-changes-from", 0, 0, 3600*s)),
		measured: id.Time(w.Duration("measure-from", 0, 0, 3600*s)),
	}
	if x.clients > len(r.Voters) {
		x.clients = len(r.Voters)
	}
	if err := w.Err(); err != nil {
		return x, err
	}
	began := int64(x.clients)*(max(0, int64(r.Length)-int64(x.from))/int64(x.every)+1) + int64(len(r.Acts))
	if began > operationsMax {
		return x, &sim.Error{Line: r.LineOfSetting("workload", "every"), What: fmt.Sprintf("%d clients that begin an operation every %s for %s are %d operations; a run has at most %d",
			x.clients, sim.FormatDuration(x.every), sim.FormatDuration(r.Length), began, operationsMax)}
	}
	return x, nil
}

// Run runs a recipe with a protocol. An error is the recipe's (it asks for what
// the protocol does not have), or says that a machine misbehaved: panicked, or
// went on for ever.
func Run(o Options) (Result, error) {
	recipe := o.Recipe
	set, err := readSettings(&recipe)
	if err == nil {
		err = judge(&recipe, o.Protocol)
	}
	if err != nil {
		return Result{}, err
	}
	r := &run{Options: o, recipe: &recipe, set: set, fired: map[string]int{}}
	r.world = sim.NewWorld(recipe.Seed, o.Record)
	r.net = sim.NewNetwork(r.world, latencyMin, latencyMax, r.deliver)
	r.checker = newChecker(r)
	if err := r.guarded(); err != nil {
		return Result{}, err
	}
	return r.result(), nil
}

// judge refuses a recipe that does not fit the protocol.
func judge(r *sim.Recipe, p Protocol) error {
	for i, s := range slices.Concat(r.Broken, r.Break) {
		if !slices.ContainsFunc(p.Switches, func(x Switch) bool { return x.Name == s }) {
			line := r.LineOf("broken", i)
			if i >= len(r.Broken) {
				line = r.LineOf("break", i-len(r.Broken))
			}
			return &sim.Error{Line: line, What: fmt.Sprintf("%s has no rule %q to break; it has %s", p.Name, s, switchNames(p))}
		}
	}
	if r.Fork != nil {
		return &sim.Error{What: "the lab does not fork a run yet"}
	}
	for _, f := range r.Faults {
		switch f.Kind {
		case sim.FaultChange, sim.FaultTransfer, sim.FaultSlow, sim.FaultStall, sim.FaultSync, sim.FaultNoSpace:
			return &sim.Error{What: fmt.Sprintf("%q: this fault is the simulator's; the lab has crash, power, pause, wipe, drift, freeze, jump and those of the network", f)}
		}
		if f.Number("calls") > 0 {
			return &sim.Error{What: fmt.Sprintf("%q: calls= is the simulator's; in the lab a trigger says when a node crashes", f)}
		}
	}
	return nil
}

func switchNames(p Protocol) string {
	if len(p.Switches) == 0 {
		return "none"
	}
	text := ""
	for i, s := range p.Switches {
		if i > 0 {
			text += ", "
		}
		text += string(s.Name)
	}
	return text
}

// guarded runs everything and makes an error of a machine's panic.
func (r *run) guarded() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s, seed %d: a machine panicked at %s: %v", r.Protocol.Name, r.recipe.Seed, sim.FormatDuration(id.Duration(r.world.Now())), p)
		}
	}()
	if err := r.start(); err != nil {
		return err
	}
	for r.err == nil && r.world.Step(id.Time(r.recipe.Length)) {
		if r.world.Events() > eventsMax {
			return fmt.Errorf("%s, seed %d: more than %d steps by %d s of the run's %s, so it is stopped: make it shorter, or let the clients ask less often",
				r.Protocol.Name, r.recipe.Seed, eventsMax, int64(r.world.Now())/int64(id.Second), sim.FormatDuration(r.recipe.Length))
		}
	}
	if r.err == nil {
		r.checker.finish()
	}
	return r.err
}

// fail ends the run with an error: a machine did what no machine may.
func (r *run) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%s, seed %d: %s", r.Protocol.Name, r.recipe.Seed, fmt.Sprintf(format, args...))
	}
}

// start makes nodes and clients and schedules faults, acts and captions.
func (r *run) start() error {
	var highest Node
	for _, n := range r.recipe.Nodes() {
		highest = max(highest, n)
	}
	for number := Node(1); number <= highest; number++ {
		r.nodes = append(r.nodes, newNode(r, number))
	}
	for _, c := range r.recipe.Captions {
		tell := func() {
			fields := []trace.Field{trace.Text("text", c.Text)}
			if c.Language != "" {
				fields = append(fields, trace.Text("language", c.Language))
			}
			r.world.Emit(trace.Event{Kind: trace.Caption, Fields: fields})
		}
		if c.At == 0 {
			tell() // before the nodes start
		} else {
			r.world.At(c.At, tell)
		}
	}
	all := r.recipe.Nodes()
	slices.Sort(all)
	for _, n := range all {
		if err := r.nodes[n-1].boot(); err != nil {
			return err
		}
	}
	for _, f := range r.recipe.Faults {
		if f.Trigger != "" {
			r.world.At(f.At, func() { r.await(f) })
		} else {
			r.world.At(f.At, func() { r.begin(f) })
		}
	}
	voters := slices.Clone(r.recipe.Voters)
	slices.Sort(voters)
	for i, n := range all {
		r.clients = append(r.clients, newClient(r, n, i))
	}
	for i := range r.set.clients {
		r.clientOf(voters[i]).work(i)
	}
	for _, a := range r.recipe.Acts {
		o := &operation{verb: a.Words[0], args: a.Words[1:], home: a.Node}
		r.acts = append(r.acts, o)
		r.world.At(a.At, func() { r.clientOf(a.Node).begin(o) })
	}
	if !r.Quiet {
		r.world.At(0, r.keyframe)
	}
	return nil
}

func (r *run) clientOf(n Node) *client {
	for _, c := range r.clients {
		if c.home == n {
			return c
		}
	}
	return nil
}

// keyframe records what every living node believes, so that a reader can begin in
// the middle of a trace.
func (r *run) keyframe() {
	r.world.After(keyframes, r.keyframe)
	r.world.Because(0) // time alone
	for _, n := range r.nodes {
		if n.machine != nil {
			n.rule = ""
			n.emit(trace.Event{Kind: trace.Belief, Fields: n.belief()})
		}
	}
}

// result sums the run up.
func (r *run) result() Result {
	out := Result{
		Recipe: *r.recipe, Protocol: r.Protocol.Name, Hash: r.world.Hash(), Events: r.world.Events(),
		Simulated: id.Duration(r.world.Now()), Measures: r.checker.m, fired: r.fired,
	}
	final := r.checker.final()
	if leader := r.checker.leader(); leader != nil {
		out.Leader = leader.number
	}
	for _, n := range r.nodes {
		s := NodeState{Node: n.number, Up: n.machine != nil, Role: n.seen.Role, Epoch: n.seen.Epoch, Leader: n.seen.Leader}
		if n.machine != nil {
			log := n.seen.Log
			s.Length, s.Decided = log.Len(), log.Decided()
			for _, e := range log.entries {
				s.Ops = append(s.Ops, e.Op)
			}
		}
		out.Final = append(out.Final, s)
	}
	for _, o := range r.acts {
		a := ActResult{Op: o.number, Outcome: o.outcome.String(), Said: o.said}
		if o.number == 0 {
			a.Outcome = pending.String()
		}
		for _, l := range final {
			if times, at := effects(l, o.number); o.number != 0 && times > a.Times {
				a.Kept, a.Times, a.Position = true, times, at
			}
		}
		out.Acts = append(out.Acts, a)
	}
	return out
}

// broken are the switches that are on.
func (r *run) broken() []faults.Switch { return r.recipe.Broken }
