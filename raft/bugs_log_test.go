package raft

import (
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
)

// The bugs around the log, the disk and snapshots: 15 to 30.

func TestBug15SnapshotThenARejectedAppend(t *testing.T) {
	b := newBench(t, 3, HardState{Term: 2}, 1, 1, 2)
	b.from(2, InstallSnapshot{Term: 3, Snapshot: SnapshotMeta{Index: 6, Term: 3, Config: voters(3)}})
	// Exactly at the last included index, with its term: accepted.
	if a := one[AppendAccepted](t, b.from(2, Append{Term: 3, Prev: 6, PrevTerm: 3, Entries: []Entry{data(7, 3, "x")}})); a.Match != 7 {
		t.Fatalf("%+v", a)
	}
	// Beyond the log: rejected, with a hint that is not below the snapshot.
	if r := one[AppendRejected](t, b.from(2, Append{Term: 3, Prev: 9, PrevTerm: 3})); r.HintIndex != 7 || r.HintTerm != 3 {
		t.Fatalf("%+v", r)
	}
	// Older than the snapshot, and overlapping it.
	if a := one[AppendAccepted](t, b.from(2, Append{Term: 3, Prev: 2, PrevTerm: 1})); a.Match != 6 {
		t.Fatalf("%+v", a)
	}
	b.from(2, Append{Term: 3, Prev: 4, PrevTerm: 2, Entries: []Entry{data(5, 2, "e"), data(6, 3, "f"), data(7, 3, "x"), data(8, 3, "y")}})
	if b.m.node.log.last != 8 || logText(b.m) != "(6, term 3) 3 3" {
		t.Fatalf("log %s", logText(b.m))
	}
	// A conflict at the last included index contradicts what is committed: halt.
	out := b.m.give(b.world, Received{From: nid(2), Message: Append{Term: 3, Prev: 6, PrevTerm: 2}})
	if h, ok := out[len(out)-1].(Halt); !ok || !strings.Contains(h.Reason.Error(), "committed") {
		t.Fatalf("%v", out)
	}
}

func TestBug15InstallationWaitsForTheApplyInFlight(t *testing.T) {
	b := newBench(t, 3, HardState{Term: 1}, 1, 1, 1)
	out := b.m.give(b.world, Received{From: nid(2), Message: Append{Term: 1, Prev: 3, PrevTerm: 1, Commit: 3}})
	has := func(out []Effect, is func(Effect) bool) bool {
		for _, e := range out {
			if is(e) {
				return true
			}
		}
		return false
	}
	install := func(e Effect) bool { _, ok := e.(Install); return ok }
	apply := func(e Effect) bool { _, ok := e.(Apply); return ok }
	if !has(out, apply) {
		t.Fatalf("no Apply: %v", out)
	}
	meta := SnapshotMeta{Index: 9, Term: 1, Config: voters(3)}
	if out = b.m.give(b.world, Received{From: nid(2), Message: InstallSnapshot{Term: 1, Snapshot: meta}}); has(out, install) {
		t.Fatal("installs while an Apply is in flight")
	}
	b.m.work(b.world)
	if out = b.pass(b.m); !has(out, install) {
		t.Fatal("does not install when the Apply is done")
	}
	// While it is in flight: no Persist, no Apply, no new term.
	out = b.m.give(b.world, Received{From: nid(2), Message: Append{Term: 1, Prev: 3, PrevTerm: 1, Entries: []Entry{data(4, 1, "x")}}},
		Received{From: nid(3), Message: RequestVote{Term: 5, Transfer: true, LastIndex: 99, LastTerm: 4}})
	if has(out, func(e Effect) bool { _, ok := e.(Persist); return ok }) || has(out, apply) || b.m.node.term != 1 {
		t.Fatalf("term %d, %v", b.m.node.term, out)
	}
}

