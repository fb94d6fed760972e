package raft

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	production "github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
)

// ledger is the small replicated map: the last write, and an account that refuses to
// go below zero. It remembers where each operation took effect first, which is how
// the log shows that a session did not let one in a second time.
//
//	command  "17 2 deposit 100": operation, client, verb, arguments
type ledger struct {
	values  map[string]int64 // "x": the operation of the last write; "account": the balance
	took    map[uint64]id.Index
	applied id.Index
}

func newLedger() *ledger { return &ledger{values: map[string]int64{}, took: map[uint64]id.Index{}} }

// command is one as it stands in the log.
type command struct {
	op     uint64
	client lab.Node
	verb   string
	amount int64
}

func (c command) bytes() []byte {
	return fmt.Appendf(nil, "%d %d %s %d", c.op, c.client, c.verb, c.amount)
}

func parseCommand(b []byte) (command, error) {
	var c command
	w := strings.Fields(string(b))
	if len(w) != 4 {
		return c, fmt.Errorf("a command of %d words: %q", len(w), b)
	}
	var errs [3]error
	c.verb = w[2]
	c.op, errs[0] = strconv.ParseUint(w[0], 10, 64)
	c.client, errs[1] = strconv.ParseUint(w[1], 10, 64)
	c.amount, errs[2] = strconv.ParseInt(w[3], 10, 64)
	for _, err := range errs {
		if err != nil {
			return c, fmt.Errorf("the command %q: %w", b, err)
		}
	}
	return c, nil
}

// Apply applies each command and says in a text what it did.
func (l *ledger) Apply(b rsm.Batch, results []rsm.Result) ([]rsm.Result, error) {
	for _, raw := range b.Commands {
		c, err := parseCommand(raw.Data)
		if err != nil {
			return results, err
		}
		if _, before := l.took[c.op]; !before {
			l.took[c.op] = raw.Index
		}
		results = append(results, rsm.Result(l.apply(c)))
	}
	l.applied = b.Applied
	return results, nil
}

func (l *ledger) apply(c command) string {
	switch c.verb {
	case "deposit":
		l.values["account"] += c.amount
	case "withdraw":
		if have := l.values["account"]; have < c.amount {
			return fmt.Sprintf("declined: the balance is %d", have)
		}
		l.values["account"] -= c.amount
	default:
		l.values["x"] = int64(c.op)
		return "written"
	}
	return fmt.Sprintf("done: the balance is %d", l.balance())
}

func (l *ledger) balance() int64 { return l.values["account"] }

// View is a copy: the lab takes none while it runs.
func (l *ledger) View() rsm.View {
	return ledgerView{applied: l.applied, values: maps.Clone(l.values), took: maps.Clone(l.took)}
}

type ledgerView struct {
	applied id.Index
	values  map[string]int64
	took    map[uint64]id.Index
}

func (v ledgerView) Applied() id.Index { return v.applied }
func (v ledgerView) Close() error      { return nil }

// WriteTo writes one line for each value and each operation, sorted.
func (v ledgerView) WriteTo(w io.Writer) (int64, error) {
	var b []byte
	for _, k := range slices.Sorted(maps.Keys(v.values)) {
		b = fmt.Appendf(b, "value %s %d\n", k, v.values[k])
	}
	for _, op := range slices.Sorted(maps.Keys(v.took)) {
		b = fmt.Appendf(b, "took %d %d\n", op, v.took[op])
	}
	n, err := w.Write(b)
	return int64(n), err
}

// Restore reads what WriteTo wrote.
func (l *ledger) Restore(m rsm.Meta, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	fresh := newLedger()
	for line := range bytes.Lines(b) {
		w := strings.Fields(string(line))
		if len(w) != 3 {
			return fmt.Errorf("a ledger with the line %q", line)
		}
		n, err := strconv.ParseInt(w[2], 10, 64)
		op, opErr := strconv.ParseUint(w[1], 10, 64)
		switch {
		case err == nil && w[0] == "value":
			fresh.values[w[1]] = n
		case err == nil && opErr == nil && w[0] == "took" && n >= 0:
			fresh.took[op] = id.Index(n)
		default:
			return fmt.Errorf("a ledger with the line %q", line)
		}
	}
	l.values, l.took, l.applied = fresh.values, fresh.took, m.Index
	return nil
}

// state is the ledger as the group replicates it: with the clients' session around
// it, or, with that rule broken, without.
type state struct {
	rsm.Machine
	ledger  *ledger
	session rsm.SessionID // of all the lab's clients; 0: not registered yet, or none
	bare    bool          // broken: no sessions
}

func newState(bare bool) *state {
	s := &state{ledger: newLedger(), bare: bare}
	if bare {
		s.Machine = s.ledger
	} else {
		s.Machine = rsm.WithSessions(s.ledger)
	}
	return s
}

// window is how many operations behind the newest a session still answers.
const window = 1024

// limits is the first command of a group: the clients share one session, so it needs
// a window for all of them.
func limits() []byte {
	return rsm.EncodeSessionLimits(rsm.SessionLimits{Sessions: 16, Window: window, AnswerBytes: 64})
}

// Apply is the machine's; it takes note of the session that counts, the first.
func (s *state) Apply(b rsm.Batch, results []rsm.Result) ([]rsm.Result, error) {
	from := len(results)
	results, err := s.Machine.Apply(b, results)
	for i := from; err == nil && s.session == 0 && !s.bare && i < len(results); i++ {
		if a, bad := rsm.DecodeAnswer(results[i]); bad == nil && a.Status == rsm.Registered {
			s.session = a.Session
		}
	}
	return results, err
}

// encode is a command as it is proposed. Every attempt of an operation gives the
// same bytes, so the session knows a retry.
func (s *state) encode(c command) []byte {
	if s.bare {
		return c.bytes()
	}
	n := rsm.Sequence(c.op)
	return rsm.EncodeCommand(s.session, n, n-min(n-1, window-1), c.bytes())
}

// Tell says what an entry is: which operation, and once it is applied, whether that
// was applied before.
func (s *state) Tell(e production.Entry, applied bool) lab.Entry {
	data := e.Data
	if !s.bare {
		data = inside(data)
	}
	c, err := parseCommand(data)
	if err != nil {
		return lab.Entry{Kind: "session"}
	}
	shown := lab.Entry{Op: c.op, Client: c.client}
	if applied && !s.bare && s.ledger.took[c.op] != e.Index {
		shown.Kind = "repeat"
	}
	return shown
}

// inside is the command in its envelope: behind three bytes of header and three
// numbers. The text begins with a digit's byte that may also be a number's, so the
// numbers are counted, not searched.
func inside(data []byte) []byte {
	const header, numbers = 3, 3
	if len(data) <= header {
		return nil
	}
	at := header
	for range numbers {
		for at < len(data) && data[at]&0x80 != 0 {
			at++
		}
		at++
	}
	return data[min(at, len(data)):]
}
