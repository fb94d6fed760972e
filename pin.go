package quorate

import (
	"context"
	"errors"
	"time"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
)

// A leader's first act after its no-op is to commit the members' data directory
// ids to the configuration (DESIGN 14). From then on a member that comes with
// another directory, because its disk was wiped or an old backup was put back,
// is refused by its peers: under the same id it could vote a second time in a
// term. The pin is read from the replicated configuration alone; one known to a
// single peer would not protect.

// formatDirectory asks a host for its directory id; the answer is the id.
const formatDirectory = 3

// pinRetry is how long the leader waits before it asks a silent member again.
const pinRetry = time.Second

// pin runs for the life of the group.
func (g *Group) pin(ctx context.Context) {
	for {
		changed := g.officeChanged()
		again := false
		if s := g.Status(); s.Role == raft.Leader && !s.Config.Joint {
			again = g.pinMissing(ctx, s)
		}
		var retry <-chan time.Time
		if again {
			t := time.NewTimer(pinRetry)
			retry, changed = t.C, nil
		}
		select {
		case <-changed:
		case <-retry:
		case <-ctx.Done():
			return
		}
	}
}

// pinMissing asks the members that have no pin for their directories and commits
// those that answer. It returns true if some are still missing.
func (g *Group) pinMissing(ctx context.Context, s raft.Status) bool {
	change := ChangeSet{If: s.Config.Version}
	missing := false
	for _, m := range s.Config.Members {
		if m.Directory != (id.DirectoryID{}) {
			continue
		}
		d, ok := g.host.directoryOf(ctx, g, m.ID)
		if !ok {
			missing = true
			continue
		}
		m.Directory = d
		change.Ops = append(change.Ops, Op{Kind: membership.Update, Member: m})
	}
	if len(change.Ops) == 0 {
		return missing
	}
	ctx, cancel := context.WithTimeout(ctx, 5*pinRetry)
	defer cancel()
	if err := g.Change(ctx, change); err != nil {
		var e *Error
		if !errors.As(err, &e) || e.Why != raft.ChangeStale && e.Why != raft.ChangeInFlight && e.Why != raft.NoOwnTermCommit && e.Why != raft.NotLeader && ctx.Err() == nil {
			g.host.o.Logf("group %d: the members' data directories were not pinned: %v", g.id, err)
		}
		return true
	}
	return missing
}

func (h *Host) directoryOf(ctx context.Context, g *Group, n id.NodeID) (d id.DirectoryID, ok bool) {
	if n == h.self {
		return h.disk.Identity().Directory, true
	}
	ctx, cancel := context.WithTimeout(ctx, pinRetry)
	defer cancel()
	b, err := h.ask(ctx, n, []byte{formatDirectory})
	if err != nil || len(b) != len(d) {
		return d, false
	}
	copy(d[:], b)
	return d, true
}
