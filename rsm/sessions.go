package rsm

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
)

// SessionLimits bound the table. They are set by a command (EncodeSessionLimits)
// and hold from its place in the log on; until then DefaultSessionLimits. At most
// Sessions × Window × AnswerBytes of answers are remembered. Lower limits evict
// sessions at once, but answers remembered before stay until their client is past
// them.
type SessionLimits struct {
	// Sessions open at once. One more evicts the session whose last use (any
	// command that found it) lies furthest back in the log: too few, and clients
	// that are alive lose theirs.
	Sessions int
	// Window is how far a sequence may lie beyond the lowest unanswered one: the
	// commands of a session under way at once, and the answers remembered for it.
	// A command beyond it is refused as Ahead.
	Window int
	// AnswerBytes of one answer. A longer one is given to whoever waits for it and
	// not remembered: a retry is told NotKept. The command is applied once all the
	// same.
	AnswerBytes int
}

// DefaultSessionLimits hold until a command sets others: 4096 sessions of 32
// answers of 1 KiB, 128 MiB if every one of them were that long.
func DefaultSessionLimits() SessionLimits {
	return SessionLimits{Sessions: 4096, Window: 32, AnswerBytes: 1 << 10}
}

// What limits may be; the last bounds their product.
const (
	sessionsMax    = 1 << 16
	windowMax      = 1 << 10
	answerBytesMax = 1 << 20
	rememberedMax  = 1 << 30
)

// Validate judges the limits; it changes nothing.
func (l SessionLimits) Validate() error {
	switch {
	case l.Sessions < 1 || l.Sessions > sessionsMax:
		return fmt.Errorf("rsm: session limits: %d sessions, must be 1 to %d", l.Sessions, sessionsMax)
	case l.Window < 1 || l.Window > windowMax:
		return fmt.Errorf("rsm: session limits: a window of %d, must be 1 to %d", l.Window, windowMax)
	case l.AnswerBytes < 0 || l.AnswerBytes > answerBytesMax:
		return fmt.Errorf("rsm: session limits: answers of %d bytes, must be 0 to %d", l.AnswerBytes, answerBytesMax)
	case int64(l.Sessions)*int64(l.Window)*int64(l.AnswerBytes) > rememberedMax:
		return fmt.Errorf("rsm: session limits: %d × %d × %d bytes of answers, at most %d together", l.Sessions, l.Window, l.AnswerBytes, rememberedMax)
	}
	return nil
}

// Sessioned is a Machine with client sessions around another. What it promises,
// and what not:
//
//   - A (session, sequence) is applied at most once in the life of the group, over
//     crashes, changes of leader and snapshots: the table is part of the state.
//   - A command whose session is gone is refused and not applied: an evicted
//     session does not quietly become at least once. What its client had under way
//     stays unknown: it may have been applied before, and will not be any more.
//   - Several commands of a session may be under way at once, up to the window.
//     They are applied in the order of the log, not of their sequences: a client
//     that needs an order waits for one before it sends the next.
//   - One sequence is one command. Another command under a used sequence gets the
//     answer of the first, or Past, and is not applied.
//   - Every command of such a machine is in an envelope; EncodePlain is the one
//     without a session, applied as often as it is committed. Bytes without an
//     envelope are refused.
//   - Session ids can be guessed. Sessions protect from retries, not from malice.
//
// Nothing of it is set per member, the limits neither: members that were started
// with different ones would evict differently, and their states part for good.
type Sessioned struct {
	inner Machine
	table *table

	// Scratch of Apply.
	decided  []decision
	commands []Command
	results  []Result
}

// decision is what became of one command of a batch.
type decision struct {
	answer   Answer  // if neither of the others
	inner    int     // place among the inner machine's commands; -1: not applied now
	remember *answer // where the answer is, or goes if applied now; nil: without a session
	bytesMax int     // of an answer that is remembered, when this was decided
}

// WithSessions puts client sessions around a machine in memory. It must be there
// from the group's first entry on, on every member. A Durable is refused (a
// programming error): its state and the table would become durable apart, and a
// crash between the two would apply a command twice or lose its answer. Such a
// machine keeps the table in its own storage, in the batch that applies the
// command.
func WithSessions(inner Machine) *Sessioned {
	_, durable := inner.(Durable)
	assert.That(!durable, "rsm.WithSessions: %T is a durable machine; it must keep its sessions in its own storage", inner)
	return &Sessioned{inner: inner, table: newTable()}
}

