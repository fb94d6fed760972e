package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/wire"
)

// The bytes of a segment. docs/format/wal.md has the same tables with the why.
// Numbers are little-endian. A position is segment<<32 | offset.
//
//	file: header, frames, zeros                    frame: at a multiple of 8
//	┌───────────────┬─────┬───────────────┐        ┌────┬────┬─────────────────────────────┐
//	│ offset  bytes │     │ segment       │        │  0 │  4 │ "QWF1"                      │
//	│      0      8 │     │ "QUORWAL\n"   │        │  4 │  4 │ payload bytes               │
//	│      8      4 │     │ version       │        │  8 │  8 │ watermark: position before  │
//	│     12      4 │     │ segment       │        │    │    │ which all was durable       │
//	│     16      8 │     │ identity      │        │ 16 │  4 │ oldest segment needed       │
//	│     24      8 │     │ file bytes    │        │ 20 │  4 │ zero                        │
//	│     32     28 │     │ zero          │        │ 24 │  4 │ checksum of the payload,    │
//	│     60      4 │     │ checksum 0–59 │        │    │    │ chained                     │
//	│     64        │     │ frames        │        │ 28 │  4 │ checksum of 0–27, salted    │
//	└───────────────┴─────┴───────────────┘        │ 32 │    │ records, zeros to 8         │
//	                                               └────┴────┴─────────────────────────────┘
//	record
//	┌────┬───┬─────────────────────┐   body by kind
//	│  0 │ 1 │ kind                │   append   hard: u8 bytes, HardState; u32 count, Entries
//	│  1 │ 1 │ flags               │   start    LogStart
//	│  2 │ 2 │ zero                │   intent   SnapshotMeta
//	│  4 │ 4 │ body bytes          │   reset    hard; LogStart
//	│  8 │ 8 │ group               │   drop     nothing
//	│ 16 │   │ body                │   rewrite  hard; u32 bytes, LogStart; u32 bytes, SnapshotMeta; u32 count, Entries
//	└────┴───┴─────────────────────┘   link     u64 end of the segment before, u32 its chain, u32 zero
//
// HardState, LogStart, SnapshotMeta and Entry are wire's. Checksums are CRC32C.
// A header's starts from the salt of its segment and its own offset, so it can be
// judged alone, and only where it was written. A payload's starts from the
// checksum of the frame header before it (in a segment's first frame from the
// salt), so a frame is only valid behind the frame it was written behind. A
// segment begins with a link record, which carries the chain across files.
const (
	segmentMagic       = "QUORWAL\n"
	segmentVersion     = 1
	segmentHeaderBytes = 64

	frameMagic       = "QWF1"
	frameHeaderBytes = 32
	frameAlign       = 8

	recordHeaderBytes = 16
	linkBytes         = recordHeaderBytes + 16

	// Kinds of records that only the log itself writes.
	recordRewrite RecordKind = 64 // all of a group, moved to the head of the log
	recordLink    RecordKind = 65 // the first record of every segment

	// Flags of recordRewrite: it counts when the last part is there.
	rewriteFirst = 1
	rewriteLast  = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(start uint32, b []byte) uint32 { return crc32.Update(start, castagnoli, b) }

// position is a place in the log.
type position uint64

func at(segment uint32, off int64) position { return position(segment)<<32 | position(off) }

func (p position) segment() uint32 { return uint32(p >> 32) }
func (p position) offset() int64   { return int64(uint32(p)) }

func (p position) String() string { return fmt.Sprintf("%s:%d", segmentName(p.segment()), p.offset()) }

func segmentName(n uint32) string { return fmt.Sprintf("%08x.wal", n) }

// segmentNumber parses a segment's file name.
func segmentNumber(name string) (uint32, bool) {
	if len(name) != len("00000000.wal") {
		return 0, false
	}
	n, err := strconv.ParseUint(name[:8], 16, 32)
	return uint32(n), err == nil && n > 0 && segmentName(uint32(n)) == name
}

// saltOf is what the checksums of a segment's frames start from: a frame of
// another log or another segment is never taken for one of this.
func saltOf(identity uint64, segment uint32) uint32 {
	var b [12]byte
	binary.LittleEndian.PutUint64(b[:], identity)
	binary.LittleEndian.PutUint32(b[8:], segment)
	return sum(0, b[:])
}

// segmentHeader is a file's first 64 bytes.
type segmentHeader struct {
	segment  uint32
	identity uint64
	bytes    int64
}

func (h segmentHeader) encode() []byte {
	b := make([]byte, segmentHeaderBytes)
	copy(b, segmentMagic)
	le := binary.LittleEndian
	le.PutUint32(b[8:], segmentVersion)
	le.PutUint32(b[12:], h.segment)
	le.PutUint64(b[16:], h.identity)
	le.PutUint64(b[24:], uint64(h.bytes))
	le.PutUint32(b[60:], sum(0, b[:60]))
	return b
}

// decodeSegmentHeader judges b, the beginning of file. The magic, the version and
// the place of the checksum are the same in every version.
func decodeSegmentHeader(file string, b []byte) (h segmentHeader, err error) {
	le := binary.LittleEndian
	switch {
	case len(b) < segmentHeaderBytes:
		return h, &ErrCorrupt{file, int64(len(b)), "the file ends within its header"}
	case string(b[:8]) != segmentMagic:
		return h, &ErrCorrupt{file, 0, "it does not begin as a segment does"}
	case sum(0, b[:60]) != le.Uint32(b[60:]):
		return h, &ErrCorrupt{file, 0, "the checksum of its header is wrong"}
	case le.Uint32(b[8:]) != segmentVersion:
		return h, &ErrVersion{file, le.Uint32(b[8:]), segmentVersion}
	}
	h = segmentHeader{segment: le.Uint32(b[12:]), identity: le.Uint64(b[16:]), bytes: int64(le.Uint64(b[24:]))}
	if segmentName(h.segment) != file {
		return h, &ErrCorrupt{file, 12, "its header says that it is " + segmentName(h.segment)}
	}
	if h.bytes < segmentBytesMin || h.bytes > segmentBytesMax {
		return h, &ErrCorrupt{file, 24, fmt.Sprintf("its header says that it has %d bytes", h.bytes)}
	}
	return h, nil
}

// frameHeader precedes the records of one batch.
type frameHeader struct {
	payload   int64
	watermark position
	oldest    uint32
	sum       uint32 // of the payload
	check     uint32 // of this header: what the next payload's checksum starts from
}

// putFrameHeader fills the first 32 bytes of a frame, whose payload is the rest,
// and returns the checksum that chains to the next.
func putFrameHeader(frame []byte, salt, chain uint32, off int64, watermark position, oldest uint32) uint32 {
	le := binary.LittleEndian
	payload := frame[frameHeaderBytes:]
	copy(frame, frameMagic)
	le.PutUint32(frame[4:], uint32(len(payload)))
	le.PutUint64(frame[8:], uint64(watermark))
	le.PutUint32(frame[16:], oldest)
	le.PutUint32(frame[20:], 0)
	le.PutUint32(frame[24:], sum(chain, payload))
	check := sum(salt^uint32(off), frame[:28])
	le.PutUint32(frame[28:], check)
	return check
}

// decodeFrameHeader judges b, the bytes at off, alone.
func decodeFrameHeader(b []byte, salt uint32, off int64) (h frameHeader, ok bool) {
	if len(b) < frameHeaderBytes || string(b[:4]) != frameMagic {
		return h, false
	}
	le := binary.LittleEndian
	h = frameHeader{
		payload:   int64(le.Uint32(b[4:])),
		watermark: position(le.Uint64(b[8:])),
		oldest:    le.Uint32(b[16:]),
		sum:       le.Uint32(b[24:]),
		check:     le.Uint32(b[28:]),
	}
	return h, sum(salt^uint32(off), b[:28]) == h.check && h.payload%frameAlign == 0
}

// padding returns how many zeros bring n to the alignment.
func padding(n int) int { return -n & (frameAlign - 1) }

// recordBytesMax bounds what encoding r adds to a frame, its entries excepted.
func recordBytesMax(r *Record) int {
	n := recordHeaderBytes + 1 + 64 + 4
	switch r.Kind {
	case RecordStart, RecordReset:
		n += len(wire.AppendLogStart(nil, r.Start))
	case RecordIntent:
		n += len(wire.AppendSnapshotMeta(nil, r.Snapshot))
	}
	return n
}

// appendRecord encodes one record. Entries are the last bytes of it.
func appendRecord(dst []byte, r *Record) []byte {
	dst, body := beginRecord(dst, r.Kind, 0, r.Group)
	switch r.Kind {
	case RecordAppend:
		dst = appendHard(dst, r.Hard)
		dst = appendEntries(dst, r.Entries)
	case RecordStart:
		dst = wire.AppendLogStart(dst, r.Start)
	case RecordIntent:
		dst = wire.AppendSnapshotMeta(dst, r.Snapshot)
	case RecordReset:
		dst = appendHard(dst, r.Hard)
		dst = wire.AppendLogStart(dst, r.Start)
	}
	return endRecord(dst, body)
}

func beginRecord(dst []byte, k RecordKind, flags byte, g id.GroupID) (_ []byte, body int) {
	dst = append(dst, byte(k), flags, 0, 0, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(g))
	return dst, len(dst)
}

func endRecord(dst []byte, body int) []byte {
	binary.LittleEndian.PutUint32(dst[body-12:], uint32(len(dst)-body))
	return dst
}

func appendHard(dst []byte, h raft.HardState) []byte {
	n := len(dst)
	dst = wire.AppendHardState(append(dst, 0), h)
	dst[n] = byte(len(dst) - n - 1)
	return dst
}

func appendEntries(dst []byte, entries []raft.Entry) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(entries)))
	for i := range entries {
		dst = append(dst, entries[i].Encoded...)
	}
	return dst
}

