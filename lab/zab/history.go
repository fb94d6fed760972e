package zab

import (
	"slices"
	"strconv"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// zxid names a transaction: the epoch of the leader that proposed it in the upper
// half, a counter in the lower. They only grow.
type zxid uint64

func zxidOf(epoch, counter uint64) zxid { return zxid(epoch<<32 | counter) }

func (z zxid) epoch() uint64   { return uint64(z) >> 32 }
func (z zxid) counter() uint64 { return uint64(z) & 0xffffffff }

// String is epoch:counter, as people say it.
func (z zxid) String() string {
	return strconv.FormatUint(z.epoch(), 10) + ":" + strconv.FormatUint(z.counter(), 10)
}

func (z zxid) field(name string) trace.Field { return trace.Text(name, z.String()) }

// txn is a transaction: one write of a client, and through which server it came,
// which is the one that answers.
type txn struct {
	zxid    zxid
	op      uint64
	client  lab.Node
	origin  lab.Node
	request uint64 // the attempt, known to the origin
}

const txnBytes = 5 * 8

// history is the transaction log: in memory, shown as a lab.Log, and on disk. The
// file is a list of records; what they come to is read back by restore.
type history struct {
	txns []txn
	log  *lab.Log
}

func newHistory() history { return history{log: lab.NewLog()} }

// last is the zxid of the last transaction; 0 of an empty history.
func (h *history) last() zxid {
	if len(h.txns) == 0 {
		return 0
	}
	return h.txns[len(h.txns)-1].zxid
}

// upTo is how many transactions have a zxid up to z: the position of z where the
// history has it.
func (h *history) upTo(z zxid) int {
	at, found := slices.BinarySearchFunc(h.txns, z, func(x txn, z zxid) int {
		switch {
		case x.zxid < z:
			return -1
		case x.zxid > z:
			return 1
		}
		return 0
	})
	if found {
		at++
	}
	return at
}

// has tells whether z is in the history. Every history has 0, the beginning.
func (h *history) has(z zxid) bool {
	at := h.upTo(z)
	return z == 0 || at > 0 && h.txns[at-1].zxid == z
}

// append adds a transaction in memory.
//
// Invariant: zxids grow along the history.
func (h *history) append(x txn) {
	assert.That(x.zxid > h.last(), "zxid %v behind %v", x.zxid, h.last())
	h.txns = append(h.txns, x)
	h.log.Append(lab.Entry{Op: x.op, Epoch: x.zxid.epoch(), Client: x.client})
}

// prefixOf tells whether txns begin with this history.
func (h *history) prefixOf(txns []txn) bool {
	return len(h.txns) <= len(txns) && slices.Equal(h.txns, txns[:len(h.txns)])
}

func (h *history) truncate(z zxid) {
	at := h.upTo(z)
	h.txns = slices.Clone(h.txns[:at])
	h.log.Truncate(at)
}

func (h *history) replace(txns []txn) {
	h.txns = slices.Clone(txns)
	entries := make([]lab.Entry, 0, len(txns))
	for _, x := range txns {
		entries = append(entries, lab.Entry{Op: x.op, Epoch: x.zxid.epoch(), Client: x.client})
	}
	h.log.Replace(entries)
}

// Files and records of the disk. ZooKeeper keeps the epochs in files of their own,
// and R11 is about which of them is written first.
const (
	fileLog      = "log"
	fileAccepted = "acceptedEpoch"
	fileCurrent  = "currentEpoch"
)

type (
	// recordTxn is a transaction in the log.
	recordTxn struct{ txn txn }
	// recordTruncated ends the log behind a zxid.
	recordTruncated struct{ last zxid }
	// recordSnapshot is a whole state: what stands before it counts no more.
	recordSnapshot struct{ txns []txn }
	// recordEpoch is the content of one of the two epoch files.
	recordEpoch struct {
		file  string
		epoch uint64
	}
)

func (r recordTxn) Name() string          { return "transaction" }
func (r recordTxn) Fields() []trace.Field { return r.txn.fields() }
func (r recordTxn) Bytes() int            { return 16 + txnBytes }

func (r recordTruncated) Name() string          { return "truncated" }
func (r recordTruncated) Fields() []trace.Field { return []trace.Field{r.last.field("last")} }
func (r recordTruncated) Bytes() int            { return 16 + 8 }

func (r recordSnapshot) Name() string { return "snapshot" }
func (r recordSnapshot) Fields() []trace.Field {
	return []trace.Field{trace.Num("transactions", uint64(len(r.txns)))}
}
func (r recordSnapshot) Bytes() int { return 16 + txnBytes*len(r.txns) }

func (r recordEpoch) Name() string          { return r.file }
func (r recordEpoch) Fields() []trace.Field { return []trace.Field{trace.Num("epoch", r.epoch)} }

func (x txn) fields() []trace.Field {
	return []trace.Field{x.zxid.field("zxid"), trace.Num("operation", x.op), trace.Num("origin", x.origin)}
}

// restore rebuilds what a disk says. A transaction that does not fit behind the
// ones before it is left out: only a broken rule R11 writes such a log.
//
// Whoever has an epoch had accepted it, even if that record is gone: a process that
// is killed between writing it and the fsync finds it again, says so (R8, not
// counted), has currentEpoch synced, and then loses the other file to a power cut.
func restore(files map[string][]lab.Body, log *lab.Log) (h history, accepted, current uint64) {
	h = history{log: log}
	for _, r := range files[fileLog] {
		switch r := r.(type) {
		case recordTxn:
			if r.txn.zxid > h.last() {
				h.append(r.txn)
			}
		case recordTruncated:
			h.truncate(r.last)
		case recordSnapshot:
			h.replace(r.txns)
		}
	}
	current = lastEpoch(files[fileCurrent])
	return h, max(lastEpoch(files[fileAccepted]), current), current
}

func lastEpoch(records []lab.Body) uint64 {
	if len(records) == 0 {
		return 0
	}
	return records[len(records)-1].(recordEpoch).epoch
}
