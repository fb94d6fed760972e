package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

func TestARequestOverTheSizeLimitIsRefusedAndWritesNothing(t *testing.T) {
	parallel(t)
	m := planMembers(t, 1, "--max-request-bytes", "100000")[0]
	m.start(t)
	m.out.await(t, "ready to serve client requests")
	const over = 150_000
	c := dial(t, m.client)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := c.Put(ctx, "big", strings.Repeat("x", over)); !errors.Is(err, rpctypes.ErrRequestTooLarge) {
		t.Errorf("put of %d bytes: %v", over, err)
	}
	if a := ctlAt(t, []string{m.client}, "put", "big", strings.Repeat("x", over-50_000)); a.code != 1 || !strings.HasSuffix(a.stderr, "Error: etcdserver: request is too large\n") {
		t.Errorf("ctl put: %+v", a)
	}
	if code, text, _ := request(t, http.MethodPut, m.client+"/v1/kv/big", strings.Repeat("x", over)); code != http.StatusRequestEntityTooLarge || text != "etcdserver: request is too large\n" {
		t.Errorf("PUT: %d %q", code, text)
	}
	if r, err := c.Get(ctx, "", withEverything...); err != nil || r.Count != 0 || r.Header.Revision != 1 {
		t.Errorf("something was written: %v, %v", r, err)
	}
	if _, err := c.Put(ctx, "small", strings.Repeat("x", 90_000)); err != nil {
		t.Errorf("below the limit: %v", err)
	}
}

// What anybody can send to a peer port: noise, other protocols, handshakes and
// frames that break a rule. Each connection ends with a line in the log; the
// cluster and its clients do not notice.
func TestMalformedBytesOnThePeerPortAreRefusedUnderLoad(t *testing.T) {
	parallel(t)
	members := startMembers(t, 3)
	victim := members[0]
	l := startLoad(t, 4, 1, endpointsOf(members))
	l.flows(t, 20)

	noise := make([]byte, 5000)
	for i := range noise {
		noise[i] = byte(rand.N(256))
	}
	noise[0] = 0xff // not by chance the first byte of a protocol
	hello := helloFrom(t, members[1], victim)
	damaged := bytes.Clone(hello)
	damaged[20] ^= 1
	stranger := enclosed(append(binary.LittleEndian.AppendUint64([]byte{1, 0, 1, 0, 1}, 0xbad), make([]byte, 41)...))
	for _, c := range []struct {
		name         string
		send         []byte
		answer, line string // of the port; in the member's log
	}{
		{"noise", noise, "HTTP/1.1 400 Bad Request", "it does not speak quorate's peer protocol"},
		{"another protocol", []byte("SSH-2.0-OpenSSH_9.9\r\n"), "this is the peer port of a quorate member; clients use the client port", "it does not speak quorate's peer protocol"},
		{"a handshake of 4 GiB", append([]byte("quorpr\r\n"), 0xff, 0xff, 0xff, 0xff), "malformed handshake: length 4294967295; the limit is 4096", "refused: malformed handshake: length"},
		{"a damaged handshake", damaged, "malformed handshake: its checksum is ", "refused: malformed handshake: its checksum is"},
		{"a member of another cluster", stranger, "belongs to cluster bad", "check the peer URLs and the cluster token"},
		{"a frame with a wrong checksum", append(bytes.Clone(hello), frame(3, 9, func(b []byte) { b[4] ^= 1 })...), "", "malformed frame at offset 0: its checksum is"},
		{"a frame of 4 GiB", append(bytes.Clone(hello), frame(2, 9, func(b []byte) { binary.LittleEndian.PutUint32(b, 0xffffffff) })...), "", "malformed frame at offset 0: length 4294967295; it must be between"},
		{"a frame of no kind", append(bytes.Clone(hello), frame(77, 9, nil)...), "", "malformed frame at offset 0: kind 77 is unknown"},
		{"a message of noise", append(bytes.Clone(hello), frame(1, 1, nil, noise[:100]...)...), "", ": wire: message: "},
	} {
		// The robbed member may dial again and take its place back before the
		// thief's frame is read: then once more.
		until(t, c.name, func() error {
			got := exchange(t, victim.peer, c.send)
			if !strings.Contains(got, c.answer) {
				return fmt.Errorf("answered %q, want %q in it", got, c.answer)
			}
			if !strings.Contains(victim.out.text(), c.line) {
				return fmt.Errorf("no line %q in\n%s", c.line, victim.out.text())
			}
			return nil
		})
		if l.flows(t, 5); !alive(victim.cmd.Process.Pid) {
			t.Fatalf("%s ended the member:\n%s", c.name, victim.out.text())
		}
	}
	for _, err := range l.finish(t) {
		t.Errorf("a writer saw %v", err)
	}
	for _, m := range members {
		if regexp.MustCompile(`panic|goroutine \d`).MatchString(m.out.text()) {
			t.Errorf("%s:\n%s", m.name, m.out.text())
		}
	}
}

// exchange sends bytes and returns all that comes back until the other side
// closes.
func exchange(t *testing.T, peerURL string, send []byte) string {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(peerURL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	c.Write(send) // it may be closed before it took all
	got, err := io.ReadAll(c)
	if late := net.Error(nil); errors.As(err, &late) && late.Timeout() {
		t.Fatalf("the port keeps the connection; it answered %q", got)
	}
	return string(got)
}

// The bytes below are written from docs/format/peer.md, not from the code.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// enclosed is a handshake: magic, length, payload, checksum.
func enclosed(payload []byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte("quorpr\r\n"), uint32(len(payload)))
	b = append(b, payload...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// helloFrom is the handshake with which one member dials another, as a thief of
// its identity would send it.
func helloFrom(t *testing.T, from, to *member) []byte {
	t.Helper()
	f, g := identityOf(t, from), identityOf(t, to)
	b := []byte{1, 0, 1, 0, 2} // versions 1 to 1, purpose bulk
	b = binary.LittleEndian.AppendUint64(b, f.cluster)
	b = binary.LittleEndian.AppendUint64(b, f.node)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, g.node)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = append(b, f.directory...)
	return enclosed(append(b, 0)) // no URLs
}

// frame is length, checksum, kind, tag, payload; spoil changes it afterwards.
func frame(kind byte, tag uint64, spoil func([]byte), payload ...byte) []byte {
	body := append(binary.LittleEndian.AppendUint64([]byte{kind}, tag), payload...)
	length := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	sum := crc32.Checksum(append(bytes.Clone(length), body...), castagnoli)
	b := append(binary.LittleEndian.AppendUint32(length, sum), body...)
	if spoil != nil {
		spoil(b)
	}
	return b
}

type identity struct {
	cluster, node uint64
	directory     []byte
}

func identityOf(t *testing.T, m *member) identity {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(m.dir, "IDENTITY"))
	if err != nil {
		t.Fatal(err)
	}
	field := func(name string) string {
		f := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(text)
		if f == nil {
			t.Fatalf("no %s in IDENTITY:\n%s", name, text)
		}
		return string(f[1])
	}
	var i identity
	var errs [3]error
	i.cluster, errs[0] = strconv.ParseUint(field("cluster"), 16, 64)
	i.node, errs[1] = strconv.ParseUint(field("node"), 10, 64)
	i.directory, errs[2] = hex.DecodeString(field("directory"))
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(fmt.Errorf("IDENTITY: %w in\n%s", err, text))
	}
	return i
}
