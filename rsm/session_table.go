package rsm

import (
	"cmp"
	"container/list"
	"slices"

	"github.com/quorate/quorate/internal/id"
)

// The table of sessions, ordered by id. A View must not see later changes, and
// the host takes one after every batch, so copying the whole table each time
// would cost 8 bytes a session and batch. Instead it is three levels deep and
// only what a batch touches is copied, once:
//
//	pages ──▶ page of ≤ 64 ──▶ session ──▶ answers
//
//	copied for a session that is used: 8 B per page (of 16 to 64 sessions),
//	512 B of its page, 64 B of itself, 8 B per answer remembered for it
//
// What carries the current epoch belongs to the table alone and may be changed;
// publish hands all of it to a View and begins the next epoch.
const pageMax = 64

// session is one client's. Answers are sorted by sequence and lie in
// [lowest, lowest+window of their time).
type session struct {
	epoch   uint64
	id      SessionID
	last    id.Index // of the newest entry that used it; evictions go by it
	lowest  Sequence // every sequence below is answered or given up
	answers []*answer
}

// answer says that a sequence was applied. It does not change after the batch in
// which it was made.
type answer struct {
	n      Sequence
	kept   bool
	result Result // the machine's; shared with nobody outside
}

type page struct {
	epoch    uint64
	sessions []*session
}

type table struct {
	limits SessionLimits
	epoch  uint64
	owned  bool // pages (the outer slice) is of this epoch
	pages  []*page
	count  int

	// Sessions by last use, for eviction: not part of what a View sees.
	order *list.List // of SessionID
	place map[SessionID]*list.Element
}

func newTable() *table {
	return &table{limits: DefaultSessionLimits(), order: list.New(), place: map[SessionID]*list.Element{}}
}

// publish returns the sessions as they are and never will be otherwise.
func (t *table) publish() []*page {
	t.epoch++
	t.owned = false
	return t.pages
}

// locate returns the page that holds or would hold s and the place in it.
func (t *table) locate(s SessionID) (p, at int, found bool) {
	p, exact := slices.BinarySearchFunc(t.pages, s, func(g *page, s SessionID) int { return cmp.Compare(g.sessions[0].id, s) })
	if !exact {
		p--
	}
	if p < 0 {
		return 0, 0, false
	}
	at, found = slices.BinarySearchFunc(t.pages[p].sessions, s, func(x *session, s SessionID) int { return cmp.Compare(x.id, s) })
	return p, at, found
}

// use returns the session to be changed by the entry at i; nil if there is none.
func (t *table) use(s SessionID, i id.Index) *session {
	p, at, found := t.locate(s)
	if !found {
		return nil
	}
	g := t.ownPage(p)
	x := g.sessions[at]
	if x.epoch != t.epoch {
		x = &session{epoch: t.epoch, id: x.id, lowest: x.lowest, answers: slices.Clone(x.answers)}
		g.sessions[at] = x
	}
	x.last = i
	t.order.MoveToBack(t.place[s])
	return x
}

func (t *table) ownPages() {
	if !t.owned {
		t.pages, t.owned = slices.Clone(t.pages), true
	}
}

func (t *table) ownPage(p int) *page {
	t.ownPages()
	g := t.pages[p]
	if g.epoch != t.epoch {
		g = &page{epoch: t.epoch, sessions: append(make([]*session, 0, pageMax), g.sessions...)}
		t.pages[p] = g
	}
	return g
}

// add puts a new session behind all others: ids are indexes, so it is the largest
// and the newest.
func (t *table) add(x *session) {
	t.insertLast(x)
	t.place[x.id] = t.order.PushBack(x.id)
}

func (t *table) insertLast(x *session) {
	t.ownPages()
	x.epoch = t.epoch
	t.count++
	if p := len(t.pages) - 1; p >= 0 && len(t.pages[p].sessions) < pageMax {
		g := t.ownPage(p)
		g.sessions = append(g.sessions, x)
		return
	}
	t.pages = append(t.pages, &page{epoch: t.epoch, sessions: append(make([]*session, 0, pageMax), x)})
}

// remove takes a session out, if it is there.
func (t *table) remove(s SessionID) {
	p, at, found := t.locate(s)
	if !found {
		return
	}
	g := t.ownPage(p)
	g.sessions = slices.Delete(g.sessions, at, at+1)
	if len(g.sessions) == 0 {
		t.pages = slices.Delete(t.pages, p, p+1)
	} else {
		t.merge(p)
		t.merge(p - 1)
	}
	t.count--
	t.order.Remove(t.place[s])
	delete(t.place, s)
}

// merge makes page p and the next into one if both fit in half a page.
//
// Invariant: two neighbours hold more than half a page together, so the outer
// slice stays short however sessions come and go.
func (t *table) merge(p int) {
	if p < 0 || p+1 >= len(t.pages) || len(t.pages[p].sessions)+len(t.pages[p+1].sessions) > pageMax/2 {
		return
	}
	into := t.ownPage(p)
	into.sessions = append(into.sessions, t.pages[p+1].sessions...)
	t.pages = slices.Delete(t.pages, p+1, p+2)
}

// evict makes room until at most n sessions are left; the one unused for the
// longest run of the log goes first.
func (t *table) evict(n int) {
	for t.count > n {
		t.remove(t.order.Front().Value.(SessionID))
	}
}

// find returns the answer to n, and where it is or would be.
func (x *session) find(n Sequence) (*answer, int) {
	at, found := slices.BinarySearchFunc(x.answers, n, func(a *answer, n Sequence) int { return cmp.Compare(a.n, n) })
	if !found {
		return nil, at
	}
	return x.answers[at], at
}

// raise forgets the answers below lowest.
func (x *session) raise(lowest Sequence) {
	if lowest <= x.lowest {
		return
	}
	x.lowest = lowest
	_, at := x.find(lowest)
	x.answers = slices.Delete(x.answers, 0, at)
}
