package mongo

import (
	"strconv"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// waiter is a write whose write concern is not yet satisfied.
type waiter struct {
	request lab.Request
	at      opTime
}

// serve answers a client: only a primary does.
func (m *member) serve(t *lab.Turn, r lab.Request) {
	if r.Verb != "write" && r.Verb != "read" {
		if !m.v.request(t, r) {
			t.Refuse(r, 0, "unknown verb "+r.Verb)
		}
		return
	}
	if m.state != statePrimary {
		hint := m.primary
		if hint == m.c.Self {
			hint = 0
		}
		t.Refuse(r, hint, m.excuse())
		return
	}
	if r.Verb == "read" {
		if m.settings.committed {
			t.Serve(r, m.oplog.log.Decided())
		} else {
			t.Serve(r, m.oplog.log.Len())
		}
		return
	}
	if len(m.waiters) >= waitersMax {
		t.Refuse(r, m.c.Self, strconv.Itoa(waitersMax)+" writes already wait for a majority")
		return
	}
	at := m.stamp(t)
	m.insert(t, lab.Entry{Op: r.Op, Epoch: m.term, Client: r.Client}, at)
	if !m.settings.majority {
		t.Accept(r)
		return
	}
	m.waiters = append(m.waiters, waiter{r, at})
}

// excuse is why a member that is not primary refuses a client.
func (m *member) excuse() string {
	if m.state == stateCatchUp {
		return m.rule(ruleCatchUp) + " elected, but still catching up"
	}
	if m.primary != 0 && m.primary != m.c.Self {
		return m.rule(ruleStand) + " not the primary; I take n" + digit(m.primary) + " for it"
	}
	return m.rule(ruleStand) + " not the primary, and I know of none"
}

// stamp is the opTime of the next entry: the wall clock, but never backwards.
func (m *member) stamp(t *lab.Turn) opTime {
	clock := t.Wall
	if m.c.Broken(TrueClock) {
		clock = t.Now
	}
	return opTime{Term: m.term, Stamp: max(uint64(max(clock, 1)), m.oplog.last().Stamp+1)}
}

// insert is a primary's own entry. Where a majority must have journaled it, or the
// acknowledgement says so, the fsync is asked for at once; else with the others of
// the next 100 ms.
func (m *member) insert(t *lab.Turn, e lab.Entry, at opTime) {
	m.oplog.append(t, e, at)
	m.journal(t, m.settings.journaled && m.settings.majority)
	m.v.advanced(t)
}

// journal asks for an fsync now, or with the next beat of 100 ms if nobody waits.
func (m *member) journal(t *lab.Turn, now bool) {
	switch {
	case now:
		m.oplog.sync(t)
	case m.flushAt == id.Never:
		m.flushAt = t.Now.Add(journalEvery - id.Duration(int64(t.Now)+int64(m.phase))%journalEvery)
	}
}

// flush writes the journal for those who did not wait for it.
func (m *member) flush(t *lab.Turn) {
	if m.flushAt <= t.Now {
		m.flushAt = id.Never
		m.oplog.sync(t)
	}
}

// satisfy answers the writes that a majority has, up to an opTime.
func (m *member) satisfy(t *lab.Turn, upTo opTime) {
	for len(m.waiters) > 0 && !upTo.before(m.waiters[0].at) {
		t.Accept(m.waiters[0].request)
		m.waiters = m.waiters[1:]
	}
}

// abandon ends the waiting: the writes are in the log, and the next primary
// decides what becomes of them.
func (m *member) abandon(t *lab.Turn) {
	for _, w := range m.waiters {
		t.Fail(w.request, "the primary stepped down while a majority was awaited")
	}
	m.waiters = nil
}

// majority is the newest opTime that a majority has, itself included: in memory,
// or on disk if only that counts.
func (m *member) majority() opTime {
	have := make([]opTime, 0, 9)
	if m.settings.journaled {
		have = append(have, m.journaled())
	} else {
		have = append(have, m.oplog.last())
	}
	for _, p := range m.peers {
		if m.settings.journaled {
			have = append(have, p.durable)
		} else {
			have = append(have, p.acked)
		}
	}
	// The Q-th newest: insertion sort of at most nine.
	for i := 1; i < len(have); i++ {
		for j := i; j > 0 && have[j-1].before(have[j]); j-- {
			have[j-1], have[j] = have[j], have[j-1]
		}
	}
	return have[m.c.Quorum()-1]
}

func digit(n uint64) string { return strconv.FormatUint(n, 10) }

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
