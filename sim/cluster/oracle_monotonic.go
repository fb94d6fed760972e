package cluster

import "github.com/quorate/quorate/raft"

// monotonic checks that term, commit and applied never go back within a life;
// what survives a restart is checked by recovered and, for votes, by ballot.
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
	}
}