func appendSized(dst []byte, encode func([]byte) []byte) []byte {
	n := len(dst)
	dst = encode(append(dst, 0, 0, 0, 0))
	binary.LittleEndian.PutUint32(dst[n:], uint32(len(dst)-n-4))
	return dst
}

func appendLink(dst []byte, end position, chain uint32) []byte {
	dst, body := beginRecord(dst, recordLink, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(end))
	dst = binary.LittleEndian.AppendUint32(dst, chain)
	dst = append(dst, 0, 0, 0, 0)
	return endRecord(dst, body)
}

// rewrite is everything a group has, or a part of its entries.
type rewrite struct {
	flags  byte
	intent *raft.SnapshotMeta
}

func appendRewrite(dst []byte, r *Record, w rewrite) []byte {
	dst, body := beginRecord(dst, recordRewrite, w.flags, r.Group)
	dst = appendHard(dst, r.Hard)
	dst = appendSized(dst, func(b []byte) []byte { return wire.AppendLogStart(b, r.Start) })
	dst = appendSized(dst, func(b []byte) []byte {
		if w.intent == nil {
			return b
		}
		return wire.AppendSnapshotMeta(b, *w.intent)
	})
	dst = appendEntries(dst, r.Entries)
	return endRecord(dst, body)
}

// stored is a record as it was found, with where its entries are.
type stored struct {
	Record
	rewrite
	locs    []loc
	linkEnd position // recordLink
	chain   uint32
	bytes   int // of the record
}

