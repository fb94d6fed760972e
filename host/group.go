package host

import (
	"fmt"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
)

// group is one Raft group and what the host keeps around it.
type group struct {
	id       id.GroupID
	life     uint64 // differs between two Starts of the same group
	node     *raft.Node
	inMemory bool
	halted   bool

	in, spare   []raft.Event // of this pass; the other's memory
	submissions []submission // of this pass; they go in as one event
	answered    int          // of them, within a pass
	proposals   []raft.Proposal
	touched     bool
	retryAt     id.Time // of parked proposals; Never when there are none
	deadline    id.Time
	slot        int // in the deadline heap, + 1

	// What waits for the disk. held is ordered by after.
	newestWrite id.Token // raft token of the newest Persist given to the disk
	durable     id.Token // raft token up to which everything is durable
	held        []raft.Send

	// What waits for the machine.
	applying      []raft.Entry // the Apply in flight
	applied       id.Index
	appliedTerm   id.Term // of the last entry applied; 0 at first
	appliedConfig membership.Config
	flushed       id.Index
	saving        bool          // a Snapshot is in flight
	installing    *raft.Install // one is in flight
	sinceSnapshot struct{ entries, bytes int }

	clients clients
	soft    soft // last reported
}

// soft is what a Status effect without client reports about.
type soft struct {
	role    raft.Role
	term    id.Term
	leader  id.NodeID
	version uint64
}

func newGroup(c raft.Config, e Start) (*group, error) {
	node, err := raft.New(c, e.Restored)
	if err != nil {
		return nil, err
	}
	g := &group{
		id: e.Group, node: node, inMemory: e.InMemory,
		retryAt: id.Never, applied: e.Restored.Applied, appliedConfig: e.Restored.Start.Config,
	}
	for _, at := range e.Restored.Configs {
		if at.Index <= g.applied {
			g.appliedConfig = at.Config
		}
	}
	g.clients.init()
	return g, nil
}

// pass steps one group and settles what it asked for.
func (h *Host) pass(now id.Time, g *group) {
	if g.halted {
		return
	}
	h.proposals(g)
	in := g.in
	g.in = g.spare
	h.rafts = g.node.Step(now, in, h.rafts[:0])
	clear(in)
	g.spare = in[:0]
	for _, e := range h.rafts {
		h.settle(g, e)
		if g.halted {
			break
		}
	}
	clear(h.rafts)
	if g.halted {
		return
	}
	h.proposed(g)
	h.report(g)
	if g.retryAt != id.Never && now >= g.retryAt {
		g.retryAt = id.Never
		h.unpark(g)
	}
	if len(g.clients.queue) > 0 && g.retryAt == id.Never {
		g.retryAt = now.Add(parkedRetry)
	}
	h.timers.set(g, min(g.node.Deadline(), g.retryAt))
}

// settle turns one effect of raft into the host's.
func (h *Host) settle(g *group, e raft.Effect) {
	switch e := e.(type) {
	case raft.Persist:
		assert.That(e.Token > g.newestWrite, "group %d: raft token %d after %d", g.id, e.Token, g.newestWrite)
		g.newestWrite = e.Token
		h.write(g, GroupWrite{Kind: WriteAppend, Hard: e.Hard, Entries: e.Entries}, e.Token, e.MustSync)
	case raft.Send:
		h.send(g, e)
	case raft.Apply:
		assert.That(g.applying == nil, "group %d: two applies in flight", g.id)
		assert.That(e.Entries[0].Index == g.applied+1, "group %d: apply of %d after %d", g.id, e.Entries[0].Index, g.applied)
		g.applying = e.Entries
		h.effect(Apply{Group: g.id, Entries: e.Entries})
	case raft.Load:
		h.effect(Load{Group: g.id, For: e.For, Peer: e.Peer, From: e.From, To: e.To, LimitBytes: e.LimitBytes})
	case raft.Placed:
		h.placed(g, e)
	case raft.Refused:
		h.refused(g, e)
	case raft.ReadReady:
		h.readReady(g, e)
	case raft.SendSnapshot:
		h.effect(SendSnapshot{Group: g.id, To: e.To, Term: e.Term, MinIndex: e.MinIndex})
	case raft.Install:
		assert.That(e.Token > g.newestWrite, "group %d: raft token %d after %d", g.id, e.Token, g.newestWrite)
		g.newestWrite = e.Token
		g.installing = &e
		h.write(g, GroupWrite{Kind: WriteIntent, Snapshot: e.Snapshot}, e.Token, true)
	case raft.Cut:
		h.write(g, GroupWrite{Kind: WriteStart, Start: e.Start}, 0, false)
	case raft.TransferEnded:
		h.transferEnded(g, e)
	case raft.Removed:
		h.effect(Removed{Group: g.id, Committed: e.Committed})
	case raft.Halt:
		h.halt(g, e.Reason)
	case raft.Emit:
		e.Event.Node, e.Event.Group = h.cfg.Self, g.id
		h.effect(Emit{Event: e.Event})
	default:
		assert.Fail("group %d: raft emitted a %T the host does not know", g.id, e)
	}
}

// send lets a message go, or holds it back until its token is durable.
//
// Invariant: what depends on bytes leaves after they are durable (DESIGN 2).
func (h *Host) send(g *group, s raft.Send) {
	if s.After <= g.durable {
		h.effect(Send{To: s.To, Group: g.id, Message: s.Message})
		return
	}
	assert.That(s.After <= g.newestWrite, "group %d: a send waits for token %d, newest is %d", g.id, s.After, g.newestWrite)
	g.held = append(g.held, s)
}

