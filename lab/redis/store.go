package redis

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// store is what every redis process has, in a cluster or under sentinels: its
// operations in memory, and the stream of them from a master to its replicas.
//
// A history has an id; an offset counts the operations in it. A replica that
// connects says both (PSYNC). If its history is the master's, or the one that the
// master continued when it was promoted, it gets what is missing; else it throws
// away what it has and gets everything. Nobody compares what is in the histories:
// the master's is right by definition.
type store struct {
	c    lab.Config
	log  *lab.Log
	aof  bool // append to a file, and fsync it every second
	mins int  // min-replicas-to-write; 0: off
	lag  id.Duration

	replid   uint64
	previous uint64 // the history this one continues
	until    int    // up to this offset
	born     uint64 // histories begun in this life

	master   lab.Node // 0: is a master
	linked   bool
	retry    id.Time // the next PSYNC or acknowledgement
	heard    id.Time // from the master, last
	replicas []replica

	dirty bool    // of the file
	fsync id.Time // the next one
}

// replica is what a master knows of one.
type replica struct {
	node   lab.Node
	offset int // that it acknowledged
	at     id.Time
}

const (
	ackEvery   = id.Second      // REPLCONF ACK, and PSYNC again
	fsyncEvery = id.Second      // appendfsync everysec
	linkLoss   = 60 * id.Second // repl-timeout
)

func newStore(c lab.Config, aof bool, mins int) store {
	return store{
		c: c, log: lab.NewLog(), aof: aof, retry: id.Never, fsync: id.Never,
		mins: int(c.Settings.Int("min-replicas", int64(mins), 0, 8)),
		lag:  c.Settings.Duration("min-replicas-max-lag", 10*id.Second, id.Second, 600*id.Second),
	}
}

// load reads the append-only file. A process without one starts empty, whatever
// it held before: it still has its name and its office.
func (s *store) load(records []lab.Body) {
	for _, r := range records {
		switch r := r.(type) {
		case Appended:
			s.log.Append(r.Entry)
		case Rewritten:
			s.log.Replace(r.Entries)
		}
	}
	s.log.Decide(s.log.Len())
	s.begin()
}

// begin starts a history.
func (s *store) begin() {
	s.born++
	s.replid = s.c.Self<<48 | uint64(s.c.Life)<<32 | s.born
}

// promote makes a master of a replica: its history goes on under a new id.
func (s *store) promote() {
	s.previous, s.until = s.replid, s.log.Len()
	s.begin()
	s.master, s.linked, s.retry, s.replicas = 0, false, id.Never, nil
}

// replicate makes a replica of another node's.
func (s *store) replicate(t *lab.Turn, master lab.Node) {
	s.master, s.linked, s.replicas = master, false, nil
	s.psync(t)
}

func (s *store) psync(t *lab.Turn) {
	s.linked = false
	t.Send(s.master, Psync{Replid: s.replid, Offset: s.log.Len()})
	s.retry = t.Now.Add(ackEvery)
}

// asked answers a client at a master. The answer does not wait for a replica, nor
// for the disk.
func (s *store) asked(t *lab.Turn, r lab.Request) {
	switch {
	case r.Verb == "read":
		t.Serve(r, s.log.Len())
	case r.Verb != "write":
		t.Refuse(r, 0, fmt.Sprintf("unknown verb %q; redis knows write and read", r.Verb))
	case s.mins > 0 && !s.c.Broken(NoMinReplicas) && s.good(t.Now) < s.mins:
		t.Refuse(r, 0, fmt.Sprintf("R10 NOREPLICAS: fewer than %d replicas acknowledged within %d s", s.mins, s.lag/id.Second))
	default:
		e := lab.Entry{Op: r.Op, Epoch: s.replid, Client: r.Client}
		from := s.log.Len()
		s.put(t, e)
		t.Accept(r)
		for _, n := range s.replicas {
			t.Send(n.node, Stream{Replid: s.replid, Offset: from, Entries: []lab.Entry{e}})
		}
	}
}

