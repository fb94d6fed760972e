package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// refusal is a start that must not happen.
type refusal struct {
	name string
	args []string
	code int    // 2: asked for wrongly; 1: it cannot be done
	says string // a part of the one line, which names what to do
}

// refuse runs each, expects its one line, and that the tree below dir is as it
// was: nothing is lost, and nothing half started is left behind.
func refuse(t *testing.T, dir string, cases []refusal) {
	t.Helper()
	for _, c := range cases {
		before := tree(t, dir)
		a := run(t, "", c.args...)
		after := tree(t, dir)
		line := strings.TrimSuffix(a.stderr, "\n")
		switch {
		case a.code != c.code:
			t.Errorf("%s: exit code %d, want %d: %s", c.name, a.code, c.code, a.stderr)
		case !strings.HasPrefix(line, "quorate: ") || strings.Contains(line, "\n") || a.stdout != "":
			t.Errorf("%s: more than one clear line:\n%s%s", c.name, a.stdout, a.stderr)
		case !strings.Contains(line, c.says):
			t.Errorf("%s: %q does not say %q", c.name, line, c.says)
		}
		for path, was := range before {
			if is := after[path]; is != was {
				t.Errorf("%s: %s was %q and is %q", c.name, path, was, is)
			}
		}
		for path := range after {
			if before[path] == "" {
				t.Errorf("%s: %s was left behind", c.name, path)
			}
		}
	}
}

