package mongo

import (
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// told runs a recipe's text and returns its trace.
func told(t *testing.T, protocol, text string) []trace.Event {
	t.Helper()
	p := found(t, protocol)
	r, err := lab.Template(text, p)
	if err != nil {
		t.Fatal(err)
	}
	var events []trace.Event
	if _, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Quiet: true, Record: func(e trace.Event) { events = append(events, e) }}); err != nil {
		t.Fatal(err)
	}
	return events
}

func text(e trace.Event, name string) string {
	for _, f := range e.Fields {
		if f.Name == name {
			return f.Text
		}
	}
	return ""
}

func number(e trace.Event, name string) uint64 {
	for _, f := range e.Fields {
		if f.Name == name {
			return f.Number
		}
	}
	return 0
}

const lateVeto = head + `length 80s
voters all
workload clients 0
do 50s n5 write
fault 60s 1s crash r1 lose=none
fault 60s 30s hold r2>r5 message=Elect by=4s count=1
`

// A vote is +1, a veto −10000, and the sum decides; who loses sleeps 50 to 1049 ms.
func TestVotesAreSummedUpM115M116(t *testing.T) {
	votes := map[string]int{}
	var lost id.Time
	for _, e := range told(t, "mongo/pv0", lateVeto) {
		if e.Kind == trace.Sent && text(e, "message") == "ElectReply" && e.Time > id.Time(60*id.Second) && number(e, "to") == 4 {
			votes[text(e, "vote")]++
		}
		if e.Kind != trace.Fired || e.Node.Node != 4 || e.Time < id.Time(60*id.Second) {
			continue
		}
		switch {
		case strings.HasSuffix(e.Rule, " R8") && strings.Contains(text(e, "what"), "-9997"):
			lost = e.Time
		case strings.HasSuffix(e.Rule, " R1") && lost != 0:
			if slept := e.Time.Sub(lost); slept < sleepMin {
				t.Errorf("it stood again after %d ms", slept/id.Millisecond)
			}
		}
	}
	if votes["+1"] < 2 || votes["-10000"] != 1 || lost == 0 {
		t.Errorf("votes %v, lost at %d; want two +1, one -10000 and a sum of -9997", votes, lost)
	}
}

// With equal priorities and equal logs candidates tie, and sleep a random while.
func TestEqualMembersTieM114M116(t *testing.T) {
	r := shows(t, "mongo/pv0", head+`length 100s
voters all
workload clients 0
config priorities equal
do 50s n5 write
do 75s n1 write
fault 60s 39s crash r1 lose=none
expect do2 = answered
expect fired R4 > 0
expect fired R9 = 0
expect changes = 1
`)
	if r.Leader == 0 {
		t.Error("the tie was never broken")
	}
}

// Everybody sends heartbeats to everybody, every 2 s.
func TestAllHeartbeatAllM113(t *testing.T) {
	for _, protocol := range []string{"mongo/pv0", "mongo/pv1"} {
		sent := map[[2]uint64]int{}
		for _, e := range told(t, protocol, head+"length 60s\nvoters all\nworkload clients 0\n") {
			if e.Kind == trace.Sent && text(e, "message") == "Heartbeat" {
				sent[[2]uint64{e.Node.Node, number(e, "to")}]++
			}
		}
		for from := uint64(1); from <= 5; from++ {
			for to := uint64(1); to <= 5; to++ {
				if n := sent[[2]uint64{from, to}]; from != to && (n < 29 || n > 34) {
					t.Errorf("%s: n%d sent n%d %d heartbeats in 60 s", protocol, from, to, n)
				}
			}
		}
	}
}

// A vote of pv1 leaves when it is on disk, and not before; a dry run writes nothing.
func TestVoteIsOnDiskBeforeTheReplyM118(t *testing.T) {
	durable := map[uint64]bool{} // the voter's vote of this term
	granted, dry := 0, 0
	for _, e := range told(t, "mongo/pv1", head+"length 20s\nvoters all\nworkload clients 0\n") {
		switch {
		case e.Kind == trace.Durable:
			durable[e.Node.Node] = true
		case e.Kind != trace.Sent || text(e, "message") != "RequestVotesReply":
		case number(e, "dry-run") == 1:
			dry++
			if durable[e.Node.Node] {
				t.Errorf("n%d wrote before the dry run", e.Node.Node)
			}
		default:
			granted++
			if !durable[e.Node.Node] {
				t.Errorf("n%d granted a vote that is not on disk", e.Node.Node)
			}
		}
	}
	if granted != 4 || dry != 4 {
		t.Errorf("%d votes and %d dry answers, want 4 and 4", granted, dry)
	}
}

// n5 and then n4 were alone in office, so their logs parted. n3, which has that of n5,
// is elected and finds that of n4 to be newer: it neither waits for it nor rolls back.
func TestAPrimaryDoesNotRollBackToCatchUp(t *testing.T) {
	shows(t, "mongo/pv1-w1", head+`length 108s
voters all
workload clients 0
do 61s n5 write
do 76s n4 write
fault 52s 48s drop n4>* rate=1000 message=Batch
fault 50s 30s drift n1 rate=900000
fault 50s 30s drift n2 rate=900000
fault 50s 30s drift n3 rate=900000
fault 60s 19s split n5/n1,n2,n3,n4
fault 85s 1s crash n4 lose=none
fault 86s 24s drift n4 rate=900000
expect leader = n3
expect kept1 = yes
expect kept2 = no
expect divergent = 0
expect fired R9 > 0
`)
}

