package arch

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// module is the path of the product module.
const module = "github.com/quorate/quorate"

// tree is the parsed source of the module.
type tree struct {
	fset     *token.FileSet
	packages map[string]*pkg // by path below the module; "." is the root
}

// pkg is one folder with Go files.
type pkg struct {
	path  string
	files []*file
}

// file is one Go file.
type file struct {
	name  string // below the module
	test  bool
	built bool // part of the build for this machine
	bound bool // has a build constraint, in its name or its text
	lines int
	ast   *ast.File
}

// source adds a file to the tree.
func (t *tree) source(name string, text []byte, built, bound bool) error {
	parsed, err := parser.ParseFile(t.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	dir := path.Dir(name)
	p := t.packages[dir]
	if p == nil {
		p = &pkg{path: dir}
		t.packages[dir] = p
	}
	p.files = append(p.files, &file{
		name: name, test: strings.HasSuffix(name, "_test.go"), built: built, bound: bound,
		lines: t.fset.File(parsed.FileStart).LineCount(), ast: parsed,
	})
	return nil
}

// readTree parses every Go file below root that belongs to its module.
func readTree(root string) (*tree, error) {
	t := &tree{fset: token.NewFileSet(), packages: map[string]*pkg{}}
	context := build.Default
	context.CgoEnabled = false
	// WalkDir reads in sorted order, and go test records what it read.
	err := filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipDir(name, below, d.Name())
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		built, err := context.MatchFile(filepath.Dir(name), d.Name())
		if err != nil {
			return err
		}
		return t.source(filepath.ToSlash(below), text, built, constrained(d.Name(), text))
	})
	return t, err
}

// skipDir leaves out what `go build ./...` leaves out: hidden folders, test data
// and modules of their own.
func skipDir(name, below, base string) error {
	if below == "." {
		return nil
	}
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

// constrained tells whether a file is only built for some systems.
func constrained(base string, text []byte) bool {
	head, _, _ := strings.Cut(string(text), "\npackage ")
	if strings.Contains(head, "//go:build ") {
		return true
	}
	parts := strings.Split(strings.TrimSuffix(strings.TrimSuffix(base, ".go"), "_test"), "_")
	for _, p := range parts[1:] {
		switch p {
		case "linux", "darwin", "windows", "js", "wasm", "amd64", "arm64", "unix":
			return true
		}
	}
	return false
}

// sorted returns the packages by path.
func (t *tree) sorted() []*pkg {
	var list []*pkg
	for _, p := range t.packages {
		list = append(list, p)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].path < list[j].path })
	return list
}

// productive returns the files that are not tests.
func (p *pkg) productive() []*file {
	var files []*file
	for _, f := range p.files {
		if !f.test {
			files = append(files, f)
		}
	}
	return files
}

func (t *tree) at(pos token.Pos) string {
	p := t.fset.Position(pos)
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// imported is the path of an import.
func imported(s *ast.ImportSpec) string {
	p, err := strconv.Unquote(s.Path.Value)
	if err != nil {
		return s.Path.Value
	}
	return p
}

// firstParty returns the path below the module, and whether it is one of ours.
func firstParty(importPath string) (string, bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// standard tells whether an import path belongs to the standard library: its
// first element has no dot.
func standard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

// moduleRoot finds the folder of go.mod above dir.
func moduleRoot(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no go.mod above the test")
		}
		dir = up
	}
}
