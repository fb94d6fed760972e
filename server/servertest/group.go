// Package servertest is a replicated group of one, in this process and in
// memory, for tests of the service: the real store and the real results, without
// a log, a disk or a network. What only other members can cause (no leader, a
// refusal, an unknown outcome) is set by the test.
package servertest

import (
	"context"
	"errors"
	"sync"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv"
	"github.com/quorate/quorate/kv/engine"
	"github.com/quorate/quorate/kv/engine/mem"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
	"github.com/quorate/quorate/server"
)

// Self is the only member's id.
var Self = id.NodeID{Node: 0x8e9e05c52164694d}

// Cluster is the cluster's id.
const Cluster = 0xcdf818194e3a8c32

// Group implements server.Group.
type Group struct {
	EngineStats func() engine.Stats

	mu      sync.Mutex
	store   *kv.Store
	status  raft.Status
	results []rsm.Result
	changed func()
	ask     func(ctx context.Context, request []byte) ([]byte, error)
	refuse  []error // taken by the next proposals and reads, one each
}

// New returns a group whose store gives its changes to publish.
func New(publish func(kv.Changes)) (*Group, error) {
	g := &Group{changed: func() {}}
	e := mem.New()
	g.EngineStats = e.Stats
	g.store = kv.NewStore(e, kv.Options{Publish: publish})
	if _, _, err := g.store.Open(); err != nil {
		return nil, err
	}
	config, err := membership.Bootstrap([]membership.Member{{
		ID: Self, Role: membership.Voter, PeerURLs: []string{"http://127.0.0.1:2380"},
	}})
	if err != nil {
		return nil, err
	}
	g.status = raft.Status{Role: raft.Leader, Term: 2, Leader: Self, Config: config, ConfigAt: 1, Committed: true, Commit: 1, Last: 1, Durable: 1}
	return g, nil
}

// Start makes a running Server over a new Group.
func Start(o server.Options) (*server.Server, *Group, error) {
	o.Cluster, o.Self = Cluster, Self
	var g *Group
	if o.EngineStats == nil {
		o.EngineStats = func() engine.Stats { return g.EngineStats() }
	}
	s := server.New(o)
	var err error
	if g, err = New(s.Applied); err != nil {
		return nil, nil, err
	}
	if err := s.Start(g); err != nil {
		return nil, nil, err
	}
	g.OnChange(s.StatusChanged)
	return s, g, nil
}

// OnChange is called, without locks held, when the status changed.
func (g *Group) OnChange(f func()) { g.mu.Lock(); g.changed = f; g.mu.Unlock() }

// SetStatus lets a test change what the member believes.
func (g *Group) SetStatus(change func(st *raft.Status)) {
	g.mu.Lock()
	change(&g.status)
	f := g.changed
	g.mu.Unlock()
	f()
}

// LoseLeader makes the member a follower that knows no leader; Lead makes it the
// leader of the next term.
func (g *Group) LoseLeader() {
	g.SetStatus(func(st *raft.Status) { st.Role, st.Leader = raft.Follower, id.None })
}

func (g *Group) Lead() {
	g.SetStatus(func(st *raft.Status) { st.Role, st.Leader, st.Term = raft.Leader, Self, st.Term+1 })
}

// Follow makes the member a follower of a leader that answers with ask.
func (g *Group) Follow(leader id.NodeID, ask func(ctx context.Context, request []byte) ([]byte, error)) {
	g.Ask(ask)
	g.SetStatus(func(st *raft.Status) { st.Role, st.Leader = raft.Follower, leader })
}

// Ask answers what this member asks its leader.
func (g *Group) Ask(ask func(ctx context.Context, request []byte) ([]byte, error)) {
	g.mu.Lock()
	g.ask = ask
	g.mu.Unlock()
}

// FailNext makes the next proposals and reads end with errs, one each, without
// effect; nil lets one through.
func (g *Group) FailNext(errs ...error) {
	g.mu.Lock()
	g.refuse = append(g.refuse, errs...)
	g.mu.Unlock()
}

func (g *Group) next() error {
	if len(g.refuse) > 0 {
		err := g.refuse[0]
		g.refuse = g.refuse[1:]
		return err
	}
	if g.status.Leader == id.None {
		return &server.Failure{Why: raft.NotLeader}
	}
	return nil
}

// Propose applies command at once.
func (g *Group) Propose(ctx context.Context, command []byte) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.next(); err != nil {
		return nil, err
	}
	st := &g.status
	st.Last++
	st.Commit, st.Durable = st.Last, st.Last
	batch := rsm.Batch{
		Commands: []rsm.Command{{Index: st.Last, Term: st.Term, Data: command}},
		Applied:  st.Last, Term: st.Term,
	}
	var err error
	g.results, err = g.store.Apply(batch, g.results[:0])
	if err != nil {
		return nil, err
	}
	st.Applied = st.Last
	return g.results[0], nil
}

// Linearizable is Local unless a test made it fail.
func (g *Group) Linearizable(ctx context.Context) (server.View, error) {
	g.mu.Lock()
	err := g.next()
	g.mu.Unlock()
	if err != nil {
		return server.View{}, err
	}
	return g.Local()
}

func (g *Group) Local() (server.View, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v, ok := g.store.View().(*kv.View)
	if !ok {
		return server.View{}, errors.New("servertest: the store's View is not a *kv.View")
	}
	return server.View{View: v, Release: func() { v.Close() }}, nil
}

// Inspect is Status.
func (g *Group) Inspect(context.Context) (raft.Status, error) { return g.Status(), nil }

func (g *Group) Status() raft.Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	st := g.status
	st.Config = st.Config.Clone()
	st.Progress = append([]raft.Progress(nil), st.Progress...)
	return st
}

// Change takes effect at once; a joint configuration is left at once.
func (g *Group) Change(ctx context.Context, c membership.Change) error {
	g.mu.Lock()
	if g.status.Role != raft.Leader {
		g.mu.Unlock()
		return &server.Failure{Why: raft.NotLeader}
	}
	next, err := g.status.Config.Apply(c)
	if err == nil && next.Joint {
		next, err = next.Leave()
	}
	if err != nil {
		g.mu.Unlock()
		return &server.Failure{Why: raft.ChangeIllegal, Detail: err.Error()}
	}
	g.status.Last++
	g.status.Commit, g.status.Durable, g.status.Config = g.status.Last, g.status.Last, next
	f := g.changed
	g.mu.Unlock()
	f()
	return nil
}

// Transfer makes to the leader.
func (g *Group) Transfer(ctx context.Context, to id.NodeID) error {
	g.SetStatus(func(st *raft.Status) { st.Role, st.Leader, st.Term = raft.Follower, to, st.Term+1 })
	return nil
}

func (g *Group) AskLeader(ctx context.Context, request []byte) ([]byte, error) {
	g.mu.Lock()
	ask := g.ask
	g.mu.Unlock()
	if ask == nil {
		return nil, &server.Failure{Why: raft.NotLeader}
	}
	return ask(ctx, request)
}
