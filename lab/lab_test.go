package lab

import (
	"bytes"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
)

// fixed is the smallest protocol the frame can run: r1 leads for ever, writes to
// its disk, sends every entry to all, and answers when a majority has it on disk.
// It elects nobody and catches nobody up.
type fixed struct {
	c       Config
	log     *Log
	due     id.Time
	acks    map[int]int
	asked   map[int]Request
	synced  map[id.Token]int
	counted id.Token
}

type entryMessage struct {
	Position int
	Entry    Entry
}
type ackMessage struct{ Position int }
type entryRecord struct{ Entry Entry }

func (entryMessage) Name() string { return "Entry" }
func (m entryMessage) Fields() []trace.Field {
	return []trace.Field{trace.Num("position", uint64(m.Position)), trace.Num("operation", m.Entry.Op)}
}
func (ackMessage) Name() string { return "Ack" }
func (m ackMessage) Fields() []trace.Field {
	return []trace.Field{trace.Num("position", uint64(m.Position))}
}
func (entryRecord) Name() string { return "entry" }
func (m entryRecord) Fields() []trace.Field {
	return []trace.Field{trace.Num("operation", m.Entry.Op)}
}

var fixedProtocol = Protocol{
	Name: "fixed", Slowest: id.Second, Epochs: true, Reply: "Ack",
	Switches: []Switch{{"no-sync", "acknowledges before the disk has it"}, {"two", "r2 leads as well"}, {"stuck", "never moves its deadline"}, {"panic", "panics"}},
	New: func(c Config) Machine {
		return &fixed{c: c, log: NewLog(), due: id.Never, acks: map[int]int{}, asked: map[int]Request{}, synced: map[id.Token]int{}}
	},
}

func (f *fixed) leads() bool {
	return f.c.Self == f.c.Ranks[0] || f.c.Broken("two") && f.c.Self == f.c.Ranks[1]
}

func (f *fixed) Step(t *Turn, e Event) {
	switch e := e.(type) {
	case Started:
		for _, r := range e.Files["log"] {
			f.log.Append(r.(entryRecord).Entry)
		}
		if f.leads() {
			f.log.Decide(f.log.Len())
			t.Rule("R1", "it ranks first")
		}
		if f.c.Broken("stuck") {
			f.due = t.Now
		}
	case Asked:
		switch {
		case !f.leads():
			t.Refuse(e.Request, f.c.Ranks[0], "R1 only the first leads")
		case e.Request.Verb == "read":
			t.Serve(e.Request, f.log.Decided())
		case f.c.Broken("panic"):
			panic("as it was told")
		default:
			entry := Entry{Op: e.Request.Op, Epoch: 1, Client: e.Request.Client}
			p := f.log.Append(entry)
			f.asked[p] = e.Request
			token := t.Persist("log", entryRecord{entry})
			f.synced[token] = p
			if f.c.Broken("no-sync") {
				f.count(t, p)
				f.count(t, p)
				f.count(t, p)
			}
			for _, n := range f.c.Peers() {
				t.Send(n, entryMessage{p, entry})
			}
		}
	case Received:
		switch m := e.Message.(type) {
		case entryMessage:
			if m.Position == f.log.Len()+1 {
				f.log.Append(m.Entry)
				t.SendAfter(t.Persist("log", entryRecord{m.Entry}), e.From, ackMessage{m.Position})
			}
		case ackMessage:
			f.count(t, m.Position)
		}
	case Durable:
		for ; f.counted < e.Token; f.counted++ {
			if p := f.synced[f.counted+1]; p > 0 && f.leads() {
				f.count(t, p)
			}
		}
	}
}

func (f *fixed) count(t *Turn, p int) {
	if f.acks[p]++; f.acks[p] == f.c.Quorum() {
		f.log.Decide(max(f.log.Decided(), p))
		if r, ok := f.asked[p]; ok {
			t.Accept(r)
		}
	}
}

func (f *fixed) Deadline() id.Time { return f.due }
func (f *fixed) View() View {
	role := "follower"
	if f.leads() {
		role = "leader"
	}
	return View{Role: role, Leads: f.leads(), Epoch: 1, Leader: f.c.Ranks[0], Log: f.log}
}
func (f *fixed) Details() []trace.Field { return nil }

