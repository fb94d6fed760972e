package wire

import (
	"encoding/binary"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
)

// AppendConfig appends c's encoding. It is also the Data of an EntryConfig.
func AppendConfig(dst []byte, c membership.Config) []byte {
	dst = append(dst, Version)
	dst = binary.AppendUvarint(dst, c.Version)
	dst = appendBool(dst, c.Joint)
	dst = binary.AppendUvarint(dst, uint64(len(c.Members)))
	for i := range c.Members {
		m := &c.Members[i]
		dst = appendNodeID(dst, m.ID)
		dst = append(dst, byte(m.Role), byte(m.Was))
		dst = appendString(dst, m.Name)
		dst = appendStrings(dst, m.PeerURLs)
		dst = appendStrings(dst, m.ClientURLs)
		dst = append(dst, m.Directory[:]...)
	}
	return dst
}

// Config decodes all of b.
func Config(b []byte) (membership.Config, error) {
	r := reader{b: b, what: "configuration"}
	var c membership.Config
	r.config(&c)
	if err := r.end(); err != nil {
		return membership.Config{}, err
	}
	return c, nil
}

// memberBytesMin is a member whose numbers take a byte and whose texts are empty.
const memberBytesMin = 2 + 2 + 3 + len(id.DirectoryID{})

// config reads the versioned encoding. Members must be sorted and distinct:
// everything that walks a configuration relies on it.
func (r *reader) config(c *membership.Config) {
	r.version()
	c.Version = r.uvarint("configuration's version")
	c.Joint = r.bool("joint")
	n := r.count("number of members", memberBytesMin)
	if r.err != nil || n == 0 {
		return
	}
	c.Members = make([]membership.Member, n)
	for i := range c.Members {
		at := r.off
		r.member(&c.Members[i])
		if r.err != nil {
			return
		}
		if i > 0 && c.Members[i-1].ID.Compare(c.Members[i].ID) >= 0 {
			r.fail(at, "member %v comes after %v; members are sorted by id, each once", c.Members[i].ID, c.Members[i-1].ID)
			return
		}
	}
}

func (r *reader) member(m *membership.Member) {
	m.ID = r.nodeID("id of member")
	m.Role = r.role("role of member")
	m.Was = r.role("former role of member")
	m.Name = string(r.bytes("name of member"))
	m.PeerURLs = r.strings("peer URLs of member")
	m.ClientURLs = r.strings("client URLs of member")
	if r.err == nil && r.left() < len(m.Directory) {
		r.fail(r.off, "ends within directory id of member")
	}
	if r.err == nil {
		r.off += copy(m.Directory[:], r.b[r.off:])
	}
}

func (r *reader) role(field string) membership.Role {
	at := r.off
	v := membership.Role(r.byte(field))
	if v > membership.Voter {
		r.fail(at, "%s %d is unknown", field, v)
	}
	return v
}

func (r *reader) strings(field string) []string {
	n := r.count("number of "+field, 1)
	if r.err != nil || n == 0 {
		return nil
	}
	s := make([]string, n)
	for i := 0; i < n && r.err == nil; i++ {
		s[i] = string(r.bytes(field))
	}
	return s
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendStrings(dst []byte, s []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	for _, v := range s {
		dst = appendString(dst, v)
	}
	return dst
}

// AppendHardState appends h's encoding.
func AppendHardState(dst []byte, h raft.HardState) []byte {
	dst = append(dst, Version)
	dst = binary.AppendUvarint(dst, uint64(h.Term))
	dst = appendNodeID(dst, h.Vote)
	return binary.AppendUvarint(dst, uint64(h.Commit))
}

// HardState decodes all of b.
func HardState(b []byte) (raft.HardState, error) {
	r := reader{b: b, what: "hard state"}
	r.version()
	h := raft.HardState{Term: r.term("term"), Vote: r.nodeID("vote"), Commit: r.index("commit index")}
	if err := r.end(); err != nil {
		return raft.HardState{}, err
	}
	return h, nil
}

// AppendLogStart appends s's encoding.
func AppendLogStart(dst []byte, s raft.LogStart) []byte {
	return appendPosition(append(dst, Version), s.Index, s.Term, s.Config)
}

// LogStart decodes all of b.
func LogStart(b []byte) (s raft.LogStart, err error) {
	r := reader{b: b, what: "log start"}
	r.version()
	r.position(&s.Index, &s.Term, &s.Config)
	if err := r.end(); err != nil {
		return raft.LogStart{}, err
	}
	return s, nil
}

// AppendSnapshotMeta appends s's encoding.
func AppendSnapshotMeta(dst []byte, s raft.SnapshotMeta) []byte {
	return appendPosition(append(dst, Version), s.Index, s.Term, s.Config)
}

// SnapshotMeta decodes all of b.
func SnapshotMeta(b []byte) (s raft.SnapshotMeta, err error) {
	r := reader{b: b, what: "snapshot meta"}
	r.version()
	r.position(&s.Index, &s.Term, &s.Config)
	if err := r.end(); err != nil {
		return raft.SnapshotMeta{}, err
	}
	return s, nil
}

// A position is an index, its term and the configuration in force there.
func appendPosition(dst []byte, i id.Index, t id.Term, c membership.Config) []byte {
	dst = binary.AppendUvarint(dst, uint64(i))
	dst = binary.AppendUvarint(dst, uint64(t))
	return AppendConfig(dst, c)
}

func (r *reader) position(i *id.Index, t *id.Term, c *membership.Config) {
	*i = r.index("index")
	*t = r.term("term")
	r.config(c)
}
