package kv

import (
	"encoding/binary"
	"fmt"
)

// Integers are varints (binary.AppendUvarint, AppendVarint), booleans are bits
// of a flag byte or a byte of 0 or 1, byte strings are a uvarint length and the
// bytes. Decoding copies nothing: slices point into the input, which is
// immutable. An empty byte string decodes as nil.

func appendBytes(b, s []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// flags packs up to eight booleans, the first in bit 0.
func flags(set ...bool) (f byte) {
	for i, s := range set {
		if s {
			f |= 1 << i
		}
	}
	return f
}

// reader takes values off the front of rest. The first thing that does not fit
// sets err; everything after reads as zero, so callers check once at the end.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s, %d bytes before the end", ErrFormat, what, len(r.rest))
	}
	r.rest = nil
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.fail("cut short")
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// flags reads a flag byte of which only the lowest n bits may be set.
func (r *reader) flags(n int) byte {
	f := r.byte()
	if f>>n != 0 {
		r.fail(fmt.Sprintf("unknown flags %08b", f))
	}
	return f
}

func (r *reader) bool() bool { return r.flags(1) == 1 }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail("bad integer")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail("bad integer")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.fail("a length beyond the end")
		return nil
	}
	if n == 0 {
		return nil
	}
	s := r.rest[:n:n]
	r.rest = r.rest[n:]
	return s
}

// count reads how many elements follow. Each takes at least a byte, so a lying
// count cannot make the caller allocate more than a multiple of the input.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.fail("a count beyond the end")
		return 0
	}
	return int(n)
}

// number reads an enumeration's value of at most limit.
func (r *reader) number(limit byte, what string) byte {
	b := r.byte()
	if b > limit {
		r.fail(fmt.Sprintf("unknown %s %d", what, b))
		return 0
	}
	return b
}

// end reports the first error, or that something is left over.
func (r *reader) end() error {
	if r.err == nil && len(r.rest) != 0 {
		r.fail("more than expected")
	}
	return r.err
}
