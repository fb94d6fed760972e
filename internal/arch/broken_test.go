package arch

import (
	"go/token"
	gotypes "go/types"
	"strings"
	"sync"
	"testing"
)

// Every rule is shown to be alive: a small source that breaks it is reported,
// and its nearest harmless neighbour is not.

// memory builds a tree of in-memory files. Names are below the module; without a
// package clause a file is `package <last element of its folder>`.
func memory(t *testing.T, files map[string]string) *tree {
	t.Helper()
	tree := &tree{fset: token.NewFileSet(), packages: map[string]*pkg{}}
	for name, text := range files {
		base := name[strings.LastIndex(name, "/")+1:]
		if err := tree.source(name, []byte(text), true, constrained(base, []byte(text))); err != nil {
			t.Fatalf("the example itself is wrong: %v", err)
		}
	}
	return tree
}

// wants checks that exactly one finding comes and that it says text; with text
// empty, that none comes.
func wants(t *testing.T, found []Finding, text string) {
	t.Helper()
	switch {
	case text == "" && len(found) == 0:
	case text != "" && len(found) == 1 && strings.Contains(found[0].String(), text):
	case text == "":
		t.Errorf("reported although harmless: %v", found)
	default:
		t.Errorf("got %d findings %v, want one with %q", len(found), found, text)
	}
}

func TestBrokenImportsAreReported(t *testing.T) {
	const ours = "github.com/quorate/quorate/"
	for _, c := range []struct{ name, file, imports, text string }{
		{"down is fine", "host/a.go", ours + "raft", ""},
		{"everyone may trace", "kv/engine/a.go", ours + "trace", ""},
		{"values from above", "server/a.go", ours + "membership", ""},
		{"up", "raft/a.go", ours + "host", "raft (one group; it knows neither bytes nor disks nor the application) may not import host"},
		{"sideways", "raft/a.go", ours + "wire", "may not import wire"},
		{"quorum is not a value for all", "server/a.go", ours + "quorum", "may not import quorum"},
		{"doors do not know each other", "wal/a.go", ours + "transport", "may not import transport"},
		{"doors share files", "wal/a.go", ours + "vfs", ""},
		{"doors do not know host", "transport/a.go", ours + "host", "may not import host"},
		{"a door of files knows no raft", "vfs/a.go", ours + "raft", "may not import raft"},
		{"the world knows no raft", "sim/a.go", ours + "raft", "may not import raft"},
		{"the store does not know the library", "kv/a.go", ours[:len(ours)-1], "may not import ."},
		{"pebble is given to the store", "kv/a.go", ours + "kv/engine/pebble", "only cmd and tests"},
		{"pebble is given to the server", "server/a.go", ours + "kv/engine/pebble", "only cmd and tests"},
		{"tests may use pebble", "kv/a_test.go", ours + "kv/engine/pebble", ""},
		{"cmd wires", "cmd/quorate/a.go", ours + "kv/engine/pebble", ""},
		{"an example is somebody else's program", "examples/map/a.go", ours + "host", "may not import host"},
		{"a package nobody placed", "gossip/a.go", "fmt", "in no row of the table"},
		{"foreign code in the library", "transport/a.go", "google.golang.org/grpc", "below the store there is the standard library only"},
		{"foreign code in the library's tests", "raft/a_test.go", "github.com/anishathalye/porcupine", "below the store there is the standard library only"},
		{"gRPC outside the edge", "server/a.go", "google.golang.org/grpc/codes", "only the edge speaks it"},
		{"gRPC at the edge", "api/etcd/a.go", "google.golang.org/grpc/codes", ""},
		{"pebble in one place", "server/a.go", "github.com/cockroachdb/pebble/v2/vfs", "hides behind kv/engine"},
		{"an unknown dependency", "server/a.go", "example.com/left-pad", "no row of dependencies"},
		{"C", "cmd/quorate/a.go", "C", "CGO_ENABLED=0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := memory(t, map[string]string{c.file: "package p\nimport _ \"" + c.imports + "\"\n"})
			wants(t, checkImports(tree), c.text)
		})
	}
}

func TestBrokenLayersAreReportedM80(t *testing.T) {
	tree := memory(t, map[string]string{"host/exec/a.go": "package exec\nimport _ \"github.com/quorate/quorate/kv\"\n"})
	wants(t, checkImports(tree), "may not import kv")
}

