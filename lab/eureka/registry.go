package eureka

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// lease is a registered instance and since when it counts.
type lease struct {
	instance
	updated id.Time // the start of its 90 s; a renewal puts it into the future (R4)
}

// change is what a delta is made of.
type change struct {
	at       id.Time
	deleted  bool
	instance instance
}

// find returns where a name is, or belongs.
func (m *machine) find(name string) (int, bool) {
	return slices.BinarySearchFunc(m.leases, name, func(l *lease, name string) int { return strings.Compare(l.name, name) })
}

// register puts an instance in, with a new lease (R2).
func (m *machine) register(t *lab.Turn, i instance) {
	at, found := m.find(i.name)
	if !found {
		m.leases = slices.Insert(m.leases, at, &lease{instance: i, updated: t.Now})
		m.expected++
		m.applied(i.op, i.client)
	} else {
		l := m.leases[at]
		l.updated = t.Now
		if l.dirty > i.dirty && !m.c.Broken(believeOldStamps) {
			t.Rule("R2", fmt.Sprintf("%s was registered with a newer stamp already: the older one loses", i.name))
			return
		}
		if l.op != i.op {
			m.applied(i.op, i.client)
		}
		l.instance = i
	}
	m.changed(t, false, i)
}

// renew renews what is known and tells what is not, and of what it knows newer.
func (m *machine) renew(t *lab.Turn, list []instance, pushed bool) (unknown []instance, newer []instance) {
	for _, i := range list {
		at, found := m.find(i.name)
		if !found || pushed && m.leases[at].dirty < i.dirty {
			unknown = append(unknown, i)
			continue
		}
		l := m.leases[at]
		if pushed && l.dirty > i.dirty && !m.c.Broken(believeOldStamps) {
			newer = append(newer, l.instance)
		}
		l.updated = t.Now
		if !m.c.Broken(leaseAsWritten) {
			l.updated = t.Now.Add(m.lease)
		}
		m.renewals++
	}
	return unknown, newer
}

// remove takes an instance out.
func (m *machine) remove(t *lab.Turn, name string) (instance, bool) {
	at, found := m.find(name)
	if !found {
		return instance{}, false
	}
	i := m.leases[at].instance
	m.leases = slices.Delete(m.leases, at, at+1)
	m.expected--
	m.changed(t, true, i)
	return i, true
}

func (m *machine) changed(t *lab.Turn, deleted bool, i instance) {
	if len(m.changes) >= changeMax {
		m.changes = append([]change(nil), m.changes[changeMax/2:]...)
	}
	m.changes = append(m.changes, change{t.Now, deleted, i})
}

// applied notes an operation in the order in which it came here. Nothing decides it.
func (m *machine) applied(op uint64, client lab.Node) {
	m.log.Append(lab.Entry{Op: op, Client: client})
}

// withdrawn takes operations out of the log, wherever they stand.
func (m *machine) withdrawn(ops []uint64) {
	slices.Sort(ops)
	keep := m.log.From(0)
	keep = slices.DeleteFunc(keep, func(e lab.Entry) bool {
		_, found := slices.BinarySearch(ops, e.Op)
		return found
	})
	m.log.Replace(keep)
}

// threshold is how many renewals a minute must exceed (R5): 85 % of two for each
// instance.
func (m *machine) threshold() int { return m.expected * 2 * 85 / 100 }

// preserves is R5.
func (m *machine) preserves() bool {
	return !m.c.Broken(noSelfPreservation) && m.lastMinute <= m.threshold()
}

// minute ends the minute over which renewals are counted, and sweeps.
func (m *machine) minute(t *lab.Turn) {
	m.lastMinute, m.renewals = m.renewals, 0
	if was := m.preserving; len(m.leases) > 0 && m.preserves() != was {
		m.preserving = !was
		if m.preserving {
			t.Rule("R5", fmt.Sprintf("%d renewals in a minute are not more than %d: nothing expires any more", m.lastMinute, m.threshold()))
		} else {
			t.Rule("R5", fmt.Sprintf("%d renewals in a minute are more than %d: leases expire again", m.lastMinute, m.threshold()))
		}
	}
	m.evict(t)
}

// evict is the sweep (R4, R5, R6).
func (m *machine) evict(t *lab.Turn) {
	var expired []uint64 // positions
	for at, l := range m.leases {
		if t.Now > l.updated.Add(m.lease) {
			expired = append(expired, uint64(at))
		}
	}
	if len(expired) == 0 {
		m.kept = 0
		return
	}
	if m.preserves() {
		if len(expired) != m.kept {
			t.Rule("R5", fmt.Sprintf("%s expired and stay: %d renewals are not more than %d", count(len(expired), "lease has", "leases have"), m.lastMinute, m.threshold()))
		}
		m.kept = len(expired)
		return
	}
	size := len(m.leases)
	if limit := size - size*85/100; len(expired) > limit && !m.c.Broken(evictAll) {
		t.Rule("R6", fmt.Sprintf("%d of %d have expired: at most %d go in one sweep", len(expired), size, limit))
		m.c.Dice.Shuffle(expired)
		expired = expired[:limit]
	}
	var ops []uint64
	var names []string
	for _, at := range expired {
		ops = append(ops, m.leases[at].op)
		names = append(names, m.leases[at].name)
	}
	slices.Sort(names)
	for _, name := range names {
		m.remove(t, name)
	}
	t.Rule("R4", fmt.Sprintf("not renewed for too long: %s evicted", few(names)))
	m.withdrawn(ops)
}

// count says how many of something there are.
func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// few names some, and counts the rest.
func few(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// served is what a consumer gets that fetches everything.
func (m *machine) served() []instance {
	list := make([]instance, len(m.leases))
	for i, l := range m.leases {
		list[i] = l.instance
	}
	return list
}
