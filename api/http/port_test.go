package http

import (
	"context"
	"errors"
	"io"
	"net"
	nethttp "net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

func testPort(t *testing.T) (*Port, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := NewClientPort(l)
	return p, l.Addr().String()
}

func TestOnePortServesGRPCAndHTTP(t *testing.T) {
	p, address := testPort(t)
	rpc := grpc.NewServer()
	healthpb.RegisterHealthServer(rpc, health.NewServer())
	web := &nethttp.Server{Handler: nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		io.WriteString(w, r.Proto+" "+r.Method+" "+r.URL.Path)
	})}
	served := make(chan error, 1)
	go func() { served <- p.Serve() }()
	go rpc.Serve(p.Other())
	go web.Serve(p.HTTP())

	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer, err := healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{})
	if err != nil || answer.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("gRPC: %v, %v", answer, err)
	}
	resp, err := nethttp.Post("http://"+address+"/x", "", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != "HTTP/1.1 POST /x" {
		t.Fatalf("HTTP: %q", body)
	}
	rpc.Stop()
	web.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Fatalf("Serve returned %v", err)
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Fatal("the port still accepts after Close")
	}
}

func TestPrefaceInPiecesIsStillGRPCAndAMethodStartingWithPIsNot(t *testing.T) {
	for _, tc := range []struct {
		name   string
		pieces []string
		http2  bool
		head   string
	}{
		{"whole", []string{preface + "rest"}, true, preface},
		{"bytes", strings.Split(preface, ""), true, preface},
		{"PUT", []string{"PUT /v1/kv/a HTTP/1.1\r\n"}, false, "PUT /v1/kv/a HTTP/1.1\r\n"},
		{"PUT in pieces", []string{"P", "U", "T /"}, false, "PU"},
		{"shorter than the preface", []string{"GET /\r\n"}, false, "GET /\r\n"},
		{"TLS hello", []string{"\x16\x03\x01"}, false, "\x16\x03\x01"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client, server := net.Pipe()
			go func() {
				for _, p := range tc.pieces {
					if _, err := client.Write([]byte(p)); err != nil {
						return
					}
				}
			}()
			head, isHTTP2, err := peek(server, time.Minute)
			if err != nil || isHTTP2 != tc.http2 || !strings.HasPrefix(tc.head, string(head)) || len(head) == 0 {
				t.Fatalf("head %q, HTTP/2 %v, %v", head, isHTTP2, err)
			}
			client.Close()
			server.Close()
		})
	}
}

func TestASilentConnectionIsClosed(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	if _, _, err := peek(server, time.Nanosecond); err == nil {
		t.Fatal("peek waits for a silent connection for ever")
	}
	client2, server2 := net.Pipe()
	go func() { client2.Write([]byte("PRI * ")); client2.Close() }()
	if _, _, err := peek(server2, time.Minute); err == nil {
		t.Fatal("half a preface counts as something")
	}
}

func TestPeekedBytesAreReadFirst(t *testing.T) {
	client, server := net.Pipe()
	go func() { client.Write([]byte("GET / and more")); client.Close() }()
	head, _, err := peek(server, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(&peeked{Conn: server, head: head})
	if err != nil || string(all) != "GET / and more" {
		t.Fatalf("read %q, %v", all, err)
	}
}
