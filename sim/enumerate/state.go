package enumerate

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/wire"
)

// A state of the whole group. There are few different members and messages, and
// many combinations of them: each different one exists once, is never changed and
// has a number, and a state is mostly a handful of these numbers. What a member
// does with an input is computed once (local.go).

const members = 3

// client is where proposals come from: no member has this name.
var client = id.NodeID{Node: 9}

func nodeID(i int) id.NodeID { return id.NodeID{Node: uint64(i + 1)} }

// member is one node and what is around it.
type member struct {
	self  int
	node  *raft.Node // nil while it is down
	clock id.Time    // its own: no message carries time, so clocks need not agree

	// The disk. What is behind is what a crash leaves.
	hard raft.HardState
	disk []raft.Entry // entry i+1 at i: these logs are never cut

	// Gone with a crash.
	writes  []raft.Persist // not durable yet, in order
	held    []raft.Send    // wait for a write
	durable id.Token
	waiting []placed // proposals whose clients wait here
	owed    byte     // attempts that are applied and not answered yet

	// What the node knows, for whoever looks often.
	role   raft.Role
	term   id.Term
	commit id.Index
	log    []raft.Entry // in memory, or on the disk if it is down

	number [2]uint32 // of its encoding under plain and under swapped names
}

type placed struct {
	attempt byte
	index   id.Index
	term    id.Term
}

// packet is a message in flight.
type packet struct {
	from, to int
	message  raft.Message
	body     string    // in wire's encoding: it names no member
	number   [2]uint32 // of its encoding under plain and under swapped names
}

// state is everything: three members, the messages in flight, and what the
// checks have to remember (history.go).
type state struct {
	members [members]*member
	net     []*packet // by number
	past    history
}

// names[1] swaps the two that started as followers: one is as good as the other.
var names = [2]func(id.NodeID) byte{
	func(n id.NodeID) byte { return byte(n.Node) },
	func(n id.NodeID) byte { return swapped[n.Node&15] },
}

