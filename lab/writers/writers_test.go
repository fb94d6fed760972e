package writers

import (
	"strings"
	"testing"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/recipes"
)

// shows runs a recipe and checks its expect lines.
func shows(t *testing.T, text string, more ...string) {
	t.Helper()
	p := Protocols()[0]
	r, err := lab.Template(text+"\n"+strings.Join(more, "\n"), p)
	if err != nil {
		t.Fatal(err)
	}
	expected, err := lab.Expectations(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(expected) == 0 {
		t.Fatal("nothing is expected")
	}
	res, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Met(expected, res); err != nil {
		t.Error(err)
	}
}

const quiet = `quorate recipe 2
seed 1
length 30s
voters all
workload clients 0
`

// TestAFastClockOrdersTheWithdrawalBeforeTheDepositM88: the money has left, and is
// still there, on all nodes alike; with one clock it is not.
func TestAFastClockOrdersTheWithdrawalBeforeTheDepositM88(t *testing.T) {
	account := []string{
		"fault 1s 20s jump n1 by=5s",
		"do 10s n1 deposit 100", "do 11s n2 balance", "do 12s n2 withdraw 100", "do 13s n2 balance", "do 25s n4 balance",
		"expect said2 = 100", "expect said3 = done: the balance is 0",
	}
	n := len(account)
	shows(t, quiet, append(account[:n:n], "expect said4 = 100", "expect said5 = 100", "expect fired R3 = 5")...)
	shows(t, quiet, append(account[:n:n], "broken one-clock", "expect said4 = 0", "expect said5 = 0", "expect fired R3 = 0")...)
}

// TestTwoCountersPayTheSameMoney: good clocks do not help against two at once.
func TestTwoCountersPayTheSameMoney(t *testing.T) {
	shows(t, quiet, "broken one-clock", "do 10s n1 deposit 100", "do 12s n2 withdraw 100", "do 12s n3 withdraw 100", "do 13s n1 balance",
		"expect said2 = done: the balance is 0", "expect said3 = done: the balance is 0", "expect said4 = 0")
}

func TestBadAmountsAreRefused(t *testing.T) {
	shows(t, quiet, "do 1s n1 deposit", "do 2s n1 withdraw -5", "do 3s n1 fly", "do 4s n1 withdraw 1",
		"expect said1 = deposit needs an amount, as in: do 5s n1 deposit 100", "expect do2 = refused",
		"expect said3 = writers knows no \"fly\"; it knows write, read, deposit, withdraw, balance", "expect said4 = declined: the balance is 0")
}

// TestBothSidesOfASplitAnswerAndMeet: available always, and the same in the end.
func TestBothSidesOfASplitAnswerAndMeet(t *testing.T) {
	f2, _ := recipes.Text("f2")
	shows(t, f2, "expect lost = 0", "expect gap < 500ms", "expect refused = 0", "expect stale > 0", "expect divergent > 0")
}

// TestARestartPushesWhatPeersMissed: the node dies right after its answer, while
// nobody hears it.
func TestARestartPushesWhatPeersMissed(t *testing.T) {
	shows(t, quiet, "fault 9s 5s isolate n1", "do 10s n1 deposit 100", "fault 11s 5s crash n1 lose=none", "do 20s n3 balance", "expect said2 = 100")
}

// TestWhatAPeerMissedIsPushedAgainUnderLoad: one Push is lost, and its author goes on
// writing five times a second.
func TestWhatAPeerMissedIsPushedAgainUnderLoad(t *testing.T) {
	shows(t, "quorate recipe 2\nseed 1\nlength 20s\nvoters n1,n2,n3\n", "fault 10s 500ms cut n1>n2", "do 10100ms n1 deposit 100", "do 13s n2 balance", "expect said2 = 100")
}
