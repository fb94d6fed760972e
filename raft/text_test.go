package raft

import "fmt"

// messageText is a message for people: kind, then what it says.
func messageText(m Message) string {
	switch m := m.(type) {
	case RequestPreVote:
		return fmt.Sprintf("RequestPreVote term %d, log (%d, term %d)", m.Term, m.LastIndex, m.LastTerm)
	case PreVote:
		return fmt.Sprintf("PreVote term %d for %d: %s", m.Term, m.For, yes(m.Granted))
	case RequestVote:
		s := fmt.Sprintf("RequestVote term %d, log (%d, term %d)", m.Term, m.LastIndex, m.LastTerm)
		if m.Transfer {
			s += ", transfer"
		}
		return s
	case Vote:
		return fmt.Sprintf("Vote term %d: %s", m.Term, yes(m.Granted))
	case Append:
		s := fmt.Sprintf("Append term %d behind (%d, term %d), commit %d", m.Term, m.Prev, m.PrevTerm, m.Commit)
		if len(m.Entries) > 0 {
			s += ":" + entriesText(m.Entries)
		}
		return s
	case AppendAccepted:
		return fmt.Sprintf("AppendAccepted term %d: up to %d", m.Term, m.Match)
	case AppendRejected:
		return fmt.Sprintf("AppendRejected term %d: not behind %d, try (%d, term %d)", m.Term, m.Prev, m.HintIndex, m.HintTerm)
	case Heartbeat:
		s := fmt.Sprintf("Heartbeat term %d, commit %d", m.Term, m.Commit)
		if m.Round != 0 {
			s += fmt.Sprintf(", round %d", m.Round)
		}
		return s
	case HeartbeatAck:
		s := fmt.Sprintf("HeartbeatAck term %d", m.Term)
		if m.Round != 0 {
			s += fmt.Sprintf(", round %d", m.Round)
		}
		return s
	case InstallSnapshot:
		return fmt.Sprintf("InstallSnapshot term %d: (%d, term %d)", m.Term, m.Snapshot.Index, m.Snapshot.Term)
	case TimeoutNow:
		return fmt.Sprintf("TimeoutNow term %d", m.Term)
	case RequestRead:
		return fmt.Sprintf("RequestRead term %d, id %d", m.Term, m.ID&0xffff)
	case ReadAnswer:
		if !m.Granted {
			return fmt.Sprintf("ReadAnswer term %d, id %d: no", m.Term, m.ID&0xffff)
		}
		return fmt.Sprintf("ReadAnswer term %d, id %d: at %d", m.Term, m.ID&0xffff, m.Index)
	case NotMember:
		return fmt.Sprintf("NotMember term %d, version %d", m.Term, m.Version)
	}
	return fmt.Sprintf("%T", m)
}

func yes(b bool) string {
	if b {
		return "granted"
	}
	return "refused"
}

// entriesText is " 4/t2 x" per entry.
func entriesText(entries []Entry) string {
	s := ""
	for _, e := range entries {
		s += fmt.Sprintf(" %d/t%d", e.Index, e.Term)
		switch e.Kind {
		case EntryCommand:
			s += " " + string(e.Data)
		case EntryNoop:
			s += " noop"
		case EntryConfig:
			s += fmt.Sprintf(" config v%d", e.Config.Version)
		}
	}
	return s
}
