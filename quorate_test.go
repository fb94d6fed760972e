package quorate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quorate/quorate"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
)

// table is a map of strings: "key value" sets, and returns the old value.
type table struct {
	values  map[string]string
	applied quorate.Index
}

func (m *table) Apply(b rsm.Batch, results []rsm.Result) ([]rsm.Result, error) {
	m.values = maps.Clone(m.values)
	for _, c := range b.Commands {
		key, value, _ := strings.Cut(string(c.Data), " ")
		if key == "poison" {
			return nil, errors.New("poisoned")
		}
		results = append(results, rsm.Result(m.values[key]))
		m.values[key] = value
	}
	m.applied = b.Applied
	return results, nil
}

func (m *table) View() rsm.View { return tableView(*m) }

func (m *table) Restore(meta rsm.Meta, r io.Reader) error {
	m.values, m.applied = nil, meta.Index
	return json.NewDecoder(r).Decode(&m.values)
}

type tableView table

func (v tableView) Applied() quorate.Index { return v.applied }
func (v tableView) Close() error           { return nil }
func (v tableView) WriteTo(w io.Writer) (int64, error) {
	b, err := json.Marshal(v.values)
	if err != nil {
		return 0, err
	}
	n, err := w.Write(b)
	return int64(n), err
}

// member is one host of a cluster in this process, on loopback.
type member struct {
	t      *testing.T
	number uint64
	dir    string
	addr   string
	o      quorate.Options
	h      *quorate.Host
	g      *quorate.Group
}

type trio struct {
	t       *testing.T
	ctx     context.Context
	members []*member
}

// newTrio starts n members of one group.
func newTrio(t *testing.T, n int, o quorate.Options) *trio {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	c := &trio{t: t, ctx: ctx}
	dir := t.TempDir()
	var voters []quorate.Member
	for i := 1; i <= n; i++ {
		m := &member{t: t, number: uint64(i), dir: filepath.Join(dir, fmt.Sprint(i)), addr: freeAddress(t), o: o}
		c.members = append(c.members, m)
		voters = append(voters, quorate.Voter(m.number, m.addr))
	}
	for _, m := range c.members {
		m.open(ctx)
		m.start(quorate.Bootstrap(voters...))
	}
	return c
}

// freeAddress finds a port that was free a moment ago; it is listened on again
// at once and at every restart of its member.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (m *member) open(ctx context.Context) {
	m.t.Helper()
	o := m.o
	o.Node, o.Listen = m.number, m.addr
	o.Logf = func(format string, args ...any) {
		if m.t.Context().Err() == nil {
			m.t.Logf("n%d: "+format, append([]any{m.number}, args...)...)
		}
	}
	h, err := quorate.Open(ctx, m.dir, o)
	if err != nil {
		m.t.Fatal(err)
	}
	m.h = h
	m.t.Cleanup(func() { m.close() })
}

func (m *member) start(how quorate.How) {
	m.t.Helper()
	g, err := m.h.Start(1, &table{values: map[string]string{}}, how)
	if err != nil {
		m.t.Fatal(err)
	}
	m.g = g
}

// close stops the member; it may be called twice.
func (m *member) close() {
	if m.h == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := m.h.Close(ctx); err != nil {
		m.t.Errorf("closing n%d: %v", m.number, err)
	}
	m.h = nil
}

func (m *member) propose(ctx context.Context, cmd string) string {
	m.t.Helper()
	r, err := m.g.Propose(ctx, []byte(cmd))
	if err != nil {
		m.t.Fatalf("n%d: proposing %q: %v", m.number, cmd, err)
	}
	return string(r)
}

func (m *member) get(ctx context.Context, key string) string {
	m.t.Helper()
	v, err := m.g.Barrier(ctx)
	if err != nil {
		m.t.Fatalf("n%d: reading: %v", m.number, err)
	}
	defer v.Release()
	return v.View.(tableView).values[key]
}

// until waits for a condition on a member's status.
func (m *member) until(ctx context.Context, what string, ok func(quorate.Status) bool) {
	m.t.Helper()
	for {
		changed := m.g.Changed()
		if ok(m.g.Status()) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			m.t.Fatalf("n%d: waiting until %s: %v; status %+v", m.number, what, ctx.Err(), m.g.Status())
		}
	}
}