// good counts the replicas that acknowledged anything lately.
func (s *store) good(now id.Time) int {
	count := 0
	for _, r := range s.replicas {
		if now.Sub(r.at) <= s.lag {
			count++
		}
	}
	return count
}

func (s *store) put(t *lab.Turn, e lab.Entry) {
	s.log.Append(e)
	s.log.Decide(s.log.Len())
	if s.aof {
		t.Write(aofFile, Appended{Entry: e})
		if !s.dirty {
			s.dirty, s.fsync = true, t.Now.Add(fsyncEvery)
		}
	}
}

const aofFile = "appendonly.aof"

// psyncAsked connects a replica.
func (s *store) psyncAsked(t *lab.Turn, from lab.Node, p Psync) {
	if s.master != 0 {
		return // it asks again; a chain of replicas is not modelled
	}
	s.replicas = slices.DeleteFunc(s.replicas, func(r replica) bool { return r.node == from })
	same := p.Replid == s.replid && p.Offset <= s.log.Len()
	continued := p.Replid == s.previous && p.Offset <= s.until
	if !same && !continued {
		if p.Offset > 0 {
			t.Rule("R9", fmt.Sprintf("n%d has %d operations of another history, or more of this one: it gets everything and loses its own", from, p.Offset))
		}
		s.replicas = append(s.replicas, replica{node: from, offset: s.log.Len(), at: t.Now})
		t.Send(from, FullResync{Replid: s.replid, Entries: s.log.From(0)})
		return
	}
	s.replicas = append(s.replicas, replica{node: from, offset: p.Offset, at: t.Now})
	t.Send(from, Continue{Replid: s.replid, Offset: p.Offset, Entries: s.log.From(p.Offset)})
}

func (s *store) resynced(t *lab.Turn, from lab.Node, f FullResync) {
	if s.master != from {
		return
	}
	s.link(t, f.Replid)
	s.log.Replace(f.Entries)
	s.log.Decide(s.log.Len())
	if s.aof {
		t.Write(aofFile, Rewritten{Entries: f.Entries})
		t.Sync(aofFile)
		s.dirty, s.fsync = false, id.Never
	}
}

func (s *store) continued(t *lab.Turn, from lab.Node, c Continue) {
	if s.master != from || c.Offset != s.log.Len() {
		return
	}
	s.link(t, c.Replid)
	for _, e := range c.Entries {
		s.put(t, e)
	}
}

// link is a connection that stands. Its acknowledgements come at a pace of their
// own: processes that started together do not go on in step.
func (s *store) link(t *lab.Turn, replid uint64) {
	s.linked, s.heard, s.replid, s.previous = true, t.Now, replid, 0
	s.retry = t.Now.Add(s.c.Dice.Duration(0, ackEvery))
}

// streamed takes what follows on what is here. What comes too early waits for
// what was lost, as in a connection.
func (s *store) streamed(t *lab.Turn, from lab.Node, m Stream) {
	if s.master != from || !s.linked || m.Replid != s.replid {
		return
	}
	s.heard = t.Now
	for i, e := range m.Entries {
		if m.Offset+i == s.log.Len() {
			s.put(t, e)
		}
	}
}

// acknowledged notes a replica's offset. Two equal acknowledgements in a row of
// less than there is mean that something was lost on the way: it is sent again,
// as the connection would.
func (s *store) acknowledged(t *lab.Turn, from lab.Node, a ReplicaAck) {
	i := slices.IndexFunc(s.replicas, func(r replica) bool { return r.node == from })
	if s.master != 0 || i < 0 || a.Replid != s.replid {
		t.Send(from, LinkClosed{})
		return
	}
	r := &s.replicas[i]
	if a.Offset < s.log.Len() && a.Offset == r.offset {
		t.Send(from, Stream{Replid: s.replid, Offset: a.Offset, Entries: s.log.From(a.Offset)})
	} else {
		t.Send(from, Stream{Replid: s.replid, Offset: s.log.Len()})
	}
	r.offset, r.at = a.Offset, t.Now
}

