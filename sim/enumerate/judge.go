package enumerate

import "fmt"

// judge compares the table with what MISSION states of each situation. What it
// finds different is a surprise: either the rule or the statement is wrong. It
// asks in both directions: what must be kept is, and where the outcome is open
// both were met, or the table would say nothing.
func (r *Report) judge() {
	if !r.Complete || r.Violation != nil {
		return
	}
	met := [situations]bool{}
	for i := range r.Rows {
		w := &r.Rows[i]
		met[w.Situation] = true
		r.judgeRow(w)
	}
	if len(r.Options.Situations) > 0 || r.Options.Crashes == 0 || r.Options.Elections == 0 {
		return // not all can be met
	}
	for s := BeforeData; s <= TwoLeaders; s++ {
		if !met[s] {
			r.surprise("situation %d was never met", s.Number())
		}
	}
}

func (r *Report) surprise(format string, args ...any) {
	r.Surprises = append(r.Surprises, fmt.Sprintf(format, args...))
}

func (r *Report) judgeRow(w *Row) {
	about := fmt.Sprintf("%q, the command on %s:", w.Caption.English, disksText(w.Disks))
	all := &w.All
	if all.TwiceWithSessions > 0 {
		r.surprise("%s in %d states a machine with sessions applies it twice", about, all.TwiceWithSessions)
	}
	if w.Disks >= 2 && all.Kept != all.States {
		r.surprise("%s it must be kept, and is not in %d states", about, all.States-all.Kept)
	}
	if w.Situation == Answered && (all.Kept != all.States || all.Answered != all.States) {
		r.surprise("%s an answered command is lost in %d states", about, all.States-all.Kept)
	}
	if (w.Situation == AllFollowers || w.Situation >= CommittedAtLeader && w.Situation <= CommittedAll || w.Situation == Answered) && w.Disks < 2 {
		r.surprise("%s it must be on 2 disks at least", about)
	}
	if r.Options.Retries > 0 {
		if w.Situation == BeforeData && all.Twice > 0 {
			r.surprise("%s it never arrived, so the retry is the first; in %d states it is applied twice", about, all.Twice)
		}
		if w.Situation >= OnlyLeader && w.Situation <= CommittedAll && all.Twice == 0 {
			r.surprise("%s without sessions a retry should be able to apply it twice, and never does", about)
		}
		return // what follows is about the first attempt alone
	}
	// Few bounds leave room for both outcomes of what is open.
	open := w.Disks < 2 && r.Options.Crashes > 0 && r.Options.Elections > 0 && len(r.Options.Candidates) == 0
	switch w.Situation {
	case BeforeData:
		open = false
		if all.Lost != all.States {
			r.surprise("%s it appears in %d states", about, all.States-all.Lost)
		}
	case OnlyLeader, AllFollowers, SomeFollower:
		if all.Answered > 0 {
			r.surprise("%s in %d states the client is answered", about, all.Answered)
		}
	}
	if open && (all.Kept+all.Depends == 0 || all.Lost+all.Depends == 0) {
		r.surprise("%s both outcomes are legal, but only one is ever met", about)
	}
}