// writeDurable goes on with what waited for one write.
func (h *Host) writeDurable(g *group, w groupToken) {
	switch w.kind {
	case WriteAppend:
		if w.token > g.durable {
			h.release(g, w.token)
			h.give(g, raft.Persisted{Token: w.token})
		}
	case WriteIntent:
		h.effect(Install{Group: g.id, From: g.installing.From, Snapshot: g.installing.Snapshot})
	case WriteReset:
		g.installing = nil
		h.release(g, w.token)
		h.give(g, raft.Installed{Token: w.token})
	}
}

// release lets the sends go that waited for token.
func (h *Host) release(g *group, token id.Token) {
	g.durable = token
	kept := g.held[:0]
	for _, s := range g.held {
		if s.After <= token {
			h.effect(Send{To: s.To, Group: g.id, Message: s.Message})
		} else {
			kept = append(kept, s)
		}
	}
	clear(g.held[len(kept):])
	g.held = kept
}

func (h *Host) loaded(e Loaded) {
	g := h.open(e.Load.Group)
	if g == nil {
		return
	}
	if e.Err != nil {
		h.halt(g, fmt.Errorf("reading entries %d to %d back from the log: %w", e.Load.From, e.Load.To, e.Err))
		return
	}
	h.give(g, raft.Loaded{For: e.Load.For, Peer: e.Load.Peer, From: e.Load.From, Entries: e.Entries, Gone: len(e.Entries) == 0})
}

// applyDone answers the clients of the applied entries.
func (h *Host) applyDone(g *group, e ApplyDone) {
	if e.Err != nil {
		h.halt(g, fmt.Errorf("the state machine failed to apply entries %d to %d: %w", g.applying[0].Index, g.applying[len(g.applying)-1].Index, e.Err))
		return
	}
	assert.That(len(g.applying) > 0 && g.applying[len(g.applying)-1].Index == e.Applied,
		"group %d: applied %d was not in flight", g.id, e.Applied)
	results := e.Results
	for _, entry := range g.applying {
		switch entry.Kind {
		case raft.EntryCommand:
			assert.That(len(results) > 0, "group %d: the state machine returned too few results", g.id)
			h.appliedCommand(g, entry, results[0])
			results = results[1:]
		case raft.EntryConfig:
			g.appliedConfig = *entry.Config
			h.appliedChange(g, entry)
		}
		g.sinceSnapshot.entries++
		g.sinceSnapshot.bytes += entry.Bytes()
	}
	assert.That(len(results) == 0, "group %d: the state machine returned %d results too many", g.id, len(results))
	term := g.applying[len(g.applying)-1].Term
	g.applying = nil
	g.applied = e.Applied
	h.overtaken(g, e.Applied, term)
	h.releaseReads(g)
	h.give(g, raft.Applied{Index: e.Applied})
	h.flushedTo(g, e.Flushed)
	h.maybeSnapshot(g)
}

// flushedTo lets raft cut the log.
func (h *Host) flushedTo(g *group, flushed id.Index) {
	if h.cfg.Faults.On(faults.CutByApplied) {
		flushed = g.applied
	}
	if flushed > g.flushed {
		assert.That(flushed <= g.applied, "group %d: flushed %d past applied %d", g.id, flushed, g.applied)
		g.flushed = flushed
		h.give(g, raft.Flushed{Index: flushed})
	}
}

// maybeSnapshot saves an in-memory machine when enough was applied since the
// last time: its snapshot is its durability, and frees the log.
func (h *Host) maybeSnapshot(g *group) {
	due := g.sinceSnapshot.entries >= h.cfg.SnapshotEntries || g.sinceSnapshot.bytes >= h.cfg.SnapshotBytes
	if !g.inMemory || g.saving || !due {
		return
	}
	g.saving = true
	g.sinceSnapshot.entries, g.sinceSnapshot.bytes = 0, 0
	h.effect(Snapshot{Group: g.id})
}

func (h *Host) snapshotSaved(g *group, e SnapshotSaved) {
	g.saving = false
	if e.Err != nil {
		return // the counters start anew: tried again after as many entries
	}
	h.flushedTo(g, e.Index)
}

// installed goes on behind a received snapshot: the log begins anew there. raft
// learns of it when that is durable too.
func (h *Host) installed(g *group, e Installed) {
	if e.Err != nil {
		h.halt(g, fmt.Errorf("installing a snapshot: %w", e.Err))
		return
	}
	assert.That(g.installing != nil && g.installing.Snapshot.Index == e.Index, "group %d: snapshot %d was not being installed", g.id, e.Index)
	i := g.installing
	g.applied, g.flushed = i.Snapshot.Index, i.Snapshot.Index
	g.appliedConfig = i.Snapshot.Config
	g.sinceSnapshot.entries, g.sinceSnapshot.bytes = 0, 0
	h.skipped(g)
	h.releaseReads(g)
	start := raft.LogStart{Index: i.Snapshot.Index, Term: i.Snapshot.Term, Config: i.Snapshot.Config}
	h.write(g, GroupWrite{Kind: WriteReset, Hard: i.Hard, Start: start}, i.Token, true)
}

// report tells whoever shows it that the soft state changed.
func (h *Host) report(g *group) {
	now := soft{role: g.node.Role(), term: g.node.Term(), leader: g.node.Leader(), version: g.node.ConfigVersion()}
	if now == g.soft {
		return
	}
	before := g.soft
	g.soft = now
	h.effect(Status{Group: g.id, Status: g.node.Status()})
	if before.leader != now.leader || before.role != now.role {
		h.leaderChanged(g)
	}
}
