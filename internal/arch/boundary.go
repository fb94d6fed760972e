package arch

import (
	"go/types"
	"slices"
	"strings"
)

// Two truths about what crosses a boundary, from types.
//
// M81: hard state is persisted, soft state is not. Whatever reaches the disk is
// made of the types in persisted; no role, leader, progress or moment in time
// can be reached from them.
//
// M82: layers talk by messages, not by shared memory. Whatever a machine takes
// or gives is data: no function to call back, no channel, no pointer to state
// that another side may change.

// persisted are the types whose values are written to disk.
var persisted = []string{
	"raft.HardState", "raft.Entry", "raft.LogStart", "raft.SnapshotMeta", "raft.Persist",
	"host.GroupWrite", "wal.Record", "rsm.Meta", "membership.Config",
}

// hardState is all a node must remember besides its log (Raft paper, Figure 2;
// Commit is a hint).
var hardState = []string{"Term", "Vote", "Commit"}

// soft are the types of what a restarted node finds out again.
var soft = []string{"raft.Role", "raft.Status", "raft.Progress", "raft.ProgressState", "id.Time", "id.Duration"}

// messages are the interfaces whose implementations cross a boundary.
var messages = []struct{ pkg, name string }{
	{"raft", "Event"}, {"raft", "Effect"}, {"raft", "Message"}, {"host", "Event"}, {"host", "Effect"},
}

// shared are the pointers and interfaces a message may hold, each with the
// reason why nobody can change what is behind it.
var shared = map[string]string{
	"membership.Config": "immutable once it is in an entry",
	"faults.Set":        "immutable",
	"error":             "a value",
	"raft.Message":      "a message",
}

// configured are function-typed fields that are set once, before the machine
// runs, and are pure: not messages, though they travel in one.
var configured = []string{"raft.Config.Seal"}

// checkPersisted is M81.
func checkPersisted(c *checker) []Finding {
	var found []Finding
	for _, name := range persisted {
		root := c.named(name)
		if root == nil {
			continue
		}
		if name == "raft.HardState" {
			found = append(found, checkHardState(root)...)
		}
		walk(root, shortName(root), map[types.Type]bool{}, func(t types.Type, way string) bool {
			n := shortName(t)
			if slices.Contains(soft, n) {
				found = append(found, finding(way, "%s is soft state: it is found out again after a restart and never reaches the disk", n))
				return false
			}
			return true
		})
	}
	return found
}

func checkHardState(t types.Type) []Finding {
	s, ok := t.Underlying().(*types.Struct)
	if !ok {
		return []Finding{finding(shortName(t), "is not a struct")}
	}
	var fields []string
	for i := range s.NumFields() {
		fields = append(fields, s.Field(i).Name())
	}
	if !slices.Equal(fields, hardState) {
		return []Finding{finding(shortName(t), "holds %v, but hard state is %v and nothing else", fields, hardState)}
	}
	return nil
}

// checkMessages is M82.
func checkMessages(c *checker) []Finding {
	var found []Finding
	for _, m := range messages {
		root := c.named(m.pkg + "." + m.name)
		if root == nil {
			continue
		}
		kinds := implementations(root)
		if len(kinds) == 0 {
			found = append(found, finding(m.pkg, "%s has no kinds", m.name))
		}
		for _, kind := range kinds {
			walk(kind, shortName(kind), map[types.Type]bool{}, func(t types.Type, way string) bool {
				text, deeper := judgeMessagePart(t, way)
				if text != "" {
					found = append(found, finding(way, "%s", text))
				}
				return deeper
			})
		}
	}
	return found
}

// judgeMessagePart returns what is wrong with a part of a message, and whether
// its own parts are to be looked at.
func judgeMessagePart(t types.Type, way string) (text string, deeper bool) {
	if shared[shortName(t)] != "" {
		return "", false
	}
	switch u := t.Underlying().(type) {
	case *types.Signature:
		if slices.Contains(configured, way) {
			return "", false
		}
		return "is a function: a message is data, and nobody calls back upward", false
	case *types.Chan:
		return "is a channel: events and effects are values", false
	case *types.Map:
		return "is a map: two sides would share it, and its order is random; use a sorted slice", false
	case *types.Pointer:
		if n := shortName(u.Elem()); shared[n] == "" {
			return "is a pointer to " + n + ": state behind it would be shared across the boundary", false
		}
		return "", false
	case *types.Interface:
		return "is the interface " + shortName(t) + ": what is behind it may be called or changed; a message is data", false
	}
	return "", true
}

// walk visits everything a value of type t holds. way names how it was reached:
// the type of the last struct and its field.
func walk(t types.Type, way string, seen map[types.Type]bool, visit func(t types.Type, way string) bool) {
	if seen[t] || !visit(t, way) {
		return
	}
	seen[t] = true
	switch u := t.Underlying().(type) {
	case *types.Struct:
		name := way
		if n := shortName(t); n != "" {
			name = n
		}
		for i := range u.NumFields() {
			walk(u.Field(i).Type(), name+"."+u.Field(i).Name(), seen, visit)
		}
	case *types.Slice:
		walk(u.Elem(), way, seen, visit)
	case *types.Array:
		walk(u.Elem(), way, seen, visit)
	case *types.Pointer:
		walk(u.Elem(), way, seen, visit)
	case *types.Map:
		walk(u.Key(), way, seen, visit)
		walk(u.Elem(), way, seen, visit)
	}
}

// named finds "raft.Entry": a type by the last element of its package's path.
// nil: the package or the type does not exist (yet), or does not compile, which
// checkMachine reports.
func (c *checker) named(name string) types.Type {
	pkg, typeName, _ := strings.Cut(name, ".")
	if c.tree.packages["internal/"+pkg] != nil {
		pkg = "internal/" + pkg
	}
	if c.tree.packages[pkg] == nil {
		return nil
	}
	got := c.check(pkg)
	if got.types == nil {
		return nil
	}
	o := got.types.Scope().Lookup(typeName)
	if o == nil {
		return nil
	}
	return o.Type()
}

// implementations lists the types beside an interface that implement it.
func implementations(of types.Type) []types.Type {
	i, ok := of.Underlying().(*types.Interface)
	n, isNamed := of.(*types.Named)
	if !ok || !isNamed {
		return nil
	}
	scope := n.Obj().Pkg().Scope()
	var list []types.Type
	for _, name := range scope.Names() {
		o, ok := scope.Lookup(name).(*types.TypeName)
		if ok && o.Type() != of && !types.IsInterface(o.Type()) && types.Implements(o.Type(), i) {
			list = append(list, o.Type())
		}
	}
	return list
}

// shortName is "raft.Entry" of a named type, "error" of the predeclared one, and
// empty for others.
func shortName(t types.Type) string {
	n, ok := types.Unalias(t).(*types.Named)
	if !ok {
		return ""
	}
	if n.Obj().Pkg() == nil {
		return n.Obj().Name()
	}
	return n.Obj().Pkg().Name() + "." + n.Obj().Name()
}
