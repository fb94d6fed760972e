package arch

import (
	"slices"
	"strings"
)

// What a machine may not contain. A machine is replayed from a seed, cloned and
// compared: anything that gives another answer the second time, or happens
// behind its back, ends that.

// forbiddenImport is a package no machine imports, with everything beneath.
type forbiddenImport struct {
	path   string
	except []string
	reason string
}

var forbiddenImports = []forbiddenImport{
	{"sync", nil, "a machine runs on one thread; what needs a lock is a door"},
	{"os", nil, "files and the environment are behind doors"},
	{"net", []string{"net/url", "net/netip"}, "the network is behind doors; it leaves as Send effects"},
	{"runtime", nil, "the scheduler and the collector must not be visible to decisions"},
	{"syscall", nil, "the operating system is behind doors"},
	{"unsafe", nil, "a machine is a plain value"},
	{"reflect", nil, "decisions are typed, and reflect walks maps in random order"},
	{"plugin", nil, "a machine is the same code everywhere"},
	{"log", nil, "machines emit trace events; doors turn them into logs"},
	{"crypto/rand", nil, "randomness is a seed in the state"},
	{"hash/maphash", nil, "its seed differs in every process"},
	{"testing", nil, "test code stays in tests"},
	{"flag", nil, "configuration is read in cmd and passed as options"},
}

// forbiddenName is a name of an otherwise harmless package.
type forbiddenName struct {
	pkg    string
	names  []string // the forbidden ones; nil: every function not in except
	except []string
	reason string
}

var forbiddenNames = []forbiddenName{
	{"time", []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}, nil,
		"time is an argument; a deadline is an answer"},
	{"context", []string{"WithDeadline", "WithDeadlineCause", "WithTimeout", "WithTimeoutCause"}, nil,
		"a context's deadline is a clock"},
	{"math/rand", nil, []string{"New", "NewSource", "NewZipf"}, "the global source differs in every process; randomness is a seed in the state"},
	{"math/rand/v2", nil, []string{"New", "NewPCG", "NewChaCha8", "NewZipf"}, "the global source differs in every process; randomness is a seed in the state"},
	{"fmt", []string{"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"}, nil, "it touches the terminal; machines emit trace events"},
	{"iter", []string{"Pull", "Pull2"}, nil, "a coroutine is a goroutine in disguise; only the simulator's doors use it"},
}

// mapWalks yield a map's elements in random order: allowed only as the direct
// argument of a sort.
var mapWalks = []string{"Keys", "Values", "All"}

// importReason returns why a machine may not import path; empty: it may.
func importReason(path string) string {
	for _, f := range forbiddenImports {
		if (path == f.path || strings.HasPrefix(path, f.path+"/")) && !slices.Contains(f.except, path) {
			return f.reason
		}
	}
	return ""
}

// nameReason returns why a machine may not use pkg.name; empty: it may.
// function says whether the name is a function: only those have a global source
// behind them.
func nameReason(pkg, name string, function bool) string {
	for _, f := range forbiddenNames {
		switch {
		case f.pkg != pkg:
		case f.names != nil && slices.Contains(f.names, name),
			f.names == nil && function && !slices.Contains(f.except, name):
			return f.reason
		}
	}
	return ""
}
