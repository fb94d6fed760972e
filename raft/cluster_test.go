package raft

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
)

// A little world for tests: members with a disk whose durability is under
// control, a network whose packets are, and virtual time. Stories drive it by
// hand, the property test by a random stream; the checkers (oracle_test.go) look
// at every effect.

func nid(n int) id.NodeID { return id.NodeID{Node: uint64(n)} }

// disk is a member's disk: image is what a crash leaves, view what was written.
type disk struct {
	hard    HardState
	start   LogStart
	entries []Entry
}

func (d *disk) last() id.Index { return d.start.Index + id.Index(len(d.entries)) }

func (d *disk) write(p Persist) {
	d.hard = p.Hard
	if len(p.Entries) == 0 {
		return
	}
	keep := int(p.Entries[0].Index - d.start.Index - 1)
	d.entries = append(d.entries[:keep:keep], p.Entries...)
}

func (d *disk) cut(s LogStart) {
	if s.Index <= d.start.Index {
		return
	}
	d.entries = slices.Clone(d.entries[s.Index-d.start.Index:])
	d.start = s
}

func (d *disk) reset(i Install) {
	d.hard = i.Hard
	d.start = LogStart{Index: i.Snapshot.Index, Term: i.Snapshot.Term, Config: i.Snapshot.Config}
	d.entries = nil
}

func (d *disk) clone() disk {
	c := *d
	c.entries = slices.Clone(d.entries)
	return c
}

// restored is what wal and the machine would hand to New.
func (d *disk) restored(applied id.Index, tail int) Restored {
	r := Restored{Hard: d.hard, Start: d.start, Last: d.last(), Applied: applied}
	t := d.start.Term
	for i, e := range d.entries {
		if e.Term != t || i == 0 {
			r.Terms = append(r.Terms, TermRun{First: e.Index, Term: e.Term})
			t = e.Term
		}
		if e.Kind == EntryConfig {
			r.Configs = append(r.Configs, ConfigAt{Index: e.Index, Config: *e.Config})
		}
	}
	if tail > len(d.entries) {
		tail = len(d.entries)
	}
	r.Tail = slices.Clone(d.entries[len(d.entries)-tail:])
	return r
}

// write is one write in flight.
type write struct {
	token   id.Token
	persist *Persist
	install *Install
	cut     *LogStart
}

type packet struct {
	from, to id.NodeID
	message  Message
	seq      int
}

func (p packet) String() string {
	return fmt.Sprintf("%v→%v %s", p.from, p.to, messageText(p.message))
}

// member is one node with everything around it.
type member struct {
	id        id.NodeID
	config    Config
	node      *Node
	up        bool
	image     disk
	view      disk
	writes    []write
	durable   id.Token
	held      []Send
	inbox     []Event
	applies   []Apply // in flight: at most one
	applied   id.Index
	flushed   id.Index
	sendSnaps []SendSnapshot
	loads     []Load
	reads     []string
	log       []string // effects worth telling, for stories
	lives     int
}

type world struct {
	now     id.Time
	members []*member
	net     []packet
	seq     int
	passes  int
	oracle  *oracle
	tell    func(m *member, e Effect)
}

func newWorld() *world {
	w := &world{}
	w.oracle = newOracle(w)
	return w
}

func (w *world) member(n id.NodeID) *member {
	for _, m := range w.members {
		if m.id == n {
			return m
		}
	}
	return nil
}

func voters(n int) membership.Config {
	var ms []membership.Member
	for i := 1; i <= n; i++ {
		ms = append(ms, membership.Member{ID: nid(i), Role: membership.Voter, Name: fmt.Sprintf("n%d", i)})
	}
	c, err := membership.Bootstrap(ms)
	if err != nil {
		panic(err)
	}
	return c
}

// add makes a member with a given disk; it is not started.
func (w *world) add(c Config, d disk) *member {
	m := &member{id: c.Self, config: c, image: d, view: d.clone()}
	m.applied, m.flushed = d.start.Index, d.start.Index
	w.members = append(w.members, m)
	slices.SortFunc(w.members, func(a, b *member) int { return a.id.Compare(b.id) })
	return m
}

