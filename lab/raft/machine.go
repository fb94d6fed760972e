package raft

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/rsm"
	"github.com/quorate/quorate/trace"
)

// machine is one node of the raft protocol: a Core with the ledger in it, and the
// clients in front of it.
type machine struct {
	core     *Core
	state    *state
	asked    map[Ticket]lab.Request // only looked up
	early    []lab.Request          // wait for the session; at most earlyMax
	openedIn uint64                 // term in which that was tried
}

// oneLeader is why anybody but the leader refuses a command.
const oneLeader = "one-leader: this member is not the leader"

// earlyMax bounds the operations that wait for the session's registration, which
// takes a leader a few milliseconds once in the life of a group.
const earlyMax = 64

// Step takes one event.
func (m *machine) Step(t *lab.Turn, e lab.Event) {
	if a, ok := e.(lab.Asked); ok {
		m.take(t, a.Request)
	}
	m.core.Step(t, e)
	m.open(t)
	m.answer(t)
}

// open registers the clients' session, once: the first leader does it, behind its
// first entry.
func (m *machine) open(t *lab.Turn) {
	c := m.core
	if m.state.bare || m.state.session != 0 || !c.Leads() || uint64(c.ownTerm) != c.View().Epoch || m.openedIn == c.View().Epoch {
		return
	}
	m.openedIn = c.View().Epoch
	c.Propose(t, limits())
	c.Propose(t, rsm.EncodeRegister())
}

// take starts what a client asks for.
func (m *machine) take(t *lab.Turn, r lab.Request) {
	amount, err := argument(r)
	if err != nil {
		t.Refuse(r, 0, err.Error())
		return
	}
	c := m.core
	if c.stopped != "" {
		t.Refuse(r, 0, "halt: this member has stopped for good")
		return
	}
	switch r.Verb {
	case "write", "deposit", "withdraw":
		m.propose(t, r, amount)
	case "read", "balance":
		m.asked[c.Read(t)] = r
	case "stale", "campaign":
		m.here(t, r, lab.Node(amount))
	case "transfer":
		m.asked[c.Transfer(t, lab.Node(amount))] = r
	default:
		change, err := changeOf(r)
		if err != nil {
			t.Refuse(r, 0, err.Error())
			return
		}
		m.asked[c.Change(t, change)] = r
	}
}

// here takes what is asked of one node and no other: the one behind the verb, else
// whoever is asked.
func (m *machine) here(t *lab.Turn, r lab.Request, at lab.Node) {
	c := m.core
	switch {
	case at != 0 && at != c.self:
		t.Refuse(r, at, fmt.Sprintf("that is for n%d to do", at))
	case r.Verb == "campaign":
		c.Campaign(t)
		t.Tell(r, "it stands for election if it may")
	default:
		t.Serve(r, c.log.Decided())
	}
}

// propose gives the leader a command. A leader whose group has no session yet keeps
// it for the moment that takes.
func (m *machine) propose(t *lab.Turn, r lab.Request, amount int64) {
	c := m.core
	switch {
	case !c.Leads():
		t.Refuse(r, c.Leader(), oneLeader)
	case !m.state.bare && m.state.session == 0 && len(m.early) >= earlyMax:
		t.Refuse(r, 0, "bounds: too many requests are waiting")
	case !m.state.bare && m.state.session == 0:
		m.early = append(m.early, r)
	default:
		cmd := command{op: r.Op, client: r.Client, verb: r.Verb, amount: amount}
		m.asked[c.Propose(t, m.state.encode(cmd))] = r
	}
}

// answer tells the clients what ended, and goes on with who waited for the session.
func (m *machine) answer(t *lab.Turn) {
	if len(m.early) > 0 && (m.state.session != 0 || !m.core.Leads()) {
		early := m.early
		m.early = nil
		for _, r := range early {
			m.take(t, r)
		}
	}
	for _, e := range m.core.Ended() {
		r, ok := m.asked[e.Ticket]
		if !ok {
			continue // the session's registration
		}
		delete(m.asked, e.Ticket)
		m.end(t, r, e)
	}
}

