package story_test

import (
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/family"
	"github.com/quorate/quorate/lab/story"
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
)

func tell(t *testing.T, name, protocol, language string) (string, lab.Result) {
	t.Helper()
	r, p, err := family.Load(name, protocol)
	if err != nil {
		t.Fatal(err)
	}
	teller := story.New(r, p, language)
	result, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Record: teller.Record})
	if err != nil {
		t.Fatal(err)
	}
	return teller.Text(result), result
}

// A story has its title, its captions in order, who leads, why, who was refused and
// why, what everybody believes after every step, and all verdicts.
func TestAStoryHasWhatAReaderNeeds(t *testing.T) {
	text, _ := tell(t, "f2", "raft", "en")
	at := 0
	for _, want := range []string{
		"F2: the leader is cut off with one other\n", "(raft), seed 1\n", "The network splits: the leader and one node on one side",
		"▌ Five nodes start; n5 ranks highest", "n5 leads (leader, term 1)", "who believes what: n1 n2 n3 n4: n5 leads in 1 · n5: I lead in 1",
		"   60.000 s  ⚡ the network splits: n5 n4 | n3 n2 n1, for 60.0 s", "▌ The network splits", "n5 no longer leads", "refused: ", " not the leader",
		"⚡ the split heals", "takes back",
		"Verdicts", "✓ C1 no term had two leaders", "✓ C3 no acknowledged write is lost", "· C7 changes of leader: 1",
	} {
		i := strings.Index(text[at:], want)
		if i < 0 {
			t.Fatalf("no %q behind\n%s", want, text[:at])
		}
		at += i
	}
	for _, line := range strings.Split(text, "\n") {
		if n := len([]rune(line)); n > 240 {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
}

// The same story in Chinese has the recipe's Chinese texts and none of its English
// ones.
func TestAStoryInChinese(t *testing.T) {
	text, _ := tell(t, "f2", "raft", "zh")
	if !strings.Contains(text, "F2：领导者与另一节点被隔开") || !strings.Contains(text, "分裂愈合。") || strings.Contains(text, "The split heals") {
		t.Error(text)
	}
}

// What a checker saw stands where it happened, and among the verdicts.
func TestAStoryTellsWhatWentWrong(t *testing.T) {
	text, r := tell(t, "f2", "bully/plain", "en")
	for _, want := range []string{"acknowledges writes while n", "that clients had been promised", "✗ C2 ", "✗ C3 "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if r.Measures.Lost == 0 {
		t.Error("nothing lost")
	}
}

// What happens often is told twice at most and then summed up.
func TestRepetitionsAreSummedUp(t *testing.T) {
	r, p, err := family.Load("f2", "raft")
	if err != nil {
		t.Fatal(err)
	}
	teller := story.New(r, p, "en")
	for i := range 1000 {
		teller.Record(trace.Event{Sequence: uint64(i + 1), Time: id.Time(i) * id.Time(id.Second), Node: id.NodeID{Node: 1}, Kind: trace.Fired, Rule: "raft R1", Fields: []trace.Field{trace.Text("what", "it does it again")}})
		teller.Record(trace.Event{Sequence: uint64(i + 1), Time: id.Time(i) * id.Time(id.Second), Node: id.NodeID{Node: 2}, Kind: trace.Noted, Fields: []trace.Field{trace.Text("what", "note"), trace.Num("number", uint64(i))}})
	}
	text := teller.Text(lab.Result{})
	if n := strings.Count(text, "it does it again"); n != 2 {
		t.Errorf("told %d times", n)
	}
	if !strings.Contains(text, "(and again)") || !strings.Contains(text, "lines more") || strings.Count(text, "\n") > 120 {
		t.Error(text)
	}
}

// Two protocols that part are told apart at the right moment; one beside itself
// never parts.
func TestCompare(t *testing.T) {
	side := func(name, protocol string) story.Side {
		r, p, err := family.Load(name, protocol)
		if err != nil {
			t.Fatal(err)
		}
		w := story.NewWatch(r)
		result, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Record: w.Record})
		if err != nil {
			t.Fatal(err)
		}
		return story.Side{Protocol: p, Watch: w, Result: result}
	}
	a, b := side("f2", "raft"), side("f2", "bully/plain")
	text := story.Compare(a, b)
	for _, want := range []string{"raft beside bully/plain", "They part at 60.", "raft: ", "bully/plain: ", "[bully/plain R1]", "longest without an acknowledged write"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if text := story.Compare(side("f5", "raft"), side("f5", "eureka")); !strings.Contains(text, "nobody leads in eureka") || strings.Contains(text, "never part") {
		t.Error(text)
	}
	if same := story.Compare(a, side("f2", "raft")); !strings.Contains(same, "They never part") {
		t.Error(same)
	}
}

// Every kind of fault has words of its own.
func TestFaultsInWords(t *testing.T) {
	for _, kind := range sim.FaultKinds() {
		r := trace.Event{Kind: trace.Fault, Fields: []trace.Field{trace.Text("what", "fault 1s 2s "+string(kind)+" n1 lose=none rate=10 by=3s count=1 message=Vote period=1s")}}
		recipe, p, err := family.Load("f2", "raft")
		if err != nil {
			t.Fatal(err)
		}
		teller := story.New(recipe, p, "en")
		teller.Record(r)
		text := teller.Text(lab.Result{})
		switch kind { // the simulator's own
		case sim.FaultChange, sim.FaultTransfer, sim.FaultSlow, sim.FaultStall, sim.FaultSync, sim.FaultNoSpace:
			continue
		}
		if strings.Contains(text, "⚡ "+string(kind)+" n1") || !strings.Contains(text, "⚡ ") {
			t.Errorf("%s has no words: %s", kind, text)
		}
	}
}

func TestSpans(t *testing.T) {
	for _, c := range []struct {
		d    id.Duration
		want string
	}{{0, "0"}, {223 * id.Millisecond, "223 ms"}, {9650 * id.Millisecond, "9.6 s"}, {125 * id.Second, "125 s"}} {
		if got := story.Span(c.d); got != c.want {
			t.Errorf("%d: %s, want %s", c.d, got, c.want)
		}
	}
	if got := story.Seconds(id.Time(60310 * id.Millisecond)); got != "   60.310 s" {
		t.Errorf("%q", got)
	}
}

// What was expected is said in words, met or not.
func TestExpectationsInWords(t *testing.T) {
	r, p, err := family.Load("majority", "raft")
	if err != nil {
		t.Fatal(err)
	}
	result, err := lab.Run(lab.Options{Recipe: r, Protocol: p})
	if err != nil {
		t.Fatal(err)
	}
	r.Expect = []string{"do1 = unknown", "kept3 = no", "fired check-quorum > 0", "lost = 0", "zab: lost = 9"}
	list, err := lab.Expectations(r)
	if err != nil {
		t.Fatal(err)
	}
	want := "\nExpected of raft\n  ✓ how request 1 ended: expected unknown, found unknown\n  ✗ whether request 3 is kept: expected no, found yes\n" +
		"  ✓ how often rule check-quorum fired: expected > 0, found 1\n  ✓ lost: expected 0, found 0\n"
	if got := story.Expected(list, result); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The lines around a parting begin at the fault, leave out what a protocol does all
// day, and end with the next change of leader.
func TestAPartingIsExplained(t *testing.T) {
	var sides []story.Side
	for _, protocol := range []string{"raft", "zen"} {
		r, p, err := family.Load("f2", protocol)
		if err != nil {
			t.Fatal(err)
		}
		w := story.NewWatch(r)
		result, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Record: w.Record})
		if err != nil {
			t.Fatal(err)
		}
		sides = append(sides, story.Side{Protocol: p, Watch: w, Result: result})
	}
	text := story.Compare(sides[0], sides[1])
	raft, zen, ok := strings.Cut(text, "\nzen: ")
	if !ok || !strings.Contains(raft, " lead, nobody acknowledges writes\n   60.000 s  ⚡ the network splits: n5 n4 | n3 n2 n1, for 60.0 s\n") || !strings.Contains(raft, "[raft majority]") {
		t.Error(text)
	}
	if !strings.HasPrefix(zen, "n1 leads, nobody acknowledges writes\n   60.000 s  ⚡ the network splits: n1 n2 | n3 n4 n5, for 180 s\n             …\n") || strings.Contains(zen, "publishes version") {
		t.Error(text)
	}
	if !strings.Contains(raft, "The leader at the start is n5 with raft and n1 with zen.") {
		t.Error(text)
	}
}

// A node that is down already stays so; nodes that go down together are one line.
func TestNodesThatGoDownTogether(t *testing.T) {
	text, _ := tell(t, "f9", "raft", "en")
	for _, want := range []string{"n1 n2 n3 n4 n5: is down\n", "⚡ n5 stays down, for 15.0 s\n", "n1 n2 n3 n4 n5: down\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// A fault that waited in vain is named: a story without it would mislead.
func TestAFaultThatNothingSetOff(t *testing.T) {
	r, p, err := family.Resolve("quorate recipe 2\nseed 1\nlength 5s\nvoters n1,n2,n3\nworkload clients 0\n"+
		"do 2s n3 write\nfault 1s 1s isolate n1\nfault 1s@ack 1s crash leader lose=none\nfault 4s@ack 1s crash leader lose=none\nfault 1s@held3 1s isolate n1\n", "raft")
	if err != nil {
		t.Fatal(err)
	}
	teller := story.New(r, p, "en")
	result, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Record: teller.Record})
	if err != nil {
		t.Fatal(err)
	}
	text := teller.Text(result)
	if n := strings.Count(text, "nothing set this off"); n != 1 || !strings.Contains(text, "nothing set this off: fault 4s@ack 1s crash leader lose=none\n") {
		t.Errorf("%d times in\n%s", n, text)
	}
}

// What stands on the disk of a node that is down at the end is not counted as kept,
// and the verdict says so.
func TestALossSaysWhoIsDown(t *testing.T) {
	r, p, err := family.Resolve("quorate recipe 2\nseed 1\nlength 3s\nvoters n1,n2,n3\nfault 2s 9s power * lose=all\n", "raft")
	if err != nil {
		t.Fatal(err)
	}
	result, err := lab.Run(lab.Options{Recipe: r, Protocol: p})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, v := range story.Verdicts(p, result) {
		found = found || strings.HasSuffix(v.Text, " (the disk of n1, n2, n3, down at the end, does not count)")
	}
	if !found {
		t.Errorf("%+v", story.Verdicts(p, result))
	}
}
