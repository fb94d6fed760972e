package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// devCluster is a running `quorate dev`.
type devCluster struct {
	*process
	dir       string
	port      int
	endpoints []string // host:port of every member's client port
}

// line is one member in cluster.json.
type line struct {
	Name      string `json:"name"`
	PID       *int   `json:"pid"`
	ClientURL string `json:"clientURL"`
	PeerURL   string `json:"peerURL"`
}

// startDev starts a cluster in a directory of the test's own and returns when it
// serves. more are flags of dev.
func startDev(t testing.TB, members int, more ...string) *devCluster {
	t.Helper()
	return launchDev(t, members, t.TempDir(), more...)
}

// launchDev is startDev over a directory; "" lets dev make a fresh one.
func launchDev(t testing.TB, members int, dir string, more ...string) *devCluster {
	t.Helper()
	c := &devCluster{dir: dir}
	var offsets []int
	for i := range members {
		offsets = append(offsets, 100*i, 100*i+1)
	}
	c.port = freePorts(t, offsets...)
	for i := range members {
		c.endpoints = append(c.endpoints, fmt.Sprintf("127.0.0.1:%d", c.port+100*i))
	}
	args := []string{"dev", "--members", strconv.Itoa(members), "--client-port", strconv.Itoa(c.port)}
	if dir != "" {
		args = append(args, "--dir", dir)
	}
	c.process = start(t, append(args, more...)...)
	c.out.await(t, "Ctrl-C ends all members.")
	if dir == "" {
		c.dir = regexp.MustCompile(`data in (\S+)`).FindStringSubmatch(c.out.text())[1]
	}
	return c
}

// members reads cluster.json, which is whole at any instant.
func (c *devCluster) members(t testing.TB) []line {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, "cluster.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []line
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatalf("cluster.json: %v in %q", err, text)
	}
	return list
}

// pids are the members' process ids; 0 for one that is down.
func (c *devCluster) pids(t testing.TB) []int {
	t.Helper()
	var out []int
	for _, m := range c.members(t) {
		pid := 0
		if m.PID != nil {
			pid = *m.PID
		}
		out = append(out, pid)
	}
	return out
}

// ctl runs an etcdctl command against the whole cluster.
func (c *devCluster) ctl(t testing.TB, args ...string) answer {
	t.Helper()
	return run(t, "", append([]string{"ctl", "--endpoints", strings.Join(c.endpoints, ",")}, args...)...)
}

// member is one `quorate serve` that a test starts and stops by itself.
type member struct {
	*process
	name, dir    string
	client, peer string // URLs
	flags        []string
}

// planMembers lays out members that know one another; nothing is started.
func planMembers(t testing.TB, n int, more ...string) []*member {
	t.Helper()
	dir := t.TempDir()
	var list []*member
	var initial []string
	for i := range n {
		m := planMember(t, dir, fmt.Sprintf("m%d", i+1))
		list = append(list, m)
		initial = append(initial, m.name+"="+m.peer)
	}
	for _, m := range list {
		m.flags = append([]string{"--initial-cluster", strings.Join(initial, ",")}, more...)
	}
	return list
}

func planMember(t testing.TB, dir, name string) *member {
	t.Helper()
	port := freePorts(t, 0, 1)
	return &member{
		name: name, dir: filepath.Join(dir, name),
		client: fmt.Sprintf("http://127.0.0.1:%d", port), peer: fmt.Sprintf("http://127.0.0.1:%d", port+1),
	}
}

func (m *member) args() []string {
	return append([]string{
		"serve", "--name", m.name, "--data-dir", m.dir,
		"--listen-client-urls", m.client, "--listen-peer-urls", m.peer,
	}, m.flags...)
}

// start starts the member, again or for the first time.
func (m *member) start(t testing.TB) {
	t.Helper()
	m.process = start(t, m.args()...)
}

// startMembers starts a cluster of members and returns when all serve.
func startMembers(t testing.TB, n int, more ...string) []*member {
	t.Helper()
	list := planMembers(t, n, more...)
	for _, m := range list {
		m.start(t)
	}
	for _, m := range list {
		m.out.await(t, "ready to serve client requests")
	}
	return list
}

func endpointsOf(list []*member) []string {
	var out []string
	for _, m := range list {
		out = append(out, m.client)
	}
	return out
}

// dial returns etcd's Go client.
func dial(t testing.TB, endpoints ...string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: patience, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// status asks one endpoint.
func status(t testing.TB, endpoint string) (*clientv3.StatusResponse, error) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: patience, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return c.Status(ctx, endpoint)
}

// leaderOf waits until somebody leads and returns its place among the endpoints,
// with the status it gave.
func leaderOf(t testing.TB, endpoints []string) (leader int, s *clientv3.StatusResponse) {
	t.Helper()
	until(t, "a leader", func() error {
		for i, e := range endpoints {
			if got, err := status(t, e); err == nil && got.Leader == got.Header.MemberId {
				leader, s = i, got
				return nil
			}
		}
		return errors.New("no member says that it leads")
	})
	return leader, s
}

// withEverything makes a Get read every key.
var withEverything = []clientv3.OpOption{clientv3.WithFromKey()}

// request is a plain HTTP request.
func request(t testing.TB, method, url, body string) (code int, text string, header http.Header) {
	t.Helper()
	client := http.Client{Timeout: patience}
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

// metric reads one number from /metrics.
func metric(t testing.TB, clientURL, name string) float64 {
	t.Helper()
	_, text, _ := request(t, http.MethodGet, clientURL+"/metrics", "")
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("%s/metrics has no %s", clientURL, name)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
