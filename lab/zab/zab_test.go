package zab

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/recipes"
	"github.com/quorate/quorate/lab/storm"
	"github.com/quorate/quorate/sim"
	"github.com/quorate/quorate/trace"
)

var theProtocol = Protocols()[0]

// recipe resolves a text; lines of a test's own begin at the margin.
func recipe(t *testing.T, text string, broken ...faults.Switch) sim.Recipe {
	t.Helper()
	if !strings.HasPrefix(text, "quorate recipe") {
		text = "quorate recipe 2\n" + text
	}
	r, err := lab.Template(text, theProtocol)
	if err != nil {
		t.Fatal(err)
	}
	r.Broken = append(r.Broken, broken...)
	return r
}

// script is a fault script without its control, which may be another protocol's.
func script(t *testing.T, name string, broken ...faults.Switch) sim.Recipe {
	t.Helper()
	text, ok := recipes.Text(name)
	if !ok {
		t.Fatalf("no recipe %q", name)
	}
	r := recipe(t, text, broken...)
	r.Break, r.Then = nil, nil
	return r
}

func play(t *testing.T, r sim.Recipe, record func(trace.Event)) lab.Result {
	t.Helper()
	got, err := lab.Run(lab.Options{Recipe: r, Protocol: theProtocol, Record: record, Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Every walk-through shows what it says, and its control the other outcome.
func TestRecipesAndTheirControls(t *testing.T) {
	for _, name := range recipes.Names() {
		if !strings.HasPrefix(name, "zab-") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			text, _ := recipes.Text(name)
			r := recipe(t, text)
			expect, err := lab.Expectations(r)
			if err != nil {
				t.Fatal(err)
			}
			if err := lab.Met(expect, play(t, r, nil)); err != nil {
				t.Error(err)
			}
			broken, ok := lab.Controlled(r)
			then, err := lab.Controls(r)
			if err != nil || !ok {
				t.Fatalf("its control: %v %v", ok, err)
			}
			if err := lab.Met(then, play(t, broken, nil)); err != nil {
				t.Errorf("with %v broken: %v", r.Break, err)
			}
		})
	}
}

// The row of the matrix. Nothing that was answered is ever lost, no two leaders
// answer, and the gaps are those of resets (under a second) and of a syncLimit.
func TestMatrixRow(t *testing.T) {
	const s = id.Second
	for _, want := range []struct {
		script      string
		least, most id.Duration // of the longest gap
		changes     int
	}{
		{"f1", 0, s, 1},
		{"f1s", 10 * s, 11 * s, 1},
		{"f2", 10 * s, 11 * s, 1},
		{"f3", 60 * s, 120 * s, 0}, // votes are sent again ever more rarely: see the package's lacks
		{"f4", 10 * s, 11 * s, 1},
		{"f4f", 0, s, 0},
		{"f5", 0, s, 0},
		{"f6", 0, s, 1},
		{"f7", 0, 2 * s, 0},
		{"f8", 10 * s, 11 * s, 1},
		{"f8n", 10 * s, 11 * s, 1},
		{"f9", 15 * s, 16 * s, 0},
		{"f10", 0, s, 0},
		{"f10w", 0, s, 1},
		{"f11", 10 * s, 11 * s, 2},
		{"f12a", 0, s, 0},
		{"f12b", 0, s, 1},
	} {
		seeds := []uint64{1}
		if slices.Contains([]string{"f1", "f2", "f8", "f9"}, want.script) {
			seeds = []uint64{1, 2}
		}
		for _, seed := range seeds {
			r := script(t, want.script)
			r.Seed = seed
			m := play(t, r, nil).Measures
			if m.Lost+m.LostWorst+m.TwoLeaders+m.SameEpoch+m.Divergent+m.Twice != 0 {
				t.Errorf("%s, seed %d: %+v", want.script, seed, m)
			}
			if m.Gap < want.least || m.Gap >= want.most || m.Changes != want.changes {
				t.Errorf("%s, seed %d: a gap of %s and %d changes; want %s to %s and %d", want.script, seed,
					sim.FormatDuration(m.Gap), m.Changes, sim.FormatDuration(want.least), sim.FormatDuration(want.most), want.changes)
			}
			if want.script == "f8" && m.Stale == 0 {
				t.Errorf("f8, seed %d: the survivors do not know for 10 s what was answered, and no read was stale", seed)
			}
		}
	}
}

// A follower that is brought to a new leader's history dies at every fifth of a
// millisecond of it, without power, and so does the leader. Under R11 nothing is
// ever lost; with its order broken in any of ZooKeeper's ways, something is.
func TestCrashAnywhereInSynchronizationM104(t *testing.T) {
	const text = `seed 1
length 40s
voters n1,n2,n3
workload clients 0
do 6s n3 write
do 7s n2 write
do 3s n3 write
fault 5s 10s crash n1 lose=none
fault 12s 18s crash n2 lose=none
fault %dus 5s crash n1 lose=all
fault %dus 60s crash n3 lose=all
`
	lost := func(broken ...faults.Switch) (runs int) {
		for us := 15_200_000; us < 15_330_000; us += 200 {
			if play(t, recipe(t, fmt.Sprintf(text, us, us), broken...), nil).Measures.Lost > 0 {
				runs++
			}
		}
		return runs
	}
	if n := lost(); n != 0 {
		t.Errorf("with every rule in force %d crashes lose something", n)
	}
	for s, bug := range map[faults.Switch]string{logAfterUpToDate: "ZOOKEEPER-3911", epochFirst: "ZOOKEEPER-4643", ackAsync: "ZOOKEEPER-4646, 4785"} {
		if lost(s) == 0 {
			t.Errorf("%s (%s): no crash loses anything", s, bug)
		}
	}
}

// Whatever is lost, doubled, delayed and restarted, nothing that was answered is lost
// and all servers decide the same, by 3 to 9 of them; local reads may be stale. The
// tick is a tenth of the default, so that a run has several elections.
func TestStormsM104(t *testing.T) {
	const storms = 100
	led, changes := 0, 0
	for seed := range uint64(storms) {
		res := play(t, recipe(t, storm.Recipe(seed, storm.Options{Seconds: 15, Config: "config tick 200ms\nconfig resend-max 2s"})), nil)
		up := slices.ContainsFunc(res.Final, func(n lab.NodeState) bool { return n.Up })
		if m := res.Measures; up && m.Lost > 0 || m.LostWorst+m.Divergent+m.SameEpoch > 0 {
			t.Errorf("seed %d: %+v", seed, m)
		}
		if res.Leader != 0 {
			led++
		}
		changes += res.Measures.Changes
	}
	if led < storms*9/10 || changes < storms/2 {
		t.Errorf("only %d of %d storms end with a leader; %d changes", led, storms, changes)
	}
}

// A leader that keeps its office without a quorum serves reads of the past for as
// long as the partition lasts.
func TestLeaderWithoutQuorumStepsDown(t *testing.T) {
	kept, broken := play(t, script(t, "f2"), nil), play(t, script(t, "f2", keepOffice), nil)
	if kept.Fired("R15") == 0 {
		t.Error("R15 did not fire")
	}
	if a, b := kept.Measures.Stale, broken.Measures.Stale; a > 10 || b < 100 {
		t.Errorf("%d stale reads, and %d with the rule broken", a, b)
	}
}

// What "read sync" does not promise: the old leader is still in office for up to
// a syncLimit and a tick, and answers a SYNC without asking anybody.
func TestSyncAtDeposedLeaderIsStale(t *testing.T) {
	r := recipe(t, `seed 1
length 100s
voters all
workload clients 0
fault 61s 20s split n4,n5/n1,n2,n3
do 60s n1 write
do 71500ms n1 write
do 71800ms n4 read sync
`)
	got := play(t, r, nil)
	if got.Acts[1].Outcome != "answered" || got.Acts[2].Outcome != "answered" || got.Measures.Stale != 1 {
		t.Errorf("%+v, %d stale", got.Acts, got.Measures.Stale)
	}
}

// What a wiped disk takes: n2 acknowledged a write, forgets it, and is a majority
// together with n1, who never had it.
func TestWipedServerForgetsWhatItPromised(t *testing.T) {
	r := recipe(t, `seed 1
length 40s
voters n1,n2,n3
workload clients 0
fault 4s 10s crash n1 lose=none
do 5s n3 write
fault 10s 60s crash n3 lose=none
fault 10s 2s wipe n2
`)
	if got := play(t, r, nil); got.Acts[0].Outcome != "answered" || got.Measures.Lost != 1 {
		t.Errorf("%+v, lost %d", got.Acts, got.Measures.Lost)
	}
}

// A leader that is back before anybody missed it leads again by its old votes, with
// less than its followers have. R9 turns them away, until an initLimit later somebody
// else is elected; without R9 what a majority has on disk is cut off.
func TestLeaderThatIsBackAtOnceM104(t *testing.T) {
	r := recipe(t, `seed 3
length 60s
voters all
workload clients 3
fault 10s@held2 400ms crash leader lose=all reset=no
`)
	takenBack := func() (got lab.Measures, nodes int) {
		got = play(t, r, func(e trace.Event) {
			if e.Kind == trace.Truncated {
				nodes++
			}
		}).Measures
		return got, nodes
	}
	if m, nodes := takenBack(); m.Lost != 0 || nodes != 0 || m.Gap < 20*id.Second || m.Gap > 22*id.Second || m.Changes != 1 {
		t.Errorf("%d servers take something back; %+v", nodes, m)
	}
	r.Broken = []faults.Switch{takeAhead}
	if m, nodes := takenBack(); nodes < 3 || m.Changes != 0 {
		t.Errorf("with take-ahead %d servers take something back; %+v", nodes, m)
	}
}

// ZOOKEEPER-1277: after the last counter of an epoch comes an election.
func TestFullCounterForcesElectionM102(t *testing.T) {
	got := play(t, recipe(t, `seed 1
length 20s
voters n1,n2,n3
config counter-max 10
`), nil)
	if got.Fired("R13") < 5 {
		t.Errorf("R13 fired %d times", got.Fired("R13"))
	}
	if m := got.Measures; m.Lost != 0 || m.Divergent != 0 || m.SameEpoch != 0 || m.Acked < 50 {
		t.Errorf("%+v", m)
	}
	for _, n := range got.Final {
		if n.Epoch < 5 {
			t.Errorf("n%d is in epoch %d", n.Node, n.Epoch)
		}
	}
}

// A run is a function of recipe and seed.
func TestSameSeedSameHash(t *testing.T) {
	text, _ := recipes.Text("zab-no-bully")
	if a, b := play(t, recipe(t, text), nil), play(t, recipe(t, text), nil); a.Hash != b.Hash || a.Events == 0 {
		t.Errorf("%x and %x", a.Hash, b.Hash)
	}
}

func TestVotesCompareEpochThenZxidThenMyidM107(t *testing.T) {
	m := newMachine(config(1)).(*machine)
	for _, c := range []struct{ worse, better vote }{
		{vote{1, 0, 0}, vote{2, 0, 0}},
		{vote{9, zxidOf(1, 1), 1}, vote{1, zxidOf(1, 2), 1}},
		{vote{9, zxidOf(1, 9), 1}, vote{1, zxidOf(1, 1), 2}},
	} {
		if m.better(c.worse, c.better) || !m.better(c.better, c.worse) || m.better(c.better, c.better) {
			t.Errorf("%+v should be worse than %+v", c.worse, c.better)
		}
	}
}

func config(self lab.Node) lab.Config {
	r := sim.Recipe{}
	return lab.Config{Self: self, Voters: []lab.Node{1, 2, 3}, Life: 1, Settings: r.Configuration()}
}

// follower is n1 behind n2, with an epoch it accepted long ago.
func follower(t *testing.T, accepted uint64) *machine {
	t.Helper()
	m := newMachine(config(1)).(*machine)
	m.Step(&lab.Turn{}, lab.Started{Files: map[string][]lab.Body{
		fileAccepted: {recordEpoch{fileAccepted, accepted}},
		fileLog:      {recordTxn{txn{zxid: zxidOf(1, 1), op: 1}}},
	}})
	won := vote{leader: 2, zxid: zxidOf(1, 1), epoch: 1}
	for _, n := range []notification{{won, 1, following, 3, 1}, {won, 1, leading, 2, 1}} {
		m.Step(&lab.Turn{}, lab.Received{From: n.sid, Message: n})
	}
	if m.state != following || m.learning.link.peer != 2 {
		t.Fatalf("%s: a leader with a quorum is not joined", m.state)
	}
	return m
}

func TestLearnerFollowsNoSmallerEpochM106(t *testing.T) {
	for _, c := range []struct {
		epoch uint64
		state string
	}{{2, looking}, {3, following}, {4, following}} {
		m := follower(t, 3)
		m.Step(&lab.Turn{}, lab.Received{From: 2, Message: packet{m.learning.link.number, 9, 1, leaderInfo{c.epoch}}})
		if m.state != c.state || m.accepted != max(3, c.epoch) {
			t.Errorf("LEADERINFO %d: %s, accepted %d", c.epoch, m.state, m.accepted)
		}
	}
}

// Nobody is served before synchronization ends, and the first thing that is
// served has everything the leader called committed.
func TestNoServiceBeforeUpToDateM101(t *testing.T) {
	m := follower(t, 1)
	tell := func(serial uint64, content lab.Body) {
		m.Step(&lab.Turn{}, lab.Received{From: 2, Message: packet{m.learning.link.number, 9, serial, content}})
	}
	tell(1, leaderInfo{1})
	tell(2, diff{zxidOf(1, 2)})
	tell(3, proposal{txn{zxid: zxidOf(1, 2), op: 2}})
	tell(4, commit{zxidOf(1, 2)})
	tell(5, newLeader{1})
	if m.mode() != "not serving" || m.history.log.Decided() != 0 {
		t.Fatalf("%s with %d decided before UPTODATE", m.mode(), m.history.log.Decided())
	}
	tell(6, upToDate{1})
	if m.mode() != "follower" || m.history.log.Decided() != 2 {
		t.Fatalf("%s with %d decided after UPTODATE", m.mode(), m.history.log.Decided())
	}
}

// A proposal that comes behind NEWLEADER is on disk sooner than currentEpoch. Its
// ACK waits nevertheless: were it counted and this server died before its epoch is
// on disk, it would lose an election against one that has the epoch and not the
// proposal.
func TestProposalIsNotAcknowledgedBeforeItsEpochIsOnDisk(t *testing.T) {
	m := follower(t, 1)
	tell := func(serial uint64, content lab.Body) {
		m.Step(&lab.Turn{}, lab.Received{From: 2, Message: packet{m.learning.link.number, 9, serial, content}})
	}
	tell(1, leaderInfo{1})
	tell(2, diff{zxidOf(1, 1)})
	tell(3, newLeader{1})
	tell(4, proposal{txn{zxid: zxidOf(1, 2), op: 2}})
	sent, waits := m.learning.link.sent, m.waits
	m.waits = nil
	for _, w := range waits {
		w.then(&lab.Turn{})
	}
	if m.learning.link.sent != sent || len(m.waits) != 1 {
		t.Fatalf("%d messages are sent before currentEpoch is on disk, and %d wait", m.learning.link.sent-sent, len(m.waits))
	}
	m.waits[0].then(&lab.Turn{})
	if got := m.learning.link.sent - sent; got != 2 || m.learning.whole != zxidOf(1, 2) {
		t.Fatalf("%d messages, up to %v: want the ACK of NEWLEADER, then that of the proposal", got, m.learning.whole)
	}
}

func txns(zxids ...zxid) (list []txn) {
	for i, z := range zxids {
		list = append(list, txn{zxid: z, op: uint64(i + 1)})
	}
	return list
}

func TestShortestWayToTheLeadersHistory(t *testing.T) {
	history := txns(zxidOf(1, 1), zxidOf(1, 2), zxidOf(1, 4), zxidOf(2, 1), zxidOf(2, 2))
	for _, c := range []struct {
		settled []txn
		keep    int
		has     zxid
		want    string
	}{
		{history, 500, zxidOf(2, 2), "DIFF, from 2:2"},
		{history, 500, zxidOf(1, 2), "DIFF, from 1:2"},
		{history, 500, zxidOf(2, 3), "TRUNC, from 2:2"},
		{history, 500, zxidOf(1, 3), "TRUNC, from 1:2"},
		{history, 500, zxidOf(1, 5), "SNAP, from 2:2"}, // TRUNC 1:4 would cross an epoch
		{history, 500, zxidOf(3, 1), "SNAP, from 2:2"},
		{history, 3, zxidOf(1, 2), "SNAP, from 2:2"}, // too far behind
		{history, 3, zxidOf(1, 4), "DIFF, from 1:4"},
		{history, 500, 0, "SNAP, from 2:2"},
		{nil, 500, 0, "DIFF, from 0:0"},
		{nil, 500, zxidOf(1, 1), "SNAP, from 0:0"},
	} {
		w := shortest(c.settled, c.keep, c.has)
		if got := fmt.Sprintf("%s, from %v", w.first.Name(), w.from); got != c.want {
			t.Errorf("has %v, %d kept: %s; want %s", c.has, c.keep, got, c.want)
		}
	}
}

func TestDiskGivesBackHistoryAndEpochs(t *testing.T) {
	h, accepted, current := restore(map[string][]lab.Body{
		fileLog: {
			recordTxn{txn{zxid: zxidOf(1, 1), op: 1}}, recordTxn{txn{zxid: zxidOf(1, 2), op: 2}},
			recordTruncated{zxidOf(1, 1)}, recordTxn{txn{zxid: zxidOf(2, 1), op: 3}},
			recordSnapshot{txns(zxidOf(1, 1), zxidOf(2, 1), zxidOf(2, 2))}, recordTxn{txn{zxid: zxidOf(3, 1), op: 9}},
		},
		fileAccepted: {recordEpoch{fileAccepted, 1}, recordEpoch{fileAccepted, 3}},
		fileCurrent:  {recordEpoch{fileCurrent, 2}},
	}, lab.NewLog())
	if accepted != 3 || current != 2 || h.last() != zxidOf(3, 1) || len(h.txns) != 4 || h.log.Len() != 4 {
		t.Errorf("accepted %d, current %d, %+v", accepted, current, h.txns)
	}
	if _, accepted, _ := restore(map[string][]lab.Body{fileAccepted: {recordEpoch{fileAccepted, 1}}, fileCurrent: {recordEpoch{fileCurrent, 2}}}, lab.NewLog()); accepted != 2 {
		t.Errorf("it is in epoch 2 and would accept %d", accepted)
	}
	if !h.has(zxidOf(2, 2)) || h.has(zxidOf(2, 3)) || h.upTo(zxidOf(2, 9)) != 3 {
		t.Errorf("a zxid is not where it stands: %+v", h.txns)
	}
}

// Packets that come again much later, of a connection in the other direction or of
// one that ended, are not read in the place of this one's.
func TestConnectionReadsNoOther(t *testing.T) {
	c := connection{peer: 2, number: 7}
	if len(c.arrive(packet{7, 9, 1, ping{}})) != 1 || c.answer != 9 {
		t.Fatalf("the first packet is not read: %+v", c)
	}
	if len(c.arrive(packet{7, 8, 2, ping{}})) != 0 || len(c.waiting) != 0 || c.read != 1 {
		t.Errorf("a packet of another answer is read: %+v", c)
	}
	drawn := map[uint64]bool{}
	for _, self := range []lab.Node{1, 9} {
		for _, life := range []int{1, 2} {
			conf := config(self)
			conf.Life = life
			m := newMachine(conf).(*machine)
			for range 3 {
				drawn[m.draw()] = true
			}
		}
	}
	if len(drawn) != 12 {
		t.Errorf("12 ends of connections have %d numbers", len(drawn))
	}
}

// Messages overtake each other and come again seconds later, while the lead goes
// from n3 to n2, which learned from n3: what n2 said as a learner must not be read as
// what it says as the leader. (With this seed three transactions were skipped so, as
// long as both ends numbered their connections from 1 on.)
func TestReplaysOfFormerConnections(t *testing.T) {
	m := play(t, recipe(t, `seed 41
length 70s
voters n1,n2,n3
workload every 198ms
fault 49798ms@ack 6301ms power * lose=none
fault 65s 3260ms pause n3
fault 6738ms 17689ms replay *>* rate=241 within=7949ms
fault 6738ms 17689ms reorder *>* rate=439 by=211ms
fault 15251ms@held1 634ms isolate leader
fault 18485ms@lead 39ms pause leader
`), nil).Measures
	if m.Acked < 400 || m.Divergent+m.Lost+m.LostWorst+m.SameEpoch != 0 {
		t.Errorf("%+v", m)
	}
}

func TestConnectionReadsInOrder(t *testing.T) {
	c := connection{peer: 2, number: 7}
	var read []string
	for _, serial := range []uint64{1, 3, 3, 4, 1, 2, 2, 6, 5} {
		for _, m := range c.arrive(packet{7, 9, serial, ack{zxid(serial)}}) {
			read = append(read, m.(ack).zxid.String())
		}
	}
	if want := []string{"0:1", "0:2", "0:3", "0:4", "0:5", "0:6"}; !slices.Equal(read, want) {
		t.Errorf("read %v", read)
	}
	for serial := uint64(8); serial < 8+2*waitingMax; serial++ {
		c.arrive(packet{7, 9, serial, ping{}})
	}
	if len(c.waiting) != waitingMax {
		t.Errorf("%d packets wait behind a hole", len(c.waiting))
	}
}
