package trace

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
)

var rewrite = flag.Bool("rewrite", false, "rewrite golden files; read the diff before accepting it")

// sample has every part of an event at its smallest, usual and largest.
func sample() (Header, []Event) {
	n1, n3 := id.NodeID{Node: 1}, id.NodeID{Node: 3, Incarnation: 2}
	return Header{Build: "v0.1.0 4f2c1aa", Seed: math.MaxUint64, Configuration: "members: 3\nelection: 150–300 ms"}, []Event{
		{Sequence: 1, Kind: Started, Node: n1, Group: 1, Fields: []Field{Num("applied", 0), Num("last", 0), Num("term", 0)}},
		{Sequence: 2, Time: 171_000_000, Node: n1, Group: 1, Kind: RoleChanged, Cause: 1, Rule: "raft §5.2", Fields: []Field{Text("role", "candidate"), Num("term", 1), Text("leader", "n0")}},
		{Sequence: 3, Time: 171_000_000, Node: n3, Group: 1, Kind: Voted, Cause: 2, Rule: "raft §5.4.1", Fields: []Field{Num("term", 1), Text("for", "n1"), Num("granted", 1)}},
		{Sequence: 7, Time: 171_000_001, Kind: Caption, Fields: []Field{Text("text", "\"n1\" <leads> a\\b\n\tnow\x01")}},
		{Sequence: math.MaxUint64, Time: id.Never, Node: id.NodeID{Node: math.MaxUint64, Incarnation: math.MaxUint32}, Group: math.MaxUint64, Kind: Mark, Cause: math.MaxUint64 - 1, Fields: []Field{Num("n", math.MaxUint64)}},
	}
}

func encode(t *testing.T, h Header, events []Event) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, h)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decode(b []byte) (Header, []Event, error) {
	r, err := NewReader(bytes.NewReader(b))
	if err != nil {
		return Header{}, nil, err
	}
	var events []Event
	for {
		e, err := r.Next()
		if err == io.EOF {
			return r.Header, events, nil
		}
		if err != nil {
			return r.Header, events, err
		}
		events = append(events, e)
	}
}

func TestGoldenVersion1(t *testing.T) {
	const file = "testdata/v1.trace"
	header, events := sample()
	got := encode(t, header, events)
	if *rewrite {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("written:\n%s\ngolden:\n%s", got, want)
	}
	h, read, err := decode(want)
	if err != nil {
		t.Fatal(err)
	}
	if h != header || !reflect.DeepEqual(read, events) {
		t.Errorf("read %+v\n%+v\nwant %+v\n%+v", h, read, header, events)
	}
}

func TestReaderSaysWhatIsWrong(t *testing.T) {
	const head = `{"quorate-trace":1}` + "\n"
	for _, c := range []struct{ name, in, text string }{
		{"empty", "", "not a stored trace: it is empty"},
		{"something else", "members: 3\n", "not a stored trace"},
		{"JSON of something else", "{\"build\":\"x\"}\n", "not a stored trace"},
		{"a later version, whatever it adds", `{"quorate-trace":2,"keyframes":true}` + "\n", "format version 2, this build reads version 1"},
		{"unknown key in the header", `{"quorate-trace":1,"sead":4}` + "\n", "line 1: json: unknown field \"sead\""},
		{"header cut off", `{"quorate-trace":1}`, "line 1: cut off"},
		{"event cut off", head + `{"s":1,"k":"ma`, "line 2: cut off"},
		{"not JSON", head + "hello\n", "line 2: invalid character"},
		{"two values", head + `{"s":1,"k":"mark"}{}` + "\n", "line 2: more than one value"},
		{"unknown key", head + `{"s":1,"k":"mark","x":1}` + "\n", "unknown field \"x\""},
		{"no kind", head + `{"s":1}` + "\n", "event 1 has no kind"},
		{"sequence goes back", head + `{"s":2,"k":"mark"}` + "\n" + `{"s":2,"k":"mark"}` + "\n", "line 3: event 2 follows event 2"},
		{"caused by the future", head + `{"s":1,"k":"mark","c":1}` + "\n", "event 1 is said to be caused by event 1"},
		{"not a node", head + `{"s":1,"k":"mark","n":"n01"}` + "\n", `"n01" is not a node`},
		{"incarnation too large", head + `{"s":1,"k":"mark","n":"n1.4294967296"}` + "\n", "is not a node"},
		{"a field of three", head + `{"s":1,"k":"mark","f":[["a",1,2]]}` + "\n", "a field is [name, value]"},
		{"a fraction", head + `{"s":1,"k":"mark","f":[["a",1.5]]}` + "\n", "1.5"},
		{"a line without end", head + strings.Repeat("x", LineMax+1), "line 2: longer than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := decode([]byte(c.in))
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want an error with %q", err, c.text)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestWriterRefusesWhatReaderWould(t *testing.T) {
	for _, c := range []struct {
		name string
		e    Event
		text string
	}{
		{"goes back", Event{Sequence: 5, Kind: Mark}, "event 5 follows event 5"},
		{"caused by itself", Event{Sequence: 6, Kind: Mark, Cause: 6}, "caused by event 6"},
		{"no kind", Event{Sequence: 6}, "no kind"},
		{"too long", Event{Sequence: 6, Kind: Mark, Rule: strings.Repeat("x", LineMax)}, "at most"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			w, err := NewWriter(&b, Header{})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Write(Event{Sequence: 5, Kind: Mark}); err != nil {
				t.Fatal(err)
			}
			if err := w.Write(c.e); err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want an error with %q", err, c.text)
			}
			// The trace goes on as if it had not been tried.
			if err := errors.Join(w.Write(Event{Sequence: 6, Kind: Mark}), w.Flush()); err != nil {
				t.Fatal(err)
			}
			if _, events, err := decode(b.Bytes()); err != nil || len(events) != 2 {
				t.Errorf("%d events, %v", len(events), err)
			}
		})
	}
}

