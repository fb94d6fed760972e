package arch

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// real is the tree of this module, read once.
var real = sync.OnceValues(func() (*tree, error) {
	root, err := moduleRoot(".")
	if err != nil {
		return nil, err
	}
	return readTree(root)
})

func theTree(t *testing.T) *tree {
	t.Helper()
	tree, err := real()
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.packages) < 5 {
		t.Fatalf("only %d packages found", len(tree.packages))
	}
	return tree
}

// theChecker gives types to the tree.
var theChecker = sync.OnceValues(func() (*checker, error) {
	tree, err := real()
	if err != nil {
		return nil, err
	}
	return newChecker(tree, tree.othersImports(append(tree.machines(), "wal", "rsm")))
})

func typed(t *testing.T) *checker {
	t.Helper()
	c, err := theChecker()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func report(t *testing.T, found []Finding) {
	t.Helper()
	for _, f := range found {
		t.Errorf("%v", f)
	}
}

func TestTableHasNoArrowUp(t *testing.T) { report(t, checkTable()) }

func TestImportsGoDownTheTable(t *testing.T) { report(t, checkImports(theTree(t))) }

func TestWhatRunsInABrowserHasNoForeignCode(t *testing.T) { report(t, checkClosures(theTree(t))) }

func TestStyle(t *testing.T) { report(t, checkStyle(theTree(t))) }

func TestMachinesOnlyDecide(t *testing.T) {
	c := typed(t)
	for _, path := range theTree(t).machines() {
		t.Run(path, func(t *testing.T) { report(t, checkMachine(c, path)) })
	}
}

// M80: library and application are layers, and the application supplies storage
// and machine (inversion of control). What the library needs of an application
// are interfaces in rsm; nothing below the store knows who implements them.
func TestLibraryKnowsNoApplicationM80(t *testing.T) {
	tree := theTree(t)
	for _, p := range tree.sorted() {
		row, ok := placeOf(p.path)
		if !ok || row.layer > groups {
			continue
		}
		for _, to := range tree.importsOf(p.path) {
			if path, ours := firstParty(to); ours {
				if target, ok := placeOf(path); !ok || target.layer > groups {
					t.Errorf("%s imports %s: the library would know the application", p.path, path)
				}
			}
		}
	}
	c := typed(t)
	for _, name := range []string{"rsm.Machine", "rsm.Durable", "rsm.View"} {
		n := c.named(name)
		if n == nil {
			t.Fatalf("%s is gone: what does the application supply now?", name)
		}
		if !isInterface(n) {
			t.Errorf("%s is not an interface: the application could not supply it", name)
		}
		for _, path := range []string{"raft", "host"} {
			for _, implementer := range implementers(c, path, n) {
				t.Errorf("%s implements %s: that is the application's", implementer, name)
			}
		}
	}
}

func TestSoftStateIsNotPersistedM81(t *testing.T) { report(t, checkPersisted(typed(t))) }

func TestLayersTalkByMessagesM82(t *testing.T) { report(t, checkMessages(typed(t))) }

// makefileList returns the words of a variable of the Makefile.
func makefileList(t *testing.T, name string) []string {
	t.Helper()
	root, err := moduleRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if list, ok := strings.CutPrefix(line, name+" :="); ok {
			return strings.Fields(list)
		}
	}
	t.Fatalf("the Makefile has no %s", name)
	return nil
}

// The Makefile lists what must build for a browser; the table is where that is
// decided.
func TestMakefileBuildsEveryPurePackageForTheBrowser(t *testing.T) {
	listed := makefileList(t, "PURE")
	for _, p := range theTree(t).sorted() {
		row, ok := placeOf(p.path)
		if ok && (row.machine || row.runs != notReplayed) && len(p.productive()) > 0 && !coveredBy(listed, p.path) {
			t.Errorf("%s is to build for a browser, but PURE in the Makefile does not list it", p.path)
		}
	}
}

