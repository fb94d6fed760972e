package arch

import "strings"

// layer is a floor of the tower. Imports go down.
type layer int

const (
	values  layer = iota // L0: the standard library only
	raftL                // L1: the machine
	doors                // L2: one per resource; none knows another
	groups               // L3: many groups in one process
	store                // L4: the replicated store
	service              // L5: what clients and operators see
	beside               // simulator, checkers, lab, tools
)

// place is one row of the table.
type place struct {
	path    string // below the module; "." is the root; "x/..." is everything beneath x
	layer   layer
	machine bool     // decides and touches nothing: words.go applies
	runs    replayed // no machine, but the simulator runs it as it is: words.go applies with exceptions
	uses    []string // first-party imports beyond everyone's and the values below; "x/..." includes x
	sealed  bool     // not even the value packages below
	promise string   // what the place is for: printed with a broken arrow
}

// replayed says why a package that is no machine must still behave the same when
// a seed is replayed.
type replayed int

const (
	notReplayed replayed = iota
	asWorld              // the simulator itself: it may use coroutines, and print figures as fractions
	asDoor               // a door that runs in it: it may lock, since production reads it from several goroutines, and walk maps for sums
	asBoth               // real and simulated side by side: only the browser build is checked
)

// everyone may import these, from any layer.
var everyone = []string{"internal/id", "internal/assert", "internal/faults", "trace"}

// valuePackages may be imported from any layer of the tower above them.
var valuePackages = []string{"membership", "rsm", "raft", "wire"}