func (c *trio) leader() *member {
	c.t.Helper()
	for _, m := range c.members {
		if m.h != nil {
			m.until(c.ctx, "there is a leader", func(s quorate.Status) bool { return s.Leader != id.None })
			for _, l := range c.members {
				if l.h != nil && l.number == m.g.Status().Leader.Node {
					return l
				}
			}
		}
	}
	c.t.Fatal("no leader")
	return nil
}

func TestEveryMemberTakesWritesAndLinearizableReads(t *testing.T) {
	c := newTrio(t, 3, quorate.Options{})
	for i, m := range c.members {
		m.propose(c.ctx, fmt.Sprintf("k %d", i))
		for _, r := range c.members {
			if got := r.get(c.ctx, "k"); got != fmt.Sprint(i) {
				t.Errorf("n%d reads %q after n%d was told %d", r.number, got, m.number, i)
			}
		}
	}
}

func TestResultComesFromTheStateMachine(t *testing.T) {
	c := newTrio(t, 1, quorate.Options{})
	m := c.members[0]
	m.propose(c.ctx, "a old")
	if got := m.propose(c.ctx, "a new"); got != "old" {
		t.Errorf("the result is %q, want the old value", got)
	}
}

func TestMemberThatWasAwayCatchesUpFromTheLogAndThenBySnapshot(t *testing.T) {
	for name, o := range map[string]quorate.Options{
		"from the log":        {},
		"by snapshot M67 M69": {RetainBytes: 1, SnapshotEntries: 20},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTrio(t, 3, o)
			leader := c.leader()
			away := c.members[int(leader.number)%3]
			leader.propose(c.ctx, "x 1")
			away.close()
			for i := range 200 {
				leader.propose(c.ctx, fmt.Sprintf("k%d %d", i%50, i))
			}
			away.open(c.ctx)
			away.start(quorate.Resume())
			s, err := c.leader().g.Inspect(c.ctx)
			if err != nil {
				t.Fatal(err)
			}
			away.until(c.ctx, "it has caught up", func(a quorate.Status) bool { return a.Applied >= s.Commit })
			if got := away.get(c.ctx, "k49"); got != "199" {
				t.Errorf("k49 is %q", got)
			}
			if got := away.get(c.ctx, "x"); got != "1" {
				t.Errorf("x is %q", got)
			}
		})
	}
}

func TestAllStoppedAndResumedKeepsEverything(t *testing.T) {
	c := newTrio(t, 3, quorate.Options{SnapshotEntries: 30})
	for i := range 100 {
		c.members[i%3].propose(c.ctx, fmt.Sprintf("k%d v%d", i, i))
	}
	for _, m := range c.members {
		m.close()
	}
	for _, m := range c.members {
		m.open(c.ctx)
		m.start(quorate.Resume())
	}
	for i := range 100 {
		if got := c.members[i%3].get(c.ctx, fmt.Sprint("k", i)); got != fmt.Sprint("v", i) {
			t.Errorf("k%d is %q", i, got)
		}
	}
}

func TestHandOverBeforeTheStopLosesNoWrite(t *testing.T) {
	c := newTrio(t, 3, quorate.Options{})
	leader := c.leader()
	other := c.members[int(leader.number)%3]
	var wg sync.WaitGroup
	stop := make(chan struct{})
	written := 0
	wg.Add(1)
	go func() {
		defer wg.Done()
		for ; ; written++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := other.g.Propose(c.ctx, fmt.Appendf(nil, "k%d v", written)); err != nil {
				t.Errorf("write %d during the hand-over: %v", written, err)
				return
			}
		}
	}()
	before := leader.g.Status().Term
	leader.close()
	other.until(c.ctx, "another member leads", func(s quorate.Status) bool {
		return s.Leader != id.None && s.Leader.Node != leader.number
	})
	close(stop)
	wg.Wait()
	if after := other.g.Status().Term; after != before+1 {
		t.Errorf("term %d after %d: a hand-over costs one term", after, before)
	}
	if written > 0 {
		if got := other.get(c.ctx, fmt.Sprintf("k%d", written-1)); got != "v" {
			t.Errorf("the last acknowledged write is missing")
		}
	}
}

