package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The README shows a session with its output. It is run here, command by command,
// and has to be true but for what differs between two runs. That is masked, in
// both texts alike, by the rules below.
//
// Commands are lines that begin with "$ quorate" or "$ curl"; what follows up to
// the next one is their output. `$ quorate dev` stays until the end; of its output
// the part up to the end of the table is shown. A comment behind a command (two
// spaces and #) is not part of it.

// masks are what may differ. The ports 2379, 2380, 2479, … of the README become
// free ones when the commands are run and are turned back in what they print.
var masks = []struct {
	name    string
	pattern *regexp.Regexp
	becomes string
}{
	{"process id: the last column of dev's table", regexp.MustCompile(`(?m)^(  m\d+ +http://\S+ +http://\S+ +)\d+$`), "${1}PID"},
	{"member, cluster and lease ids", regexp.MustCompile(`\b[0-9a-f]{15,16}\b`), "ID"},
	{"hash and revision of endpoint hashkv", regexp.MustCompile(`(?m)^(\S+:\d+), \d+, \d+$`), "$1, HASH, REVISION"},
	{"numbers in JSON headers: ids, revision, term", regexp.MustCompile(`"(cluster_id|member_id|revision|raft_term|create_revision|mod_revision)":\d+`), `"$1":N`},
	{"revision in a header of an HTTP answer", regexp.MustCompile(`(?m)^(Quorate-Revision: )\d+`), "${1}REVISION"},
	{"date in a header of an HTTP answer", regexp.MustCompile(`(?m)^Date: .*$`), "Date: DATE"},
	{"how long a health check took", regexp.MustCompile(`took = [0-9.]+[µnm]?s`), "took = TIME"},
	{"spaces that align a table", regexp.MustCompile(`  +`), "  "},
	{"carriage returns of HTTP headers", regexp.MustCompile(`\r`), ""},
}

func masked(s string) string {
	for _, m := range masks {
		s = m.pattern.ReplaceAllString(s, m.becomes)
	}
	return strings.TrimRight(s, "\n")
}

// shown is one command of the README with the output it claims.
type shown struct {
	line   int
	words  []string
	output string
}

func TestTheSessionInTheReadmeIsTrue(t *testing.T) {
	parallel(t)
	commands := readSession(t)
	base := freePorts(t, 0, 1, 100, 101, 200, 201)
	toFree, back := movePorts(base)
	where := t.TempDir()
	var cluster *process
	for _, c := range commands {
		var got string
		words := make([]string, len(c.words))
		for i, w := range c.words {
			words[i] = toFree(w)
		}
		switch {
		case len(words) > 1 && words[0] == "quorate" && words[1] == "dev":
			if cluster != nil {
				t.Fatalf("README.md:%d: a second 'quorate dev'", c.line)
			}
			cluster = startIn(t, where, append(words[1:], "--client-port", strconv.Itoa(base))...)
			cluster.out.await(t, "Ctrl-C ends all members.")
			got, _, _ = strings.Cut(cluster.out.text(), "\n\nTry, ")
		default:
			got = runShown(t, where, c.line, words)
		}
		if want, got := masked(c.output), masked(back(got)); got != want {
			t.Errorf("README.md:%d: $ %s\nprints, ids and the like masked:\n%s\nthe README says:\n%s", c.line, strings.Join(c.words, " "), got, want)
		}
	}
	if cluster == nil {
		t.Error("the session of README.md starts no cluster")
	}
}

// readSession finds the one block opened by ```console below the heading "A
// session".
func readSession(t *testing.T) []shown {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var list []shown
	var heading string
	inside := false
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case inside && strings.HasPrefix(line, "```"):
			return list
		case !inside && strings.HasPrefix(line, "#"):
			heading = strings.TrimLeft(line, "# ")
		case !inside && line == "```console" && heading == "A session":
			inside = true
		case !inside:
		case strings.HasPrefix(line, "$ quorate ") || strings.HasPrefix(line, "$ curl "):
			command, _, _ := strings.Cut(line[2:], "  #")
			list = append(list, shown{i + 1, split(t, i+1, command), ""})
		case strings.HasPrefix(line, "$ ") || len(list) == 0:
			t.Fatalf("README.md:%d: %q is neither a quorate nor a curl command", i+1, line)
		default:
			list[len(list)-1].output += line + "\n"
		}
	}
	t.Fatal(`README.md has no block opened by "` + "```console" + `" under a heading "A session"`)
	return nil
}

// split takes a command line apart as a shell would; of its syntax the README
// uses quotes.
func split(t *testing.T, line int, command string) []string {
	t.Helper()
	var words []string
	for _, m := range regexp.MustCompile(`'([^']*)'|"([^"]*)"|([^\s'"]+)`).FindAllStringSubmatch(command, -1) {
		words = append(words, m[1]+m[2]+m[3])
	}
	if strings.ContainsAny(command, "|<>;&`\\") {
		t.Fatalf("README.md:%d: %s: only plain commands are run", line, command)
	}
	return words
}

// movePorts returns how the ports of the README become free ones, and back.
func movePorts(base int) (toFree, back func(string) string) {
	var there, here []string
	for i := range 3 {
		for peer := range 2 {
			readme, free := strconv.Itoa(2379+100*i+peer), strconv.Itoa(base+100*i+peer)
			there, here = append(there, ":"+readme, ":"+free), append(here, ":"+free, ":"+readme)
		}
	}
	return strings.NewReplacer(there...).Replace, strings.NewReplacer(here...).Replace
}

// runShown runs a command of the README to its end. A machine without curl gets
// the same answer by the same request.
func runShown(t *testing.T, dir string, line int, words []string) string {
	t.Helper()
	if words[0] == "quorate" {
		a := run(t, "", words[1:]...)
		if a.code != 0 {
			t.Errorf("README.md:%d: exit code %d: %s", line, a.code, a.stderr)
		}
		return a.stdout
	}
	if _, err := exec.LookPath("curl"); err != nil {
		return curl(t, line, words)
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("README.md:%d: %v", line, err)
	}
	return string(out)
}

// curl knows the options that the README uses.
func curl(t *testing.T, line int, words []string) string {
	t.Helper()
	method, body, url := "GET", "", ""
	for i := 1; i < len(words); i++ {
		switch w := words[i]; {
		case w == "-s" || w == "-S" || w == "-sS":
		case w == "-X" && i+1 < len(words):
			i++
			method = words[i]
		case strings.HasPrefix(w, "-X"):
			method = w[2:]
		case (w == "-d" || w == "--data" || w == "--data-binary") && i+1 < len(words):
			i++
			body = words[i]
			if method == "GET" {
				method = "POST"
			}
		case strings.HasPrefix(w, "http://"):
			url = w
		default:
			t.Fatalf("README.md:%d: this machine has no curl, and the test does not know %s", line, w)
		}
	}
	_, text, _ := request(t, method, url, body)
	return text
}
