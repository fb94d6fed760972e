package eureka

import (
	"fmt"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// machine is one life of a server, and of the instances on its host.
type machine struct {
	c lab.Config
	timers
	peers []lab.Node

	leases     []*lease // the registry, by name
	expected   int      // instances that should renew (R5)
	renewals   int      // in this minute
	lastMinute int      // in the last full one
	preserving bool
	kept       int      // leases that have expired and stay, at the last sweep
	changes    []change // of the last three minutes

	host    []instance // what runs here, by name
	cache   []instance // what it fetched, by name
	fetched bool

	beatAt, minuteAt, copyAt id.Time
	copies                   int // tries of R8

	log *lab.Log
}

func newMachine(c lab.Config) *machine {
	const s = id.Second
	m := &machine{c: c, peers: c.Peers(), log: lab.NewLog(), copyAt: id.Never}
	m.timers = timers{
		renew: c.Settings.Duration("renew", 30*s, s, 600*s),
		lease: c.Settings.Duration("lease", 90*s, s, 3600*s),
		sweep: c.Settings.Duration("sweep", 60*s, s, 3600*s),
		keep:  c.Settings.Duration("delta-retention", 180*s, s, 3600*s),
		retry: c.Settings.Duration("copy-retry", 30*s, s, 3600*s),
		tries: int(c.Settings.Int("copy-tries", 5, 0, 100)),
	}
	return m
}

// Step takes one event.
func (m *machine) Step(t *lab.Turn, e lab.Event) {
	switch e := e.(type) {
	case lab.Started:
		m.restore(e.Files["host"])
		m.beatAt = t.Now.Add(m.c.Dice.Duration(id.Second, m.timers.renew))
		m.minuteAt = t.Now.Add(m.sweep)
		if !m.c.Broken(noBootCopy) {
			m.copy(t)
		}
	case lab.Received:
		m.receive(t, e.From, e.Message)
	case lab.Due:
		m.due(t)
	case lab.Asked:
		m.answer(t, e.Request)
	}
}

func (m *machine) Deadline() id.Time { return min(m.beatAt, m.minuteAt, m.copyAt) }

func (m *machine) View() lab.View { return lab.View{Role: "server", Log: m.log} }

func (m *machine) Details() []trace.Field {
	preserving := 0
	if m.preserving {
		preserving = 1
	}
	return fields("instances", len(m.leases), "renewals", m.lastMinute, "threshold", m.threshold(), "preserving", preserving, "here", len(m.host))
}

// fields makes fields of names and numbers in turn.
func fields(pairs ...any) []trace.Field {
	var list []trace.Field
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, trace.Num(pairs[i].(string), uint64(pairs[i+1].(int))))
	}
	return list
}

// due does what is due. A server that slept does each thing once and goes on.
func (m *machine) due(t *lab.Turn) {
	if t.Now >= m.copyAt {
		m.copy(t)
	}
	if t.Now >= m.beatAt {
		m.beatAt = t.Now.Add(m.timers.renew)
		m.beat(t)
	}
	if t.Now >= m.minuteAt {
		m.minuteAt = t.Now.Add(m.sweep)
		m.minute(t)
	}
}

// copy asks the next peer for its registry (R8).
func (m *machine) copy(t *lab.Turn) {
	m.copyAt = id.Never
	if m.copies >= m.tries || len(m.peers) == 0 {
		return
	}
	first := 0
	for first < len(m.peers) && m.peers[first] < m.c.Self {
		first++
	}
	t.Send(m.peers[(first+m.copies)%len(m.peers)], fetch{})
	m.copies++
	m.copyAt = t.Now.Add(m.retry)
}

// push sends the same to every peer, once (R1).
func (m *machine) push(t *lab.Turn, b lab.Body) {
	if m.c.Broken(noReplication) {
		return
	}
	for _, p := range m.peers {
		t.Send(p, b)
	}
}

func (m *machine) pushRegister(t *lab.Turn, list []instance) {
	for _, batch := range batches(list) {
		m.push(t, register{batch})
	}
}

