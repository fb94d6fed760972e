package zen

import (
	"slices"

	"github.com/quorate/quorate/lab"
)

// state is a version of the cluster state: who is master, which nodes belong to
// it, and what the clients wrote. It is never changed; an update makes another.
type state struct {
	version   uint64
	uuid      uint64 // of this version: two masters may both make version 7
	master    lab.Node
	nodes     []member // sorted by node
	recovered bool     // the metadata is in it: not so right after a full restart (R12)
	ops       *chain
}

// member is one life of a node. The source calls the life its ephemeral id: a
// process that was restarted is not the member that its master pings.
type member struct {
	Node lab.Node
	Life uint64
}

func (s state) has(node lab.Node) bool {
	return slices.ContainsFunc(s.nodes, func(m member) bool { return m.Node == node })
}

func (s state) hasLife(m member) bool { return slices.Contains(s.nodes, m) }

// others are the members but for one.
func (s state) others(self lab.Node) []lab.Node {
	var nodes []lab.Node
	for _, m := range s.nodes {
		if m.Node != self {
			nodes = append(nodes, m.Node)
		}
	}
	return nodes
}

// chain is a list of operations that grows at the end and shares its beginning
// with the lists it came from: one operation costs one link, whether the state
// it makes is committed or rejected. It is never changed, and it stays within
// one machine: messages carry copies of what is new.
type chain struct {
	parent *chain
	entry  lab.Entry
	length int
}

func (c *chain) len() int {
	if c == nil {
		return 0
	}
	return c.length
}

func (c *chain) push(entries ...lab.Entry) *chain {
	for _, e := range entries {
		c = &chain{parent: c, entry: e, length: c.len() + 1}
	}
	return c
}

// first is the list's first n operations.
func (c *chain) first(n int) *chain {
	for c.len() > n {
		c = c.parent
	}
	return c
}

// behind copies what stands behind the first n.
func (c *chain) behind(n int) []lab.Entry {
	if c.len() <= n {
		return nil
	}
	entries := make([]lab.Entry, c.len()-n)
	for ; c.len() > n; c = c.parent {
		entries[c.len()-n-1] = c.entry
	}
	return entries
}

// common is what two lists of one machine begin with.
func common(a, b *chain) *chain {
	a, b = a.first(b.len()), b.first(a.len())
	for a != b {
		a, b = a.parent, b.parent
	}
	return a
}

// graft makes a list of the entries that shares with c what both begin with.
func (c *chain) graft(entries []lab.Entry) *chain {
	own := c.behind(0)
	same := 0
	for same < len(own) && same < len(entries) && own[same] == entries[same] {
		same++
	}
	return c.first(same).push(entries[same:]...)
}
