package http

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	nethttp "net/http"
	"net/http/pprof"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/version"

	"github.com/quorate/quorate/kv"
	"github.com/quorate/quorate/kv/mvcc"
	"github.com/quorate/quorate/server"
)

// Options of the HTTP face.
type Options struct {
	RequestBytesMax int64           // body of a PUT. 1.5 MiB
	Metrics         nethttp.Handler // for /metrics; nil: 404
	Profiles        bool            // serve /debug/pprof/
}

const (
	kvPrefix      = "/v1/kv/"
	headerTimeout = 10 * time.Second // for a request's headers
	healthTimeout = 5 * time.Second
)

// Server returns an HTTP server for the client port's HTTP side.
func Server(h nethttp.Handler) *nethttp.Server {
	return &nethttp.Server{Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
}

// New returns everything the client port serves over HTTP.
func New(s *server.Server, o Options) nethttp.Handler {
	if o.RequestBytesMax == 0 {
		o.RequestBytesMax = 1536 << 10
	}
	d := &door{s: s, o: o}
	mux := operators(s, o)
	if o.Profiles {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	}
	mux.HandleFunc("/", func(w nethttp.ResponseWriter, r *nethttp.Request) {
		nethttp.Error(w, "nothing here; the store is at /v1/kv/KEY, etcd's API is gRPC on this port", nethttp.StatusNotFound)
	})
	return nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		// Before the mux, which would clean the path: every byte of a key counts.
		if raw, ok := strings.CutPrefix(r.URL.EscapedPath(), kvPrefix); ok {
			d.serve(w, r, raw)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// NewOperators returns only what --listen-metrics-urls serves.
func NewOperators(s *server.Server, o Options) nethttp.Handler { return operators(s, o) }

func operators(s *server.Server, o Options) *nethttp.ServeMux {
	mux := nethttp.NewServeMux()
	mux.HandleFunc("/health", func(w nethttp.ResponseWriter, r *nethttp.Request) { healthCheck(s, w, r) })
	mux.HandleFunc("/version", func(w nethttp.ResponseWriter, r *nethttp.Request) { versions(s, w, r) })
	if o.Metrics != nil {
		mux.Handle("/metrics", o.Metrics)
	}
	return mux
}

// healthCheck answers as etcd's /health does; balancers and kubelets parse it.
func healthCheck(s *server.Server, w nethttp.ResponseWriter, r *nethttp.Request) {
	if r.Method != nethttp.MethodGet {
		w.Header().Set("Allow", nethttp.MethodGet)
		nethttp.Error(w, "Method Not Allowed", nethttp.StatusMethodNotAllowed)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	query := r.URL.Query()
	err := s.Healthy(ctx, query.Get("serializable") == "true", query["exclude"])
	answer := struct {
		Health string `json:"health"`
		Reason string `json:"reason"`
	}{Health: "true"}
	code := nethttp.StatusOK
	if err != nil {
		answer.Health, answer.Reason, code = "false", err.Error(), nethttp.StatusServiceUnavailable
	}
	writeJSON(w, code, answer)
}

func versions(s *server.Server, w nethttp.ResponseWriter, r *nethttp.Request) {
	if r.Method != nethttp.MethodGet {
		w.Header().Set("Allow", nethttp.MethodGet)
		nethttp.Error(w, "Method Not Allowed", nethttp.StatusMethodNotAllowed)
		return
	}
	writeJSON(w, nethttp.StatusOK, version.Versions{Server: version.Version, Cluster: version.Cluster(version.Version) + ".0", Storage: version.Cluster(version.Version) + ".0"})
}

func writeJSON(w nethttp.ResponseWriter, code int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		nethttp.Error(w, err.Error(), nethttp.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(text)
}

// door is the plain key-value door.
type door struct {
	s *server.Server
	o Options
}

// Headers of answers.
const (
	headerRevision = "Quorate-Revision" // GET: of the last write of the key; else of the store
	headerVersion  = "Quorate-Version"  // writes since the key was created
)

func (d *door) serve(w nethttp.ResponseWriter, r *nethttp.Request, raw string) {
	unescaped, err := url.PathUnescape(raw)
	if err != nil {
		nethttp.Error(w, fmt.Sprintf("key %q is not percent-encoded", raw), nethttp.StatusBadRequest)
		return
	}
	key := []byte(unescaped)
	switch r.Method {
	case nethttp.MethodGet, nethttp.MethodHead:
		d.get(w, r, key)
	case nethttp.MethodPut:
		d.put(w, r, key)
	case nethttp.MethodDelete:
		d.delete(w, r, key)
	default:
		w.Header().Set("Allow", "GET, HEAD, PUT, DELETE")
		nethttp.Error(w, "a key takes GET, PUT and DELETE", nethttp.StatusMethodNotAllowed)
	}
}

func (d *door) get(w nethttp.ResponseWriter, r *nethttp.Request, key []byte) {
	_, res, err := d.s.Range(r.Context(), &mvcc.RangeRequest{Key: key}, r.URL.Query().Get("serializable") == "true")
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set(headerRevision, strconv.FormatInt(res.Revision, 10))
	if len(res.KVs) == 0 {
		nethttp.Error(w, "no such key", nethttp.StatusNotFound)
		return
	}
	found := res.KVs[0]
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set(headerRevision, strconv.FormatInt(found.ModRevision, 10))
	w.Header().Set(headerVersion, strconv.FormatInt(found.Version, 10))
	w.Header().Set("Content-Length", strconv.Itoa(len(found.Value)))
	w.Write(found.Value)
}

func (d *door) put(w nethttp.ResponseWriter, r *nethttp.Request, key []byte) {
	value, err := io.ReadAll(nethttp.MaxBytesReader(w, r.Body, d.o.RequestBytesMax))
	var large *nethttp.MaxBytesError
	if errors.As(err, &large) {
		fail(w, server.ErrRequestTooLarge)
		return
	}
	if err != nil {
		nethttp.Error(w, "the body could not be read: "+err.Error(), nethttp.StatusBadRequest)
		return
	}
	h, _, err := d.s.Put(r.Context(), &mvcc.PutRequest{Key: key, Value: value})
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set(headerRevision, strconv.FormatInt(h.Revision, 10))
	w.WriteHeader(nethttp.StatusNoContent)
}

func (d *door) delete(w nethttp.ResponseWriter, r *nethttp.Request, key []byte) {
	h, res, err := d.s.DeleteRange(r.Context(), &mvcc.DeleteRangeRequest{Key: key})
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set(headerRevision, strconv.FormatInt(h.Revision, 10))
	if res.Deleted == 0 {
		nethttp.Error(w, "no such key", nethttp.StatusNotFound)
		return
	}
	w.WriteHeader(nethttp.StatusNoContent)
}

// fail answers with the error's text. 503 is for what may work a moment later;
// 504 leaves open whether the write took effect.
func fail(w nethttp.ResponseWriter, err error) {
	code := nethttp.StatusInternalServerError
	switch {
	case errors.Is(err, mvcc.ErrEmptyKey):
		code = nethttp.StatusBadRequest
	case errors.Is(err, server.ErrRequestTooLarge):
		code = nethttp.StatusRequestEntityTooLarge
	case errors.Is(err, server.ErrTooManyRequests):
		code = nethttp.StatusTooManyRequests
	case errors.Is(err, kv.ErrNoSpace):
		code = nethttp.StatusInsufficientStorage
	case errors.Is(err, server.ErrNoLeader), errors.Is(err, server.ErrStopped):
		code = nethttp.StatusServiceUnavailable
	case server.Unknown(err):
		code = nethttp.StatusGatewayTimeout
	}
	nethttp.Error(w, err.Error(), code)
}