func TestBug16TheLogIsCutOnlyUpToWhatIsFlushed(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.m.config.RetainBytes = 1
	b.m.node.cfg.RetainBytes = 1
	b.lead(t)
	for i := 0; i < 5; i++ {
		b.give(command(i))
	}
	b.from(2, AppendAccepted{Term: 1, Match: 6})
	b.from(3, AppendAccepted{Term: 1, Match: 6})
	if b.m.applied != 6 || b.m.node.log.start.Index != 0 {
		t.Fatalf("applied %d, log starts at %d before anything is flushed", b.m.applied, b.m.node.log.start.Index)
	}
	b.give(Flushed{Index: 3})
	if b.m.node.log.start.Index != 3 {
		t.Fatalf("log starts behind %d, flushed is 3", b.m.node.log.start.Index)
	}
	b.give(Flushed{Index: 99}) // more than was applied: not believed
	if at := b.m.node.log.start.Index; at > 6 {
		t.Fatalf("log starts behind %d, applied is 6", at)
	}
}

func TestBug20RetentionKeepsWhatASlowFollowerNeeds(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.lead(t)
	for i := 0; i < 100; i++ {
		b.give(command(i))
		b.from(2, AppendAccepted{Term: 1, Match: b.m.node.log.last})
	}
	b.from(3, AppendAccepted{Term: 1, Match: 40})
	b.give(Flushed{Index: 101})
	if at := b.m.node.log.start.Index; at != 0 && at > 40 {
		t.Fatalf("cut up to %d, n3 needs 41", at)
	}
	b.m.node.cfg.RetainBytes = 20 * 51 // twenty entries: n3 is beyond it
	b.give(Flushed{Index: 101})
	if at := b.m.node.log.start.Index; at < 78 || at > 84 {
		t.Fatalf("cut up to %d, want about 81: twenty entries are kept", at)
	}
}

func TestBug21OldAcknowledgementAfterAnOverwrite(t *testing.T) {
	b := newBench(t, 3, HardState{Term: 1}, 1)
	m := b.m
	m.give(b.world, Received{From: nid(2), Message: Append{Term: 1, Prev: 1, PrevTerm: 1, Entries: []Entry{data(2, 1, "a"), data(3, 1, "b"), data(4, 1, "c")}}})
	m.give(b.world, Received{From: nid(3), Message: Append{Term: 2, Prev: 1, PrevTerm: 1, Entries: []Entry{data(2, 2, "x"), data(3, 2, "y")}, Commit: 3}})
	m.syncOne(b.world) // the old write: 2, 3, 4 of term 1 are on the disk
	b.pass(m)
	if d := m.node.log.durable; d != 1 {
		t.Fatalf("durable up to %d by an acknowledgement of what was overwritten", d)
	}
	for _, p := range b.net {
		if a, ok := p.message.(AppendAccepted); ok && a.Term == 2 {
			t.Fatalf("acknowledged %v before it is durable", p)
		}
	}
	if m.node.applied != 0 || m.node.applying > 1 {
		t.Fatal("applies what is not durable here")
	}
	b.drain()
	if m.node.log.durable != 3 || m.applied != 3 {
		t.Fatalf("durable %d, applied %d", m.node.log.durable, m.applied)
	}
}

func TestBug22AStalledDiskLosesTheOffice(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.lead(t)
	b.from(2, AppendAccepted{Term: 1, Match: 1})
	b.m.give(b.world, command(1)) // never synced
	end := b.now.Add(b.m.config.DiskStall)
	for b.now < end && b.m.node.role == Leader {
		b.now = min(b.m.node.Deadline(), end)
		b.m.inbox = append(b.m.inbox, Received{From: nid(2), Message: HeartbeatAck{Term: 1}})
		b.pass(b.m)
	}
	if b.m.node.role == Leader || b.now != end {
		t.Fatalf("%v at %d", b.m.node.role, b.now)
	}
}

