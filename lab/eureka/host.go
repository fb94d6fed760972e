package eureka

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quorate/quorate/lab"
)

// deployed returns where an instance is among those of this host, or belongs.
func (m *machine) deployed(name string) (int, bool) {
	return slices.BinarySearchFunc(m.host, name, func(i instance, name string) int { return strings.Compare(i.name, name) })
}

// deploy starts an instance on this host.
func (m *machine) deploy(t *lab.Turn, i instance) {
	m.runs(i)
	t.Persist(lab.HostFile, runs{i})
}

func (m *machine) runs(i instance) {
	if at, found := m.deployed(i.name); found {
		m.host[at] = i
	} else {
		m.host = slices.Insert(m.host, at, i)
	}
}

// undeploy ends an instance; false: this host does not run it.
func (m *machine) undeploy(t *lab.Turn, name string) bool {
	at, found := m.deployed(name)
	if found {
		m.host = slices.Delete(m.host, at, at+1)
		t.Persist(lab.HostFile, stops{name})
	}
	return found
}

// restore reads what the host runs.
func (m *machine) restore(records []lab.Body) {
	for _, b := range records {
		switch b := b.(type) {
		case runs:
			m.runs(b.instance)
		case stops:
			if at, found := m.deployed(b.name); found {
				m.host = slices.Delete(m.host, at, at+1)
			}
		}
	}
}

// beat is the 30 s of the instances here: they renew at their server, which pushes
// (R1), register again what it does not know (R3), and fetch (R7).
func (m *machine) beat(t *lab.Turn) {
	if len(m.host) > 0 {
		unknown, _ := m.renew(t, m.host, false)
		again := map[string]bool{} // only looked up
		for _, i := range unknown {
			again[i.name] = true
		}
		if len(unknown) > 0 && !m.c.Broken(forgetUnknown) {
			t.Rule("R3", "404: "+some(unknown)+" registered again")
			for _, i := range unknown {
				m.register(t, i)
			}
			m.pushRegister(t, unknown)
		}
		var known []instance
		for _, i := range m.host {
			if !again[i.name] {
				known = append(known, i)
			}
		}
		for _, batch := range batches(known) {
			m.push(t, renew{batch})
		}
	}
	m.fetch(t)
}

// batches cuts a list into messages.
func batches(list []instance) [][]instance {
	return slices.Collect(slices.Chunk(list, batchMax))
}

// fetch is what the instances of this host do as consumers: the changes, and
// everything if these do not come to what the server has (R7).
func (m *machine) fetch(t *lab.Turn) {
	for len(m.changes) > 0 && t.Now >= m.changes[0].at.Add(m.keep) {
		m.changes = m.changes[1:]
	}
	if m.fetched {
		for _, c := range m.changes {
			at, found := slices.BinarySearchFunc(m.cache, c.instance.name, func(i instance, name string) int { return strings.Compare(i.name, name) })
			switch {
			case c.deleted && found:
				m.cache = slices.Delete(m.cache, at, at+1)
			case !c.deleted && found:
				m.cache[at] = c.instance
			case !c.deleted:
				m.cache = slices.Insert(m.cache, at, c.instance)
			}
		}
		if len(m.cache) == len(m.leases) || m.c.Broken(noHash) {
			return
		}
		t.Rule("R7", fmt.Sprintf("the changes come to UP_%d_, the server has UP_%d_: everything is fetched", len(m.cache), len(m.leases)))
	}
	m.cache, m.fetched = m.served(), true
}

// some names some of a list.
func some(list []instance) string {
	var names []string
	for _, i := range list {
		names = append(names, i.name)
	}
	return few(names)
}

// shown is a list for people: web@n1 db@n3.
func shown(list []instance) string {
	var words []string
	for _, i := range list {
		words = append(words, fmt.Sprintf("%s@n%d", i.name, i.host))
	}
	if words == nil {
		return "nothing"
	}
	return strings.Join(words, " ")
}
