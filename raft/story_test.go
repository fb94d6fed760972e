package raft

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/trace"
)

// Stories: testdata/*.txt. A story is blocks of commands, `----`, and what
// happened. `go test ./raft -run Story -rewrite` writes what happened now; read
// the diff before you accept it. testdata/README explains the commands.

var rewrite = flag.Bool("rewrite", false, "rewrite testdata/*.txt with what happens now")

func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt")+mission(string(text)), func(t *testing.T) {
			got := tellStory(t, string(text))
			if *rewrite {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Errorf("the story goes another way (go test ./raft -run Stories -rewrite, then read the diff):\n%s", firstDifference(string(text), got))
			}
		})
	}
}

// mission is the numbers of docs/MISSION that a story's comments name.
func mission(text string) string {
	var found []string
	for _, l := range strings.Split(text, "\n") {
		if strings.HasPrefix(l, "#") {
			for _, n := range missionNumber.FindAllString(l, -1) {
				if !slices.Contains(found, n) {
					found = append(found, n)
				}
			}
		}
	}
	if found == nil {
		return ""
	}
	return " " + strings.Join(found, " ")
}

var missionNumber = regexp.MustCompile(`\bM[0-9]+\b`)

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := 0; i < len(w) && i < len(g); i++ {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant %s\n got %s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("%d lines, got %d", len(w), len(g))
}

type story struct {
	*world
	t       testing.TB
	out     []string
	slow    map[id.NodeID]bool // disk waits for `sync`
	lazy    map[id.NodeID]bool // machine and log reader wait for `work`
	cuts    map[[2]id.NodeID]bool
	options func(*Config)
	breaks  []faults.Switch
	number  int
}

func tellStory(t testing.TB, text string) string {
	s := &story{world: newWorld(), t: t, slow: map[id.NodeID]bool{}, lazy: map[id.NodeID]bool{}, cuts: map[[2]id.NodeID]bool{}, options: func(*Config) {}}
	s.tell = s.hear
	var b strings.Builder
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	inOutput := false
	for i := 0; i < len(lines); i++ {
		l := lines[i]
		switch {
		case l == "----":
			inOutput = true
			b.WriteString("----\n")
			for _, o := range s.out {
				b.WriteString(o + "\n")
			}
			s.out = nil
		case inOutput && l != "":
		case l == "" || strings.HasPrefix(l, "#"):
			inOutput = false
			b.WriteString(l + "\n")
		default:
			b.WriteString(l + "\n")
			s.command(l)
			if i+1 == len(lines) || lines[i+1] == "" { // a block without its ---- yet
				b.WriteString("----\n")
				for _, o := range s.out {
					b.WriteString(o + "\n")
				}
				s.out = nil
			}
		}
	}
	if v := s.oracle.violation; v != "" && len(s.breaks) == 0 {
		t.Errorf("the oracle: %s", v)
	}
	return b.String()
}

func (s *story) say(format string, args ...any) { s.out = append(s.out, fmt.Sprintf(format, args...)) }

func node(text string) id.NodeID {
	n, err := strconv.Atoi(strings.TrimPrefix(text, "n"))
	if err != nil {
		panic("not a node: " + text)
	}
	return nid(n)
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic("not a number: " + text)
	}
	return n
}

// command runs one line.
func (s *story) command(line string) {
	f := strings.Fields(line)
	quiet := f[0] == "quietly"
	if quiet {
		f = f[1:]
	}
	before := len(s.out)
	s.run(f)
	if quiet {
		s.out = s.out[:before]
	}
}

