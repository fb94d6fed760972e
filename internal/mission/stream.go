package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// testID names a test: its package below the module and its name.
type testID struct{ pkg, test string }

// results is what a `go test -json` stream reports.
type results struct {
	outcome  map[testID]string // pass, fail, skip
	packages map[string]string // pass, fail, skip (no tests)
	output   map[testID][]string
}

const modulePath = "github.com/quorate/quorate"

// readStream reads a stream to its end and shows it to people as it comes: a line
// per package, as `go test` prints it, and the output of what failed.
func readStream(stream io.Reader, show io.Writer) (*results, error) {
	r := &results{outcome: map[testID]string{}, packages: map[string]string{}, output: map[testID][]string{}}
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e struct {
			Action, Package, ImportPath, Test, Output string
			Elapsed                                   float64
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			// go vet and the linker may write plain lines between.
			fmt.Fprintf(show, "%s\n", lines.Text())
			continue
		}
		pkg := strings.TrimPrefix(strings.TrimPrefix(e.Package, modulePath), "/")
		if pkg == "" {
			pkg = "."
		}
		at := testID{pkg, e.Test}
		switch e.Action {
		case "build-output":
			fmt.Fprint(show, e.Output)
		case "output":
			r.output[at] = append(r.output[at], e.Output)
		case "pass", "fail", "skip":
			r.end(at, e.Action, show)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the test stream: %w", err)
	}
	if len(r.packages) == 0 {
		return nil, errors.New("the test stream has no packages: is it the output of `go test -json ./...`?")
	}
	return r, nil
}

func (r *results) end(at testID, action string, show io.Writer) {
	if at.test != "" {
		r.outcome[at] = action
		if action == "fail" {
			fmt.Fprint(show, strings.Join(r.output[at], ""))
		}
		delete(r.output, at)
		return
	}
	r.packages[at.pkg] = action
	for _, text := range r.output[at] {
		// The package's own lines: PASS alone says nothing beside "ok".
		if action == "fail" || text != "PASS\n" {
			fmt.Fprint(show, text)
		}
	}
	delete(r.output, at)
}

// failed names the packages that failed; nil if none did.
func (r *results) failed() error {
	var list []string
	for _, p := range slices.Sorted(maps.Keys(r.packages)) {
		if r.packages[p] == "fail" {
			list = append(list, p)
		}
	}
	if list == nil {
		return nil
	}
	return fmt.Errorf("tests failed in %s", strings.Join(list, ", "))
}

// passed tells whether a test passed and did something: not one whose subtests
// were all skipped.
func (r *results) passed(at testID) bool {
	if r.outcome[at] != "pass" {
		return false
	}
	subtests, ran := 0, 0
	for other, outcome := range r.outcome {
		if other.pkg == at.pkg && strings.HasPrefix(other.test, at.test+"/") {
			subtests++
			if outcome == "pass" {
				ran++
			}
		}
	}
	return subtests == 0 || ran > 0
}
