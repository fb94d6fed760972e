package cluster

import (
	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// applied is one position of the one log that all machines apply.
type applied struct {
	chain uint64 // of the entry alone
	entry raft.Entry
}

// State Machine Safety (Raft §5.4.3): if one node applies an entry at an index, no
// node ever applies another one there. And here an entry is applied only when it
// is committed and durable in the node's own log (DESIGN 2).
func (o *oracles) apply(l *life, a host.Apply) {
	for _, e := range a.Entries {
		chain := chainOf(0, e)
		switch i := int(e.Index); {
		case i > len(o.global)+1:
			o.c.fail("%v applies entry %d; nobody ever applied %d", l.n.self, i, len(o.global)+1)
			return
		case i == len(o.global)+1:
			o.global = append(o.global, applied{chain, e})
			o.advance(e)
		case o.global[i-1].chain != chain:
			o.c.fail("state machine safety: %v applies entry %d of term %d (%q); another node applied one of term %d (%q)",
				l.n.self, i, e.Term, e.Data, o.global[i-1].entry.Term, o.global[i-1].entry.Data)
			return
		}
	}
	last := a.Entries[len(a.Entries)-1].Index
	o.ownLog(l, last)
}

// ownLog checks that what is applied lies durable on the node's own disk.
func (o *oracles) ownLog(l *life, last id.Index) {
	if d := l.n.shadow.durable.last(); last > d {
		o.c.fail("%v applies entry %d, its own log is durable up to %d", l.n.self, last, d)
	}
}