func (s *story) run(f []string) {
	at := func(i int) *member {
		m := s.member(node(f[i]))
		if m == nil {
			panic("no such member: " + f[i])
		}
		return m
	}
	give := func(m *member, e ...Event) { m.inbox = append(m.inbox, e...); s.step(m) }
	switch f[0] {
	case "options":
		s.setOptions(f[1:])
	case "break":
		s.breaks = append(s.breaks, faults.Switch(f[1]))
	case "group":
		s.group(f[1:])
	case "log": // log n1 term=3 commit=1 1 1 2
		s.prepare(at(1), f[2:])
	case "start":
		for _, m := range s.members {
			if !m.up && m.lives == 0 {
				s.boot(m)
			}
		}
	case "join":
		m := s.newMember(node(f[1]), disk{})
		s.boot(m)
	case "timeout":
		m := at(1)
		s.now = max(s.now, m.node.Deadline())
		s.step(m)
	case "wait": // time passes, deadlines fire, nothing is delivered
		s.wait(id.Duration(number(f[1])) * id.Millisecond)
	case "run": // time passes and everything is delivered as it comes
		end := s.now.Add(id.Duration(number(f[1])) * id.Millisecond)
		for s.now < end {
			s.wait(min(id.Millisecond, end.Sub(s.now)))
			for round := 0; len(s.net) > 0 && round < 100; round++ {
				s.deliver(nil)
			}
		}
	case "late": // a starved machine: time passes, nobody looks
		s.now = s.now.Add(id.Duration(number(f[1])) * id.Millisecond)
	case "step":
		s.step(at(1))
	case "propose":
		p := Propose{}
		for _, d := range f[2:] {
			s.number++
			p.Proposals = append(p.Proposals, Proposal{ID: ProposalID{Origin: node(f[1]), Sequence: uint64(s.number)}, Data: []byte(d)})
		}
		give(at(1), p)
	case "read":
		s.oracle.asked(at(1), ReadID(number(f[2])))
		give(at(1), Read{ID: ReadID(number(f[2]))})
	case "change":
		s.number++
		give(at(1), Change{ID: ProposalID{Origin: node(f[1]), Sequence: uint64(s.number)}, Change: parseChange(f[2:])})
	case "transfer":
		to := id.None
		if len(f) > 2 {
			to = node(f[2])
		}
		give(at(1), Transfer{To: to})
	case "campaign":
		give(at(1), Campaign{})
	case "forget":
		give(at(1), ForgetLeader{})
	case "unreachable":
		give(at(1), Unreachable{Peer: node(f[2])})
	case "flush":
		m := at(1)
		m.flushed = m.applied
		give(m, Flushed{Index: m.flushed})
	default:
		s.network(f, at)
	}
}

// network is the commands that move packets, disks and machines.
func (s *story) network(f []string, at func(int) *member) {
	switch f[0] {
	case "deliver": // deliver [n1→n2 or n1 or *] [kind]: once what is on its way
		s.deliver(f[1:])
	case "settle": // deliver and sync until nothing moves
		for round := 0; len(s.net) > 0 && round < 1000; round++ {
			s.deliver(nil)
		}
	case "drop":
		for _, p := range s.take(f[1:]) {
			s.say("%v   lost", p)
		}
	case "double":
		for _, p := range s.take(f[1:]) {
			s.net = append(s.net, p, p)
		}
	case "reverse":
		slices.Reverse(s.net)
	case "cut":
		s.cuts[[2]id.NodeID{node(f[1]), node(f[2])}] = true
		if len(f) < 4 { // cut n1 n2 oneway
			s.cuts[[2]id.NodeID{node(f[2]), node(f[1])}] = true
		}
	case "isolate":
		for _, m := range s.members {
			s.cuts[[2]id.NodeID{node(f[1]), m.id}] = true
			s.cuts[[2]id.NodeID{m.id, node(f[1])}] = true
		}
	case "heal":
		clear(s.cuts)
	case "disk":
		s.slow[at(1).id] = f[2] == "slow"
	case "machine":
		s.lazy[at(1).id] = f[2] == "slow"
	case "sync": // sync n1 [count]
		m, n := at(1), len(at(1).writes)
		if len(f) > 2 {
			n = number(f[2])
		}
		for ; n > 0 && len(m.writes) > 0; n-- {
			m.syncOne(s.world)
		}
		s.step(m)
	case "work":
		at(1).work(s.world)
		s.step(at(1))
	case "crash":
		at(1).crash(s.world, 0)
	case "restart":
		s.boot(at(1))
	case "pending":
		for _, p := range s.net {
			s.say("%v", p)
		}
	case "status":
		s.status()
	case "logs":
		for _, m := range s.members {
			s.say("%v %s", m.id, logText(m))
		}
	default:
		panic("no such command: " + f[0])
	}
}

func (s *story) setOptions(f []string) {
	before := s.options
	s.options = func(c *Config) {
		before(c)
		for _, o := range f {
			k, v, _ := strings.Cut(o, "=")
			n := number(v)
			switch k {
			case "window-messages":
				c.WindowMessages = n
			case "window-entries":
				c.WindowEntries = n
			case "window-bytes":
				c.WindowBytes = n
			case "message-bytes":
				c.MessageBytes = n
			case "uncommitted-bytes":
				c.UncommittedBytes = n
			case "retain-bytes":
				c.RetainBytes = n
			case "tail-bytes":
				c.TailBytes = n
			case "apply-bytes":
				c.ApplyBytes = n
			default:
				panic("no such option: " + k)
			}
		}
	}
}

