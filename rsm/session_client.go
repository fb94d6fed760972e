package rsm

import (
	"fmt"
	"slices"
)

// Session is the client's side: it numbers the commands and knows the lowest
// unanswered one. Not safe for use by several goroutines at once. Keep it in
// memory only: whoever restarts registers anew, for nobody knows any more which
// sequences were used.
type Session struct {
	id     SessionID
	window Sequence
	next   Sequence
	open   []Sequence // begun and not ended, in order
}

// NewSession returns the client's side of a session from the answer that
// registered it.
func NewSession(s SessionID, window int) *Session {
	return &Session{id: s, window: Sequence(max(window, 1)), next: 1}
}

// ID is the session's.
func (s *Session) ID() SessionID { return s.id }

// Begin numbers a new command and returns its bytes. A retry proposes the same
// bytes again. It is an error to go beyond the window; End makes room.
func (s *Session) Begin(data []byte) (Sequence, []byte, error) {
	lowest := s.next
	if len(s.open) > 0 {
		lowest = s.open[0]
	}
	if s.next-lowest >= s.window {
		return 0, nil, fmt.Errorf("rsm: session %d: command %d is still unanswered, so %d would be beyond the window of %d: wait for answers", s.id, lowest, s.next, s.window)
	}
	n := s.next
	s.next++
	s.open = append(s.open, n)
	return n, EncodeCommand(s.id, n, lowest, data), nil
}

// End says that command n is answered, or that the client has given it up: later
// commands carry that on, and no copy of n is applied behind them.
func (s *Session) End(n Sequence) {
	if at, found := slices.BinarySearch(s.open, n); found {
		s.open = slices.Delete(s.open, at, at+1)
	}
}
