// mission lists what shows each behaviour that quorate's source documents ask
// for. docs/MISSION.md gives every behaviour a number, a short text and an
// owner: the part of the work that has to show it.
//
// A number is shown by
//
//   - a test that names it, in its name (TestSplitVoteIsRetriedM6) or in its doc
//     comment, and that `go test -json` reports as passed;
//   - a line `mission: M51 M52` in a story or recipe under testdata, when a
//     passed subtest bears the file's name;
//   - for the few that are explanations and not behaviour, an anchor
//     `<a id="M21"></a>` in docs.
//
// A skipped test shows nothing, and neither does one whose subtests were all
// skipped.
//
//	go run ./internal/mission                     run all tests, then list
//	go run ./internal/mission -json FILE          take a saved `go test -json` stream; "-" is standard input
//	go run ./internal/mission -owner foundation,family   fail unless everything of these owners is shown
//	go run ./internal/mission -brief              only what is not shown, and the sums
//
// It fails if a test failed, if a number has neither proof nor owner, or if
// something names a number that the table does not have.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

func main() {
	json := flag.String("json", "", "saved `go test -json` stream; empty: run the tests")
	owner := flag.String("owner", "", "fail unless everything of these owners is shown, as foundation,family")
	brief := flag.Bool("brief", false, "list only what is not shown, and the sums")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "mission: unknown argument %q; see -help\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(os.Stdout, *json, *owner, *brief); err != nil {
		fmt.Fprintf(os.Stderr, "mission: %v\n", err)
		os.Exit(1)
	}
}

func run(out io.Writer, json, owner string, brief bool) error {
	table, err := readTable(os.DirFS("."), "docs/MISSION.md")
	if err != nil {
		return err
	}
	claims, err := readClaims(os.DirFS("."))
	if err != nil {
		return err
	}
	results, err := tests(out, json)
	if err != nil {
		return err
	}
	shown := prove(claims, results)
	return errors.Join(results.failed(), list(out, table, shown, owner, brief))
}

// tests reads the saved stream, or runs all tests and shows them as they end.
func tests(out io.Writer, json string) (*results, error) {
	switch json {
	case "-":
		return readStream(os.Stdin, out)
	case "":
	default:
		f, err := os.Open(json)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readStream(f, io.Discard)
	}
	command := exec.Command("go", "test", "-json", "./...")
	command.Stderr = os.Stderr
	stream, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	got, err := readStream(stream, out)
	if err != nil {
		return nil, err
	}
	// An exit code that no failed test explains (the go command itself failed)
	// must not be lost.
	if err := command.Wait(); err != nil && got.failed() == nil {
		return nil, fmt.Errorf("go test -json ./...: %w", err)
	}
	return got, nil
}

// list prints the table with its proofs and judges it.
func list(out io.Writer, t *table, shown map[int][]string, owner string, brief bool) error {
	var problems []error
	sums := map[string][2]int{} // shown, all
	for _, n := range t.numbers() {
		row := t.rows[n]
		sum := sums[row.owner]
		sum[1]++
		if len(shown[n]) > 0 {
			sum[0]++
		}
		sums[row.owner] = sum
		switch {
		case len(shown[n]) == 0:
			fmt.Fprintf(out, "M%-4d %-11s not shown   %s\n", n, row.owner, row.text)
			if row.owner == "" {
				problems = append(problems, fmt.Errorf("M%d has neither a proof nor an owner", n))
			}
		case !brief:
			fmt.Fprintf(out, "M%-4d %-11s %s\n", n, row.owner, strings.Join(abridged(shown[n]), ", "))
		}
	}
	for _, n := range strangers(t, shown) {
		problems = append(problems, fmt.Errorf("%s names M%d, which docs/MISSION.md does not have", shown[n][0], n))
	}
	for _, o := range t.owners() {
		fmt.Fprintf(out, "%s: %d of %d shown\n", o, sums[o][0], sums[o][1])
	}
	for _, owner := range strings.Split(owner, ",") {
		if owner == "" {
			continue
		}
		switch sum, ok := sums[owner]; {
		case !ok:
			problems = append(problems, fmt.Errorf("no number belongs to %q; owners are %s", owner, strings.Join(t.owners(), ", ")))
		case sum[0] < sum[1]:
			problems = append(problems, fmt.Errorf("%d of the %s's numbers are not shown", sum[1]-sum[0], owner))
		}
	}
	return errors.Join(problems...)
}

// abridged keeps a line readable: two proofs, and how many more.
func abridged(proofs []string) []string {
	const keep = 2
	if len(proofs) <= keep {
		return proofs
	}
	return append(append([]string(nil), proofs[:keep]...), fmt.Sprintf("and %d more", len(proofs)-keep))
}
