// Package transport carries messages between members over TCP or mutual TLS. It
// may drop what it is given, never blocks whoever sends, and says when it
// dropped. docs/format/peer.md holds every byte.
//
// # Promises
//
//   - Send, Ask and Answer return at once. Each peer has a control queue (votes,
//     heartbeats, acknowledgements) and a bulk queue (appends, requests), bounded
//     in bytes, each with a connection of its own: data never delays a heartbeat,
//     and one slow peer never delays another. A full queue drops what comes.
//   - OnUnreachable is called once per outage: when a connection breaks, or when
//     a queue overflows until it was emptied. While a peer cannot be reached what
//     is sent to it is dropped at once: Raft repeats what still matters.
//   - What arrives is what was sent, or the connection is closed with one log
//     line: every frame carries a CRC32C, every message is decoded by wire, and a
//     handshake has settled version, cluster, both identities and the data
//     directory before the first frame. Order holds within a queue only.
//   - A snapshot travels on its own connection, in chunks, at most as fast as
//     Options.SnapshotBytesPerSecond, and counts as sent when the receiver's
//     OnSnapshot returned nil.
//   - Every Ask ends in one OnAnswered: with the answer, or as unknown after
//     Options.AskTimeout, an outage or a drop. An answer to an earlier life of
//     this process is recognised and ignored.
//   - After Close returned, no goroutine is left and no callback runs.
//
// # Connections
//
// A connection carries frames one way, from the member that dialed it. Two
// members that dial each other at once are the normal case: each has its own
// connections to send on. Only pongs, refusals and the outcome of a snapshot
// come back on it.
//
//	n1 ── control ─▶ n2      n2 ── control ─▶ n1
//	n1 ── bulk ────▶ n2      n2 ── bulk ────▶ n1
//	n1 ── snapshot ▶ n2      while one is sent
//
// Goroutines, all owned by the Transport and ended by Close: one accepts; one
// per accepted connection; two per outgoing connection (a writer, and a reader
// of its pongs); one calls OnUnreachable and OnAnswered-as-unknown, so that no
// callback ever runs inside Send. Callbacks run on these goroutines: a slow
// OnFrame slows that one connection, nothing else.
//
// # Use
//
//	t, err := transport.New(transport.Options{Self: …, Cluster: …, Addr: …, OnFrame: …}) // listens
//	t.SetPeers([]transport.Peer{{ID: n2, URLs: []string{"http://10.0.0.2:2380"}}})       // accepts, from the first on; again at every change
//	t.Send(n2, group, message)
//	err = t.SendSnapshot(n2, group, raft.InstallSnapshot{…}, snapshot.Stream{…})    // blocks; its own goroutine
//	t.Close()
package transport
