package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeCertificate writes a certificate that vouches for itself, and its key.
func writeCertificate(t *testing.T) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "peer"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// With TLS between peers, both what transport and what the servers say to each
// other is under it: writes, a keep-alive at every member, and a joiner.
func TestPeersOverTLS(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cert, key := writeCertificate(t)
	all := newProcesses(t, t.TempDir(), 3, 1)
	for _, p := range all {
		client := "http://" + p.client
		for i, a := range p.args {
			if a != client {
				p.args[i] = strings.ReplaceAll(a, "http://", "https://")
			}
		}
		p.args = append(p.args, "--peer-cert-file", cert, "--peer-key-file", key, "--peer-trusted-ca-file", cert, "--peer-client-cert-auth")
	}
	var endpoints []string
	for _, p := range all[:3] {
		p.start(t)
		endpoints = append(endpoints, p.client)
	}
	c := dial(t, endpoints...)
	eventually(t, ctx, "first put", func() error { _, err := c.Put(ctx, "a", "1"); return err })
	lease, err := c.Grant(ctx, 60)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range endpoints {
		if ka, err := dial(t, e).KeepAliveOnce(ctx, lease.ID); err != nil || ka.TTL != 60 {
			t.Fatalf("keep alive at %s: %v, %v", e, ka, err)
		}
	}
	joiner := all[3]
	eventually(t, ctx, "member add", func() error { _, err := c.MemberAdd(ctx, []string{peerURL(joiner)}); return err })
	joiner.start(t)
	joined := dial(t, joiner.client)
	eventually(t, ctx, "read at the joiner", func() error {
		got, err := joined.Get(ctx, "a")
		if err == nil && string(got.Kvs[0].Value) != "1" {
			t.Fatalf("the joiner has %v", got.Kvs)
		}
		return err
	})
}
