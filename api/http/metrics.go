package http

import (
	"fmt"
	nethttp "net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.etcd.io/etcd/api/v3/version"
	"google.golang.org/grpc/codes"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/server"
)

// Metrics exports what a member counts under etcd's names, where the meaning is
// the same; what etcd does not have begins with quorate_. It also counts calls
// for package api/etcd (its Observer).
type Metrics struct {
	registry         *prometheus.Registry
	started, handled *prometheus.CounterVec
	received, sent   *prometheus.CounterVec
	bytesSent        atomic.Uint64
	bytesReceived    atomic.Uint64
	calls            sync.Map // full method → *callMetrics: a call then costs no look-up by labels
}

// callMetrics are the counters of one method.
type callMetrics struct {
	started, received, sent, ok prometheus.Counter
}

// call finds or makes the counters of a method. The set of methods is fixed by
// the services, so the map does not grow.
func (m *Metrics) call(kind, full string) *callMetrics {
	if c, ok := m.calls.Load(full); ok {
		return c.(*callMetrics)
	}
	service, method := split(full)
	c, _ := m.calls.LoadOrStore(full, &callMetrics{
		started:  m.started.WithLabelValues(kind, service, method),
		received: m.received.WithLabelValues(kind, service, method),
		sent:     m.sent.WithLabelValues(kind, service, method),
		ok:       m.handled.WithLabelValues(kind, service, method, codes.OK.String()),
	})
	return c.(*callMetrics)
}

// NewMetrics returns metrics without a member; give it one with Watch.
func NewMetrics() *Metrics {
	labels := []string{"grpc_type", "grpc_service", "grpc_method"}
	vec := func(name, help string, labels []string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		started:  vec("grpc_server_started_total", "Calls begun.", labels),
		handled:  vec("grpc_server_handled_total", "Calls ended, by code.", append(labels, "grpc_code")),
		received: vec("grpc_server_msg_received_total", "Messages received.", labels),
		sent:     vec("grpc_server_msg_sent_total", "Messages sent.", labels),
	}
	m.registry.MustRegister(m.started, m.handled, m.received, m.sent,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	counter := func(name, help string, v *atomic.Uint64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(v.Load()) }))
	}
	counter("etcd_network_client_grpc_sent_bytes_total", "Bytes sent to gRPC clients.", &m.bytesSent)
	counter("etcd_network_client_grpc_received_bytes_total", "Bytes received from gRPC clients.", &m.bytesReceived)
	return m
}

// Watch adds a member's own metrics.
func (m *Metrics) Watch(s *server.Server) { m.registry.MustRegister(&memberMetrics{s: s}) }

// Handler serves /metrics.
func (m *Metrics) Handler() nethttp.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// split turns "/package.Service/Method" into service and method.
func split(full string) (service, method string) {
	service, method, _ = strings.Cut(strings.TrimPrefix(full, "/"), "/")
	return service, method
}

func (m *Metrics) Started(kind, full string)  { m.call(kind, full).started.Inc() }
func (m *Metrics) Received(kind, full string) { m.call(kind, full).received.Inc() }
func (m *Metrics) Sent(kind, full string)     { m.call(kind, full).sent.Inc() }

func (m *Metrics) Handled(kind, full string, code codes.Code) {
	if code == codes.OK {
		m.call(kind, full).ok.Inc()
		return
	}
	service, method := split(full)
	m.handled.WithLabelValues(kind, service, method, code.String()).Inc()
}

func (m *Metrics) Bytes(sent, received int) {
	m.bytesSent.Add(uint64(sent))
	m.bytesReceived.Add(uint64(received))
}

// memberMetrics reads a member when it is scraped.
type memberMetrics struct{ s *server.Server }

// Describe sends nothing: the set of metrics is fixed, but their labels are not.
func (c *memberMetrics) Describe(chan<- *prometheus.Desc) {}

func (c *memberMetrics) Collect(out chan<- prometheus.Metric) {
	v := c.s.Vitals()
	n := &c.s.Counters
	emit := func(kind prometheus.ValueType, name, help string, value float64, labels ...string) {
		var names, values []string
		for i := 0; i+1 < len(labels); i += 2 {
			names, values = append(names, labels[i]), append(values, labels[i+1])
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, value, values...)
	}
	gauge := func(name, help string, value float64, labels ...string) {
		emit(prometheus.GaugeValue, name, help, value, labels...)
	}
	counter := func(name, help string, value uint64) {
		emit(prometheus.CounterValue, name, help, float64(value))
	}
	gauge("etcd_server_has_leader", "Whether a leader is known. 1 is yes.", flag(v.Raft.Leader != id.None))
	gauge("etcd_server_is_leader", "Whether this member is the leader. 1 is yes.", flag(v.Raft.Role == raft.Leader))
	gauge("etcd_server_is_learner", "Whether this member is a learner. 1 is yes.", flag(v.Learner))
	counter("etcd_server_leader_changes_seen_total", "Leaders this member has seen come.", n.LeaderChanges.Load())
	gauge("etcd_server_proposals_committed_total", "Index of the last committed entry.", float64(max(v.Raft.Commit, v.Raft.Applied)))
	gauge("etcd_server_proposals_applied_total", "Index of the last applied entry.", float64(v.Raft.Applied))
	gauge("etcd_server_proposals_pending", "Proposals that wait on this member.", float64(v.Pending))
	counter("etcd_server_proposals_failed_total", "Proposals that failed on this member.", n.ProposalsFailed.Load())
	counter("etcd_server_read_indexes_failed_total", "Linearizable reads that failed on this member.", n.ReadsFailed.Load())
	gauge("etcd_server_quota_backend_bytes", "Quota in bytes; 0 is none.", float64(v.QuotaBytes))
	gauge("etcd_server_version", "Version of the etcd API; 1 for the label.", 1, "server_version", version.Version)
	gauge("etcd_cluster_version", "Version of the cluster; 1 for the label.", 1, "cluster_version", version.Cluster(version.Version))
	gauge("etcd_server_id", "This member; 1 for the label.", 1, "server_id", fmt.Sprintf("%x", c.s.HeaderAt(0).Member))
	gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes the store occupies.", float64(v.SizeBytes))
	gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes of it in use.", float64(v.SizeBytes))
	gauge("etcd_debugging_mvcc_current_revision", "Revision of the store.", float64(v.Revision))
	gauge("etcd_debugging_mvcc_compact_revision", "Revision of the last compaction.", float64(v.CompactRevision))
	gauge("etcd_debugging_mvcc_watch_stream_total", "Open watch streams.", float64(v.Watch.Streams))
	gauge("etcd_debugging_mvcc_watcher_total", "Watchers.", float64(v.Watch.Watchers))
	gauge("etcd_debugging_mvcc_slow_watcher_total", "Watchers that are behind.", float64(v.Watch.Behind))
	counter("etcd_debugging_mvcc_events_total", "Events sent to watchers.", n.WatchEventsSent.Load())
	counter("etcd_debugging_server_lease_expired_total", "Leases this member revoked as leader.", n.LeasesExpired.Load())
	counter("etcd_debugging_lease_renewed_total", "Renewals this member answered as leader.", n.LeasesRenewed.Load())
	counter("quorate_snapshots_installed_total", "Snapshots this member was brought up to date by, since its start.", n.SnapshotsInstalled.Load())
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
