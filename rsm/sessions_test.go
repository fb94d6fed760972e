package rsm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
)

// journal is a machine that applying twice shows in: it keeps every command, and
// answers which one in the row it was.
type journal struct {
	lines   []string // only appended to: Views share it
	applied id.Index
	fail    error // of the next Apply
	mute    bool  // the next Apply returns no results
	given   []Result
}

func (j *journal) Apply(b Batch, results []Result) ([]Result, error) {
	if j.fail != nil {
		return results, j.fail
	}
	for _, c := range b.Commands {
		j.lines = append(j.lines, string(c.Data))
		if !j.mute {
			results = append(results, Result(fmt.Sprintf("%d %s", len(j.lines), c.Data)))
		}
	}
	j.applied, j.given = b.Applied, slices.Clone(results)
	return results, nil
}

type journalView struct {
	lines   []string
	applied id.Index
}

func (j *journal) View() View { return journalView{j.lines[:len(j.lines):len(j.lines)], j.applied} }

func (v journalView) Applied() id.Index { return v.applied }
func (v journalView) Close() error      { return nil }
func (v journalView) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, strings.Join(v.lines, "\n"))
	return int64(n), err
}

func (j *journal) Restore(m Meta, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	j.lines, j.applied = nil, m.Index
	if len(b) > 0 {
		j.lines = strings.Split(string(b), "\n")
	}
	return nil
}

// replica is a machine with sessions around a journal, and where it is in a log.
type replica struct {
	t       *testing.T
	machine *Sessioned
	journal *journal
	at      id.Index
}

func newReplica(t *testing.T) *replica {
	j := &journal{}
	return &replica{t: t, machine: WithSessions(j), journal: j}
}

// apply applies commands in one batch and returns the answers.
func (r *replica) apply(commands ...[]byte) []Answer {
	r.t.Helper()
	b := Batch{Term: 1}
	for _, c := range commands {
		r.at++
		b.Commands = append(b.Commands, Command{Index: r.at, Term: 1, Data: c})
	}
	b.Applied = r.at
	results, err := r.machine.Apply(b, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	var answers []Answer
	for _, result := range results {
		a, err := DecodeAnswer(result)
		if err != nil {
			r.t.Fatal(err)
		}
		answers = append(answers, a)
	}
	return answers
}

func (r *replica) one(command []byte) Answer { r.t.Helper(); return r.apply(command)[0] }

func (r *replica) register() SessionID {
	r.t.Helper()
	a := r.one(EncodeRegister())
	if a.Status != Registered || a.Session != SessionID(r.at) {
		r.t.Fatalf("registering at %d was answered %+v", r.at, a)
	}
	return a.Session
}

func (r *replica) limit(l SessionLimits) {
	r.t.Helper()
	if a := r.one(EncodeSessionLimits(l)); a.Status != LimitsSet || r.machine.Limits() != l {
		r.t.Fatalf("limits %+v were answered %v; in force: %+v", l, a.Status, r.machine.Limits())
	}
}

// expect holds an answer against "answered: RESULT" or the name of a status.
func (r *replica) expect(a Answer, status AnswerStatus, result string) {
	r.t.Helper()
	if a.Status != status || string(a.Result) != result {
		r.t.Errorf("answered %q (%v), want %q (%v)", a.Result, a.Status, result, status)
	}
}

func (r *replica) applied(lines ...string) {
	r.t.Helper()
	if got, want := strings.Join(r.journal.lines, ", "), strings.Join(lines, ", "); got != want {
		r.t.Errorf("applied: %s; want: %s", got, want)
	}
}

func (r *replica) bytes() []byte {
	r.t.Helper()
	return written(r.t, r.machine.View())
}

func written(t *testing.T, v View) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := v.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("wrote %d bytes, said %d: %v", b.Len(), n, err)
	}
	return b.Bytes()
}

// restored is another member that got this one's snapshot.
func (r *replica) restored() *replica {
	r.t.Helper()
	n := newReplica(r.t)
	if err := n.machine.Restore(Meta{Index: r.at, Term: 1}, bytes.NewReader(r.bytes())); err != nil {
		r.t.Fatal(err)
	}
	n.at = r.at
	return n
}

