package host

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
	"github.com/quorate/quorate/wire"
)

// The argument of forward.go against a random world: nodes crash and start again,
// lose what was not synced, lag, are partitioned and get snapshots; logs are
// truncated and forgotten to the last few entries; asks are lost and late.

var (
	onceSeed  = flag.Uint64("once.seed", 0, "run this world only")
	onceSeeds = flag.Int("once.seeds", 60, "how many worlds")
)

type onceWorld struct {
	t      *testing.T
	r      *rand.Rand
	now    id.Time
	first  membership.Config
	nodes  []*onceNode
	post   []parcel // by time
	cut    int      // a node that nobody hears; -1: none
	calm   bool
	ended  map[string]Outcome // by command; of clients whose node lived on
	asked  int
	reach  map[string]int
	number int
}

type parcel struct {
	at   id.Time
	to   int
	life uint32 // 0: any
	from int    // -1: of the node itself
	e    func() Event
}

// stored is what a node's disk holds.
type stored struct {
	hard    raft.HardState
	start   raft.LogStart
	entries []raft.Entry
}

type onceNode struct {
	w        *onceWorld
	n        int
	boot     uint32
	host     *Host
	in       []Event
	disk     stored
	unsynced []Persist
	log      []string // the machine: in memory,
	applied  id.Index
	kept     []string // and as a crash leaves it
	keptAt   id.Index
	down     id.Time // until
	client   ClientID
	waiting  map[ClientID]string
	asks     map[uint64]bool
}

func (w *onceWorld) later(from, to int, life uint32, most id.Duration, e func() Event) {
	w.post = append(w.post, parcel{at: w.now.Add(1 + id.Duration(w.r.Int64N(int64(most)))), from: from, to: to, life: life, e: e})
}

func (d *stored) write(w GroupWrite) {
	switch w.Kind {
	case WriteAppend:
		d.hard = w.Hard
		if len(w.Entries) > 0 {
			keep := int(w.Entries[0].Index - d.start.Index - 1)
			d.entries = append(d.entries[:keep:keep], w.Entries...)
		}
	case WriteStart:
		if w.Start.Index > d.start.Index {
			d.entries = slices.Clone(d.entries[w.Start.Index-d.start.Index:])
			d.start = w.Start
		}
	case WriteReset:
		d.hard, d.start, d.entries = w.Hard, w.Start, nil
	}
}

func (d *stored) restored() raft.Restored {
	r := raft.Restored{Hard: d.hard, Start: d.start, Last: d.start.Index + id.Index(len(d.entries)), Tail: d.entries}
	for _, e := range d.entries {
		if n := len(r.Terms); n == 0 || r.Terms[n-1].Term != e.Term {
			r.Terms = append(r.Terms, raft.TermRun{First: e.Index, Term: e.Term})
		}
		if e.Kind == raft.EntryConfig {
			r.Configs = append(r.Configs, raft.ConfigAt{Index: e.Index, Config: *e.Config})
		}
	}
	return r
}

func (n *onceNode) start() {
	n.boot++
	n.down = 0
	h, err := New(Config{Self: id.NodeID{Node: uint64(n.n + 1)}, Boot: n.boot})
	if err != nil {
		n.w.t.Fatal(err)
	}
	n.host, n.in, n.client, n.waiting, n.asks = h, nil, 0, map[ClientID]string{}, map[uint64]bool{}
	n.log, n.applied = slices.Clone(n.kept), n.keptAt
	r := n.disk.restored()
	r.Applied = n.applied
	n.in = append(n.in, Start{Group: 1, Config: raft.Config{Seed: n.w.r.Uint64(), TailBytes: 400, RetainBytes: 600, DiskStall: id.Second}.WithDefaults(), Restored: r})
}

// crash loses what was not synced, or some of it.
func (n *onceNode) crash() {
	for len(n.unsynced) > 0 && n.w.r.IntN(2) == 0 {
		for _, g := range n.unsynced[0].Writes {
			n.disk.write(g)
		}
		n.unsynced = n.unsynced[1:]
	}
	n.unsynced = nil
	n.down = n.w.now.Add(id.Duration(n.w.r.Int64N(int64(300 * id.Millisecond))))
	n.w.reach["crash"]++
}

func (n *onceNode) sync() {
	if len(n.unsynced) == 0 {
		return
	}
	for _, p := range n.unsynced {
		for _, g := range p.Writes {
			n.disk.write(g)
		}
	}
	n.in = append(n.in, Durable{Token: n.unsynced[len(n.unsynced)-1].Token})
	n.unsynced = nil
}

func (n *onceNode) propose() {
	n.client++
	n.w.number++
	command := fmt.Sprint("c", n.w.number)
	n.waiting[n.client] = command
	n.in = append(n.in, Propose{Group: 1, Client: n.client, Data: []byte(command), Forward: n.w.r.IntN(8) > 0})
}

