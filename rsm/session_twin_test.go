package rsm

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
)

// twin is the same rules written as plainly as possible: maps, no sharing, one
// command at a time.
type twin struct {
	limits   SessionLimits
	sessions map[SessionID]*twinSession
	lines    []string
}

type twinSession struct {
	last    id.Index
	lowest  Sequence
	answers map[Sequence]Answer // what a retry gets
}

// op is a command as the generator means it.
type op struct {
	kind      byte
	session   SessionID
	n, lowest Sequence
	limits    SessionLimits
	data      string
}

func (o op) bytes() []byte {
	switch o.kind {
	case kindPlain:
		return EncodePlain([]byte(o.data))
	case kindCommand:
		return EncodeCommand(o.session, o.n, o.lowest, []byte(o.data))
	case kindRegister:
		return EncodeRegister()
	case kindClose:
		return EncodeClose(o.session)
	case kindLimits:
		return EncodeSessionLimits(o.limits)
	}
	return []byte(o.data)
}

func (w *twin) run(data string) Answer {
	w.lines = append(w.lines, data)
	return Answer{Status: Answered, Result: Result(fmt.Sprintf("%d %s", len(w.lines), data))}
}

func (w *twin) evictDownTo(n int) {
	for len(w.sessions) > n {
		var oldest SessionID
		for s, x := range w.sessions {
			if oldest == 0 || x.last < w.sessions[oldest].last {
				oldest = s
			}
		}
		delete(w.sessions, oldest)
	}
}

func (w *twin) apply(i id.Index, o op) Answer {
	switch o.kind {
	case kindPlain:
		return w.run(o.data)
	case kindRegister:
		w.evictDownTo(w.limits.Sessions - 1)
		w.sessions[SessionID(i)] = &twinSession{last: i, lowest: 1, answers: map[Sequence]Answer{}}
		return Answer{Status: Registered, Session: SessionID(i), Window: w.limits.Window}
	case kindClose:
		delete(w.sessions, o.session)
		return Answer{Status: Closed}
	case kindLimits:
		if o.limits.Sessions == 0 {
			return Answer{Status: BadLimits}
		}
		w.limits = o.limits
		w.evictDownTo(w.limits.Sessions)
		return Answer{Status: LimitsSet}
	case kindCommand:
	default:
		return Answer{Status: Malformed}
	}
	x := w.sessions[o.session]
	if x == nil {
		return Answer{Status: NoSession}
	}
	x.last = i
	x.lowest = max(x.lowest, o.lowest)
	if o.n < x.lowest {
		return Answer{Status: Past}
	}
	if a, ok := x.answers[o.n]; ok {
		return a
	}
	if o.n >= x.lowest+Sequence(w.limits.Window) {
		return Answer{Status: Ahead}
	}
	a := w.run(o.data)
	x.answers[o.n] = a
	if len(a.Result) > w.limits.AnswerBytes {
		x.answers[o.n] = Answer{Status: NotKept}
	}
	return a
}

// generator writes a log as clients that retry, overtake themselves, give up,
// forget and lie would.
type generator struct {
	*rand.Rand
	sent     []op
	sessions []SessionID
	next     map[SessionID]Sequence
}

func (g *generator) op(i id.Index) op {
	if p := g.IntN(100); p < 6 || len(g.sessions) == 0 {
		g.sessions = append(g.sessions, SessionID(i))
		return op{kind: kindRegister}
	} else if p < 8 {
		return op{kind: kindClose, session: g.someone()}
	} else if p < 9 {
		return op{kind: kindLimits, limits: SessionLimits{Sessions: g.IntN(6), Window: 1 + g.IntN(6), AnswerBytes: g.IntN(20)}}
	} else if p < 14 {
		return op{kind: kindPlain, data: fmt.Sprintf("plain %d", i)}
	} else if p < 16 {
		return op{data: "no envelope"}
	} else if p < 18 {
		return op{kind: kindCommand, session: SessionID(1 + g.IntN(int(i)+5)), n: 1, lowest: 1, data: fmt.Sprintf("lie %d", i)}
	} else if p < 55 && len(g.sent) > 0 {
		back := min(g.IntN(len(g.sent)), g.IntN(40)) // mostly a recent one
		return g.sent[len(g.sent)-1-back]
	}
	s := g.someone()
	n := g.next[s] + 1
	if g.IntN(4) == 0 {
		n += Sequence(g.IntN(3)) // those between come later, or never
	}
	g.next[s] = n
	if g.IntN(5) == 0 && n > 2 {
		n -= 2 // one that may have been left out
	}
	o := op{kind: kindCommand, session: s, n: n, lowest: n - min(n-1, Sequence(g.IntN(5))), data: fmt.Sprintf("s%d.%d %s", s, n, strings.Repeat("x", int(n)%9))}
	g.sent = append(g.sent, o)
	return o
}

// someone is mostly one of the newest.
func (g *generator) someone() SessionID {
	return g.sessions[len(g.sessions)-1-min(g.IntN(len(g.sessions)), g.IntN(12))]
}

// A lie may be the first command of a session that is open and then stands in its
// client's way, so it is no "effect" of the client: only what begins with s is.
func effects(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !strings.HasPrefix(l, "s") })
}

