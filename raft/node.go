// Package raft is one node of one Raft group, as a machine: events go in,
// effects come out, nothing else happens. It follows the Raft paper (Ongaro and
// Ousterhout, 2014) and Ongaro's thesis; each file is a chapter and names its
// section. docs/DIVERGENCE says where we differ and why.
//
//	n, err := raft.New(config, restored)
//	out = n.Step(now, events, out[:0]) // one pass: all events, then every deadline due
//	next := n.Deadline()               // wake me no later than this
//
// What a pass appends, however many events brought it, leaves as one Persist and
// at most one Append per follower and window slot.
//
//	           silence          majority would vote      majority voted
//	Follower ──────────▶ PreCandidate ──────────▶ Candidate ──────────▶ Leader
//	   ▲                      │                       │                   │
//	   └──────────────────────┴───────────────────────┴───────────────────┘
//	     a leader of this term, a greater term, no majority (leader: for a window),
//	     a stalled disk, removed from the configuration
//
// # What it promises
//
//   - Whatever the network loses, doubles, delays or reorders, and whenever nodes
//     crash: Election Safety, Leader Append-Only, Log Matching, Leader
//     Completeness and State Machine Safety (Raft paper, Figure 3), as long as the
//     host does what effects say: nothing leaves before its After token is durable.
//   - Memory is bounded by Config, whatever peers do.
//   - Malformed messages are dropped, never a panic. A message that contradicts a
//     committed entry ends in Halt: one of the two logs is not what it was.
//
// The chapters: node, deadline, role, election (with the pre-vote), append (what
// a follower does), replication and progress (what a leader does), commit, read,
// transfer, change, snapshot, apply, persist, compact, log.
package raft

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/trace"
)

// Node is one node of one group. It is a value behind a pointer: no goroutine,
// clock or file belongs to it. One caller at a time.
type Node struct {
	cfg    Config
	random uint64 // state of the node's own generator
	now    id.Time
	halted bool

	// Hard state and the log. hardToken is the Persist that made term and vote
	// durable, or will: whatever carries the term leaves after it.
	term      id.Term
	vote      id.NodeID
	hardDirty bool
	hardToken id.Token
	log       entryLog

	// Writes in flight (persist.go).
	issued     id.Token // last token given to a Persist or Install
	durable    id.Token // last token reported durable
	claims     []claim
	hintSaved  id.Index // commit index in the last Persist
	hintDue    bool
	installing *Install // in flight
	pending    *Install // waits for the Apply in flight

	// The office.
	role      Role
	leader    id.NodeID
	heard     id.Time // when the leader of this term was last heard
	everHeard bool
	votes     []ballot // of a (pre-)candidate
	decide    quorum.Joint
	counts    quorum.Joint // the same unless a fault switch is on
	voter     bool         // this node votes in the configuration in force, in either half
	wasMember bool         // a committed configuration listed this node
	removed   bool         // Removed was reported as committed

	// Deadlines (deadline.go).
	started     bool
	election    timer
	majority    timer // leader: without a majority since
	heartbeatAt id.Time

	// The leader's work.
	peers       []peer
	ownTerm     id.Index // leader: index of its no-op
	transfer    id.NodeID
	transferEnd id.Time

	// Commitment and application.
	commit   id.Index
	applied  id.Index
	applying id.Index // last entry of the Apply in flight; 0: none
	flushed  id.Index
	loads    []load      // in flight
	shipping []id.NodeID // peers a SendSnapshot is in flight for

	// Reads (read.go).
	round    uint64
	reads    []waitingRead
	assigned int // reads[:assigned] have a round
	asked    []askedRead
	askedSeq uint64
	askedAt  id.Time // when the newest question left

	// Of this pass.
	out     []Effect
	sends   []Send
	ack     id.Index // follower: AppendAccepted to be sent to the leader
	hasAck  bool
	hearsay bool // Removed was reported as hearsay since the last leader was heard
}

