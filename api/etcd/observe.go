package etcd

import (
	"context"
	"unicode/utf8"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"

	"github.com/quorate/quorate/server"
)

func validUTF8(s string) bool { return utf8.ValidString(s) }

// nobody is an Observer that does not look.
type nobody struct{}

func (nobody) Started(string, string)             {}
func (nobody) Handled(string, string, codes.Code) {}
func (nobody) Received(string, string)            {}
func (nobody) Sent(string, string)                {}
func (nobody) Bytes(int, int)                     {}

// byteCounter counts bytes of payloads.
type byteCounter struct{ observe Observer }

func (byteCounter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (byteCounter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (byteCounter) HandleConn(context.Context, stats.ConnStats)                       {}

func (b byteCounter) HandleRPC(_ context.Context, s stats.RPCStats) {
	switch s := s.(type) {
	case *stats.InPayload:
		b.observe.Bytes(0, s.WireLength)
	case *stats.OutPayload:
		b.observe.Bytes(s.WireLength, 0)
	}
}

// authService says that authentication is off, which is true; everything else
// about it is not built yet.
type authService struct {
	pb.UnimplementedAuthServer
	s *server.Server
}

func (a *authService) AuthStatus(ctx context.Context, _ *pb.AuthStatusRequest) (*pb.AuthStatusResponse, error) {
	h, err := a.s.Header(ctx)
	if err != nil {
		return nil, wireError(err)
	}
	return &pb.AuthStatusResponse{Header: header(h), AuthRevision: 1}, nil
}