func (m *machine) end(t *lab.Turn, r lab.Request, e End) {
	switch e.Outcome {
	case host.Refused:
		t.Refuse(r, e.Leader, e.Why)
		return
	case host.Unknown:
		t.Fail(r, "it may or may not have taken effect")
		return
	}
	switch r.Verb {
	case "read":
		t.Serve(r, int(m.core.Applied()))
	case "balance":
		t.Tell(r, strconv.FormatInt(m.state.ledger.balance(), 10))
	case "write", "deposit", "withdraw":
		m.applied(t, r, e.Result)
	case "transfer":
		t.Tell(r, "handed over")
	default:
		t.Tell(r, "the membership is "+m.core.soft.Config.String())
	}
}

// applied answers with what the machine said, the first time it was asked.
func (m *machine) applied(t *lab.Turn, r lab.Request, result rsm.Result) {
	said := string(result)
	if !m.state.bare {
		a, err := rsm.DecodeAnswer(result)
		if err == nil {
			err = a.Err()
		}
		if err != nil {
			t.Fail(r, err.Error())
			return
		}
		said = string(a.Result)
	}
	if r.Verb == "write" {
		t.Accept(r)
	} else {
		t.Tell(r, said)
	}
}

// argument is the number that a verb needs.
func argument(r lab.Request) (int64, error) {
	switch r.Verb {
	case "deposit", "withdraw":
		if len(r.Args) == 1 {
			if n, err := strconv.ParseInt(r.Args[0], 10, 64); err == nil && n > 0 {
				return n, nil
			}
		}
		return 0, fmt.Errorf("%s needs an amount, as in: do 5s n1 %s 100", r.Verb, r.Verb)
	case "transfer", "campaign", "stale":
		if len(r.Args) == 0 {
			return 0, nil
		}
		n, ok := nodeOf(r.Args[0])
		if !ok || len(r.Args) > 1 {
			return 0, fmt.Errorf("%s takes a node or nothing, as in: do 5s n1 %s n2", r.Verb, r.Verb)
		}
		return int64(n), nil
	}
	return 0, nil
}

func nodeOf(word string) (lab.Node, bool) {
	n, err := strconv.ParseUint(strings.TrimPrefix(word, "n"), 10, 64)
	return n, err == nil && strings.HasPrefix(word, "n") && n >= 1 && n <= 9
}

// changeOf reads a change of the membership: one verb, one or more nodes.
func changeOf(r lab.Request) (membership.Change, error) {
	kind, ok := map[string]membership.OpKind{
		"add-learner": membership.AddLearner, "add-voter": membership.AddVoter,
		"promote": membership.Promote, "demote": membership.Demote, "remove": membership.Remove,
	}[r.Verb]
	if !ok {
		return membership.Change{}, fmt.Errorf("raft knows no %q; it knows write, read, stale, deposit, withdraw, balance, campaign, transfer, add-learner, add-voter, promote, demote, remove", r.Verb)
	}
	var ch membership.Change
	for _, word := range r.Args {
		n, ok := nodeOf(word)
		if !ok {
			return ch, fmt.Errorf("%s: %q is no node", r.Verb, word)
		}
		ch.Ops = append(ch.Ops, membership.Op{Kind: kind, Member: membership.Member{ID: node(n), Name: word}})
	}
	if len(ch.Ops) == 0 {
		return ch, fmt.Errorf("%s needs nodes, as in: do 5s n1 %s n4 n5", r.Verb, r.Verb)
	}
	return ch, nil
}

// Deadline is the core's: nothing here waits for time.
func (m *machine) Deadline() id.Time { return m.core.Deadline() }

// View is the core's.
func (m *machine) View() lab.View { return m.core.View() }

// Details are the core's, and the account where there is one.
func (m *machine) Details() []trace.Field {
	fields := m.core.Details()
	if b := m.state.ledger.balance(); b != 0 {
		fields = append(fields, trace.Text("balance", strconv.FormatInt(b, 10)))
	}
	return fields
}
