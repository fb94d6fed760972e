package pebble

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/quorate/quorate/kv/engine"
)

func openFor(t *testing.T, fs vfs.FS) *Engine {
	t.Helper()
	e, err := Open(metamorphicDir, Options{FS: fs, CacheBytes: 1 << 20, Fatal: func(line string) { panic(line) }})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func set(t *testing.T, e *Engine, key, value string) {
	t.Helper()
	b := e.NewBatch()
	if err := b.Set([]byte(key), []byte(value)); err != nil {
		t.Fatal(err)
	}
	if err := e.Commit(b); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, e *Engine) string {
	t.Helper()
	s := e.Snapshot()
	defer s.Close()
	var keys []string
	it := s.Iterate(engine.Span{})
	for ok := it.First(); ok; ok = it.Next() {
		keys = append(keys, fmt.Sprintf("%s=%s", it.Key(), it.Value()))
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(keys, " ")
}

func closeEngine(t *testing.T, e *Engine) {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// The power goes while the new rows are being written, at each of them.
func TestReplaceCutHalfWayKeepsTheOldRowsAndLeavesNoFile(t *testing.T) {
	defer func(n int) { installFileBytes = n }(installFileBytes)
	installFileBytes = 8 // a file for every second row
	fs := vfs.NewCrashableMem()
	e := openFor(t, fs)
	set(t, e, "a", "old")
	set(t, e, "elsewhere", "stays")
	var cuts []*vfs.MemFS
	n := 0
	err := e.Replace(engine.Span{Lower: []byte("a"), Upper: []byte("b")}, func() (k, v []byte, err error) {
		cuts = append(cuts, fs.CrashClone(vfs.CrashCloneCfg{}))
		if n++; n == 8 {
			return nil, nil, io.EOF
		}
		return fmt.Appendf(nil, "a%d", n), []byte("new"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, cut := range cuts {
		e := openFor(t, cut)
		if got := content(t, e); got != "a=old elsewhere=stays" {
			t.Errorf("cut at row %d: %s", i, got)
		}
		names, err := cut.List(metamorphicDir)
		if err != nil || strings.Contains(strings.Join(names, " "), installPrefix) {
			t.Errorf("cut at row %d left %v, %v", i, names, err)
		}
		closeEngine(t, e)
	}
	after := openFor(t, fs.CrashClone(vfs.CrashCloneCfg{}))
	if got := content(t, after); got != "a1=new a2=new a3=new a4=new a5=new a6=new a7=new elsewhere=stays" {
		t.Errorf("after it returned: %s", got)
	}
	closeEngine(t, after)
	closeEngine(t, e)
}

func TestReplaceWithNothingAndWithAFailingSource(t *testing.T) {
	e := openFor(t, vfs.NewMem())
	defer closeEngine(t, e)
	set(t, e, "a", "1")
	set(t, e, "c", "1")
	span := engine.Span{Lower: []byte("a"), Upper: []byte("b")}
	broken := errors.New("cut stream")
	if err := e.Replace(span, func() (k, v []byte, err error) { return nil, nil, broken }); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	outside := func() (k, v []byte, err error) { return []byte("x"), nil, nil }
	if err := e.Replace(span, outside); err == nil {
		t.Fatal("a row outside of the span was taken")
	}
	if got := content(t, e); got != "a=1 c=1" {
		t.Fatalf("after failures: %s", got)
	}
	if err := e.Replace(span, func() (k, v []byte, err error) { return nil, nil, io.EOF }); err != nil {
		t.Fatal(err)
	}
	if got := content(t, e); got != "c=1" {
		t.Fatalf("after replacing by nothing: %s", got)
	}
}

func TestAFailedWriteInTheBackgroundIsFatalWithOneLine(t *testing.T) {
	var broken atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && strings.HasSuffix(op.Path, ".sst") && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return errors.New("the medium is gone")
		}
		return nil
	}))
	lines := make(chan string, 1)
	e, err := Open("db", Options{FS: fs, Fatal: func(line string) {
		select {
		case lines <- line:
		default:
		}
		select {} // like the exit of a process: it does not come back
	}})
	if err != nil {
		t.Fatal(err)
	}
	set(t, e, "a", "1")
	broken.Store(true)
	go e.Flush() // never returns; the engine is not closed, as after an exit
	line := <-lines
	if !strings.Contains(line, "the medium is gone") || strings.Contains(line, "\n") {
		t.Fatalf("%q", line)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{MemTableBytes: 1}, "memtable"},
		{Options{MemTableBytes: 17 << 20}, "memtable"},
		{Options{CacheBytes: 1}, "cache"},
	} {
		c.o.FS = vfs.NewMem()
		if _, err := Open("db", c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
	fs := vfs.NewMem()
	e := openFor(t, fs)
	if _, err := Open(metamorphicDir, Options{FS: fs}); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("a second opening: %v", err)
	}
	closeEngine(t, e)
}
