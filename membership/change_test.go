package membership

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
)

func node(n uint64) id.NodeID { return id.NodeID{Node: n} }

// parse reads "1 2 3L 4.1": voters, learners by an L, incarnations behind a dot.
func parse(t *testing.T, text string) Config {
	t.Helper()
	var members []Member
	for _, f := range strings.Fields(text) {
		m := Member{Role: Voter}
		if s, ok := strings.CutSuffix(f, "L"); ok {
			f, m.Role = s, Learner
		}
		if _, err := fmt.Sscanf(f, "%d.%d", &m.ID.Node, &m.ID.Incarnation); err != nil {
			if _, err := fmt.Sscanf(f, "%d", &m.ID.Node); err != nil {
				t.Fatalf("member %q: %v", f, err)
			}
		}
		members = append(members, m)
	}
	c, err := Bootstrap(members)
	if err != nil {
		t.Fatalf("configuration %q: %v", text, err)
	}
	return c
}

func op(k OpKind, n uint64) Op { return Op{Kind: k, Member: Member{ID: node(n)}} }

func TestLegalSteps(t *testing.T) {
	for _, c := range []struct {
		name, from string
		ops        []Op
		want       string // String of the result
		left       string // String after Leave; empty: it is not joint
	}{
		{"add a learner", "1 2 3", []Op{op(AddLearner, 4)}, "v2 n1 n2 n3 n4(learner)", ""},
		{"add a voter directly", "1 2 3", []Op{op(AddVoter, 4)}, "v2 n1 n2 n3 n4", ""},
		{"a learner that caught up is promoted", "1 2 3 4L", []Op{op(Promote, 4)}, "v2 n1 n2 n3 n4", ""},
		{"remove a voter", "1 2 3", []Op{op(Remove, 2)}, "v2 n1 n3", ""},
		{"remove a learner", "1 2 3L", []Op{op(Remove, 3)}, "v2 n1 n2", ""},
		{"demote", "1 2 3", []Op{op(Demote, 3)}, "v2 n1 n2 n3(learner)", ""},
		{"several learners and one voter need no joint phase", "1", []Op{op(AddLearner, 5), op(AddLearner, 4), op(AddVoter, 2)}, "v2 n1 n2 n4(learner) n5(learner)", ""},
		{"two voters more are joint", "1", []Op{op(AddVoter, 2), op(AddVoter, 3)},
			"v2 n1 n2(absent→voter) n3(absent→voter)", "v3 n1 n2 n3"},
		{"one for another is joint", "1 2 3", []Op{op(AddVoter, 4), op(Remove, 1)},
			"v2 n1(voter→absent) n2 n3 n4(absent→voter)", "v3 n2 n3 n4"},
		{"the only voter is replaced", "1 2L", []Op{op(Promote, 2), op(Remove, 1)},
			"v2 n1(voter→absent) n2(learner→voter)", "v3 n2"},
		{"the swap of the paper's Figure 11 and a learner beside it", "1 2 3 4L", []Op{op(Demote, 1), op(Promote, 4), op(AddLearner, 5)},
			"v2 n1(voter→learner) n2 n3 n4(learner→voter) n5(absent→learner)", "v3 n1(learner) n2 n3 n4 n5(learner)"},
		{"a learner that leaves in a joint change is listed until it ends", "1 2L", []Op{op(AddVoter, 3), op(AddVoter, 4), op(Remove, 2)},
			"v2 n1 n2(learner→absent) n3(absent→voter) n4(absent→voter)", "v3 n1 n3 n4"},
		{"a wiped member's next life joins beside the old one", "1 2 3",
			[]Op{{AddLearner, Member{ID: id.NodeID{Node: 3, Incarnation: 1}}}}, "v2 n1 n2 n3 n3.1(learner)", ""},
		{"and takes its place", "1 2 3 3.1L", []Op{{Promote, Member{ID: id.NodeID{Node: 3, Incarnation: 1}}}, op(Remove, 3)},
			"v2 n1 n2 n3(voter→absent) n3.1(learner→voter)", "v3 n1 n2 n3.1"},
		{"update changes no role", "1 2 3", []Op{{Update, Member{ID: node(2), Role: Learner, Name: "b"}}}, "v2 n1 n2 n3", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			from := parse(t, c.from)
			before := from.Clone()
			got, err := from.Apply(Change{If: 1, Ops: c.ops})
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != c.want {
				t.Errorf("got  %v\nwant %v", got, c.want)
			}
			if !reflect.DeepEqual(from, before) {
				t.Errorf("Apply changed its receiver: %v", from)
			}
			if got.Joint != (c.left != "") {
				t.Fatalf("joint is %v", got.Joint)
			}
			if !got.Joint {
				if _, err := got.Leave(); !errors.Is(err, ErrNotJoint) {
					t.Errorf("leaving a simple configuration: %v", err)
				}
				return
			}
			left, err := got.Leave()
			if err != nil || left.String() != c.left {
				t.Errorf("left %v, %v\nwant %v", left, err, c.left)
			}
		})
	}
}