func (n *onceNode) do(e Effect) {
	w := n.w
	me := func(most id.Duration, e Event) { w.later(-1, n.n, n.boot, most, func() Event { return e }) }
	switch e := e.(type) {
	case Persist:
		n.unsynced = append(n.unsynced, e)
	case Send:
		if !w.calm && w.r.IntN(20) == 0 {
			return
		}
		b := wire.AppendMessage(nil, e.Message)
		w.later(n.n, int(e.To.Node-1), 0, 5*id.Millisecond, func() Event {
			m, err := wire.Message(b)
			if err != nil {
				w.t.Fatal(err)
			}
			return Frame{From: id.NodeID{Node: uint64(n.n + 1)}, Group: 1, Message: m}
		})
	case Load:
		done := Loaded{Load: e}
		if e.From > n.disk.start.Index {
			done.Entries = slices.Clone(n.disk.entries[e.From-n.disk.start.Index-1 : min(len(n.disk.entries), int(e.To-n.disk.start.Index-1))])
		}
		me(5*id.Millisecond, done)
	case Apply:
		most := 5 * id.Millisecond
		if !w.calm && w.r.IntN(10) == 0 {
			most = 200 * id.Millisecond
		}
		w.later(-1, n.n, n.boot, most, func() Event { return n.apply(e) })
	case SendSnapshot:
		meta := raft.SnapshotMeta{Index: n.applied, Term: n.termAt(n.applied), Config: w.first}
		log, ok := slices.Clone(n.log), n.applied >= e.MinIndex
		if ok {
			to := w.nodes[e.To.Node-1]
			w.later(n.n, to.n, 0, 30*id.Millisecond, func() Event {
				to.stash(meta.Index, log)
				return Frame{From: id.NodeID{Node: uint64(n.n + 1)}, Group: 1, Message: raft.InstallSnapshot{Term: e.Term, Snapshot: meta}}
			})
		}
		me(60*id.Millisecond, SnapshotSent{Group: 1, To: e.To, Index: meta.Index, OK: ok})
	case Install:
		w.reach["install"]++
		w.later(-1, n.n, n.boot, 20*id.Millisecond, func() Event {
			n.applied, n.log = e.Snapshot.Index, snapshots[snapshotKey{n.w, e.Snapshot.Index}]
			n.keptAt, n.kept = n.applied, slices.Clone(n.log)
			// The executor would finish the installation at a start: it does here.
			n.disk = stored{hard: n.disk.hard, start: raft.LogStart{Index: e.Snapshot.Index, Term: e.Snapshot.Term, Config: e.Snapshot.Config}}
			return Installed{Group: 1, Index: e.Snapshot.Index}
		})
	case Resolve:
		command, ok := n.waiting[e.Client]
		if !ok {
			w.t.Fatalf("n%d: client %d is resolved twice or was never there: %+v", n.n+1, e.Client, e)
		}
		delete(n.waiting, e.Client)
		w.ended[command] = e.Outcome
		w.reach[e.Outcome.String()]++
	case Ask:
		w.ask(n, e)
	case Answer:
		w.answer(n, e)
	case Halt:
		w.t.Fatalf("n%d halts: %v", n.n+1, e.Reason)
	}
}

// snapshots on their way, by world and index: all of one index are equal.
type snapshotKey struct {
	w  *onceWorld
	at id.Index
}

var snapshots = map[snapshotKey][]string{}

func (n *onceNode) stash(at id.Index, log []string) { snapshots[snapshotKey{n.w, at}] = log }

func (n *onceNode) termAt(at id.Index) id.Term {
	if at == n.disk.start.Index {
		return n.disk.start.Term
	}
	return n.disk.entries[at-n.disk.start.Index-1].Term
}

func (n *onceNode) apply(a Apply) Event {
	batch := a.Batch(nil)
	var results []rsm.Result
	for _, c := range batch.Commands {
		if slices.Contains(n.log, string(c.Data)) {
			n.w.t.Fatalf("n%d applies %s a second time, at entry %d of term %d", n.n+1, c.Data, c.Index, c.Term)
		}
		n.log = append(n.log, string(c.Data))
		results = append(results, rsm.Result(c.Data))
	}
	n.applied = batch.Applied
	if n.w.r.IntN(4) == 0 {
		n.keptAt, n.kept = n.applied, slices.Clone(n.log)
	}
	return ApplyDone{Group: 1, Applied: n.applied, Results: results, Flushed: n.keptAt}
}

// ask delivers at most once, perhaps very late, to whichever life it meets.
func (w *onceWorld) ask(n *onceNode, e Ask) {
	n.asks[e.ID] = true
	life := n.boot
	w.post = append(w.post, parcel{at: w.now.Add(100 * id.Millisecond), from: -1, to: n.n, life: life, e: func() Event {
		if !n.asks[e.ID] {
			return nil
		}
		delete(n.asks, e.ID)
		return Answered{From: e.To, ID: e.ID, Unknown: true}
	}})
	most := 5 * id.Millisecond
	if !w.calm && w.r.IntN(6) == 0 {
		most = 600 * id.Millisecond
	}
	if !w.calm && w.r.IntN(6) == 0 {
		return
	}
	w.later(n.n, int(e.To.Node-1), 0, most, func() Event {
		// What the other side knows it by: the life it came from is part of it.
		return Asked{From: id.NodeID{Node: uint64(n.n + 1)}, ID: e.ID<<8 | uint64(life), Data: e.Data}
	})
}

