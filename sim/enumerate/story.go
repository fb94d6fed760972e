package enumerate

import (
	"fmt"
	"strings"

	"github.com/quorate/quorate/raft"
)

// A broken rule is told as a story: every step from the start, one sentence each.

// story replays the steps and tells them.
func (g *search) story(steps []step) ([]string, error) {
	s, err := g.start()
	if err != nil {
		return nil, err
	}
	told := []string{"n1 leads term 1. Entry 1, its first, is committed everywhere; nothing is in flight. (2/t1: entry 2, of term 1.)"}
	for k, a := range steps {
		line := tell(s, a)
		next, err := g.take(s, a)
		if err == nil && next == nil {
			return nil, fmt.Errorf("enumerate: step %d of a story cannot be repeated", k+1)
		}
		told = append(told, line+news(s, next))
		s = next
	}
	return told, nil
}

// tell says what a step is, before it is taken.
func tell(s *state, a step) string {
	n := nodeID(int(a.who))
	m := s.members[a.who]
	switch a.kind {
	case request:
		if a.arg > 1 {
			return fmt.Sprintf("The client has no answer and sends its command again, to %v.", n)
		}
		return fmt.Sprintf("The client's command reaches %v.", n)
	case answer:
		return fmt.Sprintf("%v answers the client: done.", n)
	case deliver, double:
		p := s.net[a.arg]
		line := fmt.Sprintf("%v receives from %v: %s.", n, nodeID(p.from), messageText(p.message))
		if a.kind == double {
			line += " A copy is still under way."
		}
		return line
	case fsync:
		return fmt.Sprintf("%v's disk has finished a write: %s.", n, writeText(m.writes[m.batch()-1]))
	case crash:
		switch lost := len(m.writes) - int(a.arg); {
		case len(m.writes) == 0:
			return fmt.Sprintf("%v crashes.", n)
		case lost == 0:
			return fmt.Sprintf("%v crashes; what it was writing reached the disk.", n)
		case a.arg == 0:
			return fmt.Sprintf("%v crashes; what it was writing is lost.", n)
		default:
			return fmt.Sprintf("%v crashes; of %d writes the first %d reached the disk.", n, len(m.writes), a.arg)
		}
	case restart:
		return fmt.Sprintf("%v starts again from its disk: term %d, log%s.", n, m.hard.Term, entriesText(m.disk))
	case silence:
		return fmt.Sprintf("%v heard no leader for an election timeout and asks who would vote for it.", n)
	case beat:
		return fmt.Sprintf("%v sends its heartbeat.", n)
	}
	return "something unknown happens."
}

// news tells what changed for everybody to see.
func news(before, after *state) string {
	var b strings.Builder
	for i, m := range after.members {
		was, n := before.members[i], nodeID(i)
		if m.node == nil || was.node == nil && m.role == raft.Follower {
			continue
		}
		if m.role != was.role || m.term != was.term {
			switch {
			case m.role == raft.Leader:
				fmt.Fprintf(&b, " It is the leader of term %d now, with the log%s.", m.term, entriesText(m.log))
			case m.role == raft.Candidate:
				fmt.Fprintf(&b, " It stands in term %d.", m.term)
			case was.role == raft.Leader:
				fmt.Fprintf(&b, " %v steps down: there is term %d.", n, m.term)
			}
		}
		if m.commit > was.commit && was.node != nil {
			fmt.Fprintf(&b, " %v takes entry %d for committed.", n, m.commit)
		}
	}
	return b.String()
}

func writeText(p raft.Persist) string {
	s := fmt.Sprintf("term %d", p.Hard.Term)
	if p.Hard.Vote.Node != 0 {
		s += fmt.Sprintf(", vote for %v", p.Hard.Vote)
	}
	if len(p.Entries) > 0 {
		s += ", entries" + entriesText(p.Entries)
	}
	if !p.MustSync {
		s = fmt.Sprintf("the commit index, %d", p.Hard.Commit)
	}
	return s
}

func messageText(m raft.Message) string {
	switch m := m.(type) {
	case raft.RequestPreVote:
		return fmt.Sprintf("would you vote for me in term %d? My log ends with entry %d of term %d", m.Term+1, m.LastIndex, m.LastTerm)
	case raft.PreVote:
		return fmt.Sprintf("for term %d I %s", m.For, wouldText(m.Granted))
	case raft.RequestVote:
		return fmt.Sprintf("vote for me in term %d; my log ends with entry %d of term %d", m.Term, m.LastIndex, m.LastTerm)
	case raft.Vote:
		if m.Granted {
			return fmt.Sprintf("my vote in term %d is yours", m.Term)
		}
		return fmt.Sprintf("no vote in term %d", m.Term)
	case raft.Append:
		if len(m.Entries) == 0 {
			return fmt.Sprintf("append of term %d: do you have entry %d of term %d?", m.Term, m.Prev, m.PrevTerm)
		}
		return fmt.Sprintf("append of term %d, behind entry %d of term %d:%s", m.Term, m.Prev, m.PrevTerm, entriesText(m.Entries))
	case raft.AppendAccepted:
		return fmt.Sprintf("in term %d my log is yours up to entry %d", m.Term, m.Match)
	case raft.AppendRejected:
		return fmt.Sprintf("I am in term %d and do not take what comes behind entry %d", m.Term, m.Prev)
	case raft.Heartbeat:
		return fmt.Sprintf("heartbeat of term %d, committed up to %d", m.Term, m.Commit)
	case raft.HeartbeatAck:
		return fmt.Sprintf("heard, I am in term %d", m.Term)
	}
	return fmt.Sprintf("%T", m)
}

func wouldText(granted bool) string {
	if granted {
		return "would vote for you"
	}
	return "would not vote for you"
}

// entriesText is " 2/t1 command" per entry: index, term, what it is.
func entriesText(entries []raft.Entry) string {
	if len(entries) == 0 {
		return " (empty)"
	}
	var b strings.Builder
	for i, e := range entries {
		what := "a leader's first"
		if e.Kind == raft.EntryCommand {
			what = "the command"
			if e.Proposal.Sequence > 1 {
				what = "the command again"
			}
		}
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, " %d/t%d %s", e.Index, e.Term, what)
	}
	return b.String()
}
