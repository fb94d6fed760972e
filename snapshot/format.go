package snapshot

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/wire"
)

// Version is the only format version this build writes and reads.
const Version = 1

const (
	magic        = "quorsnap"
	headerBytes  = len(magic) + 4 + 4 // and the meta, and a crc
	frameBytes   = 1 + 4              // kind and length
	crcBytes     = 4
	trailerBytes = 8 + sha256.Size

	kindChunk   = 1
	kindTrailer = 2

	// chunkBytes is the payload of every chunk but the last, so that the same
	// body makes the same bytes however it was written. It bounds the memory of
	// both sides. Larger chunks save nothing measurable: 9 bytes in 262,144.
	chunkBytes = 256 << 10

	// metaBytesMax bounds the configuration in the header.
	metaBytesMax = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrCorrupt says that a file or stream is not what was written.
type ErrCorrupt struct {
	File   string // "received stream" for one that is not a file yet
	Offset int64  // where the bad part begins
	Why    string
}

func (e *ErrCorrupt) Error() string {
	return fmt.Sprintf("snapshot: %s is damaged at offset %d: %s", e.File, e.Offset, e.Why)
}

// ErrVersion says that another build wrote the file.
type ErrVersion struct {
	File         string
	Found, Known uint32
}

func (e *ErrVersion) Error() string {
	return fmt.Sprintf("snapshot: %s has format version %d; this build reads version %d", e.File, e.Found, e.Known)
}

// Stream is a snapshot on its way out: Meta says what Body holds.
type Stream struct {
	Meta raft.SnapshotMeta
	Body io.WriterTo
}

// WriteTo writes header, chunks and trailer to w and returns the bytes written.
// w gets one Write per chunk.
func (s Stream) WriteTo(w io.Writer) (int64, error) {
	e := newEncoder(w, s.Meta)
	if e.err == nil {
		if _, err := s.Body.WriteTo(e); err != nil && e.err == nil {
			e.err = err
		}
	}
	e.finish()
	return e.written, e.err
}

// encoder cuts what is written to it into chunks. The first error sticks.
type encoder struct {
	w       io.Writer
	buf     []byte // frame head and payload of the chunk being filled
	crc     uint32
	sum     hash.Hash
	total   uint64
	written int64
	err     error
}

func newEncoder(w io.Writer, m raft.SnapshotMeta) *encoder {
	meta := wire.AppendSnapshotMeta(nil, m)
	assert.That(len(meta) <= metaBytesMax, "snapshot meta of %d bytes; the limit is %d", len(meta), metaBytesMax)
	head := append(make([]byte, 0, headerBytes+len(meta)+crcBytes), magic...)
	head = binary.LittleEndian.AppendUint32(head, Version)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(meta)))
	head = append(head, meta...)
	e := &encoder{w: w, sum: sha256.New(), crc: crc32.Checksum(head, castagnoli)}
	e.write(binary.LittleEndian.AppendUint32(head, e.crc))
	e.buf = append(make([]byte, 0, frameBytes+chunkBytes+crcBytes), make([]byte, frameBytes)...)
	return e
}

// Write takes a part of the body.
func (e *encoder) Write(p []byte) (n int, err error) {
	for e.err == nil && n < len(p) {
		part := min(frameBytes+chunkBytes-len(e.buf), len(p)-n)
		e.buf = append(e.buf, p[n:n+part]...)
		n += part
		if len(e.buf) == frameBytes+chunkBytes {
			e.flush()
		}
	}
	return n, e.err
}

func (e *encoder) flush() {
	payload := e.buf[frameBytes:]
	e.sum.Write(payload)
	e.total += uint64(len(payload))
	e.frame(kindChunk)
}

// frame completes what stands in buf behind the place for its head, and starts
// the next one.
func (e *encoder) frame(kind byte) {
	e.buf[0] = kind
	binary.LittleEndian.PutUint32(e.buf[1:], uint32(len(e.buf)-frameBytes))
	e.crc = crc32.Update(e.crc, castagnoli, e.buf)
	e.write(binary.LittleEndian.AppendUint32(e.buf, e.crc))
	e.buf = e.buf[:frameBytes]
}

func (e *encoder) finish() {
	if e.err != nil {
		return
	}
	if len(e.buf) > frameBytes {
		e.flush()
	}
	e.buf = binary.LittleEndian.AppendUint64(e.buf, e.total)
	e.buf = e.sum.Sum(e.buf)
	e.frame(kindTrailer)
}

func (e *encoder) write(p []byte) {
	if e.err != nil {
		return
	}
	n, err := e.w.Write(p)
	e.written += int64(n)
	e.err = err
}

// decoder reads a stream and hands out the body, each chunk after its checksum
// was verified. Read returns io.EOF only behind a trailer that fits.
type decoder struct {
	r     io.Reader
	name  string // for errors
	meta  raft.SnapshotMeta
	off   int64 // of the frame being read
	crc   uint32
	sum   hash.Hash
	total uint64
	last  bool   // a chunk that is not full was read: only the trailer may follow
	buf   []byte // of the chunk: at most frameBytes+chunkBytes+crcBytes
	body  []byte // what Read has not handed out yet, a part of buf
	err   error
}