func TestMembersComeAndGoWhileServingM64M71M72(t *testing.T) {
	c := newTrio(t, 3, quorate.Options{SnapshotEntries: 20, RetainBytes: 1})
	for i := range 50 {
		c.leader().propose(c.ctx, fmt.Sprintf("k%d %d", i, i))
	}
	fourth := &member{t: t, number: 4, dir: filepath.Join(t.TempDir(), "4"), addr: freeAddress(t)}
	change := func(op quorate.Op) {
		t.Helper()
		for {
			err := c.leader().g.Change(c.ctx, quorate.ChangeSet{Ops: []quorate.Op{op}})
			var e *quorate.Error
			if err == nil {
				return
			}
			if !errors.As(err, &e) || e.Outcome != quorate.Refused || e.Why == raft.ChangeIllegal {
				t.Fatal(err)
			}
		}
	}
	joiner := quorate.Voter(4, fourth.addr)
	joiner.Role = membership.Learner
	change(quorate.Op{Kind: membership.AddLearner, Member: joiner})
	fourth.open(c.ctx)
	fourth.start(quorate.Join())
	s, err := c.leader().g.Inspect(c.ctx)
	if err != nil {
		t.Fatal(err)
	}
	fourth.until(c.ctx, "the learner has caught up", func(a quorate.Status) bool { return a.Applied >= s.Commit })
	change(quorate.Op{Kind: membership.Promote, Member: joiner})
	c.members = append(c.members, fourth)
	old := c.leader()
	change(quorate.Op{Kind: membership.Remove, Member: quorate.Member{ID: id.NodeID{Node: old.number}}})
	select {
	case <-old.g.Removed():
	case <-c.ctx.Done():
		t.Fatal("the removed leader does not know that it is removed")
	}
	old.close()
	if got := fourth.get(c.ctx, "k49"); got != "49" {
		t.Errorf("the new member reads %q", got)
	}
	fourth.propose(c.ctx, "after it")
	if n := len(fourth.g.Status().Config.Members); n != 3 {
		t.Errorf("%d members, want 3", n)
	}
}

