package lab

import (
	"strconv"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/trace"
)

// puppet does what do lines tell it and nothing else: the checkers' own test.
//
//	write          hold it, decide it, persist it and accept it
//	write …        none: accept it without holding it; lazy: hold and decide it,
//	               persist it and accept it when it is on disk; slow: accept it after 3 s
//	read N         serve the first N entries
//	put P OP       put an operation at a position; decide P; cut P
//	both OP OP     put two behind the last position, in one step
//	cache          write a record without an fsync
//	lead E, rest   take itself for the leader in an epoch; or not
//	follow N       take another for the leader
//	refuse, clock  refuse; tell the clock in milliseconds
type puppet struct {
	log     *Log
	view    View
	due     id.Time
	waiting []Request
	durable []Request
}

func puppetProtocol() Protocol {
	return Protocol{Name: "puppet", Slowest: id.Second, Epochs: true, New: func(Config) Machine {
		l := NewLog()
		return &puppet{log: l, due: id.Never, view: View{Role: "puppet", Log: l}}
	}}
}

func (p *puppet) Step(t *Turn, e Event) {
	switch e := e.(type) {
	case Started:
		for _, r := range e.Files["log"] {
			p.log.Append(r.(entryRecord).Entry)
		}
		p.log.Decide(p.log.Len())
	case Due:
		p.due = id.Never
		t.Accept(p.waiting[0])
	case Durable:
		for _, r := range p.durable {
			t.Accept(r)
		}
		p.durable = nil
	case Asked:
		number := func(i int) int { n, _ := strconv.Atoi(e.Request.Args[i]); return n }
		r := e.Request
		how := strings.Join(r.Args, " ")
		switch r.Verb {
		case "write":
			p.write(t, r, how)
			return
		case "read":
			t.Serve(r, number(0))
			return
		case "refuse":
			t.Refuse(r, 0, "as it was told")
			return
		case "clock":
			t.Tell(r, strconv.Itoa(int(t.Now/id.Time(id.Millisecond))))
			return
		case "put":
			p.log.Set(number(0), Entry{Op: uint64(number(1))})
		case "decide":
			p.log.Decide(number(0))
		case "cut":
			p.log.Truncate(number(0))
		case "both":
			p.log.Append(Entry{Op: uint64(number(0))})
			p.log.Append(Entry{Op: uint64(number(1))})
		case "cache":
			t.Write("log", entryRecord{Entry{Op: r.Op}})
		case "lead":
			p.view.Leads, p.view.Epoch = true, uint64(number(0))
		case "rest":
			p.view.Leads = false
		case "follow":
			p.view.Leader = Node(number(0))
		}
		t.Tell(r, "done")
	}
}

func (p *puppet) write(t *Turn, r Request, how string) {
	if how == "none" {
		t.Accept(r)
		return
	}
	if how == "slow" {
		p.waiting, p.due = append(p.waiting, r), t.Now.Add(3*id.Second)
		return
	}
	p.log.Decide(p.log.Append(Entry{Op: r.Op}))
	t.Persist("log", entryRecord{Entry{Op: r.Op}})
	if how == "lazy" {
		p.durable = append(p.durable, r)
	} else {
		t.Accept(r)
	}
}

func (p *puppet) Deadline() id.Time      { return p.due }
func (p *puppet) View() View             { return p.view }
func (p *puppet) Details() []trace.Field { return nil }

