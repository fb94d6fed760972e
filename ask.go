package quorate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/quorate/quorate/internal/id"
)

// Requests of programs to their peers travel beside the driver's own forwarding,
// over the same bounded transport. A program's ask ids have the top bit set, and
// its requests begin with the byte 2 and the group; the driver's begin with 1.
// An answer begins with 0, or with 1 if nobody took the request.

const (
	askBit       = uint64(1) << 63
	formatAsk    = 2
	answerTaken  = 0
	answerNobody = 1
	asksMax      = 1024 // requests of peers worked on at once; beyond, nobody takes them
)

// ErrNotTaken: the peer certainly did not act on the request.
var ErrNotTaken = errors.New("the member did not take the request")

// ErrNoAnswer: no answer came; the peer may have acted on the request.
var ErrNoAnswer = errors.New("no answer came from the member")

// asks is the program's requests of this host.
type asks struct {
	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan askAnswer
	working chan struct{}
}

type askAnswer struct {
	data    []byte
	unknown bool
}

// OnAsk sets what answers the requests that other members' Ask sends to this
// one, each on a goroutine of its own. Set it before it is needed; nil answers
// nothing.
func (g *Group) OnAsk(answer func(from NodeID, request []byte) []byte) {
	g.mu.Lock()
	g.answer = answer
	g.mu.Unlock()
}

// Ask sends a request to another member's OnAsk and returns its answer. The
// error is ErrNotTaken, ErrNoAnswer or the context's.
func (g *Group) Ask(ctx context.Context, to NodeID, request []byte) ([]byte, error) {
	data := binary.AppendUvarint([]byte{formatAsk}, uint64(g.id))
	return g.host.ask(ctx, to, append(data, request...))
}

func (h *Host) ask(ctx context.Context, to id.NodeID, data []byte) ([]byte, error) {
	done := make(chan askAnswer, 1)
	h.asks.mu.Lock()
	h.asks.next++
	ask := h.asks.next | askBit
	h.asks.waiting[ask] = done
	h.asks.mu.Unlock()
	defer func() {
		h.asks.mu.Lock()
		delete(h.asks.waiting, ask)
		h.asks.mu.Unlock()
	}()
	h.net.Ask(to, ask, data)
	select {
	case a := <-done:
		switch {
		case a.unknown || len(a.data) == 0:
			return nil, fmt.Errorf("%s: %w", to, ErrNoAnswer)
		case a.data[0] != answerTaken:
			return nil, fmt.Errorf("%s: %w", to, ErrNotTaken)
		}
		return a.data[1:], nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-h.life.Done():
		return nil, fmt.Errorf("%s: %w: this host is closed", to, ErrNoAnswer)
	}
}

// answered ends an Ask; false if the id is the driver's.
func (a *asks) answered(ask uint64, data []byte, unknown bool) bool {
	if ask&askBit == 0 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if done := a.waiting[ask]; done != nil {
		delete(a.waiting, ask)
		done <- askAnswer{data: data, unknown: unknown}
	}
	return true
}

// asked hands a peer's request to the group's program; false if it is the
// driver's.
func (h *Host) asked(from id.NodeID, ask uint64, data []byte) bool {
	if len(data) == 1 && data[0] == formatDirectory {
		d := h.disk.Identity().Directory
		h.net.Answer(from, ask, append([]byte{answerTaken}, d[:]...))
		return true
	}
	if len(data) == 0 || data[0] != formatAsk {
		return false
	}
	nobody := func() { h.net.Answer(from, ask, []byte{answerNobody}) }
	group, n := binary.Uvarint(data[1:])
	if n <= 0 {
		nobody()
		return true
	}
	g := h.find(GroupID(group))
	if g == nil {
		nobody()
		return true
	}
	g.mu.Lock()
	answer := g.answer
	g.mu.Unlock()
	if answer == nil {
		nobody()
		return true
	}
	select {
	case h.asks.working <- struct{}{}:
	default:
		nobody()
		return true
	}
	h.running.Add(1) // the transport calls this, and ends before Close waits
	go func() {
		defer h.running.Done()
		defer func() { <-h.asks.working }()
		h.net.Answer(from, ask, append([]byte{answerTaken}, answer(from, data[1+n:])...))
	}()
	return true
}