func (s *story) newMember(n id.NodeID, d disk) *member {
	c := testConfig(n, s.breaks...)
	s.options(&c)
	return s.add(c, d)
}

// group makes the founders: `group 3`, or `group n1 n2 n3:learner`.
func (s *story) group(f []string) {
	var ms []membership.Member
	if len(f) == 1 && !strings.HasPrefix(f[0], "n") {
		n := number(f[0])
		f = nil
		for i := 1; i <= n; i++ {
			f = append(f, fmt.Sprintf("n%d", i))
		}
	}
	for _, x := range f {
		name, role, _ := strings.Cut(x, ":")
		m := membership.Member{ID: node(name), Name: name, Role: membership.Voter}
		if role == "learner" {
			m.Role = membership.Learner
		}
		ms = append(ms, m)
	}
	c, err := membership.Bootstrap(ms)
	if err != nil {
		panic(err)
	}
	for _, m := range ms {
		s.newMember(m.ID, disk{start: LogStart{Config: c}})
	}
}

// prepare writes a log before the start: terms in order, and term=, commit=.
func (s *story) prepare(m *member, f []string) {
	for _, x := range f {
		switch k, v, ok := strings.Cut(x, "="); {
		case ok && k == "term":
			m.image.hard.Term = id.Term(number(v))
		case ok && k == "vote":
			m.image.hard.Vote = node(v)
		case ok && k == "commit":
			m.image.hard.Commit = id.Index(number(v))
		default:
			e := Entry{Term: id.Term(number(x)), Index: m.image.last() + 1, Kind: EntryCommand, Data: []byte(fmt.Sprintf("%s@%d", x, m.image.last()+1))}
			m.image.entries = append(m.image.entries, e)
			m.image.hard.Term = max(m.image.hard.Term, e.Term)
			s.oracle.registry[place{e.Index, e.Term}] = e
		}
	}
}

func (s *story) boot(m *member) {
	if err := m.start(s.world); err != nil {
		s.say("%v does not start: %v", m.id, err)
	}
	s.after(m)
}

// step runs a pass and, where the disk and the machine are quick, what follows.
func (s *story) step(m *member) {
	if !m.up {
		return
	}
	s.pass(m)
	s.after(m)
}

func (s *story) after(m *member) {
	for m.up {
		again := false
		if !s.slow[m.id] && len(m.writes) > 0 {
			m.sync(s.world)
			again = true
		}
		if !s.lazy[m.id] && m.work(s.world) {
			again = true
		}
		if !again && len(m.inbox) == 0 {
			return
		}
		s.pass(m)
	}
}

func (s *story) wait(d id.Duration) {
	end := s.now.Add(d)
	for {
		var who *member
		next := end
		for _, m := range s.members {
			if m.up {
				if at := m.node.Deadline(); at <= next && (who == nil || at < next) {
					next, who = at, m
				}
			}
		}
		if who == nil {
			s.now = end
			return
		}
		s.now = max(s.now, next)
		s.step(who)
	}
}

// take removes from the network what a pattern names.
func (s *story) take(f []string) []packet {
	var from, to id.NodeID
	kind := ""
	for _, x := range f {
		switch a, b, ok := strings.Cut(x, "→"); {
		case ok:
			from, to = node(a), node(b)
		case strings.HasPrefix(x, "n"):
			to = node(x)
		default:
			kind = x
		}
	}
	var taken, left []packet
	for _, p := range s.net {
		k := strings.TrimPrefix(fmt.Sprintf("%T", p.message), "raft.")
		if from != id.None && p.from != from || to != id.None && p.to != to || kind != "" && k != kind {
			left = append(left, p)
		} else {
			taken = append(taken, p)
		}
	}
	s.net = left
	return taken
}

func (s *story) deliver(f []string) {
	for _, p := range s.take(f) {
		to := s.member(p.to)
		if to == nil || !to.up || s.cuts[[2]id.NodeID{p.from, p.to}] {
			s.say("%v   lost", p)
			continue
		}
		s.say("%v", p)
		to.inbox = append(to.inbox, Received{From: p.from, Message: p.message})
		s.step(to)
	}
}

