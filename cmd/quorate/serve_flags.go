package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// serveConfig is what serve was asked for, after flags, environment and file
// were merged and before anything was opened. Names, defaults and units are
// etcd's, except the two timings (DESIGN 16).
type serveConfig struct {
	Name    string
	DataDir string

	ListenClient    urls
	AdvertiseClient urls
	ListenPeer      urls
	AdvertisePeer   urls
	ListenMetrics   urls

	InitialCluster string
	InitialState   string
	InitialToken   string

	HeartbeatMillis uint
	ElectionMillis  uint

	QuotaBytes      int64
	MaxRequestBytes uint
	MaxTxnOps       uint
	MaxLearners     int
	MaxStreams      uint
	StrictReconfig  bool

	KeepaliveMinTime  time.Duration
	KeepaliveInterval time.Duration
	KeepaliveTimeout  time.Duration
	ProgressInterval  time.Duration

	PeerCert, PeerKey, PeerCA string
	PeerClientCert            bool

	Profiles   bool
	LogLevel   string
	LogOutputs string

	RetainBytes  int // not etcd's
	ConfigFile   string
	ParentFD     int
	PrintVersion bool

	// Warnings are lines about flags that were accepted and mean nothing here.
	Warnings []string
	// Unplaced says why the --initial flags do not place this member; it matters
	// only where there is no data yet.
	Unplaced error
	given    map[string]bool // flags set by anyone
}

// ignored are etcd's flags that have no meaning here, each with the reason a
// person who sets it is told.
var ignored = []struct {
	name, why string
	isBool    bool
}{
	{"auto-compaction-mode", "nothing compacts by itself yet; compact from a client", false},
	{"auto-compaction-retention", "nothing compacts by itself yet; compact from a client", false},
	{"auth-token", "there is no authentication yet", false},
	{"auth-token-ttl", "there is no authentication yet", false},
	{"bcrypt-cost", "there is no authentication yet", false},
	{"backend-batch-interval", "the engine batches by what is queued, not by time", false},
	{"backend-batch-limit", "the engine batches by what is queued, not by a count", false},
	{"backend-bbolt-freelist-type", "the engine is not bbolt", false},
	{"bootstrap-defrag-threshold-megabytes", "there is nothing to defragment", false},
	{"cipher-suites", "Go's own list is used", false},
	{"compact-hash-check-time", "hashes are compared by etcdctl endpoint hashkv", false},
	{"compaction-batch-limit", "compaction paces itself", false},
	{"compaction-sleep-interval", "compaction paces itself", false},
	{"corrupt-check-time", "every record carries a checksum that is verified on each read", false},
	{"cors", "the JSON gateway is not built yet", false},
	{"downgrade-check-time", "there is no earlier version to go down to", false},
	{"enable-distributed-tracing", "traces do not leave the process yet", true},
	{"enable-grpc-gateway", "the JSON gateway is not built yet; the plain door /v1/kv/ is", true},
	{"enable-log-rotation", "let the service manager rotate the log", true},
	{"enable-v2", "the v2 API is gone in etcd too", true},
	{"feature-gates", "there are no gates: what is there is on", false},
	{"host-whitelist", "the JSON gateway is not built yet", false},
	{"initial-corrupt-check", "every record carries a checksum that is verified on each read", true},
	{"initial-election-tick-advance", "timers are deadlines, there are no ticks", true},
	{"log-format", "the log is JSON", false},
	{"log-rotation-config-json", "let the service manager rotate the log", false},
	{"logger", "there is one logger", false},
	{"max-snapshots", "snapshots are kept as long as someone needs them", false},
	{"max-wals", "log segments are kept as long as someone needs them", false},
	{"memory-mlock", "the engine does not map its files", true},
	{"metrics", "every metric is exported at one level", false},
	{"pre-vote", "the pre-vote is always on", true},
	{"raft-read-timeout", "peers are judged by heartbeats", false},
	{"raft-write-timeout", "peers are judged by heartbeats", false},
	{"self-signed-cert-validity", "no certificates are generated", false},
	{"snapshot-catchup-entries", "retention is in bytes and follows the slowest live follower", false},
	{"snapshot-count", "the log is cut by bytes and by what the engine has flushed", false},
	{"socket-reuse-address", "Go sets it", true},
	{"stop-grpc-service-on-defrag", "defragmentation changes nothing here", true},
	{"tls-max-version", "Go's newest is used", false},
	{"tls-min-version", "TLS 1.2 is the lowest", false},
	{"unsafe-no-fsync", "writes are always synced", true},
	{"v2-deprecation", "the v2 API is gone in etcd too", false},
	{"warning-apply-duration", "slow requests are seen in the metrics", false},
	{"warning-unary-request-duration", "slow requests are seen in the metrics", false},
}