// Every part of an event, and their order, counts.
func TestHashSeesEveryDifference(t *testing.T) {
	base := Event{Sequence: 9, Time: 1, Node: id.NodeID{Node: 1, Incarnation: 1}, Group: 1, Kind: "kk", Cause: 1, Rule: "rr", Fields: []Field{Num("a", 1), Text("b", "12345678x")}}
	events := []Event{base}
	vary := func(change func(*Event)) {
		e := base
		e.Fields = append([]Field(nil), base.Fields...)
		change(&e)
		events = append(events, e)
	}
	vary(func(e *Event) { e.Sequence++ })
	vary(func(e *Event) { e.Time++ })
	vary(func(e *Event) { e.Node.Node++ })
	vary(func(e *Event) { e.Node.Incarnation++ })
	vary(func(e *Event) { e.Group++ })
	vary(func(e *Event) { e.Kind = "kkr" })
	vary(func(e *Event) { e.Kind, e.Rule = "kkr", "r" })
	vary(func(e *Event) { e.Cause++ })
	vary(func(e *Event) { e.Rule = "" })
	vary(func(e *Event) { e.Fields = e.Fields[:1] })
	vary(func(e *Event) { e.Fields[0].Name = "c" })
	vary(func(e *Event) { e.Fields[0].Number = 1 << 63 })
	vary(func(e *Event) { e.Fields[1].Text = "12345678y" })
	vary(func(e *Event) { e.Fields[1].Text = "12345678x\x00" })
	vary(func(e *Event) { e.Fields[0], e.Fields[1] = e.Fields[1], e.Fields[0] })
	seen := map[Hash]int{}
	for i, e := range events {
		h := NewHash().Add(e)
		if other, ok := seen[h]; ok {
			t.Errorf("events %d and %d have one hash:\n%+v\n%+v", other, i, events[other], e)
		}
		seen[h] = i
	}
	if a, b := NewHash().Add(events[0]).Add(events[1]), NewHash().Add(events[1]).Add(events[0]); a == b {
		t.Error("the order does not count")
	}
}

// The number is stored beside seeds: it must not drift unnoticed.
func TestHashIsTheSameEverywhere(t *testing.T) {
	_, events := sample()
	h := NewHash()
	for _, e := range events {
		h = h.Add(e)
	}
	const want = 0xab922f001dac0fcf
	if h != want {
		t.Errorf("hash %#x, want %#x: hashes printed by older builds no longer compare", h, uint64(want))
	}
	if n := testing.AllocsPerRun(10, func() { h = h.Add(events[1]) }); n != 0 {
		t.Errorf("%v allocations per event", n)
	}
}

// Whatever the bytes: no panic, and what was understood is written and read
// again unchanged.
func FuzzReader(f *testing.F) {
	golden, err := os.ReadFile("testdata/v1.trace")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add([]byte("{\"quorate-trace\":1}\n{\"s\":1,\"k\":\"mark\",\"f\":[[\"\",\"\"],[\"a\",null]]}\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		header, events, err := decode(in)
		if err != nil {
			return
		}
		h2, again, err := decode(encode(t, header, events))
		if err != nil || h2 != header || len(again) != len(events) {
			t.Fatalf("read again: %+v, %d of %d events, %v", h2, len(again), len(events), err)
		}
		for i := range events {
			if NewHash().Add(events[i]) != NewHash().Add(again[i]) {
				t.Fatalf("event changed:\n%+v\n%+v", events[i], again[i])
			}
		}
	})
}

func BenchmarkHash(b *testing.B) {
	_, events := sample()
	h := NewHash()
	b.ReportAllocs()
	for b.Loop() {
		h = h.Add(events[1])
	}
}

func BenchmarkWrite(b *testing.B) {
	_, events := sample()
	w, err := NewWriter(io.Discard, Header{})
	if err != nil {
		b.Fatal(err)
	}
	e := events[1]
	b.ReportAllocs()
	for b.Loop() {
		e.Sequence++
		if err := w.Write(e); err != nil {
			b.Fatal(err)
		}
	}
}
