package server

import (
	"context"
	"slices"
	"time"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv"
	"github.com/quorate/quorate/kv/mvcc"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
)

// MemberStatus is what a member says of itself.
type MemberStatus struct {
	Header
	Raft    raft.Status
	Learner bool
	Alarms  []kv.Alarm
	Size    int64 // bytes on disk
	InUse   int64 // of them needed
	Quota   int64
	Version kv.ClusterVersion
}

// Status reports this member's own view of things; learners answer too.
func (s *Server) Status(ctx context.Context) (MemberStatus, error) {
	v, err := s.view(ctx, true)
	if err != nil {
		return MemberStatus{}, err
	}
	defer v.Close()
	version, err := v.ClusterVersion()
	if err != nil {
		return MemberStatus{}, err
	}
	alarms, err := v.Alarms()
	if err != nil {
		return MemberStatus{}, err
	}
	limited, cancel := s.limited(ctx)
	defer cancel()
	st, err := s.group.Inspect(limited)
	if err != nil {
		return MemberStatus{}, s.clientError(ctx, err)
	}
	size := s.size()
	return MemberStatus{
		Header: s.header(v.Revision()), Raft: st, Learner: s.IsLearner(), Alarms: alarms,
		Size: size, InUse: size, Quota: s.o.QuotaBytes, Version: version,
	}, nil
}

// size is what the store occupies: on disk, or in memory where there is no disk.
func (s *Server) size() int64 {
	stats := s.o.EngineStats()
	if stats.DiskBytes > 0 {
		return stats.DiskBytes + stats.UnflushedBytes
	}
	return stats.MemoryBytes
}

// HashKV hashes this member's versions up to a revision, 0: all.
func (s *Server) HashKV(ctx context.Context, revision int64) (Header, mvcc.Hash, error) {
	v, err := s.view(ctx, true)
	if err != nil {
		return Header{}, mvcc.Hash{}, err
	}
	defer v.Close()
	hash, err := v.HashKV(revision)
	return s.header(v.Revision()), hash, err
}

// Defragment succeeds and changes nothing: space comes back by compaction alone.
func (s *Server) Defragment(ctx context.Context) (Header, error) { return s.Header(ctx) }

// MoveLeader hands the office over. Only the leader takes it, and only to a voter.
func (s *Server) MoveLeader(ctx context.Context, to uint64) (Header, error) {
	st := s.group.Status()
	if st.Role != raft.Leader {
		return Header{}, ErrNotLeader
	}
	m, ok := find(st.Config, to)
	if !ok || m.Role != membership.Voter {
		return Header{}, ErrBadTransferee
	}
	if m.ID != s.o.Self {
		limited, cancel := s.limited(ctx)
		defer cancel()
		if err := s.group.Transfer(limited, m.ID); err != nil {
			return Header{}, s.clientError(ctx, err)
		}
	}
	h, err := s.localHeader()
	if err != nil {
		return Header{}, s.clientError(ctx, err)
	}
	return h, nil
}

// Compact makes revisions before rev unreadable. Physical waits until this
// member has deleted the rows too.
func (s *Server) Compact(ctx context.Context, rev int64, physical bool) (Header, error) {
	res, err := s.propose(ctx, kv.Op{Compact: &kv.Compact{Revision: rev}})
	if err != nil {
		return Header{}, err
	}
	if physical {
		err = s.awaitCompacted(ctx, rev)
	}
	return s.header(res.Revision), err
}

// awaitCompacted drives the deletion on: every applied command lets a member
// delete some rows, so where nobody writes, something has to be proposed.
func (s *Server) awaitCompacted(ctx context.Context, rev int64) error {
	for {
		v, err := s.view(ctx, true)
		if err != nil {
			return err
		}
		done := v.CompactedUpTo() >= rev
		v.Close()
		if done {
			return nil
		}
		if _, err := s.propose(ctx, kv.Op{Advance: &kv.Advance{}}); err != nil {
			return err
		}
	}
}

// Alarms lists the alarms that are raised.
func (s *Server) Alarms(ctx context.Context) (Header, []kv.Alarm, error) {
	v, err := s.view(ctx, true)
	if err != nil {
		return Header{}, nil, err
	}
	defer v.Close()
	alarms, err := v.Alarms()
	return s.header(v.Revision()), alarms, err
}