var swapped = [16]byte{0, 1, 3, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// settings of the members. Nothing may happen by time alone, so what a timer
// measures is out of reach; the search moves a clock to a deadline when it wants.
func (g *search) config(i int) raft.Config {
	c := raft.Config{
		Group: 1, Self: nodeID(i), Seed: uint64(i + 1),
		ElectionMax: 1_000_000 * id.Second, DiskStall: 1_000_000_000 * id.Second, Faults: g.faults,
	}
	if g.Options.OneEntryPerMessage {
		c.MessageBytes = 1
	}
	return c.WithDefaults()
}

func group() (membership.Config, error) {
	var ms []membership.Member
	for i := range members {
		ms = append(ms, membership.Member{ID: nodeID(i), Role: membership.Voter, Name: nodeID(i).String()})
	}
	return membership.Bootstrap(ms)
}

// restored is what a start finds on m's disk. The machine is one in memory: it
// has applied nothing.
func (m *member) restored(c membership.Config) raft.Restored {
	r := raft.Restored{Hard: m.hard, Start: raft.LogStart{Config: c}, Last: id.Index(len(m.disk)), Tail: m.disk}
	last := id.Term(0)
	for _, e := range m.disk {
		if e.Term != last {
			r.Terms = append(r.Terms, raft.TermRun{First: e.Index, Term: e.Term})
			last = e.Term
		}
	}
	return r
}

// encode takes down what the member is.
func (m *member) encode(b []byte, name func(id.NodeID) byte) []byte {
	b = append(b, 'm', name(nodeID(m.self)))
	b = binary.AppendUvarint(b, uint64(m.hard.Term))
	b = append(b, name(m.hard.Vote), byte(m.hard.Commit))
	b = appendEntries(b, m.disk)
	if m.node == nil {
		return append(b, 0)
	}
	b = append(b, 1, m.owed, byte(len(m.waiting)))
	for _, p := range m.waiting {
		b = append(b, p.attempt, byte(p.index), byte(p.term))
	}
	b = append(b, byte(len(m.writes)))
	for _, p := range m.writes {
		b = append(b, byte(p.Token-m.durable), byte(p.Hard.Term), name(p.Hard.Vote), byte(p.Hard.Commit))
		b = appendEntries(b, p.Entries)
	}
	b = append(b, byte(len(m.held)))
	for _, s := range m.held {
		message := wire.AppendMessage(nil, s.Message)
		b = append(b, name(s.To), byte(s.After-m.durable), byte(len(message)))
		b = append(b, message...)
	}
	return m.node.Fingerprint(b, name)
}

func appendEntries(b []byte, entries []raft.Entry) []byte {
	b = append(b, byte(len(entries)))
	for i := range entries {
		e := &entries[i]
		b = append(b, byte(e.Index), byte(e.Term), byte(e.Kind), byte(e.Proposal.Sequence))
	}
	return b
}

// numbers gives out a number per encoding.
type numbers map[string]uint32

func (n numbers) of(encoding []byte) uint32 {
	if k, ok := n[string(encoding)]; ok {
		return k
	}
	k := uint32(len(n))
	n[string(encoding)] = k
	return k
}

// one returns the one member that is like m.
func (g *search) one(m *member) *member {
	for k, name := range names {
		g.buffer = m.encode(g.buffer[:0], name)
		m.number[k] = g.numbers.of(g.buffer)
	}
	if known, ok := g.members[m.number[0]]; ok {
		return known
	}
	m.log = m.disk
	if m.node != nil {
		_, m.log = m.node.Tail(1)
	}
	g.members[m.number[0]] = m
	return m
}

// packet returns the one message of this content between these two.
func (g *search) packet(from, to int, m raft.Message) *packet {
	p := &packet{from: from, to: to, message: m, body: string(wire.AppendMessage(nil, m))}
	for k, name := range names {
		g.buffer = append(g.buffer[:0], 'p', name(nodeID(from)), name(nodeID(to)))
		g.buffer = append(g.buffer, p.body...)
		p.number[k] = g.numbers.of(g.buffer)
	}
	if known, ok := g.packets[p.number[0]]; ok {
		return known
	}
	g.packets[p.number[0]] = p
	return p
}

// send puts messages under way.
func (s *state) send(out []*packet) {
	if len(out) == 0 {
		return
	}
	s.net = slices.Concat(s.net, out)
	slices.SortFunc(s.net, func(a, b *packet) int { return cmp.Compare(a.number[0], b.number[0]) })
}

func (s *state) without(k int) {
	s.net = slices.Concat(s.net[:k], s.net[k+1:])
}

// fingerprint is a state in 128 bits of a cryptographic hash, so that
// two different states are not taken for one.
type fingerprint [16]byte

// print hashes the state. Under symmetry two states that differ by the names of
// the followers have the same. Without past, the history is not part of it.
func (g *search) print(s *state, symmetric, past bool) fingerprint {
	g.buffer = s.encode(g.buffer[:0], 0, past)
	if symmetric {
		g.other = s.encode(g.other[:0], 1, past)
		if bytes.Compare(g.other, g.buffer) < 0 {
			g.buffer, g.other = g.other, g.buffer
		}
	}
	sum := sha256.Sum256(g.buffer)
	return fingerprint(sum[:16])
}

var orders = [2][members]int{{0, 1, 2}, {0, 2, 1}}

// encode writes the numbers down, under plain (k 0) or swapped names.
func (s *state) encode(b []byte, k int, past bool) []byte {
	for _, i := range orders[k] {
		b = binary.LittleEndian.AppendUint32(b, s.members[i].number[k])
	}
	at := len(b)
	for _, p := range s.net {
		b = binary.BigEndian.AppendUint32(b, p.number[k])
	}
	if k == 1 {
		sort4(b[at:])
	}
	b = append(b, byte(len(s.net)))
	if past {
		b = s.past.encode(b, orders[k])
	}
	return b
}

// sort4 sorts groups of four bytes.
func sort4(b []byte) {
	for i := 4; i < len(b); i += 4 {
		for j := i; j > 0 && bytes.Compare(b[j-4:j], b[j:j+4]) > 0; j -= 4 {
			for x := range 4 {
				b[j-4+x], b[j+x] = b[j+x], b[j-4+x]
			}
		}
	}
}

func same(a, b *raft.Entry) bool {
	return a.Term == b.Term && a.Kind == b.Kind && a.Proposal == b.Proposal
}
