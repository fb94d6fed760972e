package raft

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
)

// naiveLog is entryLog without its economies: every entry, always.
type naiveLog struct {
	start   LogStart
	entries []Entry
}

func (l *naiveLog) last() id.Index { return l.start.Index + id.Index(len(l.entries)) }

func (l *naiveLog) term(i id.Index) (id.Term, bool) {
	if i == l.start.Index {
		return l.start.Term, true
	}
	if i < l.start.Index || i > l.last() {
		return 0, false
	}
	return l.entries[i-l.start.Index-1].Term, true
}

func (l *naiveLog) atMost(i id.Index, t id.Term) id.Index {
	i = min(i, l.last())
	for i >= l.start.Index {
		if have, _ := l.term(i); have <= t {
			return i
		}
		if i == 0 {
			return 0
		}
		i--
	}
	return i
}

func (l *naiveLog) config() (id.Index, uint64) {
	at, version := l.start.Index, l.start.Config.Version
	for _, e := range l.entries {
		if e.Kind == EntryConfig {
			at, version = e.Index, e.Config.Version
		}
	}
	return at, version
}

// The log and its naive twin agree on terms, hints, configurations and entries,
// whatever is appended, truncated, dropped from memory, cut or reset; bytes are
// exact in memory and grow with the index everywhere.
func TestLogEqualsItsNaiveTwin(t *testing.T) {
	for seed := uint64(0); seed < 60; seed++ {
		r := rand.New(rand.NewPCG(seed, 1))
		var l entryLog
		l.reset(LogStart{Config: voters(1)})
		twin := naiveLog{start: l.start}
		version := uint64(1)
		for step := 0; step < 400; step++ {
			switch x := r.IntN(20); {
			case x < 12:
				for k := r.IntN(20); k >= 0; k-- {
					e := Entry{Index: l.last + 1, Term: l.lastTerm() + id.Term(r.IntN(20)/19), Kind: EntryCommand, Data: make([]byte, r.IntN(3000))}
					if r.IntN(15) == 0 {
						version++
						e.Kind, e.Config = EntryConfig, &membership.Config{Version: version}
					}
					l.append(e)
					twin.entries = append(twin.entries, e)
				}
			case x < 14:
				if l.last > l.start.Index {
					from := max(l.start.Index, l.durable/2) + 1
					from += id.Index(r.IntN(int(l.last-from) + 1))
					l.truncate(from)
					twin.entries = slices.Clone(twin.entries[:from-twin.start.Index-1])
				}
			case x < 17:
				l.durable, l.handed = l.last, l.last+1
				if n := len(l.tail); n > 0 {
					l.forget(l.first() + id.Index(r.IntN(n)))
				}
			case x < 19:
				l.durable, l.handed = l.last, l.last+1
				if n := int(l.last - l.start.Index); n > 0 && r.IntN(3) == 0 {
					at := l.start.Index + 1 + id.Index(r.IntN(n))
					l.cut(at)
					term, _ := twin.term(at)
					kept := naiveLog{start: twin.start, entries: twin.entries[:at-twin.start.Index]}
					_, v := kept.config()
					twin.entries = slices.Clone(twin.entries[at-twin.start.Index:])
					twin.start = LogStart{Index: at, Term: term, Config: membership.Config{Version: v}}
				}
			default:
				if r.IntN(10) == 0 {
					s := LogStart{Index: l.last + 5, Term: l.lastTerm() + 1, Config: membership.Config{Version: version}}
					l.reset(s)
					twin = naiveLog{start: s}
				}
			}
			compareLogs(t, r, &l, &twin)
			if t.Failed() {
				t.Fatalf("seed %d, step %d", seed, step)
			}
		}
	}
}

func compareLogs(t *testing.T, r *rand.Rand, l *entryLog, twin *naiveLog) {
	t.Helper()
	if l.last != twin.last() || l.start.Index != twin.start.Index || l.start.Term != twin.start.Term || l.start.Config.Version != twin.start.Config.Version {
		t.Errorf("(%d, %d], want (%d, %d]", l.start.Index, l.last, twin.start.Index, twin.last())
	}
	at, version := twin.config()
	if c := l.config(); c.Config.Version != version || c.Index != at && c.Index > l.start.Index {
		t.Errorf("configuration %d at %d, want %d at %d", c.Config.Version, c.Index, version, at)
	}
	before := int64(-1)
	for i := l.start.Index; i <= l.last; i += 1 + id.Index(r.IntN(40)) {
		have, ok := l.term(i)
		if want, known := twin.term(i); have != want || ok != known {
			t.Errorf("term(%d) is %d, want %d", i, have, want)
		}
		if b := l.bytes(i); b < before {
			t.Errorf("bytes(%d) is %d, less than before: %d", i, b, before)
		} else {
			before = b
		}
	}
	for k := 0; k < 5; k++ {
		i, term := l.start.Index+id.Index(r.IntN(int(l.last-l.start.Index)+3)), id.Term(r.IntN(int(l.lastTerm())+2))
		want := twin.atMost(i, term)
		if got := l.atMost(i, term); got != want {
			t.Errorf("atMost(%d, %d) is %d, want %d", i, term, got, want)
		}
	}
	if n := len(l.tail); n > 0 {
		from := l.first() + id.Index(r.IntN(n))
		limit := int64(r.IntN(10_000))
		got := l.slice(from, l.last+1, limit)
		size := int64(0)
		for k := range got {
			if want := twin.entries[from-twin.start.Index-1+id.Index(k)]; got[k].Index != want.Index || got[k].Term != want.Term {
				t.Errorf("entry %d of term %d, want %d of %d", got[k].Index, got[k].Term, want.Index, want.Term)
			}
			size += entryBytes(&got[k])
			if exact := l.bytes(got[k].Index) - l.bytes(got[k].Index-1); exact != entryBytes(&got[k]) && got[k].Index > l.first() {
				t.Errorf("entry %d weighs %d, want %d", got[k].Index, exact, entryBytes(&got[k]))
			}
		}
		next := from + id.Index(len(got))
		if len(got) == 0 || len(got) > 1 && size > limit || next <= l.last && size+entryBytes(&l.tail[next-l.first()]) <= limit {
			t.Errorf("a slice of %d entries and %d bytes within %d", len(got), size, limit)
		}
		if b := l.tailAtBytes(l.total - limit); b > l.last || l.bytes(b) > max(l.total-limit, 0) && b >= l.first() {
			t.Errorf("tailAtBytes: %d", b)
		}
	}
	if b := l.indexAtBytes(l.total / 2); l.bytes(b) > l.total/2 && b != l.start.Index || b < l.last && l.bytes(b+1) <= l.total/2 {
		t.Errorf("indexAtBytes(%d) is %d with %d bytes", l.total/2, b, l.bytes(b))
	}
}
