package mongo

import (
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// The rules that can be broken.
const (
	NoRollback   faults.Switch = "no-rollback"    // both
	NoStepDown   faults.Switch = "no-step-down"   // both
	NoLease      faults.Switch = "no-lease"       // pv0
	NoVeto       faults.Switch = "no-veto"        // pv0
	NoFreshness  faults.Switch = "no-freshness"   // pv0
	NoPriority   faults.Switch = "no-priority"    // pv0
	DurableLease faults.Switch = "durable-lease"  // pv0; mends what pv0 lacks
	TrueClock    faults.Switch = "true-clock"     // pv0; likewise
	ForgetVote   faults.Switch = "forget-vote"    // pv1
	NoDryRun     faults.Switch = "no-dry-run"     // pv1
	NoLogCheck   faults.Switch = "no-log-check"   // pv1
	NoOwnTerm    faults.Switch = "no-own-term"    // pv1
	NoCatchUp    faults.Switch = "no-catch-up"    // pv1
	NoPullRearm  faults.Switch = "no-pull-rearm"  // pv1
	NoReportTerm faults.Switch = "no-report-term" // pv1
	NoTakeover   faults.Switch = "no-takeover"    // pv1
	VoteLock     faults.Switch = "vote-lock"      // pv1
	NoFsync      faults.Switch = "no-fsync"       // pv1
)

var sharedSwitches = []lab.Switch{
	{Name: NoRollback, What: "a member whose last entry its source lacks goes on pulling behind it instead of rolling back (pv0 R12, pv1 R9)"},
	{Name: NoStepDown, What: "a primary that sees no majority stays in office (pv0 R11, pv1 R6)"},
}

var switches0 = append([]lab.Switch{
	{Name: NoLease, What: "a vote binds nobody: a member votes for another at once (R7)"},
	{Name: NoVeto, What: "nobody vetoes, and −10000 counts as 0 (R3, R7)"},
	{Name: NoFreshness, What: "a candidate does not mind that others are fresher (R2)"},
	{Name: NoPriority, What: "nobody looks at priorities (R3, R7, R9)"},
	{Name: TrueClock, What: "the other way round: stamps come from a clock that never jumps, which pv0 cannot rely on"},
	{Name: DurableLease, What: "the other way round: a vote is on disk before it is given, which pv0 lacks"},
}, sharedSwitches...)

var switches1 = append([]lab.Switch{
	{Name: ForgetVote, What: "a vote is not written down before it is given (R3, R4)"},
	{Name: NoDryRun, What: "a candidate raises the term without asking first (R2)"},
	{Name: NoLogCheck, What: "a vote goes to a candidate that is behind, too (R4)"},
	{Name: NoOwnTerm, What: "an entry of an older term is committed by counting (R8)"},
	{Name: NoCatchUp, What: "a new primary serves without asking what the others have (R7)"},
	{Name: NoPullRearm, What: "only the primary's own heartbeats put an election off, pulling does not (R13)"},
	{Name: NoReportTerm, What: "a primary counts who has what without looking at the term in which it is said (R5)"},
	{Name: NoTakeover, What: "a member of higher priority leaves the primary in office (R10)"},
	{Name: VoteLock, What: "as in pv0, a vote binds for 30 s, whatever the term (R4)"},
	{Name: NoFsync, What: "a majority counts what is in memory, and journals are flushed every 100 ms (R8)"},
}, sharedSwitches...)

// Protocols are the two versions, each with a write concern of a majority and of
// the primary alone.
func Protocols() []lab.Protocol {
	return []lab.Protocol{
		pv1Preset("mongo/pv1", "majority", "MongoDB pv1", "MongoDB pv1（3.2 起）",
			"Raft's terms and votes, but secondaries pull: a dry run, a catch-up, priorities corrected by takeovers; writes wait for a majority."),
		pv1Preset("mongo/pv1-w1", "1", "MongoDB pv1, w:1", "MongoDB pv1，w:1",
			"The same with write concern 1: the primary answers alone, and what only it has is rolled back after a failover."),
		pv0Preset("mongo/pv0", "majority", "MongoDB pv0", "MongoDB pv0（3.2 之前）",
			"A bully by priority with vetoes and a vote that binds for 30 s but is not written down; logs are compared by wall clock."),
		pv0Preset("mongo/pv0-w1", "1", "MongoDB pv0, w:1", "MongoDB pv0，w:1",
			"The same with write concern 1, its default: the primary answers alone."),
	}
}

func pv0Preset(name, w, title, chinese, about string) lab.Protocol {
	return lab.Protocol{
		Name: name, Title: title, Chinese: chinese, About: about,
		Slowest: 10 * id.Second, Reply: ElectReply{}.Name(), SyncedAtStart: []string{journal}, Switches: switches0,
		New: func(c lab.Config) lab.Machine { return newPV0(c, w) },
	}
}

func pv1Preset(name, w, title, chinese, about string) lab.Protocol {
	return lab.Protocol{
		Name: name, Title: title, Chinese: chinese, About: about,
		Slowest: 11500 * id.Millisecond, Epochs: true, EpochWord: "term", Reply: RequestVotesReply{}.Name(), SyncedAtStart: []string{journal, votes}, Switches: switches1,
		New: func(c lab.Config) lab.Machine { return newPV1(c, w) },
	}
}
