package cluster

import (
	"fmt"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// shadow is what a node wrote, as the oracles followed it: everything it gave to
// the disk, and of that, what an fsync that returned without error covered.
type shadow struct {
	n       *node
	written image
	durable image
	pending []pendingWrite     // in written, not in durable
	intent  *raft.SnapshotMeta // of an installation that is durably announced and not done
}

type pendingWrite struct {
	token id.Token
	write host.GroupWrite
}

// position is a place in a log. By Log Matching it determines all before it.
type position struct {
	index id.Index
	term  id.Term
}

// step is one entry of an image: chain is the hash of the whole log up to it.
type step struct {
	term  id.Term
	chain uint64
}

// image is one state of a log and its hard state.
type image struct {
	start position
	base  uint64 // chain at start
	steps []step // behind start
	hard  raft.HardState
}

func newShadow(n *node) *shadow { return &shadow{n: n} }

// unsynced tells whether a crash may take something.
func (s *shadow) unsynced() bool { return len(s.pending) > 0 }

// durableUpTo moves what an fsync covered.
func (s *shadow) durableUpTo(token id.Token) {
	o := s.n.c.oracles
	done := 0
	for done < len(s.pending) && s.pending[done].token <= token {
		w := s.pending[done].write
		if err := s.durable.write(o, w); err != nil {
			s.n.c.fail("%v: %v", s.n.self, err)
		}
		switch w.Kind {
		case host.WriteIntent:
			s.intent = &w.Snapshot
		case host.WriteReset:
			s.intent = nil
		}
		done++
	}
	s.pending = append(s.pending[:0:0], s.pending[done:]...)
}

// crashed: what comes back is seen at the next start.
func (s *shadow) crashed() { s.written = s.durable.clone() }

func (i image) clone() image {
	i.steps = append([]step(nil), i.steps...)
	return i
}

func (i image) last() id.Index { return i.start.index + id.Index(len(i.steps)) }

// at returns the entry at an index, if the image still has it (or ends just
// before it begins).
func (i image) at(index id.Index) (step, bool) {
	switch {
	case index == i.start.index:
		return step{i.start.term, i.base}, true
	case index < i.start.index || index > i.last():
		return step{}, false
	}
	return i.steps[index-i.start.index-1], true
}

// has tells whether the image holds the prefix that s ends at index: an entry
// that a snapshot covers is held too.
func (i image) has(index id.Index, s step) bool {
	if index < i.start.index {
		return true
	}
	mine, ok := i.at(index)
	return ok && mine.chain == s.chain
}

// write does to the image what a write does to a log.
func (i *image) write(o *oracles, w host.GroupWrite) error {
	switch w.Kind {
	case host.WriteAppend:
		i.hard = w.Hard
		return i.append(o, w.Entries)
	case host.WriteStart:
		return i.cut(w.Start)
	case host.WriteReset:
		i.hard = w.Hard
		return i.reset(o, w.Start)
	}
	return nil
}

// append replaces everything from the first entry's index on.
func (i *image) append(o *oracles, entries []raft.Entry) error {
	for _, e := range entries {
		if e.Index <= i.start.index || e.Index > i.last()+1 {
			return fmt.Errorf("writes entry %d behind a log of %d to %d", e.Index, i.start.index+1, i.last())
		}
		i.steps = i.steps[:e.Index-i.start.index-1]
		before, _ := i.at(e.Index - 1)
		if e.Term < before.term {
			return fmt.Errorf("writes entry %d of term %d behind one of term %d", e.Index, e.Term, before.term)
		}
		chain, err := o.link(before.chain, e)
		if err != nil {
			return err
		}
		i.steps = append(i.steps, step{e.Term, chain})
	}
	return nil
}

func (i *image) cut(start raft.LogStart) error {
	s, ok := i.at(start.Index)
	if !ok {
		if start.Index < i.start.index {
			return nil // it is cut further already
		}
		return fmt.Errorf("cuts its log at %d, which ends at %d", start.Index, i.last())
	}
	if s.term != start.Term {
		return fmt.Errorf("cuts its log at %d of term %d; the entry there has term %d", start.Index, start.Term, s.term)
	}
	i.steps = append([]step(nil), i.steps[start.Index-i.start.index:]...)
	i.start, i.base = position{start.Index, start.Term}, s.chain
	return nil
}

func (i *image) reset(o *oracles, start raft.LogStart) error {
	p := position{start.Index, start.Term}
	chain, known := o.chains[p]
	if !known {
		return fmt.Errorf("starts its log behind entry %d of term %d, which nobody ever wrote", p.index, p.term)
	}
	i.start, i.base, i.steps = p, chain, nil
	return nil
}
