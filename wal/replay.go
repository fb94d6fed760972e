package wal

import (
	"bytes"
	"fmt"

	"github.com/quorate/quorate/internal/id"
)

// replay reads segments frame by frame.
type replay struct {
	files  []*segment
	groups map[id.GroupID]*group
	each   func(p position, h frameHeader, records []stored) error

	k      int    // the segment being read
	end    int64  // the first byte behind the last good frame
	chain  uint32 // of the last good frame
	image  uint32 // checksum of all good frames of this segment, as they were read
	kept   kept
	linked position
	told   position // the newest watermark of a good frame
	oldest uint32
	bad    position // the place without a good frame: end, or the beginning of the next segment
	why    string   // what is wrong there
	torn   []byte   // payload of the frame there, if there is a header
	window window
}

// kept is what there is of the segment being read without the headers at its end
// that only say how far the log was durable.
type kept struct {
	end          int64
	chain, image uint32 // as in replay, at end
}

func newReplay(files []*segment, groups map[id.GroupID]*group) *replay {
	return &replay{files: files, groups: groups, end: segmentHeaderBytes, kept: kept{end: segmentHeaderBytes}}
}

// run takes up every good frame in order and stops at the first place where
// there is none.
func (r *replay) run() error {
	for {
		ok, err := r.frame()
		if err != nil {
			return err
		}
		if ok {
			continue
		}
		if more, err := r.nextSegment(); err != nil || !more {
			return err
		}
	}
}

func (r *replay) segment() *segment { return r.files[r.k] }

// frame takes up the frame at end.
func (r *replay) frame() (bool, error) {
	s := r.segment()
	b, err := r.window.read(s, r.end, frameHeaderBytes)
	if err != nil {
		return false, err
	}
	r.torn, r.bad = nil, at(s.number, r.end)
	h, ok := decodeFrameHeader(b, s.salt, r.end)
	switch {
	case !ok && isZero(b):
		r.why = whyNothing
		return false, nil
	case !ok:
		r.why = "there is no valid frame header"
		return false, nil
	case h.payload > s.bytes-r.end-frameHeaderBytes:
		r.why = "the frame does not fit the file"
		return false, nil
	}
	chain, image := r.chain, r.image
	if r.end == segmentHeaderBytes {
		chain, image = s.salt, 0
	}
	image = sum(image, b) // b is gone with the next read
	payload, err := r.window.read(s, r.end+frameHeaderBytes, int(h.payload))
	if err != nil {
		return false, err
	}
	if sum(chain, payload) != h.sum {
		r.why, r.torn = "the checksum of the frame is wrong", bytes.Clone(payload)
		return false, nil
	}
	p := at(s.number, r.end)
	records, err := decodeFrame(payload, p)
	if err != nil {
		return false, &ErrCorrupt{segmentName(s.number), r.end, "the checksum is right, but not what it covers: " + err.Error()}
	}
	if ok, err := r.checkLink(records); !ok {
		return false, err
	}
	if err := r.take(p, h, records); err != nil {
		return false, &ErrCorrupt{segmentName(s.number), r.end, err.Error()}
	}
	r.end += frameHeaderBytes + h.payload
	r.chain, r.image, r.told = h.check, sum(image, payload), max(r.told, h.watermark)
	if h.payload > 0 || h.oldest > r.oldest {
		r.kept = kept{r.end, r.chain, r.image}
	}
	r.oldest = max(r.oldest, h.oldest)
	return true, nil
}

// decodeFrame returns the records of a payload that lies behind the frame header
// at p. Padding is zeros.
func decodeFrame(payload []byte, p position) ([]stored, error) {
	var out []stored
	for off := 0; off < len(payload) && !isPadding(payload[off:]); {
		s, err := decodeRecord(payload[off:], p+frameHeaderBytes+position(off))
		if err != nil {
			return nil, fmt.Errorf("%w, %d bytes into the frame", err, frameHeaderBytes+off)
		}
		out = append(out, s)
		off += s.bytes
	}
	return out, nil
}

const whyNothing = "nothing is written here"

func isPadding(b []byte) bool { return len(b) < frameAlign && isZero(b) }

