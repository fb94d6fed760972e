package zab

import (
	"slices"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// connection is one end of a TCP connection between a learner and the server it
// believes to lead. ZooKeeper relies on what TCP promises: what arrives arrives in
// order and without a hole, or the connection ends. The lab's network loses
// messages, so packets are numbered here:
//
//	1 2 3   5 6        5 and 6 wait for 4; if it never comes, the reader hears
//	                   nothing any more and gives up after its timeout (R15), as
//	                   it would while TCP retransmits in vain
//
// and each end has drawn a number that both say in every packet, as TCP's
// handshake draws sequence numbers. A packet that comes again long afterwards is
// so known to be of another connection:
//
//	n3 leads, n2 learns from it; an ACK of n2 is held up in the network. n2 leads,
//	n3 learns from it: the old ACK must not be read in the place of a PROPOSAL.
type connection struct {
	peer    lab.Node
	number  uint64 // drawn by the learner, who opened it
	answer  uint64 // drawn by the leader; 0: the learner has read nothing of it yet
	sent    uint64
	read    uint64   // everything up to here was taken
	waiting []packet // sorted, all behind a hole
}

// packet carries a message on a connection. It is called as its content is; the
// numbers stand for what TCP's header has and are not counted.
type packet struct {
	connection, answer, serial uint64
	content                    lab.Body
}

func (p packet) Name() string          { return p.content.Name() }
func (p packet) Fields() []trace.Field { return p.content.Fields() }
func (p packet) Bytes() int {
	if s, ok := p.content.(lab.Sized); ok {
		return s.Bytes()
	}
	return lab.Bytes(p.content)
}

// waitingMax is how many packets may wait behind a hole: a receive window. What
// comes beyond is lost, and the hole with it: the reader times out.
const waitingMax = 10_000

// send writes a message to the connection.
func (c *connection) send(t *lab.Turn, content lab.Body) {
	c.sent++
	t.Send(c.peer, packet{c.number, c.answer, c.sent, content})
}

// arrive takes a packet from the network and returns what can be read now, in
// order.
func (c *connection) arrive(p packet) []lab.Body {
	if c.answer == 0 {
		c.answer = p.answer
	}
	if p.answer != c.answer {
		return nil
	}
	if p.serial != c.read+1 {
		at, found := slices.BinarySearchFunc(c.waiting, p.serial, func(w packet, serial uint64) int {
			switch {
			case w.serial < serial:
				return -1
			case w.serial > serial:
				return 1
			}
			return 0
		})
		if p.serial > c.read && !found && len(c.waiting) < waitingMax {
			c.waiting = slices.Insert(c.waiting, at, p)
		}
		return nil
	}
	ready := []lab.Body{p.content}
	c.read++
	for len(c.waiting) > 0 && c.waiting[0].serial == c.read+1 {
		ready = append(ready, c.waiting[0].content)
		c.waiting = c.waiting[1:]
		c.read++
	}
	return ready
}

// hangUp ends a connection: the other side reads the end at once, whatever is
// still under way.
func hangUp(t *lab.Turn, peer lab.Node, number uint64) {
	t.Send(peer, packet{connection: number, content: closed{}})
}