func TestIllegalStepsSayWhichAndWhy(t *testing.T) {
	many := make([]Op, OpsMax+1)
	for i := range many {
		many[i] = op(AddLearner, uint64(i+10))
	}
	for _, c := range []struct {
		name, from string
		change     Change
		is         error
		text       string // part of the error
	}{
		{"stale", "1", Change{If: 7, Ops: []Op{op(AddVoter, 2)}}, ErrStale, "change for version 7, the configuration is at 1"},
		{"no steps", "1", Change{}, ErrOps, "no steps"},
		{"too many steps", "1", Change{Ops: many}, ErrOps, "65 steps, at most 64"},
		{"a step on nobody", "1", Change{Ops: []Op{{Kind: Remove}}}, ErrOps, "step 1, remove, names no member"},
		{"unknown kind", "1", Change{Ops: []Op{op(99, 1)}}, ErrOps, "step(99)"},
		{"two on one", "1 2", Change{Ops: []Op{op(Demote, 2), op(Remove, 2)}}, ErrOps, "two steps on n2, demote and remove"},
		{"unknown member", "1", Change{Ops: []Op{op(AddLearner, 2), op(Remove, 9)}}, ErrUnknown, "step 2 of 2, remove n9: not a member"},
		{"added again", "1 2L", Change{Ops: []Op{op(AddVoter, 2)}}, ErrExists, "add voter n2: already a member, as learner"},
		{"an old incarnation", "1 2.3L", Change{Ops: []Op{{AddVoter, Member{ID: id.NodeID{Node: 2, Incarnation: 1}}}}}, ErrExists, "in its later life n2.3"},
		{"promote a voter", "1 2", Change{Ops: []Op{op(Promote, 2)}}, ErrNotLearner, "promote n2: not a learner: it is a voter"},
		{"demote a learner", "1 2L", Change{Ops: []Op{op(Demote, 2)}}, ErrNotVoter, "it is a learner"},
		{"remove the last voter", "1 2L", Change{Ops: []Op{op(Remove, 1)}}, ErrLastVoter, "remove n1: the last voter"},
		{"demote the last voter", "1", Change{Ops: []Op{op(Demote, 1)}}, ErrLastVoter, "demote n1"},
		{"remove all voters one by one", "1 2", Change{Ops: []Op{op(Remove, 1), op(Remove, 2)}}, ErrLastVoter, "step 2 of 2, remove n2"},
		{"two lives as voters", "1 2 3", Change{Ops: []Op{{AddVoter, Member{ID: id.NodeID{Node: 3, Incarnation: 1}}}}}, ErrTwoIncarnations, "n3 and n3.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			from := parse(t, c.from)
			before := from.Clone()
			got, err := from.Apply(c.change)
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, %v\nwant %v with %q", got, err, c.is, c.text)
			}
			if !reflect.DeepEqual(from, before) {
				t.Errorf("a refused change left traces: %v", from)
			}
		})
	}
}

