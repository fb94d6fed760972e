package kafka

import (
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// A follower first makes its log a prefix of the leader's (R8), then pulls. One
// request of it is under way at a time.

// following is what only a follower has.
type following struct {
	pulls bool    // the log is cut to what the leader has: fetch; else ask about epochs
	asks  uint64  // the epoch asked about
	at    id.Time // when the next request goes, or the present one again; Never: nobody to ask
}

// epochStart says behind which position an epoch's entries begin.
type epochStart struct {
	Epoch  uint64
	Behind int
}

// truncate begins to follow. Since KIP-101 the follower asks the leader where the
// epoch of its own last entry ends there. Before, it cut its log at the high
// watermark it remembered, which lags behind and says nothing about whose entries
// those are.
func (b *broker) truncate(t *lab.Turn) {
	r := &b.replica
	r.pulls, r.asks = false, r.log.Last().Epoch
	if n := len(r.epochs); n > 0 {
		r.asks = r.epochs[n-1].Epoch
	}
	if b.o.hwCut {
		if r.hw < r.log.Len() {
			t.Rule("R8", "old rule: I cut my log at the high watermark, "+number(uint64(r.hw)))
		}
		b.cutTo(t, r.hw)
	}
	if b.o.hwCut || r.log.Len() == 0 {
		b.pullFrom()
	}
	b.pull(t)
}

// pullFrom is reached when the log is a prefix of the leader's.
func (b *broker) pullFrom() {
	b.replica.pulls = true
	b.replica.log.Decide(b.replica.hw)
}

// pull sends the request that is due. It goes out when what it acknowledges is
// stored as it must be.
func (b *broker) pull(t *lab.Turn) {
	r := &b.replica
	r.following.at = t.Now.Add(again)
	if r.pulls {
		t.SendAfter(b.stored(), r.leader, fetch{Epoch: r.epoch, From: r.log.Len()})
	} else {
		t.Send(r.leader, epochQuery{Current: r.epoch, Epoch: r.asks})
	}
}

// fetchReset waits a while when the leader's process is gone.
func (b *broker) fetchReset(t *lab.Turn, node lab.Node) {
	r := &b.replica
	if node != r.leader {
		return
	}
	if r.following.at != id.Never {
		r.following.at = t.Now.Add(backOff)
	}
}

// fetchAnswered takes what the leader sends, in order, and asks for more at once.
func (b *broker) fetchAnswered(t *lab.Turn, from lab.Node, m fetched) {
	r := &b.replica
	if from != r.leader || !r.pulls || m.Epoch != r.epoch || m.From != r.log.Len() {
		return // of an older request
	}
	if m.Error != "" {
		r.following.at = t.Now.Add(backOff)
		return
	}
	behind := r.log.Len()
	for _, e := range m.Entries {
		r.log.Append(e)
		if n := len(r.epochs); n == 0 || r.epochs[n-1].Epoch < e.Epoch {
			b.beginEpochBehind(t, e.Epoch, r.log.Len()-1)
		}
	}
	if len(m.Entries) > 0 {
		b.store(t, behind)
	}
	r.hw = max(r.hw, min(m.HW, r.log.Len()))
	r.log.Decide(r.hw)
	b.pull(t)
}

// epochAsked answers where an epoch ends in this leader's log (KIP-279: with the
// largest epoch up to the asked one).
func (b *broker) epochAsked(t *lab.Turn, from lab.Node, m epochQuery) {
	answer := epochAnswer{Current: m.Current, Asked: m.Epoch}
	if answer.Error = b.judge(t, from, m.Current); answer.Error == "" {
		answer.Epoch, answer.End = b.replica.endOf(m.Epoch)
	}
	t.Send(from, answer)
}

// endOf is the largest epoch up to one, and the position of its last entry.
func (r *replica) endOf(epoch uint64) (uint64, int) {
	for i, e := range slices.Backward(r.epochs) {
		if e.Epoch > epoch {
			continue
		}
		if i == len(r.epochs)-1 {
			return e.Epoch, r.log.Len()
		}
		return e.Epoch, r.epochs[i+1].Behind
	}
	return 0, 0
}

// epochAnswered cuts the log where the leader's history parts from it.
func (b *broker) epochAnswered(t *lab.Turn, from lab.Node, m epochAnswer) {
	r := &b.replica
	if from != r.leader || r.pulls || r.following.at == id.Never || m.Current != r.epoch || m.Asked != r.asks {
		return
	}
	if m.Error != "" {
		r.following.at = t.Now.Add(backOff)
		return
	}
	mine, end := r.endOf(m.Epoch)
	if m.Epoch == 0 {
		end = 0 // the leader has nothing of any epoch of mine
	}
	to := end
	if mine == m.Epoch {
		to = min(end, m.End)
	}
	switch {
	case to >= r.log.Len():
	case m.Epoch == 0:
		t.Rule("R8", "the leader has nothing of any epoch of mine: I cut my whole log")
	default:
		t.Rule("R8", "the leader's epoch "+number(m.Epoch)+" ends at "+number(uint64(m.End))+": I cut my log behind "+number(uint64(to)))
	}
	b.cutTo(t, to)
	if mine != m.Epoch && to > 0 {
		r.asks = mine // an epoch the leader does not have: ask about the one before
	} else {
		b.pullFrom()
	}
	b.pull(t)
}
