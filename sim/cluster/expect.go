package cluster

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Met checks a run against the expect lines of its recipe; a recipe without any
// expects no violation. The lines:
//
//	no violation
//	violation TEXT     it is found, and its text contains this
//	mark NAME          a rare branch is reached
//	no mark NAME       it is not
//	terms N            exactly N terms have a leader before the healing
//
// An unknown line is an error too.
func (r Result) Met() error {
	violation := "no violation is expected"
	for _, line := range r.Recipe.Expect {
		first, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "no violation":
		case first == "violation":
			violation = ""
			if r.Violation == nil || !strings.Contains(r.Violation.Error(), rest) {
				return fmt.Errorf("expected the violation %q, got %v", rest, r.Violation)
			}
		case first == "mark":
			if !slices.Contains(r.Marks, rest) {
				return fmt.Errorf("the mark %q was not reached (%s were; violation: %v)", rest, strings.Join(r.Marks, ", "), r.Violation)
			}
		case strings.HasPrefix(line, "no mark "):
			if slices.Contains(r.Marks, line[len("no mark "):]) {
				return fmt.Errorf("expected %s, and it was reached", line)
			}
		case first == "terms":
			if n, err := strconv.Atoi(rest); err != nil || n != r.Terms {
				return fmt.Errorf("expected %s, and %d had a leader", line, r.Terms)
			}
		default:
			return fmt.Errorf("unknown expectation %q; want no violation, violation TEXT, mark NAME, no mark NAME or terms N", line)
		}
	}
	if violation != "" && r.Violation != nil {
		return r.Violation
	}
	return nil
}
