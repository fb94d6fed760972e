package quorum

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/quorate/quorate/internal/id"
)

func voters(nodes ...uint64) Majority {
	var m Majority
	for _, n := range nodes {
		m = append(m, id.NodeID{Node: n})
	}
	return m
}

func TestCommittedIsTheHighestIndexOnAMajority(t *testing.T) {
	const top = math.MaxUint64
	for _, c := range []struct {
		name  string
		match []id.Index // of n1, n2, …
		want  id.Index
	}{
		{"nobody", nil, top},
		{"one", []id.Index{7}, 7},
		{"two need both", []id.Index{7, 3}, 3},
		{"three", []id.Index{7, 3, 5}, 5},
		{"four need three", []id.Index{9, 7, 3, 5}, 5},
		{"five", []id.Index{9, 1, 8, 2, 7}, 7},
		{"all equal", []id.Index{4, 4, 4}, 4},
		{"nobody has anything", []id.Index{0, 0, 0}, 0},
		{"one follower of three suffices beside the leader", []id.Index{100, 99, 0}, 99},
		{"ten, past the inline array", []id.Index{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m Majority
			for i := range c.match {
				m = append(m, id.NodeID{Node: uint64(i + 1)})
			}
			got := m.Committed(func(n id.NodeID) id.Index { return c.match[n.Node-1] })
			if got != c.want {
				t.Fatalf("match %v: committed %d, want %d", c.match, got, c.want)
			}
		})
	}
}

func TestVoteOutcomes(t *testing.T) {
	for _, c := range []struct {
		answers string // y granted, n refused, . silent; of n1, n2, …
		want    Outcome
	}{
		{"", Won},
		{"y", Won}, {"n", Lost}, {".", Pending},
		{"y.", Pending}, {"yy", Won}, {"yn", Lost}, {"n.", Lost},
		{"y..", Pending}, {"yy.", Won}, {"yn.", Pending}, {"ynn", Lost}, {"nn.", Lost}, {"...", Pending},
		{"yyn.", Pending}, {"yynn", Lost}, {"yyyn", Won}, {"nn..", Lost},
		{"yy...", Pending}, {"yynn.", Pending}, {"yyy..", Won}, {"nnn..", Lost},
	} {
		var m Majority
		for i := range c.answers {
			m = append(m, id.NodeID{Node: uint64(i + 1)})
		}
		got := m.Vote(func(n id.NodeID) (bool, bool) {
			a := c.answers[n.Node-1]
			return a == 'y', a != '.'
		})
		if got != c.want {
			t.Errorf("%q: %v, want %v", c.answers, got, c.want)
		}
	}
}

func TestJointNeedsBothHalves(t *testing.T) {
	j := Joint{Incoming: voters(1, 2, 3), Outgoing: voters(3, 4, 5)}
	match := map[uint64]id.Index{1: 9, 2: 9, 3: 9, 4: 2, 5: 1}
	if got := j.Committed(func(n id.NodeID) id.Index { return match[n.Node] }); got != 2 {
		t.Errorf("the outgoing half has a majority at 2 only: got %d", got)
	}
	for _, c := range []struct {
		answers string
		want    Outcome
	}{
		{"yyy..", Pending}, // the incoming half alone does not elect
		{"..yyy", Pending}, // nor the outgoing half
		{"yyyy.", Won},
		{"yyynn", Lost}, // the outgoing half refused
		{"nn...", Lost},
		{"y.y.y", Won}, // two of each half
	} {
		got := j.Vote(func(n id.NodeID) (bool, bool) {
			a := c.answers[n.Node-1]
			return a == 'y', a != '.'
		})
		if got != c.want {
			t.Errorf("%q: %v, want %v", c.answers, got, c.want)
		}
	}
}