// refused are etcd's flags that somebody relies on: starting without what they
// ask for would do harm.
var refused = []struct {
	name, why string
	isBool    bool
}{
	{"auto-tls", "TLS for clients is not built yet", true},
	{"cert-file", "TLS for clients is not built yet", false},
	{"client-cert-allowed-hostname", "TLS for clients is not built yet", false},
	{"client-cert-auth", "TLS for clients is not built yet", true},
	{"client-cert-file", "TLS for clients is not built yet", false},
	{"client-crl-file", "TLS for clients is not built yet", false},
	{"client-key-file", "TLS for clients is not built yet", false},
	{"discovery", "name the members with --initial-cluster", false},
	{"discovery-endpoints", "name the members with --initial-cluster", false},
	{"discovery-srv", "name the members with --initial-cluster", false},
	{"discovery-srv-name", "name the members with --initial-cluster", false},
	{"discovery-token", "name the members with --initial-cluster", false},
	{"force-new-cluster", "a majority is never given up here", true},
	{"key-file", "TLS for clients is not built yet", false},
	{"listen-client-http-urls", "HTTP and gRPC share --listen-client-urls; for metrics use --listen-metrics-urls", false},
	{"peer-auto-tls", "give --peer-cert-file, --peer-key-file and --peer-trusted-ca-file", true},
	{"peer-cert-allowed-cn", "peers are checked by --peer-trusted-ca-file only", false},
	{"peer-cert-allowed-hostname", "peers are checked by --peer-trusted-ca-file only", false},
	{"peer-client-cert-file", "peers use --peer-cert-file for both ends", false},
	{"peer-client-key-file", "peers use --peer-key-file for both ends", false},
	{"peer-crl-file", "revocation lists are not read; issue short-lived certificates", false},
	{"peer-skip-client-san-verification", "peers are always verified", true},
	{"socket-reuse-port", "two members on one port cannot be told apart", true},
	{"trusted-ca-file", "TLS for clients is not built yet", false},
	{"wal-dir", "log and data share --data-dir", false},
}

const (
	defaultName      = "default"
	defaultPeerURL   = "http://localhost:2380"
	defaultClientURL = "http://localhost:2379"
)

