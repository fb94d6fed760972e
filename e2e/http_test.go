package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The plain door takes PUT, GET and DELETE at every member (M84), and a PUT can
// be followed from there to the logs of all three (M83).
func TestThePlainHTTPDoorAndAPutOnThreeDisksM83M84(t *testing.T) {
	parallel(t)
	c := startDev(t, 3)
	url := func(member int, path string) string {
		return "http://" + c.endpoints[member] + path
	}
	for _, step := range []struct {
		member       int
		method, path string
		body         string
		code         int
		text         string
		revision     string
	}{
		{0, http.MethodGet, "/v1/kv/greeting", "", http.StatusNotFound, "no such key\n", "1"},
		{0, http.MethodPut, "/v1/kv/greeting", "hello", http.StatusNoContent, "", "2"},
		{1, http.MethodGet, "/v1/kv/greeting", "", http.StatusOK, "hello", "2"},
		{1, http.MethodPut, "/v1/kv/greeting", "", http.StatusNoContent, "", "3"},
		{2, http.MethodGet, "/v1/kv/greeting", "", http.StatusOK, "", "3"},
		{2, http.MethodPut, "/v1/kv/a/b%2Fc%20d", "\x00\xff", http.StatusNoContent, "", "4"},
		{0, http.MethodGet, "/v1/kv/a/b/c%20d", "", http.StatusOK, "\x00\xff", "4"},
		{0, http.MethodDelete, "/v1/kv/greeting", "", http.StatusNoContent, "", "5"},
		{1, http.MethodGet, "/v1/kv/greeting", "", http.StatusNotFound, "no such key\n", "5"},
		{1, http.MethodPost, "/v1/kv/greeting", "", http.StatusMethodNotAllowed, "a key takes GET, PUT and DELETE\n", ""},
		{2, http.MethodGet, "/health", "", http.StatusOK, `{"health":"true","reason":""}`, ""},
		{2, http.MethodGet, "/nowhere", "", http.StatusNotFound, "nothing here; the store is at /v1/kv/KEY, etcd's API is gRPC on this port\n", ""},
	} {
		code, text, header := request(t, step.method, url(step.member, step.path), step.body)
		if code != step.code || text != step.text || header.Get("Quorate-Revision") != step.revision {
			t.Errorf("%s %s at m%d: %d %q, revision %q; want %d %q, revision %q", step.method, step.path, step.member+1,
				code, text, header.Get("Quorate-Revision"), step.code, step.text, step.revision)
		}
	}
	for i := range c.endpoints {
		_, text, _ := request(t, http.MethodGet, url(i, "/version"), "")
		var v map[string]string
		if err := json.Unmarshal([]byte(text), &v); err != nil || !strings.HasPrefix(v["etcdserver"], "3.7.") || !strings.HasPrefix(v["etcdcluster"], "3.7.") {
			t.Errorf("/version at m%d: %s, %v", i+1, text, err)
		}
		if n := metric(t, url(i, ""), "etcd_server_has_leader"); n != 1 {
			t.Errorf("m%d's metrics say that it has %v leaders", i+1, n)
		}
	}
	putOnThreeDisks(t, c, url(1, "/v1/kv/followed"))
}

// putOnThreeDisks sends one PUT and finds it in the log of every member: its
// bytes, and as the same entry in what `quorate wal` prints.
func putOnThreeDisks(t *testing.T, c *devCluster, key string) {
	t.Helper()
	const value = "from the socket to three disks"
	if code, text, _ := request(t, http.MethodPut, key, value); code != http.StatusNoContent {
		t.Fatalf("PUT: %d %s", code, text)
	}
	entry := regexp.MustCompile(`entry \d+ of term \d+, command, \d+ bytes`)
	until(t, "the PUT is in three logs", func() error {
		var newest [3]string
		for i := range newest {
			dir := filepath.Join(c.dir, fmt.Sprintf("m%d", i+1))
			segment, err := os.Open(filepath.Join(dir, "wal", "00000001.wal"))
			if err != nil {
				return err
			}
			head := make([]byte, 64<<10)
			_, err = io.ReadFull(segment, head)
			segment.Close()
			if err != nil {
				return err
			}
			if bytes.Count(head, []byte(value)) != 1 {
				return fmt.Errorf("m%d's log holds it %d times", i+1, bytes.Count(head, []byte(value)))
			}
			entries := entry.FindAllString(run(t, "", "wal", dir).stdout, -1)
			if len(entries) == 0 {
				return fmt.Errorf("quorate wal shows no command of m%d", i+1)
			}
			newest[i] = entries[len(entries)-1]
		}
		if newest[0] != newest[1] || newest[1] != newest[2] {
			return fmt.Errorf("the newest commands: %q", newest)
		}
		return nil
	})
}
