package enumerate

import (
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quorate/quorate/internal/faults"
)

var large = flag.Bool("large", false, "visit the large bounds too: some minutes and gigabytes")

// run is Run for a search that must find nothing wrong.
func run(t *testing.T, o Options) Report {
	t.Helper()
	r, err := Run(o)
	judged(t, r, err)
	return r
}

func judged(t *testing.T, r Report, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if r.Violation != nil {
		t.Fatal(r.Violation)
	}
	if !r.Complete || len(r.Surprises) > 0 {
		t.Fatalf("complete %v (%s), surprises:\n%s", r.Complete, r.Stopped, strings.Join(r.Surprises, "\n"))
	}
}

// total sums a row's counts over the disks.
func total(r Report, s Situation) (failures, all Counts) {
	for _, w := range r.Rows {
		if w.Situation == s {
			for _, p := range []struct{ to, from *Counts }{{&failures, &w.Failures}, {&all, &w.All}} {
				p.to.States += p.from.States
				p.to.Kept += p.from.Kept
				p.to.Lost += p.from.Lost
				p.to.Depends += p.from.Depends
				p.to.Answered += p.from.Answered
				p.to.Twice += p.from.Twice
				p.to.TwiceWithSessions += p.from.TwiceWithSessions
			}
		}
	}
	return failures, all
}

// small is the search that most tests ask; it is run once.
var small = sync.OnceValues(func() (Report, error) { return Run(Small()) })

// met returns what became of a situation: right after the failure, and of all
// that can follow it. The search must have found nothing wrong.
func met(t *testing.T, s Situation) (failures, all Counts) {
	t.Helper()
	r, err := small()
	judged(t, r, err)
	failures, all = total(r, s)
	if failures.States == 0 {
		t.Fatalf("no way leads into %q", captions[s].English)
	}
	return failures, all
}

// The seven situations, every crash point and every delivery order with one crash
// and one further election. The number of states is the same on every machine; a
// change of raft changes it: look at the table, then write the new number down.
func TestTheSevenSituationsAreEnumeratedM59(t *testing.T) {
	r, err := small()
	judged(t, r, err)
	t.Log("\n" + r.String())
	if r.States != 1006703 {
		t.Errorf("%d states, were 1006703", r.States)
	}
	for s := BeforeData; s < situations; s++ {
		met(t, s)
	}
}

func TestLeaderFailsBeforeItHasTheCommandM51(t *testing.T) {
	if _, c := met(t, BeforeData); c.Lost != c.States || c.Answered > 0 {
		t.Errorf("the command must appear nowhere: %+v", c)
	}
}

func TestOnlyTheLeaderHasTheCommandM52(t *testing.T) {
	failures, c := met(t, OnlyLeader)
	if c.Kept == 0 || c.Lost == 0 || failures.Depends == 0 || c.Answered > 0 {
		t.Errorf("kept, lost, and kept if the old leader comes back first must all be met, without an answer: %+v, %+v", failures, c)
	}
}

func TestAllFollowersHaveTheCommandM53(t *testing.T) {
	if _, c := met(t, AllFollowers); c.Kept != c.States || c.Answered > 0 {
		t.Errorf("a new leader must complete it: %+v", c)
	}
}

func TestSomeFollowerHasTheCommandM54(t *testing.T) {
	met(t, SomeFollower)
	r, _ := small()
	for _, w := range r.Rows {
		if w.Situation != SomeFollower {
			continue
		}
		if c := w.All; w.Disks >= 2 && c.Kept != c.States || w.Disks < 2 && (c.Lost == 0 || c.Kept == 0 || w.Failures.Depends == 0) {
			t.Errorf("on two disks it must be kept, on one it must depend on who wins; on %d: %+v", w.Disks, c)
		}
	}
}

func TestCommandIsCommittedAtTheLeaderM55(t *testing.T) {
	if _, c := met(t, CommittedAtLeader); c.Kept != c.States {
		t.Errorf("it must be kept: %+v", c)
	}
}

func TestCommandIsCommittedEverywhereM56(t *testing.T) {
	if _, c := met(t, CommittedAll); c.Kept != c.States {
		t.Errorf("it must be kept: %+v", c)
	}
}

// That the old leader commits nothing the new one lacks is a rule of every state,
// that one leader and one log are left a rule of every recovery. Here: both fates
// of what only the old one had, and the late news of a commit, are met.
func TestTwoLeadersAreSeenM57(t *testing.T) {
	_, c := met(t, TwoLeaders)
	if r, _ := small(); c.Kept == 0 || c.Lost == 0 || r.LateCommits == 0 {
		t.Errorf("late commits %d, %+v", r.LateCommits, c)
	}
}

func TestWhatWasAnsweredIsKeptM49(t *testing.T) {
	if _, c := met(t, Answered); c.Kept != c.States || c.Answered != c.States {
		t.Errorf("%+v", c)
	}
}

