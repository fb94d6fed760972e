package transport

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/wire"
)

// A frame, little-endian (docs/format/peer.md):
//
//	┌ length ┬ crc32c ┬ kind ┬ tag ┬ payload ┐
//	└ 4 ─────┴ 4 ─────┴ 1 ───┴ 8 ──┴─────────┘
//	                  ├──── length bytes ────┤   the crc covers them and the length
type frameKind byte

const (
	frameMessage       frameKind = iota + 1 // tag: group; payload: wire message
	framePing                               // tag: echoed
	framePong                               // tag: of the ping
	frameAsk                                // tag: id; payload: request
	frameAnswer                             // tag: id of the ask; payload: answer
	frameSnapshot                           // tag: group; payload: wire install-snapshot
	frameChunk                              // tag: offset of the payload in the stream
	frameSnapshotEnd                        // tag: length of the stream
	frameSnapshotDone                       // payload: empty, or why the receiver failed
	frameKindLast      = frameSnapshotDone
	prefixBytes        = 8     // length and crc
	headBytes          = 8 + 9 // and kind and tag
	readBytes          = 64 << 10
	trustedLengthBytes = 1 << 20 // announced lengths up to here are allocated at once
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame is one that was read. Payload is a slice of the reader's buffer: see
// frameReader.keep.
type frame struct {
	kind    frameKind
	tag     uint64
	payload []byte
}

// errMalformed says that what arrived is not a frame. Its text is what is logged.
type errMalformed struct {
	offset int64 // in the connection's frames
	why    string
}

func (e *errMalformed) Error() string {
	return fmt.Sprintf("malformed frame at offset %d: %s", e.offset, e.why)
}

// beginFrame appends the head of a frame; endFrame fills in length and checksum
// of the frame that began at start.
func beginFrame(dst []byte, k frameKind, tag uint64) []byte {
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0, byte(k))
	return binary.LittleEndian.AppendUint64(dst, tag)
}

func endFrame(b []byte, start int) {
	f := b[start:]
	binary.LittleEndian.PutUint32(f, uint32(len(f)-prefixBytes))
	crc := crc32.Update(crc32.Checksum(f[:4], castagnoli), castagnoli, f[prefixBytes:])
	binary.LittleEndian.PutUint32(f[4:], crc)
}

func appendFrame(dst []byte, k frameKind, tag uint64, payload []byte) []byte {
	start := len(dst)
	dst = append(beginFrame(dst, k, tag), payload...)
	endFrame(dst, start)
	return dst
}

func appendMessageFrame(dst []byte, k frameKind, group uint64, m raft.Message) []byte {
	start := len(dst)
	dst = wire.AppendMessage(beginFrame(dst, k, group), m)
	endFrame(dst, start)
	return dst
}

// frameReader cuts what it reads into frames. Several small frames are read at
// once into one buffer; a frame whose payload lives on (entries share memory
// with it) marks the buffer as kept, and a kept buffer is never written again
// where it has been read: the reader goes on behind it, then in a new one.
type frameReader struct {
	r          io.Reader
	limit      int // of a frame's length
	buf        []byte
	start, end int  // what is read and not yet handed out
	kept       bool // somebody holds slices of buf
	offset     int64
	bytes      uint64 // of the frame handed out last
}

func newFrameReader(r io.Reader, limit int) *frameReader {
	return &frameReader{r: r, limit: limit, buf: make([]byte, readBytes)}
}

// keep says that the payload of the last frame will be used after the next call
// of next.
func (f *frameReader) keep() { f.kept = true }

// next returns the next frame. io.EOF: the connection ended between two frames.
func (f *frameReader) next() (frame, error) {
	if err := f.need(4); err != nil {
		return frame{}, err
	}
	length := binary.LittleEndian.Uint32(f.buf[f.start:])
	if length < headBytes-prefixBytes || int64(length) > int64(f.limit) {
		return frame{}, f.malformed("length %d; it must be between %d and %d", length, headBytes-prefixBytes, f.limit)
	}
	if err := f.need(headBytes); err != nil {
		return frame{}, err
	}
	if k := frameKind(f.buf[f.start+prefixBytes]); k == 0 || k > frameKindLast {
		return frame{}, f.malformed("kind %d is unknown", k)
	}
	total := prefixBytes + int(length)
	if err := f.need(total); err != nil {
		return frame{}, err
	}
	b := f.buf[f.start : f.start+total : f.start+total]
	crc := crc32.Update(crc32.Checksum(b[:4], castagnoli), castagnoli, b[prefixBytes:])
	if want := binary.LittleEndian.Uint32(b[4:]); want != crc {
		return frame{}, f.malformed("its checksum is %08x, its bytes have %08x", want, crc)
	}
	f.start += total
	f.offset += int64(total)
	f.bytes = uint64(total)
	return frame{frameKind(b[8]), binary.LittleEndian.Uint64(b[9:]), b[headBytes:]}, nil
}

func (f *frameReader) malformed(format string, args ...any) error {
	return &errMalformed{f.offset, fmt.Sprintf(format, args...)}
}

// need reads until n bytes of the frame at start are there.
func (f *frameReader) need(n int) error {
	for f.end-f.start < n {
		if f.end == len(f.buf) || f.start > 0 && f.start+n > len(f.buf) {
			f.room(n)
		}
		k, err := f.r.Read(f.buf[f.end:])
		f.end += k
		switch {
		case f.end-f.start >= n:
			return nil // an error comes again with the next read
		case err == io.EOF && f.end == f.start:
			return io.EOF
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
	return nil
}

// room moves what is not handed out yet to where more fits behind it: to the
// front of the buffer if nobody holds slices of it, else to a new one. A long
// frame gets its memory as its bytes arrive, not for its announcement alone.
func (f *frameReader) room(n int) {
	have := f.end - f.start
	size := max(readBytes, min(n, max(trustedLengthBytes, 2*have)))
	dst := f.buf
	if f.kept || len(f.buf) < size || len(f.buf) > 2*size {
		dst, f.kept = make([]byte, size), false
	}
	copy(dst, f.buf[f.start:f.end])
	f.buf, f.start, f.end = dst, 0, have
}
