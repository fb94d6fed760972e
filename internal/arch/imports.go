package arch

import (
	"go/ast"
	"slices"
	"strings"
)

// checkImports applies the table to every import.
func checkImports(t *tree) []Finding {
	var found []Finding
	for _, p := range t.sorted() {
		row, ok := placeOf(p.path)
		if !ok {
			found = append(found, finding(p.path, "this package is in no row of the table in internal/arch/table.go; place it: which layer does its truth belong to?"))
			continue
		}
		for _, f := range p.files {
			for _, s := range f.ast.Imports {
				if text := judgeImport(row, p.path, imported(s), f.test); text != "" {
					found = append(found, finding(t.at(s.Pos()), "%s", text))
				}
			}
		}
	}
	return found
}

// judgeImport returns what is wrong with one import, or nothing.
func judgeImport(row place, from, to string, test bool) string {
	if to == "C" {
		return "imports C: CGO_ENABLED=0 is the build that ships and the build that is measured"
	}
	if standard(to) {
		return ""
	}
	if path, ours := firstParty(to); ours {
		if test || path == from || mayUse(row, path) {
			return ""
		}
		if path == "kv/engine/pebble" {
			return from + " imports kv/engine/pebble: only cmd and tests do; everybody else is given an engine"
		}
		return from + " (" + row.promise + ") may not import " + path + ": the arrows of DESIGN's table go down, and this one is not among them"
	}
	if row.layer <= groups {
		return from + " imports " + to + ": below the store there is the standard library only, in tests too"
	}
	for _, d := range dependencies {
		if to != d.path && !strings.HasPrefix(to, d.path+"/") {
			continue
		}
		if test || coveredBy(d.in, from) {
			return ""
		}
		return from + " imports " + to + ": " + d.reason
	}
	if test && row.layer == service {
		return "" // what a client of ours would use
	}
	return from + " imports " + to + ", which no row of dependencies allows: a new dependency gets a decision page first"
}

// mayUse tells whether a package in row may import path.
func mayUse(row place, path string) bool {
	if slices.Contains(everyone, path) {
		return true
	}
	if row.layer == service && strings.HasPrefix(row.path, "cmd/") {
		return true
	}
	if path == "kv/engine/pebble" {
		return false
	}
	if coveredBy(row.uses, path) {
		return true
	}
	target, ok := placeOf(path)
	return ok && !row.sealed && row.layer != beside && slices.Contains(valuePackages, path) && target.layer < row.layer
}

// checkClosures follows the imports of what must run in a browser and reports
// foreign code, with the way that leads there.
func checkClosures(t *tree) []Finding {
	var found []Finding
	for _, c := range closures {
		if t.packages[c.path] == nil {
			continue
		}
		way := map[string][]string{c.path: {c.path}}
		for queue := []string{c.path}; len(queue) > 0; queue = queue[1:] {
			at := queue[0]
			for _, to := range t.importsOf(at) {
				path, ours := firstParty(to)
				switch {
				case ours && way[path] == nil && t.packages[path] != nil:
					way[path] = append(slices.Clone(way[at]), path)
					queue = append(queue, path)
				case !ours && !standard(to) && !slices.Contains(c.foreign, to):
					found = append(found, finding(c.path, "depends on %s (%s): %s", to, strings.Join(way[at], " → "), c.reason))
				}
			}
		}
	}
	return found
}

// importsOf returns what a package imports outside its tests, sorted.
func (t *tree) importsOf(path string) []string {
	var list []string
	for _, f := range t.packages[path].productive() {
		for _, s := range f.ast.Imports {
			list = append(list, imported(s))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// checkTable judges the table itself: no row twice, and no arrow up.
func checkTable() []Finding {
	var found []Finding
	seen := map[string]bool{}
	for _, row := range table {
		if seen[row.path] {
			found = append(found, finding(row.path, "has two rows in the table"))
		}
		seen[row.path] = true
		for _, use := range row.uses {
			to, ok := placeOf(strings.TrimSuffix(use, "/..."))
			switch {
			case use == "./...":
			case !ok:
				found = append(found, finding(row.path, "uses %s, which has no row", use))
			case to.layer > row.layer:
				found = append(found, finding(row.path, "uses %s, which is a layer up", use))
			case row.layer == doors && to.layer == doors && use != "vfs":
				found = append(found, finding(row.path, "uses %s: doors share vfs and know no other door", use))
			case row.machine && !to.machine && row.layer != beside:
				found = append(found, finding(row.path, "uses %s, which is no machine: a machine reaches the world by effects only", use))
			}
		}
	}
	return found
}

// importName is the name under which a file knows an import: empty where it has
// the package's own.
func importName(s *ast.ImportSpec) string {
	if s.Name == nil {
		return ""
	}
	return s.Name.Name
}