// table places every package. Rows of packages that do not exist yet are the
// plan; a package that is in no row is an error.
var table = []place{
	{path: "internal/id", layer: values, machine: true, promise: "the small types"},
	{path: "internal/assert", layer: values, machine: true, promise: "invariants, on in production too"},
	{path: "internal/faults", layer: values, machine: true, promise: "break-it switches"},
	{path: "trace", layer: values, machine: true, promise: "what every part reports"},
	{path: "quorum", layer: values, machine: true, promise: "majorities"},
	{path: "membership", layer: values, machine: true, uses: []string{"quorum"}, promise: "configurations and the legal steps between them"},

	{path: "raft", layer: raftL, machine: true, uses: []string{"quorum", "membership"}, promise: "one group; it knows neither bytes nor disks nor the application"},
	{path: "rsm", layer: raftL, machine: true, uses: []string{"membership"}, promise: "what an application implements; it knows nothing of raft"},
	{path: "wire", layer: raftL, machine: true, uses: []string{"raft", "membership"}, promise: "bytes of messages, entries and hard state"},

	{path: "vfs", layer: doors, runs: asBoth, sealed: true, promise: "files; it knows nothing of what is in them"},
	{path: "wal", layer: doors, runs: asDoor, uses: []string{"vfs"}, promise: "the log of all groups on one disk"},
	{path: "snapshot", layer: doors, runs: asDoor, uses: []string{"vfs"}, promise: "snapshot files and streams"},
	{path: "transport", layer: doors, promise: "frames between peers"},

	{path: "host", layer: groups, machine: true, promise: "many groups, as a machine; it knows no door"},
	{path: "host/exec", layer: groups, runs: asDoor, uses: []string{"host", "wal", "snapshot", "vfs"}, promise: "executes an effect, synchronously"},
	{path: "host/run", layer: groups, uses: []string{"host", "host/exec", "transport", "wal", "snapshot", "vfs"}, promise: "goroutines and real doors; it adds no decision"},
	{path: ".", layer: groups, uses: []string{"host", "host/exec", "host/run", "transport", "wal", "snapshot", "vfs"}, promise: "the library's public face; it opens the doors and hands them to the driver"},

	{path: "kv/engine", layer: store, machine: true, sealed: true, promise: "the interface of storage"},
	{path: "kv/engine/mem", layer: store, machine: true, uses: []string{"kv/engine"}, promise: "the memory engine"},
	{path: "kv/engine/pebble", layer: store, uses: []string{"kv/engine"}, promise: "the Pebble engine"},
	{path: "kv/mvcc", layer: store, machine: true, uses: []string{"kv/engine"}, promise: "revisions"},
	{path: "kv/lease", layer: store, machine: true, uses: []string{"kv/engine", "kv/mvcc"}, promise: "leases"},
	{path: "kv/auth", layer: store, machine: true, uses: []string{"kv/engine", "kv/mvcc"}, promise: "users and roles"},
	{path: "kv/watch", layer: store, machine: true, uses: []string{"kv/engine", "kv/mvcc"}, promise: "fan-out of committed events"},
	{path: "kv", layer: store, machine: true, uses: []string{"kv/engine", "kv/engine/mem", "kv/mvcc", "kv/lease", "kv/auth", "kv/watch"}, promise: "the replicated state machine; it is given its engine"},

	// host: for host.Outcome, until the public face has an outcome of its own.
	{path: "server", layer: service, uses: []string{".", "kv/...", "host"}, promise: "use cases; it uses the library as any program would"},
	{path: "server/servertest", layer: service, uses: []string{"server", "kv/..."}, promise: "a group of one in memory, for tests of the service"},
	{path: "api/etcd", layer: service, uses: []string{"server", "kv/..."}, promise: "etcd's gRPC surface"},
	{path: "api/http", layer: service, uses: []string{"server", "kv/..."}, promise: "the plain door, health, metrics"},
	{path: "api/web", layer: service, uses: []string{"server"}, promise: "pages; what they show is handed in"},
	{path: "cmd/quorate/...", layer: service, uses: []string{"./..."}, promise: "the binary; the only place that wires"},

	{path: "sim", layer: beside, runs: asWorld, uses: []string{"vfs"}, promise: "the world; it knows no Raft"},
	{path: "check", layer: beside, runs: asWorld, promise: "judges histories; it knows none of the code that made them"},
	{path: "sim/cluster", layer: beside, runs: asWorld, uses: []string{
		"sim", "check", "quorum", "membership", "raft", "rsm", "wire", "vfs", "wal", "snapshot", "host", "host/exec",
		"kv", "kv/engine", "kv/engine/mem", "kv/mvcc", "kv/lease", "kv/auth", "kv/watch",
	}, promise: "production's machines in the simulated world"},
	{path: "sim/enumerate", layer: beside, machine: true, uses: []string{"membership", "raft", "rsm", "wire"}, promise: "visits every state of three members around one command"},
	{path: "lab", layer: beside, machine: true, uses: []string{"sim", "vfs"}, promise: "the frame in which every protocol runs; it knows none of them"},
	{path: "lab/raft", layer: beside, machine: true, uses: []string{"lab", "sim", "host", "raft", "rsm", "wire", "membership"}, promise: "production's Raft as one of the family"},
	{path: "lab/kafka", layer: beside, machine: true, uses: []string{"lab", "sim", "lab/raft", "rsm"}, promise: "in-sync replicas, and a coordination service on our Raft"},
	{path: "lab/recipes", layer: beside, machine: true, promise: "texts; it knows nobody who runs them"},
	{path: "lab/family", layer: beside, machine: true, uses: []string{"lab/...", "sim"}, promise: "the list of all protocols"},
	{path: "lab/matrix", layer: beside, machine: true, uses: []string{"lab", "lab/recipes", "sim"}, promise: "every protocol under every script"},
	{path: "lab/story", layer: beside, machine: true, uses: []string{"lab", "lab/recipes", "sim"}, promise: "a run as a person reads it"},
	{path: "lab/mongo/...", layer: beside, machine: true, uses: []string{"lab", "lab/mongo", "sim"}, promise: "two elections over one kind of replication"},
	{path: "lab/...", layer: beside, machine: true, uses: []string{"lab", "sim"}, promise: "one machine per protocol"},
	{path: "cmd/labwasm", layer: beside, uses: []string{"lab/...", "sim", "sim/cluster", "check"}, promise: "the lab in a browser"},
	{path: "examples/...", layer: beside, uses: []string{".", "rsm", "membership"}, promise: "programs of others: the public face and nothing inside"},
	{path: "e2e", layer: service, promise: "the binary as its users meet it: real processes, tests only"},
	{path: "internal/planted", layer: beside, uses: []string{"sim", "sim/cluster"}, promise: "the oracles, tried on broken rules"},
	{path: "internal/labhash", layer: beside, uses: []string{"lab", "lab/family", "lab/recipes"}, promise: "the lab's hashes, here and in a browser"},
	{path: "internal/arch", layer: beside, promise: "this test"},
	{path: "internal/mission", layer: beside, promise: "which behaviour is shown by which test"},
}