// Without sessions a retry can be applied twice in every situation in which the
// command had reached the leader; with rsm's sessions in no state at all.
func TestRetryIsAppliedOnceWithSessionsM52M56M58(t *testing.T) {
	r := run(t, Options{Crashes: 1, Elections: 1, Retries: 1, Candidates: []int{2},
		Situations: []Situation{BeforeData, OnlyLeader, AllFollowers, CommittedAll}})
	for _, w := range r.Rows {
		if twice := w.All.Twice > 0; twice != (w.Situation != BeforeData) || w.All.TwiceWithSessions > 0 {
			t.Errorf("%q on %d disks: twice in %d states without sessions, in %d with", w.Caption.English, w.Disks, w.All.Twice, w.All.TwiceWithSessions)
		}
	}
	if _, c := total(r, OnlyLeader); c.Answered == 0 || c.Kept == c.Twice {
		t.Errorf("a retry must be able to succeed where the first attempt was lost: %+v", c)
	}
}

// Every broken rule is found, with a shortest story.
func TestBrokenRulesAreFound(t *testing.T) {
	for _, c := range []struct {
		name  string
		o     Options
		rule  Rule
		steps int // of the story, its opening included
		ends  string
		large bool
	}{
		{"an acknowledgement before the fsync", Options{Break: []faults.Switch{faults.AckBeforeDurable}}, DurableMajority, 5,
			"n1 receives from n2: in term 1 my log is yours up to entry 2. n1 takes entry 2 for committed.", false},
		{"a leader that counts twice", Options{Break: []faults.Switch{faults.CountSelfTwice}}, DurableMajority, 3, "n1 takes entry 2 for committed.", false},
		{"and what it costs", Options{Crashes: 1, Break: []faults.Switch{faults.CountSelfTwice}, Ignore: []Rule{DurableMajority}}, Recovery, 4, "n1 crashes.", false},
		{"votes without comparing logs", Options{Elections: 1, Break: []faults.Switch{faults.NoLogCheck}, Ignore: []Rule{Recovery}}, LeaderCompleteness, 11,
			"n2 receives from n3: my vote in term 2 is yours. It is the leader of term 2 now, with the log 1/t1 a leader's first, 2/t2 a leader's first.", false},
		{"two votes in a term", Options{Crashes: 1, Elections: 2, Candidates: []int{1, 2}, Break: []faults.Switch{faults.DoubleVote}, Ignore: []Rule{Recovery}}, OneVote, 9, "vote for n1.", false},
		{"and what they cost", Options{Crashes: 1, Elections: 2, Candidates: []int{1, 2}, Break: []faults.Switch{faults.DoubleVote}, Ignore: []Rule{Recovery, OneVote}}, ElectionSafety, 13,
			"It is the leader of term 2 now, with the log 1/t1 a leader's first, 2/t2 a leader's first.", false},
		{"an older term counted", Options{Elections: 1, Candidates: []int{3}, OneEntryPerMessage: true, Break: []faults.Switch{faults.CountPriorTerm}}, OwnTerm, 13, "n3 takes entry 2 for committed.", false},
		{"applied before it is durable", Options{Crashes: 1, Break: []faults.Switch{faults.ApplyBeforeDurable}, Ignore: []Rule{Recovery}}, DurableFirst, 8, "n1 receives from n3: in term 1 my log is yours up to entry 2.", false},
		{"a conflict that is kept", Options{Elections: 1, Break: []faults.Switch{faults.KeepConflict}}, Recovery, 6, "n1 steps down: there is term 2.", false},
		{"committed past what was verified", Options{Elections: 1, Break: []faults.Switch{faults.CommitPastVerified}}, Recovery, 10, "in term 2 my log is yours up to entry 2.", false},
		{"and what it costs: Figure 8", Options{Elections: 3, Candidates: []int{3, 1, 3}, OneEntryPerMessage: true, Break: []faults.Switch{faults.CountPriorTerm},
			Ignore: []Rule{OwnTerm}, Situations: []Situation{Deposed}}, Recovery, 25, "n1 takes entry 2 for committed.", true},
	} {
		if c.large && !*large {
			continue
		}
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			r, err := Run(c.o)
			if err != nil {
				t.Fatal(err)
			}
			v := r.Violation
			if v == nil {
				t.Fatalf("%d states and nothing found", r.States)
			}
			if v.Rule != c.rule || len(v.Steps) != c.steps || !strings.HasSuffix(v.Steps[len(v.Steps)-1], c.ends) {
				t.Errorf("want %s in %d steps, ending in %q; got\n%v(%d steps)", c.rule, c.steps, c.ends, v, len(v.Steps))
			}
			// The same bounds with the rule whole: the search can also find nothing.
			c.o.Break, c.o.Ignore, c.o.StatesMax = nil, nil, 20_000
			if r, err := Run(c.o); err != nil || r.Violation != nil {
				t.Errorf("unbroken: %v\n%v", err, r.Violation)
			}
		})
	}
}