// cursor takes a record's body apart; after an error it gives zeros.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) take(n int, what string) []byte {
	if c.err == nil && (n < 0 || n > len(c.b)) {
		c.err = fmt.Errorf("%s needs %d bytes, %d are left", what, n, len(c.b))
	}
	if c.err != nil {
		return nil
	}
	out := c.b[:n:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) u32(what string) uint32 {
	if b := c.take(4, what); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) hard() (h raft.HardState) {
	if n := c.take(1, "length of the hard state"); n != nil {
		if b := c.take(int(n[0]), "hard state"); b != nil {
			h, c.err = wire.HardState(b)
		}
	}
	return h
}

func (c *cursor) start(b []byte) (s raft.LogStart) {
	if c.err == nil {
		s, c.err = wire.LogStart(b)
	}
	return s
}

func (c *cursor) snapshot(b []byte) (s raft.SnapshotMeta) {
	if c.err == nil {
		s, c.err = wire.SnapshotMeta(b)
	}
	return s
}

// entries decodes the entries that end a body. base is the place of the body's
// end in the segment.
func (c *cursor) entries(segment uint32, end int64) (entries []raft.Entry, locs []loc) {
	n := int(c.u32("number of entries"))
	if c.err != nil || n == 0 {
		return nil, nil
	}
	if n > len(c.b) {
		c.err = fmt.Errorf("%d entries in %d bytes", n, len(c.b))
		return nil, nil
	}
	entries, locs = make([]raft.Entry, 0, n), make([]loc, 0, n)
	for range n {
		e, rest, err := wire.Entry(c.b)
		if err != nil {
			c.err = err
			return nil, nil
		}
		if len(entries) > 0 && e.Index != entries[len(entries)-1].Index+1 {
			c.err = fmt.Errorf("entry %d follows entry %d", e.Index, entries[len(entries)-1].Index)
			return nil, nil
		}
		entries = append(entries, e)
		locs = append(locs, locOf(segment, end-int64(len(c.b)), e.Encoded))
		c.b = rest
	}
	return entries, locs
}

