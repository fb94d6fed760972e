package wire

import (
	"encoding/binary"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/raft"
)

// Kind is the second byte of a message. Numbers are never used again.
type Kind byte

const (
	KindRequestPreVote Kind = iota + 1
	KindPreVote
	KindRequestVote
	KindVote
	KindAppend
	KindAppendAccepted
	KindAppendRejected
	KindHeartbeat
	KindHeartbeatAck
	KindInstallSnapshot
	KindTimeoutNow
	KindRequestRead
	KindReadAnswer
	KindNotMember
)

var kindNames = [...]string{
	KindRequestPreVote: "request-pre-vote", KindPreVote: "pre-vote", KindRequestVote: "request-vote", KindVote: "vote",
	KindAppend: "append", KindAppendAccepted: "append-accepted", KindAppendRejected: "append-rejected",
	KindHeartbeat: "heartbeat", KindHeartbeatAck: "heartbeat-ack", KindInstallSnapshot: "install-snapshot",
	KindTimeoutNow: "timeout-now", KindRequestRead: "request-read", KindReadAnswer: "read-answer", KindNotMember: "not-member",
}

func (k Kind) String() string {
	if k == 0 || int(k) >= len(kindNames) {
		return "unknown kind"
	}
	return kindNames[k]
}

// whats are the kinds as they stand in errors, made once: decoding allocates no
// text.
var whats = func() (w [len(kindNames)]string) {
	for k := range w {
		w[k] = kindNames[k] + " message"
	}
	return w
}()

// AppendMessage appends m's encoding. Entries that have Encoded are copied as
// they are.
func AppendMessage(dst []byte, m raft.Message) []byte {
	switch m := m.(type) {
	case raft.RequestPreVote:
		dst = begin(dst, KindRequestPreVote, uint64(m.Term))
		dst = binary.AppendUvarint(dst, uint64(m.LastIndex))
		return binary.AppendUvarint(dst, uint64(m.LastTerm))
	case raft.PreVote:
		dst = begin(dst, KindPreVote, uint64(m.Term))
		dst = binary.AppendUvarint(dst, uint64(m.For))
		return appendBool(dst, m.Granted)
	case raft.RequestVote:
		dst = begin(dst, KindRequestVote, uint64(m.Term))
		dst = binary.AppendUvarint(dst, uint64(m.LastIndex))
		dst = binary.AppendUvarint(dst, uint64(m.LastTerm))
		return appendBool(dst, m.Transfer)
	case raft.Vote:
		return appendBool(begin(dst, KindVote, uint64(m.Term)), m.Granted)
	case raft.Append:
		return appendAppend(dst, &m)
	case raft.AppendAccepted:
		return binary.AppendUvarint(begin(dst, KindAppendAccepted, uint64(m.Term)), uint64(m.Match))
	case raft.AppendRejected:
		dst = begin(dst, KindAppendRejected, uint64(m.Term))
		dst = binary.AppendUvarint(dst, uint64(m.Prev))
		dst = binary.AppendUvarint(dst, uint64(m.HintIndex))
		return binary.AppendUvarint(dst, uint64(m.HintTerm))
	case raft.Heartbeat:
		dst = begin(dst, KindHeartbeat, uint64(m.Term))
		dst = binary.AppendUvarint(dst, uint64(m.Commit))
		return binary.AppendUvarint(dst, m.Round)
	case raft.HeartbeatAck:
		return binary.AppendUvarint(begin(dst, KindHeartbeatAck, uint64(m.Term)), m.Round)
	case raft.InstallSnapshot:
		dst = begin(dst, KindInstallSnapshot, uint64(m.Term))
		return appendPosition(dst, m.Snapshot.Index, m.Snapshot.Term, m.Snapshot.Config)
	case raft.TimeoutNow:
		return begin(dst, KindTimeoutNow, uint64(m.Term))
	case raft.RequestRead:
		return binary.AppendUvarint(begin(dst, KindRequestRead, uint64(m.Term)), m.ID)
	case raft.ReadAnswer:
		dst = begin(dst, KindReadAnswer, uint64(m.Term))
		dst = binary.AppendUvarint(dst, m.ID)
		dst = binary.AppendUvarint(dst, uint64(m.Index))
		return appendBool(dst, m.Granted)
	case raft.NotMember:
		return binary.AppendUvarint(begin(dst, KindNotMember, uint64(m.Term)), m.Version)
	}
	assert.Fail("message of type %T has no encoding", m)
	return nil
}

