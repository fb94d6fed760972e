package etcd

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/version"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv"
	"github.com/quorate/quorate/server"
)

// maintenanceService leaves Snapshot and Downgrade unimplemented.
type maintenanceService struct {
	pb.UnimplementedMaintenanceServer
	s *server.Server
}

func alarms(list []kv.Alarm) []*pb.AlarmMember {
	out := make([]*pb.AlarmMember, len(list))
	for i, a := range list {
		out[i] = &pb.AlarmMember{MemberID: a.Member, Alarm: pb.AlarmType(a.Type)}
	}
	return out
}

func (m *maintenanceService) Alarm(ctx context.Context, r *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	if _, ok := pb.AlarmType_name[int32(r.GetAlarm())]; !ok {
		return nil, status.Errorf(codes.InvalidArgument, "etcdserver: unknown alarm %d", r.GetAlarm())
	}
	alarm := kv.Alarm{Type: kv.AlarmType(r.GetAlarm()), Member: r.GetMemberID()}
	var h server.Header
	var list []kv.Alarm
	var err error
	switch r.GetAction() {
	case pb.AlarmRequest_GET:
		h, list, err = m.s.Alarms(ctx)
		if alarm.Type != kv.AlarmNone {
			list = keep(list, alarm.Type)
		}
	case pb.AlarmRequest_ACTIVATE:
		h, list, err = m.s.ChangeAlarm(ctx, true, alarm)
	case pb.AlarmRequest_DEACTIVATE:
		h, list, err = m.s.ChangeAlarm(ctx, false, alarm)
	default:
		return nil, status.Errorf(codes.InvalidArgument, "etcdserver: unknown alarm action %d", r.GetAction())
	}
	if err != nil {
		return nil, wireError(err)
	}
	return &pb.AlarmResponse{Header: header(h), Alarms: alarms(list)}, nil
}

func keep(list []kv.Alarm, t kv.AlarmType) []kv.Alarm {
	var out []kv.Alarm
	for _, a := range list {
		if a.Type == t {
			out = append(out, a)
		}
	}
	return out
}

// storageVersion is what Status reports: the format etcd's tools know.
const storageVersion = "3.7.0"

func (m *maintenanceService) Status(ctx context.Context, _ *pb.StatusRequest) (*pb.StatusResponse, error) {
	st, err := m.s.Status(ctx)
	if err != nil {
		return nil, wireError(err)
	}
	out := &pb.StatusResponse{
		Header: header(st.Header), Version: version.Version,
		DbSize: st.Size, DbSizeInUse: st.InUse, DbSizeQuota: st.Quota,
		Leader: st.Raft.Leader.Node, RaftTerm: uint64(st.Raft.Term),
		RaftIndex: uint64(st.Raft.Commit), RaftAppliedIndex: uint64(st.Raft.Applied),
		IsLearner: st.Learner, StorageVersion: storageVersion, DowngradeInfo: &pb.DowngradeInfo{},
	}
	if st.Raft.Leader == id.None {
		out.Errors = append(out.Errors, string(server.ErrNoLeader))
	}
	for _, a := range alarms(st.Alarms) {
		out.Errors = append(out.Errors, a.String())
	}
	return out, nil
}

func (m *maintenanceService) Defragment(ctx context.Context, _ *pb.DefragmentRequest) (*pb.DefragmentResponse, error) {
	h, err := m.s.Defragment(ctx)
	if err != nil {
		return nil, wireError(err)
	}
	return &pb.DefragmentResponse{Header: header(h)}, nil
}

// Hash hashes what HashKV hashes: there is no database file to hash.
func (m *maintenanceService) Hash(ctx context.Context, _ *pb.HashRequest) (*pb.HashResponse, error) {
	h, hash, err := m.s.HashKV(ctx, 0)
	if err != nil {
		return nil, wireError(err)
	}
	return &pb.HashResponse{Header: header(h), Hash: hash.Hash}, nil
}

func (m *maintenanceService) HashKV(ctx context.Context, r *pb.HashKVRequest) (*pb.HashKVResponse, error) {
	h, hash, err := m.s.HashKV(ctx, r.GetRevision())
	if err != nil {
		return nil, wireError(err)
	}
	return &pb.HashKVResponse{Header: header(h), Hash: hash.Hash, HashRevision: hash.Revision, CompactRevision: hash.CompactRevision}, nil
}

func (m *maintenanceService) MoveLeader(ctx context.Context, r *pb.MoveLeaderRequest) (*pb.MoveLeaderResponse, error) {
	h, err := m.s.MoveLeader(ctx, r.GetTargetID())
	if err != nil {
		return nil, wireError(err)
	}
	return &pb.MoveLeaderResponse{Header: header(h)}, nil
}
