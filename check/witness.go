package check

import (
	"bytes"
	"fmt"
	"sort"

	"github.com/quorate/quorate/internal/id"
)

// Witness checks a history against the log that is said to explain it. The log
// is the proof of linearizability; this verifies the proof, in time linear in
// both but for sorting:
//
//   - the log has every index once, from 1 on;
//   - every operation that is Done has the answer the model gives at its
//     position, a write exactly once and where it said, a read as of its index;
//   - nothing Refused is in the log, nothing Unknown more than once;
//   - if A ended before B began, A's position is not behind B's.
func Witness(log []Applied, history []Operation, m Model) error {
	at, err := replay(log, history, m)
	if err != nil {
		return err
	}
	return realTime(history, at)
}

// replay returns the position of every write that is in the log.
func replay(log []Applied, history []Operation, m Model) (map[uint64]id.Index, error) {
	writes := make(map[uint64]*Operation, len(history))
	var reads []*Operation
	for i := range history {
		o := &history[i]
		if o.Read {
			if o.Outcome == Done {
				reads = append(reads, o)
			}
			continue
		}
		if writes[o.ID] != nil || o.ID == 0 {
			return nil, fmt.Errorf("the history names operation %d twice", o.ID)
		}
		writes[o.ID] = o
	}
	sort.SliceStable(reads, func(i, j int) bool { return reads[i].Index < reads[j].Index })
	answer := func(upTo id.Index) error {
		for len(reads) > 0 && reads[0].Index <= upTo {
			if want := m.Query(reads[0].Input); !bytes.Equal(want, reads[0].Output) {
				return fmt.Errorf("%v: the model answers %q", reads[0], want)
			}
			reads = reads[1:]
		}
		return nil
	}
	at := make(map[uint64]id.Index, len(log))
	for i, a := range log {
		if a.Index != id.Index(i+1) {
			return nil, fmt.Errorf("the applied log has index %d at position %d", a.Index, i+1)
		}
		if err := answer(a.Index - 1); err != nil {
			return nil, err
		}
		if a.Operation == 0 {
			continue
		}
		if first := at[a.Operation]; first != 0 {
			return nil, fmt.Errorf("operation %d is applied twice, at %d and at %d", a.Operation, first, a.Index)
		}
		at[a.Operation] = a.Index
		if err := applied(a, writes[a.Operation], m.Apply(a.Command)); err != nil {
			return nil, err
		}
	}
	if err := answer(id.Index(len(log))); err != nil {
		return nil, err
	}
	if len(reads) > 0 {
		return nil, fmt.Errorf("%v: nothing was ever applied there", reads[0])
	}
	for i := range history {
		if o := &history[i]; !o.Read && o.Outcome == Done && at[o.ID] == 0 {
			return nil, fmt.Errorf("%v: acknowledged, but not in the log", o)
		}
	}
	return at, nil
}

// applied checks one write against its position in the log.
func applied(a Applied, o *Operation, want []byte) error {
	switch {
	case o == nil:
		return fmt.Errorf("index %d applies operation %d, which nobody asked for", a.Index, a.Operation)
	case !bytes.Equal(a.Command, o.Input):
		return fmt.Errorf("index %d applies %q for %v", a.Index, a.Command, o)
	case o.Outcome == Refused:
		return fmt.Errorf("index %d applies %v", a.Index, o)
	case o.Outcome == Done && o.Index != a.Index:
		return fmt.Errorf("%v: it is applied at %d", o, a.Index)
	case o.Outcome == Done && !bytes.Equal(o.Output, want):
		return fmt.Errorf("%v: the model answers %q", o, want)
	}
	return nil
}

// realTime checks that no operation stands before one that had ended when it
// began. A read at index p saw everything up to p; a write at p is p.
func realTime(history []Operation, at map[uint64]id.Index) error {
	var called, ended []*Operation
	for i := range history {
		o := &history[i]
		if o.Outcome == Done {
			ended = append(ended, o)
			called = append(called, o)
		} else if at[o.ID] != 0 && !o.Read {
			called = append(called, o) // it took effect after its call, whoever heard of it
		}
	}
	sort.SliceStable(called, func(i, j int) bool { return called[i].Call < called[j].Call })
	sort.SliceStable(ended, func(i, j int) bool { return ended[i].Return < ended[j].Return })
	var newest *Operation // of those that ended, the one with the greatest position
	position := func(o *Operation) id.Index {
		if o.Read {
			return o.Index
		}
		return at[o.ID]
	}
	for _, o := range called {
		for len(ended) > 0 && ended[0].Return < o.Call {
			if newest == nil || position(ended[0]) > position(newest) {
				newest = ended[0]
			}
			ended = ended[1:]
		}
		if newest == nil {
			continue
		}
		if p, q := position(o), position(newest); p < q || p == q && !o.Read && newest.ID != o.ID {
			return fmt.Errorf("%v stands at %d, before %v at %d, which had ended when it began", o, p, newest, q)
		}
	}
	return nil
}

// Durable checks that everything acknowledged is in the log that a cluster came
// back with, where it was acknowledged.
func Durable(history []Operation, recovered []Applied) error {
	for i := range history {
		o := &history[i]
		if o.Read || o.Outcome != Done {
			continue
		}
		if o.Index == 0 || int(o.Index) > len(recovered) {
			return fmt.Errorf("%v: acknowledged, but the recovered log ends at %d", o, len(recovered))
		}
		if got := recovered[o.Index-1]; got.Operation != o.ID || !bytes.Equal(got.Command, o.Input) {
			return fmt.Errorf("%v: the recovered log has operation %d there", o, got.Operation)
		}
	}
	return nil
}
