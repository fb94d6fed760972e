package zab

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/lab"
)

// way is how a learner is brought to what is committed: the message that begins
// it, and from where on transactions follow one by one.
type way struct {
	first lab.Body
	from  zxid // DIFF and TRUNC: what lies behind follows
}

// shortest is R10: the shortest way from what a learner has to what is settled, of
// which the last few transactions are kept at hand.
//
//	settled    1:1 1:2 1:3 2:1 2:2
//	equal      1:1 1:2 1:3 2:1 2:2          DIFF, and nothing follows
//	behind     1:1 1:2 1:3 2:1              DIFF, PROPOSAL 2:2, COMMIT 2:2
//	ahead      1:1 1:2 1:3 2:1 2:2 2:3      TRUNC 2:2
//	beside     1:1 1:2 1:3 1:4              SNAP: TRUNC never crosses an epoch
//	far behind 1:1, and 1:1 is not kept     SNAP
func shortest(settled []txn, keep int, has zxid) way {
	var end zxid
	if len(settled) > 0 {
		end = settled[len(settled)-1].zxid
	}
	kept := settled[max(0, len(settled)-keep):]
	switch {
	case has == end:
		return way{diff{end}, end}
	case has > end && has.epoch() == end.epoch():
		return way{trunc{end}, end}
	case has > end || len(kept) == 0 || has < kept[0].zxid:
		return way{first: snap{slices.Clone(settled)}, from: end}
	}
	next := slices.IndexFunc(kept, func(x txn) bool { return x.zxid > has })
	switch before := kept[next-1].zxid; {
	case before == has:
		return way{diff{end}, has}
	case kept[next].zxid.epoch() == has.epoch():
		return way{trunc{before}, before}
	}
	return way{first: snap{slices.Clone(settled)}, from: end}
}

// why says in words what the learner gets; empty: nothing, for it has everything.
func (w way) why() string {
	switch first := w.first.(type) {
	case trunc:
		return fmt.Sprintf("TRUNC, what lies behind %v is not in the leader's history", w.from)
	case diff:
		if first.last == w.from {
			return ""
		}
		return fmt.Sprintf("DIFF, it lacks what comes behind, up to %v", first.last)
	}
	return "SNAP, the whole state, since a DIFF or a TRUNC cannot lead from there to the leader's history"
}

// synchronize brings a learner to what is settled: what is committed, or before
// the leader is in office its whole history, for all of that will be. What is
// under way follows; NEWLEADER ends it.
func (m *machine) synchronize(t *lab.Turn, f *learner) {
	l := m.lead
	settled := m.history.txns
	if l.phase == broadcasting {
		settled = settled[:l.committed]
	}
	w := shortest(settled, m.set.kept, f.last)
	if why := w.why(); why != "" {
		t.Rule("R10", fmt.Sprintf("n%d ends at %v: %s", f.link.peer, f.last, why))
	}
	f.link.send(t, w.first)
	for _, x := range settled[m.history.upTo(w.from):] {
		f.link.send(t, proposal{x})
		f.link.send(t, commit{x.zxid})
	}
	if m.takesPart(f) {
		for _, x := range m.history.txns[len(settled):] {
			m.sendProposal(t, f, x)
		}
	}
	f.forwards = true
	f.link.send(t, newLeader{l.epoch})
}
