package run

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/host/exec"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
	"github.com/quorate/quorate/vfs"
	"github.com/quorate/quorate/wal"
)

// tally counts commands. Its Apply and its snapshots wait at a gate.
type tally struct {
	applied id.Index
	count   uint64
	apply   *gate
	save    *gate
	open    *atomic.Int64 // Views not closed
}

// gate lets everybody through until it is shut.
type gate struct {
	mu      sync.Mutex
	closed  chan struct{}
	reached chan struct{} // capacity 1: somebody waits
}

func newGate() *gate { return &gate{reached: make(chan struct{}, 1)} }

func (g *gate) shut() {
	g.mu.Lock()
	g.closed = make(chan struct{})
	g.mu.Unlock()
}

func (g *gate) lift() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		close(g.closed)
		g.closed = nil
	}
}

func (g *gate) pass() {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed != nil {
		select {
		case g.reached <- struct{}{}:
		default:
		}
		<-closed
	}
}

func (m *tally) Apply(b rsm.Batch, results []rsm.Result) ([]rsm.Result, error) {
	m.apply.pass()
	for _, c := range b.Commands {
		m.count++
		results = append(results, c.Data)
	}
	m.applied = b.Applied
	return results, nil
}
func (m *tally) View() rsm.View {
	m.open.Add(1)
	return tallyView{m.applied, m.count, m.save, m.open}
}
func (m *tally) Restore(rsm.Meta, io.Reader) error { return errors.New("not in these tests") }

type tallyView struct {
	applied id.Index
	count   uint64
	save    *gate
	open    *atomic.Int64
}

func (v tallyView) Applied() id.Index { return v.applied }
func (v tallyView) Close() error      { v.open.Add(-1); return nil }
func (v tallyView) WriteTo(w io.Writer) (int64, error) {
	v.save.pass()
	n, err := w.Write([]byte{1})
	return int64(n), err
}

// disk is the real one until it is told to fail.
type disk struct {
	vfs.FS
	full, broken atomic.Bool
}

func (d *disk) Create(name string) (vfs.File, error) {
	f, err := d.FS.Create(name)
	return &file{f, d}, err
}

func (d *disk) Open(name string) (vfs.File, error) {
	f, err := d.FS.Open(name)
	return &file{f, d}, err
}

type file struct {
	vfs.File
	d *disk
}

func (f *file) Sync() error {
	if f.d.broken.Load() {
		return errors.New("input/output error")
	}
	return f.File.Sync()
}

func (f *file) Preallocate(n int64) error {
	if f.d.full.Load() {
		return syscall.ENOSPC
	}
	return f.File.Preallocate(n)
}

// single is a Runner of one member, which leads.
type single struct {
	*Runner
	t       *testing.T
	files   *disk
	disk    *exec.Disk
	machine *tally
	halted  chan error
}

func newSingle(t *testing.T) *single {
	t.Helper()
	s := &single{t: t, files: &disk{FS: vfs.OS(filepath.Clean(t.TempDir()))}, halted: make(chan error, 4),
		machine: &tally{apply: newGate(), save: newGate(), open: new(atomic.Int64)}}
	self := id.NodeID{Node: 1}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	s.disk, err = exec.Open(s.files, exec.Options{Self: self, Directory: id.DirectoryID{1}, WAL: wal.Options{SegmentBytes: 64 << 10}})
	must(err)
	config, err := membership.Bootstrap([]membership.Member{{ID: self, Role: membership.Voter}})
	must(err)
	must(s.disk.Bootstrap(1, config))
	g, restored, err := s.disk.OpenGroup(1, s.machine)
	must(err)
	s.Runner, err = New(Options{
		Host: host.Config{Self: self, Boot: 1, SnapshotEntries: 50}, Disk: s.disk,
		OnHalt: func(g id.GroupID, reason error) {
			if g == 0 {
				s.halted <- reason
			}
		},
	})
	must(err)
	must(s.Start(g, raft.Config{Group: 1, Self: self, Seed: 1}.WithDefaults(), restored))
	t.Cleanup(func() {
		s.machine.apply.lift()
		s.machine.save.lift()
		s.Close()
		s.disk.Close()
	})
	return s
}

func (s *single) propose(size int) error {
	_, _, err := s.Propose(s.t.Context(), 1, make([]byte, size))
	return err
}

