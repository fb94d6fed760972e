package raft

import (
	"errors"
	"slices"
	"strings"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	production "github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
	"github.com/quorate/quorate/trace"
)

// pass gives events to the host and carries out what it asks for. What that leads to
// at once (an apply is done) is a pass of its own, in the same step of the lab.
func (c *Core) pass(t *lab.Turn, events ...host.Event) {
	for first := true; first || len(events) > 0; first = false {
		if c.stopped != "" {
			return
		}
		effects := c.host.Step(t.Now, events, c.effects[:0])
		c.next = nil
		for _, e := range effects {
			c.do(t, e)
		}
		clear(effects)
		c.effects = effects[:0]
		events = c.next
	}
	c.next = nil
}

// errNoSnapshots: the host counts again from zero and asks in vain every so often.
var errNoSnapshots = errors.New("the lab keeps the whole log")

// do carries out one effect, as host/run does on goroutines.
func (c *Core) do(t *lab.Turn, e host.Effect) {
	switch e := e.(type) {
	case host.Persist:
		c.persist(t, e)
	case host.Send:
		c.sent(t, e)
		if c.connected(t, e.To.Node) {
			t.Send(e.To.Node, c.seal(e.To, e.Message))
		}
	case host.Load:
		last := min(e.To, id.Index(len(c.entries))+1)
		c.next = append(c.next, host.Loaded{Load: e, Entries: slices.Clone(c.entries[e.From-1 : last-1])})
	case host.Apply:
		c.apply(t, e)
	case host.Snapshot:
		c.next = append(c.next, host.SnapshotSaved{Group: theGroup, Err: errNoSnapshots})
	case host.Resolve:
		if c.pinned(e) {
			return
		}
		c.ended = append(c.ended, End{
			Ticket: Ticket(e.Client), Outcome: e.Outcome, Result: e.Result, Index: e.Index,
			Why: why(e), Leader: e.Leader.Node,
		})
	case host.ReadAt:
		c.ended = append(c.ended, End{Ticket: Ticket(e.Client), Outcome: host.Done, Index: e.Index})
	case host.Status:
		c.learn(e.Status)
	case host.Emit:
		c.tell(t, e.Event)
	case host.Removed:
		if e.Committed {
			t.Note("is no member any more")
		}
	case host.Halt:
		if c.stopped == "" {
			c.role = "halted"
			c.stopped = strings.TrimPrefix(e.Reason.Error(), "raft: ")
			t.Rule("halt", "stops for good, since something is so that never may be: "+c.stopped)
		}
	default:
		// Ask and Answer belong to Forward, which the lab does not use; SendSnapshot and
		// Install to a log that was cut.
		assert.Fail("the lab's raft got a %T", e)
	}
}

// rulesOfRefusals names the rule behind each of production's refusals.
var rulesOfRefusals = []struct {
	why  production.Refusal
	rule string
}{
	{production.NotLeader, "one-leader"}, {production.Transferring, "transfer"}, {production.Overloaded, "bounds"},
	{production.DiskStalled, "disk-stall"}, {production.ChangeInFlight, "membership"}, {production.ChangeIllegal, "membership"},
	{production.ChangeStale, "membership"}, {production.OfficeUncertain, "read-round"}, {production.NoOwnTermCommit, "own-term"},
}

// why is a refusal in words, its rule first.
func why(e host.Resolve) string {
	if e.Outcome != host.Refused {
		return ""
	}
	text := e.Detail
	if text == "" {
		text = e.Why.String()
	}
	for _, r := range rulesOfRefusals {
		if r.why == e.Why {
			return r.rule + ": " + text
		}
	}
	return text
}

// persist writes the pass's records. What must be synced is settled when the disk
// says so; the rest with the next sync.
func (c *Core) persist(t *lab.Turn, p host.Persist) {
	carries := false
	for _, w := range p.Writes {
		assert.That(w.Kind == host.WriteAppend, "a log that is never cut gets a write of kind %d", w.Kind)
		t.Write(c.o.File, Record{Hard: w.Hard, Entries: slices.Clone(w.Entries)})
		c.hold(w.Entries)
		carries = carries || len(w.Entries) > 0
	}
	switch {
	case c.broken(NoFsync), p.MustSync && !carries && c.broken(faults.SkipVoteSync):
		c.next = append(c.next, host.Durable{Token: p.Token})
	case p.MustSync:
		c.written = append(c.written, written{t.Sync(c.o.File), p.Token})
	}
}

