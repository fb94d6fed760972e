// Package assert checks what only a programming error can break. It is on in
// production: a member that has broken an invariant must stop before it spreads
// the damage. What the world may do (a full disk, a malformed frame) is an
// error, never an assertion.
package assert

import "fmt"

// That panics with the formatted text when ok is false. Arguments are evaluated
// always: on hot paths guard the call with an if and use Fail.
func That(ok bool, format string, args ...any) {
	if !ok {
		Fail(format, args...)
	}
}

// Fail panics with the formatted text.
func Fail(format string, args ...any) {
	panic("invariant broken: " + fmt.Sprintf(format, args...))
}