// What is found does not depend on the order in which states are visited, and
// taking the two followers for each other hides nothing.
func TestTheOrderOfVisitsAndTheNamesOfFollowersDecideNothing(t *testing.T) {
	o := Options{Crashes: 1, Elections: 1, Situations: []Situation{OnlyLeader, AllFollowers, SomeFollower}}
	table := func(backwards, apart bool) (numbers, outcomes string) {
		o := o
		o.NoSymmetry = apart
		g, err := newSearch(o)
		if err != nil {
			t.Fatal(err)
		}
		g.backwards = backwards
		r, err := g.run()
		if err != nil || !r.Complete || len(r.Surprises) > 0 {
			t.Fatal(err, r.Stopped, r.Surprises)
		}
		numbers = fmt.Sprintln(r.States, r.Transitions, r.Unfailed)
		for _, w := range r.Rows {
			numbers += fmt.Sprintln(w.Situation, w.Disks, w.Failures, w.All)
			outcomes += fmt.Sprintln(w.Situation, w.Disks, w.All.Kept > 0, w.All.Lost > 0, w.All.Depends > 0)
		}
		return numbers, outcomes
	}
	together, outcomes := table(false, false)
	if other, _ := table(true, false); other != together {
		t.Errorf("forwards:\n%s\nbackwards:\n%s", together, other)
	}
	apart, same := table(false, true)
	if same != outcomes || apart == together {
		t.Errorf("with the followers told apart:\n%s%s\ntaken for each other:\n%s%s", apart, same, together, outcomes)
	}
	if other, _ := table(true, true); other != apart {
		t.Errorf("apart, forwards:\n%s\nbackwards:\n%s", apart, other)
	}
}

// The bounds of a person who waits: minutes, not seconds.
func TestLargeBounds(t *testing.T) {
	if !*large {
		return
	}
	for _, o := range []Options{
		{Elections: 1, Heartbeats: 1},
		{Elections: 1, Duplicates: 1},
		{Crashes: 1, Elections: 1, PreVoteSteps: true},
		{Crashes: 1, Elections: 2, Situations: []Situation{AllFollowers, SomeFollower}},
		{Crashes: 1, Elections: 1, Retries: 1, Situations: []Situation{BeforeData, OnlyLeader, AllFollowers, SomeFollower, CommittedAtLeader, CommittedAll}},
		Large(),
	} {
		t.Log("\n" + run(t, o).Markdown())
	}
}

// Whatever is broken, a search ends in a report.
func TestEveryBrokenRuleEndsInAReport(t *testing.T) {
	for _, s := range faults.All {
		r, err := Run(Options{Crashes: 1, Elections: 2, Heartbeats: 1, Break: []faults.Switch{s}, StatesMax: 3000, Ignore: []Rule{OneVote, Halted, DurableMajority}})
		if err != nil || r.Violation == nil && r.States != 3000 {
			t.Errorf("%s: %v, %d states", s, err, r.States)
		}
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	for want, o := range map[string]Options{
		"enumerate: Crashes is -1; give 0 to 6":             {Crashes: -1},
		"enumerate: Retries is 2; give 0 to 1":              {Retries: 2},
		"enumerate: candidate 4; the members are 1 to 3":    {Candidates: []int{4}},
		`enumerate: no rule is called "luck"`:               {Ignore: []Rule{"luck"}},
		`enumerate: unknown break switch "gravity"`:         {Break: []faults.Switch{"gravity"}},
		"enumerate: situation 77; they are numbered 1 to 9": {Situations: []Situation{77}},
	} {
		if _, err := Run(o); err == nil || err.Error() != want {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// A limit, or the caller, ends a search in a report that says so.
func TestSearchThatIsStoppedSaysSo(t *testing.T) {
	o := Small()
	o.StatesMax = 100
	r, err := Run(o)
	if err != nil || r.Complete || r.States != 100 || !strings.Contains(r.String(), "No verdict") {
		t.Errorf("%v\n%v", err, r)
	}
	o.StatesMax = 0
	calls := 0
	o.Progress = func(p Progress) bool { calls++; return p.States < 2*progressEvery }
	if r, err = Run(o); err != nil || calls != 2 || r.Complete || r.States != 2*progressEvery {
		t.Errorf("%v: %d calls, %d states, complete %v", err, calls, r.States, r.Complete)
	}
}

func TestEverySituationIsCaptionedInBothLanguages(t *testing.T) {
	for s := BeforeData; s < situations; s++ {
		for _, x := range []Text{captions[s], expectations[s]} {
			if x.English == "" || x.Chinese == "" {
				t.Errorf("situation %d lacks a text", s)
			}
		}
	}
	r, err := Run(Options{Crashes: 1})
	if err != nil {
		t.Fatal(err)
	}
	if m := r.Markdown(); !strings.Contains(m, "| M52 |") || !slices.Contains(strings.Split(m, "\n"), "Every rule holds in every state, and every situation ends as stated.") {
		t.Error(m)
	}
	if b, err := json.Marshal(r); err != nil || !strings.Contains(string(b), `"Situation":"only the leader"`) {
		t.Errorf("%v\n%s", err, b)
	}
}
