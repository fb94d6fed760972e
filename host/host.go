package host

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/wire"
)

// Config is how one host behaves.
type Config struct {
	Self id.NodeID
	// Boot differs at every start of the same node: it keeps proposals of an
	// earlier life of the process from being taken for those of this one. It must
	// be below 2^24; host/exec counts it in the data directory.
	Boot uint32

	ClientsMax      int // waiting clients per group; beyond, Overloaded. 200,000
	ParkedBytes     int // proposals that wait for a leader, per group; beyond, Overloaded. 16 MiB
	SnapshotEntries int // an in-memory machine is snapshotted after so many applied entries. 100,000
	SnapshotBytes   int // … or so many bytes of them, whatever comes first. 64 MiB

	Faults *faults.Set // nil outside the simulator, lab and stories
}

// WithDefaults returns a copy in which every zero field has its default.
func (c Config) WithDefaults() Config {
	num := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	num(&c.ClientsMax, 200_000)
	num(&c.ParkedBytes, 16<<20)
	num(&c.SnapshotEntries, 100_000)
	num(&c.SnapshotBytes, 64<<20)
	return c
}

// Validate judges a Config that has its defaults.
func (c Config) Validate() error {
	if c.Self == id.None {
		return fmt.Errorf("host: Config.Self is empty; give the node its id")
	}
	if c.Boot >= 1<<bootBits {
		return fmt.Errorf("host: Config.Boot is %d; it must be below %d", c.Boot, 1<<bootBits)
	}
	for _, v := range []int{c.ClientsMax, c.ParkedBytes, c.SnapshotEntries, c.SnapshotBytes} {
		if v <= 0 {
			return fmt.Errorf("host: a limit is %d; limits must be positive", v)
		}
	}
	return nil
}

// A ProposalID's sequence is the boot count and the client's id.
const (
	bootBits   = 24
	clientBits = 64 - bootBits
)

// Host is the machine. It is a value that one goroutine owns.
type Host struct {
	cfg     Config
	groups  []*group // by id
	byID    map[id.GroupID]*group
	touched []*group      // have events in this pass
	timers  deadlines     // of groups
	token   id.Token      // of the newest Persist
	writes  []GroupWrite  // of this pass
	tokens  []groupToken  // beside them
	written []writtenPass // Persists not yet durable, oldest first
	sync    bool          // some write of this pass must be synced
	asks    map[uint64]askedFor
	askID   uint64
	lives   uint64
	poison  error
	out     []Effect // of this pass, behind the Persist
	rafts   []raft.Effect
}

// writtenPass remembers which raft tokens a Persist carried.
type writtenPass struct {
	token  id.Token
	groups []groupToken
}

type groupToken struct {
	group id.GroupID
	life  uint64 // which Start of the group
	kind  WriteKind
	token id.Token // raft's, of a WriteAppend; of its Install otherwise
}

// New returns a host without groups.
func New(c Config) (*Host, error) {
	c = c.WithDefaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Host{cfg: c, byID: map[id.GroupID]*group{}, asks: map[uint64]askedFor{}}, nil
}

// Step is one pass: it takes all events, fires what was due, and returns what
// the world must do. The caller owns out. now never goes back.
func (h *Host) Step(now id.Time, in []Event, out []Effect) []Effect {
	h.out = h.out[:0]
	h.sync = false
	for _, e := range in {
		h.take(now, e)
	}
	for _, g := range h.timers.due(now) {
		h.touch(g)
	}
	// A group may be touched again while it is settled (a parked proposal meets a
	// new leader): the list grows behind us, each time with less left to do.
	for i := 0; i < len(h.touched); i++ {
		g := h.touched[i]
		g.touched = false
		h.pass(now, g)
	}
	h.touched = h.touched[:0]
	return h.emit(out)
}

// Deadline is when the host wants to be stepped at the latest.
func (h *Host) Deadline() id.Time { return h.timers.earliest() }

// Group returns a group's status, for checkers and tests; false if it is not
// open here.
func (h *Host) Group(g id.GroupID) (raft.Status, bool) {
	gr, ok := h.byID[g]
	if !ok || gr.node == nil {
		return raft.Status{}, false
	}
	return gr.node.Status(), true
}

