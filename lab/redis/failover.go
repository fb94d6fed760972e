package redis

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// attempt is a replica's candidacy for its master's shards.
type attempt struct {
	at    id.Time // when it asks
	rank  int
	asked bool
	epoch uint64
	votes []lab.Node // who voted for it
	next  id.Time    // when something is due; Never: no attempt
	made  bool       // one was made in this life: at means something
}

// failover is R2 and R3 at a replica whose master has failed.
func (m *cluster) failover(t *lab.Turn) {
	a := &m.attempt
	master := m.peer(m.me.Master)
	if m.me.Master == 0 || master == nil || !master.fail || master.Claims == 0 || slices.Contains(m.c.Learners, m.c.Self) {
		a.next = id.Never
		return
	}
	expires, retries := 2*m.timeout, 4*m.timeout
	if !a.made || t.Now.Sub(a.at) > retries {
		delay := 500*id.Millisecond + m.c.Dice.Duration(0, 500*id.Millisecond)
		*a = attempt{made: true, rank: m.rank()}
		a.at = t.Now.Add(delay + id.Duration(a.rank)*id.Second)
		a.next = a.at
		t.Rule("R2", fmt.Sprintf("master n%d has failed: stands in %d ms (replicas that have more than its %d operations: %d)", master.Node, a.at.Sub(t.Now)/id.Millisecond, m.data.log.Len(), a.rank))
		m.announce(t, 0, Pong{m.header()}) // the other replicas learn the offset
		return
	}
	if !a.asked {
		if rank := m.rank(); rank > a.rank {
			a.at = a.at.Add(id.Duration(rank-a.rank) * id.Second)
			a.rank = rank
		}
		a.next = a.at
	}
	if t.Now < a.at {
		return
	}
	if a.asked || t.Now.Sub(a.at) > expires {
		a.next = a.at.Add(retries + 1)
		return
	}
	m.epoch++
	a.asked, a.epoch = true, m.epoch
	a.next = a.at.Add(retries + 1)
	t.Rule("R3", fmt.Sprintf("asks the masters for their votes in epoch %d", a.epoch))
	m.announce(t, m.save(t), AuthRequest{m.header()})
}

// rank is how many replicas of the same master have more.
func (m *cluster) rank() int {
	rank := 0
	for _, p := range m.peers {
		if p != m.me && p.Master == m.me.Master && p.offset > m.data.log.Len() {
			rank++
		}
	}
	return rank
}

// voteAsked is R4. What the candidate holds is not asked for: the delay of R2 is
// all that speaks for the one with the most.
func (m *cluster) voteAsked(t *lab.Turn, p *peer, r AuthRequest) {
	if !m.me.voter() {
		return
	}
	master := m.peer(p.Master)
	refusal := ""
	switch {
	case r.Epoch < m.epoch:
		refusal = fmt.Sprintf("its epoch %d is older than %d", r.Epoch, m.epoch)
	case m.lastVote == m.epoch && !m.c.Broken(VoteTwice):
		refusal = fmt.Sprintf("has voted in epoch %d", m.epoch)
	case master == nil || !master.fail:
		refusal = "its master has not failed in these eyes"
	case master.votedFor != 0 && t.Now.Sub(master.votedFor) < 2*m.timeout && !m.c.Broken(VoteTwice):
		refusal = fmt.Sprintf("has just voted for another replica of n%d", master.Node)
	}
	for s := range shards {
		if owner := m.owner(s); refusal == "" && r.Claims>>s&1 == 1 && owner != nil && owner.Config > r.Config {
			refusal = fmt.Sprintf("a shard is claimed with configuration epoch %d against %d", owner.Config, r.Config)
		}
	}
	if refusal != "" {
		t.Rule("R4", fmt.Sprintf("no vote for n%d: %s", p.Node, refusal))
		return
	}
	m.lastVote, master.votedFor = m.epoch, t.Now
	t.Rule("R4", fmt.Sprintf("votes for n%d in epoch %d", p.Node, m.epoch))
	t.SendAfter(m.save(t), p.Node, AuthAck{Epoch: m.epoch})
}

// voteHeard is R5: a majority of the masters gives the replica its master's
// shards, under the epoch of the vote.
func (m *cluster) voteHeard(t *lab.Turn, p *peer, v AuthAck) {
	a := &m.attempt
	if slices.Contains(a.votes, p.Node) {
		return // the same vote once more: the source counts without looking, for TCP repeats nothing
	}
	if !a.asked || v.Epoch != a.epoch || !p.voter() || m.me.Master == 0 || t.Now.Sub(a.at) > 2*m.timeout {
		return
	}
	if a.votes = append(a.votes, p.Node); len(a.votes) < m.quorum() {
		return
	}
	t.Rule("R5", fmt.Sprintf("%d votes in epoch %d, a majority of the masters: takes the slots of n%d", len(a.votes), a.epoch, m.me.Master))
	old := m.peer(m.me.Master)
	m.me.Master, m.me.Config, m.me.Claims = 0, a.epoch, old.Claims
	old.Claims = 0
	m.attempt = attempt{next: id.Never}
	m.data.promote()
	m.announce(t, m.save(t), Pong{m.header()})
}