// Lateness of a pass moves an election and a step-down deadline once, a heartbeat
// and the stalled disk's never (DESIGN 16).
func TestLatePassMovesOnlyWhatItMay(t *testing.T) {
	late := 100 * id.Millisecond
	b := newBench(t, 3, HardState{})
	b.now = b.m.node.Deadline().Add(late)
	b.drain()
	b.pass(b.m)
	if b.m.node.role != Follower || b.m.node.Deadline() != b.now.Add(late) {
		t.Fatalf("%v, next at %d after %d", b.m.node.role, b.m.node.Deadline(), b.now)
	}
	b.now = b.m.node.Deadline().Add(late)
	if b.pass(b.m); b.m.node.role != PreCandidate {
		t.Fatal("moved twice")
	}
	b.now = b.m.node.Deadline().Add(5 * id.Second)
	if b.pass(b.m); b.m.node.Deadline() != b.now.Add(b.m.config.ElectionMax) {
		t.Fatal("moved by more than an election timeout")
	}

	b = newBench(t, 3, HardState{})
	b.lead(t)
	b.now = b.m.node.heartbeatAt.Add(late)
	if sent := b.give(); count[Heartbeat](sent) != 2 {
		t.Fatalf("a late heartbeat leaves at once, sent %v", sent)
	}
	b.now = b.m.node.majority.at.Add(late)
	b.give()
	if b.m.node.role != Leader || b.m.node.majority.at != b.now.Add(late) {
		t.Fatalf("%v, without a majority until %d, now %d", b.m.node.role, b.m.node.majority.at, b.now)
	}
	b.now = b.m.node.majority.at
	if b.give(); b.m.node.role == Leader {
		t.Fatal("a leader without a majority stays")
	}

	b = newBench(t, 3, HardState{})
	b.lead(t)
	b.m.give(b.world, command(1)) // not synced
	b.now = b.now.Add(b.m.config.DiskStall + late)
	b.m.inbox = append(b.m.inbox, Received{From: nid(2), Message: HeartbeatAck{Term: 1}})
	if b.pass(b.m); b.m.node.role == Leader {
		t.Fatal("lateness saved a stalled disk")
	}
}

func TestAnIdlePassDoesNothing(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.lead(t)
	b.from(2, AppendAccepted{Term: 1, Match: 1})
	if out := b.m.node.Step(b.now, nil, nil); len(out) != 0 {
		t.Fatalf("%v", out)
	}
}

func TestBug23AFollowerWipedUnderItsId(t *testing.T) {
	w := cluster(t, 3)
	l := w.makeLeader(t, 1, nil)
	w.settle(nil)
	for i := 0; i < 5; i++ {
		l.give(w, command(i))
	}
	w.settle(nil)
	n3 := w.member(nid(3))
	n3.crash(w, 0)
	n3.image, n3.flushed = disk{start: LogStart{Config: voters(3)}}, 0
	if err := n3.start(w); err != nil {
		t.Fatal(err)
	}
	packets := 0
	w.advance(w.now.Add(id.Second), func(packet) bool { packets++; return false })
	if l.node.halted || n3.node.halted || l.node.role != Leader || packets > 1000 {
		t.Fatalf("leader %v (halted %v), wiped halted %v, %d packets in a second", l.node.role, l.node.halted, n3.node.halted, packets)
	}
	// What it lost counts as acknowledged by this leader still, and match does
	// not go back: that is why the host refuses a wiped directory (DESIGN 14).
	if p := l.node.peer(nid(3)); p.match != 6 {
		t.Fatalf("match %d", p.match)
	}
}

func TestBug24PagingSkipsNothingAndBytesReturnToZero(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.m.node.cfg.ApplyBytes, b.m.node.cfg.TailBytes, b.m.node.cfg.UncommittedBytes = 120, 150, 600
	b.lead(t)
	b.from(2, AppendAccepted{Term: 1, Match: 1})
	placed, refused := 0, 0
	for i := 0; i < 40; i++ {
		for _, e := range b.m.give(b.world, command(i)) {
			switch e := e.(type) {
			case Placed:
				placed++
			case Refused:
				refused++
				if e.Why != Overloaded {
					t.Fatalf("%v", e.Why)
				}
			}
		}
		b.drain()
	}
	if placed == 0 || refused == 0 || b.m.node.uncommitted() > 600 {
		t.Fatalf("%d placed, %d refused, %d bytes uncommitted", placed, refused, b.m.node.uncommitted())
	}
	// The oracle fails on a gap or a repetition in what is applied.
	b.from(2, AppendAccepted{Term: 1, Match: b.m.node.log.last})
	if b.m.node.uncommitted() != 0 || b.m.applied != b.m.node.log.last || b.oracle.violation != "" {
		t.Fatalf("%d bytes uncommitted, applied %d of %d; %s", b.m.node.uncommitted(), b.m.applied, b.m.node.log.last, b.oracle.violation)
	}
	// Deposed with entries uncommitted, and elected again: nothing is left over.
	b.give(command(100))
	b.from(3, Append{Term: 2, Prev: b.m.node.commit, PrevTerm: 1, Entries: []Entry{noop(b.m.node.commit+1, 2)}, Commit: b.m.node.commit + 1})
	if b.m.node.uncommitted() != 0 {
		t.Fatalf("%d bytes uncommitted after truncation", b.m.node.uncommitted())
	}
}

