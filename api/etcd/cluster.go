package etcd

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/server"
)

type clusterService struct {
	pb.UnimplementedClusterServer
	s *server.Server
}

func member(m membership.Member) *pb.Member {
	return &pb.Member{
		ID: m.ID.Node, Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs,
		IsLearner: m.Role == membership.Learner,
	}
}

func members(list []membership.Member) []*pb.Member {
	out := make([]*pb.Member, len(list))
	for i, m := range list {
		out[i] = member(m)
	}
	return out
}

func (c *clusterService) MemberAdd(ctx context.Context, r *pb.MemberAddRequest) (*pb.MemberAddResponse, error) {
	h, m, list, err := c.s.MemberAdd(ctx, r.GetPeerURLs(), r.GetIsLearner())
	if err != nil {
		return nil, wireError(err)
	}
	return &pb.MemberAddResponse{Header: header(h), Member: member(m), Members: members(list)}, nil
}

func (c *clusterService) MemberRemove(ctx context.Context, r *pb.MemberRemoveRequest) (*pb.MemberRemoveResponse, error) {
	h, list, err := c.s.MemberRemove(ctx, r.GetID())
	if err != nil {
		return nil, wireError(err)
	}
	return &pb.MemberRemoveResponse{Header: header(h), Members: members(list)}, nil
}

func (c *clusterService) MemberUpdate(ctx context.Context, r *pb.MemberUpdateRequest) (*pb.MemberUpdateResponse, error) {
	h, list, err := c.s.MemberUpdate(ctx, r.GetID(), r.GetPeerURLs())
	if err != nil {
		return nil, wireError(err)
	}
	return &pb.MemberUpdateResponse{Header: header(h), Members: members(list)}, nil
}

func (c *clusterService) MemberList(ctx context.Context, r *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	h, list, err := c.s.Members(ctx, r.GetLinearizable())
	if err != nil {
		return nil, wireError(err)
	}
	return &pb.MemberListResponse{Header: header(h), Members: members(list)}, nil
}

func (c *clusterService) MemberPromote(ctx context.Context, r *pb.MemberPromoteRequest) (*pb.MemberPromoteResponse, error) {
	h, list, err := c.s.MemberPromote(ctx, r.GetID())
	if err != nil {
		return nil, wireError(err)
	}
	return &pb.MemberPromoteResponse{Header: header(h), Members: members(list)}, nil
}
