package dledger

import (
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// The rules that can be broken on purpose, or, in fsyncFirst and voteAtOnce,
// replaced by what Raft does.
const (
	countPriorTerm faults.Switch = faults.CountPriorTerm
	noLedgerCheck  faults.Switch = "no-ledger-check"
	fsyncFirst     faults.Switch = "fsync-first"
	voteAtOnce     faults.Switch = "vote-at-once"
)

// Protocols is DLedger.
func Protocols() []lab.Protocol {
	return []lab.Protocol{{
		Name: "dledger", Title: "RocketMQ's DLedger", Chinese: "RocketMQ 的 DLedger",
		About:   "A Raft that asks for votes in the old term first, pushes entries by comparing, truncating and appending, and acknowledges before anything is flushed.",
		Slowest: 6 * id.Second, Epochs: true, EpochWord: "term", Reply: "VoteResponse",
		Switches: []lab.Switch{
			{Name: countPriorTerm, What: "an entry of an older term is committed as soon as a majority holds it (K1)"},
			{Name: noLedgerCheck, What: "a vote is given without comparing ledgers (V2, V3)"},
			{Name: fsyncFirst, What: "the other way round: terms, votes and entries are on disk before they are answered, as in Raft (D1, D2)"},
			{Name: voteAtOnce, What: "the other way round: a candidate raises the term first, and a voter adopts it and votes in one step, as in Raft (E1, V4)"},
		},
		New: func(c lab.Config) lab.Machine { return newMachine(c) },
	}}
}