// Every package that starts goroutines runs under the race detector, but for
// those that bring Pebble with them, as cmd does, where everything is wired.
func TestMakefileRacesEveryPackageWithGoroutines(t *testing.T) {
	listed := makefileList(t, "RACE")
	tree := theTree(t)
	for _, p := range tree.sorted() {
		starts := false
		for _, f := range p.productive() {
			ast.Inspect(f.ast, func(n ast.Node) bool {
				_, goes := n.(*ast.GoStmt)
				starts = starts || goes
				return !starts
			})
		}
		wires := strings.HasPrefix(p.path, "cmd/")
		if starts && !wires && !coveredBy(listed, p.path) && !tree.reaches(p.path, "kv/engine/pebble") {
			t.Errorf("%s starts goroutines, but RACE in the Makefile does not list it", p.path)
		}
	}
}

// reaches tells whether a package depends on another of ours, tests aside.
func (t *tree) reaches(from, to string) bool {
	seen := map[string]bool{}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		if queue[0] == to {
			return true
		}
		if seen[queue[0]] || t.packages[queue[0]] == nil {
			continue
		}
		seen[queue[0]] = true
		for _, i := range t.importsOf(queue[0]) {
			if path, ours := firstParty(i); ours {
				queue = append(queue, path)
			}
		}
	}
	return false
}

// M66: the glossary maps each of the nineteen kinds of message of etcd's raft to
// what stands for it here, and what it names exists. In the other direction,
// every message of ours is in the glossary.
func TestNineteenMessageKindsHaveTheirCounterpartM66(t *testing.T) {
	root, err := moduleRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs/GLOSSARY.md"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := strings.Fields("Hup Beat Prop App AppResp Vote VoteResp Snap Heartbeat HeartbeatResp Unreachable SnapStatus CheckQuorum TransferLeader TimeoutNow ReadIndex ReadIndexResp PreVote PreVoteResp")
	found := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		columns := strings.Split(line, "|")
		if len(columns) != 5 || !strings.HasPrefix(columns[1], " Msg") {
			continue
		}
		kind := strings.TrimPrefix(strings.TrimSpace(columns[1]), "Msg")
		if !slices.Contains(kinds, kind) || found[kind] {
			t.Errorf("%s is unknown or stands there twice", kind)
		}
		found[kind] = true
		if !strings.Contains(columns[3], "`raft") {
			t.Errorf("%s: no counterpart is named", kind)
		}
	}
	if len(found) != len(kinds) {
		t.Errorf("%d of %d kinds are in the glossary: %v", len(found), len(kinds), found)
	}
	c := typed(t)
	for _, name := range codeNames.FindAllString(string(text), -1) {
		pkg, rest, _ := strings.Cut(strings.Trim(name, "`"), ".")
		typeName, _, _ := strings.Cut(rest, ".")
		if c.named(pkg+"."+typeName) == nil {
			t.Errorf("the glossary names %s, which does not exist", name)
		}
	}
	for _, m := range implementations(c.named("raft.Message")) {
		if !strings.Contains(string(text), "`"+shortName(m)+"`") {
			t.Errorf("%s is not in the glossary", shortName(m))
		}
	}
}

// codeNames are names of our packages as pages write them: `raft.Append`.
var codeNames = regexp.MustCompile("`(?:raft|host|wal|rsm|id|membership|quorum|trace|sim)\\.[A-Z][A-Za-z.]*`")

// Pages name files and tests; what they name exists.
func TestPagesNameWhatExists(t *testing.T) {
	root, err := moduleRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	files, tests := map[string]bool{}, map[string]bool{}
	for _, p := range theTree(t).packages {
		for _, f := range p.files {
			files[f.name] = true
			for _, d := range f.ast.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && f.test {
					tests[fn.Name.Name] = true
				}
			}
		}
	}
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fileNames.FindAllStringSubmatch(string(text), -1) {
			if !files[m[1]] {
				t.Errorf("%s names %s, which does not exist", filepath.Base(page), m[1])
			}
		}
		for _, name := range testNames.FindAllString(string(text), -1) {
			if !tests[name] {
				t.Errorf("%s names %s, which does not exist", filepath.Base(page), name)
			}
		}
	}
}

var (
	fileNames = regexp.MustCompile("`([a-z0-9_/]+\\.go)`")
	testNames = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]+`)
)
