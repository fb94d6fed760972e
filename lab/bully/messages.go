package bully

import (
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// The election's messages (Election, Alive and Victory are the paper's; the
// document adds the epoch, Ask and View).
type (
	election  struct{ epoch uint64 }
	alive     struct{ epoch uint64 }
	victory   struct{ leader, epoch uint64 }
	heartbeat struct{ leader, epoch uint64 }
	ask       struct{ leader, epoch uint64 }
	opinion   struct{ dead bool }
)

func (election) Name() string  { return "Election" }
func (alive) Name() string     { return "Alive" }
func (victory) Name() string   { return "Victory" }
func (heartbeat) Name() string { return "Heartbeat" }
func (ask) Name() string       { return "Ask" }
func (opinion) Name() string   { return "View" }

func (m election) Fields() []trace.Field  { return []trace.Field{trace.Num("epoch", m.epoch)} }
func (m alive) Fields() []trace.Field     { return []trace.Field{trace.Num("epoch", m.epoch)} }
func (m victory) Fields() []trace.Field   { return claimFields(m.leader, m.epoch) }
func (m heartbeat) Fields() []trace.Field { return claimFields(m.leader, m.epoch) }
func (m ask) Fields() []trace.Field       { return claimFields(m.leader, m.epoch) }
func (m opinion) Fields() []trace.Field   { return []trace.Field{trace.Num("dead", bit(m.dead))} }

func claimFields(leader, epoch uint64) []trace.Field {
	return []trace.Field{trace.Num("leader", leader), trace.Num("epoch", epoch)}
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// The replication's messages. Update is also what stands on disk for one write.
type (
	update struct {
		epoch    uint64
		position int
		entry    lab.Entry
	}
	stored struct {
		epoch    uint64
		position int
	}
	copyRequest struct{ epoch uint64 }
	state       struct {
		epoch   uint64
		entries []lab.Entry
	}
)

func (update) Name() string      { return "Update" }
func (stored) Name() string      { return "Stored" }
func (copyRequest) Name() string { return "Copy" }
func (state) Name() string       { return "State" }

func (m update) Fields() []trace.Field {
	return []trace.Field{trace.Num("epoch", m.epoch), trace.Num("position", uint64(m.position)), trace.Num("operation", m.entry.Op)}
}
func (m stored) Fields() []trace.Field {
	return []trace.Field{trace.Num("epoch", m.epoch), trace.Num("position", uint64(m.position))}
}
func (m copyRequest) Fields() []trace.Field { return []trace.Field{trace.Num("epoch", m.epoch)} }
func (m state) Fields() []trace.Field {
	return []trace.Field{trace.Num("epoch", m.epoch), trace.Num("entries", uint64(len(m.entries)))}
}
func (m state) Bytes() int { return 16 + 8 + 8*len(m.entries) }

// The records of the files "state" and "epoch". taken is a State, without what the
// node's own began with already.
type (
	taken struct {
		behind  int
		entries []lab.Entry
	}
	epochRecord struct{ epoch uint64 }
)

func (taken) Name() string       { return "taken" }
func (epochRecord) Name() string { return "epoch" }

func (r taken) Fields() []trace.Field {
	return []trace.Field{trace.Num("behind", uint64(r.behind)), trace.Num("entries", uint64(len(r.entries)))}
}
func (r taken) Bytes() int                  { return 16 + 8 + 8*len(r.entries) }
func (r epochRecord) Fields() []trace.Field { return []trace.Field{trace.Num("epoch", r.epoch)} }