// run runs a recipe's body with the protocol above.
func runFixed(t *testing.T, body string) Result {
	t.Helper()
	r, err := tryFixed(body, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tryFixed(body string, record func(trace.Event)) (Result, error) {
	recipe, err := Template("quorate recipe 2\nseed 7\nvoters all\n"+body, fixedProtocol)
	if err != nil {
		return Result{}, err
	}
	return Run(Options{Recipe: recipe, Protocol: fixedProtocol, Record: record})
}

func TestAQuietRunLosesNothing(t *testing.T) {
	r := runFixed(t, "length 20s\n")
	m := r.Measures
	if m.Acked < 240 || m.Lost+m.Stale+m.Divergent+m.TwoLeaders+m.SameEpoch+m.Twice+m.Changes != 0 {
		t.Errorf("%+v", m)
	}
	if r.Leader != 5 || m.Gap > 300*id.Millisecond || r.Final[0].Length != r.Final[4].Length {
		t.Errorf("leader %d, gap %d, %+v", r.Leader, m.Gap, r.Final)
	}
	// One entry to each of four, one answer each; a write has one fsync a node at most.
	if m.Messages < 8*m.Acked || m.Messages > 9*m.Acked+10 || m.Syncs > 5*m.Acked+10 || m.Syncs < m.Acked {
		t.Errorf("%d messages and %d fsyncs for %d writes", m.Messages, m.Syncs, m.Acked)
	}
}

// The same recipe gives the same hash and the same events, recorded or not; another
// seed gives another.
func TestARunIsAFunctionOfItsRecipe(t *testing.T) {
	body := "length 8s\nfault 2s 2s split r1,r2,r3/r4,r5\nfault 5s 1s drop r1>r2 rate=500\n"
	var list []trace.Event
	first, err := tryFixed(body, func(e trace.Event) { list = append(list, e) })
	if err != nil {
		t.Fatal(err)
	}
	if again := runFixed(t, body); again.Hash != first.Hash || again.Measures != first.Measures {
		t.Errorf("hash %x, then %x", first.Hash, again.Hash)
	}
	recipe, err := Template("quorate recipe 2\nseed 7\nvoters all\n"+body, fixedProtocol)
	if err != nil {
		t.Fatal(err)
	}
	if quiet, err := Run(Options{Recipe: recipe, Protocol: fixedProtocol, Quiet: true}); err != nil || quiet.Measures != first.Measures {
		t.Errorf("without keyframes: %v %+v", err, quiet.Measures)
	}
	if other := runFixed(t, strings.Replace(body, "rate=500", "rate=501", 1)); other.Hash == first.Hash {
		t.Error("another recipe, the same hash")
	}
	var b bytes.Buffer
	w, err := trace.NewWriter(&b, trace.Header{})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[trace.Kind]bool{}
	for _, e := range list {
		kinds[e.Kind] = true
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range []trace.Kind{trace.Started, trace.RoleChanged, trace.Fired, trace.Held, trace.Committed, trace.Sent, trace.Received, trace.Dropped,
		trace.Written, trace.Persisting, trace.Durable, trace.Requested, trace.Answered, trace.Fault, trace.Belief, trace.Verdict} {
		if !kinds[k] {
			t.Errorf("no %s in the trace", k)
		}
	}
}

// The checkers see what happens: what one is told by a switch or a fault it counts.
func TestCheckersSee(t *testing.T) {
	// The leader's unsynced tail is gone, although it was acknowledged.
	r := runFixed(t, "length 20s\nworkload reads 0\nbroken no-sync\nfault 5s@ack 1s power * lose=all\n")
	if r.Measures.Lost == 0 {
		t.Error("lost: nothing")
	}
	r = runFixed(t, "length 20s\nworkload reads 0\nfault 5s@ack 1s power * lose=all\n")
	if r.Measures.Lost != 0 {
		t.Errorf("lost %d although everything was synced", r.Measures.Lost)
	}
	// Two nodes lead in one epoch and decide different things.
	r = runFixed(t, "length 4s\nbroken two\n")
	if r.Measures.SameEpoch != 1 || r.Measures.TwoLeaders == 0 {
		t.Errorf("%+v", r.Measures)
	}
	r = runFixed(t, "length 4s\nbroken two\nbroken no-sync\nfault 1s 2s split r1,r3/r2,r4,r5\n")
	if r.Measures.Divergent == 0 || r.Measures.Lost == 0 {
		t.Errorf("%+v", r.Measures)
	}
	// A write that is retried takes effect twice: nothing here remembers it.
	r = runFixed(t, "length 8s\nworkload clients 0\nworkload retry 1\ndo 1s n1 write\nfault 900ms 2s drop r1>n1 rate=1000 message=Answer\n")
	if r.Measures.Twice != 1 || r.Acts[0].Times < 2 || r.Acts[0].Outcome != "answered" {
		t.Errorf("%+v %+v", r.Measures, r.Acts)
	}
	// Without a majority nothing is acknowledged.
	r = runFixed(t, "length 20s\nfault 5s 10s split r1,r2/r3,r4,r5\n")
	if r.Measures.Gap < 10*id.Second || r.Measures.Lost != 0 {
		t.Errorf("%+v", r.Measures)
	}
}

// A fault with a trigger begins when the thing happens, and falls on who did it.
func TestTriggers(t *testing.T) {
	r := runFixed(t, "length 5s\nworkload clients 0\ndo 1s n1 write\nfault 500ms@held2 60s isolate leader\n")
	if a := r.Acts[0]; a.Outcome != "pending" && a.Outcome != "unknown" || a.Kept {
		t.Errorf("two hold it: %+v", a)
	}
	r = runFixed(t, "length 5s\nworkload clients 0\ndo 1s n1 write\nfault 500ms@decided1 60s isolate leader\n")
	if a := r.Acts[0]; !a.Kept {
		t.Errorf("decided: %+v", a)
	}
	r = runFixed(t, "length 5s\nworkload clients 0\ndo 1s n1 write\nfault 500ms@send-Ack 60s crash n4 lose=none\nfault 3s@now 1s crash leader lose=none\n")
	if r.Final[3].Up || !r.Final[2].Up || !r.Final[4].Up {
		t.Errorf("%+v", r.Final)
	}
}

// A paused node does nothing, then everything that waited, in order.
func TestAPausedNodeGoesOnWhereItWas(t *testing.T) {
	r := runFixed(t, "length 10s\nworkload clients 0\ndo 1s n2 write\ndo 2s n2 write\nfault 500ms 5s pause n1\n")
	if s := r.Final[0]; s.Length != 2 || s.Ops[0] != 1 || s.Ops[1] != 2 {
		t.Errorf("%+v", s)
	}
}

// A wiped node has nothing; a killed one everything it wrote.
func TestWipeAndKill(t *testing.T) {
	r := runFixed(t, "length 10s\nworkload clients 0\ndo 1s n1 write\nfault 2s 1s wipe n1\nfault 2s 1s crash n2 lose=none\nfault 2s 1s crash n3 lose=all\n")
	if r.Final[0].Length != 0 || r.Final[1].Length != 1 || r.Final[2].Length != 1 {
		t.Errorf("%+v", r.Final)
	}
}

func TestTemplate(t *testing.T) {
	p := Protocol{Name: "p", Slowest: 10 * id.Second, Ranks: []Node{3, 0, 0, 2, 1}, Helpers: 2, Reply: "Vote"}
	r, err := Template("quorate recipe 2\nseed 1\nlength 60s+60s|2T+T\nvoters all\nspares aux\nfault 3T/2 60s|2T split r1,r2/r3,r4,r5,aux\nfault 1s T hold *>* message=REPLY by=T count=1\nfault 1s 1s cut r2>r3\ncaption 2T {r1} for {T}, {x} {\n", p)
	if err != nil {
		t.Fatal(err)
	}
	want := "quorate recipe 2\nprotocol p\nseed 1\nlength 130s\nvoters n1,n2,n3\nspares n4,n5\nfault 15s 60s split n3/n2,n1,n4,n5\nfault 1s 10s hold *>* message=Vote by=10s count=1\ncaption 20s n3 for 10s, x {\n"
	if got := r.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, c := range []struct{ text, want string }{
		{"quorate recipe 2\nlength 2X\n", `recipe: line 2: "2X" is not a span of time; want a whole number and s, ms, us or ns, as 150ms`},
		{"quorate recipe 2\nlength 3T/0\n", `recipe: line 2: "3T/0" is not a span; want 150ms, 2T or 3T/2 (T is the protocol's slowest detection of a lost leader)`},
		{"quorate recipe 1\n", `recipe: line 1: unknown version "1"; this program reads version 2`},
	} {
		if _, err := Template(c.text, p); err == nil || err.Error() != c.want {
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		}
	}
}

// What no run can follow is refused with one line.
func TestRunRefusesWhatItCannotDo(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"length 1s\nbroken gravity\n", `recipe: line 5: fixed has no rule "gravity" to break; it has no-sync, two, stuck, panic`},
		{"length 1s\nworkload hurry 1\n", `recipe: line 5: unknown workload "hurry"`},
		{"length 1s\nconfig hurry 1\n", `recipe: line 5: unknown config "hurry"`},
		{"length 1s\nfault 0s 1s stall n1 by=1s\n", `recipe: "fault 0s 1s stall n1 by=1s": this fault is the simulator's; the lab has crash, power, pause, wipe, drift, freeze, jump and those of the network`},
		{"length 1s\nbroken stuck\n", `fixed, seed 7: node 1 does not move its deadline: 1000 Dues at one moment`},
		{"length 1s\nbroken panic\n", `fixed, seed 7: a machine panicked at it was told`},
	} {
		_, err := tryFixed(c.body, nil)
		if err == nil || err.Error() != c.want && !strings.Contains(c.want, "panicked") || strings.Contains(c.want, "panicked") && !strings.Contains(err.Error(), "panicked at") {
			t.Errorf("%q:\n got %v\nwant %s", c.body, err, c.want)
		}
	}
}

func TestExpectations(t *testing.T) {
	r := runFixed(t, "length 5s\nworkload clients 0\ndo 1s n1 write\n")
	for text, want := range map[string]bool{
		"lost = 0": true, "lost > 0": false, "do1 = answered": true, "do1 = refused": false, "kept1 = yes": true, "times1 = 1": true, "at1 = 1": true,
		"gap > 3s": true, "gap < 3s": false, "leader = n5": true, "leader != n5": false, "role n1 = follower": true, "epoch n1 >= 1": true,
		"decided n5 = 1": true, "fired R1 = 1": true, "fired R9 > 0": false, "zab: lost > 9": true, "zab,fixed: lost > 9": false, "acked <= 1": true,
	} {
		r.Recipe.Expect = []string{text}
		list, err := Expectations(r.Recipe)
		if err != nil {
			t.Error(err)
			continue
		}
		if err := Met(list, r); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"lost", "lost = many", "gap < 3", "do2 = answered", "do1 < answered", "role n1 > x", "role = x", "fired = 1", "loss = 0", "leader < n1"} {
		r.Recipe.Expect = []string{text}
		if _, err := Expectations(r.Recipe); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q is taken: %v", text, err)
		}
	}
}

// A killed process comes back to what was only in the cache. If its recovery syncs
// that, the next power cut does not take what the process has acted on since.
func TestSyncedAtStart(t *testing.T) {
	left := func(p Protocol) int {
		r := &run{Options: Options{Protocol: p}, recipe: &sim.Recipe{Seed: 1}, world: sim.NewWorld(1, nil)}
		r.checker = newChecker(r)
		n := newNode(r, 1)
		n.disk.write("log", entryRecord{Entry{Op: 1}})
		n.disk.crash("none")
		if _, found := n.disk.open(); found != 1 {
			t.Errorf("a kill took a record from the cache")
		}
		n.disk.crash("all")
		_, found := n.disk.open()
		return found
	}
	careful := fixedProtocol
	careful.SyncedAtStart = []string{"log"}
	if careless, kept := left(fixedProtocol), left(careful); careless != 0 || kept != 1 {
		t.Errorf("%d left without, %d with", careless, kept)
	}
}