func TestReplicasAgreeWithNaiveTwinM58(t *testing.T) {
	seen := map[AnswerStatus]int{}
	retried := 0
	for seed := range uint64(150) {
		retried += runAgainstTwin(t, seed, seen)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	for _, a := range sampleAnswers() {
		if seen[a.Status] == 0 {
			t.Errorf("no command was answered: %v", a.Status)
		}
	}
	if retried < 1000 {
		t.Errorf("only %d retries got their first answer", retried)
	}
}

// runAgainstTwin returns how many retries got the first answer.
func runAgainstTwin(t *testing.T, seed uint64, seen map[AnswerStatus]int) int {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1)), next: map[SessionID]Sequence{}}
	w := &twin{limits: DefaultSessionLimits(), sessions: map[SessionID]*twinSession{}}
	log := []op{{kind: kindLimits, limits: SessionLimits{Sessions: 5, Window: 4, AnswerBytes: 10}}}
	for len(log) < 400 {
		log = append(log, g.op(id.Index(len(log)+1)))
	}
	want := make([]Answer, len(log))
	first, retried := map[string]string{}, 0
	for i, o := range log {
		want[i] = w.apply(id.Index(i+1), o)
		seen[want[i].Status]++
		if name := fmt.Sprint(o.session, ".", o.n); o.kind == kindCommand && want[i].Status == Answered {
			if first[name] == "" {
				first[name] = string(want[i].Result)
			} else if retried++; first[name] != string(want[i].Result) {
				t.Errorf("entry %d: %s was answered %q, first %q", i+1, name, want[i].Result, first[name])
			}
		}
	}
	if got := effects(w.lines); len(slices.Compact(slices.Sorted(slices.Values(got)))) != len(got) {
		t.Errorf("a command took effect twice: %v", got)
	}

	members := []*replica{newReplica(t), newReplica(t), newReplica(t)}
	held := []View{}
	heldBytes := [][]byte{}
	for !slices.ContainsFunc(members, func(r *replica) bool { return int(r.at) == len(log) }) || g.IntN(20) > 0 {
		r := members[g.IntN(3)]
		switch g.IntN(12) {
		case 0: // it falls behind and is brought up by a snapshot
			from := members[g.IntN(3)]
			if from.at >= r.at {
				members[slices.Index(members, r)] = from.restored()
			}
		case 1:
			held = append(held, r.machine.View())
			heldBytes = append(heldBytes, r.bytes())
		default:
			follow(r, log, want, int(r.at)+g.IntN(12))
		}
	}
	for _, r := range members {
		follow(r, log, want, len(log))
		if !slices.Equal(r.journal.lines, w.lines) {
			t.Error("a member applied other commands than the twin")
		}
		if !bytes.Equal(r.bytes(), members[0].bytes()) {
			t.Error("two members' states differ in their bytes")
		}
	}
	for i, v := range held {
		if !bytes.Equal(written(t, v), heldBytes[i]) {
			t.Error("a view changed after it was taken")
		}
	}
	return retried
}

// follow applies one batch up to and with entry to.
func follow(r *replica, log []op, want []Answer, to int) {
	from := int(r.at)
	var commands [][]byte
	for _, o := range log[from:min(to, len(log))] {
		commands = append(commands, o.bytes())
	}
	for i, a := range r.apply(commands...) {
		if !reflect.DeepEqual(a, want[from+i]) {
			r.t.Errorf("entry %d, %+v: answered %+v, the twin %+v", from+i+1, log[from+i], a, want[from+i])
		}
	}
	checkTable(r.t, r.machine.table)
}

// checkTable holds a table against its own invariants.
func checkTable(t *testing.T, table *table) {
	t.Helper()
	count, before := 0, SessionID(0)
	for p, g := range table.pages {
		if n := len(g.sessions); n == 0 || n > pageMax {
			t.Errorf("page %d has %d sessions", p, n)
		}
		if p > 0 && len(g.sessions)+len(table.pages[p-1].sessions) <= pageMax/2 {
			t.Errorf("pages %d and %d should be one", p-1, p)
		}
		for _, x := range g.sessions {
			if x.id <= before || table.place[x.id] == nil || table.place[x.id].Value != x.id {
				t.Errorf("session %d is out of order, or has no place in the order of use", x.id)
			}
			count, before = count+1, x.id
			for i, a := range x.answers {
				if a.n < x.lowest || i > 0 && a.n <= x.answers[i-1].n {
					t.Errorf("session %d: answer %d is out of order", x.id, a.n)
				}
			}
		}
	}
	if count != table.count || count != table.order.Len() || count != len(table.place) || count > table.limits.Sessions {
		t.Errorf("%d sessions, counted as %d, %d in the order of use, %d places, at most %d", count, table.count, table.order.Len(), len(table.place), table.limits.Sessions)
	}
}

// Many sessions come and go on many pages, against a sorted list of ids.
func TestTableOfManyPages(t *testing.T) {
	r := newReplica(t)
	r.limit(SessionLimits{Sessions: 1000, Window: 1, AnswerBytes: 0})
	dice := rand.New(rand.NewPCG(1, 2))
	var ids []SessionID
	for range 30 {
		for range dice.IntN(150) {
			ids = append(ids, r.register())
		}
		ids = ids[max(0, len(ids)-1000):]
		for range dice.IntN(120) {
			if len(ids) > 0 {
				at := dice.IntN(len(ids))
				r.one(EncodeClose(ids[at]))
				ids = slices.Delete(ids, at, at+1)
			}
		}
		checkTable(t, r.machine.table)
		var got []SessionID
		for _, g := range r.machine.table.pages {
			for _, x := range g.sessions {
				got = append(got, x.id)
			}
		}
		if !slices.Equal(got, ids) {
			t.Fatalf("the table holds %v, want %v", got, ids)
		}
	}
	if len(ids) < 3*pageMax {
		t.Errorf("only %d sessions at the end", len(ids))
	}
}
