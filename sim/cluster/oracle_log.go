package cluster

import (
	"fmt"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/wal"
)

// Log Matching (Raft §5.3): two entries with the same index and term hold the
// same, and so does everything before them. A registry of all prefixes that any
// node ever wrote has one hash per (index, term); it never forgets, so disks and
// in-memory logs of all nodes and all times are compared with each other.

// link returns the hash of a log that goes on with e, and registers it.
func (o *oracles) link(before uint64, e raft.Entry) (uint64, error) {
	chain := chainOf(before, e)
	p := position{e.Index, e.Term}
	if known, ok := o.chains[p]; ok && known != chain {
		return 0, fmt.Errorf("log matching: entry %d of term %d, or one before it, differs from what another log holds there", e.Index, e.Term)
	}
	o.chains[p] = chain
	return chain, nil
}

func chainOf(before uint64, e raft.Entry) uint64 {
	h := before ^ fnvOffset
	for _, n := range [...]uint64{uint64(e.Index), uint64(e.Term), uint64(e.Kind), e.Proposal.Origin.Node, e.Proposal.Sequence} {
		h = (h ^ n) * 1099511628211
		h ^= h >> 29
	}
	return fnv(h, e.Data)
}

// Leader Append-Only (Raft §5.3): a leader never overwrites or deletes entries of
// its own log.
func (o *oracles) appendOnly(l *life, w host.GroupWrite, now raft.Status) {
	leads := l.before.Role == raft.Leader && now.Role == raft.Leader && now.Term == l.before.Term
	if first, last := w.Entries[0].Index, l.n.shadow.written.last(); leads && first <= last {
		o.c.fail("leader append-only: %v leads term %d and overwrites its entry %d (last %d)", l.n.self, now.Term, first, last)
	}
}

// recovered checks that a restart brought back what was durable, and perhaps some
// of what was not, in the order it was written, and nothing else.
func (o *oracles) recovered(n *node, r raft.Restored) {
	s := n.shadow
	got, ok := o.recognize(n, r, "recovers")
	if !ok {
		return
	}
	if len(s.pending) > 0 {
		o.c.mark("crash with unsynced writes")
	}
	s.pending = nil
	s.written, s.durable = got.clone(), got
}

// onDisk opens a copy of the disk as the worst crash would leave it now: it must
// hold what counts as durable. Costly, so behind some fsyncs only, and behind
// every recovery; a crash checks the same.
func (o *oracles) onDisk(n *node) {
	image := n.disk.DurableImage()
	image.SetCapacity(0) // recovery may need space, which an operator would free
	_, groups, err := wal.Open(image.FS(), "wal", wal.Options{SegmentBytes: int64(o.c.set.segmentBytes), Identity: 1})
	if err != nil || len(groups) != 1 {
		o.c.fail("%v: the durable image of its log does not open: %d groups, %v", n.self, len(groups), err)
		return
	}
	o.recognize(n, groups[0].Restored, "would recover")
}

// recognize turns what a log holds into an image and checks that it may hold it.
func (o *oracles) recognize(n *node, r raft.Restored, verb string) (image, bool) {
	s := n.shadow
	got := image{start: position{r.Start.Index, r.Start.Term}, hard: r.Hard}
	chain, known := o.chains[got.start]
	if !known {
		o.c.fail("%v %s a log behind entry %d of term %d, which nobody ever wrote", n.self, verb, r.Start.Index, r.Start.Term)
		return got, false
	}
	got.base = chain
	for i := r.Start.Index + 1; i <= r.Last; i++ {
		p := position{i, termOf(r, i)}
		chain, known := o.chains[p]
		if !known {
			o.c.fail("%v %s entry %d of term %d, which nobody ever wrote", n.self, verb, p.index, p.term)
			return got, false
		}
		got.steps = append(got.steps, step{p.term, chain})
	}
	if !s.mayRecover(o, got) {
		o.c.fail("%v %s entries %d to %d, term %d, vote %v; durable were %d to %d, term %d, vote %v, and %d writes later",
			n.self, verb, got.start.index+1, got.last(), got.hard.Term, got.hard.Vote,
			s.durable.start.index+1, s.durable.last(), s.durable.hard.Term, s.durable.hard.Vote, len(s.pending))
		return got, false
	}
	return got, true
}

// mayRecover tells whether an image is the durable one after some prefix of the
// writes behind it.
func (s *shadow) mayRecover(o *oracles, got image) bool {
	want := s.durable.clone()
	for next := 0; ; next++ {
		if want.same(got) {
			return true
		}
		if next == len(s.pending) {
			break
		}
		w := s.pending[next].write
		if w.Kind == host.WriteIntent && got.start == (position{w.Snapshot.Index, w.Snapshot.Term}) && len(got.steps) == 0 {
			return got.hard.Term >= s.durable.hard.Term // recovery finished the installation
		}
		if w.Kind == host.WriteAppend && want.part(o, w, got) {
			return true
		}
		if want.write(o, w) != nil {
			return false
		}
	}
	// An intent may also have been durable already.
	i := s.intent
	return i != nil && got.start == (position{i.Index, i.Term}) && len(got.steps) == 0 && got.hard.Term >= s.durable.hard.Term
}

// part tells whether an image is this one with the first entries of a write: a log
// may cut a write in pieces, and an unsynced one may come back in part.
func (i image) part(o *oracles, w host.GroupWrite, got image) bool {
	if len(w.Entries) == 0 || got.last() < w.Entries[0].Index || got.last() >= w.Entries[len(w.Entries)-1].Index {
		return false
	}
	before := i.clone()
	if before.append(o, w.Entries[:got.last()-w.Entries[0].Index+1]) != nil {
		return false
	}
	after := before
	after.hard = w.Hard
	return before.same(got) || after.same(got)
}

// same compares what must survive. Commit is a hint and may lag.
func (i image) same(j image) bool {
	if i.hard.Term != j.hard.Term || i.hard.Vote != j.hard.Vote || i.last() != j.last() {
		return false
	}
	// The start may lag: a cut that was not synced is repeated later.
	a, _ := i.at(i.last())
	b, _ := j.at(j.last())
	return a.chain == b.chain
}

func termOf(r raft.Restored, at id.Index) id.Term {
	t := r.Start.Term
	for _, run := range r.Terms {
		if run.First <= at {
			t = run.Term
		}
	}
	return t
}
