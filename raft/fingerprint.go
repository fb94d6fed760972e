package raft

import (
	"encoding/binary"
	"slices"

	"github.com/quorate/quorate/internal/id"
)

// Fingerprint appends to b what decides this node's future between two passes.
// Two nodes of one Config with equal fingerprints answer the same events with
// the same effects, but for three things that are left out:
//
//   - what time it is and when which deadline falls: a search that visits every
//     order of events (sim/enumerate) lets a deadline fire when it chooses, so
//     only what is over counts, like a flight that is older than a heartbeat;
//   - whether a leader was heard recently, which is a question of time too;
//   - the random numbers, which only make deadlines and the first read's number.
//
// Tokens are counted from the newest durable one: what a former write was called
// decides nothing. name is what a member is called in the encoding; a search
// under which two followers are as good as each other passes the names swapped.
func (n *Node) Fingerprint(b []byte, name func(id.NodeID) byte) []byte {
	u := binary.AppendUvarint
	b = append(b, flags(n.halted, n.hardDirty, n.hintDue, n.started, n.election.moved, n.voter, n.wasMember, n.removed),
		flags(n.hasAck, n.hearsay, n.installing != nil, n.pending != nil))
	b = append(b, byte(n.role), name(n.vote), name(n.leader), name(n.transfer))
	b = u(b, uint64(n.term))
	b = u(b, uint64(n.issued-n.durable))
	b = u(b, uint64(n.hardAfter()-min(n.hardAfter(), n.durable)))
	b = u(b, uint64(n.hintSaved))
	b = u(b, uint64(n.ownTerm))
	b = u(b, uint64(n.commit))
	b = u(b, uint64(n.applied))
	b = u(b, uint64(n.applying))
	b = u(b, uint64(n.flushed))
	b = u(b, uint64(n.ack))
	b = u(b, uint64(len(n.claims)))
	for _, c := range n.claims {
		b = u(b, uint64(c.token-n.durable))
		b = u(b, uint64(c.last))
	}
	b = n.log.fingerprint(b)
	b = n.fingerprintOffice(b, name)
	for _, i := range []*Install{n.installing, n.pending} {
		if i != nil {
			b = append(b, name(i.From))
			b = u(b, uint64(i.Snapshot.Index))
			b = u(b, uint64(i.Snapshot.Term))
		}
	}
	return n.fingerprintReads(b, name)
}

// fingerprintOffice: the votes and the leader's work. Neither depends on the
// order in which members were heard.
func (n *Node) fingerprintOffice(b []byte, name func(id.NodeID) byte) []byte {
	u := binary.AppendUvarint
	sorted := func(count int, one func(int) []byte) {
		rows := make([][]byte, count)
		for i := range rows {
			rows[i] = one(i)
		}
		slices.SortFunc(rows, slices.Compare)
		b = u(b, uint64(count))
		for _, r := range rows {
			b = append(b, r...)
		}
	}
	sorted(len(n.votes), func(i int) []byte {
		return []byte{name(n.votes[i].from), flags(n.votes[i].granted)}
	})
	sorted(len(n.peers), func(i int) []byte {
		p := &n.peers[i]
		r := []byte{name(p.id), byte(p.state), flags(p.probed, p.asked, p.paused, p.departing, p.until != id.Never && p.until <= n.now)}
		for _, v := range []uint64{uint64(p.match), uint64(p.next), p.round, uint64(p.told), uint64(len(p.flights))} {
			r = u(r, v)
		}
		for _, f := range p.flights {
			r = u(r, uint64(f.last))
			r = u(r, uint64(f.bytes))
			r = append(r, flags(f.sent.Add(n.cfg.Heartbeat) <= n.now))
		}
		return r
	})
	sorted(len(n.loads), func(i int) []byte {
		return u([]byte{byte(n.loads[i].reason), name(n.loads[i].peer)}, uint64(n.loads[i].from))
	})
	sorted(len(n.shipping), func(i int) []byte { return []byte{name(n.shipping[i])} })
	return b
}

func (n *Node) fingerprintReads(b []byte, name func(id.NodeID) byte) []byte {
	u := binary.AppendUvarint
	b = u(b, n.round)
	b = u(b, uint64(n.assigned))
	b = u(b, uint64(len(n.reads)))
	for _, r := range n.reads {
		b = append(b, name(r.from))
		for _, v := range []uint64{uint64(r.id), r.ask, r.round, uint64(r.index)} {
			b = u(b, v)
		}
	}
	b = u(b, uint64(len(n.asked)))
	for _, a := range n.asked {
		b = u(b, uint64(a.id))
		b = u(b, a.ask-min(a.ask, n.askedSeq&^0xffff))
	}
	return b
}

// fingerprint: the log by what its entries are, not by how they are kept.
func (l *entryLog) fingerprint(b []byte) []byte {
	u := binary.AppendUvarint
	for _, v := range []uint64{uint64(l.start.Index), uint64(l.start.Term), uint64(l.last), uint64(l.durable), uint64(l.handed), uint64(len(l.tail))} {
		b = u(b, v)
	}
	b = u(b, uint64(len(l.runs)))
	for _, r := range l.runs {
		b = u(u(b, uint64(r.First)), uint64(r.Term))
	}
	b = u(b, uint64(len(l.configs)))
	for _, c := range l.configs {
		b = append(u(u(b, uint64(c.Index)), c.Config.Version), flags(c.Config.Joint))
	}
	for i := range l.tail {
		e := &l.tail[i]
		b = append(b, byte(e.Kind))
		b = u(u(b, e.Proposal.Origin.Node), uint64(e.Proposal.Origin.Incarnation))
		b = u(u(b, e.Proposal.Sequence), uint64(len(e.Data)))
		b = append(b, e.Data...)
	}
	return b
}

func flags(on ...bool) byte {
	b := byte(0)
	for i, v := range on {
		b |= byte(bit(v)) << i
	}
	return b
}
