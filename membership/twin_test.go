package membership

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/quorum"
)

// twin is a configuration as two sets and nothing else. It knows no joint
// phase: it says which change is legal and who votes and learns after it.
type twin struct{ voters, learners map[id.NodeID]bool }

func twinOf(c Config) twin {
	w := twin{map[id.NodeID]bool{}, map[id.NodeID]bool{}}
	for _, m := range c.Members {
		switch m.Role {
		case Voter:
			w.voters[m.ID] = true
		case Learner:
			w.learners[m.ID] = true
		}
	}
	return w
}

func (w twin) apply(ops []Op) bool {
	touched := map[id.NodeID]bool{}
	for _, o := range ops {
		n := o.Member.ID
		if touched[n] {
			return false
		}
		touched[n] = true
		switch o.Kind {
		case AddVoter, AddLearner:
			for _, set := range []map[id.NodeID]bool{w.voters, w.learners} {
				for m := range set {
					if m == n || m.Node == n.Node && m.Incarnation > n.Incarnation {
						return false
					}
				}
			}
			if o.Kind == AddVoter {
				w.voters[n] = true
			} else {
				w.learners[n] = true
			}
		case Promote:
			if !w.learners[n] {
				return false
			}
			delete(w.learners, n)
			w.voters[n] = true
		case Demote:
			if !w.voters[n] {
				return false
			}
			delete(w.voters, n)
			w.learners[n] = true
		case Remove:
			if !w.voters[n] && !w.learners[n] {
				return false
			}
			delete(w.voters, n)
			delete(w.learners, n)
		case Update:
			if !w.voters[n] && !w.learners[n] {
				return false
			}
		}
		if len(w.voters) == 0 {
			return false
		}
	}
	lives := map[uint64]int{}
	for n := range w.voters {
		if lives[n.Node]++; lives[n.Node] > 1 {
			return false
		}
	}
	return len(ops) > 0
}

// mayDecide tells whether the members of subset, alone, win a vote under j.
func mayDecide(j quorum.Joint, subset map[id.NodeID]bool) bool {
	return j.Vote(func(n id.NodeID) (bool, bool) { return subset[n], true }) == quorum.Won
}

// intersect enumerates all pairs of deciding subsets. Two disjoint ones exist
// iff some subset decides under a while its complement decides under b.
func intersect(a, b Config) bool {
	var all []id.NodeID
	for _, c := range []Config{a, b} {
		for _, m := range c.Members {
			if c.IsVoter(m.ID) && !slices.Contains(all, m.ID) {
				all = append(all, m.ID)
			}
		}
	}
	for bits := range 1 << len(all) {
		in, out := map[id.NodeID]bool{}, map[id.NodeID]bool{}
		for i, n := range all {
			if bits>>i&1 == 1 {
				in[n] = true
			} else {
				out[n] = true
			}
		}
		if mayDecide(a.Quorum(), in) && mayDecide(b.Quorum(), out) {
			return false
		}
	}
	return true
}

func randomChange(r *rand.Rand, c Config) Change {
	var ch Change
	for range 1 + r.IntN(4) {
		o := Op{Kind: OpKind(1 + r.IntN(int(Update)))}
		// Three of four ops aim at a kind that fits some member, so that long
		// legal histories come about.
		m := c.Members[r.IntN(len(c.Members))]
		o.Member.ID = m.ID
		if r.IntN(4) == 0 {
			o.Member.ID = id.NodeID{Node: 1 + r.Uint64N(6), Incarnation: uint32(r.IntN(2))}
		} else if o.Kind == AddVoter || o.Kind == AddLearner {
			o.Member.ID = id.NodeID{Node: 1 + r.Uint64N(6)}
		} else if m.Role == Learner && o.Kind == Demote {
			o.Kind = Promote
		}
		ch.Ops = append(ch.Ops, o)
	}
	return ch
}

// Random histories: a change is legal exactly when the twin says so, leads to
// the twin's voters and learners, and at every step (the entry into a joint
// configuration, and its end) any two deciding sets before and after intersect.
func TestRandomHistoriesEqualTheTwinAndQuorumsIntersect(t *testing.T) {
	const seed = 20261121
	r := rand.New(rand.NewPCG(seed, 1))
	legal, joint, refused := 0, 0, 0
	for history := range 150 {
		c, err := Bootstrap([]Member{{ID: node(1), Role: Voter}, {ID: node(2), Role: Voter}, {ID: node(3), Role: Learner}})
		if err != nil {
			t.Fatal(err)
		}
		for step := range 12 {
			ch := randomChange(r, c)
			want := twinOf(c)
			ok := want.apply(ch.Ops)
			next, err := c.Apply(ch)
			if ok != (err == nil) {
				t.Fatalf("seed %d history %d step %d: %v + %v: got %v, twin says legal is %v", seed, history, step, c, ch.Ops, err, ok)
			}
			if err != nil {
				refused++
				continue
			}
			legal++
			checkStep(t, c, next)
			if next.Joint {
				joint++
				left, err := next.Leave()
				if err != nil {
					t.Fatalf("%v does not leave: %v", next, err)
				}
				checkStep(t, next, left)
				next = left
			}
			if got := twinOf(next); !equalSets(got.voters, want.voters) || !equalSets(got.learners, want.learners) {
				t.Fatalf("seed %d history %d step %d: %v + %v gave %v, twin %v", seed, history, step, c, ch.Ops, next, want)
			}
			c = next
		}
	}
	if legal < 300 || joint < 50 || refused < 300 {
		t.Errorf("the histories are too tame: %d legal changes, %d joint, %d refused", legal, joint, refused)
	}
}

func checkStep(t *testing.T, a, b Config) {
	t.Helper()
	if err := b.Validate(); err != nil {
		t.Fatalf("%v → %v: %v", a, b, err)
	}
	if b.Version != a.Version+1 {
		t.Fatalf("%v → %v: version", a, b)
	}
	if !intersect(a, b) {
		t.Fatalf("%v → %v: both can decide without a common member", a, b)
	}
}

func equalSets(a, b map[id.NodeID]bool) bool {
	if len(a) != len(b) {
		return false
	}
	for n := range a {
		if !b[n] {
			return false
		}
	}
	return true
}

// The check above can fail: a swap of two voters without the joint phase lets
// both sides decide.
func TestASwapWithoutJointPhaseDoesNotIntersect(t *testing.T) {
	if intersect(parse(t, "1 2 3"), parse(t, "1 4 5")) {
		t.Error("{2,3} and {4,5} decide separately")
	}
	if !intersect(parse(t, "1 2 3"), parse(t, "1 2 3 4")) {
		t.Error("one more voter keeps every two majorities in touch")
	}
}
