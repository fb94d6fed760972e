package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/quorate/quorate/internal/id"
)

// Error says why bytes are not what they should be.
type Error struct {
	What   string // the value that was being decoded: "append message", "hard state"
	Offset int    // in the input, where the bad part begins
	Why    string
}

func (e *Error) Error() string {
	return fmt.Sprintf("wire: %s: offset %d: %s", e.What, e.Offset, e.Why)
}

// reader walks over b. The first error sticks; every read after it returns zero
// and moves nothing, so callers check once, before they trust a length.
type reader struct {
	b    []byte
	off  int
	what string
	err  *Error
}

func (r *reader) fail(at int, format string, args ...any) {
	if r.err == nil {
		r.err = &Error{What: r.what, Offset: at, Why: fmt.Sprintf(format, args...)}
	}
}

func (r *reader) left() int { return len(r.b) - r.off }

// end fails unless all of b was read, and returns the error as such.
func (r *reader) end() error {
	if r.err == nil && r.left() > 0 {
		r.fail(r.off, "%d bytes too many", r.left())
	}
	return r.result()
}

func (r *reader) result() error {
	if r.err == nil {
		return nil // not a nil *Error in an error
	}
	return r.err
}

// version reads the byte every value begins with.
func (r *reader) version() {
	at := r.off
	if v := r.byte("format version"); r.err == nil && v != Version {
		r.fail(at, "format version %d is unknown; this build reads version %d", v, Version)
	}
}

func (r *reader) byte(field string) byte {
	if r.err != nil {
		return 0
	}
	if r.left() < 1 {
		r.fail(r.off, "ends before %s", field)
		return 0
	}
	r.off++
	return r.b[r.off-1]
}

func (r *reader) bool(field string) bool {
	at := r.off
	v := r.byte(field)
	if v > 1 {
		r.fail(at, "%s is %d; it must be 0 or 1", field, v)
	}
	return v == 1
}

func (r *reader) uvarint(field string) uint64 {
	if r.err != nil {
		return 0
	}
	if r.off < len(r.b) && r.b[r.off] < 0x80 { // one byte: most of them
		r.off++
		return uint64(r.b[r.off-1])
	}
	v, n := binary.Uvarint(r.b[r.off:])
	switch {
	case n == 0:
		r.fail(r.off, "ends within %s", field)
		return 0
	case n < 0:
		r.fail(r.off, "%s does not fit 64 bits", field)
		return 0
	case r.b[r.off+n-1] == 0:
		r.fail(r.off, "%s is not in its shortest form", field)
		return 0
	}
	r.off += n
	return v
}

func (r *reader) term(field string) id.Term   { return id.Term(r.uvarint(field)) }
func (r *reader) index(field string) id.Index { return id.Index(r.uvarint(field)) }

func (r *reader) nodeID(field string) id.NodeID {
	n := r.uvarint(field)
	at := r.off
	inc := r.uvarint(field)
	if inc > 1<<32-1 {
		r.fail(at, "incarnation %d of %s does not fit 32 bits", inc, field)
	}
	return id.NodeID{Node: n, Incarnation: uint32(inc)}
}

// count reads how many elements follow and refuses what the rest of the input
// cannot hold: nothing is allocated for a number alone.
func (r *reader) count(field string, elementBytesMin int) int {
	at := r.off
	n := r.uvarint(field)
	if r.err == nil && n > uint64(r.left()/elementBytesMin) {
		r.fail(at, "%s is %d; the %d bytes behind it cannot hold so many", field, n, r.left())
		return 0
	}
	return int(n)
}

// bytes reads a length and that many bytes, shared with the input.
func (r *reader) bytes(field string) []byte {
	at := r.off
	n := r.uvarint(field)
	if r.err == nil && n > uint64(r.left()) {
		r.fail(at, "%s has %d bytes; only %d follow", field, n, r.left())
	}
	if r.err != nil {
		return nil
	}
	r.off += int(n)
	return r.b[r.off-int(n) : r.off : r.off]
}

func appendNodeID(dst []byte, n id.NodeID) []byte {
	dst = binary.AppendUvarint(dst, n.Node)
	return binary.AppendUvarint(dst, uint64(n.Incarnation))
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// uvarintBytes is the length of v's shortest encoding.
func uvarintBytes(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}
