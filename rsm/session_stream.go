package rsm

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/quorate/quorate/internal/id"
)

// A snapshot of a machine with sessions (docs/format/sessions.md): the table, and
// behind it the inner machine's stream, to the end.
//
//	magic     7 bytes  "quorses"
//	version   1 byte   1
//	limits    uvarint  sessions, window, answer bytes
//	count     uvarint  sessions
//	sessions           by id: uvarint id, last − id, lowest; uvarint count of
//	                   answers, each by sequence: uvarint sequence − lowest,
//	                   uvarint 0 (not kept) or length + 1, the result
//	checksum  4 bytes  CRC-32C of all before it, little endian
const (
	streamMagic   = "quorses"
	streamVersion = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SessionedView is the state of a machine with sessions. Reads go to Inner.
type SessionedView struct {
	inner  View
	limits SessionLimits
	pages  []*page
	count  int
}

// View returns the state as of the last Apply: a pointer to the table, no copy.
func (s *Sessioned) View() View {
	return &SessionedView{inner: s.inner.View(), limits: s.table.limits, pages: s.table.publish(), count: s.table.count}
}

// Inner is the view of the machine inside. It is closed with this one.
func (v *SessionedView) Inner() View { return v.inner }

// Sessions are how many are open.
func (v *SessionedView) Sessions() int { return v.count }

// Limits are those in force.
func (v *SessionedView) Limits() SessionLimits { return v.limits }

func (v *SessionedView) Applied() id.Index { return v.inner.Applied() }

func (v *SessionedView) Close() error { return v.inner.Close() }

// WriteTo writes the table and then the inner state.
func (v *SessionedView) WriteTo(w io.Writer) (int64, error) {
	t := &tableWriter{w: w}
	t.bytes = append(append(t.bytes, streamMagic...), streamVersion)
	t.bytes = appendLimits(t.bytes, v.limits)
	t.bytes = binary.AppendUvarint(t.bytes, uint64(v.count))
	for _, g := range v.pages {
		for _, x := range g.sessions {
			t.session(x)
		}
		t.flush()
	}
	t.flush()
	t.bytes = binary.LittleEndian.AppendUint32(t.bytes, t.sum)
	t.flush()
	if t.err != nil {
		return t.written, t.err
	}
	n, err := v.inner.WriteTo(w)
	return t.written + n, err
}

// tableWriter gathers some bytes, sums them and passes them on. It keeps the
// first error.
type tableWriter struct {
	w       io.Writer
	bytes   []byte
	sum     uint32
	written int64
	err     error
}

func (t *tableWriter) session(x *session) {
	t.bytes = binary.AppendUvarint(t.bytes, uint64(x.id))
	t.bytes = binary.AppendUvarint(t.bytes, uint64(x.last)-uint64(x.id))
	t.bytes = binary.AppendUvarint(t.bytes, uint64(x.lowest))
	t.bytes = binary.AppendUvarint(t.bytes, uint64(len(x.answers)))
	for _, a := range x.answers {
		t.bytes = binary.AppendUvarint(t.bytes, uint64(a.n-x.lowest))
		if a.kept {
			t.bytes = binary.AppendUvarint(t.bytes, uint64(len(a.result))+1)
			t.bytes = append(t.bytes, a.result...)
		} else {
			t.bytes = append(t.bytes, 0)
		}
		if len(t.bytes) >= 64<<10 {
			t.flush()
		}
	}
}

func (t *tableWriter) flush() {
	if t.err == nil && len(t.bytes) > 0 {
		t.sum = crc32.Update(t.sum, castagnoli, t.bytes)
		n, err := t.w.Write(t.bytes)
		t.written, t.err = t.written+int64(n), err
	}
	t.bytes = t.bytes[:0]
}

// Restore reads what WriteTo wrote. The table is judged before the inner machine
// is touched.
func (s *Sessioned) Restore(m Meta, r io.Reader) error {
	b := bufio.NewReader(r)
	t, err := readTable(b, m.Index)
	if err != nil {
		return fmt.Errorf("rsm: session table of the snapshot at entry %d: %w", m.Index, err)
	}
	if err := s.inner.Restore(m, b); err != nil {
		return err
	}
	s.table = t
	return nil
}

func readTable(b *bufio.Reader, applied id.Index) (*table, error) {
	r := &tableReader{r: b}
	head := r.take(len(streamMagic) + 1)
	if r.err == nil && string(head[:len(streamMagic)]) != streamMagic {
		return nil, fmt.Errorf("it begins with %x: the snapshot is of a machine without sessions", head)
	}
	if r.err == nil && head[len(streamMagic)] != streamVersion {
		return nil, fmt.Errorf("version %d, this version reads %d: upgrade this member", head[len(streamMagic)], streamVersion)
	}
	t := newTable()
	t.limits = SessionLimits{Sessions: r.small(sessionsMax), Window: r.small(windowMax), AnswerBytes: r.small(answerBytesMax)}
	count := r.small(sessionsMax)
	if r.err == nil {
		r.err = t.limits.Validate()
	}
	if r.err == nil && count > t.limits.Sessions {
		r.damaged("more sessions than its limits allow")
	}
	var all []*session
	for range count {
		x := r.session(applied)
		if r.err != nil {
			break
		}
		if len(all) > 0 && x.id <= all[len(all)-1].id {
			r.damaged("sessions out of order")
			break
		}
		all = append(all, x)
	}
	want := r.sum
	if sum := r.take(4); r.err == nil && binary.LittleEndian.Uint32(sum) != want {
		r.damaged("its checksum does not match its bytes")
	}
	if r.err != nil {
		return nil, r.err
	}
	for _, x := range all {
		t.insertLast(x)
	}
	slices.SortFunc(all, func(x, y *session) int { return cmp.Compare(x.last, y.last) })
	for at, x := range all {
		if at > 0 && x.last == all[at-1].last {
			return nil, fmt.Errorf("damaged: sessions %d and %d last used by one entry", all[at-1].id, x.id)
		}
		t.place[x.id] = t.order.PushBack(x.id)
	}
	return t, nil
}

// tableReader reads a table, sums its bytes and keeps the first error, behind
// which everything is zero.
type tableReader struct {
	r     *bufio.Reader
	sum   uint32
	err   error
	digit [1]byte
}

func (r *tableReader) damaged(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("damaged: %s", what)
	}
}

