package vfs

import (
	"fmt"
	"syscall"
)

// OpKind is a kind of operation on a Disk.
type OpKind uint8

const (
	OpCreate OpKind = iota + 1
	OpOpen
	OpRead
	OpWrite
	OpSync
	OpPreallocate
	OpTruncate
	OpSize
	OpClose
	OpRename
	OpRemove
	OpList
	OpMkdir
	OpSyncDir
	OpLock
)

var opNames = [...]string{
	OpCreate: "create", OpOpen: "open", OpRead: "read", OpWrite: "write", OpSync: "sync",
	OpPreallocate: "preallocate", OpTruncate: "truncate", OpSize: "size", OpClose: "close",
	OpRename: "rename", OpRemove: "remove", OpList: "list", OpMkdir: "mkdir",
	OpSyncDir: "syncdir", OpLock: "lock",
}

func (k OpKind) String() string { return opNames[k] }

// Op is one operation.
type Op struct {
	Kind    OpKind
	Name    string
	NewName string // OpRename
	Offset  int64  // OpRead, OpWrite
	Bytes   int64  // OpRead, OpWrite; OpPreallocate, OpTruncate: the size
}

// String is the operation on one line, as in golden lists.
func (o Op) String() string {
	switch o.Kind {
	case OpRead, OpWrite:
		return fmt.Sprintf("%s %s %d+%d", o.Kind, o.Name, o.Offset, o.Bytes)
	case OpPreallocate, OpTruncate:
		return fmt.Sprintf("%s %s %d", o.Kind, o.Name, o.Bytes)
	case OpRename:
		return fmt.Sprintf("%s %s %s", o.Kind, o.Name, o.NewName)
	}
	return o.Kind.String() + " " + o.Name
}

// Ops lists, in order, the changes and syncs that succeeded since ResetOps, if
// DiskOptions.Record is set: the order of durability.
func (d *Disk) Ops() []Op { return d.ops }

// ResetOps empties the list.
func (d *Disk) ResetOps() { d.ops = nil }

func (d *Disk) record(op Op) {
	if d.o.Record {
		d.ops = append(d.ops, op)
	}
}

// Fault is an error for a Hook to return when the disk shall not simply fail.
type Fault uint8

const (
	// SyncFailsClean (D4, on a sync): it fails, and the pages are marked clean
	// although most were not written. The next Sync succeeds and writes nothing
	// of them; until the next crash everything reads as if all were well. This is
	// Linux (fsyncgate).
	SyncFailsClean Fault = iota + 1
	// SyncFailsDirty (D4, on a sync): it fails, and the pages stay dirty: a later
	// Sync may write them.
	SyncFailsDirty
	// WriteFailsLater (D4, on a write): it succeeds, its pages are lost in the
	// background, and the next Sync reports it.
	WriteFailsLater
	// WriteLost (D7, on a write): it succeeds, every Sync succeeds, and the disk
	// never has the bytes.
	WriteLost
	// WriteMisdirected (D6, on a write): it succeeds, but the bytes are elsewhere
	// in the file after a crash.
	WriteMisdirected
)

var faultNames = [...]string{
	SyncFailsClean: "sync fails and drops pages", SyncFailsDirty: "sync fails", WriteFailsLater: "write fails later",
	WriteLost: "write is lost", WriteMisdirected: "write is misdirected",
}

func (f Fault) Error() string { return faultNames[f] }

// faultyWrite completes a write whose hook asked for a fault.
func (d *Disk) faultyWrite(f *diskFile, fault Fault, grow, write change) (int, error) {
	if grow.serial != 0 {
		f.n.append(d, change{size: grow.size})
	}
	switch fault {
	case WriteFailsLater:
		f.n.later = syscall.EIO
	case WriteMisdirected:
		if sectors := uint64(f.n.cache.size / d.o.SectorBytes); sectors > 0 {
			r := d.stream("misdirected write", write.serial)
			elsewhere := change{serial: d.next(), off: int64(r.below(sectors)) * d.o.SectorBytes, data: write.data}
			elsewhere.done = d.next()
			f.n.pending = append(f.n.pending, elsewhere)
		}
	case WriteLost:
	default:
		return 0, fail(OpWrite, f.n.name, syscall.EIO)
	}
	f.n.diverged = true
	write.apply(&f.n.cache)
	d.record(Op{Kind: OpWrite, Name: f.n.name, Offset: write.off, Bytes: int64(len(write.data))})
	return len(write.data), nil
}

// faultySync fails a sync in one of the ways disks do.
func (d *Disk) faultySync(f *diskFile, fault Fault, horizon uint64) error {
	if fault != SyncFailsClean {
		return fail(OpSync, f.n.name, syscall.EIO)
	}
	r := d.stream("failed sync", horizon)
	rest := f.n.pending[:0]
	for _, c := range f.n.pending {
		switch {
		case c.done == 0 || c.done >= horizon:
			rest = append(rest, c)
		case r.below(4) == 0:
			c.apply(&f.n.disk) // this one had been written before the failure
		default:
			f.n.diverged = true
		}
	}
	f.n.pending = rest
	return fail(OpSync, f.n.name, syscall.EIO)
}
