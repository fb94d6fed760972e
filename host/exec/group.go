package exec

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
	"github.com/quorate/quorate/snapshot"
	"github.com/quorate/quorate/wal"
)

// Group is one group's machine and what is published of it.
type Group struct {
	id      id.GroupID
	disk    *Disk
	machine rsm.Machine
	durable rsm.Durable // the same; nil if the machine is in memory
	store   *snapshot.Store

	commands []rsm.Command // scratch of Apply
	config   membership.Config

	mu       sync.Mutex
	pub      *Published
	saved    id.Index // of the newest durable snapshot of an in-memory machine
	received id.Index // durable machine: oldest received snapshot in the store; 0: none
}

// Published is an immutable state and its place in the log. Whoever acquired it
// must release it.
type Published struct {
	View rsm.View
	Meta raft.SnapshotMeta // Index = View.Applied()

	group *Group
	refs  int // guarded by group.mu
}

// OpenGroup brings a group's machine up and returns what raft must know. The
// group has data on the disk: recovered, bootstrapped or joined.
func (d *Disk) OpenGroup(g id.GroupID, m rsm.Machine) (*Group, raft.Restored, error) {
	fail := func(err error) (*Group, raft.Restored, error) {
		return nil, raft.Restored{}, fmt.Errorf("group %d: %w", g, err)
	}
	at := -1
	for i := range d.found {
		if d.found[i].Group == g {
			at = i
		}
	}
	if d.opened[g] {
		return fail(errors.New("it is open already"))
	}
	if at < 0 {
		return fail(fmt.Errorf("%w: bootstrap it, or join an existing group", ErrNoData))
	}
	state := d.found[at]
	store, err := snapshot.Open(d.files, snapshotDir(g))
	if err != nil {
		return fail(err)
	}
	gr := &Group{id: g, disk: d, machine: m, store: store}
	gr.durable, _ = m.(rsm.Durable)
	applied, err := gr.bringUp(state)
	if err != nil {
		return fail(err)
	}
	r, err := gr.finishInstall(state, applied)
	if err != nil {
		return fail(err)
	}
	if applied < r.Start.Index || applied > r.Last {
		return fail(fmt.Errorf("the state machine has applied entry %d, but the log holds %d to %d: its storage and the log do not belong together; restore both from the same backup, or wipe this member and add it again", applied, r.Start.Index+1, r.Last))
	}
	r.Applied = applied
	gr.config = configAt(r, applied)
	gr.publish(raft.SnapshotMeta{Index: applied, Term: termAt(r, applied), Config: gr.config})
	if err := gr.tidyAtStart(r); err != nil {
		gr.Close()
		return fail(err)
	}
	d.found = append(d.found[:at], d.found[at+1:]...)
	d.opened[g] = true
	return gr, r, nil
}

// bringUp returns the applied index the machine has: its own, or that of the
// newest snapshot that verifies and belongs to the log.
func (g *Group) bringUp(state wal.GroupState) (id.Index, error) {
	if g.durable != nil {
		applied, _, err := g.durable.Open()
		return applied, err
	}
	list, err := g.store.List()
	if err != nil {
		return 0, err
	}
	for _, i := range list {
		if !holds(state.Restored, i.Index, i.Term) && !isIntent(state, i) {
			continue
		}
		err := g.restore(i)
		var corrupt *snapshot.ErrCorrupt
		if errors.As(err, &corrupt) && i.Index > state.Restored.Start.Index {
			continue // an older one and the log behind it may still be whole
		}
		if err != nil {
			return 0, err
		}
		g.savedAt(i.Index)
		return i.Index, nil
	}
	return 0, nil
}

// holds tells whether entry (at, t) is of this log. A snapshot of which that is
// not true was received and raft never heard of it, so it does not count, even if
// the log is longer:
//
//	n1 has entries 90 to 100 of a leader that is gone. The new one sends a
//	snapshot at 95; n1 stores it and crashes. Restored, the machine would have
//	applied a 95 that is not the one in the log.
func holds(r raft.Restored, at id.Index, t id.Term) bool {
	return at >= r.Start.Index && at <= r.Last && termAt(r, at) == t
}

// isIntent tells whether the installation of i was under way.
func isIntent(state wal.GroupState, i snapshot.Info) bool {
	return state.Intent != nil && i == snapshot.Info{Index: state.Intent.Index, Term: state.Intent.Term}
}

