package wal

import (
	"errors"
	"fmt"
	"io"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/vfs"
)

// Dump prints the log in dir for people: every segment, frame, record and entry
// with its place, up to the end, and what recovery would make of that end. It
// writes nothing and takes no lock, so it may look at a log that is in use: there
// the newest frames may be half written when it comes by, and look corrupt when
// later ones are there a moment later. The error is Open's.
func Dump(fs vfs.FS, dir string, w io.Writer) error {
	numbers, err := ownFiles(fs, dir)
	if err != nil {
		return err
	}
	files, err := openSegments(fs, dir, numbers)
	defer func() {
		for _, s := range files {
			_ = s.file.Close() // it was only read
		}
	}()
	if err != nil {
		return err
	}
	if len(files) == 0 {
		_, err := fmt.Fprintf(w, "%s holds no segment: an empty log\n", dir)
		return err
	}
	d := &dump{w: w, k: -1}
	r := newReplay(files, map[id.GroupID]*group{})
	r.each = func(p position, h frameHeader, records []stored) error {
		d.segments(files, p.segment())
		d.frame(p, h, records)
		return d.err
	}
	err = r.run()
	d.segments(files, files[len(files)-1].number)
	if d.err != nil {
		return d.err
	}
	if err != nil {
		d.printf("CORRUPT: %v\n", err)
		return err
	}
	return d.end(r)
}

// dump prints; after an error it prints nothing more.
type dump struct {
	w   io.Writer
	k   int // segments announced, less one
	err error
}

func (d *dump) printf(format string, args ...any) {
	if d.err == nil {
		_, d.err = fmt.Fprintf(d.w, format, args...)
	}
}

// segments announces the segments up to number.
func (d *dump) segments(files []*segment, number uint32) {
	for d.k+1 < len(files) && files[d.k+1].number <= number {
		d.k++
		s := files[d.k]
		d.printf("%s  %d bytes, log %016x\n", segmentName(s.number), s.bytes, s.identity)
	}
}

func (d *dump) frame(p position, h frameHeader, records []stored) {
	d.printf("%10d  frame of %d bytes, durable before %v, needed from %s\n", p.offset(), frameHeaderBytes+h.payload, h.watermark, segmentName(h.oldest))
	for i := range records {
		d.record(&records[i])
	}
}

func (d *dump) record(s *stored) {
	switch s.Kind {
	case recordLink:
		if s.linkEnd != 0 {
			d.printf("%12s continues %v\n", "", s.linkEnd)
		}
		return
	case RecordAppend:
		d.printf("%12s group %d append  %s\n", "", s.Group, hardText(s.Hard))
	case RecordStart:
		d.printf("%12s group %d start   %s\n", "", s.Group, startText(s.Start))
	case RecordIntent:
		d.printf("%12s group %d intent  to install the snapshot of index %d, term %d\n", "", s.Group, s.Snapshot.Index, s.Snapshot.Term)
	case RecordReset:
		d.printf("%12s group %d reset   %s, %s\n", "", s.Group, startText(s.Start), hardText(s.Hard))
	case RecordDrop:
		d.printf("%12s group %d drop\n", "", s.Group)
	case recordRewrite:
		part := "part"
		if s.flags&rewriteLast != 0 {
			part = "last part"
		}
		d.printf("%12s group %d rewrite %s, %s, %s\n", "", s.Group, part, startText(s.Start), hardText(s.Hard))
	}
	for i := range s.Entries {
		e := &s.Entries[i]
		d.printf("%10d    entry %d of term %d, %s, %d bytes\n", s.locs[i].offset, e.Index, e.Term, kindText(e.Kind), s.locs[i].bytes)
	}
}

func hardText(h raft.HardState) string {
	return fmt.Sprintf("term %d, vote %v, commit %d", h.Term, h.Vote, h.Commit)
}

func startText(s raft.LogStart) string {
	return fmt.Sprintf("behind index %d of term %d, configuration %d with %d members", s.Index, s.Term, s.Config.Version, len(s.Config.Members))
}

func kindText(k raft.EntryKind) string {
	switch k {
	case raft.EntryCommand:
		return "command"
	case raft.EntryNoop:
		return "no-op"
	case raft.EntryConfig:
		return "configuration"
	}
	return fmt.Sprintf("kind %d", k)
}

// end says what is at the end: nothing, a torn tail or corruption.
func (d *dump) end(r *replay) error {
	end := at(r.segment().number, r.end)
	c, err := r.claims()
	if err != nil {
		return err
	}
	if c.watermark <= end {
		d.printf("the log ends at %v: %s\n", end, r.why)
		return d.err
	}
	corrupt := r.corruption(c)
	d.printf("CORRUPT: %v\n", corrupt)
	err = r.headers(func(p position, h frameHeader) {
		d.printf("  behind it, at %v: a frame of %d bytes, durable before %v\n", p, frameHeaderBytes+h.payload, h.watermark)
	})
	if err == nil {
		err = d.err
	}
	return errors.Join(corrupt, err)
}
