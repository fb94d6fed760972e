package exec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"sync"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/vfs"
	"github.com/quorate/quorate/wal"
)

// Options of a data directory.
type Options struct {
	Cluster   uint64         // refused if the directory is another cluster's
	Self      id.NodeID      // refused if the directory is another node's
	Directory id.DirectoryID // for a new directory: a random id
	WAL       wal.Options
	Faults    *faults.Set // nil outside the simulator, lab and stories
}

// Disk is an open data directory.
type Disk struct {
	files    vfs.FS
	lock     io.Closer
	log      *wal.Log
	identity Identity
	faults   *faults.Set
	found    []wal.GroupState    // not yet opened, by group
	opened   map[id.GroupID]bool // by OpenGroup

	// writing is held across file calls: groups are created and brought up while
	// others are served, and the log has one writer. A simulated world, where a
	// second coroutine would wait for ever, opens its groups before it serves.
	writing sync.Mutex
	records []wal.Record // scratch of Persist
	cuts    bool         // a log start was written: segments may have become free
}

// ErrOtherCluster, ErrOtherNode: the directory belongs elsewhere.
var (
	ErrOtherCluster = errors.New("the data directory belongs to another cluster")
	ErrOtherNode    = errors.New("the data directory belongs to another node")
	ErrEtcd         = errors.New("the data directory is etcd's")
	ErrHasData      = errors.New("the group has data on this disk")
	ErrNoData       = errors.New("the group has no data on this disk")
)

// Open locks and reads a data directory, or makes a new one.
func Open(files vfs.FS, o Options) (*Disk, error) {
	names, err := files.List(".")
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if n == "member" {
			return nil, fmt.Errorf("%w (it holds member/): choose another --data-dir; quorate does not read etcd's files in place", ErrEtcd)
		}
	}
	lock, err := files.Lock("LOCK")
	if err != nil {
		return nil, err
	}
	d := &Disk{files: files, lock: lock, faults: o.Faults, opened: map[id.GroupID]bool{}}
	if err := d.open(o); err != nil {
		lock.Close()
		return nil, err
	}
	return d, nil
}

func (d *Disk) open(o Options) error {
	i, ok, err := readIdentity(d.files)
	switch {
	case err != nil:
		return err
	case !ok:
		i = Identity{Cluster: o.Cluster, Self: o.Self, Directory: o.Directory}
	case i.Cluster != o.Cluster:
		return fmt.Errorf("%w: it is of cluster %016x and this is %016x; choose another --data-dir or fix the cluster token and initial members", ErrOtherCluster, i.Cluster, o.Cluster)
	case i.Self != o.Self:
		return fmt.Errorf("%w: it is of %s and this is %s; choose another --data-dir or fix the member's name and peer URLs", ErrOtherNode, i.Self, o.Self)
	}
	if err := d.files.MkdirAll("wal"); err != nil {
		return err
	}
	if err := d.files.SyncDir("."); err != nil {
		return err
	}
	w := o.WAL
	w.Faults, w.Identity = o.Faults, binary.LittleEndian.Uint64(i.Directory[:])
	if d.log, d.found, err = wal.Open(d.files, "wal", w); err != nil {
		return err // a start that fails here has counted for nothing
	}
	i.Boot++
	if err := writeIdentity(d.files, i); err != nil {
		d.log.Close()
		return err
	}
	d.identity = i
	return nil
}

// Identity tells whose directory it is.
func (d *Disk) Identity() Identity { return d.identity }

// Log gives access to the log's readers: Load, Bytes.
func (d *Disk) Log() *wal.Log { return d.log }

// Groups lists the groups that have data on this disk and are not open, by id.
func (d *Disk) Groups() []id.GroupID {
	var ids []id.GroupID
	for _, g := range d.found {
		ids = append(ids, g.Group)
	}
	return ids
}

// Bootstrap creates a group with its first configuration, the same on every
// initial member. It fails with ErrHasData if the group exists here.
func (d *Disk) Bootstrap(g id.GroupID, c membership.Config) error {
	if d.has(g) {
		return fmt.Errorf("group %d: %w: resume it instead of bootstrapping it", g, ErrHasData)
	}
	if err := c.Validate(); err != nil {
		return err
	}
	return d.create(g, raft.LogStart{Config: c})
}

