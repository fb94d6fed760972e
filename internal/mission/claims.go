package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// claims is what the sources say they show, apart from the names of tests, which
// the stream has.
type claims struct {
	comments map[testID][]int // doc comments of test functions
	stories  []story
	anchors  map[int]string // M21 → docs/GLOSSARY.md#M21
}

// story is a file with a mission line: one under testdata, or a recipe.
type story struct {
	pkg, file string
	numbers   []int
}

// explanations are the numbers that are no behaviour but something to be
// explained: an anchor in docs shows them.
var explanations = []int{8, 21, 86, 87}

var (
	number      = regexp.MustCompile(`(^|[^A-Za-z])M([1-9][0-9]*)([^0-9A-Za-z]|$)`)
	inName      = regexp.MustCompile(`(^|[^A-Z])M([1-9][0-9]*)`)
	missionLine = regexp.MustCompile(`(?m)^\W*mission:(.*)$`)
	recipeLine  = regexp.MustCompile(`(?m)^mission (.*)$`)
	anchor      = regexp.MustCompile(`<a id="M([1-9][0-9]*)"></a>`)
)

// namedIn lists the numbers in a test's name: TestFooM36M40, "M36 conflicts".
func namedIn(name string) []int { return matches(inName, name) }

// numbersIn lists the numbers in prose.
func numbersIn(text string) []int { return matches(number, text) }

// matches finds matches that may share their border ("M1, M2").
func matches(r *regexp.Regexp, text string) []int {
	var list []int
	for {
		m := r.FindStringSubmatchIndex(text)
		if m == nil {
			break
		}
		if n, err := strconv.Atoi(text[m[4]:m[5]]); err == nil {
			list = append(list, n)
		}
		text = text[m[5]:]
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// readClaims walks the tree, but for hidden folders and modules of their own.
func readClaims(root fs.FS) (*claims, error) {
	c := &claims{comments: map[testID][]int{}, anchors: map[int]string{}}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if _, err := fs.Stat(root, path.Join(name, "go.mod")); name != "." && (strings.HasPrefix(d.Name(), ".") || err == nil) {
				return fs.SkipDir
			}
			return nil
		case strings.HasSuffix(name, "_test.go"):
			return c.testFile(root, name)
		case strings.Contains(name, "testdata/") && !strings.Contains(name, "testdata/fuzz/"), strings.HasSuffix(name, ".recipe"):
			return c.storyFile(root, name)
		case strings.HasPrefix(name, "docs/") && strings.HasSuffix(name, ".md"):
			return c.page(root, name)
		}
		return nil
	})
	return c, err
}

func (c *claims) testFile(root fs.FS, name string) error {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return err
	}
	f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "Test") {
			if numbers := numbersIn(fn.Doc.Text()); numbers != nil {
				c.comments[testID{path.Dir(name), fn.Name.Name}] = numbers
			}
		}
	}
	return nil
}

// recipesRunIn is the package whose test runs every recipe of lab/recipes, each as
// a subtest of its name.
const recipesRunIn = "lab/family"

// storyBytesMax: stories and recipes are short; golden files need no look.
const storyBytesMax = 64 << 10

func (c *claims) storyFile(root fs.FS, name string) error {
	text, err := fs.ReadFile(root, name)
	if err != nil || len(text) > storyBytesMax {
		return err
	}
	var numbers []int
	for _, m := range missionLine.FindAllStringSubmatch(string(text), -1) {
		numbers = append(numbers, numbersIn(m[1])...)
	}
	for _, m := range recipeLine.FindAllStringSubmatch(string(text), -1) {
		if strings.HasSuffix(name, ".recipe") {
			numbers = append(numbers, numbersIn(m[1])...)
		}
	}
	if numbers != nil {
		pkg, file, ok := strings.Cut(name, "/testdata/")
		if !ok { // the lab's, which know nobody who runs them
			pkg, file = recipesRunIn, name
		}
		c.stories = append(c.stories, story{pkg, path.Base(file), numbers})
	}
	return nil
}

func (c *claims) page(root fs.FS, name string) error {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return err
	}
	for _, m := range anchor.FindAllStringSubmatch(string(text), -1) {
		if n, err := strconv.Atoi(m[1]); err == nil && slices.Contains(explanations, n) {
			c.anchors[n] = name + "#M" + m[1]
		}
	}
	return nil
}

// prove lists for every number what shows it: passed tests first, sorted.
func prove(c *claims, r *results) map[int][]string {
	shown := map[int][]string{}
	add := func(n int, proof string) {
		if !slices.Contains(shown[n], proof) {
			shown[n] = append(shown[n], proof)
		}
	}
	ordered := slices.SortedFunc(maps.Keys(r.outcome), func(a, b testID) int {
		return strings.Compare(a.pkg+" "+a.test, b.pkg+" "+b.test)
	})
	for _, at := range ordered {
		// A subtest's own name counts, not again that of its parents.
		last := at.test[strings.LastIndex(at.test, "/")+1:]
		numbers := append(namedIn(last), c.comments[at]...)
		for _, s := range c.stories {
			if s.pkg == at.pkg && strings.Contains(at.test, "/") && strings.TrimSuffix(last, path.Ext(s.file)) == strings.TrimSuffix(s.file, path.Ext(s.file)) {
				numbers = append(numbers, s.numbers...)
			}
		}
		if len(numbers) > 0 && r.passed(at) {
			for _, n := range numbers {
				add(n, at.pkg+" "+at.test)
			}
		}
	}
	for n, where := range c.anchors {
		add(n, where)
	}
	return shown
}
