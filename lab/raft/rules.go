package raft

import (
	"fmt"
	"strings"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	production "github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/trace"
)

// What fires, in words. Most of it production reports itself, with the section of
// the paper; what it leaves silent (a refused pre-vote, a message of the past) shows
// in what came and what was answered.

// tell turns one report of production into a rule.
func (c *Core) tell(t *lab.Turn, e trace.Event) {
	switch e.Kind {
	case trace.RoleChanged:
		c.tellRole(t, e)
	case trace.TermChanged:
		if e.Rule == "raft §5.1 greater term" {
			t.Rule("term", fmt.Sprintf("hears of term %d, greater than its own: enters it, and whatever it was in the old one is over (§5.1)", number(e, "term")))
		}
	case trace.Voted:
		c.tellVote(t, e)
	case trace.Truncated:
		which := fmt.Sprintf("entries %d to %d", number(e, "from"), number(e, "last"))
		if number(e, "from") == number(e, "last") {
			which = fmt.Sprintf("entry %d", number(e, "from"))
		}
		t.Rule("conflict", "deletes its "+which+": the leader's log has something else there (§5.3)")
	case trace.Committed:
		c.tellCommit(t, e)
	case trace.ConfigChanged:
		c.tellMembers(t, e)
	case trace.Transfer:
		if out := text(e, "outcome"); out == "started" {
			t.Rule("transfer", "hands the office over to "+text(e, "to")+" (thesis §3.10)")
		} else {
			t.Rule("transfer", "stays in office: "+out)
		}
	}
}

// tellMembers tells a configuration that is new to this node: of whom it consists,
// or that only their data directories were noted.
func (c *Core) tellMembers(t *lab.Turn, e trace.Event) {
	_, members, _ := strings.Cut(text(e, "members"), " ")
	v := number(e, "version")
	switch {
	case v == c.version || c.version == 0:
	case v < c.version:
		t.Rule("membership", fmt.Sprintf("configuration %d is in force again, for the entry of the newer one is gone: %s (thesis §4.1)", v, members))
	case members == c.members:
		t.Rule("membership", fmt.Sprintf("configuration %d notes whose data directory is whose: nobody comes back with another disk unnoticed", v))
	default:
		t.Rule("membership", fmt.Sprintf("configuration %d is in force as soon as it is in the log: %s (thesis §4.1)", v, members))
	}
	c.version, c.members = v, members
}

// tellRole says why a role changed.
func (c *Core) tellRole(t *lab.Turn, e trace.Event) {
	term, leader := number(e, "term"), text(e, "leader")
	switch e.Rule {
	case "thesis §9.6 pre-vote":
		c.tellWhy(t)
		t.Rule("pre-vote", fmt.Sprintf("asks who would vote for it, without entering term %d yet (thesis §9.6)", term+1))
	case "raft §5.2":
		if c.broken(faults.NoPreVote) {
			c.tellWhy(t)
		}
		t.Rule("candidacy", fmt.Sprintf("enters term %d, votes for itself and asks for votes (§5.2)", term))
	case "raft §5.2 majority of votes":
		t.Rule("majority", fmt.Sprintf("more than half of the voters voted for it: it leads term %d (§5.2)", term))
	case "raft §5.2 no majority":
		t.Rule("no-majority", "too many refused: it gives up for now and tries again later (§5.2)")
	case "raft §5.2 leader of the term":
		t.Rule("follow", fmt.Sprintf("hears %s, the leader of term %d, and follows it (§5.2)", leader, term))
	case "raft §5.1 greater term":
		if c.soft.Role == production.Leader {
			t.Rule("step-down", fmt.Sprintf("led an older term than %d: it is leader no more (§5.1)", term))
		}
	case "check-quorum":
		t.Rule("check-quorum", "has not heard from a majority for a while: it is leader no more, since it could not decide anything (thesis §6.2)")
	case "stalled disk":
		t.Rule("disk-stall", "its disk makes no progress: it is leader no more")
	case "thesis §4.2.2 removed":
		t.Rule("membership", "the configuration does not let it vote any more: it is leader no more (thesis §4.2.2)")
	}
}

// tellWhy says why an election begins.
func (c *Core) tellWhy(t *lab.Turn) {
	if c.told {
		t.Rule("told", "is told to stand for election")
	} else {
		t.Rule("silence", "heard no leader for its random time: an election begins (§5.2)")
	}
}

// tellVote says who got the vote, or why not.
func (c *Core) tellVote(t *lab.Turn, e trace.Event) {
	to, term, reason := text(e, "for"), number(e, "term"), text(e, "reason")
	switch {
	case reason == "candidate": // told with the candidacy
		c.voted = voted{id.Term(term), to}
	case number(e, "granted") == 1:
		c.tellGranted(t, to, id.Term(term))
	case reason == "its log is older":
		t.Rule("log-check", fmt.Sprintf("refuses %s its vote: %s's log is older than its own (§5.4.1)", to, to))
	case reason == "this term has a leader":
		t.Rule("one-vote", fmt.Sprintf("refuses %s its vote: term %d has a leader (§5.2)", to, term))
	default:
		t.Rule("one-vote", fmt.Sprintf("refuses %s its vote: it has %s in term %d, and a term has one vote of each (§5.2)", to, reason, term))
	}
}

