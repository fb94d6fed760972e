package raft

import (
	"github.com/quorate/quorate/internal/id"
)

// Deadlines. Time only ever arrives as Step's argument; a deadline is a number
// that the next pass compares with it.

// timer is a deadline that a starved machine must not hold against the peers.
type timer struct {
	at    id.Time
	moved bool
}

// due tells whether the timer fires now. A pass that comes late does not know
// whether the leader was silent or this node was not looking: what it should
// have seen is queued behind the pass. So lateness moves the deadline, once and
// at most by one election timeout (DESIGN 16).
func (n *Node) due(t *timer) bool {
	if t.at > n.now {
		return false
	}
	if late := n.now.Sub(t.at); late > 0 && !t.moved {
		t.at, t.moved = n.now.Add(min(late, n.cfg.ElectionMax)), true
		return false
	}
	return true
}

// fire does what is due.
func (n *Node) fire() {
	if n.role == Leader {
		n.fireStall()
		if n.role == Leader && n.due(&n.majority) {
			n.checkQuorum()
		}
		if n.role == Leader && n.transfer != id.None && n.transferEnd <= n.now {
			n.endTransfer("the target did not take over within the longest election timeout")
		}
		if n.role == Leader && n.heartbeatAt <= n.now {
			n.heartbeat()
		}
	} else if n.due(&n.election) {
		n.electionDue()
	}
	for len(n.asked) > 0 && n.asked[0].until <= n.now {
		n.refuseAsked(1)
	}
}

// Deadline returns when the next pass must come at the latest, if no event
// brings it about earlier. Before the first pass it is 0: at once.
func (n *Node) Deadline() id.Time {
	if n.halted {
		return id.Never
	}
	if !n.started {
		return 0
	}
	d := n.election.at
	if n.role == Leader {
		d = min(n.majority.at, n.heartbeatAt, n.stallAt())
		if n.transfer != id.None {
			d = min(d, n.transferEnd)
		}
	}
	if len(n.asked) > 0 {
		d = min(d, n.asked[0].until)
	}
	return d
}

// window is how long a leader stays in office without hearing a majority.
func (n *Node) window() id.Duration { return n.cfg.QuorumWindow }

// resetElection draws a new election timeout (Raft §5.2).
func (n *Node) resetElection() {
	n.election = timer{at: n.now.Add(n.cfg.ElectionMin + n.draw(n.cfg.ElectionMax-n.cfg.ElectionMin))}
}

// draw returns a random duration from 0 to most, both included (splitmix64).
func (n *Node) draw(most id.Duration) id.Duration {
	n.random += 0x9e3779b97f4a7c15
	z := n.random
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return id.Duration(z % uint64(most+1))
}