// Apply decides in the order of the log what each command is, lets the inner
// machine apply the new ones in one batch, and then hands out the answers. How a
// member cuts the log into batches must not show: so no decision looks at an
// answer of the same batch.
func (s *Sessioned) Apply(b Batch, results []Result) ([]Result, error) {
	s.decided, s.commands = s.decided[:0], s.commands[:0]
	for _, c := range b.Commands {
		e, err := decodeEnvelope(c.Data)
		d := decision{inner: -1, answer: Answer{Status: Malformed}}
		if err != nil && err != errMalformed {
			return results, fmt.Errorf("entry %d: %w", c.Index, err)
		}
		if err == nil {
			d = s.decide(c.Index, e)
		}
		if d.inner >= 0 {
			s.commands = append(s.commands, Command{Index: c.Index, Term: c.Term, Data: e.data})
		}
		s.decided = append(s.decided, d)
	}
	inner := b
	inner.Commands = s.commands
	var err error
	s.results, err = s.inner.Apply(inner, s.results[:0])
	if err != nil {
		return results, err
	}
	if len(s.results) != len(s.commands) {
		return results, fmt.Errorf("rsm: %T returned %d results for %d commands", s.inner, len(s.results), len(s.commands))
	}
	for i := range s.decided {
		results = append(results, s.answer(&s.decided[i]))
	}
	s.forget()
	return results, nil
}

// forget lets go of what the scratch points to.
func (s *Sessioned) forget() {
	clear(s.decided)
	clear(s.commands)
	clear(s.results)
}

// decide says what becomes of a command and brings the table up to date, the
// answer itself aside.
func (s *Sessioned) decide(i id.Index, e enveloped) decision {
	said := func(a Answer) decision { return decision{inner: -1, answer: a} }
	t := s.table
	switch e.kind {
	case kindPlain:
		return decision{inner: len(s.commands)}
	case kindRegister:
		t.evict(t.limits.Sessions - 1)
		t.add(&session{id: SessionID(i), last: i, lowest: 1})
		return said(Answer{Status: Registered, Session: SessionID(i), Window: t.limits.Window})
	case kindClose:
		t.remove(e.session)
		return said(Answer{Status: Closed})
	case kindLimits:
		if e.limits.Validate() != nil {
			return said(Answer{Status: BadLimits})
		}
		t.limits = e.limits
		t.evict(t.limits.Sessions)
		return said(Answer{Status: LimitsSet})
	}
	x := t.use(e.session, i)
	if x == nil {
		return said(Answer{Status: NoSession})
	}
	x.raise(e.lowest)
	if e.n < x.lowest {
		return said(Answer{Status: Past})
	}
	known, at := x.find(e.n)
	if known != nil {
		return decision{inner: -1, remember: known}
	}
	if e.n-x.lowest >= Sequence(t.limits.Window) {
		return said(Answer{Status: Ahead})
	}
	a := &answer{n: e.n}
	x.answers = slices.Insert(x.answers, at, a)
	return decision{inner: len(s.commands), remember: a, bytesMax: t.limits.AnswerBytes}
}

// answer returns what the proposer gets, in memory of its own: the table is
// replicated state, and the caller may do with a Result what it likes.
func (s *Sessioned) answer(d *decision) Result {
	switch {
	case d.inner >= 0:
		r := s.results[d.inner]
		if a := d.remember; a != nil && len(r) <= d.bytesMax {
			// A copy: r may be a small part of something large, or change.
			a.kept, a.result = true, slices.Clone(r)
		}
		return Answer{Status: Answered, Result: r}.encode()
	case d.remember == nil:
		return d.answer.encode()
	case d.remember.kept:
		return Answer{Status: Answered, Result: d.remember.result}.encode()
	}
	return Answer{Status: NotKept}.encode()
}

// Limits are those in force after the last Apply.
func (s *Sessioned) Limits() SessionLimits { return s.table.limits }
