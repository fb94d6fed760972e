package check

import (
	"errors"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
)

// register is a model of one value: a command replaces it and answers the value
// before; a query answers the value.
type register struct{ v string }

func (r *register) Apply(c []byte) []byte {
	old := r.v
	r.v = string(c)
	return []byte(old)
}
func (r *register) Query([]byte) []byte { return []byte(r.v) }

func write(op uint64, in, out string, call, ret id.Time, at id.Index) Operation {
	return Operation{ID: op, Input: []byte(in), Output: []byte(out), Outcome: Done, Call: call, Return: ret, Index: at}
}

func read(op uint64, out string, call, ret id.Time, at id.Index) Operation {
	o := write(op, "", out, call, ret, at)
	o.Read = true
	return o
}

func unknown(op uint64, in string, call id.Time) Operation {
	return Operation{ID: op, Input: []byte(in), Call: call}
}

func log(commands ...any) (l []Applied) {
	for i := 0; i < len(commands); i += 2 {
		l = append(l, Applied{Index: id.Index(i/2 + 1), Operation: uint64(commands[i].(int)), Command: []byte(commands[i+1].(string))})
	}
	return l
}

func TestWitness(t *testing.T) {
	ok := []Operation{write(1, "a", "", 10, 20, 2), read(2, "a", 30, 40, 2), write(3, "b", "a", 30, 50, 3)}
	l := log(0, "", 1, "a", 3, "b")
	refused := unknown(3, "b", 30)
	refused.Outcome = Refused
	for _, c := range []struct {
		name    string
		log     []Applied
		history []Operation
		want    string // in the error; empty: none
	}{
		{"good", l, ok, ""},
		{"an unknown outcome that happened", l, []Operation{ok[0], unknown(3, "b", 30)}, ""},
		{"an unknown outcome that did not", l[:2], []Operation{ok[0], unknown(3, "b", 30)}, ""},
		{"acknowledged and lost", l[:2], ok, "acknowledged, but not in the log"},
		{"applied twice", log(0, "", 1, "a", 3, "b", 3, "b"), ok, "applied twice"},
		{"refused and applied", l, []Operation{ok[0], refused}, "refused"},
		{"another answer", l, []Operation{ok[0], write(3, "b", "x", 30, 50, 3)}, `the model answers "a"`},
		{"another place", l, []Operation{ok[0], write(3, "b", "a", 30, 50, 2)}, "applied at 3"},
		{"another command", log(0, "", 1, "a", 3, "c"), ok, `applies "c"`},
		{"nobody asked", l, ok[:2], "nobody asked"},
		{"a gap", append(log(0, ""), Applied{Index: 3}), nil, "index 3 at position 2"},
		{"a stale read", l, []Operation{ok[0], write(3, "b", "a", 30, 50, 3), read(2, "a", 60, 70, 2)}, "which had ended when it began"},
		{"a wrong read", l, []Operation{ok[0], ok[2], read(2, "b", 30, 40, 2)}, `the model answers "a"`},
		{"a read of the future", l[:2], []Operation{ok[0], read(2, "a", 30, 40, 7)}, "nothing was ever applied there"},
		{"a write ordered before one that had ended", log(3, "b", 1, "a"), []Operation{write(1, "a", "b", 10, 20, 2), write(3, "b", "", 30, 50, 1)}, "which had ended when it began"},
		{"an unknown one as well", log(3, "b", 1, "a"), []Operation{write(1, "a", "b", 10, 20, 2), unknown(3, "b", 30)}, "which had ended when it began"},
		{"concurrent ones may stand either way", log(3, "b", 1, "a"), []Operation{write(1, "a", "b", 10, 40, 2), write(3, "b", "", 30, 50, 1)}, ""},
	} {
		err := Witness(c.log, c.history, &register{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestDurable(t *testing.T) {
	history := []Operation{write(1, "a", "", 10, 20, 2), unknown(3, "b", 30)}
	if err := Durable(history, log(0, "", 1, "a")); err != nil {
		t.Error(err)
	}
	for _, l := range [][]Applied{nil, log(0, ""), log(0, "", 3, "b"), log(0, "", 1, "x")} {
		if Durable(history, l) == nil {
			t.Errorf("%v: the loss is not seen", l)
		}
	}
}

var cell = Sequential{
	Key: func(Operation) string { return "" },
	Step: func(s State, o Operation) (State, bool) {
		if o.Outcome == Done {
			if s.Known && s.Value != string(o.Output) {
				return s, false
			}
			s = State{true, string(o.Output)}
		}
		if !o.Read {
			s = State{true, string(o.Input)}
		}
		return s, true
	},
}

func TestLinearizable(t *testing.T) {
	for _, c := range []struct {
		name    string
		history []Operation
		ok      bool
	}{
		{"one after the other", []Operation{write(1, "a", "", 1, 2, 0), read(2, "a", 3, 4, 0)}, true},
		{"a stale read", []Operation{write(1, "a", "", 1, 2, 0), read(2, "", 3, 4, 0)}, false},
		{"a concurrent read of either", []Operation{write(1, "a", "", 1, 5, 0), read(2, "", 3, 4, 0), read(3, "a", 3, 4, 0)}, true},
		{"new, then old", []Operation{write(1, "a", "", 1, 9, 0), read(2, "a", 2, 3, 0), read(3, "", 4, 5, 0)}, false},
		{"an unknown write seen much later", []Operation{unknown(1, "a", 1), read(2, "", 3, 4, 0), read(3, "a", 5, 6, 0)}, true},
		{"an unknown write seen before its call", []Operation{unknown(1, "a", 5), read(3, "a", 1, 2, 0)}, false},
	} {
		if err := Linearizable(c.history, cell, 0); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Windows lose nothing across their border: an unknown write of the first may be
// seen in the second, and a wrong answer in a later window is still wrong.
func TestWindowsCarryUnknownOperations(t *testing.T) {
	var h []Operation
	v := ""
	h = append(h, unknown(1000, "late", 1))
	for i := range 130 {
		now := id.Time(10 * (i + 1))
		next := string(rune('a' + i%26))
		h = append(h, write(uint64(i+1), next, v, now, now+5, 0))
		v = next
	}
	if n := len(windows(append([]Operation(nil), h...))); n != 3 {
		t.Fatalf("%d windows", n)
	}
	good := append(append([]Operation(nil), h...), read(2000, "late", 5000, 5001, 0))
	if err := Linearizable(good, cell, 0); err != nil {
		t.Error(err)
	}
	bad := append(append([]Operation(nil), h...), read(2000, "never", 5000, 5001, 0))
	if err := Linearizable(bad, cell, 0); err == nil || errors.Is(err, ErrUndecided) {
		t.Errorf("a value that nobody wrote: %v", err)
	}
}

func TestBudgetIsStatesNotTime(t *testing.T) {
	var h []Operation
	for i := range 24 { // all concurrent, and no order explains the last read
		h = append(h, unknown(uint64(i+1), string(rune('a'+i)), 1))
	}
	h = append(h, read(99, "never", 2, 3, 0))
	if err := Linearizable(h, cell, 500); !errors.Is(err, ErrUndecided) {
		t.Errorf("got %v", err)
	}
}

// The same verdicts with unknown outcomes settled by their unique values, and no
// search over two dozen of them.
func TestUnknownWritesAreSettledByWhoSawThem(t *testing.T) {
	unique := cell
	unique.Wrote = func(o Operation) (string, bool) { return string(o.Input), true }
	for _, c := range []struct {
		name    string
		history []Operation
		ok      bool
	}{
		{"seen", []Operation{unknown(1, "a", 1), read(2, "", 3, 4, 0), read(3, "a", 5, 6, 0)}, true},
		{"seen, then not", []Operation{unknown(1, "a", 1), read(2, "a", 3, 4, 0), read(3, "", 5, 6, 0)}, false},
		{"seen before its call", []Operation{unknown(1, "a", 5), read(3, "a", 1, 2, 0)}, false},
		{"never seen", []Operation{unknown(1, "a", 1), read(3, "", 5, 6, 0)}, true},
		{"hidden by another", []Operation{unknown(1, "a", 1), unknown(2, "b", 2), read(3, "b", 5, 6, 0)}, true},
	} {
		if err := Linearizable(c.history, unique, 0); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	var h []Operation
	for i := range 24 {
		h = append(h, unknown(uint64(i+1), string(rune('a'+i)), 1))
	}
	h = append(h, read(99, "never", 2, 3, 0))
	if err := Linearizable(h, unique, 500); err == nil || errors.Is(err, ErrUndecided) {
		t.Errorf("got %v", err)
	}
}
