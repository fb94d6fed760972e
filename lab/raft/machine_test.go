package raft

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	production "github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
)

func act(t *testing.T, body string) lab.Result {
	t.Helper()
	_, result := run(t, "quorate recipe 2\nseed 1\nvoters n1,n2,n3\nworkload clients 0\n"+body, Protocols()[0], 0)
	return result
}

// What a recipe's do lines can ask for, and what they get for an answer.
func TestVerbs(t *testing.T) {
	r := act(t, `length 12s
spares n4
do 1s n1 deposit 100
do 1500ms n1 withdraw 30
do 2s n1 withdraw 71
do 2500ms n1 balance
do 3s n2 transfer n1
do 4s n2 write
do 4500ms n1 stale n3
do 5s n1 add-learner n4
do 6s n1 promote n4
do 7s n1 demote n2
do 8s n1 remove n2
do 9s n1 campaign n3
do 10s n1 balance
`)
	want := []string{
		"done: the balance is 100", "done: the balance is 70", "declined: the balance is 70", "70", "handed over", "", "",
		"the membership is v3 n1 n2 n3 n4(learner)", "the membership is v5 n1 n2 n3 n4", "the membership is v6 n1 n2(learner) n3 n4",
		"the membership is v7 n1 n3 n4", "it stands for election if it may", "70",
	}
	for i, a := range r.Acts {
		if a.Outcome != "answered" {
			t.Errorf("do%d is %s: %s", i+1, a.Outcome, a.Said)
		}
		if want[i] != "" && !sameMembers(a.Said, want[i]) {
			t.Errorf("do%d says %q, want %q", i+1, a.Said, want[i])
		}
	}
	if r.Leader != 1 || r.Final[3].Decided == 0 {
		t.Errorf("n%d leads, n4 decided %d", r.Leader, r.Final[3].Decided)
	}
}

// sameMembers compares answers; how many versions the pinning of directories took
// does not matter.
func sameMembers(got, want string) bool {
	strip := func(s string) string {
		before, after, ok := strings.Cut(s, " is v")
		if !ok {
			return s
		}
		_, members, _ := strings.Cut(after, " ")
		return before + members
	}
	return strip(got) == strip(want)
}

func TestWhatNobodyUnderstandsIsRefusedInOneLine(t *testing.T) {
	for ask, want := range map[string]string{
		"deposit":         "deposit needs an amount, as in: do 5s n1 deposit 100",
		"withdraw -5":     "withdraw needs an amount, as in: do 5s n1 withdraw 100",
		"transfer there":  "transfer takes a node or nothing, as in: do 5s n1 transfer n2",
		"promote":         "promote needs nodes, as in: do 5s n1 promote n4 n5",
		"promote n1 four": `promote: "four" is no node`,
		"promote n1":      "membership: ", // production's own words
		"dance":           `raft knows no "dance"; it knows write, read, stale, deposit, withdraw, balance, campaign, transfer, add-learner, add-voter, promote, demote, remove`,
	} {
		r := act(t, "length 3s\ndo 1s n3 "+ask+"\n")
		a := r.Acts[0]
		if a.Outcome != "refused" || !strings.HasPrefix(a.Said, want) || strings.Contains(a.Said, "\n") {
			t.Errorf("%s: %s %q, want %q", ask, a.Outcome, a.Said, want)
		}
	}
}

// A write in the first moment waits until the clients' session is registered.
func TestTheFirstWriteWaitsForTheSession(t *testing.T) {
	r := act(t, "length 2s\ndo 6ms n3 write\n")
	if a := r.Acts[0]; a.Outcome != "answered" || a.Times != 1 || a.Position != 5 {
		t.Errorf("%+v", a)
	}
}

// The ledger's stream gives the ledger again, byte for byte.
func TestLedgerStream(t *testing.T) {
	l := newLedger()
	var cmds []rsm.Command
	for i, verb := range []string{"deposit", "write", "withdraw", "withdraw"} {
		cmds = append(cmds, rsm.Command{Index: id.Index(12 + i), Data: command{op: uint64(i + 1), client: 2, verb: verb, amount: 60}.bytes()})
	}
	results, err := l.Apply(rsm.Batch{Commands: cmds, Applied: 15}, nil)
	if err != nil {
		t.Fatal(err)
	}
	said := []string{"done: the balance is 60", "written", "done: the balance is 0", "declined: the balance is 0"}
	for i, r := range results {
		if string(r) != said[i] {
			t.Errorf("%s, want %s", r, said[i])
		}
	}
	var first, second bytes.Buffer
	if _, err := l.View().WriteTo(&first); err != nil {
		t.Fatal(err)
	}
	again := newLedger()
	if err := again.Restore(rsm.Meta{Index: 15}, bytes.NewReader(first.Bytes())); err != nil {
		t.Fatal(err)
	}
	if _, err := again.View().WriteTo(&second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) || again.View().Applied() != 15 {
		t.Errorf("%s\n%s", first.Bytes(), second.Bytes())
	}
	for _, bad := range []string{"value x\n", "value x y\n", "took x 5\n", "gave 1 5\n"} {
		if err := again.Restore(rsm.Meta{}, strings.NewReader(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := l.Apply(rsm.Batch{Commands: []rsm.Command{{Data: []byte("1 2 deposit many")}}}, nil); err == nil {
		t.Error("a deposit of many is taken")
	}
}

// What stands in the log is told from its envelope, however long its numbers are; a
// retry has the same bytes, and its second place is told as a repeat.
func TestTellReadsTheEnvelope(t *testing.T) {
	s := newState(false)
	s.session = 3
	for _, op := range []uint64{1, 127, 128, 1023, 1024, 1025, 20_000, 3_000_000} {
		c := command{op: op, client: 4, verb: "write"}
		if !slices.Equal(inside(s.encode(c)), c.bytes()) {
			t.Errorf("operation %d: %q in its envelope is read as %q", op, c.bytes(), inside(s.encode(c)))
		}
		e := production.Entry{Index: 9, Data: s.encode(c)}
		if got := s.Tell(e, false); got != (lab.Entry{Op: op, Client: 4}) {
			t.Errorf("%+v", got)
		}
	}
	s.ledger.took[128] = 5
	if got := s.Tell(production.Entry{Index: 9, Data: s.encode(command{op: 128, client: 4, verb: "write"})}, true); got.Kind != "repeat" {
		t.Errorf("%+v", got)
	}
	for _, other := range [][]byte{limits(), rsm.EncodeRegister(), nil, {1}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}} {
		if got := s.Tell(production.Entry{Index: 9, Data: other}, false); got.Kind != "session" {
			t.Errorf("%x is told as %+v", other, got)
		}
	}
}
