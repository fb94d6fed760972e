package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/quorate/quorate/internal/id"
)

// The handshake: the dialer says hello, the acceptor answers welcome or why not.
// Its bytes are the same in every version: magic, length and the version range
// stay where they are, so that any two builds can tell each other what is wrong.
const (
	// An HTTP server takes the line end for that of a request line and answers at
	// once that it is none, so that the dialer can say whom it reached.
	magic      = "quorpr\r\n"
	versionMin = 1
	versionMax = 1

	helloBytesMax = 4 << 10
	urlsMax       = 8
	urlBytesMax   = 256
)

// laneKind is what a connection is for.
type laneKind byte

const (
	laneControl laneKind = iota + 1
	laneBulk
	laneSnapshot
)

func (k laneKind) String() string {
	switch k {
	case laneControl:
		return "control"
	case laneBulk:
		return "bulk"
	case laneSnapshot:
		return "snapshot"
	}
	return "invalid lane"
}

type hello struct {
	versionMin, versionMax uint16
	lane                   laneKind
	cluster                uint64
	from, to               id.NodeID
	directory              id.DirectoryID
	urls                   []string // where the dialer can be reached
}

type refusal byte

const (
	welcome refusal = iota
	refuseVersion
	refuseCluster
	refuseIdentity
	refuseDirectory
	refuseBusy
	refuseMalformed
)

type reply struct {
	code      refusal
	version   uint16 // of the frames that follow
	from      id.NodeID
	cluster   uint64
	directory id.DirectoryID
	text      string // code is not welcome: why
}

// errForeign says that the other end is not a member of a quorate cluster, or
// not the one that was meant.
var errForeign = errors.New("not our peer")

func appendNode(dst []byte, n id.NodeID) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, n.Node)
	return binary.LittleEndian.AppendUint32(dst, n.Incarnation)
}

func appendText(dst []byte, s string) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

