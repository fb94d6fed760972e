// Package watch delivers committed events to watchers: each one once, in order,
// whatever a watcher's speed.
//
// The Hub is a machine. Requests of watch streams, what was applied, what was
// read back and what was sent go in; responses, and at most one Scan of the
// store's history, come out. The server moves the bytes:
//
//	Create, Cancel, RequestProgress ──►┌─────┐──► Output.Responses ──► streams
//	Published (every apply, in order) ─►│ Hub │──► Output.Scan ──► View.Events
//	Scanned, Sent, now ────────────────►└─────┘
//
// A watcher is either synced, then it has seen everything up to the Hub's
// revision and is served from Published; or it is behind at a revision `next` of
// its own, then it is served by scans, until it is synced:
//
//	           start ≤ revision              stream has too much unsent
//	Create ──────────────────► queued ◄──────────────────────────────┐
//	   │                        │  ▲                                  │
//	   │ start 0 or later       │  └── room again ── parked ◄── stream full
//	   ▼                        ▼ next > revision                     │
//	 synced ◄───────────────────┘                                     │
//	   └──────────────────────────────────────────────────────────────┘
//
//	Invariant: a watcher gets the events of its range and filters with revision
//	≥ its start, each once, in order of revision, and no revision in parts unless
//	it asked for fragments. (next only grows; synced means next = revision + 1.)
//	Invariant: a progress response with revision R follows every event ≤ R of the
//	watchers it speaks for.
//
// Memory does not grow with a slow client: the Hub counts what it gave to a
// stream and was not reported Sent, and beyond StreamBytesMax the stream's
// watchers fall behind instead, keeping nothing but `next`. What they missed is
// read from the store again later; if it has been compacted by then they are
// cancelled with the compact revision, as etcd does. The bound is per stream
// because the stream is what flow control stops.
//
// Responses of many watchers share their events: the same slice of pointers to
// the same immutable events. Ten thousand watchers on one key cost ten thousand
// Responses and one slice.
package watch

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/mvcc"
)

// StreamID names a stream; the server chooses it and uses it once.
type StreamID uint64

// Event is an event as watchers get it. It is immutable and shared.
type Event struct {
	mvcc.Event
	// Prev is the replaced version, for watchers that asked for it (Response.PrevKV
	// says whether to show it): nil if there was none or it has been compacted.
	Prev *mvcc.KeyValue
}

// Options of a Hub.
type Options struct {
	// StreamBytesMax is how much a stream may have unsent before its watchers fall
	// behind. It may be exceeded by one batch. Default 4 MiB.
	StreamBytesMax int
	// FragmentBytes is the size above which responses are split: between
	// revisions, and for a watcher that asked for fragments between events. Default
	// 2 MiB less 4 KiB (etcd: the request limit 1.5 MiB + 512 KiB).
	FragmentBytes int
	// ScanRevisionsMax and ScanBytesMax bound one Scan; a revision is never split.
	// Default 1000 and 1 MiB.
	ScanRevisionsMax int64
	ScanBytesMax     int
	// ProgressInterval is how long a watcher that asked for progress is idle before
	// it gets some. Default 10 min; up to a tenth is added, by stream and watcher,
	// so that they do not all fall due together.
	ProgressInterval id.Duration
	// WatchersPerStreamMax bounds a stream; a create beyond it is refused. Default
	// 1,000,000.
	WatchersPerStreamMax int
}

// WithDefaults fills what is zero.
func (o Options) WithDefaults() Options {
	if o.StreamBytesMax == 0 {
		o.StreamBytesMax = 4 << 20
	}
	if o.FragmentBytes == 0 {
		o.FragmentBytes = 2<<20 - 4<<10
	}
	if o.ScanRevisionsMax == 0 {
		o.ScanRevisionsMax = 1000
	}
	if o.ScanBytesMax == 0 {
		o.ScanBytesMax = 1 << 20
	}
	if o.ProgressInterval == 0 {
		o.ProgressInterval = 600 * id.Second
	}
	if o.WatchersPerStreamMax == 0 {
		o.WatchersPerStreamMax = 1_000_000
	}
	return o
}