func TestNoChangeWhileJoint(t *testing.T) {
	c, err := parse(t, "1").Apply(Change{Ops: []Op{op(AddVoter, 2), op(AddVoter, 3)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Apply(Change{Ops: []Op{{Update, Member{ID: node(1), Name: "a"}}}}); !errors.Is(err, ErrJoint) {
		t.Errorf("got %v", err)
	}
	if !c.IsVoter(node(1)) || !c.IsVoter(node(3)) || c.IsVoter(node(4)) {
		t.Errorf("voters of either half vote: %v", c)
	}
}

func TestStepsOnNothing(t *testing.T) {
	var none Config
	if err := none.Validate(); err != nil {
		t.Errorf("the zero Config is what a joiner holds: %v", err)
	}
	if none.IsVoter(node(1)) {
		t.Error("in the zero Config nobody votes")
	}
	if _, err := none.Apply(Change{Ops: []Op{op(AddVoter, 1)}}); !errors.Is(err, ErrUnknown) {
		t.Errorf("a joiner decides nothing: %v", err)
	}
}

func TestAddressesAndDirectories(t *testing.T) {
	c, err := Bootstrap([]Member{
		{ID: node(2), Role: Voter, PeerURLs: []string{"http://b:2380"}},
		{ID: node(1), Role: Voter, PeerURLs: []string{"http://a:2380"}, Name: "a"},
	})
	if err != nil {
		t.Fatal(err)
	}
	apply := func(k OpKind, m Member) error {
		next, err := c.Apply(Change{Ops: []Op{{k, m}}})
		if err == nil {
			c = next
		}
		return err
	}
	if err := apply(AddLearner, Member{ID: node(3), PeerURLs: []string{"http://c:2380", "http://a:2380"}}); !errors.Is(err, ErrPeerURL) || !strings.Contains(err.Error(), "http://a:2380 belongs to n1") {
		t.Errorf("another member's address: %v", err)
	}
	if err := apply(AddLearner, Member{ID: id.NodeID{Node: 2, Incarnation: 1}, PeerURLs: []string{"http://b:2380"}}); err != nil {
		t.Errorf("the next life of n2 has its address: %v", err)
	}
	// Publishing addresses and pinning the directory come in any order and keep
	// each other.
	if err := errors.Join(
		apply(Update, Member{ID: node(1), ClientURLs: []string{"http://a:2379"}}),
		apply(Update, Member{ID: node(1), Directory: id.DirectoryID{1}}),
		apply(Update, Member{ID: node(1), PeerURLs: []string{"http://a2:2380"}}),
	); err != nil {
		t.Fatal(err)
	}
	got, _ := c.Find(node(1))
	want := Member{ID: node(1), Role: Voter, Name: "a", PeerURLs: []string{"http://a2:2380"}, ClientURLs: []string{"http://a:2379"}, Directory: id.DirectoryID{1}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := apply(Update, Member{ID: node(1), Directory: id.DirectoryID{2}}); !errors.Is(err, ErrDirectory) {
		t.Errorf("a pin does not change: %v", err)
	}
	if err := apply(Update, Member{ID: node(2), Directory: id.DirectoryID{1}}); !errors.Is(err, ErrDirectory) {
		t.Errorf("n2 runs on a copy of n1's directory: %v", err)
	}
	if c.Version != 5 {
		t.Errorf("four steps from version 1 give %d", c.Version)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	c := Config{Version: 1, Members: []Member{{ID: node(1), Role: Voter, PeerURLs: []string{"p"}, ClientURLs: []string{"c"}}}}
	d := c.Clone()
	d.Members[0].Name, d.Members[0].PeerURLs[0], d.Members[0].ClientURLs[0] = "x", "x", "x"
	if m := c.Members[0]; m.Name != "" || m.PeerURLs[0] != "p" || m.ClientURLs[0] != "c" {
		t.Errorf("the original changed: %+v", m)
	}
}

func TestValidateRefuses(t *testing.T) {
	v := func(n uint64) Member { return Member{ID: node(n), Role: Voter} }
	for _, c := range []struct {
		name string
		c    Config
		text string
	}{
		{"version 0", Config{Members: []Member{v(1)}}, "versions start at 1"},
		{"unsorted", Config{Version: 1, Members: []Member{v(2), v(1)}}, "n2 before n1"},
		{"twice", Config{Version: 1, Members: []Member{v(1), v(1)}}, "n1 before n1"},
		{"node 0", Config{Version: 1, Members: []Member{{Role: Voter}}}, "ids start at 1"},
		{"unknown role", Config{Version: 1, Members: []Member{{ID: node(1), Role: 3}}}, "unknown role"},
		{"no voter", Config{Version: 1, Members: []Member{{ID: node(1), Role: Learner}}}, "no voter"},
		{"nobody", Config{Version: 3}, "no voter"},
		{"absent", Config{Version: 1, Members: []Member{v(1), {ID: node(2)}}}, "without a role"},
		{"a past without joint", Config{Version: 1, Members: []Member{{ID: node(1), Role: Voter, Was: Voter}}}, "not joint"},
		{"outgoing half without voter", Config{Version: 2, Joint: true, Members: []Member{v(1)}}, "outgoing configuration has no voter"},
		{"two lives vote", Config{Version: 1, Members: []Member{v(1), {ID: id.NodeID{Node: 1, Incarnation: 1}, Role: Voter}}}, "two incarnations"},
	} {
		if err := c.c.Validate(); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.text)
		}
	}
	if _, err := Bootstrap(nil); err == nil {
		t.Error("a group of nobody")
	}
	same := []string{"http://a:2380"}
	if _, err := Bootstrap([]Member{{ID: node(1), Role: Voter, PeerURLs: same}, {ID: node(2), Role: Voter, PeerURLs: same}}); !errors.Is(err, ErrPeerURL) {
		t.Errorf("two members at one address: %v", err)
	}
}
