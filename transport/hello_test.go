package transport

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"flag"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew; read the diff before accepting it")

// Every bytes-on-the-wire form of version 1.
func TestGoldenBytes(t *testing.T) {
	h := hello{versionMin: 1, versionMax: 2, lane: laneBulk, cluster: 0xc1, from: n1, to: id.NodeID{Node: 2, Incarnation: 3},
		directory: id.DirectoryID{0xd1}, urls: []string{"http://127.0.0.1:2380"}}
	y := reply{code: refuseCluster, version: 1, from: n2, cluster: 0xc2, directory: id.DirectoryID{0xd2}, text: "no"}
	for name, b := range map[string][]byte{
		"hello":        h.encode(),
		"reply":        y.encode(),
		"message":      appendMessageFrame(nil, frameMessage, 7, raft.Heartbeat{Term: 3, Commit: 9, Round: 1}),
		"ping":         appendFrame(nil, framePing, 1000, nil),
		"ask":          appendFrame(nil, frameAsk, 17, []byte("put")),
		"snapshot-end": appendFrame(nil, frameSnapshotEnd, 1<<20, nil),
	} {
		file := filepath.Join("testdata", "v1", name+".hex")
		got := hex.Dump(b)
		if *rewrite {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || got != string(want) {
			t.Errorf("%s changed: other builds would not understand it (error %v).\ngot:\n%swant:\n%s", name, err, got, want)
		}
	}
	if got, err := readHello(bytes.NewReader(h.encode())); err != nil || !reflect.DeepEqual(got, h) {
		t.Errorf("hello became %+v, error %v", got, err)
	}
	if got, err := readReply(bytes.NewReader(y.encode())); err != nil || got != y {
		t.Errorf("reply became %+v, error %v", got, err)
	}
}

// Whoever does not belong here is refused with one line that both sides log.
func TestStrangersAreRefused(t *testing.T) {
	a := start(t, n1, func(o *Options) {
		o.Pinned = func(n id.NodeID) id.DirectoryID { return id.DirectoryID{0: byte(n.Node)} }
	})
	good := goodHello(a, n2, laneControl)
	good.directory[0] = 2
	if _, y, err := dialAs(t, a, good); err != nil || y.code != welcome || y.directory != a.o.Directory {
		t.Fatalf("the right peer: %+v, error %v", y, err)
	}
	for _, c := range []struct {
		change func(*hello)
		code   refusal
		want   string
	}{
		{func(h *hello) { h.versionMin, h.versionMax = 2, 3 }, refuseVersion, "n2 speaks versions 2 to 3 of the peer protocol, n1 speaks 1 to 1; upgrade the older one"},
		{func(h *hello) { h.cluster = 0xc2 }, refuseCluster, "n2 belongs to cluster c2, n1 to cluster c1; check the peer URLs and the cluster token"},
		{func(h *hello) { h.to = n3 }, refuseIdentity, "n2 wants to reach n3, but this is n1; check the peer URLs"},
		{func(h *hello) { h.to.Incarnation = 4 }, refuseIdentity, "n2 wants to reach n1.4, but this is n1; check the peer URLs"},
		{func(h *hello) { h.from = n1 }, refuseIdentity, "the dialer calls itself n1, and so does this member; give each member its own id and data directory"},
		{func(h *hello) { h.directory[0] = 9 }, refuseDirectory, "n2 comes with data directory 09000000, the cluster knows it with 02000000; remove it and add it again as a new member"},
		{func(h *hello) { h.lane = 9 }, refuseMalformed, "connection of unknown purpose 9"},
	} {
		h := good
		c.change(&h)
		conn, y, err := dialAs(t, a, h)
		if err != nil || y.code != c.code || y.text != c.want {
			t.Errorf("got  %+v, error %v\nwant %s", y, err, c.want)
		}
		ended(t, conn)
		if line := a.log(c.want); !strings.HasPrefix(line, "transport: connection from 127.0.0.1:") {
			t.Errorf("log line %q", line)
		}
	}
}

// What the dialer says about those it should not have reached.
func TestDialerRefusesWrongPeers(t *testing.T) {
	web := &http.Server{Handler: http.NotFoundHandler()}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = web.Serve(l) }()
	t.Cleanup(func() { _ = web.Close(); <-done })
	other := start(t, n2, func(o *Options) { o.Cluster = 0xc2 })
	wrong := fake(t, n3, func(laneKind, net.Conn) {})
	wiped := fake(t, n2, func(laneKind, net.Conn) {})
	for _, c := range []struct {
		peer Peer
		want string
	}{
		{Peer{n2, []string{"http://" + l.Addr().String()}}, "cannot be reached: not our peer: it speaks HTTP: an etcd member"},
		{other.at(), "cannot be reached: refused: n1 belongs to cluster c1, n2 to cluster c2"},
		{Peer{n2, wrong.URLs}, "cannot be reached: not our peer: it is n3, not n2; check the peer URLs"},
		{wiped, "cannot be reached: not our peer: it has data directory 00000000, the cluster knows it with 02000000"},
	} {
		a := start(t, n1, func(o *Options) {
			o.Pinned = func(n id.NodeID) id.DirectoryID { return id.DirectoryID{0: byte(n.Node)} }
		})
		a.SetPeers([]Peer{c.peer})
		a.log(c.want)
		if n := get(t, "report", a.unreachable); n != n2 {
			t.Errorf("%v was reported", n)
		}
		until(t, "it keeps trying", func() bool { return a.peerStats(n2).Outages == 1 })
	}
}