// An operator's hand-over costs a round of votes and not an election timeout.
func TestHandOverNeedsNoTimeout(t *testing.T) {
	shows(t, "mongo/pv1", head+`length 69s
voters all
do 60s n5 hand-over
expect do1 = answered
expect said1 = handed over to n4
expect leader = n4
expect changes = 1
expect gap < 3s
expect lost = 0
`)
}

const slowCatchUp = head + `length 130s
voters all
workload clients 0
fault 60s 8s split r1,r5/r2,r3,r4
fault 67s 60s crash r1 lose=none reset=no
fault 60s 60s drop n1>* rate=1000 message=Batch
do 61s n5 write
`

// A primary that cannot fetch what another has does not serve; the one that has it
// takes over after 30 s.
func TestCatchUpTakeover(t *testing.T) {
	shows(t, "mongo/pv1-w1", slowCatchUp, "expect fired R11 >= 1", "expect kept1 = yes", "expect lost = 0", "expect same-epoch = 0")
}

// Catching up may be bounded: then the write that could not be fetched is lost.
func TestCatchUpMayBeBounded(t *testing.T) {
	shows(t, "mongo/pv1-w1", slowCatchUp, "config catch-up 2s", "expect kept1 = no", "expect lost = 1")
}

// What pv1 lacks: a wiped member votes under its old name, so that the majority
// which elects need not meet the one that acknowledged.
func TestWipedMemberIsTrusted(t *testing.T) {
	const recipe = head + `length 160s
voters all
workload clients 0
fault 58s 10s drop *>n3 rate=1000 message=Batch
fault 58s 10s drop *>n4 rate=1000 message=Batch
fault 60s 60s crash n5 lose=none
fault 60s 60s crash n1 lose=none
do 50s n5 write
do 59s n5 write
do 100s n4 write
expect do2 = answered
expect do3 = answered
`
	shows(t, "mongo/pv1", recipe, "fault 60s 1s wipe n2", "expect lost = 1", "expect kept2 = no")
	shows(t, "mongo/pv1", recipe, "fault 60s 1s crash n2 lose=none", "expect lost = 0", "expect kept2 = yes")
}

// pv0 journals every 100 ms: a power cut takes what a majority acknowledged a moment
// ago, unless the write concern waits for journals.
func TestPowerCutTakesWhatIsNotJournaled(t *testing.T) {
	const recipe = head + "length 100s\nvoters all\nworkload clients 0\ndo 50s n5 write\ndo 60s n5 write\nfault 60s@ack 5s power * lose=all\n"
	shows(t, "mongo/pv0", recipe, "expect do2 = answered", "expect lost = 1")
	shows(t, "mongo/pv0", recipe, "config journal yes", "expect do2 = answered", "expect lost = 0")
}

// Reads are not linearizable: locally a primary shows what is rolled back later and
// misses what the other side has; with read majority a new primary shows no more
// than it knows to be committed, which is less than was acknowledged.
func TestReadsMayBeStale(t *testing.T) {
	const cut = head + "length 150s\nvoters all\nfault 60s 60s split r1,r2/r3,r4,r5\n"
	shows(t, "mongo/pv1-w1", cut, "expect stale > 0")
	shows(t, "mongo/pv1", cut, "config read majority", "expect stale > 0", "expect lost-worst = 0")
	shows(t, "mongo/pv1", cut, "expect stale = 0")
}

// A member far behind is caught up in batches, and a long history of its own is
// rolled back by reading the other's backwards in pieces.
func TestLongHistories(t *testing.T) {
	shows(t, "mongo/pv1-w1", head+`length 70s
voters all
workload every 25ms
workload reads 0
fault 20s 25s split r1,r2/r3,r4,r5
expect lost > 600
expect divergent = 0
expect fired R9 >= 4
expect leader = n5
`)
}

// A setting that is none is an error with its line.
func TestSettingsAreChecked(t *testing.T) {
	p := found(t, "mongo/pv1")
	r, err := lab.Template("quorate recipe 2\nseed 1\nlength 1s\nvoters all\nconfig w 2\n", p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Quiet: true}); err == nil || !strings.Contains(err.Error(), `line 5: config w is "2"; want one of majority, 1`) {
		t.Errorf("%v", err)
	}
}

// A set of one elects itself and serves, also after a restart; a set of two needs
// both.
func TestSmallSets(t *testing.T) {
	for _, protocol := range []string{"mongo/pv0", "mongo/pv1"} {
		shows(t, protocol, head+"length 60s\nvoters n1\nfault 20s 1s crash n1 lose=none\nexpect leader = n1\nexpect lost = 0\nexpect acked > 80\n")
		shows(t, protocol, head+"length 60s\nvoters n1,n2\nfault 20s 30s crash n1 lose=none\nexpect leader = n2\nexpect gap > 29s\nexpect lost = 0\n")
	}
}