// newServeFlags binds every flag to a fresh config that holds the defaults. The
// standard flag package is used because etcd's flags take one dash or two.
func newServeFlags() (*flag.FlagSet, *serveConfig) {
	c := &serveConfig{given: map[string]bool{}}
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	f.StringVar(&c.Name, "name", defaultName, "name of this member, for people")
	f.StringVar(&c.DataDir, "data-dir", "", "directory of this member's data (default NAME.etcd)")
	f.Var(&c.ListenClient, "listen-client-urls", "where clients connect: gRPC and HTTP on one port (default "+defaultClientURL+")")
	f.Var(&c.AdvertiseClient, "advertise-client-urls", "client URLs told to others (default: those it listens on)")
	f.Var(&c.ListenPeer, "listen-peer-urls", "where the other members connect (default "+defaultPeerURL+")")
	f.Var(&c.AdvertisePeer, "initial-advertise-peer-urls", "peer URLs told to others (default: those it listens on)")
	f.Var(&c.ListenMetrics, "listen-metrics-urls", "further URLs that serve only /metrics and /health")
	f.StringVar(&c.InitialCluster, "initial-cluster", "", "first members, NAME=PEER-URL,... (default: this member alone)")
	f.StringVar(&c.InitialState, "initial-cluster-state", "new", "new, or existing to join a cluster this member was added to")
	f.StringVar(&c.InitialToken, "initial-cluster-token", "etcd-cluster", "tells clusters with equal URLs apart; the same on every member")
	f.UintVar(&c.HeartbeatMillis, "heartbeat-interval", 0, "milliseconds between heartbeats (default 30)")
	f.UintVar(&c.ElectionMillis, "election-timeout", 0, "shortest silence in milliseconds before an election; the longest is twice that (default 150)")
	f.Int64Var(&c.QuotaBytes, "quota-backend-bytes", 0, "bytes the store may occupy; beyond, writes are refused until compaction has made room; 0: no limit")
	f.UintVar(&c.MaxRequestBytes, "max-request-bytes", 1536*1024, "largest request in bytes")
	f.UintVar(&c.MaxTxnOps, "max-txn-ops", 128, "operations in one transaction")
	f.IntVar(&c.MaxLearners, "max-learners", 1, "learners in the cluster at a time")
	f.UintVar(&c.MaxStreams, "max-concurrent-streams", 0, "gRPC streams per connection (default: no limit)")
	f.BoolVar(&c.StrictReconfig, "strict-reconfig-check", true, "refuse a membership change that would leave no majority")
	f.DurationVar(&c.KeepaliveMinTime, "grpc-keepalive-min-time", 5*time.Second, "clients that ping more often are disconnected")
	f.DurationVar(&c.KeepaliveInterval, "grpc-keepalive-interval", 2*time.Hour, "between pings to an idle client; 0: none")
	f.DurationVar(&c.KeepaliveTimeout, "grpc-keepalive-timeout", 20*time.Second, "wait for the answer to a ping; 0: none")
	f.DurationVar(&c.ProgressInterval, "watch-progress-notify-interval", 10*time.Minute, "between progress notices to idle watchers")
	f.StringVar(&c.PeerCert, "peer-cert-file", "", "certificate of this member, for peers (PEM)")
	f.StringVar(&c.PeerKey, "peer-key-file", "", "its key (PEM)")
	f.StringVar(&c.PeerCA, "peer-trusted-ca-file", "", "who signs the peers' certificates (PEM)")
	f.BoolVar(&c.PeerClientCert, "peer-client-cert-auth", false, "peers must show a certificate; always so with TLS")
	f.BoolVar(&c.Profiles, "enable-pprof", false, "serve profiles of this process at /debug/pprof/ of the client URLs")
	f.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&c.LogOutputs, "log-outputs", "default", "stderr, stdout or files, comma-separated")
	f.StringVar(&c.ConfigFile, "config-file", "", "file that replaces flags and environment (YAML or JSON)")
	f.IntVar(&c.RetainBytes, "retain-bytes", 64<<20, "bytes of log kept for members that are behind; beyond, they get a snapshot (not a flag of etcd)")
	f.IntVar(&c.ParentFD, "parent-fd", 0, "") // dev: end when this pipe closes
	f.BoolVar(&c.PrintVersion, "version", false, "print the version")
	for _, g := range ignored {
		f.Var(accepted{g.isBool}, g.name, "")
		f.Var(accepted{g.isBool}, "experimental-"+g.name, "")
	}
	for _, g := range refused {
		f.Var(accepted{g.isBool}, g.name, "")
	}
	return f, c
}

// accepted is a flag whose value does not matter.
type accepted struct{ isBool bool }

func (accepted) String() string     { return "" }
func (accepted) Set(string) error   { return nil }
func (a accepted) IsBoolFlag() bool { return a.isBool }

// parseServe merges defaults, environment and flags, or the configuration file
// alone, and judges the result. getenv is os.Getenv outside tests.
func parseServe(args []string, getenv func(string) string) (*serveConfig, error) {
	f, c := newServeFlags()
	if err := f.Parse(args); err != nil {
		return nil, flagError(err)
	}
	if f.NArg() > 0 {
		return nil, usagef("serve takes flags only, not %q; run 'quorate serve --help'", f.Arg(0))
	}
	f.Visit(func(g *flag.Flag) { c.given[g.Name] = true })
	if c.PrintVersion {
		return c, nil
	}
	file := c.ConfigFile
	if file == "" {
		file = getenv("ETCD_CONFIG_FILE")
	}
	if file != "" {
		parent := c.ParentFD
		f, c = newServeFlags()
		if err := applyFile(f, c, file); err != nil {
			return nil, err
		}
		c.ParentFD = parent
	} else if err := applyEnvironment(f, c, getenv); err != nil {
		return nil, err
	}
	for _, g := range refused {
		if c.given[g.name] {
			return nil, usagef("--%s: %s", g.name, g.why)
		}
	}
	for _, g := range ignored {
		if c.given[g.name] || c.given["experimental-"+g.name] {
			c.Warnings = append(c.Warnings, fmt.Sprintf("--%s has no effect: %s", g.name, g.why))
		}
	}
	return c, c.complete()
}

