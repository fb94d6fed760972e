package kv

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/quorate/quorate/internal/id"
)

// A snapshot stream (docs/format/kv.md):
//
//	magic    8 bytes  "quorkv" 0 1        the last byte is the version
//	applied  8 bytes  little endian
//	term     8 bytes  little endian
//	rows              each: uvarint length of the key + 1, key, uvarint length, value
//	end      1 byte   0
//	count    8 bytes  rows, little endian
//	checksum 4 bytes  CRC-32C of everything before it, little endian
//
// Rows are those of mvcc.View.EachStateRow, in byte order, so the same state
// gives the same bytes on every member. Whoever carries the stream splits it
// into checksummed chunks (package snapshot); the checksum at its end is for the
// way as a whole.
const (
	snapshotMagic   = "quorkv\x00"
	snapshotVersion = 1
	// snapshotRowBytesMax bounds what a damaged length can make Restore allocate.
	snapshotRowBytesMax = CommandBytesMax + 4096
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// summer passes bytes on and keeps count and checksum of them.
type summer struct {
	w       io.Writer
	sum     uint32
	written int64
}

func (s *summer) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.sum = crc32.Update(s.sum, castagnoli, p[:n])
	s.written += int64(n)
	return n, err
}

func writeSnapshot(w io.Writer, v *View) (int64, error) {
	s := &summer{w: w}
	buffer := bufio.NewWriterSize(s, 64<<10)
	head := append([]byte(snapshotMagic), snapshotVersion)
	head = binary.LittleEndian.AppendUint64(head, uint64(v.Applied()))
	head = binary.LittleEndian.AppendUint64(head, uint64(v.Term()))
	if _, err := buffer.Write(head); err != nil {
		return s.written, err
	}
	var rows uint64
	var length []byte
	err := v.EachStateRow(func(row, value []byte) error {
		rows++
		length = binary.AppendUvarint(length[:0], uint64(len(row))+1)
		buffer.Write(length) // bufio keeps the first error and returns it below
		buffer.Write(row)
		length = binary.AppendUvarint(length[:0], uint64(len(value)))
		buffer.Write(length)
		_, err := buffer.Write(value)
		return err
	})
	if err != nil {
		return s.written, err
	}
	buffer.WriteByte(0)
	buffer.Write(binary.LittleEndian.AppendUint64(nil, rows))
	if err := buffer.Flush(); err != nil {
		return s.written, err
	}
	_, err = s.Write(binary.LittleEndian.AppendUint32(nil, s.sum))
	return s.written, err
}

// snapshotReader yields the rows of a stream and, instead of the io.EOF behind
// the last, an error if the stream as a whole is not what was written.
type snapshotReader struct {
	r          *bufio.Reader
	sum        uint32
	rows       uint64
	applied    id.Index
	term       id.Term
	key, value []byte
}

func newSnapshotReader(r io.Reader) (*snapshotReader, error) {
	s := &snapshotReader{r: bufio.NewReaderSize(r, 64<<10)}
	head := make([]byte, 24)
	if err := s.full(head); err != nil {
		return nil, err
	}
	if !bytes.Equal(head[:7], []byte(snapshotMagic)) {
		return nil, fmt.Errorf("kv: snapshot starts with %x: not a snapshot of this store", head[:8])
	}
	if head[7] != snapshotVersion {
		return nil, fmt.Errorf("kv: snapshot version %d, this version reads %d: upgrade this member", head[7], snapshotVersion)
	}
	s.applied = id.Index(binary.LittleEndian.Uint64(head[8:]))
	s.term = id.Term(binary.LittleEndian.Uint64(head[16:]))
	return s, nil
}

// next returns the next row, valid until the next call; io.EOF after the last,
// and only if the stream was whole.
func (s *snapshotReader) next() (row, value []byte, err error) {
	n, err := s.uvarint()
	if err != nil {
		return nil, nil, err
	}
	if n == 0 {
		return nil, nil, s.finish()
	}
	if s.key, err = s.take(s.key, n-1); err != nil {
		return nil, nil, err
	}
	if n, err = s.uvarint(); err != nil {
		return nil, nil, err
	}
	if s.value, err = s.take(s.value, n); err != nil {
		return nil, nil, err
	}
	s.rows++
	return s.key, s.value, nil
}

func (s *snapshotReader) finish() error {
	var count [8]byte
	if err := s.full(count[:]); err != nil {
		return err
	}
	if n := binary.LittleEndian.Uint64(count[:]); n != s.rows {
		return fmt.Errorf("kv: snapshot names %d rows and holds %d: it is damaged", n, s.rows)
	}
	want := s.sum
	var sum [4]byte
	if err := s.full(sum[:]); err != nil {
		return err
	}
	if got := binary.LittleEndian.Uint32(sum[:]); got != want {
		return fmt.Errorf("kv: snapshot checksum is %08x, its bytes give %08x: it is damaged", got, want)
	}
	if _, err := s.r.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.New("kv: bytes behind the end of a snapshot: it is damaged")
	}
	return io.EOF
}

// ReadByte reads one byte into the checksum, for binary.ReadUvarint.
func (s *snapshotReader) ReadByte() (byte, error) {
	b, err := s.r.ReadByte()
	if err == nil {
		s.sum = crc32.Update(s.sum, castagnoli, []byte{b})
	}
	return b, err
}

func (s *snapshotReader) uvarint() (uint64, error) {
	n, err := binary.ReadUvarint(s)
	if err != nil {
		return 0, cutShort(err)
	}
	if n > snapshotRowBytesMax {
		return 0, fmt.Errorf("kv: snapshot with a row of %d bytes: it is damaged", n)
	}
	return n, nil
}

func (s *snapshotReader) take(into []byte, n uint64) ([]byte, error) {
	if uint64(cap(into)) < n {
		into = make([]byte, n)
	}
	into = into[:n]
	return into, s.full(into)
}

func (s *snapshotReader) full(p []byte) error {
	if _, err := io.ReadFull(s.r, p); err != nil {
		return cutShort(err)
	}
	s.sum = crc32.Update(s.sum, castagnoli, p)
	return nil
}

// cutShort keeps an io.EOF in the middle of a stream from looking like its end.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("kv: reading a snapshot: %w", err)
}