func begin(dst []byte, k Kind, term uint64) []byte {
	return binary.AppendUvarint(append(dst, Version, byte(k)), term)
}

func appendAppend(dst []byte, m *raft.Append) []byte {
	dst = begin(dst, KindAppend, uint64(m.Term))
	dst = binary.AppendUvarint(dst, uint64(m.Prev))
	dst = binary.AppendUvarint(dst, uint64(m.PrevTerm))
	dst = binary.AppendUvarint(dst, uint64(m.Commit))
	dst = binary.AppendUvarint(dst, uint64(len(m.Entries)))
	for i := range m.Entries {
		dst = appendEntry(dst, &m.Entries[i])
	}
	return dst
}

// Message decodes all of b. Entries share memory with b.
func Message(b []byte) (raft.Message, error) {
	r := reader{b: b, what: "message"}
	r.version()
	k := Kind(r.byte("kind"))
	if r.err == nil && (k == 0 || int(k) >= len(kindNames)) {
		r.fail(1, "kind %d is unknown", k)
	}
	if r.err != nil {
		return nil, r.err
	}
	r.what = whats[k]
	m := r.message(k)
	if err := r.end(); err != nil {
		return nil, err
	}
	return m, nil
}

// message reads what follows the kind. Go evaluates the calls of a composite
// literal in the order they are written, which is the order of the bytes.
func (r *reader) message(k Kind) raft.Message {
	term := r.term("term")
	switch k {
	case KindRequestPreVote:
		return raft.RequestPreVote{Term: term, LastIndex: r.index("last index"), LastTerm: r.term("last term")}
	case KindPreVote:
		return raft.PreVote{Term: term, For: r.term("term asked about"), Granted: r.bool("granted")}
	case KindRequestVote:
		return raft.RequestVote{Term: term, LastIndex: r.index("last index"), LastTerm: r.term("last term"), Transfer: r.bool("transfer")}
	case KindVote:
		return raft.Vote{Term: term, Granted: r.bool("granted")}
	case KindAppend:
		m := raft.Append{Term: term, Prev: r.index("previous index"), PrevTerm: r.term("previous term"), Commit: r.index("commit index")}
		m.Entries = r.entries(uint64(m.Prev))
		return m
	case KindAppendAccepted:
		return raft.AppendAccepted{Term: term, Match: r.index("match")}
	case KindAppendRejected:
		return raft.AppendRejected{Term: term, Prev: r.index("previous index"), HintIndex: r.index("hint index"), HintTerm: r.term("hint term")}
	case KindHeartbeat:
		return raft.Heartbeat{Term: term, Commit: r.index("commit index"), Round: r.uvarint("round")}
	case KindHeartbeatAck:
		return raft.HeartbeatAck{Term: term, Round: r.uvarint("round")}
	case KindInstallSnapshot:
		m := raft.InstallSnapshot{Term: term}
		r.position(&m.Snapshot.Index, &m.Snapshot.Term, &m.Snapshot.Config)
		return m
	case KindTimeoutNow:
		return raft.TimeoutNow{Term: term}
	case KindRequestRead:
		return raft.RequestRead{Term: term, ID: r.uvarint("id")}
	case KindReadAnswer:
		return raft.ReadAnswer{Term: term, ID: r.uvarint("id"), Index: r.index("index"), Granted: r.bool("granted")}
	case KindNotMember:
		return raft.NotMember{Term: term, Version: r.uvarint("configuration's version")}
	}
	assert.Fail("kind %d passed the check of kinds", k)
	return nil
}

// entries reads the entries of an Append. Their indices must follow prev
// without a gap: everything behind this door relies on it.
func (r *reader) entries(prev uint64) []raft.Entry {
	n := r.count("number of entries", entryBytesMin)
	if r.err != nil || n == 0 {
		return nil
	}
	entries := make([]raft.Entry, n)
	for i := range entries {
		at := r.off
		r.entry(&entries[i])
		if r.err != nil {
			return nil
		}
		if prev++; uint64(entries[i].Index) != prev || prev == 0 {
			r.fail(at, "entry %d of the message has index %d; %d was expected", i, entries[i].Index, prev)
			return nil
		}
	}
	return entries
}
