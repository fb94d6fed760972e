package host

import (
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
)

// BenchmarkStep: a single member's host takes batches of 100 proposals, from the
// client's event to its Resolve; the doors cost nothing. An op is a proposal.
func BenchmarkStep(b *testing.B) {
	self := id.NodeID{Node: 1}
	config, err := membership.Bootstrap([]membership.Member{{ID: self, Role: membership.Voter}})
	if err != nil {
		b.Fatal(err)
	}
	h, err := New(Config{Self: self, Boot: 1})
	if err != nil {
		b.Fatal(err)
	}
	var in, next []Event
	var out []Effect
	results := make([]rsm.Result, 0, 128)
	next = append(next, Start{Group: 1, Config: raft.Config{Seed: 1}.WithDefaults(), Restored: raft.Restored{Start: raft.LogStart{Config: config}}})
	now, ended := id.Time(0), 0
	pass := func() {
		now = now.Add(id.Millisecond / 10)
		in, next = next, in[:0]
		out = h.Step(now, in, out[:0])
		for _, e := range out {
			switch e := e.(type) {
			case Persist:
				next = append(next, Durable{Token: e.Token})
			case Apply:
				results = results[:0]
				for i := range e.Entries {
					if e.Entries[i].Kind == raft.EntryCommand {
						results = append(results, nil)
					}
				}
				at := e.Entries[len(e.Entries)-1].Index
				next = append(next, ApplyDone{Group: 1, Applied: at, Results: results, Flushed: at})
			case Resolve:
				ended++
			}
		}
	}
	for len(out) == 0 || h.byID[1].node.Role() != raft.Leader {
		pass()
	}
	data := make([]byte, 128)
	b.ReportAllocs()
	b.ResetTimer()
	client := ClientID(0)
	for ended < b.N {
		for range 100 {
			client++
			next = append(next, Propose{Group: 1, Client: client, Data: data, Forward: true})
		}
		for ended < int(client) {
			pass()
		}
	}
}
