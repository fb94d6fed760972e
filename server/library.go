package server

import (
	"context"
	"errors"

	"github.com/quorate/quorate"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
)

// Asker sends a request to the server of the member at these peer URLs and
// returns its answer; the error is a *Failure.
type Asker func(ctx context.Context, peerURLs []string, request []byte) ([]byte, error)

// Over is a group of the library as a Group. The group's machine is a kv.Store.
func Over(g *quorate.Group, ask Asker) Group { return &library{g: g, ask: ask} }

type library struct {
	g   *quorate.Group
	ask Asker
}

func (l *library) Propose(ctx context.Context, command []byte) ([]byte, error) {
	r, err := l.g.Propose(ctx, command)
	return r, failure(err)
}

func (l *library) Linearizable(ctx context.Context) (View, error) {
	v, err := l.g.Barrier(ctx)
	if err != nil {
		return View{}, failure(err)
	}
	return viewOf(v)
}

func (l *library) Local() (View, error) {
	v := l.g.Local()
	if v == nil {
		return View{}, ErrStopped
	}
	return viewOf(v)
}

func viewOf(v *quorate.View) (View, error) {
	state, ok := v.View.(*kv.View)
	if !ok {
		v.Release()
		return View{}, errors.New("the group's machine is not a key-value store")
	}
	return View{View: state, Release: v.Release}, nil
}

func (l *library) Status() raft.Status { return l.g.Status() }

func (l *library) Inspect(ctx context.Context) (raft.Status, error) {
	st, err := l.g.Inspect(ctx)
	return st, failure(err)
}

func (l *library) Change(ctx context.Context, c membership.Change) error {
	return failure(l.g.Change(ctx, c))
}

func (l *library) Transfer(ctx context.Context, to id.NodeID) error {
	return failure(l.g.Transfer(ctx, to))
}

func (l *library) AskLeader(ctx context.Context, request []byte) ([]byte, error) {
	st := l.g.Status()
	m, ok := st.Config.Find(st.Leader)
	if !ok {
		return nil, refusedFor(raft.NotLeader)
	}
	return l.ask(ctx, m.PeerURLs, request)
}

// failure says what the library said in the words of Group. A refusal that only
// a text explains is one nobody can cure by trying again.
func failure(err error) error {
	var e *quorate.Error
	if !errors.As(err, &e) {
		return err
	}
	return &Failure{Unknown: e.Outcome == quorate.Unknown, Why: e.Why, Detail: e.Detail, Cause: e.Cause}
}