// New makes a node from what it remembers. It starts as a follower and knows no
// leader; the first Step arms its timers. An error names what contradicts what.
func New(c Config, r Restored) (*Node, error) {
	c = c.WithDefaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := r.validate(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg: c, random: c.Seed, role: Follower,
		term: r.Hard.Term, vote: r.Hard.Vote,
		log:     restoredLog(r),
		applied: r.Applied, flushed: r.Start.Index,
		commit:    max(min(r.Hard.Commit, r.Last), r.Applied, r.Start.Index),
		hintSaved: r.Hard.Commit,
	}
	n.askedSeq = n.firstAsk()
	n.checkMember()
	n.decide, n.counts = n.quorums(n.log.config().Config)
	return n, nil
}

func (r Restored) validate() error {
	if r.Last < r.Start.Index {
		return fmt.Errorf("raft: the log ends at %d, before its start %d", r.Last, r.Start.Index)
	}
	if r.Applied < r.Start.Index || r.Applied > r.Last {
		return fmt.Errorf("raft: the state machine has applied %d but the log covers (%d, %d]: one of the two is not this node's", r.Applied, r.Start.Index, r.Last)
	}
	if r.Last > r.Start.Index && (len(r.Terms) == 0 || r.Terms[0].First != r.Start.Index+1) {
		return fmt.Errorf("raft: the terms of the entries behind %d are missing", r.Start.Index)
	}
	at, term := r.Start.Index, r.Start.Term
	for _, t := range r.Terms {
		if t.First <= at || t.First > r.Last || t.Term < term {
			return fmt.Errorf("raft: term %d from entry %d does not follow term %d from %d (last entry %d)", t.Term, t.First, term, at, r.Last)
		}
		at, term = t.First, t.Term
	}
	if r.Hard.Term < term {
		return fmt.Errorf("raft: the saved term %d is older than the last entry's, %d", r.Hard.Term, term)
	}
	at = r.Start.Index
	for _, c := range r.Configs {
		if c.Index <= at || c.Index > r.Last {
			return fmt.Errorf("raft: configuration at entry %d is out of order or outside (%d, %d]", c.Index, r.Start.Index, r.Last)
		}
		at = c.Index
	}
	for i, e := range r.Tail {
		if want := r.Last + 1 - id.Index(len(r.Tail)-i); e.Index != want || e.Index <= r.Start.Index {
			return fmt.Errorf("raft: entry %d in the tail where %d belongs", e.Index, want)
		}
	}
	return nil
}

// restoredLog takes r, which is valid. What entries outside the tail weigh is
// not remembered; the tail's average stands for them.
func restoredLog(r Restored) entryLog {
	l := entryLog{}
	l.reset(r.Start)
	l.runs = slices.Clone(r.Terms)
	l.configs = append(l.configs, r.Configs...)
	l.last, l.durable, l.handed = r.Last, r.Last, r.Last+1
	weight, each := int64(0), int64(entryOverheadBytes)
	for i := range r.Tail {
		weight += entryBytes(&r.Tail[i])
	}
	if len(r.Tail) > 0 {
		each = weight / int64(len(r.Tail))
	}
	below := r.Last - id.Index(len(r.Tail))
	l.total = int64(below-r.Start.Index) * each
	if below > r.Start.Index {
		l.marks = append(l.marks, mark{index: below, bytes: l.total})
	}
	l.tail = slices.Clone(r.Tail)
	for i := range l.tail {
		l.total += entryBytes(&l.tail[i])
		l.sums = append(l.sums, l.total)
	}
	return l
}

// Step is one pass: it takes all events, fires every deadline that is due, and
// appends to out what follows from both. A Persist comes first if there is one.
// now never goes back; if it does, the greatest seen so far counts.
func (n *Node) Step(now id.Time, in []Event, out []Effect) []Effect {
	if n.halted {
		return out
	}
	n.now = max(n.now, now)
	base := len(out)
	n.out = append(out, nil) // the Persist's place
	n.start()
	for _, e := range in {
		n.take(e)
		if n.halted {
			break
		}
	}
	if !n.halted {
		n.fire()
		n.flush(base)
	}
	out, n.out = n.out, nil
	if out[base] == nil {
		out = slices.Delete(out, base, base+1)
	}
	return out
}

