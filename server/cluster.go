package server

import (
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
)

// connectedFor is how long a member must have been heard before a change relies
// on it (etcd's HealthInterval).
const connectedFor = 5 * time.Second

// peerHealth is since when the leader hears each member. A member that was heard
// when this office began counts as heard for long: the check-quorum window has
// judged it already.
type peerHealth struct {
	mu    sync.Mutex
	term  id.Term
	since map[id.NodeID]time.Time // absent: not heard; zero: for long
}

// observe takes a status of this member. Call it at least every second.
func (p *peerHealth) observe(now time.Time, st raft.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if st.Role != raft.Leader {
		p.term, p.since = 0, nil
		return
	}
	begins := p.term != st.Term
	if begins {
		p.term, p.since = st.Term, map[id.NodeID]time.Time{}
	}
	for _, g := range st.Progress {
		_, was := p.since[g.ID]
		switch {
		case !g.Active:
			delete(p.since, g.ID)
		case begins:
			p.since[g.ID] = time.Time{}
		case !was:
			p.since[g.ID] = now
		}
	}
}

// lookAtPeers observes now: an office may be younger than the last look.
func (s *Server) lookAtPeers(ctx context.Context) {
	if st, err := s.group.Inspect(ctx); err == nil {
		s.health.observe(time.Now(), st)
	}
}

// connected reports whether the leader has heard the member for long enough.
func (p *peerHealth) connected(now time.Time, m id.NodeID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	since, heard := p.since[m]
	return heard && now.Sub(since) >= connectedFor
}

// Members lists the configuration in force: after a read round if linearizable.
func (s *Server) Members(ctx context.Context, linearizable bool) (Header, []membership.Member, error) {
	v, err := s.view(ctx, !linearizable)
	if err != nil {
		return Header{}, nil, err
	}
	defer v.Close()
	return s.header(v.Revision()), current(s.group.Status().Config), nil
}

// current leaves out who is on the way out of a joint configuration.
func current(c membership.Config) []membership.Member {
	var out []membership.Member
	for _, m := range c.Members {
		if m.Role != membership.Absent {
			out = append(out, m)
		}
	}
	return out
}

// IsLearner reports whether this member only receives.
func (s *Server) IsLearner() bool {
	m, ok := find(s.group.Status().Config, s.o.Self.Node)
	return ok && m.Role == membership.Learner
}

func find(c membership.Config, node uint64) (membership.Member, bool) {
	for _, m := range c.Members {
		if m.ID.Node == node && m.Role != membership.Absent {
			return m, true
		}
	}
	return membership.Member{}, false
}

// MemberAdd adds a voter or a learner and returns it with the new list.
func (s *Server) MemberAdd(ctx context.Context, peerURLs []string, learner bool) (Header, membership.Member, []membership.Member, error) {
	if err := checkURLs(peerURLs); err != nil {
		return Header{}, membership.Member{}, nil, err
	}
	answer, err := s.atLeader(ctx, ask{Do: askAdd, URLs: peerURLs, Learner: learner})
	if err != nil || answer.Member == nil {
		return Header{}, membership.Member{}, nil, err
	}
	return s.clusterHeader(), *answer.Member, answer.Members, nil
}

// MemberRemove removes a member and returns the new list.
func (s *Server) MemberRemove(ctx context.Context, member uint64) (Header, []membership.Member, error) {
	answer, err := s.atLeader(ctx, ask{Do: askRemove, Member: member})
	return s.clusterHeader(), answer.Members, err
}

// MemberUpdate changes a member's peer URLs and returns the new list.
func (s *Server) MemberUpdate(ctx context.Context, member uint64, peerURLs []string) (Header, []membership.Member, error) {
	if err := checkURLs(peerURLs); err != nil {
		return Header{}, nil, err
	}
	answer, err := s.atLeader(ctx, ask{Do: askUpdate, Member: member, URLs: peerURLs})
	return s.clusterHeader(), answer.Members, err
}

// MemberPromote makes a learner that has caught up a voter.
func (s *Server) MemberPromote(ctx context.Context, member uint64) (Header, []membership.Member, error) {
	answer, err := s.atLeader(ctx, ask{Do: askPromote, Member: member})
	return s.clusterHeader(), answer.Members, err
}

// Publish tells the cluster this member's name and client URLs. It returns when
// that is committed, which needs a majority.
func (s *Server) Publish(ctx context.Context, name string, clientURLs []string) error {
	_, err := s.atLeader(ctx, ask{Do: askPublish, Member: s.o.Self.Node, Name: name, ClientURLs: clientURLs})
	return err
}

// clusterHeader has no error to give: the change is done.
func (s *Server) clusterHeader() Header {
	h, err := s.localHeader()
	if err != nil {
		return s.header(0)
	}
	return h
}