// seal puts magic and length before a payload and a checksum behind it.
func seal(payload []byte) []byte {
	b := append([]byte(nil), magic...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = append(b, payload...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func (h hello) encode() []byte {
	b := binary.LittleEndian.AppendUint16(nil, h.versionMin)
	b = binary.LittleEndian.AppendUint16(b, h.versionMax)
	b = append(b, byte(h.lane))
	b = binary.LittleEndian.AppendUint64(b, h.cluster)
	b = appendNode(appendNode(b, h.from), h.to)
	b = append(b, h.directory[:]...)
	b = append(b, byte(len(h.urls)))
	for _, u := range h.urls {
		b = appendText(b, u)
	}
	return seal(b)
}

func (r reply) encode() []byte {
	b := append([]byte(nil), byte(r.code))
	b = binary.LittleEndian.AppendUint16(b, r.version)
	b = appendNode(b, r.from)
	b = binary.LittleEndian.AppendUint64(b, r.cluster)
	b = append(b, r.directory[:]...)
	return seal(appendText(b, r.text[:min(len(r.text), 1<<10)]))
}

// readSealed reads what seal wrote and returns the payload. Bytes of another
// protocol are recognised where that helps whoever reads the log.
func readSealed(r io.Reader) ([]byte, error) {
	head := make([]byte, len(magic)+4)
	if n, err := io.ReadFull(r, head); err != nil {
		if n > 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
			return nil, fmt.Errorf("%w: %s", errForeign, whoSpeaks(head[:n]))
		}
		return nil, err
	}
	if string(head[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: %s", errForeign, whoSpeaks(head))
	}
	n := binary.LittleEndian.Uint32(head[len(magic):])
	if n > helloBytesMax {
		return nil, fmt.Errorf("malformed handshake: length %d; the limit is %d", n, helloBytesMax)
	}
	rest := make([]byte, int(n)+4)
	if _, err := io.ReadFull(r, rest); err != nil {
		return nil, fmt.Errorf("handshake cut short: %w", err)
	}
	crc := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, rest[:n])
	if want := binary.LittleEndian.Uint32(rest[n:]); want != crc {
		return nil, fmt.Errorf("malformed handshake: its checksum is %08x, its bytes have %08x", want, crc)
	}
	return rest[:n], nil
}

// whoSpeaks guesses from the first bytes of a connection.
func whoSpeaks(b []byte) string {
	for _, method := range []string{"GET ", "POST ", "PUT ", "HEAD ", "DELETE ", "OPTIONS ", "CONNECT ", "PRI * HTTP", "HTTP/"} {
		if bytes.HasPrefix(b, []byte(method)) {
			return "it speaks HTTP: an etcd member, or a client on the peer port; members of a quorate cluster list only each other's peer URLs"
		}
	}
	if len(b) >= 2 && b[0] == 0x16 && b[1] == 0x03 {
		return "it speaks TLS, but this member has no peer certificate; give all members one or none"
	}
	if len(b) >= 2 && b[0] == 0x15 && b[1] == 0x03 {
		return "it answers with a TLS alert: it has a peer certificate and this member has none"
	}
	return fmt.Sprintf("it does not speak quorate's peer protocol (first bytes %q)", b)
}

// fields reads the fixed fields of a payload; ok turns false at its end.
type fields struct {
	b  []byte
	ok bool
}

func (f *fields) take(n int) []byte {
	if len(f.b) < n {
		f.ok, f.b = false, nil
		return make([]byte, n)
	}
	p := f.b[:n]
	f.b = f.b[n:]
	return p
}

func (f *fields) u8() byte    { return f.take(1)[0] }
func (f *fields) u16() uint16 { return binary.LittleEndian.Uint16(f.take(2)) }
func (f *fields) u64() uint64 { return binary.LittleEndian.Uint64(f.take(8)) }
func (f *fields) node() id.NodeID {
	return id.NodeID{Node: f.u64(), Incarnation: binary.LittleEndian.Uint32(f.take(4))}
}
func (f *fields) directory() (d id.DirectoryID) { copy(d[:], f.take(len(d))); return d }
func (f *fields) text(limit int) string {
	n := int(f.u16())
	if n > limit {
		f.ok = false
		return ""
	}
	return string(f.take(n))
}

var errHelloShort = errors.New("malformed handshake: a field is cut short or too long")

// readHello reads a hello. Bytes behind the known fields belong to a later
// version and are ignored.
func readHello(r io.Reader) (hello, error) {
	p, err := readSealed(r)
	if err != nil {
		return hello{}, err
	}
	f := fields{p, true}
	h := hello{versionMin: f.u16(), versionMax: f.u16(), lane: laneKind(f.u8()), cluster: f.u64(),
		from: f.node(), to: f.node(), directory: f.directory()}
	n := int(f.u8())
	if n > urlsMax {
		f.ok = false
	}
	for i := 0; i < n && f.ok; i++ {
		h.urls = append(h.urls, f.text(urlBytesMax))
	}
	if !f.ok {
		return hello{}, errHelloShort
	}
	return h, nil
}

func readReply(r io.Reader) (reply, error) {
	p, err := readSealed(r)
	if err != nil {
		return reply{}, err
	}
	f := fields{p, true}
	y := reply{code: refusal(f.u8()), version: f.u16(), from: f.node(), cluster: f.u64(), directory: f.directory(), text: f.text(1 << 10)}
	if !f.ok {
		return reply{}, errHelloShort
	}
	return y, nil
}

// judge decides what the acceptor answers to a hello.
func (t *Transport) judge(h hello) reply {
	y := reply{from: t.o.Self, cluster: t.o.Cluster, directory: t.o.Directory, version: min(h.versionMax, versionMax)}
	refuse := func(c refusal, format string, args ...any) reply {
		y.code, y.text = c, fmt.Sprintf(format, args...)
		return y
	}
	switch pin := t.o.Pinned(h.from); {
	case h.versionMin > versionMax || h.versionMax < versionMin:
		return refuse(refuseVersion, "%v speaks versions %d to %d of the peer protocol, %v speaks %d to %d; upgrade the older one",
			h.from, h.versionMin, h.versionMax, t.o.Self, versionMin, versionMax)
	case h.lane < laneControl || h.lane > laneSnapshot:
		return refuse(refuseMalformed, "connection of unknown purpose %d", h.lane)
	case h.cluster != t.o.Cluster:
		return refuse(refuseCluster, "%v belongs to cluster %x, %v to cluster %x; check the peer URLs and the cluster token",
			h.from, h.cluster, t.o.Self, t.o.Cluster)
	case h.to != t.o.Self:
		return refuse(refuseIdentity, "%v wants to reach %v, but this is %v; check the peer URLs", h.from, h.to, t.o.Self)
	case h.from == t.o.Self || h.from == id.None:
		return refuse(refuseIdentity, "the dialer calls itself %v, and so does this member; give each member its own id and data directory", h.from)
	case pin != id.DirectoryID{} && pin != h.directory:
		return refuse(refuseDirectory, "%v comes with data directory %x, the cluster knows it with %x; remove it and add it again as a new member",
			h.from, h.directory[:4], pin[:4])
	}
	return y
}

// check decides whether the acceptor that answered is the one that was meant.
func (t *Transport) check(to id.NodeID, y reply) error {
	switch pin := t.o.Pinned(to); {
	case y.code != welcome:
		return fmt.Errorf("refused: %s", y.text)
	case y.version < versionMin || y.version > versionMax:
		return fmt.Errorf("it chose version %d of the peer protocol; this build speaks %d to %d", y.version, versionMin, versionMax)
	case y.cluster != t.o.Cluster:
		return fmt.Errorf("%w: it belongs to cluster %x, this member to cluster %x", errForeign, y.cluster, t.o.Cluster)
	case y.from != to:
		return fmt.Errorf("%w: it is %v, not %v; check the peer URLs", errForeign, y.from, to)
	case pin != id.DirectoryID{} && pin != y.directory:
		return fmt.Errorf("%w: it has data directory %x, the cluster knows it with %x; remove it and add it again as a new member",
			errForeign, y.directory[:4], pin[:4])
	}
	return nil
}
