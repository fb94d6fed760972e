package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// checker gives types to packages of the tree: ours from their source, others
// from their export data.
type checker struct {
	tree   *tree
	others types.Importer
	done   map[string]*checked
}

type checked struct {
	types *types.Package
	info  *types.Info
	err   error // the first; nil: it compiles
}

// newChecker asks the go command for the export data of the given packages,
// which are not ours, and of all they need.
func newChecker(t *tree, packages []string) (*checker, error) {
	args := append([]string{"list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}", "--"}, packages...)
	command := exec.Command("go", args...)
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go list -export: %v: %s", err, stderr.String())
	}
	export := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		export[path] = file
	}
	lookup := func(path string) (io.ReadCloser, error) {
		if export[path] == "" {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(export[path])
	}
	return &checker{tree: t, others: importer.ForCompiler(token.NewFileSet(), "gc", lookup), done: map[string]*checked{}}, nil
}

// Import is how go/types asks for what a package imports.
func (c *checker) Import(path string) (*types.Package, error) {
	below, ours := firstParty(path)
	if !ours {
		return c.others.Import(path)
	}
	got := c.check(below)
	return got.types, got.err
}

// check returns the types of one of our packages, without its tests.
func (c *checker) check(path string) *checked {
	if got := c.done[path]; got != nil {
		return got
	}
	got := &checked{info: &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{},
		Uses:  map[*ast.Ident]types.Object{},
		Defs:  map[*ast.Ident]types.Object{},
	}}
	c.done[path] = got
	p := c.tree.packages[path]
	if p == nil {
		got.err = fmt.Errorf("there is no package %s", path)
		return got
	}
	var files []*ast.File
	for _, f := range p.productive() {
		if f.built {
			files = append(files, f.ast)
		}
	}
	config := types.Config{Importer: c, Error: func(err error) {
		if got.err == nil {
			got.err = err
		}
	}}
	got.types, _ = config.Check(module+"/"+path, c.tree.fset, files, got.info)
	return got
}

// othersImports lists what the given packages and everything of ours that they
// import need of others: the standard library, and the checker porcupine.
func (t *tree) othersImports(paths []string) []string {
	var others []string
	seen := map[string]bool{}
	for queue := slices.Clone(paths); len(queue) > 0; queue = queue[1:] {
		if seen[queue[0]] || t.packages[queue[0]] == nil {
			continue
		}
		seen[queue[0]] = true
		for _, to := range t.importsOf(queue[0]) {
			if path, ours := firstParty(to); ours {
				queue = append(queue, path)
			} else if to != "C" && to != "unsafe" {
				others = append(others, to)
			}
		}
	}
	slices.Sort(others)
	return slices.Compact(others)
}
