// Package rsm is what an application implements to be replicated.
//
// There are two kinds of state machine (DESIGN 10). One in memory (Machine)
// loses its state in a crash: the log since its last snapshot brings it back, so
// a snapshot is its durability. A durable one (Durable) keeps its own storage
// and says how much of it would survive a crash.
//
// Who may call: the host's apply worker calls Apply, View, Flush and Restore,
// never two at once. A View is read and written out by any goroutine, meanwhile.
//
// # Client sessions
//
// A client whose proposal ended as unknown does not know whether to try again:
// applied twice is wrong, and not at all is wrong too. With a session it simply
// tries again. The command is applied at most once, and every try gets the first
// answer (Raft thesis §6.3):
//
//	machine := rsm.WithSessions(&Map{…})                // given to Start, on every member
//
//	res, err := g.Propose(ctx, rsm.EncodeRegister())
//	a, err := rsm.DecodeAnswer(res)
//	session := rsm.NewSession(a.Session, a.Window)      // keep it as long as the client lives
//
//	n, cmd, err := session.Begin([]byte("set k v"))
//	res, err = g.Propose(ctx, cmd)                      // unknown? propose the same cmd again, to any member
//	a, err = rsm.DecodeAnswer(res)                      // a.Err() is nil, or says why it was refused
//	session.End(n)                                      // a.Result has arrived: it may be forgotten
//
// Reads find the application's View behind SessionedView.Inner.
package rsm

import (
	"io"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
)

// Command is one committed command.
type Command struct {
	Index id.Index
	Term  id.Term
	Data  []byte // immutable; it may be kept, never changed
}

// Batch is a run of committed entries, in order. Entries that are not commands
// (no-ops, configurations) are left out of Commands but counted by Applied.
type Batch struct {
	Commands []Command
	Applied  id.Index // last entry the batch covers; ≥ every Command's Index
	Term     id.Term  // of that entry
}

// Result is what applying a command returns to whoever proposed it. It must be
// the same on every replica.
type Result []byte

// Machine is a replicated state machine in memory.
type Machine interface {
	// Apply changes the state and appends one Result per command to results. An
	// error stops the group on this node before the applied index moves: use it
	// for what must never happen, and a Result for what a client did wrong.
	Apply(b Batch, results []Result) ([]Result, error)
	// View returns the state as of the last Apply: immutable and cheap.
	View() View
	// Restore replaces the whole state by what View.WriteTo once wrote.
	Restore(m Meta, r io.Reader) error
}

// Durable is a Machine with storage of its own. Everything an Apply changes,
// the applied index included, becomes durable together or not at all.
type Durable interface {
	Machine
	// Open returns the applied index and term found in storage; 0 when it is new.
	Open() (id.Index, id.Term, error)
	// Flushed returns the applied index that would survive a crash now.
	Flushed() (id.Index, error)
	// Flush makes everything applied so far survive a crash.
	Flush() error
}

// View is an immutable state. Close it: it may pin storage.
type View interface {
	Applied() id.Index
	// WriteTo writes the whole state as a stream that Restore understands; the
	// same state gives the same bytes on every replica.
	WriteTo(w io.Writer) (int64, error)
	Close() error
}

// Meta says what a snapshot holds.
type Meta struct {
	Index  id.Index
	Term   id.Term
	Config membership.Config
}