// localHeader is a header at this member's current revision.
func (s *Server) localHeader() (Header, error) {
	v, err := s.group.Local()
	if err != nil {
		return Header{}, err
	}
	defer v.Close()
	return s.header(v.Revision()), nil
}

// change makes one step. build gets the configuration in force and is asked
// again when another change came between.
func (s *Server) change(ctx context.Context, build func(c membership.Config) (membership.Op, error)) (askAnswer, error) {
	for {
		st := s.group.Status()
		op, err := build(st.Config)
		if err != nil {
			return askAnswer{}, err
		}
		changed := s.next()
		err = s.group.Change(ctx, membership.Change{If: st.Config.Version, Ops: []membership.Op{op}})
		if err == nil {
			return askAnswer{Members: current(s.group.Status().Config)}, nil
		}
		var f *Failure
		if !errors.As(err, &f) || f.Unknown || f.Why != raft.ChangeInFlight && f.Why != raft.ChangeStale {
			return askAnswer{}, illegal(err)
		}
		pause := time.NewTimer(retryPause)
		select {
		case <-changed:
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return askAnswer{}, ErrTooManyRequests // certainly refused: one change at a time
		}
		pause.Stop()
	}
}

// illegal names what only the configuration's own rules found wrong.
func illegal(err error) error {
	var f *Failure
	if !errors.As(err, &f) || f.Why != raft.ChangeIllegal {
		return err
	}
	for _, known := range []struct {
		rule error
		is   error
	}{
		{membership.ErrExists, ErrMemberExists}, {membership.ErrUnknown, ErrMemberNotFound},
		{membership.ErrNotLearner, ErrMemberNotLearner},
	} {
		if strings.Contains(f.Detail, known.rule.Error()) {
			return known.is
		}
	}
	return fmt.Errorf("the membership change is not possible: %s", f.Detail)
}

// addHere is MemberAdd at the leader.
func (s *Server) addHere(ctx context.Context, peerURLs []string, learner bool) (askAnswer, error) {
	// The id is new: nobody has voted under it, whatever was removed before.
	now := time.Now()
	sum := sha1.Sum(fmt.Appendf(nil, "%s %d %d", strings.Join(peerURLs, ","), s.o.Cluster, now.UnixNano()))
	member := membership.Member{ID: id.NodeID{Node: binary.BigEndian.Uint64(sum[:8])}, PeerURLs: peerURLs, Role: membership.Voter}
	kind := membership.AddVoter
	if learner {
		kind, member.Role = membership.AddLearner, membership.Learner
	}
	answer, err := s.change(ctx, func(c membership.Config) (membership.Op, error) {
		if _, exists := find(c, member.ID.Node); exists || member.ID.Node == 0 {
			return membership.Op{}, ErrMemberExists
		}
		if urlsTaken(c, peerURLs, 0) {
			return membership.Op{}, ErrPeerURLExists
		}
		if learner && count(c, membership.Learner) >= s.o.LearnersMax {
			return membership.Op{}, ErrTooManyLearners
		}
		if !learner && s.o.StrictReconfig {
			s.lookAtPeers(ctx)
			if err := s.mayAddVoter(now, c); err != nil {
				return membership.Op{}, err
			}
		}
		return membership.Op{Kind: kind, Member: member}, nil
	})
	answer.Member = &member
	return answer, err
}

// removeHere is MemberRemove at the leader. One that is to remove itself hands
// over first and lets its successor do it: nobody waits for an election then, and
// there is somebody to tell the client how it ended.
func (s *Server) removeHere(ctx context.Context, node uint64) (askAnswer, error) {
	if c := s.group.Status().Config; node == s.o.Self.Node && count(c, membership.Voter) > 1 {
		if err := s.mayRemove(ctx, c, node); err != nil {
			return askAnswer{}, err
		}
		if err := s.group.Transfer(ctx, id.None); err == nil {
			return askAnswer{}, refusedFor(raft.NotLeader)
		}
	}
	return s.change(ctx, func(c membership.Config) (membership.Op, error) {
		if err := s.mayRemove(ctx, c, node); err != nil {
			return membership.Op{}, err
		}
		m, _ := find(c, node)
		return membership.Op{Kind: membership.Remove, Member: m}, nil
	})
}

func (s *Server) mayRemove(ctx context.Context, c membership.Config, node uint64) error {
	m, ok := find(c, node)
	if !ok {
		return ErrMemberNotFound
	}
	if !s.o.StrictReconfig || m.Role != membership.Voter {
		return nil
	}
	s.lookAtPeers(ctx)
	return s.mayRemoveVoter(time.Now(), c, m)
}

// updateHere is MemberUpdate at the leader. The role stays.
func (s *Server) updateHere(ctx context.Context, node uint64, peerURLs []string) (askAnswer, error) {
	return s.change(ctx, func(c membership.Config) (membership.Op, error) {
		m, ok := find(c, node)
		if !ok {
			return membership.Op{}, ErrMemberNotFound
		}
		if urlsTaken(c, peerURLs, node) {
			return membership.Op{}, ErrPeerURLExists
		}
		m.PeerURLs = peerURLs
		return membership.Op{Kind: membership.Update, Member: m}, nil
	})
}

