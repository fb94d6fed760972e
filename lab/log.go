package lab

import "github.com/quorate/quorate/internal/assert"

// Entry is one position of a node's log.
type Entry struct {
	Op     uint64 // the operation; 0: none (a no-op, a configuration, a hole)
	Epoch  uint64 // in which it was first proposed
	Kind   string // what it is if Op is 0: "no-op", "hole"; else empty, or "repeat" for one that a session recognised and did not apply again
	Client Node   // who asked
}

// Log is the operations a node holds, in order, positions from 1 on: its state is
// what they come to. Protocols without a log keep the order in which they applied.
//
// A prefix of it is decided: the node will act on it as settled by the protocol.
// That a protocol breaks this is what the checkers look for, so nothing here
// forbids to truncate what was decided.
type Log struct {
	entries []Entry
	decided int
	filled  []int // holes that got an entry since the frame looked
	lowest  int   // positions above may have changed since the frame looked; -1: none
	looked  int   // length when the frame looked
}

// NewLog returns an empty log.
func NewLog() *Log { return &Log{lowest: -1} }

// Len is the last position.
func (l *Log) Len() int { return len(l.entries) }

// Decided is the last position of the decided prefix.
func (l *Log) Decided() int { return l.decided }

// At returns the entry at a position in [1, Len].
func (l *Log) At(position int) Entry { return l.entries[position-1] }

// Last is the last entry; the zero Entry of an empty log.
func (l *Log) Last() Entry {
	if len(l.entries) == 0 {
		return Entry{}
	}
	return l.entries[len(l.entries)-1]
}

// From returns a copy of the entries behind a position.
func (l *Log) From(position int) []Entry {
	if position >= len(l.entries) {
		return nil
	}
	return append([]Entry(nil), l.entries[position:]...)
}

// Append adds an entry and returns its position.
func (l *Log) Append(e Entry) int {
	l.touch(len(l.entries))
	l.entries = append(l.entries, e)
	return len(l.entries)
}

// Set replaces the entry at a position, or adds it right behind the last. Another
// Kind of the same entry is a remark and no change of what is held; an entry in the
// place of a hole takes nothing back.
func (l *Log) Set(position int, e Entry) {
	assert.That(position >= 1 && position <= len(l.entries)+1, "position %d of a log of %d", position, len(l.entries))
	if position == len(l.entries)+1 {
		l.Append(e)
		return
	}
	old := l.entries[position-1]
	l.entries[position-1] = e
	switch {
	case old.Op == e.Op && old.Epoch == e.Epoch:
	case old.Kind == "hole":
		l.filled = append(l.filled, position)
	default:
		l.touch(position - 1)
	}
}

// Truncate takes everything behind a position away, decided or not.
func (l *Log) Truncate(position int) {
	if position >= len(l.entries) {
		return
	}
	l.touch(position)
	l.entries = append([]Entry(nil), l.entries[:position]...)
	l.decided = min(l.decided, position)
}

// Replace makes the log what another node's is. What both begin with stays.
func (l *Log) Replace(entries []Entry) {
	same := 0
	for same < len(entries) && same < len(l.entries) && entries[same] == l.entries[same] {
		same++
	}
	l.Truncate(same)
	for _, e := range entries[same:] {
		l.Append(e)
	}
}

// Decide says that everything up to a position is decided. It never goes back by
// this; Truncate takes decided entries away.
func (l *Log) Decide(position int) {
	assert.That(position <= len(l.entries), "decides %d of a log of %d", position, len(l.entries))
	l.decided = max(l.decided, position)
}

func (l *Log) touch(position int) {
	if l.lowest < 0 || position < l.lowest {
		l.lowest = position
	}
}
