package membership

import (
	"errors"
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
)

// OpsMax bounds one Change.
const OpsMax = 64

// What makes a change illegal. Apply wraps one of them and says which step and
// why.
var (
	ErrStale           = errors.New("the configuration has changed")      // Change.If is not the version
	ErrJoint           = errors.New("a change is in progress")            // the configuration is joint
	ErrNotJoint        = errors.New("no change is in progress")           // Leave without Joint
	ErrOps             = errors.New("malformed change")                   // no steps, too many, two on one member, unknown kind
	ErrExists          = errors.New("already a member")                   // added again, or as an older incarnation
	ErrUnknown         = errors.New("not a member")                       // any other step on a stranger
	ErrNotLearner      = errors.New("not a learner")                      // Promote
	ErrNotVoter        = errors.New("not a voter")                        // Demote
	ErrLastVoter       = errors.New("the last voter")                     // Demote or Remove would leave none
	ErrTwoIncarnations = errors.New("two incarnations as voters")         // of one member, in one half
	ErrPeerURL         = errors.New("peer address is another member's")   // add or update
	ErrDirectory       = errors.New("data directory is pinned otherwise") // another member's, or a changed pin
	ErrTooMany         = errors.New("too many members")                   // MembersMax
)

// Apply returns the configuration after ch, or an error that names the step
// which is illegal and why; c is unchanged either way. The result has the next
// version and is joint if more than one voter differs.
//
// One voter more or less needs no joint phase: any two majorities of the old
// and the new voters share a member (thesis §4.1). Swapping two at once does:
//
//	{1,2,3} → {1,4,5} in one step: {2,3} elects one leader, {4,5} another.
//
// Invariant: every majority of c intersects every majority of the result.
func (c Config) Apply(ch Change) (Config, error) {
	if err := c.admits(ch); err != nil {
		return Config{}, err
	}
	next := c.Clone()
	for i, op := range ch.Ops {
		if err := next.step(op); err != nil {
			return Config{}, fmt.Errorf("membership: step %d of %d, %v %v: %w", i+1, len(ch.Ops), op.Kind, op.Member.ID, err)
		}
	}
	slices.SortFunc(next.Members, byID)
	next.Version++
	next.becomeJoint(c)
	if err := next.Validate(); err != nil {
		return Config{}, err
	}
	return next, nil
}

// Leave returns the configuration that ends a joint one: the incoming half.
func (c Config) Leave() (Config, error) {
	if !c.Joint {
		return Config{}, fmt.Errorf("membership: leave at version %d: %w", c.Version, ErrNotJoint)
	}
	next := c.Clone()
	next.Members = slices.DeleteFunc(next.Members, func(m Member) bool { return m.Role == Absent })
	for i := range next.Members {
		next.Members[i].Was = Absent
	}
	next.Joint = false
	next.Version++
	// A joint configuration is only made by Apply and judged by Validate where
	// it is read, so what it leads to has voters.
	err := next.Validate()
	assert.That(err == nil, "leaving %v gives %v: %v", c, next, err)
	return next, nil
}

// admits checks what does not depend on single steps.
func (c Config) admits(ch Change) error {
	switch {
	case ch.If != 0 && ch.If != c.Version:
		return fmt.Errorf("membership: change for version %d, the configuration is at %d: %w; read it and try again", ch.If, c.Version, ErrStale)
	case c.Joint:
		return fmt.Errorf("membership: version %d is joint: %w; try again when it has ended", c.Version, ErrJoint)
	case c.Version == 0:
		return fmt.Errorf("membership: %w: there is no configuration yet", ErrUnknown)
	case len(ch.Ops) == 0:
		return fmt.Errorf("membership: %w: it has no steps", ErrOps)
	case len(ch.Ops) > OpsMax:
		return fmt.Errorf("membership: %w: %d steps, at most %d", ErrOps, len(ch.Ops), OpsMax)
	}
	for i, op := range ch.Ops {
		if op.Member.ID.Node == 0 {
			return fmt.Errorf("membership: %w: step %d, %v, names no member", ErrOps, i+1, op.Kind)
		}
		for _, earlier := range ch.Ops[:i] {
			if earlier.Member.ID == op.Member.ID {
				return fmt.Errorf("membership: %w: two steps on %v, %v and %v", ErrOps, op.Member.ID, earlier.Kind, op.Kind)
			}
		}
	}
	return nil
}

