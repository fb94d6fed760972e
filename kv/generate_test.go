package kv

import (
	"fmt"
	"math/rand/v2"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/lease"
	"github.com/quorate/quorate/kv/mvcc"
)

// generator makes random commands over few keys and leases, so that they meet.
type generator struct {
	*rand.Rand
	revision int64 // roughly the store's
	term     id.Term
}

func newGenerator(seed uint64) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, 4)), revision: 1, term: 1}
}

func (g *generator) key() []byte   { return fmt.Appendf(nil, "k%d", g.IntN(12)) }
func (g *generator) value() []byte { return fmt.Appendf(nil, "v%d", g.IntN(1000)) }
func (g *generator) flip() bool    { return g.IntN(4) == 0 }

func (g *generator) lease() lease.ID { return lease.ID(g.IntN(5)) - 1 } // -1 and 0 among them

func (g *generator) end() []byte {
	switch g.IntN(6) {
	case 0:
		return []byte{0}
	case 1, 2:
		return g.key()
	}
	return nil
}

func (g *generator) put() *mvcc.PutRequest {
	p := &mvcc.PutRequest{Key: g.key(), Value: g.value(), PrevKV: g.flip()}
	switch g.IntN(8) {
	case 0:
		p.Value, p.IgnoreValue = nil, true
	case 1:
		p.IgnoreLease = true
	case 2, 3:
		p.Lease = g.lease()
	case 4:
		p.Key = nil
	}
	return p
}

func (g *generator) deleteRange() *mvcc.DeleteRangeRequest {
	return &mvcc.DeleteRangeRequest{Key: g.key(), End: g.end(), PrevKV: g.flip()}
}

func (g *generator) rangeRequest() *mvcc.RangeRequest {
	r := &mvcc.RangeRequest{
		Key: g.key(), End: g.end(), Limit: int64(g.IntN(4)), KeysOnly: g.flip(), CountOnly: g.flip(),
		SortOrder: mvcc.SortOrder(g.IntN(3)), SortTarget: mvcc.SortTarget(g.IntN(5)),
	}
	if g.flip() {
		r.Revision = g.Int64N(g.revision + 2)
	}
	if g.flip() {
		r.MinModRevision, r.MaxCreateRevision = g.Int64N(g.revision+1), g.Int64N(g.revision+1)
	}
	return r
}

func (g *generator) txn(depth int) *mvcc.TxnRequest {
	t := &mvcc.TxnRequest{}
	for range g.IntN(3) {
		t.Compare = append(t.Compare, mvcc.Compare{
			Result: mvcc.CompareResult(g.IntN(4)), Target: mvcc.CompareTarget(g.IntN(5)),
			Key: g.key(), End: g.end(), Number: g.Int64N(4), Value: g.value(),
		})
	}
	for _, branch := range []*[]mvcc.Op{&t.Success, &t.Failure} {
		for range g.IntN(4) {
			var o mvcc.Op
			switch n := g.IntN(10); {
			case n < 4:
				o.Put = g.put()
			case n < 6:
				o.DeleteRange = g.deleteRange()
			case n < 8 || depth == 0:
				o.Range = g.rangeRequest()
			default:
				o.Txn = g.txn(depth - 1)
			}
			*branch = append(*branch, o)
		}
	}
	return t
}

func (g *generator) op() (o Op) {
	switch n := g.IntN(100); {
	case n < 45:
		o.Put = g.put()
	case n < 55:
		o.DeleteRange = g.deleteRange()
	case n < 75:
		o.Txn = g.txn(2)
	case n < 79:
		o.Compact = &Compact{Revision: g.Int64N(g.revision + 3)}
	case n < 87:
		o.LeaseGrant = &LeaseGrant{ID: g.lease(), TTL: g.Int64N(100)}
	case n < 90:
		o.LeaseRevoke = &LeaseRevoke{ID: g.lease()}
	case n < 92:
		o.LeaseRevoke = &LeaseRevoke{ID: g.lease(), Expired: true, Term: g.term - id.Term(g.IntN(2))}
	case n < 95:
		o.LeaseCheckpoint = &LeaseCheckpoint{Term: g.term - id.Term(g.IntN(2))}
		for range g.IntN(3) {
			o.LeaseCheckpoint.Checkpoints = append(o.LeaseCheckpoint.Checkpoints, lease.Checkpoint{ID: g.lease(), Remaining: g.Int64N(50)})
		}
	case n < 96:
		o.Alarm = &AlarmChange{Raise: true, Alarm: Alarm{Type: AlarmType(g.IntN(3)), Member: g.Uint64N(3)}}
	case n < 98:
		o.Alarm = &AlarmChange{Alarm: Alarm{Type: AlarmNone}}
	case n < 99:
		o.ClusterVersion = &ClusterVersion{Major: 1, Minor: g.Uint32N(5)}
	default:
		o.Advance = &Advance{}
	}
	return o
}

func (g *generator) command() *Command {
	c := &Command{RequestID: g.Uint64(), Op: g.op()}
	switch g.IntN(30) {
	case 0:
		c.Session = Session{ID: g.Uint64(), Sequence: g.Uint64()}
	case 1:
		c.Keyspace = 1 + g.Uint64N(9)
	case 2, 3, 4:
		c.User, c.AuthRevision = "alice", g.Uint64N(9)
	}
	if g.flip() {
		c.Time = g.Int64()
	}
	return c
}
