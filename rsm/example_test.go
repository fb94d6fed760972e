package rsm_test

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/rsm"
)

// account is a state machine for which twice is not once: every command adds
// its number to the balance and answers the new one.
type account struct {
	balance uint64
	applied id.Index // outside this module: quorate.Index
}

func (a *account) Apply(b rsm.Batch, results []rsm.Result) ([]rsm.Result, error) {
	for _, c := range b.Commands {
		a.balance += uint64(c.Data[0])
		results = append(results, fmt.Appendf(nil, "balance %d", a.balance))
	}
	a.applied = b.Applied
	return results, nil
}

func (a *account) View() rsm.View { return statement(*a) }

func (a *account) Restore(m rsm.Meta, r io.Reader) error {
	a.applied = m.Index
	return binary.Read(r, binary.BigEndian, &a.balance)
}

type statement account

func (s statement) Applied() id.Index { return s.applied }
func (s statement) Close() error      { return nil }
func (s statement) WriteTo(w io.Writer) (int64, error) {
	return 8, binary.Write(w, binary.BigEndian, s.balance)
}

func ExampleWithSessions() {
	machine := rsm.WithSessions(&account{})

	// The log in one's hand. In a program it is Propose that commits, and what it
	// returns goes to DecodeAnswer.
	index := id.Index(0)
	commit := func(command []byte) rsm.Answer {
		index++
		results, err := machine.Apply(rsm.Batch{Commands: []rsm.Command{{Index: index, Data: command}}, Applied: index}, nil)
		if err != nil {
			panic(err)
		}
		answer, err := rsm.DecodeAnswer(results[0])
		if err != nil {
			panic(err)
		}
		return answer
	}

	registered := commit(rsm.EncodeRegister())
	session := rsm.NewSession(registered.Session, registered.Window)

	n, deposit, err := session.Begin([]byte{10})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s\n", commit(deposit).Result) // suppose that this answer got lost
	fmt.Printf("%s\n", commit(deposit).Result) // so the client tries again
	session.End(n)

	commit(rsm.EncodeClose(session.ID()))
	fmt.Println(commit(deposit).Err() == rsm.NoSession)

	twice := rsm.EncodePlain([]byte{10}) // without a session
	commit(twice)
	fmt.Printf("%s\n", commit(twice).Result)
	// Output:
	// balance 10
	// balance 10
	// true
	// balance 30
}
