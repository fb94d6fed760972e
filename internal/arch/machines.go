package arch

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// machines lists the packages of the tree to which words.go applies: machines
// and what is replayed like one.
func (t *tree) machines() []string {
	var list []string
	for _, p := range t.sorted() {
		if row, ok := placeOf(p.path); ok && (row.machine || row.runs == asWorld || row.runs == asDoor) && len(p.productive()) > 0 {
			list = append(list, p.path)
		}
	}
	return list
}

// checkMachine looks for everything in one machine that is not one.
func checkMachine(c *checker, path string) []Finding {
	got := c.check(path)
	if got.err != nil {
		return []Finding{finding(path, "does not compile, so nothing can be said about it: %v", got.err)}
	}
	var found []Finding
	row, _ := placeOf(path)
	for _, f := range c.tree.packages[path].productive() {
		if f.bound {
			found = append(found, finding(f.name, "a machine is the same code everywhere: no build constraints"))
			continue
		}
		v := visitor{tree: c.tree, info: got.info, runs: row.runs,
			sorted: map[*ast.Ident]bool{}, gathers: map[*ast.RangeStmt]bool{}, lines: map[string]bool{}}
		v.imports(f.ast)
		ast.Inspect(f.ast, v.visit)
		found = append(found, v.found...)
	}
	return found
}

// visitor walks one file.
type visitor struct {
	tree    *tree
	info    *types.Info
	runs    replayed                // not a machine, but replayed like one
	sorted  map[*ast.Ident]bool     // names of map walks that go straight into a sort
	gathers map[*ast.RangeStmt]bool // loops that only gather what the next statement sorts
	lines   map[string]bool         // lines already reported for a float
	found   []Finding
}

func (v *visitor) report(n ast.Node, format string, args ...any) {
	v.found = append(v.found, finding(v.tree.at(n.Pos()), format, args...))
}

func (v *visitor) imports(f *ast.File) {
	for _, s := range f.Imports {
		if reason := importReason(imported(s)); reason != "" && !v.excepted(imported(s)) {
			v.report(s, "a machine imports %s: %s", imported(s), reason)
		}
		if importName(s) == "." {
			v.report(s, "a machine imports %s without its name: say where a name comes from", imported(s))
		}
	}
}

// excepted lets doors lock, and the simulator say where a panic came from.
func (v *visitor) excepted(path string) bool {
	switch v.runs {
	case asDoor:
		return path == "sync" || path == "sync/atomic"
	case asWorld:
		return path == "runtime/debug"
	}
	return false
}

func (v *visitor) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.BlockStmt:
		v.gathering(n.List)
	case *ast.GoStmt:
		v.report(n, "go: a machine starts no goroutine")
	case *ast.SelectStmt:
		v.report(n, "select: the order of what is ready is random; events come in as an argument")
	case *ast.ChanType:
		v.report(n, "chan: events come in and effects go out as values")
	case *ast.SendStmt:
		v.report(n, "a send on a channel: effects are returned")
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			v.report(n, "a receive from a channel: events are arguments")
		}
	case *ast.RangeStmt:
		v.ranges(n)
	case *ast.CallExpr:
		v.call(n)
	case *ast.Ident:
		v.name(n)
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			for _, left := range n.Lhs {
				v.assigned(left)
			}
		}
	case *ast.IncDecStmt:
		v.assigned(n.X)
	}
	if e, ok := n.(ast.Expr); ok {
		v.float(e)
	}
	return true
}

// gathering notes loops over a map that do nothing but append (some) to a slice
// which the next statement sorts. A machine writes slices.Sorted(maps.Keys(m))
// instead.
func (v *visitor) gathering(list []ast.Stmt) {
	if v.runs != asWorld {
		return
	}
	for i := range len(list) - 1 {
		loop, ok := list[i].(*ast.RangeStmt)
		if !ok || len(loop.Body.List) != 1 {
			continue
		}
		only := loop.Body.List[0]
		if which, ok := only.(*ast.IfStmt); ok && which.Init == nil && which.Else == nil && len(which.Body.List) == 1 {
			only = which.Body.List[0]
		}
		assign, ok := only.(*ast.AssignStmt)
		if !ok || len(assign.Lhs) != 1 || len(assign.Rhs) != 1 {
			continue
		}
		call, ok := assign.Rhs[0].(*ast.CallExpr)
		if !ok || types.ExprString(call.Fun) != "append" {
			continue
		}
		next, ok := list[i+1].(*ast.ExprStmt)
		if !ok {
			continue
		}
		sort, ok := next.X.(*ast.CallExpr)
		if !ok || len(sort.Args) == 0 {
			continue
		}
		pkg, name := v.function(sort.Fun)
		if (pkg == "sort" || pkg == "slices" && strings.HasPrefix(name, "Sort")) &&
			types.ExprString(sort.Args[0]) == types.ExprString(assign.Lhs[0]) {
			v.gathers[loop] = true
		}
	}
}

