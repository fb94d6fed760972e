// Package check judges what clients saw. It knows neither Raft nor the store: a
// history is a list of operations with the times they began and ended, the log
// is the list of commands in the order they were applied, and a model says what
// each command should have answered.
//
//	Witness       linear in time: replays the applied log through the model; every
//	              answer must match, nothing acknowledged may be missing, nothing
//	              refused present, nothing twice, and positions respect real time
//	Linearizable  independently of any log: porcupine on windows of one key,
//	              bounded by states visited, never by a clock
//	Durable       after the worst loss: everything acknowledged is still there
//
// Each returns nil or an error that names the operations. Times are true times,
// as only a simulator or a single test process knows them.
package check

import (
	"fmt"

	"github.com/quorate/quorate/internal/id"
)

// Outcome is how an operation ended for its client (DESIGN 15).
type Outcome uint8

const (
	Unknown Outcome = iota // it may or may not have taken effect, or may yet
	Done                   // it took effect, and this is the answer
	Refused                // it certainly has no effect and never will
)

func (o Outcome) String() string {
	return [...]string{"unknown", "done", "refused"}[o]
}

// Operation is one request of one client.
type Operation struct {
	ID      uint64 // unique in a history, not 0
	Client  int
	Read    bool
	Input   []byte // the command, or the query of a read
	Output  []byte // Done: the answer
	Outcome Outcome
	Call    id.Time // when the client sent it
	Return  id.Time // Done, Refused: when the client heard; otherwise ignored
	// Index is, of a write that is Done, where it was applied; of a read that is
	// Done, how far the state it was answered from had applied.
	Index id.Index

	settled bool // Unknown, but Return bounds when it took effect (linear.go)
}

func (o Operation) String() string {
	what := "write"
	if o.Read {
		what = "read"
	}
	s := fmt.Sprintf("%s %d of client %d (%q, called at %dµs", what, o.ID, o.Client, o.Input, o.Call/1000)
	if o.Outcome == Done {
		return s + fmt.Sprintf(", answered %q from index %d at %dµs)", o.Output, o.Index, o.Return/1000)
	}
	return s + ", " + o.Outcome.String() + ")"
}

// Applied is one position of the applied log. Operation is 0 where no client
// asked (a no-op, a configuration).
type Applied struct {
	Index     id.Index
	Operation uint64
	Command   []byte
}

// Model is the reference: the smallest correct implementation of what is
// replicated.
type Model interface {
	Apply(command []byte) []byte
	Query(query []byte) []byte
}