// start arms the timers in the first pass, the first to know what time it is.
func (n *Node) start() {
	if n.started {
		return
	}
	n.started = true
	n.refreshConfig()
	n.checkRemoved()
	n.resetElection()
	if n.soleVoter() {
		n.election.at = n.now // nobody else can be in office
	}
}

func (n *Node) take(e Event) {
	switch e := e.(type) {
	case Propose:
		n.propose(e)
	case Change:
		n.change(e)
	case Read:
		n.read(e)
	case Transfer:
		n.startTransfer(e.To)
	case Campaign:
		n.campaign()
	case ForgetLeader:
		n.forgetLeader()
	case Received:
		n.receive(e.From, e.Message)
	case Persisted:
		n.persisted(e.Token)
	case Loaded:
		n.loaded(e)
	case Applied:
		n.appliedTo(e.Index)
	case Flushed:
		n.flushed = max(n.flushed, min(e.Index, n.applied))
		n.compact(0)
	case SnapshotSent:
		n.snapshotSent(e)
	case Installed:
		n.installed(e.Token)
	case Unreachable:
		n.unreachable(e.Peer)
	}
}

// flush turns what the pass changed into effects. The order matters: commitment
// may append (the automatic leave), so it goes before the Persist; the Persist
// fixes the token that sends wait for; a leader that its own configuration
// removed goes last, after it told the others.
func (n *Node) flush(base int) {
	n.advance()
	n.persist(base)
	n.answerReads() // its heartbeats carry the commit index: replicate need not
	n.replicate()
	n.acknowledge()
	n.apply()
	n.beginInstall()
	n.leaveOffice()
	n.flushSends()
	n.log.forget(n.tailKeeps())
}

// flushSends emits the messages of the pass. Every message carries the term, so
// none leaves before the term and the vote are durable (RAFT.md, bug 4).
func (n *Node) flushSends() {
	for _, s := range n.sends {
		s.After = max(s.After, n.hardAfter())
		if s.After <= n.durable {
			s.After = 0
		}
		n.out = append(n.out, s)
	}
	clear(n.sends)
	n.sends = n.sends[:0]
}

func (n *Node) send(to id.NodeID, m Message) { n.sends = append(n.sends, Send{To: to, Message: m}) }

func (n *Node) emit(kind trace.Kind, rule string, fields ...trace.Field) {
	n.out = append(n.out, Emit{trace.Event{Kind: kind, Rule: rule, Fields: fields}})
}

// halt stops this node for good: it takes nothing and sends nothing any more.
func (n *Node) halt(format string, args ...any) {
	n.halted = true
	n.out = append(n.out, Halt{fmt.Errorf("raft: "+format, args...)})
}

// Status returns a copy of what the node knows.
func (n *Node) Status() Status {
	c := n.log.config()
	s := Status{
		Role: n.role, Term: n.term, Vote: n.vote, Leader: n.leader,
		First: n.log.start.Index + 1, Last: n.log.last, Durable: n.log.durable,
		Commit: n.commit, Applied: n.applied,
		Config: c.Config, ConfigAt: c.Index, Committed: c.Index <= n.commit,
		Transfer: n.transfer,
	}
	for i := range n.peers {
		p := &n.peers[i]
		s.Progress = append(s.Progress, Progress{
			ID: p.id, State: p.state, Match: p.match, Next: p.next,
			Active:  p.heard.Add(n.window()) > n.now,
			Learner: !c.Config.IsVoter(p.id),
		})
	}
	return s
}

// Clone returns a copy that shares nothing that either of the two will change.
func (n *Node) Clone() *Node {
	c := *n
	c.log = n.log.clone()
	c.claims = slices.Clone(n.claims)
	c.votes = slices.Clone(n.votes)
	c.loads = slices.Clone(n.loads)
	c.shipping = slices.Clone(n.shipping)
	c.reads = slices.Clone(n.reads)
	c.asked = slices.Clone(n.asked)
	c.peers = slices.Clone(n.peers)
	for i := range c.peers {
		c.peers[i].flights = slices.Clone(c.peers[i].flights)
	}
	c.out, c.sends = nil, nil
	return &c
}
