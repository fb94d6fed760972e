package http

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/server"
	"github.com/quorate/quorate/server/servertest"
)

// peerMember serves the HTTP side of a peer port and gives what else arrives to
// frames.
func peerMember(t *testing.T, secure *tls.Config, log io.Writer) (url string, frames net.Listener) {
	t.Helper()
	s, _, err := servertest.Start(server.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := NewPeerPort(l, secure)
	web := Server(NewPeers(s, servertest.Cluster, slog.New(slog.NewTextHandler(log, nil))))
	go p.Serve()
	go web.Serve(p.HTTP())
	t.Cleanup(func() {
		web.Close()
		p.Close()
		s.Close()
	})
	scheme := "http://"
	if secure != nil {
		scheme = "https://"
	}
	return scheme + l.Addr().String(), p.Other()
}

// certificate makes an authority of one certificate that vouches for itself.
func certificate(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "peer"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, RootCAs: pool, ClientCAs: pool}
}

func TestMembersAskEachOtherBesideTheFrames(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, tc := range []struct {
		name   string
		secure *tls.Config
	}{{"clear text", nil}, {"TLS", certificate(t)}} {
		t.Run(tc.name, func(t *testing.T) {
			url, frames := peerMember(t, tc.secure, io.Discard)
			client := NewPeerClient(servertest.Cluster, tc.secure)
			defer client.Close()
			cluster, members, err := client.Cluster(ctx, url)
			if err != nil || cluster != servertest.Cluster || len(members) != 1 || members[0].ID != servertest.Self {
				t.Fatalf("cluster %x, %+v, %v", cluster, members, err)
			}
			answer, err := client.Ask(ctx, []string{url}, []byte(`{"do":"renew","lease":5}`))
			if err != nil || string(answer) != "{}" { // no such lease: TTL 0
				t.Fatalf("answer %s, %v", answer, err)
			}
			stranger := NewPeerClient(1, tc.secure)
			defer stranger.Close()
			var f *server.Failure
			if _, err := stranger.Ask(ctx, []string{url}, nil); !errors.As(err, &f) || f.Unknown || !strings.Contains(f.Detail, "this is cluster cdf818194e3a8c32") {
				t.Errorf("a stranger: %v", err)
			}

			address := strings.SplitN(url, "//", 2)[1]
			greeted := make(chan string, 1)
			go func() {
				c, err := frames.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				if tc.secure != nil { // as transport does
					config := tc.secure.Clone()
					config.ClientAuth = tls.RequireAndVerifyClientCert
					c = tls.Server(c, config)
				}
				b := make([]byte, 8)
				io.ReadFull(c, b)
				greeted <- string(b)
			}()
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			if tc.secure != nil {
				config := tc.secure.Clone()
				config.ServerName = "127.0.0.1"
				c = tls.Client(c, config)
			}
			if _, err := c.Write([]byte("quorpr\r\n")); err != nil {
				t.Fatal(err)
			}
			if got := <-greeted; got != "quorpr\r\n" {
				t.Fatalf("the frames' side read %q", got)
			}
			c.Close()
		})
	}
}

func TestAskingNobodyIsARefusal(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	l.Close()
	client := NewPeerClient(1, nil)
	defer client.Close()
	for _, urls := range [][]string{nil, {url}} {
		var f *server.Failure
		if _, err := client.Ask(context.Background(), urls, nil); !errors.As(err, &f) || f.Unknown {
			t.Errorf("%v: %v, want a certain refusal", urls, err)
		}
	}
}

func TestAnEtcdAtThePeerPortIsNamed(t *testing.T) {
	var log strings.Builder
	url, _ := peerMember(t, nil, &log)
	if resp, text := call(t, "GET", url+"/raft/stream/msgapp/1", ""); resp.StatusCode != 501 || !strings.Contains(text, "quorate, not etcd") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	if !strings.Contains(log.String(), "an etcd member connects to the peer port") {
		t.Errorf("log: %s", log.String())
	}
}
