// Package id holds the small types every layer shares. They are types of their
// own so that the compiler refuses a term where an index belongs.
package id

import "strconv"

// Term numbers a leadership. It only grows. 0 is "before the first election".
type Term uint64

// Index is a position in a group's log. The first entry has index 1; 0 means
// "before the first entry".
type Index uint64

// GroupID names one Raft group in a process. Group 0 is never used.
type GroupID uint64

// Token stands for a write handed to the disk. Tokens of one issuer grow by
// one; "durable up to token t" covers every smaller token. 0 is "no write":
// whatever waits for token 0 need not wait.
type Token uint64

// Time is monotonic nanoseconds since a moment the driver chose. It is an
// argument everywhere: no machine reads a clock.
type Time int64

// Duration is a span of Time in nanoseconds.
type Duration int64

const (
	Microsecond Duration = 1000
	Millisecond          = 1000 * Microsecond
	Second               = 1000 * Millisecond
)

// Never is later than any moment a driver reaches.
const Never Time = 1<<63 - 1

// Add returns the moment d after t; Never stays Never.
func (t Time) Add(d Duration) Time {
	if t == Never {
		return Never
	}
	return t + Time(d)
}

// Sub returns the span from u to t.
func (t Time) Sub(u Time) Duration { return Duration(t - u) }

// NodeID names one life of one member: Node is the member, Incarnation counts
// how often it was wiped and admitted again. A wiped disk is a new replica, so
// votes of the old life cannot be given twice under the same name.
type NodeID struct {
	Node        uint64
	Incarnation uint32
}

// None is nobody: no leader, no vote.
var None NodeID

// Compare orders by Node, then Incarnation: -1, 0 or +1.
func (n NodeID) Compare(m NodeID) int {
	switch {
	case n.Node < m.Node:
		return -1
	case n.Node > m.Node:
		return 1
	case n.Incarnation < m.Incarnation:
		return -1
	case n.Incarnation > m.Incarnation:
		return 1
	}
	return 0
}

// String is "n" and the node in decimal, followed by "." and the incarnation
// where that is not 0: n1, n3.2. None is "n0".
func (n NodeID) String() string {
	s := "n" + strconv.FormatUint(n.Node, 10)
	if n.Incarnation != 0 {
		s += "." + strconv.FormatUint(uint64(n.Incarnation), 10)
	}
	return s
}

// DirectoryID is the random identity of a data directory. The zero value means
// "not known yet" (DESIGN 14).
type DirectoryID [16]byte
