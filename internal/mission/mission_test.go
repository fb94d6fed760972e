package main

import (
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
)

const page = `# Mission
| number | behaviour | owner |
|---|---|---|
| M1 | one | foundation |
| M2 | two | foundation |
| M3 | three | family |
| M4 | four | |
| M5 | five | foundation |
| M6 | six | foundation |
| M7 | seven | foundation |
| M8 | a page | foundation |
`

// stream is a `go test -json` stream in which raft's tests end as given.
func stream(outcomes map[string]string) string {
	s := `{"Action":"start","Package":"github.com/quorate/quorate/raft"}` + "\n"
	for name, outcome := range outcomes {
		s += `{"Action":"output","Package":"github.com/quorate/quorate/raft","Test":"` + name + `","Output":"what ` + name + ` says\n"}` + "\n" +
			`{"Action":"` + outcome + `","Package":"github.com/quorate/quorate/raft","Test":"` + name + `"}` + "\n"
	}
	return s + `{"Action":"output","Package":"github.com/quorate/quorate/raft","Output":"PASS\n"}
{"Action":"output","Package":"github.com/quorate/quorate/raft","Output":"ok  \tgithub.com/quorate/quorate/raft\t0.1s\n"}
{"Action":"pass","Package":"github.com/quorate/quorate/raft"}
`
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

// shows proves with the given files and outcomes.
func shows(t *testing.T, files fstest.MapFS, outcomes map[string]string) map[int][]string {
	t.Helper()
	c, err := readClaims(files)
	if err != nil {
		t.Fatal(err)
	}
	r, err := readStream(strings.NewReader(stream(outcomes)), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return prove(c, r)
}

func TestWhatShowsANumber(t *testing.T) {
	for _, c := range []struct {
		name     string
		files    fstest.MapFS
		outcomes map[string]string
		want     map[int][]string
	}{
		{"a passed test's name", nil, map[string]string{"TestVoteM1M2": "pass"},
			map[int][]string{1: {"raft TestVoteM1M2"}, 2: {"raft TestVoteM1M2"}}},
		{"a subtest's name", nil, map[string]string{"TestVote": "pass", "TestVote/M1_twice": "pass"},
			map[int][]string{1: {"raft TestVote/M1_twice"}}},
		{"not a failed or skipped one", nil, map[string]string{"TestVoteM1": "fail", "TestVoteM2": "skip"}, map[int][]string{}},
		{"not one whose subtests were all skipped", nil, map[string]string{"TestVoteM1": "pass", "TestVoteM1/a": "skip", "TestVoteM1/b": "skip"}, map[int][]string{}},
		{"one whose subtests ran in part", nil, map[string]string{"TestVoteM1": "pass", "TestVoteM1/a": "skip", "TestVoteM1/b": "pass"},
			map[int][]string{1: {"raft TestVoteM1"}}},
		{"not a name that only looks like it", nil, map[string]string{"TestVM1": "pass", "Test64MiB": "pass", "TestItem1": "pass"}, map[int][]string{}},
		{"a doc comment", fstest.MapFS{"raft/a_test.go": file("package raft\n\n// TestVote shows M1, M2 and\n// (M3); not RAM4.\nfunc TestVote() {}\n")},
			map[string]string{"TestVote": "pass"},
			map[int][]string{1: {"raft TestVote"}, 2: {"raft TestVote"}, 3: {"raft TestVote"}}},
		{"a doc comment in another package", fstest.MapFS{"host/a_test.go": file("package host\n\n// M1\nfunc TestVote() {}\n")},
			map[string]string{"TestVote": "pass"}, map[int][]string{}},
		{"a story that ran", fstest.MapFS{
			"raft/testdata/split_vote.story": file("# Two candidates\nmission: M5 M6\n"),
			"raft/testdata/unread.story":     file("mission: M7\n"),
		}, map[string]string{"TestStories": "pass", "TestStories/split_vote": "pass"},
			map[int][]string{5: {"raft TestStories/split_vote"}, 6: {"raft TestStories/split_vote"}}},
		{"an anchor, for what is explained only", fstest.MapFS{"docs/GLOSSARY.md": file("<a id=\"M8\"></a><a id=\"M1\"></a>\n")},
			nil, map[int][]string{8: {"docs/GLOSSARY.md#M8"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := shows(t, c.files, c.outcomes); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestWhenTheListFails(t *testing.T) {
	table, err := readTable(fstest.MapFS{"m.md": file(page)}, "m.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[int][]string{1: {"a"}, 2: {"a"}, 4: {"a"}, 5: {"a"}, 6: {"a"}, 7: {"a"}, 8: {"a"}}
	without := func(n int) map[int][]string {
		some := map[int][]string{}
		for k, v := range all {
			if k != n {
				some[k] = v
			}
		}
		return some
	}
	for _, c := range []struct {
		name, owner string
		shown       map[int][]string
		text        string
	}{
		{"all of the foundation", "foundation", all, ""},
		{"the family waits", "", all, ""},
		{"one missing, nobody asked", "", without(2), ""},
		{"one missing", "foundation", without(2), "1 of the foundation's numbers are not shown"},
		{"nobody's number", "", without(4), "M4 has neither a proof nor an owner"},
		{"unknown owner", "tower", all, `no number belongs to "tower"; owners are foundation, family`},
		{"a number that does not exist", "", map[int][]string{4: {"a"}, 9: {"raft TestM9"}}, "raft TestM9 names M9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := list(io.Discard, table, c.shown, c.owner, false)
			if c.text == "" && err != nil || c.text != "" && (err == nil || !strings.Contains(err.Error(), c.text)) {
				t.Errorf("got %v, want %q", err, c.text)
			}
		})
	}
	var out strings.Builder
	if err := list(&out, table, without(2), "", true); err != nil {
		t.Fatal(err)
	}
	const want = "M2    foundation  not shown   two\nM3    family      not shown   three\nfoundation: 5 of 6 shown\nfamily: 0 of 1 shown\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestMalformedTables(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"nothing", "has no rows"},
		{"| M1 | one | foundation |\n| M3 | three | family |\n", "M2 is missing"},
		{"| M1 | one | foundation |\n| M1 | one | foundation |\n", "m.md:2: M1 stands there twice"},
		{"| M1 | one |\n", "m.md:1: a row looks like"},
	} {
		if _, err := readTable(fstest.MapFS{"m.md": file(c.text)}, "m.md"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
	}
}

// The stream is shown as go test would print it, and a failure is never quiet.
func TestStreamIsShownAndJudged(t *testing.T) {
	var out strings.Builder
	r, err := readStream(strings.NewReader(stream(map[string]string{"TestA": "pass"})), &out)
	if err != nil {
		t.Fatal(err)
	}
	if want := "ok  \tgithub.com/quorate/quorate/raft\t0.1s\n"; out.String() != want || r.failed() != nil {
		t.Errorf("shown %q, failed %v", out.String(), r.failed())
	}
	out.Reset()
	r, err = readStream(strings.NewReader(stream(map[string]string{"TestB": "fail"})+
		`{"Action":"build-output","ImportPath":"github.com/quorate/quorate/host","Output":"host/a.go:1: no\n"}`+"\n"+
		`{"Action":"fail","Package":"github.com/quorate/quorate/host"}`+"\n"), &out)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "what TestB says") || !strings.Contains(out.String(), "host/a.go:1: no") {
		t.Errorf("shown %q", out.String())
	}
	if err := r.failed(); err == nil || err.Error() != "tests failed in host" {
		t.Errorf("got %v", err)
	}
	if _, err := readStream(strings.NewReader("ok  \tfoo\n"), io.Discard); err == nil {
		t.Error("plain text taken for a stream")
	}
}

// The table of this repository is complete, and everybody's part is as agreed.
func TestTableOfThisRepository(t *testing.T) {
	table, err := readTable(os.DirFS("../.."), "docs/MISSION.md")
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, n := range table.numbers() {
		counts[table.rows[n].owner]++
	}
	if want := map[string]int{"foundation": 75, "family": 48, "scale": 1}; !reflect.DeepEqual(counts, want) {
		t.Errorf("got %v, want %v", counts, want)
	}
}
