package cluster

import "github.com/quorate/quorate/raft"

// Resource bounds that are checked on every pass. They are generous: a leak
// reaches any bound.
const (
	persistsMax = 10_000
	heldMax     = 50_000
)

// monotonic checks that term, commit and applied never go back within a life;
// what survives a restart is checked by recovered and, for votes, by ballot. It
// also checks that what waits is bounded.
func (o *oracles) monotonic(l *life, now raft.Status) {
	b := l.before
	switch {
	case now.Term < b.Term:
		o.c.fail("%v goes back from term %d to %d", l.n.self, b.Term, now.Term)
	case now.Commit < b.Commit:
		o.c.fail("%v goes back from commit index %d to %d", l.n.self, b.Commit, now.Commit)
	case now.Applied < b.Applied:
		o.c.fail("%v goes back from applied index %d to %d", l.n.self, b.Applied, now.Applied)
	case now.Applied > now.Commit:
		o.c.fail("%v has applied %d, committed are %d", l.n.self, now.Applied, now.Commit)
	case len(l.persists) > persistsMax:
		o.c.fail("%v has %d writes waiting for its disk", l.n.self, len(l.persists))
	case len(l.requests) > heldMax || len(l.asks) > heldMax:
		o.c.fail("%v has %d clients and %d requests to peers waiting", l.n.self, len(l.requests), len(l.asks))
	}
}
