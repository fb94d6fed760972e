package trace

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/quorate/quorate/internal/id"
)

// Reader decodes a stored trace.
type Reader struct {
	Header Header

	lines *bufio.Reader
	line  int    // number of the line read last, from 1
	last  uint64 // sequence of the event before
}

// ErrNotTrace is wrapped when the input is not a stored trace at all.
var ErrNotTrace = errors.New("not a stored trace")

// NewReader reads the header. A version this build does not know is an error
// that names both.
func NewReader(r io.Reader) (*Reader, error) {
	t := &Reader{lines: bufio.NewReader(r)}
	line, err := t.next()
	if err == io.EOF {
		return nil, fmt.Errorf("trace: %w: it is empty", ErrNotTrace)
	}
	if err != nil {
		return nil, err
	}
	// The version first and leniently: a later version may have any other key.
	var v struct {
		Version *int `json:"quorate-trace"`
	}
	if err := json.Unmarshal(line, &v); err != nil || v.Version == nil {
		return nil, fmt.Errorf("trace: %w: the first line has no \"quorate-trace\" version", ErrNotTrace)
	}
	if *v.Version != Version {
		return nil, fmt.Errorf("trace: the file has format version %d, this build reads version %d; use the build that wrote it", *v.Version, Version)
	}
	var h struct {
		Version       int    `json:"quorate-trace"`
		Build         string `json:"build"`
		Seed          uint64 `json:"seed"`
		Configuration string `json:"configuration"`
	}
	if err := strict(line, &h); err != nil {
		return nil, t.bad(err)
	}
	t.Header = Header{Build: h.Build, Seed: h.Seed, Configuration: h.Configuration}
	return t, nil
}

// Next returns the next event, or io.EOF after the last. Any other error says
// on which line what is wrong; the trace is readable up to there.
func (t *Reader) Next() (Event, error) {
	line, err := t.next()
	if err != nil {
		return Event{}, err
	}
	e, err := parseEvent(line)
	if err == nil {
		err = follows(t.last, e)
	}
	if err != nil {
		return Event{}, t.bad(err)
	}
	t.last = e.Sequence
	return e, nil
}

// next returns one line without its end. A last line without an end was cut off
// while it was written.
func (t *Reader) next() ([]byte, error) {
	t.line++
	var whole []byte
	for {
		part, err := t.lines.ReadSlice('\n')
		whole = append(whole, part...)
		switch {
		case len(whole) > LineMax:
			return nil, t.bad(fmt.Errorf("longer than %d bytes", LineMax))
		case err == nil:
			return whole[:len(whole)-1], nil
		case err == bufio.ErrBufferFull:
		case err == io.EOF && len(whole) == 0:
			return nil, io.EOF
		case err == io.EOF:
			return nil, t.bad(fmt.Errorf("cut off: %w", io.ErrUnexpectedEOF))
		default:
			return nil, err
		}
	}
}

func (t *Reader) bad(err error) error { return fmt.Errorf("trace: line %d: %w", t.line, err) }

func parseEvent(line []byte) (Event, error) {
	var v struct {
		S uint64       `json:"s"`
		T int64        `json:"t"`
		N string       `json:"n"`
		G uint64       `json:"g"`
		K string       `json:"k"`
		C uint64       `json:"c"`
		R string       `json:"r"`
		F []fieldInput `json:"f"`
	}
	if err := strict(line, &v); err != nil {
		return Event{}, err
	}
	node, err := parseNode(v.N)
	if err != nil {
		return Event{}, err
	}
	e := Event{Sequence: v.S, Time: id.Time(v.T), Node: node, Group: id.GroupID(v.G), Kind: Kind(v.K), Cause: v.C, Rule: v.R}
	for _, f := range v.F {
		e.Fields = append(e.Fields, Field(f))
	}
	return e, nil
}

// fieldInput is a Field as it stands in a line: [name, number or text].
type fieldInput Field

func (f *fieldInput) UnmarshalJSON(b []byte) error {
	var pair []json.RawMessage
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return fmt.Errorf("a field is [name, value], not %s", b)
	}
	if err := json.Unmarshal(pair[0], &f.Name); err != nil {
		return err
	}
	if bytes.HasPrefix(pair[1], []byte{'"'}) {
		return json.Unmarshal(pair[1], &f.Text)
	}
	return json.Unmarshal(pair[1], &f.Number)
}

// strict decodes exactly one value and refuses keys it does not know: a typing
// error in a trace made by hand must not be read as an absent key.
func strict(line []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one value on the line")
	}
	return nil
}

// parseNode reads what id.NodeID.String writes; empty means None.
func parseNode(s string) (id.NodeID, error) {
	if s == "" {
		return id.None, nil
	}
	node, incarnation, dotted := strings.Cut(strings.TrimPrefix(s, "n"), ".")
	var n id.NodeID
	var err error
	n.Node, err = strconv.ParseUint(node, 10, 64)
	if err == nil && dotted {
		var i uint64
		i, err = strconv.ParseUint(incarnation, 10, 32)
		n.Incarnation = uint32(i)
	}
	if err != nil || n.String() != s {
		return id.None, fmt.Errorf("%q is not a node; nodes look like n3 or n3.1", s)
	}
	return n, nil
}
