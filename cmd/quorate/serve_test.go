package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func parse(t *testing.T, env map[string]string, args ...string) (*serveConfig, error) {
	t.Helper()
	return parseServe(args, func(k string) string { return env[k] })
}

func TestServeFlagsTakeOneDashOrTwoAndTheLastWins(t *testing.T) {
	c, err := parse(t, nil, "-name", "a", "--name=m1", "-data-dir=/d",
		"--listen-client-urls", "http://127.0.0.1:1", "-listen-peer-urls=http://127.0.0.1:2",
		"--initial-cluster", "m1=http://127.0.0.1:2,m2=http://127.0.0.1:3", "-strict-reconfig-check=false")
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "m1" || c.DataDir != "/d" || c.StrictReconfig || c.AdvertiseClient.String() != "http://127.0.0.1:1" {
		t.Fatalf("got %+v", c)
	}
}

func TestServeDefaultsAreEtcdsExceptTheTimings(t *testing.T) {
	c, err := parse(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "default" || c.DataDir != "default.etcd" || c.InitialCluster != "default=http://localhost:2380" ||
		c.ListenClient.String() != "http://localhost:2379" || c.InitialToken != "etcd-cluster" ||
		c.MaxRequestBytes != 1572864 || c.MaxTxnOps != 128 || !c.StrictReconfig {
		t.Fatalf("got %+v", c)
	}
	if c.HeartbeatMillis != 30 || c.ElectionMillis != 150 {
		t.Fatalf("timings %d and %d, want 30 and 150", c.HeartbeatMillis, c.ElectionMillis)
	}
}

// M9, M10: election timeout 150–300 ms, heartbeat well below; one flag derives the other.
func TestServeTimingsKeepBroadcastFarBelowElectionM10(t *testing.T) {
	for _, tc := range []struct {
		args                []string
		heartbeat, election uint
		err                 string
	}{
		{[]string{"--heartbeat-interval", "100"}, 100, 500, ""},
		{[]string{"--election-timeout", "1000"}, 30, 1000, ""},
		{[]string{"--election-timeout", "50"}, 10, 50, ""},
		{[]string{"--heartbeat-interval", "100", "--election-timeout", "1000"}, 100, 1000, ""},
		{[]string{"--heartbeat-interval", "100", "--election-timeout", "499"}, 0, 0, "at least 5 ×"},
	} {
		c, err := parse(t, nil, tc.args...)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%v: error %v, want %q", tc.args, err, tc.err)
			}
			continue
		}
		if err != nil || c.HeartbeatMillis != tc.heartbeat || c.ElectionMillis != tc.election {
			t.Errorf("%v: %d/%d (%v), want %d/%d", tc.args, c.HeartbeatMillis, c.ElectionMillis, err, tc.heartbeat, tc.election)
		}
	}
}