// Bytes of other protocols on the peer port: one line that says who it is.
func TestOtherProtocolsAreNamed(t *testing.T) {
	a := start(t, n1, nil)
	res, err := http.Get("http://" + a.Addr().String() + "/members") // as an etcd member does
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if res.StatusCode != 400 || !strings.Contains(string(body), "clients use the client port") {
		t.Errorf("an HTTP client was answered %d %q", res.StatusCode, body)
	}
	a.log("refused: not our peer: it speaks HTTP: an etcd member, or a client on the peer port")
	for _, c := range []struct{ send, want string }{
		{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdefgh", "it speaks TLS, but this member has no peer certificate"},
		{"\x00\x01\x02\x03hello, is there anybody", `it does not speak quorate's peer protocol (first bytes "\x00\x01\x02\x03hello, i")`},
		{"quor", `it does not speak quorate's peer protocol (first bytes "quor")`},
		{magic + "\xff\xff\xff\xff", "malformed handshake: length 4294967295; the limit is 4096"},
		{magic + "\x02\x00\x00\x00ab\x00\x00\x00\x00", "malformed handshake: its checksum is 00000000"},
		{string(seal([]byte{1, 0, 1})), "malformed handshake: a field is cut short or too long"},
	} {
		conn, err := net.Dial("tcp", a.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, c.send)
		_ = conn.(*net.TCPConn).CloseWrite()
		ended(t, conn)
		_ = conn.Close()
		a.log(c.want)
	}
	probe, err := net.Dial("tcp", a.Addr().String()) // a port check says nothing and is not worth a line
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Count(a.logged(), "\n")
	_ = probe.(*net.TCPConn).CloseWrite()
	ended(t, probe)
	_ = probe.Close()
	if got := strings.Count(a.logged(), "\n"); got != lines {
		t.Errorf("a port check was logged:\n%s", a.logged())
	}
}

// A stranger that comes back all the time is logged once.
func TestRepeatedRefusalIsLoggedOnce(t *testing.T) {
	a := start(t, n1, nil)
	for range 5 {
		h := goodHello(a, n2, laneControl)
		h.cluster = 0xc2
		c, _, _ := dialAs(t, a, h)
		ended(t, c)
	}
	if got := strings.Count(a.logged(), "belongs to cluster c2"); got != 1 {
		t.Errorf("logged %d times:\n%s", got, a.logged())
	}
}

// authority makes certificates for 127.0.0.1, signed by itself.
func authority(t *testing.T) func() *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "peers"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return func() *tls.Config {
		leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "member"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
		der, err := x509.CreateCertificate(rand.Reader, leaf, root, &leafKey.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: leafKey}}, RootCAs: pool, ClientCAs: pool}
	}
}

func TestMutualTLS(t *testing.T) {
	ours, theirs := authority(t), authority(t)
	with := func(c *tls.Config) func(*Options) { return func(o *Options) { o.TLS = c } }
	a, b := start(t, n1, with(ours())), start(t, n2, with(ours()))
	at := func(m *member) Peer { return Peer{m.o.Self, []string{"https://" + m.Addr().String()}} }
	a.SetPeers([]Peer{at(b)})
	b.SetPeers([]Peer{at(a)})
	big := appendOf(1, strings.Repeat("v", 1<<20))
	a.Send(n2, 1, big)
	b.Send(n1, 1, raft.TimeoutNow{Term: 1})
	if got := get(t, "append", b.frames).m; !reflect.DeepEqual(got, raft.Message(big)) {
		t.Error("the append arrived changed")
	}
	get(t, "message", a.frames)

	stranger := start(t, n3, with(theirs()))
	stranger.SetPeers([]Peer{at(a)})
	stranger.log("n1 at " + a.Addr().String() + " cannot be reached: tls: failed to verify certificate")
	a.log("refused: TLS: ")

	plain := start(t, n3, nil)
	plain.SetPeers([]Peer{a.at()})
	a.log("refused: not our peer: it does not speak TLS, and this member's peers must; give it a peer certificate")
	plain.log("n1 at " + a.Addr().String() + " cannot be reached: ")

	toPlain := start(t, n2, with(ours()))
	toPlain.SetPeers([]Peer{plain.at()})
	plain.log("it speaks TLS, but this member has no peer certificate")
	if err := (Options{Self: n1, Addr: "x:1", TLS: &tls.Config{}}).WithDefaults().Validate(); err == nil || !strings.Contains(err.Error(), "peer TLS is mutual") {
		t.Errorf("TLS without an authority: %v", err)
	}
}

func FuzzHello(f *testing.F) {
	f.Add(hello{versionMin: 1, versionMax: 1, lane: laneBulk, cluster: 1, from: n1, to: n2, urls: []string{"http://h:1", ""}}.encode()[12:])
	f.Add(reply{code: refuseBusy, version: 1, from: n2, text: "no"}.encode()[12:])
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) > helloBytesMax {
			return
		}
		if h, err := readHello(bytes.NewReader(seal(payload))); err == nil && len(h.urls) > urlsMax {
			t.Fatalf("%d URLs", len(h.urls))
		}
		_, _ = readReply(bytes.NewReader(seal(payload)))
		_, _ = readHello(bytes.NewReader(payload))
	})
}
