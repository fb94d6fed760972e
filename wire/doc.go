// Package wire is the bytes of messages, entries, configurations and hard state:
// versioned, fuzzed, with golden files. docs/format/wire.md holds the tables.
//
// Decoders take any bytes: they return an error that says what is wrong and
// where, never panic, and never allocate more than a small multiple of the
// input. What they return shares memory with the input (an Entry's Data and
// Encoded are slices of it), so the caller must not reuse the buffer.
//
//	func AppendMessage(dst []byte, m raft.Message) []byte   // entries with Encoded set are copied, not encoded again
//	func Message(b []byte) (raft.Message, error)            // all of b
//	func AppendEntry(dst []byte, e raft.Entry) []byte
//	func Entry(b []byte) (e raft.Entry, rest []byte, err error)
//	func Seal(e *raft.Entry)                                // fills e.Encoded (and Data of a configuration entry)
//	func AppendConfig(dst []byte, c membership.Config) []byte
//	func Config(b []byte) (membership.Config, error)
//	func AppendHardState(dst []byte, h raft.HardState) []byte
//	func HardState(b []byte) (raft.HardState, error)
//	func AppendLogStart(dst []byte, s raft.LogStart) []byte
//	func LogStart(b []byte) (raft.LogStart, error)
//	func AppendSnapshotMeta(dst []byte, s raft.SnapshotMeta) []byte
//	func SnapshotMeta(b []byte) (raft.SnapshotMeta, error)
package wire
