package quorate

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/quorate/quorate/host/exec"
	"github.com/quorate/quorate/rsm"
	"github.com/quorate/quorate/transport"
)

func TestApplyThatNobodyWaitsForCostsNothing(t *testing.T) {
	g := &Group{id: 1}
	h := &Host{group: map[GroupID]*Group{1: g}}
	applied := Index(0)
	if n := testing.AllocsPerRun(100, func() { applied++; h.onApplied(1, applied) }); n != 0 {
		t.Errorf("%v allocations an apply", n)
	}
	applies, office := g.Changed(), g.officeChanged()
	h.onApplied(1, applied+1)
	select {
	case <-applies:
	default:
		t.Error("who waits for an apply is not woken")
	}
	select {
	case <-office:
		t.Error("who waits for a change of office is woken by an apply")
	default:
	}
}

// nothing is a machine that keeps nothing.
type nothing struct{ rsm.Machine }

func TestGroupStartsOnceAndAskEndsWithTheHost(t *testing.T) {
	h, err := Open(t.Context(), t.TempDir(), Options{Node: 1, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if h.HasData(1) {
		t.Error("an empty directory has data")
	}
	if err := h.disk.Join(1); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Start(1, nothing{}, Join()); !errors.Is(err, exec.ErrHasData) {
		t.Errorf("a second join: %v", err)
	}
	h.net.SetPeers([]transport.Peer{{ID: NodeID{Node: 2}, URLs: []string{"http://127.0.0.1:1"}}})
	asked := make(chan error)
	go func() {
		_, err := h.ask(context.Background(), NodeID{Node: 2}, []byte{formatDirectory})
		asked <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := h.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-asked; !errors.Is(err, ErrNoAnswer) {
		t.Errorf("asked, then closed: %v", err)
	}
	if err := h.Close(ctx); err != nil {
		t.Errorf("a second close: %v", err)
	}
}
