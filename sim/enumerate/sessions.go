package enumerate

import (
	"errors"
	"fmt"
	"io"

	"github.com/quorate/quorate/rsm"
)

// How often a command takes effect that is in the log once or twice: asked of the
// machines that members would run, one with rsm's client sessions around it and
// one without.

// adder counts how often the command took effect.
type adder struct{ times int }

func (a *adder) Apply(b rsm.Batch, results []rsm.Result) ([]rsm.Result, error) {
	for range b.Commands {
		a.times++
		results = append(results, fmt.Appendf(nil, "%d", a.times))
	}
	return results, nil
}

func (a *adder) View() rsm.View { return nil } // no member takes a snapshot here

func (a *adder) Restore(rsm.Meta, io.Reader) error {
	return errors.New("enumerate: there are no snapshots here")
}

// effect applies the same command times times and returns how often it took
// effect without sessions and with them.
func effect(times int) (without, with int, err error) {
	plain, inner := &adder{}, &adder{}
	sessioned := rsm.WithSessions(inner)
	apply := func(m rsm.Machine, command []byte) rsm.Result {
		results, failure := m.Apply(rsm.Batch{Commands: []rsm.Command{{Data: command}}}, nil)
		if err = errors.Join(err, failure); failure != nil {
			return nil
		}
		return results[0]
	}
	registered, failure := rsm.DecodeAnswer(apply(sessioned, rsm.EncodeRegister()))
	if err = errors.Join(err, failure); err != nil {
		return 0, 0, err
	}
	command := rsm.EncodeCommand(registered.Session, 1, 1, []byte("add one"))
	var first rsm.Result
	for i := range times {
		apply(plain, []byte("add one"))
		result := apply(sessioned, command)
		if i == 0 {
			first = result
		} else if string(result) != string(first) {
			err = errors.Join(err, fmt.Errorf("enumerate: the retry is answered %q, the first was %q", result, first))
		}
	}
	return plain.times, inner.times, err
}

// effects is effect for every fate.
type effects struct{ without, with [fates]int }

func newEffects() (*effects, error) {
	e := &effects{}
	for f := range fates {
		times := 0
		switch {
		case f.twice():
			times = 2
		case f.kept():
			times = 1
		}
		var err error
		if e.without[f], e.with[f], err = effect(times); err != nil {
			return nil, err
		}
	}
	return e, nil
}