func (w *onceWorld) answer(n *onceNode, e Answer) {
	to := w.nodes[e.To.Node-1]
	if !w.calm && w.r.IntN(6) == 0 {
		return
	}
	w.later(n.n, to.n, uint32(e.ID&0xff), 20*id.Millisecond, func() Event {
		if !to.asks[e.ID>>8] {
			return nil
		}
		delete(to.asks, e.ID>>8)
		return Answered{From: id.NodeID{Node: uint64(n.n + 1)}, ID: e.ID >> 8, Data: e.Data}
	})
}

// mischief is what befalls the world in one of its milliseconds.
func (w *onceWorld) mischief() {
	n := w.nodes[w.r.IntN(len(w.nodes))]
	switch up := n.down == 0; {
	case w.r.IntN(150) == 0 && up:
		n.crash()
	case w.r.IntN(150) == 0:
		if w.cut = -1; w.r.IntN(3) > 0 {
			w.cut = n.n
		}
	case w.r.IntN(60) == 0 && up:
		n.in = append(n.in, Campaign{Group: 1})
	case w.r.IntN(3) == 0 && up:
		n.propose()
	case w.r.IntN(100) == 0 && up:
		for _, c := range slices.Sorted(maps.Keys(n.waiting)) {
			n.in = append(n.in, Cancel{Group: 1, Client: c})
		}
	}
}

func (w *onceWorld) millisecond() {
	w.now = w.now.Add(id.Millisecond)
	kept := w.post[:0]
	for _, p := range w.post {
		if p.at > w.now {
			kept = append(kept, p)
			continue
		}
		to := w.nodes[p.to]
		if to.down != 0 || p.life != 0 && p.life != to.boot || p.from >= 0 && (p.from == w.cut || p.to == w.cut) {
			continue
		}
		if e := p.e(); e != nil {
			to.in = append(to.in, e)
		}
	}
	w.post = kept
	for _, n := range w.nodes {
		if n.down != 0 {
			if n.down <= w.now || w.calm {
				n.start()
			}
			continue
		}
		if w.r.IntN(3) == 0 || w.calm {
			n.sync()
		}
		in := n.in
		n.in = nil
		for _, e := range n.host.Step(w.now, in, nil) {
			n.do(e)
		}
	}
}

func TestProposalIsAppliedAtMostOnceAndItsEndIsTrueInARandomWorld(t *testing.T) {
	reach := map[string]int{}
	for seed := range uint64(*onceSeeds) {
		if *onceSeed != 0 {
			seed = *onceSeed - 1
		}
		runOnce(t, seed+1, reach)
		if *onceSeed != 0 || t.Failed() {
			break
		}
	}
	for _, want := range []string{"crash", "install", "applied", "refused", "unknown"} {
		if reach[want] == 0 {
			t.Errorf("no world reached %q", want)
		}
	}
	t.Log(reach)
}

func runOnce(t *testing.T, seed uint64, reach map[string]int) {
	defer func() {
		if t.Failed() {
			t.Logf("replay: go test ./host -run RandomWorld -once.seed %d", seed)
		}
	}()
	config, err := membership.Bootstrap([]membership.Member{
		{ID: id.NodeID{Node: 1}, Role: membership.Voter}, {ID: id.NodeID{Node: 2}, Role: membership.Voter}, {ID: id.NodeID{Node: 3}, Role: membership.Voter},
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &onceWorld{t: t, r: rand.New(rand.NewPCG(seed, 1)), first: config, cut: -1, ended: map[string]Outcome{}, reach: reach}
	for i := range 3 {
		n := &onceNode{w: w, n: i, disk: stored{start: raft.LogStart{Config: config}}}
		w.nodes = append(w.nodes, n)
		n.start()
	}
	for range 2000 {
		w.millisecond()
		w.mischief()
	}
	w.calm, w.cut = true, -1
	for range 3000 {
		w.millisecond()
	}
	log := w.nodes[0].log
	for _, n := range w.nodes {
		if !slices.Equal(n.log, log) {
			t.Errorf("n%d applied %v,\nn1 %v", n.n+1, n.log, log)
		}
		for c, command := range n.waiting {
			t.Errorf("n%d: client %d with %s waits for ever: %+v", n.n+1, c, command, n.host.byID[1].clients.waiting[c])
		}
	}
	for command, o := range w.ended {
		switch is := slices.Contains(log, command); {
		case o == Done && !is:
			t.Errorf("%s was acknowledged and is lost", command)
		case o == Refused && is:
			t.Errorf("%s was refused and is applied", command)
		}
	}
	for key := range snapshots {
		delete(snapshots, key)
	}
}
