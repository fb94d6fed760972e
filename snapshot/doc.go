// Package snapshot is snapshot files and the stream in which a snapshot goes
// from one member to another. Both are the same bytes: a file is a stream that
// was written down. docs/format/snapshot.md holds the table.
//
// # Promises
//
//   - A snapshot is complete and durable when Save or Receive returned nil: its
//     bytes were synced, then its name appeared, then the directory was synced.
//     A crash at any moment leaves the older snapshots as they were and never a
//     half-written one under a snapshot's name.
//   - Nothing is used before all of it was verified: every chunk carries a
//     checksum chained to all chunks before it, and a trailer the total length
//     and the SHA-256. Load reads the whole file once before it hands it out;
//     Receive reads what it wrote back from the disk before it returns.
//   - Prune never removes an older snapshot before a newer one was verified, and
//     never one that is being read.
//   - Damage is an *ErrCorrupt with file and offset. Nothing is removed then, and
//     falling back to an older snapshot is the caller's decision.
//   - The same state at the same index gives the same bytes on every member.
//
// # Bytes
//
//	┌ header: magic, version, meta, crc ┬ chunk ┬ chunk ┬ … ┬ trailer: length, sha-256 ┐
//	└───────────────────────────────────┴───────┴───────┴───┴──────────────────────────┘
//	chunk, trailer:  ┌ kind ┬ length ┬ payload ┬ crc32c over all bytes so far but the crcs ┐
//	                 └ 1 ───┴ 4, LE ─┴─────────┴ 4, LE ────────────────────────────────────┘
//
// # Use
//
// One Store per directory and process, and a directory per group. Its methods
// may be called by several goroutines: no lock is held during a file call, so
// that they may also be coroutines of the simulator. Everything is synchronous.
//
//	func Open(fs vfs.FS, dir string) (*Store, error)                             // removes what a crash left half written
//	func (s *Store) List() ([]Info, error)                                       // newest first; by name, not verified
//	func (s *Store) Save(m raft.SnapshotMeta, body io.WriterTo) (Info, error)    // an rsm.View is a body
//	func (s *Store) Receive(m raft.SnapshotMeta, r io.Reader) (Info, error)      // what Stream.WriteTo wrote elsewhere
//	func (s *Store) Load(i Info) (*Snapshot, error)                              // verified; Meta, Read, Close
//	func (s *Store) Prune(keep int) (removed int, err error)
//	func (s *Store) Remove(i Info) error
//	func (s Stream) WriteTo(w io.Writer) (int64, error)                          // to a peer
//
// Errors: *ErrCorrupt, *ErrVersion, ErrInUse, and the file system's own, wrapped
// (syscall.ENOSPC: the half-written file is removed and the store goes on).
package snapshot