// publishHere is Publish at the leader. It is a change only if something differs.
func (s *Server) publishHere(ctx context.Context, node uint64, name string, clientURLs []string) (askAnswer, error) {
	answer, err := s.change(ctx, func(c membership.Config) (membership.Op, error) {
		m, ok := find(c, node)
		if !ok {
			return membership.Op{}, ErrMemberNotFound
		}
		if m.Name == name && slices.Equal(m.ClientURLs, clientURLs) {
			return membership.Op{}, errPublished
		}
		m.Name, m.ClientURLs = name, clientURLs
		return membership.Op{Kind: membership.Update, Member: m}, nil
	})
	if errors.Is(err, errPublished) {
		return askAnswer{}, nil
	}
	return answer, err
}

var errPublished = errors.New("already published")

// promoteHere is MemberPromote at the leader.
func (s *Server) promoteHere(ctx context.Context, node uint64) (askAnswer, error) {
	return s.change(ctx, func(c membership.Config) (membership.Op, error) {
		m, ok := find(c, node)
		switch {
		case !ok:
			return membership.Op{}, ErrMemberNotFound
		case m.Role != membership.Learner:
			return membership.Op{}, ErrMemberNotLearner
		case !s.caughtUp(ctx, m.ID):
			return membership.Op{}, ErrLearnerNotReady
		}
		if s.o.StrictReconfig {
			if voters := count(c, membership.Voter); started(c)+1 < (voters+1)/2+1 {
				return membership.Op{}, ErrNotEnoughStarted
			}
		}
		return membership.Op{Kind: membership.Promote, Member: m}, nil
	})
}

// caughtUp is etcd's rule: a learner is ready when it has 90 % of the log.
func (s *Server) caughtUp(ctx context.Context, learner id.NodeID) bool {
	st, err := s.group.Inspect(ctx)
	if err != nil {
		return false
	}
	for _, p := range st.Progress {
		if p.ID == learner {
			return p.Active && uint64(p.Match)*10 >= uint64(st.Last)*9
		}
	}
	return false
}

// mayAddVoter is strict reconfiguration: with the new voter, which is not
// started, the started ones must still be a majority, and all must be heard.
func (s *Server) mayAddVoter(now time.Time, c membership.Config) error {
	voters, running := count(c, membership.Voter), started(c)
	if voters == 1 && running == 1 {
		return nil // one member may always become two
	}
	if running < (voters+1)/2+1 {
		return ErrNotEnoughStarted
	}
	for _, m := range c.Members {
		if m.Role == membership.Voter && !s.connected(now, m.ID) {
			return ErrUnhealthy
		}
	}
	return nil
}

// mayRemoveVoter is strict reconfiguration: what is left must have a majority
// that is started and heard. A member that is down may always go, since the
// active quorum does not count on it.
func (s *Server) mayRemoveVoter(now time.Time, c membership.Config, leaving membership.Member) error {
	voters, running := count(c, membership.Voter), started(c)
	if leaving.Name != "" {
		running--
	}
	if voters > 1 && running < (voters-1)/2+1 {
		return ErrNotEnoughStarted
	}
	if !s.connected(now, leaving.ID) {
		return nil
	}
	active := 0
	for _, m := range c.Members {
		if m.Role == membership.Voter && s.connected(now, m.ID) {
			active++
		}
	}
	if voters > 1 && active-1 < 1+(voters-2)/2 {
		return ErrUnhealthy
	}
	return nil
}

func (s *Server) connected(now time.Time, m id.NodeID) bool {
	return m == s.o.Self || s.health.connected(now, m)
}

func count(c membership.Config, r membership.Role) int {
	n := 0
	for _, m := range c.Members {
		if m.Role == r {
			n++
		}
	}
	return n
}

// started counts the voters that have published their name.
func started(c membership.Config) int {
	n := 0
	for _, m := range c.Members {
		if m.Role == membership.Voter && m.Name != "" {
			n++
		}
	}
	return n
}

func urlsTaken(c membership.Config, urls []string, except uint64) bool {
	for _, m := range c.Members {
		if m.ID.Node == except || m.Role == membership.Absent {
			continue
		}
		for _, u := range m.PeerURLs {
			if slices.Contains(urls, u) {
				return true
			}
		}
	}
	return false
}

// checkURLs is etcd's rule for peer URLs.
func checkURLs(urls []string) error {
	if len(urls) == 0 {
		return ErrMemberBadURLs
	}
	for _, s := range urls {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" || u.Path != "" {
			return ErrMemberBadURLs
		}
	}
	return nil
}