// hold keeps the log as it is written: entries replace everything from the first of
// them on.
func (c *Core) hold(entries []production.Entry) {
	if len(entries) == 0 {
		return
	}
	at := int(entries[0].Index)
	assert.That(at <= len(c.entries)+1, "entry %d behind a log of %d", at, len(c.entries))
	c.entries = append(c.entries[:at-1], entries...) // nobody else holds this slice
	c.log.Truncate(at - 1)
	for _, e := range entries {
		c.log.Append(c.entry(e, false))
	}
}

// entry is what people see of one.
func (c *Core) entry(e production.Entry, applied bool) lab.Entry {
	shown := lab.Entry{}
	switch e.Kind {
	case production.EntryNoop:
		shown.Kind = "no-op"
	case production.EntryConfig:
		shown.Kind = "config"
	default:
		shown.Kind = "command"
		if m, ok := c.o.Machine.(Teller); ok {
			shown = m.Tell(e, applied)
		}
	}
	shown.Epoch = uint64(e.Term)
	return shown
}

// apply lets the machine apply, which takes no time here.
func (c *Core) apply(t *lab.Turn, a host.Apply) {
	results, err := c.o.Machine.Apply(a.Batch(nil), []rsm.Result(nil))
	done := host.ApplyDone{Group: theGroup, Results: results, Err: err}
	if err == nil {
		done.Applied = a.Entries[len(a.Entries)-1].Index
		for _, e := range a.Entries {
			shown := c.entry(e, true)
			if shown.Kind == "repeat" && c.Leads() {
				t.Rule("session", "this operation was applied before: it is answered again and not applied again (thesis §6.3)")
			}
			c.log.Set(int(e.Index), shown)
		}
		c.applied = done.Applied
		c.log.Decide(int(done.Applied))
	}
	c.next = append(c.next, done)
}

// Record is what one Persist wrote of the log: the hard state, and entries that
// replace everything from the first of them on.
type Record struct {
	Hard    production.HardState
	Entries []production.Entry
}

// Name is the record's.
func (r Record) Name() string { return "append" }

// Fields are term, vote and what entries there are.
func (r Record) Fields() []trace.Field {
	fields := []trace.Field{trace.Num("term", uint64(r.Hard.Term)), trace.Text("vote", r.Hard.Vote.String()), trace.Num("commit", uint64(r.Hard.Commit))}
	if len(r.Entries) > 0 {
		fields = append(fields, trace.Num("from", uint64(r.Entries[0].Index)), trace.Num("entries", uint64(len(r.Entries))))
	}
	return fields
}

// Bytes is the encoded entries' and the hard state's, with the lab's frame.
func (r Record) Bytes() int {
	n := 16 + 32
	for _, e := range r.Entries {
		n += len(e.Encoded)
	}
	return n
}

// recover makes of the records what raft remembers. The machine is in memory: it
// starts empty and is brought up from the log's first entry.
func (c *Core) recover(records []lab.Body) production.Restored {
	r := production.Restored{Start: production.LogStart{Config: c.first()}}
	for _, b := range records {
		rec := b.(Record)
		r.Hard = rec.Hard
		c.hold(rec.Entries)
	}
	r.Last = id.Index(len(c.entries))
	r.Tail = slices.Clone(c.entries)
	for _, e := range c.entries {
		if n := len(r.Terms); n == 0 || r.Terms[n-1].Term != e.Term {
			r.Terms = append(r.Terms, production.TermRun{First: e.Index, Term: e.Term})
		}
		if e.Kind == production.EntryConfig {
			r.Configs = append(r.Configs, production.ConfigAt{Index: e.Index, Config: *e.Config})
		}
	}
	return r
}
