package raft

import (
	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
)

// Durability. A Persist has a token; what depends on it names the token. Claims
// remember what each write in flight would make durable.

// claim says that when token is durable the log is durable up to last, unless
// a truncation said otherwise meanwhile.
type claim struct {
	token id.Token
	last  id.Index
	since id.Time
}

// persist emits the pass's one Persist: the hard state as it is now, and every
// entry that was not handed out yet.
func (n *Node) persist(base int) {
	entries := n.log.handed <= n.log.last
	must := n.hardDirty || entries
	if n.installing != nil || !must && !(n.hintDue && n.hintSaved < n.commit) {
		n.hintDue = false
		return
	}
	n.issued++
	p := Persist{Token: n.issued, Hard: n.hard(), MustSync: must}
	if entries {
		p.Entries = n.log.slice(n.log.handed, n.log.last+1, 1<<62)
		n.log.handed = n.log.last + 1
	}
	if must {
		n.claims = append(n.claims, claim{token: p.Token, last: n.log.last, since: n.now})
	}
	if n.hardDirty {
		n.hardDirty, n.hardToken = false, p.Token
	}
	n.hintSaved, n.hintDue = n.commit, false
	n.out[base] = p
}

func (n *Node) hard() HardState { return HardState{Term: n.term, Vote: n.vote, Commit: n.commit} }

// persisted learns that writes are durable. An old acknowledgement covers what
// is left of its claim, no more.
func (n *Node) persisted(t id.Token) {
	if t <= n.durable {
		return
	}
	if t > n.issued {
		assert.Fail("raft: token %d is durable, but only %d were issued", t, n.issued)
	}
	n.durable = t
	k := 0
	for k < len(n.claims) && n.claims[k].token <= t {
		n.log.durable = max(n.log.durable, n.claims[k].last)
		k++
	}
	n.claims = append(n.claims[:0], n.claims[k:]...)
	if n.role == Candidate && !n.hardDirty && n.hardToken <= t {
		n.count(n.cfg.Self, true)
	}
}

// trimClaims follows a truncation.
func (n *Node) trimClaims(from id.Index) {
	for i := range n.claims {
		n.claims[i].last = min(n.claims[i].last, from-1)
	}
}

// hardAfter is the token after which the term and the vote are durable.
func (n *Node) hardAfter() id.Token {
	if n.hardToken > n.durable {
		return n.hardToken
	}
	return 0
}

// durableAfter is the token after which the log is durable up to i.
func (n *Node) durableAfter(i id.Index) id.Token {
	if i <= n.log.durable {
		return 0
	}
	for _, c := range n.claims {
		if c.last >= i {
			return c.token
		}
	}
	assert.Fail("raft: entry %d is neither durable nor in a write", i)
	return 0
}

// stallAt is when the oldest write in flight is a stalled disk. It is never
// moved by lateness: a disk does not wait for this node to look (DESIGN 16).
func (n *Node) stallAt() id.Time {
	if len(n.claims) == 0 {
		return id.Never
	}
	return n.claims[0].since.Add(n.cfg.DiskStall)
}

func (n *Node) stalled() bool { return n.stallAt() <= n.now }

// slowDisk refuses proposals at half the bound: what would be in doubt when the
// leader goes is not accepted.
func (n *Node) slowDisk() bool {
	return len(n.claims) > 0 && n.claims[0].since.Add(n.cfg.DiskStall/2) <= n.now
}

// fireStall: a leader whose disk makes no progress would freeze the group while
// its heartbeats go on (etcd#13527).
func (n *Node) fireStall() {
	if n.stalled() {
		n.becomeFollower(id.None, "stalled disk")
	}
}
