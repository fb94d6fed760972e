package http

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	nethttp "net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/server"
)

// What members say to each other over HTTP, on the peer port beside the frames
// of transport. Tables: docs/format/ask.md.
//
//	GET  /quorate/v1/cluster   who is there: for a member that joins
//	POST /quorate/v1/ask       a request to the leader's server; header Quorate-Cluster
const (
	clusterPath   = "/quorate/v1/cluster"
	askPath       = "/quorate/v1/ask"
	headerCluster = "Quorate-Cluster"
	alpnHTTP      = "quorate-http/1" // tells HTTP from frames under TLS
	askBytesMax   = 64 << 10
	answerMax     = 16 << 20 // an answer with a lease's keys
)

// NewPeerPort takes the listener over. Other is transport's frames, still inside
// their TLS: transport ends it. With secure, HTTP comes over TLS only.
func NewPeerPort(l net.Listener, secure *tls.Config) *Port {
	if secure == nil {
		return newPort(l, httpOrFrames)
	}
	c := secure.Clone()
	c.NextProtos = []string{alpnHTTP}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	return newPort(l, func(conn net.Conn, timeout time.Duration) (net.Conn, bool, error) {
		conn, isHTTP, err := secureHTTPOrFrames(conn, timeout)
		if isHTTP {
			// Wrapped: net/http drops a *tls.Conn that speaks a protocol it does not know.
			conn = struct{ net.Conn }{tls.Server(conn, c)}
		}
		return conn, isHTTP, err
	})
}

// httpOrFrames looks at the first four bytes: those of HTTP are a method, those of
// a frame connection are its magic, which is none.
func httpOrFrames(conn net.Conn, timeout time.Duration) (net.Conn, bool, error) {
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return nil, false, err
	}
	head := make([]byte, 4)
	if _, err := io.ReadFull(conn, head); err != nil {
		return nil, false, err
	}
	isHTTP := false
	for _, method := range []string{"GET ", "POST", "HEAD", "PUT ", "DELE"} {
		isHTTP = isHTTP || string(head) == method
	}
	return &peeked{Conn: conn, head: head}, isHTTP, conn.SetReadDeadline(time.Time{})
}

// errSeen ends the reading of a ClientHello.
var errSeen = errors.New("seen")

// secureHTTPOrFrames reads a ClientHello without answering it and tells by its
// protocols what will be spoken.
func secureHTTPOrFrames(conn net.Conn, timeout time.Duration) (net.Conn, bool, error) {
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return nil, false, err
	}
	tap := &listening{Conn: conn}
	isHTTP := false
	err := tls.Server(tap, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		for _, p := range hello.SupportedProtos {
			isHTTP = isHTTP || p == alpnHTTP
		}
		return nil, errSeen
	}}).Handshake()
	if !errors.Is(err, errSeen) && tap.failed != nil {
		return nil, false, tap.failed // silence; anything else is transport's to refuse
	}
	return &peeked{Conn: conn, head: tap.heard}, isHTTP, conn.SetReadDeadline(time.Time{})
}

// listening keeps what is read and says nothing.
type listening struct {
	net.Conn
	heard  []byte
	failed error
}

func (l *listening) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	l.heard, l.failed = append(l.heard, b[:n]...), err
	return n, err
}

func (l *listening) Write(b []byte) (int, error) { return len(b), nil }
func (l *listening) Close() error                { return nil }

// clusterAnswer is what a joiner is told.
type clusterAnswer struct {
	Cluster string              `json:"cluster"` // hexadecimal
	Members []membership.Member `json:"members"`
}