func TestRetryIsAppliedOnceAndGetsTheFirstAnswerM58(t *testing.T) {
	r := newReplica(t)
	s := r.register()
	add := EncodeCommand(s, 1, 1, []byte("add"))
	r.expect(r.one(add), Answered, "1 add")
	r.expect(r.one(EncodePlain([]byte("other"))), Answered, "2 other")
	r.expect(r.one(add), Answered, "1 add")
	for _, a := range r.apply(add, EncodeCommand(s, 2, 1, []byte("sub")), EncodeCommand(s, 2, 1, []byte("sub")), add) {
		if want := map[bool]string{true: "1 add", false: "3 sub"}[strings.HasSuffix(string(a.Result), "add")]; string(a.Result) != want {
			t.Errorf("answered %q, want %q", a.Result, want)
		}
	}
	r.applied("add", "other", "sub")
}

// The retry reaches a member that has the first copy only in a snapshot.
func TestRetryBehindASnapshotGetsTheFirstAnswerM58(t *testing.T) {
	r := newReplica(t)
	s := r.register()
	add := EncodeCommand(s, 1, 1, []byte("add"))
	first := r.one(add)
	n := r.restored()
	r.expect(n.one(add), first.Status, string(first.Result))
	n.applied("add")
}

// What a session is for: without one the retry takes effect again.
func TestPlainCommandIsAppliedAsOftenAsItIsCommitted(t *testing.T) {
	r := newReplica(t)
	add := EncodePlain([]byte("add"))
	r.apply(add, add)
	r.one(add)
	r.applied("add", "add", "add")
}

func TestSeveralCommandsMayBeUnderWayAndOvertake(t *testing.T) {
	r := newReplica(t)
	s := r.register()
	one, two := EncodeCommand(s, 1, 1, []byte("one")), EncodeCommand(s, 2, 1, []byte("two"))
	r.expect(r.one(two), Answered, "1 two")
	r.expect(r.one(one), Answered, "2 one")
	r.expect(r.one(two), Answered, "1 two")
	r.applied("two", "one")
}

func TestSessionsAreApart(t *testing.T) {
	r := newReplica(t)
	a, b := r.register(), r.register()
	r.expect(r.one(EncodeCommand(a, 1, 1, []byte("of a"))), Answered, "1 of a")
	r.expect(r.one(EncodeCommand(b, 1, 1, []byte("of b"))), Answered, "2 of b")
	r.expect(r.one(EncodeCommand(a, 1, 1, []byte("of a"))), Answered, "1 of a")
}

func TestCommandOfAnEvictedSessionIsRefusedNotAppliedAgain(t *testing.T) {
	r := newReplica(t)
	r.limit(SessionLimits{Sessions: 2, Window: 4, AnswerBytes: 100})
	s := r.register()
	add := EncodeCommand(s, 1, 1, []byte("add"))
	r.one(add)
	r.register()
	r.register()
	for _, a := range []Answer{r.one(add), r.one(EncodeCommand(s, 2, 1, []byte("new"))), r.one(EncodeCommand(999, 1, 1, []byte("never registered")))} {
		r.expect(a, NoSession, "")
		if !errors.Is(a.Err(), NoSession) {
			t.Errorf("Err is %v", a.Err())
		}
	}
	r.applied("add")
}

// Whoever was used last stays, and being asked for an old answer is a use.
func TestEvictionFollowsUseInTheLog(t *testing.T) {
	r := newReplica(t)
	r.limit(SessionLimits{Sessions: 3, Window: 4, AnswerBytes: 100})
	a, b, c := r.register(), r.register(), r.register()
	first := EncodeCommand(a, 1, 1, []byte("of a"))
	r.one(first)
	r.one(EncodeCommand(b, 1, 1, []byte("of b")))
	r.one(EncodeCommand(c, 1, 1, []byte("of c")))
	r.one(first)
	n := r.restored() // the order of use is part of the state
	for _, m := range []*replica{r, n} {
		d := m.register() // evicts b
		for s, want := range map[SessionID]AnswerStatus{a: Answered, b: NoSession, c: Answered, d: Answered} {
			if got := m.one(EncodeCommand(s, 2, 1, []byte("x"))).Status; got != want {
				t.Errorf("session %d: %v, want %v", s, got, want)
			}
		}
	}
}

func TestClosedSessionIsGoneAndItsPlaceIsFree(t *testing.T) {
	r := newReplica(t)
	r.limit(SessionLimits{Sessions: 2, Window: 4, AnswerBytes: 100})
	a, b := r.register(), r.register()
	r.expect(r.one(EncodeClose(a)), Closed, "")
	r.expect(r.one(EncodeClose(a)), Closed, "")
	r.expect(r.one(EncodeCommand(a, 1, 1, []byte("late"))), NoSession, "")
	r.register()
	r.expect(r.one(EncodeCommand(b, 1, 1, []byte("still there"))), Answered, "1 still there")
}