func TestBug25WhatIsInMemoryIsTruncatedWithTheLog(t *testing.T) {
	w := cluster(t, 3)
	l := w.makeLeader(t, 1, nil)
	w.settle(nil)
	for i := 0; i < 10; i++ {
		l.give(w, command(i))
	}
	w.settle(only(1)) // nobody has them
	next := w.makeLeader(t, 2, only(2, 3))
	next.give(w, command(100))
	w.settle(only(2, 3))
	w.advance(w.now.Add(id.Second), nil)
	// n1 leads again and replicates from its memory: n3 must get what was
	// written over, not what was there before.
	n3 := w.member(nid(3))
	n3.crash(w, 0)
	n3.image, n3.flushed = disk{start: LogStart{Config: voters(3)}}, 0
	w.leader().give(w, Transfer{To: nid(1)})
	w.settle(nil)
	if w.leader() != l {
		t.Fatal("n1 did not take over")
	}
	if err := n3.start(w); err != nil {
		t.Fatal(err)
	}
	w.advance(w.now.Add(id.Second), nil)
	if w.oracle.violation != "" || n3.applied != w.leader().node.log.last {
		t.Fatalf("n3 applied %d; %s", n3.applied, w.oracle.violation)
	}
}

func TestBug27HeartbeatsDoNotWaitForDataOrApply(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.lead(t)
	b.from(2, AppendAccepted{Term: 1, Match: 1})
	for i := 0; i < 100; i++ { // the window is full, the machine never answers
		b.m.give(b.world, command(i))
		b.m.sync(b.world)
		b.pass(b.m)
	}
	b.net = nil
	b.now = b.m.node.heartbeatAt
	b.pass(b.m)
	if count[Heartbeat](b.net) != 2 {
		t.Fatalf("sent %v", b.net)
	}
}

func TestBug30SnapshotsDoNotLoop(t *testing.T) {
	b := newBench(t, 3, HardState{})
	b.m.node.cfg.RetainBytes = 1
	b.lead(t)
	for i := 0; i < 5; i++ {
		b.give(command(i))
	}
	b.from(2, AppendAccepted{Term: 1, Match: 6})
	b.give(Flushed{Index: 6})
	sends := 0
	b.tell = func(_ *member, e Effect) {
		if _, ok := e.(SendSnapshot); ok {
			sends++
		}
	}
	fail := func(ok bool) {
		b.m.sendSnaps = nil
		b.m.give(b.world, SnapshotSent{To: nid(3), Index: 6, OK: ok})
	}
	b.m.give(b.world, Received{From: nid(3), Message: HeartbeatAck{Term: 1}}) // it is alive, and entry 1 is gone
	if sends != 1 {
		t.Fatalf("%d snapshots sent, want 1", sends)
	}
	fail(false)
	for i := 0; i < 20; i++ { // dead: no sign of life, no other snapshot
		b.now = b.m.node.heartbeatAt
		b.m.inbox = append(b.m.inbox, Received{From: nid(2), Message: HeartbeatAck{Term: 1}})
		b.pass(b.m)
	}
	if sends != 1 {
		t.Fatalf("%d snapshots to a dead follower, want 1", sends)
	}
	b.m.give(b.world, Received{From: nid(3), Message: HeartbeatAck{Term: 1}})
	if sends != 2 {
		t.Fatalf("%d snapshots after a sign of life, want 2", sends)
	}
	// It has more than the snapshot by another way: the snapshot is given up.
	b.m.give(b.world, Received{From: nid(3), Message: AppendAccepted{Term: 1, Match: 6}})
	if p := b.m.node.peer(nid(3)); p.state != Replicate || p.match != 6 {
		t.Fatalf("%v, match %d", p.state, p.match)
	}
	fail(true)
	if p := b.m.node.peer(nid(3)); p.state != Replicate || sends != 2 {
		t.Fatalf("%v after the end of a snapshot nobody needs, %d sent", p.state, sends)
	}
	// And one that is older than what a follower has is answered, not installed.
	f := newBench(t, 3, HardState{Term: 1, Commit: 3}, 1, 1, 1)
	if a := one[AppendAccepted](t, f.from(2, InstallSnapshot{Term: 1, Snapshot: SnapshotMeta{Index: 2, Term: 1, Config: voters(3)}})); a.Match != 3 {
		t.Fatalf("%+v", a)
	}
}

