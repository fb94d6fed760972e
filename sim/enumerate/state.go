package enumerate

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/wire"
)

// A state of the whole group. States share what they have in common: members and
// packets are never changed once they are part of one, a successor gets copies.

const members = 3

// client is where proposals come from: no member has this name.
var client = id.NodeID{Node: 9}

func nodeID(i int) id.NodeID { return id.NodeID{Node: uint64(i + 1)} }

// member is one node and what is around it.
type member struct {
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

	// Copies of what the node knows.
	role   raft.Role
	term   id.Term
	commit id.Index

	encoded [2][]byte // under plain and under swapped names
}

type placed struct {
	attempt byte
	index   id.Index
	term    id.Term
}

// log is what the member takes for its log: in memory, or on the disk if it is down.
func (m *member) log() []raft.Entry {
	if m.node == nil {
		return m.disk
	}
	_, tail := m.node.Tail(1)
	return tail
}

// packet is a message in flight.
type packet struct {
	from, to int
	message  raft.Message
	encoded  [2]string
}

// state is everything: three members, the messages in flight, and what the
// checks have to remember (history.go).
type state struct {
	members [members]*member
	net     []*packet // by encoding
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
		ElectionMax: 1_000_000 * id.Second, DiskStall: 100_000_000 * id.Second, Faults: g.faults,
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

// land makes a write durable.
func (m *member) land(p raft.Persist) {
	m.hard = p.Hard
	if len(p.Entries) > 0 {
		m.disk = slices.Concat(m.disk[:p.Entries[0].Index-1], p.Entries)
	}
}

// encode takes down what the member is, under both names.
func (m *member) encode() {
	for k, name := range names {
		b := binary.AppendUvarint(nil, uint64(m.hard.Term))
		b = append(b, name(m.hard.Vote), byte(m.hard.Commit))
		b = appendEntries(b, m.disk)
		if m.node == nil {
			m.encoded[k] = append(b, 0)
			continue
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
		m.encoded[k] = m.node.Fingerprint(b, name)
	}
}

func appendEntries(b []byte, entries []raft.Entry) []byte {
	b = append(b, byte(len(entries)))
	for i := range entries {
		e := &entries[i]
		b = append(b, byte(e.Index), byte(e.Term), byte(e.Kind), byte(e.Proposal.Sequence))
	}
	return b
}

func newPacket(from, to int, m raft.Message) *packet {
	p := &packet{from: from, to: to, message: m}
	body := wire.AppendMessage(nil, m)
	for k, name := range names {
		p.encoded[k] = string([]byte{name(nodeID(from)), name(nodeID(to)), byte(len(body))}) + string(body)
	}
	return p
}

func (s *state) send(p *packet) {
	at, _ := slices.BinarySearchFunc(s.net, p, func(a, b *packet) int {
		return bytes.Compare([]byte(a.encoded[0]), []byte(b.encoded[0]))
	})
	s.net = slices.Insert(slices.Clip(s.net), at, p)
}

func (s *state) without(k int) {
	s.net = slices.Concat(s.net[:k], s.net[k+1:])
}

// print is the fingerprint of a state: 128 bits of a cryptographic hash, so that
// two different states are not taken for one.
type print [16]byte

// print hashes the state. Under symmetry two states that differ by the names of
// the followers have the same. Without past, the history is not part of it.
func (s *state) print(buffer *[]byte, symmetric, past bool) print {
	var least print
	for k := range names {
		b := (*buffer)[:0]
		order := [members]int{0, 1, 2}
		if k == 1 {
			order = [members]int{0, 2, 1}
		}
		for _, i := range order {
			b = binary.AppendUvarint(b, uint64(len(s.members[i].encoded[k])))
			b = append(b, s.members[i].encoded[k]...)
		}
		if k == 0 {
			for _, p := range s.net {
				b = append(b, p.encoded[0]...)
			}
		} else {
			other := make([]string, len(s.net))
			for i, p := range s.net {
				other[i] = p.encoded[1]
			}
			slices.Sort(other)
			for _, p := range other {
				b = append(b, p...)
			}
		}
		b = append(b, byte(len(s.net)))
		if past {
			b = s.past.encode(b, order)
		}
		*buffer = b
		sum := sha256.Sum256(b)
		if p := print(sum[:16]); k == 0 || bytes.Compare(p[:], least[:]) < 0 {
			least = p
		}
		if !symmetric {
			break
		}
	}
	return least
}

// change gives s a copy of member i that may be changed.
func (s *state) change(i int) *member {
	m := *s.members[i]
	m.writes, m.held, m.waiting = slices.Clip(m.writes), slices.Clip(m.held), slices.Clip(m.waiting)
	if m.node != nil {
		m.node = m.node.Clone()
	}
	s.members[i] = &m
	return &m
}

// pass gives events to member i, which is a copy of s's own, and takes the
// effects. The machine applies at once: it is volatile, so when it does so shows
// in nothing but the answer, which is a step of its own.
func (g *search) pass(s *state, i int, events ...raft.Event) error {
	m := s.members[i]
	for more := true; more; more = len(events) > 0 {
		effects := m.node.Step(m.clock, events, nil)
		events = nil
		for _, e := range effects {
			switch e := e.(type) {
			case raft.Persist:
				m.writes = append(m.writes, e)
			case raft.Send:
				if e.After > m.durable {
					m.held = append(m.held, e)
				} else {
					s.send(newPacket(i, int(e.To.Node)-1, e.Message))
				}
			case raft.Apply:
				if err := m.apply(e.Entries); err != nil {
					return err
				}
				events = append(events, raft.Applied{Index: e.Entries[len(e.Entries)-1].Index})
			case raft.Placed:
				m.waiting = append(m.waiting, placed{byte(e.ID.Sequence), e.Index, e.Term})
			case raft.Halt:
				if err := g.fail(Halted, "%v stops for good: %v", nodeID(i), e.Reason); err != nil {
					return err
				}
			case raft.Emit, raft.Refused:
			default:
				return fmt.Errorf("enumerate: %v asks for %T, which this world does not have", nodeID(i), e)
			}
		}
		st := m.node.Status()
		m.role, m.term, m.commit = st.Role, st.Term, st.Commit
	}
	return nil
}

// apply is the machine: it finds whose command it was.
func (m *member) apply(entries []raft.Entry) error {
	for i := range entries {
		e := &entries[i]
		if int(e.Index) > len(m.disk) || !same(&m.disk[e.Index-1], e) {
			return broken(DurableFirst, "entry %d is applied where it is not on the disk", e.Index)
		}
		m.waiting = slices.DeleteFunc(slices.Clone(m.waiting), func(p placed) bool {
			if p.index != e.Index {
				return false
			}
			if p.term == e.Term {
				m.owed |= 1 << p.attempt
			}
			return true
		})
	}
	return nil
}

func same(a, b *raft.Entry) bool {
	return a.Term == b.Term && a.Kind == b.Kind && a.Proposal == b.Proposal
}

func faultSet(names []faults.Switch) (*faults.Set, error) {
	if len(names) == 0 {
		return nil, nil
	}
	return faults.New(names...)
}