// flagError turns the flag package's error into our one line.
func flagError(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		return usagef("unknown flag --%s; run 'quorate serve --help' for the list", name)
	}
	return usagef("%s", text)
}

// applyEnvironment sets what no flag has set: ETCD_LISTEN_CLIENT_URLS and so on.
func applyEnvironment(f *flag.FlagSet, c *serveConfig, getenv func(string) string) error {
	var first error
	f.VisitAll(func(g *flag.Flag) {
		if c.given[g.Name] || first != nil || g.Name == "version" {
			return
		}
		key := "ETCD_" + strings.ToUpper(strings.ReplaceAll(g.Name, "-", "_"))
		value := getenv(key)
		if value == "" {
			return
		}
		if err := f.Set(g.Name, value); err != nil {
			first = usagef("environment variable %s=%q: %v", key, value, err)
			return
		}
		c.given[g.Name] = true
	})
	return first
}

// complete derives what was left out and judges the whole.
func (c *serveConfig) complete() error {
	for _, step := range []func() error{c.completeURLs, c.completeCluster, c.completeTimings, c.completeLimits, c.completeTLS} {
		if err := step(); err != nil {
			return err
		}
	}
	if c.DataDir == "" {
		c.DataDir = c.Name + ".etcd"
	}
	if _, err := logLevel(c.LogLevel); err != nil {
		return err
	}
	return nil
}

func (c *serveConfig) completeURLs() error {
	def := func(u *urls, v string) {
		if len(*u) == 0 {
			_ = u.Set(v)
		}
	}
	if len(c.ListenClient) > 0 && !c.given["advertise-client-urls"] && c.ListenClient.anyWildcard() {
		return usagef("--advertise-client-urls is needed with --listen-client-urls %s: clients cannot connect to a wildcard address", c.ListenClient)
	}
	def(&c.ListenClient, defaultClientURL)
	def(&c.ListenPeer, defaultPeerURL)
	if len(c.AdvertiseClient) == 0 {
		c.AdvertiseClient = c.ListenClient
	}
	if len(c.AdvertisePeer) == 0 {
		if c.ListenPeer.anyWildcard() {
			return usagef("--initial-advertise-peer-urls is needed with --listen-peer-urls %s: peers cannot connect to a wildcard address", c.ListenPeer)
		}
		c.AdvertisePeer = c.ListenPeer
	}
	if len(c.ListenPeer) != 1 {
		return usagef("--listen-peer-urls takes one URL, got %d", len(c.ListenPeer))
	}
	for _, u := range append(append(urls{}, c.ListenClient...), c.ListenMetrics...) {
		if u.Scheme == "https" || u.Scheme == "unixs" {
			return usagef("%s: TLS for clients is not built yet; use http", u)
		}
	}
	if s := c.ListenPeer[0].Scheme; s != "http" && s != "https" {
		return usagef("--listen-peer-urls %s: peers connect over http or https URLs", c.ListenPeer)
	}
	return nil
}

func (c *serveConfig) completeCluster() error {
	if c.InitialState != "new" && c.InitialState != "existing" {
		return usagef("--initial-cluster-state is %q; it is new or existing", c.InitialState)
	}
	if strings.ContainsAny(c.Name, ",=") || c.Name == "" {
		return usagef("--name %q must not be empty or contain ',' or '='", c.Name)
	}
	if c.InitialCluster == "" {
		if c.InitialState == "existing" {
			c.Unplaced = usagef("--initial-cluster-state existing needs --initial-cluster with the members there are; 'quorate ctl member add' prints it")
		}
		var parts []string
		for _, u := range c.AdvertisePeer {
			parts = append(parts, c.Name+"="+u.String())
		}
		c.InitialCluster = strings.Join(parts, ",")
	}
	members, err := parseInitialCluster(c.InitialCluster)
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.name == c.Name {
			if c.given["initial-advertise-peer-urls"] && !sameURLs(m.urls, c.AdvertisePeer) {
				c.Unplaced = usagef("--initial-cluster has %s=%s but --initial-advertise-peer-urls is %s; make them equal", c.Name, m.urls, c.AdvertisePeer)
				return nil
			}
			c.AdvertisePeer = m.urls
			return nil
		}
	}
	c.Unplaced = usagef("--initial-cluster does not contain this member: add %s=%s or correct --name", c.Name, c.AdvertisePeer)
	return nil
}

