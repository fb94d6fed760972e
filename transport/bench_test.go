package transport

import (
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// pair starts two members for a benchmark; got has one element per message that
// arrived at the second.
func pair(b *testing.B) (a *Transport, got chan struct{}) {
	got = make(chan struct{}, 1<<16)
	open := func(self id.NodeID) *Transport {
		t, err := New(Options{Self: self, Cluster: 1, Addr: "127.0.0.1:0", OnFrame: func(id.NodeID, id.GroupID, raft.Message) { got <- struct{}{} }})
		if err != nil {
			b.Fatal(err)
		}
		t.SetPeers(nil)
		b.Cleanup(func() { _ = t.Close() })
		return t
	}
	a = open(n1)
	other := open(n2)
	a.SetPeers([]Peer{{n2, []string{"http://" + other.Addr().String()}}})
	a.Send(n2, 1, raft.TimeoutNow{})
	<-got
	return a, got
}

// One append of 64 sealed entries of 256 bytes at a time, from Send to OnFrame.
func BenchmarkAppend64x256(b *testing.B) {
	a, got := pair(b)
	data := string(make([]byte, 256))
	all := make([]string, 64)
	for i := range all {
		all[i] = data
	}
	m := appendOf(1, all...)
	b.SetBytes(64 * 256)
	b.ReportAllocs()
	for b.Loop() {
		a.Send(n2, 1, m)
		<-got
	}
}

// Heartbeats, 100 in flight: what coalescing gives.
func BenchmarkHeartbeats(b *testing.B) {
	a, got := pair(b)
	b.ReportAllocs()
	var m raft.Message = raft.Heartbeat{Term: 3, Commit: 9}
	sent, back := 0, 0
	for b.Loop() {
		a.Send(n2, 1, m)
		if sent++; sent-back >= 100 {
			<-got
			back++
		}
	}
	for ; back < sent; back++ {
		<-got
	}
}