func TestOutgoingAbsentMeansIncomingDecides(t *testing.T) {
	j := Joint{Incoming: voters(1, 2, 3)}
	if got := j.Committed(func(n id.NodeID) id.Index { return id.Index(n.Node) }); got != 2 {
		t.Errorf("committed %d, want 2", got)
	}
	if got := j.Vote(func(n id.NodeID) (bool, bool) { return n.Node < 3, true }); got != Won {
		t.Errorf("vote %v, want won", got)
	}
}

// The naive twin knows no sorting: it tries every subset of the voters that is
// larger than half and looks what the whole subset has.
func naiveCommitted(m Majority, match func(id.NodeID) id.Index) id.Index {
	if len(m) == 0 {
		return math.MaxUint64
	}
	var best id.Index
	for subset := range 1 << len(m) {
		size, least := 0, id.Index(math.MaxUint64)
		for i, n := range m {
			if subset>>i&1 == 1 {
				size++
				least = min(least, match(n))
			}
		}
		if 2*size > len(m) {
			best = max(best, least)
		}
	}
	return best
}

// naiveVote asks about futures: Won if a majority already granted, Lost if not
// even every silent voter's grant would make one.
func naiveVote(m Majority, vote func(id.NodeID) (bool, bool)) Outcome {
	majority := func(silentGrant bool) bool {
		yes := 0
		for _, n := range m {
			if granted, voted := vote(n); voted && granted || !voted && silentGrant {
				yes++
			}
		}
		return len(m) == 0 || 2*yes > len(m)
	}
	switch {
	case majority(false):
		return Won
	case majority(true):
		return Pending
	}
	return Lost
}

func TestEqualsTheNaiveTwin(t *testing.T) {
	const seed = 20261121
	r := rand.New(rand.NewPCG(seed, 0))
	for round := range 3000 {
		var j Joint
		for n := range uint64(12) {
			switch node := (id.NodeID{Node: n + 1}); r.IntN(4) {
			case 0:
				j.Incoming = append(j.Incoming, node)
			case 1:
				j.Outgoing = append(j.Outgoing, node)
			case 2:
				j.Incoming, j.Outgoing = append(j.Incoming, node), append(j.Outgoing, node)
			}
		}
		var index [13]id.Index
		var answer [13]int
		for n := range index {
			index[n], answer[n] = id.Index(r.Uint64N(8)), r.IntN(3)
		}
		match := func(n id.NodeID) id.Index { return index[n.Node] }
		vote := func(n id.NodeID) (bool, bool) { return answer[n.Node] == 1, answer[n.Node] != 0 }

		in, out := naiveCommitted(j.Incoming, match), naiveCommitted(j.Outgoing, match)
		if got := j.Committed(match); got != min(in, out) {
			t.Fatalf("seed %d round %d: %+v match %v: committed %d, twin says %d", seed, round, j, index, got, min(in, out))
		}
		want := Pending
		switch a, b := naiveVote(j.Incoming, vote), naiveVote(j.Outgoing, vote); {
		case a == Lost || b == Lost:
			want = Lost
		case a == Won && b == Won:
			want = Won
		}
		if got := j.Vote(vote); got != want {
			t.Fatalf("seed %d round %d: %+v answers %v: vote %v, twin says %v", seed, round, j, answer, got, want)
		}
	}
}

func TestCommittedDoesNotAllocate(t *testing.T) {
	j := Joint{Incoming: voters(1, 2, 3, 4, 5, 6, 7, 8, 9), Outgoing: voters(1, 2, 3)}
	match := func(n id.NodeID) id.Index { return id.Index(n.Node) }
	var got id.Index
	if n := testing.AllocsPerRun(100, func() { got = j.Committed(match) }); n != 0 {
		t.Errorf("%v allocations for nine voters, want 0", n)
	}
	if got != 2 {
		t.Errorf("committed %d, want 2", got)
	}
}

func BenchmarkCommitted(b *testing.B) {
	j := Joint{Incoming: voters(1, 2, 3, 4, 5)}
	match := func(n id.NodeID) id.Index { return id.Index(n.Node * 7 % 5) }
	b.ReportAllocs()
	for b.Loop() {
		j.Committed(match)
	}
}
