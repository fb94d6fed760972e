package enumerate

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// What one member does with one input. It depends on nothing else, so it is
// computed once for each different member and input: a few thousand calls of
// raft serve millions of states.

// input is what happens to a member.
type input struct {
	member uint32
	kind   kind
	arg    uint32 // deliver: the packet's number; crash: keep; request: attempt
}

// output is what comes of it: the member as it is then, and what it sends.
type output struct {
	member *member
	sent   []*packet
	answer byte  // attempts that were answered
	err    error // a broken rule
}

// local returns what m does. p is the packet of a deliver.
func (g *search) local(m *member, k kind, arg int, p *packet) *output {
	in := input{m.number[0], k, uint32(arg)}
	if p != nil {
		in.arg = p.number[0]
	}
	if out, ok := g.locals[in]; ok {
		return out
	}
	w := &worker{search: g, member: m.clone()}
	out := &output{err: w.do(k, arg, p)}
	out.answer = w.answer
	out.sent = w.sent
	out.member = g.one(w.member)
	g.locals[in] = out
	return out
}

// clone returns a copy that may be changed.
func (m *member) clone() *member {
	c := *m
	c.writes, c.held, c.waiting = slices.Clip(m.writes), slices.Clip(m.held), slices.Clip(m.waiting)
	if m.node != nil {
		c.node = m.node.Clone()
	}
	return &c
}

// worker carries out one input on one member.
type worker struct {
	*member
	search *search
	sent   []*packet
	answer byte
}

// do is the input. A broken rule may run into one of raft's own assertions.
func (w *worker) do(k kind, arg int, p *packet) (err error) {
	defer func() {
		if said := recover(); said != nil {
			err = broken(Asserted, "%v: %v", nodeID(w.self), said)
		}
	}()
	switch k {
	case request:
		return w.pass(raft.Propose{Proposals: []raft.Proposal{{ID: raft.ProposalID{Origin: client, Sequence: uint64(arg)}}}})
	case answer:
		w.answer, w.owed = w.owed, 0
		return nil
	case deliver:
		return w.deliver(p)
	case fsync:
		return w.sync(w.batch())
	case crash:
		return w.crash(arg)
	case restart:
		return w.restart()
	case silence:
		w.clock = max(w.clock, w.node.Deadline())
		return w.pass()
	case beat: // everything a leader does by the clock alone
		w.clock = w.clock.Add(w.search.configs[w.self].Heartbeat)
		return w.pass()
	case rest:
		return w.rest()
	}
	return fmt.Errorf("enumerate: unknown step %d", k)
}

// pass gives events to the node and takes the effects. The machine applies at
// once: it is volatile, so when it does so shows in nothing but the answer, which
// is a step of its own.
func (w *worker) pass(events ...raft.Event) error {
	for more := true; more; more = len(events) > 0 {
		effects := w.node.Step(w.clock, events, nil)
		events = nil
		for _, e := range effects {
			switch e := e.(type) {
			case raft.Persist:
				w.writes = append(w.writes, e)
			case raft.Send:
				if e.After > w.durable {
					w.held = append(w.held, e)
				} else {
					w.send(e)
				}
			case raft.Apply:
				if err := w.apply(e.Entries); err != nil {
					return err
				}
				events = append(events, raft.Applied{Index: e.Entries[len(e.Entries)-1].Index})
			case raft.Placed:
				w.waiting = append(w.waiting, placed{byte(e.ID.Sequence), e.Index, e.Term})
			case raft.Halt:
				return w.search.fail(Halted, "%v stops for good: %v", nodeID(w.self), e.Reason)
			case raft.Emit, raft.Refused:
			default:
				return fmt.Errorf("enumerate: %v asks for %T, which this world does not have", nodeID(w.self), e)
			}
		}
	}
	st := w.node.Status()
	w.role, w.term, w.commit = st.Role, st.Term, st.Commit
	return nil
}

func (w *worker) send(s raft.Send) {
	w.sent = append(w.sent, w.search.packet(w.self, int(s.To.Node)-1, s.Message))
}

// apply is the machine: it finds whose command it was.
func (w *worker) apply(entries []raft.Entry) error {
	for i := range entries {
		e := &entries[i]
		if int(e.Index) > len(w.disk) || !same(&w.disk[e.Index-1], e) {
			return w.search.fail(DurableFirst, "%v applies entry %d, which is not on its disk", nodeID(w.self), e.Index)
		}
		w.waiting = slices.DeleteFunc(slices.Clone(w.waiting), func(p placed) bool {
			if p.index == e.Index && p.term == e.Term {
				w.owed |= 1 << p.attempt
			}
			return p.index == e.Index
		})
	}
	return nil
}

// deliver: a request for a vote may come when the receiver has just heard its
// leader; then it is ignored, as if lost. So only the other case is followed: it
// comes when the receiver heard nobody for an election timeout, the last moment
// before it would stand itself.
func (w *worker) deliver(p *packet) error {
	switch p.message.(type) {
	case raft.RequestPreVote, raft.RequestVote:
		if w.role != raft.Leader {
			w.clock = max(w.clock, w.node.Deadline()-1)
		}
	}
	return w.pass(raft.Received{From: nodeID(p.from), Message: p.message})
}

// batch is how many writes the disk finishes together: up to the oldest that
// must be durable. Nobody waits for the others, which only save a commit index;
// they go with it, or with a crash as far as that says.
func (m *member) batch() int {
	for k := range m.writes {
		if m.writes[k].MustSync {
			return k + 1
		}
	}
	return 0
}

// sync makes the oldest n writes durable and lets go what waited for them.
func (w *worker) sync(n int) error {
	if err := w.land(n); err != nil {
		return err
	}
	w.durable = w.writes[n-1].Token
	w.writes = w.writes[n:]
	var held []raft.Send
	for _, x := range w.held {
		if x.After > w.durable {
			held = append(held, x)
		} else {
			w.send(x)
		}
	}
	w.held = held
	return w.pass(raft.Persisted{Token: w.durable})
}

// land writes the oldest n writes through. A vote that is on the disk stays until
// its term is over.
func (w *worker) land(n int) error {
	for _, p := range w.writes[:n] {
		was, is := w.hard, p.Hard
		if is.Term < was.Term || is.Term == was.Term && was.Vote != id.None && is.Vote != was.Vote {
			if err := w.search.fail(OneVote, "%v voted for %v in term %d and now writes that it voted for %v in term %d",
				nodeID(w.self), was.Vote, was.Term, is.Vote, is.Term); err != nil {
				return err
			}
		}
		w.hard = is
		if len(p.Entries) > 0 {
			w.disk = slices.Concat(w.disk[:p.Entries[0].Index-1], p.Entries)
		}
	}
	return nil
}

func (w *worker) crash(keep int) error {
	if err := w.land(keep); err != nil {
		return err
	}
	w.member = &member{self: w.self, hard: w.hard, disk: w.disk, clock: w.clock}
	return nil
}

func (w *worker) restart() error {
	n, err := raft.New(w.search.configs[w.self], w.restored(w.search.group))
	if err != nil {
		return err
	}
	w.node = n
	return w.pass()
}

// rest: the disk finishes, whoever is down starts, clients have gone, and what
// was sent meanwhile is lost.
func (w *worker) rest() error {
	if w.node == nil {
		if err := w.restart(); err != nil {
			return err
		}
	}
	for len(w.writes) > 0 {
		if err := w.sync(len(w.writes)); err != nil {
			return err
		}
	}
	w.owed, w.waiting, w.sent = 0, nil, nil
	return nil
}
