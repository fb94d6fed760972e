package transport

import (
	"crypto/rand"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/id"
)

// notices calls the callbacks that tell of failures, on a goroutine of its own:
// they may arise within Send, which must not call back into whoever called it.
// It also keeps what was asked and not answered yet.
type notices struct {
	t    *Transport
	wake chan struct{} // 1

	// base sets our numbers apart from those of an earlier life of this process:
	// a late answer to one of those names no ask of ours.
	base uint64

	mu    sync.Mutex
	down  []id.NodeID        // unreachable, to be told; each once
	asks  map[uint64]request // by tag; at most Options.Asks
	order []expiry           // by deadline, as all wait equally long; some were answered since
	ended []request          // unknown, to be told; the host's own requests bound it
}

// request is an ask by the number its caller gave it.
type request struct {
	to  id.NodeID
	ask uint64
}

type expiry struct {
	tag uint64
	at  time.Time
}

func newNotices(t *Transport) *notices {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return &notices{t: t, wake: make(chan struct{}, 1), base: binary.LittleEndian.Uint64(b[:]), asks: map[uint64]request{}}
}

func (n *notices) unreachable(p id.NodeID) {
	n.mu.Lock()
	if !slices.Contains(n.down, p) {
		n.down = append(n.down, p)
	}
	n.mu.Unlock()
	signal(n.wake)
}

// ask registers a request and returns its tag; false: too many wait, and it has
// ended as unknown.
func (n *notices) ask(to id.NodeID, ask uint64) (uint64, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer signal(n.wake)
	tag := n.base + ask
	if len(n.asks) >= n.t.o.Asks {
		n.ended = append(n.ended, request{to, ask})
		return 0, false
	}
	n.asks[tag] = request{to, ask}
	n.order = append(n.order, expiry{tag, time.Now().Add(n.t.o.AskTimeout)})
	if len(n.order) > 2*len(n.asks)+1024 {
		n.order = slices.DeleteFunc(n.order, func(e expiry) bool { _, waits := n.asks[e.tag]; return !waits })
	}
	return tag, true
}

// answered takes out what an answer is about; false: nobody waits for it.
func (n *notices) answered(from id.NodeID, tag uint64) (uint64, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, ok := n.asks[tag]
	if !ok || a.to != from {
		return 0, false
	}
	delete(n.asks, tag)
	return a.ask, true
}

// lost ends a request as unknown.
func (n *notices) lost(tag uint64) {
	n.mu.Lock()
	n.end(tag)
	n.mu.Unlock()
	signal(n.wake)
}

// lostAll ends every request to a peer as unknown: its answers may be lost.
func (n *notices) lostAll(to id.NodeID) {
	n.mu.Lock()
	for _, e := range n.order {
		if a, ok := n.asks[e.tag]; ok && a.to == to {
			n.end(e.tag)
		}
	}
	n.mu.Unlock()
	signal(n.wake)
}

func (n *notices) end(tag uint64) {
	if a, ok := n.asks[tag]; ok {
		delete(n.asks, tag)
		n.ended = append(n.ended, request{a.to, a.ask})
	}
}

// run is the goroutine that calls back.
func (n *notices) run() {
	defer n.t.wg.Done()
	timer := time.NewTimer(n.t.o.AskTimeout)
	defer timer.Stop()
	for {
		n.mu.Lock()
		now := time.Now()
		next := now.Add(n.t.o.AskTimeout)
		for len(n.order) > 0 {
			if n.order[0].at.After(now) {
				next = n.order[0].at
				break
			}
			n.end(n.order[0].tag)
			n.order = n.order[1:]
		}
		down, gone := n.down, n.ended
		n.down, n.ended = nil, nil
		n.mu.Unlock()
		for _, p := range down {
			if n.t.ctx.Err() == nil {
				n.t.o.OnUnreachable(p)
			}
		}
		for _, e := range gone {
			if n.t.ctx.Err() == nil {
				n.t.o.OnAnswered(e.to, e.ask, nil, true)
			}
		}
		timer.Reset(time.Until(next))
		select {
		case <-n.wake:
		case <-timer.C:
		case <-n.t.ctx.Done():
			return
		}
	}
}
