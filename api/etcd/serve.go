package etcd

import (
	"context"
	"math"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/quorate/quorate/server"
)

// Options of the gRPC face.
type Options struct {
	RequestBytesMax   int           // etcd's --max-request-bytes; gRPC receives 512 KiB more. 1.5 MiB
	StreamsMax        uint32        // per connection; 0: no limit
	KeepaliveMinTime  time.Duration // clients that ping more often are disconnected. 5 s
	KeepaliveInterval time.Duration // pings to an idle client. 2 h; < 0: none
	KeepaliveTimeout  time.Duration // wait for the answer. 20 s
	Election          time.Duration // a stream that asked for a leader ends after three of them without one. 300 ms
	Observe           Observer      // nil: nobody counts
}

// Observer counts calls. It is called by many goroutines.
type Observer interface {
	Started(kind, method string)
	Handled(kind, method string, code codes.Code)
	Received(kind, method string)
	Sent(kind, method string)
	Bytes(sent, received int)
}

// grpcOverheadBytes is what a message may be larger than a request: etcd's.
const grpcOverheadBytes = 512 << 10

func (o Options) withDefaults() Options {
	if o.RequestBytesMax == 0 {
		o.RequestBytesMax = 1536 << 10
	}
	if o.StreamsMax == 0 {
		o.StreamsMax = math.MaxUint32
	}
	if o.KeepaliveMinTime == 0 {
		o.KeepaliveMinTime = 5 * time.Second
	}
	if o.KeepaliveInterval == 0 {
		o.KeepaliveInterval = 2 * time.Hour
	}
	if o.KeepaliveTimeout == 0 {
		o.KeepaliveTimeout = 20 * time.Second
	}
	if o.Election == 0 {
		o.Election = 300 * time.Millisecond
	}
	if o.Observe == nil {
		o.Observe = nobody{}
	}
	return o
}

// New returns a gRPC server with every service of s registered. Stop it before s.
func New(s *server.Server, o Options) *grpc.Server {
	o = o.withDefaults()
	g := &gate{s: s, o: o}
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(o.RequestBytesMax + grpcOverheadBytes),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.MaxConcurrentStreams(o.StreamsMax),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: o.KeepaliveMinTime}),
		grpc.UnaryInterceptor(g.unary),
		grpc.StreamInterceptor(g.stream),
		grpc.StatsHandler(byteCounter{o.Observe}),
	}
	if o.KeepaliveInterval > 0 {
		options = append(options, grpc.KeepaliveParams(keepalive.ServerParameters{Time: o.KeepaliveInterval, Timeout: o.KeepaliveTimeout}))
	}
	rpc := grpc.NewServer(options...)
	pb.RegisterKVServer(rpc, &kvService{s: s})
	pb.RegisterWatchServer(rpc, &watchService{s: s})
	pb.RegisterLeaseServer(rpc, &leaseService{s: s})
	pb.RegisterClusterServer(rpc, &clusterService{s: s})
	pb.RegisterMaintenanceServer(rpc, &maintenanceService{s: s})
	pb.RegisterAuthServer(rpc, &authService{s: s})
	healthpb.RegisterHealthServer(rpc, health.NewServer())
	return rpc
}

var errStreamOrder = status.Error(codes.Unimplemented, "etcdserver: range stream supports neither a custom order nor filters")

// gate is what every call passes.
type gate struct {
	s *server.Server
	o Options
}

const (
	unaryKind  = "unary"
	streamKind = "bidi_stream"
)

func (g *gate) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	g.o.Observe.Started(unaryKind, info.FullMethod)
	g.o.Observe.Received(unaryKind, info.FullMethod)
	res, err := g.admitUnary(ctx, req, handler)
	g.o.Observe.Handled(unaryKind, info.FullMethod, status.Code(err))
	if err == nil {
		g.o.Observe.Sent(unaryKind, info.FullMethod)
	}
	return res, err
}

func (g *gate) admitUnary(ctx context.Context, req any, handler grpc.UnaryHandler) (any, error) {
	if err := checkMetadata(ctx); err != nil {
		return nil, err
	}
	if g.s.IsLearner() && !servedByLearner(req) {
		return nil, rpctypes.ErrGRPCNotSupportedForLearner
	}
	if wantsLeader(ctx) && !g.s.HasLeader() {
		return nil, rpctypes.ErrGRPCNoLeader
	}
	return handler(ctx, req)
}

// servedByLearner is etcd's rule: what needs no majority.
func servedByLearner(req any) bool {
	switch r := req.(type) {
	case *pb.StatusRequest, *healthpb.HealthCheckRequest:
		return true
	case *pb.RangeRequest:
		return r.GetSerializable()
	}
	return false
}

func (g *gate) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	g.o.Observe.Started(streamKind, info.FullMethod)
	err := g.admitStream(srv, counted{stream, g.o.Observe, info.FullMethod}, info, handler)
	g.o.Observe.Handled(streamKind, info.FullMethod, status.Code(err))
	return err
}

func (g *gate) admitStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := checkMetadata(stream.Context()); err != nil {
		return err
	}
	if g.s.IsLearner() && info.FullMethod != pb.Maintenance_Snapshot_FullMethodName && info.FullMethod != healthpb.Health_Watch_FullMethodName {
		return rpctypes.ErrGRPCNotSupportedForLearner
	}
	if !wantsLeader(stream.Context()) {
		return handler(srv, stream)
	}
	if !g.s.HasLeader() {
		return rpctypes.ErrGRPCNoLeader
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	stop := g.s.WithoutLeader(3*g.o.Election, func() { cancel(rpctypes.ErrGRPCNoLeader) })
	defer stop()
	err := handler(srv, withContext{stream, ctx})
	if context.Cause(ctx) == rpctypes.ErrGRPCNoLeader {
		return rpctypes.ErrGRPCNoLeader
	}
	return err
}

// counted counts a stream's messages.
type counted struct {
	grpc.ServerStream
	observe Observer
	method  string
}

func (c counted) SendMsg(m any) error {
	err := c.ServerStream.SendMsg(m)
	if err == nil {
		c.observe.Sent(streamKind, c.method)
	}
	return err
}

func (c counted) RecvMsg(m any) error {
	err := c.ServerStream.RecvMsg(m)
	if err == nil {
		c.observe.Received(streamKind, c.method)
	}
	return err
}

type withContext struct {
	grpc.ServerStream
	ctx context.Context
}

func (w withContext) Context() context.Context { return w.ctx }

// wantsLeader reports whether the client would rather fail than wait for one.
func wantsLeader(ctx context.Context) bool {
	md, _ := metadata.FromIncomingContext(ctx)
	return slices.Contains(md.Get(rpctypes.MetadataRequireLeaderKey), rpctypes.MetadataHasLeader)
}

// checkMetadata refuses a client version that is not UTF-8 text, as etcd does;
// what it says does not matter yet.
func checkMetadata(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	for _, v := range md.Get(rpctypes.MetadataClientAPIVersionKey) {
		if !validUTF8(v) {
			return rpctypes.ErrGRPCInvalidClientAPIVersion
		}
	}
	return nil
}