// receive handles what peers push and answer. None of it is pushed on.
func (m *machine) receive(t *lab.Turn, from lab.Node, b lab.Body) {
	switch b := b.(type) {
	case register:
		for _, i := range b.instances {
			m.register(t, i)
		}
	case renew:
		unknown, newer := m.renew(t, b.instances, true)
		if len(unknown) > 0 {
			var names []string
			for _, i := range unknown {
				names = append(names, i.name)
			}
			t.Send(from, notFound{names})
		}
		if len(newer) > 0 {
			t.Send(from, conflict{newer})
		}
	case cancel:
		m.cancel(t, b)
	case notFound:
		m.registerAt(t, from, b.names)
	case conflict:
		t.Rule("R2", fmt.Sprintf("n%d knows newer stamps of %s", from, count(len(b.instances), "instance", "instances")))
		for _, i := range b.instances {
			m.register(t, i)
		}
	case fetch:
		t.Send(from, registry{m.served()})
	case registry:
		m.copied(t, from, b.instances)
	}
}

// registerAt tells a peer about instances whose renewal it could not place (R3).
func (m *machine) registerAt(t *lab.Turn, peer lab.Node, names []string) {
	if m.c.Broken(forgetUnknown) {
		return
	}
	var list []instance
	for _, name := range names {
		if at, found := m.find(name); found {
			list = append(list, m.leases[at].instance)
		}
	}
	if len(list) == 0 {
		return
	}
	t.Rule("R3", fmt.Sprintf("404: n%d does not know %s: registered there", peer, some(list)))
	for _, batch := range batches(list) {
		t.Send(peer, register{batch})
	}
}

// copied ends R8, unless the peer knew nobody: then another try comes.
func (m *machine) copied(t *lab.Turn, from lab.Node, list []instance) {
	if len(list) == 0 {
		return
	}
	m.copyAt = id.Never
	fresh := 0
	for _, i := range list {
		if _, found := m.find(i.name); !found {
			m.register(t, i)
			fresh++
		}
	}
	if fresh > 0 {
		t.Rule("R8", fmt.Sprintf("%s copied from n%d", count(fresh, "instance", "instances"), from))
	}
}

// cancel takes an instance out and notes the operation.
func (m *machine) cancel(t *lab.Turn, c cancel) bool {
	_, found := m.remove(t, c.name)
	if found {
		m.applied(c.op, c.client)
	}
	return found
}

// answer is a client's request. Every server answers.
func (m *machine) answer(t *lab.Turn, r lab.Request) {
	name := fmt.Sprintf("w%d", r.Op)
	switch r.Verb {
	case "read":
		t.Serve(r, m.log.Len())
		return
	case "fetch":
		t.Tell(r, shown(m.served()))
		return
	case "cached":
		t.Tell(r, shown(m.cache))
		return
	case "write":
	case "register", "cancel", "kill":
		if len(r.Args) != 1 {
			t.Refuse(r, 0, fmt.Sprintf("%s needs one instance, as in: do 5s n1 %s web", r.Verb, r.Verb))
			return
		}
		name = r.Args[0]
	default:
		t.Refuse(r, 0, fmt.Sprintf("eureka knows no %q; it knows write, read, register, cancel, kill, fetch, cached", r.Verb))
		return
	}
	switch r.Verb {
	case "cancel":
		m.undeploy(t, name)
		c := cancel{name, r.Op, r.Client}
		if !m.cancel(t, c) {
			t.Refuse(r, 0, "R3 404: no instance is called "+name)
			return
		}
		t.Rule("R1", name+" is cancelled here, then at the peers")
		t.Tell(r, "cancelled")
		m.push(t, c)
	case "kill":
		if !m.undeploy(t, name) {
			t.Refuse(r, 0, "this host runs no "+name)
			return
		}
		t.Tell(r, "killed")
	default:
		m.take(t, r, name)
	}
}

// take registers a new instance of this host.
func (m *machine) take(t *lab.Turn, r lab.Request, name string) {
	if len(m.host) >= hostMax {
		t.Refuse(r, 0, fmt.Sprintf("this host runs %d instances already", hostMax))
		return
	}
	i := instance{name: name, host: m.c.Self, dirty: t.Wall, op: r.Op, client: r.Client}
	m.deploy(t, i)
	m.register(t, i)
	if r.Verb == "write" {
		t.Accept(r)
	} else {
		t.Rule("R1", name+" is registered here, then at the peers")
		t.Tell(r, "registered")
	}
	m.push(t, register{[]instance{i}})
}
