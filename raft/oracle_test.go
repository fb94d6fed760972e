package raft

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/trace"
)

// oracle judges every effect of every member: the five safety properties of the
// Raft paper (Figure 3), durable before visible, and that what is said is said
// once. A violation is kept; the test that drives the world asks for it.
type oracle struct {
	leaders   map[id.Term]id.NodeID
	global    map[id.Index]Entry             // applied anywhere
	configs   map[id.Index]membership.Config // by entry
	acked     map[id.Index]Entry             // committed by a leader
	heads     map[id.NodeID]leaderHead
	votes     map[vote]id.NodeID
	registry  map[place]Entry
	topCommit id.Index
	reads     []pendingRead
	violation string
	commits   map[id.NodeID]id.Index
	within    map[id.Index]id.Term // the term of the leader that committed it
	asking    map[vote]bool        // who asked, in which term, whether it would win
	world     *world
	lone      bool // a single node whose peers are a test: majorities cannot be seen
	deaf      bool // its peers lie: nothing can be judged
}

type vote struct {
	by   id.NodeID
	term id.Term
}

type place struct {
	index id.Index
	term  id.Term
}

type leaderHead struct {
	term    id.Term
	last    id.Index
	config  id.Index // in force
	changed id.Time  // when it came into force: then the majority is another
}

type pendingRead struct {
	by    id.NodeID
	id    ReadID
	floor id.Index
}

func newOracle(w *world) *oracle {
	return &oracle{
		leaders: map[id.Term]id.NodeID{}, global: map[id.Index]Entry{}, configs: map[id.Index]membership.Config{},
		acked: map[id.Index]Entry{}, heads: map[id.NodeID]leaderHead{}, votes: map[vote]id.NodeID{},
		registry: map[place]Entry{}, commits: map[id.NodeID]id.Index{}, within: map[id.Index]id.Term{}, asking: map[vote]bool{}, world: w,
	}
}

func (o *oracle) fail(format string, args ...any) {
	if o.violation == "" && !o.deaf {
		o.violation = fmt.Sprintf(format, args...)
	}
}

func sameEntry(a, b Entry) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Kind == b.Kind && a.Proposal == b.Proposal && string(a.Data) == string(b.Data)
}

// sent judges what leaves: it must rest on what is durable (DESIGN 2).
func (o *oracle) sent(m *member, s Send) {
	if t := s.Message.SenderTerm(); t > m.image.hard.Term {
		o.fail("durable before visible: %v sends %s, its disk is in term %d", m.id, messageText(s.Message), m.image.hard.Term)
	}
	switch x := s.Message.(type) {
	case Vote:
		if x.Granted {
			k := vote{m.id, x.Term}
			if v, ok := o.votes[k]; ok && v != s.To {
				o.fail("one vote per term: %v voted in term %d for %v and %v", m.id, x.Term, v, s.To)
			}
			o.votes[k] = s.To
			if m.image.hard.Term == x.Term && m.image.hard.Vote != s.To {
				o.fail("durable before visible: %v grants %v a vote that is not on its disk", m.id, s.To)
			}
		}
	case RequestVote:
		if !x.Transfer && !o.asking[vote{m.id, x.Term - 1}] {
			o.fail("pre-vote: %v runs in term %d without having asked", m.id, x.Term)
		}
		k := vote{m.id, x.Term}
		if v, ok := o.votes[k]; ok && v != m.id {
			o.fail("one vote per term: %v voted in term %d for %v and itself", m.id, x.Term, v)
		}
		o.votes[k] = m.id
	case AppendAccepted:
		if m.image.hard.Term == x.Term && x.Match > m.image.last() {
			o.fail("durable before visible: %v accepts up to %d, its disk ends at %d", m.id, x.Match, m.image.last())
		}
	}
}

func (o *oracle) effect(m *member, i int, e Effect) {
	switch e := e.(type) {
	case Persist:
		if i != 0 {
			o.fail("%v: a Persist is effect %d of a pass", m.id, i)
		}
		o.persisting(m, e)
	case Apply:
		if len(m.applies) > 0 {
			o.fail("%v: two Apply in flight", m.id)
		}
	case Halt:
		o.fail("%v halts: %v", m.id, e.Reason)
	case ReadReady:
		for k, r := range o.reads {
			if r.by == m.id && r.id == e.ID {
				if e.Index < r.floor {
					o.fail("linearizable reads: %v serves read %d at %d, %d was committed before it was asked", m.id, e.ID, e.Index, r.floor)
				}
				o.reads = slices.Delete(o.reads, k, k+1)
				return
			}
		}
		o.fail("%v answers read %d, which does not wait", m.id, e.ID)
	case Emit:
		if e.Event.Kind == trace.RoleChanged && e.Event.Fields[0].Text == PreCandidate.String() {
			o.asking[vote{m.id, id.Term(e.Event.Fields[1].Number)}] = true
		}
	case Refused:
		if e.IsRead {
			o.reads = slices.DeleteFunc(o.reads, func(r pendingRead) bool { return r.by == m.id && r.id == e.Read })
		}
	}
}

