package rsm

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Commands and answers of a machine with sessions (docs/format/sessions.md):
//
//	command  magic 0xF5, version 1, kind 1 byte, then by kind:
//	         1 plain     data
//	         2 command   uvarint session, sequence, sequence − lowest; data
//	         3 register  nothing
//	         4 close     uvarint session
//	         5 limits    uvarint sessions, window, answer bytes
//	answer   version 1, status 1 byte, then
//	         1 answered    the machine's result
//	         2 registered  uvarint session, window
//	         others        nothing
//
// The magic byte occurs in no UTF-8 text, so a text proposed without an envelope
// is never taken for one.
const (
	envelopeMagic   = 0xF5
	envelopeVersion = 1
	answerVersion   = 1

	kindPlain    = 1
	kindCommand  = 2
	kindRegister = 3
	kindClose    = 4
	kindLimits   = 5
)

// SessionID names a client session: it is the index of the entry that registered
// it, so the log makes it and no two sessions of a group ever share one.
type SessionID uint64

// Sequence numbers the commands of one session, from 1. A command and all its
// retries have the same one.
type Sequence uint64

// EncodeRegister returns the command that opens a session; its answer holds the
// id. A retry of it opens another session: the one nobody uses falls out of the
// table when room is needed.
func EncodeRegister() []byte { return envelope(kindRegister, 0) }

// EncodeCommand returns a command of a session. All sequences below lowest are
// answered or given up: their answers are forgotten, and whatever copy of them is
// still on its way will not be applied. lowest lies between 1 and n.
func EncodeCommand(s SessionID, n, lowest Sequence, data []byte) []byte {
	b := envelope(kindCommand, 3*binary.MaxVarintLen64+len(data))
	b = binary.AppendUvarint(b, uint64(s))
	b = binary.AppendUvarint(b, uint64(n))
	b = binary.AppendUvarint(b, uint64(n-lowest))
	return append(b, data...)
}

// EncodePlain returns a command without a session: it is applied as often as it
// is committed, so a client that retries it may see it applied twice.
func EncodePlain(data []byte) []byte { return append(envelope(kindPlain, len(data)), data...) }

// EncodeClose returns the command that ends a session and frees its place.
// Closing one that is gone is answered in the same way.
func EncodeClose(s SessionID) []byte {
	return binary.AppendUvarint(envelope(kindClose, binary.MaxVarintLen64), uint64(s))
}

// EncodeSessionLimits returns the command that sets the table's limits, from its
// place in the log on.
func EncodeSessionLimits(l SessionLimits) []byte {
	b := envelope(kindLimits, 3*binary.MaxVarintLen64)
	return appendLimits(b, l)
}

func envelope(kind byte, room int) []byte {
	return append(make([]byte, 0, 3+room), envelopeMagic, envelopeVersion, kind)
}

func appendLimits(b []byte, l SessionLimits) []byte {
	b = binary.AppendUvarint(b, uint64(l.Sessions))
	b = binary.AppendUvarint(b, uint64(l.Window))
	return binary.AppendUvarint(b, uint64(l.AnswerBytes))
}

// enveloped is a command as read. data points into the entry.
type enveloped struct {
	kind      byte
	session   SessionID
	n, lowest Sequence
	limits    SessionLimits
	data      []byte
}

// errMalformed says that no version would have written these bytes as a command.
var errMalformed = errors.New("not a command of a machine with sessions")

// decodeEnvelope reads a command. errMalformed is certain for every version that
// reads this one, so that members may answer it; any other error says that a
// newer version may know more, and this member must not go on.
func decodeEnvelope(data []byte) (enveloped, error) {
	if len(data) < 2 || data[0] != envelopeMagic {
		return enveloped{}, errMalformed
	}
	if data[1] != envelopeVersion {
		return enveloped{}, fmt.Errorf("session envelope version %d, this version reads %d: upgrade this member", data[1], envelopeVersion)
	}
	if len(data) < 3 {
		return enveloped{}, errMalformed
	}
	e, b, ok := enveloped{kind: data[2]}, data[3:], true
	switch e.kind {
	case kindPlain:
		e.data, b = b, nil
	case kindCommand:
		var s, n, distance uint64
		b, ok = cutUvarints(b, &s, &n, &distance)
		ok = ok && distance < n
		e.session, e.n, e.lowest = SessionID(s), Sequence(n), Sequence(n-distance)
		e.data, b = b, nil
	case kindRegister:
	case kindClose:
		var s uint64
		b, ok = cutUvarints(b, &s)
		e.session = SessionID(s)
	case kindLimits:
		b, ok = cutLimits(b, &e.limits)
	default:
		ok = false
	}
	if !ok || len(b) > 0 {
		return enveloped{}, errMalformed
	}
	return e, nil
}

// Unwrap returns what the machine inside gets of a command, if it is one for it,
// and whose it is: session 0 is a command without one. It is for logs and pages;
// whether the command is applied or answered from the table only Apply knows.
func Unwrap(command []byte) (s SessionID, n Sequence, data []byte, ok bool) {
	e, err := decodeEnvelope(command)
	if err != nil || e.kind != kindPlain && e.kind != kindCommand {
		return 0, 0, nil, false
	}
	return e.session, e.n, e.data, true
}