func TestForeignCodeBehindADetourIsReported(t *testing.T) {
	tree := memory(t, map[string]string{
		"lab/a.go":         "package lab\nimport _ \"github.com/quorate/quorate/sim/cluster\"\n",
		"sim/cluster/a.go": "package cluster\nimport _ \"github.com/quorate/quorate/kv\"\n",
		"kv/a.go":          "package kv\nimport _ \"google.golang.org/grpc/status\"\n",
		"kv/a_test.go":     "package kv\nimport _ \"github.com/cockroachdb/pebble/v2\"\n",
		"check/a.go":       "package check\nimport _ \"github.com/anishathalye/porcupine\"\n",
	})
	found := checkClosures(tree)
	if len(found) != 2 || !strings.Contains(found[0].Text, "grpc/status (sim/cluster → kv)") || !strings.Contains(found[1].Text, "grpc/status (lab → sim/cluster → kv)") {
		t.Errorf("got %v", found)
	}
}

// examples types the sources of broken machines against the real standard
// library.
var examples = sync.OnceValues(func() (*checker, error) {
	return newChecker(nil, []string{
		"context", "crypto/rand", "fmt", "hash/maphash", "iter", "log/slog", "maps", "math/rand", "math/rand/v2",
		"net", "net/url", "os", "reflect", "runtime", "slices", "sort", "sync", "sync/atomic", "time",
	})
})