// step does one op. A removed member stays listed as Absent with its old role in
// Was until becomeJoint has seen what differs.
func (c *Config) step(op Op) error {
	switch op.Kind {
	case AddVoter:
		return c.add(op.Member, Voter)
	case AddLearner:
		return c.add(op.Member, Learner)
	case Promote, Demote, Remove, Update:
	default:
		return fmt.Errorf("%w: unknown kind of step", ErrOps)
	}
	i, found := c.search(op.Member.ID)
	if !found {
		return ErrUnknown
	}
	m := &c.Members[i]
	switch op.Kind {
	case Promote:
		if m.Role != Learner {
			return fmt.Errorf("%w: it is a %v", ErrNotLearner, m.Role)
		}
		m.Role = Voter
	case Demote:
		if m.Role != Voter {
			return fmt.Errorf("%w: it is a %v", ErrNotVoter, m.Role)
		}
		m.Role = Learner
		return c.stillDecides()
	case Remove:
		m.Role = Absent
		return c.stillDecides()
	case Update:
		return c.update(m, op.Member)
	}
	return nil
}

func (c *Config) add(m Member, role Role) error {
	if len(c.Members) >= MembersMax {
		return fmt.Errorf("%w: at most %d", ErrTooMany, MembersMax)
	}
	for _, o := range c.Members {
		switch {
		case o.ID == m.ID:
			return fmt.Errorf("%w, as %v", ErrExists, o.Role)
		case o.ID.Node == m.ID.Node && o.ID.Incarnation > m.ID.Incarnation:
			return fmt.Errorf("%w, in its later life %v: an old incarnation does not return", ErrExists, o.ID)
		}
	}
	if err := c.peerURLsFree(m); err != nil {
		return err
	}
	m.Role, m.Was = role, Absent
	m.PeerURLs, m.ClientURLs = slices.Clone(m.PeerURLs), slices.Clone(m.ClientURLs)
	i, _ := c.search(m.ID)
	c.Members = slices.Insert(c.Members, i, m)
	return nil
}

// update takes over what to gives and keeps the rest: an empty name, no URLs or
// a zero directory mean "as it was", so that publishing client addresses and
// pinning a directory do not undo each other. A pinned directory never changes
// under the same id: a wiped member is a new incarnation (DESIGN 14).
func (c *Config) update(m *Member, to Member) error {
	if err := c.peerURLsFree(to); err != nil {
		return err
	}
	var none id.DirectoryID
	if to.Directory != none && m.Directory != none && to.Directory != m.Directory {
		return fmt.Errorf("%w: it is %x, not %x; a wiped member joins as a new incarnation", ErrDirectory, m.Directory, to.Directory)
	}
	if to.Name != "" {
		m.Name = to.Name
	}
	if len(to.PeerURLs) > 0 {
		m.PeerURLs = slices.Clone(to.PeerURLs)
	}
	if len(to.ClientURLs) > 0 {
		m.ClientURLs = slices.Clone(to.ClientURLs)
	}
	if to.Directory != none {
		m.Directory = to.Directory
	}
	return nil
}

// peerURLsFree refuses an address under which another member is reached. Two
// lives of one member may share it: the new one replaces the old.
func (c *Config) peerURLsFree(m Member) error {
	for _, o := range c.Members {
		if o.ID.Node == m.ID.Node || o.Role == Absent {
			continue
		}
		for _, u := range m.PeerURLs {
			if slices.Contains(o.PeerURLs, u) {
				return fmt.Errorf("%w: %s belongs to %v", ErrPeerURL, u, o.ID)
			}
		}
	}
	return nil
}

// stillDecides is checked at the step, not at the end, so that the error names
// the step. A change that removes the only voter must name its successor first.
func (c *Config) stillDecides() error {
	for _, m := range c.Members {
		if m.Role == Voter {
			return nil
		}
	}
	return fmt.Errorf("%w: add or promote another one in an earlier step", ErrLastVoter)
}

// becomeJoint compares with the configuration c was made from. Where at most one
// voter differs, c stays simple and forgets what left. Otherwise it becomes
// joint: everybody carries what it was.
func (c *Config) becomeJoint(from Config) {
	differ := 0
	for i := range c.Members {
		m := &c.Members[i]
		m.Was = Absent
		if old, found := from.Find(m.ID); found {
			m.Was = old.Role
		}
		if (m.Was == Voter) != (m.Role == Voter) {
			differ++
		}
	}
	if differ > 1 {
		c.Joint = true
		return
	}
	c.Members = slices.DeleteFunc(c.Members, func(m Member) bool { return m.Role == Absent })
	for i := range c.Members {
		c.Members[i].Was = Absent
	}
}