// receive takes the messages of replication; false: it is none of them.
func (s *store) receive(t *lab.Turn, from lab.Node, b lab.Body) bool {
	switch b := b.(type) {
	case Psync:
		s.psyncAsked(t, from, b)
	case FullResync:
		s.resynced(t, from, b)
	case Continue:
		s.continued(t, from, b)
	case Stream:
		s.streamed(t, from, b)
	case ReplicaAck:
		s.acknowledged(t, from, b)
	case LinkClosed:
		s.reset(t, from)
	default:
		return false
	}
	return true
}

func (s *store) reset(t *lab.Turn, node lab.Node) {
	s.replicas = slices.DeleteFunc(s.replicas, func(r replica) bool { return r.node == node })
	if s.master == node && s.linked {
		s.linked, s.retry = false, t.Now.Add(ackEvery)
	}
}

func (s *store) due(t *lab.Turn) {
	if t.Now >= s.fsync {
		t.Sync(aofFile)
		s.dirty, s.fsync = false, id.Never
	}
	if s.master == 0 || t.Now < s.retry {
		return
	}
	if !s.linked || t.Now.Sub(s.heard) > linkLoss {
		s.psync(t)
		return
	}
	t.Send(s.master, ReplicaAck{Replid: s.replid, Offset: s.log.Len()})
	s.retry = t.Now.Add(ackEvery)
}

func (s *store) deadline() id.Time {
	if s.master == 0 {
		return s.fsync
	}
	return min(s.fsync, s.retry)
}

// The messages of replication, and the records of the append-only file. A history
// and an offset are a number each, an operation three.
type (
	Psync struct {
		Replid uint64
		Offset int
	}
	FullResync struct {
		Replid  uint64
		Entries []lab.Entry
	}
	Continue struct {
		Replid  uint64
		Offset  int
		Entries []lab.Entry
	}
	Stream struct {
		Replid  uint64
		Offset  int
		Entries []lab.Entry
	}
	ReplicaAck struct {
		Replid uint64
		Offset int
	}
	LinkClosed struct{} // the answer of a process that knows no such replica: its connection is gone

	Appended  struct{ Entry lab.Entry }
	Rewritten struct{ Entries []lab.Entry }
)

func (Psync) Name() string      { return "PSYNC" }
func (FullResync) Name() string { return "FULLRESYNC" }
func (Continue) Name() string   { return "CONTINUE" }
func (Stream) Name() string     { return "STREAM" }
func (ReplicaAck) Name() string { return "REPLCONF-ACK" }
func (LinkClosed) Name() string { return "LINK-CLOSED" }
func (Appended) Name() string   { return "append" }
func (Rewritten) Name() string  { return "rewrite" }

func history(replid uint64, offset, entries int) []trace.Field {
	return []trace.Field{trace.Num("history", replid), trace.Num("offset", uint64(offset)), trace.Num("operations", uint64(entries))}
}

func (m Psync) Fields() []trace.Field      { return history(m.Replid, m.Offset, 0)[:2] }
func (m FullResync) Fields() []trace.Field { return history(m.Replid, 0, len(m.Entries)) }
func (m Continue) Fields() []trace.Field   { return history(m.Replid, m.Offset, len(m.Entries)) }
func (m Stream) Fields() []trace.Field     { return history(m.Replid, m.Offset, len(m.Entries)) }
func (m ReplicaAck) Fields() []trace.Field { return history(m.Replid, m.Offset, 0)[:2] }
func (LinkClosed) Fields() []trace.Field   { return nil }
func (m Appended) Fields() []trace.Field   { return []trace.Field{trace.Num("operation", m.Entry.Op)} }
func (m Rewritten) Fields() []trace.Field {
	return []trace.Field{trace.Num("operations", uint64(len(m.Entries)))}
}

func (m FullResync) Bytes() int { return 16 + 8 + 24*len(m.Entries) }
func (m Continue) Bytes() int   { return 16 + 16 + 24*len(m.Entries) }
func (m Stream) Bytes() int     { return 16 + 16 + 24*len(m.Entries) }
func (Appended) Bytes() int     { return 16 + 24 }
func (m Rewritten) Bytes() int  { return 16 + 24*len(m.Entries) }