// Join creates a group that knows nothing yet: the leader will bring it up.
func (d *Disk) Join(g id.GroupID) error {
	if d.has(g) {
		return fmt.Errorf("group %d: %w: resume it instead of joining it", g, ErrHasData)
	}
	return d.create(g, raft.LogStart{})
}

func (d *Disk) create(g id.GroupID, start raft.LogStart) error {
	if err := d.writeNow(wal.Record{Group: g, Kind: wal.RecordReset, Start: start}); err != nil {
		return err
	}
	d.found = append(d.found, wal.GroupState{Group: g, Restored: raft.Restored{Start: start, Last: start.Index}})
	return nil
}

// writeNow writes one record durably, beside the writer.
func (d *Disk) writeNow(r wal.Record) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if err := d.log.Append([]wal.Record{r}); err != nil {
		return err
	}
	return d.log.Sync()
}

// Idle is for a writer with nothing to do (wal.Log.Idle).
func (d *Disk) Idle() error {
	d.writing.Lock()
	defer d.writing.Unlock()
	return d.log.Idle()
}

// has tells whether the log holds a group: a second creation would empty its log
// under a machine that runs.
func (d *Disk) has(g id.GroupID) bool {
	if d.opened[g] {
		return true
	}
	for _, f := range d.found {
		if f.Group == g {
			return true
		}
	}
	return false
}

// Persist writes a run of the host's Persists as one batch: one fsync for all of
// them (DESIGN 4). It returns the token up to which everything is durable now,
// which is 0 if none of them had to be synced. An error poisons the disk, except
// wal.ErrNoSpace.
func (d *Disk) Persist(run []host.Persist) (id.Token, error) {
	d.writing.Lock()
	defer d.writing.Unlock()
	d.records = d.records[:0]
	mustSync, cut := false, false
	for _, p := range run {
		mustSync = mustSync || p.MustSync
		for _, w := range p.Writes {
			d.records = append(d.records, record(w))
			cut = cut || w.Kind == host.WriteStart || w.Kind == host.WriteReset
		}
	}
	err := d.log.Append(d.records)
	carriesEntries := false
	for i := range d.records {
		carriesEntries = carriesEntries || len(d.records[i].Entries) > 0
	}
	clear(d.records)
	if err != nil {
		return 0, err
	}
	d.cuts = d.cuts || cut
	if !mustSync {
		return 0, nil
	}
	if !carriesEntries && d.faults.On(faults.SkipVoteSync) {
		return run[len(run)-1].Token, nil
	}
	if err := d.log.Sync(); err != nil {
		return 0, err
	}
	if d.cuts {
		_, err := d.log.Release()
		var poisoned *wal.ErrPoisoned
		if errors.As(err, &poisoned) {
			return 0, err
		}
		// A segment that could not be removed is tried again with the next sync:
		// everything written is durable, and nothing is lost but space.
		d.cuts = err != nil
	}
	return run[len(run)-1].Token, nil
}

func record(w host.GroupWrite) wal.Record {
	r := wal.Record{Group: w.Group, Hard: w.Hard, Entries: w.Entries, Start: w.Start, Snapshot: w.Snapshot}
	switch w.Kind {
	case host.WriteAppend:
		r.Kind = wal.RecordAppend
	case host.WriteStart:
		r.Kind = wal.RecordStart
	case host.WriteIntent:
		r.Kind = wal.RecordIntent
	case host.WriteReset:
		r.Kind = wal.RecordReset
	}
	return r
}

// Load reads entries back.
func (d *Disk) Load(l host.Load) host.Loaded {
	entries, err := d.log.Read(l.Group, l.From, l.To, l.LimitBytes)
	if errors.Is(err, wal.ErrGone) {
		entries, err = nil, nil
	}
	return host.Loaded{Load: l, Entries: entries, Err: err}
}

// Close releases the directory. The caller has stopped all workers.
func (d *Disk) Close() error {
	err := d.log.Close()
	if e := d.lock.Close(); err == nil {
		err = e
	}
	return err
}

func snapshotDir(g id.GroupID) string {
	return path.Join("snapshot", strconv.FormatUint(uint64(g), 10))
}