// persisting: Log Matching by a registry of (index, term), Leader Append-Only.
func (o *oracle) persisting(m *member, p Persist) {
	for _, e := range p.Entries {
		k := place{e.Index, e.Term}
		if have, ok := o.registry[k]; ok && !sameEntry(have, e) {
			o.fail("log matching: entry %d of term %d is %q on one member, %q on %v", e.Index, e.Term, have.Data, e.Data, m.id)
		}
		o.registry[k] = e
		if e.Kind == EntryConfig {
			o.configs[e.Index] = *e.Config
		}
		if c, ok := o.acked[e.Index]; ok && o.within[e.Index] < e.Term && c.Term != e.Term && m.node.role == Leader {
			o.fail("leader completeness: leader %v writes entry %d in term %d, committed in term %d", m.id, e.Index, e.Term, c.Term)
		}
	}
	if h := o.heads[m.id]; m.node.role == Leader && h.term == m.node.term && len(p.Entries) > 0 && p.Entries[0].Index <= h.last {
		o.fail("leader append-only: %v rewrites entry %d in its own term", m.id, p.Entries[0].Index)
	}
}

// after looks at the node itself, after every pass.
func (o *oracle) after(m *member) {
	n := m.node
	if n.halted {
		return
	}
	if n.Deadline() <= o.world.now {
		o.fail("%v would spin: its deadline %d is not after %d", m.id, n.Deadline(), o.world.now)
	}
	if n.commit < o.commits[m.id] {
		o.fail("commit goes back on %v: %d after %d", m.id, n.commit, o.commits[m.id])
	}
	if n.role == Leader {
		if l, ok := o.leaders[n.term]; ok && l != m.id {
			o.fail("election safety: %v and %v lead term %d", l, m.id, n.term)
		}
		if o.heads[m.id].term != n.term {
			o.elected(m)
		}
		o.office(m)
		o.leaders[n.term] = m.id
	}
	for i := max(o.commits[m.id], n.log.start.Index) + 1; i <= n.commit; i++ {
		o.committed(m, i)
	}
	if n.role == Leader && n.commit > o.commits[m.id] {
		o.onMajorities(m, n.commit)
	}
	if n.role == Leader {
		h := leaderHead{n.term, n.log.last, n.log.config().Index, o.heads[m.id].changed}
		if h.config != o.heads[m.id].config {
			h.changed = o.world.now
		}
		o.heads[m.id] = h
	}
	o.commits[m.id] = n.commit
	uncommitted := 0
	for _, c := range n.log.configs {
		if c.Index > n.commit {
			uncommitted++
		}
	}
	if uncommitted > 1 && n.role == Leader {
		o.fail("one change at a time: %v has %d uncommitted configurations", m.id, uncommitted)
	}
}

// elected: Leader Completeness at the moment of election.
func (o *oracle) elected(m *member) {
	n := m.node
	for i := n.log.start.Index + 1; i <= o.topCommit; i++ {
		if c, ok := o.acked[i]; ok && !n.log.matches(i, c.Term) {
			o.fail("leader completeness: %v leads term %d without entry %d of term %d, which is committed", m.id, n.term, i, c.Term)
			return
		}
	}
}

// majority is the naive twin of quorum: more than half of those with a role.
func majority(c membership.Config, has func(id.NodeID) bool) bool {
	enough := func(role func(membership.Member) membership.Role) bool {
		voters, with := 0, 0
		for _, m := range c.Members {
			if role(m) == membership.Voter {
				voters++
				if has(m.ID) {
					with++
				}
			}
		}
		return voters > 0 && 2*with > voters
	}
	return enough(func(m membership.Member) membership.Role { return m.Role }) &&
		(!c.Joint || enough(func(m membership.Member) membership.Role { return m.Was }))
}

