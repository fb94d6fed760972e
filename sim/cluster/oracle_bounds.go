package cluster

import (
	"bytes"

	"github.com/quorate/quorate/internal/id"
)

// Bounds of what a node may hold. They are generous: a leak reaches any bound.
const (
	persistsMax  = 10_000 // writes that wait for the disk
	waitingMax   = 50_000 // clients, requests to peers
	segmentsMax  = 12     // of the log, besides what its entries need
	snapshotsMax = 4      // files, of a node at rest: two are kept
)

// bounded checks on every pass that what waits is bounded.
func (o *oracles) bounded(l *life) {
	switch {
	case len(l.persists) > persistsMax:
		o.c.fail("%v has %d writes waiting for its disk", l.n.self, len(l.persists))
	case len(l.requests) > waitingMax || len(l.asks) > waitingMax:
		o.c.fail("%v has %d clients and %d requests to peers waiting", l.n.self, len(l.requests), len(l.asks))
	}
}

// atRest looks at a node that has converged: its log is not much larger than the
// entries it needs, and nothing half done lies about.
func (o *oracles) atRest(n *node) {
	l := n.life
	var entries int64
	for i := l.before.First; i <= l.before.Last && int(i) <= len(o.global); i++ {
		entries += int64(o.global[i-1].entry.Bytes())
	}
	limit := segmentsMax*int64(o.c.set.segmentBytes) + 8*entries
	if got := l.disk.Log().Bytes(); got > limit {
		o.c.fail("%v keeps a log of %d bytes for entries %d to %d of %d bytes", n.self, got, l.before.First, l.before.Last, entries)
	}
	names, _ := n.disk.FS().List("snapshot/1") // there may be none yet
	if len(names) > snapshotsMax {
		o.c.fail("%v keeps %d files of snapshots: %v", n.self, len(names), names)
	}
}

// identical checks that nodes which have applied the same write the same bytes as
// a snapshot.
func (o *oracles) identical(nodes []*node) {
	first := map[id.Index][]byte{} // only looked up
	for _, n := range nodes {
		p := n.life.group.Acquire()
		var b bytes.Buffer
		_, err := p.Stream().WriteTo(&b)
		at := p.Meta.Index
		p.Release()
		if err != nil {
			o.c.fail("%v: writing its state: %v", n.self, err)
			return
		}
		if other, ok := first[at]; !ok {
			first[at] = b.Bytes()
		} else if !bytes.Equal(other, b.Bytes()) {
			o.c.fail("%v writes another snapshot of index %d than the node before it", n.self, at)
			return
		}
	}
}