func (m *member) start(w *world) error {
	m.lives++
	m.config.Seed = m.id.Node*1000 + uint64(m.lives)
	m.view = m.image.clone()
	m.applied = max(m.flushed, m.image.start.Index)
	n, err := New(m.config, m.image.restored(m.applied, 8))
	if err != nil {
		return err
	}
	m.node, m.up = n, true
	m.writes, m.held, m.inbox, m.applies, m.sendSnaps, m.loads = nil, nil, nil, nil, nil, nil
	m.durable = 0
	w.pass(m)
	return nil
}

// crash loses everything volatile; keep is how many writes in flight survive.
func (m *member) crash(w *world, keep int) {
	for i := 0; i < keep && i < len(m.writes); i++ {
		m.land(m.writes[i])
	}
	m.up, m.node = false, nil
	m.writes, m.held = nil, nil
	w.oracle.crashed(m)
}

func (m *member) land(x write) {
	switch {
	case x.persist != nil:
		m.image.write(*x.persist)
	case x.install != nil:
		m.image.reset(*x.install)
		m.flushed = x.install.Snapshot.Index
	case x.cut != nil:
		m.image.cut(*x.cut)
	}
}

// sync makes everything written durable and tells the node.
func (m *member) sync(w *world) {
	for len(m.writes) > 0 {
		m.syncOne(w)
	}
}

func (m *member) syncOne(w *world) {
	x := m.writes[0]
	m.writes = m.writes[1:]
	m.land(x)
	switch {
	case x.persist != nil:
		m.inbox = append(m.inbox, Persisted{Token: x.token})
	case x.install != nil:
		m.applied = x.install.Snapshot.Index
		m.inbox = append(m.inbox, Installed{Token: x.token})
		w.oracle.installed(m, x.install.Snapshot)
	default:
		return
	}
	m.durable = x.token
	m.release(w)
}

// release sends what was held back.
func (m *member) release(w *world) {
	k := 0
	for _, s := range m.held {
		if s.After > m.durable {
			m.held[k] = s
			k++
			continue
		}
		w.transmit(m, s)
	}
	m.held = m.held[:k]
}

func (w *world) transmit(m *member, s Send) {
	w.oracle.sent(m, s)
	w.seq++
	w.net = append(w.net, packet{from: m.id, to: s.To, message: s.Message, seq: w.seq})
}

// pass runs Step on what is in the inbox and takes the effects.
func (w *world) pass(m *member) []Effect {
	if !m.up {
		return nil
	}
	in := m.inbox
	m.inbox = nil
	var twin *Node
	if w.passes++; w.passes%20 == 0 { // a node is a value: a copy does the same
		twin = m.node.Clone()
	}
	out := m.node.Step(w.now, in, nil)
	if twin != nil {
		if again := twin.Step(w.now, in, nil); !sameEffects(out, again) {
			w.oracle.fail("%v and its clone differ: %v and %v", m.id, out, again)
		}
	}
	for i, e := range out {
		w.oracle.effect(m, i, e)
		if w.tell != nil {
			w.tell(m, e)
		}
		w.execute(m, e)
	}
	w.oracle.after(m)
	return out
}

func (w *world) execute(m *member, e Effect) {
	switch e := e.(type) {
	case Persist:
		m.view.write(e)
		m.writes = append(m.writes, write{token: e.Token, persist: &e})
	case Send:
		if e.After > m.durable {
			m.held = append(m.held, e)
		} else {
			w.transmit(m, e)
		}
	case Apply:
		m.applies = append(m.applies, e)
	case Load:
		m.loads = append(m.loads, e)
	case SendSnapshot:
		m.sendSnaps = append(m.sendSnaps, e)
	case Install:
		m.view.reset(e)
		m.writes = append(m.writes, write{token: e.Token, install: &e})
	case Cut:
		m.view.cut(e.Start)
		m.writes = append(m.writes, write{cut: &e.Start})
	case Halt:
		m.up = false
	}
}

