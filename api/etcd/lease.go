package etcd

import (
	"context"
	"errors"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/quorate/quorate/server"
)

type leaseService struct {
	pb.UnimplementedLeaseServer
	s *server.Server
}

func (l *leaseService) LeaseGrant(ctx context.Context, r *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	h, granted, err := l.s.LeaseGrant(ctx, r.GetID(), r.GetTTL())
	if err != nil {
		return nil, wireError(err)
	}
	return &pb.LeaseGrantResponse{Header: header(h), ID: granted.ID, TTL: granted.TTL}, nil
}

func (l *leaseService) LeaseRevoke(ctx context.Context, r *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
	h, err := l.s.LeaseRevoke(ctx, r.GetID())
	if err != nil {
		return nil, wireError(err)
	}
	return &pb.LeaseRevokeResponse{Header: header(h)}, nil
}

// LeaseKeepAlive answers one request after the other: a client that sends faster
// than it is answered is slowed down by its own stream.
func (l *leaseService) LeaseKeepAlive(stream grpc.BidiStreamingServer[pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse]) error {
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		h, ttl, err := l.s.LeaseRenew(stream.Context(), r.GetID())
		if err != nil {
			return wireError(err)
		}
		if err := stream.Send(&pb.LeaseKeepAliveResponse{Header: header(h), ID: r.GetID(), TTL: ttl}); err != nil {
			return err
		}
	}
}

func (l *leaseService) LeaseTimeToLive(ctx context.Context, r *pb.LeaseTimeToLiveRequest) (*pb.LeaseTimeToLiveResponse, error) {
	h, left, err := l.s.LeaseTimeToLive(ctx, r.GetID(), r.GetKeys())
	if err != nil {
		return nil, wireError(err)
	}
	return &pb.LeaseTimeToLiveResponse{Header: header(h), ID: r.GetID(), TTL: left.Left, GrantedTTL: left.Granted, Keys: left.Keys}, nil
}

func (l *leaseService) LeaseLeases(ctx context.Context, _ *pb.LeaseLeasesRequest) (*pb.LeaseLeasesResponse, error) {
	h, leases, err := l.s.Leases(ctx)
	if err != nil {
		return nil, wireError(err)
	}
	out := &pb.LeaseLeasesResponse{Header: header(h)}
	for _, x := range leases {
		out.Leases = append(out.Leases, &pb.LeaseStatus{ID: x.ID})
	}
	return out, nil
}