func TestBrokenMachinesAreReported(t *testing.T) {
	shared, err := examples()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, body, text string }{
		{"a plain function", `func f(a []int) int { s := 0; for _, x := range a { s += x }; return s }`, ""},
		{"go", `func f() { go f() }`, "starts no goroutine"},
		{"chan", `var c chan int`, "chan: events come in"},
		{"select", `func f() { select {} }`, "select: the order"},
		{"a send on a channel of another's type", `import "time"; func f(t time.Timer) { <-t.C }`, "a receive from a channel"},
		{"sync", `import "sync"; var _ sync.Once`, "imports sync: a machine runs on one thread"},
		{"atomic", `import "sync/atomic"; var _ atomic.Bool`, "imports sync/atomic"},
		{"os", `import _ "os"`, "imports os"},
		{"net", `import _ "net"`, "imports net"},
		{"addresses as text are fine", `import _ "net/url"`, ""},
		{"runtime", `import _ "runtime"`, "imports runtime"},
		{"maphash", `import _ "hash/maphash"`, "imports hash/maphash"},
		{"crypto randomness", `import _ "crypto/rand"`, "imports crypto/rand"},
		{"reflect", `import _ "reflect"`, "imports reflect"},
		{"log", `import _ "log/slog"`, "imports log/slog"},
		{"time.Now", `import "time"; func f() time.Time { return time.Now() }`, "time.Now: time is an argument"},
		{"time.Now under another name", `import clock "time"; var f = clock.Now`, "time.Now: time is an argument"},
		{"a duration is fine", `import "time"; const d = 3 * time.Second`, ""},
		{"dot import", `import . "slices"; func f(a []int) { Sort(a) }`, "without its name"},
		{"context deadline", `import "context"; func f(c context.Context) { _, stop := context.WithTimeout(c, 1); stop() }`, "a context's deadline is a clock"},
		{"global randomness", `import "math/rand/v2"; func f() int { return rand.IntN(3) }`, "the global source differs"},
		{"global randomness, version 1", `import "math/rand"; func f() int { return rand.Intn(3) }`, "the global source differs"},
		{"seeded randomness is fine", `import "math/rand/v2"; func f(r *rand.Rand) int { return rand.New(rand.NewPCG(1, 2)).IntN(3) + r.IntN(2) }`, ""},
		{"fmt.Println", `import "fmt"; func f() { fmt.Println() }`, "it touches the terminal"},
		{"println", `func f() { println() }`, "it touches the terminal"},
		{"fmt.Sprintf is fine", `import "fmt"; func f() string { return fmt.Sprint(1) }`, ""},
		{"coroutine", `import "iter"; func f(s iter.Seq[int]) { _, stop := iter.Pull(s); stop() }`, "a goroutine in disguise"},
		{"range over a map", `func f(m map[int]int) { for range m {} }`, "range over a map"},
		{"range over a map behind two names", `type a map[int]int; type b = a; type h struct{ b }; func f(x h) { for range x.b {} }`, "range over a map"},
		{"range over a map behind a type parameter", `func f[M ~map[int]int](m M) { for range m {} }`, "range over a map"},
		{"maps.Keys", `import "maps"; func f(m map[int]int) { for range maps.Keys(m) {} }`, "maps.Keys: the order differs"},
		{"maps.Values into a slice", `import ("maps"; "slices"); func f(m map[int]int) []int { return slices.Collect(maps.Values(m)) }`, "maps.Values: the order differs"},
		{"sorted keys are the way", `import ("maps"; "slices"); func f(m map[int]int) { for range slices.Sorted(maps.Keys(m)) {} }`, ""},
		{"float", `func f(a, b int64) bool { return float64(a) > 1.5 }`, "no floating point"},
		{"whole constants are fine", `const share = 0.5 * 4; func f() int { return share }`, ""},
		{"package-level state", `var n int; func f() { n++ }`, "changes the package-level variable n"},
		{"package-level state, deep inside", `var t struct{ a []int }; func f() { (t.a)[0] = 1 }`, "changes the package-level variable t"},
		{"a table is fine", `var t = []int{1}; func f() int { n := t[0]; n++; return n }`, ""},
		{"build constraint", "//go:build linux\n\npackage p\n", "the same code everywhere"},
		{"does not compile", `func f() int { return "" }`, "does not compile"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := c.body
			if !strings.Contains(text, "package ") {
				text = "package p\n" + text
			}
			tree := memory(t, map[string]string{"raft/a.go": text})
			wants(t, checkMachine(&checker{tree: tree, others: shared.others, done: map[string]*checked{}}, "raft"), c.text)
		})
	}
	t.Run("the simulator has coroutines, and no more", func(t *testing.T) {
		tree := memory(t, map[string]string{"sim/a.go": `package sim
			import ("iter"; "os")
			func f(s iter.Seq[int]) float64 { _, stop := iter.Pull(s); stop(); return 1.5 }
			var _ = os.Args`})
		wants(t, checkMachine(&checker{tree: tree, others: shared.others, done: map[string]*checked{}}, "sim"), "imports os")
	})
	const gather = "package p\nimport \"sort\"\nfunc f(m map[int]int) (l []int) { for k := range m { l = append(l, k) }; sort.Ints(l); return l }"
	for _, c := range []struct{ name, pkg, source, text string }{
		{"a door may lock", "wal", "package wal\nimport \"sync\"\nvar _ sync.Mutex", ""},
		{"a door starts nothing", "wal", "package wal\nfunc f() { go f() }", "starts no goroutine"},
		{"a door has no clock", "snapshot", "package p\nimport \"time\"\nvar f = time.Now", "time is an argument"},
		{"a door may sum over a map", "wal", "package wal\nfunc f(m map[int]int) (s int) { for _, n := range m { s += n }; return s }", ""},
		{"the simulator may gather and sort", "sim", gather, ""},
		{"some of it, too", "sim", strings.Replace(gather, "l = append(l, k)", "if k > 0 { l = append(l, k) }", 1), ""},
		{"a machine sorts in one expression", "raft", gather, "range over a map"},
		{"gathering without sorting", "sim", strings.Replace(gather, "sort.Ints(l)", "_ = sort.Ints", 1), "range over a map"},
		{"sorting something else", "sim", strings.Replace(gather, "sort.Ints(l)", "sort.Ints(l[1:])", 1), "range over a map"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := memory(t, map[string]string{c.pkg + "/a.go": c.source})
			wants(t, checkMachine(&checker{tree: tree, others: shared.others, done: map[string]*checked{}}, c.pkg), c.text)
		})
	}
	t.Run("by its file name", func(t *testing.T) {
		tree := memory(t, map[string]string{"raft/a_linux.go": "package p"})
		wants(t, checkMachine(&checker{tree: tree, others: shared.others, done: map[string]*checked{}}, "raft"), "the same code everywhere")
	})
}

func boundary(t *testing.T, files map[string]string) *checker {
	t.Helper()
	shared, err := examples()
	if err != nil {
		t.Fatal(err)
	}
	return &checker{tree: memory(t, files), others: shared.others, done: map[string]*checked{}}
}