// hear tells what a node did.
func (s *story) hear(m *member, e Effect) {
	who := "  " + m.id.String() + " "
	switch e := e.(type) {
	case Persist:
		sync := ""
		if !e.MustSync {
			sync = " (no sync)"
		}
		if s.slow[m.id] {
			s.say("%swrites #%d%s: term %d, vote %v%s", who, e.Token, sync, e.Hard.Term, e.Hard.Vote, entriesText(e.Entries))
		}
	case Send:
		if e.After > m.durable {
			if s.slow[m.id] {
				s.say("%sholds until #%d: →%v %s", who, e.After, e.To, messageText(e.Message))
			}
		}
	case Apply:
		s.say("%sapplies%s", who, entriesText(e.Entries))
	case Load:
		s.say("%sloads [%d, %d)", who, e.From, e.To)
	case Placed:
		s.say("%splaced proposal %d at %d in term %d", who, e.ID.Sequence, e.Index, e.Term)
	case Refused:
		what := fmt.Sprintf("proposal %d", e.ID.Sequence)
		if e.IsRead {
			what = fmt.Sprintf("read %d", e.Read)
		}
		s.say("%srefuses %s: %v", who, what, e.Why)
		if e.Detail != "" {
			s.say("%s  %s", who, e.Detail)
		}
	case ReadReady:
		s.say("%sserves read %d at %d", who, e.ID, e.Index)
	case SendSnapshot:
		s.say("%ssends %v a snapshot of %d or later", who, e.To, e.MinIndex)
	case Install:
		s.say("%sinstalls the snapshot (%d, term %d)", who, e.Snapshot.Index, e.Snapshot.Term)
	case Cut:
		s.say("%scuts its log up to %d", who, e.Start.Index)
	case TransferEnded:
		s.say("%stransfer to %v ended: %s", who, e.To, e.Why)
	case Removed:
		s.say("%sis removed (committed: %v)", who, e.Committed)
	case Halt:
		s.say("%shalts: %v", who, e.Reason)
	case Emit:
		s.trace(who, e.Event)
	}
}

func (s *story) trace(who string, e trace.Event) {
	switch e.Kind {
	case trace.SnapshotState, trace.ReadRound:
		return // told by their effects
	}
	text := who + string(e.Kind)
	for _, f := range e.Fields {
		if f.Name == string(e.Kind) && f.Text != "" {
			text += " " + f.Text
		} else if f.Text != "" {
			text += " " + f.Name + "=" + f.Text
		} else {
			text += fmt.Sprintf(" %s=%d", f.Name, f.Number)
		}
	}
	s.out = append(s.out, text)
}

func (s *story) status() {
	for _, m := range s.members {
		if !m.up {
			s.say("%v down", m.id)
			continue
		}
		x := m.node.Status()
		line := fmt.Sprintf("%v %v term %d leader %v last %d durable %d commit %d applied %d", m.id, x.Role, x.Term, x.Leader, x.Last, x.Durable, x.Commit, x.Applied)
		for _, p := range x.Progress {
			line += fmt.Sprintf("; %v %v match %d next %d", p.ID, p.State, p.Match, p.Next)
		}
		s.say("%s", line)
	}
}

func logText(m *member) string {
	text := ""
	if m.view.start.Index > 0 {
		text = fmt.Sprintf("(%d, term %d)", m.view.start.Index, m.view.start.Term)
	}
	for _, e := range m.view.entries {
		text += fmt.Sprintf(" %d", e.Term)
	}
	return strings.TrimSpace(text)
}

// parseChange reads "add-voter n4 remove n1 if=3".
func parseChange(f []string) membership.Change {
	var c membership.Change
	kinds := map[string]membership.OpKind{
		"add-voter": membership.AddVoter, "add-learner": membership.AddLearner, "promote": membership.Promote,
		"demote": membership.Demote, "remove": membership.Remove,
	}
	for i := 0; i < len(f); i++ {
		if v, ok := strings.CutPrefix(f[i], "if="); ok {
			c.If = uint64(number(v))
			continue
		}
		k, ok := kinds[f[i]]
		if !ok {
			panic("no such step: " + f[i])
		}
		i++
		c.Ops = append(c.Ops, membership.Op{Kind: k, Member: membership.Member{ID: node(f[i]), Name: f[i]}})
	}
	return c
}
