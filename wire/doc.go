// Package wire is the bytes of messages, entries, configurations and hard state:
// versioned, fuzzed, with golden files. docs/format/wire.md holds the tables.
//
// # Promises
//
//   - One value has one encoding: a decoder accepts exactly the bytes that the
//     encoder would write for what it returns. Bytes can therefore be compared
//     and checksummed in place of values.
//   - Decoders take any bytes. They return an *Error that says what is wrong and
//     at which offset, never panic, and never allocate more than 32 times the
//     length of the input (the worst are empty texts of one byte in a list; an
//     Append costs at most ten times its length, of large entries next to none).
//   - What they return shares memory with the input (an Entry's Data and Encoded
//     are slices of it), so the caller must not reuse the buffer. A configuration
//     is copied out.
//   - Every entry carries a CRC32C of its own, checked by every decoder: the
//     checksums of a WAL record and of a frame cover one hop each, this one goes
//     with the entry from the leader's Seal to the last disk. A flipped bit in a
//     leader's memory is refused by its followers instead of replicated.
//   - Every value begins with a format version (an entry: within its first byte
//     behind the length). An unknown version is an error that names it.
//
// # Bytes
//
//	message   ┌ version ┬ kind ┬ fields … ┐
//	          └ 1 byte ─┴ 1 ───┴──────────┘
//	entry     ┌ length ┬ version·kind ┬ term ┬ index ┬ origin ┬ sequence ┬ data ┬ crc32c ┐
//	          └ uvarint ┴ 4 + 4 bits ─┴ uvarint × 5 ─────────────────────┴──────┴ 4, LE ─┘
//	                    ├──────────────────────── length bytes ─────────────────────────┤
//
// Numbers are unsigned varints in their shortest form.
//
// # Use
//
//	func AppendMessage(dst []byte, m raft.Message) []byte   // entries with Encoded set are copied, not encoded again
//	func Message(b []byte) (raft.Message, error)            // all of b
//	func AppendEntry(dst []byte, e raft.Entry) []byte
//	func Entry(b []byte) (e raft.Entry, rest []byte, err error)
//	func Seal(e *raft.Entry)                                // fills e.Encoded (and Data of a configuration entry)
//	func EntryChecksum(encoded []byte) uint32               // the CRC an encoded entry carries
//	func AppendConfig(dst []byte, c membership.Config) []byte
//	func Config(b []byte) (membership.Config, error)
//	func AppendHardState(dst []byte, h raft.HardState) []byte
//	func HardState(b []byte) (raft.HardState, error)
//	func AppendLogStart(dst []byte, s raft.LogStart) []byte
//	func LogStart(b []byte) (raft.LogStart, error)
//	func AppendSnapshotMeta(dst []byte, s raft.SnapshotMeta) []byte
//	func SnapshotMeta(b []byte) (raft.SnapshotMeta, error)
package wire

// Version is the only format version this build writes and reads. Until the
// first tag it may change its meaning; from then on it grows.
const Version = 1
