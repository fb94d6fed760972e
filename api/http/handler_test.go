package http

import (
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/quorate/quorate/server"
	"github.com/quorate/quorate/server/servertest"
)

func member(t *testing.T, o server.Options) (*httptest.Server, *servertest.Group, *Metrics) {
	t.Helper()
	s, g, err := servertest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	m := NewMetrics()
	m.Watch(s)
	web := httptest.NewServer(New(s, Options{RequestBytesMax: 1000, Metrics: m.Handler()}))
	t.Cleanup(func() {
		web.Close()
		s.Close()
	})
	return web, g, m
}

func call(t *testing.T, method, url, body string) (*nethttp.Response, string) {
	t.Helper()
	r, err := nethttp.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := nethttp.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, strings.TrimSpace(string(text))
}

// M84: a plain HTTP key-value API serves PUT and GET.
func TestThePlainDoorServesPutGetDeleteM84(t *testing.T) {
	web, _, _ := member(t, server.Options{})
	key := web.URL + "/v1/kv/"
	for _, step := range []struct {
		method, key, body string
		code              int
		text, revision    string
	}{
		{"GET", "a", "", 404, "no such key", "1"},
		{"PUT", "a", "one", 204, "", "2"},
		{"GET", "a", "", 200, "one", "2"},
		{"PUT", "a", "two", 204, "", "3"},
		{"GET", "a?serializable=true", "", 200, "two", "3"},
		{"PUT", "dir//x%2Fy%00", "odd", 204, "", "4"},
		{"GET", "dir//x%2Fy%00", "", 200, "odd", "4"},
		{"GET", "dir/x%2Fy%00", "", 404, "no such key", "4"},
		{"GET", "dir//x/y%00", "", 200, "odd", "4"}, // an escaped slash is a slash
		{"DELETE", "a", "", 204, "", "5"},
		{"DELETE", "a", "", 404, "no such key", "5"},
		{"PUT", "empty", "", 204, "", "6"},
		{"GET", "empty", "", 200, "", "6"},
		{"PUT", "", "x", 400, "etcdserver: key is not provided", ""},
		{"PUT", "big", strings.Repeat("x", 1001), 413, "etcdserver: request is too large", ""},
		{"POST", "a", "x", 405, "a key takes GET, PUT and DELETE", ""},
	} {
		resp, text := call(t, step.method, key+step.key, step.body)
		if resp.StatusCode != step.code || text != step.text || resp.Header.Get(headerRevision) != step.revision {
			t.Errorf("%s %s: %d %q at revision %q, want %d %q at %q", step.method, step.key,
				resp.StatusCode, text, resp.Header.Get(headerRevision), step.code, step.text, step.revision)
		}
	}
}

func TestTheDoorTellsWhatMayBeTriedAgain(t *testing.T) {
	web, g, _ := member(t, server.Options{RequestTimeout: time.Millisecond})
	g.FailNext(&server.Failure{Unknown: true})
	if resp, text := call(t, "PUT", web.URL+"/v1/kv/a", "x"); resp.StatusCode != 504 {
		t.Errorf("unknown: %d %s", resp.StatusCode, text)
	}
	g.LoseLeader()
	if resp, text := call(t, "PUT", web.URL+"/v1/kv/a", "x"); resp.StatusCode != 503 || text != "etcdserver: no leader" {
		t.Errorf("no leader: %d %s", resp.StatusCode, text)
	}
}

func TestHealthAndVersionAreEtcds(t *testing.T) {
	web, g, _ := member(t, server.Options{})
	if resp, text := call(t, "GET", web.URL+"/health", ""); resp.StatusCode != 200 || text != `{"health":"true","reason":""}` {
		t.Errorf("health: %d %s", resp.StatusCode, text)
	}
	if _, text := call(t, "GET", web.URL+"/version", ""); !strings.HasPrefix(text, `{"etcdserver":"3.7.`) || !strings.Contains(text, `"etcdcluster":"3.7.0"`) {
		t.Errorf("version: %s", text)
	}
	g.LoseLeader()
	if resp, text := call(t, "GET", web.URL+"/health", ""); resp.StatusCode != 503 || text != `{"health":"false","reason":"RAFT NO LEADER"}` {
		t.Errorf("health without a leader: %d %s", resp.StatusCode, text)
	}
	if resp, text := call(t, "GET", web.URL+"/health?serializable=true", ""); resp.StatusCode != 200 {
		t.Errorf("serializable health: %d %s", resp.StatusCode, text)
	}
	if resp, _ := call(t, "POST", web.URL+"/health", ""); resp.StatusCode != 405 {
		t.Errorf("POST /health: %d", resp.StatusCode)
	}
	if resp, text := call(t, "GET", web.URL+"/nothing", ""); resp.StatusCode != 404 || !strings.Contains(text, "/v1/kv/KEY") {
		t.Errorf("elsewhere: %d %s", resp.StatusCode, text)
	}
}

func TestMetricsHaveEtcdsNames(t *testing.T) {
	web, _, m := member(t, server.Options{})
	call(t, "PUT", web.URL+"/v1/kv/a", "x")
	m.Started("unary", "/etcdserverpb.KV/Put")
	m.Handled("unary", "/etcdserverpb.KV/Put", codes.OK)
	m.Bytes(5, 7)
	_, text := call(t, "GET", web.URL+"/metrics", "")
	for _, line := range []string{
		"etcd_server_has_leader 1", "etcd_server_is_leader 1", "etcd_server_proposals_applied_total 2",
		"etcd_server_proposals_pending 0", "etcd_debugging_mvcc_current_revision 2",
		`etcd_server_id{server_id="8e9e05c52164694d"} 1`,
		"etcd_network_client_grpc_sent_bytes_total 5", "etcd_network_client_grpc_received_bytes_total 7",
		`grpc_server_handled_total{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 1`,
		"process_resident_memory_bytes", "quorate_snapshots_installed_total 0", "etcd_mvcc_db_total_size_in_bytes",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in:\n%.3000s", line, text)
		}
	}
}