// dependency is one foreign module (or a part of it) and who may import it
// outside of tests. Nothing else foreign may be imported; below L4 nothing
// foreign at all, tests included.
type dependency struct {
	path   string
	in     []string
	reason string
}

var dependencies = []dependency{
	{"github.com/cockroachdb/pebble/v2", []string{"kv/engine/pebble"}, "the storage engine hides behind kv/engine, so that it can be swapped and simulated"},
	{"google.golang.org/grpc", []string{"api/etcd", "api/http", "cmd/quorate/..."}, "gRPC is how etcd clients speak, and only the edge speaks it"},
	{"google.golang.org/protobuf", []string{"api/etcd", "api/http"}, "plain structs inside, protobuf at the etcd edge only (DESIGN 20)"},
	{"go.etcd.io/etcd/api/v3", []string{"api/etcd", "api/http", "cmd/quorate/..."}, "etcd's messages end at the edge"},
	{"go.etcd.io/etcd/client/pkg/v3", []string{"cmd/quorate/..."}, "flags and addresses as etcd reads them"},
	{"go.etcd.io/etcd/client/v3", []string{"cmd/quorate/..."}, "a server needs no client; tools that drive one do"},
	{"go.etcd.io/etcd/etcdctl/v3", []string{"cmd/quorate/..."}, "quorate ctl is etcdctl's own package"},
	{"github.com/spf13/cobra", []string{"cmd/quorate/..."}, "command lines are read in cmd only"},
	{"github.com/spf13/pflag", []string{"cmd/quorate/..."}, "command lines are read in cmd only"},
	{"github.com/prometheus", []string{"api/http", "cmd/quorate/..."}, "machines and doors count; the edge exports"},
	{"github.com/anishathalye/porcupine", []string{"check"}, "the linearizability checker; one place asks it"},
}

// closures names packages whose whole dependency closure must stay free of
// foreign code, but for what is named: they run in a browser and in one thread.
var closures = []struct {
	path    string
	foreign []string
	reason  string
}{
	{"sim/cluster", []string{"github.com/anishathalye/porcupine"}, "a seed replays only without foreign goroutines, and neither Pebble nor gRPC runs in a browser"},
	{"lab", []string{"github.com/anishathalye/porcupine"}, "the lab runs in a browser: neither Pebble nor gRPC may hide in what it needs"},
	{"cmd/labwasm", []string{"github.com/anishathalye/porcupine"}, "the lab runs in a browser: neither Pebble nor gRPC may hide in what it needs"},
}

// covers tells whether pattern names path: itself, or with "/..." it and
// everything beneath. "./..." names everything.
func covers(pattern, path string) bool {
	if pattern == "./..." {
		return true
	}
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == base || strings.HasPrefix(path, base+"/")
	}
	return path == pattern
}

func coveredBy(patterns []string, path string) bool {
	for _, p := range patterns {
		if covers(p, path) {
			return true
		}
	}
	return false
}

// placeOf returns the row of a package; an exact row goes before a "/..." row.
func placeOf(path string) (place, bool) {
	for _, p := range table {
		if p.path == path {
			return p, true
		}
	}
	for _, p := range table {
		if covers(p.path, path) {
			return p, true
		}
	}
	return place{}, false
}
