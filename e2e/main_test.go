package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// quorate is the program under test, built by TestMain.
var quorate string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "quorate-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	quorate = filepath.Join(dir, "quorate")
	build := exec.Command("go", "build", "-o", quorate, "./cmd/quorate")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: go build ./cmd/quorate: %v\n%s", err, out)
		return 1
	}
	// What the machine of the person who runs the tests has set is for other
	// members and clients than these.
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "ETCD_") || strings.HasPrefix(name, "ETCDCTL_") {
			os.Unsetenv(name)
		}
	}
	return m.Run()
}

// program returns the path of the program under test, for a test that runs it.
//
// The go command remembers the result of tests until a file that they looked at
// changes; of what the build above read it knows nothing. So the first test that
// runs the program looks at every directory of the module.
func program(t testing.TB) string {
	t.Helper()
	if err := lookAtSources(); err != nil {
		t.Fatal(err)
	}
	return quorate
}

var lookAtSources = sync.OnceValue(func() error {
	return filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != ".." && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		return err
	})
})
