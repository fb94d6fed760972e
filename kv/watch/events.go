package watch

// Input is what enters the Hub.
type Input interface{ input() }

// OpenStream and CloseStream begin and end a stream. Nothing is answered on a
// stream after its CloseStream.
type OpenStream struct{ Stream StreamID }
type CloseStream struct{ Stream StreamID }

// Create asks for a watcher, as etcd's WatchCreateRequest does, with its rules:
// an empty Key is "\x00", an empty End the single key, End "\x00" every key ≥
// Key. It is answered by one response Created, which is also Canceled, with
// WatchID -1 and a Reason, if the watcher cannot be.
type Create struct {
	Stream         StreamID
	WatchID        int64 // 0: the Hub chooses
	Key, End       []byte
	StartRevision  int64 // 0: from now on
	NoPut          bool
	NoDelete       bool
	PrevKV         bool
	ProgressNotify bool
	Fragment       bool
	// Denied, if not empty, is why the edge does not allow this watcher: the Hub
	// answers it in order with everything else on the stream.
	Denied string
}

// Cancel ends a watcher. It is answered by a response Canceled without Reason;
// an unknown watcher is not answered.
type Cancel struct {
	Stream  StreamID
	WatchID int64
}

// RequestProgress asks for a progress response for the whole stream, with
// WatchID -1. It is not answered unless every watcher of the stream is synced.
type RequestProgress struct{ Stream StreamID }

// Published is what an Apply changed. Events are those of the revisions after
// the last Published, complete and in order; Event.Prev is filled where
// Hub.WantsPrev said so. The slice is the Hub's from here on, and shared with
// Responses.
type Published struct {
	Revision        int64
	CompactRevision int64 // -1: never compacted
	Events          []Event
}

// Restored says that a snapshot took the store to Revision without events.
// Every watcher falls behind.
type Restored struct {
	Revision        int64
	CompactRevision int64
}

// Scan asks for the events of revisions From to To on keys in [Key, End), in
// order, from a View with Revision ≥ To: every View published with or after the
// Published that was given to Step before. It ends in Scanned.
type Scan struct {
	Number     uint64
	Key, End   []byte // as in mvcc.RangeRequest
	From, To   int64
	Prev       bool // fill Event.Prev
	LimitBytes int  // stop after the revision in which EventBytes reaches it
}

// Scanned ends a Scan. Next is the first revision that was not looked at, more
// than From unless Compacted or Err is set.
type Scanned struct {
	Number uint64
	Events []Event
	Next   int64
	// Compacted, if > 0, says that From has been compacted, up to this revision.
	Compacted int64
	// Err, if not nil, ends every watcher that waited for this scan.
	Err error
}

// Sent says that Bytes (sums of Response.Bytes) of a stream left this process.
type Sent struct {
	Stream StreamID
	Bytes  int
}

func (OpenStream) input()      {}
func (CloseStream) input()     {}
func (Create) input()          {}
func (Cancel) input()          {}
func (RequestProgress) input() {}
func (Published) input()       {}
func (Restored) input()        {}
func (Scanned) input()         {}
func (Sent) input()            {}

// Output collects what a Step asks for. Reset it and use it again.
type Output struct {
	Responses []Response // in order of sending, for each stream
	Scan      *Scan      // nil: none
}

// Reset empties o and keeps its memory.
func (o *Output) Reset() {
	clear(o.Responses)
	o.Responses, o.Scan = o.Responses[:0], nil
}

// Response is one etcd WatchResponse. Without Created, Canceled and Events it is
// progress.
type Response struct {
	Stream   StreamID
	WatchID  int64 // -1: a refused Create, or progress for the whole stream
	Revision int64 // for the header
	Created  bool
	Canceled bool
	Fragment bool     // more of the same revision follows
	PrevKV   bool     // show Event.Prev
	Events   []*Event // immutable and shared
	// CompactRevision, if > 0, is why the watcher was canceled: what it was to get
	// next has been compacted.
	CompactRevision int64
	Reason          string
	Bytes           int // counts against StreamBytesMax until it is Sent
}

// Reasons of refused creates: etcd's texts.
const (
	ReasonBadStart    = "etcdserver: mvcc: required revision has been compacted"
	ReasonEmptyRange  = "mvcc: watcher range is empty"
	ReasonDuplicateID = "mvcc: duplicate watch ID provided on the WatchStream"
	ReasonTooMany     = "etcdserver: too many requests"
)

// responseBytes is what a response counts for besides its events.
const responseBytes = 64

// EventBytes is roughly what an event takes in a response.
func EventBytes(e *Event) int {
	n := len(e.KV.Key) + len(e.KV.Value) + 48
	if e.Prev != nil {
		n += len(e.Prev.Key) + len(e.Prev.Value) + 48
	}
	return n
}
