package twophase

import (
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// The rules that can be broken on purpose.
const (
	commitAtMajority faults.Switch = "commit-at-majority"
	unilateralAbort  faults.Switch = "unilateral-abort"
	voteUnsynced     faults.Switch = "no-fsync"
)

// Protocols is two-phase commit.
func Protocols() []lab.Protocol {
	return []lab.Protocol{{
		Name: "twophase", Title: "Two-phase commit", Chinese: "两阶段提交",
		About: "One coordinator for ever; a write takes effect when all have voted for it, and one that is away stops everything.",
		// There is no detector. T is how long a vote is waited for.
		Slowest: id.Second, Reply: "Vote",
		Switches: []lab.Switch{
			{Name: commitAtMajority, What: "a majority of votes commits (R4, R5): what Raft and Paxos do, without their elections"},
			{Name: unilateralAbort, What: "a participant in doubt aborts by itself after 1 s (R6)"},
			{Name: voteUnsynced, What: "votes and decisions leave without being on disk (R2, R4)"},
		},
		New: func(c lab.Config) lab.Machine { return newMachine(c) },
	}}
}