// take routes one event.
func (h *Host) take(now id.Time, e Event) {
	switch e := e.(type) {
	case Start:
		h.start(now, e)
	case Stop:
		h.stop(e.Group)
	case Durable:
		h.durable(e.Token)
	case DiskFailed:
		h.diskFailed(e.Err)
	case Unreachable:
		for _, g := range h.groups {
			h.give(g, raft.Unreachable{Peer: e.Node})
		}
	case Asked:
		h.asked(e)
	case Answered:
		h.answered(e)
	case Frame:
		if g := h.open(e.Group); g != nil {
			h.give(g, raft.Received{From: e.From, Message: e.Message})
		}
	case Loaded:
		h.loaded(e)
	case ApplyDone:
		if g := h.open(e.Group); g != nil {
			h.applyDone(g, e)
		}
	case SnapshotSaved:
		if g := h.open(e.Group); g != nil {
			h.snapshotSaved(g, e)
		}
	case SnapshotSent:
		if g := h.open(e.Group); g != nil {
			h.give(g, raft.SnapshotSent{To: e.To, Index: e.Index, OK: e.OK})
		}
	case Installed:
		if g := h.open(e.Group); g != nil {
			h.installed(g, e)
		}
	default:
		h.request(e)
	}
}

// open returns a group that runs here, or nil.
func (h *Host) open(g id.GroupID) *group {
	gr := h.byID[g]
	if gr == nil || gr.halted {
		return nil
	}
	return gr
}

// give queues a raft event for this pass.
func (h *Host) give(g *group, e raft.Event) {
	if g.halted {
		return
	}
	g.in = append(g.in, e)
	h.touch(g)
}

func (h *Host) touch(g *group) {
	if !g.touched && !g.halted {
		g.touched = true
		h.touched = append(h.touched, g)
	}
}

func (h *Host) start(now id.Time, e Start) {
	assert.That(h.byID[e.Group] == nil, "group %d is started twice", e.Group)
	c := e.Config
	c.Group, c.Self, c.Faults, c.Seal = e.Group, h.cfg.Self, h.cfg.Faults, wire.Seal
	g, err := newGroup(c, e)
	if err == nil && h.poison != nil {
		err = h.poison
	}
	if err != nil {
		h.effect(Halt{Group: e.Group, Reason: err})
		return
	}
	h.lives++
	g.life = h.lives
	h.byID[e.Group] = g
	at, _ := slices.BinarySearchFunc(h.groups, e.Group, func(x *group, want id.GroupID) int {
		return cmp.Compare(x.id, want)
	})
	h.groups = slices.Insert(h.groups, at, g)
	h.touch(g)
}

// stop closes a group. Its raft node is forgotten, with whatever it still held
// back.
func (h *Host) stop(which id.GroupID) {
	g := h.byID[which]
	if g == nil {
		return
	}
	h.endAll(g)
	g.halted = true
	h.timers.set(g, id.Never)
	delete(h.byID, which)
	h.groups = slices.DeleteFunc(h.groups, func(x *group) bool { return x == g })
}

// durable releases what waited for the disk.
func (h *Host) durable(upTo id.Token) {
	assert.That(upTo <= h.token, "durable token %d was never issued (newest %d)", upTo, h.token)
	n := 0
	for n < len(h.written) && h.written[n].token <= upTo {
		for _, w := range h.written[n].groups {
			if g := h.open(w.group); g != nil && g.life == w.life {
				h.writeDurable(g, w)
			}
		}
		n++
	}
	h.written = slices.Delete(h.written, 0, n)
}

func (h *Host) diskFailed(err error) {
	if h.poison != nil {
		return
	}
	h.poison = fmt.Errorf("the disk failed; nothing on it is trusted any more: %w", err)
	for _, g := range h.groups {
		h.halt(g, h.poison)
	}
	h.effect(Halt{Reason: h.poison})
}

// halt stops one group for good; its clients learn the truth.
func (h *Host) halt(g *group, reason error) {
	if g.halted {
		return
	}
	h.endAll(g)
	g.halted = true
	h.timers.set(g, id.Never)
	h.effect(Halt{Group: g.id, Reason: reason})
}

func (h *Host) effect(e Effect) { h.out = append(h.out, e) }

// write adds to the pass's one Persist. token is raft's.
func (h *Host) write(g *group, w GroupWrite, token id.Token, mustSync bool) {
	w.Group = g.id
	h.sync = h.sync || mustSync
	h.writes = append(h.writes, w)
	h.tokens = append(h.tokens, groupToken{group: g.id, life: g.life, kind: w.Kind, token: token})
}

// emit puts the pass's one Persist first: whatever follows may depend on it.
func (h *Host) emit(out []Effect) []Effect {
	if len(h.writes) > 0 {
		h.token++
		p := Persist{Token: h.token, MustSync: h.sync, Writes: h.writes}
		h.written = append(h.written, writtenPass{token: h.token, groups: h.tokens})
		h.writes, h.tokens = nil, nil // the driver and the line above keep them
		out = append(out, p)
	}
	out = append(out, h.out...)
	clear(h.out)
	return out
}
