package raft

// String is what a refused caller reads.
func (r Refusal) String() string {
	switch r {
	case NotLeader:
		return "this member is not the leader"
	case Transferring:
		return "the leader is handing over"
	case Overloaded:
		return "too many requests are waiting"
	case DiskStalled:
		return "the leader's disk makes no progress"
	case ChangeInFlight:
		return "the last membership change is not committed yet"
	case ChangeIllegal:
		return "the membership change is illegal"
	case ChangeStale:
		return "the membership has changed meanwhile"
	case OfficeUncertain:
		return "the leader could not confirm that it still leads"
	case NoOwnTermCommit:
		return "the leader has not committed an entry of its term yet"
	}
	return "refused"
}