// ChangeAlarm raises or clears an alarm and returns those it raised or cleared.
func (s *Server) ChangeAlarm(ctx context.Context, raise bool, a kv.Alarm) (Header, []kv.Alarm, error) {
	res, err := s.propose(ctx, kv.Op{Alarm: &kv.AlarmChange{Raise: raise, Alarm: a}})
	if err != nil {
		return Header{}, nil, err
	}
	s.refreshAlarms()
	return s.header(res.Revision), res.Alarms, nil
}

// refused is what reads end in while the store is known to be corrupt. The
// alarms are looked up every Options.Housekeeping, not at every read: the alarm
// itself comes long after what it reports.
func (s *Server) refused() error {
	if alarms := s.alarms.Load(); alarms != nil {
		if slices.ContainsFunc(*alarms, func(a kv.Alarm) bool { return a.Type == kv.AlarmCorrupt }) {
			return ErrCorrupt
		}
	}
	return nil
}

func (s *Server) refreshAlarms() {
	v, err := s.group.Local()
	if err != nil {
		return
	}
	defer v.Close()
	if alarms, err := v.Alarms(); err == nil {
		s.alarms.Store(&alarms)
	}
}

// Healthy returns nil, or why this member should not be sent clients: an alarm,
// no leader, or a read that failed. exclude names alarms that do not count.
func (s *Server) Healthy(ctx context.Context, serializable bool, exclude []string) error {
	s.refreshAlarms()
	if alarms := s.alarms.Load(); alarms != nil {
		for _, a := range *alarms {
			name := AlarmName(a.Type)
			if !slices.Contains(exclude, name) {
				return Error("ALARM " + name)
			}
		}
	}
	if !s.HasLeader() && !serializable {
		return Error("RAFT NO LEADER")
	}
	v, err := s.view(ctx, serializable)
	if err != nil {
		return Error("RANGE ERROR:" + err.Error())
	}
	v.Close()
	return nil
}

// AlarmName is etcd's name of an alarm.
func AlarmName(t kv.AlarmType) string {
	switch t {
	case kv.AlarmNoSpace:
		return "NOSPACE"
	case kv.AlarmCorrupt:
		return "CORRUPT"
	}
	return "NONE"
}

// housekeeping looks at what changes without an event: which members are heard,
// the quota, and compacted rows that wait for somebody to write.
func (s *Server) housekeeping() {
	defer s.running.Done()
	tick := time.NewTicker(s.o.Housekeeping)
	defer tick.Stop()
	var lastApplied id.Index
	for {
		select {
		case <-tick.C:
		case <-s.quit:
			return
		}
		s.refreshAlarms()
		ctx, cancel := s.limited(s.life)
		st, err := s.group.Inspect(ctx)
		cancel()
		if err != nil {
			continue
		}
		s.health.observe(time.Now(), st)
		if st.Role != raft.Leader {
			continue
		}
		if st.Applied == lastApplied && s.compactionWaits() {
			s.spawn(func(ctx context.Context) { s.proposeOnce(ctx, kv.Op{Advance: &kv.Advance{}}) })
		}
		lastApplied = st.Applied
		s.checkQuota()
	}
}

// compactionWaits reports whether this member has rows left to delete.
func (s *Server) compactionWaits() bool {
	v, err := s.group.Local()
	if err != nil {
		return false
	}
	defer v.Close()
	return v.CompactRevision() > 0 && v.CompactedUpTo() < v.CompactRevision()
}

// checkQuota raises NOSPACE when the store is larger than allowed and takes it
// back when compaction has made room, without anybody defragmenting.
func (s *Server) checkQuota() {
	if s.o.QuotaBytes <= 0 || s.quotaBusy.Swap(true) {
		return
	}
	size, raised := s.size(), false
	if alarms := s.alarms.Load(); alarms != nil {
		raised = slices.ContainsFunc(*alarms, func(a kv.Alarm) bool {
			return a.Type == kv.AlarmNoSpace && a.Member == s.o.Self.Node
		})
	}
	// A tenth of slack keeps the alarm from flapping at the limit.
	if raised == (size > s.o.QuotaBytes-s.o.QuotaBytes/10) || !raised && size <= s.o.QuotaBytes {
		s.quotaBusy.Store(false)
		return
	}
	s.spawn(func(ctx context.Context) {
		defer s.quotaBusy.Store(false)
		s.proposeOnce(ctx, kv.Op{Alarm: &kv.AlarmChange{Raise: !raised, Alarm: kv.Alarm{Type: kv.AlarmNoSpace, Member: s.o.Self.Node}}})
		s.refreshAlarms()
	})
}
