package raft

import "github.com/quorate/quorate/internal/id"

// The soft state, without the cost of a Status: the host asks after every pass.

// Role is what the node is in its term.
func (n *Node) Role() Role { return n.role }

// Term is the node's term.
func (n *Node) Term() id.Term { return n.term }

// Leader is who leads in this term, None if unknown.
func (n *Node) Leader() id.NodeID { return n.leader }

// ConfigVersion is the version of the configuration in force.
func (n *Node) ConfigVersion() uint64 { return n.log.config().Config.Version }

// Tail returns the entries in memory from index from on, and the first index
// there is in memory. They are the log's own: read, never change.
func (n *Node) Tail(from id.Index) (first id.Index, entries []Entry) {
	first = n.log.first()
	if from = max(from, first); from > n.log.last {
		return first, nil
	}
	return first, n.log.slice(from, n.log.last+1, 1<<62)
}