func TestServeFlagsWinOverEnvironmentAndTheFileReplacesBoth(t *testing.T) {
	env := map[string]string{"ETCD_NAME": "from-env", "ETCD_DATA_DIR": "/env"}
	c, err := parse(t, env, "--name", "from-flag")
	if err != nil || c.Name != "from-flag" || c.DataDir != "/env" {
		t.Fatalf("%+v, %v", c, err)
	}
	file := filepath.Join(t.TempDir(), "etcd.yml")
	text := `# This is the configuration file
name: 'from-file'
listen-client-urls: http://127.0.0.1:7,http://127.0.0.1:8   # two
advertise-client-urls: [http://127.0.0.1:7, "http://127.0.0.1:8"]
listen-peer-urls: "http://127.0.0.1:9"
initial-cluster:
heartbeat-interval: 40
pre-vote: true
log-outputs:
  - stdout
  - stderr
peer-transport-security:
  # none
  cert-file:
  client-cert-auth: false
strict-reconfig-check: false
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err = parse(t, env, "--name", "from-flag", "--config-file", file)
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "from-file" || c.DataDir != "from-file.etcd" || len(c.ListenClient) != 2 || len(c.AdvertiseClient) != 2 ||
		c.HeartbeatMillis != 40 || c.StrictReconfig || c.LogOutputs != "stdout,stderr" {
		t.Fatalf("got %+v", c)
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "pre-vote") {
		t.Fatalf("warnings %q", c.Warnings)
	}
	if err := os.WriteFile(file, []byte(`{"name":"j","initial-cluster-state":"new","max-txn-ops":7,"peer-transport-security":{"client-cert-auth":false}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err = parse(t, nil, "--config-file", file); err != nil || c.Name != "j" || c.MaxTxnOps != 7 {
		t.Fatalf("JSON: %+v, %v", c, err)
	}
}

func TestServeAcceptsWhatHasNoMeaningWithAReason(t *testing.T) {
	c, err := parse(t, map[string]string{"ETCD_LOGGER": "zap"}, "--snapshot-count", "5", "--pre-vote", "--experimental-corrupt-check-time=1m", "-unsafe-no-fsync")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) != 5 {
		t.Fatalf("warnings %q, want 5", c.Warnings)
	}
}

func TestServeBadInputIsOneClearLine(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yml")
	if err := os.WriteFile(bad, []byte("name: a\nnonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"--no-such"}, "unknown flag --no-such; run 'quorate serve --help'"},
		{[]string{"start"}, `flags only, not "start"`},
		{[]string{"--listen-client-urls", "127.0.0.1:2379"}, "write http://HOST:PORT"},
		{[]string{"--listen-client-urls", "http://127.0.0.1"}, "needs a host and a port"},
		{[]string{"--listen-client-urls", "http://127.0.0.1:99999"}, "no valid port"},
		{[]string{"--listen-client-urls", "http://0.0.0.0:1"}, "--advertise-client-urls is needed"},
		{[]string{"--listen-client-urls", "https://127.0.0.1:1"}, "TLS for clients is not built yet"},
		{[]string{"--cert-file", "x"}, "TLS for clients is not built yet"},
		{[]string{"--initial-cluster", "m1=http://127.0.0.1:1"}, "does not contain this member"},
		{[]string{"--initial-cluster", "default"}, "is not NAME=PEER-URL"},
		{[]string{"--initial-cluster", "default=http://a:1,b=http://a:1"}, "the same peer URL"},
		{[]string{"--initial-cluster-state", "old"}, "it is new or existing"},
		{[]string{"--initial-cluster-state", "existing"}, "member add"},
		{[]string{"--heartbeat-interval", "x"}, "invalid value"},
		{[]string{"--peer-cert-file", "c"}, "needs all of"},
		{[]string{"--listen-peer-urls", "https://127.0.0.1:1"}, "needs --peer-cert-file"},
		{[]string{"--log-level", "loud"}, "debug, info, warn or error"},
		{[]string{"--config-file", filepath.Join(dir, "none")}, "no such file"},
		{[]string{"--config-file", bad}, `line 2: unknown key "nonsense"`},
	} {
		c, err := parse(t, nil, tc.args...)
		if err == nil {
			err = c.Unplaced // a member that has data would start
		}
		usage := usageError{}
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v, want a usage error with %q", tc.args, err, tc.want)
		}
	}
}

// The ids that every etcd started with no flags has had for years.
func TestFirstMemberIDsEqualEtcds(t *testing.T) {
	var u urls
	if err := u.Set("http://localhost:2380"); err != nil {
		t.Fatal(err)
	}
	m := memberID(u, "etcd-cluster")
	if m != 0x8e9e05c52164694d {
		t.Errorf("member id %x, want 8e9e05c52164694d", m)
	}
	if c := clusterID([]uint64{m}); c != 0xcdf818194e3a8c32 {
		t.Errorf("cluster id %x, want cdf818194e3a8c32", c)
	}
}
