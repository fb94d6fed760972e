package trace

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/quorate/quorate/internal/id"
)

// A stored trace is lines of JSON: a header, then one event a line. Zero values
// are left out; numbers are whole and may need all 64 bits. docs/format/trace.md
// is the same table with an example.
//
//	header  quorate-trace  1, the version; an unknown one is an error
//	        build          what wrote it: version and commit
//	        seed           of the run; absent: 0
//	        configuration  the run's configuration as text, a recipe for example
//	event   s  Sequence    strictly growing
//	        t  Time        nanoseconds
//	        n  Node        "n3", "n3.1"
//	        g  Group
//	        k  Kind        never empty
//	        c  Cause       smaller than s
//	        r  Rule
//	        f  Fields      each [name, number] or [name, text]

// Version is the only version of the format so far.
const Version = 1

// LineMax bounds a line of a stored trace, in bytes, its end included. The
// header's configuration is the longest thing expected.
const LineMax = 1 << 20

// Header says what run a trace belongs to.
type Header struct {
	Build         string
	Seed          uint64
	Configuration string
}

// Writer encodes a trace. Bytes reach the underlying writer at Flush at the
// latest; nothing is made durable.
type Writer struct {
	w    *bufio.Writer
	line []byte // reused
	last uint64 // sequence of the event before
}

// NewWriter writes the header of a trace. Text that is not valid UTF-8 is
// written with replacement characters, here and in Write.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	t := &Writer{w: bufio.NewWriter(w)}
	b := append(t.line, `{"quorate-trace":`...)
	b = strconv.AppendInt(b, Version, 10)
	if h.Build != "" {
		b = appendString(append(b, `,"build":`...), h.Build)
	}
	if h.Seed != 0 {
		b = strconv.AppendUint(append(b, `,"seed":`...), h.Seed, 10)
	}
	if h.Configuration != "" {
		b = appendString(append(b, `,"configuration":`...), h.Configuration)
	}
	return t, t.put(append(b, '}', '\n'))
}

// Write adds an event. An event out of order (see follows) or longer than
// LineMax is an error, and nothing of it is written.
func (t *Writer) Write(e Event) error {
	if err := follows(t.last, e); err != nil {
		return fmt.Errorf("trace: not written: %w", err)
	}
	if err := t.put(append(appendEvent(t.line[:0], e), '\n')); err != nil {
		return err
	}
	t.last = e.Sequence
	return nil
}

// Flush hands everything written to the underlying writer.
func (t *Writer) Flush() error { return t.w.Flush() }

func (t *Writer) put(line []byte) error {
	t.line = line
	if len(line) > LineMax {
		return fmt.Errorf("trace: not written: a line of %d bytes, at most %d", len(line), LineMax)
	}
	_, err := t.w.Write(line)
	return err
}

// follows checks an event against the sequence before it, where a trace is
// written and again where it is read.
//
// Invariant: sequences grow, and a cause lies before its effect. Gaps are
// allowed: a flight recorder forgets.
func follows(last uint64, e Event) error {
	switch {
	case e.Sequence <= last:
		return fmt.Errorf("event %d follows event %d", e.Sequence, last)
	case e.Cause >= e.Sequence:
		return fmt.Errorf("event %d is said to be caused by event %d", e.Sequence, e.Cause)
	case e.Kind == "":
		return fmt.Errorf("event %d has no kind", e.Sequence)
	}
	return nil
}

func appendEvent(b []byte, e Event) []byte {
	b = strconv.AppendUint(append(b, `{"s":`...), e.Sequence, 10)
	if e.Time != 0 {
		b = strconv.AppendInt(append(b, `,"t":`...), int64(e.Time), 10)
	}
	if e.Node != id.None {
		b = appendString(append(b, `,"n":`...), e.Node.String())
	}
	if e.Group != 0 {
		b = strconv.AppendUint(append(b, `,"g":`...), uint64(e.Group), 10)
	}
	b = appendString(append(b, `,"k":`...), string(e.Kind))
	if e.Cause != 0 {
		b = strconv.AppendUint(append(b, `,"c":`...), e.Cause, 10)
	}
	if e.Rule != "" {
		b = appendString(append(b, `,"r":`...), e.Rule)
	}
	for i, f := range e.Fields {
		if i == 0 {
			b = append(b, `,"f":[`...)
		} else {
			b = append(b, ',')
		}
		b = append(appendString(append(b, '['), f.Name), ',')
		if f.Text != "" {
			b = appendString(b, f.Text)
		} else {
			b = strconv.AppendUint(b, f.Number, 10)
		}
		b = append(b, ']')
	}
	if len(e.Fields) > 0 {
		b = append(b, ']')
	}
	return append(b, '}')
}

// appendString is JSON's string, without the escapes for HTML that
// encoding/json adds: people read traces.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s { // an invalid byte comes as the replacement character
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, '\\', 'n')
		case r < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