// Entries that were loaded are checked against the log as it is now: between the
// question and the answer it may have changed.
func TestLoadedEntriesMustBeThisLogs(t *testing.T) {
	terms := make([]id.Term, 20)
	for i := range terms {
		terms[i] = 1
	}
	b := newBench(t, 3, HardState{}, terms...)
	b.lead(t)
	find := func(out []Effect, is func(Effect) bool) bool {
		for _, e := range out {
			if is(e) {
				return true
			}
		}
		return false
	}
	loads := func(e Effect) bool {
		l, ok := e.(Load)
		return ok && l.For == ForPeer && l.Peer == nid(2) && l.From == 6
	}
	sends := func(e Effect) bool {
		s, ok := e.(Send)
		a, is := s.Message.(Append)
		return ok && is && s.To == nid(2) && a.Prev == 5 && len(a.Entries) == 2
	}
	out := b.m.give(b.world, Received{From: nid(2), Message: AppendAccepted{Term: 2, Match: 5}})
	if !find(out, loads) || find(out, sends) {
		t.Fatalf("entry 6 is not in memory: %v", out)
	}
	b.m.loads = nil
	out = b.m.give(b.world, Loaded{For: ForPeer, Peer: nid(2), From: 6, Entries: []Entry{data(6, 7, "of another log")}})
	if !find(out, loads) || find(out, sends) {
		t.Fatalf("entries of another log: %v", out)
	}
	b.m.loads = nil
	out = b.m.give(b.world, Loaded{For: ForPeer, Peer: nid(2), From: 6, Entries: []Entry{data(6, 1, "x"), data(7, 1, "y"), data(9, 1, "not next")}})
	if !find(out, sends) {
		t.Fatalf("two good entries are not sent: %v", out)
	}
	b.m.loads = nil
	out = b.m.give(b.world, Loaded{For: ForPeer, Peer: nid(2), From: 8, Gone: true})
	if !find(out, func(e Effect) bool { s, ok := e.(SendSnapshot); return ok && s.To == nid(2) }) {
		t.Fatalf("the log no longer has entry 8: %v", out)
	}
	// Nobody asked.
	if out = b.m.give(b.world, Loaded{For: ForPeer, Peer: nid(3), From: 1, Entries: []Entry{data(1, 1, "x")}}); len(out) != 0 {
		t.Fatalf("%v", out)
	}
}

func TestReadsAreBounded(t *testing.T) {
	for _, leads := range []bool{true, false} {
		b := newBench(t, 3, HardState{})
		b.m.node.cfg.Reads = 2
		if leads {
			b.lead(t)
		} else {
			b.from(2, Heartbeat{Term: 1})
		}
		refused := 0
		for _, e := range b.m.give(b.world, Read{ID: 1}, Read{ID: 2}, Read{ID: 3}) {
			if r, ok := e.(Refused); ok && r.IsRead && r.Read == 3 && r.Why == Overloaded {
				refused++
			}
		}
		if refused != 1 {
			t.Errorf("leads %v: the third read of two is not refused", leads)
		}
		if !leads { // the leader does not answer: refused, not forgotten
			out := []Effect(nil)
			for i := 0; i < 20 && len(out) < 2; i++ {
				b.now = b.m.node.Deadline()
				for _, e := range b.pass(b.m) {
					if r, ok := e.(Refused); ok && r.Why == OfficeUncertain {
						out = append(out, r)
					}
				}
			}
			if len(out) != 2 {
				t.Errorf("%d of 2 unanswered reads were refused", len(out))
			}
		}
	}
}