// tree lists the files below a directory with size and time of last change, but
// for IDENTITY, which counts the attempts to start.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "IDENTITY" {
			return err
		}
		info, err := d.Info()
		if err == nil {
			out[path] = fmt.Sprintf("%d bytes of %s", info.Size(), info.ModTime().Format(time.StampNano))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestACommandLineThatIsWrongIsNamedInOneLine(t *testing.T) {
	parallel(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fresh := filepath.Join(dir, "fresh") // must not appear
	refuse(t, dir, []refusal{
		{"unknown flag of dev", []string{"dev", "--dir", fresh, "--bogus"}, 2, "unknown flag: --bogus; run 'quorate dev --help'"},
		{"unknown flag of serve", []string{"serve", "--data-dir", fresh, "--bogus"}, 2, "unknown flag --bogus; run 'quorate serve --help'"},
		{"unknown flag of sim", []string{"sim", "--bogus"}, 2, "unknown flag: --bogus; run 'quorate sim --help'"},
		{"unknown command", []string{"nope"}, 2, `unknown command "nope"; run 'quorate help'`},
		{"a word too many", []string{"serve", "--data-dir", fresh, "now"}, 2, `serve takes flags only, not "now"`},
		{"no members", []string{"dev", "--dir", fresh, "--members", "0"}, 2, "--members 0 must be 1 to 9"},
		{"a URL without a port", []string{"serve", "--data-dir", fresh, "--listen-client-urls", "http://localhost"}, 2, "write http://HOST:PORT"},
		{"a cluster without this member", []string{"serve", "--data-dir", fresh, "--name", "a", "--initial-cluster", "b=http://localhost:1"}, 2, "--initial-cluster does not contain this member: add a="},
		{"sim without a choice", []string{"sim"}, 2, "--seeds N, --seed S and --recipe FILE"},
		{"recipe that is no recipe", []string{"sim", "--recipe", file("no.recipe", "hello\n")}, 2, "no.recipe: recipe: line 1: "},
		{"recipe of another version", []string{"sim", "--recipe", file("new.recipe", "quorate recipe 9\n")}, 2, `line 1: unknown version "9"; this program reads version 2`},
		{"recipe with an unknown line", []string{"sim", "--recipe", file("odd.recipe", "quorate recipe 2\nseed 1\nfalut 1s 1s crash n1\n")}, 2, `line 3: `},
		{"recipe that is not there", []string{"sim", "--recipe", filepath.Join(dir, "none")}, 2, "no such file"},
		{"recipe of the lab given to sim", []string{"sim", "--recipe", file("lab.recipe", "quorate recipe 2\nprotocol raft\nseed 1\nlength 1s\nvoters n1\n")}, 2, "line 2: it names a protocol, and the simulator runs quorate itself; run it with quorate lab run"},
		{"unknown command of lab", []string{"lab", "nope"}, 2, `unknown command "nope" of lab; run 'quorate lab --help'`},
		{"unknown recipe", []string{"lab", "run", "majorty"}, 2, `unknown recipe "majorty", and no file of that name; 'quorate lab list' has the names; did you mean majority?`},
		{"unknown protocol", []string{"lab", "run", "f2", "--protocol", "zookeeper"}, 2, `unknown protocol "zookeeper"; known: raft,`},
		{"lab recipe of another version", []string{"lab", "run", file("old.recipe", "# once\nquorate recipe 1\n")}, 2, `old.recipe: recipe: line 2: unknown version "1"; this program reads version 2`},
		{"lab recipe with an unknown protocol", []string{"lab", "run", file("p.recipe", "quorate recipe 2\nprotocol zk\n")}, 2, `p.recipe: recipe: line 2: unknown protocol "zk"`},
		{"lab recipe with an unknown node", []string{"lab", "run", file("n.recipe", "quorate recipe 2\nseed 1\nlength 9s\nvoters n1,n2,n3\nfault 1s 1s crash n7 lose=none\n")}, 2, `line 5: unknown node n7; the recipe has n1,n2,n3`},
		{"lab recipe without an end", []string{"lab", "run", file("e.recipe", "quorate recipe 2\nseed 1\nvoters all\n")}, 2, `never ends: no length line`},
		{"lab recipe that lasts too long", []string{"lab", "run", file("l.recipe", "quorate recipe 2\nseed 1\nlength 90000s\n")}, 2, `line 3: length 90000s: a run lasts longer than 0s and at most 3600s`},
		{"lab recipe with too many nodes", []string{"lab", "run", file("m.recipe", "quorate recipe 2\nseed 1\nlength 9s\nvoters n1,n10\n")}, 2, `line 4: "n10" is not a node; nodes are n1 to n9`},
		{"lab recipe that expects nonsense", []string{"lab", "run", file("x.recipe", "quorate recipe 2\nseed 1\nlength 9s\nvoters all\nexpect losses = 0\n")}, 2, `line 5: expect unknown name "losses"; known: `},
		{"lab recipe that breaks what is not there", []string{"lab", "run", file("b.recipe", "quorate recipe 2\nseed 1\nlength 9s\nvoters all\nbroken gravity\n")}, 2, `line 5: raft has no rule "gravity" to break; it has `},
		{"lab language", []string{"lab", "run", "f2", "--language", "fr"}, 2, `--language "fr": the stories are told in en and zh`},
		{"a script that the lab has not", []string{"lab", "compare", "f2", "raft"}, 2, `takes RECIPE PROTOCOL PROTOCOL, got 2`},
		{"log that is not there", []string{"wal", dir}, 1, "is not the data directory of a member"},
	})
}

// One member lives through everything that can be wrong with a directory or a
// port; in the end it has all it ever acknowledged.
func TestADirectoryOrAPortThatIsWrongIsNamedAndNothingIsLost(t *testing.T) {
	parallel(t)
	m := planMembers(t, 1)[0]
	m.start(t)
	m.out.await(t, "ready to serve client requests")
	for i := range 20 {
		if code, text, _ := request(t, http.MethodPut, fmt.Sprintf("%s/v1/kv/k%d", m.client, i), fmt.Sprintf("the value %d", i)); code != http.StatusNoContent {
			t.Fatalf("PUT: %d %s", code, text)
		}
	}
	top := filepath.Dir(m.dir)
	other := planMember(t, top, "other")
	other.flags = []string{"--initial-cluster", "other=" + other.peer}
	with := func(m *member, change func(*member)) []string {
		changed := *m
		change(&changed)
		return changed.args()
	}
	busy := strings.TrimPrefix(m.client, "http://")
	etcds := filepath.Join(t.TempDir(), "etcds")
	for _, path := range []string{"member/snap/db", "member/wal/0000000000000000-0000000000000000.wal"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(etcds, path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(etcds, path), []byte("etcd's"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refuse(t, top, []refusal{
		{"client port in use", with(other, func(o *member) { o.client = m.client }), 1, "port in use: " + busy + " is taken by another program; choose another with --listen-client-urls"},
		{"peer port in use", with(other, func(o *member) { o.peer, o.flags = m.peer, []string{"--initial-cluster", "other=" + m.peer} }), 1, "is taken by another program; choose another with --listen-peer-urls"},
		{"dev's port in use", []string{"dev", "--dir", filepath.Join(top, "dev"), "--members", "1", "--client-port", busy[strings.LastIndex(busy, ":")+1:]}, 1, "port in use: " + busy + " is taken by another program; choose others with --client-port"},
		{"directory in use", with(other, func(o *member) {
			o.dir, o.name, o.flags = m.dir, m.name, []string{"--initial-cluster", "m1=" + other.peer}
		}), 1, "is in use by another process: stop that one, or choose another --data-dir"},
	})
	if _, text, _ := request(t, http.MethodGet, m.client+"/v1/kv/k7", ""); text != "the value 7" {
		t.Errorf("while others tried to start, k7 became %q", text)
	}
	m.signal(t, syscall.SIGTERM)
	if code := m.wait(t); code != 0 {
		t.Errorf("exit code %d:\n%s", code, m.out.text())
	}
	refuse(t, top, []refusal{
		{"directory of another cluster", append(m.args(), "--initial-cluster-token", "another"), 1, `belongs to a cluster with token "etcd-cluster", not "another"; choose another --data-dir`},
		{"directory of another member", with(other, func(o *member) { o.dir = m.dir }), 1, `belongs to member "m1" of cluster`},
	})
	refuse(t, etcds, []refusal{
		{"directory of etcd", with(other, func(o *member) { o.dir = etcds }), 1, "is a data directory of etcd, which this program cannot read; choose another --data-dir and copy the keys with 'quorate ctl make-mirror'"},
	})
	corruptAndBack(t, m)
}

// corruptAndBack flips a byte in the middle of the log of a stopped member: it
// refuses to start and changes nothing, so that with the byte put right all is
// there.
func corruptAndBack(t *testing.T, m *member) {
	t.Helper()
	segment := filepath.Join(m.dir, "wal", "00000001.wal")
	const part = "the value 7"
	f, err := os.OpenFile(segment, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	head := make([]byte, 64<<10)
	if _, err := f.ReadAt(head, 0); err != nil {
		t.Fatal(err)
	}
	at := int64(bytes.Index(head, []byte(part)))
	if at < 0 {
		t.Fatalf("%q is not in the first %d bytes of %s", part, len(head), segment)
	}
	flip := func(b byte) {
		t.Helper()
		if _, err := f.WriteAt([]byte{b}, at); err != nil {
			t.Fatal(err)
		}
	}
	flip(part[0] ^ 1)
	refuse(t, m.dir, []refusal{
		{"a corrupt record in the middle of the log", m.args(), 1, "00000001.wal is corrupt at offset "},
		{"the same, and what to do", m.args(), 1, "replace this member: quorate ctl member remove "},
	})
	flip(part[0])
	m.start(t)
	m.out.await(t, "ready to serve client requests")
	for i := range 20 {
		if _, text, _ := request(t, http.MethodGet, fmt.Sprintf("%s/v1/kv/k%d", m.client, i), ""); text != fmt.Sprintf("the value %d", i) {
			t.Errorf("k%d is %q", i, text)
		}
	}
	if regexp.MustCompile(`panic|goroutine \d`).MatchString(m.out.text()) {
		t.Errorf("a panic:\n%s", m.out.text())
	}
}