// ranges refuses maps and channels, whatever name their type has. Doors may walk
// maps for sums and minima; that they do nothing else is shown by the hash of a
// run, which would differ.
func (v *visitor) ranges(n *ast.RangeStmt) {
	tv := v.info.Types[n.X]
	if tv.Type == nil || v.gathers[n] || v.runs == asDoor {
		return
	}
	for _, t := range core(tv.Type) {
		switch t.(type) {
		case *types.Map:
			v.report(n, "range over a map: the order differs from run to run, and with it every seed; sort the keys (slices.Sorted(maps.Keys(m)))")
			return
		case *types.Chan:
			v.report(n, "range over a channel: events are arguments")
			return
		}
	}
}

// core returns the underlying types t stands for: several for a type parameter.
func core(t types.Type) []types.Type {
	u := t.Underlying()
	if _, ok := t.(*types.TypeParam); !ok {
		return []types.Type{u}
	}
	var all []types.Type
	if i, ok := u.(*types.Interface); ok {
		for embedded := range i.EmbeddedTypes() {
			if union, ok := embedded.(*types.Union); ok {
				for j := range union.Len() {
					all = append(all, union.Term(j).Type().Underlying())
				}
				continue
			}
			all = append(all, embedded.Underlying())
		}
	}
	return all
}

// call remembers maps.Keys(m) inside slices.Sorted(…).
func (v *visitor) call(n *ast.CallExpr) {
	pkg, name := v.function(n.Fun)
	if pkg != "slices" || !slices.Contains([]string{"Sorted", "SortedFunc", "SortedStableFunc"}, name) || len(n.Args) == 0 {
		return
	}
	if inner, ok := n.Args[0].(*ast.CallExpr); ok {
		if s, ok := inner.Fun.(*ast.SelectorExpr); ok {
			v.sorted[s.Sel] = true
		}
	}
}

// function returns the package path and name of a called function.
func (v *visitor) function(fun ast.Expr) (pkg, name string) {
	if i, ok := fun.(*ast.IndexExpr); ok {
		fun = i.X
	}
	s, ok := fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	o := v.info.Uses[s.Sel]
	if o == nil || o.Pkg() == nil {
		return "", ""
	}
	return o.Pkg().Path(), o.Name()
}

// name refuses what is forbidden by what it is, under whatever name it was
// imported.
func (v *visitor) name(n *ast.Ident) {
	o := v.info.Uses[n]
	if o == nil || o.Pkg() == nil {
		if b, ok := o.(*types.Builtin); ok && (b.Name() == "print" || b.Name() == "println") {
			v.report(n, "%s: it touches the terminal; machines emit trace events", b.Name())
		}
		return
	}
	if o.Parent() != o.Pkg().Scope() {
		return // a field, a method, a local
	}
	_, function := o.(*types.Func)
	if reason := nameReason(o.Pkg().Path(), o.Name(), function); reason != "" && !(v.runs == asWorld && o.Pkg().Path() == "iter") {
		v.report(n, "%s.%s: %s", o.Pkg().Path(), o.Name(), reason)
	}
	if o.Pkg().Path() == "maps" && slices.Contains(mapWalks, o.Name()) && !v.sorted[n] {
		v.report(n, "maps.%s: the order differs from run to run; only inside slices.Sorted, SortedFunc or SortedStableFunc", o.Name())
	}
}

// assigned refuses changes of package-level variables: a machine is a value, and
// two of them in one process share nothing.
func (v *visitor) assigned(left ast.Expr) {
	for {
		switch e := left.(type) {
		case *ast.ParenExpr:
			left = e.X
			continue
		case *ast.IndexExpr:
			left = e.X
			continue
		case *ast.StarExpr:
			left = e.X
			continue
		case *ast.SelectorExpr:
			if o, ok := v.info.Uses[e.Sel].(*types.Var); ok && !o.IsField() {
				v.global(e, o)
				return
			}
			left = e.X
			continue
		case *ast.Ident:
			if o, ok := v.info.Uses[e].(*types.Var); ok {
				v.global(e, o)
			}
		}
		return
	}
}

func (v *visitor) global(n ast.Node, o *types.Var) {
	if o.Pkg() != nil && o.Parent() == o.Pkg().Scope() {
		v.report(n, "changes the package-level variable %s: all state of a machine is in its value", o.Name())
	}
}

// float refuses floating point, once a line: its results may differ between
// compilers (fused multiply-add), and with them decisions.
func (v *visitor) float(e ast.Expr) {
	tv, ok := v.info.Types[e]
	if !ok || v.runs == asWorld || tv.Type == nil || tv.Value != nil {
		return
	}
	b, ok := tv.Type.Underlying().(*types.Basic)
	if !ok || b.Info()&(types.IsFloat|types.IsComplex) == 0 {
		return
	}
	if at := v.tree.at(e.Pos()); !v.lines[at] {
		v.lines[at] = true
		v.report(e, "%s: no floating point in decisions; count in integers", b.Name())
	}
}