func TestWhatCannotBeStartedSaysWhyAndChangesNothing(t *testing.T) {
	ctx := t.Context()
	addr := freeAddress(t)
	dir := t.TempDir()
	open := func(o quorate.Options) (*quorate.Host, error) {
		o.Node, o.Listen = max(o.Node, 1), addr
		return quorate.Open(ctx, dir, o)
	}
	h, err := open(quorate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Start(1, &table{}, quorate.Resume()); err == nil || !strings.Contains(err.Error(), "no data") {
		t.Errorf("resume on nothing: %v", err)
	}
	if _, err := h.Start(1, &table{}, quorate.Bootstrap(quorate.Voter(2, addr))); err == nil || !strings.Contains(err.Error(), "not among the members") {
		t.Errorf("bootstrap without itself: %v", err)
	}
	if _, err := h.Start(1, &table{values: map[string]string{}}, quorate.Bootstrap(quorate.Voter(1, addr))); err != nil {
		t.Fatal(err)
	}
	if _, err := quorate.Open(ctx, dir, quorate.Options{Node: 1, Listen: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "lock") {
		t.Errorf("a directory in use: %v", err)
	}
	if _, err := quorate.Open(ctx, t.TempDir(), quorate.Options{Node: 1, Listen: addr}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a port in use: %v", err)
	}
	if err := h.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := open(quorate.Options{Cluster: 7}); err == nil || !strings.Contains(err.Error(), "another cluster") {
		t.Errorf("another cluster's directory: %v", err)
	}
	if _, err := open(quorate.Options{Node: 2}); err == nil || !strings.Contains(err.Error(), "another node") {
		t.Errorf("another node's directory: %v", err)
	}
	if h, err = open(quorate.Options{}); err != nil {
		t.Fatal(err)
	}
	defer h.Close(ctx)
	if _, err := h.Start(1, &table{}, quorate.Bootstrap(quorate.Voter(1, addr))); err == nil || !strings.Contains(err.Error(), "has data") {
		t.Errorf("bootstrap over data: %v", err)
	}
	etcd := t.TempDir()
	if err := os.MkdirAll(filepath.Join(etcd, "member", "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := quorate.Open(ctx, etcd, quorate.Options{Node: 1, Listen: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "etcd") {
		t.Errorf("etcd's directory: %v", err)
	}
}

func TestFailingStateMachineStopsItsGroupWithTheReason(t *testing.T) {
	c := newTrio(t, 1, quorate.Options{})
	m := c.members[0]
	m.propose(c.ctx, "a 1")
	_, err := m.g.Propose(c.ctx, []byte("poison x"))
	var e *quorate.Error
	if !errors.As(err, &e) || e.Outcome != quorate.Unknown {
		t.Errorf("the poisoned proposal ends with %v, want unknown", err)
	}
	<-m.g.Halted()
	if !strings.Contains(m.g.Err().Error(), "poisoned") {
		t.Errorf("the reason is %v", m.g.Err())
	}
	if _, err := m.g.Propose(c.ctx, []byte("b 1")); !errors.As(err, &e) || e.Outcome != quorate.Refused {
		t.Errorf("a later proposal ends with %v, want refused", err)
	}
}

func TestCallerThatGivesUpIsToldTheTruth(t *testing.T) {
	c := newTrio(t, 3, quorate.Options{})
	leader := c.leader()
	for _, m := range c.members {
		if m != leader {
			m.close()
		}
	}
	ctx, cancel := context.WithTimeout(c.ctx, 50*time.Millisecond)
	defer cancel()
	_, err := leader.g.Propose(ctx, []byte("a 1"))
	var e *quorate.Error
	if !errors.As(err, &e) || e.Outcome != quorate.Unknown || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("placed and given up: %v, want unknown", err)
	}
	leader.until(c.ctx, "it stepped down without a majority M28", func(s quorate.Status) bool { return s.Role != raft.Leader })
	ctx, cancel = context.WithTimeout(c.ctx, 50*time.Millisecond)
	defer cancel()
	if _, err = leader.g.Propose(ctx, []byte("b 1")); !errors.As(err, &e) || e.Outcome != quorate.Refused {
		t.Errorf("never placed and given up: %v, want refused", err)
	}
}

func TestMembersAskEachOther(t *testing.T) {
	c := newTrio(t, 3, quorate.Options{})
	c.leader()
	a, b := c.members[0], c.members[1]
	if _, err := a.g.Ask(c.ctx, quorate.NodeID{Node: 2}, []byte("x")); !errors.Is(err, quorate.ErrNotTaken) {
		t.Errorf("nobody answers there: %v", err)
	}
	b.g.OnAsk(func(from quorate.NodeID, request []byte) []byte {
		return fmt.Appendf(nil, "%s said %s", from, request)
	})
	got, err := a.g.Ask(c.ctx, quorate.NodeID{Node: 2}, []byte("hello"))
	if err != nil || string(got) != "n1 said hello" {
		t.Errorf("%q, %v", got, err)
	}
	ctx, cancel := context.WithTimeout(c.ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := a.g.Ask(ctx, quorate.NodeID{Node: 9}, nil); !errors.Is(err, quorate.ErrNoAnswer) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a member that does not exist: %v", err)
	}
}

func TestWipedMemberUnderItsOldIdIsRefused(t *testing.T) {
	c := newTrio(t, 3, quorate.Options{})
	for _, m := range c.members {
		m.until(c.ctx, "every directory is pinned", func(s quorate.Status) bool {
			for _, x := range s.Config.Members {
				if x.Directory == (id.DirectoryID{}) {
					return false
				}
			}
			return len(s.Config.Members) == 3
		})
	}
	leader := c.leader()
	wiped := c.members[int(leader.number)%3]
	wiped.close()
	if err := os.RemoveAll(wiped.dir); err != nil {
		t.Fatal(err)
	}
	wiped.open(c.ctx)
	wiped.start(quorate.Join())
	leader.propose(c.ctx, "a 1") // by the other two
	ctx, cancel := context.WithTimeout(c.ctx, time.Second)
	defer cancel()
	if _, err := wiped.g.Barrier(ctx); err == nil {
		t.Error("a member with a wiped disk takes part under its old id")
	}
	if s := wiped.g.Status(); s.Applied != 0 || s.Leader != id.None {
		t.Errorf("the wiped member got to %+v", s)
	}
}
