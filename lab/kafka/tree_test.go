package kafka

import (
	"bytes"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/rsm"
)

// tell applies a command and returns what the tree says.
func tell(t *testing.T, tr *tree, command string) string {
	t.Helper()
	tr.applied++
	results, err := tr.Apply(rsm.Batch{Commands: []rsm.Command{{Index: tr.applied, Data: []byte(command)}}, Applied: tr.applied}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(results[0])
}

// The story of two brokers and the tree, step by step.
func TestTree(t *testing.T) {
	tr := &tree{}
	for i, c := range []struct{ command, want string }{
		{"elect 1", "no such session"},
		{openCommand(5, 1, 1), "ok 1"},
		{openCommand(5, 1, 1), "ok 1"}, // asked again, as its answer got lost
		{openCommand(4, 1, 1), "ok 2"},
		{"elect 1", "ok 1"},
		{"elect 1", "ok 1"},
		{"elect 2", "no there is a controller"},
		{putCommand(1, partition{Leader: 5, Epoch: 1, Version: 1, ISR: []lab.Node{5, 4}}), "ok 1"},
		{putCommand(1, partition{Leader: 5, Epoch: 1, Version: 1, ISR: []lab.Node{5, 4}}), "no the partition has another version"},
		{putCommand(0, partition{Leader: 5, Epoch: 1, Version: 2, ISR: []lab.Node{5}}), "ok 2"},
		{openCommand(5, 2, 1), "ok 6"}, // the broker restarted: its old session is over, /controller with it
		{openCommand(5, 1, 1), "no the broker has registered anew since"},
		{"elect 2", "ok 2"},
		{putCommand(1, partition{Leader: 5, Epoch: 2, Version: 3, ISR: []lab.Node{5}}), "no this controller is not the newest"},
		{"expire 2", "ok 2"},
		{"expire 2", "no such session"},
		{"elect 6", "ok 3"},
	} {
		if got := tell(t, tr, c.command); got != c.want {
			t.Fatalf("%d: %s: got %q, want %q", i, c.command, got, c.want)
		}
	}
	s := &tr.state
	if s.controller() != 5 || s.Epoch != 3 || s.live(4) || !s.live(5) || !s.Partition.same(partition{Leader: 5, Epoch: 1, ISR: []lab.Node{5}}) {
		t.Errorf("%+v", s)
	}
}

// A state that was handed out never changes.
func TestTreeHandsOutValues(t *testing.T) {
	tr := &tree{}
	tell(t, tr, openCommand(5, 1, 1))
	tell(t, tr, openCommand(3, 1, 1))
	before := tr.state
	tell(t, tr, openCommand(4, 1, 1))
	tell(t, tr, "expire 1")
	if len(before.Brokers) != 2 || before.Brokers[0].Broker != 3 || before.Brokers[1].Broker != 5 {
		t.Errorf("%+v", before)
	}
}

// A snapshot brings the tree back, and its damage is an error.
func TestTreeRestores(t *testing.T) {
	tr := &tree{}
	tell(t, tr, openCommand(5, 1, 1))
	tell(t, tr, openCommand(4, 3, 2))
	tell(t, tr, "elect 1")
	tell(t, tr, putCommand(1, partition{Leader: 5, Epoch: 7, Version: 1, ISR: []lab.Node{5, 4}}))
	var b bytes.Buffer
	if _, err := tr.View().WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	want := "tree 4 1 1\nbroker 4 2 3 2\nbroker 5 1 1 1\npartition 5 7 1 [5,4]\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	fresh := &tree{}
	if err := fresh.Restore(rsm.Meta{Index: 9}, &b); err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if _, err := fresh.View().WriteTo(&again); err != nil || again.String() != want || fresh.View().Applied() != id.Index(9) {
		t.Errorf("%v %s", err, again.String())
	}
	for _, damaged := range []string{"tree 4 1\n", "tree 4 1 1\nbroker 5\n", "tree x 1 1\n", "\n", "partition 5 7 1 [5,x]\n"} {
		if (&tree{}).Restore(rsm.Meta{}, strings.NewReader(damaged)) == nil {
			t.Errorf("%q is taken", damaged)
		}
	}
}

// What nobody of this package writes stops the group instead of being guessed at.
func TestTreeRefusesNonsense(t *testing.T) {
	for _, command := range []string{"", "open 5", "open 5 1 x", "put 1 2 3", "erase 1"} {
		_, err := (&tree{}).Apply(rsm.Batch{Commands: []rsm.Command{{Index: 1, Data: []byte(command)}}, Applied: 1}, nil)
		if err == nil {
			t.Errorf("%q is taken", command)
		}
	}
}