func TestPersistedSoftStateIsReportedM81(t *testing.T) {
	for _, c := range []struct{ name, hard, record, text string }{
		{"as it should be", "Term, Vote, Commit int", "Hard []*raft.HardState", ""},
		{"the leader is soft", "Term, Vote, Commit, Leader int", "Hard raft.HardState", "hard state is [Term Vote Commit] and nothing else"},
		{"no vote", "Term, Commit int", "Hard raft.HardState", "hard state is"},
		{"a role reaches the log", "Term, Vote, Commit int", "Roles []map[int]struct{ R *raft.Role }", "raft.Role is soft state"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wants(t, checkPersisted(boundary(t, map[string]string{
				"raft/a.go": "package raft\ntype Role int\ntype HardState struct { " + c.hard + " }",
				"wal/a.go":  "package wal\nimport \"github.com/quorate/quorate/raft\"\ntype Record struct { " + c.record + " }\nvar _ raft.Role",
			})), c.text)
		})
	}
}

func TestSharedMemoryInMessagesIsReportedM82(t *testing.T) {
	for _, c := range []struct{ name, fields, text string }{
		{"data is fine", "A []byte; B [3]struct{ E error }; M Message", ""},
		{"a call-back", "Done func()", "Propose.Done: is a function"},
		{"a call-back in a nested list", "L []struct{ F func() }", "is a function"},
		{"a channel", "C chan int", "is a channel"},
		{"a map", "M map[int]int", "is a map"},
		{"a pointer to the machine", "N *Node", "is a pointer to raft.Node"},
		{"an interface", "S interface{ Save() }", "is the interface"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wants(t, checkMessages(boundary(t, map[string]string{"raft/a.go": `package raft
				type Node struct{}
				type Event interface{ event() }
				type Message interface{ message() }
				type Vote struct{}
				func (Vote) message() {}
				type Propose struct { ` + c.fields + ` }
				func (Propose) event() {}`})), c.text)
		})
	}
}

func TestBrokenStyleIsReported(t *testing.T) {
	const doc = "// Package p promises.\n"
	for _, c := range []struct{ name, file, source, text string }{
		{"good", "raft/a.go", doc + "package p", ""},
		{"no doc", "raft/a.go", "package p", "no file says what the package promises"},
		{"a name that says nothing", "host/util/a.go", doc + "package util", "has no subject"},
		{"a long file", "raft/a.go", doc + "package p" + strings.Repeat("\n", linesMax), "second chapter"},
		{"a long generated file is fine", "raft/a.go", "// Code generated by x. DO NOT EDIT.\n\n" + doc + "package p" + strings.Repeat("\n", linesMax), ""},
		{"a long test is fine", "raft/a_test.go", "package p" + strings.Repeat("\n", linesMax), ""},
		{"sleep", "raft/a_test.go", "package p\nimport clock \"time\"\nfunc f() { clock.Sleep(1) }", "time.Sleep in a test"},
		{"virtual sleep is fine", "raft/a_test.go", "package p\nimport (\"time\"; \"testing/synctest\")\nvar _ = synctest.Wait\nfunc f() { time.Sleep(1) }", ""},
		{"environment", "server/a.go", doc + "package p\nimport \"os\"\nvar v = os.Getenv(\"V\")", "the environment is read in cmd only"},
		{"environment in cmd", "cmd/quorate/a.go", doc + "package p\nimport \"os\"\nvar v = os.Getenv(\"V\")", ""},
		{"flags", "server/a.go", doc + "package p\nimport \"flag\"\nvar v = flag.Bool", "flags are read in cmd only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wants(t, checkStyle(memory(t, map[string]string{c.file: c.source})), c.text)
		})
	}
}

func isInterface(t gotypes.Type) bool { return gotypes.IsInterface(t) }

// implementers lists the types of a package that implement an interface.
func implementers(c *checker, path string, of gotypes.Type) []string {
	got := c.check(path)
	if got.types == nil {
		return nil
	}
	i := of.Underlying().(*gotypes.Interface)
	var list []string
	for _, name := range got.types.Scope().Names() {
		if o, ok := got.types.Scope().Lookup(name).(*gotypes.TypeName); ok && !gotypes.IsInterface(o.Type()) &&
			(gotypes.Implements(o.Type(), i) || gotypes.Implements(gotypes.NewPointer(o.Type()), i)) {
			list = append(list, path+"."+name)
		}
	}
	return list
}
