package kv

import (
	"errors"

	"github.com/quorate/quorate/kv/mvcc"
	"github.com/quorate/quorate/kv/watch"
)

// What connects the store to watchers. The server runs both functions on
// goroutines of its own: they read storage.

// ForWatch returns what a Hub is told of the changes, with the replaced versions
// filled in where wants (Hub.WantsPrev) says so. It reads c.View.
func (c *Changes) ForWatch(wants func(key []byte) bool) (watch.Input, error) {
	if c.Restored {
		return watch.Restored{Revision: c.Revision, CompactRevision: c.CompactRevision}, nil
	}
	p := watch.Published{Revision: c.Revision, CompactRevision: c.CompactRevision}
	if len(c.Events) > 0 {
		p.Events = make([]watch.Event, len(c.Events))
	}
	for i := range c.Events {
		e := &c.Events[i]
		p.Events[i].Event = *e
		if !wants(e.KV.Key) {
			continue
		}
		prev, err := c.View.Prev(e)
		if err != nil {
			return nil, err
		}
		p.Events[i].Prev = prev
	}
	return p, nil
}

// scanStep is how many changes a scan asks for at first. It doubles as long as
// they are small: few large values, not a thousand, are in memory at once.
const scanStep = 16

// Scan reads what a Hub asked for.
func (v *View) Scan(s watch.Scan) watch.Scanned {
	r := watch.Scanned{Number: s.Number, Next: s.From}
	bytes := 0
	for step := scanStep; r.Next <= s.To && bytes < s.LimitBytes; step *= 2 {
		step = min(step, 1024)
		before := bytes
		events, next, err := v.Events(s.Key, s.End, r.Next, s.To, step)
		switch {
		case errors.Is(err, mvcc.ErrCompacted):
			r.Compacted = v.CompactRevision()
			return r
		case err != nil:
			r.Err = err
			return r
		}
		for i := range events {
			e := watch.Event{Event: events[i]}
			if s.Prev {
				if e.Prev, r.Err = v.Prev(&events[i]); r.Err != nil {
					return r
				}
			}
			bytes += watch.EventBytes(&e)
			r.Events = append(r.Events, e)
		}
		r.Next = next
		if bytes-before > s.LimitBytes/4 {
			step = max(1, step/4)
		}
	}
	return r
}