// newDecoder reads and verifies the header.
func newDecoder(r io.Reader, name string) (*decoder, error) {
	d := &decoder{r: r, name: name, sum: sha256.New()}
	head := make([]byte, headerBytes)
	if err := d.fill(head, "the header"); err != nil {
		return nil, err
	}
	if string(head[:len(magic)]) != magic {
		return nil, d.corrupt("it does not begin as a snapshot does")
	}
	if v := binary.LittleEndian.Uint32(head[len(magic):]); v != Version {
		return nil, &ErrVersion{File: name, Found: v, Known: Version}
	}
	n := binary.LittleEndian.Uint32(head[len(magic)+4:])
	if n > metaBytesMax {
		return nil, d.corrupt("meta of %d bytes; the limit is %d", n, metaBytesMax)
	}
	rest := make([]byte, int(n)+crcBytes)
	if err := d.fill(rest, "the header"); err != nil {
		return nil, err
	}
	d.crc = crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, rest[:n])
	if want := binary.LittleEndian.Uint32(rest[n:]); want != d.crc {
		return nil, d.corrupt("the header's checksum is %08x, its bytes have %08x", want, d.crc)
	}
	var err error
	if d.meta, err = wire.SnapshotMeta(rest[:n]); err != nil {
		return nil, d.corrupt("%v", err)
	}
	d.off = int64(headerBytes) + int64(len(rest))
	return d, nil
}

func (d *decoder) Read(p []byte) (int, error) {
	for len(d.body) == 0 && d.err == nil {
		d.err = d.next()
	}
	if len(d.body) == 0 {
		return 0, d.err
	}
	n := copy(p, d.body)
	d.body = d.body[n:]
	return n, nil
}

// next reads one frame. io.EOF: it was the trailer.
func (d *decoder) next() error {
	d.buf = grow(d.buf, frameBytes)
	if err := d.fill(d.buf, "a chunk's head"); err != nil {
		return err
	}
	kind, n := d.buf[0], int(binary.LittleEndian.Uint32(d.buf[1:]))
	switch {
	case kind != kindChunk && kind != kindTrailer:
		return d.corrupt("unknown kind %d of chunk", kind)
	case kind == kindChunk && (n == 0 || n > chunkBytes):
		return d.corrupt("a chunk of %d bytes; it must have 1 to %d", n, chunkBytes)
	case kind == kindChunk && d.last:
		return d.corrupt("a chunk behind one that was not full")
	case kind == kindTrailer && n != trailerBytes:
		return d.corrupt("a trailer of %d bytes; it must have %d", n, trailerBytes)
	}
	d.buf = grow(d.buf, frameBytes+n+crcBytes)
	if err := d.fill(d.buf[frameBytes:], "a chunk"); err != nil {
		return err
	}
	d.crc = crc32.Update(d.crc, castagnoli, d.buf[:frameBytes+n])
	if want := binary.LittleEndian.Uint32(d.buf[frameBytes+n:]); want != d.crc {
		return d.corrupt("the chunk's checksum is %08x, the bytes up to here have %08x", want, d.crc)
	}
	payload := d.buf[frameBytes : frameBytes+n]
	if kind == kindTrailer {
		return d.trailer(payload)
	}
	d.sum.Write(payload)
	d.total += uint64(n)
	d.last = n < chunkBytes
	d.off += int64(len(d.buf))
	d.body = payload
	return nil
}

func (d *decoder) trailer(payload []byte) error {
	if total := binary.LittleEndian.Uint64(payload); total != d.total {
		return d.corrupt("the trailer says %d bytes, there are %d", total, d.total)
	}
	if string(payload[8:]) != string(d.sum.Sum(nil)) {
		return d.corrupt("the trailer's SHA-256 is not that of the body")
	}
	d.off += int64(len(d.buf))
	switch n, err := io.ReadFull(d.r, make([]byte, 1)); {
	case n > 0:
		return d.corrupt("something follows the trailer")
	case err != io.EOF:
		return fmt.Errorf("snapshot: reading %s at offset %d: %w", d.name, d.off, err)
	}
	return io.EOF
}

// fill reads all of p. An early end is damage; any other error is the reader's.
func (d *decoder) fill(p []byte, what string) error {
	n, err := io.ReadFull(d.r, p)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return d.corrupt("it ends within %s, %d bytes too early", what, len(p)-n)
	}
	return fmt.Errorf("snapshot: reading %s at offset %d: %w", d.name, d.off, err)
}

func (d *decoder) corrupt(format string, args ...any) error {
	return &ErrCorrupt{File: d.name, Offset: d.off, Why: fmt.Sprintf(format, args...)}
}

// grow returns b with length n, with what it holds. Its capacity grows with
// what was really announced and read, never past one chunk.
func grow(b []byte, n int) []byte {
	if cap(b) >= n {
		return b[:n]
	}
	return append(b, make([]byte, n-len(b))...)
}