// take returns n bytes in a slice of their own.
func (r *tableReader) take(n int) []byte {
	b := make([]byte, n)
	r.fill(b)
	return b
}

func (r *tableReader) fill(b []byte) {
	if r.err != nil {
		return
	}
	if _, err := io.ReadFull(r.r, b); err != nil {
		r.err = fmt.Errorf("it ends early: %w", err)
		return
	}
	r.sum = crc32.Update(r.sum, castagnoli, b)
}

func (r *tableReader) uvarint() uint64 {
	var x uint64
	for shift := 0; r.err == nil; shift += 7 {
		r.fill(r.digit[:])
		b := r.digit[0]
		if shift == 63 && b > 1 || b == 0 && shift > 0 {
			r.damaged("a number that is too long")
		}
		x |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return x
		}
	}
	return 0
}

// small reads a number of at most most.
func (r *tableReader) small(most int) int {
	x := r.uvarint()
	if x > uint64(most) {
		r.damaged(fmt.Sprintf("%d where at most %d may be", x, most))
		return 0
	}
	return int(x)
}

func (r *tableReader) session(applied id.Index) *session {
	x := &session{id: SessionID(r.uvarint())}
	age := r.uvarint()
	x.last = id.Index(x.id) + id.Index(age)
	x.lowest = Sequence(r.uvarint())
	if r.err == nil && (x.id == 0 || age > uint64(applied) || x.last > applied || x.last < id.Index(x.id) || x.lowest == 0) {
		r.damaged(fmt.Sprintf("session %d, last used by entry %d, in the state at entry %d", x.id, x.last, applied))
	}
	next := x.lowest
	for range r.small(windowMax) {
		offset := Sequence(r.small(windowMax - 1))
		a := &answer{n: x.lowest + offset}
		if a.n < next && r.err == nil {
			r.damaged("answers out of order")
		}
		next = a.n + 1
		if n := r.small(answerBytesMax + 1); n > 0 {
			a.kept, a.result = true, r.take(n-1)
		}
		if r.err != nil {
			break
		}
		x.answers = append(x.answers, a)
	}
	return x
}
