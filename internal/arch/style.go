package arch

import (
	"go/ast"
	"path"
	"slices"
	"strings"
)

// The few questions of style that a test can keep true. What only people can
// judge stands in the guide and is not checked here.

// linesMax is how long a file may be, tests and generated files aside. The guide
// asks for a second chapter at some 600 lines; here is where it is an error.
const linesMax = 800

// namelessNames are package names that say nothing.
var namelessNames = []string{"util", "utils", "common", "manager", "base", "helper", "helpers", "misc", "shared", "types"}

// environment are the names of package os that read what only cmd may read.
var environment = []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}

func checkStyle(t *tree) []Finding {
	var found []Finding
	for _, p := range t.sorted() {
		if slices.Contains(namelessNames, path.Base(p.path)) {
			found = append(found, finding(p.path, "a package called %q has no subject: a thing without a good name is not understood yet", path.Base(p.path)))
		}
		if files := p.productive(); len(files) > 0 && !slices.ContainsFunc(files, func(f *file) bool { return f.ast.Doc.Text() != "" }) {
			found = append(found, finding(p.path, "no file says what the package promises: write its doc comment"))
		}
		for _, f := range p.files {
			found = append(found, checkFile(t, p, f)...)
		}
	}
	return found
}

func checkFile(t *tree, p *pkg, f *file) []Finding {
	var found []Finding
	if !f.test && f.lines > linesMax && !ast.IsGenerated(f.ast) {
		found = append(found, finding(f.name, "%d lines, at most %d: there is a second chapter in it", f.lines, linesMax))
	}
	names := fileImports(f.ast)
	ast.Inspect(f.ast, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := s.X.(*ast.Ident)
		if !ok {
			return true
		}
		switch from := names[x.Name]; {
		case f.test && !strings.HasSuffix(f.name, "_bench_test.go") && from == "time" && s.Sel.Name == "Sleep" && names["synctest"] == "":
			found = append(found, finding(t.at(n.Pos()), "time.Sleep in a test: wait for the thing itself, or use virtual time"))
		case !f.test && from == "os" && slices.Contains(environment, s.Sel.Name) && !readsEnvironment(p.path):
			found = append(found, finding(t.at(n.Pos()), "os.%s: the environment is read in cmd only and passed as options", s.Sel.Name))
		}
		return true
	})
	if !f.test && names["flag"] == "flag" && !readsEnvironment(p.path) {
		found = append(found, finding(f.name, "flags are read in cmd only and passed as options"))
	}
	return found
}

// readsEnvironment: programs and the tools beside the tower.
func readsEnvironment(p string) bool {
	return strings.HasPrefix(p, "cmd/") || strings.HasPrefix(p, "examples/") || strings.HasPrefix(p, "internal/")
}

// fileImports maps the names under which a file knows its imports to their
// paths.
func fileImports(f *ast.File) map[string]string {
	names := map[string]string{}
	for _, s := range f.Imports {
		p := imported(s)
		name := importName(s)
		if name == "" {
			name = path.Base(p)
		}
		names[name] = p
	}
	return names
}
