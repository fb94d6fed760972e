package redis

import (
	"fmt"
	"strings"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// The cluster bus. Every message begins with the sender's header: its epochs, the
// shards that it (or its master) claims, its replication offset, and whom it does
// not hear.

// shards: one per master at the start. The clients write to shard 0, the watched
// one; the masters of the others are there to vote.
const shards = 3

type header struct {
	Epoch   uint64   // currentEpoch: the newest the sender knows
	Config  uint64   // configEpoch of the sender's claim, or of its master's
	Master  lab.Node // 0: the sender is a master
	Claims  uint8    // bit per shard: the sender's, or its master's
	Offset  int
	Failing []lab.Node // PFAIL or FAIL in the sender's eyes
}

type (
	Ping        struct{ header }
	Pong        struct{ header }
	Fail        struct{ Node lab.Node } // a majority of the masters does not hear it
	Update      struct{ Owner claim }   // whoever still claims these shards is wrong
	AuthRequest struct{ header }        // asks for a vote in epoch header.Epoch
	AuthAck     struct{ Epoch uint64 }

	// Conf is nodes.conf: what a node knows about the cluster, saved whole.
	Conf struct {
		Epoch, LastVote uint64
		Nodes           []claim // by node
	}
)

// claim is what is known of one node's place.
type claim struct {
	Node   lab.Node
	Master lab.Node // 0: a master
	Config uint64
	Claims uint8
}

func (Ping) Name() string        { return "PING" }
func (Pong) Name() string        { return "PONG" }
func (Fail) Name() string        { return "FAIL" }
func (Update) Name() string      { return "UPDATE" }
func (AuthRequest) Name() string { return "AUTH_REQUEST" }
func (AuthAck) Name() string     { return "AUTH_ACK" }
func (Conf) Name() string        { return "nodes.conf" }

func (h header) Fields() []trace.Field {
	return []trace.Field{
		trace.Num("epoch", h.Epoch), trace.Num("config-epoch", h.Config), trace.Num("offset", uint64(h.Offset)),
		trace.Text("failing", list(h.Failing)),
	}
}
func (m Fail) Fields() []trace.Field { return []trace.Field{trace.Num("node", m.Node)} }
func (m Update) Fields() []trace.Field {
	return []trace.Field{trace.Num("owner", m.Owner.Node), trace.Num("config-epoch", m.Owner.Config)}
}
func (m AuthAck) Fields() []trace.Field { return []trace.Field{trace.Num("epoch", m.Epoch)} }
func (m Conf) Fields() []trace.Field {
	return []trace.Field{trace.Num("epoch", m.Epoch), trace.Num("last-vote", m.LastVote)}
}

func (h header) Bytes() int { return 16 + 5*8 + 8*len(h.Failing) }
func (Update) Bytes() int   { return 16 + 3*8 }
func (m Conf) Bytes() int   { return 16 + 2*8 + 4*8*len(m.Nodes) }

func list(nodes []lab.Node) string {
	if len(nodes) == 0 {
		return "-"
	}
	var words []string
	for _, n := range nodes {
		words = append(words, fmt.Sprintf("n%d", n))
	}
	return strings.Join(words, ",")
}
