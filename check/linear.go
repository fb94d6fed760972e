package check

import (
	"errors"
	"fmt"
	"sort"

	"github.com/anishathalye/porcupine"
	"github.com/quorate/quorate/internal/id"
)

// State is what is known of one key. In a window that does not begin at the
// beginning nothing is known until an answer tells.
type State struct {
	Known bool
	Value string
}

// Sequential is one key as a sequential object.
type Sequential struct {
	// Key names the object an operation is about.
	Key func(o Operation) string
	// Step returns the state after o, and whether o's answer (if it is Done) is
	// possible in s. Of an unknown state it may learn from the answer.
	Step func(s State, o Operation) (State, bool)
	// Wrote, unless nil, returns the value that a write leaves behind if no other
	// operation of the history ever leaves the same, and if every answer shows the
	// value before it. It lets the search settle writes of unknown outcome: see
	// settle.
	Wrote func(o Operation) (value string, unique bool)
}

// Bounds of a search.
const (
	windowLeast   = 50        // operations of one key before a window may end
	windowMost    = 400       // beyond, the search is not tried
	statesDefault = 1_000_000 // visited per window
)

// ErrUndecided: the budget was used up before an answer was found. A run with an
// undecided window fails: it says nothing about what it was to check.
var ErrUndecided = errors.New("undecided")

// Linearizable looks for an order of each key's operations that respects real
// time and gives every answer, by Wing and Gong's search as porcupine does it.
// Operations of unknown outcome may stand anywhere after their call, or nowhere.
// states bounds the visits per window; 0 is a million.
func Linearizable(history []Operation, s Sequential, states int) error {
	if states == 0 {
		states = statesDefault
	}
	byKey := map[string][]Operation{}
	var keys []string
	for _, o := range history {
		if o.Outcome == Refused || o.Read && o.Outcome != Done {
			continue // no effect and no answer: nothing to explain
		}
		k := s.Key(o)
		if byKey[k] == nil {
			keys = append(keys, k)
		}
		byKey[k] = append(byKey[k], o)
	}
	sort.Strings(keys)
	for _, k := range keys {
		for i, w := range windows(s.settle(byKey[k])) {
			start := State{Known: i == 0}
			if err := search(w, start, s, states); err != nil {
				return fmt.Errorf("key %q, window %d of %d operations from %dµs: %w", k, i+1, len(w), w[0].Call/1000, err)
			}
		}
	}
	return nil
}

// settle takes the exponent out of unknown outcomes. A write with a value of its
// own, whose outcome nobody knows,
//
//   - took effect before whoever saw its value was answered: it gets that end;
//   - may as well never have happened if nobody saw its value: whatever was
//     answered next would have shown it, and a later write of unknown outcome that
//     hid it explains the same answers without it.
func (s Sequential) settle(list []Operation) []Operation {
	if s.Wrote == nil {
		return list
	}
	seen := map[string]id.Time{} // value: when it was first shown
	for _, o := range list {
		if o.Outcome != Done {
			continue
		}
		if at, ok := seen[string(o.Output)]; !ok || o.Return < at {
			seen[string(o.Output)] = o.Return
		}
	}
	var out []Operation
	for _, o := range list {
		if o.Outcome == Unknown {
			value, unique := s.Wrote(o)
			at, ok := seen[value]
			switch {
			case unique && !ok:
				continue
			case unique && at > o.Call:
				o.Return = at
				o.settled = true
			}
		}
		out = append(out, o)
	}
	return out
}

// windows cuts one key's operations where none that was answered is under way.
// Those of unknown outcome go on into every later window: they may take effect
// there.
func windows(list []Operation) [][]Operation {
	sort.SliceStable(list, func(i, j int) bool { return list[i].Call < list[j].Call })
	var all [][]Operation
	var window, unknown []Operation
	busyUntil := id.Time(-1)
	for _, o := range list {
		if len(window) >= windowLeast && o.Call > busyUntil {
			all = append(all, window)
			window = append([]Operation(nil), unknown...)
		}
		window = append(window, o)
		if o.Outcome == Done || o.settled {
			busyUntil = max(busyUntil, o.Return)
		} else {
			unknown = append(unknown, o)
		}
	}
	if len(window) > len(unknown) || len(all) == 0 {
		all = append(all, window)
	}
	return all
}

// search runs porcupine on one window. The budget is spent by refusing every
// further step, which ends the search at once, whatever the machine's speed.
func search(window []Operation, start State, s Sequential, states int) error {
	if len(window) > windowMost {
		return fmt.Errorf("%w: more than %d operations without a moment of rest", ErrUndecided, windowMost)
	}
	ops := make([]porcupine.Operation, len(window))
	for i, o := range window {
		ret := int64(o.Return)
		if o.Outcome != Done && !o.settled {
			ret = int64(id.Never)
		}
		ops[i] = porcupine.Operation{ClientId: i, Input: o, Call: int64(o.Call), Return: ret}
	}
	spent := 0
	model := porcupine.Model{
		Init: func() any { return start },
		Step: func(state, input, _ any) (bool, any) {
			if spent++; spent > states {
				return false, state
			}
			next, ok := s.Step(state.(State), input.(Operation))
			return ok, next
		},
		Equal: func(a, b any) bool { return a.(State) == b.(State) },
	}
	ok := porcupine.CheckOperations(model, ops)
	switch {
	case spent > states:
		return fmt.Errorf("%w after %d states", ErrUndecided, states)
	case !ok:
		return fmt.Errorf("no order explains the answers; the first operation is %v", window[0])
	}
	return nil
}
