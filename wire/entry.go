package wire

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	crcBytes       = 4
	entryBodyMin   = 1 + 5 + crcBytes // format byte, five one-byte numbers, checksum
	entryBytesMin  = 1 + entryBodyMin
	entryKindMask  = 0x0f
	entryVersShift = 4
)

// AppendEntry appends e's encoding: e.Encoded where it is set, which costs a
// copy and no checksum.
func AppendEntry(dst []byte, e raft.Entry) []byte { return appendEntry(dst, &e) }

func appendEntry(dst []byte, e *raft.Entry) []byte {
	if e.Encoded != nil {
		return append(dst, e.Encoded...)
	}
	if e.Kind < raft.EntryCommand || e.Kind > raft.EntryConfig {
		assert.Fail("entry %d of term %d has the unknown kind %d", e.Index, e.Term, e.Kind)
	}
	data := entryData(e)
	start := len(dst)
	dst = binary.AppendUvarint(dst, uint64(entryBodyBytes(e, len(data))))
	dst = append(dst, Version<<entryVersShift|byte(e.Kind))
	dst = binary.AppendUvarint(dst, uint64(e.Term))
	dst = binary.AppendUvarint(dst, uint64(e.Index))
	dst = appendNodeID(dst, e.Proposal.Origin)
	dst = binary.AppendUvarint(dst, e.Proposal.Sequence)
	dst = append(dst, data...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// entryData is what goes into the data field. A configuration entry may come
// without the bytes of its configuration.
func entryData(e *raft.Entry) []byte {
	if e.Kind == raft.EntryConfig && e.Data == nil {
		if e.Config == nil {
			assert.Fail("configuration entry %d of term %d has no configuration", e.Index, e.Term)
		}
		return AppendConfig(nil, *e.Config)
	}
	return e.Data
}

func entryBodyBytes(e *raft.Entry, dataBytes int) int {
	return 1 + uvarintBytes(uint64(e.Term)) + uvarintBytes(uint64(e.Index)) +
		uvarintBytes(e.Proposal.Origin.Node) + uvarintBytes(uint64(e.Proposal.Origin.Incarnation)) +
		uvarintBytes(e.Proposal.Sequence) + dataBytes + crcBytes
}

// Seal encodes e once and for all: it fills e.Encoded and points e.Data into it,
// so that the proposal's own buffer need not be kept. An entry that has Encoded
// is left alone.
func Seal(e *raft.Entry) {
	if e.Encoded != nil {
		return
	}
	e.Data = entryData(e)
	body := entryBodyBytes(e, len(e.Data))
	e.Encoded = appendEntry(make([]byte, 0, uvarintBytes(uint64(body))+body), e)
	if n := len(e.Data); n > 0 {
		end := len(e.Encoded) - crcBytes
		e.Data = e.Encoded[end-n : end : end]
	}
}

// EntryChecksum is the CRC32C that an encoded entry carries; it covers the whole
// entry. Equal checksums at equal index and term mean equal entries (the log
// matching property, Raft §5.3), which is how the simulator and `quorate wal`
// compare logs.
func EntryChecksum(encoded []byte) uint32 {
	if len(encoded) < entryBytesMin {
		assert.Fail("an encoded entry has at least %d bytes, this one %d", entryBytesMin, len(encoded))
	}
	return binary.LittleEndian.Uint32(encoded[len(encoded)-crcBytes:])
}

// Entry decodes the entry at the start of b and returns what follows it. Data
// and Encoded are slices of b.
func Entry(b []byte) (e raft.Entry, rest []byte, err error) {
	r := reader{b: b, what: "entry"}
	r.entry(&e)
	if r.err != nil {
		return raft.Entry{}, b, r.err
	}
	return e, b[r.off:], nil
}

func (r *reader) entry(e *raft.Entry) {
	start := r.off
	length := r.count("length of entry", 1)
	if r.err != nil {
		return
	}
	if length < entryBodyMin {
		r.fail(start, "entry of %d bytes is shorter than the shortest, %d", length, entryBodyMin)
		return
	}
	end := r.off + length
	sum := end - crcBytes
	// The version comes before the checksum: another version may check otherwise.
	if v := r.b[r.off] >> entryVersShift; v != Version {
		r.fail(r.off, "entry's format version %d is unknown; this build reads version %d", v, Version)
		return
	}
	want, got := binary.LittleEndian.Uint32(r.b[sum:]), crc32.Checksum(r.b[start:sum], castagnoli)
	if want != got {
		r.fail(start, "entry's checksum is %08x, its bytes have %08x", want, got)
		return
	}
	in := reader{b: r.b[:sum], off: r.off, what: r.what}
	kindAt := in.off
	e.Kind = raft.EntryKind(in.byte("kind of entry") & entryKindMask)
	e.Term = in.term("term of entry")
	e.Index = in.index("index of entry")
	e.Proposal.Origin = in.nodeID("origin of entry")
	e.Proposal.Sequence = in.uvarint("sequence of entry")
	if in.off < sum {
		e.Data = r.b[in.off:sum:sum]
	}
	if in.err == nil {
		in.entryKind(e, kindAt)
	}
	r.err = in.err
	e.Encoded = r.b[start:end:end]
	r.off = end
}

// entryKind checks what the kind promises of the data.
func (r *reader) entryKind(e *raft.Entry, kindAt int) {
	switch e.Kind {
	case raft.EntryCommand:
	case raft.EntryNoop:
		if len(e.Data) > 0 {
			r.fail(r.off, "a no-op entry has %d bytes of data", len(e.Data))
		}
	case raft.EntryConfig:
		e.Config = new(membership.Config)
		r.config(e.Config)
		if r.err == nil && r.left() > 0 {
			r.fail(r.off, "%d bytes behind the configuration", r.left())
		}
	default:
		r.fail(kindAt, "entry's kind %d is unknown", e.Kind)
	}
}
