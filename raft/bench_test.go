package raft

import (
	"testing"

	"github.com/quorate/quorate/internal/id"
)

// BenchmarkLeader is a leader of three under full load: a pass takes a thousand
// proposals, the acknowledgements of the last thousand, and the end of its own
// write and apply. One operation is one proposal, from Propose to applied.
func BenchmarkLeader(b *testing.B) {
	const batch = 1000
	c := testConfig(nid(1))
	n, err := New(c, Restored{Start: LogStart{Config: voters(3)}})
	if err != nil {
		b.Fatal(err)
	}
	var out []Effect
	var now id.Time
	step := func(in ...Event) {
		now++
		out = n.Step(now, in, out[:0])
	}
	step(Campaign{})
	step(Received{nid(2), PreVote{For: 1, Granted: true}})
	step(Persisted{n.issued}, Received{nid(2), Vote{Term: 1, Granted: true}})
	p := Propose{Proposals: make([]Proposal, batch)}
	data := make([]byte, 256)
	for i := range p.Proposals {
		p.Proposals[i] = Proposal{ID: ProposalID{nid(1), uint64(i)}, Data: data}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += batch {
		last := n.log.last
		in := []Event{Persisted{n.issued}, Received{nid(2), AppendAccepted{Term: 1, Match: last}}, Received{nid(3), AppendAccepted{Term: 1, Match: last}}, p}
		if n.applying != 0 {
			in = append(in, Applied{n.applying}, Flushed{n.applying})
		}
		step(in...)
	}
	if n.commit == 0 {
		b.Fatal("nothing was committed")
	}
}

// BenchmarkFollower is the other side: one append of a thousand entries a pass.
func BenchmarkFollower(b *testing.B) {
	const batch = 1000
	n, err := New(testConfig(nid(1)), Restored{Start: LogStart{Config: voters(3)}})
	if err != nil {
		b.Fatal(err)
	}
	var out []Effect
	data := make([]byte, 256)
	entries := make([]Entry, batch)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += batch {
		last := n.log.last
		for k := range entries {
			entries[k] = Entry{Term: 1, Index: last + 1 + id.Index(k), Kind: EntryCommand, Data: data}
		}
		prev := id.Term(1)
		if last == 0 {
			prev = 0
		}
		in := []Event{Persisted{n.issued}, Received{nid(2), Append{Term: 1, Prev: last, PrevTerm: prev, Commit: last, Entries: entries}}}
		if n.applying != 0 {
			in = append(in, Applied{n.applying}, Flushed{n.applying})
		}
		out = n.Step(id.Time(i), in, out[:0])
	}
	if n.log.last == 0 {
		b.Fatal("nothing was appended")
	}
}

// BenchmarkOne is a single client: a proposal a pass, three passes each.
func BenchmarkOne(b *testing.B) {
	n, err := New(testConfig(nid(1)), Restored{Start: LogStart{Config: voters(3)}})
	if err != nil {
		b.Fatal(err)
	}
	var out []Effect
	var now id.Time
	step := func(in ...Event) {
		now++
		out = n.Step(now, in, out[:0])
	}
	step(Campaign{})
	step(Received{nid(2), PreVote{For: 1, Granted: true}})
	step(Persisted{n.issued}, Received{nid(2), Vote{Term: 1, Granted: true}})
	p := Propose{Proposals: []Proposal{{ID: ProposalID{nid(1), 1}, Data: make([]byte, 256)}}}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		step(p)
		last := n.log.last
		step(Persisted{n.issued}, Received{nid(2), AppendAccepted{Term: 1, Match: last}})
		step(Applied{n.applying}, Flushed{n.applying}, Received{nid(3), AppendAccepted{Term: 1, Match: last}})
	}
}