// NewPeers serves the HTTP side of the peer port. cluster is this cluster's id.
func NewPeers(s *server.Server, cluster uint64, log *slog.Logger) nethttp.Handler {
	mux := nethttp.NewServeMux()
	mux.HandleFunc("GET "+clusterPath, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		_, list, err := s.Members(r.Context(), false)
		if err != nil {
			fail(w, err)
			return
		}
		writeJSON(w, nethttp.StatusOK, clusterAnswer{Cluster: strconv.FormatUint(cluster, 16), Members: list})
	})
	mux.HandleFunc("POST "+askPath, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if got := r.Header.Get(headerCluster); got != strconv.FormatUint(cluster, 16) {
			nethttp.Error(w, fmt.Sprintf("this is cluster %x, you are of %q", cluster, got), nethttp.StatusPreconditionFailed)
			return
		}
		request, err := io.ReadAll(nethttp.MaxBytesReader(w, r.Body, askBytesMax))
		if err != nil {
			nethttp.Error(w, err.Error(), nethttp.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(s.Answer(r.Context(), request))
	})
	mux.HandleFunc("/", func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if strings.HasPrefix(r.URL.Path, "/raft") || r.Header.Get("X-Etcd-Cluster-Id") != "" || r.URL.Path == "/members" {
			log.Warn("an etcd member connects to the peer port: it cannot be a member of this cluster; check --initial-cluster there", "remote", r.RemoteAddr, "path", r.URL.Path)
			nethttp.Error(w, "this is quorate, not etcd: the two do not replicate to each other", nethttp.StatusNotImplemented)
			return
		}
		nethttp.Error(w, "this is a peer port; clients connect to the client URL", nethttp.StatusNotFound)
	})
	return mux
}

// PeerClient asks other members over HTTP on their peer port.
type PeerClient struct {
	cluster uint64
	client  *nethttp.Client
}

// NewPeerClient returns a client for members of a cluster; secure nil: clear text.
func NewPeerClient(cluster uint64, secure *tls.Config) *PeerClient {
	t := &nethttp.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, DialContext: (&net.Dialer{Timeout: time.Second}).DialContext}
	if secure != nil {
		t.TLSClientConfig = secure.Clone()
		t.TLSClientConfig.NextProtos = []string{alpnHTTP}
	}
	return &PeerClient{cluster: cluster, client: &nethttp.Client{Transport: t}}
}

// Close ends idle connections.
func (c *PeerClient) Close() { c.client.CloseIdleConnections() }

// Ask sends a request to a member's server. The error is a *server.Failure:
// refused if the request certainly did not arrive.
func (c *PeerClient) Ask(ctx context.Context, peerURLs []string, request []byte) ([]byte, error) {
	if len(peerURLs) == 0 {
		return nil, &server.Failure{Why: raft.NotLeader, Detail: "the leader's address is not known"}
	}
	r, err := nethttp.NewRequestWithContext(ctx, nethttp.MethodPost, peerURLs[0]+askPath, bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	r.Header.Set(headerCluster, strconv.FormatUint(c.cluster, 16))
	resp, err := c.client.Do(r)
	if err != nil {
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			return nil, &server.Failure{Why: raft.NotLeader, Detail: err.Error()}
		}
		return nil, &server.Failure{Unknown: true, Detail: err.Error()}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	if err != nil {
		return nil, &server.Failure{Unknown: true, Detail: err.Error()}
	}
	if resp.StatusCode != nethttp.StatusOK {
		return nil, &server.Failure{Why: raft.NotLeader, Detail: strings.TrimSpace(string(answer))}
	}
	return answer, nil
}

// Cluster asks a member who is in its cluster.
func (c *PeerClient) Cluster(ctx context.Context, peerURL string) (cluster uint64, members []membership.Member, err error) {
	r, err := nethttp.NewRequestWithContext(ctx, nethttp.MethodGet, peerURL+clusterPath, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := c.client.Do(r)
	if err != nil {
		var broken *url.Error
		if errors.As(err, &broken) {
			err = broken.Err
		}
		return 0, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != nethttp.StatusOK {
		return 0, nil, fmt.Errorf("it answers %s; is it a quorate member?", resp.Status)
	}
	var answer clusterAnswer
	if err := json.NewDecoder(io.LimitReader(resp.Body, answerMax)).Decode(&answer); err != nil {
		return 0, nil, fmt.Errorf("its answer does not parse (%v); is it a quorate member?", err)
	}
	cluster, err = strconv.ParseUint(answer.Cluster, 16, 64)
	return cluster, answer.Members, err
}
