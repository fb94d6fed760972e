package wal

import (
	"bytes"
	"encoding/binary"
)

// takeTorn is what faults.TornTailIsGood breaks: it appends whatever of a torn
// frame still has the form of records, as a log without checksums would.
func (l *Log) takeTorn(payload []byte) error {
	var batch []Record
	for off := 0; off < len(payload); {
		mendChecksums(payload[off:])
		s, err := decodeRecord(payload[off:], 0)
		if err != nil {
			break
		}
		off += s.bytes
		if g := l.groups[s.Group]; s.Kind == RecordAppend && g != nil && s.continues(g) {
			batch = append(batch, s.Record)
			for i := range s.Entries {
				s.Entries[i].Encoded = bytes.Clone(s.Entries[i].Encoded)
			}
		}
	}
	if err := l.Append(batch); err != nil {
		return err
	}
	for _, r := range batch {
		for i := range r.Entries {
			h := l.groups[r.Group].history
			h.truncate(r.Entries[i].Index)
			h.add(&r.Entries[i])
		}
	}
	return l.Sync()
}

func (s *stored) continues(g *group) bool {
	return len(s.Entries) == 0 || s.Entries[0].Index > g.start.Index && s.Entries[0].Index <= g.last()+1
}

// mendChecksums gives the entries of an append record the checksums of what is
// there now.
func mendChecksums(record []byte) {
	if len(record) < recordHeaderBytes+1 || RecordKind(record[0]) != RecordAppend {
		return
	}
	off := recordHeaderBytes + 1 + int(record[recordHeaderBytes])
	if off+4 > len(record) {
		return
	}
	n := binary.LittleEndian.Uint32(record[off:])
	for off += 4; n > 0 && off < len(record); n-- {
		body, k := binary.Uvarint(record[off:])
		if k <= 0 || body < 4 || body > uint64(len(record)-off-k) {
			return
		}
		end := off + k + int(body)
		binary.LittleEndian.PutUint32(record[end-4:], sum(0, record[off:end-4]))
		off = end
	}
}