// checkLink checks that a segment's first frame continues the segment before. It
// cannot be a torn write that does not: its own checksum is right, and what it
// continues was durable before it was written. If it continues more than was
// found, its header is the evidence, and the corruption is where that ended.
func (r *replay) checkLink(records []stored) (ok bool, err error) {
	if r.end != segmentHeaderBytes {
		return true, nil
	}
	corrupt := &ErrCorrupt{File: segmentName(r.segment().number), Offset: r.end}
	if len(records) == 0 || records[0].Kind != recordLink {
		corrupt.Why = "the segment does not begin with a link to the one before"
		return false, corrupt
	}
	if r.k == 0 {
		return true, nil // the one before was released
	}
	link := records[0]
	if link.linkEnd > r.linked {
		return false, nil
	}
	// A recovery may have gone on before the headers at the end of a segment, and
	// no frame came in their place.
	bare := at(r.linked.segment(), r.kept.end)
	if !(link.linkEnd == r.linked && link.chain == r.chain) && !(link.linkEnd == bare && link.chain == r.kept.chain) {
		corrupt.Why = fmt.Sprintf("it continues a log that ended at %v with checksum %08x, this one ends at %v with %08x", link.linkEnd, link.chain, r.linked, r.chain)
		return false, corrupt
	}
	return true, nil
}

// take applies the records of a frame.
func (r *replay) take(p position, h frameHeader, records []stored) error {
	for i := range records {
		s := &records[i]
		switch s.Kind {
		case recordLink:
			continue
		case RecordDrop:
			delete(r.groups, s.Group)
			continue
		}
		g := r.groups[s.Group]
		if g == nil {
			g = newGroup(s.Group)
			g.history = &history{}
			r.groups[s.Group] = g
		}
		if err := g.replay(s, p.segment()); err != nil {
			return err
		}
	}
	if r.each != nil {
		return r.each(p, h, records)
	}
	return nil
}

// nextSegment goes on behind the end of a segment, if the next one says that it
// continues here.
func (r *replay) nextSegment() (bool, error) {
	if r.k+1 == len(r.files) {
		return false, nil
	}
	here := *r
	r.linked = at(r.segment().number, r.end)
	r.k, r.end = r.k+1, segmentHeaderBytes
	ok, err := r.frame()
	if err != nil || ok {
		return ok, err
	}
	next, window := *r, r.window
	*r = here
	r.window = window
	if r.why == whyNothing && next.why != whyNothing {
		// The segment ended as segments do: if this is corruption, then of the next.
		r.bad, r.why = at(next.segment().number, segmentHeaderBytes), next.why
	}
	return false, nil
}

// claim is a frame header that says how far the log was durable.
type claim struct {
	at        position
	watermark position
}

// claims finds, at or behind end, the frame header that claims most.
func (r *replay) claims() (best claim, err error) {
	err = r.headers(func(p position, h frameHeader) {
		if h.watermark >= best.watermark {
			best = claim{p, h.watermark}
		}
	})
	return best, err
}

// corruption is what a claim past end proves.
func (r *replay) corruption(c claim) error {
	return &ErrCorrupt{segmentName(r.bad.segment()), r.bad.offset(), fmt.Sprintf("%s, but the frame at %v says that everything before %v was durable", r.why, c.at, c.watermark)}
}

// headers calls each for every frame header at or behind end, whether or not its
// payload is good.
func (r *replay) headers(each func(position, frameHeader)) error {
	from := r.end
	for k := r.k; k < len(r.files); k++ {
		s := r.files[k]
		for off := from; off+frameHeaderBytes <= s.bytes; {
			n := min(scanBytes, s.bytes-off)
			b, err := r.window.read(s, off, int(n))
			if err != nil {
				return err
			}
			for i := 0; i+frameHeaderBytes <= len(b); i += frameAlign {
				if b[i] != frameMagic[0] {
					continue // most of a segment is zeros or entries
				}
				if h, ok := decodeFrameHeader(b[i:], s.salt, off+int64(i)); ok {
					each(at(s.number, off+int64(i)), h)
				}
			}
			if n < scanBytes {
				break
			}
			off += n - frameHeaderBytes // a header may lie across two windows
		}
		from = segmentHeaderBytes
	}
	return nil
}

const scanBytes = 1 << 20

// check looks at what the whole log says, after the last frame.
func (r *replay) check(first uint32) error {
	if oldest := max(r.oldest, 1); first > oldest {
		return &ErrCorrupt{segmentName(first - 1), 0, "the file is missing, and the log still needs it"}
	}
	for _, gid := range sortedGroups(r.groups) {
		g := r.groups[gid]
		if len(g.locs) == 0 {
			g.first = g.start.Index + 1
		}
		if g.first != g.start.Index+1 {
			return &ErrCorrupt{segmentName(first), segmentHeaderBytes, fmt.Sprintf("the log of group %d begins behind entry %d, but its first entry is %d", gid, g.start.Index, g.first)}
		}
	}
	return nil
}