func outcomeOf(err error) host.Outcome {
	var e *Error
	if errors.As(err, &e) {
		return e.Outcome
	}
	return host.Done
}

func TestEveryProposalIsAppliedAndAReadSeesIt(t *testing.T) {
	s := newSingle(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 50 {
				if err := s.propose(10); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	v, err := s.Read(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := v.View.(tallyView).count; got != 400 {
		t.Errorf("the read sees %d commands, want 400", got)
	}
	s.Close()
	if s.machine.open.Load() != 1 {
		t.Errorf("%d views are open after Close, want the reader's", s.machine.open.Load())
	}
	v.Release()
	if s.machine.open.Load() != 0 {
		t.Error("the last release did not close the view")
	}
}

// A state machine that hangs holds up neither the loop nor the disk.
func TestLoopAnswersWhileTheMachineHangs(t *testing.T) {
	s := newSingle(t)
	if err := s.propose(1); err != nil {
		t.Fatal(err)
	}
	s.machine.apply.shut()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, _, err := s.Propose(ctx, 1, []byte("x"))
		ended <- err
	}()
	<-s.machine.apply.reached
	st, err := s.Status(t.Context(), 1)
	if err != nil || st.Role != raft.Leader || st.Durable <= st.Applied {
		t.Errorf("%+v, %v", st, err)
	}
	cancel()
	if err := <-ended; outcomeOf(err) != host.Unknown || !errors.Is(err, context.Canceled) {
		t.Errorf("given up while it is applied: %v, want unknown", err)
	}
}

// Close while an apply hangs and a snapshot is being written: it waits for both,
// and every caller hears the truth.
func TestCloseEndsEveryCallAndWaitsForItsJobs(t *testing.T) {
	s := newSingle(t)
	s.machine.save.shut()
	for range 60 { // the snapshot begins and stays
		if err := s.propose(1); err != nil {
			t.Fatal(err)
		}
	}
	<-s.machine.save.reached
	s.machine.apply.shut()
	ended := make(chan error, 20)
	for range cap(ended) {
		go func() { ended <- s.propose(1) }()
	}
	<-s.machine.apply.reached
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }()
	for range cap(ended) {
		// Unknown, or refused if it came too late: nothing was answered as applied.
		if err := <-ended; outcomeOf(err) == host.Done {
			t.Error("a proposal is acknowledged while its apply hangs")
		}
	}
	select {
	case <-closed:
		t.Error("Close did not wait for the apply and the snapshot")
	default:
	}
	s.machine.apply.lift()
	s.machine.save.lift()
	<-closed
	if open := s.machine.open.Load(); open != 0 {
		t.Errorf("%d views are open", open)
	}
	if err := s.propose(1); outcomeOf(err) != host.Refused {
		t.Errorf("after Close: %v, want refused", err)
	}
	if s.Local(1) != nil {
		t.Error("a closed runner hands out its state")
	}
}

// A full disk refuses new segments: proposals wait or are refused, and go on when
// there is space. Nothing is poisoned.
func TestFullDiskGoesOnWhenThereIsSpace(t *testing.T) {
	s := newSingle(t)
	if err := s.propose(1); err != nil {
		t.Fatal(err)
	}
	s.files.full.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	stopped := false
	for range 20 {
		if _, _, err := s.Propose(ctx, 1, make([]byte, 20<<10)); err != nil {
			stopped = true
			break
		}
	}
	if !stopped {
		t.Fatal("20 proposals fit a full disk")
	}
	s.files.full.Store(false)
	for {
		err := s.propose(1)
		if err == nil {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-s.halted:
		t.Errorf("a full disk stopped everything: %v", err)
	default:
	}
}

func TestFailedSyncStopsEverythingAndCallersHearUnknown(t *testing.T) {
	s := newSingle(t)
	if err := s.propose(1); err != nil {
		t.Fatal(err)
	}
	s.files.broken.Store(true)
	if err := s.propose(1); outcomeOf(err) != host.Unknown {
		t.Errorf("written when the disk failed: %v, want unknown", err)
	}
	if err := <-s.halted; err == nil {
		t.Error("no reason")
	}
	s.files.broken.Store(false) // a later sync would succeed, and prove nothing
	if err := s.propose(1); outcomeOf(err) != host.Refused {
		t.Errorf("after the disk failed: %v, want refused", err)
	}
}