// The client moves on without an answer; the copy that arrives afterwards finds
// the door closed.
func TestGivenUpCommandIsNotAppliedLater(t *testing.T) {
	r := newReplica(t)
	s := r.register()
	late := EncodeCommand(s, 1, 1, []byte("late"))
	r.expect(r.one(EncodeCommand(s, 2, 2, []byte("next"))), Answered, "1 next")
	r.expect(r.one(late), Past, "")
	r.applied("next")
}

func TestAnswersBelowTheLowestUnansweredAreForgotten(t *testing.T) {
	r := newReplica(t)
	s := r.register()
	empty := len(r.bytes())
	for n := range Sequence(20) {
		r.one(EncodeCommand(s, n+1, n+1, []byte("x")))
	}
	r.one(EncodeCommand(s, 21, 21, []byte("x")))
	if grown := len(r.bytes()) - empty - 2*21; grown > 10 {
		t.Errorf("21 answered commands left %d bytes in the table", grown)
	}
	r.expect(r.one(EncodeCommand(s, 20, 1, []byte("x"))), Past, "") // an old copy's lowest lowers nothing
}

func TestCommandBeyondTheWindowIsRefusedUntilThereIsRoom(t *testing.T) {
	r := newReplica(t)
	r.limit(SessionLimits{Sessions: 2, Window: 2, AnswerBytes: 100})
	s := r.register()
	r.one(EncodeCommand(s, 1, 1, []byte("one")))
	r.one(EncodeCommand(s, 2, 1, []byte("two")))
	r.expect(r.one(EncodeCommand(s, 3, 1, []byte("three"))), Ahead, "")
	r.expect(r.one(EncodeCommand(s, 1<<63, 1, []byte("far"))), Ahead, "")
	r.expect(r.one(EncodeCommand(s, 3, 2, []byte("three"))), Answered, "3 three")
	r.applied("one", "two", "three")
}

func TestAnswerTooLongToRememberIsStillAppliedOnce(t *testing.T) {
	r := newReplica(t)
	r.limit(SessionLimits{Sessions: 2, Window: 2, AnswerBytes: 6})
	s := r.register()
	long := EncodeCommand(s, 1, 1, []byte("longer"))
	answers := r.apply(long, long)
	r.expect(answers[0], Answered, "1 longer")
	r.expect(answers[1], NotKept, "")
	r.expect(r.restored().one(long), NotKept, "")
	if err := answers[1].Err(); !errors.Is(err, NotKept) {
		t.Errorf("Err is %v", err)
	}
	fits := EncodeCommand(s, 2, 1, []byte("fits")) // "2 fits" has 6 bytes
	r.one(fits)
	r.expect(r.one(fits), Answered, "2 fits")
	r.applied("longer", "fits")
}

func TestLimitsOutOfRangeAreRefusedAndLowerOnesEvict(t *testing.T) {
	r := newReplica(t)
	var all []SessionID
	for range 5 {
		all = append(all, r.register())
	}
	for _, l := range []SessionLimits{
		{0, 1, 1}, {1, 0, 1}, {sessionsMax + 1, 1, 1}, {1, windowMax + 1, 1}, {1, 1, answerBytesMax + 1}, {1 << 10, 1 << 10, 1<<10 + 1},
	} {
		if l.Validate() == nil {
			t.Errorf("%+v is valid", l)
		}
		r.expect(r.one(EncodeSessionLimits(l)), BadLimits, "")
	}
	if got := r.machine.Limits(); got != DefaultSessionLimits() || got.Validate() != nil {
		t.Errorf("refused limits are in force: %+v", got)
	}
	r.limit(SessionLimits{Sessions: 2, Window: 1, AnswerBytes: 0})
	for i, s := range all {
		want := NoSession
		if i >= 3 {
			want = Answered
		}
		if got := r.one(EncodeCommand(s, 1, 1, nil)).Status; got != want {
			t.Errorf("session %d: %v, want %v", s, got, want)
		}
	}
}

func TestBytesWithoutAnEnvelopeAreRefusedNotApplied(t *testing.T) {
	r := newReplica(t)
	s := r.register()
	whole := EncodeCommand(s, 1, 1, nil)
	for _, b := range [][]byte{
		nil, []byte("set k v"), {0}, whole[:1], whole[:2], whole[:3], whole[:5], {0xF5, 1, 0}, {0xF5, 1, 6},
		append(EncodeRegister(), 0), append(EncodeClose(s), 0), EncodeSessionLimits(SessionLimits{1, 1, 1})[:5],
		EncodeCommand(s, 0, 0, nil), EncodeCommand(s, 1, 0, nil), EncodeCommand(s, 1, 2, nil),
		{0xF5, 1, 2, 0x81, 0x00, 1, 0}, // session 1, spelled with a byte too many
	} {
		r.expect(r.one(b), Malformed, "")
	}
	r.applied()
}