// decodeRecord takes the first record off b, which lies at p in the log. What it
// returns shares memory with b.
func decodeRecord(b []byte, p position) (s stored, err error) {
	if len(b) < recordHeaderBytes {
		return s, fmt.Errorf("a record header needs %d bytes, %d are left", recordHeaderBytes, len(b))
	}
	s.Kind, s.flags = RecordKind(b[0]), b[1]
	s.Group = id.GroupID(binary.LittleEndian.Uint64(b[8:]))
	head := cursor{b: b[recordHeaderBytes:]}
	c := cursor{b: head.take(int(binary.LittleEndian.Uint32(b[4:])), "a record's body")}
	if head.err != nil {
		return s, head.err
	}
	s.bytes = recordHeaderBytes + len(c.b)
	end := p.offset() + int64(s.bytes)
	switch s.Kind {
	case RecordAppend:
		s.Hard = c.hard()
		s.Entries, s.locs = c.entries(p.segment(), end)
	case RecordStart:
		s.Start = c.start(c.take(len(c.b), "start"))
	case RecordIntent:
		s.Snapshot = c.snapshot(c.take(len(c.b), "snapshot"))
	case RecordReset:
		s.Hard = c.hard()
		s.Start = c.start(c.take(len(c.b), "start"))
	case RecordDrop:
	case recordRewrite:
		s.Hard = c.hard()
		s.Start = c.start(c.take(int(c.u32("length of the start")), "start"))
		if b := c.take(int(c.u32("length of the snapshot")), "snapshot"); len(b) > 0 {
			m := c.snapshot(b)
			s.intent = &m
		}
		s.Entries, s.locs = c.entries(p.segment(), end)
	case recordLink:
		if b := c.take(16, "link"); b != nil {
			s.linkEnd, s.chain = position(binary.LittleEndian.Uint64(b)), binary.LittleEndian.Uint32(b[8:])
		}
	default:
		return s, fmt.Errorf("a record of the unknown kind %d", s.Kind)
	}
	if c.err == nil && len(c.b) > 0 {
		c.err = fmt.Errorf("%d bytes too many", len(c.b))
	}
	if c.err == nil && s.Group == 0 && s.Kind != recordLink {
		c.err = fmt.Errorf("it belongs to group 0")
	}
	if c.err != nil {
		return s, fmt.Errorf("record of kind %d: %w", s.Kind, c.err)
	}
	return s, nil
}