func runPuppet(t *testing.T, p Protocol, body string) Result {
	t.Helper()
	recipe, err := Template("quorate recipe 2\nseed 7\nlength 30s\nvoters n1,n2,n3\nworkload clients 0\n"+body, p)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(Options{Recipe: recipe, Protocol: p})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What the checkers say of situations made by hand. do lines are numbered from 1, and
// so are their operations.
func TestCheckersOnSituationsMadeByHand(t *testing.T) {
	leaderless := puppetProtocol()
	leaderless.Leaderless = true
	anywhere := puppetProtocol()
	anywhere.AnyServer = true
	for _, c := range []struct {
		name     string
		protocol Protocol
		body     string
		expect   string
	}{
		{"a decided entry that is replaced is judged again", puppetProtocol(),
			"do 1s n1 put 1 1\ndo 2s n1 decide 1\ndo 3s n2 put 1 1\ndo 4s n2 decide 1\ndo 5s n2 put 1 2\n", "divergent = 1"},
		{"a decided entry that is taken back and decided again as it was", puppetProtocol(),
			"do 1s n1 put 1 1\ndo 2s n1 decide 1\ndo 3s n2 put 1 1\ndo 4s n2 decide 1\ndo 5s n2 cut 0\ndo 6s n2 put 1 1\ndo 7s n2 decide 1\n", "divergent = 0"},
		{"what is not decided may differ", puppetProtocol(), "do 1s n1 put 1 1\ndo 2s n1 decide 1\ndo 3s n2 put 1 2\n", "divergent = 0"},
		{"an acknowledged write that the leader took back", puppetProtocol(), "do 1s n1 lead 1\ndo 2s n1 write\ndo 3s n1 cut 0\n", "lost = 1"},
		{"of two leaders the one with the newer epoch counts", puppetProtocol(),
			"do 1s n2 lead 2\ndo 2s n1 lead 1\ndo 3s n1 write\n", "lost = 1; leader = n2; kept3 = no"},
		{"where nobody leads a write is kept if any living node has it", leaderless,
			"do 1s n1 write\ndo 2s n2 write\ndo 3s n2 write\n", "lost = 0; kept1 = yes; kept2 = yes; at3 = 2"},
		{"a leader that is down counts for nothing", puppetProtocol(),
			"do 1s n1 lead 1\ndo 2s n1 write\nfault 3s 60s crash n1 lose=none\n", "leader = none; lost = 1; role n1 = down"},
		{"a node comes back with what it decided", puppetProtocol(),
			"do 1s n1 lead 1\ndo 2s n1 write\nfault 3s 1s crash n1 lose=all\ndo 5s n1 lead 2\n", "leader = n1; lost = 0; kept2 = yes; decided n1 = 1"},
		{"and is compared with those who decided otherwise meanwhile", puppetProtocol(),
			"do 1s n1 write\nfault 2s 3s crash n1 lose=none\ndo 3s n2 write\n", "divergent = 1"},
		{"a read without a write that nobody alive holds is not stale", puppetProtocol(),
			"do 1s n1 write\nfault 2s 60s crash n1 lose=none\ndo 3s n2 read 0\n", "stale = 0"},
		{"but is, once the node that holds it is back", puppetProtocol(),
			"do 1s n1 write\nfault 2s 1s crash n1 lose=none\ndo 4s n2 read 0\n", "stale = 1"},
		{"a write that is acknowledged while a read waits need not be in it", puppetProtocol(),
			"do 1s n1 write\nfault 500ms 2s pause n1\ndo 1500ms n2 read 0\n", "stale = 0; do1 = answered"},
		{"a node that dies in the middle of its report holds nothing", puppetProtocol(),
			"do 500ms n2 write none\nfault 1s@held1 1s crash n1 lose=all\ndo 1500ms n1 both 2 1\ndo 4s n2 read 0\n", "stale = 0; log n1 = 0"},
		{"an acknowledgement on its way when its node dies is heard", puppetProtocol(),
			"do 1s n1 lead 1\ndo 2s n1 write lazy\nfault 2s@ack 1s crash n1 lose=all\n", "do2 = answered; acked = 1; log n1 = 1"},
		{"an answer that comes after the client gave up is nobody's", puppetProtocol(),
			"workload give-up 1s\ndo 1s n1 lead 1\ndo 2s n1 write slow\n", "do2 = unknown; acked = 0; gap = 30s"},
		{"one refusal does not tell what became of another attempt", puppetProtocol(),
			"workload retry 1\nfault 1s 1s drop *>n1 rate=1000 message=Answer\ndo 1500ms n1 refuse\n", "do1 = unknown"},
		{"two leaders that acknowledge in turn", puppetProtocol(),
			"do 1s n1 lead 1\ndo 2s n2 lead 2\ndo 3s n1 write none\ndo 4s n2 write none\ndo 5s n1 write none\n", "two-leaders = 2; same-epoch = 0"},
		{"one that acknowledged before the other came is no second one", puppetProtocol(),
			"do 1s n1 lead 1\ndo 2s n1 write none\ndo 3s n2 lead 2\ndo 4s n2 write none\n", "two-leaders = 0; changes = 1"},
		{"a follower that answers speaks for its leader", anywhere,
			"do 1s n1 lead 1\ndo 2s n2 follow 1\ndo 3s n3 lead 2\ndo 4s n3 write none\ndo 5s n2 write none\n", "two-leaders = 1"},
		{"and for nobody when its leader is down", anywhere,
			"do 1s n1 lead 1\ndo 2s n2 follow 1\ndo 3s n3 lead 2\ndo 4s n3 write none\nfault 4500ms 60s crash n1 lose=none\ndo 5s n2 write none\n", "two-leaders = 0"},
		{"the same leader again is no change", puppetProtocol(), "do 1s n1 lead 1\ndo 2s n1 rest\ndo 3s n1 lead 2\n", "changes = 0; same-epoch = 0"},
		{"there and back are two", puppetProtocol(), "do 1s n1 lead 1\ndo 2s n2 lead 2\ndo 3s n2 rest\ndo 4s n1 rest\ndo 5s n1 lead 3\n", "changes = 2"},
		{"two that lead in one epoch, whether at once or not", puppetProtocol(), "do 1s n1 lead 1\ndo 2s n1 rest\ndo 3s n2 lead 1\n", "same-epoch = 1"},
		{"recovery is the first acknowledgement of a leader that came after the fault", puppetProtocol(),
			"do 1s n1 lead 1\nfault 2s 1s isolate n3\ndo 3s n1 write none\ndo 4s n2 lead 2\ndo 5s n2 write none\n", "recovery > 2999ms; recovery < 3010ms"},
		{"an operation in two positions took effect twice", puppetProtocol(),
			"do 1s n1 lead 1\ndo 2s n1 put 1 1\ndo 3s n1 put 2 1\ndo 4s n1 decide 2\n", "twice = 1; times1 = 2; at1 = 1"},
	} {
		r := runPuppet(t, c.protocol, c.body)
		r.Recipe.Expect = strings.Split(c.expect, "; ")
		list, err := Expectations(r.Recipe)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if err := Met(list, r); err != nil {
			t.Errorf("%s: %v\n%+v", c.name, err, r.Acts)
		}
	}
}

// Faults that overlap on one node end as each would alone.
func TestFaultsThatOverlap(t *testing.T) {
	// The process died, and then its host lost the power: the cache is gone.
	r := runPuppet(t, puppetProtocol(), "do 1s n1 cache\nfault 2s 5s crash n1 lose=none\nfault 3s 1s power * lose=all\n")
	if s := r.Final[0]; !s.Up || s.Length != 0 {
		t.Errorf("%+v", s)
	}
	r = runPuppet(t, puppetProtocol(), "do 1s n1 cache\nfault 2s 5s crash n1 lose=none\nfault 3s 1s pause n1\n")
	if s := r.Final[0]; !s.Up || s.Length != 1 {
		t.Errorf("%+v", s)
	}
	// Down as long as either fault lasts; a wipe below a crash is a wipe.
	r = runPuppet(t, puppetProtocol(), "do 1s n1 write\nfault 2s 25s crash n1 lose=none\nfault 3s 1s wipe n1\nfault 28s 10s wipe n2\n")
	if !r.Final[0].Up || r.Final[0].Length != 0 || r.Final[1].Up {
		t.Errorf("%+v", r.Final)
	}
	// The end of one drift is not the end of another.
	r = runPuppet(t, puppetProtocol(), "fault 1s 9s drift n1 rate=1100000\nfault 2s 1s drift n1 rate=900000\ndo 11s n1 clock\n")
	if ms, _ := strconv.Atoi(r.Acts[0].Said); ms < 11_700 || ms > 11_705 {
		t.Errorf("the clock shows %d ms", ms)
	}
	// Two identical cuts, an isolation and a split at once: the last end heals.
	r = runPuppet(t, puppetProtocol(), "fault 1s 4s cut n1>n2\nfault 1s 4s cut n1>n2\nfault 2s 9s isolate n1\nfault 3s 4s split n1/n2,n3\ndo 12s n1 write\nfault 12s 1s jump n1 by=5s\nfault 12500ms 10s jump n1 by=7s\ndo 4s n1 clock\n")
	if r.Acts[0].Outcome != "answered" || r.Acts[1].Outcome != "answered" {
		t.Errorf("%+v", r.Acts)
	}
}

// A power cut falls on the nodes of the recipe; there is no n2 in this one.
func TestAPowerCutBootsNobodyNew(t *testing.T) {
	recipe, err := Template("quorate recipe 2\nseed 7\nlength 9s\nvoters n1,n3\nworkload clients 0\nfault 1s 1s power * lose=all\n", puppetProtocol())
	if err != nil {
		t.Fatal(err)
	}
	over := 0
	r, err := Run(Options{Recipe: recipe, Protocol: puppetProtocol(), Record: func(e trace.Event) {
		if e.Kind == trace.Fault && e.Fields[0].Name == "over" {
			over++
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Final[0].Up || r.Final[1].Up || !r.Final[2].Up || over != 1 {
		t.Errorf("%+v, over %d times", r.Final, over)
	}
}

// An fsync that ends in a pause is heard of when the process runs again, also if
// another pause began meanwhile.
func TestAnFsyncIsHeardOfAfterThePause(t *testing.T) {
	recipe, err := Template("quorate recipe 2\nseed 7\nlength 30s\nvoters n1\nworkload clients 0\ndo 2s n1 write lazy\nfault 1s@held1 5s pause n1\nfault 4s 10s pause n1\n", puppetProtocol())
	if err != nil {
		t.Fatal(err)
	}
	var durable id.Time
	if _, err := Run(Options{Recipe: recipe, Protocol: puppetProtocol(), Record: func(e trace.Event) {
		if e.Kind == trace.Durable {
			durable = e.Time
		}
	}}); err != nil {
		t.Fatal(err)
	}
	if durable < 14*id.Time(id.Second) {
		t.Errorf("heard of at %d", durable)
	}
}

// A run that would hold too many operations is refused before it begins.
func TestOperationsAreBounded(t *testing.T) {
	_, err := tryFixed("length 3600s\nworkload every 1ms\n", nil)
	want := "recipe: line 5: 5 clients that begin an operation every 1ms for 3600s are 18000005 operations; a run has at most 100000"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}