// work does what the machine, the log reader and the snapshot sender owe.
func (m *member) work(w *world) bool {
	did := len(m.applies)+len(m.loads)+len(m.sendSnaps) > 0
	for _, a := range m.applies {
		for _, e := range a.Entries {
			w.oracle.apply(m, e)
			m.applied = e.Index
		}
		m.inbox = append(m.inbox, Applied{Index: m.applied})
	}
	m.applies = nil
	for _, l := range m.loads {
		m.inbox = append(m.inbox, m.load(l))
	}
	m.loads = nil
	for _, s := range m.sendSnaps {
		meta := w.oracle.snapshotAt(m, m.applied)
		w.seq++
		w.net = append(w.net, packet{from: m.id, to: s.To, message: InstallSnapshot{Term: s.Term, Snapshot: meta}, seq: w.seq})
		m.inbox = append(m.inbox, SnapshotSent{To: s.To, Index: meta.Index, OK: true})
	}
	m.sendSnaps = nil
	return did
}

func (m *member) load(l Load) Loaded {
	a := Loaded{For: l.For, Peer: l.Peer, From: l.From}
	if l.From <= m.view.start.Index || l.From > m.view.last() {
		a.Gone = true
		return a
	}
	size := 0
	for i := l.From; i < l.To && i <= m.view.last(); i++ {
		e := m.view.entries[i-m.view.start.Index-1]
		if size += e.Bytes(); size > l.LimitBytes && len(a.Entries) > 0 {
			break
		}
		a.Entries = append(a.Entries, e)
	}
	return a
}

// settle runs everything to quiet without moving time: all writes durable, all
// packets delivered in order, but for those that drop says.
func (w *world) settle(drop func(packet) bool) {
	for round := 0; ; round++ {
		if round > 10_000 {
			panic("the world does not come to rest")
		}
		busy := false
		for _, m := range w.members {
			if !m.up {
				continue
			}
			if len(m.writes) > 0 {
				m.sync(w)
				busy = true
			}
			if m.work(w) {
				busy = true
			}
			if len(m.inbox) > 0 {
				w.pass(m)
				busy = true
			}
		}
		net := w.net
		w.net = nil
		for _, p := range net {
			to := w.member(p.to)
			if to == nil || !to.up || drop != nil && drop(p) {
				continue
			}
			to.inbox = append(to.inbox, Received{From: p.from, Message: p.message})
			w.pass(to)
			busy = true
		}
		if !busy {
			return
		}
	}
}

// advance moves time to the next deadline and fires it, until t.
func (w *world) advance(t id.Time, drop func(packet) bool) {
	for {
		next := t
		var who *member
		for _, m := range w.members {
			if m.up {
				if d := m.node.Deadline(); d <= next && (who == nil || d < next) {
					next, who = d, m
				}
			}
		}
		if who == nil {
			w.now = t
			return
		}
		w.now = max(w.now, next)
		w.pass(who)
		w.settle(drop)
	}
}

func testConfig(self id.NodeID, f ...faults.Switch) Config {
	set, err := faults.New(f...)
	if err != nil {
		panic(err)
	}
	return Config{Group: 1, Self: self, Faults: set}.WithDefaults()
}

// cluster starts n voters.
func cluster(t testing.TB, n int, f ...faults.Switch) *world {
	t.Helper()
	w := newWorld()
	for i := 1; i <= n; i++ {
		w.add(testConfig(nid(i), f...), disk{start: LogStart{Config: voters(n)}})
	}
	for _, m := range w.members {
		if err := m.start(w); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) leader() *member {
	var l *member
	for _, m := range w.members {
		if m.up && m.node.role == Leader && (l == nil || m.node.term > l.node.term) {
			l = m
		}
	}
	return l
}

func (w *world) elect(t testing.TB) *member {
	t.Helper()
	for i := 0; i < 20; i++ {
		if l := w.leader(); l != nil {
			return l
		}
		w.advance(w.now.Add(100*id.Millisecond), nil)
	}
	t.Fatal("no leader within two seconds")
	return nil
}

func (m *member) give(w *world, in ...Event) []Effect {
	m.inbox = append(m.inbox, in...)
	return w.pass(m)
}

func command(n int) Propose {
	return Propose{Proposals: []Proposal{{ID: ProposalID{Origin: nid(9), Sequence: uint64(n)}, Data: []byte(fmt.Sprintf("c%d", n))}}}
}

// sameEffects compares all but the text of a Halt's error.
func sameEffects(a, b []Effect) bool {
	return slices.EqualFunc(a, b, func(x, y Effect) bool {
		if _, ok := x.(Halt); ok {
			_, ok = y.(Halt)
			return ok
		}
		return reflect.DeepEqual(x, y)
	})
}
