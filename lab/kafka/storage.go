package kafka

import (
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// storage is how the replica uses its disk. Kafka leaves the segments to the page
// cache: a process may die and nothing is lost, a power cut takes what the cache has
// not written yet. The two checkpoints are files of their own and are synced.
type storage struct {
	flushAt id.Time // when the page cache writes the segments; Never: nothing is dirty
	hwAt    id.Time // when the high watermark is written down next
	hwKept  int     // as it was written down last
	syncs   []synced
	ended   int      // broken flush-each: the log is on disk up to here
	token   id.Token // of the newest sync of the segments
}

// synced is a sync under way, and up to where it makes the log durable.
type synced struct {
	token id.Token
	end   int
}

// Files, as Kafka calls them.
const (
	segments  = "segments"
	hwFile    = "replication-offset-checkpoint"
	epochFile = "leader-epoch-checkpoint"
)

func (s *storage) init() { s.flushAt, s.hwAt = id.Never, id.Never }

// recover reads what the disk has. What the log lacks the checkpoints do not bring
// back: the high watermark is cut to the log, and so are the epochs.
func (b *broker) recover(t *lab.Turn, files map[string][]lab.Body) {
	r := &b.replica
	for _, record := range files[segments] {
		switch m := record.(type) {
		case appended:
			r.log.Truncate(m.Behind)
			for _, e := range m.Entries {
				r.log.Append(e)
			}
		case cut:
			r.log.Truncate(m.Behind)
		}
	}
	for _, record := range files[hwFile] {
		r.hw = record.(checkpoint).HW
	}
	for _, record := range files[epochFile] {
		r.epochs = slices.Clone(record.(epochsRecord).Starts)
	}
	r.hw = min(r.hw, r.log.Len())
	r.hwKept, r.ended = r.hw, r.log.Len()
	r.epochs = slices.DeleteFunc(r.epochs, func(e epochStart) bool { return e.Behind >= r.log.Len() })
	for p := 1; p <= r.log.Len(); p++ {
		if e, n := r.log.At(p).Epoch, len(r.epochs); n == 0 || r.epochs[n-1].Epoch < e {
			r.epochs = append(r.epochs, epochStart{e, p - 1})
		}
	}
	r.hwAt = t.Now.Add(checkpointed)
}

// store writes what stands behind a position.
func (b *broker) store(t *lab.Turn, behind int) {
	t.Write(segments, appended{Behind: behind, Entries: b.replica.log.From(behind)})
	b.dirty(t)
}

// cutTo takes everything behind a position away.
func (b *broker) cutTo(t *lab.Turn, behind int) {
	r := &b.replica
	if behind >= r.log.Len() {
		return
	}
	r.log.Truncate(behind)
	r.hw, r.ended = min(r.hw, behind), min(r.ended, behind)
	for i := range r.syncs {
		r.syncs[i].end = min(r.syncs[i].end, behind)
	}
	r.epochs = slices.DeleteFunc(r.epochs, func(e epochStart) bool { return e.Behind >= behind })
	if len(r.epochs) > 0 {
		b.keepEpochs(t)
	}
	t.Write(segments, cut{behind})
	b.dirty(t)
}

func (b *broker) dirty(t *lab.Turn) {
	r := &b.replica
	if b.o.flushEach {
		r.token = t.Sync(segments)
		r.syncs = append(r.syncs, synced{r.token, r.log.Len()})
		return
	}
	r.flushAt = min(r.flushAt, t.Now.Add(b.o.flush))
}

// stored is what a fetch waits for: nothing, unless every write is flushed.
func (b *broker) stored() id.Token {
	if b.o.flushEach {
		return b.replica.token
	}
	return 0
}

// ownEnd is up to where the leader's own log counts.
func (b *broker) ownEnd() int {
	if b.o.flushEach {
		return b.replica.ended
	}
	return b.replica.log.Len()
}

func (b *broker) durable(t *lab.Turn, upTo id.Token) {
	r := &b.replica
	for len(r.syncs) > 0 && r.syncs[0].token <= upTo {
		r.ended = r.syncs[0].end
		r.syncs = r.syncs[1:]
	}
	if r.leader == b.self {
		b.advance(t)
	}
}

// beginEpoch notes that this leader's epoch begins behind its last entry.
func (b *broker) beginEpoch(t *lab.Turn, epoch uint64) {
	b.beginEpochBehind(t, epoch, b.replica.log.Len())
}

func (b *broker) beginEpochBehind(t *lab.Turn, epoch uint64, behind int) {
	r := &b.replica
	if n := len(r.epochs); n > 0 && r.epochs[n-1].Epoch >= epoch {
		return
	}
	// An epoch nobody wrote in gives way: it says nothing about the log.
	r.epochs = slices.DeleteFunc(r.epochs, func(e epochStart) bool { return e.Behind >= behind })
	r.epochs = append(r.epochs, epochStart{epoch, behind})
	b.keepEpochs(t)
}

// epochBegan is the position behind which the leader's epoch began.
func (b *broker) epochBegan() int {
	r := &b.replica
	if n := len(r.epochs); n > 0 && r.epochs[n-1].Epoch == r.epoch {
		return r.epochs[n-1].Behind
	}
	return 0
}

func (b *broker) keepEpochs(t *lab.Turn) {
	t.Persist(epochFile, epochsRecord{slices.Clone(b.replica.epochs)})
}

// storageDue lets the page cache write, and writes the high watermark down.
func (b *broker) storageDue(t *lab.Turn) {
	r := &b.replica
	if t.Now >= r.flushAt {
		r.flushAt = id.Never
		t.Sync(segments)
	}
	if t.Now >= r.hwAt {
		r.hwAt = t.Now.Add(checkpointed)
		if r.hw != r.hwKept {
			r.hwKept = r.hw
			t.Persist(hwFile, checkpoint{r.hw})
		}
	}
}

func (b *broker) storageDeadline() id.Time { return min(b.replica.flushAt, b.replica.hwAt) }