// completeTimings keeps etcd's rule election ≥ 5 × heartbeat; one of the two
// flags derives the other (DESIGN 16).
func (c *serveConfig) completeTimings() error {
	const heartbeat, election = 30, 150
	switch {
	case c.HeartbeatMillis == 0 && c.ElectionMillis == 0:
		c.HeartbeatMillis, c.ElectionMillis = heartbeat, election
	case c.HeartbeatMillis == 0:
		c.HeartbeatMillis = max(1, min(heartbeat, c.ElectionMillis/5))
	case c.ElectionMillis == 0:
		c.ElectionMillis = max(election, 5*c.HeartbeatMillis)
	}
	if c.ElectionMillis < 5*c.HeartbeatMillis {
		return usagef("--election-timeout %d must be at least 5 × --heartbeat-interval %d", c.ElectionMillis, c.HeartbeatMillis)
	}
	if c.ElectionMillis > 50_000 {
		return usagef("--election-timeout %d is too long: 50000 ms at most", c.ElectionMillis)
	}
	return nil
}

func (c *serveConfig) completeLimits() error {
	if c.MaxRequestBytes == 0 || c.MaxRequestBytes > 100<<20 {
		return usagef("--max-request-bytes %d must be between 1 and %d", c.MaxRequestBytes, 100<<20)
	}
	if c.MaxTxnOps == 0 {
		return usagef("--max-txn-ops must be at least 1")
	}
	if c.QuotaBytes < 0 {
		c.QuotaBytes = 0 // etcd: negative turns the quota off
	}
	if c.RetainBytes < 1<<16 {
		return usagef("--retain-bytes %d must be at least %d", c.RetainBytes, 1<<16)
	}
	if c.MaxLearners < 1 {
		return usagef("--max-learners must be at least 1")
	}
	return nil
}

func (c *serveConfig) completeTLS() error {
	given := 0
	for _, s := range []string{c.PeerCert, c.PeerKey, c.PeerCA} {
		if s != "" {
			given++
		}
	}
	if given != 0 && given != 3 {
		return usagef("TLS between peers needs all of --peer-cert-file, --peer-key-file and --peer-trusted-ca-file")
	}
	if secure := c.ListenPeer[0].Scheme == "https"; secure != (given == 3) {
		if secure {
			return usagef("--listen-peer-urls %s needs --peer-cert-file, --peer-key-file and --peer-trusted-ca-file", c.ListenPeer)
		}
		return usagef("--peer-cert-file is given but --listen-peer-urls %s is not https", c.ListenPeer)
	}
	return nil
}

// serveHelp lists what has a meaning here.
func serveHelp(w io.Writer) {
	fmt.Fprint(w, `serve runs one member of a cluster. It takes etcd's flags, with one dash or two,
the same settings as ETCD_... variables (flags win), or a --config-file that
replaces both. Called through a link named etcd the binary behaves as serve.

  quorate serve --name m1 --data-dir m1 \
    --listen-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 \
    --initial-cluster m1=http://127.0.0.1:2380

If the data directory holds a member, it resumes and the --initial flags are not
looked at. SIGTERM and Ctrl-C stop it cleanly: a leader hands over first.

Flags:
`)
	f, _ := newServeFlags()
	f.VisitAll(func(g *flag.Flag) {
		if g.Usage == "" {
			return
		}
		def := g.DefValue
		if def != "" && def != "0" && def != "false" && !strings.Contains(g.Usage, "(default") {
			def = " (default " + def + ")"
		} else {
			def = ""
		}
		fmt.Fprintf(w, "  --%-30s %s%s\n", g.Name, g.Usage, def)
	})
	fmt.Fprint(w, "\nEvery other flag of etcd 3.7 is accepted with a warning, or refused with the\nreason where starting without it would do harm.\n")
}

// environ is os.Getenv, named so that the one place that reads the environment
// is easy to find.
func environ(key string) string { return os.Getenv(key) }
