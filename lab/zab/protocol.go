package zab

import (
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// The rules that can be broken.
const (
	sidFirst         faults.Switch = "sid-first"
	yieldToLarger    faults.Switch = "yield-to-larger"
	epochStays       faults.Switch = "epoch-stays"
	takeAhead        faults.Switch = "take-ahead"
	keepSkipped      faults.Switch = "keep-skipped"
	logAfterUpToDate faults.Switch = "log-after-uptodate"
	epochFirst       faults.Switch = "epoch-first"
	ackAsync         faults.Switch = "ack-async"
	noFsync          faults.Switch = "no-fsync"
	keepOffice       faults.Switch = "keep-office"
	countObservers   faults.Switch = "count-observers"
	syncAtOnce       faults.Switch = "sync-at-once"
)

// Protocols is ZAB as ZooKeeper 3.9 runs it.
func Protocols() []lab.Protocol {
	return []lab.Protocol{{
		Name:      "zab",
		Title:     "ZAB (ZooKeeper)",
		Chinese:   "ZAB（ZooKeeper）",
		About:     "Elects the server with the newest history, brings a majority to it before it serves, and then broadcasts in order; what a majority has on disk is never lost, and reads are local.",
		Slowest:   10 * id.Second,
		Epochs:    true,
		AnyServer: true,
		Reply:     "Notification",
		Switches: []lab.Switch{
			{Name: sidFirst, What: "R3: the election compares only the myid, not epoch and zxid before it"},
			{Name: yieldToLarger, What: "R5: a leader that hears of a LOOKING server with a larger myid gives up its office"},
			{Name: epochStays, What: "R7: a new leader takes the largest epoch there is instead of a larger one"},
			{Name: takeAhead, What: "R9: a leader takes in a follower that has more than it, and cuts it back"},
			{Name: keepSkipped, What: "R10: a learner ignores TRUNC and SNAP where they take something away"},
			{Name: logAfterUpToDate, What: "R11: NEWLEADER is acknowledged with what was synchronized only in memory, and logged after UPTODATE (ZOOKEEPER-3911)"},
			{Name: epochFirst, What: "R11: currentEpoch is written before what was synchronized (ZOOKEEPER-4643)"},
			{Name: ackAsync, What: "R11: NEWLEADER is acknowledged while what was synchronized is written but not synced (ZOOKEEPER-4646, ZOOKEEPER-4785)"},
			{Name: noFsync, What: "R13: a proposal is acknowledged when it is written and never synced, as with forceSync=no"},
			{Name: keepOffice, What: "R15: a leader without a quorum stays in office"},
			{Name: countObservers, What: "R16: observers acknowledge proposals and count, for the same majority of the voters"},
			{Name: syncAtOnce, What: "SYNC: a server answers it at once, without asking the leader"},
		},
		New: newMachine,
	}}
}
