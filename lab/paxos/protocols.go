package paxos

import (
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// The rules that can be broken on purpose.
const (
	noFsync        faults.Switch = "no-fsync"
	ignoreAccepted faults.Switch = "ignore-accepted"
	chosenByOne    faults.Switch = "chosen-by-one"
	leaveGaps      faults.Switch = "leave-gaps"
	equalBackoff   faults.Switch = "equal-backoff"
)

var (
	breakFsync    = lab.Switch{Name: noFsync, What: "promises and acceptances are answered without being on disk (R1, R3)"}
	breakAccepted = lab.Switch{Name: ignoreAccepted, What: "a proposer with Q promises takes its own value although another was accepted (R2, M2)"}
	breakQuorum   = lab.Switch{Name: chosenByOne, What: "one acceptance makes a value chosen (R4)"}
	breakGaps     = lab.Switch{Name: leaveGaps, What: "a new leader fills no gaps (M2)"}
	breakBackoff  = lab.Switch{Name: equalBackoff, What: "after a Nack everybody waits for the same 5 ms (R5)"}
)

// Protocols are multi-Paxos and single-decree Paxos.
func Protocols() []lab.Protocol {
	return []lab.Protocol{
		{
			Name: "paxos", Title: "Multi-Paxos", Chinese: "Multi-Paxos（多轮 Paxos）",
			About:   "Any node may take the lead by asking a majority for promises; a majority then chooses one value per numbered slot, and what was acknowledged is kept.",
			Slowest: id.Second, Epochs: true, EpochWord: "ballot", Reply: "P1b",
			Switches: []lab.Switch{breakFsync, breakAccepted, breakQuorum, breakGaps},
			New:      func(c lab.Config) lab.Machine { return newMulti(c) },
		},
		{
			Name: "paxos/single", Title: "Single-decree Paxos", Chinese: "单值 Paxos",
			About:   "Whoever is asked proposes; a majority chooses one value, once and for ever.",
			Slowest: id.Second, Leaderless: true, Once: true, Reply: "P1b",
			Switches: []lab.Switch{breakFsync, breakAccepted, breakQuorum, breakBackoff},
			New:      func(c lab.Config) lab.Machine { return newSingle(c) },
		},
	}
}