// A member that does not know a version must not guess: others may know it.
func TestUnknownEnvelopeVersionStopsTheMember(t *testing.T) {
	r := newReplica(t)
	_, err := r.machine.Apply(Batch{Commands: []Command{{Index: 7, Data: []byte{0xF5, 2, 1}}}, Applied: 7}, nil)
	if err == nil || err.Error() != "entry 7: session envelope version 2, this version reads 1: upgrade this member" {
		t.Errorf("got %v", err)
	}
}

func TestResultsShareNoMemoryWithTheTable(t *testing.T) {
	r := newReplica(t)
	s := r.register()
	before := EncodeCommand(s, 1, 1, []byte("add"))
	for range 3 {
		a := r.one(before)
		r.expect(a, Answered, "1 add")
		clear(a.Result) // as the caller may
		for _, given := range r.journal.given {
			clear(given) // as the machine might
		}
	}
}

func TestViewDoesNotChange(t *testing.T) {
	r := newReplica(t)
	r.limit(SessionLimits{Sessions: 150, Window: 4, AnswerBytes: 100})
	var all []SessionID
	for range 150 {
		all = append(all, r.register())
	}
	view := r.machine.View().(*SessionedView)
	before := written(t, view)
	for i, s := range all {
		switch i % 3 {
		case 0:
			r.one(EncodeClose(s))
		case 1:
			r.apply(EncodeCommand(s, 1, 1, []byte("x")), EncodeCommand(s, 2, 2, []byte("y")))
		}
	}
	r.register()
	if !bytes.Equal(before, written(t, view)) || view.Sessions() != 150 || view.Applied() != 151 {
		t.Error("a view changed after it was taken")
	}
	if got := view.Inner().(journalView); len(got.lines) != 0 {
		t.Errorf("the inner view has %v", got.lines)
	}
	if n := r.machine.View().(*SessionedView).Sessions(); n != 101 {
		t.Errorf("%d sessions, want 101", n)
	}
}

func TestErrorOfTheMachineInsideStopsTheMember(t *testing.T) {
	r := newReplica(t)
	r.journal.fail = errors.New("broken")
	if _, err := r.machine.Apply(Batch{Applied: 1}, nil); !errors.Is(err, r.journal.fail) {
		t.Errorf("got %v", err)
	}
	r = newReplica(t)
	r.journal.mute = true
	_, err := r.machine.Apply(Batch{Commands: []Command{{Index: 1, Data: EncodePlain(nil)}}, Applied: 1}, nil)
	if err == nil || !strings.Contains(err.Error(), "returned 0 results for 1 commands") {
		t.Errorf("got %v", err)
	}
}

type durableJournal struct{ journal }

func (*durableJournal) Open() (id.Index, id.Term, error) { return 0, 0, nil }
func (*durableJournal) Flushed() (id.Index, error)       { return 0, nil }
func (*durableJournal) Flush() error                     { return nil }

func TestDurableMachineIsRefused(t *testing.T) {
	defer func() {
		if e := fmt.Sprint(recover()); !strings.Contains(e, "it must keep its sessions in its own storage") {
			t.Errorf("got %v", e)
		}
	}()
	WithSessions(&durableJournal{})
}

func TestClientNumbersItsCommands(t *testing.T) {
	r := newReplica(t)
	s := NewSession(r.register(), 2)
	begin := func(data string) (Sequence, []byte) {
		t.Helper()
		n, b, err := s.Begin([]byte(data))
		if err != nil {
			t.Fatal(err)
		}
		return n, b
	}
	one, a := begin("a")
	two, b := begin("b")
	if _, _, err := s.Begin([]byte("c")); err == nil || !strings.Contains(err.Error(), "command 1 is still unanswered") {
		t.Errorf("a third command in a window of 2: %v", err)
	}
	r.apply(a, b)
	s.End(two)
	s.End(two)
	if _, _, err := s.Begin([]byte("c")); err == nil {
		t.Error("command 1 is unanswered, yet 3 may begin in a window of 2")
	}
	s.End(one)
	three, c := begin("c")
	r.expect(r.one(c), Answered, "3 c")
	r.expect(r.one(a), Past, "")
	if s.ID() != SessionID(1) || one != 1 || two != 2 || three != 3 {
		t.Errorf("session %d, sequences %d %d %d", s.ID(), one, two, three)
	}
}