// finishInstall ends an installation that a crash cut short. The log keeps an
// intent that an earlier start forgot until the next reset; such a one shows in
// the log, which went on to the snapshot's last entry and past it. raft installs
// only what its log does not hold.
func (g *Group) finishInstall(state wal.GroupState, applied id.Index) (raft.Restored, error) {
	r := state.Restored
	i := state.Intent
	if i == nil || applied < i.Index {
		return r, nil // never begun, or not yet in the machine: the old log and state are whole
	}
	if r.Start.Index >= i.Index || holds(r, i.Index, i.Term) {
		return r, nil // forgotten by an earlier start
	}
	assert.That(applied == i.Index, "group %d: applied %d behind an intent of %d", g.id, applied, i.Index)
	start := raft.LogStart{Index: i.Index, Term: i.Term, Config: i.Config}
	err := g.disk.writeNow(wal.Record{Group: g.id, Kind: wal.RecordReset, Hard: r.Hard, Start: start})
	return raft.Restored{Hard: r.Hard, Start: start, Last: start.Index}, err
}

func configAt(r raft.Restored, at id.Index) membership.Config {
	c := r.Start.Config
	for _, x := range r.Configs {
		if x.Index <= at {
			c = x.Config
		}
	}
	return c
}

func termAt(r raft.Restored, at id.Index) id.Term {
	t := r.Start.Term
	for _, run := range r.Terms {
		if at > r.Start.Index && run.First <= at {
			t = run.Term
		}
	}
	return t
}

// InMemory tells the host whether the machine needs snapshots.
func (g *Group) InMemory() bool { return g.durable == nil }

// Apply applies entries and publishes the new View.
func (g *Group) Apply(a host.Apply) host.ApplyDone {
	batch := a.Batch(g.commands[:0])
	last := a.Entries[len(a.Entries)-1]
	results, err := g.machine.Apply(batch, nil)
	clear(batch.Commands)
	g.commands = batch.Commands[:0]
	if err != nil {
		return host.ApplyDone{Group: g.id, Err: err}
	}
	for _, e := range a.Entries {
		if e.Kind == raft.EntryConfig {
			g.config = *e.Config
		}
	}
	g.publish(raft.SnapshotMeta{Index: last.Index, Term: last.Term, Config: g.config})
	if err := g.removeReceived(last.Index); err != nil {
		return host.ApplyDone{Group: g.id, Err: err}
	}
	flushed, err := g.flushed()
	return host.ApplyDone{Group: g.id, Applied: last.Index, Results: results, Flushed: flushed, Err: err}
}

