package enumerate

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// Rule is one thing that is checked in every state.
type Rule string

const (
	ElectionSafety     Rule = "election safety"      // at most one leader per term (M44)
	NewestLog          Rule = "newest log"           // a new leader's log is at least as new as those of two of three (M50, M54)
	LogMatching        Rule = "log matching"         // equal at one entry, equal up to it (M46)
	LeaderCompleteness Rule = "leader completeness"  // a later leader has what was committed (M47)
	StateMachineSafety Rule = "state machine safety" // one entry per index, on all members (M48)
	DurableMajority    Rule = "durable majority"     // what is committed is on the disks of two of three, at every moment (M30, M49)
	DurableFirst       Rule = "durable first"        // nothing is applied or promised that a crash could take back
	OneVote            Rule = "one vote per term"    // on the disk, so that no crash forgets it (M20)
	OwnTerm            Rule = "own-term commit"      // a leader commits by counting only through an entry of its own term (M40, M53)
	AnswerCommitted    Rule = "answer"               // only what is committed is answered (M49)
	Recovery           Rule = "recovery"             // left alone with all members up, the group agrees, and on all that was committed
	Halted             Rule = "no halt"              // no member finds its log contradicted
	Asserted           Rule = "assertion"            // raft's own hold; it cannot be ignored
)

// Rules lists them all.
var Rules = []Rule{
	ElectionSafety, NewestLog, LogMatching, LeaderCompleteness, StateMachineSafety, DurableMajority, DurableFirst,
	OneVote, OwnTerm, AnswerCommitted, Recovery, Halted, Asserted,
}

// failure is a broken rule.
type failure struct {
	rule Rule
	what string
}

func (f *failure) Error() string { return string(f.rule) + ": " + f.what }

func broken(r Rule, format string, args ...any) error {
	return &failure{r, fmt.Sprintf(format, args...)}
}

// check judges s after something happened to member i, and brings its history
// up to date.
func (g *search) check(s *state, i int) error {
	if err := g.leads(s, i); err != nil {
		return err
	}
	if err := g.commits(s, i); err != nil {
		return err
	}
	if err := g.matches(s, i); err != nil {
		return err
	}
	return g.durable(s)
}

func (g *search) fail(r Rule, format string, args ...any) error {
	if slices.Contains(g.Options.Ignore, r) {
		return nil
	}
	return broken(r, format, args...)
}

// leads: Election Safety, and Leader Completeness at the moment of election.
func (g *search) leads(s *state, i int) error {
	m := s.members[i]
	if m.node == nil || m.role != raft.Leader {
		return nil
	}
	h := &s.past
	for id.Term(len(h.leaders)) <= m.term {
		h.leaders = append(slices.Clip(h.leaders), -1)
	}
	switch l := h.leaders[m.term]; {
	case l == int8(i):
		return nil
	case l >= 0:
		return g.fail(ElectionSafety, "%v and %v both lead term %d", nodeID(int(l)), nodeID(i), m.term)
	}
	h.leaders = slices.Clone(h.leaders)
	h.leaders[m.term] = int8(i)
	log := m.log
	for k := range h.committed {
		if h.committed[k].by < m.term && !h.holds(log, k) {
			if err := g.fail(LeaderCompleteness, "%v is elected leader of term %d without entry %d of term %d, which is committed", nodeID(i), m.term, k+1, h.committed[k].term); err != nil {
				return err
			}
		}
	}
	// Who is in a greater term already may have a newer log: a vote may be given,
	// travel, and make a leader whose time is over when it arrives.
	beaten := 0
	for _, o := range s.members {
		if o.hard.Term <= m.term && newer(o.disk, log) {
			beaten++
		}
	}
	if beaten == members-1 {
		return g.fail(NewestLog, "%v is elected leader of term %d, but both others have newer logs", nodeID(i), m.term)
	}
	return nil
}

// newer compares logs as voters do: by the last term, then by the length.
func newer(a, b []raft.Entry) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) > len(b)
	}
	x, y := &a[len(a)-1], &b[len(b)-1]
	return x.Term > y.Term || x.Term == y.Term && x.Index > y.Index
}

// commits: State Machine Safety, the own-term rule, and Leader Completeness of
// the leaders there are when something is committed late.
func (g *search) commits(s *state, i int) error {
	m, h := s.members[i], &s.past
	if m.node == nil {
		return nil
	}
	log := m.log
	for k := range min(int(m.commit), len(h.committed)) {
		if !h.holds(log, k) {
			return g.fail(StateMachineSafety, "%v takes an entry of term %d for committed at %d, where an entry of term %d is", nodeID(i), log[k].Term, k+1, h.committed[k].term)
		}
	}
	if int(m.commit) <= len(h.committed) {
		return nil
	}
	if m.role == raft.Leader && log[m.commit-1].Term != m.term {
		if err := g.fail(OwnTerm, "%v, leader of term %d, commits entry %d of term %d by counting", nodeID(i), m.term, m.commit, log[m.commit-1].Term); err != nil {
			return err
		}
	}
	if h.situation == TwoLeaders && i == 0 && m.role == raft.Leader && m.term == firstTerm {
		g.report.LateCommits++
	}
	h.committed = slices.Clip(h.committed)
	for k := len(h.committed); k < int(m.commit); k++ {
		e := &log[k]
		h.committed = append(h.committed, committed{e.Term, e.Kind, byte(e.Proposal.Sequence), m.term})
		for j, o := range s.members {
			if o.node != nil && o.role == raft.Leader && o.term > m.term && !h.holds(o.log, k) {
				return g.fail(LeaderCompleteness, "%v of term %d commits entry %d, which %v, leader of term %d, does not have", nodeID(i), m.term, k+1, nodeID(j), o.term)
			}
		}
	}
	return nil
}

// matches: Log Matching between i's log and the others', in memory and on disk.
func (g *search) matches(s *state, i int) error {
	mine := s.members[i].log
	for j, o := range s.members {
		for _, log := range [2][]raft.Entry{o.log, o.disk} {
			met := false
			for k := min(len(mine), len(log)) - 1; k >= 0; k-- {
				met = met || mine[k].Term == log[k].Term
				if met && !same(&mine[k], &log[k]) {
					return g.fail(LogMatching, "%v and %v have the same entry behind %d, but not there", nodeID(i), nodeID(j), k+1)
				}
			}
		}
	}
	return nil
}

// durable: what was committed is on a majority of disks, whatever crashes now.
func (g *search) durable(s *state) error {
	for k := range s.past.committed {
		disks := 0
		for _, m := range s.members {
			if s.past.holds(m.disk, k) {
				disks++
			}
		}
		if disks < 2 {
			return g.fail(DurableMajority, "entry %d of term %d is committed, but on the disks of %d of 3 members", k+1, s.past.committed[k].term, disks)
		}
	}
	return nil
}