// voted is whom the vote of a term went to, as far as this life knows.
type voted struct {
	term id.Term
	to   string
}

// tellGranted says why somebody got the vote; with a rule broken, the truth.
func (c *Core) tellGranted(t *lab.Turn, to string, term id.Term) {
	switch {
	case c.voted.term == term && c.voted.to != to:
		t.Rule("vote", fmt.Sprintf("gives %s its vote of term %d, forgetting that %s has it", to, term, c.voted.to))
	case c.broken(faults.NoLogCheck):
		t.Rule("vote", fmt.Sprintf("gives %s its vote of term %d: the first to ask, and nobody looks at its log", to, term))
	default:
		t.Rule("vote", fmt.Sprintf("gives %s its vote of term %d: the first to ask, and its log is as new as its own (§5.2, §5.4.1)", to, term))
	}
	c.voted = voted{term, to}
}

// tellCommit tells the one commitment of an office that matters to the story: by its
// own entry a leader settles what it found.
func (c *Core) tellCommit(t *lab.Turn, e trace.Event) {
	term := id.Term(number(e, "term"))
	if c.soft.Role != production.Leader || c.soft.Term != term || c.ownTerm == term {
		return
	}
	c.ownTerm = term
	t.Rule("own-term", fmt.Sprintf("a majority has its first entry of term %d: that entry, and all it found before it, is decided (§5.4.2)", term))
}

// sent tells why an answer is a refusal, where production reports nothing.
func (c *Core) sent(t *lab.Turn, s host.Send) {
	v, ok := s.Message.(production.PreVote)
	asked, is := c.heard.of.(production.RequestPreVote)
	if !ok || !is || v.Granted || s.To != node(c.heard.from) {
		return
	}
	mine := c.lastTerm()
	older := asked.LastTerm < mine || asked.LastTerm == mine && asked.LastIndex < id.Index(len(c.entries))
	switch {
	case asked.Term < v.Term:
		t.Rule("old-term", fmt.Sprintf("%s asks who would vote for it in term %d, but this node has reached term %d already: refused, and told so (§5.1)", s.To, asked.Term+1, v.Term))
	case older && !c.broken(faults.NoLogCheck) && !c.leaderAlive(t):
		t.Rule("log-check", fmt.Sprintf("would refuse %s its vote: %s's log is older than its own (§5.4.1)", s.To, s.To))
	default:
		t.Rule("leader-alive", fmt.Sprintf("would refuse %s its vote: it leads, or heard its leader a moment ago (thesis §4.2.3)", s.To))
	}
}

// leaderAlive is production's reason, seen from outside: this node leads, or heard
// its leader within the shortest silence.
func (c *Core) leaderAlive(t *lab.Turn) bool {
	shortest := c.conf.WithDefaults().ElectionMin
	return c.Leads() || c.soft.Leader != id.None && c.leaderAt.Add(shortest) > t.Now
}

// unanswered tells what became of a message that changed nothing.
func (c *Core) unanswered(t *lab.Turn, before production.Status) {
	if c.stopped != "" {
		return
	}
	from := node(c.heard.from)
	switch m := c.heard.of.(type) {
	case production.RequestVote:
		switch {
		case m.Term < before.Term:
			t.Rule("old-term", fmt.Sprintf("%s asks for a vote in term %d, but this is term %d: refused, and told so (§5.1)", from, m.Term, before.Term))
		case m.Term > before.Term && c.soft.Term == before.Term:
			t.Rule("leader-alive", fmt.Sprintf("does not even take notice of %s's term %d: it leads, or heard its leader a moment ago (thesis §4.2.3)", from, m.Term))
		}
	case production.Append, production.Heartbeat:
		if term := c.heard.of.SenderTerm(); term < before.Term {
			t.Rule("old-term", fmt.Sprintf("%s still speaks as the leader of term %d, but this is term %d: refused, and told so (§5.1)", from, term, before.Term))
		}
		if c.soft.Leader == from {
			c.leaderAt = t.Now
		}
	}
}

func (c *Core) lastTerm() id.Term {
	if len(c.entries) == 0 {
		return 0
	}
	return c.entries[len(c.entries)-1].Term
}

func number(e trace.Event, name string) uint64 {
	for _, f := range e.Fields {
		if f.Name == name {
			return f.Number
		}
	}
	return 0
}

func text(e trace.Event, name string) string {
	for _, f := range e.Fields {
		if f.Name == name {
			return f.Text
		}
	}
	return ""
}
