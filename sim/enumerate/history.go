package enumerate

import (
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// history is what the checks and the table have to remember of the way here.
type history struct {
	leaders   []int8      // by term: who led it, -1 nobody
	committed []committed // entry i+1 at i: what any member ever took for committed
	answered  byte        // attempts whose answer left a member
	attempts  byte        // how often the client asked
	situation Situation   // how the first leader's office ended
	disks     byte        // then: on how many disks the command was

	crashes, elections, heartbeats, duplicates byte // spent
}

type committed struct {
	term     id.Term
	kind     raft.EntryKind
	sequence byte
	by       id.Term // of the leader that committed it
}

func (h *history) encode(b []byte, order [members]int) []byte {
	b = append(b, byte(len(h.leaders)))
	for _, l := range h.leaders {
		if l < 0 {
			b = append(b, 9)
		} else {
			b = append(b, byte(slices.Index(order[:], int(l))))
		}
	}
	b = append(b, byte(len(h.committed)))
	for _, c := range h.committed {
		b = append(b, byte(c.term), byte(c.kind), c.sequence, byte(c.by))
	}
	return append(b, h.answered, h.attempts, byte(h.situation), h.disks, h.crashes, h.elections, h.heartbeats, h.duplicates)
}

func (c committed) is(e *raft.Entry) bool {
	return c.term == e.Term && c.kind == e.Kind && c.sequence == byte(e.Proposal.Sequence)
}

// holds tells whether a log holds what was committed at i+1.
func (h *history) holds(log []raft.Entry, i int) bool {
	return i < len(log) && h.committed[i].is(&log[i])
}

// has tells whether a log holds an attempt of the client.
func has(log []raft.Entry, attempt byte) bool {
	for i := range log {
		if log[i].Kind == raft.EntryCommand && log[i].Proposal.Sequence == uint64(attempt) {
			return true
		}
	}
	return false
}
