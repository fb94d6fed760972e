package main

import (
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// table is docs/MISSION.md.
type table struct{ rows map[int]row }

type row struct{ text, owner string }

// tableLine is one row: | M14 | text | owner |
var tableLine = regexp.MustCompile(`^\| M(\d+) \| (.+) \| (\w*) *\|$`)

func readTable(root fs.FS, name string) (*table, error) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return nil, err
	}
	t := &table{rows: map[int]row{}}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimRight(line, "\n")
		if !strings.HasPrefix(line, "| M") {
			continue
		}
		m := tableLine.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("%s:%d: a row looks like `| M14 | text | owner |`, not %q", name, number, line)
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, number, err)
		}
		if _, twice := t.rows[n]; twice {
			return nil, fmt.Errorf("%s:%d: M%d stands there twice", name, number, n)
		}
		t.rows[n] = row{text: m[2], owner: m[3]}
	}
	for n := 1; n <= len(t.rows); n++ {
		if _, ok := t.rows[n]; !ok {
			return nil, fmt.Errorf("%s: M%d is missing", name, n)
		}
	}
	if len(t.rows) == 0 {
		return nil, fmt.Errorf("%s has no rows", name)
	}
	return t, nil
}

func (t *table) numbers() []int { return slices.Sorted(maps.Keys(t.rows)) }

// owners in the order of their first number.
func (t *table) owners() []string {
	var list []string
	for _, n := range t.numbers() {
		if o := t.rows[n].owner; o != "" && !slices.Contains(list, o) {
			list = append(list, o)
		}
	}
	return list
}

// strangers are numbers that something shows but the table does not have.
func strangers(t *table, shown map[int][]string) []int {
	var list []int
	for _, n := range slices.Sorted(maps.Keys(shown)) {
		if _, ok := t.rows[n]; !ok {
			list = append(list, n)
		}
	}
	return list
}