// onMajorities: what a leader takes for committed is on the disks of a majority,
// of both while the configuration is joint, and is of the leader's term.
func (o *oracle) onMajorities(m *member, i id.Index) {
	if o.lone {
		return
	}
	t, _ := m.node.log.term(i)
	if t != m.node.term {
		o.fail("only own-term entries by counting: %v of term %d commits entry %d of term %d", m.id, m.node.term, i, t)
	}
	has := func(v id.NodeID) bool {
		x := o.world.member(v)
		return x != nil && (x.image.start.Index >= i || x.image.last() >= i && x.image.entries[i-x.image.start.Index-1].Term == t)
	}
	// In force when it was decided: the newest, unless this pass appended the
	// automatic leave behind the decision.
	before := m.node.log.configAt(o.heads[m.id].last).Config
	if !majority(m.node.log.config().Config, has) && !majority(before, has) {
		o.fail("commitment: %v commits entry %d, which is not on the disks of a majority", m.id, i)
	}
}

// office: a leader was elected by majorities, was heard by one within the window
// (and what a late pass may add), and changes the membership only when it knows
// what is committed.
func (o *oracle) office(m *member) {
	if o.lone {
		return
	}
	n := m.node
	c := n.log.configs[0].Config
	for _, x := range n.log.configs {
		if x.Index < n.ownTerm {
			c = x.Config
		}
		if x.Index > n.ownTerm && n.commit < n.ownTerm {
			o.fail("membership: %v changes it at %d before entry %d of its own term is committed", m.id, x.Index, n.ownTerm)
		}
	}
	if o.leaders[n.term] == id.None && !majority(c, func(v id.NodeID) bool {
		return v == m.id || o.votes[vote{v, n.term}] == m.id
	}) {
		o.fail("election: %v leads term %d without the votes of a majority", m.id, n.term)
	}
	if !majority(n.log.config().Config, func(v id.NodeID) bool {
		p := n.peer(v)
		return v == m.id || p != nil && p.heard.Add(n.window()+n.cfg.ElectionMax) >= o.world.now
	}) && o.heads[m.id].config == n.log.config().Index && o.heads[m.id].changed.Add(n.window()+n.cfg.ElectionMax) < o.world.now {
		o.fail("check of the majority: %v leads term %d though it heard no majority since a window", m.id, n.term)
	}
}

// committed: what one member takes for committed, all must.
func (o *oracle) committed(m *member, i id.Index) {
	t, ok := m.node.log.term(i)
	if !ok {
		return
	}
	if have, ok := o.acked[i]; ok {
		if have.Term != t {
			o.fail("state machine safety: entry %d is committed with term %d and, on %v, with term %d", i, have.Term, m.id, t)
		}
		return
	}
	o.acked[i] = o.registry[place{i, t}]
	if o.acked[i].Index == 0 {
		o.acked[i] = Entry{Index: i, Term: t}
	}
	o.within[i] = m.node.term
	o.topCommit = max(o.topCommit, i)
}

func (o *oracle) apply(m *member, e Entry) {
	if e.Index != m.applied+1 {
		o.fail("%v applies %d after %d", m.id, e.Index, m.applied)
	}
	if e.Index > m.image.last() || e.Index > m.image.start.Index && !sameEntry(m.image.entries[e.Index-m.image.start.Index-1], e) {
		o.fail("%v applies entry %d, which is not durable there", m.id, e.Index)
	}
	if have, ok := o.global[e.Index]; ok && !sameEntry(have, e) {
		o.fail("state machine safety: entry %d is %q (term %d), on %v %q (term %d)", e.Index, have.Data, have.Term, m.id, e.Data, e.Term)
		return
	}
	o.global[e.Index] = e
}

func (o *oracle) installed(m *member, s SnapshotMeta) {
	if e, ok := o.global[s.Index]; ok && e.Term != s.Term {
		o.fail("%v installs a snapshot with term %d at %d, applied with %d", m.id, s.Term, s.Index, e.Term)
	}
	if s.Index < m.applied {
		o.fail("%v installs a snapshot at %d after applying %d", m.id, s.Index, m.applied)
	}
}

// crashed: a restart may remember an older commit index, never an older term.
func (o *oracle) crashed(m *member) {
	o.commits[m.id] = 0
	delete(o.heads, m.id)
	o.reads = slices.DeleteFunc(o.reads, func(r pendingRead) bool { return r.by == m.id })
}

func (o *oracle) asked(m *member, r ReadID) {
	o.reads = append(o.reads, pendingRead{by: m.id, id: r, floor: o.topCommit})
}

// snapshotAt describes m's machine: the configuration in force at what it applied.
func (o *oracle) snapshotAt(m *member, at id.Index) SnapshotMeta {
	t, _ := m.node.log.term(at)
	return SnapshotMeta{Index: at, Term: t, Config: m.node.log.configAt(at).Config}
}