// cutUvarints reads one number after the other from the front of b. A number has
// one spelling: a longer one is refused.
func cutUvarints(b []byte, into ...*uint64) ([]byte, bool) {
	for _, v := range into {
		x, n := binary.Uvarint(b)
		if n <= 0 || n > 1 && b[n-1] == 0 {
			return b, false
		}
		*v, b = x, b[n:]
	}
	return b, true
}

func cutLimits(b []byte, l *SessionLimits) ([]byte, bool) {
	var s, w, a uint64
	b, ok := cutUvarints(b, &s, &w, &a)
	const fits = 1<<31 - 1 // an int everywhere; SessionLimits.Validate judges the rest
	l.Sessions, l.Window, l.AnswerBytes = int(min(s, fits)), int(min(w, fits)), int(min(a, fits))
	return b, ok && s <= fits && w <= fits && a <= fits
}

// AnswerStatus is how a machine with sessions answered a command. Every status
// from NoSession on is a refusal: this copy of the command was not applied and
// never will be. The numbers are part of the format; never reuse one.
type AnswerStatus uint8

const (
	Answered   AnswerStatus = 1 // applied; Result is the first answer
	Registered AnswerStatus = 2 // Session is open
	Closed     AnswerStatus = 3 // the session is gone
	LimitsSet  AnswerStatus = 4
	// NotKept answers a retry: the command was applied, and its first answer was
	// longer than SessionLimits.AnswerBytes, so that it was not remembered.
	NotKept AnswerStatus = 5

	// NoSession: the session was never registered, was closed, or was evicted. An
	// earlier copy may have been applied before that; no copy will be any more.
	NoSession AnswerStatus = 16
	// Past: the client itself has said that this sequence is answered or given up.
	Past AnswerStatus = 17
	// Ahead: the sequence is SessionLimits.Window or more beyond the lowest
	// unanswered one. Collect answers, then send the same sequence again.
	Ahead AnswerStatus = 18
	// Malformed: not an envelope, so nobody can say what the client meant.
	Malformed AnswerStatus = 19
	// BadLimits: limits outside what SessionLimits.Validate allows.
	BadLimits AnswerStatus = 20
)

func (s AnswerStatus) String() string {
	switch s {
	case Answered:
		return "answered"
	case Registered:
		return "registered"
	case Closed:
		return "closed"
	case LimitsSet:
		return "limits set"
	case NotKept:
		return "applied before; the first answer was too long to be remembered"
	case NoSession:
		return "no such session: it was closed, or evicted to make room; register a new one. This command may have been applied before that, and will not be from now on"
	case Past:
		return "this sequence lies below the lowest unanswered one; it is not applied (again)"
	case Ahead:
		return "too many commands of this session are unanswered; wait for answers, then send this one again"
	case Malformed:
		return "not a command of a machine with sessions: encode it with rsm.EncodeCommand or rsm.EncodePlain"
	case BadLimits:
		return "session limits out of range"
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// Error makes a status an error, for Answer.Err.
func (s AnswerStatus) Error() string { return "rsm: " + s.String() }

// Answer is what a machine with sessions answers to a command.
type Answer struct {
	Status  AnswerStatus
	Session SessionID // Registered
	Window  int       // Registered: SessionLimits.Window at that moment
	Result  Result    // Answered: what the machine inside returned
}

// Err is nil if the answer is what the client asked for, else the Status:
// errors.Is(err, rsm.NoSession) tells which. NotKept is among them, although the
// command is applied, because the caller does not get what it waits for.
func (a Answer) Err() error {
	if a.Status < NotKept {
		return nil
	}
	return a.Status
}

func (a Answer) encode() Result {
	b := append(make([]byte, 0, 2+binary.MaxVarintLen64+len(a.Result)), answerVersion, byte(a.Status))
	if a.Status == Registered {
		b = binary.AppendUvarint(b, uint64(a.Session))
		b = binary.AppendUvarint(b, uint64(a.Window))
	}
	return append(b, a.Result...)
}

// DecodeAnswer reads the Result of a command of a machine with sessions. The
// answer points into r.
func DecodeAnswer(r Result) (Answer, error) {
	if len(r) < 2 {
		return Answer{}, fmt.Errorf("rsm: an answer of %d bytes: the machine behind it has no sessions", len(r))
	}
	if r[0] != answerVersion {
		return Answer{}, fmt.Errorf("rsm: answer version %d, this version reads %d: upgrade this client, or the machine behind it has no sessions", r[0], answerVersion)
	}
	a, b := Answer{Status: AnswerStatus(r[1])}, []byte(r[2:])
	ok := true
	switch a.Status {
	case Answered:
		a.Result, b = Result(b), nil
	case Registered:
		var s, w uint64
		b, ok = cutUvarints(b, &s, &w)
		ok = ok && w <= windowMax
		a.Session, a.Window = SessionID(s), int(w)
	case Closed, LimitsSet, NotKept, NoSession, Past, Ahead, Malformed, BadLimits:
	default:
		return Answer{}, fmt.Errorf("rsm: an answer with %s: upgrade this client", a.Status.String())
	}
	if !ok || len(b) > 0 {
		return Answer{}, fmt.Errorf("rsm: an answer (%s) that is damaged", a.Status.String())
	}
	return a, nil
}
