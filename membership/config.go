package membership

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/quorum"
)

// MembersMax bounds a configuration, both halves of a joint one together. A
// configuration is one log entry and is copied often; more than a handful of
// voters or some dozens of learners serve nobody.
const MembersMax = 128

// Bootstrap returns the first configuration of a new group, version 1. Every
// member that starts the group must be given the same list.
func Bootstrap(members []Member) (Config, error) {
	c := Config{Version: 1, Members: cloneMembers(members)}
	slices.SortFunc(c.Members, byID)
	if len(members) == 0 {
		return Config{}, fmt.Errorf("membership: a group needs at least one member")
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	for _, m := range c.Members {
		if err := c.peerURLsFree(m); err != nil {
			return Config{}, fmt.Errorf("membership: %v: %w", m.ID, err)
		}
	}
	return c, nil
}

// Quorum returns the voter sets that decide.
func (c Config) Quorum() quorum.Joint {
	var j quorum.Joint
	for _, m := range c.Members {
		if m.Role == Voter {
			j.Incoming = append(j.Incoming, m.ID)
		}
		if c.Joint && m.Was == Voter {
			j.Outgoing = append(j.Outgoing, m.ID)
		}
	}
	return j
}

// Find returns the member n. While joint it also finds one that is on its way
// out (Role is Absent).
func (c Config) Find(n id.NodeID) (Member, bool) {
	if i, found := c.search(n); found {
		return c.Members[i], true
	}
	return Member{}, false
}

// IsVoter tells whether n votes in either half.
func (c Config) IsVoter(n id.NodeID) bool {
	m, found := c.Find(n)
	return found && (m.Role == Voter || c.Joint && m.Was == Voter)
}

func (c Config) search(n id.NodeID) (int, bool) {
	return slices.BinarySearchFunc(c.Members, n, func(m Member, n id.NodeID) int { return m.ID.Compare(n) })
}

// Clone returns a Config that shares nothing with c.
func (c Config) Clone() Config {
	c.Members = cloneMembers(c.Members)
	return c
}

func cloneMembers(members []Member) []Member {
	members = slices.Clone(members)
	for i, m := range members {
		members[i].PeerURLs = slices.Clone(m.PeerURLs)
		members[i].ClientURLs = slices.Clone(m.ClientURLs)
	}
	return members
}

func byID(a, b Member) int { return a.ID.Compare(b.ID) }

// Validate judges a configuration, wherever it comes from. The zero Config,
// "knows nobody", is valid: it is what a joiner holds until the log tells it
// more, and it makes nobody a voter.
func (c Config) Validate() error {
	if c.Version == 0 && !c.Joint && len(c.Members) == 0 {
		return nil
	}
	if c.Version == 0 {
		return fmt.Errorf("membership: version 0 with members; versions start at 1")
	}
	if len(c.Members) > MembersMax {
		return fmt.Errorf("membership: %d members, at most %d", len(c.Members), MembersMax)
	}
	for i, m := range c.Members {
		if i > 0 && byID(c.Members[i-1], m) >= 0 {
			return fmt.Errorf("membership: members are not sorted, each once: %v before %v", c.Members[i-1].ID, m.ID)
		}
		if err := c.validateMember(m); err != nil {
			return err
		}
	}
	if err := c.validateHalf("configuration", func(m Member) Role { return m.Role }); err != nil {
		return err
	}
	if !c.Joint {
		return nil
	}
	return c.validateHalf("outgoing configuration", func(m Member) Role { return m.Was })
}

func (c Config) validateMember(m Member) error {
	switch {
	case m.ID.Node == 0:
		return fmt.Errorf("membership: member id %v; ids start at 1", m.ID)
	case m.Role > Voter || m.Was > Voter:
		return fmt.Errorf("membership: %v: unknown role (%d, was %d)", m.ID, m.Role, m.Was)
	case !c.Joint && m.Was != Absent:
		return fmt.Errorf("membership: %v was %v, but the configuration is not joint", m.ID, m.Was)
	case m.Role == Absent && m.Was == Absent:
		return fmt.Errorf("membership: %v is listed without a role", m.ID)
	}
	return nil
}

// validateHalf checks what makes one half able to decide safely: it has a voter,
// and no member votes twice, by two incarnations or by two ids that share a data
// directory.
//
//	n1.0 and n1.1 both voters of three: the machine n1 alone is a majority.
func (c Config) validateHalf(name string, role func(Member) Role) error {
	voters := 0
	for i, m := range c.Members {
		if role(m) == Absent {
			continue
		}
		if role(m) == Voter {
			voters++
		}
		for _, o := range c.Members[:i] {
			switch {
			case role(o) == Absent:
			case o.ID.Node == m.ID.Node && role(o) == Voter && role(m) == Voter:
				return fmt.Errorf("membership: %w: %v and %v are two incarnations of one member, both voters of the %s", ErrTwoIncarnations, o.ID, m.ID, name)
			case m.Directory != (id.DirectoryID{}) && o.Directory == m.Directory:
				return fmt.Errorf("membership: %w: %v and %v have the same data directory id in the %s; one is a copy of the other", ErrDirectory, o.ID, m.ID, name)
			}
		}
	}
	if voters == 0 {
		return fmt.Errorf("membership: %w: the %s has no voter, nobody could decide any more", ErrLastVoter, name)
	}
	return nil
}

func (r Role) String() string {
	switch r {
	case Absent:
		return "absent"
	case Learner:
		return "learner"
	case Voter:
		return "voter"
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

func (k OpKind) String() string {
	switch k {
	case AddVoter:
		return "add voter"
	case AddLearner:
		return "add learner"
	case Promote:
		return "promote"
	case Demote:
		return "demote"
	case Remove:
		return "remove"
	case Update:
		return "update"
	}
	return fmt.Sprintf("step(%d)", uint8(k))
}

// String is one line for people and traces: "v3 n1 n2 n3 n4(learner)", and while
// joint every member whose role changes as "n1(voter→absent)".
func (c Config) String() string {
	s := fmt.Sprintf("v%d", c.Version)
	for _, m := range c.Members {
		s += " " + m.ID.String()
		switch {
		case c.Joint && m.Was != m.Role:
			s += fmt.Sprintf("(%v→%v)", m.Was, m.Role)
		case m.Role != Voter:
			s += fmt.Sprintf("(%v)", m.Role)
		}
	}
	return s
}