// flushed is the applied index that survives a crash.
func (g *Group) flushed() (id.Index, error) {
	if g.durable != nil {
		return g.durable.Flushed()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.saved, nil
}

// Snapshot saves the published View of an in-memory machine durably.
func (g *Group) Snapshot() host.SnapshotSaved {
	p := g.Acquire()
	defer p.Release()
	err := g.save(p)
	if err == nil {
		g.savedAt(p.Meta.Index)
	}
	return host.SnapshotSaved{Group: g.id, Index: p.Meta.Index, Err: err}
}

func (g *Group) save(p *Published) error {
	if _, err := g.store.Save(p.Meta, p.View); err != nil {
		return err
	}
	return g.tidy(p.Meta.Index, snapshotsKept)
}

func (g *Group) savedAt(i id.Index) {
	g.mu.Lock()
	g.saved = max(g.saved, i)
	g.mu.Unlock()
}

const (
	// snapshotsKept of an in-memory machine: the newest, and the one before it in
	// case the newest turns out to be unreadable while the log behind the older one
	// is still there.
	snapshotsKept = 2
	// receivedKept: what peers sent and raft may still install; further ones come
	// from leaders that are gone.
	receivedKept = 2
)

// tidy removes all but the newest keep snapshots up to an index, and all but the
// newest received ones behind it. Whatever raft may yet install lies behind what
// is applied, so the two are counted apart:
//
//	Two received snapshots, 90 and 95, are never installed, for their leaders are
//	gone. The machine is saved at 50. Counted together, 50 would be removed, and
//	then the log up to 50 is cut.
//
// Before the first is removed, the newest one kept is read and verified; if it is
// damaged everything stays, and that is the error.
func (g *Group) tidy(upTo id.Index, keep int) error {
	list, err := g.store.List()
	if err != nil {
		return err
	}
	behind, kept := 0, 0
	newest := snapshot.Info{}
	for _, i := range list {
		if i.Index > upTo {
			if behind++; behind <= receivedKept {
				continue
			}
		} else if kept < keep {
			if kept++; kept == 1 {
				newest = i
			}
			continue
		} else if kept > 0 && newest.Index != 0 {
			r, err := g.store.Load(newest)
			if err != nil {
				return err
			}
			if err := r.Close(); err != nil {
				return err
			}
			newest = snapshot.Info{}
		}
		if err := g.store.Remove(i); err != nil && !errors.Is(err, snapshot.ErrInUse) {
			return err
		}
	}
	return nil
}

// tidyAtStart removes the snapshots that an earlier life of the process left and
// nobody will ask for: of a durable machine all, of one in memory those that the
// log does not know.
func (g *Group) tidyAtStart(r raft.Restored) error {
	list, err := g.store.List()
	if err != nil {
		return err
	}
	for _, i := range list {
		if g.durable == nil && holds(r, i.Index, i.Term) {
			continue
		}
		if err := g.store.Remove(i); err != nil {
			return err
		}
	}
	return nil
}

// Receive stores a snapshot that a peer sends, verified and durable: raft may
// hear of it then. It changes nothing else.
func (g *Group) Receive(meta raft.SnapshotMeta, r io.Reader) error {
	if _, err := g.store.Receive(meta, r); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.durable != nil && (g.received == 0 || meta.Index < g.received) {
		g.received = meta.Index
	}
	return nil
}

// removeReceived removes the snapshots that a durable machine is past, installed
// or not. That an entry behind one is applied says that the log's reset is
// durable: raft applies nothing while it installs, and installs nothing that is
// committed.
func (g *Group) removeReceived(applied id.Index) error {
	g.mu.Lock()
	due := g.received != 0 && g.received <= applied
	if due {
		g.received = 0
	}
	g.mu.Unlock()
	if !due {
		return nil
	}
	if err := g.tidy(applied, 0); err != nil {
		return err
	}
	list, err := g.store.List()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, i := range list {
		if g.received == 0 || i.Index < g.received {
			g.received = i.Index
		}
	}
	return err
}

// Stream is the published state as it goes to a peer. Release p when it is sent.
func (p *Published) Stream() snapshot.Stream {
	return snapshot.Stream{Meta: p.Meta, Body: p.View}
}

// Install replaces the machine's state by a received snapshot, durably. The
// intent is in the log already; the log's new start follows.
func (g *Group) Install(i host.Install) host.Installed {
	err := g.install(i.Snapshot)
	return host.Installed{Group: g.id, Index: i.Snapshot.Index, Err: err}
}

func (g *Group) install(meta raft.SnapshotMeta) error {
	if err := g.restore(snapshot.Info{Index: meta.Index, Term: meta.Term}); err != nil {
		return err
	}
	if g.durable != nil && !g.disk.faults.On(faults.SkipInstallFlush) {
		if err := g.durable.Flush(); err != nil {
			return err
		}
	}
	g.config = meta.Config
	g.savedAt(meta.Index)
	g.publish(meta)
	if g.durable != nil {
		return nil // the file is needed until the log's reset is durable
	}
	return g.tidy(meta.Index, snapshotsKept)
}

func (g *Group) restore(i snapshot.Info) error {
	r, err := g.store.Load(i)
	if err != nil {
		return err
	}
	defer r.Close()
	meta := rsm.Meta{Index: r.Meta.Index, Term: r.Meta.Term, Config: r.Meta.Config}
	if err := g.machine.Restore(meta, r); err != nil {
		return fmt.Errorf("restoring the snapshot at entry %d: %w", i.Index, err)
	}
	return nil
}

// publish makes the machine's View the one that readers get.
func (g *Group) publish(meta raft.SnapshotMeta) {
	p := &Published{View: g.machine.View(), Meta: meta, group: g, refs: 1}
	assert.That(p.View.Applied() == meta.Index, "group %d: the machine's view is of entry %d, not %d", g.id, p.View.Applied(), meta.Index)
	g.mu.Lock()
	old := g.pub
	g.pub = p
	g.mu.Unlock()
	if old != nil {
		old.Release()
	}
}

// Acquire returns the published state, pinned until Release.
func (g *Group) Acquire() *Published {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pub.refs++
	return g.pub
}

// Release unpins; the last one closes the View.
func (p *Published) Release() {
	p.group.mu.Lock()
	p.refs--
	last := p.refs == 0
	assert.That(p.refs >= 0, "a view was released twice")
	p.group.mu.Unlock()
	if last {
		p.View.Close()
	}
}

// Flush makes everything applied durable: before a clean stop of a durable
// machine, so that the next start has nothing to replay.
func (g *Group) Flush() error {
	if g.durable != nil {
		return g.durable.Flush()
	}
	return nil
}

// Close unpublishes the last View. No worker uses the group any more.
func (g *Group) Close() {
	g.mu.Lock()
	p := g.pub
	g.pub = nil
	g.mu.Unlock()
	if p != nil {
		p.Release()
	}
}
