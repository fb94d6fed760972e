// Package faults holds the break-it switches: deliberate breakages of single
// safety rules, by which the simulator, the lab and the stories prove that
// their checkers see what they claim to see. A nil *Set, the only value outside
// of those three, breaks nothing.
//
// A switch is read in exactly one place, beside the rule it breaks:
//
//	if f.On(faults.CountPriorTerm) || term == n.term { … }
package faults

import "fmt"

// Switch names one breakage. The text is what a recipe's `break:` line, a
// command line and a report say.
type Switch string

const (
	// raft
	AckBeforeDurable    Switch = "ack-before-durable"     // acknowledge an append before its bytes are durable
	CountPriorTerm      Switch = "count-prior-term"       // commit an entry of an older term by counting (Raft §5.4.2, Figure 8)
	CommitPastVerified  Switch = "commit-past-verified"   // follower takes the leader's commit index past the last entry it verified
	ReadWithoutRound    Switch = "read-without-round"     // serve a linearizable read without confirming the office
	KeepConflict        Switch = "keep-conflict"          // forget to truncate a conflicting suffix
	NoLogCheck          Switch = "no-log-check"           // vote without comparing logs (§5.4.1)
	NoPreVote           Switch = "no-pre-vote"            // raise the term without asking first
	NoCheckQuorum       Switch = "no-check-quorum"        // a leader without a majority stays in office
	NoOwnTermRead       Switch = "no-own-term-read"       // serve reads before the own-term entry is committed
	DoubleVote          Switch = "double-vote"            // forget whom this term's vote went to
	CountSelfTwice      Switch = "count-self-twice"       // the leader's own acknowledgement counts twice
	CountLearners       Switch = "count-learners"         // learners count for commitment
	OneMajorityInJoint  Switch = "one-majority-in-joint"  // decide by the incoming majority alone while joint
	ChangeBeforeOwnTerm Switch = "change-before-own-term" // change the membership before an own-term commit (Ongaro 2015)
	ApplyBeforeDurable  Switch = "apply-before-durable"   // apply entries that are committed but not durable here
	// host, wal, exec
	SkipVoteSync     Switch = "skip-vote-sync"     // do not fsync a batch that only carries a term or vote
	TornTailIsGood   Switch = "torn-tail-is-good"  // recovery takes a torn tail for valid
	CutByApplied     Switch = "cut-by-applied"     // cut the log at the applied instead of the flushed index
	SkipInstallFlush Switch = "skip-install-flush" // snapshot install without the engine's Flush
)

// All lists every switch, in the order of the constants above.
var All = []Switch{
	AckBeforeDurable, CountPriorTerm, CommitPastVerified, ReadWithoutRound, KeepConflict,
	NoLogCheck, NoPreVote, NoCheckQuorum, NoOwnTermRead, DoubleVote, CountSelfTwice,
	CountLearners, OneMajorityInJoint, ChangeBeforeOwnTerm,
	ApplyBeforeDurable, SkipVoteSync, TornTailIsGood, CutByApplied, SkipInstallFlush,
}

// Set is the switches that are on. The nil Set has none.
type Set struct{ on []Switch }

// New returns a Set with the given switches on, or an error that names the
// first unknown one.
func New(names ...Switch) (*Set, error) {
	for _, s := range names {
		if !known(s) {
			return nil, fmt.Errorf("unknown break switch %q", s)
		}
	}
	return &Set{on: append([]Switch(nil), names...)}, nil
}

// On tells whether s is broken. It is safe on a nil Set.
func (f *Set) On(s Switch) bool {
	if f == nil {
		return false
	}
	for _, o := range f.on {
		if o == s {
			return true
		}
	}
	return false
}

func known(s Switch) bool {
	for _, a := range All {
		if a == s {
			return true
		}
	}
	return false
}
